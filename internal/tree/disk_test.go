package tree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/tree/treetest"
)

func newDisk(t testing.TB) (*tree.Disk, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := tree.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, dir
}

func put(t testing.TB, tr tree.Tree, name, content string) tree.Info {
	t.Helper()
	info, _, err := tr.Put(t.Context(), name, strings.NewReader(content), tree.PutOptions{Size: int64(len(content))})
	if err != nil {
		t.Fatalf("Put %s: %v", name, err)
	}
	return info
}

func mkdir(t testing.TB, tr tree.Tree, name string) {
	t.Helper()
	if _, err := tr.Mkdir(t.Context(), name); err != nil {
		t.Fatalf("Mkdir %s: %v", name, err)
	}
}

func read(t testing.TB, tr tree.Tree, name string) string {
	t.Helper()
	f, err := tr.Open(t.Context(), name)
	if err != nil {
		t.Fatalf("Open %s: %v", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t testing.TB, tr tree.Tree, folder string) []string {
	t.Helper()
	found := map[string]bool{}
	for info, err := range tr.List(t.Context(), folder) {
		if err != nil {
			t.Fatalf("List %q: %v", folder, err)
		}
		found[info.Name] = true
	}
	for _, sizes := range []bool{false, true} {
		short := map[string]bool{}
		for info, err := range tr.List(tree.Brief(t.Context(), sizes), folder) {
			if err != nil {
				t.Fatalf("List %q, brief: %v", folder, err)
			}
			short[info.Name] = true
		}
		if !maps.Equal(found, short) {
			t.Errorf("List %q, brief: %v, not %v", folder, short, found)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func wants(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestDiskIsATree(t *testing.T) {
	t.Parallel()
	treetest.Run(t, func(t *testing.T) tree.Tree { d, _ := newDisk(t); return d })
}

func TestWhatIsNeitherFileNorFolderDoesNotExist(t *testing.T) {
	t.Parallel()
	d, dir := newDisk(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	mkdir(t, d, "folder")
	put(t, d, "folder/file", "x")
	files := filepath.Join(dir, "files")
	for name, target := range map[string]string{
		"out": outside, "out-file": filepath.Join(outside, "secret"), "up": "..", "uploads": "../uploads",
		"in": "folder", "in-file": "folder/file", "dangling": "nowhere", "self": "self",
	} {
		if err := os.Symlink(target, filepath.Join(files, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(files, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d, ""); !slices.Equal(got, []string{"folder"}) {
		t.Errorf("listed %q", got)
	}
	ctx := t.Context()
	for _, name := range []string{"out", "out-file", "up", "uploads", "in", "in-file", "dangling", "self", "pipe", "out/secret", "in/file", "up/files"} {
		_, err := d.Stat(ctx, name)
		wants(t, "Stat "+name, err, tree.ErrNotFound)
		_, err = d.Open(ctx, name)
		wants(t, "Open "+name, err, tree.ErrNotFound)
		wants(t, "Remove "+name, d.Remove(ctx, name, tree.Condition{}), tree.ErrNotFound)
		_, err = d.Move(ctx, name, "taken", tree.MoveOptions{})
		wants(t, "Move "+name, err, tree.ErrNotFound)
		_, err = d.Copy(ctx, name, "taken", tree.CopyOptions{})
		wants(t, "Copy "+name, err, tree.ErrNotFound)
		want := tree.ErrForbidden
		if strings.Contains(name, "/") {
			want = tree.ErrNoParent
		}
		_, _, err = d.Put(ctx, name, strings.NewReader("x"), tree.PutOptions{Size: 1})
		wants(t, "Put "+name, err, want)
		_, err = d.Mkdir(ctx, name)
		wants(t, "Mkdir "+name, err, want)
	}
	if err := os.Symlink(outside, filepath.Join(files, "folder", "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Copy(ctx, "folder", "copy", tree.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d, "copy"); !slices.Equal(got, []string{"file"}) {
		t.Errorf("copied %q", got)
	}
	if err := d.Remove(ctx, "folder", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); string(b) != "secret" {
		t.Errorf("outside: %q, %v", b, err)
	}
}

func TestDiskRefusesNamesThatAreNotClean(t *testing.T) {
	t.Parallel()
	d, dir := newDisk(t)
	if err := os.WriteFile(filepath.Join(dir, "beside"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, d, "f", "x")
	ctx := t.Context()
	for _, name := range []string{"..", "/a", "a/", "cafe\u0301", "../beside", "a/../../beside", ".", "a//b", "nul\x00", "\xff", strings.Repeat("x", 256)} {
		_, err := d.Stat(ctx, name)
		wants(t, "Stat", err, tree.ErrName)
		_, err = d.Open(ctx, name)
		wants(t, "Open", err, tree.ErrName)
		_, _, err = d.Put(ctx, name, strings.NewReader("x"), tree.PutOptions{Size: 1})
		wants(t, "Put", err, tree.ErrName)
		_, err = d.Mkdir(ctx, name)
		wants(t, "Mkdir", err, tree.ErrName)
		wants(t, "Remove", d.Remove(ctx, name, tree.Condition{}), tree.ErrName)
		_, err = d.Move(ctx, "f", name, tree.MoveOptions{})
		wants(t, "Move", err, tree.ErrName)
		_, err = d.Copy(ctx, "f", name, tree.CopyOptions{})
		wants(t, "Copy", err, tree.ErrName)
	}
	if err := os.WriteFile(filepath.Join(dir, "files", "cafe\u0301"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d, ""); !slices.Equal(got, []string{"f"}) {
		t.Errorf("names nobody can ask for are listed: %q", got)
	}
}

func TestNoFolderGoesDeeperThanNamesCan(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	ctx := t.Context()
	deep := strings.Repeat("d/", 59) + "d"
	for i := range 60 {
		mkdir(t, d, deep[:2*i+1])
	}
	mkdir(t, d, "x")
	for i := range 60 {
		mkdir(t, d, "x"+strings.Repeat("/x", i+1))
	}
	_, err := d.Move(ctx, "x", deep+"/x", tree.MoveOptions{})
	wants(t, "Move", err, tree.ErrName)
	_, err = d.Copy(ctx, "x", deep+"/x", tree.CopyOptions{})
	wants(t, "Copy", err, tree.ErrName)
	if got := names(t, d, deep); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func TestWhatACrashLeftIsRemoved(t *testing.T) {
	t.Parallel()
	d, dir := newDisk(t)
	put(t, d, "kept", "x")
	d.Close()
	uploads := filepath.Join(dir, "uploads")
	if err := os.MkdirAll(filepath.Join(uploads, "trash", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(uploads, "half"), []byte("half an upload"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := tree.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if left, _ := os.ReadDir(uploads); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if read(t, again, "kept") != "x" {
		t.Error("a complete file is gone")
	}
}

func TestNothingIsLeftInUploads(t *testing.T) {
	t.Parallel()
	d, dir := newDisk(t)
	ctx := t.Context()
	mkdir(t, d, "a")
	mkdir(t, d, "b")
	put(t, d, "a/x", "x")
	put(t, d, "b/y", "y")
	d.Copy(ctx, "a", "b", tree.CopyOptions{Overwrite: true})
	d.Move(ctx, "a", "b", tree.MoveOptions{Overwrite: true})
	d.Copy(ctx, "b", "b2", tree.CopyOptions{})
	d.Remove(ctx, "b", tree.Condition{})
	d.Put(ctx, "c", io.MultiReader(strings.NewReader("x"), iotestErr{}), tree.PutOptions{Size: -1})
	d.Put(ctx, "c", strings.NewReader("short"), tree.PutOptions{Size: 10})
	if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if got := names(t, d, ""); !slices.Equal(got, []string{"b2"}) {
		t.Errorf("holds %q", got)
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAConditionIsCheckedAgainWhenTheUploadIsComplete(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	old := put(t, d, "a", "old")
	for name, condition := range map[string]tree.Condition{
		"a": {Match: old.ETag},
		"b": {NoneMatch: "*"},
	} {
		meanwhile := readerFunc(func([]byte) (int, error) { put(t, d, name, "meanwhile"); return 0, io.EOF })
		_, _, err := d.Put(t.Context(), name, io.MultiReader(strings.NewReader("late"), meanwhile), tree.PutOptions{Condition: condition, Size: -1})
		wants(t, "Put "+name, err, tree.ErrPrecondition)
		if got := read(t, d, name); got != "meanwhile" {
			t.Errorf("%s holds %q", name, got)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAReaderSeesOneContentWhileItIsReplaced(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	content := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 50_000) }
	put(t, d, "a", content(0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := read(t, d, "a")
				if len(got) != 50_000 || strings.Trim(got, got[:1]) != "" {
					t.Errorf("a mixture of %d bytes", len(got))
					return
				}
			}
		})
	}
	for i := range 40 {
		put(t, d, "a", content(i))
	}
	close(stop)
	wg.Wait()
}

func TestOfManyWhoCreateOneWins(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	for round := range 5 {
		var mu sync.Mutex
		var won []string
		var wg sync.WaitGroup
		name := fmt.Sprint(round)
		for i := range 8 {
			wg.Go(func() {
				me := fmt.Sprint("writer ", i)
				_, created, err := d.Put(t.Context(), name, strings.NewReader(me), tree.PutOptions{Condition: tree.Condition{NoneMatch: "*"}, Size: -1})
				if err == nil && created {
					mu.Lock()
					won = append(won, me)
					mu.Unlock()
				} else if !errors.Is(err, tree.ErrPrecondition) {
					t.Errorf("created %v, %v", created, err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 || read(t, d, name) != won[0] {
			t.Errorf("won: %q", won)
		}
	}
}

func TestFoldersMayMoveWhileMuchGoesOn(t *testing.T) {
	t.Parallel()
	d, dir := newDisk(t)
	ctx := t.Context()
	mkdir(t, d, "a")
	mkdir(t, d, "b")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 20 {
				name := fmt.Sprintf("%c/%d-%d", 'a'+i%2, worker, i)
				_, _, err := d.Put(ctx, name, strings.NewReader("x"), tree.PutOptions{Size: 1})
				if err != nil && !errors.Is(err, tree.ErrNoParent) {
					t.Error(err)
				}
				d.Move(ctx, "a", "c", tree.MoveOptions{})
				d.Copy(ctx, "b", "a", tree.CopyOptions{Overwrite: i%3 == 0})
				d.Move(ctx, "c", "a", tree.MoveOptions{Overwrite: true})
				for _, err := range d.List(ctx, "a") {
					if err != nil && !errors.Is(err, tree.ErrNotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnIDStaysWithARenamedEntry(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	id := put(t, d, "a", "x").ID
	if id == "" && runtime.GOOS == "linux" {
		t.Fatal("no ID")
	}
	mkdir(t, d, "d")
	if _, err := d.Move(t.Context(), "a", "d/b", tree.MoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if info, err := d.Stat(t.Context(), "d/b"); info.ID != id {
		t.Errorf("%q became %q, %v", id, info.ID, err)
	}
}

func TestFolderETagsRiseThoughTheClockWentBack(t *testing.T) {
	t.Parallel()
	d, dir := newDisk(t)
	mkdir(t, d, "a")
	before, _ := d.Stat(t.Context(), "")
	future := before.ModTime.AddDate(1, 0, 0)
	if err := os.Chtimes(filepath.Join(dir, "files"), future, future); err != nil {
		t.Fatal(err)
	}
	d.Close()
	again, err := tree.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	put(t, again, "a/x", "x")
	if after, _ := again.Stat(t.Context(), ""); !after.ModTime.After(future) {
		t.Errorf("%v is not after %v", after.ModTime, future)
	}
}

func TestDiskLeaksNoFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts /proc/self/fd")
	}
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	d, _ := newDisk(t)
	ctx := t.Context()
	mkdir(t, d, "a")
	put(t, d, "a/x", "x")
	before := open()
	for range 20 {
		put(t, d, "a/x", "y")
		read(t, d, "a/x")
		d.Open(ctx, "a")
		d.Put(ctx, "b", iotestErr{}, tree.PutOptions{})
		d.Copy(ctx, "a", "c", tree.CopyOptions{Overwrite: true})
		d.Usage(ctx, "")
		for range d.List(ctx, "a") {
			break
		}
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		for range d.List(cancelled, "a") {
		}
		for range d.List(tree.Brief(ctx, true), "a") {
			break
		}
	}
	if after := open(); after > before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func TestUsageCountsTheBytesOfFiles(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	mkdir(t, d, "a")
	put(t, d, "a/x", "12345")
	put(t, d, "y", "123")
	for name, want := range map[string]int64{"": 8, "a": 5, "y": 3} {
		u, err := d.Usage(t.Context(), name)
		if err != nil || u.Used != want || u.Available == 0 {
			t.Errorf("%q: %+v, %v", name, u, err)
		}
	}
}

func TestAnAnnouncedSizeBeyondTheDiskIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	d, _ := newDisk(t)
	if d.Free() < 0 {
		t.Skip("the room on the disk is not known here")
	}
	_, _, err := d.Put(t.Context(), "a", readerFunc(func([]byte) (int, error) {
		t.Error("the body was read")
		return 0, io.EOF
	}), tree.PutOptions{Size: 1 << 60})
	wants(t, "Put", err, tree.ErrDiskFull)
}

func BenchmarkList10000(b *testing.B) {
	d, dir := newDisk(b)
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(dir, "files", fmt.Sprintf("file-%05d.txt", i)), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range d.List(b.Context(), "") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 10_000 {
			b.Fatal(n)
		}
	}
}

func BenchmarkPut1MiB(b *testing.B) {
	d, _ := newDisk(b)
	content := make([]byte, 1<<20)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Put(b.Context(), "a", bytes.NewReader(content), tree.PutOptions{Size: int64(len(content))}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStat(b *testing.B) {
	d, _ := newDisk(b)
	mkdir(b, d, "a")
	mkdir(b, d, "a/b")
	put(b, d, "a/b/c", "x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Stat(b.Context(), "a/b/c"); err != nil {
			b.Fatal(err)
		}
	}
}
