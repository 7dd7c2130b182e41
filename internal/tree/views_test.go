package tree_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/tree/treetest"
)

func TestSubIsATree(t *testing.T) {
	t.Parallel()
	treetest.Run(t, func(t *testing.T) tree.Tree {
		d, _ := newDisk(t)
		mkdir(t, d, "a")
		mkdir(t, d, "a/b")
		return tree.Sub(d, "a/b")
	})
}

func TestRestrictToAllIsATree(t *testing.T) {
	t.Parallel()
	treetest.Run(t, func(t *testing.T) tree.Tree { d, _ := newDisk(t); return tree.Restrict(d, tree.All) })
}

func TestWhileIsATree(t *testing.T) {
	t.Parallel()
	treetest.Run(t, func(t *testing.T) tree.Tree {
		d, _ := newDisk(t)
		return tree.While(d, func(context.Context, bool) error { return nil })
	})
}

func TestWhileEndsAWriteBeforeItTakesEffect(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	put(t, d, "a", "before")
	w := tree.While(d, func(_ context.Context, writes bool) error {
		if writes {
			return tree.ErrForbidden
		}
		return nil
	})
	for _, size := range []int64{-1, 0, 5} {
		_, _, err := w.Put(t.Context(), "a", strings.NewReader("after"), tree.PutOptions{Size: size})
		wants(t, "a write that may not go on", err, tree.ErrForbidden)
	}
	f, err := w.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != "before" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestAFolderMountedIsATree(t *testing.T) {
	t.Parallel()
	treetest.Run(t, func(t *testing.T) tree.Tree {
		own, _ := newDisk(t)
		other, _ := newDisk(t)
		return tree.Sub(tree.Mount(own, "Shared", points(point("theirs", other))), "Shared/theirs")
	})
}

func TestWithQuotaIsATree(t *testing.T) {
	t.Parallel()
	treetest.Run(t, func(t *testing.T) tree.Tree {
		d, _ := newDisk(t)
		return tree.WithQuota(d, func() int64 { return 1 << 20 }, new(tree.Counter))
	})
}

func TestSubKeepsToItsFolder(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	mkdir(t, d, "a")
	mkdir(t, d, "ab")
	put(t, d, "secret", "x")
	s := tree.Sub(d, "a")
	for _, name := range []string{"../secret", "..", "../ab"} {
		_, err := s.Stat(t.Context(), name)
		wants(t, name, err, tree.ErrName)
		_, err = s.Open(t.Context(), name)
		wants(t, name, err, tree.ErrName)
	}
	put(t, s, "mine", "x")
	if got := names(t, d, "a"); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("%q", got)
	}
}

func TestRestrictRefusesWhatIsNotAllowed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, c := range []struct {
		name   string
		rights tree.Rights
	}{
		{"read only", tree.Read}, {"write only", tree.Write}, {"nothing", 0}, {"read and share", tree.Read | tree.Share}, {"all", tree.All},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := newDisk(t)
			put(t, d, "a", "x")
			r := tree.Restrict(d, c.rights)
			info, err := r.Stat(ctx, "a")
			if err != nil || info.Rights != c.rights {
				t.Errorf("Stat: %b, %v", info.Rights, err)
			}
			may := func(what string, want tree.Rights, err error) {
				t.Helper()
				if c.rights.Has(want) != (err == nil) || err != nil && !errors.Is(err, tree.ErrForbidden) {
					t.Errorf("%s: %v", what, err)
				}
			}
			f, err := r.Open(ctx, "a")
			may("Open", tree.Read, err)
			if err == nil {
				if f.Info().Rights != c.rights {
					t.Errorf("the open file has %b", f.Info().Rights)
				}
				f.Close()
			}
			err = nil
			for info, e := range r.List(ctx, "") {
				if err = e; e == nil && info.Rights != c.rights {
					t.Errorf("listed with %b", info.Rights)
				}
			}
			may("List", tree.Read, err)
			info, _, err = r.Put(ctx, "b", strings.NewReader("y"), tree.PutOptions{Size: 1})
			may("Put", tree.Write, err)
			if err == nil && info.Rights != c.rights {
				t.Errorf("put with %b", info.Rights)
			}
			_, err = r.Mkdir(ctx, "d")
			may("Mkdir", tree.Write, err)
			_, err = r.Copy(ctx, "a", "c", tree.CopyOptions{})
			may("Copy", tree.Read|tree.Write, err)
			_, err = r.Move(ctx, "a", "e", tree.MoveOptions{})
			may("Move", tree.Write, err)
			put(t, d, "gone", "x")
			may("Remove", tree.Write, r.Remove(ctx, "gone", tree.Condition{}))
		})
	}
}

