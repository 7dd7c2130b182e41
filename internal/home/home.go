// Package home gives every person a tree: the own files on disk within a quota,
// and what others share beside them. What hangs on a path (shares, locks, dead
// properties) follows when the path changes.
package home

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
)

// Follower keeps rows that name a path in a person's home.
type Follower interface {
	Moved(ctx context.Context, tx bun.Tx, userID, from, to string) error
	Removed(ctx context.Context, tx bun.Tx, userID, name string) error
	// Committed is called after the transaction of the two.
	Committed()
}

// Homes opens the homes below Dir.
type Homes struct {
	Dir       string
	DB        *store.DB
	Accounts  *account.Accounts
	Now       func() time.Time
	Log       *slog.Logger
	Followers []Follower
	Attached  *Attached // locks and dead properties; follows too
	// TrashFor is how long deleted files can be had back; 0: not at all.
	TrashFor time.Duration
	// Mounts gives what others share with a person.
	Mounts func(ctx context.Context, userID string) ([]tree.MountPoint, error)

	mu    sync.Mutex
	open  map[string]*home
	trash trashWork

	measured measure
}

// home is one person's disk and the bytes used on it.
type home struct {
	disk *tree.Disk
	used tree.Counter
}

func (h *Homes) home(ctx context.Context, userID string) (*home, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.open[userID]; o != nil {
		return o, nil
	}
	disk, err := tree.OpenDisk(filepath.Join(h.Dir, userID))
	if err != nil {
		return nil, err
	}
	if h.open == nil {
		h.open = map[string]*home{}
	}
	if err := h.reconcile(ctx, userID, disk); err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	o := &home{disk: disk}
	h.open[userID] = o
	return o, nil
}

// Own is a person's own files, as shares of them are served.
func (h *Homes) Own(ctx context.Context, userID string) (tree.Tree, error) {
	t, err := h.disk(ctx, userID)
	if err != nil {
		return nil, err
	}
	return &following{Tree: t, homes: h, userID: userID, own: t}, nil
}

// Whole is everything a person reaches: the own files, and what others share
// under tree.SharedDir.
func (h *Homes) Whole(ctx context.Context, userID string) (tree.Tree, error) {
	t, err := h.disk(ctx, userID)
	if err != nil {
		return nil, err
	}
	mounted := tree.Mount(t, tree.SharedDir, func(ctx context.Context) ([]tree.MountPoint, error) {
		return h.Mounts(ctx, userID)
	})
	return &following{Tree: mounted, homes: h, userID: userID, own: t, mounts: true}, nil
}

func (h *Homes) disk(ctx context.Context, userID string) (tree.Bin, error) {
	o, err := h.home(ctx, userID)
	if err != nil {
		return nil, err
	}
	user, err := h.Accounts.Get(ctx, userID)
	if err != nil {
		return nil, err
	}
	return tree.WithQuota(o.disk, func() int64 { return user.Quota }, &o.used), nil
}

// Remove deletes a person's files for good.
func (h *Homes) Remove(userID string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.open[userID]; o != nil {
		o.disk.Close()
		delete(h.open, userID)
	}
	return os.RemoveAll(filepath.Join(h.Dir, userID))
}

// Close closes every open home.
func (h *Homes) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for id, o := range h.open {
		errs = append(errs, o.disk.Close())
		delete(h.open, id)
	}
	return errors.Join(errs...)
}

// change is a row of the journal: a move (or with an empty ToPath a removal)
// that is written before the files change and taken away in the transaction
// that makes everything follow. What a removal puts into the trash is kept there
// under the change's ID.
type change struct {
	bun.BaseModel `bun:"table:moves"`

	ID        string `bun:",pk"`
	Space     string
	FromPath  string
	ToPath    string
	CreatedAt int64
}

// Recover completes what a crash left half done. Call it at the start, before
// anyone is served.
func (h *Homes) Recover(ctx context.Context) error {
	var changes []change
	if err := h.DB.Read.NewSelect().Model(&changes).Order("id").Scan(ctx); err != nil {
		return err
	}
	for _, c := range changes {
		o, err := h.home(ctx, c.Space)
		if err != nil {
			return err
		}
		_, err = o.disk.Stat(ctx, c.FromPath)
		gone := errors.Is(err, tree.ErrNotFound)
		if err != nil && !gone {
			return err
		}
		if gone && c.ToPath != "" {
			if _, err := o.disk.Stat(ctx, c.ToPath); errors.Is(err, tree.ErrNotFound) {
				gone = false // neither is there: nothing we know to do
			} else if err != nil {
				return err
			}
		}
		h.Log.Info("completing a change that was cut off", "from", c.FromPath, "to", c.ToPath, "done", gone)
		var kept *tree.Kept
		if gone && c.ToPath == "" {
			if kept, err = o.kept(ctx, c.ID); err != nil {
				return err
			}
		}
		if err := h.settle(ctx, c, gone, false, kept); err != nil {
			return err
		}
	}
	return nil
}

