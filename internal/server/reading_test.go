package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// obey waits until a rule about a host holds.
func obey(t *testing.T, site *weftest.Site, rule peer.Rule) {
	t.Helper()
	if _, err := site.Server.Policy.Set(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	weftest.Until(t, "the rule holds", func() bool {
		site.Advance(time.Second)
		known, err := site.Server.Peers.Peer(t.Context(), ocm.Host(rule.Pattern))
		return err == nil && (rule.Profile == "") == (known.Profile.Name == "ocm-1.5")
	})
}

// A server that publishes a key of the older kind for older servers is for
// others what it is.
func TestAKeyForOlderServersMakesNoOlderServer(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Federation.LegacySignatures = true }).Person("alice")
	bob := weftest.Start(t).Person("bob")
	alice.Put("Reef/a.txt", "fish")
	alice.Share("Reef", bob.Address, "read", "write")
	r := bob.Accept("Reef")
	if r.ResourceType != "folder" {
		t.Errorf("%+v", r)
	}
	if got := bob.Get("Shared with me/Reef/a.txt"); got != "fish" {
		t.Error(got)
	}
	known, err := bob.Server.Peers.Peer(t.Context(), alice.Host)
	if err != nil || known.Profile.Name != "ocm-1.5" {
		t.Errorf("taken for %s (%s), %v", known.Profile.Name, known.Profile.Reason, err)
	}
}

// What a wrong profile made of a share ends with the profile.
func TestAShareIsReadAgainWhenTheProfileIsCorrected(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/a.txt", "fish")
	alice.Share("Reef", bob.Address)
	bob.Inbox("Reef", "pending") // they know each other
	obey(t, bob.Site, peer.Rule{Pattern: string(alice.Host), Profile: "nextcloud-31/32"})
	alice.Put("Other/a.txt", "other")
	alice.Share("Other", bob.Address)
	bob.Accept("Reef")
	bob.Accept("Other")
	for _, name := range []string{"Reef", "Other"} {
		bob.DAV("GET", "Shared with me/"+name+"/a.txt", "")
	}
	obey(t, bob.Site, peer.Rule{Pattern: string(alice.Host), Action: peer.Allow})
	if a, b := bob.Get("Shared with me/Reef/a.txt"), bob.Get("Shared with me/Other/a.txt"); a != "fish" || b != "other" {
		t.Errorf("%q, %q", a, b)
	}
}

// Where a share demands the code flow, its secret is no way in: also at servers
// that serve at their webdav path alone.
func TestASecretIsNoWayInWhereTheCodeFlowIsDemanded(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	p.Document.Provider, p.Document.APIVersion = "Nextcloud 35.0.1.3", "1.0-proposal1"
	p.Document.ResourceTypes[0].Protocols["webdav"] = json.RawMessage(`"/public.php/webdav/"`)
	heard(p)
	var mu sync.Mutex
	var shown []string
	tokens := http.StatusOK
	p.Handle("POST /token", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(tokens)
		if tokens == http.StatusOK {
			w.Write([]byte(`{"access_token":"a-token","token_type":"Bearer","expires_in":300}`))
		} else {
			w.Write([]byte(`{"error":"invalid_grant"}`))
		}
	})
	for _, method := range []string{"PROPFIND", "HEAD", "GET"} {
		p.Handle(method+" /public.php/webdav/", func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			shown = append(shown, r.Header.Get("Authorization"))
			mu.Unlock()
			switch {
			case r.Header.Get("Authorization") != "Bearer a-token":
				w.WriteHeader(http.StatusUnauthorized)
			case r.Method == "PROPFIND":
				w.WriteHeader(http.StatusMethodNotAllowed)
			default:
				w.Write([]byte("by a token"))
			}
		})
	}
	b, err := os.ReadFile("../../ocm/client/testdata/nextcloud-33+/share-in-must-exchange.json")
	if err != nil {
		t.Fatal(err)
	}
	var vector struct{ Message json.RawMessage }
	if err := json.Unmarshal(b, &vector); err != nil {
		t.Fatal(err)
	}
	send := func(id string) {
		t.Helper()
		body := strings.NewReplacer("peer.example", string(p.Host), "here.example", string(alice.Host), `"providerId": "1"`, `"providerId": "`+id+`"`,
			"spec.txt", id+".txt").Replace(string(vector.Message))
		want(t, "the share", p.Post(alice.Site, "/ocm/shares", jsonType, body), 201)
		alice.Accept(id + ".txt")
	}
	send("1")
	if got := alice.Get("Shared with me/1.txt"); got != "by a token" {
		t.Error(got)
	}
	mu.Lock()
	tokens = http.StatusBadRequest
	mu.Unlock()
	send("2")
	if a := alice.DAV("GET", "Shared with me/2.txt", ""); a.Status < 400 {
		t.Errorf("without a token: %d %s", a.Status, a.Body)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, credential := range shown {
		if credential != "Bearer a-token" {
			t.Errorf("shown: %q", credential)
		}
	}
}
