package server_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// bareKey is a key of the catalogue where its text belongs.
var bareKey = regexp.MustCompile(`\b(?:sharing|requests|frame|nav|said)\.[a-z]+(?:\.[a-z-]+)*\b`)

// page checks what holds for every page, and that it says what it should.
func page(t *testing.T, p weftest.Page, status int, says ...string) weftest.Page {
	t.Helper()
	if p.Status != status {
		t.Fatalf("%s: %d, want %d: %s", p.Path, p.Status, status, p.Text())
	}
	text := p.Text()
	if key := bareKey.FindString(text); key != "" {
		t.Errorf("%s shows the key %s", p.Path, key)
	}
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("%s does not say %q: %s", p.Path, s, text)
		}
	}
	return p
}

// without checks that a page does not say some things.
func without(t *testing.T, p weftest.Page, what ...string) {
	t.Helper()
	for _, s := range what {
		if strings.Contains(p.Body, s) {
			t.Errorf("%s says %q", p.Path, s)
		}
	}
}

// leads checks that a page has links to some places.
func leads(t *testing.T, p weftest.Page, to ...string) {
	t.Helper()
	for _, link := range to {
		if !strings.Contains(p.Body, `href="`+html.EscapeString(link)+`"`) {
			t.Errorf("%s has no link to %s", p.Path, link)
		}
	}
}

// action finds where the form of a page that ends so leads.
func action(t *testing.T, p weftest.Page, end string) string {
	t.Helper()
	m := regexp.MustCompile(`action="(/[a-z]+/[^/"]+/` + end + `)"`).FindStringSubmatch(p.Body)
	if m == nil {
		t.Fatalf("%s has no form to %s: %s", p.Path, end, p.Text())
	}
	return m[1]
}

