package server_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// two starts two servers with a person each.
func two(t *testing.T) (alice, bob *weftest.Person) {
	t.Helper()
	return weftest.Start(t).Person("alice"), weftest.Start(t).Person("bob")
}

// want fails unless an answer has a status.
func want(t *testing.T, what string, a weftest.Answer, status int) {
	t.Helper()
	if a.Status != status {
		t.Fatalf("%s: %d %s, want %d", what, a.Status, a.Body, status)
	}
}

func TestAFolderIsSharedAcceptedReadWrittenAndEnded(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/a.txt", "from Alice")
	alice.Put("Reef/deep/er/b.txt", strings.Repeat("b", 300_000))
	sent := alice.Share("Reef", bob.Address, "read", "write")
	r := bob.Accept("Reef")
	if r.Path != "Shared with me/Reef" || r.Sender != alice.Address {
		t.Errorf("received %+v", r)
	}
	weftest.Until(t, "Alice learns of the acceptance", func() bool { return alice.SentState(sent.ID) == "accepted" })

	if got := bob.Get("Shared with me/Reef/a.txt"); got != "from Alice" {
		t.Errorf("Bob reads %q", got)
	}
	if got := bob.Get("Shared with me/Reef/deep/er/b.txt"); len(got) != 300_000 {
		t.Errorf("Bob reads %d bytes", len(got))
	}
	a := bob.DAV("GET", "Shared with me/Reef/a.txt", "", "Range", "bytes=5-9")
	if want(t, "a range", a, 206); a.Body != "Alice" {
		t.Errorf("range %q", a.Body)
	}
	bob.Put("Shared with me/Reef/from bob.txt", "from Bob")
	if got := alice.Get("Reef/from bob.txt"); got != "from Bob" {
		t.Errorf("Alice reads %q", got)
	}
	want(t, "a folder", bob.DAV("MKCOL", "Shared with me/Reef/new", ""), 201)
	want(t, "a rename", bob.DAV("MOVE", "Shared with me/Reef/from bob.txt", "", "Destination", bob.Origin+"/dav/files/bob/Shared%20with%20me/Reef/new/bob.txt"), 201)
	if got := alice.Get("Reef/new/bob.txt"); got != "from Bob" {
		t.Errorf("after the move Alice reads %q", got)
	}
	want(t, "a deletion", bob.DAV("DELETE", "Shared with me/Reef/new", ""), 204)
	want(t, "what Bob deleted", alice.DAV("GET", "Reef/new/bob.txt", ""), 404)
	want(t, "If-Match passed on", bob.DAV("PUT", "Shared with me/Reef/a.txt", "x", "If-Match", `"another"`), 412)

	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	weftest.Until(t, "the share is gone for Bob", func() bool {
		return bob.DAV("PROPFIND", "Shared with me/Reef", "", "Depth", "0").Status == 404
	})
	if r := bob.Inbox("Reef", "ended"); r.Reason != "ended by its owner" {
		t.Errorf("the reason is %q", r.Reason)
	}
}

func TestASingleFileIsSharedAndReplaced(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("report.txt", "draft")
	alice.Put("secret.txt", "not shared")
	alice.Share("report.txt", bob.Address, "read", "write")
	r := bob.Accept("report.txt")
	if r.ResourceType != "file" {
		t.Errorf("resource type %q", r.ResourceType)
	}
	if got := bob.Get(r.Path); got != "draft" {
		t.Errorf("Bob reads %q", got)
	}
	want(t, "PUT", bob.DAV("PUT", r.Path, "final"), 204)
	if got := alice.Get("report.txt"); got != "final" {
		t.Errorf("Alice reads %q", got)
	}
	want(t, "a sibling", bob.DAV("GET", r.Path+"/secret.txt", ""), 404)
	want(t, "a way up", bob.Do("GET", "/dav/files/bob/Shared%20with%20me/report.txt/..%2Fsecret.txt", ""), 400)
}

