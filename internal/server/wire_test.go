package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/ocm"
)

// onWire waits for an exchange of a kind that is kept.
func onWire(t *testing.T, s *weftest.Site, fits func(x server.ExchangeView) bool) *server.ExchangeView {
	t.Helper()
	var found *server.ExchangeView
	weftest.Until(t, "the exchange is kept", func() bool {
		list, err := s.Server.OnTheWire(t.Context(), wire.Filter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			if fits(x) {
				if found, err = s.Server.ShowExchange(t.Context(), x.ID); err != nil {
					t.Fatal(err)
				}
				return true
			}
		}
		return false
	})
	return found
}

func TestTheWireIsVisibleWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("a.txt", "a")
	sent := alice.Share("a.txt", bob.Address)
	bob.Accept("a.txt")
	if bob.Get("Shared with me/a.txt") != "a" {
		t.Fatal("not read")
	}
	out := onWire(t, alice.Site, func(x server.ExchangeView) bool { return x.Operation == "share" })
	says(t, "the delivery", out.Body, `"sharedSecret":"masked, `, sent.ID, `"must-exchange-token"`)
	says(t, "its header", out.Header, "Signature-Input: ocm=", "Content-Digest: sha-256=")
	says(t, "its signature base", out.Base, `"@method": POST`, `"@target-uri": `+bob.Origin+"/ocm/shares", `"@signature-params": `)
	if out.Status != 201 || out.Fault != "" || out.Millis <= 0 || !strings.Contains(out.Answer, "recipientDisplayName") {
		t.Errorf("%+v", out)
	}
	in := onWire(t, bob.Site, func(x server.ExchangeView) bool { return x.Operation == "/ocm/shares" })
	if in.Base != out.Base || in.Body != out.Body || in.Status != 201 || in.Peer != string(alice.Server.Self) {
		t.Errorf("seen from there:\n%+v\nand from here:\n%+v", out, in)
	}
	if len(in.Steps) == 0 {
		t.Error("the decision is missing")
	}
	token := onWire(t, alice.Site, func(x server.ExchangeView) bool { return x.Operation == "/ocm/token" })
	says(t, "the token request", token.Body, "code=masked, ", "grant_type=authorization_code")
	says(t, "its answer", token.Answer, `"access_token":"masked, `)

	// A refusal says why.
	stranger := weftest.NewPeer(t)
	a := stranger.Post(bob.Site, "/ocm/shares", jsonType, stranger.ShareFor(bob, nil), func(r *http.Request) { r.Header.Set("Content-Digest", "sha-256=:AAAA:") })
	refused := onWire(t, bob.Site, func(x server.ExchangeView) bool { return x.ID == a.Header.Get("X-Request-Id") })
	if !strings.HasPrefix(refused.Fault, "DIGEST_MISMATCH: ") || refused.Status != 401 {
		t.Errorf("%+v", refused)
	}

	// Who repeats our message in its answer does not give its secret away to the
	// record.
	echo := weftest.NewPeer(t)
	var given string
	echo.Handle("POST /ocm/shares", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		n, err := ocm.ReadShare(b)
		if err != nil {
			t.Error(err)
			return
		}
		given = n.Protocol.WebDAV.SharedSecret.Reveal()
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"message": "what is " + given + "?"})
	})
	alice.Share("a.txt", "marie@"+string(echo.Host))
	repeated := onWire(t, alice.Site, func(x server.ExchangeView) bool { return x.Operation == "share" && x.Peer == string(echo.Host) })
	says(t, "the repeated message", repeated.Answer, "what is masked, ")
	if given == "" || strings.Contains(repeated.Answer+repeated.Fault, given) {
		t.Errorf("%q is in %+v", given, repeated)
	}
	// Nor does a query.
	a = stranger.Post(bob.Site, "/ocm/notifications?code=hfiuhworzwnur98d3wjiwhr", jsonType, "{}")
	asked := onWire(t, bob.Site, func(x server.ExchangeView) bool { return x.ID == a.Header.Get("X-Request-Id") })
	says(t, "the signature base", asked.Base, "/ocm/notifications?code=masked")

	// Nothing of the secrets is in the database, in any form.
	var secrets []string
	for _, s := range []*weftest.Site{alice.Site, bob.Site} {
		if err := s.Server.DB.Read.NewSelect().Table("wire").Column("id").Where("body || url || header || signature_base || answer_header || answer || fault LIKE '%hfiuhworzwnur98d3wjiwhr%'").Scan(t.Context(), &secrets); err != nil || len(secrets) > 0 {
			t.Error(secrets, err)
		}
	}
}

func TestTheWireIsKeptAsTheOperatorSays(t *testing.T) {
	t.Parallel()
	off := weftest.Start(t, func(c *config.Config) { c.Federation.Wire = false }).Person("alice")
	loud, quiet := weftest.NewPeer(t), weftest.NewPeer(t)
	if _, err := off.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(loud.Host), Wire: peer.Yes}); err != nil {
		t.Fatal(err)
	}
	want(t, "quiet", quiet.Post(off.Site, "/ocm/shares", jsonType, quiet.ShareFor(off, nil)), 201)
	want(t, "loud", loud.Post(off.Site, "/ocm/shares", jsonType, loud.ShareFor(off, nil)), 201)
	onWire(t, off.Site, func(x server.ExchangeView) bool { return x.Operation == "/ocm/shares" && x.Peer == string(loud.Host) })
	list, err := off.Server.OnTheWire(t.Context(), wire.Filter{Peer: string(quiet.Host), Limit: 10})
	if err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}

	none := weftest.Start(t, func(c *config.Config) { c.Federation.WireFor = 0 }).Person("alice")
	want(t, "a share", loud.Post(none.Site, "/ocm/shares", jsonType, loud.ShareFor(none, nil)), 201)
	none.Stop()
	b, err := os.ReadFile(filepath.Join(none.Config.Data, "weft.db"))
	if err != nil || strings.Contains(string(b), "einstein@") && strings.Contains(string(b), "signature-params") {
		t.Errorf("kept all the same: %v", err)
	}
}
