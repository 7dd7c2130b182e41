// Package web renders the pages. They work without script; every text of people
// and peers is escaped, and nothing is loaded from elsewhere. README.md tells how
// a page is made.
package web

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

//go:embed pages app parts
var pages embed.FS

//go:embed assets
var assets embed.FS

// View is what every page is given.
type View struct {
	Site    string // the name of this server
	Locale  *Locale
	User    *User // nil for visitors
	Section string
	Counts  Counts
	Said    *Said  // what the last act came to
	Fault   error  // why the form that is shown again was not taken
	Request string // id, for support
	Data    any
}

// In reports whether the page is in a section, or below it.
func (v View) In(section string) bool {
	return v.Section == section || strings.HasPrefix(v.Section, section+"/")
}

// User is who is signed in.
type User struct {
	Name, DisplayName, Address string
	Admin                      bool
}

// Counts are the numbers beside the sections.
type Counts struct {
	Inbox  int64 // shares and requests that wait for an answer
	Unread int64 // notices
}

// Said is a message for the next page: a key of the catalogue with its
// arguments, and what can be done about it.
type Said struct {
	Kind string   `json:"k"` // good, warn or bad
	Key  string   `json:"t"`
	Args []string `json:"a,omitempty"`
	Text string   `json:"s,omitempty"` // in place of Key: an error's sentence
	Undo *Undo    `json:"u,omitempty"`
	Link *Link    `json:"l,omitempty"`
}

// Link leads to what the act brought.
type Link struct {
	To  string `json:"h"` // path of ours
	Key string `json:"t"`
}

// Undo is a form that takes the act back.
type Undo struct {
	Action string     `json:"a"` // path of ours
	Fields url.Values `json:"f"`
}

// Policy says what a page may do beyond the usual.
type Policy struct {
	// Leaving lets its form lead to other sites: the browser holds redirects
	// against the policy of the page they began on.
	Leaving bool
	// Secret keeps the page from being compressed: with something that others may
	// put into it, its length would tell about what else it holds.
	Secret bool
}

// pageSet is the pages of a language by name, each parsed when it is first shown.
type pageSet struct {
	of     *Locale
	mu     sync.Mutex
	frames map[string]*template.Template
	pages  map[string]*template.Template
}

// page finds a page: its own main part in one of the two frames.
func (p *pageSet) page(name string) (*template.Template, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.pages[name]; ok {
		return t, nil
	}
	for _, dir := range []string{"app", "pages"} {
		file := dir + "/" + name + ".html"
		if _, err := fs.Stat(pages, file); err != nil || name == "frame" {
			continue
		}
		t, err := p.frame(dir)
		if err == nil {
			t, err = t.Clone()
		}
		if err == nil {
			t, err = t.ParseFS(pages, file)
		}
		if err != nil {
			return nil, err
		}
		if p.pages == nil {
			p.pages = map[string]*template.Template{}
		}
		p.pages[name] = t
		return t, nil
	}
	return nil, fmt.Errorf("there is no page %s", name)
}

// frame is the frame of the pages in a directory, with the parts.
func (p *pageSet) frame(dir string) (*template.Template, error) {
	if t, ok := p.frames[dir]; ok {
		return t, nil
	}
	t, err := template.New("").Funcs(funcs(p.of)).ParseFS(pages, "parts/*.html", dir+"/frame.html")
	if err != nil {
		return nil, err
	}
	if p.frames == nil {
		p.frames = map[string]*template.Template{}
	}
	p.frames[dir] = t
	return t, nil
}

var assetVersion = map[string]string{}

func init() {
	must(fs.WalkDir(assets, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := assets.ReadFile(name)
		assetVersion[strings.TrimPrefix(name, "assets/")] = version(b)
		return err
	}))
	assetVersion[styleName] = version(style)
}

// must stops a program whose embedded files are broken.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func version(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// faultyField is the name of the field that an error is about, if it is about one.
func faultyField(err error) string {
	if e, ok := errors.AsType[*ocm.Error](err); ok && len(e.Fields) == 1 {
		return e.Fields[0].Name
	}
	return ""
}

func funcs(l *Locale) template.FuncMap {
	return template.FuncMap{
		"t":       l.T,
		"th":      l.HTML,
		"locale":  func() *Locale { return l },
		"error":   l.Error,
		"field":   faultyField,
		"said":    l.Said,
		"foreign": l.Foreign,
		"step":    l.Step,
		"help":    l.Help,
		"act":     l.word(actPrefix),
		"kind":    l.word(kindPrefix),
		"check":   l.word(stepPrefix),
		"acts":    l.Acts,
		"text":    l.SaidText,
		"bytes":   l.Bytes,
		"num":     l.num,
		"when":    func(at any) template.HTML { return timeElement(at, l.When) },
		"exact":   func(at any) template.HTML { return timeElement(at, l.Exact) },
		"day":     func(at any) template.HTML { return timeElement(at, l.Day) },
		"icon":    icon,
		"asset":   Asset,
		"at":      func(dir, name string) string { return dir + (&url.URL{Path: name}).EscapedPath() },
		"dict":    dict,
		"list":    func(items ...any) []any { return items },
		"join":    strings.Join,
	}
}