func TestSingleFile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, _ := newDisk(t)
	mkdir(t, d, "docs")
	put(t, d, "docs/report.txt", "old")
	put(t, d, "docs/secret", "x")
	s := tree.SingleFile(d, "docs/report.txt")
	for _, name := range []string{"", "report.txt"} {
		info, err := s.Stat(ctx, name)
		if err != nil || info.Dir || info.Name != name || info.Size != 3 || !strings.HasPrefix(info.ContentType, "text/plain") {
			t.Errorf("Stat %q: %+v, %v", name, info, err)
		}
		if got := read(t, s, name); got != "old" {
			t.Errorf("Open %q: %q", name, got)
		}
		for _, err := range s.List(ctx, name) {
			wants(t, "List", err, tree.ErrNotFolder)
		}
	}
	for _, name := range []string{"secret", "docs", "docs/report.txt", "report.txt/x"} {
		_, err := s.Stat(ctx, name)
		wants(t, "Stat "+name, err, tree.ErrNotFound)
		_, err = s.Open(ctx, name)
		wants(t, "Open "+name, err, tree.ErrNotFound)
		_, _, err = s.Put(ctx, name, strings.NewReader("x"), tree.PutOptions{Size: 1})
		wants(t, "Put "+name, err, tree.ErrForbidden)
		_, err = s.Mkdir(ctx, name)
		wants(t, "Mkdir "+name, err, tree.ErrForbidden)
	}
	_, err := s.Move(ctx, "", "x", tree.MoveOptions{})
	wants(t, "Move", err, tree.ErrForbidden)
	_, err = s.Copy(ctx, "", "x", tree.CopyOptions{})
	wants(t, "Copy", err, tree.ErrForbidden)
	wants(t, "Remove", s.Remove(ctx, "", tree.Condition{}), tree.ErrForbidden)

	put(t, s, "", "new")
	put(t, s, "report.txt", "newer")
	if got := read(t, d, "docs/report.txt"); got != "newer" {
		t.Errorf("written: %q", got)
	}
	t.Run("a file that is gone is not brought back", func(t *testing.T) {
		if err := d.Remove(ctx, "docs/report.txt", tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		_, _, err := s.Put(ctx, "", strings.NewReader("x"), tree.PutOptions{Size: 1})
		wants(t, "Put", err, tree.ErrNotFound)
	})
	t.Run("a folder in its place is not shared", func(t *testing.T) {
		mkdir(t, d, "docs/report.txt")
		_, err := s.Stat(ctx, "")
		wants(t, "Stat", err, tree.ErrNotFound)
	})
}

func TestViewsLetTheKernelSendFilesOnDisk(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	mkdir(t, d, "a")
	put(t, d, "a/f", "x")
	for name, v := range map[string]tree.Tree{
		"sub of restrict": tree.Sub(tree.Restrict(d, tree.Read), "a"),
		"mount":           tree.Sub(tree.Mount(d, "Shared", points(point("p", tree.Sub(d, "a")))), "Shared/p"),
		"quota":           tree.Sub(tree.WithQuota(d, func() int64 { return -1 }, new(tree.Counter)), "a"),
		"single file":     tree.Restrict(tree.SingleFile(d, "a/f"), tree.Read),
	} {
		f, err := v.Open(t.Context(), "f")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if file, ok := f.(interface{ OSFile() *os.File }); !ok || file.OSFile() == nil {
			t.Errorf("%s: %T hides the file", name, f)
		}
		f.Close()
	}
}

func points(p ...tree.MountPoint) func(context.Context) ([]tree.MountPoint, error) {
	return func(context.Context) ([]tree.MountPoint, error) { return slices.Clone(p), nil }
}

func point(name string, t tree.Tree) tree.MountPoint {
	return tree.MountPoint{
		Name: name,
		Info: tree.Info{Dir: true, ID: "mount-" + name, ETag: `"` + name + `"`, Rights: tree.All},
		Tree: func(context.Context) (tree.Tree, error) { return t, nil },
	}
}

// mounts is a base with a folder of mount points that can be changed.
type mounts struct {
	tree.Tree
	own, folder, file *tree.Disk
	points            []tree.MountPoint
	asked             int // how often a mounted tree was opened
}