func TestSharingInABrowser(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("Reef/Corals/a.txt", "fish")
	a, b := alice.Browser(), bob.Browser()

	page(t, a.Get("/shares"), 200, "You share nothing yet")
	dialog := page(t, a.Get("/share?path=Reef"), 200, "Share “Reef”", "Nobody yet")
	if !strings.Contains(dialog.Body, `class="dialog`) {
		t.Error("the page is no dialog")
	}
	// Nothing is lost of a form that cannot be taken.
	wrong := page(t, a.Post("/share", "path", "Reef", "kind", "user", "with", "nobody <b>", "rights", "write", "pass", "1", "end", "30", "message", "for <i>you"), 400, "Nobody on this server or in your address book")
	for _, kept := range []string{`value="nobody &lt;b&gt;"`, `value="write" checked`, `name="pass" value="1" checked`, `value="30" selected`, `for &lt;i&gt;you</textarea>`} {
		if !strings.Contains(wrong.Body, kept) {
			t.Errorf("the form lost %s", kept)
		}
	}
	page(t, a.Post("/share", "path", "Reef", "with", ""), 400, "Say with whom to share")
	page(t, a.Post("/share", "path", "Reef", "with", bob.Address, "end", "date", "day", "2001-01-01"), 400, "lies in the past")
	page(t, a.Post("/share", "path", "Reef", "with", bob.Address, "end", "date", "day", "soon"), 400, "The date cannot be read")
	page(t, a.Post("/share", "path", "Nowhere", "with", bob.Address), 404)
	page(t, a.Get("/share?path="), 400, "Your whole home cannot be shared")

	checked := page(t, a.Post("/share", "path", "Reef", "kind", "user", "with", bob.Address, "rights", "read", "end", "none", "do", "check"), 200,
		"is there and takes this kind of share", "It signs its messages", "You know each other by an invite")
	if !strings.Contains(checked.Body, `value="`+bob.Address+`"`) || len(alice.Shares().Sent) != 0 {
		t.Error("checking shares, or loses what was typed")
	}
	done := page(t, a.Post("/share", "path", "Reef", "kind", "user", "with", bob.Address, "rights", "read", "end", "30", "message", "Look at <b>this</b>", "do", "share"), 200,
		"“Reef” is shared with "+bob.Address, "until")
	if done.Path != "/share?path=Reef" {
		t.Errorf("led to %s", done.Path)
	}
	page(t, a.Post("/share", "path", "Reef", "kind", "user", "with", bob.Address), 409, "already shared")
	page(t, a.Get("/share?path=Reef%2FCorals"), 200, "Through a folder it is in", "Bob")

	bob.Inbox("Reef", "pending")
	inbox := page(t, b.Get("/inbox"), 200, "Reef", "Alice", alice.Address, "known by an invite", "signed", "may look", "Look at <b>this</b>"[:7], "1 waiting")
	without(t, inbox, "<b>this")
	accepted := page(t, b.Post(action(t, inbox, "accept")), 200, "“Reef” is among your files now", "Nothing waits for you")
	if !strings.Contains(accepted.Body, `href="/files/Shared%20with%20me/Reef"`) {
		t.Errorf("no way to the folder: %s", accepted.Body)
	}
	page(t, b.Get("/inbox?show=accepted"), 200, "Reef", "Alice", "may look")
	weftest.Until(t, "alice sees the acceptance", func() bool {
		return strings.Contains(a.Get("/share?path=Reef").Text(), "It is among their files")
	})

	// Other rights and another end: the one is told, the other holds here.
	list := page(t, a.Get("/shares"), 200, "Reef", "Bob", "accepted")
	changed := page(t, a.Post(action(t, list, "change"), "rights", "write", "end", "7", "back", "/shares"), 200, "is changed", string(bob.Host)+" may go on to show the old one")
	if changed.Path != "/shares" {
		t.Errorf("led to %s", changed.Path)
	}
	weftest.Until(t, "bob may write", func() bool {
		return len(bob.Inbox("Reef", "accepted").Permissions) == 2
	})
	page(t, a.Post(action(t, list, "change"), "rights", "write", "end", "none", "back", "/shares"), 200, "now ends later here", "share it again")
	page(t, a.Post(action(t, list, "change"), "rights", "write", "end", "date", "day", "1999-12-31"), 200, "lies in the past")
	page(t, a.Get("/shares?by=person&q=bob"), 200, "Reef", "1 found")
	page(t, a.Get("/shares?q=nothing+like+it"), 200, "Nothing fits")
	page(t, a.Get("/shares?show=trouble"), 200, "Everything could be delivered")

	ended := page(t, a.Post(action(t, list, "end"), "back", "https://evil.example/"), 200, "is no longer shared")
	if ended.Path != "/shares" {
		t.Errorf("led to %s", ended.Path)
	}
	page(t, a.Get("/shares?show=past"), 200, "Reef", "ended by its owner", "You can share it again")
	bob.Inbox("Reef", "ended")
	page(t, b.Get("/inbox?show=past"), 200, "Reef", "ended by its owner")
	page(t, a.Post(action(t, list, "end")), 200) // again: nothing more happens
	page(t, a.Post("/shares/nothing/end"), 200, "There is no such share")
}

