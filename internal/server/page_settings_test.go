package server_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

func TestThePageOfNotices(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	b := alice.Browser()
	if p := b.Get("/notices"); p.Status != 200 || !strings.Contains(p.Text(), "Nothing has happened yet.") {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	alice.Put("Übung & <b>x", "x")
	sent := alice.Share("Übung & <b>x", "nobody@"+string(bob.Host))
	n := alice.Told("delivery-failed")
	page := b.Get("/notices")
	text := html.UnescapeString(page.Text())
	for _, part := range []string{"“Übung & <b>x” could not be delivered to nobody@" + string(bob.Host), "knows nobody of that name", "RECIPIENT_NOT_FOUND", "Share " + sent.ID, "Try again", "Mark as read"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %s", part, text)
		}
	}
	if strings.Contains(page.Body, "<b>x") {
		t.Error("a name is not escaped")
	}
	if !strings.Contains(page.Body, `title="1 unread notice"`) || !strings.Contains(html.UnescapeString(page.Body), "/share?path=%C3%9Cbung+%26+%3Cb%3Ex") {
		t.Error(page.Body)
	}
	bob.Person("nobody")
	if p := b.Post("/notices/"+n.ID+"/resend", "here", "/notices?show=unread"); p.Path != "/notices?show=unread" || !strings.Contains(p.Text(), "It is being delivered again.") || !strings.Contains(p.Text(), "You have read everything.") {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	weftest.Until(t, "it is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
	if p := b.Get("/notices"); strings.Contains(p.Text(), "Mark as read") || strings.Contains(p.Body, `title="1 unread notice"`) {
		t.Error("what was dealt with is still unread")
	}

	for _, name := range []string{"a", "b"} {
		alice.Put(name, "x")
		alice.Share(name, bob.Address)
		bob.Accept(name)
	}
	weftest.Until(t, "both acceptances", func() bool { return strings.Count(kinds(alice), "accepted") == 2 })
	first := alice.Notices()[0]
	if p := b.Post("/notices/"+first.ID+"/read", "here", "//evil.example/notices"); p.Path != "/notices" || strings.Count(p.Text(), "Mark as read") != 1 {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	if p := b.PostFrom("https://evil.example", "/notices/read"); p.Status != 403 {
		t.Errorf("another site's page marks notices: %d", p.Status)
	}
	if p := b.Post("/notices/read"); strings.Contains(p.Text(), "Mark as read") || !strings.Contains(p.Text(), "All notices are marked as read.") {
		t.Error(p.Text())
	}
	// Nothing of others.
	other := bob.Browser()
	if p := other.Post("/notices/" + n.ID + "/resend"); !strings.Contains(p.Text(), "There is no such notice") {
		t.Error(p.Text())
	}
	if p := weftest.NewBrowser(t, alice.Origin).Get("/notices"); !strings.HasPrefix(p.Path, "/login") {
		t.Errorf("a stranger is led to %s", p.Path)
	}
}

func TestNoticesArePagedInTheBrowser(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	for i := range 35 {
		name := "f" + string(rune('A'+i%26)) + string(rune('a'+i/26)) + ".txt"
		bob.Put(name, "x")
		bob.Share(name, "alice")
	}
	b := alice.Browser()
	p := b.Get("/notices?show=unread")
	if n := strings.Count(p.Body, "<blockquote>") + strings.Count(p.Body, `class="what"`); n != 30 {
		t.Errorf("%d notices on the first page", n)
	}
	m := regexp.MustCompile(`rel="next" href="([^"]*)"`).FindStringSubmatch(p.Body)
	if m == nil {
		t.Fatal("no way on")
	}
	p = b.Get(html.UnescapeString(m[1]))
	if n := strings.Count(p.Body, `class="what"`); n != 5 || !strings.Contains(p.Text(), "To the newest") || strings.Contains(p.Body, `rel="next"`) {
		t.Errorf("%d notices on the second page", n)
	}
}

func TestThePageOfSettings(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice := site.Person("alice")
	b := alice.Browser()
	page := b.Get("/settings")
	if page.Status != 200 || !strings.Contains(page.Text(), alice.Address) || strings.Contains(page.Text(), "E-mails") {
		t.Fatalf("%d %s", page.Status, page.Text())
	}
	// The name and the language.
	page = b.Post("/settings/profile", "name", " Alice <Andersen> ", "language", "de")
	if page.Path != "/settings" || !strings.Contains(page.Body, `<html lang="de">`) || !strings.Contains(page.Body, `value="Alice &lt;Andersen&gt;"`) || !strings.Contains(page.Text(), "Gespeichert.") {
		t.Errorf("%s %s", page.Path, page.Text())
	}
	for _, bad := range [][2]string{{strings.Repeat("x", 256), ""}, {"a\u202eb", ""}, {"a", "tlh"}} {
		if p := b.Post("/settings/profile", "name", bad[0], "language", bad[1]); p.Status != 400 || !strings.Contains(p.Body, `role="alert"`) {
			t.Errorf("%.20q, %q: %d", bad[0], bad[1], p.Status)
		}
	}
	b.Post("/settings/profile", "name", "Alice", "language", "en")

	// The password.
	elsewhere := alice.Browser()
	for _, c := range []struct{ present, next, again, want string }{
		{"a long password", "another password", "another", "typed the same twice"},
		{"wrong", "another password", "another password", "The present password is not right."},
		{"a long password", "short", "short", "at least 10 characters"},
	} {
		if p := b.Post("/settings/password", "present", c.present, "password", c.next, "again", c.again); p.Status < 400 || !strings.Contains(p.Text(), c.want) {
			t.Errorf("%+v: %d %s", c, p.Status, p.Text())
		}
	}
	if p := b.Post("/settings/password", "present", "a long password", "password", "another password", "again", "another password"); p.Status != 200 || !strings.Contains(p.Text(), "The password is changed") {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	if p := elsewhere.Get("/settings"); !strings.HasPrefix(p.Path, "/login") {
		t.Error("a new password leaves another session")
	}
	if p := elsewhere.Post("/login", "user", "alice", "password", "another password"); strings.HasPrefix(p.Path, "/login") {
		t.Error("the new password does not open")
	}

	// Sessions.
	third := weftest.NewBrowser(t, site.Origin)
	third.Post("/login", "user", "alice", "password", "another password")
	page = b.Get("/settings")
	ends := regexp.MustCompile(`action="(/settings/sessions/[^"/]+/end)"`).FindAllStringSubmatch(page.Body, -1)
	if len(ends) != 2 || !strings.Contains(page.Text(), "this one") || !strings.Contains(page.Text(), "from 127.0.0.1") {
		t.Fatalf("%d sessions to end: %s", len(ends), page.Text())
	}
	if p := b.Post(ends[0][1]); !strings.Contains(p.Text(), "Signed out there.") {
		t.Error(p.Text())
	}
	if p := b.Post(ends[0][1]); !strings.Contains(p.Text(), "There is no such session") {
		t.Error(p.Text())
	}
	if p := b.Post("/settings/sessions/end"); !strings.Contains(p.Text(), "Signed out in other places: 1.") || strings.Contains(p.Body, "/settings/sessions/end") {
		t.Error(p.Text())
	}
	if p := third.Get("/settings"); !strings.HasPrefix(p.Path, "/login") {
		t.Error("the third browser is still signed in")
	}

	// App passwords.
	if p := b.Post("/settings/apps", "label", " "); p.Status != 400 || !strings.Contains(p.Body, `role="alert"`) {
		t.Errorf("no label: %d", p.Status)
	}
	page = b.Post("/settings/apps", "label", "Laptop <x>")
	m := regexp.MustCompile(`id="secret">([a-z2-7-]+)<`).FindStringSubmatch(page.Body)
	if m == nil || !strings.Contains(page.Text(), site.Origin+"/dav/files/alice/") || page.Header.Get("Content-Encoding") != "" || page.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", page.Status, page.Text())
	}
	phone := &weftest.Person{Site: site, Name: "alice", Secret: ocm.Secret(m[1])}
	want(t, "WebDAV with it", phone.DAV("PROPFIND", "", "", "Depth", "0"), 207)
	page = b.Get("/settings")
	if strings.Contains(page.Body, m[1]) || !strings.Contains(page.Text(), "Laptop &lt;x&gt;") {
		t.Error("the app password is shown again, or its name is not")
	}
	for _, end := range regexp.MustCompile(`action="(/settings/apps/[^"/]+/end)"`).FindAllStringSubmatch(page.Body, -1) {
		b.Post(end[1])
	}
	want(t, "WebDAV after its end", phone.DAV("PROPFIND", "", "", "Depth", "0"), 401)
	if p := b.PostFrom("https://evil.example", "/settings/apps", "label", "x"); p.Status != 403 {
		t.Errorf("another site's page makes app passwords: %d", p.Status)
	}
}

func TestSessionsByTheAPI(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	login := func(agent string) *weftest.Person {
		t.Helper()
		var out struct{ Token ocm.Secret }
		p := &weftest.Person{Site: site, Name: "alice"}
		a := p.Do("POST", "/api/v1/login", `{"user":"alice","password":"a long password"}`, "Content-Type", "application/json", "User-Agent", agent)
		_, rest, _ := strings.Cut(a.Body, `"token":"`)
		token, _, _ := strings.Cut(rest, `"`)
		out.Token = ocm.Secret(token)
		p.Secret = out.Token
		return p
	}
	type session struct {
		ID, Label, From, LastUsedAt string
		Current                     bool
	}
	laptop := login("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0")
	site.Advance(time.Hour)
	phone := login("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1")
	script := login("curl/8.5.0")
	var list []session
	phone.API("GET", "/sessions", nil, &list)
	labels := map[string]session{}
	for _, s := range list {
		labels[s.Label] = s
	}
	if len(list) != 3 || labels["Firefox, Linux"].Current || !labels["Safari, iPhone"].Current || labels["curl"].From != "127.0.0.1" {
		t.Fatalf("%+v", list)
	}
	id := labels["Firefox, Linux"].ID
	if a := bob.TryAPI("DELETE", "/sessions/"+id, nil); a.Status != 404 {
		t.Errorf("ended by another: %d", a.Status)
	}
	phone.API("DELETE", "/sessions/"+id, nil, nil)
	if a := laptop.TryAPI("GET", "/me", nil); a.Status != 401 {
		t.Errorf("the laptop after its end: %d", a.Status)
	}
	var ended struct{ Ended int }
	phone.API("POST", "/sessions/end-others", nil, &ended)
	if a := script.TryAPI("GET", "/me", nil); a.Status != 401 || ended.Ended != 1 {
		t.Errorf("the script after the end of others: %d, %+v", a.Status, ended)
	}
	phone.API("GET", "/me", nil, nil)
	if a := phone.TryAPI("POST", "/password", map[string]any{"present": "wrong", "password": "another password"}); a.Status != 403 || a.Code() != "PASSWORD_WRONG" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	phone.API("POST", "/password", map[string]any{"present": "a long password", "password": "another password"}, nil)
	phone.API("GET", "/me", nil, nil)
	alice.API("GET", "/me", nil, nil) // an app password stays
	// Guessing is slowed down here too.
	var last weftest.Answer
	for range 12 {
		last = phone.TryAPI("POST", "/password", map[string]any{"present": "wrong", "password": "a third password"})
	}
	if last.Status != 429 {
		t.Errorf("%d %s", last.Status, last.Body)
	}
}
