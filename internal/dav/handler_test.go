package dav_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/dav"
	"github.com/weft-mesh/weft/internal/tree"
)

// site is a handler over a disk.
type site struct {
	t testing.TB
	h dav.Handler
}

func newSite(t testing.TB) *site {
	t.Helper()
	disk, err := tree.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	m := dav.NewMemory()
	return &site{t, dav.Handler{Tree: disk, Prefix: "/dav/files/alice", Locks: m, Props: m, Follow: m}}
}

// do sends a request for a path below the prefix, written as it is to stand in
// the URL; header holds pairs.
func (s *site) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, "/dav/files/alice"+path, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h := s.h
	h.ServeHTTP(w, r)
	return w
}

func (s *site) want(status int, method, path, body string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	w := s.do(method, path, body, header...)
	if w.Code != status {
		s.t.Errorf("%s %s %v: %d %s, want %d", method, path, header, w.Code, w.Body, status)
	}
	return w
}

func TestConditionsOnChanges(t *testing.T) {
	s := newSite(t)
	s.want(201, "PUT", "/a", "one", "If-None-Match", "*")
	s.want(412, "PUT", "/a", "two", "If-None-Match", "*")
	etag := s.want(200, "GET", "/a", "").Header().Get("ETag")
	s.want(412, "PUT", "/a", "two", "If-Match", `"no"`)
	s.want(412, "DELETE", "/a", "", "If-Match", `"no"`)
	s.want(204, "PUT", "/a", "two", "If-Match", etag)
	s.want(412, "PUT", "/a", "three", "If-Match", etag)
	s.want(412, "PUT", "/none", "x", "If-Match", "*")
	if w := s.want(200, "GET", "/a", ""); w.Body.String() != "two" {
		t.Errorf("%q", w.Body)
	}
	s.want(304, "GET", "/a", "", "If-None-Match", s.do("HEAD", "/a", "").Header().Get("ETag"))
}

func TestRanges(t *testing.T) {
	s := newSite(t)
	s.want(201, "PUT", "/a", "0123456789")
	for in, want := range map[string]string{"bytes=0-0": "0", "bytes=3-5": "345", "bytes=7-": "789", "bytes=-2": "89", "bytes=8-100": "89"} {
		if w := s.want(206, "GET", "/a", "", "Range", in); w.Body.String() != want {
			t.Errorf("%s: %q", in, w.Body)
		}
	}
	s.want(416, "GET", "/a", "", "Range", "bytes=10-")
	s.want(200, "GET", "/a", "", "Range", "bytes=0-1", "If-Range", `"another"`)
	s.want(400, "PUT", "/a", "x", "Content-Range", "bytes 0-0/10")
}

var hrefs = regexp.MustCompile("<d:href>([^<]*)</d:href>")

func TestNamesSurviveAndBadOnesAreRefused(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"plain", "with space", "100%", "a#b", "a?b", "Größe", "日本語", "a+b&c=d", "%2e", `back\slash`, "quote\"'", "<tag>"} {
		path := "/" + url.PathEscape(name)
		s.want(201, "PUT", path, name)
		if w := s.want(200, "GET", path, ""); w.Body.String() != name {
			t.Errorf("%q: %q", name, w.Body)
		}
		listed := false
		for _, m := range hrefs.FindAllStringSubmatch(s.want(207, "PROPFIND", "/", "", "Depth", "1").Body.String(), -1) {
			href, err := url.PathUnescape(html.UnescapeString(m[1]))
			listed = listed || err == nil && href == "/dav/files/alice/"+name
		}
		if !listed {
			t.Errorf("%q is not listed", name)
		}
		s.want(204, "DELETE", path, "")
	}
	s.want(201, "PUT", "/caf%C3%A9", "composed")
	if w := s.want(200, "GET", "/cafe%CC%81", ""); w.Body.String() != "composed" {
		t.Error("the decomposed form is another name")
	}
	for _, path := range []string{"/a%2Fb", "/..", "/%2e%2e/x", "/a%00", "/a%0Ab", "/%FF", "/" + strings.Repeat("x", 256), "/%20"} {
		if w := s.do("PUT", path, "x"); w.Code != 400 && w.Code != 404 && w.Code != 409 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := s.want(400, "PUT", "/a%2Fb", "x"); !strings.Contains(w.Body.String(), "<w:code>NAME_INVALID</w:code>") {
		t.Errorf("%s", w.Body)
	}
}

