package weftest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Browser is a person's browser without script: it keeps cookies and follows
// redirects.
type Browser struct {
	T      testing.TB
	Origin string
	HTTP   *http.Client
}

// Page is what a browser shows.
type Page struct {
	Status int
	Path   string // where the redirects led
	Header http.Header
	Body   string
}

// Text is the page without its markup.
func (p Page) Text() string {
	return strings.Join(strings.Fields(markup.ReplaceAllString(p.Body, " ")), " ")
}

var markup = regexp.MustCompile(`(?s)<[^>]*>`)

// NewBrowser opens a browser on a site.
func NewBrowser(t testing.TB, origin string) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Browser{t, origin, &http.Client{Jar: jar, Transport: http.DefaultTransport}}
}

// Browser signs the person in.
func (p *Person) Browser() *Browser {
	p.T.Helper()
	b := NewBrowser(p.T, p.Origin)
	if page := b.Post("/login", "user", p.Name, "password", "a long password"); strings.HasPrefix(page.Path, "/login") {
		p.T.Fatalf("%s cannot sign in: %d %s", p.Name, page.Status, page.Text())
	}
	return b
}

// Get opens a page.
func (b *Browser) Get(path string) Page {
	b.T.Helper()
	req, err := http.NewRequest(http.MethodGet, b.Origin+path, nil)
	if err != nil {
		b.T.Fatal(err)
	}
	return b.send(req)
}

// Post sends a form of the site's own page; fields holds pairs.
func (b *Browser) Post(path string, fields ...string) Page {
	b.T.Helper()
	return b.post(path, b.Origin, "same-origin", fields)
}

// PostFrom sends a form as a page of another site would.
func (b *Browser) PostFrom(origin, path string, fields ...string) Page {
	b.T.Helper()
	return b.post(path, origin, "cross-site", fields)
}

func (b *Browser) post(path, origin, site string, fields []string) Page {
	b.T.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, b.Origin+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", origin)
	req.Header.Set("Sec-Fetch-Site", site)
	return b.send(req)
}

func (b *Browser) send(req *http.Request) Page {
	b.T.Helper()
	req.Header.Set("Accept", "text/html")
	resp, err := b.HTTP.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	return Page{resp.StatusCode, resp.Request.URL.RequestURI(), resp.Header, string(body)}
}
