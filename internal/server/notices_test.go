package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// kinds are those of a person's notices, sorted.
func kinds(p *weftest.Person) string {
	p.T.Helper()
	var out []string
	for _, n := range p.Notices() {
		out = append(out, n.Kind)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestBothSidesAreToldOfAShare(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/a.txt", "a")
	sent := alice.Share("Reef", bob.Address, "read")
	got := bob.Told("share-received")
	if got.About.Name != "Reef" || got.About.Who != alice.Address || got.About.WhoName != "Alice" || got.Read || got.RequestID == "" || got.About.Share != bob.Inbox("Reef", "pending").ID {
		t.Errorf("%+v", got)
	}
	bob.Accept("Reef")
	got = alice.Told("accepted")
	if got.About.Share != sent.ID || got.About.Path != "Reef" || got.About.Who != bob.Address || got.RequestID == "" {
		t.Errorf("%+v", got)
	}
	if n := bob.Told("share-received"); !n.Read {
		t.Error("what Bob answered still waits for him")
	}
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read", "write"}}, nil)
	if got = bob.Told("rights-changed"); !slices.Equal(got.About.Rights, []string{"read", "write"}) {
		t.Errorf("%+v", got)
	}
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	if got = bob.Told("received-ended"); got.About.Reason != "owner" {
		t.Errorf("%+v", got)
	}
	if got := kinds(alice); got != "accepted" {
		t.Errorf("Alice was told of %s", got)
	}
	if got := kinds(bob); got != "received-ended rights-changed share-received" {
		t.Errorf("Bob was told of %s", got)
	}

	for _, c := range []struct{ name, answer, want string }{{"A", "decline", "declined"}, {"B", "leave", "given-back"}} {
		alice.Put(c.name+"/a.txt", "a")
		sent := alice.Share(c.name, bob.Address)
		r := bob.Inbox(c.name, "pending")
		if c.answer == "leave" {
			bob.Accept(c.name)
		}
		bob.API("POST", "/received/"+r.ID+"/"+c.answer, nil, nil)
		if n := alice.Told(c.want); n.About.Share != sent.ID || n.About.Name != c.name {
			t.Errorf("%+v", n)
		}
	}
}

func TestPeopleOfOneServerAreToldToo(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	alice.Put("Docs/a.txt", "a")
	sent := alice.Share("Docs", "bob", "read")
	bob.Accept("Docs")
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read", "write"}}, nil)
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	if got := kinds(alice); got != "accepted" {
		t.Errorf("Alice was told of %s", got)
	}
	if got := kinds(bob); got != "received-ended rights-changed share-received" {
		t.Errorf("Bob was told of %s", got)
	}
}

func TestAMemberOfAGroupIsToldButNotTheOwner(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	g, err := site.Server.Accounts.AddGroup(t.Context(), "staff", "Staff")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*weftest.Person{alice, bob} {
		if err := site.Server.Accounts.AddMember(t.Context(), g.ID, p.User.ID); err != nil {
			t.Fatal(err)
		}
	}
	alice.Put("Docs/a.txt", "a")
	alice.API("POST", "/shares", map[string]any{"path": "Docs", "with": "staff", "group": true}, nil)
	if alice, bob := kinds(alice), kinds(bob); alice != "" || bob != "share-received" {
		t.Errorf("Alice was told of %q, Bob of %q", alice, bob)
	}
	if err := site.Server.RemoveGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if n := bob.Told("received-ended"); n.About.Reason != "group" {
		t.Errorf("%+v", n)
	}
}

func TestAFailedDeliveryIsToldWithTheReasonAndResent(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("a.txt", "a")
	sent := alice.Share("a.txt", "nobody@"+string(bob.Host))
	n := alice.Told("delivery-failed")
	if n.About.Share != sent.ID || n.About.Reason != "no-recipient" || n.About.Code != "RECIPIENT_NOT_FOUND" || n.About.Host != string(bob.Host) {
		t.Errorf("%+v", n)
	}
	bob.Person("nobody")
	alice.API("POST", "/shares/"+sent.ID+"/resend", nil, nil)
	weftest.Until(t, "it is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
	if n := alice.Told("delivery-failed"); !n.Read {
		t.Error("the failure still waits for Alice")
	}
}

func TestTheEndOfAShareIsToldBeforehandOnceAndWhenItComes(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Long/a", "a")
	alice.Put("Short/a", "a")
	end := time.Now().Add(40 * 24 * time.Hour)
	alice.API("POST", "/shares", map[string]any{"path": "Long", "with": bob.Address, "expiresAt": end}, nil)
	alice.API("POST", "/shares", map[string]any{"path": "Short", "with": bob.Address, "expiresAt": time.Now().Add(4 * time.Hour)}, nil)
	bob.Accept("Long")
	bob.Accept("Short")
	alice.Told("accepted")
	sweep := func(ahead time.Duration) {
		t.Helper()
		for _, p := range []*weftest.Person{alice, bob} {
			p.Advance(ahead)
			if err := p.Server.Sharing.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	told := func(p *weftest.Person, kind string) (names string) {
		for _, n := range p.Notices() {
			if n.Kind == kind {
				names += n.About.Name + " "
			}
		}
		return names
	}
	sweep(0)
	if got := told(alice, "sent-expires") + told(bob, "received-expires"); got != "" {
		t.Errorf("told too early: %s", got)
	}
	sweep(3*time.Hour + 30*time.Minute)
	sweep(0)
	if a, b := told(alice, "sent-expires"), told(bob, "received-expires"); a != "Short " || b != "Short " {
		t.Errorf("%q, %q", a, b)
	}
	sweep(37 * 24 * time.Hour)
	sweep(24 * time.Hour)
	if a, b := told(alice, "sent-expires"), told(bob, "received-expires"); a != "Long Short " || b != "Long Short " {
		t.Errorf("%q, %q", a, b)
	}
	sweep(7 * 24 * time.Hour)
	sweep(0)
	if a, b := told(alice, "sent-expired"), told(bob, "received-ended"); a != "Long Short " || b != "Long Short " {
		t.Errorf("%q, %q", a, b)
	}
	for _, n := range bob.Notices() {
		if n.Kind == "received-ended" && n.About.Reason != "time" {
			t.Errorf("%+v", n)
		}
	}
}

func TestInvitesAreTold(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	n := alice.Told("invite-accepted")
	if n.About.Who != bob.Address || n.About.WhoName != "Bob" || n.About.Contact != alice.Contacts("bob")[0].ID {
		t.Errorf("%+v", n)
	}
	if got := kinds(bob); got != "" {
		t.Errorf("Bob, who saw it happen, was told of %s", got)
	}
	invite := alice.Invite()
	alice.API("DELETE", "/invites/"+invite.ID, nil, nil)
	if a := bob.AcceptInvite(invite.InviteString); a.State != "failed" {
		t.Fatalf("%+v", a)
	}
	if n := bob.Told("acceptance-failed"); n.About.Reason != "invite-unknown" || n.About.Host != string(alice.Host) {
		t.Errorf("%+v", n)
	}
}

func TestAnAcceptanceThatTookLongIsTold(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	carol := weftest.Start(t).Person("carol")
	carol.Befriend(bob) // so that her server is known to his
	invite := alice.Invite()
	alice.Stop()
	a := bob.AcceptInvite(invite.InviteString)
	if a.State != "pending" {
		t.Fatalf("%+v", a)
	}
	bob.Advance(10 * time.Second)
	alice.Restart()
	if n := bob.Told("acceptance-done"); n.About.Acceptance != a.ID || n.About.Who != alice.Address {
		t.Errorf("%+v", n)
	}
}

func TestRequestsAreTold(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("Data/a.txt", "a")
	r := ask(bob, alice.Address, "Data", map[string]any{"folder": true, "message": "please"})
	n := alice.Told("asked")
	if n.About.Who != bob.Address || n.About.Path != "Data" || n.About.Words != "please" {
		t.Errorf("%+v", n)
	}
	alice.API("POST", "/requests/"+n.About.Request+"/grant", map[string]any{}, nil)
	if n := alice.Told("asked"); !n.Read {
		t.Error("the question still waits")
	}
	if n := bob.Told("request-granted"); n.About.Request != r.ID || n.About.Name != "Data" || n.About.Share == "" {
		t.Errorf("%+v", n)
	}
	alice.Put("Other/a.txt", "a")
	ask(bob, alice.Address, "Other")
	q := asked(alice, "Other")
	alice.API("POST", "/requests/"+q.ID+"/refuse", map[string]any{"message": "not yet"}, nil)
	if n := bob.Told("request-refused"); n.About.Words != "not yet" || n.About.Reason != "owner" || n.About.Name != "Other" {
		t.Errorf("%+v", n)
	}
	if got := kinds(bob); strings.Contains(got, "share-received") {
		t.Errorf("the share that was asked for was told of twice: %s", got)
	}
	ask(bob, "nobody@"+string(alice.Host), "Other")
	weftest.Until(t, "Bob is told of both refusals", func() bool { return strings.Count(kinds(bob), "request-refused") == 2 })
}

func TestTheOwnerIsToldOfAReshare(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	carol := weftest.Start(t).Person("carol")
	alice.Put("Reef/a.txt", "a")
	alice.Share("Reef", bob.Address, "read", "share")
	r := bob.Accept("Reef")
	var asked sentRequest
	bob.API("POST", "/received/"+r.ID+"/reshare", map[string]any{"with": carol.Address}, &asked)
	if n := alice.Told("reshared"); n.About.Who != bob.Address || n.About.With != carol.Address || n.About.Name != "Reef" {
		t.Errorf("%+v", n)
	}
	if n := bob.Told("request-granted"); n.About.With != carol.Address {
		t.Errorf("%+v", n)
	}
	if n := carol.Told("share-received"); n.About.Who != alice.Address {
		t.Errorf("%+v", n)
	}
	bob.API("POST", "/requests/"+asked.ID+"/withdraw", nil, nil)
	if n := alice.Told("reshare-undone"); n.About.With != bob.Address || n.About.Who != carol.Address {
		t.Errorf("%+v", n)
	}
	carol.Told("received-ended")
}

func TestTheOwnerIsToldThatARecipientIsGone(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	for _, name := range []string{"A", "B"} {
		alice.Put(name+"/a.txt", "a")
		alice.Share(name, bob.Address)
		bob.Accept(name)
	}
	weftest.Until(t, "Alice is told of both", func() bool { return kinds(alice) == "accepted accepted" })
	// His server gives the shares back first; only what it does not is left to
	// the word that he is gone.
	if err := bob.Server.RemoveUser(t.Context(), bob.User); err != nil {
		t.Fatal(err)
	}
	weftest.Until(t, "Alice is told of the end of both", func() bool { return strings.Count(kinds(alice), "given-back") == 2 })

	peer := weftest.NewPeer(t)
	alice.Put("c.txt", "a")
	sent, _ := shareTo(t, alice, peer, "c.txt")
	weftest.Until(t, "it is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
	for range 2 {
		gone := ocm.Notification{Type: ocm.UserRemoved, ShareType: "user", UserID: "marie"}
		want(t, "USER_REMOVED", peer.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, peer, gone)), 201)
	}
	n := alice.Told("recipient-gone")
	if n.About.Who != "marie@"+string(peer.Host) || n.About.Count != 1 || n.Times != 1 {
		t.Errorf("%+v", n)
	}
}

func TestStrangersOfOneServerAreOneNotice(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	bob := weftest.Start(t, func(c *config.Config) { c.Federation.Quarantine = true }).Person("bob")
	for i := range 3 {
		name := fmt.Sprintf("Spam %d", i)
		alice.Put(name+"/a.txt", "a")
		alice.Share(name, bob.Address)
		bob.Inbox(name, "quarantined")
	}
	if n := bob.Told("share-held"); n.Times != 3 || kinds(bob) != "share-held" {
		t.Errorf("%+v, %s", n, kinds(bob))
	}
}

func TestATrustedSendersShareIsTold(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	bob.API("PATCH", "/contacts/"+bob.Contacts("alice")[0].ID, map[string]any{"trusted": true}, nil)
	alice.Put("A/a.txt", "a")
	alice.Share("A", bob.Address)
	bob.Told("share-accepted")
	alice.Told("accepted")
}

func TestNoticesArePagedAndRead(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	for i := range 5 {
		name := fmt.Sprintf("f%d.txt", i)
		alice.Put(name, "x")
		alice.Share(name, bob.Address)
		bob.Inbox(name, "pending")
	}
	type page struct {
		Notices []weftest.Notice
		Unread  int
		Next    string
	}
	var names []string
	next := ""
	for range 3 {
		var p page
		bob.API("GET", "/notices?limit=2&before="+next, nil, &p)
		for _, n := range p.Notices {
			names = append(names, n.About.Name)
		}
		if next = p.Next; p.Unread != 5 {
			t.Errorf("%d unread", p.Unread)
		}
	}
	if got := strings.Join(names, " "); got != "f4.txt f3.txt f2.txt f1.txt f0.txt" || next != "" {
		t.Errorf("%s, next %q", got, next)
	}
	first := bob.Notices()[0]
	alice.API("POST", "/notices/"+first.ID+"/read", nil, nil) // not hers: nothing happens
	bob.API("POST", "/notices/nonsense/read", nil, nil)
	unread := func() (out struct{ Unread int }) { bob.API("GET", "/notices/unread", nil, &out); return }
	if n := unread().Unread; n != 5 {
		t.Errorf("%d unread", n)
	}
	bob.API("POST", "/notices/"+first.ID+"/read", nil, nil)
	var p page
	bob.API("GET", "/notices?unread=true", nil, &p)
	if p.Unread != 4 || len(p.Notices) != 4 {
		t.Errorf("%+v", p)
	}
	bob.API("POST", "/notices/read", nil, nil)
	if n := unread().Unread; n != 0 {
		t.Errorf("%d unread", n)
	}
	if a := bob.TryAPI("GET", "/notices?limit=1000", nil); a.Status != 422 && a.Status != 400 {
		t.Errorf("a page of 1000: %d", a.Status)
	}
}

func TestPeersFillNobodysNotices(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/a.txt", "a")
	sent := alice.Share("Reef", bob.Address, "read")
	bob.Accept("Reef")
	// The same again and again is one notice while it is not read.
	for i := range 6 {
		rights := []string{"read"}
		if i%2 == 0 {
			rights = append(rights, "write")
		}
		alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": rights}, nil)
	}
	weftest.Until(t, "all changes are told", func() bool { return bob.Told("rights-changed").Times == 6 })
	if got := kinds(bob); strings.Count(got, "rights-changed") != 1 {
		t.Errorf("%s", got)
	}
	// Longer ago, it is another.
	alice.Advance(2 * time.Hour)
	bob.Advance(2 * time.Hour)
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read", "write"}}, nil)
	weftest.Until(t, "another notice", func() bool { return strings.Count(kinds(bob), "rights-changed") == 2 })
}

func TestWhatPeersWriteIsCleanedAndBounded(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	evil := weftest.NewPeer(t)
	share := evil.ShareFor(bob, map[string]any{"name": "in\u202Evoice", "description": strings.Repeat("x", 4000), "senderDisplayName": "A\u200Blice"})
	want(t, "a share", evil.Post(bob.Site, "/ocm/shares", jsonType, share), 201)
	if n := bob.Notices()[0]; n.About.Name != "invoice" || n.About.WhoName != "Alice" || len(n.About.Words) > 510 {
		t.Errorf("%+v", n)
	}
}