func TestPermissionsHoldOnBothSidesAndChangeAtOnce(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Docs/a.txt", "one")
	sent := alice.Share("Docs", bob.Address, "read")
	bob.Accept("Docs")
	want(t, "a write into a read-only share", bob.DAV("PUT", "Shared with me/Docs/b.txt", "x"), 403)
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read", "write"}}, nil)
	weftest.Until(t, "Bob may write", func() bool { return bob.DAV("PUT", "Shared with me/Docs/b.txt", "x").Status == 201 })
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read"}}, nil)
	// Alice's server refuses from this moment, whatever Bob's knows.
	want(t, "a write after the change", bob.DAV("PUT", "Shared with me/Docs/c.txt", "x"), 403)
	want(t, "a deletion after the change", bob.DAV("DELETE", "Shared with me/Docs/b.txt", ""), 403)
}

func TestDeclineAndLeaveTellTheSender(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a", "a")
	alice.Put("B/b", "b")
	a, b := alice.Share("A", bob.Address), alice.Share("B", bob.Address)
	r := bob.Inbox("A", "pending")
	bob.API("POST", "/received/"+r.ID+"/decline", nil, nil)
	weftest.Until(t, "Alice learns that Bob declined", func() bool { return alice.SentState(a.ID) == "declined" })
	if got := bob.TryAPI("POST", "/received/"+r.ID+"/accept", nil); got.Status != 409 || got.Code() != "SHARE_DECLINED" {
		t.Errorf("accepting what was declined: %d %s", got.Status, got.Body)
	}
	bob.Accept("B")
	want(t, "leaving by deleting the mount", bob.DAV("DELETE", "Shared with me/B", ""), 204)
	weftest.Until(t, "Alice learns that Bob left", func() bool { return alice.SentState(b.ID) == "declined" })
	if got := alice.Get("B/b"); got != "b" {
		t.Errorf("leaving deleted Alice's file: %q", got)
	}
}

func TestAShareFollowsItsFolderAndEndsWithIt(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Old/place/a.txt", "here")
	sent := alice.Share("Old/place", bob.Address)
	bob.Accept("place")
	alice.API("POST", "/files/folder", map[string]string{"path": "New"}, nil)
	want(t, "the move over WebDAV", alice.DAV("MOVE", "Old", "", "Destination", alice.Origin+"/dav/files/alice/New/home"), 201)
	if got := bob.Get("Shared with me/place/a.txt"); got != "here" {
		t.Errorf("after the move Bob reads %q", got)
	}
	alice.API("POST", "/files/move", map[string]any{"from": "New/home/place", "to": "elsewhere"}, nil)
	if got := bob.Get("Shared with me/place/a.txt"); got != "here" {
		t.Errorf("after the second move Bob reads %q", got)
	}
	alice.API("DELETE", "/files?path=elsewhere", nil, nil)
	weftest.Until(t, "the share ends with its folder", func() bool { return alice.SentState(sent.ID) == "ended" })
	bob.Inbox("place", "ended")
}

func TestAFileSavedByRenamingOverItStaysShared(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("paper.txt", "v1")
	alice.Share("paper.txt", bob.Address)
	bob.Accept("paper.txt")
	alice.Put("paper.txt.tmp", "v2")
	want(t, "the save", alice.DAV("MOVE", "paper.txt.tmp", "", "Destination", alice.Origin+"/dav/files/alice/paper.txt", "Overwrite", "T"), 204)
	weftest.Until(t, "Bob reads what was saved", func() bool { return bob.DAV("GET", "Shared with me/paper.txt", "").Body == "v2" })
}

func TestAGroupShareReachesItsMembersThenAndNow(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	carol := bob.Site.Person("carol")
	ctx := t.Context()
	g, err := bob.Server.Accounts.AddGroup(ctx, "staff", "The staff")
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.Server.Accounts.AddMember(ctx, g.ID, bob.User.ID); err != nil {
		t.Fatal(err)
	}
	alice.Put("Plan/p.txt", "plan")
	var sent weftest.Sent
	alice.API("POST", "/shares", map[string]any{"path": "Plan", "with": "staff@" + string(bob.Host), "group": true}, &sent)
	bob.Accept("Plan")
	if got := bob.Get("Shared with me/Plan/p.txt"); got != "plan" {
		t.Errorf("Bob reads %q", got)
	}
	if n := len(carol.Shares().Received); n != 0 {
		t.Errorf("Carol, who is no member, has %d shares", n)
	}
	if err := bob.Server.Accounts.AddMember(ctx, g.ID, carol.User.ID); err != nil {
		t.Fatal(err)
	}
	carol.Accept("Plan")
	if got := carol.Get("Shared with me/Plan/p.txt"); got != "plan" {
		t.Errorf("Carol reads %q", got)
	}
	if err := bob.Server.Accounts.RemoveMember(ctx, g.ID, bob.User.ID); err != nil {
		t.Fatal(err)
	}
	want(t, "the share for one who left the group", bob.DAV("GET", "Shared with me/Plan/p.txt", ""), 404)
	weftest.Until(t, "Alice hears that it was accepted", func() bool { return alice.SentState(sent.ID) == "accepted" })
}

