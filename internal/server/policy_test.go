package server_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/directory"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

func rule(t *testing.T, s *weftest.Site, pattern string, action peer.Action, note string) {
	t.Helper()
	if _, err := s.Server.Policy.Set(t.Context(), peer.Rule{Pattern: pattern, Action: action, Note: note}); err != nil {
		t.Fatal(err)
	}
}

// explained is what `weft explain` says of an answer.
func explained(t *testing.T, s *weftest.Site, a weftest.Answer) string {
	t.Helper()
	id := a.Header.Get("X-Request-Id")
	var text string
	weftest.Until(t, "the decision on "+id+" is kept", func() bool {
		d, err := s.Server.Explain(t.Context(), id)
		if err != nil {
			return false
		}
		text = fmt.Sprintf("%+v", *d)
		return true
	})
	return text
}

func says(t *testing.T, what, text string, needs ...string) {
	t.Helper()
	for _, n := range needs {
		if !strings.Contains(text, n) {
			t.Errorf("%s does not say %q: %s", what, n, text)
		}
	}
}

func TestADeniedServerIsKeptOutInEveryDirection(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("Reef/a.txt", "a")
	bob.Put("Lagoon/b.txt", "b")
	alice.Share("Reef", bob.Address)
	bob.Share("Lagoon", alice.Address)
	bob.Accept("Reef")
	alice.Accept("Lagoon")
	bob.Get("Shared with me/Reef/a.txt")
	alice.Get("Shared with me/Lagoon/b.txt")

	p := weftest.NewPeer(t)
	want(t, "a share before", p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, nil)), 201)
	rule(t, alice.Site, "*", peer.Deny, "maintenance")
	denied := p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"providerId": "2"}))
	if denied.Status != 403 || denied.Code() != "PEER_DENIED" {
		t.Errorf("a share: %d %s", denied.Status, denied.Body)
	}
	says(t, "the explanation", explained(t, alice.Site, denied), "PEER_DENIED", "deny for "+string(p.Host), "rule * (maintenance)")
	if a := p.Post(alice.Site, "/ocm/invite-accepted", "application/json", accepting(p, "x", "y")); a.Code() != "PEER_DENIED" {
		t.Errorf("an invite: %d %s", a.Status, a.Body)
	}
	if a := p.Post(alice.Site, "/ocm/token", "application/x-www-form-urlencoded", "grant_type=authorization_code&code=x&client_id="+string(p.Host)); a.Status != 400 || a.Code() != "unauthorized_client" {
		t.Errorf("a token: %d %s", a.Status, a.Body)
	}
	if a := bob.DAV("GET", "Shared with me/Reef/a.txt", ""); a.Status == 200 {
		t.Error("Bob still reads Alice's file")
	}
	if a := alice.DAV("GET", "Shared with me/Lagoon/b.txt", ""); a.Status != 403 || a.Code() != "PEER_DENIED_HERE" {
		t.Errorf("Alice reads Bob's file: %d %s", a.Status, a.Body)
	}
	mine := alice.TryAPI("POST", "/shares", map[string]any{"path": "Reef", "with": "eve@" + string(p.Host)})
	if mine.Status != 403 || mine.Code() != "PEER_DENIED_HERE" || !strings.Contains(mine.Body, string(p.Host)) {
		t.Errorf("a share of ours: %d %s", mine.Status, mine.Body)
	}
	if a := alice.TryAPI("POST", "/invites/accept", map[string]any{"invite": "tok@" + string(p.Host)}); a.Code() != "PEER_DENIED_HERE" {
		t.Errorf("an invite of theirs: %d %s", a.Status, a.Body)
	}
	var d ocm.Discovery
	json.Unmarshal([]byte(get(t, alice.Site, "/.well-known/ocm").Body), &d)
	if !d.HasCriterion(ocm.CriterionDenylist) {
		t.Errorf("criteria %v", d.Criteria)
	}
	// The operator of another process changes their mind; it holds at once.
	if err := alice.Server.Policy.Unset(t.Context(), "*"); err != nil {
		t.Fatal(err)
	}
	alice.Get("Shared with me/Lagoon/b.txt")
	accepted := p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"providerId": "3"}))
	want(t, "a share after", accepted, 201)
	says(t, "the explanation", explained(t, alice.Site, accepted), "mode open", "verified with the key "+string(p.Host)+"#1", "stored as", "0 know einstein@")
}

