package httpsig

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// vector is a file of testdata: a request and what is signed of it.
type vector struct {
	JWK     json.RawMessage `json:"jwk"`
	Private string          `json:"privateKeyPEM"`
	Request struct {
		Method    string            `json:"method"`
		TargetURI string            `json:"targetUri"`
		Headers   map[string]string `json:"headers"`
		Body      string            `json:"body"`
	} `json:"request"`
	Components []string `json:"components"`
	Params     string   `json:"params"`
	Base       string   `json:"signatureBase"`
	Signature  string   `json:"signature"`
}

func load(t testing.TB, name string) vector {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vector) request(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest(v.Request.Method, v.Request.TargetURI, strings.NewReader(v.Request.Body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range v.Request.Headers {
		r.Header.Set(name, value)
	}
	return r
}

func TestTheSignedShareOfDraft06AppendixBVerifies(t *testing.T) {
	v := load(t, "draft06-appendix-b.json")
	r, body := v.request(t), []byte(v.Request.Body)
	info, err := Verifier{Now: at(1785060510)}.Verify(t.Context(), r, v.Request.TargetURI, body, source(t, v.JWK))
	if err != nil || !info.Signed || info.KeyID != "sender.example.org#key1" || info.Created.Unix() != 1785060500 {
		t.Fatalf("%+v, %v", info, err)
	}
	if want := strings.Trim(strings.TrimPrefix(v.Request.Headers["Signature"], "sig1="), ":"); info.Value != want {
		t.Errorf("value %s, want %s", info.Value, want)
	}
	base, err := signatureBase(r, v.Request.TargetURI, len(body), info.components, info.params)
	if err != nil || string(base) != v.Base {
		t.Errorf("signature base\n%s\nwant\n%s (%v)", base, v.Base, err)
	}
}

// recorder keeps what it was asked to sign.
type recorder struct {
	ed25519.PrivateKey
	base *[]byte
}

func (r recorder) Sign(_ io.Reader, base []byte, opts crypto.SignerOpts) ([]byte, error) {
	*r.base = base
	return r.PrivateKey.Sign(nil, base, opts)
}

// The private key of the example is not public: all but the signature itself is
// compared. The label is ours.
func TestTheSignedShareOfDraft06AppendixBIsReproduced(t *testing.T) {
	v := load(t, "draft06-appendix-b.json")
	r := v.request(t)
	clear(r.Header)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var base []byte
	s := &Signer{KID: "sender.example.org#key1", Key: recorder{key, &base}, Now: at(1785060500)}
	if err := s.Sign(r, []byte(v.Request.Body)); err != nil {
		t.Fatal(err)
	}
	if string(base) != v.Base {
		t.Errorf("signature base\n%s\nwant\n%s", base, v.Base)
	}
	for _, h := range []string{"Content-Digest", "Content-Length", "Signature-Input"} {
		want := v.Request.Headers[h]
		if rest, ok := strings.CutPrefix(want, "sig1="); ok {
			want = "ocm=" + rest
		}
		if got := r.Header.Get(h); got != want {
			t.Errorf("%s: %s, want %s", h, got, want)
		}
	}
}

func TestTheSignatureOfRFC9421B26IsReproduced(t *testing.T) {
	v := load(t, "rfc9421-b26.json")
	block, _ := pem.Decode([]byte(v.Private))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := parsed.(ed25519.PrivateKey)
	r := v.request(t)
	base, err := signatureBase(r, v.Request.TargetURI, len(v.Request.Body), v.Components, v.Params)
	if err != nil || string(base) != v.Base {
		t.Fatalf("signature base\n%s\nwant\n%s (%v)", base, v.Base, err)
	}
	signature := ed25519.Sign(key, base)
	if got := base64.StdEncoding.EncodeToString(signature); got != v.Signature {
		t.Errorf("signature %s, want %s", got, v.Signature)
	}
	if _, err := check(Key{Alg: "Ed25519", Public: key.Public()}, Info{signature: signature}, base); err != nil {
		t.Error(err)
	}
	if err := checkDigest(r.Header, []byte(v.Request.Body)); err != nil {
		t.Errorf("sha-512 digest: %v", err)
	}
	// It does not carry the tag: to us the message is unsigned.
	r.Header.Set("Signature-Input", "sig-b26="+v.Params)
	r.Header.Set("Signature", "sig-b26=:"+v.Signature+":")
	if info, err := Inspect(r.Header); err != nil || info.Signed {
		t.Errorf("%+v, %v", info, err)
	}
}
