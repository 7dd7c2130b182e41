// Package account knows the people of this server: users, groups, passwords,
// app passwords and sessions.
package account

import (
	"context"
	"database/sql"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"
	"golang.org/x/text/unicode/norm"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Roles.
const (
	RoleUser  = "user"
	RoleAdmin = "admin"
)

// NoQuota is the quota of a user without one.
const NoQuota = -1

// User is a person of this server. Name is the identifier of the OCM Address.
type User struct {
	bun.BaseModel `bun:"table:users"`

	ID           string `bun:",pk"`
	Name         string
	NameKey      string
	DisplayName  string
	Email        string
	Role         string
	PasswordHash string
	Quota        int64  // bytes, NoQuota for none
	Language     string // of the pages and of what is sent; "" for the browser's
	Disabled     bool   // may not sign in
	CreatedAt    int64
	Mail         string // when notices go by e-mail: MailNever …; "" for no choice
	MailedAt     int64
}

// When notices go to a person by e-mail.
const (
	MailNever  = "never"
	MailAtOnce = "at-once"
	MailDaily  = "daily"
)

// Admin reports whether the user may do what operators do.
func (u User) Admin() bool { return u.Role == RoleAdmin }

// Errors people meet.
var (
	ErrNoUser      = ocm.NewError(http.StatusNotFound, "USER_NOT_FOUND", "There is no user of that name here.")
	ErrUserExists  = ocm.NewError(http.StatusConflict, "USER_EXISTS", "There is a user of that name already. Choose another name.")
	ErrUserName    = ocm.NewError(http.StatusBadRequest, "NAME_INVALID", "A name has 1 to 64 letters, digits or . _ - and begins with a letter or digit.")
	ErrPassword    = ocm.NewError(http.StatusBadRequest, "PASSWORD_TOO_SHORT", "A password has at least 10 characters.")
	ErrLongPass    = ocm.NewError(http.StatusBadRequest, "PASSWORD_TOO_LONG", "A password has at most 1024 bytes.")
	ErrNoGroup     = ocm.NewError(http.StatusNotFound, "GROUP_NOT_FOUND", "There is no group of that name here.")
	ErrGroupExists = ocm.NewError(http.StatusConflict, "GROUP_EXISTS", "There is a group of that name already. Choose another name.")
	ErrLastAdmin   = ocm.NewError(http.StatusConflict, "LAST_ADMINISTRATOR", "This is the last administrator who can sign in. Make another one first.")
	ErrRole        = ocm.Invalid("role", "must be user or admin")
)

// Accounts manages users, groups and credentials.
type Accounts struct {
	db       *store.DB
	now      func() time.Time
	verified *passwordCache
	failures *failures
	cost     Cost
	nobody   func() string // checked in place of a user who does not exist, so that both take the same time
}

// New makes Accounts on a database; passwords are hashed at the cost.
func New(db *store.DB, now func() time.Time, cost Cost) *Accounts {
	return &Accounts{
		db: db, now: now, verified: newPasswordCache(now), failures: newFailures(now), cost: cost,
		nobody: sync.OnceValue(func() string { return cost.hash("nobody has this password") }),
	}
}

// SameName reports whether two names are one user's: they are compared without
// regard to case.
func SameName(a, b string) bool { return nameKey(a) == nameKey(b) }

func nameKey(name string) string { return strings.ToLower(norm.NFC.String(name)) }

func validName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", c)) {
			return false
		}
	}
	return true
}

// NewUser is what an operator gives of a user.
type NewUser struct {
	Name        string
	DisplayName string // default: Name
	Email       string
	Password    ocm.Secret
	Admin       bool
	Quota       int64 // bytes; 0 or less: none
}