func TestCopyAndMove(t *testing.T) {
	s := newSite(t)
	s.want(201, "MKCOL", "/d", "")
	s.want(201, "PUT", "/d/f", "f")
	to := func(p string) []string { return []string{"Destination", "http://example.com/dav/files/alice" + p} }
	s.want(201, "COPY", "/d", "", to("/e")...)
	s.want(204, "COPY", "/d", "", to("/e")...)
	s.want(412, "COPY", "/d", "", append(to("/e"), "Overwrite", "F")...)
	s.want(201, "COPY", "/d", "", append(to("/shallow"), "Depth", "0")...)
	s.want(404, "GET", "/shallow/f", "")
	s.want(409, "COPY", "/d", "", to("/none/x")...)
	s.want(201, "MOVE", "/d/f", "", to("/g")...)
	s.want(404, "GET", "/d/f", "")
	s.want(502, "MOVE", "/g", "", "Destination", "http://elsewhere.example.org/dav/files/alice/x")
	s.want(502, "MOVE", "/g", "", "Destination", "/dav/files/bob/x")
	for _, dest := range []string{"", "::", "http://example.com/dav/files/alice/../bob/x"} {
		if w := s.do("MOVE", "/g", "", "Destination", dest); w.Code < 400 || w.Code >= 600 || w.Code == 500 {
			t.Errorf("Destination %q: %d", dest, w.Code)
		}
	}
	if w := s.do("MOVE", "/e", "", to("/e/inside")...); w.Code < 400 || w.Code == 500 {
		t.Errorf("into itself: %d", w.Code)
	}
	s.want(200, "GET", "/e/f", "")
}

func TestListingWithoutABoundIsRefused(t *testing.T) {
	s := newSite(t)
	s.h.MaxEntries = 5
	for i := range 6 {
		s.want(201, "PUT", fmt.Sprintf("/f%d", i), "x")
	}
	if w := s.want(403, "PROPFIND", "/", "", "Depth", "infinity"); !strings.Contains(w.Body.String(), "propfind-finite-depth") {
		t.Errorf("%s", w.Body)
	}
	s.want(207, "PROPFIND", "/", "", "Depth", "1")
}

func TestPropertiesThatPeopleSetAreKeptAsTheyAre(t *testing.T) {
	s := newSite(t)
	s.want(201, "PUT", "/a", "x")
	s.want(207, "PROPPATCH", "/a", `<d:propertyupdate xmlns:d="DAV:"><d:set><d:prop><x:note xmlns:x="urn:x" xml:lang="de">ä <b>&amp;</b></x:note></d:prop></d:set></d:propertyupdate>`)
	w := s.want(207, "PROPFIND", "/a", `<d:propfind xmlns:d="DAV:"><d:prop><note xmlns="urn:x"/></d:prop></d:propfind>`, "Depth", "0")
	for _, part := range []string{"ä ", "&amp;", "200 OK"} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("no %q in %s", part, w.Body)
		}
	}
	w = s.want(207, "PROPPATCH", "/a", `<d:propertyupdate xmlns:d="DAV:"><d:set><d:prop><d:getetag>mine</d:getetag></d:prop></d:set><d:set><d:prop><x:n xmlns:x="urn:x">1</x:n></d:prop></d:set></d:propertyupdate>`)
	if !strings.Contains(w.Body.String(), "403") || !strings.Contains(w.Body.String(), "424") {
		t.Errorf("a protected property: %s", w.Body)
	}
}

func TestBodiesThatAreNotUnderstood(t *testing.T) {
	s := newSite(t)
	for _, body := range []string{"hello", "<a>", `<!DOCTYPE x [<!ENTITY a "b">]><propfind xmlns="DAV:">&a;</propfind>`, strings.Repeat("<a>", 10_000), `<x/>`} {
		if w := s.do("PROPFIND", "/", body, "Depth", "0"); w.Code != 400 {
			t.Errorf("%.40q: %d", body, w.Code)
		}
	}
	s.want(413, "PROPFIND", "/", "<a>"+strings.Repeat(" ", 2<<20)+"</a>", "Depth", "0")
	s.want(415, "MKCOL", "/x", "body")
	s.want(400, "PROPFIND", "/", "", "Depth", "7")
	s.want(405, "PATCH", "/", "")
}

