package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestFailuresOfTheFileSystemAreNamed(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause error
		want  error
	}{
		{"a full disk", syscall.ENOSPC, ErrDiskFull},
		{"a used up quota of the disk", syscall.EDQUOT, ErrDiskFull},
		{"a path the disk does not take", syscall.ENAMETOOLONG, ErrName},
		{"nothing there", syscall.ENOENT, ErrNotFound},
		{"a file in the way", syscall.ENOTDIR, ErrNotFound},
		{"anything else stays what it is", syscall.EIO, syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := translate(fmt.Errorf("upload: %w", &fs.PathError{Op: "write", Path: "x", Err: c.cause}))
			if !errors.Is(err, c.want) || !errors.Is(err, c.cause) {
				t.Errorf("%v", err)
			}
		})
	}
	if translate(nil) != nil {
		t.Error("success is a failure")
	}
}

func TestOpenDiskSaysWhatItCouldNotOpen(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDisk(file); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("%v", err)
	}
}
