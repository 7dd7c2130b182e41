package tree

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// MountPoint is a tree from elsewhere that stands in a mounted folder.
type MountPoint struct {
	Name string
	Info Info // known without asking anyone; Dir tells whether it is a folder
	Here bool // the files are on this server
	// Tree opens what is mounted. The root of the tree of a file is the file.
	Tree   func(ctx context.Context) (Tree, error)
	Rename func(ctx context.Context, name string) error
	Remove func(ctx context.Context) error
}

// Mount is base with a folder dir at its root that holds mount points. The
// folder itself can be neither made nor changed; a mount point in it can be
// renamed and removed. Listing the folder asks no mounted tree, so that one that
// does not answer delays nobody.
func Mount(base Tree, dir string, points func(ctx context.Context) ([]MountPoint, error)) Tree {
	return &mounted{base, dir, points}
}

type mounted struct {
	base   Tree
	dir    string
	points func(ctx context.Context) ([]MountPoint, error)
}

// spot is where a name leads.
type spot struct {
	kind  spotKind
	point *MountPoint // of atPoint and inPoint
	name  string      // in base or the point's tree; of atFree what follows the free name
}

type spotKind int

const (
	inBase   spotKind = iota
	atFolder          // the mounted folder itself
	atPoint           // a mount point
	inPoint           // something in a mounted tree
	atFree            // a name in the mounted folder that no mount point has
)

// find resolves a name without asking any mounted tree.
func (m *mounted) find(ctx context.Context, name string) (spot, error) {
	if !Within(name, m.dir) {
		return spot{kind: inBase, name: name}, nil
	}
	if name == m.dir {
		return spot{kind: atFolder}, nil
	}
	points, err := m.points(ctx)
	if err != nil {
		return spot{}, err
	}
	first, rest, _ := strings.Cut(name[len(m.dir)+1:], "/")
	i := slices.IndexFunc(points, func(p MountPoint) bool { return p.Name == first })
	switch {
	case i < 0:
		return spot{kind: atFree, name: rest}, nil
	case rest == "":
		return spot{kind: atPoint, point: &points[i]}, nil
	}
	return spot{kind: inPoint, point: &points[i], name: rest}, nil
}

// tree opens the tree that a spot lies in.
func (m *mounted) tree(ctx context.Context, s spot) (Tree, error) {
	switch s.kind {
	case inBase:
		return m.base, nil
	case atPoint, inPoint:
		return s.point.Tree(ctx)
	}
	return nil, ErrNotFound
}

// describe makes what a spot's tree says fit for this tree: the root of the
// mounted tree bears the mount point's name, and what is in it an ID that is
// not also one of base or of another mount.
func (s spot) describe(info *Info) {
	switch {
	case s.kind == atPoint:
		info.Name, info.Mount = s.point.Name, true
		info.ID = cmp.Or(s.point.Info.ID, info.ID)
	case s.kind == inPoint && s.point.Info.ID != "" && info.ID != "":
		info.ID = s.point.Info.ID + "-" + info.ID
	}
}

// known is what a mount point says of itself.
func (p *MountPoint) known() Info {
	info := p.Info
	info.Name, info.Mount = p.Name, true
	return info
}

// virtual describes the mounted folder. Its ETag changes with its mount points.
func (m *mounted) virtual(ctx context.Context) (Info, error) {
	points, err := m.points(ctx)
	if err != nil {
		return Info{}, err
	}
	info := Info{Name: m.dir, Dir: true, ID: "mounts", Rights: Read}
	h := sha256.New()
	for _, p := range slices.SortedFunc(slices.Values(points), func(a, b MountPoint) int { return cmp.Compare(a.Name, b.Name) }) {
		fmt.Fprintf(h, "%q %q %t\n", p.Name, p.Info.ETag, p.Info.Unavailable != nil)
		if p.Info.ModTime.After(info.ModTime) {
			info.ModTime = p.Info.ModTime
		}
	}
	info.ETag = `"` + hex.EncodeToString(h.Sum(nil)[:12]) + `"`
	return info, nil
}

type unaskedKey struct{}

// Unasked is ctx for a Stat that is to wait for nobody: mount points are
// described by what is known of them.
func Unasked(ctx context.Context) context.Context { return context.WithValue(ctx, unaskedKey{}, true) }

