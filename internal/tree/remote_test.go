package tree_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/dav"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/tree/treetest"
	"github.com/weft-mesh/weft/ocm"
)

// peer serves a disk over WebDAV to who has its token; wrap may misbehave.
type peer struct {
	*httptest.Server
	disk  *tree.Disk
	token atomic.Value
	asked atomic.Int64 // tokens
}

func newPeer(t testing.TB, wrap func(next http.Handler) http.Handler) *peer {
	t.Helper()
	disk, err := tree.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	p := &peer{disk: disk}
	p.token.Store("first")
	memory := dav.NewMemory()
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+p.token.Load().(string) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		(&dav.Handler{Tree: disk, Prefix: "/dav/id", Locks: memory, Props: memory, Follow: memory}).ServeHTTP(w, r)
	})
	if wrap != nil {
		h = wrap(h)
	}
	p.Server = httptest.NewServer(h)
	t.Cleanup(p.Close)
	return p
}

// remote reaches the peer; adjust may change how.
func (p *peer) remote(adjust ...func(*tree.RemoteConfig)) *tree.Remote {
	c := tree.RemoteConfig{
		HTTP:   &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Root:   func(context.Context) (string, bool, error) { return p.URL + "/dav/id", false, nil },
		Rights: tree.All, ListTTL: time.Millisecond,
		Tokens: &tree.TokenSource{Fetch: func(context.Context) (ocm.Secret, time.Time, error) {
			p.asked.Add(1)
			return ocm.Secret(p.token.Load().(string)), time.Now().Add(5 * time.Minute), nil
		}},
	}
	for _, f := range adjust {
		f(&c)
	}
	return tree.NewRemote(c)
}

func (p *peer) put(t testing.TB, name, content string) {
	t.Helper()
	if _, _, err := p.disk.Put(t.Context(), name, strings.NewReader(content), tree.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
}

func readAll(t testing.TB, r tree.Tree, name string) (string, error) {
	t.Helper()
	f, err := r.Open(t.Context(), name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

func TestARemoteTreeIsATreeLikeAnyOther(t *testing.T) {
	treetest.Run(t, func(t *testing.T) tree.Tree { return newPeer(t, nil).remote() })
}

func TestATokenIsRenewedOnceForAllReaders(t *testing.T) {
	p := newPeer(t, nil)
	p.put(t, "a.txt", "a")
	r := p.remote()
	if _, err := readAll(t, r, "a.txt"); err != nil {
		t.Fatal(err)
	}
	p.token.Store("second") // the first is no longer taken
	p.asked.Store(0)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := readAll(t, r, "a.txt"); err != nil || got != "a" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := p.asked.Load(); n != 1 {
		t.Errorf("%d exchanges for 50 readers", n)
	}
}

func TestACutDownloadIsResumed(t *testing.T) {
	content := make([]byte, 2<<20)
	rand.Read(content)
	var cuts atomic.Int64
	p := newPeer(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" && cuts.Add(1) <= 2 {
				w = &cutting{ResponseWriter: w, left: 500_000}
			}
			next.ServeHTTP(w, r)
		})
	})
	p.put(t, "big", string(content))
	got, err := readAll(t, p.remote(), "big")
	if err != nil || got != string(content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if cuts.Load() < 3 {
		t.Error("nothing was cut")
	}
}

// cutting breaks the connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

func TestAFileThatChangesWhileItIsReadIsAnErrorAndNoMixture(t *testing.T) {
	var p *peer
	var once sync.Once
	p = newPeer(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" {
				cut := false
				once.Do(func() { cut = true })
				if cut {
					defer p.put(t, "big", strings.Repeat("new", 300_000))
					w = &cutting{ResponseWriter: w, left: 100_000}
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	p.put(t, "big", strings.Repeat("old", 300_000))
	if _, err := readAll(t, p.remote(), "big"); !errors.Is(err, tree.ErrChanged) {
		t.Errorf("%v, want %v", err, tree.ErrChanged)
	}
}

func TestASlowAnswerIsThereForTheNextWhoAsks(t *testing.T) {
	slow := make(chan struct{})
	p := newPeer(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-slow
			next.ServeHTTP(w, r)
		})
	})
	p.put(t, "a.txt", "a")
	r := p.remote(func(c *tree.RemoteConfig) { c.Budget = 30 * time.Millisecond; c.ListTTL = time.Minute })
	_, err := r.Stat(t.Context(), "a.txt")
	e, ok := errors.AsType[*ocm.Error](err)
	if !ok || e.Code != tree.ErrUnavailable.Code || e.RetryAfter <= 0 {
		t.Fatalf("%v", err)
	}
	close(slow)
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err = r.Stat(t.Context(), "a.txt"); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the answer never came: %v", err)
		}
	}
}

