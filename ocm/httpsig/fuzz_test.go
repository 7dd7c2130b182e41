package httpsig

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"testing"

	"github.com/weft-mesh/weft/ocm"
)

func refusal(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*ocm.Error](err); !ok || e.Status != http.StatusUnauthorized || e.Code == "" || e.Message == "" {
		t.Fatalf("not a 401: %v", err)
	}
}

var inputs = []string{
	`ocm=("@method" "@target-uri" "content-digest" "content-length");created=1;keyid="a#1";alg="ed25519";tag="ocm"`,
	`a=();tag="ocm", b=();tag="ocm"`,
	`a=("x";sf "y");tag="ocm", c=?1;x="a,b\",c"`,
	`a=("x"  "y" );created=@5; expires=2.5;nonce=%"a%c3%a9, ";tag="ocm"`,
	`a=1, a=2`,
}

func FuzzInspect(f *testing.F) {
	for _, in := range inputs {
		f.Add(in, "ocm=:AAAA:, a=:AAAA:")
	}
	f.Fuzz(func(t *testing.T, in, signature string) {
		info, err := Inspect(http.Header{"Signature-Input": {in}, "Signature": {signature}})
		if err != nil {
			refusal(t, err)
			return
		}
		if !info.Signed {
			return
		}
		if info.Value == "" || info.params == "" {
			t.Fatalf("signed without a value: %+v", info)
		}
		// What was read is written so that it reads the same.
		again, err := Inspect(http.Header{"Signature-Input": {"x=" + info.params}, "Signature": {"x=:" + info.Value + ":"}})
		if err != nil || again.params != info.params || again.KeyID != info.KeyID || !again.Created.Equal(info.Created) {
			t.Fatalf("%+v, then %+v, %v", info, again, err)
		}
	})
}

func FuzzDigest(f *testing.F) {
	f.Add("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", []byte(""))
	f.Add("sha-256=:AAAA:, sha-512=x", []byte("x"))
	f.Add("sha-256=:AAAA:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", []byte(""))
	f.Fuzz(func(t *testing.T, field string, body []byte) {
		h := http.Header{"Content-Digest": {field}}
		if err := checkDigest(h, body); err != nil {
			refusal(t, err)
		} else if checkDigest(h, append(bytes.Clone(body), 'x')) == nil {
			t.Fatal("one digest fits two bodies")
		}
	})
}

func FuzzJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","kid":"a","x":"AzeStPAdQ-vbi6bJVxcQjBPF2I7fDZdfDZ_XZ3J4Azs"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","alg":"RS256","kid":"b","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","alg":"ES256","kid":"c"}]}`))
	for _, alg := range []string{"ES384", "PS512"} {
		f.Add(set(jwk(f, alg, private(f)[alg].Public())))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadJWKS(b)
		if err != nil {
			return
		}
		for _, k := range s.Keys() {
			if err := fits(k); err != nil || k.KID == "" {
				t.Fatalf("unfit key taken: %+v, %v", k, err)
			}
			if k.Thumbprint() == "" {
				t.Fatal("no thumbprint")
			}
			if _, err := s.Find(k.KID); err != nil {
				t.Fatal(err)
			}
		}
		for kid := range s.Unfit() {
			if _, err := s.Find(kid); err != nil {
				refusal(t, err)
			}
		}
	})
}

// Nobody without the key changes a byte of what is signed.
func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signer := &Signer{KID: kid, Key: key, Now: at(now)}
	const target = "https://receiver.example.org/ocm/shares"
	body := []byte(`{"shareWith":"marie@receiver.example.org"}`)
	signed, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	if err := signer.Sign(signed, body); err != nil {
		f.Fatal(err)
	}
	h := signed.Header
	f.Add(http.MethodPost, target, body, h.Get("Content-Digest"), h.Get("Content-Length"), h.Get("Signature-Input"), h.Get("Signature"))
	for _, in := range inputs {
		f.Add(http.MethodPost, target, body, h.Get("Content-Digest"), h.Get("Content-Length"), in, h.Get("Signature"))
	}
	f.Fuzz(func(t *testing.T, method, uri string, b []byte, digest, length, input, signature string) {
		r := &http.Request{Method: method, ContentLength: int64(len(b)), Header: http.Header{
			"Content-Digest": {digest}, "Content-Length": {length}, "Signature-Input": {input}, "Signature": {signature},
		}}
		info, err := Verifier{Now: at(now)}.Verify(t.Context(), r, uri, b,
			func(context.Context, string) (Key, error) { return Key{kid, "Ed25519", key.Public()}, nil })
		if err != nil {
			refusal(t, err)
			return
		}
		if !info.Signed {
			return
		}
		if method != http.MethodPost || uri != target || !bytes.Equal(b, body) || info.KeyID != kid || info.Created.Unix() != now {
			t.Fatalf("taken, but never signed: %s %s %q %+v", method, uri, b, info)
		}
	})
}
