package tree

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"os"
)

// List implements Tree.
func (d *Disk) List(ctx context.Context, name string) iter.Seq2[Info, error] {
	fi, err := d.lookup(name)
	switch {
	case err != nil:
		return failed(err)
	case !fi.IsDir():
		return failed(ErrNotFolder)
	}
	if sizes, ok := ctx.Value(briefKey{}).(bool); ok && unrooted != nil {
		return d.brief(ctx, at(name), sizes)
	}
	return func(yield func(Info, error) bool) {
		for fi, err := range d.entries(ctx, at(name)) {
			var info Info
			if err == nil {
				info = describe(fi.Name(), fi)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// brief yields no more of what a folder holds than its names, or with sizes what a
// glance at each shows: for thousands of files a fraction of the time.
func (d *Disk) brief(ctx context.Context, place string, sizes bool) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		infos := make([]Info, 0, listBatch)
		for batch, err := range d.batches(ctx, place, unrooted) {
			if err != nil {
				yield(Info{}, err)
				return
			}
			infos = infos[:0]
			for _, e := range batch.entries {
				if (e.IsDir() || e.Type().IsRegular()) && proper(e.Name()) {
					infos = append(infos, Info{Name: e.Name(), Dir: e.IsDir(), Rights: All})
				}
			}
			if sizes {
				infos = glance(batch.dir, infos)
			}
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// entries yields what a folder holds. A failure is yielded last.
func (d *Disk) entries(ctx context.Context, place string) iter.Seq2[fs.FileInfo, error] {
	return func(yield func(fs.FileInfo, error) bool) {
		for batch, err := range d.batches(ctx, place, nil) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range batch.entries {
				// A file from a Root has described its entries already.
				fi, err := e.Info()
				if err == nil && plain(fi) && proper(fi.Name()) && !yield(fi, nil) {
					return
				}
			}
		}
	}
}

// listBatch is how many entries of a folder are read at a time, so that memory is
// bounded.
const listBatch = 256

type batch struct {
	dir     *os.File
	entries []fs.DirEntry
}

// batches reads a folder, through what by makes of it. A failure is yielded last.
func (d *Disk) batches(ctx context.Context, place string, by func(*os.File) (*os.File, error)) iter.Seq2[batch, error] {
	return func(yield func(batch, error) bool) {
		dir, err := d.open(place)
		if err == nil && by != nil {
			opened := dir
			dir, err = by(opened)
			opened.Close()
		}
		if err != nil {
			yield(batch{}, translate(err))
			return
		}
		defer dir.Close()
		for {
			if err := ctx.Err(); err != nil {
				yield(batch{}, err)
				return
			}
			entries, err := dir.ReadDir(listBatch)
			if len(entries) > 0 && !yield(batch{dir, entries}, nil) {
				return
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(batch{}, translate(err))
				return
			}
		}
	}
}