func TestAShareThatWaitsInABrowser(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { // which tries again when it is told to
		c.Delivery.FirstRetry, c.Delivery.MaxRetry = time.Hour, time.Hour
	}).Person("alice")
	bob := weftest.Start(t).Person("bob")
	alice.Befriend(bob)
	alice.Put("a.txt", "a")
	bob.Stop()
	a := alice.Browser()
	page(t, a.Post("/share", "path", "a.txt", "with", bob.Address, "do", "check"), 200) // known since a moment ago
	page(t, a.Post("/share", "path", "a.txt", "with", bob.Address), 200, "Their server is being told")
	var waiting weftest.Page
	weftest.Until(t, "why it waits is told", func() bool {
		waiting = a.Get("/shares")
		return strings.Contains(waiting.Text(), "does not answer, will be tried again (next try:")
	})
	page(t, waiting, 200, "waiting for delivery", "You need not do anything", "Try now")
	bob.Restart()
	page(t, a.Post(action(t, waiting, "resend"), "back", "/shares?show=waiting"), 200, "is being sent to")
	bob.Inbox("a.txt", "pending")
	weftest.Until(t, "it is delivered", func() bool { return strings.Contains(a.Get("/shares").Text(), "not accepted yet") })
	b := bob.Browser()
	page(t, b.Post(action(t, b.Get("/inbox"), "decline")), 200, "Declined")
	weftest.Until(t, "it is declined", func() bool {
		return strings.Contains(a.Get("/shares?show=past").Text(), "declined by the recipient")
	})

	// What their server refuses says so, and can be tried again.
	page(t, a.Post("/share", "path", "a.txt", "with", "nobody@"+string(bob.Host)), 200)
	weftest.Until(t, "it failed", func() bool { return strings.Contains(a.Get("/shares?show=trouble").Text(), "knows no such recipient") })
	failed := page(t, a.Get("/shares?show=trouble"), 200, "not delivered", "Check the address")
	page(t, a.Post(action(t, failed, "resend")), 200, "is being sent to")
}

