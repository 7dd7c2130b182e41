package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"github.com/weft-mesh/weft/ocm"
)

const goodToken = "token-1"

// davPeer is a peer that serves a folder by WebDAV below /dav/share.
type davPeer struct {
	*httptest.Server
	fs    webdav.FileSystem
	calls atomic.Int64
	// before may answer in the peer's place.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newDAVPeer(t testing.TB) *davPeer {
	t.Helper()
	p := &davPeer{fs: webdav.NewMemFS()}
	h := &webdav.Handler{Prefix: "/dav/share", FileSystem: p.fs, LockSystem: webdav.NewMemLS()}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.calls.Add(1)
		if p.before != nil && p.before(w, r) {
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *davPeer) write(t testing.TB, name, content string) {
	t.Helper()
	f, err := p.fs.OpenFile(t.Context(), name, 0x242, 0o644) // O_RDWR|O_CREATE|O_TRUNC
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, content); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func fixedTokens(token string) *TokenSource {
	return &TokenSource{Fetch: func(context.Context) (ocm.Secret, time.Time, error) { return ocm.Secret(token), time.Time{}, nil }}
}

// remoteAt is a Remote on a server's path with short waits.
func remoteAt(url string, change ...func(*RemoteConfig)) *Remote {
	cfg := RemoteConfig{
		HTTP: &http.Client{}, Root: func(context.Context) (string, error) { return url, nil },
		Tokens: fixedTokens(goodToken), Rights: All, Budget: 5 * time.Second,
	}
	for _, c := range change {
		c(&cfg)
	}
	return NewRemote(cfg)
}

// serve starts a peer that is one function.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// multistatusOf is an answer with one response for each "href|props" given.
func multistatusOf(responses ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:ocm="http://open-cloud-mesh.org/ns">`)
	for _, r := range responses {
		href, props, _ := strings.Cut(r, "|")
		fmt.Fprintf(&b, `<d:response><d:href>%s</d:href><d:propstat><d:prop>%s</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, href, props)
	}
	return b.String() + `</d:multistatus>`
}

const collection = `<d:resourcetype><d:collection/></d:resourcetype>`

func answerXML(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusMultiStatus)
	io.WriteString(w, body)
}

func namesIn(t testing.TB, r *Remote, name string) []string {
	t.Helper()
	var out []string
	for info, err := range r.List(t.Context(), name) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Name)
	}
	return out
}

