package server_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/weftest"
)

// program finds a program of another project, or skips.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian package %s); .ci/run dav installs it", name, name)
	}
	if testing.Short() {
		t.Skip("skipped by -short")
	}
	return path
}

func TestLitmus(t *testing.T) {
	t.Parallel()
	litmus := program(t, "litmus")
	alice := weftest.Start(t).Person("alice")
	cmd := exec.Command(litmus, alice.Origin+"/dav/files/alice/", "alice", alice.Secret.Reveal())
	cmd.Dir = t.TempDir() // litmus writes a log
	out, err := cmd.CombinedOutput()
	summary := regexp.MustCompile("summary for `([a-z]+)': of (\\d+) tests run: (\\d+) passed").FindAllStringSubmatch(string(out), -1)
	for _, m := range summary {
		t.Logf("litmus %s: %s of %s", m[1], m[3], m[2])
		if m[2] != m[3] {
			t.Errorf("litmus %s: %s of %s passed", m[1], m[3], m[2])
		}
	}
	if err != nil || len(summary) != 5 || strings.Contains(string(out), "WARNING") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRclone copies a tree there and back with each of the ways people set
// rclone up.
func TestRclone(t *testing.T) {
	t.Parallel()
	rclone := program(t, "rclone")
	alice, bob := two(t)
	alice.Put("Common/x.txt", "x")
	alice.Share("Common", bob.Address, "read", "write")
	bob.Accept("Common")

	src := t.TempDir()
	big := make([]byte, 3<<20)
	rand.Read(big)
	for name, content := range map[string]string{
		"plain.txt": "plain", "empty": "", "big.bin": string(big), "sub/deep/er/file": "deep",
		"Größe & Maß #1 100%.txt": "names", "日本語/ファイル": "names", "a+b;c=d,e'f(g)[h]{i}.txt": "names",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	obscured, err := exec.Command(rclone, "obscure", bob.Secret.Reveal()).Output()
	if err != nil {
		t.Fatal(err)
	}
	basic := []string{"--webdav-user", "bob", "--webdav-pass", strings.TrimSpace(string(obscured))}
	for i, c := range []struct {
		name string
		into string
		args []string
	}{
		{"vendor other with an app password", "rclone", append([]string{"--webdav-vendor", "other"}, basic...)},
		{"vendor nextcloud with an app password", "rclone", append([]string{"--webdav-vendor", "nextcloud"}, basic...)},
		{"a bearer token", "rclone", []string{"--webdav-vendor", "other", "--webdav-bearer-token", bob.Secret.Reveal()}},
		{"into what another server shares", "Shared with me/Common", append([]string{"--webdav-vendor", "other"}, basic...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			remote := fmt.Sprintf(":webdav:%s/%d", c.into, i)
			run := func(args ...string) string {
				t.Helper()
				args = append(append(args, "--config", "", "--retries", "1", "--webdav-url", bob.Origin+"/dav/files/bob"), c.args...)
				out, err := exec.Command(rclone, args...).CombinedOutput()
				if err != nil {
					t.Fatalf("rclone %s: %v\n%s", args[0], err, out)
				}
				return string(out)
			}
			run("copy", src, remote)
			run("check", "--download", src, remote)
			back := t.TempDir()
			run("copy", remote, back)
			run("check", src, back)
			if out := run("copy", "-v", "--size-only", src, remote); strings.Contains(out, "Copied") {
				t.Errorf("a second copy sends again: %s", out)
			}
			run("moveto", remote+"/plain.txt", remote+"/moved.txt")
			run("purge", remote)
		})
	}
}

// TestDavfs mounts the files as a folder of the operating system.
func TestDavfs(t *testing.T) {
	t.Parallel()
	mount := program(t, "mount.davfs")
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("mounting needs /dev/fuse")
	}
	alice, bob := two(t)
	alice.Put("Common/x.txt", "x from Alice")
	alice.Share("Common", bob.Address, "read", "write")
	bob.Accept("Common")

	// Not t.TempDir: davfs2 works as a user of its own, who must get there.
	dir, err := os.MkdirTemp("", "weft-davfs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	point, cache := filepath.Join(dir, "mnt"), filepath.Join(dir, "cache")
	secrets, conf := filepath.Join(dir, "secrets"), filepath.Join(dir, "davfs2.conf")
	url := bob.Origin + "/dav/files/bob/"
	for _, d := range []string{point, cache} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(cache, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		secrets: fmt.Sprintf("%s bob %s\n", url, bob.Secret.Reveal()),
		conf:    fmt.Sprintf("secrets %s\ncache_dir %s\ndelay_upload 0\nuse_locks 1\n", secrets, cache),
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(mount, url, point, "-o", "conf="+conf).CombinedOutput(); err != nil {
		t.Fatalf("davfs2 cannot mount: %v\n%s", err, out)
	}
	unmounted := false
	unmount := func() {
		if !unmounted {
			unmounted = true
			if out, err := exec.Command("umount", point).CombinedOutput(); err != nil {
				t.Errorf("umount: %v\n%s", err, out)
			}
		}
	}
	t.Cleanup(unmount)
	if b, err := os.ReadFile(filepath.Join(point, "Shared with me/Common/x.txt")); err != nil || string(b) != "x from Alice" {
		t.Errorf("reading: %q, %v", b, err)
	}
	if err := os.Mkdir(filepath.Join(point, "Shared with me/Common/made"), 0o700); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(point, "Shared with me/Common/made/y.txt"), []byte("y from Bob"), 0o600); err != nil {
		t.Error(err)
	}
	unmount() // writes back what is cached
	if got := alice.Get("Common/made/y.txt"); got != "y from Bob" {
		t.Errorf("Alice reads %q", got)
	}
}
