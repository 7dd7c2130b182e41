package tree

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The folders of a Disk: what people see, and what is not complete yet or about
// to be deleted. What is kept of deletions lies in trashDir.
const (
	filesDir   = "files"
	uploadsDir = "uploads"
)

// Disk is a tree on the local disk, confined by an os.Root. Only plain files and
// folders whose names Clean accepts exist for it: symbolic links, devices and
// the like are neither shown nor followed nor replaced.
//
// A folder's time of change is that of the newest change below it made through
// this tree, so that its ETag changes whenever anything in it does. Every change
// takes effect in one rename: a crash leaves the old or the new.
type Disk struct {
	root *os.Root
	// change is held while a change is checked and takes effect, never while
	// data flows.
	change sync.Mutex
	last   atomic.Int64 // the newest time given out, Unix nanoseconds
}

// OpenDisk opens the tree in dir, making it if need be. What a crash left of
// uploads and deletions is removed; so only one Disk may have dir open.
func OpenDisk(dir string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for files: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder for files: %w", err)
	}
	d := &Disk{root: root}
	if err := d.prepare(); err != nil {
		root.Close()
		return nil, fmt.Errorf("prepare the folder for files: %w", err)
	}
	return d, nil
}

func (d *Disk) prepare() error {
	err := errors.Join(d.root.RemoveAll(uploadsDir), d.root.MkdirAll(filesDir, 0o700), d.root.MkdirAll(trashDir, 0o700), d.root.Mkdir(uploadsDir, 0o700))
	if err != nil {
		return err
	}
	fi, err := d.root.Lstat(filesDir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s: %w", filesDir, syscall.ENOTDIR)
	}
	// The clock may have been set back since: times go on rising all the same.
	d.last.Store(fi.ModTime().UnixNano())
	return nil
}

// Close releases the directory. Files that are open stay open.
func (d *Disk) Close() error { return d.root.Close() }

// at is the place of a name below the root directory.
func at(name string) string { return Join(filesDir, name) }

// temporary is a new place for what is not complete yet.
func temporary() string { return uploadsDir + "/" + rand.Text() }

// translate turns an error of the file system into one of this package.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return ErrDiskFull.With(err)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return ErrName.Saying("The path is too long for the server's disk.").With(err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return ErrNotFound.With(err)
	}
	return err
}

// lookup describes what stands at a name. Root.Lstat would follow links in the
// middle of a path as long as they stay inside; here they do not exist at all.
func (d *Disk) lookup(name string) (fs.FileInfo, error) {
	if err := canonical(name); err != nil {
		return nil, err
	}
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		fi, err := d.root.Lstat(at(name[:i]))
		if err != nil {
			return nil, translate(err)
		}
		if !fi.IsDir() {
			return nil, ErrNotFound
		}
	}
	fi, err := d.root.Lstat(at(name))
	if err != nil {
		return nil, translate(err)
	}
	if !plain(fi) {
		return nil, errHidden
	}
	return fi, nil
}

// errHidden is ErrNotFound for a name that something we do not show has taken.
var errHidden = ErrNotFound.With(errors.New("neither a file nor a folder"))

func plain(fi fs.FileInfo) bool { return fi.IsDir() || fi.Mode().IsRegular() }

// describe makes an Info of what the file system says.
func describe(name string, fi fs.FileInfo) Info {
	info := Info{Name: name, Dir: fi.IsDir(), ModTime: fi.ModTime(), Rights: All}
	inode, ok := inodeOf(fi)
	if ok {
		info.ID = strconv.FormatUint(inode, 16)
	}
	etag := make([]byte, 0, 48)
	etag = append(etag, '"')
	etag = strconv.AppendUint(etag, inode, 16)
	etag = append(etag, '-')
	etag = strconv.AppendUint(etag, uint64(info.ModTime.UnixNano()), 16)
	if !info.Dir {
		info.Size = fi.Size()
		etag = append(etag, '-')
		etag = strconv.AppendUint(etag, uint64(info.Size), 16)
	}
	info.ETag = string(append(etag, '"'))
	return info
}

