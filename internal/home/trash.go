package home

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// Deleted is something in a person's trash.
type Deleted struct {
	bun.BaseModel `bun:"table:trash"`

	ID        string `bun:",pk"`
	UserID    string
	Path      string // where it was
	Folder    bool
	Size      int64
	DeletedAt int64
	Purged    bool
}

// ErrNotInTrash answers for what is not, or no longer, in the trash.
var ErrNotInTrash = ocm.NewError(http.StatusNotFound, "NOT_IN_TRASH", "This is not in the trash any more.")

// maxTrashed bounds the entries of one person's trash; the oldest go first.
const maxTrashed = 100_000

// Fate is what becomes of something that is deleted.
type Fate string

// The fates.
const (
	FateTrash     Fate = "trash"     // the person's trash
	FateOwner     Fate = "owner"     // the trash of its owner, who is on this server
	FateElsewhere Fate = "elsewhere" // its server decides
	FateLeft      Fate = "left"      // a received share: it is given back, nothing is deleted
	FateGone      Fate = "gone"      // deleted for good
)

// Fate tells what will become of a name when it is deleted.
func (h *Homes) Fate(ctx context.Context, userID, name string) (Fate, error) {
	kept := func(f Fate) Fate {
		if h.TrashFor <= 0 {
			return FateGone
		}
		return f
	}
	if !tree.Below(name, tree.SharedDir) {
		return kept(FateTrash), nil
	}
	if tree.Dir(name) == tree.SharedDir {
		return FateLeft, nil
	}
	points, err := h.Mounts(ctx, userID)
	if err != nil {
		return "", err
	}
	for _, p := range points {
		if p.Here && tree.Within(name, tree.Join(tree.SharedDir, p.Name)) {
			return kept(FateOwner), nil
		}
	}
	return FateElsewhere, nil
}

// Delete removes a name from a person's whole tree. id is that of the trash, ""
// when what was removed is not in it.
func (h *Homes) Delete(ctx context.Context, userID, name string, cond tree.Condition) (fate Fate, id string, err error) {
	fate, err = h.Fate(ctx, userID, name)
	if err != nil {
		return "", "", err
	}
	t, err := h.Whole(ctx, userID)
	if err != nil {
		return "", "", err
	}
	id, err = t.(*following).remove(ctx, name, cond)
	return fate, id, err
}

// kept describes what the trash holds under an id, nil for nothing.
func (o *home) kept(ctx context.Context, id string) (*tree.Kept, error) {
	k, err := o.disk.Kept(ctx, id)
	if errors.Is(err, tree.ErrNotFound) {
		return nil, nil
	}
	return &k, err
}

// record writes down what a change put into the trash.
func (h *Homes) record(ctx context.Context, tx bun.Tx, c change, kept tree.Kept) error {
	_, err := tx.NewInsert().Model(&Deleted{
		ID: c.ID, UserID: c.Space, Path: c.FromPath, Folder: kept.Folder, Size: kept.Size, DeletedAt: h.Now().UnixMilli(),
	}).Exec(ctx)
	return err
}

// reconcile makes a home's trash and its records agree, where a crash came
// between the two. What the journal still holds is left to Recover.
func (h *Homes) reconcile(ctx context.Context, userID string, disk *tree.Disk) error {
	onDisk, err := disk.AllKept()
	if err != nil {
		return err
	}
	var known, journal []string
	err = errors.Join(
		h.DB.Read.NewSelect().Model((*Deleted)(nil)).Column("id").Where("user_id = ?", userID).Scan(ctx, &known),
		h.DB.Read.NewSelect().Model((*change)(nil)).Column("id").Where("space = ?", userID).Scan(ctx, &journal),
	)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, id := range onDisk {
		there[id] = true
	}
	for batch := range slices.Chunk(slices.DeleteFunc(slices.Clone(known), func(id string) bool { return there[id] }), 500) {
		if _, err := h.DB.Write.NewDelete().Model((*Deleted)(nil)).Where("id IN (?)", bun.List(batch)).Exec(ctx); err != nil {
			return err
		}
	}
	for _, id := range append(known, journal...) {
		delete(there, id)
	}
	for id := range there {
		if err := disk.Forget(id); err != nil {
			return err
		}
	}
	return nil
}

// Trash lists what a person deleted, the newest first, and tells how many bytes
// and entries there are in all.
func (h *Homes) Trash(ctx context.Context, userID string, offset, limit int) (list []Deleted, count int, size int64, err error) {
	err = h.trashOf(h.DB.Read.NewSelect().Model(&list), userID).Order("deleted_at DESC", "id DESC").Offset(int64(offset)).Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	err = h.trashOf(h.DB.Read.NewSelect().Model((*Deleted)(nil)), userID).ColumnExpr("COUNT(*), COALESCE(SUM(size), 0)").Scan(ctx, &count, &size)
	return list, count, size, err
}

func (h *Homes) trashOf(q *bun.SelectQuery, userID string) *bun.SelectQuery {
	return q.Where("user_id = ? AND purged = ?", userID, false)
}

// Until is when something in the trash will be deleted for good.
func (h *Homes) Until(d Deleted) time.Time { return store.Time(d.DeletedAt).Add(h.TrashFor) }

