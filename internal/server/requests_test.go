package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

type sentRequest struct{ ID, Kind, Owner, With, Resource, Name, State, Reason string }

type question struct {
	ID, Kind, From, With, Resource, Path, Message, State string
	Permissions                                          []string
	Times                                                int
}

func requests(p *weftest.Person) (out struct {
	Sent     []sentRequest
	Received []question
}) {
	p.T.Helper()
	p.API("GET", "/requests", nil, &out)
	return out
}

func ask(p *weftest.Person, owner, resource string, more ...map[string]any) sentRequest {
	p.T.Helper()
	in := map[string]any{"owner": owner, "resource": resource}
	for _, m := range more {
		for k, v := range m {
			in[k] = v
		}
	}
	var out sentRequest
	p.API("POST", "/requests", in, &out)
	return out
}

// becomes waits until a request someone sent is in a state.
func becomes(p *weftest.Person, id, state string) sentRequest {
	p.T.Helper()
	var last sentRequest
	weftest.Until(p.T, "the request of "+p.Name+" is "+state, func() bool {
		for _, r := range requests(p).Sent {
			if r.ID == id {
				last = r
			}
		}
		return last.State == state
	})
	return last
}

// asked waits for an open question about a resource.
func asked(p *weftest.Person, resource string) question {
	p.T.Helper()
	var found question
	weftest.Until(p.T, p.Name+" is asked for "+resource, func() bool {
		for _, q := range requests(p).Received {
			if q.Resource == resource && q.State == "open" {
				found = q
				return true
			}
		}
		return false
	})
	return found
}

func TestAskingForAShare(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("Reef/a.txt", "fish")
	alice.Put("Notes/b.txt", "notes")
	other := alice.Share("Notes", "someone@localhost:1")
	for i, c := range []struct{ resource, path, name string }{
		{"Reef/a.txt", "Reef/a.txt", "a.txt"},
		{alice.Origin + "/dav/files/alice/Reef/", "Reef", "Reef"},
		{other.ID, "Notes", "Notes"},
	} {
		r := ask(bob, "alice", c.resource, map[string]any{"permissions": []string{"read", "write"}, "message": "for the review"})
		q := asked(alice, c.resource)
		if q.From != bob.Address || q.Path != c.path || q.Message != "for the review" || !slices.Equal(q.Permissions, []string{"read", "write"}) {
			t.Errorf("%s: %+v", c.resource, q)
		}
		becomes(bob, r.ID, "asked")
		var sent weftest.Sent
		in := map[string]any{}
		if i == 0 { // less than was asked for
			in["permissions"] = []string{"read"}
		}
		alice.API("POST", "/requests/"+q.ID+"/grant", in, &sent)
		if got := bob.Inbox(c.name, "pending"); got.Sender != alice.Address || (len(got.Permissions) == 2) != (i > 0) {
			t.Errorf("%s: %+v", c.resource, got)
		}
		becomes(bob, r.ID, "granted")
		if a := alice.TryAPI("POST", "/requests/"+q.ID+"/grant", in); a.Status != 404 || !strings.Contains(a.Body, "granted") {
			t.Errorf("granted again: %d %s", a.Status, a.Body)
		}
	}
	// What cannot be told is the owner's to name.
	r := ask(bob, alice.Address, "the data of May")
	q := asked(alice, "the data of May")
	if a := alice.TryAPI("POST", "/requests/"+q.ID+"/grant", map[string]any{}); a.Status != 400 || a.Code() != "RESOURCE_UNCLEAR" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	alice.API("POST", "/requests/"+q.ID+"/grant", map[string]any{"path": "Notes/b.txt"}, nil)
	bob.Inbox("b.txt", "pending")
	becomes(bob, r.ID, "granted")

	// No, and why.
	r = ask(bob, alice.Address, "secret.txt")
	alice.API("POST", "/requests/"+asked(alice, "secret.txt").ID+"/refuse", map[string]any{"message": "not ready"}, nil)
	if no := becomes(bob, r.ID, "refused"); no.Reason != "not ready" {
		t.Errorf("%+v", no)
	}
	// Asked again so soon, nobody is bothered.
	if r = ask(bob, alice.Address, "secret.txt"); becomes(bob, r.ID, "refused").Reason == "" {
		t.Error("refused without a reason")
	}
	// Silence is an answer too.
	r = ask(bob, alice.Address, "other.txt")
	alice.API("POST", "/requests/"+asked(alice, "other.txt").ID+"/refuse", map[string]any{"silently": true}, nil)
	becomes(bob, r.ID, "asked")
	if a := bob.TryAPI("POST", "/requests", map[string]any{"owner": alice.Address, "resource": "other.txt"}); a.Status != 409 || a.Code() != "REQUEST_EXISTS" {
		t.Errorf("asked twice: %d %s", a.Status, a.Body)
	}
	bob.Advance(31 * 24 * time.Hour)
	if err := bob.Server.Sharing.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	becomes(bob, r.ID, "ignored")
}

