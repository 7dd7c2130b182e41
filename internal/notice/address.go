package notice

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Errors people meet.
var (
	ErrNoMail       = ocm.NewError(http.StatusConflict, "NO_EMAILS_HERE", "This server sends no e-mails. Ask the people who run it to enter your address.")
	ErrSameEmail    = ocm.NewError(http.StatusConflict, "EMAIL_SAME", "That is your e-mail address already.")
	ErrManyEmails   = ocm.NewError(http.StatusTooManyRequests, "EMAIL_TOO_OFTEN", "Several confirmations were asked for within the hour. Look for them among unwanted e-mails, or try again in an hour.").RetryIn(time.Hour)
	ErrEmailUnsent  = ocm.NewError(http.StatusServiceUnavailable, "EMAIL_UNSENT", "The confirmation could not be sent. Check the address, and try again later; nothing has changed.")
	ErrEmailExpired = ocm.NewError(http.StatusGone, "EMAIL_LINK_INVALID", "This link was used, replaced by a newer one, or is too old. Ask for a new confirmation in the settings.")
)

// Bounds of confirmations.
const (
	ConfirmWithin = 24 * time.Hour
	confirmations = 5 // of one person within an hour: they go to addresses of others' choosing
	confirmBudget = 10 * time.Second
	keepChanges   = 7 * 24 * time.Hour // in which the old address can be told
)

// AddressChange is an address that a person wants to be reached at.
type AddressChange struct {
	bun.BaseModel `bun:"table:email_changes"`

	ID        string `bun:",pk"`
	UserID    string
	Email     string
	OldEmail  string
	TokenHash string
	CreatedAt int64
	ExpiresAt int64
	DoneAt    int64
	TellAt    int64
	Attempts  int64
}

// ChangeAddress sends a link to a new address. Nothing changes before it is
// opened and confirmed. The SMTP server is our own, and the person waits for the
// e-mail anyway: so it is sent at once, and what failed is said at once.
func (s *Service) ChangeAddress(ctx context.Context, u account.User, email string) error {
	email = strings.TrimSpace(email)
	if !s.Mailed() {
		return ErrNoMail
	}
	if err := mail.CheckAddress(email); err != nil {
		return err
	}
	if email == u.Email {
		return ErrSameEmail
	}
	now, token := s.Now(), rand.Text()
	c := AddressChange{
		ID: store.NewID(), UserID: u.ID, Email: email, OldEmail: u.Email, TokenHash: seal.HashHex(ocm.Secret(token)),
		CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(ConfirmWithin).UnixMilli(),
	}
	// The row is there before the e-mail, so that however many requests come at
	// once, few are sent.
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		sent, err := tx.NewSelect().Model((*AddressChange)(nil)).Where("user_id = ? AND created_at > ?", u.ID, now.Add(-time.Hour).UnixMilli()).Count(ctx)
		if err != nil {
			return err
		}
		if sent >= confirmations {
			return ErrManyEmails
		}
		if err := s.void(ctx, tx, u.ID); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&c).Exec(ctx); err != nil {
			return err
		}
		return audit.Note(ctx, tx, now, audit.Event{Action: "user.email-asked", Kind: "user", ID: u.ID, Name: u.Name, Details: audit.Details{"email": email}})
	})
	if err != nil {
		return err
	}
	m := s.Confirming(u, ocm.Secret(token), store.Time(c.ExpiresAt))
	m.To = email
	soon, cancel := context.WithTimeout(ctx, confirmBudget)
	defer cancel()
	if err := s.Send(soon, m); err != nil {
		s.Log.Warn("a confirmation of an address was not sent", "user", u.Name, "error", err)
		// This one alone: another may have been sent meanwhile.
		if _, err := s.DB.Write.NewUpdate().Model(&c).Set("token_hash = ''").WherePK().Exec(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		return ErrEmailUnsent.With(err)
	}
	return nil
}

// WithdrawAddress has a link that was sent lead nowhere.
func (s *Service) WithdrawAddress(ctx context.Context, userID string) error {
	return s.void(ctx, s.DB.Write, userID)
}

func (s *Service) void(ctx context.Context, db bun.IDB, userID string) error {
	_, err := db.NewUpdate().Model((*AddressChange)(nil)).Set("token_hash = ''").Where("user_id = ? AND token_hash <> ''", userID).Exec(ctx)
	return err
}

