package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// bothShare has two people share a folder with each other by the addresses of
// their address books.
func bothShare(t *testing.T, a, b *weftest.Person) {
	t.Helper()
	for _, pair := range [][2]*weftest.Person{{a, b}, {b, a}} {
		from, to := pair[0], pair[1]
		known := from.Contacts("@" + string(to.Host))
		if len(known) != 1 {
			t.Fatalf("%s knows %+v", from.Name, known)
		}
		folder := "From " + from.Name
		from.Put(folder+"/a.txt", "by "+from.Name)
		from.Share(folder, known[0].Address, "read")
		r := to.Accept(folder)
		if got := to.Get(r.Path + "/a.txt"); got != "by "+from.Name {
			t.Errorf("%s reads %q", to.Name, got)
		}
		if from.Contacts("@" + string(to.Host))[0].Source != "invite" || len(to.Contacts("@"+string(from.Host))) != 1 {
			t.Errorf("the share changed the address books: %+v, %+v", from.Contacts(""), to.Contacts(""))
		}
	}
}

func TestAnInviteByStringMakesTwoPeopleKnown(t *testing.T) {
	t.Parallel()
	mustInvite := func(c *config.Config) { c.Federation.MustInvite = true }
	alice, bob := weftest.Start(t, mustInvite).Person("alice"), weftest.Start(t, mustInvite).Person("bob")
	stranger := weftest.Start(t).Person("mallory")

	i := alice.Invite(map[string]any{"email": "bob@example.org", "note": "met in Vienna"})
	if i.State != "open" || i.InviteString == "" || !strings.HasPrefix(i.Link, alice.Origin+"/wayf?token=") {
		t.Fatalf("%+v", i)
	}
	var from struct{ Host, Name string }
	bob.API("POST", "/invites/look", map[string]any{"invite": i.InviteString}, &from)
	if from.Host != string(alice.Host) || from.Name != "Test" {
		t.Errorf("the invite comes from %+v", from)
	}
	if n := bob.Rows(); n["acceptances"]+n["contacts"]+n["outbox"] != 0 {
		t.Errorf("looking left a trace: %v", n)
	}
	a := bob.AcceptInvite(i.InviteString)
	if a.State != "accepted" || a.Knows != "both" || a.Contact != alice.Address || a.Name != "Alice" {
		t.Fatalf("accepted: %+v", a)
	}
	if again := bob.AcceptInvite(i.InviteString); again.ID != a.ID || again.State != "accepted" {
		t.Errorf("accepted again: %+v", again)
	}
	var list []weftest.Invite
	alice.API("GET", "/invites", nil, &list)
	if len(list) != 1 || list[0].State != "accepted" || list[0].AcceptedBy != bob.Address || list[0].InviteString != "" {
		t.Errorf("Alice sees %+v", list)
	}
	if c := alice.Contacts("bob"); len(c) != 1 || !c[0].Invited || c[0].Email != "bob@example.org" || c[0].Name != "Bob" {
		t.Errorf("Alice knows %+v", c)
	}
	if got := alice.TryAPI("DELETE", "/invites/"+i.ID, nil); got.Status != 409 || got.Code() != "INVITE_ALREADY_ACCEPTED" {
		t.Errorf("revoking what was accepted: %d %s", got.Status, got.Body)
	}
	bothShare(t, alice, bob)

	// Nobody else gets through, and the refusal says why.
	stranger.Put("Spam/x", "x")
	sent := stranger.Share("Spam", alice.Address)
	weftest.Until(t, "the stranger's share is refused", func() bool { return stranger.SentState(sent.ID) == "failed" })
	for _, s := range stranger.Shares().Sent {
		if !strings.Contains(s.Reason, "takes shares only after an invite") {
			t.Errorf("the reason is %q", s.Reason)
		}
	}
	for _, p := range []*weftest.Person{alice, bob} {
		if text := p.Log.Text(); strings.Contains(text, tokenOf(t, i)) {
			t.Error("the token is in the log")
		}
	}
	var d ocm.Discovery
	if err := json.Unmarshal([]byte(get(t, alice.Site, "/.well-known/ocm").Body), &d); err != nil {
		t.Fatal(err)
	}
	if !d.HasCapability(ocm.CapInvites) || !d.HasCapability(ocm.CapInviteWAYF) || !d.HasCriterion(ocm.CriterionInvite) || d.InviteAcceptDialog != "/accept-invite" {
		t.Errorf("the document says %+v", d)
	}
}