func TestWhoMayAskIsPolicy(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("a.txt", "a")
	stranger := weftest.NewPeer(t)
	request := func(id, as string, change ...func(*ocm.Notification)) string {
		n := ocm.Notification{
			Type: ocm.RequestShare, Owner: ocm.Address{Identifier: "alice", Host: alice.Server.Self}, ShareWith: ocm.Address{Identifier: as, Host: stranger.Host},
			ShareID: id, Permissions: []string{"read"},
		}
		for _, f := range change {
			f(&n)
		}
		return notice(t, stranger, n)
	}
	post := func(body string) weftest.Answer {
		return stranger.Post(alice.Site, "/ocm/notifications", jsonType, body)
	}
	refused := post(request("a.txt", "marie"))
	if refused.Status != 404 || refused.Code() != "REQUEST_NOT_TAKEN" {
		t.Errorf("a stranger: %d %s", refused.Status, refused.Body)
	}
	says(t, "the explanation", explained(t, alice.Site, refused), "marie@"+string(stranger.Host)+" is not in the owner's address book")
	nobody := post(request("a.txt", "marie", func(n *ocm.Notification) { n.Owner.Identifier = "nobody" }))
	if nobody.Status != refused.Status || nobody.Body != refused.Body {
		t.Errorf("who is here can be told: %d %s", nobody.Status, nobody.Body)
	}
	want(t, "for someone of another host", post(request("a.txt", "marie", func(n *ocm.Notification) { n.ShareWith.Host = "else.example" })), 403)

	if _, err := alice.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(stranger.Host), Action: peer.Allow}); err != nil {
		t.Fatal(err)
	}
	weftest.Until(t, "the rule holds", func() bool {
		alice.Advance(time.Second)
		stranger.Signer.Now = alice.Now
		return post(request("a.txt", "marie")).Status == 201
	})
	want(t, "the same again", post(request("a.txt", "marie")), 201)
	if q := asked(alice, "a.txt"); q.Times != 2 || len(requests(alice).Received) != 1 {
		t.Errorf("%+v", requests(alice).Received)
	}
	want(t, "of a file that is not there", post(request("b.txt", "marie")), 201)
	if q := asked(alice, "b.txt"); q.Path != "" {
		t.Errorf("%+v", q)
	}
	// Servers of 1.4 ask elsewhere.
	old, _ := json.Marshal(map[string]string{"owner": alice.Address, "shareWith": "marie@" + string(stranger.Host), "share": "c.txt"})
	want(t, "/request-share", stranger.Post(alice.Site, "/ocm/request-share", jsonType, string(old)), 201)
	asked(alice, "c.txt")
	// Too much is too much, of one person.
	last := 0
	for i := range 10 {
		last = post(request(fmt.Sprint("many", i), "marie")).Status
	}
	if last != 429 {
		t.Errorf("the thirteenth question: %d", last)
	}
	want(t, "someone else of there", post(request("d.txt", "pierre")), 201)
	// A blocked asker looks like nobody's.
	alice.API("POST", "/contacts", map[string]any{"address": "jean@" + string(stranger.Host), "name": "Jean"}, nil)
	alice.API("PATCH", "/contacts/"+alice.Contacts("Jean")[0].ID, map[string]any{"blocked": true}, nil)
	if a := post(request("e.txt", "jean")); a.Status != 404 || a.Body != refused.Body {
		t.Errorf("blocked: %d %s", a.Status, a.Body)
	}
	// Whose questions nobody answered can be put again.
	alice.Advance(31 * 24 * time.Hour)
	if err := alice.Server.Sharing.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	stranger.Signer.Now = alice.Now
	want(t, "after they have lapsed", post(request("a.txt", "marie")), 201)

	closed := weftest.Start(t, func(c *config.Config) { c.Federation.Requests = "nobody" }).Person("alice")
	if a := stranger.Post(closed.Site, "/ocm/notifications", jsonType, request("a.txt", "marie", func(n *ocm.Notification) { n.Owner.Host = closed.Server.Self })); a.Status != 404 && a.Status != 401 {
		t.Errorf("switched off: %d %s", a.Status, a.Body)
	}
}