// SaidText is the sentence of a message.
func (l *Locale) SaidText(s *Said) string {
	if s.Text != "" {
		return s.Text
	}
	args := make([]any, len(s.Args))
	for i, a := range s.Args {
		args[i] = a
	}
	return l.T(s.Key, args...)
}

// timeElement is a <time>; at is a time.Time, Unix milliseconds, or RFC 3339.
func timeElement(at any, write func(time.Time) string) template.HTML {
	t, ok := at.(time.Time)
	switch v := at.(type) {
	case int64:
		t, ok = store.Time(v), v != 0
	case string: // as in the API
		parsed, err := time.Parse(time.RFC3339, v)
		t, ok = parsed, err == nil
	}
	if !ok || t.IsZero() {
		return ""
	}
	t = t.Local()
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.Format(time.RFC3339), template.HTMLEscapeString(write(t)))) //nolint:gosec // escaped
}

// icon is a picture of assets/icons.svg that goes with a text.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="icon" aria-hidden="true" focusable="false"><use href="` + template.HTMLEscapeString(Asset("icons.svg")+"#"+name) + `"></use></svg>`) //nolint:gosec // escaped
}

// dict makes the data of a part from pairs.
func dict(pairs ...any) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		out[key] = pairs[i+1]
	}
	return out, nil
}

// compressFrom is the size from which a page is worth compressing, in bytes.
const compressFrom = 2 << 10

// Render writes a page.
func Render(w http.ResponseWriter, r *http.Request, status int, name string, view View, policy Policy) {
	view.Locale = cmp.Or(view.Locale, Locales[0])
	var body bytes.Buffer
	page, err := view.Locale.pages.page(name)
	if err == nil {
		err = page.ExecuteTemplate(&body, "frame", view)
	}
	if err != nil {
		// The observer of requests logs what cannot be shown.
		panic(fmt.Errorf("the page %s: %w", name, err))
	}
	forms := "'self'"
	if policy.Leaving {
		forms += " https: http:"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; media-src 'self'; "+
		"frame-src 'self'; form-action "+forms+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	// Nothing for other sites. Our own gets it: with no-referrer a form says "Origin:
	// null", which the guard refuses where a browser sends no Sec-Fetch-Site.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store") // the page is one person's, and its address may hold an invite
	h.Set("Content-Language", view.Locale.Tag)
	h.Add("Vary", "Accept-Encoding, Accept-Language, Cookie")
	if body.Len() < compressFrom || policy.Secret || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.WriteHeader(status)
		w.Write(body.Bytes())
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z := gzip.NewWriter(w)
	z.Write(body.Bytes())
	z.Close()
}

// styleName is the one style sheet, made of assets/css in the order of names.
const styleName = "weft.css"

var style = func() []byte {
	names, err := fs.Glob(assets, "assets/css/*.css")
	must(err)
	slices.Sort(names)
	var out []byte
	for _, name := range names {
		b, err := assets.ReadFile(name)
		must(err)
		out = append(out, b...)
	}
	return out
}()

// Asset is the URL of a file below assets, which changes with what it holds.
func Asset(name string) string {
	return "/assets/" + name + "?v=" + assetVersion[name]
}

// asset finds what is served by a name; the parts of the style sheet are not.
func asset(name string) ([]byte, bool) {
	if name == styleName {
		return style, true
	}
	if _, ok := assetVersion[name]; !ok || strings.HasPrefix(name, "css/") {
		return nil, false
	}
	b, err := assets.ReadFile("assets/" + name)
	return b, err == nil
}

// packed are the assets that are worth it, compressed.
var packed = sync.OnceValue(func() map[string][]byte {
	out := map[string][]byte{}
	for name := range assetVersion {
		if body, ok := asset(name); ok && len(body) >= compressFrom && path.Ext(name) != ".png" {
			var z bytes.Buffer
			w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
			must(err)
			w.Write(body)
			w.Close()
			out[name] = z.Bytes()
		}
	}
	return out
})

// Assets serves the style sheet, pictures and scripts below /assets/.
func Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/assets/")
		body, ok := asset(name)
		if !ok {
			http.NotFound(w, r)
			return
		}
		tag := assetVersion[name]
		h := w.Header()
		h.Set("Content-Type", mediaTypes[path.Ext(name)])
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("ETag", `"`+tag+`"`)
		h.Set("Vary", "Accept-Encoding")
		h.Set("Cache-Control", "public, max-age=300")
		if r.URL.Query().Get("v") == tag {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		if z, ok := packed()[name]; ok && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			h.Set("ETag", `"`+tag+`-gz"`)
			body = z
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}

var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
}