// tokenOf is the secret of an invite.
func tokenOf(t *testing.T, i weftest.Invite) string {
	t.Helper()
	read, err := ocm.ReadInvite(i.InviteString)
	if err != nil {
		t.Fatal(err)
	}
	return read.Token.Reveal()
}

// get fetches a page as a browser without a session.
func get(t *testing.T, s *weftest.Site, path string) weftest.Answer {
	t.Helper()
	req, err := http.NewRequest("GET", s.Origin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return weftest.Send(t, req)
}

// post sends a form as a browser on the page itself.
func post(t *testing.T, s *weftest.Site, path string, form url.Values, header ...string) weftest.Answer {
	t.Helper()
	req, err := http.NewRequest("POST", s.Origin+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	return weftest.Send(t, req, append([]string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"}, header...)...)
}

func TestAnInviteByLinkLeadsThroughWhereAreYouFrom(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	i := alice.Invite()
	link, err := url.Parse(i.Link)
	if err != nil {
		t.Fatal(err)
	}
	page := get(t, alice.Site, link.RequestURI())
	want(t, "the WAYF page", page, 200)
	for _, need := range []string{"Where are you from?", `name="server"`, i.InviteString, `action="/wayf"`} {
		if !strings.Contains(page.Body, need) {
			t.Errorf("the page lacks %q", need)
		}
	}
	if csp := page.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("policy %q", csp)
	}
	if page.Header.Get("Referrer-Policy") != "same-origin" || page.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the token may leave with the page: %v", page.Header)
	}
	q := link.Query()
	for name, c := range map[string]struct {
		server string
		status int
		says   string
	}{
		"this server":      {string(alice.Host), 400, "That is this server"},
		"no server's name": {"<b>me</b>", 400, "is not a server&#39;s name"},
		"a silent server":  {"localhost:1", 503, "localhost:1 does not answer"},
		"not an OCM one":   {weftest.NewPeer(t).URL + "/x", 303, ""},
	} {
		q.Set("server", c.server)
		a := get(t, alice.Site, "/wayf?"+q.Encode())
		if name == "not an OCM one" { // a peer without a dialog: take it there by hand
			if a.Status != 200 || !strings.Contains(a.Body, "has no page to send you to") {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			continue
		}
		if a.Status != c.status || !strings.Contains(a.Body, c.says) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	q.Set("server", bob.Origin+"/some/page")
	sentOn := get(t, alice.Site, "/wayf?"+q.Encode())
	want(t, "sent on", sentOn, 303)
	target, err := url.Parse(sentOn.Header.Get("Location"))
	if err != nil || target.Scheme+"://"+target.Host != bob.Origin || target.Path != "/accept-invite" ||
		target.Query().Get("providerDomain") != string(alice.Host) || target.Query().Get("token") != tokenOf(t, i) {
		t.Fatalf("sent on to %s", target)
	}
	var verdict struct {
		OK      bool
		Verdict string
	}
	if err := json.Unmarshal([]byte(get(t, alice.Site, "/wayf/check?server="+string(bob.Host)).Body), &verdict); err != nil || !verdict.OK || verdict.Verdict != "Test can take the invite." {
		t.Errorf("the verdict is %+v", verdict)
	}

	dialog := get(t, bob.Site, target.RequestURI())
	want(t, "the dialog", dialog, 200)
	if !strings.Contains(dialog.Body, string(alice.Host)) || !strings.Contains(dialog.Body, `type="password"`) {
		t.Errorf("the dialog shows %s", dialog.Body)
	}
	if bob.Rows()["acceptances"] != 0 {
		t.Error("arriving accepted the invite")
	}
	form := url.Values{"token": {tokenOf(t, i)}, "providerDomain": {string(alice.Host)}, "user": {"bob"}, "password": {"wrong password"}}
	if a := post(t, bob.Site, "/accept-invite", form); a.Status != 401 || !strings.Contains(a.Body, "not right") || strings.Contains(a.Body, "wrong password") {
		t.Errorf("a wrong password: %d %s", a.Status, a.Body)
	}
	form.Set("password", "a long password")
	if a := post(t, bob.Site, "/accept-invite", form, "Sec-Fetch-Site", "cross-site"); a.Status != 403 {
		t.Errorf("from another site: %d", a.Status)
	}
	done := post(t, bob.Site, "/accept-invite", form)
	want(t, "accepting", done, 200)
	if !strings.Contains(done.Body, "know each other now") || !strings.Contains(done.Body, alice.Address) {
		t.Errorf("accepted: %s", done.Body)
	}
	bothShare(t, alice, bob)
}

func TestInvitesAreOpenRevokedExpiredRenewed(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	state := func(id string) string {
		var list []weftest.Invite
		alice.API("GET", "/invites", nil, &list)
		for _, i := range list {
			if i.ID == id {
				return i.State
			}
		}
		return ""
	}
	refused := func(what, invite string) {
		t.Helper()
		if a := bob.AcceptInvite(invite); a.State != "failed" || a.Knows != "nobody" || !strings.Contains(a.Reason, "ask for a new one") {
			t.Errorf("%s: %+v", what, a)
		}
		if len(bob.Contacts("")) != 0 || len(alice.Contacts("")) != 0 {
			t.Errorf("%s made contacts", what)
		}
	}
	revoked := alice.Invite()
	alice.API("DELETE", "/invites/"+revoked.ID, nil, nil)
	alice.API("DELETE", "/invites/"+revoked.ID, nil, nil)
	if s := state(revoked.ID); s != "revoked" {
		t.Errorf("revoked: %s", s)
	}
	refused("a revoked invite", revoked.InviteString)

	short := alice.Invite(map[string]any{"expiresAt": alice.Now().Add(time.Hour).Format(time.RFC3339)})
	alice.Advance(2 * time.Hour)
	bob.Advance(2 * time.Hour)
	if s := state(short.ID); s != "expired" {
		t.Errorf("expired: %s", s)
	}
	refused("an expired invite", short.InviteString)
	refused("a guessed invite", ocm.Invite{Token: "guessed", Provider: alice.Host}.InviteString())

	var renewed weftest.Invite
	alice.API("POST", "/invites/"+short.ID+"/renew", nil, &renewed)
	if renewed.State != "open" || renewed.InviteString == short.InviteString {
		t.Fatalf("renewed: %+v", renewed)
	}
	refused("the old string of a renewed invite", short.InviteString)
	if a := bob.AcceptInvite(renewed.InviteString); a.State != "accepted" {
		t.Errorf("renewed and accepted: %+v", a)
	}
	for what, in := range map[string]map[string]any{
		"in the past":  {"expiresAt": alice.Now().Add(-time.Hour).Format(time.RFC3339)},
		"in two years": {"expiresAt": alice.Now().Add(2 * 365 * 24 * time.Hour).Format(time.RFC3339)},
		"no e-mail":    {"email": "call me"},
	} {
		if a := alice.TryAPI("POST", "/invites", in); a.Status != 400 {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
	}
	if a := bob.TryAPI("DELETE", "/invites/"+short.ID, nil); a.Status != 404 {
		t.Errorf("someone else's invite: %d %s", a.Status, a.Body)
	}
}

func TestInvitesThatLeadNowhereAreExplained(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	carol := alice.Site.Person("carol")
	pretender, page := weftest.NewPeer(t), weftest.NewPeer(t)
	pretender.Document.EndPoint = strings.Replace(alice.Origin, "localhost", "LOCALHOST", 1) + "/ocm?x=1"
	page.Handle("GET", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>hello")) })
	loop := weftest.NewPeer(t)
	loop.Handle("GET", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) })
	own := alice.Invite()
	at := func(host string) string { return base64.RawURLEncoding.EncodeToString([]byte("tok@" + host)) }
	for what, c := range map[string]struct {
		by     *weftest.Person
		invite string
		status int
		code   string
	}{
		"one's own":                       {alice, own.InviteString, 400, "INVITE_FROM_SELF"},
		"of a colleague":                  {carol, own.Link, 400, "INVITE_FROM_HERE"},
		"of here, but unknown":            {carol, at(string(alice.Host)), 400, "INVITE_INVALID"},
		"garbled":                         {bob, own.InviteString[3:], 400, "INVITE_MALFORMED"},
		"words":                           {bob, "hello there", 400, "INVITE_MALFORMED"},
		"with a path":                     {bob, at("a.example/ocm"), 400, "INVITE_MALFORMED"},
		"of a server that redirects on":   {bob, at(string(loop.Host)), 400, "NOT_A_SERVER"},
		"of a page":                       {bob, at(string(page.Host)), 400, "NOT_A_SERVER"},
		"of a server that is another one": {bob, at(string(pretender.Host)), 400, "SERVER_PRETENDS"},
	} {
		before := c.by.Rows()
		for _, call := range []string{"look", "accept"} {
			a := c.by.TryAPI("POST", "/invites/"+call, map[string]any{"invite": c.invite})
			if a.Status != c.status || a.Code() != c.code {
				t.Errorf("%s, %s: %d %s", what, call, a.Status, a.Body)
			}
		}
		if after := c.by.Rows(); !equal(before, after) {
			t.Errorf("%s left a trace: %v, then %v", what, before, after)
		}
	}
}

func equal(a, b map[string]int64) bool {
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	return len(a) == len(b)
}

// A server that is not set up for trials takes no invite to a private address.
func TestAPrivateAddressIsNoInvitingServer(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Insecure, c.URL = false, "https://cloud.example.org" }).Person("alice")
	for _, host := range []string{"127.0.0.1", "localhost:8443", "10.0.0.7", "[::1]", "[fd00::1]", "169.254.169.254"} {
		before := alice.Rows()
		a := alice.TryAPI("POST", "/invites/accept", map[string]any{"invite": base64.RawURLEncoding.EncodeToString([]byte("tok@" + host))})
		if a.Status != 400 || !strings.HasPrefix(a.Code(), "NOT_A_") || strings.Contains(a.Body, "refused") && !strings.Contains(a.Body, "not a public") {
			t.Errorf("%s: %d %s", host, a.Status, a.Body)
		}
		if !equal(before, alice.Rows()) {
			t.Errorf("%s left a trace", host)
		}
	}
}

func TestAnInviteToADeadServerWaitsAndIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	i := alice.Invite()
	alice.Stop()
	a := bob.AcceptInvite(i.InviteString)
	if a.State != "pending" || !strings.Contains(a.Reason, "does not answer") || a.Knows == "both" {
		t.Fatalf("%+v", a)
	}
	alice.Restart()
	weftest.Until(t, "the acceptance arrives", func() bool {
		alice.Advance(20 * time.Second) // past what is remembered of the failure
		bob.Advance(20 * time.Second)
		var again weftest.Acceptance
		bob.API("POST", "/acceptances/"+a.ID+"/retry", nil, &again)
		return again.State == "accepted"
	})
	if c := bob.Contacts("alice"); len(c) != 1 || !c[0].Invited {
		t.Errorf("Bob knows %+v", c)
	}
}

// invitePeer answers /invite-accepted as another server.
func invitePeer(t *testing.T, status int, body string) *weftest.Peer {
	t.Helper()
	p := weftest.NewPeer(t)
	p.Handle("POST /ocm/invite-accepted", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(body))
	})
	return p
}

