package directory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/weft-mesh/weft/ocm"
)

var list = &ocm.Directory{Federation: "Northern Universities", Servers: []ocm.DirectoryServer{
	{URL: "https://cloud.north.example", DisplayName: "North University"},
	{URL: "https://cloud.south.example:4443", DisplayName: "South Institute"},
}}

func signers(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, ed, err1 := ed25519.GenerateKey(nil)
	ec, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, err3 := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"EdDSA": ed, "ES256": ec, "RS256": rs}
}

func TestASignedListIsReadWithItsKeyAndNoOther(t *testing.T) {
	keys := signers(t)
	for alg, key := range keys {
		doc, err := Sign(list, key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Verify(doc, key.Public(), false)
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if got.Federation != list.Federation || len(got.Servers) != 2 || got.Servers[1].Host != "cloud.south.example:4443" {
			t.Errorf("%s: read %+v", alg, got)
		}
		for other, wrong := range keys {
			if other == alg {
				continue
			}
			if _, err := Verify(doc, wrong.Public(), false); code(err) != CodeWrongKey {
				t.Errorf("%s read with the key of %s: %v", alg, other, err)
			}
		}
	}
}

func TestAChangedListIsRefused(t *testing.T) {
	key := signers(t)["EdDSA"]
	doc, err := Sign(list, key)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(m["payload"].(string))
	m["payload"] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "south", "eve00", 1)))
	changed, _ := json.Marshal(m)
	for name, doc := range map[string]string{
		"changed payload":    string(changed),
		"unsigned payload":   string(payload),
		"nothing":            "",
		"algorithm none":     `{"payload":"e30","protected":"eyJhbGciOiJub25lIn0","signature":""}`,
		"compact form":       "eyJhbGciOiJFZERTQSJ9.e30.AAAA",
		"decoded as example": `{"payload":{"federation":"F","servers":[]},"protected":{"alg":"ES256"},"signature":"AAAA"}`,
	} {
		if _, err := Verify([]byte(doc), key.Public(), false); code(err) != CodeWrongKey && code(err) != CodeUnsigned {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One of several signatures is enough: a federation may sign with its old and
// its new key while it changes.
func TestAListWithTwoSignatures(t *testing.T) {
	keys := signers(t)
	payload, _ := json.Marshal(list)
	multi, err := jose.NewMultiSigner([]jose.SigningKey{
		{Algorithm: jose.ES256, Key: keys["ES256"]}, {Algorithm: jose.EdDSA, Key: keys["EdDSA"]},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := multi.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"ES256", "EdDSA"} {
		if _, err := Verify([]byte(jws.FullSerialize()), keys[alg].Public(), false); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestKeysAreReadFromPEMAndJWK(t *testing.T) {
	for alg, key := range signers(t) {
		pkix, _ := x509.MarshalPKIXPublicKey(key.Public())
		jwk, _ := json.Marshal(jose.JSONWebKey{Key: key.Public(), Algorithm: alg})
		for form, b := range map[string][]byte{"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}), "JWK": jwk} {
			got, err := ReadPublicKey(b)
			if err != nil || !got.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
				t.Errorf("%s from %s: %v", alg, form, err)
			}
		}
		pkcs8, _ := x509.MarshalPKCS8PrivateKey(key)
		private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
		if got, err := ReadPrivateKey(private); err != nil || !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
			t.Errorf("%s private: %v", alg, err)
		}
		if _, err := ReadPublicKey(private); code(err) != CodeKey {
			t.Errorf("a private key taken for a public one: %v", err)
		}
	}
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	for name, key := range map[string]crypto.Signer{"a short RSA key": short, "P-384": p384} {
		pkix, _ := x509.MarshalPKIXPublicKey(key.Public())
		if _, err := ReadPublicKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})); code(err) != CodeKey {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Sign(list, key); code(err) != CodeKey {
			t.Errorf("signing with %s: %v", name, err)
		}
	}
	for _, text := range []string{"", "not a key", `{"kty":"oct","k":"AAAA"}`} {
		if _, err := ReadPublicKey([]byte(text)); code(err) != CodeKey {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func code(err error) ocm.Code {
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return e.Code
	}
	return ""
}

func FuzzVerify(f *testing.F) {
	keys := signers(f)
	for _, key := range keys {
		doc, err := Sign(list, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Add([]byte(`{"payload":"e30","signatures":[{"protected":"eyJhbGciOiJFZERTQSJ9","signature":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, key := range keys {
			d, err := Verify(doc, key.Public(), false)
			if err != nil {
				if code(err) == "" {
					t.Errorf("an error without a code: %v", err)
				}
				continue
			}
			// Only what was signed verifies.
			if d.Federation != list.Federation || len(d.Servers) != len(list.Servers) {
				t.Errorf("verified %+v", d)
			}
		}
	})
}
