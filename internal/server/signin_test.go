package server_test

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/weftest"
)

// TestPasswordsCostWhatTheyShould starts a server as the command line does: nothing
// in the configuration lowers what hashing a password costs.
func TestPasswordsCostWhatTheyShould(t *testing.T) {
	t.Parallel()
	conf := config.Default()
	conf.URL, conf.Data = "https://here.example", t.TempDir()
	if err := errors.Join(conf.Check(), conf.Prepare()); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(t.Context(), conf, server.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u, err := s.Accounts.Add(t.Context(), account.NewUser{Name: "alice", Password: "a long password"})
	if err != nil || !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%q, %v", u.PasswordHash, err)
	}
}

// A server that is stopped while it starts stops like any other, and gives its
// address back.
func TestAServerIsStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	for range 5 {
		site.Stop()
		site.Restart()
	}
}

func TestAStopWaitsNotForConnectionsThatNothingCameOver(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	c, err := net.Dial("tcp", string(site.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := weftest.NewBrowser(t, site.Origin).Get("/healthz"); p.Status != 200 { // it is accepted after the other
		t.Fatal(p.Status)
	}
	begun := time.Now()
	if site.Stop(); time.Since(begun) > 4*time.Second {
		t.Errorf("it took %s", time.Since(begun))
	}
}

func TestSigningInWithABrowser(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice := site.Person("alice")

	b := weftest.NewBrowser(t, site.Origin)
	if p := b.Get("/login?next=/nowhere"); p.Status != 200 || !strings.Contains(p.Body, `value="/nowhere"`) {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	wrong := b.Post("/login", "user", "alice", "password", "wrong <b>password", "next", "/nowhere")
	if wrong.Status != 401 || !strings.Contains(wrong.Body, `role="alert"`) || !strings.Contains(wrong.Body, `value="alice"`) || strings.Contains(wrong.Body, "<b>password") {
		t.Fatalf("%d %s", wrong.Status, wrong.Body)
	}
	if p := b.Post("/login", "user", "alice", "password", "a long password", "next", "/nowhere"); p.Path != "/nowhere" || p.Status != 404 {
		t.Fatalf("led to %s: %d", p.Path, p.Status)
	}
	if p := b.Get("/api/v1/me"); p.Status != 200 || !strings.Contains(p.Body, alice.Address) {
		t.Errorf("the API by the session: %d %s", p.Status, p.Body)
	}
	if p := b.Get("/dav/files/alice/"); p.Status != 401 {
		t.Errorf("WebDAV does not take the session of a browser: %d", p.Status)
	}
	if p := b.Post("/logout"); p.Path != "/login" || !strings.Contains(p.Text(), "You are signed out.") {
		t.Errorf("led to %s: %s", p.Path, p.Text())
	}
	if p := b.Get("/login"); strings.Contains(p.Text(), "You are signed out.") {
		t.Error("the message is shown twice")
	}
	if p := b.Get("/api/v1/me"); p.Status != 401 {
		t.Errorf("after signing out: %d", p.Status)
	}
}

func TestSigningInLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice := site.Person("alice")
	for _, next := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, "javascript:alert(1)", "/login", "", "evil", "/a\r\nX: y", "/\t/evil.example"} {
		b := weftest.NewBrowser(t, site.Origin)
		b.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		p := b.Post("/login", "user", alice.Name, "password", "a long password", "next", next)
		if p.Status != 303 || p.Header.Get("Location") != "/" {
			t.Errorf("%q leads to %q: %d", next, p.Header.Get("Location"), p.Status)
		}
	}
}

func TestOtherSitesSignNobodyInOrOut(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice := site.Person("alice")
	b := alice.Browser()
	if p := b.PostFrom("https://evil.example", "/logout"); p.Status != 403 {
		t.Errorf("sign out from elsewhere: %d", p.Status)
	}
	if p := b.Get("/api/v1/me"); p.Status != 200 {
		t.Errorf("still signed in: %d", p.Status)
	}
	stranger := weftest.NewBrowser(t, site.Origin)
	if p := stranger.PostFrom("https://evil.example", "/login", "user", "alice", "password", "a long password"); p.Status != 403 {
		t.Errorf("sign in from elsewhere: %d", p.Status)
	}
}

func TestCookiesAreTheOriginsAlone(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t, func(c *config.Config) { c.URL = strings.Replace(c.URL, "http://", "https://", 1) })
	site.Person("alice")
	b := weftest.NewBrowser(t, strings.Replace(site.Origin, "https://", "http://", 1))
	b.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := b.Post("/login", "user", "alice", "password", "a long password")
	cookie := p.Header.Get("Set-Cookie")
	for _, part := range []string{"__Host-weft-session=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("%q lacks %q", cookie, part)
		}
	}
	if strings.Contains(cookie, "Domain") {
		t.Error(cookie)
	}
}

func TestPagesSpeakTheBrowsersLanguage(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	req, _ := http.NewRequest("GET", site.Origin+"/login", nil)
	a := weftest.Send(t, req, "Accept-Language", "de-AT, en;q=0.5")
	if !strings.Contains(a.Body, `<html lang="de">`) || !strings.Contains(a.Body, "Anmelden") || a.Header.Get("Content-Language") != "de" {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"} {
		if a.Header.Get(h) == "" {
			t.Errorf("no %s", h)
		}
	}
	if csp := a.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
		t.Error(csp)
	}
}