func newMounts(t *testing.T) *mounts {
	m := &mounts{}
	m.own, _ = newDisk(t)
	m.folder, _ = newDisk(t)
	m.file, _ = newDisk(t)
	mkdir(t, m.folder, "sub")
	put(t, m.folder, "sub/x", "theirs")
	put(t, m.file, "note.txt", "note")
	put(t, m.own, "mine", "mine")
	file := point("note", tree.SingleFile(m.file, "note.txt"))
	file.Info.Dir = false
	m.points = []tree.MountPoint{point("folder", m.folder), file, {
		Name: "dead",
		Info: tree.Info{Dir: true, Rights: tree.All, ID: "mount-dead", Unavailable: &tree.Unavailable{Since: time.Unix(1, 0), Reason: "silent"}},
		Tree: func(context.Context) (tree.Tree, error) { return nil, tree.ErrUnavailable },
	}}
	for i, p := range m.points {
		m.points[i].Tree = func(ctx context.Context) (tree.Tree, error) { m.asked++; return p.Tree(ctx) }
		m.points[i].Rename = func(_ context.Context, name string) error {
			m.points[i].Name = name
			return nil
		}
		m.points[i].Remove = func(context.Context) error {
			m.points = slices.DeleteFunc(m.points, func(q tree.MountPoint) bool { return q.Info.ID == p.Info.ID })
			return nil
		}
	}
	m.Tree = tree.Mount(m.own, "Shared", func(context.Context) ([]tree.MountPoint, error) { return slices.Clone(m.points), nil })
	return m
}

func TestMountShowsItsPointsWithoutAskingThem(t *testing.T) {
	t.Parallel()
	m := newMounts(t)
	if got := names(t, m, ""); !slices.Equal(got, []string{"Shared", "mine"}) {
		t.Errorf("root: %q", got)
	}
	if got := names(t, m, "Shared"); !slices.Equal(got, []string{"dead", "folder", "note"}) {
		t.Errorf("folder: %q", got)
	}
	for info := range m.List(t.Context(), "Shared") {
		if !info.Mount || (info.Unavailable != nil) != (info.Name == "dead") {
			t.Errorf("%+v", info)
		}
	}
	if _, err := m.Stat(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if m.asked != 0 {
		t.Errorf("%d trees were asked", m.asked)
	}
}

func TestWhatIsMountedIsReachedByName(t *testing.T) {
	t.Parallel()
	m := newMounts(t)
	ctx := t.Context()
	if got := read(t, m, "Shared/folder/sub/x"); got != "theirs" {
		t.Errorf("%q", got)
	}
	if got := read(t, m, "Shared/note"); got != "note" {
		t.Errorf("%q", got)
	}
	put(t, m, "Shared/note", "changed")
	put(t, m, "Shared/folder/new", "new")
	if read(t, m.file, "note.txt") != "changed" || read(t, m.folder, "new") != "new" {
		t.Error("writing does not reach what is mounted")
	}
	info, err := m.Stat(ctx, "Shared/note")
	if err != nil || info.Name != "note" || !info.Mount || info.Dir || info.Size != 7 || info.ID != "mount-note" {
		t.Errorf("%+v, %v", info, err)
	}
	listed, _ := m.Stat(ctx, "Shared/folder/sub/x")
	theirs, _ := m.folder.Stat(ctx, "sub/x")
	if listed.ID != "mount-folder-"+theirs.ID {
		t.Errorf("ID %q", listed.ID)
	}
	for info := range m.List(ctx, "Shared/folder/sub") {
		if info.ID != listed.ID {
			t.Errorf("listed as %q, described as %q", info.ID, listed.ID)
		}
	}
	_, err = m.Stat(ctx, "Shared/nobody")
	wants(t, "Stat", err, tree.ErrNotFound)
	_, err = m.Stat(ctx, "Shared/nobody/x")
	wants(t, "Stat", err, tree.ErrNotFound)
}

func TestAMountThatIsAwayStaysAndSaysSo(t *testing.T) {
	t.Parallel()
	m := newMounts(t)
	ctx := t.Context()
	info, err := m.Stat(ctx, "Shared/dead")
	if err != nil || info.Unavailable == nil || info.Unavailable.Reason != "silent" || info.Name != "dead" {
		t.Errorf("%+v, %v", info, err)
	}
	for _, err := range m.List(ctx, "Shared/dead") {
		wants(t, "List", err, tree.ErrUnavailable)
	}
	_, err = m.Stat(ctx, "Shared/dead/x")
	wants(t, "Stat inside", err, tree.ErrUnavailable)
	_, err = m.Open(ctx, "Shared/dead/x")
	wants(t, "Open inside", err, tree.ErrUnavailable)
	if _, err := m.Move(ctx, "Shared/dead", "Shared/silent", tree.MoveOptions{}); err != nil {
		t.Errorf("rename: %v", err)
	}
	if err := m.Remove(ctx, "Shared/silent", tree.Condition{}); err != nil {
		t.Errorf("remove: %v", err)
	}
	if got := names(t, m, "Shared"); !slices.Equal(got, []string{"folder", "note"}) {
		t.Errorf("%q", got)
	}
}

func TestTheMountedFolderIsNotForOnesOwn(t *testing.T) {
	t.Parallel()
	m := newMounts(t)
	ctx := t.Context()
	put := func(name string) error {
		_, _, err := m.Put(ctx, name, strings.NewReader("x"), tree.PutOptions{Size: 1})
		return err
	}
	mkdir := func(name string) error { _, err := m.Mkdir(ctx, name); return err }
	move := func(from, to string) error {
		_, err := m.Move(ctx, from, to, tree.MoveOptions{Overwrite: true})
		return err
	}
	copied := func(from, to string) error {
		_, err := m.Copy(ctx, from, to, tree.CopyOptions{Overwrite: true})
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"put over the folder", put("Shared"), tree.ErrIsFolder},
		{"put in it", put("Shared/x"), tree.ErrForbidden},
		{"put below a free name", put("Shared/x/y"), tree.ErrNoParent},
		{"put over a mounted folder", put("Shared/folder"), tree.ErrIsFolder},
		{"make the folder", mkdir("Shared"), tree.ErrExists},
		{"make a folder in it", mkdir("Shared/x"), tree.ErrForbidden},
		{"make a mount point", mkdir("Shared/folder"), tree.ErrExists},
		{"remove the folder", m.Remove(ctx, "Shared", tree.Condition{}), tree.ErrForbidden},
		{"move the folder", move("Shared", "x"), tree.ErrForbidden},
		{"move over the folder", move("mine", "Shared"), tree.ErrForbidden},
		{"move into it", move("mine", "Shared/x"), tree.ErrForbidden},
		{"move over a mounted folder", move("mine", "Shared/folder"), tree.ErrForbidden},
		{"move a mount point out", move("Shared/folder", "x"), tree.ErrForbidden},
		{"move a mount point over another", move("Shared/folder", "Shared/note"), tree.ErrExists},
		{"move a mount point into another", move("Shared/note", "Shared/folder/x"), tree.ErrForbidden},
		{"copy into it", copied("mine", "Shared/x"), tree.ErrForbidden},
		{"copy the folder", copied("Shared", "x"), tree.ErrForbidden},
		{"copy a mounted folder into itself", copied("Shared/folder", "Shared/folder/x"), tree.ErrInto},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	if got := names(t, m.own, ""); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("base holds %q", got)
	}
}

