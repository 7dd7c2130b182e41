package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/weftest"
)

// console is a site with something on every page of the console, and its
// administrator's browser.
func console(t *testing.T) (alice, bob, olga *weftest.Person, b *weftest.Browser) {
	t.Helper()
	alice, bob = two(t)
	olga = operator(t, alice.Site)
	alice.Put("<b>Reef & co.txt", "a")
	alice.Share("<b>Reef & co.txt", bob.Address)
	bob.Accept("<b>Reef & co.txt")
	ln := weftest.Listen(t)
	nowhere := strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1)
	ln.Close()
	alice.Share("<b>Reef & co.txt", "x@"+nowhere)
	return alice, bob, olga, olga.Browser()
}

func TestEveryPageOfTheConsoleIsShownInEveryLanguage(t *testing.T) {
	t.Parallel()
	alice, bob, olga, b := console(t)
	olga.API("POST", "/groups", map[string]any{"name": "staff"}, nil)
	olga.API("PUT", "/groups/staff/members/alice", nil, nil)
	olga.API("PUT", "/policy/rules", map[string]any{"host": "*.spam.example", "action": "deny", "mustSign": "yes", "note": `<script>alert("1")</script>`}, nil)
	host := string(bob.Host)
	exchange := onWire(t, alice.Site, func(x server.ExchangeView) bool { return x.Operation == "share" && x.Status == 201 })
	decided := onWire(t, alice.Site, func(x server.ExchangeView) bool { return x.Direction == "in" && x.Operation == "/ocm/notifications" })
	inWords := map[string][]string{ // the audit, the steps of a decision
		"en": {"Share made", "mode open, and no rule names it"}, "de": {"Freigabe erstellt", "erlaubt (Modus open, und keine Regel nennt ihn)"},
		"fr": {"Partage créé", "autorisé (mode open, et aucune règle ne le nomme)"}, "es": {"Recurso compartido creado", "permitido (modo open y ninguna regla lo nombra)"},
	}
	unknown := regexp.MustCompile(`>\s*(?:admin|said|frame|nav|error)\.[a-z.]+\s*<|%!|&lt;no value|ZgotmplZ`)
	for _, lang := range []string{"en", "de", "fr", "es"} {
		if err := alice.Server.Accounts.SetLanguage(t.Context(), olga.User.ID, lang); err != nil {
			t.Fatal(err)
		}
		for path, needs := range map[string][]string{
			"/admin": {host, "share.created"}, "/admin/users": {"alice@", "olga@"}, "/admin/new-user": {`name="password"`}, "/admin/users/alice": {"staff", "alice@", "/signin"},
			"/admin/users/olga": {"disabled>"}, "/admin/groups": {"staff"}, "/admin/groups/staff": {"/admin/users/alice"}, "/admin/peers": {host},
			"/admin/peers/" + url.PathEscape(host): {host, "http-sig", `name="mustSign"`}, "/admin/peers/nowhere.example": {`name="mustSign"`},
			"/admin/policy": {"*.spam.example", "&lt;script&gt;"}, "/admin/policy?host=*.spam.example": {`value="deny" selected`},
			"/admin/shares": {"&lt;b&gt;Reef &amp; co.txt", host, `name="id"`}, "/admin/shares?direction=received": {`name="direction"`},
			"/admin/deliveries": {"localhost:", "/resend"}, "/admin/wire": {"/ocm/notifications"}, "/admin/wire/" + exchange.ID: {"masked, ", "@signature-params"},
			"/admin/audit": {"user.added", "group.joined", inWords[lang][0]}, "/admin/wire/" + decided.ID: {inWords[lang][1]}, "/admin/config": {"federation.mode"}, "/admin/shares?user=nobody": {`role="alert"`},
		} {
			page := b.Get(path)
			if page.Status != http.StatusOK && path != "/admin/shares?user=nobody" {
				t.Fatalf("%s: %d %s", path, page.Status, page.Text())
			}
			for _, need := range needs {
				if !strings.Contains(page.Body, need) {
					t.Errorf("%s in %s does not hold %q", path, lang, need)
				}
			}
			if m := unknown.FindString(page.Body); m != "" {
				t.Errorf("%s in %s holds %q", path, lang, m)
			}
			if path != "/admin" && path != "/admin/wire" && lang != "en" && strings.Contains(page.Body, `lang="en"`) { // why a server does not answer
				t.Errorf("%s in %s holds something in English", path, lang)
			}
			if strings.Contains(page.Body, "<script>alert") || strings.Contains(page.Body, "<b>Reef") || strings.Contains(page.Body, " style=") || strings.Contains(page.Body, " onclick=") {
				t.Errorf("%s in %s holds markup that is not ours", path, lang)
			}
		}
	}
}

