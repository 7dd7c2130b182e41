package httpsig

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	dadrus "github.com/dadrus/httpsig"

	"github.com/weft-mesh/weft/ocm"
)

func TestTargetURI(t *testing.T) {
	for in, want := range map[string]string{
		"https://Example.ORG":                    "https://example.org/",
		"https://example.org?x":                  "https://example.org/?x",
		"https://example.org/a%2Fb/C?x=%2F#no":   "https://example.org/a%2Fb/C?x=%2F",
		"https://example.org:8443/ocm?":          "https://example.org:8443/ocm?",
		"https://user:secret@[2001:DB8::1]/ocm/": "https://[2001:db8::1]/ocm/",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := TargetURI(u); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestSigningAgainReplacesTheSignature(t *testing.T) {
	m := newMessage(t)
	m.Header.Add("Signature-Input", `ocm=("@method");tag="ocm"`)
	m.Header.Add("Content-Digest", "sha-256=:AAAA:")
	if err := m.signer.Sign(m.Request, m.body); err != nil {
		t.Fatal(err)
	}
	if _, err := m.verify(t); err != nil {
		t.Error(err)
	}
}

func TestTheHostThatIsSentIsSigned(t *testing.T) {
	m := newMessage(t)
	m.URL.Host, m.Host = "127.0.0.1:8443", "Receiver.example.org"
	if err := m.signer.Sign(m.Request, m.body); err != nil {
		t.Fatal(err)
	}
	if _, err := m.verify(t); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeSignedIsRefused(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signer Signer
		target string
	}{
		"with a key of another kind":              {Signer{KID: kid, Key: ec}, "https://a.example.org/"},
		"a relative URL":                          {Signer{KID: kid, Key: ed}, "/ocm/shares"},
		"an opaque URL":                           {Signer{KID: kid, Key: ed}, "https:a.example.org"},
		"with a key id that cannot be in a field": {Signer{KID: "größe#1", Key: ed}, "https://a.example.org/"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodGet, c.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.signer.Sign(r, nil); err == nil || r.Header.Get("Signature") != "" {
				t.Errorf("%v, %v", err, r.Header)
			}
		})
	}
}

// Another implementation of RFC 9421 takes what we sign, and we take what it
// signs.
func TestAnotherImplementationAgrees(t *testing.T) {
	keys := private(t)
	body := []byte(`{"a":1}`)
	newRequest := func(t *testing.T) *http.Request {
		r, err := http.NewRequest(http.MethodPost, "https://b.example.org/ocm/a%2Fb?x=1", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("with what we sign", func(t *testing.T) {
		ours := newRequest(t)
		if err := (&Signer{KID: kid, Key: keys["Ed25519"]}).Sign(ours, body); err != nil {
			t.Fatal(err)
		}
		verifier, err := dadrus.NewVerifier(dadrus.Key{KeyID: kid, Key: keys["Ed25519"].Public(), Algorithm: dadrus.Ed25519},
			dadrus.WithRequiredTag(Tag, dadrus.WithRequiredComponents(required...), dadrus.WithMaxAge(time.Minute),
				dadrus.WithValidityTolerance(time.Second), dadrus.WithExpiredTimestampRequired(false)))
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(dadrus.MessageFromRequest(ours)); err != nil {
			t.Error(err)
		}
	})
	for name, alg := range map[string]dadrus.SignatureAlgorithm{
		"Ed25519": dadrus.Ed25519, "EdDSA": dadrus.Ed25519, "ES256": dadrus.EcdsaP256Sha256, "ES384": dadrus.EcdsaP384Sha384,
		"PS256": dadrus.RsaPssSha256, "PS384": dadrus.RsaPssSha384, "PS512": dadrus.RsaPssSha512,
		"RS256": dadrus.RsaPkcs1v15Sha256, "RS384": dadrus.RsaPkcs1v15Sha384, "RS512": dadrus.RsaPkcs1v15Sha512,
	} {
		t.Run("with what it signs by "+name, func(t *testing.T) {
			theirs := newRequest(t)
			theirs.Header.Set("Content-Length", "7")
			theirs.Header.Set("Content-Type", "application/json")
			signer, err := dadrus.NewSigner(dadrus.Key{KeyID: kid, Key: keys[name], Algorithm: alg}, dadrus.WithTTL(0), dadrus.WithTag(Tag),
				dadrus.WithComponents(append([]string{"content-type", "@authority", "@path", "@query", "@scheme", "@request-target"}, required...)...),
				dadrus.WithContentDigestAlgorithm(dadrus.Sha512))
			if err != nil {
				t.Fatal(err)
			}
			header, err := signer.Sign(dadrus.MessageFromRequest(theirs))
			if err != nil {
				t.Fatal(err)
			}
			theirs.Header = header
			info, err := Verifier{}.Verify(t.Context(), theirs, TargetURI(theirs.URL), body, source(t, jwk(t, name, keys[name].Public())))
			if algorithms[name].name == "" {
				// It writes an alg that no registry has, where there must be none.
				expect(t, err, ocm.CodeSignatureInvalid)
				base, _ := signatureBase(theirs, TargetURI(theirs.URL), len(body), info.components, info.params)
				info.Alg = ""
				_, err = check(Key{KID: kid, Alg: name, Public: keys[name].Public()}, info, base)
			}
			if err != nil || !info.Signed {
				t.Errorf("%v\n%v", err, header)
			}
		})
	}
}