func TestLookingBeforeSharing(t *testing.T) {
	t.Parallel()
	site, other := weftest.Start(t), weftest.Start(t, func(c *config.Config) { c.Federation.MustInvite = true })
	alice, bob := site.Person("alice"), other.Person("bob")
	carol := site.Person("carol")
	if _, err := site.Server.Accounts.AddGroup(t.Context(), "divers", "The divers"); err != nil {
		t.Fatal(err)
	}
	alice.Put("Reef/a.txt", "a")
	a := alice.Browser()
	type said struct {
		OK      bool
		Name    string
		Invite  string
		NoMFA   bool
		Remarks []struct{ Kind, Text string }
	}
	check := func(with string, more ...string) (out said) {
		t.Helper()
		q := url.Values{"path": {"Reef"}, "with": {with}, "kind": {"user"}, "rights": {"read"}}
		for i := 0; i+1 < len(more); i += 2 {
			q.Set(more[i], more[i+1])
		}
		p := a.Get("/share/check?" + q.Encode())
		if p.Status != 200 {
			t.Fatalf("%s: %d %s", with, p.Status, p.Body)
		}
		if err := json.Unmarshal([]byte(p.Body), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	text := func(s said) (all string) {
		for _, r := range s.Remarks {
			all += r.Kind + ": " + r.Text + "\n"
		}
		return all
	}
	rule(t, site, "denied.example", peer.Deny, "")
	for _, c := range []struct {
		with string
		more []string
		ok   bool
		says string
	}{
		{"carol", nil, true, "good: Carol is on this server."},
		{carol.Address, nil, true, "good: Carol is on this server."},
		{"alice", nil, false, "your own address"},
		{"zoe@" + string(site.Host), nil, false, "bad: Nobody on this server is called zoe."},
		{"divers", []string{"kind", "group"}, true, "good: The divers is a group of this server."},
		{"swimmers", []string{"kind", "group"}, false, "bad: There is no group swimmers on this server."},
		{bob.Address, nil, false, "bad: " + string(other.Host) + " takes shares only from people whom its users know by an invite"},
		{bob.Address, []string{"mfa", "1"}, false, "cannot make sure of a second factor"},
		{"x@denied.example", nil, false, "does not allow dealing with denied.example"},
		{"x@nowhere.invalid", nil, false, "bad: There is no server nowhere.invalid that this one can use"},
		{"x@localhost:1", nil, true, "warn: localhost:1 does not answer just now"},
		{"x@not a host", nil, false, "bad: This is no address yet. Write it like name@server."},
		{bob.Address, []string{"path", "Nowhere"}, false, "no such file"},
	} {
		got := check(c.with, c.more...)
		if got.OK != c.ok || !strings.Contains(text(got), c.says) {
			t.Errorf("%s %v: %v\n%swant %q", c.with, c.more, got.OK, text(got), c.says)
		}
	}
	if got := check(bob.Address); got.Invite != "/people/invite?for="+url.QueryEscape(bob.Address) || !strings.Contains(text(got), "not in your address book") || !got.NoMFA {
		t.Errorf("%+v", got)
	}
	if _, err := site.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(other.Host), Profile: "opencloudmesh-go"}); err != nil {
		t.Fatal(err)
	}
	if got := check(bob.Address); got.OK || !strings.Contains(text(got), "takes single files to read by one person") {
		t.Errorf("%+v", got)
	}
	if got := check(bob.Address, "path", "Reef/a.txt"); strings.Contains(text(got), "takes single files") {
		t.Errorf("%+v", got)
	}
	if err := site.Server.Policy.Unset(t.Context(), string(other.Host)); err != nil {
		t.Fatal(err)
	}
	alice.Befriend(bob)
	if got := check(bob.Address); !got.OK || got.Invite != "" || !strings.Contains(text(got), "You know each other by an invite") {
		t.Errorf("%+v", got)
	}
	alice.Share("Reef", bob.Address)
	if got := check(bob.Address); got.OK || !strings.Contains(text(got), "already") {
		t.Errorf("%+v", got)
	}
	var prospect struct {
		Fits    bool
		Remarks []struct{ Code, Text string }
	}
	alice.API("GET", "/shares/check?path=Reef&with=carol", nil, &prospect)
	if !prospect.Fits || len(prospect.Remarks) != 1 || prospect.Remarks[0].Code != "here" || prospect.Remarks[0].Text != "Carol is on this server." {
		t.Errorf("%+v", prospect)
	}
	if n := site.Rows()["outgoing_shares"]; n != 1 {
		t.Errorf("looking left %d shares", n)
	}

	var people []struct{ Value, Label string }
	for q, want := range map[string]string{"q=car": carol.Address, "q=bob": bob.Address, "q=diV&kind=group": "divers"} {
		if err := json.Unmarshal([]byte(a.Get("/share/complete?"+q).Body), &people); err != nil || len(people) != 1 || people[0].Value != want {
			t.Errorf("%s: %+v %v", q, people, err)
		}
	}
	if p := a.Get("/share/paths?q=Reef/"); !strings.Contains(p.Body, `"Reef/a.txt"`) {
		t.Error(p.Body)
	}
	for _, path := range []string{"../..", "/etc/", "nowhere/x", "Reef/a.txt/x"} {
		if p := a.Get("/share/paths?q=" + url.QueryEscape(path)); p.Status != 200 || strings.TrimSpace(p.Body) != "[]" {
			t.Errorf("%s: %d %s", path, p.Status, p.Body)
		}
	}
	// Looking at other servers is bounded for each person.
	var last weftest.Page
	for range 40 {
		if last = a.Get("/share/check?path=Reef&with=" + url.QueryEscape(bob.Address)); last.Status == 429 {
			break
		}
	}
	if last.Status != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", last.Status, last.Body)
	}
	if p := carol.Browser().Get("/share/check?path=Reef&with=x"); p.Status != 200 {
		t.Errorf("others are bounded too: %d", p.Status)
	}
}