// Stat implements Tree.
func (d *Disk) Stat(_ context.Context, name string) (Info, error) {
	fi, err := d.lookup(name)
	if err != nil {
		return Info{}, err
	}
	return describe(Base(name), fi), nil
}

// open opens a place for reading. O_NONBLOCK: a pipe that has just been put
// there must not make us wait.
func (d *Disk) open(place string) (*os.File, error) {
	f, err := d.root.OpenFile(place, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return f, translate(err)
}

// Open implements Tree. The File has OSFile() *os.File, for front doors that
// can let the kernel send it.
func (d *Disk) Open(_ context.Context, name string) (File, error) {
	if _, err := d.lookup(name); err != nil {
		return nil, err
	}
	f, err := d.open(at(name))
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
	case fi.IsDir():
		err = ErrIsFolder
	case !fi.Mode().IsRegular():
		err = errHidden
	default:
		return &diskFile{f, describe(Base(name), fi)}, nil
	}
	f.Close()
	return nil, err
}

type diskFile struct {
	*os.File
	info Info
}

func (f *diskFile) Info() Info { return f.info }

func (f *diskFile) OSFile() *os.File { return f.File }

// target looks at a name that is to be made or replaced: its folder must be
// there.
func (d *Disk) target(name string) (old Info, exists bool, err error) {
	if name == "" {
		return Info{}, false, errRoot
	}
	if err := canonical(name); err != nil {
		return Info{}, false, err
	}
	if folder, err := d.lookup(Dir(name)); errors.Is(err, ErrNotFound) || err == nil && !folder.IsDir() {
		return Info{}, false, ErrNoParent
	} else if err != nil {
		return Info{}, false, err
	}
	fi, err := d.lookup(name)
	switch {
	case err == error(errHidden):
		return Info{}, false, ErrForbidden.Saying("Something on the server's disk that is neither a file nor a folder has this name; choose another.")
	case errors.Is(err, ErrNotFound):
		return Info{}, false, nil
	case err != nil:
		return Info{}, false, err
	}
	return describe(Base(name), fi), true, nil
}

// source looks at a name that is to be moved, copied or removed.
func (d *Disk) source(name string, cond Condition) (Info, error) {
	fi, err := d.lookup(name)
	if err != nil {
		if errors.Is(err, ErrNotFound) && cond.Match != "" {
			err = ErrPrecondition
		}
		return Info{}, err
	}
	info := describe(Base(name), fi)
	return info, cond.Check(info, true)
}

// tick is the time now, later than any it gave before.
func (d *Disk) tick() time.Time {
	for {
		last := d.last.Load()
		now := max(time.Now().UnixNano(), last+1)
		if d.last.CompareAndSwap(last, now) {
			return time.Unix(0, now)
		}
	}
}

// touch gives folders and all above them a new time of change. It is called
// before a change, so that not even a crash between the two hides the change,
// and after it, so that nobody keeps the new ETag with the old content.
func (d *Disk) touch(folders ...string) error {
	now := d.tick()
	for _, dir := range folders {
		for {
			if err := d.root.Chtimes(at(dir), time.Time{}, now); err != nil {
				return translate(err)
			}
			if dir == "" {
				break
			}
			dir = Dir(dir)
		}
	}
	return nil
}

