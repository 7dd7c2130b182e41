package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// notice writes a notification of a peer in the form of OCM 1.5.
func notice(t *testing.T, from *weftest.Peer, n ocm.Notification) string {
	t.Helper()
	n.SenderDomain = from.Host
	if n.ResourceType == "" && n.ShareType == "" {
		n.ResourceType = ocm.ResourceFile
	}
	b, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// heard collects the notifications that reach a peer.
func heard(p *weftest.Peer) func(kind string) []ocm.Notification {
	var mu sync.Mutex
	var all []ocm.Notification
	p.Handle("POST /ocm/notifications", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		n, err := ocm.ReadNotification(b)
		if err != nil {
			p.T.Errorf("%v in %s", err, b)
		} else {
			mu.Lock()
			all = append(all, *n)
			mu.Unlock()
		}
		w.WriteHeader(http.StatusCreated)
	})
	return func(kind string) (out []ocm.Notification) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range all {
			if n.Type == kind {
				out = append(out, n)
			}
		}
		return out
	}
}

// same fails when what a site holds has changed.
func same(t *testing.T, what string, before, after []string) {
	t.Helper()
	for _, row := range after {
		if !slices.Contains(before, row) {
			t.Errorf("%s: %s", what, row)
		}
	}
	if len(before) != len(after) {
		t.Errorf("%s: %d rows became %d", what, len(before), len(after))
	}
}

// orders yields every order of some messages.
func orders[T any](of []T) (out [][]T) {
	if len(of) < 2 {
		return [][]T{of}
	}
	for i := range of {
		rest := append(slices.Clone(of[:i]), of[i+1:]...)
		for _, o := range orders(rest) {
			out = append(out, append([]T{of[i]}, o...))
		}
	}
	return out
}