func TestWhatTheInvitingServerAnswersIsExplained(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	for what, c := range map[string]struct {
		status              int
		body                string
		state, knows, words string
	}{
		"unknown token as reva says":  {404, `{}`, "failed", "nobody", "ask for a new one"},
		"unknown token":               {400, `{"message":"INVITE_INVALID"}`, "failed", "nobody", "ask for a new one"},
		"not trusted":                 {403, `{"message":"x"}`, "failed", "nobody", "does not take invites back from this server"},
		"taken":                       {409, `{}`, "unclear", "unclear", "accepted already"},
		"an answer that is a page":    {200, `<html>`, "halfway", "they", "enter their address by hand"},
		"an answer without a user":    {200, `{"name":"Alice"}`, "halfway", "they", "enter their address by hand"},
		"user with the host, no name": {200, `{"userID":"alice@https://HOST","email":"","name":""}`, "accepted", "both", ""},
		"created in place of ok":      {201, `{"userID":"alice2","email":"a@example.org","name":"Alice"}`, "accepted", "both", ""},
	} {
		p := invitePeer(t, c.status, c.body)
		p.Handle("POST /ocm/invite-accepted", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.status)
			w.Write([]byte(strings.ReplaceAll(c.body, "HOST", string(p.Host))))
		})
		invite := ocm.Invite{Token: "a token", Provider: p.Host}.InviteString()
		a := bob.AcceptInvite(invite)
		if a.State != c.state || a.Knows != c.knows || !strings.Contains(a.Reason, c.words) {
			t.Errorf("%s: %+v", what, a)
		}
		if n := len(bob.Contacts(string(p.Host))); (n == 1) != (c.state == "accepted") {
			t.Errorf("%s: %d contacts", what, n)
		}
		if c.state != "accepted" {
			p.Handle("POST /ocm/invite-accepted", func(w http.ResponseWriter, r *http.Request) {
				w.Write([]byte(`{"userID":"alice","email":"","name":"Alice"}`))
			})
			if again := bob.AcceptInvite(invite); again.ID != a.ID || again.State != "accepted" {
				t.Errorf("%s, accepted again: %+v", what, again)
			}
		}
	}
}

