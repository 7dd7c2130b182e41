package tree

import (
	"context"
	"io"
	"iter"
	"os"
)

// Sub is the folder base of t as a tree of its own. Its root can be neither
// replaced, moved nor removed.
func Sub(t Tree, base string) Tree {
	if base == "" {
		return t
	}
	return &sub{t, base}
}

type sub struct {
	tree Tree
	base string
}

var errRoot = ErrForbidden.Saying("The top folder can be neither replaced, moved nor deleted.")

// rooted gives the root of a view its empty name.
func rooted(info Info, name string) Info {
	if name == "" {
		info.Name = ""
	}
	return info
}

func (s *sub) Stat(ctx context.Context, name string) (Info, error) {
	info, err := s.tree.Stat(ctx, Join(s.base, name))
	return rooted(info, name), err
}

func (s *sub) List(ctx context.Context, name string) iter.Seq2[Info, error] {
	return s.tree.List(ctx, Join(s.base, name))
}

func (s *sub) Open(ctx context.Context, name string) (File, error) {
	return s.tree.Open(ctx, Join(s.base, name))
}

func (s *sub) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	if name == "" {
		return Info{}, false, ErrIsFolder
	}
	return s.tree.Put(ctx, Join(s.base, name), body, opt)
}

func (s *sub) Mkdir(ctx context.Context, name string) (Info, error) {
	if name == "" {
		return Info{}, ErrExists
	}
	return s.tree.Mkdir(ctx, Join(s.base, name))
}

func (s *sub) Move(ctx context.Context, from, to string, opt MoveOptions) (bool, error) {
	if from == "" || to == "" {
		return false, errRoot
	}
	return s.tree.Move(ctx, Join(s.base, from), Join(s.base, to), opt)
}

func (s *sub) Copy(ctx context.Context, from, to string, opt CopyOptions) (bool, error) {
	if to == "" {
		return false, errRoot
	}
	return s.tree.Copy(ctx, Join(s.base, from), Join(s.base, to), opt)
}

func (s *sub) Remove(ctx context.Context, name string, cond Condition) error {
	if name == "" {
		return errRoot
	}
	return s.tree.Remove(ctx, Join(s.base, name), cond)
}

func (s *sub) Usage(ctx context.Context, name string) (Usage, error) {
	return s.tree.Usage(ctx, Join(s.base, name))
}

// SingleFile is the one file name of t as a tree: the root is the file itself,
// which also answers to its own last element. It can be read and its content
// replaced; nothing else is visible or possible.
func SingleFile(t Tree, name string) Tree { return &single{t, name} }

type single struct {
	tree Tree
	file string
}

var errSingle = ErrForbidden.Saying("Only one file is shared here: it can be read and changed, but not moved, deleted or given company.")

// refers reports whether name, within this view, is the file.
func (s *single) refers(name string) bool { return name == "" || name == Base(s.file) }

// describe names the file as it was asked for. The root has no name to tell the
// kind of content from, so the kind is told here.
func (s *single) describe(name string) func(*Info) {
	return func(info *Info) {
		if info.Name = name; info.ContentType == "" {
			info.ContentType = TypeOf(s.file)
		}
	}
}

func (s *single) Stat(ctx context.Context, name string) (Info, error) {
	if !s.refers(name) {
		return Info{}, ErrNotFound
	}
	info, err := s.tree.Stat(ctx, s.file)
	if err != nil {
		return Info{}, err
	}
	if info.Dir { // the file made way for a folder, which was never shared
		return Info{}, ErrNotFound
	}
	s.describe(name)(&info)
	return info, nil
}

func (s *single) List(ctx context.Context, name string) iter.Seq2[Info, error] {
	if _, err := s.Stat(ctx, name); err != nil {
		return failed(err)
	}
	return failed(ErrNotFolder)
}

func (s *single) Open(ctx context.Context, name string) (File, error) {
	if _, err := s.Stat(ctx, name); err != nil {
		return nil, err
	}
	f, err := s.tree.Open(ctx, s.file)
	if err != nil {
		return nil, err
	}
	return described(f, s.describe(name)), nil
}

