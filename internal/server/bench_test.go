package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/weftest"
)

// BenchmarkReceiveShare stores signed shares that many clients send at once:
// through HTTP, the signature and a commit to SQLite.
func BenchmarkReceiveShare(b *testing.B) {
	bob := weftest.Start(b).Person("bob")
	peer := weftest.NewPeer(b)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	post := func(id string) error {
		body := peer.ShareFor(bob, map[string]any{"providerId": id})
		r, err := http.NewRequest("POST", bob.Origin+"/ocm/shares", strings.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		if err := peer.Signer.Sign(r, []byte(body)); err != nil {
			return err
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("answered %s", resp.Status)
		}
		return nil
	}
	if err := post("first"); err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := post(fmt.Sprint("share ", i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "shares/s")
}

const clients = 64

// fetch reads a whole answer and throws it away.
func fetch(b *testing.B, p *weftest.Person, name string, want int64) {
	b.Helper()
	r, err := http.NewRequestWithContext(context.Background(), "GET", p.Origin+"/dav/files/"+p.Name+"/"+name, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.Secret.Reveal())
	drain(b, r, want)
}

func drain(b *testing.B, r *http.Request, want int64) {
	b.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 1<<20))
	if err != nil || n != want || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s, %d bytes of %d: %v", resp.Status, n, want, err)
	}
}

// upload writes n bytes without holding them.
func upload(b *testing.B, p *weftest.Person, name string, n int64) {
	b.Helper()
	r, err := http.NewRequest("PUT", p.Origin+"/dav/files/"+p.Name+"/"+name, io.LimitReader(pattern{}, n))
	if err != nil {
		b.Fatal(err)
	}
	r.ContentLength = n
	r.Header.Set("Authorization", "Bearer "+p.Secret.Reveal())
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		body, _ := io.ReadAll(resp.Body)
		b.Fatalf("%s %s", resp.Status, body)
	}
}

type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func BenchmarkDAVGet1MiB(b *testing.B) { benchmarkGet(b, 1<<20) }
func BenchmarkDAVGet1GiB(b *testing.B) { benchmarkGet(b, 1<<30) }

func benchmarkGet(b *testing.B, n int64) {
	alice := weftest.Start(b).Person("alice")
	upload(b, alice, "file", n)
	b.SetBytes(n)
	for b.Loop() {
		fetch(b, alice, "file", n)
	}
}

func BenchmarkDAVPut1GiB(b *testing.B) {
	alice := weftest.Start(b).Person("alice")
	b.SetBytes(1 << 30)
	for b.Loop() {
		upload(b, alice, "file", 1<<30)
	}
}

// BenchmarkNginxGet1GiB is what another server makes of the same file.
func BenchmarkNginxGet1GiB(b *testing.B) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		b.Skip("nginx is not installed (Debian package nginx-light); .ci/run bench installs it")
	}
	const n = 1 << 30
	dir := b.TempDir()
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyN(f, pattern{}, n); err != nil {
		b.Fatal(err)
	}
	f.Close()
	ln := weftest.Listen(b)
	addr := ln.Addr().String()
	ln.Close()
	conf := filepath.Join(dir, "nginx.conf")
	err = os.WriteFile(conf, fmt.Appendf(nil, `daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log; user root;
events {} http { access_log off; sendfile on; server { listen %[2]s; root %[1]s; }
client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s; }`, dir, addr), 0o600)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", conf)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	get := func() *http.Request {
		r, err := http.NewRequest("GET", "http://"+addr+"/file", nil)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	weftest.Until(b, "nginx answers", func() bool {
		resp, err := http.DefaultTransport.RoundTrip(get())
		if err != nil {
			return false
		}
		resp.Body.Close()
		return true
	})
	b.SetBytes(n)
	for b.Loop() {
		drain(b, get(), n)
	}
}

// many makes a folder of 10,000 files and tells where it lies on the disk.
func many(b *testing.B, p *weftest.Person) (dir string) {
	if a := p.DAV("MKCOL", "many", ""); a.Status != 201 {
		b.Fatal(a)
	}
	dir = filepath.Join(p.Config.StoragePath(), p.User.ID, "files", "many")
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file %05d.txt", i)), []byte("x"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

func BenchmarkPropfind10000(b *testing.B) {
	alice := weftest.Start(b).Person("alice")
	many(b, alice)
	b.Run("four", func(b *testing.B) {
		for b.Loop() {
			a := alice.DAV("PROPFIND", "many/", `<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/><d:getlastmodified/><d:getcontentlength/><d:resourcetype/></d:prop></d:propfind>`, "Depth", "1")
			if a.Status != 207 || len(a.Body) < 1_000_000 {
				b.Fatal(a.Status)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if a := alice.DAV("PROPFIND", "many/", "", "Depth", "1"); a.Status != 207 {
				b.Fatal(a.Status)
			}
		}
	})
}

// BenchmarkPage10000 shows the page of a folder of 10,000 files: the first time
// after a file came, and again.
func BenchmarkPage10000(b *testing.B) {
	alice := weftest.Start(b).Person("alice")
	dir := many(b, alice)
	browser := alice.Browser()
	for _, by := range []string{"name", "size"} {
		b.Run("first/"+by, func(b *testing.B) {
			for b.Loop() {
				if err := os.WriteFile(filepath.Join(dir, "file 00001.txt"), []byte("x"), 0o600); err != nil {
					b.Fatal(err)
				}
				now := time.Now()
				if err := os.Chtimes(dir, now, now); err != nil {
					b.Fatal(err)
				}
				if p := browser.Get("/files/many?sort=" + by); p.Status != 200 {
					b.Fatal(p.Status)
				}
			}
		})
	}
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if p := browser.Get("/files/many"); p.Status != 200 {
				b.Fatal(p.Status)
			}
		}
	})
}

// BenchmarkRemoteRead reads a file of one server through another, and directly.
func BenchmarkRemoteRead(b *testing.B) {
	const n = 256 << 20
	alice, bob := weftest.Start(b).Person("alice"), weftest.Start(b).Person("bob")
	if a := alice.DAV("MKCOL", "A", ""); a.Status != 201 {
		b.Fatal(a)
	}
	upload(b, alice, "A/file", n)
	alice.Share("A", bob.Address)
	bob.Accept("A")
	b.Run("direct", func(b *testing.B) {
		b.SetBytes(n)
		for b.Loop() {
			fetch(b, alice, "A/file", n)
		}
	})
	b.Run("through", func(b *testing.B) {
		b.SetBytes(n)
		for b.Loop() {
			fetch(b, bob, "Shared%20with%20me/A/file", n)
		}
	})
}
