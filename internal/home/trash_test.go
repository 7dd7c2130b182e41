package home

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
)

// newTrashBench keeps deleted files for 30 days.
func newTrashBench(t *testing.T) *bench {
	b := newBench(t)
	b.TrashFor = 30 * 24 * time.Hour
	b.Mounts = func(context.Context, string) ([]tree.MountPoint, error) { return nil, nil }
	return b
}

func (b *bench) delete(name string) string {
	b.t.Helper()
	_, id, err := b.Delete(b.t.Context(), b.user.ID, name, tree.Condition{})
	b.must(err)
	return id
}

// trashed are the paths in the trash, the newest first.
func (b *bench) trashed() string {
	b.t.Helper()
	list, count, _, err := b.Trash(b.t.Context(), b.user.ID, 0, 100)
	b.must(err)
	if count != len(list) {
		b.t.Errorf("%d in the trash, %d counted", len(list), count)
	}
	var paths []string
	for _, d := range list {
		paths = append(paths, d.Path)
	}
	return strings.Join(paths, ", ")
}

func (b *bench) restore(id string) string {
	b.t.Helper()
	name, info, err := b.Restore(b.t.Context(), b.user.ID, id)
	b.must(err)
	if info.Name != tree.Base(name) {
		b.t.Errorf("%s is described as %+v", name, info)
	}
	return name
}

func (b *bench) onDisk() (ids []string) {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.Dir, b.user.ID, "trash"))
	b.must(err)
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids
}

func (b *bench) used() int64 {
	b.t.Helper()
	u, err := b.own().Usage(b.t.Context(), "")
	b.must(err)
	return u.Used
}

func TestTrashKeepsWhatIsDeleted(t *testing.T) {
	b := newTrashBench(t)
	_, err := b.own().Mkdir(t.Context(), "d")
	b.must(err)
	b.put("d/a")
	b.put("f")
	before := b.used()
	folder := b.delete("d")
	b.now = b.now.Add(time.Second)
	b.must(b.own().Remove(t.Context(), "f", tree.Condition{})) // as WebDAV and shares do
	b.wantTold("d gone", "f gone")
	if got := b.trashed(); got != "f, d" {
		t.Errorf("in the trash: %s", got)
	}
	if b.used() != 0 {
		t.Errorf("%d bytes are counted while all is in the trash", b.used())
	}
	if got := b.restore(folder); got != "d" {
		t.Errorf("restored to %s", got)
	}
	if _, err := b.own().Stat(t.Context(), "d/a"); err != nil {
		t.Errorf("what the folder held: %v", err)
	}
	list, _, _, err := b.Trash(t.Context(), b.user.ID, 0, 10)
	b.must(err)
	b.restore(list[0].ID)
	if b.used() != before || b.trashed() != "" {
		t.Errorf("%d bytes after, %d before; in the trash: %q", b.used(), before, b.trashed())
	}
}