// flush makes the names in folders durable. One that is gone by now was made so
// by a later change.
func (d *Disk) flush(folders ...string) error {
	for _, dir := range folders {
		if err := d.flushPlace(at(dir)); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

func (d *Disk) flushPlace(place string) error {
	f, err := d.open(place)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return translate(err)
	}
	return nil
}

// arrival is something complete that is about to get a name.
type arrival struct {
	place   string   // where it stands, below the root directory
	to      string   // its name
	size    int64    // bytes by which it makes the tree larger
	folders []string // whose names change
	// allow decides with the lock held, on what has the name now.
	allow func(old Info, exists bool) error
}

// install gives an arrival its name, replacing what has it. A file replaces a
// file in one step; anything else is put aside first, and back on failure.
func (d *Disk) install(ctx context.Context, a arrival) (info Info, replaced bool, err error) {
	aside := temporary()
	info, replaced, err = d.rename(ctx, a, aside)
	if err != nil {
		return Info{}, false, err
	}
	if err := d.flush(a.folders...); err != nil {
		return Info{}, false, err
	}
	d.discard(aside)
	return info, replaced, nil
}

func (d *Disk) rename(ctx context.Context, a arrival, aside string) (info Info, replaced bool, err error) {
	d.change.Lock()
	defer d.change.Unlock()
	if err := ctx.Err(); err != nil {
		return Info{}, false, err
	}
	old, exists, err := d.target(a.to)
	if err != nil {
		return Info{}, false, err
	}
	if err := a.allow(old, exists); err != nil {
		return Info{}, false, err
	}
	fi, err := d.root.Lstat(a.place)
	if err != nil {
		return Info{}, false, translate(err)
	}
	if err := d.touch(a.folders...); err != nil {
		return Info{}, false, err
	}
	freed := old.Size
	if exists && (old.Dir || fi.IsDir()) {
		if err := d.root.Rename(at(a.to), aside); err != nil {
			return Info{}, false, translate(err)
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, d.root.Rename(aside, at(a.to)))
			}
		}()
		if freed, err = d.weigh(ctx, aside); err != nil {
			return Info{}, false, err
		}
	}
	if err := Charge(ctx, a.size-freed); err != nil {
		return Info{}, false, err
	}
	if err := d.root.Rename(a.place, at(a.to)); err != nil {
		return Info{}, false, errors.Join(translate(err), Charge(ctx, freed-a.size))
	}
	// The change has happened: what fails now must not claim otherwise.
	d.touch(a.folders...)
	if now, err := d.root.Lstat(at(a.to)); err == nil {
		fi = now
	}
	return describe(Base(a.to), fi), exists, nil
}

// weigh is the bytes at a place, for whoever keeps an account of them.
func (d *Disk) weigh(ctx context.Context, place string) (int64, error) {
	if !charged(ctx) {
		return 0, nil
	}
	return d.sum(ctx, place)
}

// discard deletes what has no name any more. What it cannot delete goes when
// the tree is opened next.
func (d *Disk) discard(place string) { d.root.RemoveAll(place) }

// Put implements Tree. The conditions are checked before the body is read and
// again when the file takes its name.
func (d *Disk) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	if name == "" {
		return Info{}, false, ErrIsFolder
	}
	allow := func(old Info, exists bool) error {
		if exists && old.Dir {
			return ErrIsFolder
		}
		return opt.Condition.Check(old, exists)
	}
	old, exists, err := d.target(name)
	if err == nil {
		err = allow(old, exists)
	}
	if err != nil {
		return Info{}, false, err
	}
	if free := d.Free(); opt.Size > 0 && free >= 0 && opt.Size > free {
		return Info{}, false, ErrDiskFull
	}
	place := temporary()
	size, err := d.receive(ctx, place, body, opt)
	if err != nil {
		d.discard(place)
		return Info{}, false, err
	}
	info, replaced, err := d.install(ctx, arrival{
		place: place, to: name, size: size, folders: []string{Dir(name)}, allow: allow,
	})
	if err != nil {
		d.discard(place)
	}
	return info, !replaced && err == nil, err
}

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// receive writes a body to a place, down to the disk.
func (d *Disk) receive(ctx context.Context, place string, body io.Reader, opt PutOptions) (int64, error) {
	f, err := d.root.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, translate(err)
	}
	defer f.Close()
	size, err := pour(ctx, f, body)
	if err != nil {
		return 0, err
	}
	if opt.Size > 0 && size != opt.Size {
		return 0, fmt.Errorf("the upload has %d bytes, %d were announced: %w", size, opt.Size, io.ErrUnexpectedEOF)
	}
	modified := d.tick()
	if t := opt.ModTime; !t.IsZero() {
		// Clients tell whole seconds. The fraction is ours, so that two
		// contents of the same second and size differ in their ETag.
		if t.Nanosecond() == 0 {
			t = t.Add(time.Duration(modified.Nanosecond()))
		}
		modified = t
	}
	if err := d.root.Chtimes(place, time.Time{}, modified); err != nil {
		return 0, translate(err)
	}
	return size, translate(errors.Join(f.Sync(), f.Close()))
}