func TestAnAllowlistAndADirectoryLetMembersIn(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	carol := weftest.Start(t).Person("carol")
	listed := weftest.Start(t, func(c *config.Config) { c.Federation.Mode = "allowlist" }).Person("alice")
	for _, p := range []*weftest.Person{bob, carol} {
		p.Put("Reef/a", "a")
	}
	rule(t, listed.Site, string(bob.Host), peer.Allow, "")
	sent, refused := bob.Share("Reef", listed.Address), carol.Share("Reef", listed.Address)
	listed.Inbox("Reef", "pending")
	weftest.Until(t, "Carol is refused", func() bool { return carol.SentState(refused.ID) == "failed" })
	if r := carol.Shares().Sent[0].Reason; !strings.Contains(r, "does not deal with this server") {
		t.Errorf("Carol reads %q", r)
	}
	if bob.SentState(sent.ID) == "failed" {
		t.Error("Bob is refused")
	}
	if a := listed.TryAPI("POST", "/shares", map[string]any{"path": "x", "with": carol.Address}); a.Status != 404 && a.Code() != "PEER_DENIED_HERE" {
		t.Errorf("sharing out of the allowlist: %d %s", a.Status, a.Body)
	}

	// The directory of a federation, published by Carol's server.
	key := newKey(t)
	publish(t, carol.Site, key, map[string]string{string(carol.Host): "Carol's", "cloud.example.org": "Elsewhere"})
	member := weftest.Start(t, func(c *config.Config) { c.Federation.Mode = "directory" }).Person("dora")
	if _, err := member.Server.Directories.Subscribe(t.Context(), carol.Origin+"/ocm/directory", publicPEM(t, newKey(t))); err == nil || !strings.Contains(err.Error(), "not signed with the key") {
		t.Errorf("with a wrong key: %v", err)
	}
	if _, err := member.Server.Directories.Subscribe(t.Context(), carol.Origin+"/ocm/directory", publicPEM(t, key)); err != nil {
		t.Fatal(err)
	}
	in, out := carol.Share("Reef", member.Address), bob.Share("Reef", member.Address)
	member.Inbox("Reef", "pending")
	weftest.Until(t, "Bob is refused", func() bool { return bob.SentState(out.ID) == "failed" })
	if carol.SentState(in.ID) == "failed" {
		t.Error("Carol is refused")
	}
	var servers []struct{ Host, Name, Federation string }
	member.API("GET", "/servers?q=elsewhere", nil, &servers)
	if len(servers) != 1 || servers[0].Host != "cloud.example.org" || servers[0].Federation != "The Federation" {
		t.Errorf("listed: %+v", servers)
	}
	// The WAYF page offers them, and leads on.
	i := member.Invite()
	link, _ := url.Parse(i.Link)
	page := get(t, member.Site, link.RequestURI()).Body
	says(t, "the page", page, "Carol&#39;s", string(carol.Host), "The Federation", "<datalist")
	q := link.Query()
	q.Set("server", string(carol.Host))
	sentOn := get(t, member.Site, "/wayf?"+q.Encode())
	want(t, "a member", sentOn, 303)
	q.Set("server", string(bob.Host))
	if a := get(t, member.Site, "/wayf?"+q.Encode()); a.Status != 400 || !strings.Contains(a.Body, "or it does not deal with it") {
		t.Errorf("a stranger: %d %s", a.Status, a.Body)
	}
	// Carol, who is listed, accepts on her own server; then both share.
	target, _ := url.Parse(sentOn.Header.Get("Location"))
	done := post(t, carol.Site, "/accept-invite", url.Values{
		"token": {target.Query().Get("token")}, "providerDomain": {target.Query().Get("providerDomain")}, "user": {"carol"}, "password": {"a long password"},
	})
	want(t, "accepting", done, 200)
	bothShare(t, member, carol)
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

// publish has a site serve a list of hosts and their names.
func publish(t *testing.T, s *weftest.Site, key crypto.Signer, servers map[string]string) {
	t.Helper()
	if err := s.Server.Directories.Publish(t.Context(), signed(t, key, list(servers))); err != nil {
		t.Fatal(err)
	}
}

func list(servers map[string]string) *ocm.Directory {
	d := &ocm.Directory{Federation: "The Federation"}
	for host, name := range servers {
		scheme := "https://"
		if strings.HasPrefix(host, "localhost") {
			scheme = "http://"
		}
		d.Servers = append(d.Servers, ocm.DirectoryServer{URL: scheme + host, DisplayName: name})
	}
	return d
}

func signed(t *testing.T, key crypto.Signer, d *ocm.Directory) []byte {
	t.Helper()
	doc, err := directory.Sign(d, key)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestABadDirectoryLeavesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	key, wrong := newKey(t), newKey(t)
	var document atomic.Pointer[[]byte]
	serve := func(b []byte) { document.Store(&b) }
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b := *document.Load(); b != nil {
			w.Write(b)
			return
		}
		http.Error(w, "gone", http.StatusInternalServerError)
	}))
	defer service.Close()
	good := list(map[string]string{"one.example": "One", "two.example": "Two"})
	good.IssuedAt = alice.Now().Add(-time.Hour).Truncate(time.Second)
	serve(signed(t, key, good))
	d := alice.Server.Directories
	if sub, err := d.Subscribe(t.Context(), service.URL, publicPEM(t, key)); err != nil || sub.Federation != "The Federation" || sub.Servers != 2 {
		t.Fatalf("%+v, %v", sub, err)
	}
	many := list(nil)
	for i := range 100_000 / 20 {
		many.Servers = append(many.Servers, ocm.DirectoryServer{URL: fmt.Sprintf("https://s%d.example", i), DisplayName: "S"})
	}
	many.Servers = append(many.Servers, ocm.DirectoryServer{URL: "https://one-more.example", DisplayName: "S"})
	expired, older := *good, *good
	expired.ExpiresAt = alice.Now().Add(-time.Minute)
	older.IssuedAt = good.IssuedAt.Add(-time.Hour)
	with := func(servers ...ocm.DirectoryServer) *ocm.Directory {
		return &ocm.Directory{Federation: "The Federation", Servers: append(servers, good.Servers...), IssuedAt: alice.Now()}
	}
	for what, c := range map[string]struct {
		document []byte
		says     string
	}{
		"a wrong key":              {signed(t, wrong, good), "not signed with the key"},
		"no signature":             {[]byte(`{"federation":"F","servers":[]}`), "not a JWS"},
		"an error":                 {nil, "has trouble just now"},
		"an expired list":          {signed(t, key, &expired), "has expired"},
		"an older list":            {signed(t, key, &older), "older than the one we have"},
		"too many servers":         {signed(t, key, many), "5001 servers"},
		"a server twice":           {signed(t, key, with(ocm.DirectoryServer{URL: "https://ONE.example:443", DisplayName: "Uno"})), "again"},
		"a path":                   {signed(t, key, with(ocm.DirectoryServer{URL: "https://three.example/ocm", DisplayName: "Three"})), "scheme and a host alone"},
		"a name in other letters":  {signed(t, key, with(ocm.DirectoryServer{URL: "https://xn--ne-emc.example", DisplayName: "One"})), "mixes letters"},
		"a name that looks so":     {signed(t, key, with(ocm.DirectoryServer{URL: "https://xn--e1awd7f.example", DisplayName: "Epic"})), "looks like"},
		"letters that hide others": {signed(t, key, with(ocm.DirectoryServer{URL: "https://оne.example", DisplayName: "One"})), "xn-- form"},
	} {
		serve(c.document)
		sub, err := d.Refresh(t.Context(), service.URL)
		if err == nil || sub == nil || !strings.Contains(sub.Failure, c.says) {
			t.Errorf("%s: %+v, %v", what, sub, err)
			continue
		}
		if servers, err := d.Servers(t.Context(), "", 10); err != nil || len(servers) != 2 {
			t.Errorf("%s changed the list: %+v, %v", what, servers, err)
		}
	}
	undated := *good
	undated.IssuedAt = time.Time{}
	serve(signed(t, key, &undated))
	if sub, err := d.Refresh(t.Context(), service.URL); err == nil || !strings.Contains(sub.Failure, "older") {
		t.Errorf("a list without a date replaced a dated one: %v", err)
	}
	newer := with(ocm.DirectoryServer{URL: "https://three.example", DisplayName: "Three"})
	newer.IssuedAt, newer.ExpiresAt = alice.Now(), alice.Now().Add(time.Hour)
	serve(signed(t, key, newer))
	if sub, err := d.Refresh(t.Context(), service.URL); err != nil || sub.Failure != "" || sub.Servers != 3 {
		t.Errorf("mended: %+v, %v", sub, err)
	}
	alice.Advance(2 * time.Hour)
	if servers, _ := d.Servers(t.Context(), "", 10); len(servers) != 0 {
		t.Errorf("after its end: %+v", servers)
	}
	if _, member, _ := d.Member(t.Context(), "three.example"); member {
		t.Error("a list that has ended makes members")
	}
	if err := d.Unsubscribe(t.Context(), service.URL); err != nil {
		t.Fatal(err)
	}
	if servers, _ := d.Servers(t.Context(), "", 10); len(servers) != 0 {
		t.Errorf("unsubscribed: %+v", servers)
	}
}