func TestStrangersInTheInbox(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t, func(c *config.Config) { c.Federation.Quarantine = true })
	alice := site.Person("alice")
	alice.API("POST", "/contacts", map[string]any{"address": "maria@lab.example", "name": "Maria Rossi"}, nil)
	p := weftest.NewPeer(t)
	want(t, "the share", p.Post(site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{
		"name": `<script>alert(1)`, "description": `<img src=x onerror=alert(2)>`, "senderDisplayName": "Mаria  Rossi", // with a Cyrillic а
	})), 201)
	a := alice.Browser()
	inbox := page(t, a.Get("/inbox"), 200, "Set apart", "the sender is in nobody&#39;s address book", "not in your address book", "Accept it only if you expected it",
		"You know someone of this name at another address: maria@lab.example")
	without(t, inbox, "<script>alert", "<img src=x", "onerror=alert(2)>")
	// Nobody can frame the page or have it done by another one.
	if p := a.PostFrom("https://evil.example", action(t, inbox, "accept")); p.Status != 403 {
		t.Errorf("%d", p.Status)
	}
	page(t, a.Post(action(t, inbox, "report"), "message", "I know <b>nobody</b> there"), 200, "can read your report")
	if reports, err := site.Server.Sharing.Reports(t.Context(), ""); err != nil || len(reports) != 1 || reports[0].Message != "I know <b>nobody</b> there" {
		t.Errorf("%+v %v", reports, err)
	}
	page(t, a.Post(action(t, inbox, "block")), 200, "The sender is blocked", "Nothing waits for you")
	page(t, a.Get("/inbox?show=past"), 200, "declined by you")
	again := p.Post(site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"providerId": "again"}))
	if again.Status != 400 {
		t.Errorf("who is blocked shares: %d %s", again.Status, again.Body)
	}
}

func TestBothListsOfTheInboxArePaged(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t, func(c *config.Config) { c.Federation.Quarantine = true })
	alice := site.Person("alice")
	p := weftest.NewPeer(t)
	offer := func(name, sender string) {
		t.Helper()
		r := p.Post(site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{
			"name": name, "providerId": name, "sender": sender + "@" + string(p.Host), "owner": sender + "@" + string(p.Host),
		}))
		want(t, "the share", r, 201)
	}
	alice.API("POST", "/contacts", map[string]any{"address": "friend@" + string(p.Host)}, nil)
	for i := range 51 {
		offer(fmt.Sprintf("strange-%02d", i), "stranger")
		offer(fmt.Sprintf("known-%02d", i), "friend")
	}
	a := alice.Browser()
	inbox := page(t, a.Get("/inbox"), 200, "Page 1 of 2", "known-50", "strange-50")
	leads(t, inbox, "/inbox?page=2", "/inbox?apart=2")
	if n := strings.Count(inbox.Body, `class="card offer"`); n != 100 {
		t.Errorf("%d offers on the first page of both", n)
	}
	// Each list keeps its place while the other is leafed through.
	last := page(t, a.Get("/inbox?page=2&apart=2"), 200, "Page 2 of 2", "known-00", "strange-00")
	leads(t, last, "/inbox?apart=2&page=1", "/inbox?page=2&apart=1")
	if n := strings.Count(last.Body, `class="card offer"`); n != 2 {
		t.Errorf("%d offers on the last page of both", n)
	}
	// What empties a page leads to the one before it.
	back := html.UnescapeString(regexp.MustCompile(`name="back" value="([^"]+)"`).FindStringSubmatch(last.Body)[1])
	if back != "/inbox?page=2&apart=2" {
		t.Errorf("an answer leads back to %s", back)
	}
	after := page(t, a.Post(action(t, last, "decline"), "back", back), 200, "strange-00", "known-01")
	if n := strings.Count(after.Body, `class="card offer"`); n != 51 {
		t.Errorf("%d offers after an answer", n)
	}
}