func TestCopiesAndMovesGoFromTreeToTree(t *testing.T) {
	t.Parallel()
	m := newMounts(t)
	ctx := t.Context()
	copyTo := func(from, to string) {
		t.Helper()
		if _, err := m.Copy(ctx, from, to, tree.CopyOptions{Overwrite: true}); err != nil {
			t.Errorf("copy %s to %s: %v", from, to, err)
		}
	}
	moveTo := func(from, to string) {
		t.Helper()
		if _, err := m.Move(ctx, from, to, tree.MoveOptions{Overwrite: true}); err != nil {
			t.Errorf("move %s to %s: %v", from, to, err)
		}
	}
	copyTo("Shared/folder", "all")
	if got := read(t, m.own, "all/sub/x"); got != "theirs" {
		t.Errorf("%q", got)
	}
	copyTo("Shared/folder/sub", "all/sub/deeper")
	moveTo("all", "Shared/folder/back")
	if got := read(t, m.folder, "back/sub/deeper/x"); got != "theirs" {
		t.Errorf("%q", got)
	}
	moveTo("mine", "Shared/note")
	if got := read(t, m.file, "note.txt"); got != "mine" {
		t.Errorf("the mounted file holds %q", got)
	}
	if got := names(t, m.own, ""); len(got) != 0 {
		t.Errorf("base still holds %q", got)
	}
	moveTo("Shared/folder/back", "Shared/folder/sub/back") // within one tree
	moveTo("Shared/folder/sub", "mine")
	if got := names(t, m.own, "mine"); !slices.Equal(got, []string{"back", "x"}) {
		t.Errorf("base holds %q", got)
	}
	_, err := m.Copy(ctx, "mine/x", "Shared/note", tree.CopyOptions{})
	wants(t, "Copy over a file without Overwrite", err, tree.ErrExists)
}

