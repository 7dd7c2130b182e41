package account

import (
	"context"
	"strings"

	"github.com/uptrace/bun"
)

// Filter says which users an operator wants to see; what is empty does not
// matter.
type Filter struct {
	Text     string // in the name, display name or e-mail address
	Role     string
	GroupID  string // only its members
	Disabled bool   // only those who may not sign in
	After    string // the name of the last one of the page before
	Limit    int64
}

// Find lists users by name.
func (a *Accounts) Find(ctx context.Context, f Filter) ([]User, error) {
	users := []User{}
	q := a.db.Read.NewSelect().Model(&users).Order("name_key").Limit(f.Limit)
	if f.Text != "" {
		like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(nameKey(f.Text)) + "%"
		q = q.Where(`(name_key LIKE ? ESCAPE '\' OR LOWER(display_name) LIKE ? ESCAPE '\' OR LOWER(email) LIKE ? ESCAPE '\')`, like, like, like)
	}
	if f.Role != "" {
		q = q.Where("role = ?", f.Role)
	}
	if f.GroupID != "" {
		q = q.Where("id IN (SELECT user_id FROM group_members WHERE group_id = ?)", f.GroupID)
	}
	if f.Disabled {
		q = q.Where("disabled")
	}
	if f.After != "" {
		q = q.Where("name_key > ?", nameKey(f.After))
	}
	return users, q.Scan(ctx)
}

// Count counts the users, and those of them who are administrators or may not
// sign in.
func (a *Accounts) Count(ctx context.Context) (users, admins, disabled int64, err error) {
	var n struct{ Users, Admins, Disabled int64 }
	err = a.db.Read.NewSelect().Model((*User)(nil)).ColumnExpr("COUNT(*) AS users").
		ColumnExpr("COALESCE(SUM(CASE WHEN role = ? THEN 1 ELSE 0 END), 0) AS admins", RoleAdmin).
		ColumnExpr("COALESCE(SUM(CASE WHEN disabled THEN 1 ELSE 0 END), 0) AS disabled").Scan(ctx, &n)
	return n.Users, n.Admins, n.Disabled, err
}

// Names are the names of users by id; who is gone is not in it.
func (a *Accounts) Names(ctx context.Context, ids []string) (map[string]string, error) {
	out := map[string]string{}
	if len(ids) == 0 {
		return out, nil
	}
	var users []User
	err := a.db.Read.NewSelect().Model(&users).Column("id", "name").Where("id IN (?)", bun.List(ids)).Scan(ctx)
	for _, u := range users {
		out[u.ID] = u.Name
	}
	return out, err
}

// Quotas are the bytes that users may keep, by id; who has no limit is not in it.
func (a *Accounts) Quotas(ctx context.Context) (map[string]int64, error) {
	var users []User
	err := a.db.Read.NewSelect().Model(&users).Column("id", "quota").Where("quota > 0").Scan(ctx)
	out := map[string]int64{}
	for _, u := range users {
		out[u.ID] = u.Quota
	}
	return out, err
}

// LastSeen tells when some users last signed in or used an app password, within
// a minute; who never did is not in it.
func (a *Accounts) LastSeen(ctx context.Context, ids []string) (map[string]int64, error) {
	out := map[string]int64{}
	if len(ids) == 0 {
		return out, nil
	}
	var rows []struct {
		UserID string
		At     int64
	}
	err := a.db.Read.NewSelect().Model((*Credential)(nil)).Column("user_id").ColumnExpr("MAX(last_used_at) AS at").
		Where("user_id IN (?)", bun.List(ids)).Group("user_id").Scan(ctx, &rows)
	for _, r := range rows {
		out[r.UserID] = r.At
	}
	return out, err
}

// GroupsOf lists the groups that a user is in, by name.
func (a *Accounts) GroupsOf(ctx context.Context, userID string) ([]Group, error) {
	groups := []Group{}
	err := a.db.Read.NewSelect().Model(&groups).
		Where("id IN (SELECT group_id FROM group_members WHERE user_id = ?)", userID).Order("name_key").Scan(ctx)
	return groups, err
}

// Sizes tells how many members each group has.
func (a *Accounts) Sizes(ctx context.Context) (map[string]int64, error) {
	var rows []struct {
		GroupID string
		N       int64
	}
	err := a.db.Read.NewSelect().Model((*membership)(nil)).Column("group_id").ColumnExpr("COUNT(*) AS n").Group("group_id").Scan(ctx, &rows)
	out := map[string]int64{}
	for _, r := range rows {
		out[r.GroupID] = r.N
	}
	return out, err
}