// pour copies a body to a file until either fails or ctx ends. Only failures of
// the file are the disk's.
func pour(ctx context.Context, f *os.File, body io.Reader) (size int64, err error) {
	buf := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, err := body.Read(buf[:])
		if _, err := f.Write(buf[:n]); err != nil {
			return size, translate(err)
		}
		size += int64(n)
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

// Mkdir implements Tree.
func (d *Disk) Mkdir(ctx context.Context, name string) (Info, error) {
	if name == "" {
		return Info{}, ErrExists
	}
	info, err := d.mkdir(name)
	if err != nil {
		return Info{}, err
	}
	return info, d.flush(Dir(name))
}

func (d *Disk) mkdir(name string) (Info, error) {
	d.change.Lock()
	defer d.change.Unlock()
	_, exists, err := d.target(name)
	if err != nil {
		return Info{}, err
	}
	if exists {
		return Info{}, ErrExists
	}
	if err := d.touch(Dir(name)); err != nil {
		return Info{}, err
	}
	if err := d.root.Mkdir(at(name), 0o700); err != nil {
		return Info{}, translate(err)
	}
	if err := d.touch(name); err != nil {
		return Info{}, err
	}
	fi, err := d.root.Lstat(at(name))
	if err != nil {
		return Info{}, translate(err)
	}
	return describe(Base(name), fi), nil
}

// between refuses moves and copies that cannot be, whatever is there.
func between(from, to string) error {
	switch {
	case to == "":
		return errRoot
	case Within(to, from), Within(from, to):
		return ErrInto
	}
	return canonical(to)
}

// Move implements Tree.
func (d *Disk) Move(ctx context.Context, from, to string, opt MoveOptions) (bool, error) {
	if from == "" {
		return false, errRoot
	}
	info, err := d.source(from, opt.Condition)
	if err == nil {
		err = between(from, to)
	}
	if err == nil && info.Dir && depth(to) > depth(from) {
		err = d.fits(ctx, at(from), depth(to))
	}
	if err != nil {
		return false, err
	}
	_, replaced, err := d.install(ctx, arrival{
		place: at(from), to: to, folders: []string{Dir(from), Dir(to)},
		allow: func(_ Info, exists bool) error {
			if exists && !opt.Overwrite {
				return ErrExists
			}
			_, err := d.source(from, opt.Condition)
			return err
		},
	})
	return replaced, err
}

// fits refuses to bring a folder so deep that names in it could not be used any
// more. level is the depth its name will have.
func (d *Disk) fits(ctx context.Context, place string, level int) error {
	if level > MaxDepth {
		return errTooDeep
	}
	for fi, err := range d.entries(ctx, place) {
		if err == nil && fi.IsDir() {
			err = d.fits(ctx, Join(place, fi.Name()), level+1)
		} else if err == nil && level+1 > MaxDepth {
			err = errTooDeep
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Copy implements Tree. A folder's copy is complete before it gets its name.
func (d *Disk) Copy(ctx context.Context, from, to string, opt CopyOptions) (bool, error) {
	allow := func(_ Info, exists bool) error {
		if exists && !opt.Overwrite {
			return ErrExists
		}
		_, err := d.source(from, opt.Condition)
		return err
	}
	info, err := d.source(from, opt.Condition)
	if err == nil {
		err = between(from, to)
	}
	if err != nil {
		return false, err
	}
	old, exists, err := d.target(to)
	if err == nil {
		err = allow(old, exists)
	}
	if err != nil {
		return false, err
	}
	place := temporary()
	size, err := d.duplicate(ctx, at(from), place, info.Dir, depth(to), opt.Shallow)
	if err == nil {
		err = d.flushCopy(place, info.Dir)
	}
	var replaced bool
	if err == nil {
		_, replaced, err = d.install(ctx, arrival{
			place: place, to: to, size: size, folders: []string{Dir(to)}, allow: allow,
		})
	}
	if err != nil {
		d.discard(place)
	}
	return replaced, err
}

// flushCopy makes a copy durable before it gets its name.
func (d *Disk) flushCopy(place string, folder bool) error {
	if folder {
		return translate(flushAll(d.root))
	}
	f, err := d.open(place)
	if err != nil {
		return err
	}
	defer f.Close()
	return translate(f.Sync())
}

// duplicate copies a file or folder from one place below the root directory to
// another and tells its bytes.
func (d *Disk) duplicate(ctx context.Context, from, to string, folder bool, level int, shallow bool) (size int64, err error) {
	if level > MaxDepth {
		return 0, errTooDeep
	}
	if !folder {
		return d.duplicateFile(ctx, from, to)
	}
	if err := d.root.Mkdir(to, 0o700); err != nil {
		return 0, translate(err)
	}
	if shallow {
		return 0, nil
	}
	for fi, err := range d.entries(ctx, from) {
		if err != nil {
			return size, err
		}
		n, err := d.duplicate(ctx, Join(from, fi.Name()), Join(to, fi.Name()), fi.IsDir(), level+1, false)
		if errors.Is(err, ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return size, err
		}
		size += n
	}
	return size, nil
}

func (d *Disk) duplicateFile(ctx context.Context, from, to string) (size int64, err error) {
	src, err := d.open(from)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	fi, err := src.Stat()
	if err != nil {
		return 0, translate(err)
	}
	if !fi.Mode().IsRegular() {
		return 0, errHidden
	}
	dst, err := d.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, translate(err)
	}
	defer dst.Close()
	for { // in pieces that the kernel copies, so that ctx is heard between them
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, err := io.CopyN(dst, src, 64<<20)
		size += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return size, translate(err)
		}
	}
	if err := d.root.Chtimes(to, time.Time{}, fi.ModTime()); err != nil {
		return size, translate(err)
	}
	return size, translate(dst.Close())
}

// Remove implements Tree. A folder is gone at once, however long deleting what
// it held takes.
func (d *Disk) Remove(ctx context.Context, name string, cond Condition) error {
	if name == "" {
		return errRoot
	}
	aside := temporary()
	if err := d.setAside(name, aside, cond); err != nil {
		return err
	}
	// It has happened, so it is counted even when the asker left.
	freed, err := d.weigh(context.WithoutCancel(ctx), aside)
	err = errors.Join(err, Charge(ctx, -freed), d.flush(Dir(name)))
	d.discard(aside)
	return err
}

func (d *Disk) setAside(name, aside string, cond Condition) error {
	d.change.Lock()
	defer d.change.Unlock()
	if _, err := d.source(name, cond); err != nil {
		return err
	}
	if err := d.touch(Dir(name)); err != nil {
		return err
	}
	if err := d.root.Rename(at(name), aside); err != nil {
		return translate(err)
	}
	d.touch(Dir(name)) // it has happened: what fails now must not claim otherwise
	return nil
}

// Usage implements Tree: it walks everything below name.
func (d *Disk) Usage(ctx context.Context, name string) (Usage, error) {
	if _, err := d.lookup(name); err != nil {
		return Usage{}, err
	}
	used, err := d.sum(ctx, at(name))
	return Usage{Used: used, Available: d.Free()}, err
}

// sum is the bytes of all files at a place.
func (d *Disk) sum(ctx context.Context, place string) (total int64, err error) {
	fi, err := d.root.Lstat(place)
	if err != nil {
		return 0, translate(err)
	}
	if !fi.IsDir() {
		return fi.Size(), nil
	}
	for fi, err := range d.entries(ctx, place) {
		size := int64(0)
		if err == nil {
			if size = fi.Size(); fi.IsDir() {
				size, err = d.sum(ctx, Join(place, fi.Name()))
			}
		}
		if errors.Is(err, ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return total, err
		}
		total += size
	}
	return total, nil
}

// Free is the bytes the disk has room for, -1 when that is not known.
func (d *Disk) Free() int64 { return freeBytes(d.root) }