// accepting is the Invite Acceptance Request of a peer.
func accepting(p *weftest.Peer, token, user string) string {
	b, _ := json.Marshal(map[string]string{"recipientProvider": string(p.Host), "token": token, "userID": user, "email": "r@example.org", "name": "Richard"})
	return string(b)
}

func TestInviteAcceptedAnswersEveryStatus(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p, other := weftest.NewPeer(t), weftest.NewPeer(t)
	const path = "/ocm/invite-accepted"
	send := func(p *weftest.Peer, body string, change ...func(*http.Request)) weftest.Answer {
		return p.Post(alice.Site, path, "application/json", body, change...)
	}
	i := alice.Invite()
	secret := tokenOf(t, i)
	first := send(p, accepting(p, secret, "richard"))
	want(t, "accepted", first, 200)
	var answer ocm.InviteParty
	if err := json.Unmarshal([]byte(first.Body), &answer); err != nil || answer != (ocm.InviteParty{UserID: "alice", Name: "Alice"}) {
		t.Errorf("answered %s", first.Body)
	}
	if again := send(p, accepting(p, secret, "richard")); again.Status != 200 || again.Body != first.Body {
		t.Errorf("the same user again: %d %s", again.Status, again.Body)
	}
	if a := send(p, accepting(p, secret, "murray")); a.Status != 409 || a.Code() != "INVITE_ALREADY_ACCEPTED" {
		t.Errorf("another user: %d %s", a.Status, a.Body)
	}
	if a := send(other, accepting(other, secret, "richard")); a.Status != 409 {
		t.Errorf("another server: %d %s", a.Status, a.Body)
	}
	revoked := alice.Invite()
	alice.API("DELETE", "/invites/"+revoked.ID, nil, nil)
	expired := alice.Invite(map[string]any{"expiresAt": alice.Now().Add(time.Minute).Format(time.RFC3339)})
	unknown := send(p, accepting(p, "unknown", "richard"))
	alice.Advance(2 * time.Minute)
	p.Signer.Now, other.Signer.Now = alice.Now, alice.Now
	for what, a := range map[string]weftest.Answer{
		"unknown": unknown, "revoked": send(p, accepting(p, tokenOf(t, revoked), "richard")), "expired": send(p, accepting(p, tokenOf(t, expired), "richard")),
	} {
		if a.Status != 400 || a.Body != unknown.Body || a.Code() != "INVITE_INVALID" {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
	}
	open := tokenOf(t, alice.Invite())
	before := alice.Rows()
	for what, c := range map[string]struct {
		a      weftest.Answer
		status int
		code   string
	}{
		"unsigned though it signs":   {send(p, accepting(p, open, "x"), weftest.Unsigned), 401, "SIGNATURE_REQUIRED"},
		"signed by another":          {send(p, accepting(other, open, "x")), 403, "SENDER_MISMATCH"},
		"in the name of this server": {send(p, strings.Replace(accepting(p, open, "x"), string(p.Host), string(alice.Host), 1)), 403, "SENDER_MISMATCH"},
		"malformed":                  {send(p, `{"token":"x"}`), 400, "INVALID_PAYLOAD"},
		"not JSON":                   {p.Post(alice.Site, path, "text/plain", "x"), 415, "UNSUPPORTED_MEDIA_TYPE"},
	} {
		if c.a.Status != c.status || c.a.Code() != c.code {
			t.Errorf("%s: %d %s", what, c.a.Status, c.a.Body)
		}
	}
	if !equal(before, alice.Rows()) {
		t.Errorf("refusals left a trace")
	}
	// Whoever goes on trying is slowed down.
	weftest.Until(t, "guesses are slowed down", func() bool { return send(p, accepting(p, "guess", "x")).Status == 429 })
}

func TestADeletedContactIsInvitedAgain(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("Reef/a.txt", "a")
	bob.Put("Lagoon/b.txt", "b")
	sent := alice.Share("Reef", bob.Address)
	bob.Accept("Reef")
	bob.Share("Lagoon", alice.Address)
	alice.Accept("Lagoon")
	c := alice.Contacts("bob")[0]
	alice.API("DELETE", "/contacts/"+c.ID+"?endShares=true&tell=true", nil, nil)
	if len(alice.Contacts("")) != 0 {
		t.Error("the contact is still there")
	}
	weftest.Until(t, "Bob's server hears of all of it", func() bool {
		return bob.Contacts("alice")[0].GoneAt != "" && alice.SentState(sent.ID) == "ended" && bob.Shares().Sent[0].State == "declined"
	})
	bob.Inbox("Reef", "ended")
	alice.Befriend(bob)
	if c := bob.Contacts("alice"); len(c) != 1 || c[0].GoneAt != "" {
		t.Errorf("Bob knows %+v", c)
	}
	if c := alice.Contacts("bob"); len(c) != 1 {
		t.Errorf("Alice knows %+v", c)
	}
	// Others there know Alice by the same address: they would lose her too.
	carol := bob.Site.Person("carol")
	carol.Befriend(alice)
	if a := alice.TryAPI("DELETE", "/contacts/"+alice.Contacts("bob")[0].ID+"?tell=true", nil); a.Status != 409 || a.Code() != "KNOWN_TO_OTHERS" {
		t.Errorf("telling: %d %s", a.Status, a.Body)
	}
	alice.API("DELETE", "/contacts/"+alice.Contacts("bob")[0].ID, nil, nil)
}

func TestPseudonymsAreOneForEachContact(t *testing.T) {
	t.Parallel()
	pseudonyms := func(c *config.Config) { c.Federation.Pseudonyms = true }
	alice, bob, carol := weftest.Start(t, pseudonyms).Person("alice"), weftest.Start(t, pseudonyms).Person("bob"), weftest.Start(t).Person("carol")
	alice.Befriend(bob)
	alice.Befriend(carol)
	forBob, forCarol := bob.Contacts("Alice")[0], carol.Contacts("Alice")[0]
	if forBob.Address == alice.Address || strings.TrimSuffix(forBob.Address, string(alice.Host)) == strings.TrimSuffix(forCarol.Address, string(alice.Host)) {
		t.Fatalf("known as %s and %s", forBob.Address, forCarol.Address)
	}
	if got := alice.Contacts("bob")[0]; got.KnownAs != forBob.Address || got.Address == bob.Address {
		t.Errorf("Alice sees %+v", got)
	}
	bothShare(t, alice, bob)
	for _, r := range bob.Shares().Received {
		if r.Sender != forBob.Address {
			t.Errorf("Bob sees the sender %s, not the contact %s", r.Sender, forBob.Address)
		}
	}
	if n := bob.Contacts(""); len(n) != 1 {
		t.Errorf("the share made another contact: %+v", n)
	}
	// Another server cannot use it.
	carol.Put("X/x", "x")
	sent := carol.Share("X", forBob.Address)
	weftest.Until(t, "a pseudonym of another server is nobody", func() bool { return carol.SentState(sent.ID) == "failed" })
	// It ends with its contact.
	alice.API("DELETE", "/contacts/"+alice.Contacts("bob")[0].ID, nil, nil)
	bob.Put("Y/y", "y")
	sent = bob.Share("Y", forBob.Address)
	weftest.Until(t, "the pseudonym has ended", func() bool { return bob.SentState(sent.ID) == "failed" })
	var one weftest.Invite
	carol.API("POST", "/invites", map[string]any{"pseudonym": true}, &one)
	if a := bob.AcceptInvite(one.InviteString); !strings.HasPrefix(a.Name, "Carol") || a.Contact == carol.Address {
		t.Errorf("an invite with a pseudonym: %+v", a)
	}
}

func TestAnAcceptanceIsForgottenOrTakenUpAfresh(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	i := alice.Invite()
	first := bob.AcceptInvite(i.InviteString)
	bob.API("DELETE", "/contacts/"+bob.Contacts("")[0].ID, nil, nil)
	again := bob.AcceptInvite(i.InviteString) // their server answers as the first time
	if again.ID != first.ID || again.State != "accepted" || len(bob.Contacts("alice")) != 1 {
		t.Errorf("accepted afresh: %+v", again)
	}
	bob.API("DELETE", "/acceptances/"+first.ID, nil, nil)
	if len(bob.Contacts("alice")) != 1 || bob.Rows()["acceptances"] != 0 {
		t.Errorf("forgotten: %+v, %v", bob.Contacts(""), bob.Rows())
	}
	dead := bob.AcceptInvite(ocm.Invite{Token: "x", Provider: "localhost:1"}.InviteString())
	if dead.State != "pending" {
		t.Fatalf("%+v", dead)
	}
	weftest.Until(t, "what waits is given up", func() bool { return bob.TryAPI("DELETE", "/acceptances/"+dead.ID, nil).Status < 300 })
	if n := bob.Rows(); n["outbox"] != 0 || n["acceptances"] != 0 {
		t.Errorf("given up: %v", n)
	}
	if a := bob.TryAPI("DELETE", "/acceptances/"+dead.ID, nil); a.Status != 404 {
		t.Errorf("again: %d %s", a.Status, a.Body)
	}
}

func TestAFullAddressBookIsSaid(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	fill := func(p *weftest.Person, from, to int) {
		t.Helper()
		_, err := p.Server.DB.Write.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO contacts SELECT 'id' || i, ?, 'u' || i || '@x.example', 'x.example', '', '', '', 0, 0, 0, '[]', '', '', 0, 0, 0 FROM n`, from, to, p.User.ID)
		if err != nil {
			t.Fatal(err)
		}
	}
	i := alice.Invite()
	fill(bob, 1, 10_000)
	if a := bob.TryAPI("POST", "/invites/accept", map[string]any{"invite": i.InviteString}); a.Code() != "ADDRESS_BOOK_FULL" {
		t.Errorf("accepting: %d %s", a.Status, a.Body)
	}
	fill(alice, 1, 10_000)
	p := weftest.NewPeer(t)
	a := p.Post(alice.Site, "/ocm/invite-accepted", "application/json", accepting(p, tokenOf(t, i), "richard"))
	if a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("the inviter's book is full: %d %s", a.Status, a.Body)
	}
	// It fills up while the other server answers.
	carol := bob.Site.Person("carol")
	if _, err := carol.Server.DB.Write.ExecContext(t.Context(), "DELETE FROM contacts"); err != nil {
		t.Fatal(err)
	}
	fill(carol, 1, 9_999)
	slow := invitePeer(t, 200, `{"userID":"alice"}`)
	slow.Handle("POST /ocm/invite-accepted", func(w http.ResponseWriter, r *http.Request) {
		fill(carol, 10_000, 10_000)
		w.Write([]byte(`{"userID":"alice"}`))
	})
	half := carol.AcceptInvite(ocm.Invite{Token: "x", Provider: slow.Host}.InviteString())
	if half.State != "halfway" || half.Knows != "they" || !strings.Contains(half.Reason, "alice@"+string(slow.Host)) {
		t.Errorf("%+v", half)
	}
}

func TestInvitesOfARemovedUserEnd(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	i := alice.Invite()
	if err := alice.Server.RemoveUser(t.Context(), alice.User); err != nil {
		t.Fatal(err)
	}
	if a := bob.AcceptInvite(i.InviteString); a.State != "failed" {
		t.Errorf("%+v", a)
	}
	if _, err := alice.Server.Accounts.Add(t.Context(), account.NewUser{Name: "alice", Password: "another password"}); err != nil {
		t.Fatal(err)
	}
}
