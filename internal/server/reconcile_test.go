package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// comparison is the answer of a reconciliation.
type comparison struct {
	Stopped  string
	Counts   map[string]int
	Findings []struct {
		Direction, Share, Name, Person, State, Code, Answer, Proposal, Why string
		Permissions                                                        []string
		Done                                                               bool
	}
}

// brief is what a comparison found, in a line; messages that wait are left out.
func (c comparison) brief() string {
	delete(c.Counts, "waiting")
	var out []string
	for _, f := range c.Findings {
		out = append(out, strings.TrimSuffix(f.Direction+" "+f.Name+" "+f.Code+" "+f.Proposal, " "))
		if f.Done {
			out[len(out)-1] += " done"
		}
	}
	slices.Sort(out)
	for _, code := range slices.Sorted(maps.Keys(c.Counts)) {
		out = append(out, fmt.Sprint(c.Counts[code], " ", code))
	}
	return strings.Join(out, ", ")
}

func compare(t *testing.T, operator *weftest.Person, host ocm.Host, apply bool) (c comparison) {
	t.Helper()
	operator.API("POST", "/peers/"+string(host)+"/reconcile", map[string]any{"apply": apply}, &c)
	return c
}

// finds fails unless a comparison finds what a line says.
func finds(t *testing.T, operator *weftest.Person, host ocm.Host, apply bool, want string) comparison {
	t.Helper()
	c := compare(t, operator, host, apply)
	if got := c.brief(); got != want {
		t.Errorf("found %q, want %q: %+v", got, want, c)
	}
	return c
}

