// Package notice tells people what happened: a row for each person and event,
// written in the transaction of the event, read on the page of notices and, where
// the person wants it, sent by e-mail.
package notice

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Kind says what happened.
type Kind string

// The kinds of notices.
const (
	// About what others share with the person.
	Received        Kind = "share-received"
	Held            Kind = "share-held"     // it waits apart from the others
	TakenOver       Kind = "share-accepted" // by itself, because the person trusts the sender
	RightsChanged   Kind = "rights-changed"
	ReceivedExpires Kind = "received-expires"
	ReceivedEnded   Kind = "received-ended"

	// About what the person shares.
	Accepted       Kind = "accepted"
	Declined       Kind = "declined"
	GivenBack      Kind = "given-back"
	DeliveryFailed Kind = "delivery-failed"
	SentExpires    Kind = "sent-expires"
	SentExpired    Kind = "sent-expired"
	RecipientGone  Kind = "recipient-gone"
	Reshared       Kind = "reshared"       // a recipient with the right to has included someone
	ReshareUndone  Kind = "reshare-undone" // and takes it back

	// About whom the person knows.
	InviteAccepted   Kind = "invite-accepted"
	AcceptanceDone   Kind = "acceptance-done"
	AcceptanceFailed Kind = "acceptance-failed"

	// About requests for shares.
	Asked          Kind = "asked"
	RequestGranted Kind = "request-granted"
	RequestRefused Kind = "request-refused"
	RequestFailed  Kind = "request-failed"
)

// Kinds are all kinds, so that whoever puts them into words can see that none is
// missing.
var Kinds = []Kind{
	Received, Held, TakenOver, RightsChanged, ReceivedExpires, ReceivedEnded,
	Accepted, Declined, GivenBack, DeliveryFailed, SentExpires, SentExpired, RecipientGone, Reshared, ReshareUndone,
	InviteAccepted, AcceptanceDone, AcceptanceFailed,
	Asked, RequestGranted, RequestRefused, RequestFailed,
}

// Params are what a notice says of its event. They are names, ids and stable
// words, never a sentence, except for what someone else wrote.
type Params struct {
	Share      string   `json:"share,omitempty" doc:"id of the share"`
	Request    string   `json:"request,omitempty" doc:"id of the request for a share"`
	Acceptance string   `json:"acceptance,omitempty" doc:"id of the invite that was accepted"`
	Contact    string   `json:"contact,omitempty" doc:"id in the address book"`
	Name       string   `json:"name,omitempty" doc:"of what is shared"`
	Path       string   `json:"path,omitempty" doc:"where it is among the person's own files"`
	Folder     bool     `json:"folder,omitempty"`
	Who        string   `json:"who,omitempty" doc:"address of the other person, or of a group"`
	WhoName    string   `json:"whoName,omitempty"`
	With       string   `json:"with,omitempty" doc:"address of a third person"`
	Host       string   `json:"host,omitempty" doc:"the other server"`
	Rights     []string `json:"rights,omitempty"`
	Until      int64    `json:"until,omitempty" doc:"when the share ends, in Unix milliseconds"`
	Count      int64    `json:"count,omitempty" doc:"how many shares it is about"`
	Reason     string   `json:"reason,omitempty" doc:"a stable word for why"`
	Code       string   `json:"code,omitempty" doc:"the other server's code"`
	Words      string   `json:"words,omitempty" doc:"what the other person wrote"`
}

// Notice is something that happened, for one person.
type Notice struct {
	bun.BaseModel `bun:"table:notices"`

	ID      string `bun:",pk"`
	UserID  string
	Kind    Kind
	Subject string // what it is about: the same again is folded into one
	Params  string // JSON; see About
	Request string // id of the request that it came of
	Times   int64  // how often it happened
	Since   int64  // the first time
	At      int64  // the latest
	ReadAt  int64
	MailID  string // the e-mail that is to tell of it
}

// About is what the notice says of its event.
func (n *Notice) About() Params {
	var p Params
	if json.Unmarshal([]byte(n.Params), &p) != nil {
		return Params{}
	}
	return p
}

