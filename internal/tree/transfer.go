package tree

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"
)

// Transfer copies a file or folder from one tree into another, streaming. What
// is at the target stays until the copy is complete, and what a failure leaves
// half done is removed again.
func Transfer(ctx context.Context, src Tree, from string, dst Tree, to string, opt CopyOptions) (replaced bool, err error) {
	info, err := src.Stat(ctx, from)
	if err != nil {
		return false, err
	}
	if err := opt.Condition.Check(info, true); err != nil {
		return false, err
	}
	old, err := dst.Stat(ctx, to)
	exists := err == nil
	switch {
	case exists && !opt.Overwrite:
		return false, ErrExists
	case err != nil && !errors.Is(err, ErrNotFound):
		return false, err
	}
	c := carrier{src, dst, opt}
	// Put replaces a file by a file in one step. Anything else that is replaced
	// needs the copy to be complete beside it first.
	if !exists || !info.Dir && !old.Dir {
		return exists, c.carry(ctx, from, info.Dir, to)
	}
	if to == "" {
		return false, errRoot
	}
	beside := Join(Dir(to), ".incoming-"+strings.ToLower(rand.Text()))
	if err := c.carry(ctx, from, info.Dir, beside); err != nil {
		return false, err
	}
	if replaced, err = dst.Move(ctx, beside, to, MoveOptions{Overwrite: true}); err != nil {
		err = errors.Join(err, undo(ctx, dst, beside))
	}
	return replaced, err
}

// transferAway is Transfer that takes the source away afterwards.
func transferAway(ctx context.Context, src Tree, from string, dst Tree, to string, opt MoveOptions) (replaced bool, err error) {
	info, err := src.Stat(ctx, from)
	if err != nil {
		return false, err
	}
	if !info.Rights.Has(Write) {
		return false, ErrForbidden.Saying("This may be copied, but not taken away; ask its owner.")
	}
	replaced, err = Transfer(ctx, src, from, dst, to, CopyOptions{Condition: opt.Condition, Overwrite: opt.Overwrite})
	if err != nil {
		return false, err
	}
	var unchanged Condition // what changed since it was copied must not be lost
	if !info.Dir && strings.HasPrefix(info.ETag, `"`) {
		unchanged.Match = info.ETag
	}
	if err := src.Remove(ctx, from, unchanged); err != nil {
		if !replaced {
			err = errors.Join(err, undo(ctx, dst, to))
		}
		return replaced, err
	}
	return replaced, nil
}

// undo removes what a failed transfer made, even when the asker left: half a
// folder is of no use to anyone.
func undo(ctx context.Context, dst Tree, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := dst.Remove(ctx, name, Condition{}); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// carrier is one transfer under way.
type carrier struct {
	src, dst Tree
	opt      CopyOptions
}

// carry copies a file, or a folder to a free name, removing the folder again
// when that fails.
func (c carrier) carry(ctx context.Context, from string, folder bool, to string) error {
	if !folder {
		return c.file(ctx, from, to, c.opt.Overwrite)
	}
	if _, err := c.dst.Mkdir(ctx, to); err != nil || c.opt.Shallow {
		return err
	}
	if err := c.folder(ctx, from, to); err != nil {
		return errors.Join(err, undo(ctx, c.dst, to))
	}
	return nil
}

func (c carrier) file(ctx context.Context, from, to string, overwrite bool) error {
	f, err := c.src.Open(ctx, from)
	if err != nil {
		return err
	}
	defer f.Close()
	info := f.Info()
	opt := PutOptions{Size: info.Size, ModTime: info.ModTime, ContentType: info.ContentType}
	if !overwrite {
		opt.NoneMatch = "*"
	}
	_, _, err = c.dst.Put(ctx, to, f, opt)
	if !overwrite && errors.Is(err, ErrPrecondition) {
		return ErrExists
	}
	return err
}

// folder copies what a folder holds. The listing is finished before anything is
// copied: a remote one keeps a connection.
func (c carrier) folder(ctx context.Context, from, to string) error {
	type child struct {
		name string
		dir  bool
	}
	var children []child
	for info, err := range c.src.List(ctx, from) {
		if err != nil {
			return err
		}
		if !proper(info.Name) { // would lead elsewhere
			return ErrName.Saying("A folder to be copied holds the name %.80q, which cannot be used here.", info.Name)
		}
		children = append(children, child{info.Name, info.Dir})
	}
	for _, e := range children {
		target, err := Clean(Join(to, e.name)) // the bound on depth
		if err != nil {
			return err
		}
		if !e.dir {
			err = c.file(ctx, Join(from, e.name), target, false)
		} else if _, err = c.dst.Mkdir(ctx, target); err == nil {
			err = c.folder(ctx, Join(from, e.name), target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