// Whatever order notifications come in, however often and all at once: what is
// final stays final.
func TestNotificationsEndTheSameInAnyOrder(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Limits.PeerRate = 0 }).Person("alice")
	peer := weftest.NewPeer(t)
	heard(peer)
	sends := func(id string, n ocm.Notification) int {
		n.ProviderID = id
		return peer.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, peer, n)).Status
	}
	run := func(id string, messages []ocm.Notification, parallel bool) {
		t.Helper()
		var wg sync.WaitGroup
		for _, n := range messages {
			one := func() {
				if status := sends(id, n); status != 201 {
					t.Errorf("%s: %d", n.Type, status)
				}
			}
			if !parallel {
				one()
				continue
			}
			wg.Go(one)
		}
		wg.Wait()
	}
	answers := []ocm.Notification{{Type: ocm.ShareAccepted}, {Type: ocm.ShareDeclined}, {Type: ocm.ShareAccepted}, {Type: ocm.ShareDeclined}}
	for i, order := range append(orders(answers), answers, answers) {
		name := "sent" + strings.Repeat("x", i)
		alice.Put(name, "a")
		sent, _ := shareTo(t, alice, peer, name)
		run(sent.ID, order, i >= 24)
		if state := alice.SentState(sent.ID); state != "declined" {
			t.Errorf("order %d: %s", i, state)
		}
	}
	changes := []ocm.Notification{
		{Type: ocm.ShareUnshared}, {Type: ocm.ShareChangePermission, Permissions: []string{"read"}}, {Type: ocm.ShareUnshared},
	}
	for i, order := range append(orders(changes), changes, changes) {
		id, name := "id"+strings.Repeat("x", i), "name"+strings.Repeat("x", i)
		want(t, "a share", peer.Post(alice.Site, "/ocm/shares", jsonType, peer.ShareFor(alice, map[string]any{"providerId": id, "name": name})), 201)
		run(id, order, i >= 6)
		if in := alice.Inbox(name, "ended"); in.Reason != "ended by its owner" {
			t.Errorf("order %d: %+v", i, in)
		}
		// The share sent again is the one that has ended.
		want(t, "the share again", peer.Post(alice.Site, "/ocm/shares", jsonType, peer.ShareFor(alice, map[string]any{"providerId": id, "name": name})), 201)
		alice.Inbox(name, "ended")
	}

	inTheOrderOfTheirSignatures(t, alice)

	// What comes for a share that has expired, swept or not, changes nothing.
	expiry := alice.Now().Add(time.Hour)
	want(t, "a share that ends", peer.Post(alice.Site, "/ocm/shares", jsonType, peer.ShareFor(alice, map[string]any{
		"providerId": "soon", "name": "soon", "expiration": expiry.Unix(),
	})), 201)
	alice.Put("brief", "a")
	var sent weftest.Sent
	alice.API("POST", "/shares", map[string]any{"path": "brief", "with": "marie@" + string(peer.Host), "expiresAt": expiry.UTC().Format(time.RFC3339)}, &sent)
	weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
	alice.Advance(2 * time.Hour)
	peer.Signer.Now = alice.Now
	for range 2 {
		run(sent.ID, answers[:1], false)
		run("soon", changes[1:2], false)
		if in := alice.Inbox("soon", "ended"); in.Reason != "expired" {
			t.Errorf("%+v", in)
		}
		if state := alice.SentState(sent.ID); state == "accepted" {
			t.Error("an expired share was accepted")
		}
		if err := alice.Server.Sharing.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A person who goes is gone for everyone who knew them.
func TestARemovedUserIsGoneEverywhere(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	peer, stranger := weftest.NewPeer(t), weftest.NewPeer(t)
	told, wrong := heard(peer), heard(stranger)
	old := weftest.Simulate(t, dialect(t, "nextcloud-30-"))
	alice.Put("a.txt", "a")
	shareTo(t, alice, peer, "a.txt")
	toOld := alice.Share("a.txt", old.Address())
	weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(toOld.ID) == "delivered" })
	bob.Put("b.txt", "b")
	fromBob := bob.Share("b.txt", alice.Address)
	alice.Accept("b.txt")
	weftest.Until(t, "the share is accepted", func() bool { return bob.SentState(fromBob.ID) == "accepted" })
	bob.Put("c.txt", "c")

	if err := alice.Server.RemoveUser(t.Context(), alice.User); err != nil {
		t.Fatal(err)
	}
	weftest.Until(t, "the peer hears of the person's end", func() bool { return len(told(ocm.UserRemoved)) == 1 && len(told(ocm.ShareUnshared)) == 1 })
	if n := told(ocm.UserRemoved)[0]; n.UserID != "alice" || n.SenderDomain != alice.Server.Self {
		t.Errorf("%+v", n)
	}
	// The old server wants the secret, though the share is gone with its owner.
	weftest.Until(t, "the old server ends its copy", func() bool { return old.State(old.Received(toOld.ID)) == "ended" })
	if refusals := old.Refusals(); refusals != "" {
		t.Error(refusals)
	}
	if len(wrong(ocm.UserRemoved)) > 0 {
		t.Error("a server was told of a person it does not know")
	}
	weftest.Until(t, "the contact is gone", func() bool { c := bob.Contacts("alice"); return len(c) == 1 && c[0].GoneAt != "" })
	weftest.Until(t, "the share was given back", func() bool { return bob.SentState(fromBob.ID) == "declined" })
}

func TestWhoIsGoneIsShownAndTheOwnerChooses(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	peer, stranger := weftest.NewPeer(t), weftest.NewPeer(t)
	heard(peer)
	peer.Document.ResourceTypes[0].ShareTypes = []string{"user", "group"}
	alice.Put("a.txt", "a")
	mine, _ := shareTo(t, alice, peer, "a.txt")
	var group weftest.Sent
	alice.API("POST", "/shares", map[string]any{"path": "a.txt", "with": "marie@" + string(peer.Host), "group": true}, &group)
	weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(group.ID) == "delivered" })
	reason := func(id string) string {
		for _, s := range alice.Shares().Sent {
			if s.ID == id {
				return s.State + ": " + s.Reason
			}
		}
		return ""
	}
	user := ocm.Notification{Type: ocm.UserRemoved, ShareType: "user", UserID: "marie"}
	groupGone := ocm.Notification{Type: ocm.GroupRemoved, ShareType: "group", GroupID: "marie"}
	for _, n := range []ocm.Notification{user, groupGone} { // of a namesake elsewhere
		want(t, n.Type, stranger.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, stranger, n)), 201)
	}
	if a, b := reason(mine.ID), reason(group.ID); a != "delivered: " || b != "delivered: " {
		t.Errorf("after another server's word: %q, %q", a, b)
	}
	want(t, "GROUP_REMOVED", peer.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, peer, groupGone)), 201)
	if a, b := reason(mine.ID), reason(group.ID); a != "delivered: " || b != "delivered: the group is no longer there" {
		t.Errorf("after GROUP_REMOVED: %q, %q", a, b)
	}
	want(t, "USER_REMOVED", peer.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, peer, user)), 201)
	if a := reason(mine.ID); a != "delivered: the recipient is no longer there" {
		t.Errorf("after USER_REMOVED: %q", a)
	}
	alice.API("DELETE", "/shares/"+mine.ID, nil, nil)
	if a := reason(mine.ID); a != "ended: ended by its owner" {
		t.Error(a)
	}
}