func TestAShareOnOneServerIsMadeWithoutAMessage(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	carol := alice.Site.Person("carol")
	alice.Put("Here/a.txt", "a")
	sent := alice.Share("Here", "carol", "read", "write")
	carol.Accept("Here")
	if state := alice.SentState(sent.ID); state != "accepted" {
		t.Errorf("state %s", state)
	}
	if got := carol.Get("Shared with me/Here/a.txt"); got != "a" {
		t.Errorf("Carol reads %q", got)
	}
	carol.Put("Shared with me/Here/b.txt", "b")
	if got := alice.Get("Here/b.txt"); got != "b" {
		t.Errorf("Alice reads %q", got)
	}
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	want(t, "the ended share", carol.DAV("GET", "Shared with me/Here/a.txt", ""), 404)
	if n := alice.Rows()["outbox"]; n != 0 {
		t.Errorf("%d messages in the outbox", n)
	}
}

func TestSharesThatMakeNoSenseAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	alice.Share("A", bob.Address)
	bob.Accept("A")
	weftest.Until(t, "the acceptance has left", func() bool { return bob.Rows()["outbox"] == 0 })
	for _, c := range []struct {
		name string
		who  *weftest.Person
		body map[string]any
		code string
	}{
		{"with oneself", alice, map[string]any{"path": "A", "with": alice.Address}, "SHARE_TO_SELF"},
		{"with oneself by another case", alice, map[string]any{"path": "A", "with": strings.ToUpper("alice") + "@" + string(alice.Host)}, "SHARE_TO_SELF"},
		{"twice with the same person", alice, map[string]any{"path": "A", "with": bob.Address}, "SHARE_EXISTS"},
		{"of the whole home", alice, map[string]any{"path": "/", "with": bob.Address}, "SHARE_HOME"},
		{"of what is not there", alice, map[string]any{"path": "nothing", "with": bob.Address}, "NOT_FOUND"},
		{"of what others share", bob, map[string]any{"path": "Shared with me/A", "with": alice.Address}, "RESHARE_FORBIDDEN"},
		{"with nobody here", alice, map[string]any{"path": "A", "with": "nobody"}, "RECIPIENT_NOT_FOUND"},
		{"with what is no address", alice, map[string]any{"path": "A", "with": "bob@not a host"}, "ADDRESS_INVALID"},
		{"with a path that leads out", alice, map[string]any{"path": "../../etc/passwd", "with": bob.Address}, "NAME_INVALID"},
		{"that ended yesterday", alice, map[string]any{"path": "A/a.txt", "with": bob.Address, "expiresAt": time.Now().Add(-24 * time.Hour)}, "EXPIRES_IN_PAST"},
		{"with rights nobody knows", alice, map[string]any{"path": "A/a.txt", "with": bob.Address, "permissions": []string{"read", "fly"}}, "INVALID_PAYLOAD"},
	} {
		before := c.who.Rows()
		a := c.who.TryAPI("POST", "/shares", c.body)
		if a.Code() != c.code || a.Status < 400 || a.Status >= 500 {
			t.Errorf("%s: %d %s, want %s", c.name, a.Status, a.Body, c.code)
		}
		for table, n := range c.who.Rows() {
			if n != before[table] {
				t.Errorf("%s: leaves a trace in %s", c.name, table)
			}
		}
	}
}

