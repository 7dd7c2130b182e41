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
	ExpiresAt  int64 // 0: never
}

// Errors of signing in.
var (
	ErrCredentials = ocm.NewError(http.StatusUnauthorized, "CREDENTIALS_INVALID", "The name or the password is not right.")
	ErrSession     = ocm.NewError(http.StatusUnauthorized, "SESSION_INVALID", "The session has ended or the token is not known. Log in again.")
	ErrAttempts    = ocm.NewError(http.StatusTooManyRequests, "TOO_MANY_ATTEMPTS", "Too many wrong passwords. Wait a little and try again.")
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
	return secret, a.grant(ctx, userID, kindApp, label, secret, 0)
}

// begun and ended are what the audit calls the acts on a kind of credential.
var (
	begun = map[string]string{kindSession: "session.began", kindApp: "app-password.made"}
	ended = map[string]string{kindSession: "session.ended", kindApp: "app-password.ended"}
)

func (a *Accounts) grant(ctx context.Context, userID, kind, label string, secret ocm.Secret, expires int64) error {
	now := a.now().UnixMilli()
	c := &Credential{
		ID: store.NewID(), UserID: userID, Kind: kind, Label: label, Hash: seal.HashHex(secret),
		CreatedAt: now, LastUsedAt: now, ExpiresAt: expires,
	}
	return a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(c).Exec(ctx); err != nil {
			return err
		}
		return a.note(ctx, tx, begun[kind], userID, audit.Details{"label": label, "credential": c.ID})
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
	return u, token, a.grant(ctx, u.ID, kindSession, label, token, a.now().Add(SessionLife).UnixMilli())
}

// Logout ends the session of a token.
func (a *Accounts) Logout(ctx context.Context, token ocm.Secret) error {
	_, err := a.end(ctx, "hash = ? AND kind = ?", seal.HashHex(token), kindSession)
	return err
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
		u = User{PasswordHash: nobody()}
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
