package server_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// pick finds a received share by its name.
func pick(p *weftest.Person, name string) weftest.Received {
	p.T.Helper()
	for _, r := range p.Shares().Received {
		if r.Name == name {
			return r
		}
	}
	p.T.Fatalf("%s has no share %s", p.Name, name)
	return weftest.Received{}
}

// signedAt writes and signs a message of a peer some seconds ago, to be sent later
// and as often as one likes.
func signedAt(from *weftest.Peer, to *weftest.Site, path, body string, ago int) func() weftest.Answer {
	from.T.Helper()
	at := time.Now().Add(-time.Duration(ago) * time.Second)
	from.Signer.Now = func() time.Time { return at }
	defer func() { from.Signer.Now = nil }()
	r, err := http.NewRequest("POST", to.Origin+path, strings.NewReader(body))
	if err != nil {
		from.T.Fatal(err)
	}
	r.Header.Set("Content-Type", jsonType)
	if err := from.Signer.Sign(r, []byte(body)); err != nil {
		from.T.Fatal(err)
	}
	return func() weftest.Answer {
		again, err := http.NewRequest("POST", to.Origin+path, strings.NewReader(body))
		if err != nil {
			from.T.Fatal(err)
		}
		again.Header = maps.Clone(r.Header)
		return weftest.Send(from.T, again)
	}
}

// inTheOrderOfTheirSignatures: messages that overtake each other on the way, or that
// someone kept and sends again, leave what was said last.
func inTheOrderOfTheirSignatures(t *testing.T, alice *weftest.Person) {
	p, third := weftest.NewPeer(t), weftest.NewPeer(t)
	heard(p)
	heard(third)
	third.Handle("POST /ocm/shares", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, "{}")
	})
	note := func(n ocm.Notification, ago int) func() weftest.Answer {
		return signedAt(p, alice.Site, "/ocm/notifications", notice(t, p, n), ago)
	}
	create := func(id string, ago int) func() weftest.Answer {
		return signedAt(p, alice.Site, "/ocm/shares", p.ShareFor(alice, map[string]any{"providerId": id, "name": id}), ago)
	}

	// Rights: the last that was signed, also when an older one comes again; of two
	// of one second, the one that came last.
	for i, order := range orders([]int{30, 20, 10}) {
		id := fmt.Sprint("rights", i)
		want(t, "a share", create(id, 40)(), 201)
		change := map[int]func() weftest.Answer{}
		for ago, rights := range map[int][]string{30: {"read", "write", "share"}, 20: {"read", "write"}, 10: {"read"}} {
			change[ago] = note(ocm.Notification{Type: ocm.ShareChangePermission, ProviderID: id, Permissions: rights}, ago)
		}
		for _, ago := range append(slices.Clone(order), order...) {
			want(t, "a change", change[ago](), 201)
		}
		if got := pick(alice, id).Permissions; !slices.Equal(got, []string{"read"}) {
			t.Errorf("signed %v seconds ago, in this order: %v", order, got)
		}
	}
	want(t, "a share", create("second", 40)(), 201)
	wide := note(ocm.Notification{Type: ocm.ShareChangePermission, ProviderID: "second", Permissions: []string{"read", "write"}}, 10)
	narrow := note(ocm.Notification{Type: ocm.ShareChangePermission, ProviderID: "second", Permissions: []string{"read"}}, 10)
	for _, send := range []func() weftest.Answer{wide, narrow, wide} {
		want(t, "a change", send(), 201)
	}
	if got := pick(alice, "second").Permissions; len(got) != 1 {
		t.Errorf("a change of the same second came again: %v", got)
	}

	// The end of a share may come before the share, and the share again.
	for i, order := range orders([]string{"share", "end", "share again"}) {
		id := fmt.Sprint("end", i)
		send := map[string]func() weftest.Answer{
			"share": create(id, 20), "share again": create(id, 5), "end": note(ocm.Notification{Type: ocm.ShareUnshared, ProviderID: id}, 10),
		}
		for j, what := range order {
			status := 201
			if what == "end" && j == 0 {
				status = 404
			}
			want(t, what, send[what](), status)
		}
		if got := pick(alice, id); got.State != "ended" || got.Reason != "ended by its owner" {
			t.Errorf("%v: %+v", order, got)
		}
	}
	stranger := weftest.NewPeer(t)
	want(t, "another server's end", signedAt(stranger, alice.Site, "/ocm/notifications", notice(t, stranger, ocm.Notification{Type: ocm.ShareUnshared, ProviderID: "theirs"}), 0)(), 404)
	want(t, "the share", create("theirs", 0)(), 201)
	if got := pick(alice, "theirs"); got.State != "pending" {
		t.Errorf("a stranger ended it: %+v", got)
	}

	// A reshare that was taken back stays so, one that was asked for since stays too.
	for _, last := range []string{"undo", "request"} {
		for i, order := range orders([]int{30, 20, 10}) {
			name := fmt.Sprint("reshare ", last, i)
			alice.Put(name, "a")
			sent, _ := shareTo(t, alice, p, name, "read", "share")
			who := ocm.Address{Identifier: "marie", Host: third.Host}
			send := map[int]func() weftest.Answer{}
			for _, ago := range order {
				n := ocm.Notification{Type: ocm.RequestReshare, ProviderID: sent.ID, ShareWith: who, Permissions: []string{"read"}}
				if (ago == 20) == (last == "request") { // request, undo, request; or undo, request, undo
					n = ocm.Notification{Type: ocm.ReshareUndo, ProviderID: sent.ID, ShareWith: who}
				}
				send[ago] = note(n, ago)
			}
			for _, ago := range append(slices.Clone(order), order...) {
				want(t, "a message", send[ago](), 201)
			}
			live := 0
			for _, s := range alice.Shares().Sent {
				if s.Path == name && s.With == who.String() && (s.State == "pending" || s.State == "delivered") {
					live++
				}
			}
			if (live == 1) != (last == "request") {
				t.Errorf("signed %v seconds ago, in this order, the last an %s: %d are live", order, last, live)
			}
		}
	}
	// Within one second it cannot be told: the server is asked to ask again.
	alice.Put("tie", "a")
	sent, _ := shareTo(t, alice, p, "tie", "read", "share")
	n := ocm.Notification{Type: ocm.ReshareUndo, ProviderID: sent.ID, ShareWith: ocm.Address{Identifier: "marie", Host: third.Host}}
	undo := note(n, 20)
	n.Type = ocm.RequestReshare
	same, later := note(n, 20), note(n, 19)
	want(t, "taken back", undo(), 201)
	if a := same(); a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("asked for in the same second: %d %s", a.Status, a.Body)
	}
	want(t, "asked again", later(), 201)
}