func TestARecipientWhoDoesNotExistFailsTheShareVisibly(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	sent := alice.Share("A", "nobody@"+string(bob.Host))
	weftest.Until(t, "the share fails", func() bool { return alice.SentState(sent.ID) == "failed" })
	for _, s := range alice.Shares().Sent {
		if s.ID == sent.ID && !strings.Contains(s.Reason, "RECIPIENT_NOT_FOUND") {
			t.Errorf("the reason is %q", s.Reason)
		}
	}
	if n := alice.Rows()["outbox"]; n != 1 {
		t.Errorf("%d messages kept, want the dead one", n)
	}
	// The person is made, and the message sent again by hand.
	nobody := bob.Site.Person("nobody")
	alice.API("POST", "/shares/"+sent.ID+"/resend", nil, nil)
	nobody.Inbox("A", "pending")
	weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
}

func TestExpiryHoldsOnBothSides(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	var sent weftest.Sent
	alice.API("POST", "/shares", map[string]any{"path": "A", "with": bob.Address, "expiresAt": time.Now().Add(time.Hour)}, &sent)
	bob.Accept("A")
	if got := bob.Get("Shared with me/A/a.txt"); got != "a" {
		t.Fatalf("Bob reads %q", got)
	}
	alice.Advance(2 * time.Hour) // Bob's server does not know yet
	weftest.Until(t, "Alice's server refuses", func() bool { return bob.DAV("GET", "Shared with me/A/a.txt", "").Status != 200 })
	alice.Advance(-2 * time.Hour)
	bob.Advance(2 * time.Hour) // Alice's server would still serve it
	want(t, "an expired share on the receiving side", bob.DAV("GET", "Shared with me/A/a.txt", ""), 404)
	bob.Inbox("A", "ended")
	if err := bob.Server.Sharing.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := bob.Inbox("A", "ended"); r.Reason != "expired" {
		t.Errorf("the reason is %q", r.Reason)
	}
	alice.Advance(2 * time.Hour)
	if err := alice.Server.Sharing.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := alice.SentState(sent.ID); state != "ended" {
		t.Errorf("state %s", state)
	}
}

func TestADeadPeerKeepsItsFolderAndDelaysNobody(t *testing.T) {
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	alice.Share("A", bob.Address)
	bob.Accept("A")
	bob.Get("Shared with me/A/a.txt")
	bob.Put("own.txt", "mine")
	alice.Stop()
	weftest.Until(t, "the folder is unavailable", func() bool {
		began := time.Now()
		a := bob.DAV("PROPFIND", "Shared with me/A/", "", "Depth", "1")
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("the answer took %s", took)
		}
		if a.Status == 503 && a.Header.Get("Retry-After") == "" {
			t.Fatal("a 503 without Retry-After")
		}
		return a.Status == 503
	})
	list := bob.DAV("PROPFIND", "Shared with me", "", "Depth", "1")
	want(t, "the list of shares", list, 207)
	if !strings.Contains(list.Body, "/Shared%20with%20me/A/") {
		t.Errorf("the folder vanished: %s", list.Body)
	}
	if got := bob.Get("own.txt"); got != "mine" {
		t.Errorf("own file %q", got)
	}
	if r := bob.Inbox("A", "accepted"); r.UnavailableSince == "" {
		t.Error("nothing says since when the folder is unavailable")
	}
	alice.Restart()
	bob.Advance(time.Minute) // past the pause of the breaker
	weftest.Until(t, "the folder is back", func() bool { return bob.DAV("GET", "Shared with me/A/a.txt", "").Status == 200 })
	if r := bob.Inbox("A", "accepted"); r.UnavailableSince != "" {
		t.Error("still marked unavailable")
	}
}

func TestAHangingPeerIsAnsweredForWithinTwoSeconds(t *testing.T) {
	bob := weftest.Start(t).Person("bob")
	p := weftest.NewPeer(t)
	want(t, "the share", p.Post(bob.Site, "/ocm/shares", "application/json", p.ShareFor(bob, nil)), 201)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	p.Handle("PROPFIND", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	bob.Accept("Field notes")
	began := time.Now()
	a := bob.DAV("PROPFIND", "Shared with me/Field notes/", "", "Depth", "1")
	if took := time.Since(began); a.Status != 503 || took > 2*time.Second || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d after %s, Retry-After %q", a.Status, took, a.Header.Get("Retry-After"))
	}
}