// Bounds of what is kept. What others wrote may be long; a notice shows where it
// begins.
const (
	maxName    = 255  // bytes
	maxAddress = 1024 // bytes
	maxPath    = 4096 // bytes
	maxWords   = 500  // bytes
	maxKept    = 1000 // a person's notices
	maxPage    = 100  // notices of one answer
	foldWithin = 1 * time.Hour
)

// clean bounds and cleans what peers had a part in.
func (p Params) clean() Params {
	p.Words = strings.Join(strings.Fields(p.Words), " ") // of several lines
	for _, f := range []struct {
		text *string
		max  int
	}{
		{&p.Name, maxName}, {&p.WhoName, maxName}, {&p.Who, maxAddress}, {&p.With, maxAddress}, {&p.Host, maxName},
		{&p.Path, maxPath}, {&p.Words, maxWords}, {&p.Code, maxName}, {&p.Reason, maxName},
		{&p.Share, maxName}, {&p.Request, maxName}, {&p.Acceptance, maxName}, {&p.Contact, maxName},
	} {
		*f.text = cut(ocm.DisplayName(strings.ToValidUTF8(*f.text, "")), f.max)
	}
	return p
}

func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "…"
}

// Service keeps the notices and sends the e-mails.
type Service struct {
	DB       *store.DB
	Accounts *account.Accounts
	Now      func() time.Time
	Log      *slog.Logger
	Keep     time.Duration // how long a notice stays; 0: for ever

	// Send sends an e-mail, and Compose puts notices into the words of one. Both
	// nil: no e-mail is sent.
	Send    func(ctx context.Context, m Mail) error
	Compose func(l Letter) (Mail, error)
	// Confirming is the e-mail with the link that confirms a new address until
	// some time, Changed the one to the address before.
	Confirming func(u account.User, token ocm.Secret, until time.Time) Mail
	Changed    func(u account.User, email string) Mail
	Mailing    Mailing

	sending sync.Mutex
}

// Event is something that happened, before it is known to whom.
type Event struct {
	Kind    Kind
	Subject string // what it is about; "" for the share or other thing that About names
	About   Params
	Request string // "" for that of the context
	Fresh   bool   // nothing can have been told of its subject before
}

// Put writes a notice of an event for each of some people, in the transaction of
// the event. Where a person has not read of the same event about the same thing a
// short while ago, that notice is brought up to date instead.
func (s *Service) Put(ctx context.Context, tx bun.IDB, e Event, userIDs ...string) error {
	if len(userIDs) == 0 {
		return nil
	}
	about := e.About.clean()
	params, err := json.Marshal(about)
	if err != nil {
		return err
	}
	now := s.Now().UnixMilli()
	subject := cmp.Or(e.Subject, about.Share, about.Request, about.Acceptance, about.Who)
	var before []Notice
	if !e.Fresh {
		err = tx.NewSelect().Model(&before).Column("id", "user_id", "times", "since", "mail_id").
			Where("user_id IN (?)", bun.List(userIDs)).Where("kind = ? AND subject = ?", e.Kind, subject).
			Where("read_at = 0 AND at > ?", now-foldWithin.Milliseconds()).Scan(ctx)
		if err != nil {
			return err
		}
	}
	folded := map[string]Notice{}
	for _, n := range before {
		folded[n.UserID] = n
	}
	rows := make([]Notice, 0, len(userIDs))
	fresh := make([]string, 0, len(userIDs))
	for _, id := range userIDs {
		n := Notice{
			ID: store.NewID(), UserID: id, Kind: e.Kind, Subject: subject, Params: string(params),
			Request: cmp.Or(e.Request, explain.Request(ctx)), Times: 1, Since: now, At: now,
		}
		if old, ok := folded[id]; ok {
			n.Times, n.Since, n.MailID = old.Times+1, old.Since, old.MailID
		} else {
			fresh = append(fresh, id)
		}
		rows = append(rows, n)
	}
	mails, err := s.mails(ctx, tx, fresh)
	if err != nil {
		return err
	}
	for i := range rows {
		if id, ok := mails[rows[i].UserID]; ok {
			rows[i].MailID = id
		}
	}
	if len(before) > 0 {
		if _, err := tx.NewDelete().Model(&before).WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	_, err = store.Insert(ctx, tx, rows, "")
	return err
}

// Settled marks as read what a person has been told about something that they
// have dealt with since.
func (s *Service) Settled(ctx context.Context, tx bun.IDB, userID, subject string) error {
	_, err := tx.NewUpdate().Model((*Notice)(nil)).Set("read_at = ?", s.Now().UnixMilli()).
		Where("user_id = ? AND read_at = 0 AND subject = ?", userID, subject).Exec(ctx)
	return err
}

// Page is some of a person's notices, the newest first.
type Page struct {
	Notices []Notice
	Next    string // the id to go on from; "" at the end
	Unread  int64
}

// List gives notices older than the one named by before; from the newest on for
// "".
func (s *Service) List(ctx context.Context, userID, before string, unreadOnly bool, limit int) (*Page, error) {
	limit = min(max(limit, 1), maxPage)
	p := &Page{Notices: []Notice{}}
	q := s.DB.Read.NewSelect().Model(&p.Notices).Where("user_id = ?", userID).Order("id DESC").Limit(int64(limit) + 1)
	if before != "" {
		q = q.Where("id < ?", before)
	}
	if unreadOnly {
		q = q.Where("read_at = 0")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, err
	}
	if len(p.Notices) > limit {
		p.Notices = p.Notices[:limit]
		p.Next = p.Notices[limit-1].ID
	}
	var err error
	p.Unread, err = s.Unread(ctx, userID)
	return p, err
}

// ErrNone says that a person has no such notice.
var ErrNone = ocm.NewError(http.StatusNotFound, "NOTICE_NOT_FOUND", "There is no such notice any more.")

// Get finds a notice of a person.
func (s *Service) Get(ctx context.Context, userID, id string) (*Notice, error) {
	n := &Notice{}
	err := s.DB.Read.NewSelect().Model(n).Where("user_id = ? AND id = ?", userID, id).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNone
	}
	return n, err
}