func TestQuarantineKeepsStrangersApart(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Federation.Quarantine = true }).Person("alice")
	bob := weftest.Start(t).Person("bob")
	limited := weftest.NewPeer(t)
	alice.Befriend(bob)
	bob.Put("Reef/a", "a")
	bob.Share("Reef", alice.Address)
	alice.Inbox("Reef", "pending") // who is known goes by
	p := weftest.NewPeer(t)
	stored := p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"name": "Strange"}))
	want(t, "a stranger's share", stored, 201)
	says(t, "the explanation", explained(t, alice.Site, stored), "in quarantine: the sender is in nobody's address book")
	strange := alice.Inbox("Strange", "quarantined")
	alice.API("POST", "/received/"+strange.ID+"/report", map[string]any{"message": "spam"}, nil)
	alice.API("POST", "/received/"+strange.ID+"/block", nil, nil)
	alice.Inbox("Strange", "declined")
	again := p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"providerId": "again"}))
	if again.Status != 400 || again.Code() != "RECIPIENT_NOT_FOUND" {
		t.Errorf("who is blocked is told: %d %s", again.Status, again.Body)
	}
	unknown := p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"shareWith": "nobody@" + string(alice.Host)}))
	if unknown.Status != again.Status || unknown.Body != again.Body {
		t.Errorf("who is blocked can tell: %s, %s", again.Body, unknown.Body)
	}
	reports, err := alice.Server.Sharing.Reports(t.Context(), p.Host)
	if err != nil || len(reports) != 1 || reports[0].Message != "spam" || reports[0].Sender != "einstein@"+string(p.Host) {
		t.Errorf("reports: %+v, %v", reports, err)
	}
	other := weftest.NewPeer(t)
	want(t, "another stranger", other.Post(alice.Site, "/ocm/shares", "application/json", other.ShareFor(alice, map[string]any{"name": "Fine"})), 201)
	fine := alice.Inbox("Fine", "quarantined")
	alice.API("POST", "/received/"+fine.ID+"/accept", nil, nil)
	if c := alice.Contacts("einstein@" + string(other.Host)); len(c) != 1 || c[0].Source != "share" || c[0].Invited {
		t.Errorf("after accepting Alice knows %+v", c)
	}
	want(t, "the next one of theirs", other.Post(alice.Site, "/ocm/shares", "application/json", other.ShareFor(alice, map[string]any{"name": "Next", "providerId": "next"})), 201)
	alice.Inbox("Next", "pending")

	// What the operator limits waits apart whoever sends it.
	rule(t, alice.Site, string(limited.Host), peer.Limit, "many reports")
	alice.API("POST", "/contacts", map[string]any{"address": "einstein@" + string(limited.Host), "trusted": true}, nil)
	want(t, "a share of a limited server", limited.Post(alice.Site, "/ocm/shares", "application/json", limited.ShareFor(alice, map[string]any{"name": "Limited"})), 201)
	if r := alice.Inbox("Limited", "quarantined"); r.Reason != "the operator limits the sender's server" {
		t.Errorf("the reason is %q", r.Reason)
	}
}

