package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/weftest"
)

// process is a server in a process of its own, to be weighed.
type process struct {
	origin, host, token string
	pid                 int
}

// TestMemory weighs the built program: idle, and while a large file passes
// through it in each direction.
func TestMemory(t *testing.T) {
	if os.Getenv("WEFT_HEAVY") == "" {
		t.Skip("moves gigabytes; .ci/run bench runs it, or WEFT_HEAVY=1")
	}
	const (
		idleMax   = 60 << 20
		growthMax = 64 << 20
		large     = 1 << 30
	)
	weft := filepath.Join(t.TempDir(), "weft")
	if out, err := exec.Command("go", "build", "-o", weft, "../../cmd/weft").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	a, b := startProcess(t, weft, "alice"), startProcess(t, weft, "bob")
	call := func(p process, method, path string, in any) string {
		t.Helper()
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		return p.do(t, method, "/api/v1"+path, "application/json", bytes.NewReader(body), int64(len(body)))
	}
	call(a, "POST", "/files/folder", map[string]string{"path": "A"})
	call(a, "POST", "/shares", map[string]any{"path": "A", "with": "bob@" + b.host, "permissions": []string{"read", "write"}})
	id := regexp.MustCompile(`"received":\[\{"id":"([^"]+)"`)
	var found []string
	weftest.Until(t, "the share arrives", func() bool {
		found = id.FindStringSubmatch(call(b, "GET", "/shares", nil))
		return found != nil
	})
	call(b, "POST", "/received/"+found[1]+"/accept", nil)

	idle := map[string]int64{}
	for name, p := range map[string]process{"alice's server": a, "bob's server": b} {
		idle[name] = p.memory(t, "VmRSS")
		t.Logf("%s idle: %d MiB", name, idle[name]>>20)
		if idle[name] > idleMax {
			t.Errorf("%s takes %d MiB when idle, at most %d are meant", name, idle[name]>>20, idleMax>>20)
		}
	}
	for _, c := range []struct {
		name string
		move func()
	}{
		{"a 1 GiB upload", func() { a.do(t, "PUT", "/dav/files/alice/A/up", "", io.LimitReader(pattern{}, large), large) }},
		{"a 1 GiB download", func() { a.do(t, "GET", "/dav/files/alice/A/up", "", nil, 0) }},
		{"a 1 GiB download through the receiving server", func() { b.do(t, "GET", "/dav/files/bob/Shared%20with%20me/A/up", "", nil, 0) }},
		{"a 1 GiB upload through the receiving server", func() {
			b.do(t, "PUT", "/dav/files/bob/Shared%20with%20me/A/back", "", io.LimitReader(pattern{}, large), large)
		}},
	} {
		c.move()
		for name, p := range map[string]process{"alice's server": a, "bob's server": b} {
			growth := p.memory(t, "VmHWM") - idle[name]
			t.Logf("after %s, %s peaked %d MiB above idle", c.name, name, growth>>20)
			if growth > growthMax {
				t.Errorf("%s took %d MiB more during %s, at most %d are meant", name, growth>>20, c.name, growthMax>>20)
			}
		}
	}
}

func startProcess(t *testing.T, weft, user string) process {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	ln := weftest.Listen(t)
	addr := ln.Addr().String()
	ln.Close()
	p := process{host: strings.Replace(addr, "127.0.0.1", "localhost", 1)}
	p.origin = "http://" + p.host
	cmd := exec.Command(weft, "serve", "--data", data, "--listen", addr, "--url", p.origin, "--insecure")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	t.Cleanup(func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() })
	weftest.Until(t, user+"'s server answers", func() bool {
		resp, err := http.Get(p.origin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	run := func(stdin string, args ...string) string {
		t.Helper()
		c := exec.Command(weft, append(args, "--data", data)...)
		c.Stdin = strings.NewReader(stdin)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("weft %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	run("a long password", "user", "add", user)
	p.token = run("", "user", "app-password", user)
	return p
}

// do sends a request and returns the first part of the answer.
func (p process) do(t *testing.T, method, path, contentType string, body io.Reader, size int64) string {
	t.Helper()
	r, err := http.NewRequest(method, p.origin+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.ContentLength = size
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	head, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
	}
	return string(head)
}

// memory reads a line of /proc/PID/status, in bytes.
func (p process) memory(t *testing.T, line string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		t.Skipf("memory cannot be weighed here: %v", err)
	}
	_, rest, ok := strings.Cut(string(b), line+":")
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		t.Fatalf("no %s", line)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