// consolePaths are all routes of the console.
var consolePaths = map[string][]string{
	"GET": {
		"/admin", "/admin/users", "/admin/new-user", "/admin/users/alice", "/admin/groups", "/admin/groups/x", "/admin/peers", "/admin/peers/x.example", "/admin/policy",
		"/admin/policy.csv", "/admin/shares", "/admin/deliveries", "/admin/wire", "/admin/wire/x", "/admin/audit", "/admin/audit.jsonl", "/admin/config", "/admin/elsewhere",
	},
	"POST": {
		"/admin/new-user", "/admin/users/alice", "/admin/users/alice/password", "/admin/users/alice/signin", "/admin/users/alice/remove", "/admin/groups", "/admin/groups/x",
		"/admin/groups/x/members", "/admin/groups/x/remove", "/admin/peers", "/admin/peers/x.example/refresh", "/admin/peers/x.example/key", "/admin/policy", "/admin/policy/remove",
		"/admin/policy/import", "/admin/directories", "/admin/directories/act", "/admin/shares/end", "/admin/deliveries/resend", "/admin/config/check",
	},
}

func TestTheConsoleIsForAdministratorsAndItsOwnPagesAlone(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	of := map[string]*weftest.Browser{"visitor": weftest.NewBrowser(t, alice.Origin), "alice": alice.Browser(), "olga": olga.Browser()}
	before := len(records(t, alice.Site, audit.Filter{Outcome: audit.Done}))
	named := map[string]bool{}
	for method, paths := range consolePaths {
		for _, path := range paths {
			named[method+" "+path] = true
			send := func(who string) weftest.Page {
				if method == "GET" {
					return of[who].Get(path)
				}
				return of[who].Post(path, "name", "mallory", "password", "a long password", "host", "x.example", "action", "deny", "id", "x")
			}
			if p := send("visitor"); !strings.HasPrefix(p.Path, "/login") {
				t.Errorf("%s %s by a visitor leads to %s: %d", method, path, p.Path, p.Status)
			}
			if p := send("alice"); p.Status != http.StatusForbidden || !strings.Contains(p.Text(), "Only administrators") {
				t.Errorf("%s %s by someone else: %d %s", method, path, p.Status, p.Text())
			}
			if method == "POST" {
				if p := of["olga"].PostFrom("https://evil.example", path, "name", "mallory", "password", "a long password", "host", "x.example", "action", "deny"); p.Status != http.StatusForbidden {
					t.Errorf("%s from another site: %d %s", path, p.Status, p.Text())
				}
			}
		}
	}
	if rows := records(t, alice.Site, audit.Filter{Outcome: audit.Done}); len(rows) != before {
		t.Errorf("something was done: %+v", rows[:len(rows)-before])
	}
	for _, rt := range server.ConsoleRoutes() {
		method, path, _ := strings.Cut(rt, " ")
		path = strings.NewReplacer("{name}", "alice", "{host}", "x.example", "{id}", "x").Replace(path)
		if !named[method+" "+path] && !named[method+" "+strings.Replace(path, "/groups/alice", "/groups/x", 1)] && method != "" {
			t.Errorf("%s is not tried", rt)
		}
	}
}