func TestTrustedContactsNeedNoAcceptance(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("Reef/a.txt", "a")
	c := bob.Contacts("alice")[0]
	bob.API("PATCH", "/contacts/"+c.ID, map[string]any{"trusted": true, "labels": []string{"Reef", "diving"}, "note": "met in Vienna"}, &c)
	if !c.Trusted || len(c.Labels) != 2 {
		t.Errorf("%+v", c)
	}
	sent := alice.Share("Reef", "bob") // the one contact of that name
	if sent.With != bob.Address {
		t.Errorf("shared with %s", sent.With)
	}
	bob.Inbox("Reef", "accepted")
	if got := bob.Get("Shared with me/Reef/a.txt"); got != "a" {
		t.Errorf("read %q", got)
	}
	weftest.Until(t, "Alice learns of it", func() bool { return alice.SentState(sent.ID) == "accepted" })
	if n := len(bob.Contacts("vienna DIVING")); n != 1 {
		t.Errorf("found %d", n)
	}
	// A name alone is no proof: what is not signed is not accepted by itself.
	p := weftest.NewPeer(t)
	p.Document.Capabilities = nil
	bob.API("POST", "/contacts", map[string]any{"address": "einstein@" + string(p.Host), "trusted": true}, nil)
	want(t, "an unsigned share", p.Post(bob.Site, "/ocm/shares", "application/json", p.ShareFor(bob, nil), weftest.Unsigned), 201)
	bob.Inbox("Field notes", "pending")
}