func contentOf(t testing.TB, r *Remote, name string) (string, error) {
	t.Helper()
	f, err := r.Open(t.Context(), name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

func TestRemoteReadsAndWritesAPeersFolder(t *testing.T) {
	p := newDAVPeer(t)
	r := remoteAt(p.URL + "/dav/share/")
	ctx := t.Context()
	if _, err := r.Mkdir(ctx, "Ä folder #1"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Mkdir(ctx, "Ä folder #1"); !errors.Is(err, ErrExists) {
		t.Errorf("making a folder twice: %v", err)
	}
	if _, err := r.Mkdir(ctx, "no/such"); !errors.Is(err, ErrNoParent) {
		t.Errorf("making a folder in none: %v", err)
	}
	name := "Ä folder #1/50% ü?.txt"
	info, created, err := r.Put(ctx, name, strings.NewReader("hello"), PutOptions{Size: 5})
	if err != nil || !created || info.Size != 5 || info.Name != "50% ü?.txt" || info.ETag == "" {
		t.Fatalf("put: %+v, %v, %v", info, created, err)
	}
	if _, created, err = r.Put(ctx, name, strings.NewReader("hello world"), PutOptions{Size: -1}); err != nil || created {
		t.Fatalf("put again: %v, %v", created, err)
	}
	if got, err := contentOf(t, r, name); err != nil || got != "hello world" {
		t.Errorf("read %q, %v", got, err)
	}
	if got := namesIn(t, r, "Ä folder #1"); !slices.Equal(got, []string{"50% ü?.txt"}) {
		t.Errorf("listed %q", got)
	}
	if replaced, err := r.Copy(ctx, name, "copy", CopyOptions{}); err != nil || replaced {
		t.Errorf("copy: %v, %v", replaced, err)
	}
	if _, err := r.Move(ctx, name, "copy", MoveOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("move onto another: %v", err)
	}
	if replaced, err := r.Move(ctx, name, "copy", MoveOptions{Overwrite: true}); err != nil || !replaced {
		t.Errorf("move over another: %v, %v", replaced, err)
	}
	if _, err := r.Move(ctx, "Ä folder #1", "Ä folder #1/in", MoveOptions{}); !errors.Is(err, ErrInto) {
		t.Errorf("move into itself: %v", err)
	}
	if err := r.Remove(ctx, "copy", Condition{}); err != nil {
		t.Error(err)
	}
	if _, err := r.Stat(ctx, "copy"); !errors.Is(err, ErrNotFound) {
		t.Errorf("stat of what was removed: %v", err)
	}
	if root, ok := r.CachedRoot(); ok && !root.Dir {
		t.Errorf("root %+v", root)
	}
}

func TestRemoteAnswersFromAListingForAWhile(t *testing.T) {
	p := newDAVPeer(t)
	for i := range 20 {
		p.write(t, fmt.Sprintf("/f%02d", i), "x")
	}
	var clock atomic.Int64
	r := remoteAt(p.URL+"/dav/share", func(c *RemoteConfig) {
		c.Now = func() time.Time { return time.Unix(1_700_000_000+clock.Load(), 0) }
	})
	if got := namesIn(t, r, ""); len(got) != 20 {
		t.Fatalf("listed %q", got)
	}
	for i := range 20 {
		if _, err := r.Stat(t.Context(), fmt.Sprintf("f%02d", i)); err != nil {
			t.Fatal(err)
		}
	}
	namesIn(t, r, "")
	if n := p.calls.Load(); n != 1 {
		t.Errorf("%d calls for one listing", n)
	}
	if _, _, err := r.Put(t.Context(), "new", strings.NewReader(""), PutOptions{Size: 0}); err != nil {
		t.Fatal(err)
	}
	if got := namesIn(t, r, ""); len(got) != 21 {
		t.Errorf("our own upload does not show: %q", got)
	}
	p.write(t, "/theirs", "x")
	clock.Add(5)
	if got := namesIn(t, r, ""); len(got) != 22 {
		t.Errorf("after its time the old listing still stands: %q", got)
	}
}

func TestRemoteDoesNotWaitForASlowPeer(t *testing.T) {
	release := make(chan struct{})
	var calls atomic.Int64
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		<-release
		answerXML(w, multistatusOf("/s/|"+collection, "/s/a|<d:getcontentlength>3</d:getcontentlength>"))
	})
	r := remoteAt(u+"/s", func(c *RemoteConfig) { c.Budget = 30 * time.Millisecond })
	listed := func() error {
		for _, err := range r.List(t.Context(), "") {
			if err != nil {
				return err
			}
		}
		return nil
	}
	began := time.Now()
	err := listed()
	if e, ok := errors.AsType[*ocm.Error](err); !errors.Is(err, ErrUnavailable) || !ok || e.RetryAfter != 5*time.Second {
		t.Fatalf("the slow answer: %v", err)
	}
	if waited := time.Since(began); waited > 2*time.Second {
		t.Errorf("waited %v", waited)
	}
	close(release)
	for deadline := time.Now().Add(5 * time.Second); listed() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the late answer never arrived")
		}
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls: the late answer was not used", n)
	}
}

func TestRemoteRenewsATokenOnceForAll(t *testing.T) {
	p := newDAVPeer(t)
	p.write(t, "/a", strings.Repeat("x", 1000))
	var exchanges atomic.Int64
	p.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer new" {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	r := remoteAt(p.URL+"/dav/share", func(c *RemoteConfig) {
		c.Tokens = &TokenSource{Fetch: func(context.Context) (ocm.Secret, time.Time, error) {
			exchanges.Add(1)
			return "new", time.Now().Add(time.Hour), nil
		}}
		c.Tokens.token, c.Tokens.expiry = "revoked", time.Now().Add(time.Hour)
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := contentOf(t, r, "a"); err != nil || len(got) != 1000 {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := exchanges.Load(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestRemoteUploadGetsAFreshTokenAndSendsTheBodyOnce(t *testing.T) {
	var sent bytes.Buffer
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if r.Header.Get("Authorization") != "Bearer t2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.Copy(&sent, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	tokens := 1
	r := remoteAt(u, func(c *RemoteConfig) {
		c.HTTP = &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 5 * time.Second}}
		c.Tokens = &TokenSource{Fetch: func(context.Context) (ocm.Secret, time.Time, error) {
			tokens++
			return ocm.Secret(fmt.Sprint("t", tokens)), time.Now().Add(time.Hour), nil
		}}
		c.Tokens.token, c.Tokens.expiry = "t1", time.Now().Add(time.Hour)
	})
	body := strings.Repeat("0123456789abcdef", 128<<10)
	_, created, err := r.Put(t.Context(), "big", strings.NewReader(body), PutOptions{Size: int64(len(body))})
	if err != nil || !created || sent.String() != body {
		t.Errorf("created %v, %v; %d of %d bytes arrived", created, err, sent.Len(), len(body))
	}
}
