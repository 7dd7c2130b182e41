package notice

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/store"
)

// Mail is an e-mail in words.
type Mail = mail.Message

// Letter is what an e-mail tells of.
type Letter struct {
	To      account.User
	Notices []Notice // the newest first
	More    int64    // how many others there are
	Daily   bool
}

// Mailing says when e-mails are sent.
type Mailing struct {
	Choice     string        // of people who made none: account.MailNever …
	DailyAt    time.Duration // after midnight by the server's clock
	FirstRetry time.Duration // the first pause, doubled each time
	MaxRetry   time.Duration
	GiveUp     time.Duration // the age at which an e-mail is given up
}

const (
	sendEvery = 2 * time.Second
	gather    = 10 * time.Second // what happens meanwhile goes into the same e-mail
	between   = 10 * time.Minute // two e-mails to one person
	maxInMail = 50               // notices
	atOnce    = 20               // e-mails of one round
	lease     = 5 * time.Minute  // in which a server that stopped is not waited for
	keepDead  = 14 * 24 * time.Hour

	mailPending = "pending"
	mailDead    = "dead"
)

// row of the e-mails to send
type queued struct {
	bun.BaseModel `bun:"table:mails"`

	ID        string `bun:",pk"`
	UserID    string
	Kind      string
	State     string
	Attempts  int64
	NextAt    int64
	LastError string
	CreatedAt int64
	UpdatedAt int64
}

// Mailed reports whether e-mails are sent at all.
func (s *Service) Mailed() bool { return s.Send != nil }

// Choice is when e-mails go to a person: account.MailNever, MailAtOnce or
// MailDaily.
func (s *Service) Choice(u account.User) string {
	return cmp.Or(u.Mail, s.Mailing.Choice, account.MailNever)
}

