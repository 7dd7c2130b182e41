// Package treetest holds the rules that every tree.Tree keeps, as tests.
package treetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
)

// Run holds a kind of tree against the rules. open makes an empty tree that may
// be changed, afresh for each rule.
func Run(t *testing.T, open func(t *testing.T) tree.Tree) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			rule.test(t, &bench{t, open(t)})
		})
	}
}

var rules = []struct {
	name string
	test func(t *testing.T, b *bench)
}{
	{"the root is a folder without a name", func(t *testing.T, b *bench) {
		info := b.stat("")
		if info.Name != "" || !info.Dir || info.ETag == "" {
			t.Errorf("root is %+v", info)
		}
	}},
	{"a file put is described, listed and read back", func(t *testing.T, b *bench) {
		when := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		info, created, err := b.Put(b.ctx(), "a.txt", strings.NewReader("hello"), tree.PutOptions{Size: 5, ModTime: when})
		if err != nil || !created {
			t.Fatalf("created %v, %v", created, err)
		}
		if info.Name != "a.txt" || info.Dir || info.Size != 5 || info.ETag == "" {
			t.Errorf("Put describes %+v", info)
		}
		got := b.stat("a.txt")
		if got.ETag != info.ETag || got.Size != 5 || !got.ModTime.Truncate(time.Second).Equal(when) {
			t.Errorf("Stat describes %+v, Put %+v", got, info)
		}
		if listed := b.list("")["a.txt"]; listed.ETag != info.ETag || listed.Size != 5 || listed.Dir {
			t.Errorf("List describes %+v", listed)
		}
		b.holds("a.txt", "hello")
	}},
	{"reading starts anywhere and ends at the end", func(t *testing.T, b *bench) {
		b.put("a", "0123456789")
		f, err := b.Open(b.ctx(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Info().Size != 10 || f.Info().Name != "a" {
			t.Errorf("the open file is %+v", f.Info())
		}
		if end, err := f.Seek(0, io.SeekEnd); end != 10 || err != nil {
			t.Errorf("the end is at %d, %v", end, err)
		}
		if _, err := f.Seek(7, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(f); string(rest) != "789" || err != nil {
			t.Errorf("from 7 on: %q, %v", rest, err)
		}
	}},
	{"an empty file is a file", func(t *testing.T, b *bench) {
		b.put("empty", "")
		b.holds("empty", "")
		if size := b.stat("empty").Size; size != 0 {
			t.Errorf("size %d", size)
		}
	}},
	{"putting again replaces the content and changes the ETag", func(t *testing.T, b *bench) {
		when := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		tags := map[string]bool{}
		for i, content := range []string{"one", "two", "six"} { // same size, same time
			info, created, err := b.Put(b.ctx(), "a", strings.NewReader(content), tree.PutOptions{Size: 3, ModTime: when})
			if err != nil || created != (i == 0) {
				t.Fatalf("created %v, %v", created, err)
			}
			b.holds("a", content)
			if tags[info.ETag] {
				t.Errorf("%s has the ETag of another content", content)
			}
			tags[info.ETag] = true
		}
	}},
	{"names in any script are kept", func(t *testing.T, b *bench) {
		names := []string{"café", "日本語", "a b%20c#d?e&f", "🎉", "back\\slash", "-", "…", strings.Repeat("x", 200)}
		for _, name := range names {
			b.put(name, name)
		}
		got := slices.Sorted(maps.Keys(b.list("")))
		if want := slices.Sorted(slices.Values(names)); !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
		for _, name := range names {
			b.holds(name, name)
		}
	}},
	{"what is not there is not found", func(t *testing.T, b *bench) {
		b.put("file", "x")
		for _, name := range []string{"no", "no/no"} {
			_, err := b.Stat(b.ctx(), name)
			b.fails("Stat "+name, err, tree.ErrNotFound)
			_, err = b.Open(b.ctx(), name)
			b.fails("Open "+name, err, tree.ErrNotFound)
			b.fails("List "+name, b.listErr(name), tree.ErrNotFound)
			b.fails("Remove "+name, b.Remove(b.ctx(), name, tree.Condition{}), tree.ErrNotFound)
			_, err = b.Move(b.ctx(), name, "x", tree.MoveOptions{})
			b.fails("Move "+name, err, tree.ErrNotFound)
			_, err = b.Copy(b.ctx(), name, "x", tree.CopyOptions{})
			b.fails("Copy "+name, err, tree.ErrNotFound)
		}
	}},
	{"a file is no folder and a folder no file", func(t *testing.T, b *bench) {
		b.put("file", "x")
		b.mkdir("folder")
		b.fails("List of a file", b.listErr("file"), tree.ErrNotFolder)
		_, err := b.Open(b.ctx(), "folder")
		b.fails("Open of a folder", err, tree.ErrIsFolder)
		_, err = b.Open(b.ctx(), "")
		b.fails("Open of the root", err, tree.ErrIsFolder)
		_, _, err = b.Put(b.ctx(), "folder", strings.NewReader("x"), tree.PutOptions{Size: 1})
		b.fails("Put over a folder", err, tree.ErrIsFolder)
	}},
	{"what is made needs a folder around it", func(t *testing.T, b *bench) {
		b.put("file", "x")
		for _, parent := range []string{"no", "file"} {
			_, _, err := b.Put(b.ctx(), parent+"/x", strings.NewReader("x"), tree.PutOptions{Size: 1})
			b.fails("Put into "+parent, err, tree.ErrNoParent)
			_, err = b.Mkdir(b.ctx(), parent+"/x")
			b.fails("Mkdir into "+parent, err, tree.ErrNoParent)
			_, err = b.Copy(b.ctx(), "file", parent+"/x", tree.CopyOptions{})
			if parent == "file" { // inside itself is as good a reason
				if !errors.Is(err, tree.ErrInto) && !errors.Is(err, tree.ErrNoParent) {
					t.Errorf("Copy into file: %v", err)
				}
				continue
			}
			b.fails("Copy into "+parent, err, tree.ErrNoParent)
			_, err = b.Move(b.ctx(), "file", parent+"/x", tree.MoveOptions{})
			b.fails("Move into "+parent, err, tree.ErrNoParent)
		}
		b.holds("file", "x")
	}},
	{"a folder is made once", func(t *testing.T, b *bench) {
		info := b.mkdir("folder")
		if !info.Dir || info.Name != "folder" || info.ETag == "" {
			t.Errorf("Mkdir describes %+v", info)
		}
		b.put("file", "x")
		for _, name := range []string{"folder", "file", ""} {
			_, err := b.Mkdir(b.ctx(), name)
			b.fails("Mkdir "+name, err, tree.ErrExists)
		}
	}},
	{"removing a folder removes what it holds", func(t *testing.T, b *bench) {
		b.fill("folder")
		b.put("beside", "x")
		if err := b.Remove(b.ctx(), "folder", tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		_, err := b.Stat(b.ctx(), "folder/sub/deep")
		b.fails("Stat", err, tree.ErrNotFound)
		if got := b.list(""); len(got) != 1 {
			t.Errorf("left: %v", got)
		}
	}},
	{"moving a folder brings along what it holds", func(t *testing.T, b *bench) {
		b.fill("old")
		b.mkdir("to")
		replaced, err := b.Move(b.ctx(), "old", "to/new", tree.MoveOptions{})
		if err != nil || replaced {
			t.Fatalf("replaced %v, %v", replaced, err)
		}
		b.holds("to/new/top", "top")
		b.holds("to/new/sub/deep", "deep")
		_, err = b.Stat(b.ctx(), "old")
		b.fails("Stat of the old name", err, tree.ErrNotFound)
	}},
	{"copying a folder copies what it holds", func(t *testing.T, b *bench) {
		b.fill("old")
		replaced, err := b.Copy(b.ctx(), "old", "new", tree.CopyOptions{})
		if err != nil || replaced {
			t.Fatalf("replaced %v, %v", replaced, err)
		}
		b.put("old/top", "changed")
		b.holds("new/top", "top")
		b.holds("new/sub/deep", "deep")
	}},
	{"a shallow copy of a folder is empty", func(t *testing.T, b *bench) {
		b.fill("old")
		if _, err := b.Copy(b.ctx(), "old", "new", tree.CopyOptions{Shallow: true}); err != nil {
			t.Fatal(err)
		}
		if got := b.list("new"); len(got) != 0 {
			t.Errorf("holds %v", got)
		}
	}},
	{"what is there is replaced only when asked to", func(t *testing.T, b *bench) {
		for _, kind := range []string{"file by file", "file by folder", "folder by file", "folder by folder"} {
			for _, verb := range []string{"move", "copy"} {
				old, by, _ := strings.Cut(kind, " by ")
				src, dst := verb+" "+kind+" source", verb+" "+kind+" target"
				b.make(by, src, "new")
				b.make(old, dst, "old")
				act := func(overwrite bool) (bool, error) {
					if verb == "move" {
						return b.Move(b.ctx(), src, dst, tree.MoveOptions{Overwrite: overwrite})
					}
					return b.Copy(b.ctx(), src, dst, tree.CopyOptions{Overwrite: overwrite})
				}
				_, err := act(false)
				b.fails(verb+" "+kind, err, tree.ErrExists)
				b.is(old, dst, "old")
				replaced, err := act(true)
				if err != nil || !replaced {
					t.Errorf("%s %s: replaced %v, %v", verb, kind, replaced, err)
				}
				b.is(by, dst, "new")
				if _, err := b.Stat(b.ctx(), src); (err == nil) != (verb == "copy") {
					t.Errorf("%s %s: the source: %v", verb, kind, err)
				}
			}
		}
	}},
	{"nothing goes into itself or over what holds it", func(t *testing.T, b *bench) {
		b.fill("a")
		for _, pair := range [][2]string{{"a", "a/b"}, {"a", "a/sub/b"}, {"a/sub", "a"}, {"a/sub/deep", "a"}, {"a", "a"}} {
			_, err := b.Move(b.ctx(), pair[0], pair[1], tree.MoveOptions{Overwrite: true})
			b.fails(fmt.Sprint("Move ", pair), err, tree.ErrInto)
			_, err = b.Copy(b.ctx(), pair[0], pair[1], tree.CopyOptions{Overwrite: true})
			b.fails(fmt.Sprint("Copy ", pair), err, tree.ErrInto)
		}
		b.holds("a/sub/deep", "deep")
		b.mkdir("ab") // not inside a, whatever the letters say
		if _, err := b.Move(b.ctx(), "a", "ab/a", tree.MoveOptions{}); err != nil {
			t.Error(err)
		}
	}},
	{"the root stays", func(t *testing.T, b *bench) {
		b.put("a", "x")
		b.fails("Remove", b.Remove(b.ctx(), "", tree.Condition{}), tree.ErrForbidden)
		_, err := b.Move(b.ctx(), "", "b", tree.MoveOptions{})
		b.fails("Move", err, tree.ErrForbidden)
		_, err = b.Move(b.ctx(), "a", "", tree.MoveOptions{Overwrite: true})
		b.fails("Move over it", err, tree.ErrForbidden)
		_, err = b.Copy(b.ctx(), "a", "", tree.CopyOptions{Overwrite: true})
		b.fails("Copy over it", err, tree.ErrForbidden)
		_, _, err = b.Put(b.ctx(), "", strings.NewReader("x"), tree.PutOptions{Size: 1})
		b.fails("Put", err, tree.ErrIsFolder)
		b.holds("a", "x")
	}},
	{"conditions guard every change (RFC 9110 §13)", func(t *testing.T, b *bench) {
		b.put("a", "x")
		current := tree.Condition{Match: b.stat("a").ETag}
		stale := tree.Condition{Match: `"stale"`}
		absent := tree.Condition{NoneMatch: "*"}
		put := func(name string, c tree.Condition) error {
			_, _, err := b.Put(b.ctx(), name, strings.NewReader("y"), tree.PutOptions{Condition: c, Size: 1})
			return err
		}
		b.fails("Put, stale", put("a", stale), tree.ErrPrecondition)
		b.fails("Put where there must be nothing", put("a", absent), tree.ErrPrecondition)
		b.fails("Put where there must be something", put("b", tree.Condition{Match: "*"}), tree.ErrPrecondition)
		b.fails("Remove, stale", b.Remove(b.ctx(), "a", stale), tree.ErrPrecondition)
		_, err := b.Move(b.ctx(), "a", "b", tree.MoveOptions{Condition: stale})
		b.fails("Move, stale", err, tree.ErrPrecondition)
		_, err = b.Copy(b.ctx(), "a", "b", tree.CopyOptions{Condition: stale})
		b.fails("Copy, stale", err, tree.ErrPrecondition)
		b.holds("a", "x")
		b.fails("Put, current", put("a", current), nil)
		b.fails("Put, current no more", put("a", current), tree.ErrPrecondition)
		b.fails("Put where there is nothing", put("b", absent), nil)
		b.fails("Remove, current", b.Remove(b.ctx(), "a", tree.Condition{Match: b.stat("a").ETag}), nil)
	}},
	{"the ETags of all folders above change with every change", func(t *testing.T, b *bench) {
		b.mkdir("x")
		b.mkdir("x/y")
		b.mkdir("z")
		above := []string{"", "x", "x/y"}
		changes := []struct {
			name string
			do   func() error
		}{
			{"put", func() error { b.put("x/y/a", "1"); return nil }},
			{"put again", func() error { b.put("x/y/a", "2"); return nil }},
			{"mkdir", func() error { b.mkdir("x/y/d"); return nil }},
			{"copy in", func() error {
				_, err := b.Copy(b.ctx(), "x/y/a", "x/y/b", tree.CopyOptions{})
				return err
			}},
			{"rename", func() error {
				_, err := b.Move(b.ctx(), "x/y/b", "x/y/c", tree.MoveOptions{})
				return err
			}},
			{"move out", func() error {
				_, err := b.Move(b.ctx(), "x/y/c", "z/c", tree.MoveOptions{})
				return err
			}},
			{"remove", func() error { return b.Remove(b.ctx(), "x/y/d", tree.Condition{}) }},
		}
		for _, change := range changes {
			before := map[string]string{}
			for _, name := range above {
				before[name] = b.stat(name).ETag
			}
			if err := change.do(); err != nil {
				t.Fatalf("%s: %v", change.name, err)
			}
			for _, name := range above {
				if b.stat(name).ETag == before[name] {
					t.Errorf("%s: the ETag of %q is still the same", change.name, name)
				}
			}
		}
	}},
	{"an upload that fails leaves the old content and no trace", func(t *testing.T, b *bench) {
		b.put("a", "old")
		broken := errors.New("the line broke")
		for _, name := range []string{"a", "b"} {
			body := io.MultiReader(bytes.NewReader(make([]byte, 100_000)), failing{broken})
			if _, _, err := b.Put(b.ctx(), name, body, tree.PutOptions{Size: 200_000}); err == nil {
				t.Errorf("Put %s succeeded", name)
			}
		}
		b.holds("a", "old")
		if got := b.list(""); len(got) != 1 {
			t.Errorf("left: %v", got)
		}
	}},
	{"an upload ends with its context", func(t *testing.T, b *bench) {
		ctx, cancel := context.WithCancel(b.ctx())
		body := io.MultiReader(strings.NewReader("some"), calling(cancel), endless{})
		if _, _, err := b.Put(ctx, "a", body, tree.PutOptions{Size: -1}); err == nil {
			t.Error("Put succeeded")
		}
		if got := b.list(""); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	}},
	{"a listing may be left early", func(t *testing.T, b *bench) {
		for i := range 5 {
			b.put(fmt.Sprint(i), "x")
		}
		seen := 0
		for _, err := range b.List(b.ctx(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == 2 {
				break
			}
		}
		if seen != 2 {
			t.Errorf("saw %d", seen)
		}
	}},
	{"usage never falls below nothing", func(t *testing.T, b *bench) {
		b.put("a", "12345")
		u, err := b.Usage(b.ctx(), "")
		if err != nil || u.Used < -1 || u.Available < -1 {
			t.Errorf("%+v, %v", u, err)
		}
	}},
}

// bench is a tree under test.
type bench struct {
	t *testing.T
	tree.Tree
}

func (b *bench) ctx() context.Context { return b.t.Context() }

func (b *bench) put(name, content string) tree.Info {
	b.t.Helper()
	info, _, err := b.Put(b.ctx(), name, strings.NewReader(content), tree.PutOptions{Size: int64(len(content))})
	if err != nil {
		b.t.Fatalf("Put %s: %v", name, err)
	}
	return info
}

func (b *bench) mkdir(name string) tree.Info {
	b.t.Helper()
	info, err := b.Mkdir(b.ctx(), name)
	if err != nil {
		b.t.Fatalf("Mkdir %s: %v", name, err)
	}
	return info
}

// fill makes a folder with a file and a folder that holds another.
func (b *bench) fill(name string) {
	b.t.Helper()
	b.mkdir(name)
	b.put(name+"/top", "top")
	b.mkdir(name + "/sub")
	b.put(name+"/sub/deep", "deep")
}

func (b *bench) make(kind, name, content string) {
	b.t.Helper()
	if kind == "folder" {
		b.mkdir(name)
		name += "/" + content
	}
	b.put(name, content)
}

// is checks what make has made.
func (b *bench) is(kind, name, content string) {
	b.t.Helper()
	if kind == "file" {
		b.holds(name, content)
	} else if got := slices.Collect(maps.Keys(b.list(name))); !slices.Equal(got, []string{content}) {
		b.t.Errorf("%s holds %v, want %s", name, got, content)
	}
}

func (b *bench) stat(name string) tree.Info {
	b.t.Helper()
	info, err := b.Stat(b.ctx(), name)
	if err != nil {
		b.t.Fatalf("Stat %q: %v", name, err)
	}
	return info
}

func (b *bench) list(name string) map[string]tree.Info {
	b.t.Helper()
	entries := map[string]tree.Info{}
	for info, err := range b.List(b.ctx(), name) {
		if err != nil {
			b.t.Fatalf("List %q: %v", name, err)
		}
		entries[info.Name] = info
	}
	for _, sizes := range []bool{false, true} {
		found := 0
		for info, err := range b.List(tree.Brief(b.ctx(), sizes), name) {
			known, ok := entries[info.Name]
			if err != nil || !ok || known.Dir != info.Dir || sizes && (known.Size != info.Size || !known.ModTime.Equal(info.ModTime)) {
				b.t.Errorf("List %q, brief (sizes: %t): %+v, %v, not %+v", name, sizes, info, err, known)
			}
			found++
		}
		if found != len(entries) {
			b.t.Errorf("List %q, brief (sizes: %t): %d of %d", name, sizes, found, len(entries))
		}
	}
	return entries
}

func (b *bench) listErr(name string) error {
	for _, err := range b.List(b.ctx(), name) {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) holds(name, want string) {
	b.t.Helper()
	f, err := b.Open(b.ctx(), name)
	if err != nil {
		b.t.Errorf("Open %s: %v", name, err)
		return
	}
	defer f.Close()
	if got, err := io.ReadAll(f); string(got) != want || err != nil {
		b.t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
	}
}

func (b *bench) fails(what string, err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// calling does something when it is reached.
type calling func()

func (c calling) Read([]byte) (int, error) { c(); return 0, io.EOF }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