// Put replaces the file; one that is gone is not brought back.
func (s *single) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	if !s.refers(name) {
		return Info{}, false, errSingle
	}
	if _, err := s.Stat(ctx, name); err != nil {
		return Info{}, false, err
	}
	info, created, err := s.tree.Put(ctx, s.file, body, opt)
	if err == nil {
		s.describe(name)(&info)
	}
	return info, created, err
}

func (s *single) Mkdir(context.Context, string) (Info, error) { return Info{}, errSingle }

func (s *single) Move(context.Context, string, string, MoveOptions) (bool, error) {
	return false, errSingle
}

func (s *single) Copy(context.Context, string, string, CopyOptions) (bool, error) {
	return false, errSingle
}

func (s *single) Remove(context.Context, string, Condition) error { return errSingle }

func (s *single) Usage(ctx context.Context, name string) (Usage, error) {
	if !s.refers(name) {
		return Usage{}, ErrNotFound
	}
	return s.tree.Usage(ctx, s.file)
}

// Restrict lets through only what rights allow and refuses the rest with
// ErrForbidden. Without Read, single entries can still be described.
func Restrict(t Tree, rights Rights) Tree { return &restricted{t, rights} }

type restricted struct {
	tree   Tree
	rights Rights
}

func (r *restricted) need(want Rights) error {
	switch missing := want &^ r.rights; {
	case missing.Has(Write):
		return ErrForbidden.Saying("This was shared without the right to change it; ask its owner.")
	case missing.Has(Read):
		return ErrForbidden.Saying("This was shared without the right to read it; ask its owner.")
	}
	return nil
}

func (r *restricted) limit(info *Info) { info.Rights &= r.rights }

func (r *restricted) Stat(ctx context.Context, name string) (Info, error) {
	info, err := r.tree.Stat(ctx, name)
	r.limit(&info)
	return info, err
}

func (r *restricted) List(ctx context.Context, name string) iter.Seq2[Info, error] {
	if err := r.need(Read); err != nil {
		return failed(err)
	}
	return changed(r.tree.List(ctx, name), r.limit)
}

func (r *restricted) Open(ctx context.Context, name string) (File, error) {
	if err := r.need(Read); err != nil {
		return nil, err
	}
	f, err := r.tree.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return described(f, r.limit), nil
}

func (r *restricted) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	if err := r.need(Write); err != nil {
		return Info{}, false, err
	}
	info, created, err := r.tree.Put(ctx, name, body, opt)
	r.limit(&info)
	return info, created, err
}

func (r *restricted) Mkdir(ctx context.Context, name string) (Info, error) {
	if err := r.need(Write); err != nil {
		return Info{}, err
	}
	info, err := r.tree.Mkdir(ctx, name)
	r.limit(&info)
	return info, err
}

func (r *restricted) Move(ctx context.Context, from, to string, opt MoveOptions) (bool, error) {
	if err := r.need(Write); err != nil {
		return false, err
	}
	return r.tree.Move(ctx, from, to, opt)
}

func (r *restricted) Copy(ctx context.Context, from, to string, opt CopyOptions) (bool, error) {
	if err := r.need(Read | Write); err != nil {
		return false, err
	}
	return r.tree.Copy(ctx, from, to, opt)
}

func (r *restricted) Remove(ctx context.Context, name string, cond Condition) error {
	if err := r.need(Write); err != nil {
		return err
	}
	return r.tree.Remove(ctx, name, cond)
}

func (r *restricted) Usage(ctx context.Context, name string) (Usage, error) {
	return r.tree.Usage(ctx, name)
}

// failed is a listing that yields only err.
func failed(err error) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) { yield(Info{}, err) }
}

// changed is a listing whose entries went through change.
func changed(list iter.Seq2[Info, error], change func(*Info)) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for info, err := range list {
			if err == nil {
				change(&info)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// osFile is a File on local disk: whoever sends it over the network can let the
// kernel do so.
type osFile interface{ OSFile() *os.File }

// described is f with a changed Info; what else f can do shows through.
func described(f File, change func(*Info)) File {
	info := f.Info()
	change(&info)
	d := describedFile{f, info}
	switch inner := f.(type) {
	case osFile:
		return struct {
			describedFile
			osFile
		}{d, inner}
	case Hinter:
		return struct {
			describedFile
			Hinter
		}{d, inner}
	}
	return d
}

type describedFile struct {
	File
	info Info
}

func (d describedFile) Info() Info { return d.info }