func TestRequestsAtHomeAndToServersThatTakeNone(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	alice.Put("a.txt", "a")
	r := ask(bob, "alice", "a.txt")
	alice.API("POST", "/requests/"+asked(alice, "a.txt").ID+"/grant", map[string]any{}, nil)
	becomes(bob, r.ID, "granted")
	if a := bob.TryAPI("POST", "/requests", map[string]any{"owner": "bob", "resource": "a.txt"}); a.Code() != "REQUEST_TO_SELF" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	no := ask(bob, "alice", "b.txt")
	alice.API("POST", "/requests/"+asked(alice, "b.txt").ID+"/refuse", map[string]any{}, nil)
	becomes(bob, no.ID, "refused")

	old := weftest.Simulate(t, dialect(t, "nextcloud-30-"))
	r = ask(bob, old.Address(), "a.txt")
	if got := becomes(bob, r.ID, "failed"); !strings.Contains(got.Reason, "takes no requests of this kind") {
		t.Errorf("%+v", got)
	}
	// Another server's no is not this one's.
	peer, stranger := weftest.NewPeer(t), weftest.NewPeer(t)
	heard(peer)
	r = ask(bob, "marie@"+string(peer.Host), "x")
	becomes(bob, r.ID, "asked")
	decline := func(p *weftest.Peer) weftest.Answer {
		return p.Post(site, "/ocm/notifications", jsonType, notice(t, p, ocm.Notification{Type: ocm.ShareDeclined, ProviderID: "x", Message: "no"}))
	}
	want(t, "a stranger's refusal", decline(stranger), 404)
	becomes(bob, r.ID, "asked")
	want(t, "the refusal", decline(peer), 201)
	want(t, "the refusal again", decline(peer), 201)
	becomes(bob, r.ID, "refused")
}

// A no is to one person's question to one other, wherever else the same is asked.
func TestANoIsToOneRequest(t *testing.T) {
	t.Parallel()
	north, south := weftest.Start(t), weftest.Start(t)
	alice, dave := north.Person("alice"), north.Person("dave")
	bob, carol := south.Person("bob"), south.Person("carol")
	for _, owner := range []*weftest.Person{alice, dave} {
		owner.Befriend(bob)
		owner.Befriend(carol)
	}
	var ids [4]string
	for i, c := range []struct{ asker, owner *weftest.Person }{{bob, alice}, {bob, dave}, {carol, alice}, {carol, dave}} {
		ids[i] = ask(c.asker, c.owner.Address, "Reports").ID
		becomes(c.asker, ids[i], "asked")
	}
	for _, q := range requests(alice).Received {
		if q.From == bob.Address {
			alice.API("POST", "/requests/"+q.ID+"/refuse", map[string]any{"message": "no, Bob"}, nil)
		}
	}
	if got := becomes(bob, ids[0], "refused"); got.Reason != "no, Bob" {
		t.Errorf("%+v", got)
	}
	becomes(bob, ids[1], "asked")
	becomes(carol, ids[2], "asked")
	becomes(carol, ids[3], "asked")
}

