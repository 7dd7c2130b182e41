package account

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

const (
	kindSession = "session"
	kindApp     = "app"

	sessionIdle     = 30 * 24 * time.Hour // a session unused for so long ends
	lastUsedPrecise = time.Minute
)

// SessionLife is the age at which any session ends.
const SessionLife = 90 * 24 * time.Hour

// Credential is a session or an app password. Only its hash is kept.
type Credential struct {
	bun.BaseModel `bun:"table:credentials"`

	ID         string `bun:",pk"`
	UserID     string
	Kind       string
	Label      string
	Hash       string
	CreatedAt  int64
	LastUsedAt int64
	ExpiresAt  int64  // 0: never
	BegunFrom  string // the client's address at the sign-in; "" for app passwords
}

// Errors of signing in.
var (
	ErrCredentials = ocm.NewError(http.StatusUnauthorized, "CREDENTIALS_INVALID", "The name or the password is not right.")
	ErrSession     = ocm.NewError(http.StatusUnauthorized, "SESSION_INVALID", "The session has ended or the token is not known. Log in again.")
	ErrAttempts    = ocm.NewError(http.StatusTooManyRequests, "TOO_MANY_ATTEMPTS", "Too many wrong passwords. Wait a little and try again.")
	ErrNoSession   = ocm.NewError(http.StatusNotFound, "SESSION_NOT_FOUND", "There is no such session; it may have ended meanwhile.")
	ErrOldPassword = ocm.NewError(http.StatusForbidden, "PASSWORD_WRONG", "The present password is not right.")
	ErrDisabled    = ocm.NewError(http.StatusForbidden, "SIGN_IN_DISABLED", "This account is closed for now. Ask the operator of this server.")
	ErrNoSuchApp   = ocm.NewError(http.StatusNotFound, "APP_PASSWORD_NOT_FOUND", "There is no such app password.")
)

// AppPassword makes a new app password for WebDAV and the command line. It is
// returned this once; only its hash is kept.
func (a *Accounts) AppPassword(ctx context.Context, userID, label string) (ocm.Secret, error) {
	if len(label) > 255 {
		return "", ocm.Invalid("label", "is longer than 255 bytes")
	}
	b := make([]byte, 15) // 120 bits, 24 characters
	rand.Read(b)
	s := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
	secret := ocm.Secret(s[:6] + "-" + s[6:12] + "-" + s[12:18] + "-" + s[18:])
	return secret, a.grant(ctx, secret, Credential{UserID: userID, Kind: kindApp, Label: ocm.DisplayName(label)})
}

// begun and ended are what the audit calls the acts on a kind of credential.
var (
	begun = map[string]audit.Action{kindSession: "session.began", kindApp: "app-password.made"}
	ended = map[string]audit.Action{kindSession: "session.ended", kindApp: "app-password.ended"}
)

func (a *Accounts) grant(ctx context.Context, secret ocm.Secret, c Credential) error {
	c.ID, c.Hash, c.CreatedAt = store.NewID(), seal.HashHex(secret), a.now().UnixMilli()
	c.LastUsedAt = c.CreatedAt
	return a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&c).Exec(ctx); err != nil {
			return err
		}
		return a.note(ctx, tx, begun[c.Kind], c.UserID, audit.Details{"label": c.Label, "credential": c.ID})
	})
}

// end deletes a credential that conditions name, and reports whether there was
// one.
func (a *Accounts) end(ctx context.Context, where string, args ...any) (found bool, err error) {
	err = a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var c Credential
		err := tx.NewSelect().Model(&c).Where(where, args...).Scan(ctx)
		if store.NotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		if _, err := tx.NewDelete().Model(&c).WherePK().Exec(ctx); err != nil {
			return err
		}
		return a.note(ctx, tx, ended[c.Kind], c.UserID, audit.Details{"label": c.Label, "credential": c.ID})
	})
	return found, err
}