func TestTheConsoleManagesUsersAndGroups(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	b := olga.Browser()
	bad := b.Post("/admin/new-user", "name", "dora!", "password", "a long password", "displayName", "Dora <D>")
	if bad.Status != http.StatusBadRequest || !strings.Contains(bad.Body, `role="alert"`) || !strings.Contains(bad.Body, `value="Dora &lt;D&gt;"`) || strings.Contains(bad.Body, "a long password") {
		t.Errorf("%d %s", bad.Status, bad.Body)
	}
	p := b.Post("/admin/new-user", "name", "dora", "password", "a long password", "displayName", "Dora", "quota", "1.5")
	if p.Path != "/admin/users/dora" || !strings.Contains(p.Text(), "dora was added") || !strings.Contains(p.Body, `value="1.5"`) {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	p = b.Post("/admin/users/dora", "displayName", "Dora D", "email", "dora@example.org", "quota", "lots")
	if p.Status != http.StatusBadRequest || !strings.Contains(p.Body, `value="lots"`) {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	p = b.Post("/admin/users/dora", "displayName", "Dora D", "email", "dora@example.org", "quota", "", "admin", "1")
	if !strings.Contains(p.Text(), "Saved.") || !strings.Contains(p.Body, `name="admin" value="1" checked`) {
		t.Errorf("%s", p.Text())
	}
	// Oneself keeps the role, whatever the form says, and cannot go.
	b.Post("/admin/users/olga", "displayName", "Olga")
	for _, path := range []string{"/admin/users/olga/remove", "/admin/users/olga/signin"} {
		if p := b.Post(path, "disabled", "1"); !strings.Contains(p.Text(), "your own access") {
			t.Errorf("%s: %s", path, p.Text())
		}
	}
	p = b.Post("/admin/users/alice/signin", "disabled", "1")
	if !strings.Contains(p.Text(), "alice cannot sign in any more.") || !strings.Contains(p.Body, `action="/admin/users/alice/signin"`) || !strings.Contains(p.Text(), "Undo") {
		t.Errorf("%s", p.Text())
	}
	if a := alice.TryAPI("GET", "/me", nil); a.Code() != "SIGN_IN_DISABLED" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	b.Post("/admin/users/alice/signin") // as Undo sends it
	alice.API("GET", "/me", nil, nil)
	if p := b.Post("/admin/users/alice/password", "password", "short"); !strings.Contains(p.Text(), "at least 10") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/users/alice/password", "password", "quite another one"); !strings.Contains(p.Text(), "is set") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/groups", "name", "staff", "displayName", "The staff"); p.Path != "/admin/groups/staff" {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	if p := b.Post("/admin/groups/staff/members", "user", "nobody"); !strings.Contains(p.Text(), "no user of that name") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/groups/staff/members", "user", "dora"); !strings.Contains(p.Text(), "dora is in the group.") {
		t.Errorf("%s", p.Text())
	}
	b.Post("/admin/groups/staff", "displayName", "Staff")
	if p := b.Post("/admin/groups/staff/members", "user", "dora", "out", "1"); !strings.Contains(p.Text(), "Nobody is in this group") || !strings.Contains(p.Text(), "Undo") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/groups/staff/remove"); p.Path != "/admin/groups" || !strings.Contains(p.Text(), "The group staff was removed.") {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	if p := b.Post("/admin/users/dora/remove"); p.Path != "/admin/users" || !strings.Contains(p.Text(), "dora was removed.") {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	for _, action := range []string{"user.added", "user.changed", "password.changed", "group.added", "group.joined", "group.left", "group.changed", "group.removed", "user.removed"} {
		rows := records(t, alice.Site, audit.Filter{Action: action, Actor: "olga"})
		if len(rows) == 0 || rows[0].Origin != "127.0.0.1" {
			t.Errorf("%s is not recorded", action)
		}
	}
}