// Servers that do not say who is meant are believed where it can be one alone.
func TestANoThatDoesNotSayToWhomIsToTheOnlyOne(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	bob, carol := site.Person("bob"), site.Person("carol")
	p := weftest.NewPeer(t)
	heard(p)
	owner := "marie@" + string(p.Host)
	first, second := ask(bob, owner, "x"), ask(carol, owner, "x")
	becomes(bob, first.ID, "asked")
	becomes(carol, second.ID, "asked")
	decline := func(message string, with *weftest.Person) weftest.Answer {
		n := ocm.Notification{Type: ocm.ShareDeclined, ProviderID: "x", Message: message}
		if with != nil {
			n.ShareWith = ocm.Address{Identifier: with.Name, Host: site.Host}
		}
		return p.Post(site, "/ocm/notifications", jsonType, notice(t, p, n))
	}
	if a := decline("to whom?", nil); a.Status != 400 || !strings.Contains(a.Body, "notification.file.shareWith") {
		t.Errorf("to one of two: %d %s", a.Status, a.Body)
	}
	becomes(bob, first.ID, "asked")
	want(t, "to Bob", decline("not you", bob), 201)
	want(t, "to the one that is left", decline("nor you", nil), 201)
	want(t, "again, in other words", decline("nobody", nil), 201)
	if a, b := becomes(bob, first.ID, "refused"), becomes(carol, second.ID, "refused"); a.Reason != "not you" || b.Reason != "nor you" {
		t.Errorf("%+v, %+v", a, b)
	}
}

// At home a no to a question about a share is not a word about the share.
func TestANoAtHomeEndsNoShare(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	alice.Put("Reef/a.txt", "a")
	sent := alice.Share("Reef", "bob")
	bob.Accept("Reef")
	r := ask(bob, "alice", sent.ID, map[string]any{"permissions": []string{"read", "write"}})
	alice.API("POST", "/requests/"+asked(alice, sent.ID).ID+"/refuse", map[string]any{"message": "no"}, nil)
	if got := becomes(bob, r.ID, "refused"); got.Reason != "no" {
		t.Errorf("%+v", got)
	}
	if state := alice.SentState(sent.ID); state != "accepted" {
		t.Error(state)
	}
}

// Not everything that comes from whom one asked is the answer.
func TestAnotherShareIsNoAnswerToARequest(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.Put("holiday.jpg", "sun")
	alice.Put("b/report", "text")
	r := ask(bob, alice.Address, "the report")
	q := asked(alice, "the report")
	alice.Share("holiday.jpg", bob.Address)
	bob.Inbox("holiday.jpg", "pending")
	becomes(bob, r.ID, "asked")
	alice.API("POST", "/requests/"+q.ID+"/grant", map[string]any{"path": "b/report"}, nil)
	bob.Inbox("report", "pending")
	becomes(bob, r.ID, "granted")
}

// What someone has already is granted by giving them the rights that they lack.
func TestGrantingWhatIsSharedAlreadyGivesTheRightsThatLack(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	ann := alice.Site.Person("ann")
	alice.Put("Reef/a.txt", "a")
	for _, who := range []*weftest.Person{bob, ann} {
		sent := alice.Share("Reef", who.Address, "read", "share")
		who.Accept("Reef")
		for _, c := range []struct {
			resource string
			asked    []string
			has      int
		}{
			{"Reef", []string{"read"}, 2}, // which there is
			{alice.Origin + "/dav/files/alice/Reef", []string{"read", "write"}, 3},
		} {
			r := ask(who, alice.Address, c.resource, map[string]any{"permissions": c.asked})
			other := ask(who, alice.Address, "something else")
			q := asked(alice, c.resource)
			if a := alice.TryAPI("POST", "/requests/"+q.ID+"/grant", map[string]any{"expiresAt": time.Now().Add(time.Hour)}); a.Code() != "SHARE_EXISTS" {
				t.Errorf("with an end: %d %s", a.Status, a.Body)
			}
			var granted weftest.Sent
			alice.API("POST", "/requests/"+q.ID+"/grant", map[string]any{}, &granted)
			if granted.ID != sent.ID || len(granted.Permissions) != c.has {
				t.Errorf("%+v", granted)
			}
			becomes(who, r.ID, "granted")
			becomes(who, other.ID, "asked")
			if got := who.Inbox("Reef", "accepted"); len(got.Permissions) != c.has {
				t.Errorf("%+v", got)
			}
			who.API("POST", "/requests/"+other.ID+"/withdraw", nil, nil)
			if a := alice.TryAPI("POST", "/requests/"+q.ID+"/grant", map[string]any{}); a.Status != 404 {
				t.Errorf("granted again: %d %s", a.Status, a.Body)
			}
		}
	}
}