// AwaitedAddress is the address that waits to be confirmed; nil for none.
func (s *Service) AwaitedAddress(ctx context.Context, userID string) (*AddressChange, error) {
	var c AddressChange
	err := s.DB.Read.NewSelect().Model(&c).Where("user_id = ? AND token_hash <> '' AND expires_at > ?", userID, s.Now().UnixMilli()).
		Where("old_email = (SELECT email FROM users WHERE id = user_id)").Limit(1).Scan(ctx)
	if store.NotFound(err) {
		return nil, nil
	}
	return &c, err
}

// AddressAsked tells what a link would change, and for whom.
func (s *Service) AddressAsked(ctx context.Context, token ocm.Secret) (account.User, AddressChange, error) {
	return s.asked(ctx, s.DB.Read, token)
}

func (s *Service) asked(ctx context.Context, db bun.IDB, token ocm.Secret) (u account.User, c AddressChange, err error) {
	err = db.NewSelect().Model(&c).Where("token_hash = ? AND expires_at > ?", seal.HashHex(token), s.Now().UnixMilli()).Scan(ctx)
	if err == nil {
		// An address that an administrator entered meanwhile stands.
		err = db.NewSelect().Model(&u).Where("id = ? AND email = ? AND NOT disabled", c.UserID, c.OldEmail).Scan(ctx)
	}
	if store.NotFound(err) {
		err = ErrEmailExpired
	}
	return u, c, err
}

// ConfirmAddress makes the address that a link was sent to the person's own, once.
// The old address will be told.
func (s *Service) ConfirmAddress(ctx context.Context, token ocm.Secret) (u account.User, err error) {
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var c AddressChange
		if u, c, err = s.asked(ctx, tx, token); err != nil {
			return err
		}
		now := s.Now().UnixMilli()
		q := tx.NewUpdate().Model((*AddressChange)(nil)).Set("token_hash = ''").Set("done_at = ?", now).Where("id = ?", c.ID)
		if c.OldEmail != "" {
			q = q.Set("tell_at = ?", now)
		}
		if _, err := q.Exec(ctx); err != nil {
			return err
		}
		u, err = s.Accounts.SetEmail(ctx, tx, u, c.Email)
		return err
	})
	return u, err
}

// tellOld tells old addresses that they are no longer in use.
func (s *Service) tellOld(ctx context.Context) error {
	var due []AddressChange
	err := s.DB.Read.NewSelect().Model(&due).Where("tell_at > 0 AND tell_at <= ?", s.Now().UnixMilli()).Order("tell_at").Limit(atOnce).Scan(ctx)
	if err != nil {
		return err
	}
	for _, c := range due {
		if ctx.Err() != nil {
			return nil
		}
		// The attempt is recorded first, so that another server does not make it too.
		pause := s.Mailing.pause(c.Attempts+1) + time.Second
		res, err := s.DB.Write.NewUpdate().Model((*AddressChange)(nil)).Set("attempts = attempts + 1").Set("tell_at = ?", s.Now().Add(pause).UnixMilli()).
			Where("id = ? AND attempts = ?", c.ID, c.Attempts).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return err
		}
		u, err := s.Accounts.Get(ctx, c.UserID)
		if errors.Is(err, account.ErrNoUser) {
			continue // and the row with the user
		}
		if err != nil {
			return err
		}
		m := s.Changed(u, c.Email)
		m.To = c.OldEmail
		if err := s.Send(ctx, m); err != nil {
			s.Log.Warn("an old address was not told that it was replaced", "user", u.Name, "attempts", c.Attempts+1, "error", err)
			if !permanent(err) {
				continue
			}
		}
		if _, err := s.DB.Write.NewUpdate().Model((*AddressChange)(nil)).Set("tell_at = 0").Where("id = ?", c.ID).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sweepChanges removes what neither counts nor is to be told any more.
func (s *Service) sweepChanges(ctx context.Context) error {
	now := s.Now()
	_, err := s.DB.Write.NewDelete().Model((*AddressChange)(nil)).Where("expires_at < ? AND (tell_at = 0 OR created_at < ?)",
		now.UnixMilli(), now.Add(-keepChanges).UnixMilli()).Exec(ctx)
	return err
}