func TestARemovedGroupGivesItsSharesBack(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	peer := weftest.NewPeer(t)
	told := heard(peer)
	g, err := bob.Server.Accounts.AddGroup(t.Context(), "divers", "")
	if err == nil {
		err = bob.Server.Accounts.AddMember(t.Context(), g.ID, bob.User.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	alice.Put("a.txt", "a")
	var sent weftest.Sent
	alice.API("POST", "/shares", map[string]any{"path": "a.txt", "with": "divers@" + string(bob.Server.Self), "group": true}, &sent)
	want(t, "a share", peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, map[string]any{
		"shareWith": "divers@" + string(bob.Server.Self), "shareType": "group",
	})), 201)
	bob.Accept("a.txt")
	if err := bob.Server.RemoveGroup(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	weftest.Until(t, "the share is given back", func() bool { return alice.SentState(sent.ID) == "declined" })
	weftest.Until(t, "the peer hears of the group's end", func() bool { return len(told(ocm.GroupRemoved)) == 1 && len(told(ocm.ShareDeclined)) == 1 })
	if n := told(ocm.GroupRemoved)[0]; n.GroupID != "divers" {
		t.Errorf("%+v", n)
	}
	if a := bob.DAV("GET", "Shared with me/a.txt", ""); a.Status != 404 {
		t.Errorf("the file is still there: %d", a.Status)
	}
}

// Who comes after someone who is gone, by the same name, is a stranger, also when
// one share of theirs was accepted.
func TestANewPersonOfAnOldNameIsNotTrusted(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Befriend(bob)
	alice.API("PATCH", "/contacts/"+alice.Contacts("bob")[0].ID, map[string]any{"trusted": true}, nil)
	bob.Put("a.txt", "a")
	bob.Share("a.txt", alice.Address)
	alice.Inbox("a.txt", "accepted")
	if err := bob.Server.RemoveUser(t.Context(), bob.User); err != nil {
		t.Fatal(err)
	}
	weftest.Until(t, "Bob is gone", func() bool { return alice.Contacts("bob")[0].GoneAt != "" })
	other := bob.Site.Person("bob")
	for _, name := range []string{"b.txt", "c.txt"} {
		other.Put(name, "x")
		other.Share(name, alice.Address)
		alice.Accept(name) // it waits for her
	}
	if c := alice.Contacts("bob")[0]; c.GoneAt != "" || c.Trusted || c.Invited {
		t.Errorf("%+v", c)
	}
	// Where an invite is demanded, the old one is not the new one's.
	strict := weftest.Start(t, func(c *config.Config) { c.Federation.MustInvite = true }).Person("carol")
	strict.Befriend(other)
	if err := other.Server.RemoveUser(t.Context(), other.User); err != nil {
		t.Fatal(err)
	}
	weftest.Until(t, "the other Bob is gone", func() bool { return strict.Contacts("bob")[0].GoneAt != "" })
	third := other.Site.Person("bob")
	third.Put("d.txt", "x")
	sent := third.Share("d.txt", strict.Address)
	weftest.Until(t, "the share is refused", func() bool { return third.SentState(sent.ID) == "failed" })
	// A block outlasts the account.
	alice.API("PATCH", "/contacts/"+alice.Contacts("bob")[0].ID, map[string]any{"blocked": true}, nil)
	third.Put("e.txt", "x")
	sent = third.Share("e.txt", alice.Address)
	weftest.Until(t, "the share is refused", func() bool { return third.SentState(sent.ID) == "failed" })
}

// A right that is withdrawn ends what is under way by it.
func TestTransfersEndWithTheirRight(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	peer := weftest.NewPeer(t)
	heard(peer)
	alice.Put("d/a.txt", "before")
	alice.Put("d/big", strings.Repeat("x", 64<<20))
	sent, share := shareTo(t, alice, peer, "d", "read", "write")
	grant, err := peer.Token(alice.Site, share)
	if err != nil {
		t.Fatal(err)
	}
	request := func(method, name string, body io.Reader) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, alice.Origin+"/dav/ocm/"+sent.ID+"/"+name, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+grant)
		return r
	}
	read, write := io.Pipe()
	status := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(request("PUT", "a.txt", read))
		if err != nil {
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	if _, err := write.Write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read"}}, nil)
	write.Close()
	if got := <-status; got != 403 {
		t.Errorf("the upload: %d", got)
	}
	if got := alice.Get("d/a.txt"); got != "before" {
		t.Errorf("an upload took effect after its right was gone: %q", got)
	}

	resp, err := http.DefaultClient.Do(request("GET", "big", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1024); err != nil {
		t.Fatal(err)
	}
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	weftest.Until(t, "the download is cut", func() bool {
		_, err = io.CopyN(io.Discard, resp.Body, 64<<10)
		return err != nil
	})
	if err == io.EOF {
		t.Error("the download went on to its end")
	}
}

// The same where the share is received: what its server withdraws ends here too.
func TestTransfersEndWithTheirRightWhereAShareIsReceived(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	heard(p)
	p.Document.Capabilities = []string{ocm.CapHTTPSig, ocm.CapNotifications}
	const size = 64 << 20
	p.Handle("PROPFIND", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "new") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		kind := "<d:resourcetype><d:collection/></d:resourcetype>"
		if strings.HasSuffix(r.URL.Path, "big") {
			kind = fmt.Sprintf("<d:resourcetype/><d:getcontentlength>%d</d:getcontentlength>", size)
		}
		w.WriteHeader(http.StatusMultiStatus)
		fmt.Fprintf(w, `<d:multistatus xmlns:d="DAV:"><d:response><d:href>%s</d:href><d:propstat><d:prop>%s<d:getetag>"1"</d:getetag></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`, r.URL.Path, kind)
	})
	p.Handle("GET /dav/7c084226/big", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Header().Set("ETag", `"1"`)
		for range size >> 16 {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	began, took := make(chan bool, 1), make(chan error, 1)
	p.Handle("PUT", func(w http.ResponseWriter, r *http.Request) {
		began <- true
		_, err := io.Copy(io.Discard, r.Body)
		took <- err
		w.WriteHeader(http.StatusCreated)
	})
	tells := func(n ocm.Notification) {
		t.Helper()
		n.ProviderID = "1"
		want(t, n.Type, p.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, p, n)), 201)
	}
	want(t, "the share", p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{"providerId": "1", "name": "R"})), 201)
	alice.Accept("R")
	request := func(method, path string, body io.Reader, length int64) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, alice.Origin+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+alice.Secret.Reveal())
		r.ContentLength = length
		return r
	}
	for _, c := range []struct {
		path   string
		length int64
	}{{"/dav/files/alice/Shared%20with%20me/R/new", -1}, {"/dav/files/alice/Shared%20with%20me/R/new", 10}, {"/api/v1/content/Shared%20with%20me/R/new", 10}} {
		tells(ocm.Notification{Type: ocm.ShareChangePermission, Permissions: []string{"read", "write"}})
		read, write := io.Pipe()
		status := make(chan int, 1)
		go func() {
			resp, err := http.DefaultClient.Do(request("PUT", c.path, read, c.length))
			if err != nil {
				status <- 0
				return
			}
			resp.Body.Close()
			status <- resp.StatusCode
		}()
		if _, err := write.Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		<-began
		tells(ocm.Notification{Type: ocm.ShareChangePermission, Permissions: []string{"read"}})
		write.Write([]byte("67890"))
		write.Close()
		if got := <-status; got != 403 {
			t.Errorf("%s: the upload of %d bytes: %d", c.path, c.length, got)
		}
		if err := <-took; err == nil {
			t.Errorf("%s: the peer took an upload of %d bytes whose right was gone", c.path, c.length)
		}
	}

	resp, err := http.DefaultClient.Do(request("GET", "/dav/files/alice/Shared%20with%20me/R/big", nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1024); err != nil {
		t.Fatal(err)
	}
	tells(ocm.Notification{Type: ocm.ShareUnshared})
	weftest.Until(t, "the download is cut", func() bool {
		_, err = io.CopyN(io.Discard, resp.Body, 64<<10)
		return err != nil
	})
	if err == io.EOF {
		t.Error("the download went on to its end")
	}
}

