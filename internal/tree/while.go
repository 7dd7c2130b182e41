package tree

import (
	"context"
	"io"
	"time"
)

// Watch asks a question again and again, though not more often than is needed.
type Watch struct {
	Ask  func() error // nil: nothing is asked
	next time.Time
}

// stillEvery is how long a transfer goes on that should not.
const stillEvery = time.Second

// NewWatch asks for the first time when a transfer has gone on for a while.
func NewWatch(ask func() error) Watch { return Watch{ask, time.Now().Add(stillEvery)} }

// Look gives the answer when it is time to ask, else nil.
func (w *Watch) Look() error {
	now := time.Now()
	if w.Ask == nil || now.Before(w.next) {
		return nil
	}
	w.next = now.Add(stillEvery)
	return w.Ask()
}

// While lets transfers of t go on only while still agrees: it is asked now and
// again while a file is read or written, and before a write takes effect.
func While(t Tree, still func(ctx context.Context, writes bool) error) Tree {
	return &while{t, still}
}

type while struct {
	Tree
	still func(ctx context.Context, writes bool) error
}

func (w *while) Open(ctx context.Context, name string) (File, error) {
	f, err := w.Tree.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	// The kernel, which could send a file on local disk, asks nobody.
	watched := &watchedFile{File: f, watch: NewWatch(func() error { return w.still(ctx, false) })}
	if hinter, ok := f.(Hinter); ok {
		return struct {
			*watchedFile
			Hinter
		}{watched, hinter}, nil
	}
	return watched, nil
}

func (w *while) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	watched := &watchedBody{body: body, left: opt.Size, watch: NewWatch(func() error { return w.still(ctx, true) })}
	info, created, err := w.Tree.Put(ctx, name, watched, opt)
	if err != nil && watched.refused != nil {
		err = watched.refused
	}
	return info, created, err
}

type watchedFile struct {
	File
	watch Watch
}

func (f *watchedFile) Read(b []byte) (int, error) {
	if err := f.watch.Look(); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}

// watchedBody asks once more before it gives the last piece: whoever knows the
// length may let the write take effect without waiting for the end.
type watchedBody struct {
	body    io.Reader
	left    int64 // of the announced length; 0 or less from the start when there is none
	watch   Watch
	refused error
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.refused != nil {
		return 0, b.refused
	}
	n, err := b.body.Read(p)
	announced := b.left > 0
	b.left -= int64(n)
	switch {
	case announced && b.left <= 0, !announced && err == io.EOF:
		b.refused = b.watch.Ask()
	case err == nil:
		b.refused = b.watch.Look()
	}
	if b.refused != nil {
		return 0, b.refused
	}
	return n, err
}
