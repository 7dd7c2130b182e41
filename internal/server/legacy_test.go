package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/weftest"
)

// dialect finds a family of servers.
func dialect(t *testing.T, name string) weftest.Dialect {
	t.Helper()
	for _, d := range weftest.Dialects() {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no dialect %s", name)
	return weftest.Dialect{}
}

func TestOlderSignaturesAreVerifiedAndMade(t *testing.T) {
	quiet := weftest.Start(t).Person("alice")
	signing := weftest.Start(t, func(c *config.Config) { c.Federation.LegacySignatures = true }).Person("alice")
	for _, alice := range []*weftest.Person{quiet, signing} {
		nc := weftest.Simulate(t, dialect(t, "nextcloud-31/32"))
		if _, a := nc.Share(alice, false); a.Status != 201 {
			t.Fatalf("a share signed the older way: %d %s", a.Status, a.Body)
		}
		says(t, "the explanation", explained(t, alice.Site, lastAnswer(t, nc, alice)), "verified with the key "+nc.URL+"/ocm#signature")
		alice.Put("a.txt", "a")
		sent := alice.Share("a.txt", nc.Address())
		weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
		if n := nc.Verified(); (n > 0) != (alice == signing) {
			t.Errorf("%d messages of ours were signed the older way", n)
		}
	}
	// The switch of one peer.
	nc := weftest.Simulate(t, dialect(t, "nextcloud-31/32"))
	if _, err := signing.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(nc.Host), Profile: "nextcloud-30-"}); err != nil {
		t.Fatal(err)
	}
	sent := signing.Share("a.txt", nc.Address())
	weftest.Until(t, "the share is delivered", func() bool { return signing.SentState(sent.ID) == "delivered" })
	if n := nc.Verified(); n != 0 {
		t.Errorf("%d messages were signed for a peer whose profile says no", n)
	}

	kept := signing.Config.Data
	signing.Stop()
	signing.Restart()
	if signing.Config.Data != kept || !strings.Contains(get(t, signing.Site, "/ocm-provider").Body, "publicKeyPem") {
		t.Error("the key is gone after a restart")
	}
	if strings.Contains(get(t, quiet.Site, "/ocm-provider").Body, "publicKey") {
		t.Error("a key is published though the switch is off")
	}
}

func lastAnswer(t *testing.T, nc *weftest.Simulator, to *weftest.Person) weftest.Answer {
	t.Helper()
	_, a := nc.Share(to, false)
	return a
}

// A server that stops to sign is not believed until the operator agrees.
func TestNobodyStopsToSignUnseen(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	send := func(id string, change ...func(*http.Request)) weftest.Answer {
		return p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"providerId": id}), change...)
	}
	want(t, "signed", send("1"), 201)
	p.Document.Capabilities = []string{"notifications"}
	weftest.Until(t, "its new document is read", func() bool {
		alice.Advance(1e12)
		d, err := alice.Server.Peers.Discover(t.Context(), p.Host)
		return err == nil && !d.HasCapability("http-sig")
	})
	refused := send("2", weftest.Unsigned)
	if refused.Status != 401 || refused.Code() != "SIGNATURE_REQUIRED" {
		t.Fatalf("unsigned: %d %s", refused.Status, refused.Body)
	}
	says(t, "the explanation", explained(t, alice.Site, refused), "has stopped to; to take unsigned messages from it: weft peer require "+string(p.Host)+" --sign no")
	if _, err := alice.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(p.Host), MustSign: peer.No}); err != nil {
		t.Fatal(err)
	}
	want(t, "unsigned, with the operator's consent", send("2", weftest.Unsigned), 201)

	// One that publishes a key of the older kind must use it.
	nc := weftest.Simulate(t, dialect(t, "nextcloud-31/32"))
	nc.StopSigning()
	if _, a := nc.Share(alice, false); a.Status != 401 || a.Code() != "SIGNATURE_REQUIRED" {
		t.Errorf("with a key, unsigned: %d %s", a.Status, a.Body)
	}
}

// A server that says nowhere that it signs, and sends a Signature header of a
// scheme of its own: that proves nothing, and its messages count as unsigned.
func TestSignatureHeadersOfOtherSchemesCountAsNone(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	p.Document.Capabilities, p.Document.JWKSURI = nil, ""
	own := func(r *http.Request) {
		r.Header.Del("Signature-Input")
		r.Header.Set("Signature", `keyId="`+string(p.Host)+`",algorithm="rsa-sha256",headers="request-target,host,digest",signature="c2lnbmVk"`)
	}
	send := func(id string, change ...func(*http.Request)) weftest.Answer {
		return p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, map[string]any{"providerId": id}), change...)
	}
	want(t, "a signature of its own", send("1", own), 201)
	if _, err := alice.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(p.Host), MustSign: peer.Yes}); err != nil {
		t.Fatal(err)
	}
	if a := send("2", own); a.Status != 401 || a.Code() != "SIGNATURE_REQUIRED" {
		t.Errorf("where signatures are demanded: %d %s", a.Status, a.Body)
	}

	// From one that signs it is no signature.
	q := weftest.NewPeer(t)
	if a := q.Post(alice.Site, "/ocm/shares", "application/json", q.ShareFor(alice, nil), own); a.Status < 400 {
		t.Errorf("from a server that signs: %d", a.Status)
	}
}