func TestOtherSitesChangeNothingOfShares(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("a.txt", "a")
	sent := alice.Share("a.txt", bob.Address)
	in := bob.Inbox("a.txt", "pending")
	weftest.Until(t, "it is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
	a, b := alice.Browser(), bob.Browser()
	for _, c := range []struct {
		by   *weftest.Browser
		path string
	}{
		{a, "/share"}, {a, "/shares/" + sent.ID + "/end"}, {a, "/shares/" + sent.ID + "/change"}, {a, "/shares/" + sent.ID + "/resend"},
		{b, "/inbox/" + in.ID + "/accept"}, {b, "/inbox/" + in.ID + "/decline"}, {b, "/inbox/" + in.ID + "/leave"}, {b, "/inbox/" + in.ID + "/block"}, {b, "/inbox/" + in.ID + "/report"},
		{b, "/requests/new"}, {b, "/requests/x/grant"}, {b, "/requests/x/refuse"}, {b, "/requests/x/ignore"}, {b, "/requests/x/withdraw"},
	} {
		if p := c.by.PostFrom("https://evil.example", c.path, "path", "a.txt", "with", "bob", "rights", "write"); p.Status != 403 {
			t.Errorf("%s: %d", c.path, p.Status)
		}
		if p := weftest.NewBrowser(t, c.by.Origin).Post(c.path); !strings.HasPrefix(p.Path, "/login") {
			t.Errorf("a visitor at %s: %d %s", c.path, p.Status, p.Path)
		}
	}
	if s := alice.SentState(sent.ID); s != "delivered" {
		t.Error(s)
	}
	// Neither does anyone else who is signed in.
	c := alice.Site.Person("carol").Browser()
	for _, path := range []string{"/shares/" + sent.ID + "/end", "/shares/" + sent.ID + "/change", "/shares/" + sent.ID + "/resend"} {
		page(t, c.Post(path), 200, "There is no such share")
	}
	without(t, c.Get("/shares"), "a.txt")
	bob.Inbox("a.txt", "pending")
}

func TestRequestsInABrowser(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("Reef/a.txt", "fish")
	alice.Put("Notes/b.txt", "notes")
	a, b := alice.Browser(), bob.Browser()

	page(t, b.Get("/requests"), 200, "You have not asked for anything")
	page(t, b.Get("/requests/new?owner="+url.QueryEscape(alice.Address)), 200, "Ask for a share")
	kept := page(t, b.Post("/requests/new", "owner", alice.Address, "resource", "", "message", "<p>please"), 400, "Say what you ask for")
	if !strings.Contains(kept.Body, "&lt;p&gt;please") {
		t.Error("the form lost the message")
	}
	page(t, b.Post("/requests/new", "owner", alice.Address, "resource", "Reef", "what", "folder", "rights", "write", "message", "for the review"), 200, "is being asked", "Reef")
	page(t, b.Post("/requests/new", "owner", alice.Address, "resource", "Reef", "what", "folder"), 409, "You asked for that already")
	asked(alice, "Reef")
	inbox := page(t, a.Get("/inbox"), 200, "Bob asks for “Reef”", bob.Address, "known by an invite", "may look and change", "for the review", "1 waiting")
	page(t, a.Post(action(t, inbox, "grant"), "path", "Reef", "rights", "read", "end", "7"), 200, "“Reef” is shared with "+bob.Address)
	if in := bob.Inbox("Reef", "pending"); len(in.Permissions) != 1 {
		t.Errorf("granted more than was given: %v", in.Permissions)
	}
	weftest.Until(t, "it is granted", func() bool { return strings.Contains(b.Get("/requests").Text(), "granted") })

	// What is meant is not clear: the owner says it, and nothing is lost on the way.
	page(t, b.Post("/requests/new", "owner", alice.Address, "resource", "the <b>data</b> of May"), 200, "is being asked")
	asked(alice, "the <b>data</b> of May")
	inbox = page(t, a.Get("/inbox"), 200, "Bob asks you for a share")
	without(t, inbox, "<b>data")
	if !strings.Contains(inbox.Body, `<option value="Notes">`) {
		t.Error("no paths are offered")
	}
	again := page(t, a.Post(action(t, inbox, "grant"), "path", "Nowhere", "rights", "write", "end", "30"), 404, "no such file")
	if !strings.Contains(again.Body, `value="Nowhere"`) || !strings.Contains(again.Body, `<details class="change" open>`) {
		t.Error("the form lost what was typed")
	}
	page(t, a.Post(action(t, inbox, "refuse"), "message", "There is none."), 200, "Refused")
	weftest.Until(t, "it is refused", func() bool { return strings.Contains(b.Get("/requests").Text(), "There is none.") })

	// Nobody hears of what is ignored; it can still be granted, or taken back.
	page(t, b.Post("/requests/new", "owner", alice.Address, "resource", "Notes", "what", "folder"), 200)
	asked(alice, "Notes")
	page(t, a.Post(action(t, a.Get("/inbox"), "ignore")), 200, "Ignored", "Nothing waits for you")
	page(t, a.Get("/requests"), 200, "ignored", "You can still share it", "granted", "refused")
	mine := page(t, b.Get("/requests"), 200, "the owner has not answered yet")
	page(t, b.Post(action(t, mine, "withdraw"), "back", "/requests"), 200, "The request is taken back", "taken back")
}

func TestPassingOnInABrowser(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Site.Person("carol")
	alice.Put("Reef/Deep/a.txt", "fish")
	alice.Put("Notes/b.txt", "notes")
	alice.Share("Reef", bob.Address, "read", "share")
	alice.Share("Notes", bob.Address)
	bob.Accept("Reef")
	bob.Accept("Notes")
	b := bob.Browser()
	page(t, b.Get("/inbox?show=accepted"), 200, "Pass on")
	page(t, b.Get("/share?path=Shared+with+me%2FNotes"), 200, "without the right to pass it on")
	page(t, b.Get("/share?path=Shared+with+me%2FReef%2FDeep"), 403, "Only the whole of what someone shares")
	dialog := page(t, b.Get("/share?path=Shared+with+me%2FReef"), 200, "Ask to include them", "Alice")
	without(t, dialog, "Who has it")
	page(t, b.Post("/share", "path", "Shared with me/Reef", "with", "carol@"+string(alice.Host), "rights", "read"), 200, "is being asked")
	weftest.Until(t, "alice shares with carol", func() bool { return len(alice.Shares().Sent) == 3 })
	page(t, alice.Browser().Get("/share?path=Reef"), 200, "Carol", "Bob", "at the request of "+bob.Address)
	mine := b.Get("/requests")
	weftest.Until(t, "it is granted", func() bool {
		mine = b.Get("/requests")
		return strings.Contains(mine.Text(), "granted")
	})
	page(t, b.Post(action(t, mine, "withdraw")), 200, "The request is taken back")
	weftest.Until(t, "carol's share ends", func() bool { return alice.Shares().Sent[0].State == "ended" })
}

func TestSharesOfThisServerEndWhenTheirOwnerSays(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	alice.Put("a.txt", "a")
	sent := alice.Share("a.txt", "bob")
	bob.Accept("a.txt")
	end := site.Now().Add(time.Hour)
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"expiresAt": end.UTC().Format(time.RFC3339)}, nil)
	page(t, bob.Browser().Get("/inbox?show=accepted"), 200, "until")
	site.Advance(2 * time.Hour)
	if a := bob.DAV("GET", "Shared with me/a.txt", ""); a.Status != 404 {
		t.Errorf("after its end: %d", a.Status)
	}
	if a := alice.TryAPI("PATCH", "/shares/"+sent.ID, map[string]any{"expiresAt": ""}); a.Code() != "SHARE_ENDED" {
		t.Errorf("an ended share is revived: %d %s", a.Status, a.Body)
	}
	again := alice.Share("a.txt", "bob")
	for _, bad := range []map[string]any{{"expiresAt": "tomorrow"}, {"expiresAt": "2001-01-01T00:00:00Z"}, {}, {"permissions": []string{"write"}}} {
		if a := alice.TryAPI("PATCH", "/shares/"+again.ID, bad); a.Status != 400 {
			t.Errorf("%v: %d %s", bad, a.Status, a.Body)
		}
	}
	alice.API("PATCH", "/shares/"+again.ID, map[string]any{"expiresAt": site.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, nil)
	alice.API("PATCH", "/shares/"+again.ID, map[string]any{"expiresAt": ""}, nil)
	site.Advance(2 * time.Hour)
	if s := alice.SentState(again.ID); s != "delivered" {
		t.Errorf("without an end it is %s", s)
	}
}