// three are people on servers of their own, alice sharing a folder with bob.
func three(t *testing.T, reshares string, change map[string]any) (alice, bob, carol *weftest.Person, sent weftest.Sent, in weftest.Received) {
	t.Helper()
	alice = weftest.Start(t, func(c *config.Config) { c.Federation.Reshares = reshares }).Person("alice")
	bob, carol = weftest.Start(t).Person("bob"), weftest.Start(t).Person("carol")
	alice.Put("Reef/a.txt", "fish")
	m := map[string]any{"path": "Reef", "with": bob.Address, "permissions": []string{"read", "write", "share"}}
	for k, v := range change {
		m[k] = v
	}
	alice.API("POST", "/shares", m, &sent)
	return alice, bob, carol, sent, bob.Accept("Reef")
}

func include(p *weftest.Person, id, with string, permissions ...string) sentRequest {
	p.T.Helper()
	var r sentRequest
	p.API("POST", "/received/"+id+"/reshare", map[string]any{"with": with, "permissions": permissions}, &r)
	return r
}

func TestAReshareComesFromTheOwner(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	alice, bob, carol, sent, in := three(t, "auto", map[string]any{"expiresAt": end.Format(time.RFC3339)})
	if a := bob.TryAPI("POST", "/shares", map[string]any{"path": in.Path, "with": carol.Address}); a.Status != 403 || a.Code() != "RESHARE_FORBIDDEN" {
		t.Errorf("sharing what came from elsewhere: %d %s", a.Status, a.Body)
	}
	r := include(bob, in.ID, carol.Address, "read")
	becomes(bob, r.ID, "granted")
	got := carol.Accept("Reef")
	if got.Sender != alice.Address || len(got.Permissions) != 1 {
		t.Errorf("%+v", got)
	}
	if text := carol.Get("Shared with me/Reef/a.txt"); text != "fish" {
		t.Error(text)
	}
	var all struct {
		Received []struct{ Name, ExpiresAt string }
	}
	carol.API("GET", "/shares", nil, &all)
	if all.Received[0].ExpiresAt != end.Format(time.RFC3339) {
		t.Errorf("it ends %q", all.Received[0].ExpiresAt)
	}
	// Asked again, it is there.
	again := include(bob, in.ID, carol.Address, "read")
	becomes(bob, again.ID, "granted")
	if n := len(alice.Shares().Sent); n != 2 {
		t.Errorf("%d shares", n)
	}
	// Taken back, it ends; the share it was asked by goes on.
	bob.API("POST", "/requests/"+r.ID+"/withdraw", nil, nil)
	carol.Inbox("Reef", "ended")
	if state := alice.SentState(sent.ID); state != "accepted" {
		t.Error(state)
	}
	if bob.Get("Shared with me/Reef/a.txt") != "fish" {
		t.Error("the withdrawal took bob's share too")
	}
	if a := bob.TryAPI("POST", "/requests/"+r.ID+"/withdraw", nil); a.Status != 409 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	for _, c := range []struct{ with, code string }{{alice.Address, "INVALID_PAYLOAD"}, {"carol", "RECIPIENT_NOT_FOUND"}} {
		if a := bob.TryAPI("POST", "/received/"+in.ID+"/reshare", map[string]any{"with": c.with}); a.Status != 400 || a.Code() != c.code {
			t.Errorf("with %s: %d %s", c.with, a.Status, a.Body)
		}
	}
}