func TestTrashRestoresBesideWhatIsThere(t *testing.T) {
	b := newTrashBench(t)
	tests := []struct{ what, path, meanwhile, want string }{
		{"the name is free", "a.txt", "", "a.txt"},
		{"the name is taken", "b.txt", "b.txt", "b (2).txt"},
		{"the folder is gone", "x/y/c.txt", "-x", "x/y/c.txt"},
		{"a file stands where the folder was", "p/q/d.txt", "p/q", "p/d.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			for i, c := range tt.path {
				if c == '/' {
					b.own().Mkdir(t.Context(), tt.path[:i])
				}
			}
			b.put(tt.path)
			id := b.delete(tt.path)
			if away, ok := strings.CutPrefix(tt.meanwhile, "-"); ok {
				b.delete(away)
			} else if tt.meanwhile != "" {
				if tree.Dir(tt.path) == tt.meanwhile {
					b.delete(tt.meanwhile)
				}
				b.put(tt.meanwhile)
			}
			if got := b.restore(id); got != tt.want {
				t.Errorf("restored to %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTrashEnds(t *testing.T) {
	b := newTrashBench(t)
	for _, name := range []string{"old", "purged", "new"} {
		b.put(name)
	}
	b.delete("old")
	b.now = b.now.Add(20 * 24 * time.Hour)
	id := b.delete("purged")
	b.delete("new")
	if n, err := b.Purge(t.Context(), b.user.ID, id); n != 1 || err != nil {
		t.Fatalf("%d purged, %v", n, err)
	}
	if _, _, err := b.Restore(t.Context(), b.user.ID, id); !errors.Is(err, ErrNotInTrash) {
		t.Errorf("restoring what was purged: %v", err)
	}
	b.now = b.now.Add(11 * 24 * time.Hour)
	b.must(b.SweepTrash(t.Context()))
	if got := b.trashed(); got != "new" || len(b.onDisk()) != 1 {
		t.Errorf("left: %s, on disk %v", got, b.onDisk())
	}
	if n, err := b.Purge(t.Context(), b.user.ID); n != 1 || err != nil {
		t.Fatalf("%d purged, %v", n, err)
	}
	b.must(b.SweepTrash(t.Context()))
	if len(b.onDisk()) != 0 {
		t.Errorf("on disk: %v", b.onDisk())
	}
	b.TrashFor = 0
	b.put("at once")
	if id := b.delete("at once"); id != "" || len(b.onDisk()) != 0 {
		t.Errorf("without a trash %q is kept, on disk %v", id, b.onDisk())
	}
}

func TestTrashIsBoundedByTheQuota(t *testing.T) {
	b := newTrashBench(t)
	b.must(b.Accounts.SetQuota(t.Context(), b.user.ID, 10))
	for _, name := range []string{"aaaa", "bbbb", "cccc"} {
		b.put(name)
		b.now = b.now.Add(time.Second)
		b.delete(name)
	}
	b.must(b.SweepTrash(t.Context()))
	if got := b.trashed(); got != "cccc, bbbb" {
		t.Errorf("left of three files of four bytes with a quota of ten: %s", got)
	}
	b.put("8 bytes!")
	list, _, _, err := b.Trash(t.Context(), b.user.ID, 0, 1)
	b.must(err)
	if _, _, err := b.Restore(t.Context(), b.user.ID, list[0].ID); !errors.Is(err, tree.ErrQuota) {
		t.Errorf("restoring beyond the quota: %v", err)
	}
	if got := b.trashed(); got != "cccc, bbbb" {
		t.Errorf("a refused restore leaves: %s", got)
	}
}

// A crash between the files and their records is mended in either direction.
func TestTrashAfterACrash(t *testing.T) {
	b := newTrashBench(t)
	for _, name := range []string{"cut", "lost", "kept"} {
		b.put(name)
	}
	kept := b.delete("kept")
	lost := b.delete("lost")
	o, err := b.home(t.Context(), b.user.ID)
	b.must(err)
	// Deleted, but neither followed nor recorded.
	c := change{ID: "cut-off", Space: b.user.ID, FromPath: "cut"}
	_, err = b.DB.Write.NewInsert().Model(&c).Exec(t.Context())
	b.must(err)
	_, err = o.disk.Discard(t.Context(), "cut", tree.Condition{}, c.ID)
	b.must(err)
	// Deleted for good, but still recorded; and the other way round.
	b.must(o.disk.Forget(lost))
	b.put("orphan")
	_, err = o.disk.Discard(t.Context(), "orphan", tree.Condition{}, "nobody-knows-this")
	b.must(err)
	b.must(b.Close())
	b.told = nil

	b.must(b.Recover(t.Context()))
	b.wantTold("cut gone")
	if got := b.trashed(); !strings.Contains(got, "cut") || !strings.Contains(got, "kept") || strings.Contains(got, "lost") {
		t.Errorf("in the trash: %s", got)
	}
	if ids := b.onDisk(); len(ids) != 2 {
		t.Errorf("on disk: %v", ids)
	}
	if b.restore(c.ID) != "cut" || b.restore(kept) != "kept" {
		t.Error("what a crash cut off is not restored to where it was")
	}
}