// Stat implements Tree. A mount point is described by its tree, or when that
// fails by what is known of it: it stays, to be renamed or removed.
func (m *mounted) Stat(ctx context.Context, name string) (Info, error) {
	s, err := m.find(ctx, name)
	if err != nil {
		return Info{}, err
	}
	switch {
	case s.kind == atFolder:
		return m.virtual(ctx)
	case s.kind == atPoint && ctx.Value(unaskedKey{}) != nil:
		return s.point.known(), nil
	}
	info, err := m.stat(ctx, s)
	if refusal, ok := errors.AsType[*ocm.Error](err); ok && s.kind == atPoint {
		info = s.point.known()
		if info.Unavailable == nil {
			info.Unavailable = &Unavailable{Since: time.Now(), Reason: refusal.Message}
		}
		return info, nil
	}
	if err != nil {
		return Info{}, err
	}
	if name == "" {
		folder, err := m.virtual(ctx)
		if err != nil {
			return Info{}, err
		}
		info.ETag = `"` + strings.Trim(info.ETag, `"`) + "-" + strings.Trim(folder.ETag, `"`) + `"`
	}
	return info, nil
}

func (m *mounted) stat(ctx context.Context, s spot) (Info, error) {
	t, err := m.tree(ctx, s)
	if err != nil {
		return Info{}, err
	}
	info, err := t.Stat(ctx, s.name)
	if err == nil {
		s.describe(&info)
	}
	return info, err
}

// List implements Tree.
func (m *mounted) List(ctx context.Context, name string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := m.list(ctx, name, yield); err != nil {
			yield(Info{}, err)
		}
	}
}

// list yields the entries of a folder; it returns what failed before the first.
func (m *mounted) list(ctx context.Context, name string, yield func(Info, error) bool) error {
	s, err := m.find(ctx, name)
	if err != nil {
		return err
	}
	if s.kind == atFolder {
		points, err := m.points(ctx)
		if err != nil {
			return err
		}
		for i := range points {
			if !yield(points[i].known(), nil) {
				return nil
			}
		}
		return nil
	}
	t, err := m.tree(ctx, s)
	if err != nil {
		return err
	}
	if name == "" {
		folder, err := m.virtual(ctx)
		if err != nil {
			return err
		}
		if !yield(folder, nil) {
			return nil
		}
	}
	within := s
	if s.kind == atPoint {
		within.kind = inPoint
	}
	for info, err := range t.List(ctx, s.name) {
		if err == nil && name == "" && info.Name == m.dir {
			continue // on disk from before the name was taken: the mounts win
		}
		if err == nil {
			within.describe(&info)
		}
		if !yield(info, err) {
			return nil
		}
	}
	return nil
}

// Open implements Tree.
func (m *mounted) Open(ctx context.Context, name string) (File, error) {
	s, err := m.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if s.kind == atFolder || s.kind == atPoint && s.point.Info.Dir {
		return nil, ErrIsFolder
	}
	t, err := m.tree(ctx, s)
	if err != nil {
		return nil, err
	}
	f, err := t.Open(ctx, s.name)
	if err != nil || s.kind == inBase {
		return f, err
	}
	return described(f, s.describe), nil
}

func (m *mounted) reserved() error {
	return ErrForbidden.Saying("%q holds what others share with you: shares in it can be renamed and removed, and nothing else can be put there.", m.dir)
}

// room refuses a new entry where only mount points stand.
func (m *mounted) room(s spot) error {
	switch {
	case s.kind == atFolder, s.kind == atFree && s.name == "":
		return m.reserved()
	case s.kind == atFree:
		return ErrNoParent
	}
	return nil
}

// Put implements Tree.
func (m *mounted) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	s, err := m.find(ctx, name)
	if err != nil {
		return Info{}, false, err
	}
	if s.kind == atFolder || s.kind == atPoint && s.point.Info.Dir {
		return Info{}, false, ErrIsFolder
	}
	if err := m.room(s); err != nil {
		return Info{}, false, err
	}
	t, err := m.tree(ctx, s)
	if err != nil {
		return Info{}, false, err
	}
	info, created, err := t.Put(ctx, s.name, body, opt)
	if err == nil {
		s.describe(&info)
	}
	return info, created, err
}

// Mkdir implements Tree.
func (m *mounted) Mkdir(ctx context.Context, name string) (Info, error) {
	s, err := m.find(ctx, name)
	if err != nil {
		return Info{}, err
	}
	if s.kind == atFolder || s.kind == atPoint {
		return Info{}, ErrExists
	}
	if err := m.room(s); err != nil {
		return Info{}, err
	}
	t, err := m.tree(ctx, s)
	if err != nil {
		return Info{}, err
	}
	info, err := t.Mkdir(ctx, s.name)
	if err == nil {
		s.describe(&info)
	}
	return info, err
}