// Who knows no more than that a share exists changes nothing, whatever family of
// servers it claims to be of.
func TestUnsignedNotificationsNeedTheSecret(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("a.txt", "a")
	const secret = "hfiuhworzwnur98d3wjiwhr"
	for name, change := range map[string]func(*ocm.Discovery){
		"ocm-1.0":       func(d *ocm.Discovery) { d.APIVersion = "1.0.0" },
		"ocm-1.1":       func(d *ocm.Discovery) { d.APIVersion = "1.1.0" },
		"ocm-1.2":       func(d *ocm.Discovery) { d.APIVersion = "1.2.0" },
		"ocm-1.4":       func(d *ocm.Discovery) { d.APIVersion = "1.4.0" },
		"ocm-1.5":       func(d *ocm.Discovery) {},
		"seafile":       func(d *ocm.Discovery) { d.EndPoint = strings.Replace(d.EndPoint, "/ocm", "/api/v2.1/ocm", 1) },
		"nextcloud-30-": func(d *ocm.Discovery) { d.Provider = "Nextcloud" },
		"ocis":          func(d *ocm.Discovery) { d.Provider = "oCIS" },
	} {
		t.Run(name, func(t *testing.T) {
			p := weftest.NewPeer(t)
			heard(p)
			p.Document.Capabilities, p.Document.JWKSURI, p.Document.TokenEndPoint = []string{ocm.CapNotifications}, "", ""
			change(p.Document)
			if known, err := alice.Server.Peers.Peer(t.Context(), p.Host); err != nil || known.Profile.Name != name {
				t.Fatalf("%+v, %v", known.Profile, err)
			}
			send := func(what string, n ocm.Notification, status int) {
				t.Helper()
				n.Form = ocm.NotifyGrantee
				a := p.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, p, n), weftest.Unsigned)
				if a.Status != status {
					t.Errorf("%s: %d %s, want %d", what, a.Status, a.Body, status)
				}
			}
			guessed, long := "7", "0192f0c1-4a5b-7c3d-9e8f-"+name
			for _, id := range []string{guessed, long} {
				want(t, "a share", p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{"providerId": id, "name": name + id}), weftest.Unsigned), 201)
			}
			sent := alice.Share("a.txt", "marie@"+string(p.Host))
			weftest.Until(t, "the delivery has an end", func() bool { return alice.SentState(sent.ID) == "failed" })
			before := alice.State()
			for _, kind := range []string{ocm.ShareUnshared, ocm.ShareChangePermission} {
				for _, id := range []string{guessed, long} {
					n := ocm.Notification{Type: kind, ProviderID: id, Permissions: []string{"read"}}
					send(kind+" without the secret", n, 403)
					n.SharedSecret = "guess"
					send(kind+" with another", n, 403)
					n.SharedSecret, n.Grantee = "", "bob"
					send(kind+" with another's name", n, 403)
				}
				send(kind+" with the recipient's name and a guessed id", ocm.Notification{Type: kind, ProviderID: guessed, Permissions: []string{"read"}, Grantee: "alice"}, 403)
				if name != "ocis" {
					send(kind+" with the recipient's name", ocm.Notification{Type: kind, ProviderID: long, Permissions: []string{"read"}, Grantee: "alice"}, 403)
				}
			}
			send("a refusal without the secret", ocm.Notification{Type: ocm.ShareDeclined, ProviderID: sent.ID}, 403)
			send("who is gone", ocm.Notification{Type: ocm.UserRemoved, ShareType: ocm.ShareTypeUser, UserID: "einstein"}, 401)
			send("which group is gone", ocm.Notification{Type: ocm.GroupRemoved, ShareType: ocm.ShareTypeGroup, GroupID: "physics"}, 401)
			send("what is not there", ocm.Notification{Type: ocm.ShareUnshared, ProviderID: "none", SharedSecret: secret}, map[bool]int{true: 400, false: 404}[name == "nextcloud-30-"])
			same(t, "refused notifications", before, alice.State())

			send("with the secret", ocm.Notification{Type: ocm.ShareUnshared, ProviderID: guessed, SharedSecret: secret}, 201)
			alice.Inbox(name+guessed, "ended")
			if name == "ocis" {
				send("with the recipient's name", ocm.Notification{Type: ocm.ShareUnshared, ProviderID: long, Grantee: "alice"}, 201)
				alice.Inbox(name+long, "ended")
			}
		})
	}
}
