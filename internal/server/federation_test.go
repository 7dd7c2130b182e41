package server_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

const jsonType = "application/json"

// untouched fails when a site's tables differ from before.
func untouched(t *testing.T, s *weftest.Site, before map[string]int64) {
	t.Helper()
	for table, n := range s.Rows() {
		if n != before[table] {
			t.Errorf("a trace in %s: %d rows, %d before", table, n, before[table])
		}
	}
}

// logged fails unless the request was logged once, with its reason.
func logged(t *testing.T, s *weftest.Site, a weftest.Answer) {
	t.Helper()
	var records []map[string]any
	weftest.Until(t, "the request is logged", func() bool {
		records = s.Log.Records(a.Header.Get("X-Request-Id"))
		return len(records) > 0
	})
	if len(records) != 1 || records[0]["code"] != a.Code() || records[0]["reason"] == "" {
		t.Errorf("log records %v for %s", records, a.Code())
	}
}

func TestBadSharesAreRefusedWithoutATrace(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	peer, stranger := weftest.NewPeer(t), weftest.NewPeer(t)
	sign := func(r *http.Request, body string) {
		if err := peer.Signer.Sign(r, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	dav := func(uri string) map[string]any {
		return map[string]any{"protocol": map[string]any{"name": "multi", "webdav": map[string]any{
			"uri": uri, "sharedSecret": "s3cret", "permissions": []string{"read"},
		}}}
	}
	for _, c := range []struct {
		name   string
		share  map[string]any
		body   string // in place of share
		change func(r *http.Request)
		status int
		code   ocm.Code
	}{
		{name: "for an unknown user", share: map[string]any{"shareWith": "nobody@" + string(bob.Host)}, status: 400, code: "RECIPIENT_NOT_FOUND"},
		{name: "for a user of another server", share: map[string]any{"shareWith": "bob@elsewhere.example.org"}, status: 400, code: "RECIPIENT_NOT_FOUND"},
		{name: "for an unknown group", share: map[string]any{"shareType": "group"}, status: 400, code: "RECIPIENT_NOT_FOUND"},
		{name: "without a protocol", share: map[string]any{"protocol": nil}, status: 400, code: "INVALID_PAYLOAD"},
		{name: "without a sender", share: map[string]any{"sender": nil}, status: 400, code: "INVALID_PAYLOAD"},
		{name: "signed by another host than its sender's", share: map[string]any{
			"sender": "x@" + string(stranger.Host), "owner": "x@" + string(stranger.Host)}, status: 403, code: "SENDER_MISMATCH"},
		{name: "whose owner is on another host", share: map[string]any{"owner": "x@" + string(stranger.Host)}, status: 403, code: "SENDER_MISMATCH"},
		{name: "that claims to come from this server", share: map[string]any{
			"sender": "x@" + string(bob.Host), "owner": "x@" + string(bob.Host)}, status: 403, code: "SENDER_MISMATCH"},
		{name: "unsigned from a host that signs", change: weftest.Unsigned, status: 401, code: "SIGNATURE_REQUIRED"},
		{name: "signed ten minutes ago", change: func(r *http.Request) {
			old := *peer.Signer
			old.Now = func() time.Time { return time.Now().Add(-10 * time.Minute) }
			if err := old.Sign(r, []byte(peer.ShareFor(bob, nil))); err != nil {
				t.Fatal(err)
			}
		}, status: 401, code: "SIGNATURE_STALE"},
		{name: "signed in the future", change: func(r *http.Request) {
			ahead := *peer.Signer
			ahead.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
			if err := ahead.Sign(r, []byte(peer.ShareFor(bob, nil))); err != nil {
				t.Fatal(err)
			}
		}, status: 401, code: "SIGNATURE_STALE"},
		{name: "with a wrong digest", change: func(r *http.Request) {
			r.Header.Set("Content-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
		}, status: 401, code: "DIGEST_MISMATCH"},
		{name: "with two signatures tagged ocm", change: func(r *http.Request) {
			in, sig := r.Header.Get("Signature-Input"), r.Header.Get("Signature")
			_, params, _ := strings.Cut(in, "=")
			_, value, _ := strings.Cut(sig, "=")
			r.Header.Set("Signature-Input", in+", second="+params)
			r.Header.Set("Signature", sig+", second="+value)
		}, status: 401, code: "SIGNATURE_AMBIGUOUS"},
		{name: "signed for another address", change: func(r *http.Request) {
			body := peer.ShareFor(bob, nil)
			other, err := http.NewRequest("POST", "http://other.example.org/ocm/shares", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			sign(other, body)
			r.Header = other.Header
			r.Header.Set("Content-Type", jsonType)
		}, status: 401, code: "SIGNATURE_INVALID"},
		{name: "with a uri on this machine", share: dav("http://127.0.0.1:22/x"), status: 400, code: "INVALID_PAYLOAD"},
		{name: "with a uri on another host than the sender's", share: dav("https://elsewhere.example.org/dav/x"), status: 400, code: "INVALID_PAYLOAD"},
		{name: "with a uri that leads upwards", share: dav("../../x"), status: 400, code: "INVALID_PAYLOAD"},
		{name: "with a uri that holds a password", share: dav("https://u:p@" + string(peer.Host) + "/x"), status: 400, code: "INVALID_PAYLOAD"},
		{name: "named like a path", share: map[string]any{"name": "../../etc/passwd"}, status: 400, code: "INVALID_PAYLOAD"},
		{name: "that has expired", share: map[string]any{"expiration": time.Now().Add(-time.Hour).Unix()}, status: 400, code: "INVALID_PAYLOAD"},
		{name: "of an unknown share type", share: map[string]any{"shareType": "federation"}, status: 501, code: "SHARE_TYPE_NOT_SUPPORTED"},
		{name: "of an unknown resource type", share: map[string]any{"resourceType": "calendar"}, status: 501, code: "RESOURCE_TYPE_NOT_SUPPORTED"},
		{name: "of a protocol nobody reads", share: map[string]any{"protocol": map[string]any{"name": "multi", "talk": map[string]any{"roomToken": "x"}}}, status: 501, code: "PROTOCOL_NOT_SUPPORTED"},
		{name: "that is encrypted", share: map[string]any{"encryption": map[string]any{"resourceId": "1", "scheme": "x"}}, status: 501, code: "ENCRYPTION_NOT_SUPPORTED"},
		{name: "that demands a second factor", share: map[string]any{"protocol": map[string]any{"name": "multi", "webdav": map[string]any{
			"uri": "x", "sharedSecret": "s", "permissions": []string{"read"}, "requirements": []string{"must-use-mfa"}}}}, status: 501, code: "MFA_NOT_SUPPORTED"},
		{name: "that is no JSON", body: "shareWith=bob", status: 400, code: "INVALID_JSON"},
		{name: "nested 10,000 deep", body: strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), status: 400, code: "INVALID_JSON"},
		{name: "that names a member twice", body: `{"name":"a","name":"b"}`, status: 400, code: "INVALID_JSON"},
		{name: "of 2 MB", body: `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, status: 413, code: "PAYLOAD_TOO_LARGE"},
		{name: "that is not called JSON", change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, status: 415, code: "UNSUPPORTED_MEDIA_TYPE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := bob.Rows()
			body := c.body
			if body == "" {
				body = peer.ShareFor(bob, c.share)
			}
			var change []func(r *http.Request)
			if c.change != nil {
				change = append(change, c.change)
			}
			a := peer.Post(bob.Site, "/ocm/shares", jsonType, body, change...)
			if a.Status != c.status || a.Code() != string(c.code) {
				t.Fatalf("%d %s, want %d %s", a.Status, a.Body, c.status, c.code)
			}
			untouched(t, bob.Site, before)
			logged(t, bob.Site, a)
		})
	}
}

func TestABodyOfAHundredMegabytesIsNotRead(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	before := bob.Rows()
	r, err := http.NewRequest("POST", bob.Origin+"/ocm/shares", &endless{left: 100 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 100 << 20
	r.Header.Set("Expect", "100-continue")
	a := weftest.Send(t, r, "Content-Type", jsonType)
	if a.Status != 413 || a.Code() != "PAYLOAD_TOO_LARGE" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	untouched(t, bob.Site, before)
}

// endless yields spaces.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	n := min(len(p), e.left)
	for i := range p[:n] {
		p[i] = ' '
	}
	if e.left -= n; n == 0 {
		return 0, fmt.Errorf("read whole")
	}
	return n, nil
}

func TestKeysThatMustNotBeUsedAreRefused(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	for _, c := range []struct {
		name string
		key  string
	}{
		{"an HS256 key", `{"kty":"oct","alg":"HS256","kid":%q,"k":"c2VjcmV0LXNlY3JldC1zZWNyZXQ"}`},
		{"a key of alg none", `{"kty":"OKP","crv":"Ed25519","alg":"none","kid":%q,"x":"AzeStPAdQ-vbi6bJVxcQjBPF2I7fDZdfDZ_XZ3J4Azs"}`},
	} {
		peer := weftest.NewPeer(t)
		peer.SetKeys(json.RawMessage(fmt.Sprintf(c.key, peer.Signer.KID)))
		before := bob.Rows()
		a := peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, nil))
		if a.Status != 401 || a.Code() != "KEY_UNACCEPTABLE" {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
		}
		untouched(t, bob.Site, before)
	}
}

func TestKeysThatCannotBeFetchedAskToTryAgain(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	peer := weftest.NewPeer(t)
	peer.Handle("GET /jwks", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	a := peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, nil))
	if a.Status != 503 || a.Code() != "KEY_UNREACHABLE" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s, Retry-After %q", a.Status, a.Body, a.Header.Get("Retry-After"))
	}
	body := url.Values{"grant_type": {"authorization_code"}, "client_id": {string(peer.Host)}, "code": {"x"}}.Encode()
	a = peer.Post(bob.Site, "/ocm/token", "application/x-www-form-urlencoded", body)
	if a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("token: %d %s", a.Status, a.Body)
	}
}

func TestAKeyThatIsNewIsFetchedOnce(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	peer := weftest.NewPeer(t)
	if a := peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, nil)); a.Status != 201 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	other := weftest.NewPeer(t) // for its key
	renewed := &httpsig.Signer{KID: string(peer.Host) + "#2", Key: other.Signer.Key}
	peer.SetKeys(peer.Signer.JWK(), renewed.JWK())
	peer.Signer = renewed
	if a := peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, map[string]any{"providerId": "2"})); a.Status != 201 {
		t.Errorf("signed with a new key: %d %s", a.Status, a.Body)
	}
}

func TestTheSameShareTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	peer := weftest.NewPeer(t)
	for i, name := range []string{"Field notes", "Field notes", "another name"} {
		a := peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, map[string]any{"name": name}))
		if a.Status != 201 || !strings.Contains(a.Body, `"recipientDisplayName":"Bob"`) {
			t.Fatalf("post %d: %d %s", i, a.Status, a.Body)
		}
	}
	shares := bob.Shares().Received
	if len(shares) != 1 || shares[0].Name != "Field notes" {
		t.Errorf("received %+v", shares)
	}
	// The same providerId of another server is another share.
	other := weftest.NewPeer(t)
	if a := other.Post(bob.Site, "/ocm/shares", jsonType, other.ShareFor(bob, nil)); a.Status != 201 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if n := len(bob.Shares().Received); n != 2 {
		t.Errorf("%d shares: %+v", n, bob.Shares().Received)
	}
	// And each server ends its own alone.
	n, _ := json.Marshal(ocm.Notification{Type: ocm.ShareUnshared, SenderDomain: other.Host, ResourceType: "folder", ProviderID: "7c084226-d9a1-11e6-bf26-cec0c932ce01"})
	if a := other.Post(bob.Site, "/ocm/notifications", jsonType, string(n)); a.Status != 201 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for _, r := range bob.Shares().Received {
		if own := strings.HasSuffix(r.Sender, string(peer.Host)); own != (r.State == "pending") {
			t.Errorf("%s is %s", r.Sender, r.State)
		}
	}
}

func TestUnsignedIsTakenOnlyFromThoseWhoDoNotSign(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		adjust func(*config.Config)
		signs  bool
		status int
	}{
		{"from a peer that does not sign", func(*config.Config) {}, false, 201},
		{"from a peer that signs", func(*config.Config) {}, true, 401},
		{"where must-use-http-sig is set", func(c *config.Config) { c.Federation.MustUseHTTPSig = true }, false, 401},
		{"where unsigned is not allowed", func(c *config.Config) { c.Federation.AllowUnsigned = false }, false, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			bob := weftest.Start(t, c.adjust).Person("bob")
			peer := weftest.NewPeer(t)
			if !c.signs {
				peer.Document.Capabilities, peer.Document.JWKSURI = nil, ""
			}
			if a := peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, nil), weftest.Unsigned); a.Status != c.status {
				t.Errorf("%d %s, want %d", a.Status, a.Body, c.status)
			}
		})
	}
}

// Senders need to know that there is no such recipient, and nobody is to try names
// for long without signing.
func TestUnknownRecipientsAreToldButNotForLong(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t).Person("bob")
	quiet, signing := weftest.NewPeer(t), weftest.NewPeer(t)
	quiet.Document.Capabilities, quiet.Document.JWKSURI = nil, ""
	to := func(p *weftest.Peer, change ...func(*http.Request)) weftest.Answer {
		return p.Post(bob.Site, "/ocm/shares", jsonType, p.ShareFor(bob, map[string]any{"shareWith": "nobody@" + string(bob.Host)}), change...)
	}
	last := to(quiet, weftest.Unsigned)
	if last.Status != 400 || last.Code() != "RECIPIENT_NOT_FOUND" {
		t.Errorf("%d %s", last.Status, last.Body)
	}
	for range 40 {
		last = to(quiet, weftest.Unsigned)
	}
	if last.Status != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("after many: %d %s", last.Status, last.Body)
	}
	if a := to(signing); a.Status != 400 || a.Code() != "RECIPIENT_NOT_FOUND" {
		t.Errorf("signed: %d %s", a.Status, a.Body)
	}
	want(t, "for someone who is here", quiet.Post(bob.Site, "/ocm/shares", jsonType, quiet.ShareFor(bob, nil), weftest.Unsigned), 201)
}

func TestCriteriaAreAdvertisedAndEnforced(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t, func(c *config.Config) { c.Federation.MustExchangeToken = true; c.Federation.MustUseHTTPSig = true }).Person("bob")
	peer := weftest.NewPeer(t)
	a := peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, nil))
	if a.Status != 400 || a.Code() != "TOKEN_EXCHANGE_REQUIRED" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	d := discover(t, bob.Site, "/.well-known/ocm", "")
	if !d.HasCriterion(ocm.CriterionExchangeToken) || !d.HasCriterion(ocm.CriterionHTTPSig) {
		t.Errorf("criteria %v", d.Criteria)
	}
	// Our own servers know and set it.
	alice := weftest.Start(t).Person("alice")
	alice.Put("A/a.txt", "a")
	alice.Share("A", bob.Address)
	bob.Accept("A")
	if got := bob.Get("Shared with me/A/a.txt"); got != "a" {
		t.Errorf("Bob reads %q", got)
	}
}

func discover(t *testing.T, s *weftest.Site, path, agent string) *ocm.Discovery {
	t.Helper()
	r, err := http.NewRequest("GET", s.Origin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := weftest.Send(t, r, "User-Agent", agent)
	if a.Status != 200 {
		t.Fatalf("%s: %d %s", path, a.Status, a.Body)
	}
	d, err := ocm.ReadDiscovery([]byte(a.Body))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	return d
}

func TestDiscoveryIsServedToNewAndOldPeers(t *testing.T) {
	t.Parallel()
	s := weftest.Start(t)
	for _, c := range []struct{ path, agent, version string }{
		{"/.well-known/ocm", "", "1.5.0"},
		{"/.well-known/ocm", "Nextcloud Server Crawler", "1.1.0"},
		{"/ocm-provider", "", "1.1.0"},
		{"/ocm-provider/", "", "1.1.0"},
	} {
		d := discover(t, s, c.path, c.agent)
		if d.APIVersion != c.version || d.EndPoint != s.Origin+"/ocm" || d.WebDAVPath() != "/dav/ocm/" || !d.ReceivesAbsoluteURI() {
			t.Errorf("%s for %q: %+v", c.path, c.agent, d)
		}
	}
	off := weftest.Start(t, func(c *config.Config) { c.Federation.LegacyDiscovery = false })
	r, _ := http.NewRequest("GET", off.Origin+"/ocm-provider", nil)
	if a := weftest.Send(t, r); a.Status != 404 {
		t.Errorf("switched off: %d", a.Status)
	}
}

func TestNotificationsAnswerByTheirRules(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("A/a.txt", "a")
	peer, stranger := weftest.NewPeer(t), weftest.NewPeer(t)
	peer.Handle("POST /ocm/shares", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"recipientDisplayName":"Marie"}`)
	})
	sent := alice.Share("A", "marie@"+string(peer.Host))
	weftest.Until(t, "the share is delivered", func() bool { return alice.SentState(sent.ID) == "delivered" })
	note := func(from *weftest.Peer, kind, id string) string {
		b, err := json.Marshal(ocm.Notification{Type: kind, SenderDomain: from.Host, ResourceType: "folder", ProviderID: id, Permissions: []string{"read"}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct {
		name   string
		from   *weftest.Peer
		body   string
		change []func(*http.Request)
		status int
		code   string
	}{
		{"of another host for this share", stranger, note(stranger, ocm.ShareAccepted, sent.ID), nil, 404, "SHARE_NOT_FOUND"},
		{"of a share nobody knows", peer, note(peer, ocm.ShareAccepted, "unknown"), nil, 404, "SHARE_NOT_FOUND"},
		{"signed by another than its senderDomain", stranger, note(peer, ocm.ShareAccepted, sent.ID), nil, 403, "SENDER_MISMATCH"},
		{"unsigned", peer, note(peer, ocm.ShareAccepted, sent.ID), []func(*http.Request){weftest.Unsigned}, 401, "SIGNATURE_REQUIRED"},
		{"of a type nobody knows", peer, note(peer, "SHARE_PAINTED", sent.ID), nil, 501, "NOTIFICATION_TYPE_NOT_SUPPORTED"},
		{"without a providerId", peer, note(peer, ocm.ShareAccepted, ""), nil, 400, "INVALID_PAYLOAD"},
		{"of acceptance", peer, note(peer, ocm.ShareAccepted, sent.ID), nil, 201, ""},
		{"of acceptance again", peer, note(peer, ocm.ShareAccepted, sent.ID), nil, 201, ""},
	} {
		a := c.from.Post(alice.Site, "/ocm/notifications", jsonType, c.body, c.change...)
		if a.Status != c.status || a.Code() != c.code {
			t.Errorf("a notification %s: %d %s, want %d %s", c.name, a.Status, a.Body, c.status, c.code)
		}
		if want := map[bool]string{true: "accepted", false: "delivered"}[c.status == 201]; alice.SentState(sent.ID) != want {
			t.Errorf("after a notification %s: %s, want %s", c.name, alice.SentState(sent.ID), want)
		}
	}
}

// shareTo has alice share with a peer and returns what the peer received.
func shareTo(t *testing.T, alice *weftest.Person, peer *weftest.Peer, path string, permissions ...string) (weftest.Sent, *ocm.NewShare) {
	t.Helper()
	got := make(chan *ocm.NewShare, 1)
	peer.Handle("POST /ocm/shares", func(w http.ResponseWriter, r *http.Request) {
		var raw json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
			t.Error(err)
		}
		share, err := ocm.ReadShare(raw)
		if err != nil {
			t.Errorf("%v in %s", err, raw)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"recipientDisplayName":"Marie"}`)
		got <- share
	})
	sent := alice.Share(path, "marie@"+string(peer.Host), permissions...)
	select {
	case share := <-got:
		return sent, share
	case <-time.After(weftest.Patience):
		t.Fatal("the share was not delivered")
		return sent, nil
	}
}

func TestTheTokenEndpointAnswersByTheRulesOfTheCodeFlow(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("A/a.txt", "a")
	peer, stranger := weftest.NewPeer(t), weftest.NewPeer(t)
	_, share := shareTo(t, alice, peer, "A")
	secret := share.Protocol.WebDAV.SharedSecret.Reveal()
	form := func(grant string, client ocm.Host, code string) string {
		return url.Values{"grant_type": {grant}, "client_id": {string(client)}, "code": {code}}.Encode()
	}
	const formType = "application/x-www-form-urlencoded"
	var replay http.Header
	for _, c := range []struct {
		name   string
		from   *weftest.Peer
		kind   string
		body   string
		change []func(*http.Request)
		status int
		code   string
	}{
		{"a good request", peer, formType, form("authorization_code", peer.Host, secret), []func(*http.Request){func(r *http.Request) { replay = r.Header.Clone() }}, 200, ""},
		{"the older grant type", peer, formType, form("ocm_share", peer.Host, secret), nil, 200, ""},
		{"JSON of older peers", peer, jsonType, `{"grant_type":"authorization_code","client_id":"` + string(peer.Host) + `","code":"` + secret + `"}`, nil, 200, ""},
		{"the same signed request again", peer, formType, form("authorization_code", peer.Host, secret), []func(*http.Request){func(r *http.Request) { r.Header = replay }}, 400, "invalid_client"},
		{"an unknown code", peer, formType, form("authorization_code", peer.Host, "guess"), nil, 400, "invalid_grant"},
		{"another server's code", stranger, formType, form("authorization_code", stranger.Host, secret), nil, 400, "invalid_grant"},
		{"a client_id that is not the signer", stranger, formType, form("authorization_code", peer.Host, secret), nil, 400, "invalid_client"},
		{"an unsigned request", peer, formType, form("authorization_code", peer.Host, secret), []func(*http.Request){weftest.Unsigned}, 400, "invalid_client"},
		{"another grant type", peer, formType, form("password", peer.Host, secret), nil, 400, "unsupported_grant_type"},
		{"no code", peer, formType, "grant_type=authorization_code&client_id=" + string(peer.Host), nil, 400, "invalid_request"},
		{"a body of no form", peer, "text/plain", "hello", nil, 415, "invalid_request"},
	} {
		a := c.from.Post(alice.Site, "/ocm/token", c.kind, c.body, c.change...)
		if a.Status != c.status || c.status != 200 && a.Code() != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.Status, a.Body, c.status, c.code)
		}
		if a.Status < 500 && a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", c.name, a.Header.Get("Cache-Control"))
		}
	}
}

// access asks for a path below /dav/ocm/ with an Authorization header.
func access(t *testing.T, s *weftest.Site, method, path, authorization string, header ...string) weftest.Answer {
	t.Helper()
	r, err := http.NewRequest(method, s.Origin+"/dav/ocm/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return weftest.Send(t, r, header...)
}

func token(t *testing.T, p *weftest.Peer, s *weftest.Site, secret ocm.Secret) string {
	t.Helper()
	a := p.Post(s, "/ocm/token", "application/x-www-form-urlencoded", ocm.TokenRequest{GrantType: ocm.GrantAuthorizationCode, ClientID: p.Host, Code: secret}.Form())
	answer, err := ocm.ReadTokenAnswer([]byte(a.Body))
	if err != nil {
		t.Fatalf("%v in %d %s", err, a.Status, a.Body)
	}
	return "Bearer " + answer.AccessToken.Reveal()
}

func TestAccessNeedsTheTokenOfThisShareAndEndsWithIt(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("A/a.txt", "a")
	alice.Put("B/b.txt", "b")
	peer := weftest.NewPeer(t)
	sent, share := shareTo(t, alice, peer, "A")
	_, other := shareTo(t, alice, peer, "B")
	good, wrong := token(t, peer, alice.Site, share.Protocol.WebDAV.SharedSecret), token(t, peer, alice.Site, other.Protocol.WebDAV.SharedSecret)
	for _, c := range []struct {
		name, path, authorization string
		status                    int
	}{
		{"the token", sent.ID + "/a.txt", good, 200},
		{"the token of another share", sent.ID + "/a.txt", wrong, 401},
		{"nothing", sent.ID + "/a.txt", "", 401},
		{"the secret, where the exchange is required", sent.ID + "/a.txt", "Bearer " + share.Protocol.WebDAV.SharedSecret.Reveal(), 401},
		{"a token that was turned", sent.ID + "/a.txt", good[:len(good)-4] + "AAAA", 401},
		{"the token for a share that does not exist", "0190-unknown/a.txt", good, 401},
		{"the token for the root of all shares", "", good, 401},
		{"the token, for what is not there", sent.ID + "/b.txt", good, 404},
		{"the token, for a way out", sent.ID + "/..%2F..%2FB/b.txt", good, 400},
	} {
		if a := access(t, alice.Site, "GET", c.path, c.authorization); a.Status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, a.Status, a.Body, c.status)
		}
	}
	if a := access(t, alice.Site, "PUT", sent.ID+"/new.txt", good); a.Status != 403 {
		t.Errorf("a write with the right to read: %d", a.Status)
	}
	alice.Advance(6 * time.Minute)
	if a := access(t, alice.Site, "GET", sent.ID+"/a.txt", good); a.Status != 401 {
		t.Errorf("a token after its time: %d", a.Status)
	}
	alice.Advance(-6 * time.Minute)
	alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	if a := access(t, alice.Site, "GET", sent.ID+"/a.txt", good); a.Status != 401 {
		t.Errorf("a token after the share: %d", a.Status)
	}
}

func TestPeersWithoutTheCodeFlowUseTheSecret(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("A/a.txt", "a")
	peer := weftest.NewPeer(t)
	peer.Document.Capabilities, peer.Document.TokenEndPoint, peer.Document.JWKSURI = []string{ocm.CapNotifications}, "", ""
	sent, share := shareTo(t, alice, peer, "A", "read", "write")
	if len(share.Protocol.WebDAV.Requirements) != 0 {
		t.Errorf("requirements %v to a peer that cannot meet them", share.Protocol.WebDAV.Requirements)
	}
	secret := share.Protocol.WebDAV.SharedSecret.Reveal()
	r, _ := http.NewRequest("GET", "http://x/", nil)
	r.SetBasicAuth(secret, "")
	basic := r.Header.Get("Authorization")
	for _, c := range []struct{ name, path, authorization string }{
		{"Bearer at the share's address", sent.ID + "/a.txt", "Bearer " + secret},
		{"Basic at the share's address", sent.ID + "/a.txt", basic},
		{"Basic at the webdav path itself", "a.txt", basic},
	} {
		if a := access(t, alice.Site, "GET", c.path, c.authorization); a.Status != 200 || a.Body != "a" {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
		}
	}
	a := access(t, alice.Site, "PROPFIND", "", basic, "Depth", "1")
	if a.Status != 207 || !strings.Contains(a.Body, "<d:href>/dav/ocm/a.txt</d:href>") {
		t.Errorf("PROPFIND at the webdav path: %d %s", a.Status, a.Body)
	}
}

func TestASharedFolderTellsOldPeersWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("A/a.txt", "a")
	peer := weftest.NewPeer(t)
	sent, share := shareTo(t, alice, peer, "A", "read", "write")
	r, err := http.NewRequest("PROPFIND", alice.Origin+"/dav/ocm/"+sent.ID, strings.NewReader(`<?xml version="1.0"?>
		<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:x="http://open-collaboration-services.org/ns" xmlns:m="http://open-cloud-mesh.org/ns"><d:prop>
		<d:getetag/><d:resourcetype/><d:quota-available-bytes/><oc:permissions/><oc:id/><x:share-permissions/><m:share-permissions/></d:prop></d:propfind>`))
	if err != nil {
		t.Fatal(err)
	}
	a := weftest.Send(t, r, "Depth", "0", "Authorization", token(t, peer, alice.Site, share.Protocol.WebDAV.SharedSecret))
	if a.Status != 207 || strings.Contains(a.Body, " 404 ") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	for _, part := range []string{"<d:collection", `getetag>"`, `["read","write"]`} {
		if !strings.Contains(html.UnescapeString(a.Body), part) {
			t.Errorf("no %s in %s", part, a.Body)
		}
	}
}

func TestManyRequestsAreToldToWait(t *testing.T) {
	t.Parallel()
	bob := weftest.Start(t, func(c *config.Config) {
		c.Limits.PeerRate, c.Limits.PeerBurst = 0.001, 3
		c.Limits.UserRate, c.Limits.UserBurst = 0.001, 3
	}).Person("bob")
	peer := weftest.NewPeer(t)
	var last weftest.Answer
	for i := range 5 {
		last = peer.Post(bob.Site, "/ocm/shares", jsonType, peer.ShareFor(bob, map[string]any{"providerId": fmt.Sprint(i)}))
	}
	if last.Status != 429 || last.Code() != "RATE_LIMITED" || last.Header.Get("Retry-After") == "" {
		t.Errorf("peer: %d %s, Retry-After %q", last.Status, last.Body, last.Header.Get("Retry-After"))
	}
	for range 5 {
		last = bob.TryAPI("GET", "/me", nil)
	}
	if last.Status != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("user: %d %s", last.Status, last.Body)
	}
}

func TestWaysInThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := weftest.Start(t)
	bob := s.Person("bob")
	carol := s.Person("carol")
	for _, c := range []struct {
		name   string
		answer weftest.Answer
		status int
		code   string
	}{
		{"someone else's files", bob.Do("PROPFIND", "/dav/files/carol/", "", "Depth", "0"), 403, "NOT_YOURS"},
		{"files without a name", bob.Do("PROPFIND", "/dav/files/carol/", "", "Depth", "0", "Authorization", ""), 401, "SIGN_IN_REQUIRED"},
		{"the API without a token", bob.Do("GET", "/api/v1/me", "", "Authorization", "Bearer wrong"), 401, "SESSION_INVALID"},
		{"an endpoint of the API that is not there", bob.Do("GET", "/api/v1/nothing", ""), 404, "NO_SUCH_ENDPOINT"},
		{"an endpoint of OCM that is not there", bob.Do("POST", "/ocm/nothing", "{}"), 501, "NOT_IMPLEMENTED"},
		{"a body that does not fit", bob.TryAPI("POST", "/shares", map[string]any{"pat": 1}), 422, "INVALID_PAYLOAD"},
		{"the outbox for one who is no administrator", carol.TryAPI("GET", "/outbox", nil), 403, "ADMINS_ONLY"},
	} {
		if c.answer.Status != c.status || c.answer.Code() != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, c.answer.Status, c.answer.Body, c.status, c.code)
		}
	}
}

func TestTheOpenAPIDocumentIsServed(t *testing.T) {
	t.Parallel()
	s := weftest.Start(t)
	r, _ := http.NewRequest("GET", s.Origin+"/api/v1/openapi.json", nil)
	a := weftest.Send(t, r)
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(a.Body), &doc); err != nil || a.Status != 200 {
		t.Fatalf("%d %v", a.Status, err)
	}
	for _, path := range []string{"/api/v1/login", "/api/v1/shares", "/api/v1/files", "/api/v1/received/{id}/accept"} {
		if doc.Paths[path] == nil {
			t.Errorf("no %s", path)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/"} {
		r, _ := http.NewRequest("GET", s.Origin+path, nil)
		if a := weftest.Send(t, r); a.Status != 200 {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
}

// Servers make their key anew under the old name when they are set up again. The
// first message signed with it is taken, though the old key is still fresh here.
func TestAKeyMadeAnewUnderItsOldNameIsLearntAtOnce(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	var fetched atomic.Int32
	p.Handle("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		fmt.Fprintf(w, `{"keys":[%s]}`, p.Signer.JWK())
	})
	send := func(id string) weftest.Answer {
		return p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{"providerId": id}))
	}
	want(t, "the first key", send("1"), 201)
	p.Rekey()
	a := send("2")
	want(t, "the new key", a, 201)
	says(t, "the explanation", explained(t, alice.Site, a), "has a new key under the name "+p.Signer.KID)
	if fetched.Load() != 2 {
		t.Errorf("the keys were fetched %d times", fetched.Load())
	}

	// Signatures that are wrong do not make us fetch more than once a minute.
	published := p.Signer
	p.Rekey()
	forging := p.Signer
	p.Signer = published
	p.Handle("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		fmt.Fprintf(w, `{"keys":[%s]}`, published.JWK())
	})
	forge := func(id string) weftest.Answer {
		p.Signer = forging
		defer func() { p.Signer = published }()
		return send(id)
	}
	for i := range 5 {
		if a := forge(fmt.Sprint("forged", i)); a.Code() != "SIGNATURE_INVALID" {
			t.Errorf("forged: %d %s", a.Status, a.Body)
		}
	}
	alice.Advance(2 * time.Minute)
	for i := range 5 {
		if a := forge(fmt.Sprint("late", i)); a.Code() != "SIGNATURE_INVALID" {
			t.Errorf("forged later: %d %s", a.Status, a.Body)
		}
	}
	if fetched.Load() != 3 {
		t.Errorf("the keys were fetched %d times", fetched.Load())
	}
	want(t, "the key that is published", send("3"), 201)
}