func TestWhoIsBlockedReachesNobodyThroughAGroup(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	bob, carol := site.Person("bob"), site.Person("carol")
	g, err := site.Server.Accounts.AddGroup(t.Context(), "divers", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := site.Server.Accounts.AddMember(t.Context(), g.ID, carol.User.ID); err != nil {
		t.Fatal(err)
	}
	p := weftest.NewPeer(t)
	bob.API("POST", "/contacts", map[string]any{"address": "einstein@" + string(p.Host), "blocked": true}, nil)
	share := p.ShareFor(bob, map[string]any{"shareWith": "divers@" + string(site.Host), "shareType": "group"})
	want(t, "a share with the group", p.Post(site, "/ocm/shares", "application/json", share), 201)
	carol.Inbox("Field notes", "pending")
	if err := site.Server.Accounts.AddMember(t.Context(), g.ID, bob.User.ID); err != nil {
		t.Fatal(err)
	}
	bob.Inbox("Field notes", "declined")
	// Someone here who is blocked notices nothing.
	carol.Put("X/x", "x")
	bob.API("POST", "/contacts", map[string]any{"address": "carol", "blocked": true}, nil)
	carol.Share("X", "bob")
	bob.Inbox("X", "declined")
}

func TestANewKeyOfAKnownServerIsKeptAndWaitsForApproval(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Federation.ApproveKeys = true }).Person("alice")
	open := weftest.Start(t).Person("otto")
	p := weftest.NewPeer(t)
	send := func(to *weftest.Person, id string) weftest.Answer {
		return p.Post(to.Site, "/ocm/shares", "application/json", p.ShareFor(to, map[string]any{"providerId": id}))
	}
	want(t, "the first key", send(alice, "1"), 201)
	want(t, "the first key, elsewhere", send(open, "1"), 201)
	_, key, _ := ed25519.GenerateKey(nil)
	first := p.Signer
	p.Signer = &httpsig.Signer{KID: string(p.Host) + "#2", Key: key, Now: alice.Now}
	p.SetKeys(first.JWK(), p.Signer.JWK())
	weftest.Until(t, "the other server takes the new key by itself", func() bool {
		alice.Advance(time.Minute) // keys are fetched again once a minute at most
		open.Advance(time.Minute)
		return send(open, "2").Status == 201
	})
	waiting := send(alice, "2")
	if waiting.Status != 503 || waiting.Code() != "KEY_NOT_APPROVED" || waiting.Header.Get("Retry-After") != "3600" {
		t.Fatalf("a new key: %d %s", waiting.Status, waiting.Body)
	}
	says(t, "the explanation", explained(t, alice.Site, waiting), "KEY_NOT_APPROVED", "weft peer keys "+string(p.Host)+" --approve")
	r, err := alice.Server.Peers.Record(t.Context(), p.Host)
	if err != nil || len(r.Keys) != 2 || !r.Keys[0].Joined || r.Keys[0].State != "waiting" || r.Keys[1].State != "trusted" {
		t.Errorf("%+v, %v", r.Keys, err)
	}
	if r.Received != 1 || r.Profile.Name == "" || r.Discovery == nil {
		t.Errorf("the record: %+v", r)
	}
	if err := alice.Server.Peers.DecideKey(t.Context(), p.Host, p.Signer.KID, peer.KeyTrusted); err != nil {
		t.Fatal(err)
	}
	want(t, "the approved key", send(alice, "2"), 201)
	if err := alice.Server.Peers.DecideKey(t.Context(), p.Host, first.KID, peer.KeyRejected); err != nil {
		t.Fatal(err)
	}
	p.Signer, first.Now = first, alice.Now
	if a := send(alice, "3"); a.Status != 401 || a.Code() != "KEY_UNACCEPTABLE" {
		t.Errorf("a rejected key: %d %s", a.Status, a.Body)
	}
}

