// Package web renders the pages. They work without script; every text of people
// and peers is escaped, and nothing is loaded from elsewhere.
package web

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
)

//go:embed pages/*.html
var pages embed.FS

//go:embed assets
var assets embed.FS

// The pages by name; each is the frame with its own main part.
var templates = map[string]*template.Template{}

func init() {
	frame := template.Must(template.ParseFS(pages, "pages/frame.html"))
	names, err := fs.Glob(pages, "pages/*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, file := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "pages/"), ".html")
		if name != "frame" {
			templates[name] = template.Must(template.Must(frame.Clone()).ParseFS(pages, file))
		}
	}
}

// Page is what a template is given.
type Page struct {
	Site string // the name of this server
	Data any
}

// Render writes a page. leaving says that its form may lead to other sites: the
// browser holds redirects against the policy of the page they began on.
func Render(w http.ResponseWriter, status int, name string, page Page, leaving bool) {
	var body bytes.Buffer
	if err := templates[name].ExecuteTemplate(&body, "frame", page); err != nil {
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	forms := "'self'"
	if leaving {
		forms += " https: http:"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "+
		"form-action "+forms+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store") // the address may hold an invite
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

// Assets serves the style sheet and the scripts below /assets/.
func Assets() http.Handler {
	files := http.FileServerFS(assets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") { // no lists of files
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "public, max-age=3600")
		files.ServeHTTP(w, r)
	})
}
