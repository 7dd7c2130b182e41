package weftest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// Peer is another server as far as the wire shows: a discovery document, keys,
// and whatever else a test puts in Handlers.
type Peer struct {
	*httptest.Server
	T        testing.TB
	Host     ocm.Host
	Signer   *httpsig.Signer
	Document *ocm.Discovery

	mu       sync.Mutex
	handlers map[string]http.HandlerFunc // by "METHOD /path"
	keys     []json.RawMessage
}

// NewPeer starts a peer that signs and knows the code flow.
func NewPeer(t testing.TB) *Peer {
	t.Helper()
	p := &Peer{T: t, handlers: map[string]http.HandlerFunc{}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	p.URL = strings.Replace(p.URL, "127.0.0.1", "localhost", 1)
	p.Host = ocm.Host(strings.TrimPrefix(p.URL, "http://"))
	p.Signer = newSigner(t, string(p.Host)+"#1")
	p.keys = []json.RawMessage{p.Signer.JWK()}
	p.Document = &ocm.Discovery{
		Enabled: true, APIVersion: ocm.Version, EndPoint: p.URL + "/ocm", Provider: "Peer",
		ResourceTypes: []ocm.ResourceType{{Name: "file", ShareTypes: []string{"user"}, Protocols: map[string]json.RawMessage{"webdav": json.RawMessage(`"/dav/"`)}}},
		Capabilities:  []string{ocm.CapHTTPSig, ocm.CapExchangeToken, ocm.CapNotifications},
		JWKSURI:       p.URL + "/jwks", TokenEndPoint: p.URL + "/token",
	}
	return p
}

func newSigner(t testing.TB, kid string) *httpsig.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &httpsig.Signer{KID: kid, Key: key, Nonce: rand.Text}
}

// Rekey makes the peer sign with a new key under the name of the old one, and
// publish it.
func (p *Peer) Rekey() {
	p.Signer = newSigner(p.T, p.Signer.KID)
	p.SetKeys(p.Signer.JWK())
}

// Handle answers a "METHOD /path" of the peer.
func (p *Peer) Handle(route string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[route] = h
}

// SetKeys publishes other keys.
func (p *Peer) SetKeys(keys ...json.RawMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

func (p *Peer) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	h := p.handlers[r.Method+" "+r.URL.Path]
	if h == nil {
		h = p.handlers[r.Method]
	}
	keys := p.keys
	p.mu.Unlock()
	switch {
	case h != nil:
		h(w, r)
	case r.URL.Path == "/.well-known/ocm":
		json.NewEncoder(w).Encode(p.Document)
	case r.URL.Path == "/jwks":
		json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	default:
		http.NotFound(w, r)
	}
}

// Post sends a signed message to a site; change may alter the request after it
// was signed.
func (p *Peer) Post(to *Site, path, contentType, body string, change ...func(r *http.Request)) Answer {
	p.T.Helper()
	req, err := http.NewRequest("POST", to.Origin+path, strings.NewReader(body))
	if err != nil {
		p.T.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if err := p.Signer.Sign(req, []byte(body)); err != nil {
		p.T.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	return Send(p.T, req)
}

// Token exchanges the secret of a share it received for an access token.
func (p *Peer) Token(from *Site, share *ocm.NewShare) (string, error) {
	p.T.Helper()
	form := ocm.TokenRequest{GrantType: ocm.GrantAuthorizationCode, ClientID: p.Host, Code: share.Protocol.WebDAV.SharedSecret}.Form()
	a := p.Post(from, "/ocm/token", "application/x-www-form-urlencoded", form)
	answer, err := ocm.ReadTokenAnswer([]byte(a.Body))
	if err != nil {
		return "", err
	}
	return answer.AccessToken.Reveal(), nil
}

// Unsigned takes the signature off.
func Unsigned(r *http.Request) {
	r.Header.Del("Signature")
	r.Header.Del("Signature-Input")
}

// ShareFor is a Share Creation Notification of the peer, with members replaced
// or (by nil) removed.
func (p *Peer) ShareFor(to *Person, replace map[string]any) string {
	p.T.Helper()
	m := map[string]any{
		"shareWith": to.Address, "name": "Field notes", "providerId": "7c084226-d9a1-11e6-bf26-cec0c932ce01",
		"owner": "einstein@" + string(p.Host), "sender": "einstein@" + string(p.Host),
		"ownerDisplayName": "Albert Einstein", "senderDisplayName": "Albert Einstein",
		"shareType": "user", "resourceType": "folder",
		"protocol": map[string]any{"name": "multi", "webdav": map[string]any{
			"uri": "7c084226", "sharedSecret": "hfiuhworzwnur98d3wjiwhr", "permissions": []string{"read", "write"},
		}},
	}
	for k, v := range replace {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		p.T.Fatal(err)
	}
	return string(b)
}