func TestRulesForOneServer(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	plain, signing := weftest.NewPeer(t), weftest.NewPeer(t)
	plain.Document.Capabilities = nil
	send := func(p *weftest.Peer, id string, change ...func(*http.Request)) weftest.Answer {
		return p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"providerId": id}), change...)
	}
	want(t, "unsigned by one that cannot", send(plain, "1", weftest.Unsigned), 201)
	for _, r := range []peer.Rule{{Pattern: string(plain.Host), MustSign: peer.Yes}, {Pattern: string(signing.Host), MustInvite: peer.Yes}} {
		if _, err := alice.Server.Policy.Set(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if a := send(plain, "2", weftest.Unsigned); a.Status != 401 || a.Code() != "SIGNATURE_REQUIRED" {
		t.Errorf("must-sign: %d %s", a.Status, a.Body)
	}
	refused := send(signing, "1")
	if refused.Status != 403 || refused.Code() != "INVITE_REQUIRED" {
		t.Errorf("must-invite: %d %s", refused.Status, refused.Body)
	}
	says(t, "the explanation", explained(t, alice.Site, refused), "INVITE_REQUIRED", "0 by an invite")
	if _, err := alice.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(signing.Host), MustExchange: peer.Yes}); err != nil {
		t.Fatal(err)
	}
	if a := send(signing, "1"); a.Status != 400 || a.Code() != "TOKEN_EXCHANGE_REQUIRED" {
		t.Errorf("must-exchange: %d %s", a.Status, a.Body)
	}
}