func TestAFileOfActiveContentIsNotShownInThisOrigin(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"/page.html", "/image.svg", "/doc.xml"} {
		s.want(201, "PUT", name, "<script>alert(1)</script>")
		h := s.want(200, "GET", name, "").Header()
		if h.Get("Content-Disposition") != "attachment" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", name, h)
		}
	}
}

func TestTimesOfClientsAreKept(t *testing.T) {
	s := newSite(t)
	if w := s.want(201, "PUT", "/a", "x", "X-OC-Mtime", "1700000000"); w.Header().Get("X-OC-Mtime") != "accepted" {
		t.Errorf("%v", w.Header())
	}
	if got := s.do("HEAD", "/a", "").Header().Get("Last-Modified"); got != time.Unix(1700000000, 0).UTC().Format(http.TimeFormat) {
		t.Errorf("%s", got)
	}
}

func TestLocks(t *testing.T) {
	s := newSite(t)
	info := func(scope string) string {
		return `<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:` + scope + `/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>`
	}
	s.want(201, "MKCOL", "/d", "")
	s.want(201, "PUT", "/d/f", "x")
	token := s.want(200, "LOCK", "/d", info("exclusive"), "Depth", "infinity").Header().Get("Lock-Token")
	s.want(423, "PUT", "/d/f", "y")
	s.want(423, "DELETE", "/d", "")
	s.want(423, "PUT", "/d/new", "y")
	s.want(423, "LOCK", "/d/f", info("shared"), "Depth", "0")
	s.want(204, "PUT", "/d/f", "y", "If", "(<"+strings.Trim(token, "<>")+">)")
	s.want(412, "PUT", "/d/f", "y", "If", "(<urn:uuid:00000000-0000-0000-0000-000000000000>)")
	s.want(204, "UNLOCK", "/d", "", "Lock-Token", token)
	s.want(204, "PUT", "/d/f", "z")
	s.want(200, "LOCK", "/d/f", info("shared"))
	s.want(200, "LOCK", "/d/f", info("shared"))
	s.want(423, "LOCK", "/d/f", info("exclusive"))
	s.want(201, "LOCK", "/fresh", info("exclusive"))
	s.want(200, "GET", "/fresh", "")
}

// FuzzHandler gives a handler whatever a client may send. It answers without a
// fault of its own, and nothing leaves the tree.
func FuzzHandler(f *testing.F) {
	lock := `<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>`
	f.Add("PROPFIND", "/", "1", "", "", `<propfind xmlns="DAV:"><prop><getetag/><x xmlns="y"/></prop></propfind>`)
	f.Add("PROPPATCH", "/f", "", "", "", `<propertyupdate xmlns="DAV:"><set><prop><a xmlns="b" xml:lang="c">d<e/></a></prop></set></propertyupdate>`)
	f.Add("MOVE", "/f", "", "", "http://example.com/dav/files/alice/g%20h", "")
	f.Add("COPY", "/d", "0", "", "/dav/files/alice/%2e%2e/x", "")
	f.Add("PUT", "/f", "", `</dav/files/alice/f> (<urn:uuid:1> ["etag"]) (Not <DAV:no-lock>)`, "", "body")
	f.Add("LOCK", "/f", "infinity", "(<urn:x>)", "", lock)
	f.Add("UNLOCK", "/f", "", "", "", "")
	s := newSite(f)
	s.want(201, "MKCOL", "/d", "")
	f.Fuzz(func(t *testing.T, method, path, depth, ifHeader, destination, body string) {
		u, err := url.Parse("http://example.com/dav/files/alice" + path)
		if err != nil || !strings.HasPrefix(path, "/") || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		r, err := http.NewRequest(method, u.String(), strings.NewReader(body))
		if err != nil {
			return
		}
		r.RequestURI = u.RequestURI()
		for name, v := range map[string]string{"Depth": depth, "If": ifHeader, "Destination": destination} {
			if v != "" {
				r.Header[name] = []string{v}
			}
		}
		w := httptest.NewRecorder()
		h := s.h
		var cause error
		h.OnError = func(_ *http.Request, _ int, err error) { cause = err }
		h.ServeHTTP(w, r)
		if w.Code == 500 {
			t.Fatalf("%s %s: 500, %v", method, path, cause)
		}
	})
}