// AppPasswords lists a user's app passwords, without the passwords.
func (a *Accounts) AppPasswords(ctx context.Context, userID string) ([]Credential, error) {
	var out []Credential
	err := a.db.Read.NewSelect().Model(&out).ExcludeColumn("hash").
		Where("user_id = ? AND kind = ?", userID, kindApp).Order("id").Scan(ctx)
	return out, err
}

// RevokeAppPassword ends an app password at once.
func (a *Accounts) RevokeAppPassword(ctx context.Context, userID, id string) error {
	found, err := a.end(ctx, "id = ? AND user_id = ? AND kind = ?", id, userID, kindApp)
	if err == nil && !found {
		err = ErrNoSuchApp
	}
	return err
}

// Login checks a name and password from an address and begins a session.
func (a *Accounts) Login(ctx context.Context, name string, password ocm.Secret, from, label string) (User, ocm.Secret, error) {
	u, err := a.Authenticate(ctx, name, password, from)
	if err != nil {
		return User{}, "", err
	}
	ctx = audit.As(ctx, audit.User, u.ID, u.Name)
	token := seal.Token(32)
	return u, token, a.grant(ctx, token, Credential{
		UserID: u.ID, Kind: kindSession, Label: shortened(ocm.DisplayName(label)), BegunFrom: from, ExpiresAt: a.now().Add(SessionLife).UnixMilli(),
	})
}

// shortened is the part of a session's label that is kept.
func shortened(label string) string {
	if len(label) > 255 {
		return strings.ToValidUTF8(label[:255], "")
	}
	return label
}

// Logout ends the session of a token.
func (a *Accounts) Logout(ctx context.Context, token ocm.Secret) error {
	_, err := a.end(ctx, "hash = ? AND kind = ?", seal.HashHex(token), kindSession)
	return err
}

// Session is a place where someone is signed in.
type Session struct {
	Credential `bun:",extend"`

	Current bool `bun:"-"` // the one that asks
}

// Sessions lists where a user is signed in, the latest used first. token is that
// of who asks; "" when it is no session.
func (a *Accounts) Sessions(ctx context.Context, userID string, token ocm.Secret) ([]Session, error) {
	var all []Session
	err := a.db.Read.NewSelect().Model(&all).Where("user_id = ? AND kind = ?", userID, kindSession).
		Where("expires_at > ? AND last_used_at >= ?", a.now().UnixMilli(), a.now().Add(-sessionIdle).UnixMilli()).
		Order("last_used_at DESC", "id DESC").Limit(1000).Scan(ctx)
	hash := seal.HashHex(token)
	for i := range all {
		all[i].Current = all[i].Hash == hash
		all[i].Hash = ""
	}
	return all, err
}

// EndSession signs a user out in one place.
func (a *Accounts) EndSession(ctx context.Context, userID, id string) error {
	found, err := a.end(ctx, "id = ? AND user_id = ? AND kind = ?", id, userID, kindSession)
	if err == nil && !found {
		err = ErrNoSession
	}
	return err
}

// EndOtherSessions signs a user out everywhere but in the session of token, and
// tells of how many.
func (a *Accounts) EndOtherSessions(ctx context.Context, userID string, token ocm.Secret) (int64, error) {
	var ended int64
	err := a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if ended, err = endSessions(ctx, tx, userID, token); err != nil || ended == 0 {
			return err
		}
		return a.note(ctx, tx, "session.ended", userID, audit.Details{"others": ended})
	})
	return ended, err
}