// What a server says about shares that do not exist is remembered for a while, and
// not without bounds.
func TestWordsAboutWhatIsNotThereAreBounded(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	count := func() int {
		n, err := alice.Server.DB.Read.NewSelect().Table("last_words").Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	end := func(id string, change ...func(*http.Request)) int {
		return p.Post(alice.Site, "/ocm/notifications", jsonType, notice(t, p, ocm.Notification{Type: ocm.ShareUnshared, ProviderID: id}), change...).Status
	}
	for i := range 998 {
		_, err := alice.Server.DB.Write.NewInsert().Table("last_words").Model(&map[string]any{
			"peer_host": string(p.Host), "subject": fmt.Sprint("share/", i), "ends": true, "said_at": 0, "expires_at": time.Now().Add(time.Minute).UnixMilli(),
		}).Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		if status := end(id); status != 404 {
			t.Fatal(status)
		}
	}
	if n := count(); n != 1000 {
		t.Errorf("%d are kept", n)
	}
	if end("unsigned", weftest.Unsigned); count() != 1000 {
		t.Error("an unsigned one is kept")
	}
	alice.Advance(10 * time.Minute)
	if err := alice.Server.Sharing.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Errorf("%d are kept for ever", n)
	}
}

// A request to include someone and its withdrawal go out one after the other.
func TestAWithdrawalWaitsForItsRequest(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	release := make(chan struct{})
	var mu sync.Mutex
	var seen []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, what)
	}
	p.Handle("POST /ocm/notifications", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		n, err := ocm.ReadNotification(b)
		if err != nil {
			t.Errorf("%v in %s", err, b)
			return
		}
		if n.Type == ocm.RequestReshare {
			note("request comes")
			<-release
		}
		w.WriteHeader(http.StatusCreated)
		note(n.Type)
	})
	want(t, "a share", p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{
		"name": "A", "protocol": map[string]any{"name": "multi", "webdav": map[string]any{"uri": "x", "sharedSecret": "s3cret", "permissions": []string{"read", "share"}}},
	})), 201)
	r := include(alice, alice.Accept("A").ID, "carol@third.example")
	has := func(what string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(seen, what)
	}
	weftest.Until(t, "the request is under way, and all else done", func() bool { return has("request comes") && has(ocm.ShareAccepted) })
	alice.API("POST", "/requests/"+r.ID+"/withdraw", nil, nil)
	weftest.Until(t, "the withdrawal waits", func() bool {
		rows, err := alice.Server.Outbox.List(t.Context())
		return err == nil && len(rows) == 1 && rows[0].Kind == "notification"
	})
	close(release)
	weftest.Until(t, "the withdrawal arrives", func() bool { return has(ocm.ReshareUndo) })
	mu.Lock()
	defer mu.Unlock()
	if at := slices.Index(seen, ocm.RequestReshare); at < 0 || at > slices.Index(seen, ocm.ReshareUndo) {
		t.Error(seen)
	}
}