// lose deletes rows of a site behind its back, as an old backup does; the
// returned function brings them back.
func lose[T any](t *testing.T, s *weftest.Site) (back func()) {
	t.Helper()
	var rows []T
	err := s.Server.DB.Read.NewSelect().Model(&rows).Scan(t.Context())
	if err == nil {
		_, err = s.Server.DB.Write.NewDelete().Model(&rows).WherePK().Exec(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := s.Server.DB.Write.NewInsert().Model(&rows).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// accepted shares a path with bob, who accepts, and waits until alice knows.
func accepted(t *testing.T, alice, bob *weftest.Person, path string, rights ...string) weftest.Sent {
	t.Helper()
	sent := alice.Share(path, bob.Address, rights...)
	bob.Accept(path)
	weftest.Until(t, "the share is accepted", func() bool { return alice.SentState(sent.ID) == "accepted" })
	return sent
}

func TestAReceiverThatLostAShareGetsItAgain(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, alice.Site)
	alice.Put("Reef/a.txt", "from Alice")
	sent := accepted(t, alice, bob, "Reef")
	finds(t, olga, bob.Host, true, "1 agreed")

	lose[sharing.Incoming](t, bob.Site)
	found := finds(t, olga, bob.Host, false, "sent Reef unknown resend, 1 unknown")
	if f := found.Findings[0]; f.Share != sent.ID || f.Person != bob.Address || f.State != "accepted" || f.Answer != "it knows no such share (SHARE_NOT_FOUND)" {
		t.Errorf("%+v", f)
	}
	if state := alice.SentState(sent.ID); state != "accepted" {
		t.Errorf("a look made it %s", state)
	}
	finds(t, olga, bob.Host, true, "sent Reef unknown resend done, 1 unknown")
	bob.Accept("Reef")
	weftest.Until(t, "the share is accepted again", func() bool { return alice.SentState(sent.ID) == "accepted" })
	if got := bob.Get("Shared with me/Reef/a.txt"); got != "from Alice" {
		t.Errorf("Bob reads %q", got)
	}
	for range 2 {
		finds(t, olga, bob.Host, true, "1 agreed")
	}
	if n := alice.Rows()["outbox"]; n != 0 {
		t.Errorf("%d messages wait", n)
	}
}

func TestAShareThatItsServerLostStandsApartUntilItIsBack(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, bob.Site)
	alice.Put("Reef/a.txt", "from Alice")
	alice.Put("Later/a.txt", "a")
	accepted(t, alice, bob, "Reef", "read", "write")
	want(t, "limit", olga.TryAPI("PUT", "/policy/rules", map[string]any{"host": string(alice.Host), "action": "limit"}), 200)
	alice.Share("Later", bob.Address)
	limited := bob.Inbox("Later", "quarantined").Reason
	finds(t, olga, alice.Host, true, "2 agreed")

	back := lose[sharing.Outgoing](t, alice.Site)
	const lost = "received Later unknown quarantine, received Reef unknown quarantine"
	finds(t, olga, alice.Host, false, lost+", 2 unknown")
	bob.Inbox("Reef", "accepted")
	finds(t, olga, alice.Host, true, strings.ReplaceAll(lost, "quarantine", "quarantine done")+", 2 unknown")
	finds(t, olga, alice.Host, true, "2 apart")

	r := bob.Inbox("Reef", "quarantined")
	if r.Path != "Shared with me/Reef" || r.Reason != "its server no longer knows it" || r.UnavailableSince == "" {
		t.Errorf("Bob sees %+v", r)
	}
	if r := bob.Inbox("Later", "quarantined"); r.Path != "" || r.Reason != "its server no longer knows it; "+limited {
		t.Errorf("Bob sees %+v", r)
	}
	list := bob.DAV("PROPFIND", "Shared with me", "", "Depth", "1")
	if want(t, "the list", list, 207); !strings.Contains(list.Body, "/Shared%20with%20me/Reef/") {
		t.Errorf("the share vanished: %s", list.Body)
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "PROPFIND"} {
		a := bob.DAV(method, "Shared with me/Reef/a.txt", "")
		if want(t, method, a, 503); method == "GET" && !strings.Contains(a.Body, "no longer knows it") {
			t.Errorf("%s: %s", method, a.Body)
		}
	}

	back()
	found := finds(t, olga, alice.Host, false, "received Later back restore, received Reef back restore, 2 back")
	if f := found.Findings; f[0].State+f[1].State != "accepted, in quarantinepending, in quarantine" && f[0].State+f[1].State != "pending, in quarantineaccepted, in quarantine" {
		t.Errorf("%+v", f)
	}
	finds(t, olga, alice.Host, true, "received Later back restore done, received Reef back restore done, 2 back")
	finds(t, olga, alice.Host, true, "2 agreed")
	if got := bob.Get("Shared with me/Reef/a.txt"); got != "from Alice" {
		t.Errorf("Bob reads %q", got)
	}
	if r := bob.Inbox("Reef", "accepted"); r.UnavailableSince != "" {
		t.Errorf("Bob sees %+v", r)
	}
	if r := bob.Inbox("Later", "quarantined"); r.Reason != limited {
		t.Errorf("another quarantine was lifted: %+v", r)
	}

	// What stands apart can be removed at once.
	lose[sharing.Outgoing](t, alice.Site)
	finds(t, olga, alice.Host, true, strings.ReplaceAll(lost, "quarantine", "quarantine done")+", 2 unknown")
	want(t, "removing it", bob.DAV("DELETE", "Shared with me/Reef", ""), 204)
	bob.Inbox("Reef", "left")
	bob.API("POST", "/received/"+bob.Inbox("Later", "quarantined").ID+"/decline", nil, nil)
	weftest.Until(t, "the outbox is empty", func() bool { return bob.Rows()["outbox"] == 0 })
	finds(t, olga, alice.Host, true, "")
}

func TestNothingIsProposedOfAPeerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, bob.Site)
	for _, name := range []string{"A", "B", "C", "D", "E"} {
		alice.Put(name+"/a.txt", "a")
		accepted(t, alice, bob, name)
	}
	bob.Put("Mine/b.txt", "b")
	accepted(t, bob, alice, "Mine")
	weftest.Until(t, "the outboxes are empty", func() bool { return bob.Rows()["outbox"]+alice.Rows()["outbox"] == 0 })
	before := bob.Rows()
	alice.Stop()
	c := finds(t, olga, alice.Host, true, "6 left-out")
	if c.Stopped != string(alice.Host)+" does not answer" {
		t.Errorf("stopped: %q", c.Stopped)
	}
	if after := bob.Rows(); !maps.Equal(before, after) {
		t.Errorf("rows %v, were %v", after, before)
	}
	if r := bob.Inbox("A", "accepted"); r.UnavailableSince != "" {
		t.Errorf("a comparison changed %+v", r)
	}
	alice.Restart()
	bob.Advance(time.Minute) // past what is remembered of the failure
	alice.Advance(time.Minute)
	finds(t, olga, alice.Host, true, "6 agreed")
}

