// Package archive writes files and folders as a ZIP while they are read: nothing
// of them is kept, in memory or on disk.
package archive

import (
	"archive/zip"
	"cmp"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// MaxEntries bounds an archive: its directory is kept in memory until the end.
const MaxEntries = 100_000

// ErrTooMany answers for what has more entries than an archive takes.
var ErrTooMany = ocm.NewError(http.StatusRequestEntityTooLarge, "ARCHIVE_TOO_LARGE", "This has too many files for one download. Choose a part of it, or use WebDAV.")

// Check refuses what cannot be an archive before any of it is sent. Below shares
// it does not look: their servers would be asked twice.
func Check(ctx context.Context, t tree.Tree, names []string) error {
	count := 0
	for _, name := range names {
		info, err := t.Stat(ctx, name)
		if err != nil {
			return err
		}
		if err := reachable(info); err != nil {
			return err
		}
		if count++; !info.Dir || tree.Below(name, tree.SharedDir) {
			continue
		}
		err = tree.Walk(ctx, t, name, func(_ string, info tree.Info) error {
			if count++; count > MaxEntries {
				return ErrTooMany
			}
			if info.Mount {
				return cmp.Or(reachable(info), tree.ErrSkipFolder)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func reachable(info tree.Info) error {
	if info.Unavailable == nil {
		return nil
	}
	return tree.ErrUnavailable.Saying("%q cannot be reached now: %s", info.Name, info.Unavailable.Reason)
}

// Write writes names of a tree, folders with all they hold, as a ZIP. With a
// failure the archive has no end, and whoever reads it can tell.
func Write(ctx context.Context, w io.Writer, t tree.Tree, names []string) error {
	z := &writer{ctx: ctx, zip: zip.NewWriter(w), tree: t, taken: map[string]bool{}}
	// Quick rather than small: what is large is mostly compressed already.
	z.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, name := range names {
		info, err := t.Stat(ctx, name)
		if err == nil {
			err = z.add(name, z.top(name), info)
		}
		if err != nil {
			return fmt.Errorf("archive %q: %w", name, err)
		}
	}
	return z.zip.Close()
}

type writer struct {
	ctx     context.Context
	zip     *zip.Writer
	tree    tree.Tree
	taken   map[string]bool // the names at the top
	entries int
}

// top is what a name is called at the top of the archive: its last element, or
// when another has that already, with a number.
func (z *writer) top(name string) string {
	base := safe(tree.Base(name))
	if base == "" {
		return "" // the whole tree: what it holds stands at the top
	}
	ending := path.Ext(base)
	stem := strings.TrimSuffix(base, ending)
	for i := 2; z.taken[base]; i++ {
		base = fmt.Sprintf("%s (%d)%s", stem, i, ending)
	}
	z.taken[base] = true
	return base
}

// safe is a name that leads nowhere else on any system: to some a backslash is a
// separator, and a colon names a drive.
func safe(name string) string { return strings.NewReplacer(`\`, "%5C", ":", "%3A").Replace(name) }

func (z *writer) add(name, as string, info tree.Info) error {
	if err := z.entry(name, as, info); err != nil || !info.Dir {
		return err
	}
	return tree.Walk(z.ctx, z.tree, name, func(path string, info tree.Info) error {
		within := strings.TrimPrefix(strings.TrimPrefix(path, name), "/")
		return z.entry(path, tree.Join(as, safe(within)), info)
	})
}

// entry writes one file, or the name of one folder.
func (z *writer) entry(name, as string, info tree.Info) error {
	if err := z.ctx.Err(); err != nil {
		return err
	}
	if z.entries++; z.entries > MaxEntries {
		return ErrTooMany
	}
	if as == "" {
		return nil
	}
	head := &zip.FileHeader{Name: as, Method: zip.Deflate, Modified: info.ModTime}
	if info.Dir {
		head.Name, head.Method = as+"/", zip.Store
		_, err := z.zip.CreateHeader(head)
		return err
	}
	f, err := z.tree.Open(z.ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := z.zip.CreateHeader(head)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}