func TestAReshareNeedsTheRightAndTheOwnersYes(t *testing.T) {
	t.Parallel()
	alice, bob, carol, sent, in := three(t, "ask", nil)
	r := include(bob, in.ID, carol.Address)
	q := asked(alice, sent.ID)
	if q.Kind != "reshare" || q.From != bob.Address || q.With != carol.Address || q.Path != "Reef" {
		t.Errorf("%+v", q)
	}
	becomes(bob, r.ID, "asked")
	alice.API("POST", "/requests/"+q.ID+"/refuse", map[string]any{"message": "family only"}, nil)
	if got := becomes(bob, r.ID, "refused"); got.Reason != "family only" {
		t.Errorf("%+v", got)
	}
	if state := alice.SentState(sent.ID); state != "accepted" {
		t.Errorf("the refusal made the share %s", state)
	}
	dora := carol.Site.Person("dora")
	r = include(bob, in.ID, dora.Address, "read")
	q = asked(alice, sent.ID)
	alice.API("POST", "/requests/"+q.ID+"/grant", map[string]any{}, nil)
	dora.Inbox("Reef", "pending")
	becomes(bob, r.ID, "asked") // nothing in the protocol tells
	bob.API("POST", "/requests/"+r.ID+"/withdraw", nil, nil)
	dora.Inbox("Reef", "ended")

	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read", "write"}}, nil)
	weftest.Until(t, "bob's right is gone", func() bool {
		return bob.TryAPI("POST", "/received/"+in.ID+"/reshare", map[string]any{"with": "x@y.example"}).Code() == "RESHARE_FORBIDDEN"
	})
	// His server asks all the same.
	if a := bob.TryAPI("POST", "/received/"+in.ID+"/reshare", map[string]any{"with": "x@y.example"}); !strings.Contains(a.Body, "without the right to pass it on") {
		t.Error(a.Body)
	}
}

// What the owner takes back from a recipient is taken from those whom the recipient
// included, and from those whom they did.
func TestAReshareLivesByTheRightItWasMadeIn(t *testing.T) {
	t.Parallel()
	alice, bob, carol, sent, in := three(t, "auto", nil)
	dora := carol.Site.Person("dora")
	becomes(bob, include(bob, in.ID, carol.Address, "read", "write", "share").ID, "granted")
	becomes(carol, include(carol, carol.Accept("Reef").ID, dora.Address, "read", "write").ID, "granted")
	dora.Accept("Reef")
	change := func(permissions ...string) {
		alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": permissions}, nil)
	}
	change("read", "share")
	for who, rights := range map[*weftest.Person][]string{carol: {"read", "share"}, dora: {"read"}} {
		weftest.Until(t, who.Name+" has no more rights than bob", func() bool { return slices.Equal(pick(who, "Reef").Permissions, rights) })
	}
	change("read")
	for _, who := range []*weftest.Person{carol, dora} {
		who.Inbox("Reef", "ended")
	}
	if state := alice.SentState(sent.ID); state != "accepted" {
		t.Error(state)
	}

	change("read", "share")
	eve, finn := carol.Site.Person("eve"), carol.Site.Person("finn")
	weftest.Until(t, "bob may pass it on again", func() bool { return len(pick(bob, "Reef").Permissions) == 2 })
	becomes(bob, include(bob, in.ID, eve.Address, "read").ID, "granted")
	eve.Accept("Reef")
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	eve.Inbox("Reef", "ended")

	// Who gives a share back takes nothing from others.
	alice.Put("Notes/a.txt", "a")
	sent = alice.Share("Notes", bob.Address, "read", "share")
	in = bob.Accept("Notes")
	becomes(bob, include(bob, in.ID, finn.Address, "read").ID, "granted")
	finn.Accept("Notes")
	bob.API("POST", "/received/"+in.ID+"/leave", nil, nil)
	weftest.Until(t, "bob gave it back", func() bool { return alice.SentState(sent.ID) == "declined" })
	if got := finn.Get("Shared with me/Notes/a.txt"); got != "a" {
		t.Error(got)
	}
	// All end with what they are about, each once.
	if a := alice.DAV("DELETE", "Notes", ""); a.Status != 204 {
		t.Fatal(a.Status)
	}
	finn.Inbox("Notes", "ended")
}

// The owner's own yes is not the recipient's right.
func TestAReshareThatTheOwnerGrantedIsTheirs(t *testing.T) {
	t.Parallel()
	alice, bob, carol, sent, in := three(t, "ask", nil)
	include(bob, in.ID, carol.Address, "read", "write")
	alice.API("POST", "/requests/"+asked(alice, sent.ID).ID+"/grant", map[string]any{}, nil)
	carol.Accept("Reef")
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read"}}, nil)
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	bob.Inbox("Reef", "ended")
	if got := pick(carol, "Reef"); got.State != "accepted" || len(got.Permissions) != 2 {
		t.Errorf("%+v", got)
	}
	if got := carol.Get("Shared with me/Reef/a.txt"); got != "fish" {
		t.Error(got)
	}
}