// Where the operator approves keys, one made anew under an old name waits too.
func TestAKeyMadeAnewWaitsForApproval(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Federation.ApproveKeys = true }).Person("alice")
	p := weftest.NewPeer(t)
	send := func(id string) weftest.Answer {
		return p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{"providerId": id}))
	}
	want(t, "the first key", send("1"), 201)
	p.Rekey()
	if a := send("2"); a.Status != 503 || a.Code() != "KEY_NOT_APPROVED" {
		t.Errorf("the new key: %d %s", a.Status, a.Body)
	}
}

// One share that cannot be stored takes none of those with it that are stored in the
// same transaction, and leaves nothing.
func TestAShareThatFailsFailsAlone(t *testing.T) {
	bob := weftest.Start(t).Person("bob")
	peer := weftest.NewPeer(t)
	// What is written last for a share is refused for some.
	if _, err := bob.Server.DB.Write.ExecContext(t.Context(), `CREATE TRIGGER refused BEFORE INSERT ON notices
		WHEN NEW.params LIKE '%"name":"bad %' BEGIN SELECT RAISE(ABORT, 'refused'); END`); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			name, want := fmt.Sprint("good ", i), http.StatusCreated
			if i%6 == 0 {
				name, want = fmt.Sprint("bad ", i), http.StatusInternalServerError
			}
			body := peer.ShareFor(bob, map[string]any{"providerId": fmt.Sprint(i), "name": name})
			if a := peer.Post(bob.Site, "/ocm/shares", jsonType, body); a.Status != want {
				t.Errorf("%s: %v", name, a)
			}
		})
	}
	wg.Wait()
	for table, where := range map[string]string{
		"incoming_shares": "TRUE", "incoming_members": "state = 'pending'",
		"notices": "kind = 'share-received'", "audit": "action = 'share.received' AND object LIKE 'good %'",
	} {
		if n := bob.Rows()[table]; table != "audit" && n != 50 {
			t.Errorf("%d rows in %s, want 50", n, table)
		}
		if n, err := bob.Server.DB.Read.NewSelect().Table(table).Where(where).Count(t.Context()); err != nil || n != 50 {
			t.Errorf("%d rows in %s where %s, want 50 (%v)", n, table, where, err)
		}
	}
	if n, err := bob.Server.DB.Read.NewSelect().Table("audit").Where("object LIKE 'bad %'").Count(t.Context()); err != nil || n != 0 {
		t.Errorf("%d records of what did not happen (%v)", n, err)
	}
}
