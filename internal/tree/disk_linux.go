package tree

import (
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inodeOf tells which file this is, whatever its name.
func inodeOf(fi fs.FileInfo) (uint64, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Ino, true
}

// unrooted is a folder once more, as a file that does not describe its entries
// while it lists them: one that was opened in a Root looks at each.
var unrooted = func(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// glance adds sizes and times to entries of a folder, on all processors: nearly all
// of it is waiting for the system. What is gone since is left out.
func glance(dir *os.File, infos []Info) []Info {
	var g sync.WaitGroup
	fd := int(dir.Fd())
	for part := range slices.Chunk(infos, max(32, (len(infos)-1)/runtime.GOMAXPROCS(0)+1)) {
		g.Go(func() {
			for i := range part {
				var st unix.Stat_t
				err := unix.Fstatat(fd, part[i].Name, &st, unix.AT_SYMLINK_NOFOLLOW)
				kind := st.Mode & unix.S_IFMT
				if err != nil || kind != unix.S_IFREG && kind != unix.S_IFDIR {
					part[i].Name = ""
					continue
				}
				part[i].ModTime = time.Unix(st.Mtim.Unix())
				if part[i].Dir = kind == unix.S_IFDIR; !part[i].Dir {
					part[i].Size = st.Size
				}
			}
		})
	}
	g.Wait()
	return slices.DeleteFunc(infos, func(info Info) bool { return info.Name == "" })
}

// freeBytes is what the disk below root has room for, -1 when it does not say.
func freeBytes(root *os.Root) int64 {
	f, err := root.Open(".")
	if err != nil {
		return -1
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return -1
	}
	return int64(st.Bavail) * st.Bsize
}

// Space is the room that is left on the disk that holds dir, and all of it; -1
// when it cannot be told.
func Space(dir string) (free, total int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1, -1
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
}

// flushAll makes all that was written below root durable: for many files far
// quicker than one by one.
func flushAll(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