// settle takes the change off the journal and, if it happened, lets everything
// follow. kept is what lies in the trash of it, nil when nothing does; folder says
// that a folder was removed or replaced.
func (h *Homes) settle(ctx context.Context, c change, happened, folder bool, kept *tree.Kept) error {
	err := h.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model(&c).WherePK().Exec(ctx); err != nil || !happened {
			return err
		}
		if kept != nil {
			folder = kept.Folder
			if err := h.record(ctx, tx, c, *kept); err != nil {
				return err
			}
		}
		if c.ToPath == "" && folder {
			if err := h.noteRemoved(ctx, tx, c); err != nil {
				return err
			}
		}
		for _, f := range h.followers() {
			if c.ToPath == "" {
				if err := f.Removed(ctx, tx, c.Space, c.FromPath); err != nil {
					return err
				}
				continue
			}
			if folder {
				if err := f.Removed(ctx, tx, c.Space, c.ToPath); err != nil {
					return err
				}
			}
			if err := f.Moved(ctx, tx, c.Space, c.FromPath, c.ToPath); err != nil {
				return err
			}
		}
		return nil
	})
	for _, f := range h.followers() {
		f.Committed()
	}
	return err
}

// noteRemoved records for the audit that a folder with all in it was removed.
func (h *Homes) noteRemoved(ctx context.Context, tx bun.Tx, c change) error {
	return audit.Note(ctx, tx, h.Now(), audit.Event{
		Action: "files.removed", Kind: "folder", ID: c.ID, Name: c.FromPath, Details: audit.Details{"owner": c.Space},
	})
}

func (h *Homes) followers() []Follower { return append([]Follower{h.Attached}, h.Followers...) }

// following is a tree of a person whose moves and removals are followed, and
// whose removals go to the trash.
type following struct {
	tree.Tree
	homes  *Homes
	userID string
	own    tree.Bin // the person's files, which Tree is or holds
	mounts bool     // Tree holds what others share too
}

func (f *following) Move(ctx context.Context, from, to string, opt tree.MoveOptions) (bool, error) {
	target, err := f.Tree.Stat(ctx, to)
	overFolder := err == nil && target.Dir
	var replaced bool
	err = f.follow(ctx, f.change(from, to), overFolder, func() (err error) {
		replaced, err = f.Tree.Move(ctx, from, to, opt)
		return err
	})
	return replaced, err
}

func (f *following) Copy(ctx context.Context, from, to string, opt tree.CopyOptions) (bool, error) {
	replaced, err := f.Tree.Copy(ctx, from, to, opt)
	if err != nil {
		return replaced, err
	}
	return replaced, f.homes.Attached.copied(context.WithoutCancel(ctx), f.userID, from, to, opt.Shallow)
}

func (f *following) Remove(ctx context.Context, name string, cond tree.Condition) error {
	_, err := f.remove(ctx, name, cond)
	return err
}

// remove is Remove that tells under which id the trash keeps what was removed,
// "" when it does not.
func (f *following) remove(ctx context.Context, name string, cond tree.Condition) (id string, err error) {
	c := f.change(name, "")
	received := f.mounts && tree.Within(name, tree.SharedDir)
	if f.homes.TrashFor > 0 && !received {
		return c.ID, f.discard(ctx, c, cond)
	}
	folder := false
	if !received { // those are not ours, and giving one back is no removal
		info, err := f.Tree.Stat(ctx, name)
		folder = err == nil && info.Dir
	}
	return "", f.follow(ctx, c, folder, func() error { return f.Tree.Remove(ctx, name, cond) })
}

// change is a new row for the journal.
func (f *following) change(from, to string) change {
	return change{ID: store.NewID(), Space: f.userID, FromPath: from, ToPath: to, CreatedAt: f.homes.Now().UnixMilli()}
}

func (f *following) follow(ctx context.Context, c change, folder bool, apply func() error) error {
	if _, err := f.homes.DB.Write.NewInsert().Model(&c).Exec(ctx); err != nil {
		return err
	}
	err := apply()
	// What happened to the files must be followed even when the asker left.
	return errors.Join(err, f.homes.settle(context.WithoutCancel(ctx), c, err == nil, folder, nil))
}

// discard is follow for what goes to the trash.
func (f *following) discard(ctx context.Context, c change, cond tree.Condition) error {
	if _, err := f.homes.DB.Write.NewInsert().Model(&c).Exec(ctx); err != nil {
		return err
	}
	kept, err := f.own.Discard(ctx, c.FromPath, cond, c.ID)
	ctx = context.WithoutCancel(ctx)
	happened := &kept
	if err != nil { // perhaps after it happened
		o, fault := f.homes.home(ctx, f.userID)
		if fault == nil {
			happened, fault = o.kept(ctx, c.ID)
		}
		if fault != nil {
			return errors.Join(err, fault) // the journal keeps it for the next start
		}
	}
	err = errors.Join(err, f.homes.settle(ctx, c, happened != nil, false, happened))
	f.homes.trash.noticed(f.userID)
	return err
}
