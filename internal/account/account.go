// Package account knows the people of this server: users, groups, passwords,
// app passwords and sessions.
package account

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"
	"golang.org/x/text/unicode/norm"

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
)

// Accounts manages users, groups and credentials.
type Accounts struct {
	db       *store.DB
	now      func() time.Time
	verified *passwordCache
	failures *failures
}

// New makes Accounts on a database.
func New(db *store.DB, now func() time.Time) *Accounts {
	return &Accounts{db: db, now: now, verified: newPasswordCache(now), failures: newFailures(now)}
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
	shown, err := checkDisplayName(n.DisplayName)
	if err != nil {
		return User{}, err
	}
	n.DisplayName = cmp.Or(shown, n.Name)
	if n.Email != "" {
		if err := mail.CheckAddress(n.Email); err != nil {
			return User{}, err
		}
	}
	if n.Quota <= 0 {
		n.Quota = NoQuota
	}
	u := User{
		ID: store.NewID(), Name: n.Name, NameKey: nameKey(n.Name), DisplayName: n.DisplayName, Email: n.Email,
		Role: RoleUser, PasswordHash: hashPassword(n.Password), Quota: n.Quota, CreatedAt: a.now().UnixMilli(),
	}
	if n.Admin {
		u.Role = RoleAdmin
	}
	_, err = a.db.Write.NewInsert().Model(&u).Exec(ctx)
	if store.IsConflict(err) {
		return User{}, ErrUserExists
	}
	return u, err
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
	var u User
	err := a.db.Read.NewSelect().Model(&u).Where(where, arg).Scan(ctx)
	if store.NotFound(err) {
		return User{}, ErrNoUser
	}
	return u, err
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
	hash := hashPassword(p)
	a.verified.forget(id)
	return a.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewUpdate().Model((*User)(nil)).Set("password_hash = ?", hash).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			return ErrNoUser
		}
		_, err = endSessions(ctx, tx, id, but)
		return err
	})
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
		name, err := checkDisplayName(*p.DisplayName)
		if err != nil {
			return u, err
		}
		u.DisplayName = cmp.Or(name, u.Name)
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
	_, err := a.db.Write.NewUpdate().Model(&u).Column("display_name", "mail").WherePK().Exec(ctx)
	return u, err
}

func checkDisplayName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if len(name) > 255 || !utf8.ValidString(name) || ocm.DisplayName(name) != name {
		return "", ocm.Invalid("displayName", "has at most 255 bytes, without control characters")
	}
	return name, nil
}

// SetEmail gives a user another e-mail address; "" for none.
func (a *Accounts) SetEmail(ctx context.Context, id, address string) error {
	if address != "" {
		if err := mail.CheckAddress(address); err != nil {
			return err
		}
	}
	_, err := a.db.Write.NewUpdate().Model((*User)(nil)).Set("email = ?", address).Where("id = ?", id).Exec(ctx)
	return err
}

// Remove deletes a user with all credentials and memberships, in the caller's
// transaction; files and shares are the caller's to end first.
func (a *Accounts) Remove(ctx context.Context, tx bun.IDB, id string) error {
	a.verified.forget(id)
	_, err := tx.NewDelete().Model((*User)(nil)).Where("id = ?", id).Exec(ctx)
	return err
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
	if displayName == "" {
		displayName = name
	}
	g := Group{ID: store.NewID(), Name: name, NameKey: nameKey(name), DisplayName: displayName, CreatedAt: a.now().UnixMilli()}
	_, err := a.db.Write.NewInsert().Model(&g).Exec(ctx)
	if store.IsConflict(err) {
		return Group{}, ErrGroupExists
	}
	return g, err
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
func (a *Accounts) RemoveGroup(ctx context.Context, tx bun.IDB, id string) error {
	_, err := tx.NewDelete().Model((*Group)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// AddMember puts a user into a group; one who is in it stays in it.
func (a *Accounts) AddMember(ctx context.Context, groupID, userID string) error {
	_, err := a.db.Write.NewInsert().Model(&membership{GroupID: groupID, UserID: userID}).On("CONFLICT DO NOTHING").Exec(ctx)
	if err != nil {
		return fmt.Errorf("add a member: %w", err)
	}
	return nil
}

// RemoveMember takes a user out of a group.
func (a *Accounts) RemoveMember(ctx context.Context, groupID, userID string) error {
	_, err := a.db.Write.NewDelete().Model(&membership{GroupID: groupID, UserID: userID}).WherePK().Exec(ctx)
	return err
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
	if bytes <= 0 {
		bytes = NoQuota
	}
	_, err := a.db.Write.NewUpdate().Model((*User)(nil)).Set("quota = ?", bytes).Where("id = ?", id).Exec(ctx)
	return err
}