// Unread counts what a person has not read.
func (s *Service) Unread(ctx context.Context, userID string) (int64, error) {
	return s.DB.Read.NewSelect().Model((*Notice)(nil)).Where("user_id = ? AND read_at = 0", userID).Count(ctx)
}

// MarkRead marks one notice of a person, or all for "", as read. One that is gone
// was read, or there is something newer in its place.
func (s *Service) MarkRead(ctx context.Context, userID, id string) error {
	q := s.DB.Write.NewUpdate().Model((*Notice)(nil)).Set("read_at = ?", s.Now().UnixMilli()).Where("user_id = ? AND read_at = 0", userID)
	if id != "" {
		q = q.Where("id = ?", id)
	}
	_, err := q.Exec(ctx)
	return err
}

// Sweep removes what is old, and the oldest of those who have too many.
func (s *Service) Sweep(ctx context.Context) error {
	if s.Keep > 0 {
		if _, err := s.DB.Write.NewDelete().Model((*Notice)(nil)).Where("at < ?", s.Now().Add(-s.Keep).UnixMilli()).Exec(ctx); err != nil {
			return err
		}
	}
	var full []string
	err := s.DB.Read.NewSelect().Model((*Notice)(nil)).Column("user_id").Group("user_id").Having("COUNT(*) > ?", maxKept).Scan(ctx, &full)
	if err != nil {
		return err
	}
	for _, id := range full {
		last := s.DB.Read.NewSelect().Model((*Notice)(nil)).Column("id").Where("user_id = ?", id).Order("id DESC").Limit(1).Offset(maxKept - 1)
		if _, err := s.DB.Write.NewDelete().Model((*Notice)(nil)).Where("user_id = ?", id).Where("id < (?)", last).Exec(ctx); err != nil {
			return err
		}
	}
	if err := s.sweepChanges(ctx); err != nil {
		return err
	}
	return s.sweepMails(ctx)
}

// Run removes what is old, and sends the e-mails that are due, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	sweep, send := time.NewTicker(time.Minute), time.NewTicker(sendEvery)
	defer sweep.Stop()
	defer send.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("old notices cannot be removed", "error", err)
			}
		case <-send.C:
			if err := s.SendDue(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("e-mails cannot be sent", "error", err)
			}
		}
	}
}