// Restore brings something back from the trash: to where it was, or beside what
// is there now. Folders that are missing on the way are made again.
func (h *Homes) Restore(ctx context.Context, userID, id string) (name string, info tree.Info, err error) {
	var row Deleted
	err = h.trashOf(h.DB.Read.NewSelect().Model(&row), userID).Where("id = ?", id).Scan(ctx)
	if store.NotFound(err) {
		return "", tree.Info{}, ErrNotInTrash
	}
	if err != nil {
		return "", tree.Info{}, err
	}
	t, err := h.disk(ctx, userID)
	if err != nil {
		return "", tree.Info{}, err
	}
	dir, err := way(ctx, t, tree.Dir(row.Path))
	if err != nil {
		return "", tree.Info{}, err
	}
	for range 10 { // someone else may take the name that was free
		if name, err = tree.FreeName(ctx, t, tree.Join(dir, tree.Base(row.Path)), row.Folder); err != nil {
			return "", tree.Info{}, err
		}
		if info, err = t.Restore(ctx, id, name); !errors.Is(err, tree.ErrExists) {
			break
		}
	}
	if errors.Is(err, tree.ErrNotFound) {
		err = ErrNotInTrash.With(err)
	} else if err != nil {
		return "", tree.Info{}, err
	}
	_, gone := h.DB.Write.NewDelete().Model(&row).WherePK().Exec(context.WithoutCancel(ctx))
	return name, info, errors.Join(err, gone)
}

// way makes the folders of a path that are missing. Where a file stands in the
// way, it ends in front of it.
func way(ctx context.Context, t tree.Tree, dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	above, err := way(ctx, t, tree.Dir(dir))
	if err != nil || above != tree.Dir(dir) {
		return above, err
	}
	if _, err := t.Mkdir(ctx, dir); err == nil || !errors.Is(err, tree.ErrExists) {
		return dir, err
	}
	if info, err := t.Stat(ctx, dir); err != nil || !info.Dir {
		return above, err
	}
	return dir, nil
}

// Purge deletes things from a person's trash for good, or all of it when no id is
// given. They are gone at once; the disk follows in the background.
func (h *Homes) Purge(ctx context.Context, userID string, ids ...string) (int64, error) {
	var n int64
	err := h.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		q := tx.NewUpdate().Model((*Deleted)(nil)).Set("purged = ?", true).Where("user_id = ? AND purged = ?", userID, false)
		if len(ids) > 0 {
			q = q.Where("id IN (?)", bun.List(ids))
		}
		res, err := q.Exec(ctx)
		if err != nil {
			return err
		}
		if n, err = res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return audit.Note(ctx, tx, h.Now(), audit.Event{Action: "files.purged", Kind: "trash", ID: userID, Details: audit.Details{"entries": n, "all": len(ids) == 0}})
	})
	h.trash.noticed(userID)
	return n, err
}

// trashWork is what the sweeper has to look at.
type trashWork struct {
	mu    sync.Mutex
	users map[string]bool
	wake  chan struct{}
}

func (w *trashWork) alarm() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wake == nil {
		w.wake = make(chan struct{}, 1)
	}
	return w.wake
}

// noticed says that a person's trash changed.
func (w *trashWork) noticed(userID string) {
	alarm := w.alarm()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users == nil {
		w.users = map[string]bool{}
	}
	w.users[userID] = true
	select {
	case alarm <- struct{}{}:
	default:
	}
}

func (w *trashWork) take() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	users := w.users
	w.users = nil
	return users
}

// Run sweeps the trash until ctx ends.
func (h *Homes) Run(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		if err := h.SweepTrash(ctx); err != nil && ctx.Err() == nil {
			h.Log.Error("the trash cannot be swept", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.trash.alarm():
		}
	}
}

// SweepTrash deletes for good what was purged, what is too old, and the oldest of
// what is more than a person may keep: as many bytes as their quota.
func (h *Homes) SweepTrash(ctx context.Context) error {
	var faults []error // of one person's trash, which is not to hold up those of others
	for userID := range h.trash.take() {
		if err := h.bound(ctx, userID); err != nil {
			faults = append(faults, fmt.Errorf("bound the trash of %s: %w", userID, err))
		}
	}
	before := h.Now().Add(-h.TrashFor).UnixMilli()
	for last := ""; ; {
		var rows []Deleted
		err := h.DB.Read.NewSelect().Model(&rows).Where("purged = ? OR deleted_at <= ?", true, before).Where("id > ?", last).
			Order("id").Limit(200).Scan(ctx)
		if err != nil || len(rows) == 0 {
			return errors.Join(append(faults, err)...)
		}
		var ids []string
		for _, r := range rows {
			last = r.ID
			o, err := h.home(ctx, r.UserID)
			if err == nil {
				err = o.disk.Forget(r.ID)
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("empty the trash of %s: %w", r.UserID, err))
				continue
			}
			ids = append(ids, r.ID)
		}
		if len(ids) == 0 {
			continue
		}
		if _, err := h.DB.Write.NewDelete().Model((*Deleted)(nil)).Where("id IN (?)", bun.List(ids)).Exec(ctx); err != nil {
			return err
		}
	}
}

// bound purges the oldest of a person's trash beyond what may be kept.
func (h *Homes) bound(ctx context.Context, userID string) error {
	user, err := h.Accounts.Get(ctx, userID)
	if errors.Is(err, account.ErrNoUser) {
		return nil
	}
	if err != nil {
		return err
	}
	_, count, size, err := h.Trash(ctx, userID, 0, 1)
	if err != nil || count <= maxTrashed && (user.Quota < 0 || size <= user.Quota) {
		return err
	}
	var oldest []Deleted
	err = h.trashOf(h.DB.Read.NewSelect().Model(&oldest), userID).Column("id", "size").Order("deleted_at", "id").Scan(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, d := range oldest {
		if count-len(ids) <= maxTrashed && (user.Quota < 0 || size <= user.Quota) {
			break
		}
		ids, size = append(ids, d.ID), size-d.Size
	}
	for batch := range slices.Chunk(ids, 500) {
		_, err := h.DB.Write.NewUpdate().Model((*Deleted)(nil)).Set("purged = ?", true).Where("id IN (?)", bun.List(batch)).Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}