func endSessions(ctx context.Context, db bun.IDB, userID string, but ocm.Secret) (int64, error) {
	res, err := db.NewDelete().Model((*Credential)(nil)).
		Where("user_id = ? AND kind = ? AND hash <> ?", userID, kindSession, seal.HashHex(but)).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// ChangePassword gives a user who knows the present password another one, and
// ends all sessions but that of token. from is where the attempt comes from:
// guessing is slowed down as at the sign-in.
func (a *Accounts) ChangePassword(ctx context.Context, u User, present, next ocm.Secret, from string, token ocm.Secret) error {
	if wait := a.failures.wait(u.Name, from); wait > 0 {
		return ErrAttempts.RetryIn(wait)
	}
	if len(present) > 1024 || !a.verified.verify(u, present) {
		a.failures.record(u.Name, from)
		return ErrOldPassword
	}
	return a.setPassword(ctx, u.ID, next, token)
}

// Authenticate checks a name with an app password or the password. Wrong names
// and wrong passwords give the same answer in the same time.
func (a *Accounts) Authenticate(ctx context.Context, name string, secret ocm.Secret, from string) (User, error) {
	if wait := a.failures.wait(name, from); wait > 0 {
		return User{}, ErrAttempts.RetryIn(wait).With(a.attempt(ctx, name))
	}
	u, err := a.credential(ctx, secret, kindApp)
	if err == nil && SameName(u.Name, name) {
		return u, nil
	}
	if err != nil && !errors.Is(err, ErrSession) && !errors.Is(err, ErrDisabled) {
		return User{}, err
	}
	u, err = a.ByName(ctx, name)
	if err != nil && !errors.Is(err, ErrNoUser) {
		return User{}, err
	}
	if len(secret) > 1024 {
		secret = ""
	}
	if err != nil {
		u = User{PasswordHash: a.nobody()}
	}
	if right := a.verified.verify(u, secret); !right || err != nil {
		a.failures.record(name, from)
		return User{}, ErrCredentials.With(&Attempt{u.ID, u.Name})
	}
	if u.Disabled { // told to who knows the password alone
		return User{}, ErrDisabled.With(&Attempt{u.ID, u.Name})
	}
	return u, nil
}

// Attempt is the cause behind a refused sign-in: as whom, for the operator. Both
// are empty when there is no such user: what was typed may be a password in the
// wrong field, and is not kept.
type Attempt struct{ UserID, Name string }

func (a *Attempt) Error() string {
	if a.UserID == "" {
		return "there is no such user"
	}
	return "as " + a.Name
}

func (a *Accounts) attempt(ctx context.Context, name string) *Attempt {
	u, err := a.ByName(ctx, name)
	if err != nil {
		return &Attempt{}
	}
	return &Attempt{u.ID, u.Name}
}

// AuthenticateSession finds whose session a token is.
func (a *Accounts) AuthenticateSession(ctx context.Context, token ocm.Secret) (User, error) {
	return a.credential(ctx, token, kindSession)
}

// AuthenticateBearer finds who a session token or app password belongs to.
func (a *Accounts) AuthenticateBearer(ctx context.Context, token ocm.Secret) (User, error) {
	return a.credential(ctx, token, kindSession, kindApp)
}

func (a *Accounts) credential(ctx context.Context, secret ocm.Secret, kinds ...string) (User, error) {
	var c Credential
	err := a.db.Read.NewSelect().Model(&c).Where("hash = ? AND kind IN (?)", seal.HashHex(secret), bun.List(kinds)).Scan(ctx)
	if store.NotFound(err) {
		return User{}, ErrSession
	}
	if err != nil {
		return User{}, err
	}
	now := a.now()
	if c.ExpiresAt != 0 && now.UnixMilli() >= c.ExpiresAt ||
		c.Kind == kindSession && now.Sub(time.UnixMilli(c.LastUsedAt)) > sessionIdle {
		return User{}, ErrSession
	}
	if now.Sub(time.UnixMilli(c.LastUsedAt)) > lastUsedPrecise {
		_, err := a.db.Write.NewUpdate().Model((*Credential)(nil)).Set("last_used_at = ?", now.UnixMilli()).Where("id = ?", c.ID).Exec(ctx)
		if err != nil {
			return User{}, err
		}
	}
	u, err := a.Get(ctx, c.UserID)
	if err == nil && u.Disabled {
		return User{}, ErrDisabled
	}
	return u, err
}