// A peer that falls silent in the middle is noticed once.
func TestAPeerThatFallsSilentIsNotAskedOfEveryShare(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	olga := operator(t, bob.Site)
	p := weftest.NewPeer(t)
	for i := range 30 {
		want(t, "a share", p.Post(bob.Site, "/ocm/shares", jsonType, p.ShareFor(bob, map[string]any{"providerId": fmt.Sprint("id", i), "name": fmt.Sprint("n", i)})), 201)
	}
	var asked atomic.Int64
	p.Handle("PROPFIND", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler) // without an answer
	})
	c := compare(t, olga, p.Host, true)
	if n := asked.Load(); n > 10 || c.Stopped == "" || c.Counts["left-out"] < 20 || c.Counts["left-out"]+c.Counts["unclear"] != 30 {
		t.Errorf("asked %d times; %+v", n, c)
	}
	for _, f := range c.Findings {
		if f.Proposal != "" {
			t.Errorf("%+v", f)
		}
	}
}

// Answers that say nothing of a share move nobody to act on it.
func TestOnlyClearAnswersMakeProposals(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	olga := operator(t, bob.Site)
	p := weftest.NewPeer(t)
	p.Document.ResourceTypes[0].Protocols["webdav"] = json.RawMessage(`"/dav/"`)
	dav := func(requirements ...string) map[string]any {
		return map[string]any{"name": "multi", "webdav": map[string]any{
			"uri": "x", "sharedSecret": "hfiuhworzwnur98d3wjiwhr", "permissions": []string{"read", "write"}, "requirements": requirements,
		}}
	}
	want(t, "a share", p.Post(bob.Site, "/ocm/shares", jsonType, p.ShareFor(bob, map[string]any{"name": "in", "protocol": dav(ocm.RequireExchange)})), 201)
	bob.Put("out", "b")
	sent, _ := shareTo(t, bob, p, "out")
	weftest.Until(t, "the share is delivered", func() bool { return bob.SentState(sent.ID) == "delivered" })

	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	const token = `{"access_token":"t","token_type":"Bearer","expires_in":300}`
	multistatus := func(rights string) string {
		return `<d:multistatus xmlns:d="DAV:" xmlns:o="http://open-cloud-mesh.org/ns"><d:response><d:href>/dav/x</d:href><d:propstat><d:prop>` +
			`<d:resourcetype><d:collection/></d:resourcetype>` + rights + `</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`
	}
	for _, c := range []struct {
		name                string
		token, find, notify http.HandlerFunc
		want                string
	}{
		{"all is well", says(200, token), says(207, multistatus("")), says(201, "{}"), "2 agreed"},
		{"the same rights", says(200, token), says(207, multistatus(`<o:share-permissions>["write","read"]</o:share-permissions>`)), says(201, "{}"), "2 agreed"},
		{"other rights", says(200, token), says(207, multistatus(`<o:share-permissions>["read"]</o:share-permissions>`)), says(201, "{}"), "received in rights, 1 agreed, 1 rights"},
		{"no grant, no share", says(400, `{"error":"invalid_grant"}`), says(500, ""), says(404, `{"message":"SHARE_NOT_FOUND"}`), "received in unknown quarantine, sent out unknown resend, 2 unknown"},
		{"our signature is not liked", says(400, `{"error":"invalid_client"}`), says(500, ""), says(401, `{"message":"SIGNATURE_INVALID"}`), "received in unclear, sent out unclear, 2 unclear"},
		{"they do not deal with us", says(400, `{"error":"unauthorized_client"}`), says(500, ""), says(403, `{"message":"PEER_DENIED"}`), "received in unclear, sent out unclear, 2 unclear"},
		{"refused with a good token", says(200, token), says(401, ""), says(404, "page not found"), "received in unclear, sent out unclear, 2 unclear"},
		{"forbidden", says(200, token), says(403, ""), says(501, `{"message":"NOTIFICATION_TYPE_NOT_SUPPORTED"}`), "received in unclear, 1 unasked, 1 unclear"},
		{"gone", says(200, token), says(410, ""), says(201, "{}"), "received in unknown quarantine, 1 agreed, 1 unknown"},
		{"trouble", says(503, ""), says(500, ""), says(429, ""), "received in unclear, sent out unclear, 2 unclear"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.Handle("POST /token", c.token)
			p.Handle("PROPFIND", c.find)
			p.Handle("POST /ocm/notifications", c.notify)
			finds(t, olga, p.Host, false, c.want)
		})
	}

	// Without the code flow, a secret that is refused is one that is not known.
	p.Document.Capabilities = slices.DeleteFunc(p.Document.Capabilities, func(c string) bool { return c == ocm.CapExchangeToken })
	p.Handle("POST /ocm/notifications", says(201, "{}"))
	want(t, "a share", p.Post(bob.Site, "/ocm/shares", jsonType, p.ShareFor(bob, map[string]any{"name": "open", "providerId": "2", "protocol": dav()})), 201)
	p.Handle("POST /token", says(503, ""))
	p.Handle("PROPFIND", says(401, ""))
	finds(t, olga, p.Host, false, "received in unclear, received open unknown quarantine, 1 agreed, 1 unclear, 1 unknown")
}