func TestAReshareEndsWithTheShareItIsAskedBy(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Site.Person("carol")
	alice.Put("a.txt", "a")
	end := alice.Now().Add(48 * time.Hour).UTC()
	var parent weftest.Sent
	alice.API("POST", "/shares", map[string]any{"path": "a.txt", "with": bob.Address, "permissions": []string{"read", "share"}, "expiresAt": end.Format(time.RFC3339)}, &parent)
	in := bob.Accept("a.txt")
	bob.API("POST", "/received/"+in.ID+"/reshare", map[string]any{"with": "carol@" + string(alice.Host)}, nil)
	weftest.Until(t, "carol has it", func() bool { return len(alice.Shares().Sent) == 2 })
	child := alice.Shares().Sent[0]
	for _, at := range []string{"", end.Add(time.Hour).Format(time.RFC3339)} {
		if a := alice.TryAPI("PATCH", "/shares/"+child.ID, map[string]any{"expiresAt": at}); a.Code() != "EXPIRES_AFTER_PARENT" {
			t.Errorf("%q: %d %s", at, a.Status, a.Body)
		}
	}
	alice.API("PATCH", "/shares/"+child.ID, map[string]any{"expiresAt": end.Add(-time.Hour).Format(time.RFC3339)}, nil)
	// An earlier end takes along what was made in its right; a later one does not.
	for _, at := range []time.Time{end.Add(-24 * time.Hour), end} {
		alice.API("PATCH", "/shares/"+parent.ID, map[string]any{"expiresAt": at.Format(time.RFC3339)}, nil)
		o, err := alice.Server.Sharing.SentOne(t.Context(), alice.User.ID, child.ID)
		if want := end.Add(-24 * time.Hour).Truncate(time.Second).UnixMilli(); err != nil || o.ExpiresAt != want {
			t.Errorf("%v: %d, want %d: %v", at, o.ExpiresAt, want, err)
		}
	}
}

