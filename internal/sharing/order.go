package sharing

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// lastWord is the last that a server said about something: with it a message that
// was overtaken, or is sent again by someone who kept it, is known to be out of date.
// It is kept as long as an older one could arrive, which is until the signatures
// of that time are too old.
type lastWord struct {
	bun.BaseModel `bun:"table:last_words"`

	PeerHost  string `bun:",pk"`
	Subject   string `bun:",pk"`
	Ends      bool   // it took back what it is about
	SaidAt    int64  // as its signature says, in whole seconds
	ExpiresAt int64
}

// What words are about.
func aboutShare(id string) string             { return "share/" + id }
func aboutRights(id string) string            { return "rights/" + id }
func aboutReshare(parent, with string) string { return "reshare/" + parent + "/" + with }

// maxLastWords bounds what is kept for one server, which can say something about
// shares that do not exist. Beyond it messages count as they come.
const maxLastWords = 1000

// errOvertaken says that something newer was heard already.
var errOvertaken = errors.New("the server has said something newer since")

// errSameSecond is the answer to what was taken back within the second in which it
// was signed: which of the two holds cannot be told, and asked again it can.
var errSameSecond = ocm.NewError(http.StatusServiceUnavailable, "ORDER_UNCLEAR", "this was asked for and taken back at the same time; ask again").RetryIn(2 * time.Second)

// hear records that a server said something about a subject; errOvertaken when it
// said something newer before. Of what carries no time nothing can be told, and it
// counts as it comes.
func (s *Service) hear(ctx context.Context, tx bun.Tx, from Origin, subject string, ends bool) error {
	if from.Said.IsZero() {
		return nil
	}
	said := from.Said.UnixMilli()
	last, err := s.last(ctx, tx, from.Host, subject)
	switch {
	case err != nil:
		return err
	case last != nil && said < last.SaidAt:
		explain.Note(ctx, "order", "signed %s before the last that %s said about this: nothing changes", time.Duration(last.SaidAt-said)*time.Millisecond, from.Host)
		return errOvertaken
	case last != nil && said == last.SaidAt && last.Ends && !ends:
		return errSameSecond
	case last == nil:
		n, err := tx.NewSelect().Model((*lastWord)(nil)).Where("peer_host = ?", string(from.Host)).Count(ctx)
		if err != nil || n >= maxLastWords {
			return err
		}
	}
	_, err = tx.NewInsert().Model(&lastWord{
		PeerHost: string(from.Host), Subject: subject, Ends: ends, SaidAt: said, ExpiresAt: s.Now().Add(s.SignatureLife).UnixMilli(),
	}).On("CONFLICT (peer_host, subject) DO UPDATE").
		Set("ends = EXCLUDED.ends").Set("said_at = EXCLUDED.said_at").Set("expires_at = EXCLUDED.expires_at").Exec(ctx)
	return err
}

// last is the last word of a server about a subject, nil when there is none.
func (s *Service) last(ctx context.Context, tx bun.Tx, host ocm.Host, subject string) (*lastWord, error) {
	w := &lastWord{PeerHost: string(host), Subject: subject}
	err := store.ScanRow(ctx, tx, []any{&w.Ends, &w.SaidAt, &w.ExpiresAt},
		"SELECT ends, said_at, expires_at FROM last_words WHERE peer_host = ? AND subject = ? AND expires_at > ?", w.PeerHost, subject, s.Now().UnixMilli())
	if store.NotFound(err) {
		return nil, nil
	}
	return w, err
}

// inOrder makes sure that a notification is new, and newer than what was heard about
// the same; errOvertaken when it is not.
func (s *Service) inOrder(ctx context.Context, tx bun.Tx, from Origin, n *ocm.Notification) error {
	if from.Signature != "" {
		fresh, err := s.firstSight(ctx, tx, from.Signature)
		if err != nil {
			return err
		}
		if !fresh {
			explain.Note(ctx, "order", "this very message came before: nothing changes")
			return errOvertaken
		}
	}
	switch n.Type {
	case ocm.ShareChangePermission:
		return s.hear(ctx, tx, from, aboutRights(n.ProviderID), false)
	case ocm.ReshareUndo:
		parent, children, err := s.reshared(ctx, tx, from.Host, n)
		if err != nil {
			return err
		}
		with := n.ShareWith.String()
		if n.ShareWith == (ocm.Address{}) { // the new share was named
			if len(children) == 0 {
				return nil
			}
			with = children[0].ShareWith
		}
		return s.hear(ctx, tx, from, aboutReshare(parent.ID, with), true)
	}
	return nil
}

// sweepOrder forgets words that no message can be older than any more.
func (s *Service) sweepOrder(ctx context.Context, tx bun.Tx) error {
	_, err := tx.NewDelete().Model((*lastWord)(nil)).Where("expires_at <= ?", s.Now().UnixMilli()).Exec(ctx)
	return err
}