// Many servers number their shares: the trouble of one is not another's.
func TestAServerThatIsDownHoldsBackNoOthersShareOfTheSameNumber(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	down, up := weftest.NewPeer(t), weftest.NewPeer(t)
	asked := make(chan struct{}, 100)
	down.Handle("POST /ocm/notifications", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		asked <- struct{}{}
	})
	told := heard(up)
	for name, p := range map[string]*weftest.Peer{"Down": down, "Up": up} {
		want(t, name, p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{"providerId": "7", "name": name})), 201)
	}
	alice.Accept("Down")
	<-asked
	alice.Accept("Up")
	weftest.Until(t, "the other server is told", func() bool { return len(told(ocm.ShareAccepted)) == 1 })
}

// reluctant answers 400 to the first notification of a type, and keeps the types
// and rights of all.
func reluctant(p *weftest.Peer, kind string) func() []string {
	var mu sync.Mutex
	var all []string
	p.Handle("POST /ocm/notifications", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		n, err := ocm.ReadNotification(b)
		if err != nil {
			p.T.Errorf("%v in %s", err, b)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		said := n.Type
		for _, right := range n.Permissions {
			said += " " + right
		}
		if all = append(all, said); n.Type == kind && len(all) == 1 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// What a server refused to hear does not keep from it what holds since; and once
// it knows that, nobody can resend what no longer holds.
func TestARefusedNotificationSilencesNoLaterOne(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	dead := func() (n int) {
		rows, err := alice.Server.Outbox.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.State == "dead" {
				n++
			}
		}
		return n
	}
	p := weftest.NewPeer(t)
	said := reluctant(p, ocm.ShareAccepted)
	want(t, "a share", p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{"providerId": "7", "name": "A"})), 201)
	r := alice.Accept("A")
	weftest.Until(t, "the acceptance is refused", func() bool { return dead() == 1 })
	alice.API("POST", "/received/"+r.ID+"/leave", nil, nil)
	weftest.Until(t, "the leaving is told", func() bool { return slices.Equal(said(), []string{"SHARE_ACCEPTED", "SHARE_DECLINED"}) })
	weftest.Until(t, "the acceptance is forgotten", func() bool { return dead() == 0 })

	said = reluctant(p, ocm.ShareChangePermission)
	alice.Put("d/x", "x")
	sent, _ := shareTo(t, alice, p, "d", "read", "write")
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read"}}, nil)
	weftest.Until(t, "the change is refused", func() bool { return dead() == 1 })
	alice.API("PATCH", "/shares/"+sent.ID, map[string]any{"permissions": []string{"read", "share"}}, nil)
	weftest.Until(t, "the next is told", func() bool {
		return slices.Equal(said(), []string{"SHARE_CHANGE_PERMISSION read", "SHARE_CHANGE_PERMISSION read share"})
	})
	weftest.Until(t, "the first is forgotten", func() bool { return dead() == 0 })
}