// Add makes a user.
func (a *Accounts) Add(ctx context.Context, n NewUser) (User, error) {
	if !validName(n.Name) {
		return User{}, ErrUserName
	}
	if err := checkPassword(n.Password); err != nil {
		return User{}, err
	}
	if n.Quota <= 0 {
		n.Quota = NoQuota
	}
	u := User{
		ID: store.NewID(), Name: n.Name, NameKey: nameKey(n.Name), DisplayName: strings.TrimSpace(n.DisplayName), Email: n.Email,
		Role: RoleUser, Quota: n.Quota, CreatedAt: a.now().UnixMilli(),
	}
	if n.Admin {
		u.Role = RoleAdmin
	}
	if err := u.check(); err != nil {
		return User{}, err
	}
	u.PasswordHash = a.cost.hash(n.Password)
	err := a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&u).Exec(ctx); err != nil {
			return err
		}
		return audit.Note(ctx, tx, a.now(), u.event("user.added", audit.Details{"role": u.Role, "quota": u.Quota}))
	})
	if store.IsConflict(err) {
		return User{}, ErrUserExists
	}
	return u, err
}

// check holds the rules of what is written about a user, and gives who has none
// a name to show.
func (u *User) check() error {
	if u.DisplayName == "" {
		u.DisplayName = u.Name
	}
	if err := checkDisplayName(u.DisplayName); err != nil {
		return err
	}
	if u.Email != "" {
		if err := mail.CheckAddress(u.Email); err != nil {
			return err
		}
	}
	if u.Role != RoleUser && u.Role != RoleAdmin {
		return ErrRole
	}
	return nil
}

func checkDisplayName(name string) error {
	if len(name) > 255 || !utf8.ValidString(name) || ocm.DisplayName(name) != name {
		return ocm.Invalid("displayName", "has at most 255 bytes, without control characters")
	}
	return nil
}

// event is an act on a user, for the audit.
func (u *User) event(action audit.Action, details audit.Details) audit.Event {
	return audit.Event{Action: action, Kind: "user", ID: u.ID, Name: u.Name, Details: details}
}

func checkPassword(p ocm.Secret) error {
	switch v := p.Reveal(); {
	case utf8.RuneCountInString(v) < 10:
		return ErrPassword
	case len(v) > 1024:
		return ErrLongPass
	}
	return nil
}

// Get finds a user by id.
func (a *Accounts) Get(ctx context.Context, id string) (User, error) {
	return a.user(ctx, "id = ?", id)
}

// ByName finds a user by name.
func (a *Accounts) ByName(ctx context.Context, name string) (User, error) {
	return a.user(ctx, "name_key = ?", nameKey(name))
}

func (a *Accounts) user(ctx context.Context, where, arg string) (User, error) {
	var found []User
	err := a.db.Find(ctx, &found, where, arg)
	if err != nil {
		return User{}, err
	}
	if len(found) == 0 {
		return User{}, ErrNoUser
	}
	return found[0], nil
}

// List lists all users by name.
func (a *Accounts) List(ctx context.Context) ([]User, error) {
	var users []User
	err := a.db.Read.NewSelect().Model(&users).Order("name_key").Scan(ctx)
	return users, err
}

// minSearch is how much of a name has to be typed before people are suggested.
const minSearch = 2 // characters

// Search lists users whose name or display name begins with text, at most
// limit. Less than two characters find nobody: nobody is to page through all.
func (a *Accounts) Search(ctx context.Context, text string, limit int64) ([]User, error) {
	if utf8.RuneCountInString(text) < minSearch {
		return nil, nil
	}
	begins := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(nameKey(text)) + "%"
	var users []User
	err := a.db.Read.NewSelect().Model(&users).
		Where(`name_key LIKE ? ESCAPE '\' OR LOWER(display_name) LIKE ? ESCAPE '\'`, begins, begins).
		Order("name_key").Limit(limit).Scan(ctx)
	return users, err
}

// SetPassword gives a user another password and ends all sessions; app
// passwords stay.
func (a *Accounts) SetPassword(ctx context.Context, id string, p ocm.Secret) error {
	return a.setPassword(ctx, id, p, "")
}

// setPassword leaves the session of the token but.
func (a *Accounts) setPassword(ctx context.Context, id string, p, but ocm.Secret) error {
	if err := checkPassword(p); err != nil {
		return err
	}
	hash := a.cost.hash(p)
	a.verified.forget(id)
	return a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewUpdate().Model((*User)(nil)).Set("password_hash = ?", hash).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			return ErrNoUser
		}
		if _, err := endSessions(ctx, tx, id, but); err != nil {
			return err
		}
		return a.note(ctx, tx, "password.changed", id, nil)
	})
}