func TestTheRootsETagChangesWithTheMounts(t *testing.T) {
	t.Parallel()
	m := newMounts(t)
	tags := map[string]string{}
	expect := func(what string) {
		t.Helper()
		for _, name := range []string{"", "Shared"} {
			info, err := m.Stat(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if info.ETag == tags[name] || strings.Count(info.ETag, `"`) != 2 {
				t.Errorf("%s: the ETag of %q is %s", what, name, info.ETag)
			}
			tags[name] = info.ETag
		}
	}
	expect("at first")
	m.points[0].Info.ETag = `"other"`
	expect("a mount changed")
	m.points[0].Name = "renamed"
	expect("a mount was renamed")
	m.points[0].Info.Unavailable = &tree.Unavailable{}
	expect("a mount is away")
	m.points = m.points[1:]
	expect("a mount is gone")
	before := tags[""]
	put(t, m.own, "x", "x")
	if info, _ := m.Stat(t.Context(), ""); info.ETag == before {
		t.Error("a change in base does not show")
	}
}

func TestMovingAwayNeedsTheRightToRemove(t *testing.T) {
	t.Parallel()
	own, _ := newDisk(t)
	theirs, _ := newDisk(t)
	put(t, theirs, "x", "x")
	m := tree.Mount(own, "Shared", points(point("p", tree.Restrict(theirs, tree.Read))))
	_, err := m.Move(t.Context(), "Shared/p/x", "x", tree.MoveOptions{})
	wants(t, "Move", err, tree.ErrForbidden)
	if got := names(t, m, ""); !slices.Equal(got, []string{"Shared"}) {
		t.Errorf("left: %q", got)
	}
}

// broken fails to open one file.
type broken struct {
	tree.Tree
	name string
}

func (b broken) Open(ctx context.Context, name string) (tree.File, error) {
	if name == b.name {
		return nil, io.ErrUnexpectedEOF
	}
	return b.Tree.Open(ctx, name)
}

func TestATransferThatFailsLeavesTheTargetAsItWas(t *testing.T) {
	t.Parallel()
	src, _ := newDisk(t)
	mkdir(t, src, "a")
	mkdir(t, src, "a/sub")
	put(t, src, "a/first", "x")
	put(t, src, "a/sub/bad", "x")
	dst, _ := newDisk(t)
	put(t, dst, "there", "old")
	for _, to := range []string{"free", "there"} {
		_, err := tree.Transfer(t.Context(), broken{src, "a/sub/bad"}, "a", dst, to, tree.CopyOptions{Overwrite: true})
		wants(t, to, err, io.ErrUnexpectedEOF)
	}
	if got := names(t, dst, ""); !slices.Equal(got, []string{"there"}) {
		t.Errorf("left: %q", got)
	}
	if got := read(t, dst, "there"); got != "old" {
		t.Errorf("%q", got)
	}
}

// hostile lists names that lead elsewhere, or itself without end.
type hostile struct {
	tree.Tree
	name string
}

func (h hostile) Stat(context.Context, string) (tree.Info, error) {
	return tree.Info{Dir: true, Rights: tree.All}, nil
}

func (h hostile) List(context.Context, string) iter.Seq2[tree.Info, error] {
	return func(yield func(tree.Info, error) bool) { yield(tree.Info{Name: h.name, Dir: true}, nil) }
}

// sink takes every folder.
type sink struct {
	tree.Tree
	removed []string
}

func (s *sink) Stat(context.Context, string) (tree.Info, error) { return tree.Info{}, tree.ErrNotFound }

func (s *sink) Mkdir(context.Context, string) (tree.Info, error) { return tree.Info{}, nil }

func (s *sink) Remove(_ context.Context, name string, _ tree.Condition) error {
	s.removed = append(s.removed, name)
	return nil
}

func TestATransferTrustsNoListing(t *testing.T) {
	t.Parallel()
	for name, child := range map[string]string{
		"the folder above": "..", "a path": "a/b", "nothing": "", "a control character": "a\n", "folders without end": "x",
	} {
		t.Run(name, func(t *testing.T) {
			dst := &sink{}
			_, err := tree.Transfer(t.Context(), hostile{name: child}, "", dst, "to", tree.CopyOptions{})
			wants(t, "Transfer", err, tree.ErrName)
			if !slices.Equal(dst.removed, []string{"to"}) {
				t.Errorf("removed: %q", dst.removed)
			}
		})
	}
}
