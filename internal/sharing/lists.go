package sharing

import (
	"context"
	"strings"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
)

// SentQuery chooses among the shares a person sent.
type SentQuery struct {
	States   []string // of these; nil for all
	Text     string   // which the path, the address or the recipient's name holds
	ByPerson bool     // in the order of recipients, not of items
	Offset   int64
	Limit    int64
}

// SentPage lists some of the shares a person sent, and counts all that the query
// is for.
func (s *Service) SentPage(ctx context.Context, ownerID string, q SentQuery) (shares []Outgoing, total int64, err error) {
	sel := s.DB.Read.NewSelect().Model(&shares).Where("owner_id = ?", ownerID)
	if q.States != nil {
		sel = sel.Where("state IN (?)", bun.List(q.States))
	}
	if q.Text != "" {
		holds := holding(q.Text)
		sel = sel.Where(`(LOWER(path) LIKE ? ESCAPE '\' OR LOWER(share_with) LIKE ? ESCAPE '\' OR LOWER(recipient_name) LIKE ? ESCAPE '\')`, holds, holds, holds)
	}
	if total, err = sel.Count(ctx); err != nil {
		return nil, 0, err
	}
	if q.ByPerson {
		sel = sel.Order("share_with", "share_type", "path", "id DESC")
	} else {
		sel = sel.Order("path", "share_with", "id DESC")
	}
	if err := sel.Offset(q.Offset).Limit(q.Limit).Scan(ctx); err != nil {
		return nil, 0, err
	}
	return shares, total, s.explainWaiting(ctx, ownerID, shares)
}

// holding is a LIKE pattern for what holds a text.
func holding(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text)) + "%"
}

// SharesOf lists the shares of one item, ended ones apart, and those of the
// folders it is in, which give access to it too.
func (s *Service) SharesOf(ctx context.Context, ownerID, name string) (own, above []Outgoing, err error) {
	paths := []string{name}
	for dir := tree.Dir(name); dir != ""; dir = tree.Dir(dir) {
		paths = append(paths, dir)
	}
	var all []Outgoing
	err = s.DB.Read.NewSelect().Model(&all).Where("owner_id = ? AND path IN (?)", ownerID, bun.List(paths)).Where("state <> ?", StateEnded).
		Order("share_with", "id DESC").Limit(1000).Scan(ctx)
	if err != nil {
		return nil, nil, err
	}
	now := s.Now()
	for _, o := range all {
		switch {
		case o.Path == name:
			own = append(own, o)
		case o.Live(now):
			above = append(above, o)
		}
	}
	return own, above, s.explainWaiting(ctx, ownerID, own)
}

// Askers tells, of shares that were made at someone's request to pass theirs on,
// who that is: addresses by the shares' parents.
func (s *Service) Askers(ctx context.Context, shares []Outgoing) (map[string]string, error) {
	out := map[string]string{}
	var parents []string
	for _, o := range shares {
		if o.Parent != "" {
			parents = append(parents, o.Parent)
		}
	}
	if len(parents) == 0 {
		return out, nil
	}
	var asked []Outgoing
	err := s.DB.Read.NewSelect().Model(&asked).Column("id", "share_with").Where("id IN (?)", bun.List(parents)).Scan(ctx)
	for _, o := range asked {
		out[o.ID] = o.ShareWith
	}
	return out, err
}

// SentOne finds a share that a person sent.
func (s *Service) SentOne(ctx context.Context, ownerID, id string) (*Outgoing, error) {
	return get[Outgoing](ctx, s.DB.Read, "id = ? AND owner_id = ?", id, ownerID)
}

// The parts of an inbox.
const (
	InboxWaiting  = "waiting"  // for an answer
	InboxApart    = "apart"    // for an answer, in quarantine
	InboxAccepted = "accepted" // and in force
	InboxPast     = "past"     // declined, given back, or ended
)

// InboxPart lists some of one part of a person's inbox, the newest first, and
// counts all of it that holds text in its name or its sender's.
func (s *Service) InboxPart(ctx context.Context, userID, part, text string, offset, limit int64) (shares []Received, total int64, err error) {
	if err := s.joinGroups(ctx, userID); err != nil {
		return nil, 0, err
	}
	now := s.Now().UnixMilli()
	live := func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("s.ended_at = 0").Where("(s.expires_at = 0 OR s.expires_at > ?)", now)
	}
	choose := func(q *bun.SelectQuery) *bun.SelectQuery {
		switch part {
		case InboxWaiting:
			q = live(q).Where("m.state = ? AND s.quarantine = ''", MemberPending)
		case InboxApart:
			q = live(q).Where("m.state = ? AND s.quarantine <> ''", MemberPending)
		case InboxAccepted:
			q = live(q).Where("m.state = ?", MemberAccepted)
		default:
			q = q.Where("(m.state IN (?) OR s.ended_at <> 0 OR (s.expires_at <> 0 AND s.expires_at <= ?))", bun.List([]string{MemberDeclined, MemberLeft}), now)
		}
		if text != "" {
			holds := holding(text)
			q = q.Where(`(LOWER(s.name) LIKE ? ESCAPE '\' OR LOWER(s.sender) LIKE ? ESCAPE '\' OR LOWER(s.sender_name) LIKE ? ESCAPE '\')`, holds, holds, holds)
		}
		return q
	}
	if total, err = choose(s.received(userID, (*Received)(nil))).Count(ctx); err != nil || total == 0 {
		return nil, 0, err
	}
	err = choose(s.received(userID, &shares)).Order("s.id DESC").Offset(offset).Limit(limit).Scan(ctx)
	return shares, total, err
}

// Mounted finds the accepted share that stands under "Shared with me" by a name.
func (s *Service) Mounted(ctx context.Context, userID, name string) (*Received, error) {
	r := &Received{}
	err := s.received(userID, r).Where("m.state = ? AND m.mount_name = ? AND s.ended_at = 0", MemberAccepted, name).Limit(1).Scan(ctx)
	if store.NotFound(err) || err == nil && !r.Live(s.Now()) {
		return nil, ErrNoShare
	}
	return r, err
}
