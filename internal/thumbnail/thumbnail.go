// Package thumbnail makes small pictures of images and keeps them on disk. Of
// images on other servers it reads only the beginning, unless they are small.
package thumbnail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// Sizes are the pixels that a picture may have each way.
var Sizes = []int{64, 128, 256, 512}

const (
	readWhole  = 1 << 20   // bytes of a file on another server that is read whole
	readHead   = 128 << 10 // bytes of the beginning of others
	makeBudget = 30 * time.Second
	maxCached  = 256 << 20 // bytes on disk
	maxEntries = 50_000
)

// The refusals.
var (
	ErrNone = ocm.NewError(http.StatusNotFound, "NO_THUMBNAIL", "There is no small picture of this.")
	ErrBusy = ocm.NewError(http.StatusServiceUnavailable, ocm.CodeUnavailable, "Too many pictures are being made just now.").RetryIn(2 * time.Second)
)

// Thumbnails makes pictures and keeps them in Dir.
type Thumbnails struct {
	Dir string
	Max int64 // bytes in Dir; 0: 256 MiB

	once    sync.Once
	slots   chan struct{} // pictures being made at a time
	flights singleflight.Group

	mu    sync.Mutex
	kept  *simplelru.LRU[string, int64] // bytes by key
	bytes int64
}

// Picture is a JPEG or a PNG.
type Picture struct {
	Data []byte
	Type string
}

// Of may be asked for the picture of an image.
type Of struct {
	UserID string
	Path   string
	Info   tree.Info
	Size   int // rounded up to one of Sizes
	Open   func(ctx context.Context) (tree.File, error)
}

// Key names a picture: it is another when the content is.
func (o Of) Key() string {
	h := sha256.New()
	fmt.Fprintf(h, "1\n%q\n%q\n%q\n%d\n%d\n%d", o.UserID, o.Path, o.Info.ETag, o.Info.Size, o.Info.ModTime.UnixNano(), o.size())
	return hex.EncodeToString(h.Sum(nil)[:20])
}

func (o Of) size() int {
	for _, s := range Sizes {
		if o.Size <= s {
			return s
		}
	}
	return Sizes[len(Sizes)-1]
}

// Possible tells by name and kind whether there may be a picture of an entry.
func Possible(info tree.Info) bool {
	kind := info.ContentType
	if kind == "" {
		kind = tree.TypeOf(info.Name)
	}
	kind, _, _ = strings.Cut(kind, ";")
	switch strings.TrimSpace(kind) {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
		return !info.Dir && info.Size != 0
	}
	return false
}

// Get gives a picture: the one that is kept, or a new one.
func (t *Thumbnails) Get(ctx context.Context, o Of) (*Picture, error) {
	if !Possible(o.Info) {
		return nil, ErrNone
	}
	t.once.Do(t.open)
	key := o.Key()
	if p, err := t.lookup(key); p != nil || err != nil {
		return p, err
	}
	// Who asks first may leave; the others wait on.
	made := t.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeBudget)
		defer cancel()
		b, err := t.produce(ctx, o)
		if errors.Is(err, errNone) {
			b, err = nil, nil // nothing is kept too: it will not be tried again
		}
		if err == nil {
			err = t.keep(key, b)
		}
		return b, err
	})
	select {
	case r := <-made:
		if r.Err != nil {
			return nil, r.Err
		}
		return show(r.Val.([]byte))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// draw makes a picture when one of the slots is free. A decoder that gives up by a
// panic makes none: what it was given comes from anyone.
func (t *Thumbnails) draw(ctx context.Context, r io.ReadSeeker, p part, size int) (b []byte, err error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, ErrBusy
	}
	defer func() {
		if recover() != nil {
			b, err = nil, errNone
		}
	}()
	return picture(r, p, size)
}

// produce makes a picture, reading no more of the file than it may. A server that
// sends slowly holds up no other picture: only drawing takes a slot.
func (t *Thumbnails) produce(ctx context.Context, o Of) ([]byte, error) {
	f, err := o.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := f.Info().Size
	if _, local := f.(interface{ OSFile() *os.File }); local {
		if size > maxFile {
			return nil, errNone
		}
		return t.draw(ctx, marked{f}, whole, o.size())
	}
	p, want := whole, size
	if size < 0 || size > readWhole {
		p, want = beginning, readHead
	}
	if h, ok := f.(tree.Hinter); ok {
		h.Hint(want)
	}
	b, err := io.ReadAll(io.LimitReader(f, want))
	if err != nil {
		return nil, err
	}
	return t.draw(ctx, bytes.NewReader(b), p, o.size())
}

// show is what is kept as a picture.
func show(b []byte) (*Picture, error) {
	if len(b) == 0 {
		return nil, ErrNone
	}
	kind := "image/jpeg"
	if b[0] == 0x89 {
		kind = "image/png"
	}
	return &Picture{b, kind}, nil
}

// open finds what was kept before.
func (t *Thumbnails) open() {
	t.slots = make(chan struct{}, max(1, runtime.NumCPU()/2))
	if t.Max == 0 {
		t.Max = maxCached
	}
	kept, err := simplelru.NewLRU[string, int64](maxEntries, func(key string, size int64) {
		t.bytes -= size
		os.Remove(t.at(key))
	})
	if err != nil {
		panic(err) // only for a size below one
	}
	t.kept = kept
	var files []fs.FileInfo
	filepath.WalkDir(t.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what cannot be read is not kept
		}
		if fi, err := d.Info(); err == nil {
			files = append(files, fi)
		}
		return nil
	})
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, fi := range files {
		if len(fi.Name()) != 40 { // left by a crash
			os.Remove(t.at(fi.Name()))
			continue
		}
		t.add(fi.Name(), fi.Size())
	}
}

func (t *Thumbnails) at(key string) string { return filepath.Join(t.Dir, key[:min(2, len(key))], key) }

// add enters what is kept, and takes out the longest unused beyond the bound.
func (t *Thumbnails) add(key string, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.kept.Peek(key); ok {
		t.bytes -= old
	}
	size += 512 // what a file takes beside its bytes
	t.bytes += size
	t.kept.Add(key, size)
	for t.bytes > t.Max && t.kept.Len() > 0 {
		t.kept.RemoveOldest()
	}
}

func (t *Thumbnails) lookup(key string) (*Picture, error) {
	t.mu.Lock()
	_, ok := t.kept.Get(key)
	t.mu.Unlock()
	if !ok {
		return nil, nil
	}
	b, err := os.ReadFile(t.at(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // someone emptied the folder
	}
	if err != nil {
		return nil, err
	}
	return show(b)
}

// keep writes a picture beside its place and renames it.
func (t *Thumbnails) keep(key string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(t.at(key)), 0o700); err != nil {
		return err
	}
	beside := t.at(key) + ".new"
	err := os.WriteFile(beside, b, 0o600)
	if err == nil {
		err = os.Rename(beside, t.at(key))
	}
	if err != nil {
		os.Remove(beside)
		return err
	}
	t.add(key, int64(len(b)))
	return nil
}
