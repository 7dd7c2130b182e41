package server_test

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

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

// Many servers number their shares: the trouble of one is not another's.
func TestAServerThatIsDownHoldsBackNoOthersShareOfTheSameNumber(t *testing.T) {
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
