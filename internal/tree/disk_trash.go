package tree

import (
	"context"
	"errors"
	"io/fs"
)

// Bin is a Tree that can put what is removed aside, so that it can be had back.
// Aside it takes no room: it is charged like anything removed.
type Bin interface {
	Tree
	// Discard is Remove that keeps what it removes under an id.
	Discard(ctx context.Context, name string, cond Condition, id string) (Kept, error)
	// Restore gives what is kept under an id a name, which must be free
	// (ErrExists).
	Restore(ctx context.Context, id, to string) (Info, error)
}

// Kept is what a Bin keeps.
type Kept struct {
	Folder bool
	Size   int64 // bytes of all files in it
}

// trashDir holds what was removed and is kept, beside filesDir and uploadsDir.
const trashDir = "trash"

func keptAt(id string) string { return trashDir + "/" + id }

// Discard implements Bin.
func (d *Disk) Discard(ctx context.Context, name string, cond Condition, id string) (Kept, error) {
	if name == "" {
		return Kept{}, errRoot
	}
	if err := d.setAside(name, keptAt(id), cond); err != nil {
		return Kept{}, err
	}
	// It has happened, so it is counted even when the asker left.
	ctx = context.WithoutCancel(ctx)
	kept, err := d.Kept(ctx, id)
	return kept, errors.Join(err, Charge(ctx, -kept.Size), d.flush(Dir(name)), d.flushPlace(trashDir))
}

// Kept describes what is kept under an id, ErrNotFound when nothing is.
func (d *Disk) Kept(ctx context.Context, id string) (Kept, error) {
	fi, err := d.root.Lstat(keptAt(id))
	if err != nil {
		return Kept{}, translate(err)
	}
	size, err := d.sum(ctx, keptAt(id))
	return Kept{Folder: fi.IsDir(), Size: size}, err
}

// Restore implements Bin.
func (d *Disk) Restore(ctx context.Context, id, to string) (Info, error) {
	kept, err := d.Kept(ctx, id)
	if err == nil && kept.Folder {
		err = d.fits(ctx, keptAt(id), depth(to))
	}
	if err != nil {
		return Info{}, err
	}
	info, _, err := d.install(ctx, arrival{
		place: keptAt(id), to: to, size: kept.Size, folders: []string{Dir(to)},
		allow: func(_ Info, exists bool) error {
			if exists {
				return ErrExists
			}
			return nil
		},
	})
	return info, err
}

// Forget deletes what is kept under an id for good. It is gone at once, however
// long deleting what it held takes.
func (d *Disk) Forget(id string) error {
	aside := temporary()
	err := d.root.Rename(keptAt(id), aside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return translate(err)
	}
	d.discard(aside)
	return nil
}

// AllKept lists the ids under which something is kept.
func (d *Disk) AllKept() ([]string, error) {
	dir, err := d.open(trashDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return names, translate(err)
}