// note records an act on the user of an id.
func (a *Accounts) note(ctx context.Context, tx bun.IDB, action audit.Action, id string, details audit.Details) error {
	var u User
	if err := tx.NewSelect().Model(&u).Where("id = ?", id).Scan(ctx); err != nil {
		return err
	}
	return audit.Note(ctx, tx, a.now(), u.event(action, details))
}

// Profile is what people decide about themselves; nil leaves it as it is.
type Profile struct {
	DisplayName *string
	Mail        *string // MailNever, MailAtOnce or MailDaily
}

// ErrNoAddress says why there can be no e-mails.
var ErrNoAddress = ocm.NewError(http.StatusConflict, "NO_EMAIL_ADDRESS",
	"Your account has no e-mail address. Ask the operator of this server to enter one.")

// Edit changes what a user decides.
func (a *Accounts) Edit(ctx context.Context, u User, p Profile) (User, error) {
	if p.DisplayName != nil {
		u.DisplayName = strings.TrimSpace(*p.DisplayName)
	}
	if p.Mail != nil {
		switch *p.Mail {
		case MailAtOnce, MailDaily:
			if u.Email == "" {
				return u, ErrNoAddress
			}
		case MailNever:
		default:
			return u, ocm.Invalid("mail", "must be never, at-once or daily")
		}
		u.Mail = *p.Mail
	}
	if err := u.check(); err != nil {
		return u, err
	}
	err := a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewUpdate().Model(&u).Column("display_name", "mail").WherePK().Exec(ctx); err != nil {
			return err
		}
		return audit.Note(ctx, tx, a.now(), u.event("user.changed", audit.Details{"displayName": u.DisplayName, "mail": u.Mail}))
	})
	return u, err
}

// SetEmail makes an address that a person confirmed their own, in the caller's
// transaction.
func (a *Accounts) SetEmail(ctx context.Context, tx bun.IDB, u User, email string) (User, error) {
	changed := audit.Details{}
	change(&u.Email, &email, nil, "email", changed)
	if err := u.check(); err != nil {
		return u, err
	}
	if _, err := tx.NewUpdate().Model(&u).Column("email").WherePK().Exec(ctx); err != nil {
		return u, err
	}
	return u, audit.Note(ctx, tx, a.now(), u.event("user.changed", changed))
}

// Remove deletes a user with all credentials and memberships, in the caller's
// transaction; files and shares are the caller's to end first.
func (a *Accounts) Remove(ctx context.Context, tx bun.IDB, id string) error {
	a.verified.forget(id)
	var u User
	err := tx.NewSelect().Model(&u).Where("id = ?", id).Scan(ctx)
	if store.NotFound(err) {
		return ErrNoUser
	}
	if err != nil {
		return err
	}
	if err := a.othersLead(ctx, tx, &u); err != nil {
		return err
	}
	if _, err := tx.NewDelete().Model(&u).WherePK().Exec(ctx); err != nil {
		return err
	}
	return audit.Note(ctx, tx, a.now(), u.event("user.removed", audit.Details{"displayName": u.DisplayName, "role": u.Role}))
}

// othersLead fails with ErrLastAdmin when without a user nobody is left who can
// sign in and administrate.
func (a *Accounts) othersLead(ctx context.Context, tx bun.IDB, u *User) error {
	if !u.Admin() || u.Disabled {
		return nil
	}
	others, err := tx.NewSelect().Model((*User)(nil)).Where("role = ? AND NOT disabled AND id <> ?", RoleAdmin, u.ID).Exists(ctx)
	if err == nil && !others {
		err = ErrLastAdmin
	}
	return err
}

// Change is what an administrator writes about a user; nil leaves it as it is.
type Change struct {
	DisplayName *string
	Email       *string
	Role        *string
	Quota       *int64 // bytes; 0 or less: none
	Disabled    *bool  // whether the user may not sign in
}