func TestMessagesThatWereGivenUpAreSentAgain(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, alice.Site)
	alice.Put("Ended/a.txt", "a")
	alice.Put("Failed/a.txt", "a")
	ended := accepted(t, alice, bob, "Ended")
	bob.Stop()
	alice.API("DELETE", "/shares/"+ended.ID, nil, nil)
	failed := alice.Share("Failed", bob.Address)
	alice.Advance(100 * time.Hour)
	weftest.Until(t, "both are given up", func() bool {
		rows, err := alice.Server.Outbox.List(t.Context())
		return err == nil && len(rows) == 2 && rows[0].State == "dead" && rows[1].State == "dead"
	})
	finds(t, olga, bob.Host, true, "sent Ended given-up, sent Failed given-up, 2 given-up")
	bob.Restart()
	bob.Inbox("Ended", "accepted")
	bob.Advance(100 * time.Hour)
	alice.Stop() // so that nothing is remembered of the failures
	alice.Restart()
	finds(t, olga, bob.Host, true, "sent Ended given-up resend done, sent Failed given-up resend done, 2 given-up")
	bob.Inbox("Ended", "ended")
	bob.Inbox("Failed", "pending")
	weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(failed.ID) == "delivered" })
	finds(t, olga, bob.Host, true, "1 agreed")
}

func TestAShareWhoseMessageWasLostIsSent(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Delivery.FirstRetry = time.Hour }).Person("alice")
	bob := weftest.Start(t).Person("bob")
	olga := operator(t, alice.Site)
	alice.Put("A/a.txt", "a")
	bob.Stop()
	alice.Share("A", bob.Address)
	weftest.Until(t, "an attempt fails", func() bool {
		rows, err := alice.Server.Outbox.List(t.Context())
		return err == nil && len(rows) == 1 && rows[0].LastError != ""
	})
	if _, err := alice.Server.DB.Write.NewDelete().Table("outbox").Where("1 = 1").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	bob.Restart()
	alice.Advance(time.Minute) // past what is remembered of the failure
	bob.Advance(time.Minute)
	finds(t, olga, bob.Host, true, "sent A unsent resend done, 1 unsent")
	bob.Accept("A")
	bob.Get("Shared with me/A/a.txt")
}

