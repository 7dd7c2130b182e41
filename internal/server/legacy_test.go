package server_test

import (
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
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
	t.Parallel()
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
	// The switch of one peer: by its profile, or by itself.
	for name, c := range map[string]struct {
		family string
		rule   peer.Rule
		signed bool
	}{
		"a profile that does not sign":     {"nextcloud-31/32", peer.Rule{Profile: "nextcloud-30-"}, false},
		"not to this one":                  {"nextcloud-31/32", peer.Rule{Cavage: peer.No}, false},
		"to one that would not be sent it": {"nextcloud-30-", peer.Rule{Cavage: peer.Yes}, true},
	} {
		nc := weftest.Simulate(t, dialect(t, c.family))
		c.rule.Pattern = string(nc.Host)
		if _, err := signing.Server.Policy.Set(t.Context(), c.rule); err != nil {
			t.Fatal(err)
		}
		sent := signing.Share("a.txt", nc.Address())
		weftest.Until(t, "the share is delivered", func() bool { return signing.SentState(sent.ID) == "delivered" })
		if n := nc.Verified(); (n > 0) != c.signed {
			t.Errorf("%s: %d messages were signed", name, n)
		}
	}
	// The key is where those look who need it, and nowhere else.
	for _, c := range []struct {
		path, agent string
		shown       bool
	}{
		{"/ocm-provider", "", true},
		{"/.well-known/ocm", "Nextcloud Server Crawler", true},
		{"/.well-known/ocm", "Nextcloud-Server-Crawler/33.0.1", true},
		{"/.well-known/ocm", "Go-http-client/1.1", false},
	} {
		if d := discover(t, signing.Site, c.path, c.agent); (d.PublicKey != nil) != c.shown {
			t.Errorf("%s for %q: %+v", c.path, c.agent, d.PublicKey)
		}
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

// A signature is taken once at the token endpoint, in whatever way the header around
// it is written.
func TestAnOlderSignatureIsTakenOnceForAToken(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p := newSigner(t)
	p.says(alice, "older")
	alice.Put("a.txt", "a")
	_, share := shareTo(t, alice, p.Peer, "a.txt")
	form := ocm.TokenRequest{GrantType: ocm.GrantAuthorizationCode, ClientID: p.Host, Code: share.Protocol.WebDAV.SharedSecret}.Form()
	r, err := http.NewRequest("POST", alice.Origin+"/ocm/token", strings.NewReader(form))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		err = p.older.Sign(r, []byte(form))
	}
	if err != nil {
		t.Fatal(err)
	}
	signature := r.Header.Get("Signature")
	for i, written := range []string{signature, signature, signature + `,x="1"`, " " + strings.ReplaceAll(signature, `",`, `" , `)} {
		again, _ := http.NewRequest("POST", alice.Origin+"/ocm/token", strings.NewReader(form))
		again.Header = r.Header.Clone()
		again.Header.Set("Signature", written)
		if a := weftest.Send(t, again); (a.Status == 200) != (i == 0) || i > 0 && a.Code() != "invalid_client" {
			t.Errorf("%s: %d %s", written, a.Status, a.Body)
		}
	}
}

// A server that stops to sign is not believed until the operator agrees.
func TestNobodyStopsToSignUnseen(t *testing.T) {
	t.Parallel()
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
	says(t, "the explanation", explained(t, alice.Site, refused), "could sign its messages (rfc9421) and no longer says so; to take unsigned messages from it: weft peer require "+string(p.Host)+" --sign no")
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

// signer is a peer that changes what it says and how it signs.
type signer struct {
	*weftest.Peer
	older *httpsig.LegacySigner
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{Peer: weftest.NewPeer(t)}
	heard(s.Peer)
	s.newKey()
	return s
}

func (s *signer) newKey() {
	s.T.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		s.T.Fatal(err)
	}
	s.older = &httpsig.LegacySigner{KeyID: s.URL + "/ocm#signature", Key: key}
}

// says has the peer describe itself anew, and to read that; how is newer, older,
// or nothing.
func (s *signer) says(to *weftest.Person, how string) {
	s.T.Helper()
	d := *s.Document
	d.Capabilities, d.JWKSURI, d.PublicKey = []string{ocm.CapNotifications}, "", nil
	switch how {
	case "newer":
		d.Capabilities, d.JWKSURI = append(d.Capabilities, ocm.CapHTTPSig), s.URL+"/jwks"
	case "older":
		d.PublicKey = &ocm.LegacyKey{KeyID: s.older.KeyID, PEM: s.older.PEM()}
	}
	s.Document = &d
	if err := to.Server.Peers.Refresh(s.T.Context(), s.Host); err != nil {
		s.T.Fatal(err)
	}
}

// sends is the answer to a share signed in a way: newer, older, or not at all.
func (s *signer) sends(to *weftest.Person, id, how string) weftest.Answer {
	s.T.Helper()
	return s.Post(to.Site, "/ocm/shares", jsonType, s.ShareFor(to, map[string]any{"providerId": id}), func(r *http.Request) {
		if how == "newer" {
			return
		}
		weftest.Unsigned(r)
		if how != "older" {
			return
		}
		b, _ := r.GetBody()
		body, err := io.ReadAll(b)
		if err == nil {
			err = s.older.Sign(r, body)
		}
		if err != nil {
			s.T.Fatal(err)
		}
	})
}

// Whatever a server has said of its signatures, it is held to the best of it until
// the operator agrees to less.
func TestAServerIsHeldToTheBestItSaidOfItsSignatures(t *testing.T) {
	t.Parallel()
	for _, approve := range []bool{false, true} {
		alice := weftest.Start(t, func(c *config.Config) { c.Federation.ApproveKeys = approve }).Person("alice")
		refused := func(what string, a weftest.Answer, status int, code string) {
			t.Helper()
			if a.Status != status || a.Code() != code {
				t.Errorf("approve %v, %s: %d %s, want %d %s", approve, what, a.Status, a.Body, status, code)
			}
		}
		state := func(p *signer, i int) string {
			t.Helper()
			r, err := alice.Server.Peers.Record(t.Context(), p.Host)
			if err != nil || len(r.Keys) <= i {
				t.Fatalf("the record: %+v, %v", r, err)
			}
			return r.Keys[i].State
		}

		// Its keys were never needed while it said that it signs.
		p := newSigner(t)
		if _, err := alice.Server.Peers.Discover(t.Context(), p.Host); err != nil {
			t.Fatal(err)
		}
		p.says(alice, "nothing")
		refused("http-sig named, and no longer", p.sends(alice, "1", "not"), 401, "SIGNATURE_REQUIRED")
		p.says(alice, "older")
		refused("http-sig named, then a PEM key", p.sends(alice, "1", "older"), 503, "KEY_NOT_APPROVED")

		// The older form, and then nothing.
		p = newSigner(t)
		p.says(alice, "older")
		want(t, "the older form", p.sends(alice, "1", "older"), 201)
		if got := state(p, 0); got != peer.KeyTrusted {
			t.Errorf("the first key is %s", got)
		}
		p.says(alice, "nothing")
		gone := p.sends(alice, "2", "not")
		refused("the key is off the document", gone, 401, "SIGNATURE_REQUIRED")
		says(t, "the explanation", explained(t, alice.Site, gone), "could sign its messages (draft-cavage) and no longer says so")

		// Another key of the older form.
		p.newKey()
		p.says(alice, "older")
		if a := p.sends(alice, "3", "older"); approve {
			refused("another key", a, 503, "KEY_NOT_APPROVED")
			if err := alice.Server.Peers.DecideKey(t.Context(), p.Host, httpsig.Key{Public: &p.older.Key.PublicKey}.Thumbprint(), peer.KeyTrusted); err != nil {
				t.Fatal(err)
			}
			want(t, "the key once approved", p.sends(alice, "3", "older"), 201)
		} else {
			want(t, "another key", a, 201)
		}
		if err := alice.Server.Peers.DecideKey(t.Context(), p.Host, httpsig.Key{Public: &p.older.Key.PublicKey}.Thumbprint(), peer.KeyRejected); err != nil {
			t.Fatal(err)
		}
		refused("a rejected key", p.sends(alice, "4", "older"), 401, "KEY_UNACCEPTABLE")

		// From the newer form back to the older: with a key that was never seen, and
		// with the one it had before.
		for _, before := range []bool{false, true} {
			p = newSigner(t)
			if before {
				p.says(alice, "older")
				want(t, "the older form", p.sends(alice, "1", "older"), 201)
			}
			p.says(alice, "newer")
			if before && approve {
				if err := alice.Server.Peers.DecideKey(t.Context(), p.Host, p.Signer.KID, peer.KeyTrusted); err != nil {
					t.Fatal(err)
				}
			}
			want(t, "the newer form", p.sends(alice, "2", "newer"), 201)
			refused("the older form of one that names the newer", p.sends(alice, "3", "older"), 401, "KEY_UNKNOWN")
			p.says(alice, "older")
			back := p.sends(alice, "3", "older")
			refused("back to the older form", back, 503, "KEY_NOT_APPROVED")
			says(t, "the explanation", explained(t, alice.Site, back), "signed by RFC 9421 and has gone back to the older form; to take that from it: weft peer keys "+string(p.Host)+" --approve")
			if before { // consent to this key
				if err := alice.Server.Peers.DecideKey(t.Context(), p.Host, p.older.KeyID, peer.KeyTrusted); err != nil {
					t.Fatal(err)
				}
				want(t, "with consent to the key", p.sends(alice, "3", "older"), 201)
			} else if !approve { // consent to messages without any signature
				if _, err := alice.Server.Policy.Set(t.Context(), peer.Rule{Pattern: string(p.Host), MustSign: peer.No}); err != nil {
					t.Fatal(err)
				}
				want(t, "with consent to unsigned messages", p.sends(alice, "3", "older"), 201)
			}
		}
	}
}

// A server that says nowhere that it signs, and sends a Signature header of a
// scheme of its own: that proves nothing, and its messages count as unsigned.
func TestSignatureHeadersOfOtherSchemesCountAsNone(t *testing.T) {
	t.Parallel()
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