// Move implements Tree. From one tree to another it copies, then removes.
func (m *mounted) Move(ctx context.Context, from, to string, opt MoveOptions) (bool, error) {
	src, dst, err := m.ends(ctx, from, to)
	if err != nil {
		return false, err
	}
	if src.kind == atPoint {
		return false, m.renamePoint(ctx, src, dst, to, opt)
	}
	if err := m.onto(dst, opt.Overwrite); err != nil {
		return false, err
	}
	a, b, err := m.trees(ctx, src, dst)
	if err != nil {
		return false, err
	}
	if src.sameTree(dst) {
		return a.Move(ctx, src.name, dst.name, opt)
	}
	return transferAway(ctx, a, src.name, b, dst.name, opt)
}

func (m *mounted) renamePoint(ctx context.Context, src, dst spot, to string, opt MoveOptions) error {
	switch {
	case dst.kind == atPoint:
		return ErrExists
	case dst.kind != atFree || dst.name != "":
		return ErrForbidden.Saying("A share can be renamed, but not moved out of %q; copy what is in it.", m.dir)
	}
	if err := opt.Condition.Check(src.point.Info, true); err != nil {
		return err
	}
	return src.point.Rename(ctx, Base(to))
}

// Copy implements Tree.
func (m *mounted) Copy(ctx context.Context, from, to string, opt CopyOptions) (bool, error) {
	src, dst, err := m.ends(ctx, from, to)
	if err != nil {
		return false, err
	}
	if err := m.onto(dst, opt.Overwrite); err != nil {
		return false, err
	}
	a, b, err := m.trees(ctx, src, dst)
	if err != nil {
		return false, err
	}
	if src.sameTree(dst) {
		return a.Copy(ctx, src.name, dst.name, opt)
	}
	return Transfer(ctx, a, src.name, b, dst.name, opt)
}

// ends resolves the two names of a move or copy and refuses what cannot be.
func (m *mounted) ends(ctx context.Context, from, to string) (src, dst spot, err error) {
	if src, err = m.find(ctx, from); err != nil {
		return src, dst, err
	}
	switch {
	case from == "":
		return src, dst, errRoot
	case src.kind == atFolder:
		return src, dst, m.reserved()
	case src.kind == atFree:
		return src, dst, ErrNotFound
	}
	if err := between(from, to); err != nil {
		return src, dst, err
	}
	dst, err = m.find(ctx, to)
	return src, dst, err
}

// onto refuses targets that only mount points may have, or that are one: the
// content of a mounted file may be replaced, a mounted folder may not.
func (m *mounted) onto(dst spot, overwrite bool) error {
	if dst.kind == atPoint && !overwrite {
		return ErrExists
	}
	if dst.kind == atPoint && dst.point.Info.Dir {
		return m.reserved()
	}
	return m.room(dst)
}

func (m *mounted) trees(ctx context.Context, src, dst spot) (a, b Tree, err error) {
	if a, err = m.tree(ctx, src); err != nil {
		return nil, nil, err
	}
	if src.sameTree(dst) {
		return a, a, nil
	}
	b, err = m.tree(ctx, dst)
	return a, b, err
}

// sameTree reports whether two spots lie in one tree.
func (s spot) sameTree(o spot) bool {
	if s.point == nil || o.point == nil {
		return s.point == o.point
	}
	return s.point.Name == o.point.Name
}

// Remove implements Tree. It removes a mount point without asking its tree.
func (m *mounted) Remove(ctx context.Context, name string, cond Condition) error {
	s, err := m.find(ctx, name)
	if err != nil {
		return err
	}
	switch s.kind {
	case atFolder:
		return m.reserved()
	case atPoint:
		if err := cond.Check(s.point.Info, true); err != nil {
			return err
		}
		return s.point.Remove(ctx)
	}
	t, err := m.tree(ctx, s)
	if err != nil {
		return err
	}
	return t.Remove(ctx, s.name, cond)
}

// Usage implements Tree. What is mounted takes no room here.
func (m *mounted) Usage(ctx context.Context, name string) (Usage, error) {
	s, err := m.find(ctx, name)
	if err != nil {
		return Usage{}, err
	}
	if s.kind == atFolder {
		return Usage{Available: -1}, nil
	}
	t, err := m.tree(ctx, s)
	if err != nil {
		return Usage{}, err
	}
	return t.Usage(ctx, s.name)
}