// Families that read no such message cannot be asked about what we sent; a share
// of theirs can, and one that is a file by HEAD.
func TestOldServersAreAskedWhatTheyCanBeAsked(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"nextcloud-30-", "ocis", "opencloudmesh-go"} {
		t.Run(family, func(t *testing.T) {
			alice := weftest.Start(t).Person("alice")
			olga := operator(t, alice.Site)
			sim := weftest.Simulate(t, dialect(t, family))
			if a := sim.AcceptInvite(alice, alice.Invite()); sim.Dialect.Invites {
				want(t, "the invite", a, 200)
			}
			alice.Put("mine.txt", "a")
			sent := alice.Share("mine.txt", sim.Address())
			weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
			theirs, a := sim.Share(alice, false)
			if a.Status != 201 && a.Status != 200 {
				t.Fatal(a)
			}
			asked := "1 agreed, 1 unasked"
			if family == "ocis" {
				asked = "2 agreed"
			}
			finds(t, olga, sim.Host, true, asked)
			sim.Notify(alice.Site, ocm.ShareUnshared, theirs)
			if why := sim.Refusals(); why != "" {
				t.Error(why)
			}
		})
	}
}

func TestManySharesAreComparedByPages(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	sim := weftest.Simulate(t, dialect(t, "nextcloud-30-"))
	alice.Put("a.txt", "a")
	first := alice.Share("a.txt", sim.Address())
	weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(first.ID) == "delivered" })
	var row sharing.Outgoing
	db := alice.Server.DB
	if err := db.Read.NewSelect().Model(&row).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := []sharing.Outgoing{}
	for i := range 999 {
		row.ID, row.SecretHash = fmt.Sprintf("%04d", i), fmt.Sprint(i)
		rows = append(rows, row)
	}
	if _, err := db.Write.NewInsert().Model(&rows).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	finds(t, olga, sim.Host, true, "1000 unasked")
}

// Two operators repairing at once do nothing twice.
func TestRepairsAtOnceAreMadeOnce(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, alice.Site)
	alice.Put("Reef/a.txt", "a")
	accepted(t, alice, bob, "Reef")
	lose[sharing.Incoming](t, bob.Site)
	found, err := alice.Server.Sharing.Compare(t.Context(), bob.Host)
	if err != nil || len(found.Findings) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	var done atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		findings := slices.Clone(found.Findings)
		wg.Go(func() {
			n, err := alice.Server.Sharing.Repair(t.Context(), bob.Host, findings)
			if err != nil {
				t.Error(err)
			}
			done.Add(int64(n))
		})
	}
	wg.Wait()
	bob.Accept("Reef")
	bob.Get("Shared with me/Reef/a.txt")
	if n := done.Load(); n != 1 {
		t.Errorf("done %d times", n)
	}
	finds(t, olga, bob.Host, true, "1 agreed")
}

func TestWhatCannotBeComparedSaysWhy(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	p := weftest.NewPeer(t)
	path := "/peers/" + string(p.Host) + "/reconcile"
	for _, c := range []struct {
		who  *weftest.Person
		path string
		code string
	}{{olga, "/peers/" + string(alice.Host) + "/reconcile", "PEER_IS_SELF"}, {olga, "/peers/a%20b/reconcile", string(ocm.CodeAddressInvalid)}, {alice, path, "ADMINS_ONLY"}} {
		if a := c.who.TryAPI("POST", c.path, map[string]any{}); a.Code() != c.code {
			t.Errorf("%s: %d %s", c.path, a.Status, a.Body)
		}
	}
	finds(t, olga, p.Host, true, "")
	olga.API("PUT", "/policy/rules", map[string]any{"host": string(p.Host), "action": "deny"}, nil)
	if a := olga.TryAPI("POST", path, map[string]any{}); a.Code() != "PEER_DENIED_HERE" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