// Update changes a user. Who is disabled is signed out everywhere.
func (a *Accounts) Update(ctx context.Context, id string, c Change) (User, error) {
	var u User
	err := a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		err := tx.NewSelect().Model(&u).Where("id = ?", id).Scan(ctx)
		if store.NotFound(err) {
			return ErrNoUser
		}
		if err != nil {
			return err
		}
		was, changed := u, audit.Details{}
		change(&u.DisplayName, c.DisplayName, strings.TrimSpace, "displayName", changed)
		change(&u.Email, c.Email, strings.TrimSpace, "email", changed)
		change(&u.Role, c.Role, nil, "role", changed)
		change(&u.Quota, c.Quota, func(bytes int64) int64 {
			if bytes <= 0 {
				return NoQuota
			}
			return bytes
		}, "quota", changed)
		change(&u.Disabled, c.Disabled, nil, "disabled", changed)
		if err := u.check(); err != nil || len(changed) == 0 {
			return err
		}
		if !u.Admin() || u.Disabled {
			if err := a.othersLead(ctx, tx, &was); err != nil {
				return err
			}
		}
		if u.Disabled && !was.Disabled {
			if _, err := endSessions(ctx, tx, id, ""); err != nil {
				return err
			}
		}
		if _, err := tx.NewUpdate().Model(&u).Column("display_name", "email", "role", "quota", "disabled").WherePK().Exec(ctx); err != nil {
			return err
		}
		return audit.Note(ctx, tx, a.now(), u.event("user.changed", changed))
	})
	return u, err
}

// change sets a value that is given, and notes what it was before.
func change[T comparable](is *T, to *T, mend func(T) T, name string, changed audit.Details) {
	if to == nil {
		return
	}
	v := *to
	if mend != nil {
		v = mend(v)
	}
	if v != *is {
		changed[name] = audit.Details{"from": *is, "to": v}
		*is = v
	}
}

// Group is a named set of users; it can be given shares by its address.
type Group struct {
	bun.BaseModel `bun:"table:groups"`

	ID          string `bun:",pk"`
	Name        string
	NameKey     string
	DisplayName string
	CreatedAt   int64
}

type membership struct {
	bun.BaseModel `bun:"table:group_members"`

	GroupID string `bun:",pk"`
	UserID  string `bun:",pk"`
}

// AddGroup makes a group.
func (a *Accounts) AddGroup(ctx context.Context, name, displayName string) (Group, error) {
	if !validName(name) {
		return Group{}, ErrUserName
	}
	if displayName = strings.TrimSpace(displayName); displayName == "" {
		displayName = name
	}
	if err := checkDisplayName(displayName); err != nil {
		return Group{}, err
	}
	g := Group{ID: store.NewID(), Name: name, NameKey: nameKey(name), DisplayName: displayName, CreatedAt: a.now().UnixMilli()}
	err := a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&g).Exec(ctx); err != nil {
			return err
		}
		return audit.Note(ctx, tx, a.now(), g.event("group.added", nil))
	})
	if store.IsConflict(err) {
		return Group{}, ErrGroupExists
	}
	return g, err
}

// event is an act on a group, for the audit.
func (g *Group) event(action audit.Action, details audit.Details) audit.Event {
	return audit.Event{Action: action, Kind: "group", ID: g.ID, Name: g.Name, Details: details}
}

// RenameGroup gives a group another name to show; its address stays.
func (a *Accounts) RenameGroup(ctx context.Context, id, displayName string) error {
	if displayName = strings.TrimSpace(displayName); displayName == "" {
		return ocm.Invalid("displayName", "is required")
	}
	if err := checkDisplayName(displayName); err != nil {
		return err
	}
	return a.inGroup(ctx, id, func(ctx context.Context, tx bun.Tx, g *Group) error {
		changed := audit.Details{}
		change(&g.DisplayName, &displayName, nil, "displayName", changed)
		if len(changed) == 0 {
			return nil
		}
		if _, err := tx.NewUpdate().Model(g).Column("display_name").WherePK().Exec(ctx); err != nil {
			return err
		}
		return audit.Note(ctx, tx, a.now(), g.event("group.changed", changed))
	})
}