func TestMessagesSurviveARestartAndAreDeliveredInOrder(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	bob.Stop()
	sent := alice.Share("A", bob.Address)
	weftest.Until(t, "an attempt fails", func() bool {
		rows, err := alice.Server.Outbox.List(t.Context())
		return err == nil && len(rows) == 1 && rows[0].Attempts > 0
	})
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read", "write"}}, nil)
	alice.Stop()
	alice.Restart()
	bob.Restart()
	alice.Advance(time.Minute)
	bob.Advance(time.Minute)
	r := bob.Accept("A")
	if len(r.Permissions) != 2 {
		t.Errorf("permissions %v", r.Permissions)
	}
	weftest.Until(t, "the outbox is empty", func() bool { return alice.Rows()["outbox"] == 0 })
	if n := bob.Rows()["incoming_shares"]; n != 1 {
		t.Errorf("%d shares received", n)
	}
}

func TestAShareEndedBeforeItsDeliveryIsNeverSent(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Delivery.FirstRetry = time.Hour }).Person("alice")
	alice.Put("A/a.txt", "a")
	p := weftest.NewPeer(t)
	p.Close()
	sent := alice.Share("A", "marie@"+string(p.Host))
	weftest.Until(t, "an attempt fails", func() bool {
		rows, err := alice.Server.Outbox.List(t.Context())
		return err == nil && len(rows) == 1 && rows[0].LastError != ""
	})
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	rows, err := alice.Server.Outbox.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The attempt may have reached the peer, so the word of the end is queued
	// in place of the share.
	if len(rows) != 1 || rows[0].Kind != "notification" {
		t.Errorf("outbox %+v", rows)
	}
}

func TestDeliveryIsGivenUpVisiblyAndResent(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	bob.Stop()
	sent := alice.Share("A", bob.Address)
	alice.Advance(100 * time.Hour)
	weftest.Until(t, "delivery is given up", func() bool { return alice.SentState(sent.ID) == "failed" })
	bob.Restart()
	alice.Advance(time.Minute) // past what is remembered of the failure
	bob.Advance(100*time.Hour + time.Minute)
	alice.API("POST", "/shares/"+sent.ID+"/resend", nil, nil)
	bob.Inbox("A", "pending")
}

func TestAQuotaHoldsForOwnerAndPeer(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	if err := alice.Server.Accounts.SetQuota(t.Context(), alice.User.ID, 1000); err != nil {
		t.Fatal(err)
	}
	alice.Put("A/a.txt", strings.Repeat("a", 600))
	want(t, "more than the quota", alice.DAV("PUT", "b.txt", strings.Repeat("b", 600)), 507)
	alice.Share("A", bob.Address, "read", "write")
	bob.Accept("A")
	a := bob.DAV("PUT", "Shared with me/A/b.txt", strings.Repeat("b", 600))
	want(t, "a peer's upload beyond the quota", a, 507)
	want(t, "what was refused", alice.DAV("GET", "A/b.txt", ""), 404)
}

func TestALockOfTheOwnerHoldsForThePeer(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	alice.Share("A", bob.Address, "read", "write")
	bob.Accept("A")
	lock := `<?xml version="1.0"?><d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>`
	a := alice.DAV("LOCK", "A/a.txt", lock, "Depth", "0")
	want(t, "the lock", a, 200)
	want(t, "a peer's write to what is locked", bob.DAV("PUT", "Shared with me/A/a.txt", "b"), 423)
	want(t, "the API's deletion of what is locked", alice.TryAPI("DELETE", "/files?path=A", nil), 423)
	want(t, "the unlock", alice.DAV("UNLOCK", "A/a.txt", "", "Lock-Token", a.Header.Get("Lock-Token")), 204)
	want(t, "the write after", bob.DAV("PUT", "Shared with me/A/a.txt", "b"), 204)
}

func TestTheETagOfASharedFolderChangesWithWhatIsBelow(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/deep/er/a.txt", "a")
	alice.Share("A", bob.Address)
	bob.Accept("A")
	etag := func() string {
		t.Helper()
		a := bob.DAV("PROPFIND", "Shared with me/A/", `<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>`, "Depth", "1")
		want(t, "PROPFIND", a, 207)
		_, rest, _ := strings.Cut(a.Body, "getetag>")
		tag, _, _ := strings.Cut(rest, "<")
		return tag
	}
	before := etag()
	alice.Put("A/deep/er/b.txt", "b")
	weftest.Until(t, "the folder's ETag changes for Bob", func() bool { return etag() != before })
}

