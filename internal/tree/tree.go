// Package tree holds the one interface through which every front door reaches
// files, the views that compose trees, and the trees themselves: local disk and
// a share on another server.
package tree

import (
	"context"
	"io"
	"iter"
	"time"
)

// Tree is files and folders under one root. Names are slash-separated paths
// relative to the root, as Clean returns them; "" is the root itself. Every
// method is safe for concurrent use and stops when ctx ends.
//
// Failures are *ocm.Error values of this package (ErrNotFound, ErrExists …), so
// that a front door can turn them into its own answer; anything else is an
// internal fault.
type Tree interface {
	// Stat describes one entry.
	Stat(ctx context.Context, name string) (Info, error)
	// List yields the entries of a folder in no particular order. A failure
	// is yielded last.
	List(ctx context.Context, name string) iter.Seq2[Info, error]
	// Open opens a file for reading.
	Open(ctx context.Context, name string) (File, error)
	// Put replaces or creates a file with what body yields: wholly or not at
	// all. The parent folder must exist (ErrNoParent). created is false when a
	// file was replaced.
	Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (info Info, created bool, err error)
	// Mkdir creates one folder (ErrExists, ErrNoParent).
	Mkdir(ctx context.Context, name string) (Info, error)
	// Move renames a file or folder. An existing target is replaced only with
	// opt.Overwrite, otherwise ErrExists; replaced tells which happened.
	Move(ctx context.Context, from, to string, opt MoveOptions) (replaced bool, err error)
	// Copy is Move that leaves the source; Shallow copies a folder without
	// what it holds.
	Copy(ctx context.Context, from, to string, opt CopyOptions) (replaced bool, err error)
	// Remove deletes a file, or a folder with everything in it.
	Remove(ctx context.Context, name string, cond Condition) error
	// Usage tells the bytes used and still available below name.
	Usage(ctx context.Context, name string) (Usage, error)
}

type briefKey struct{}

// Brief is ctx for a List of which only Name and Dir of the entries are wanted, and
// with sizes Size and ModTime too: a tree may leave out the rest, and with it most
// of the work.
func Brief(ctx context.Context, sizes bool) context.Context {
	return context.WithValue(ctx, briefKey{}, sizes)
}

// File is an open file: reads start at the current offset. On a remote tree
// nothing is fetched before the first Read.
type File interface {
	io.ReadSeekCloser
	Info() Info
}

// Hinter is a File that profits from knowing how many bytes will be read from
// the current offset, such as a remote file that asks for just that range.
type Hinter interface{ Hint(length int64) }

// Info describes an entry.
type Info struct {
	Name        string // last element; "" for a root
	Dir         bool
	Size        int64 // bytes; 0 for folders, -1 when a peer does not say
	ModTime     time.Time
	ETag        string // quoted; changes when the content, or anything below, changes
	ContentType string // "" when not known: derive it from the name
	ID          string // stable while the entry is renamed; "" when there is none
	Rights      Rights
	Mount       bool         // the root of something mounted here from elsewhere
	Unavailable *Unavailable // the server behind it does not answer
}

// Unavailable says since when and why a mounted share cannot be reached.
type Unavailable struct {
	Since  time.Time
	Reason string
}

// Usage counts bytes. Available is -1 when there is no limit or it is not known.
type Usage struct {
	Used      int64
	Available int64
}

// PutOptions are the conditions and attributes of an upload.
type PutOptions struct {
	Condition
	Size        int64     // announced length; 0 or -1 when not known
	ModTime     time.Time // zero: now
	ContentType string    // a hint a tree may keep
}

// MoveOptions say what Move may replace.
type MoveOptions struct {
	Condition      // on the source
	Overwrite bool // replace an existing target
}

// CopyOptions say what Copy may replace and how deep it goes.
type CopyOptions struct {
	Condition
	Overwrite bool
	Shallow   bool
}