func TestAReshareInheritsWhatItsShareDemands(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	marie, plain := weftest.NewPeer(t), weftest.NewPeer(t)
	heard(marie)
	plain.Document.Capabilities = []string{ocm.CapNotifications}
	plain.Document.TokenEndPoint = ""
	alice.Put("a.txt", "a")
	sent, _ := shareTo(t, alice, marie, "a.txt", "read", "share")
	reshare := func(n ocm.Notification) weftest.Answer {
		n.Type, n.ProviderID = ocm.RequestReshare, sent.ID
		return marie.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, marie, n))
	}
	with := ocm.Address{Identifier: "pierre", Host: plain.Host}
	for name, c := range map[string]struct {
		n      ocm.Notification
		status int
	}{
		"more rights than there are": {ocm.Notification{ShareWith: with, Permissions: []string{"read", "write"}}, 403},
		"the owner":                  {ocm.Notification{ShareWith: ocm.Address{Identifier: "Alice", Host: alice.Server.Self}}, 400},
		"who has it":                 {ocm.Notification{ShareWith: ocm.Address{Identifier: "marie", Host: marie.Host}}, 400},
	} {
		if a := reshare(c.n); a.Status != c.status {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	want(t, "to a server without the code flow", reshare(ocm.Notification{ShareWith: with}), 201)
	weftest.Until(t, "it is not sent there", func() bool {
		for _, s := range alice.Shares().Sent {
			if s.With == with.String() && s.State == "failed" && strings.Contains(s.Reason, "does not know the code flow") {
				return true
			}
		}
		return false
	})
}

// Servers before 1.5 name the new share when they take it back, and prove it by
// the token of the answer.
func TestOlderServersReshareAndWithdraw(t *testing.T) {
	t.Parallel()
	alice, carol := two(t)
	alice.Put("a.txt", "a")
	old := weftest.NewPeer(t)
	old.Document = &ocm.Discovery{
		Enabled: true, APIVersion: "1.1.0", EndPoint: old.URL + "/ocm", Provider: "Nextcloud",
		ResourceTypes: []ocm.ResourceType{{Name: "file", ShareTypes: []string{"user"}, Protocols: map[string]json.RawMessage{"webdav": json.RawMessage(`"/public.php/webdav/"`)}}},
	}
	sent, share := shareTo(t, alice, old, "a.txt", "read", "share")
	secret := share.Protocol.WebDAV.SharedSecret.Reveal()
	post := func(kind, id, secret string, more map[string]string) weftest.Answer {
		inner := map[string]string{"sharedSecret": secret}
		for k, v := range more {
			inner[k] = v
		}
		b, _ := json.Marshal(map[string]any{"notificationType": kind, "resourceType": "file", "providerId": id, "notification": inner})
		return old.Post(alice.Site, "/ocm/notifications", jsonType, string(b), weftest.Unsigned)
	}
	more := map[string]string{"shareWith": carol.Address, "senderId": "12"}
	want(t, "with a wrong secret", post("REQUEST_RESHARE", sent.ID, "wrong", more), 403)
	a := post("REQUEST_RESHARE", sent.ID, secret, more)
	var answer struct{ Token, SharedSecret, ProviderID string }
	if err := json.Unmarshal([]byte(a.Body), &answer); err != nil || a.Status != 201 || answer.Token == "" || answer.SharedSecret != answer.Token || answer.ProviderID == "" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	carol.Accept("a.txt")
	want(t, "with a wrong token", post("RESHARE_UNDO", answer.ProviderID, "wrong", nil), 403)
	want(t, "withdrawn", post("RESHARE_UNDO", answer.ProviderID, answer.Token, nil), 201)
	carol.Inbox("a.txt", "ended")
	if state := alice.SentState(sent.ID); state != "delivered" {
		t.Error(state)
	}

	// The other way about: we ask an old server.
	bodies := make(chan string, 8)
	old.Handle("POST /ocm/notifications", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies <- string(b)
		w.WriteHeader(201)
		fmt.Fprint(w, `{"token":"their-token","providerId":"99"}`)
	})
	want(t, "a share", old.Post(alice.Site, "/ocm/shares", jsonType, old.ShareFor(alice, map[string]any{
		"resourceType": "file", "providerId": "7", "name": "n.txt", "protocol": map[string]any{
			"name": "webdav", "options": map[string]any{"sharedSecret": "s3cret"},
			"webdav": map[string]any{"uri": "7", "sharedSecret": "s3cret", "permissions": []string{"read", "share"}},
		},
	}), weftest.Unsigned), 201)
	in := alice.Accept("n.txt")
	r := include(alice, in.ID, carol.Address)
	becomes(alice, r.ID, "granted")
	alice.API("POST", "/requests/"+r.ID+"/withdraw", nil, nil)
	var seen []string
	weftest.Until(t, "the old server hears of it", func() bool {
		select {
		case b := <-bodies:
			seen = append(seen, b)
		default:
		}
		return len(seen) == 3
	})
	// The acceptance and the request are about different things: either may be first.
	for kind, parts := range map[string][]string{
		"SHARE_ACCEPTED":  {`"sharedSecret":"s3cret"`},
		"REQUEST_RESHARE": {`"sharedSecret":"s3cret"`, `"senderId":"` + in.ID},
		"RESHARE_UNDO":    {`"sharedSecret":"their-token"`, `"providerId":"99"`},
	} {
		i := slices.IndexFunc(seen, func(b string) bool { return strings.Contains(b, `"`+kind+`"`) })
		for _, part := range parts {
			if i < 0 || !strings.Contains(seen[i], part) {
				t.Errorf("no %s with %s: %s", kind, part, seen)
			}
		}
	}
}