func TestThreeServersShareAmongEachOther(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	carol := weftest.Start(t).Person("carol")
	people := []*weftest.Person{alice, bob, carol}
	for _, p := range people {
		p.Put("From "+p.Name+"/x.txt", p.Name)
		for _, q := range people {
			if p != q {
				p.Share("From "+p.Name, q.Address)
			}
		}
	}
	for _, p := range people {
		for _, q := range people {
			if p == q {
				continue
			}
			p.Accept("From " + q.Name)
			if got := p.Get("Shared with me/From " + q.Name + "/x.txt"); got != q.Name {
				t.Errorf("%s reads %q from %s", p.Name, got, q.Name)
			}
		}
	}
	// A provider of one host means nothing to another's shares.
	id := alice.Shares().Sent[0].ID
	p := weftest.NewPeer(t)
	n, _ := json.Marshal(ocm.Notification{Type: ocm.ShareUnshared, SenderDomain: p.Host, ResourceType: "file", ProviderID: id})
	for _, q := range people {
		a := p.Post(q.Site, "/ocm/notifications", "application/json", string(n))
		if a.Status != 404 || a.Code() != "SHARE_NOT_FOUND" {
			t.Errorf("a stranger's word on a share: %d %s", a.Status, a.Body)
		}
	}
}

func TestSharesOfOneNameStandBesideEachOtherAndCanBeRenamed(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("one/Data/1.txt", "1")
	alice.Put("two/Data/2.txt", "2")
	alice.Share("one/Data", bob.Address)
	first := bob.Accept("Data")
	alice.Share("two/Data", bob.Address)
	second := bob.Accept("Data")
	if first.Path != "Shared with me/Data" || second.Path != "Shared with me/Data (2)" {
		t.Errorf("paths %q and %q", first.Path, second.Path)
	}
	want(t, "renaming a share", bob.DAV("MOVE", "Shared with me/Data (2)", "", "Destination", bob.Origin+"/dav/files/bob/Shared%20with%20me/Numbers"), 201)
	if got := bob.Get("Shared with me/Numbers/2.txt"); got != "2" {
		t.Errorf("under its new name: %q", got)
	}
	want(t, "making something among the shares", bob.DAV("PUT", "Shared with me/mine.txt", "x"), 403)
	want(t, "copying out of a share", bob.DAV("COPY", "Shared with me/Numbers", "", "Destination", bob.Origin+"/dav/files/bob/copied"), 201)
	if got := bob.Get("copied/2.txt"); got != "2" {
		t.Errorf("the copy: %q", got)
	}
}

func TestLargeFilesPassWhole(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	b := make([]byte, 8<<20)
	rand.Read(b)
	alice.Put("A/big.bin", string(b))
	alice.Share("A", bob.Address, "read", "write")
	bob.Accept("A")
	if got := bob.Get("Shared with me/A/big.bin"); got != string(b) {
		t.Error("Bob reads other bytes")
	}
	rand.Read(b)
	bob.Put("Shared with me/A/back.bin", string(b))
	if got := alice.Get("A/back.bin"); got != string(b) {
		t.Error("Alice reads other bytes")
	}
}

func TestNoSecretReachesTheLog(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("A/a.txt", "a")
	alice.Share("A", bob.Address)
	bob.Accept("A")
	bob.Get("Shared with me/A/a.txt")
	want(t, "a wrong password", alice.Do("GET", "/dav/files/alice/", "", "Authorization", "Basic YWxpY2U6Z3Vlc3NlZCBwYXNzd29yZA=="), 401)
	for _, p := range []*weftest.Person{alice, bob} {
		text := p.Log.Text()
		for _, secret := range []string{p.Secret.Reveal(), "a long password", "guessed password", "Bearer ", "sharedSecret", "eyJ"} {
			if strings.Contains(text, secret) {
				t.Errorf("the log of %s holds %q", p.Name, secret)
			}
		}
	}
}
