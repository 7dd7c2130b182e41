package home

import (
	"context"
	"encoding/xml"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/dav"
	"github.com/weft-mesh/weft/internal/store"
)

// Attached keeps the locks and dead properties of all homes: a dav.LockStore and
// a dav.PropStore whose space is the user's id.
type Attached struct {
	DB  *store.DB
	Now func() time.Time
}

type propRow struct {
	bun.BaseModel `bun:"table:dav_props"`

	Space string `bun:",pk"`
	Path  string `bun:",pk"`
	NS    string `bun:"ns,pk"`
	Name  string `bun:",pk"`
	Lang  string
	Value string
}

func (r propRow) prop() dav.Prop {
	return dav.Prop{Name: xml.Name{Space: r.NS, Local: r.Name}, Lang: r.Lang, Value: r.Value}
}

type lockRow struct {
	bun.BaseModel `bun:"table:dav_locks"`

	Token     string `bun:",pk"`
	Space     string
	Path      string
	Infinite  bool
	Exclusive bool
	Owner     string
	Principal string
	ExpiresAt int64
}

func (r lockRow) lock() dav.Lock {
	return dav.Lock{
		Token: r.Token, Space: r.Space, Path: r.Path, Infinite: r.Infinite, Exclusive: r.Exclusive,
		Owner: r.Owner, Principal: r.Principal, Expires: store.Time(r.ExpiresAt),
	}
}

// Acquire records a lock, or returns a *dav.Conflict.
func (a *Attached) Acquire(ctx context.Context, l dav.Lock) error {
	return a.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := a.Now().UnixMilli()
		if _, err := tx.NewDelete().Model((*lockRow)(nil)).Where("expires_at <= ?", now).Exec(ctx); err != nil {
			return err
		}
		held, err := locks(ctx, tx, l.Space, l.Path, now)
		if err != nil {
			return err
		}
		for _, h := range held {
			if h.Conflicts(l) {
				return &dav.Conflict{Lock: h}
			}
		}
		_, err = tx.NewInsert().Model(&lockRow{
			Token: l.Token, Space: l.Space, Path: l.Path, Infinite: l.Infinite, Exclusive: l.Exclusive,
			Owner: l.Owner, Principal: l.Principal, ExpiresAt: l.Expires.UnixMilli(),
		}).Exec(ctx)
		return err
	})
}

// Refresh sets a new end of life and reports whether the lock was there.
func (a *Attached) Refresh(ctx context.Context, space, token string, expires time.Time) (bool, error) {
	res, err := a.DB.Write.NewUpdate().Model((*lockRow)(nil)).Set("expires_at = ?", expires.UnixMilli()).
		Where("space = ? AND token = ? AND expires_at > ?", space, token, a.Now().UnixMilli()).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Release drops a lock.
func (a *Attached) Release(ctx context.Context, space, token string) error {
	_, err := a.DB.Write.NewDelete().Model((*lockRow)(nil)).Where("space = ? AND token = ?", space, token).Exec(ctx)
	return err
}

// Locks lists the locks on a path, its ancestors and everything below it.
func (a *Attached) Locks(ctx context.Context, space, name string) ([]dav.Lock, error) {
	return locks(ctx, a.DB.Read, space, name, a.Now().UnixMilli())
}

func locks(ctx context.Context, db bun.IDB, space, name string, now int64) ([]dav.Lock, error) {
	var rows []lockRow
	err := db.NewSelect().Model(&rows).Where("space = ? AND expires_at > ?", space, now).
		WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
			below, args := store.Below("path", name)
			return q.Where("path IN (?)", bun.List(lineage(name))).WhereOr(below, args...)
		}).Scan(ctx)
	out := make([]dav.Lock, len(rows))
	for i, r := range rows {
		out[i] = r.lock()
	}
	return out, err
}

// lineage is a path and its ancestors up to the root "".
func lineage(name string) []string {
	out := []string{""}
	for i, r := range name {
		if r == '/' {
			out = append(out, name[:i])
		}
	}
	if name != "" {
		out = append(out, name)
	}
	return out
}