func TestTheConsoleDecidesAboutServers(t *testing.T) {
	t.Parallel()
	alice, bob, _, b := console(t)
	host := string(bob.Host)
	at := "/admin/peers/" + url.PathEscape(host)
	if p := b.Post("/admin/peers", "host", "not a host"); p.Status != http.StatusBadRequest || !strings.Contains(p.Body, `value="not a host"`) {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	if p := b.Post("/admin/peers", "host", host); p.Path != at {
		t.Errorf("leads to %s: %s", p.Path, p.Text())
	}
	if p := b.Post(at + "/refresh"); !strings.Contains(p.Text(), "Looked at anew") {
		t.Errorf("%s", p.Text())
	}
	thumbprint := regexp.MustCompile(`name="key" value="([^"]+)"`).FindStringSubmatch(b.Get(at).Body)
	if thumbprint == nil {
		t.Fatal("no key is shown")
	}
	if p := b.Post(at+"/key", "key", thumbprint[1], "state", "rejected"); !strings.Contains(p.Text(), "The key is rejected.") || !strings.Contains(p.Text(), "Undo") {
		t.Errorf("%s", p.Text())
	}
	b.Post(at+"/key", "key", thumbprint[1], "state", "trusted")
	if p := b.Post("/admin/policy", "host", host, "action", "deny", "note", "enough", "back", at); p.Path != at || !strings.Contains(p.Text(), "is in force") || !strings.Contains(p.Text(), "enough") {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	if p := b.Post("/admin/policy", "host", host, "action", "limit", "back", "https://evil.example/"); p.Path != "/admin/policy" || !strings.Contains(p.Body, `name="action" value="deny"`) {
		t.Errorf("%s: the undo does not hold what was: %s", p.Path, p.Body)
	}
	if p := b.Post("/admin/policy", "host", "a b", "action", "deny"); p.Status != http.StatusBadRequest || !strings.Contains(p.Body, `value="a b"`) {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	csv := "host,action\nspam.example,deny\n"
	if p := b.Post("/admin/policy/import", "csv", csv, "replace", "1"); p.Status != 200 || !strings.Contains(p.Text(), "Make 2 changes") {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	if rules, err := alice.Server.Policy.Rules(t.Context()); err != nil || len(rules) != 1 {
		t.Errorf("the preview changed something: %+v %v", rules, err)
	}
	if p := b.Post("/admin/policy/import", "csv", csv, "replace", "1", "apply", "1"); !strings.Contains(p.Text(), "2 changes were made.") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/policy/import", "csv", "nonsense"); p.Status != http.StatusBadRequest || !strings.Contains(p.Body, "nonsense") {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	if p := b.Get("/admin/policy.csv"); !strings.HasPrefix(p.Body, "host,action") || !strings.Contains(p.Body, "spam.example,deny") || !strings.Contains(p.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%v %s", p.Header, p.Body)
	}
	if p := b.Post("/admin/policy/remove", "host", "spam.example"); !strings.Contains(p.Text(), "was removed") {
		t.Errorf("%s", p.Text())
	}
	key := newKey(t)
	publish(t, alice.Site, key, map[string]string{"one.example": "One"})
	address := alice.Origin + "/ocm/directory"
	if p := b.Post("/admin/directories", "url", address, "key", "nonsense"); p.Status < 400 || !strings.Contains(p.Body, `value="`+address+`"`) {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	if p := b.Post("/admin/directories", "url", address, "key", string(publicPEM(t, key))); !strings.Contains(p.Text(), "is read from now on") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/directories/act", "url", address); !strings.Contains(p.Text(), "read anew") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/directories/act", "url", address, "remove", "1"); !strings.Contains(p.Text(), "no longer read") {
		t.Errorf("%s", p.Text())
	}
}

func TestTheConsoleEndsSharesAndSendsAgain(t *testing.T) {
	t.Parallel()
	alice, bob, _, b := console(t)
	if p := b.Post("/admin/shares/end", "back", "/admin/shares?state=live"); p.Path != "/admin/shares?state=live" || !strings.Contains(p.Text(), "Nothing is chosen.") {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
	var fields []string
	for _, m := range regexp.MustCompile(`name="id" value="([^"]+)"`).FindAllStringSubmatch(b.Get("/admin/shares?state=accepted").Body, -1) {
		fields = append(fields, "id", m[1])
	}
	weftest.Until(t, "the acceptance arrives", func() bool {
		if len(fields) == 0 {
			for _, m := range regexp.MustCompile(`name="id" value="([^"]+)"`).FindAllStringSubmatch(b.Get("/admin/shares?state=accepted").Body, -1) {
				fields = append(fields, "id", m[1])
			}
		}
		return len(fields) == 2
	})
	if p := b.Post("/admin/shares/end", fields...); !strings.Contains(p.Text(), "One share ended.") {
		t.Errorf("%s", p.Text())
	}
	weftest.Until(t, "bob loses it", func() bool { return len(bob.Shares().Received) == 1 && bob.Shares().Received[0].State == "ended" })
	if rows := records(t, alice.Site, audit.Filter{Action: "share.ended", Actor: "olga"}); len(rows) != 1 || !strings.Contains(rows[0].Details, "by the operator") {
		t.Errorf("%+v", rows)
	}
	page := b.Get("/admin/deliveries")
	ids := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page.Body)
	if ids == nil {
		t.Fatal(page.Text())
	}
	if p := b.Post("/admin/deliveries/resend", "id", ids[1], "id", "gone"); !strings.Contains(p.Text(), "One message is sent again.") {
		t.Errorf("%s", p.Text())
	}
	host := regexp.MustCompile(`/admin/peers/(localhost[^"]+)`).FindStringSubmatch(page.Body)
	name, _ := url.PathUnescape(host[1])
	if p := b.Post("/admin/deliveries/resend", "peer", name); !strings.Contains(p.Text(), "One message is sent again.") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Get("/admin/audit.jsonl?action=outbox."); strings.Count(p.Body, "\n") != 2 || !strings.Contains(p.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%v %s", p.Header, p.Body)
	}
	if p := b.Post("/admin/config/check"); p.Path != "/admin/config" || !strings.Contains(p.Text(), "Look at these") {
		t.Errorf("%s: %s", p.Path, p.Text())
	}
}

func TestAllSharesThatFitEndAtOnce(t *testing.T) {
	alice, bob, olga, b := console(t)
	carla := alice.Site.Person("carla")
	carla.Put("c.txt", "c")
	carla.Share("c.txt", bob.Address)
	alice.Put("d.txt", "d")
	alice.Share("d.txt", bob.Address)
	live := func(p *weftest.Person) (n int) {
		for _, s := range p.Shares().Sent {
			if s.State != "ended" {
				n++
			}
		}
		return n
	}
	if page := b.Get("/admin/shares"); strings.Contains(page.Body, `name="fitting"`) {
		t.Error("everyone's shares can be ended at once")
	}
	// A form without what they fit to ends nothing.
	if p := b.Post("/admin/shares/end", "fitting", "1", "direction", "sent"); !strings.Contains(p.Text(), "Nothing is chosen.") || live(alice) != 3 {
		t.Errorf("%d left: %s", live(alice), p.Text())
	}
	page := b.Get("/admin/shares?user=alice&peer=" + url.QueryEscape(string(bob.Host)))
	if !strings.Contains(page.Text(), "End all 2 shares that fit") {
		t.Fatal(page.Text())
	}
	p := b.Post("/admin/shares/end", "fitting", "1", "direction", "sent", "user", "alice", "peer", string(bob.Host), "back", "/admin/shares?user=alice")
	if p.Path != "/admin/shares?user=alice" || !strings.Contains(p.Text(), "2 shares ended.") || live(alice) != 1 || live(carla) != 1 {
		t.Errorf("%s, %d and %d left: %s", p.Path, live(alice), live(carla), p.Text())
	}
	if rows := records(t, alice.Site, audit.Filter{Action: "share.ended", Actor: "olga"}); len(rows) != 2 || rows[0].ActorID != olga.User.ID || rows[0].Target != bob.Address {
		t.Errorf("%+v", rows)
	}
	// The other way: what came from a server.
	bob.Put("e.txt", "e")
	bob.Share("e.txt", alice.Address)
	alice.Inbox("e.txt", "pending")
	if p := b.Post("/admin/shares/end", "fitting", "1", "direction", "received", "peer", string(bob.Host)); !strings.Contains(p.Text(), "One share ended.") {
		t.Errorf("%s", p.Text())
	}
	alice.Inbox("e.txt", "ended")
	// What a group received is not one person's to lose.
	olga.API("POST", "/groups", map[string]any{"name": "staff"}, nil)
	olga.API("PUT", "/groups/staff/members/alice", nil, nil)
	for _, with := range []string{"staff@" + string(alice.Host), alice.Address} {
		name := "for " + strings.SplitN(with, "@", 2)[0]
		bob.Put(name, "x")
		bob.API("POST", "/shares", map[string]any{"path": name, "with": with, "group": with != alice.Address}, nil)
		alice.Inbox(name, "pending")
	}
	if p := b.Post("/admin/shares/end", "fitting", "1", "direction", "received", "user", "alice"); !strings.Contains(p.Text(), "One share ended.") {
		t.Errorf("%s", p.Text())
	}
	alice.Inbox("for alice", "ended")
	alice.Inbox("for staff", "pending")
}

func TestWhatARuleSaysOfSignaturesStaysWhenItIsChangedByAForm(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	b := operator(t, alice.Site).Browser()
	if _, err := alice.Server.Policy.Set(t.Context(), peer.Rule{Pattern: "old.example", Cavage: peer.Yes, Note: "old"}); err != nil {
		t.Fatal(err)
	}
	form := b.Get("/admin/policy?host=old.example").Body
	if !regexp.MustCompile(`(?s)name="cavage">.*?value="yes" selected`).MatchString(form) {
		t.Fatal("the form does not hold it")
	}
	p := b.Post("/admin/policy", "host", "old.example", "cavage", "yes", "note", "new")
	if !strings.Contains(p.Body, `name="cavage" value="yes"`) {
		t.Error("the undo does not hold it")
	}
	if rules, err := alice.Server.Policy.Rules(t.Context()); err != nil || len(rules) != 1 || rules[0].Cavage != peer.Yes || rules[0].Note != "new" {
		t.Errorf("%+v, %v", rules, err)
	}
}

func TestARejectedKeyThatWaitedIsNotTrustedByAnUndo(t *testing.T) {
	alice, bob, _, b := console(t)
	host := string(bob.Host)
	if _, err := alice.Server.DB.Write.NewRaw("INSERT INTO peer_keys (host, kid, thumbprint, first_seen, last_seen, state) VALUES (?, 'k', 'waits', 1, 1, 'waiting')", host).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := b.Get("/admin/peers?only=trouble"); !strings.Contains(p.Text(), host) || !strings.Contains(p.Text(), "1 key waits for you") {
		t.Errorf("%s", p.Text())
	}
	if p := b.Post("/admin/peers/"+url.PathEscape(host)+"/key", "key", "waits", "state", "rejected"); !strings.Contains(p.Text(), "The key is rejected.") || strings.Contains(p.Text(), "Undo") {
		t.Errorf("%s", p.Text())
	}
}

func TestMembersOfAGroupAndTheWireArePaged(t *testing.T) {
	alice, _, olga, b := console(t)
	olga.API("POST", "/groups", map[string]any{"name": "all"}, nil)
	group, err := alice.Server.Accounts.GroupByName(t.Context(), "all")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		id := fmt.Sprintf("m%02d", i)
		for _, q := range []string{
			"INSERT INTO users (id, name, name_key, display_name, email, role, password_hash, quota, created_at) VALUES (?0, ?0, ?0, ?0, '', 'user', '', -1, 1)",
			"INSERT INTO group_members (group_id, user_id) VALUES (?1, ?0)",
			"INSERT INTO wire (id, at, direction, peer, operation, method, url, header, body, signature_base, status, answer_header, answer, micros, fault) VALUES (?0, 5, 'in', 'x.example', 'share', 'POST', '', '', '', '', 200, '', '', 1, '')",
		} {
			if _, err := alice.Server.DB.Write.NewRaw(q, id, group.ID).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct{ first, row string }{{"/admin/groups/all", `name="out"`}, {"/admin/wire?peer=x.example", `data-label="Outcome"`}} {
		page := b.Get(c.first)
		next := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page.Body)
		if next == nil || strings.Count(page.Body, c.row) != 50 {
			t.Fatalf("%s: %d on the first page", c.first, strings.Count(page.Body, c.row))
		}
		if page = b.Get(strings.ReplaceAll(next[1], "&amp;", "&")); strings.Count(page.Body, c.row) != 10 {
			t.Errorf("%s: %d on the second page", next[1], strings.Count(page.Body, c.row))
		}
	}
	if p := b.Get("/admin/groups/all?q=m07"); strings.Count(p.Body, `name="out"`) != 1 || !strings.Contains(p.Body, `name="back" value="/admin/groups/all?q=m07"`) {
		t.Errorf("%s", p.Text())
	}
	request := b.Post("/admin/groups/all/members", "user", "m07", "out", "1", "back", "/admin/groups/all?q=m0")
	if request.Path != "/admin/groups/all?q=m0" {
		t.Errorf("leads to %s", request.Path)
	}
	rows := records(t, alice.Site, audit.Filter{Action: "group.left"})
	if p := b.Get("/admin/audit?request=" + rows[0].Request); strings.Count(p.Body, "<code>group.left") != 1 || strings.Contains(p.Body, "<code>group.added") {
		t.Errorf("%s", p.Text())
	}
}

func TestListsOfTheConsoleArePaged(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	b := operator(t, alice.Site).Browser()
	for i := range 60 {
		err := audit.Note(t.Context(), alice.Server.DB.Write, alice.Now().Add(time.Duration(i)*time.Millisecond), audit.Event{Action: "test.made", ID: "x"})
		if err != nil {
			t.Fatal(err)
		}
	}
	first := b.Get("/admin/audit?action=test.")
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(first.Body)
	if next == nil || strings.Count(first.Body, "test.made") != 50 {
		t.Fatalf("%d on the first page", strings.Count(first.Body, "test.made"))
	}
	second := b.Get(strings.ReplaceAll(next[1], "&amp;", "&"))
	if strings.Count(second.Body, "<code>test.made") != 10 || strings.Contains(second.Body, `rel="next"`) || !strings.Contains(second.Text(), "First page") {
		t.Errorf("%d on the second page", strings.Count(second.Body, "<code>test.made"))
	}
}
