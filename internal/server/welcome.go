package server

import (
	"html/template"
	"net/http"
)

// page greets who opens the server in a browser: what it is, and the ways in.
var page = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Provider}}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}
code{font-size:.95em}</style>
<h1>{{.Provider}}</h1>
<p>This is a Weft server. It shares files with people on other servers over Open Cloud Mesh.</p>
<ul>
<li>Your address here is <code>name@{{.Host}}</code>.</li>
<li>Your files are at <code>{{.Origin}}/dav/files/name/</code> for any WebDAV program, with an app password.</li>
<li>On the command line: <code>weft login {{.Origin}} --user name</code></li>
<li>Programs find the API described in <a href="/api/v1/openapi.json">openapi.json</a>, and other servers find us by <a href="/.well-known/ocm">.well-known/ocm</a>.</li>
</ul>
</html>
`))

func (s *Server) welcome(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	page.Execute(w, map[string]string{"Provider": s.conf.Provider, "Host": string(s.Self), "Origin": s.origin})
}