// inGroup runs a change of a group.
func (a *Accounts) inGroup(ctx context.Context, id string, f func(ctx context.Context, tx bun.Tx, g *Group) error) error {
	return a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var g Group
		err := tx.NewSelect().Model(&g).Where("id = ?", id).Scan(ctx)
		if store.NotFound(err) {
			return ErrNoGroup
		}
		if err != nil {
			return err
		}
		return f(ctx, tx, &g)
	})
}

// GroupByName finds a group by name.
func (a *Accounts) GroupByName(ctx context.Context, name string) (Group, error) {
	var g Group
	err := a.db.Read.NewSelect().Model(&g).Where("name_key = ?", nameKey(name)).Scan(ctx)
	if store.NotFound(err) {
		return Group{}, ErrNoGroup
	}
	return g, err
}

// Groups lists all groups by name.
func (a *Accounts) Groups(ctx context.Context) ([]Group, error) {
	var groups []Group
	err := a.db.Read.NewSelect().Model(&groups).Order("name_key").Scan(ctx)
	return groups, err
}

// RemoveGroup deletes a group, in the caller's transaction; its members stay, and
// its shares are the caller's to end first.
func (a *Accounts) RemoveGroup(ctx context.Context, tx bun.IDB, g Group) error {
	if _, err := tx.NewDelete().Model(&g).WherePK().Exec(ctx); err != nil {
		return err
	}
	return audit.Note(ctx, tx, a.now(), g.event("group.removed", nil))
}

// AddMember puts a user into a group; one who is in it stays in it.
func (a *Accounts) AddMember(ctx context.Context, groupID, userID string) error {
	return a.member(ctx, groupID, userID, "group.joined", func(ctx context.Context, tx bun.Tx, m *membership) (sql.Result, error) {
		return tx.NewInsert().Model(m).On("CONFLICT DO NOTHING").Exec(ctx)
	})
}

// RemoveMember takes a user out of a group.
func (a *Accounts) RemoveMember(ctx context.Context, groupID, userID string) error {
	return a.member(ctx, groupID, userID, "group.left", func(ctx context.Context, tx bun.Tx, m *membership) (sql.Result, error) {
		return tx.NewDelete().Model(m).WherePK().Exec(ctx)
	})
}

// member changes who is in a group, and records it if it is a change.
func (a *Accounts) member(ctx context.Context, groupID, userID string, action audit.Action, f func(ctx context.Context, tx bun.Tx, m *membership) (sql.Result, error)) error {
	return a.inGroup(ctx, groupID, func(ctx context.Context, tx bun.Tx, g *Group) error {
		var u User
		err := tx.NewSelect().Model(&u).Where("id = ?", userID).Scan(ctx)
		if store.NotFound(err) {
			return ErrNoUser
		}
		if err != nil {
			return err
		}
		res, err := f(ctx, tx, &membership{GroupID: groupID, UserID: userID})
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n == 0 || err != nil {
			return err
		}
		e := g.event(action, nil)
		e.Target = u.Name
		return audit.Note(ctx, tx, a.now(), e)
	})
}

// Members lists the users in a group by name.
func (a *Accounts) Members(ctx context.Context, groupID string) ([]User, error) {
	var users []User
	err := a.db.Read.NewSelect().Model(&users).
		Where("id IN (SELECT user_id FROM group_members WHERE group_id = ?)", groupID).Order("name_key").Scan(ctx)
	return users, err
}

// SetLanguage sets the language a user reads; "" leaves it to the browser.
func (a *Accounts) SetLanguage(ctx context.Context, id, tag string) error {
	_, err := a.db.Write.NewUpdate().Model((*User)(nil)).Set("language = ?", tag).Where("id = ?", id).Exec(ctx)
	return err
}

// SetQuota sets how many bytes a user may keep; 0 or less is no limit.
func (a *Accounts) SetQuota(ctx context.Context, id string, bytes int64) error {
	_, err := a.Update(ctx, id, Change{Quota: &bytes})
	return err
}
