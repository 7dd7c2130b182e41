package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// Whatever the other server does: what people end or remove has ended when the
// call returns, and it returns at once.
func TestLocalRemovalNeverWaitsForAPeer(t *testing.T) {
	for name, upset := range map[string]func(t *testing.T, s *weftest.Site, p *weftest.Peer){
		"gone": func(_ *testing.T, _ *weftest.Site, p *weftest.Peer) { p.Close() },
		"silent": func(t *testing.T, _ *weftest.Site, p *weftest.Peer) {
			release := make(chan struct{})
			t.Cleanup(func() { close(release) })
			for _, method := range []string{"GET", "POST", "PROPFIND", "GET /.well-known/ocm", "POST /ocm/shares", "POST /ocm/notifications", "POST /token"} {
				p.Handle(method, func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-release:
					case <-r.Context().Done():
					}
				})
			}
		},
		"denied": func(t *testing.T, s *weftest.Site, p *weftest.Peer) {
			if _, err := s.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(p.Host), Action: peer.Deny}); err != nil {
				t.Fatal(err)
			}
		},
		"other keys": func(t *testing.T, s *weftest.Site, p *weftest.Peer) {
			if err := s.Server.Peers.DecideKey(t.Context(), p.Host, string(p.Host)+"#1", peer.KeyRejected); err != nil {
				t.Fatal(err)
			}
			p.SetKeys(weftest.NewPeer(t).Signer.JWK())
			p.Handle("POST /ocm/notifications", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := weftest.Start(t).Person("alice")
			eve := alice.Site.Person("eve")
			p := weftest.NewPeer(t)
			heard(p)
			marie := "marie@" + string(p.Host)
			alice.API("POST", "/contacts", map[string]any{"address": marie}, nil)
			sent := map[string]weftest.Sent{}
			codes := map[string]ocm.Secret{}
			for who, path := range map[*weftest.Person][]string{alice: {"unshared", "deleted", "with the contact"}, eve: {"with the user"}} {
				for _, path := range path {
					who.Put(path, "a")
					s, share := shareTo(t, who, p, path)
					weftest.Until(t, path+" is delivered", func() bool { return who.SentState(s.ID) == "delivered" })
					sent[path], codes[path] = s, share.Protocol.WebDAV.SharedSecret
				}
			}
			for i, in := range []struct {
				to   *weftest.Person
				name string
			}{{alice, "left"}, {alice, "removed"}, {alice, "blocked"}, {alice, "declined"}, {eve, "of the user"}} {
				want(t, "a share", p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(in.to, map[string]any{"providerId": fmt.Sprint(i), "name": in.name})), 201)
				if in.name != "declined" {
					in.to.Accept(in.name)
				}
			}
			received := func(name string) string {
				return alice.Inbox(name, map[bool]string{true: "pending", false: "accepted"}[name == "declined"]).ID
			}
			left, blocked, declined := received("left"), received("blocked"), received("declined")
			contact := alice.Contacts("marie")[0].ID
			weftest.Until(t, "the outbox is empty", func() bool { return alice.Rows()["outbox"] == 0 })
			upset(t, alice.Site, p)

			atOnce := func(what string, do func()) {
				t.Helper()
				began := time.Now()
				do()
				if took := time.Since(began); took > 1500*time.Millisecond {
					t.Errorf("%s took %s", what, took)
				}
			}
			call := func(method, path string) {
				t.Helper()
				atOnce(path, func() { alice.API(method, path, nil, nil) })
			}
			call("DELETE", "/shares/"+sent["unshared"].ID)
			call("POST", "/received/"+left+"/leave")
			call("POST", "/received/"+blocked+"/block")
			call("POST", "/received/"+declined+"/decline")
			atOnce("removing a mount", func() { want(t, "DELETE", alice.DAV("DELETE", "Shared with me/removed", ""), 204) })
			atOnce("deleting the file", func() { want(t, "DELETE", alice.DAV("DELETE", "deleted", ""), 204) })
			call("DELETE", "/contacts/"+contact+"?endShares=true")
			atOnce("removing the user", func() {
				if err := alice.Server.RemoveUser(t.Context(), eve.User); err != nil {
					t.Fatal(err)
				}
			})

			for path, code := range codes {
				_, err := alice.Server.Sharing.Exchange(t.Context(), p.Host, "", &ocm.TokenRequest{GrantType: ocm.GrantAuthorizationCode, ClientID: p.Host, Code: code})
				if !errors.Is(err, sharing.ErrInvalidGrant) {
					t.Errorf("%s can still be opened: %v", path, err)
				}
			}
			for name, state := range map[string]string{"left": "left", "removed": "left", "blocked": "left", "declined": "declined"} {
				if r := alice.Inbox(name, state); r.Path != "" {
					t.Errorf("%+v", r)
				}
				if a := alice.DAV("PROPFIND", "Shared with me/"+name, "", "Depth", "0"); a.Status != 404 {
					t.Errorf("%s is still there: %d", name, a.Status)
				}
			}
			if c := alice.Contacts("marie"); len(c) > 0 && !c[0].Blocked {
				t.Errorf("the contact is still there: %+v", c)
			}
			if _, err := alice.Server.Accounts.Get(t.Context(), eve.User.ID); err == nil {
				t.Error("the user is still there")
			}
		})
	}
}
