package tree_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/internal/tree"
)

// limited is a disk with a quota, and what checks that the count is right.
type limited struct {
	tree.Tree
	disk    *tree.Disk
	counter *tree.Counter
	limit   int64
}

func newLimited(t *testing.T, limit int64) *limited {
	l := &limited{counter: new(tree.Counter), limit: limit}
	l.disk, _ = newDisk(t)
	l.Tree = tree.WithQuota(l.disk, func() int64 { return l.limit }, l.counter)
	return l
}

func (l *limited) exact(t *testing.T) {
	t.Helper()
	counted, err := l.Usage(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	walked, err := l.disk.Usage(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if counted.Used != walked.Used || l.limit >= 0 && counted.Used+counted.Available != max(l.limit, counted.Used) {
		t.Errorf("counted %+v, there are %d bytes of %d", counted, walked.Used, l.limit)
	}
}

func TestQuotaCountsEveryChange(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 1000)
	ctx := t.Context()
	put(t, l.disk, "before", strings.Repeat("x", 100)) // counted by the first walk
	step := func(what string, want int64, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		l.exact(t)
		if used := l.counter.Used(); used != want {
			t.Errorf("%s: %d bytes used, want %d", what, used, want)
		}
	}
	upload := func(name string, size int) error {
		_, _, err := l.Put(ctx, name, strings.NewReader(strings.Repeat("x", size)), tree.PutOptions{Size: -1})
		return err
	}
	move := func(from, to string) error {
		_, err := l.Move(ctx, from, to, tree.MoveOptions{Overwrite: true})
		return err
	}
	copied := func(from, to string, shallow bool) error {
		_, err := l.Copy(ctx, from, to, tree.CopyOptions{Overwrite: true, Shallow: shallow})
		return err
	}
	step("put", 150, upload("a", 50))
	step("put more", 170, upload("a", 70))
	step("put less", 110, upload("a", 10))
	_, err := l.Mkdir(ctx, "d")
	step("mkdir", 110, err)
	step("put in a folder", 310, upload("d/x", 200))
	step("copy a folder", 510, copied("d", "e", false))
	step("copy over a folder", 510, copied("d", "e", false))
	step("copy a file over a folder", 320, copied("a", "e", false))
	step("move a file over a file", 310, move("a", "e"))
	step("move a folder over a file", 300, move("d", "e"))
	step("shallow copy", 300, copied("e", "f", true))
	step("move a file over a folder", 100, move("before", "e"))
	step("remove", 0, l.Remove(ctx, "e", tree.Condition{}))
	step("remove an empty folder", 0, l.Remove(ctx, "f", tree.Condition{}))
}

func TestQuotaRefuses(t *testing.T) {
	t.Parallel()
	full := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name string
		do   func(t *testing.T, l *limited) error
		want error
	}{
		{"an announced size that is too large, before reading", func(t *testing.T, l *limited) error {
			_, _, err := l.Put(t.Context(), "b", readerFunc(func([]byte) (int, error) {
				t.Error("the body was read")
				return 0, io.EOF
			}), tree.PutOptions{Size: 51})
			return err
		}, tree.ErrQuota},
		{"a stream of unknown length, as soon as it is too long", func(t *testing.T, l *limited) error {
			_, _, err := l.Put(t.Context(), "b", readerFunc(func(p []byte) (int, error) { return min(len(p), 10), nil }), tree.PutOptions{Size: -1})
			return err
		}, tree.ErrQuota},
		{"a larger file in place of another", func(t *testing.T, l *limited) error {
			_, _, err := l.Put(t.Context(), "a", strings.NewReader(full(101)), tree.PutOptions{Size: 101})
			return err
		}, tree.ErrQuota},
		{"a copy", func(t *testing.T, l *limited) error {
			l.limit = 99
			_, err := l.Copy(t.Context(), "a", "b", tree.CopyOptions{})
			return err
		}, tree.ErrQuota},
		{"not what fits exactly", func(t *testing.T, l *limited) error {
			_, _, err := l.Put(t.Context(), "b", strings.NewReader(full(50)), tree.PutOptions{Size: 50})
			return err
		}, nil},
		{"not a replacement of the same size, though over the limit", func(t *testing.T, l *limited) error {
			l.limit = 10
			_, _, err := l.Put(t.Context(), "a", strings.NewReader(full(50)), tree.PutOptions{Size: 50})
			return err
		}, nil},
		{"not a move or a removal, though over the limit", func(t *testing.T, l *limited) error {
			l.limit = 10
			_, err := l.Move(t.Context(), "a", "b", tree.MoveOptions{})
			return errors.Join(err, l.Remove(t.Context(), "b", tree.Condition{}))
		}, nil},
		{"nothing without a limit", func(t *testing.T, l *limited) error {
			l.limit = -1
			_, _, err := l.Put(t.Context(), "b", strings.NewReader(full(5000)), tree.PutOptions{Size: -1})
			return err
		}, nil},
		{"a file that takes away the room a replacement counted on", func(t *testing.T, l *limited) error {
			away := readerFunc(func([]byte) (int, error) {
				if _, err := l.Move(t.Context(), "a", "kept", tree.MoveOptions{}); err != nil {
					t.Error(err)
				}
				return 0, io.EOF
			})
			_, _, err := l.Put(t.Context(), "a", io.MultiReader(strings.NewReader(full(100)), away), tree.PutOptions{Size: -1})
			return err
		}, tree.ErrQuota},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLimited(t, 100)
			put(t, l, "a", full(50))
			if err := c.do(t, l); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			l.exact(t)
		})
	}
}

func TestUploadsAtTheSameTimeShareTheQuota(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 10_000)
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := 0
	for i := range 20 {
		wg.Go(func() {
			size := int64(1000)
			if i%2 == 0 {
				size = -1
			}
			_, _, err := l.Put(t.Context(), fmt.Sprint(i), strings.NewReader(strings.Repeat("x", 1000)), tree.PutOptions{Size: size})
			if err != nil && !errors.Is(err, tree.ErrQuota) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				stored++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if stored > 10 || stored == 0 {
		t.Errorf("%d of 10 fit", stored)
	}
	l.exact(t)
}

func TestQuotaStaysExactWhateverHappensAtOnce(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 5000)
	mkdir(t, l, "d")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			ctx := t.Context()
			for i := range 25 {
				name := fmt.Sprint("d/", i%5)
				switch (worker + i) % 4 {
				case 0:
					l.Put(ctx, name, strings.NewReader(strings.Repeat("x", 10*i)), tree.PutOptions{Size: -1})
				case 1:
					l.Copy(ctx, name, fmt.Sprint("d/", (i+1)%5), tree.CopyOptions{Overwrite: true})
				case 2:
					l.Move(ctx, name, fmt.Sprint("d/", (i+2)%5), tree.MoveOptions{Overwrite: true})
				case 3:
					l.Remove(ctx, name, tree.Condition{})
				}
			}
		})
	}
	wg.Wait()
	l.exact(t)
}

func TestACancelledFirstWalkIsTriedAgain(t *testing.T) {
	t.Parallel()
	l := newLimited(t, 100)
	put(t, l.disk, "a", "12345")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Usage(cancelled, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	l.exact(t)
}