func TestAnswersOfThePeerKeepTheirMeaning(t *testing.T) {
	for status, want := range map[int]*ocm.Error{
		412: tree.ErrPrecondition, 423: tree.ErrLocked, 507: tree.ErrQuota, 413: tree.ErrTooLarge,
		403: tree.ErrForbidden, 404: tree.ErrNotFound, 409: tree.ErrNoParent, 503: tree.ErrUnavailable, 429: tree.ErrUnavailable, 500: tree.ErrUnavailable,
	} {
		p := newPeer(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "PUT" {
					w.Header().Set("Retry-After", "7")
					w.WriteHeader(status)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		_, _, err := p.remote().Put(t.Context(), "x", strings.NewReader("x"), tree.PutOptions{Size: 1})
		if !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
	}
}

func TestConditionsArePassedOn(t *testing.T) {
	p := newPeer(t, nil)
	p.put(t, "a.txt", "a")
	r := p.remote()
	_, _, err := r.Put(t.Context(), "a.txt", strings.NewReader("b"), tree.PutOptions{Condition: tree.Condition{Match: `"other"`}, Size: 1})
	if !errors.Is(err, tree.ErrPrecondition) {
		t.Errorf("If-Match: %v", err)
	}
	_, _, err = r.Put(t.Context(), "a.txt", strings.NewReader("b"), tree.PutOptions{Condition: tree.Condition{NoneMatch: "*"}, Size: 1})
	if !errors.Is(err, tree.ErrPrecondition) {
		t.Errorf("If-None-Match: %v", err)
	}
	if got, _ := readAll(t, r, "a.txt"); got != "a" {
		t.Errorf("%q", got)
	}
}

// multistatus is a peer's answer to PROPFIND.
func multistatus(hrefs ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">`)
	for i, h := range hrefs {
		kind := ""
		if i == 0 {
			kind = "<d:collection/>"
		}
		fmt.Fprintf(&b, `<d:response><d:href>%s</d:href><d:propstat><d:prop><d:resourcetype>%s</d:resourcetype><d:getcontentlength>1</d:getcontentlength></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, h, kind)
	}
	return b.String() + `</d:multistatus>`
}

// answering is a remote tree whose peer answers PROPFIND with a text.
func answering(t *testing.T, body string) *tree.Remote {
	return newPeer(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusMultiStatus)
			io.WriteString(w, body)
		})
	}).remote()
}

func TestNamesThatLeadOutOfTheShareAreNotListed(t *testing.T) {
	r := answering(t, multistatus("/dav/id/", "/dav/id/good.txt", "/dav/id/", "/dav/other/x", "/dav/id/../x", "/dav/id/..%2Fx", "/dav/id/a%2Fb", "/dav/id/deep/er",
		"https://elsewhere.example.org/dav/id/evil.txt", "//elsewhere.example.org/dav/id/evil", "/dav/idx", "/dav/id/%00", "/dav/id/%FF", "javascript:alert(1)", ""))
	var names []string
	for info, err := range r.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if len(names) != 1 || names[0] != "good.txt" {
		t.Errorf("listed %q", names)
	}
}

func TestHostileListingsAreErrors(t *testing.T) {
	for name, body := range map[string]string{
		"no XML":          "hello",
		"cut short":       `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response>`,
		"deep":            `<?xml version="1.0"?>` + strings.Repeat("<a>", 100_000),
		"of entities":     `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><d:multistatus xmlns:d="DAV:">&a;</d:multistatus>`,
		"of another root": `<?xml version="1.0"?><html/>`,
	} {
		r := answering(t, body)
		if _, err := r.Stat(t.Context(), ""); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestASingleFileIsReadWherePROPFINDIsNotKnown(t *testing.T) {
	content := []byte("the whole file")
	p := newPeer(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "GET" && r.Method != "HEAD" {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			http.ServeContent(w, r, "file", time.Unix(1, 0), bytes.NewReader(content))
		})
	})
	r := p.remote(func(c *tree.RemoteConfig) { c.File = true })
	if info, err := r.Stat(t.Context(), ""); err != nil || info.Size != int64(len(content)) || info.Dir {
		t.Errorf("%+v, %v", info, err)
	}
	if got, err := readAll(t, r, ""); err != nil || got != string(content) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAvailabilityIsToldOnceAChange(t *testing.T) {
	var down atomic.Bool
	p := newPeer(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	var mu sync.Mutex
	var states []bool
	r := p.remote(func(c *tree.RemoteConfig) {
		c.OnState = func(ok bool, _ string) { mu.Lock(); states = append(states, ok); mu.Unlock() }
	})
	ask := func(times int) {
		for range times {
			r.Stat(t.Context(), "")
			time.Sleep(2 * time.Millisecond) // past the listing's time
		}
	}
	ask(3)
	down.Store(true)
	ask(3)
	down.Store(false)
	ask(3)
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(states) != "[true false true]" {
		t.Errorf("told %v", states)
	}
}

func FuzzMultistatus(f *testing.F) {
	f.Add(multistatus("/dav/id/", "/dav/id/a"))
	f.Add(`<?xml version="1.0"?><multistatus xmlns="DAV:"><response><href>/dav/id</href><status>HTTP/1.1 404 Not Found</status></response></multistatus>`)
	f.Fuzz(func(t *testing.T, body string) {
		r := tree.NewRemote(tree.RemoteConfig{
			HTTP:   &http.Client{Transport: saying(body)},
			Root:   func(context.Context) (string, bool, error) { return "http://peer.example.org/dav/id", false, nil },
			Tokens: &tree.TokenSource{Fetch: func(context.Context) (ocm.Secret, time.Time, error) { return "x", time.Time{}, nil }},
			Rights: tree.All,
		})
		for info, err := range r.List(t.Context(), "") {
			if err != nil {
				return
			}
			if clean, err := tree.Clean(info.Name); err != nil || clean != info.Name || strings.Contains(clean, "/") || clean == "" {
				t.Fatalf("listed %q", info.Name)
			}
		}
	})
}

// saying is a peer that answers everything with one multistatus.
type saying string

func (s saying) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusMultiStatus, Header: http.Header{}, Request: r,
		Body: io.NopCloser(strings.NewReader(string(s))), ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

func BenchmarkRemoteRead(b *testing.B) {
	p := newPeer(b, nil)
	const n = 64 << 20
	p.put(b, "big", strings.Repeat("x", n))
	r := p.remote()
	b.SetBytes(n)
	for b.Loop() {
		f, err := r.Open(b.Context(), "big")
		if err != nil {
			b.Fatal(err)
		}
		if m, err := io.Copy(io.Discard, f); err != nil || m != n {
			b.Fatal(m, err)
		}
		f.Close()
	}
}