// Props lists the dead properties of one path.
func (a *Attached) Props(ctx context.Context, space, name string) ([]dav.Prop, error) {
	var rows []propRow
	err := a.DB.Read.NewSelect().Model(&rows).Where("space = ? AND path = ?", space, name).Order("ns", "name").Scan(ctx)
	out := make([]dav.Prop, len(rows))
	for i, r := range rows {
		out[i] = r.prop()
	}
	return out, err
}

// ChildProps lists the dead properties of every direct member of a folder.
func (a *Attached) ChildProps(ctx context.Context, space, folder string) (map[string][]dav.Prop, error) {
	below, args := store.Below("path", folder)
	var rows []propRow
	err := a.DB.Read.NewSelect().Model(&rows).Where("space = ?", space).Where(below, args...).
		Order("path", "ns", "name").Scan(ctx)
	out := map[string][]dav.Prop{}
	for _, r := range rows {
		rest := strings.TrimPrefix(strings.TrimPrefix(r.Path, folder), "/")
		if !strings.Contains(rest, "/") {
			out[rest] = append(out[rest], r.prop())
		}
	}
	return out, err
}

// PatchProps sets and removes dead properties of one path.
func (a *Attached) PatchProps(ctx context.Context, space, name string, set []dav.Prop, remove []xml.Name) error {
	return a.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, n := range remove {
			_, err := tx.NewDelete().Model((*propRow)(nil)).
				Where("space = ? AND path = ? AND ns = ? AND name = ?", space, name, n.Space, n.Local).Exec(ctx)
			if err != nil {
				return err
			}
		}
		for _, p := range set {
			_, err := tx.NewInsert().
				Model(&propRow{Space: space, Path: name, NS: p.Name.Space, Name: p.Name.Local, Lang: p.Lang, Value: p.Value}).
				On("CONFLICT (space, path, ns, name) DO UPDATE").
				Set("lang = EXCLUDED.lang").Set("value = EXCLUDED.value").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Moved lets properties go along with a move, replacing those at the target,
// and drops the locks of both sides (RFC 4918 §7.6, §9.9).
func (a *Attached) Moved(ctx context.Context, tx bun.Tx, space, from, to string) error {
	if err := a.Removed(ctx, tx, space, to); err != nil {
		return err
	}
	rows, err := propsAtOrBelow(ctx, tx, space, from)
	if err != nil {
		return err
	}
	if err := a.Removed(ctx, tx, space, from); err != nil {
		return err
	}
	return insertRebased(ctx, tx, rows, from, to)
}

// Removed drops the properties and locks of a path and all below it.
func (a *Attached) Removed(ctx context.Context, tx bun.Tx, space, name string) error {
	below, args := store.Below("path", name)
	for _, table := range []any{(*propRow)(nil), (*lockRow)(nil)} {
		_, err := tx.NewDelete().Model(table).Where("space = ?", space).
			WhereGroup(" AND ", func(q *bun.DeleteQuery) *bun.DeleteQuery {
				return q.Where("path = ?", name).WhereOr(below, args...)
			}).Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}

// Committed has nothing to do.
func (a *Attached) Committed() {}

// copied gives the properties of a copied path to its copy, and drops the
// locks there (RFC 4918 §9.8).
func (a *Attached) copied(ctx context.Context, space, from, to string, shallow bool) error {
	return a.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := a.Removed(ctx, tx, space, to); err != nil {
			return err
		}
		rows, err := propsAtOrBelow(ctx, tx, space, from)
		if err != nil {
			return err
		}
		if shallow {
			kept := rows[:0]
			for _, r := range rows {
				if r.Path == from {
					kept = append(kept, r)
				}
			}
			rows = kept
		}
		return insertRebased(ctx, tx, rows, from, to)
	})
}

func propsAtOrBelow(ctx context.Context, tx bun.Tx, space, name string) ([]propRow, error) {
	var rows []propRow
	below, args := store.Below("path", name)
	err := tx.NewSelect().Model(&rows).Where("space = ?", space).
		WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.Where("path = ?", name).WhereOr(below, args...)
		}).Scan(ctx)
	return rows, err
}

func insertRebased(ctx context.Context, tx bun.Tx, rows []propRow, from, to string) error {
	if len(rows) == 0 {
		return nil
	}
	for i := range rows {
		rows[i].Path = store.Rebase(rows[i].Path, from, to)
	}
	_, err := tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}