// mails finds, or makes, the e-mails that are to tell some people of something
// new; those who want none are not in it.
func (s *Service) mails(ctx context.Context, tx bun.IDB, userIDs []string) (map[string]string, error) {
	if !s.Mailed() || len(userIDs) == 0 {
		return nil, nil
	}
	var users []account.User
	err := tx.NewSelect().Model(&users).Column("id", "mail", "mailed_at").Where("id IN (?)", bun.List(userIDs)).Where("email <> ''").Scan(ctx)
	if err != nil {
		return nil, err
	}
	var waiting []queued
	err = tx.NewSelect().Model(&waiting).Column("id", "user_id", "kind").
		Where("user_id IN (?)", bun.List(userIDs)).Where("state = ?", mailPending).Scan(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	now := s.Now()
	for _, u := range users {
		m := queued{ID: store.NewID(), UserID: u.ID, Kind: s.Choice(u), State: mailPending, CreatedAt: now.UnixMilli(), UpdatedAt: now.UnixMilli()}
		switch m.Kind {
		case account.MailAtOnce:
			m.NextAt = max(now.Add(gather).UnixMilli(), u.MailedAt+between.Milliseconds())
		case account.MailDaily:
			m.NextAt = s.nextDaily(now).UnixMilli()
		default:
			continue
		}
		for _, w := range waiting {
			if w.UserID == u.ID && w.Kind == m.Kind {
				out[u.ID] = w.ID
			}
		}
		if out[u.ID] == "" {
			if _, err := tx.NewInsert().Model(&m).Exec(ctx); err != nil {
				return nil, err
			}
			out[u.ID] = m.ID
		}
	}
	return out, nil
}

func (s *Service) nextDaily(now time.Time) time.Time {
	y, m, d := now.Date()
	at := time.Date(y, m, d, 0, 0, 0, 0, now.Location()).Add(s.Mailing.DailyAt)
	if !at.After(now) {
		at = time.Date(y, m, d+1, 0, 0, 0, 0, now.Location()).Add(s.Mailing.DailyAt)
	}
	return at
}

// SendDue sends the e-mails whose time has come.
func (s *Service) SendDue(ctx context.Context) error {
	if !s.Mailed() {
		return nil
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.tellOld(ctx); err != nil {
		return err
	}
	var due []queued
	err := s.DB.Read.NewSelect().Model(&due).Where("state = ? AND next_at <= ?", mailPending, s.Now().UnixMilli()).
		Order("next_at").Limit(atOnce).Scan(ctx)
	if err != nil {
		return err
	}
	for _, m := range due {
		if ctx.Err() != nil {
			return nil
		}
		if err := s.sendOne(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// sendOne sends an e-mail and records what became of it. The attempt is recorded
// first, so that another server does not make it too.
func (s *Service) sendOne(ctx context.Context, m queued) error {
	res, err := s.DB.Write.NewUpdate().Model((*queued)(nil)).Set("attempts = attempts + 1").Set("next_at = ?", s.Now().Add(lease).UnixMilli()).
		Where("id = ? AND state = ? AND attempts = ?", m.ID, mailPending, m.Attempts).Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return err
	}
	m.Attempts++
	u, err := s.Accounts.Get(ctx, m.UserID)
	if errors.Is(err, account.ErrNoUser) {
		return nil // and the row with the user
	}
	if err != nil {
		return err
	}
	l := Letter{To: u, Daily: m.Kind == account.MailDaily}
	unread := func() *bun.SelectQuery {
		return s.DB.Read.NewSelect().Model(&l.Notices).Where("mail_id = ? AND read_at = 0", m.ID)
	}
	if err := unread().Order("id DESC").Limit(maxInMail).Scan(ctx); err != nil {
		return err
	}
	if len(l.Notices) == 0 || u.Email == "" || s.Choice(u) == account.MailNever {
		return s.drop(ctx, m.ID) // read meanwhile, or not wanted any more
	}
	newest := l.Notices[0].ID
	all, err := unread().Where("id <= ?", newest).Count(ctx)
	if err != nil {
		return err
	}
	l.More = all - int64(len(l.Notices))
	letter, err := s.Compose(l)
	if err != nil {
		return s.unsent(ctx, m, err, true)
	}
	letter.To = u.Email
	if err := s.Send(ctx, letter); err != nil {
		return s.unsent(ctx, m, err, permanent(err))
	}
	s.Log.Info("e-mail sent", "user", u.Name, "kind", m.Kind, "notices", len(l.Notices))
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error { return s.sent(ctx, tx, m, newest) })
}

// sent removes an e-mail that left. What came while it was under way is told by
// another.
func (s *Service) sent(ctx context.Context, tx bun.Tx, m queued, newest string) error {
	now := s.Now()
	_, err := tx.NewUpdate().Model((*Notice)(nil)).Set("mail_id = ''").Where("mail_id = ? AND id <= ?", m.ID, newest).Exec(ctx)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*account.User)(nil)).Set("mailed_at = ?", now.UnixMilli()).Where("id = ?", m.UserID).Exec(ctx)
	if err != nil {
		return err
	}
	more, err := tx.NewSelect().Model((*Notice)(nil)).Where("mail_id = ? AND read_at = 0", m.ID).Exists(ctx)
	if err != nil {
		return err
	}
	if !more {
		_, err = tx.NewDelete().Model((*queued)(nil)).Where("id = ?", m.ID).Exec(ctx)
		return err
	}
	next := now.Add(between)
	if m.Kind == account.MailDaily {
		next = s.nextDaily(now)
	}
	_, err = tx.NewUpdate().Model((*queued)(nil)).Where("id = ?", m.ID).Set("attempts = 0").Set("last_error = ''").
		Set("next_at = ?", next.UnixMilli()).Set("created_at = ?", now.UnixMilli()).Exec(ctx)
	return err
}

func permanent(err error) bool {
	f, ok := errors.AsType[*mail.Failure](err)
	return ok && f.Permanent
}

func (s *Service) drop(ctx context.Context, id string) error {
	_, err := s.DB.Write.NewDelete().Model((*queued)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// pause is how long to wait after so many attempts.
func (m Mailing) pause(attempts int64) time.Duration {
	d := m.FirstRetry
	for ; attempts > 1 && d < m.MaxRetry; attempts-- {
		d *= 2
	}
	return min(d, m.MaxRetry)
}

// unsent records a failed attempt: another follows, or the e-mail is given up.
func (s *Service) unsent(ctx context.Context, m queued, cause error, permanent bool) error {
	now := s.Now()
	q := s.DB.Write.NewUpdate().Model((*queued)(nil)).Where("id = ?", m.ID).Set("last_error = ?", cut(cause.Error(), maxWords)).Set("updated_at = ?", now.UnixMilli())
	log := s.Log.With("user", m.UserID, "kind", m.Kind, "attempts", m.Attempts, "error", cause)
	if permanent || now.Sub(store.Time(m.CreatedAt)) >= s.Mailing.GiveUp {
		log.Warn("e-mail given up")
		_, err := q.Set("state = ?", mailDead).Exec(ctx)
		return err
	}
	pause := s.Mailing.pause(m.Attempts)
	log.Info("e-mail not sent, will try again", "in", pause)
	_, err := q.Set("next_at = ?", now.Add(pause).UnixMilli()).Exec(ctx)
	return err
}

// Undelivered is why the latest e-mail to a person did not arrive; "" when it
// did, or none was sent.
func (s *Service) Undelivered(ctx context.Context, userID string) (why string, at time.Time, err error) {
	var m queued
	err = s.DB.Read.NewSelect().Model(&m).Where("user_id = ? AND last_error <> ''", userID).Order("updated_at DESC").Limit(1).Scan(ctx)
	if store.NotFound(err) {
		return "", time.Time{}, nil
	}
	return m.LastError, store.Time(m.UpdatedAt), err
}

// sweepMails forgets e-mails that were given up long ago.
func (s *Service) sweepMails(ctx context.Context) error {
	_, err := s.DB.Write.NewDelete().Model((*queued)(nil)).Where("state = ? AND updated_at < ?", mailDead, s.Now().Add(-keepDead).UnixMilli()).Exec(ctx)
	return err
}