func TestPagesOfSharesInOtherLanguages(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("a.txt", "a")
	if err := alice.Server.Accounts.SetLanguage(t.Context(), alice.User.ID, "de"); err != nil {
		t.Fatal(err)
	}
	alice.Share("a.txt", "nobody@"+string(bob.Host))
	a := alice.Browser()
	weftest.Until(t, "the refusal is told in German", func() bool {
		return strings.Contains(a.Get("/shares").Text(), "kennt diesen Empfänger nicht RECIPIENT_NOT_FOUND")
	})
	page(t, a.Post("/share", "path", "a.txt", "with", "zoe"), 400, "Niemand auf diesem Server oder in Ihrem Adressbuch heißt")
	page(t, a.Post("/share", "path", "a.txt", "with", "alice"), 400, "Das ist Ihre eigene Adresse")
	for _, path := range []string{"/share?path=a.txt", "/shares", "/inbox", "/inbox?show=accepted", "/inbox?show=past", "/requests", "/requests/new"} {
		if p := page(t, a.Get(path), 200); !strings.Contains(p.Body, `<html lang="de">`) {
			t.Errorf("%s is not German", path)
		}
	}
}

func TestListsOfSharesArePaged(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice := site.Person("alice")
	for i := range 60 {
		name := "n" + strings.Repeat("x", i%3) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		if _, err := site.Server.Accounts.Add(t.Context(), account.NewUser{Name: name, DisplayName: name, Password: ocm.Secret("a long password")}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			alice.Put("a.txt", "a")
		}
		alice.Share("a.txt", name)
	}
	a := alice.Browser()
	first := page(t, a.Get("/shares"), 200, "Page 1 of 2")
	if n := strings.Count(first.Body, `class="share"`); n != 50 {
		t.Errorf("%d on the first page", n)
	}
	second := page(t, a.Get("/shares?page=2"), 200, "Page 2 of 2")
	if n := strings.Count(second.Body, `class="share"`); n != 10 {
		t.Errorf("%d on the second page", n)
	}
	page(t, a.Get("/shares?page=x&show=%00&by=evil"), 200, "Page 1 of 2")
	page(t, a.Get("/shares?page=99"), 200)
}