// One recipient, or one server with people made up, does not go on without end.
func TestRequestsOfOneServerAreBounded(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p, q := weftest.NewPeer(t), weftest.NewPeer(t)
	heard(p)
	alice.Put("a.txt", "a")
	sent, _ := shareTo(t, alice, p, "a.txt", "read", "share")
	reshare := func(kind string, i int) weftest.Answer {
		return p.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, p, ocm.Notification{
			Type: kind, ProviderID: sent.ID, ShareWith: ocm.Address{Identifier: fmt.Sprint("u", i), Host: "victim.invalid"}, Permissions: []string{"read"},
		}))
	}
	made := func() (n int) {
		for _, s := range alice.Shares().Sent {
			if strings.HasSuffix(s.With, "@victim.invalid") {
				n++
			}
		}
		return n
	}
	for i := range 25 {
		want(t, "a request", reshare(ocm.RequestReshare, i), 201)
	}
	if n, open := made(), len(requests(alice).Received); n != 20 || open != 5 {
		t.Errorf("%d shares were made and %d questions put", n, open)
	}
	want(t, "one that is there", reshare(ocm.RequestReshare, 0), 201)
	want(t, "one that is taken back", reshare(ocm.ReshareUndo, 0), 201)
	p.Signer.Now = func() time.Time { return alice.Now().Add(2 * time.Second) } // in another second
	want(t, "the same again", reshare(ocm.RequestReshare, 0), 201)
	if n, open := made(), len(requests(alice).Received); n != 20 || open != 6 {
		t.Errorf("%d shares were made and %d questions put", n, open)
	}
	alice.Advance(25 * time.Hour)
	p.Signer.Now = alice.Now
	want(t, "on the next day", reshare(ocm.RequestReshare, 30), 201)
	if n := made(); n != 21 {
		t.Errorf("%d shares were made", n)
	}

	bob := weftest.Start(t).Person("bob")
	p.Signer.Now = bob.Now
	for _, x := range []*weftest.Peer{p, q} {
		if _, err := bob.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(x.Host), Action: peer.Allow}); err != nil {
			t.Fatal(err)
		}
	}
	post := func(from *weftest.Peer, as string) int {
		return from.Post(bob.Site, "/ocm/notifications", jsonType, notice(t, from, ocm.Notification{
			Type: ocm.RequestShare, Owner: ocm.Address{Identifier: "bob", Host: bob.Server.Self}, ShareWith: ocm.Address{Identifier: as, Host: from.Host},
			ShareID: "x", Permissions: []string{"read"},
		})).Status
	}
	for i := range 25 {
		if status := post(p, fmt.Sprint("u", i)); status != 201 {
			t.Fatalf("question %d: %d", i, status)
		}
	}
	if status := post(p, "one-more"); status != 429 {
		t.Errorf("one more of that server: %d", status)
	}
	if status := post(q, "marie"); status != 201 {
		t.Errorf("another server's: %d", status)
	}
}
