package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/weftest"
)

func TestEveryAnswerTellsBrowsersToRunNothing(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	alice.Put("a.txt", "a")
	for who, b := range map[string]*weftest.Browser{"a visitor": weftest.NewBrowser(t, alice.Origin), "alice": alice.Browser(), "olga": olga.Browser()} {
		b.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		paths := append(server.Paths("GET", false), "/nowhere", "/api/v1/nowhere", "/api/v1/me", "/assets/nowhere.js", "/dav/files/alice/a.txt", "/dav/ocm/x", "/%2e%2e/x", "/api/v1/content/a.txt")
		for _, path := range paths {
			p := b.Get(path)
			csp := p.Header.Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'none'") || p.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s for %s: %d, policy %q, %q", path, who, p.Status, csp, p.Header.Get("X-Content-Type-Options"))
			}
			if strings.Contains(csp, "unsafe") && !strings.HasPrefix(csp, "sandbox;") {
				t.Errorf("%s for %s: %q", path, who, csp)
			}
			if strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") && p.Status != http.StatusSeeOther && !strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s for %s may be framed: %q", path, who, csp)
			}
		}
	}
}

func TestPagesOfOtherSitesDoNothing(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	b := olga.Browser()
	before := len(records(t, alice.Site, audit.Filter{Outcome: audit.Done}))
	paths := append(server.Paths("POST", true), "/api/v1/users", "/api/v1/groups", "/api/v1/sessions/end-others")
	if len(paths) < 60 {
		t.Fatalf("only %d forms", len(paths))
	}
	for _, path := range paths {
		for name, header := range map[string][2]string{"a browser of today": {"Sec-Fetch-Site", "cross-site"}, "a site beside": {"Sec-Fetch-Site", "same-site"}, "an old browser": {"Origin", "https://evil.example"}, "an endless origin": {"Origin", "https://" + strings.Repeat("a", 8000)}} {
			r, err := http.NewRequest("POST", alice.Origin+path, strings.NewReader(url.Values{"name": {"mallory"}, "password": {"a long password"}}.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header[0], header[1])
			a, err := b.HTTP.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			a.Body.Close()
			if a.StatusCode != http.StatusForbidden {
				t.Errorf("%s by %s: %d", path, name, a.StatusCode)
			}
		}
	}
	if rows := records(t, alice.Site, audit.Filter{Outcome: audit.Done}); len(rows) != before {
		t.Errorf("something was done: %+v", rows[:len(rows)-before])
	}
	if p := b.Get("/admin"); p.Status != 200 {
		t.Errorf("the session has ended: %d", p.Status)
	}
	// Who is tricked into an act of administration finds it in the records.
	weftest.Until(t, "it is recorded", func() bool {
		rows := records(t, alice.Site, audit.Filter{Action: "admin.refused"})
		for _, r := range rows {
			if len(r.Details) > 1000 {
				t.Errorf("%d bytes of details", len(r.Details))
			}
		}
		return len(rows) > 0 && rows[0].Code == "CROSS_ORIGIN" && strings.HasPrefix(rows[0].Object, "POST /admin/") && rows[0].Origin == "127.0.0.1"
	})
}

var quoted = regexp.MustCompile(`(?s)<blockquote.*?</blockquote>`)

// hostile are texts that others may choose.
var hostile = []string{
	`<script>alert(1)</script>"'><img src=x onerror=alert(2)>`,
	"bank\u202emoc.live\u2066\u200b",
	strings.Repeat("Long ", 2000),
	"{{.}}%s&lt;b&gt;\x00\n\rX: y",
}

func TestWhatOthersSayIsShownAsText(t *testing.T) {
	alice, bob := two(t)
	olga := operator(t, alice.Site)
	b := olga.Browser()
	peerOf := weftest.NewPeer(t)
	for i, text := range hostile {
		host := string(rune('a'+i)) + ".hostile.example"
		doc, err := json.Marshal(map[string]any{
			"enabled": true, "apiVersion": text, "endPoint": "https://" + host + "/ocm", "provider": text, "resourceTypes": []any{}, "capabilities": []string{text}, "criteria": []string{text},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{
			"INSERT INTO peers (host, discovery, discovered_at, jwks, jwks_at, first_seen, failing_since, failure, last_success, last_failure, failures) VALUES (?0, ?1, 1, '', 1, 1, 1, ?2, 1, 1, 1)",
			"INSERT INTO peer_keys (host, kid, thumbprint, first_seen, last_seen, state) VALUES (?0, ?2, ?2, 1, 1, 'waiting')",
			"INSERT INTO outbox (id, peer_host, order_key, kind, payload, state, attempts, next_at, last_error, created_at, updated_at) VALUES (?0, ?0, ?2, 'share', '', 'dead', 1, 1, ?2, 1, 1)",
			"INSERT INTO wire (id, at, direction, peer, operation, method, url, header, body, signature_base, status, answer_header, answer, micros, fault) VALUES (?0, 1, 'in', ?0, 'share', 'POST', ?2, ?2, ?2, ?2, 400, ?2, ?2, 1, ?2)",
			"INSERT INTO reports (id, user_id, share_id, peer_host, sender, share_name, message, created_at) VALUES (?0, ?0, ?0, ?0, ?2, ?2, ?2, 1)",
		} {
			if _, err := alice.Server.DB.Write.NewRaw(q, host, string(doc), text).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		share := peerOf.ShareFor(alice, map[string]any{
			"name": text, "description": text, "ownerDisplayName": text, "senderDisplayName": text, "providerId": "p" + string(rune('0'+i)),
		})
		peerOf.Post(alice.Site, "/ocm/shares", jsonType, share) // some are refused
	}
	olga.API("PUT", "/policy/rules", map[string]any{"host": "x.example", "action": "deny", "note": hostile[0]}, nil)
	alice.API("PATCH", "/me", map[string]any{"displayName": hostile[0]}, nil)
	alice.Put(`<script>alert(1)</script>.txt`, "a")
	alice.Share(`<script>alert(1)</script>.txt`, bob.Address)
	paths := []string{
		"/admin", "/admin/users", "/admin/users/alice", "/admin/peers", "/admin/peers?only=trouble", "/admin/policy", "/admin/shares", "/admin/shares?direction=received",
		"/admin/deliveries", "/admin/wire", "/admin/audit", "/admin/audit?q=" + url.QueryEscape(hostile[0]), "/admin/shares?peer=" + url.QueryEscape(hostile[0]), "/admin/config",
	}
	for i := range hostile {
		host := string(rune('a'+i)) + ".hostile.example"
		paths = append(paths, "/admin/peers/"+host, "/admin/wire/"+host)
	}
	for _, path := range paths {
		p := b.Get(path)
		if p.Status != http.StatusOK {
			t.Errorf("%s: %d %s", path, p.Status, p.Text())
		}
		// What is bounded is bounded before it is kept; here it is in the tables as it is.
		if len(p.Body) > 400_000 {
			t.Errorf("%s has %d bytes", path, len(p.Body))
		}
		for _, bad := range []string{"<script>alert", "<img src=x", "ZgotmplZ"} {
			if strings.Contains(p.Body, bad) {
				t.Errorf("%s holds %q", path, bad)
			}
		}
	}
	for _, path := range []string{"/inbox", "/notices", "/shares", "/people"} {
		p := alice.Browser().Get(path)
		// What someone wrote stands in a block of its own, which its direction does not leave.
		if body := quoted.ReplaceAllString(p.Body, ""); strings.Contains(p.Body, "<script>alert") || strings.Contains(p.Body, "<img src=x") || strings.Contains(body, "\u202e") {
			t.Errorf("%s: %s", path, p.Text())
		}
	}
}

func TestErrorsTellNothingOfTheInside(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	b := operator(t, alice.Site).Browser()
	inside := []string{"goroutine", ".go:", "SQL", "no such table", "outbox", "panic", alice.Config.Data}
	check := func(path string, p weftest.Page, status int) {
		t.Helper()
		if p.Status != status {
			t.Errorf("%s: %d %s", path, p.Status, p.Text())
		}
		for _, word := range inside {
			if strings.Contains(strings.ReplaceAll(p.Body, "weft outbox list", ""), word) {
				t.Errorf("%s tells %q: %s", path, word, p.Text())
			}
		}
	}
	for path, status := range map[string]int{
		"/admin/users/" + strings.Repeat("x", 3000): 404, "/admin/users/%00": 404, "/admin/groups/..%2f..%2fetc": 404, "/admin/peers/%3Cscript%3E": 400, "/admin/wire/'": 404,
		"/admin/audit?before=x": 400, "/admin/wire?before=x": 404, "/admin/nowhere": 404, "/files/nowhere": 404, "/%00": 404,
	} {
		check(path, b.Get(path), status)
	}
	if _, err := alice.Server.DB.Write.NewRaw("ALTER TABLE outbox RENAME TO gone").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/admin", "/admin/deliveries", "/admin/peers"} {
		p := b.Get(path)
		check(path, p, http.StatusInternalServerError)
		if !strings.Contains(p.Body, p.Header.Get("X-Request-Id")) {
			t.Errorf("%s does not tell its request: %s", path, p.Text())
		}
	}
	if a := alice.TryAPI("GET", "/nowhere", nil); strings.Contains(a.Body, "goroutine") {
		t.Errorf("%s", a.Body)
	}
}
