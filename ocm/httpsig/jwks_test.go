package httpsig

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/weft-mesh/weft/ocm"
)

// jwk is the JWK of a public (or private) key.
func jwk(t testing.TB, alg string, key any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg, Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func set(keys ...json.RawMessage) []byte {
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return b
}

func TestReadJWKS(t *testing.T) {
	keys := private(t)
	for alg, key := range keys {
		s, err := ReadJWKS(set(jwk(t, alg, key.Public())))
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.Find(kid)
		if err != nil || k.KID != kid || k.Alg != alg || len(s.Keys()) != 1 {
			t.Errorf("%s: %+v, %v", alg, k, err)
		}
		if public, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
			t.Errorf("%s: another key: %v", alg, k.Public)
		}
	}
	empty, err := ReadJWKS([]byte(`{"keys":[],"more":{}}`))
	if err != nil || len(empty.Keys()) != 0 {
		t.Errorf("an empty set: %v", err)
	}
	_, err = empty.Find(kid)
	expect(t, err, ocm.CodeKeyUnknown)
}

func TestPrivateMembersOfAJWKAreLeftBehind(t *testing.T) {
	for alg, key := range private(t) {
		raw := jwk(t, alg, key)
		if !strings.Contains(string(raw), `"d":`) {
			t.Fatal("the test does not publish a private key")
		}
		for name, raw := range map[string]json.RawMessage{
			"valid":   raw,
			"garbage": json.RawMessage(strings.Replace(string(raw), `"d":"`, `"d":"!`, 1)),
		} {
			s, err := ReadJWKS(set(raw))
			if err != nil {
				t.Fatal(err)
			}
			k, err := s.Find(kid)
			if err != nil {
				t.Errorf("%s, %s: %v", alg, name, err)
				continue
			}
			if public, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
				t.Errorf("%s, %s: kept as %T", alg, name, k.Public)
			}
		}
	}
}

func TestAKeyIsUnacceptable(t *testing.T) {
	keys := private(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ed := string(jwk(t, "Ed25519", keys["Ed25519"].Public()))
	with := func(old, new string) json.RawMessage { return json.RawMessage(strings.Replace(ed, old, new, 1)) }
	for name, raw := range map[string]json.RawMessage{
		"alg none":                    with(`"alg":"Ed25519"`, `"alg":"none"`),
		"alg HS256 on a public key":   with(`"alg":"Ed25519"`, `"alg":"HS256"`),
		"HS256":                       json.RawMessage(`{"kty":"oct","alg":"HS256","kid":"` + kid + `","k":"c2VjcmV0"}`),
		"HS512":                       json.RawMessage(`{"kty":"oct","alg":"HS512","kid":"` + kid + `","k":"c2VjcmV0"}`),
		"a symmetric key with RS256":  json.RawMessage(`{"kty":"oct","alg":"RS256","kid":"` + kid + `","k":"c2VjcmV0"}`),
		"no alg":                      with(`"alg":"Ed25519",`, ""),
		"alg null":                    with(`"alg":"Ed25519"`, `"alg":null`),
		"alg a list":                  with(`"alg":"Ed25519"`, `"alg":["Ed25519"]`),
		"alg in other case":           with(`"alg":"Ed25519"`, `"ALG":"Ed25519"`),
		"an alg nobody knows":         with(`"alg":"Ed25519"`, `"alg":"ES256K"`),
		"use enc":                     with(`"use":"sig"`, `"use":"enc"`),
		"use null":                    with(`"use":"sig"`, `"use":null`),
		"another kind's alg":          with(`"alg":"Ed25519"`, `"alg":"ES256"`),
		"x of another length":         with(`"x":"`, `"x":"AA`),
		"x missing":                   with(`"x":"`, `"X":"`),
		"a curve for key agreement":   with(`"crv":"Ed25519"`, `"crv":"X25519"`),
		"an alg of another curve":     jwk(t, "ES384", keys["ES256"].Public()),
		"P-521":                       jwk(t, "ES512", keys["ES256"].Public()),
		"a point not on the curve":    json.RawMessage(strings.Replace(string(jwk(t, "ES256", keys["ES256"].Public())), `"y":"`, `"y":"AAAA`, 1)),
		"weak RSA":                    jwk(t, "RS256", &weak.PublicKey),
		"RSA with exponent 1":         jwk(t, "RS256", &rsa.PublicKey{N: keys["RS256"].Public().(*rsa.PublicKey).N, E: 1}),
		"RSA with an even exponent":   jwk(t, "RS256", &rsa.PublicKey{N: keys["RS256"].Public().(*rsa.PublicKey).N, E: 65536}),
		"RSA with an Ed25519 alg":     jwk(t, "Ed25519", keys["RS256"].Public()),
		"an unknown kind":             json.RawMessage(`{"kty":"PQ","alg":"Ed25519","kid":"` + kid + `"}`),
		"a kind that is not a string": json.RawMessage(`{"kty":{},"alg":"Ed25519","kid":"` + kid + `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ReadJWKS(set(raw))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Find(kid)
			expect(t, err, ocm.CodeKeyUnacceptable)
			if len(s.Keys()) != 0 || s.Unfit()[kid] == "" {
				t.Errorf("%v, %v", s.Keys(), s.Unfit())
			}
		})
	}
}

func TestOneBadKeyDoesNotSpoilTheSet(t *testing.T) {
	good := newMessage(t).keys[0]
	s, err := ReadJWKS(set(json.RawMessage(`7`), json.RawMessage(`null`), json.RawMessage(`{"kty":"OKP"}`),
		json.RawMessage(`{"kid":["x"],"alg":"EdDSA"}`), good))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(kid); err != nil {
		t.Error(err)
	}
	if len(s.Keys()) != 1 || s.Unfit()[""] == "" {
		t.Errorf("%v, %v", s.Keys(), s.Unfit())
	}
	_, err = s.Find("sender.example.org#2")
	expect(t, err, ocm.CodeKeyUnknown)
}

func TestAJWKSetIsRefused(t *testing.T) {
	for name, b := range map[string]string{
		"empty":                  "",
		"no object":              "[]",
		"null":                   "null",
		"keys missing":           "{}",
		"keys null":              `{"keys":null}`,
		"keys in other case":     `{"Keys":[]}`,
		"keys not a list":        `{"keys":{}}`,
		"keys given twice":       `{"keys":[],"keys":[]}`,
		"a member of a key too":  `{"keys":[{"kid":"a","kid":"b"}]}`,
		"larger than 64 KiB":     `{"keys":[]}` + strings.Repeat(" ", MaxJWKS),
		"more than 100 keys":     `{"keys":[` + strings.Repeat("1,", 100) + `1]}`,
		"nested too deeply":      `{"keys":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
		"something following it": `{"keys":[]}{}`,
	} {
		if _, err := ReadJWKS([]byte(b)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The thumbprint of RFC 8037 appendix A.3.
func TestThumbprint(t *testing.T) {
	s, err := ReadJWKS([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil || len(s.Keys()) != 1 {
		t.Fatal(err)
	}
	if got := s.Keys()[0].Thumbprint(); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Error(got)
	}
}
