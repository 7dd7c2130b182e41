package httpsig

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

const now = 1800000000

// at is a clock that stands still.
func at(sec int64) func() time.Time { return func() time.Time { return time.Unix(sec, 0) } }

// source finds keys in the JWK Set of keys.
func source(t testing.TB, keys ...json.RawMessage) KeySource {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	set, err := ReadJWKS(b)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, kid string) (Key, error) { return set.Find(kid) }
}

// message is a signed request as it arrives, which tests change before it is
// verified.
type message struct {
	*http.Request
	target string
	body   []byte
	keys   []json.RawMessage
	signer *Signer
}

const kid = "sender.example.org#1"

func newMessage(t testing.TB) *message {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &message{
		target: "https://receiver.example.org/ocm/shares", body: []byte(`{"shareWith":"marie@receiver.example.org"}`),
		signer: &Signer{KID: kid, Key: key, Now: at(now)},
	}
	m.keys = []json.RawMessage{m.signer.JWK()}
	m.sign(t)
	return m
}

func (m *message) sign(t testing.TB) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, m.target, bytes.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.signer.Sign(r, m.body); err != nil {
		t.Fatal(err)
	}
	m.Request = r
}

// signAt signs again at another time.
func (m *message) signAt(t testing.TB, sec int64) {
	m.signer.Now = at(sec)
	m.sign(t)
}

// resign signs with other components and parameters.
func (m *message) resign(t testing.TB, components []string, params string) {
	t.Helper()
	all := `("` + strings.Join(components, `" "`) + `")` + params
	base, err := signatureBase(m.Request, m.target, len(m.body), components, all)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := m.signer.Key.Sign(nil, base, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Set("Signature-Input", "ocm="+all)
	m.Header.Set("Signature", "ocm="+sfBytes(signature))
}

// add adds members to the dictionaries of the signature.
func (m *message) add(input, signature string) {
	m.Header.Add("Signature-Input", input)
	m.Header.Add("Signature", signature)
}

func (m *message) verify(t testing.TB) (Info, error) {
	t.Helper()
	return Verifier{Now: at(now)}.Verify(t.Context(), m.Request, m.target, m.body, source(t, m.keys...))
}

// editKey replaces a part of the published key.
func (m *message) editKey(old, new string) {
	m.keys = []json.RawMessage{json.RawMessage(strings.Replace(string(m.signer.JWK()), old, new, 1))}
}

func sfBytes(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(b) + ":" }

// relabel gives a member of a dictionary another label.
func relabel(member, label string) string {
	_, value, _ := strings.Cut(member, "=")
	return label + "=" + value
}

func expect(t *testing.T, err error, want ocm.Code) {
	t.Helper()
	e, ok := errors.AsType[*ocm.Error](err)
	if !ok || e.Code != want || e.Status != http.StatusUnauthorized {
		t.Errorf("%v, want 401 %s", err, want)
	}
}

func without(components []string, name string) []string {
	var out []string
	for _, c := range components {
		if c != name {
			out = append(out, c)
		}
	}
	return out
}

func TestASignatureVerifies(t *testing.T) {
	params := `;created=1800000000;keyid="` + kid + `";tag="ocm"`
	for _, c := range []struct {
		name   string
		change func(t *testing.T, m *message)
	}{
		{"as we make it", func(*testing.T, *message) {}},
		{"whatever its label", func(_ *testing.T, m *message) {
			for _, h := range []string{"Signature-Input", "Signature"} {
				m.Header.Set(h, relabel(m.Header.Get(h), "sig1"))
			}
		}},
		{"without the alg parameter", func(t *testing.T, m *message) { m.resign(t, required, params) }},
		{"with the components and parameters in another order", func(t *testing.T, m *message) {
			m.resign(t, []string{"content-length", "@target-uri", "content-digest", "@method"}, `;tag="ocm";keyid="`+kid+`";created=1800000000`)
		}},
		{"with a nonce and parameters nobody knows", func(t *testing.T, m *message) {
			m.resign(t, required, params+`;nonce="abc";x-new;y=2.5;z=token`)
		}},
		{"with expires ahead", func(t *testing.T, m *message) { m.resign(t, required, params+`;expires=1800000000`) }},
		{"with more components", func(t *testing.T, m *message) {
			m.target = "https://receiver.example.org:443/ocm/shares"
			m.Header.Set("Content-Type", " application/json ")
			m.Header["X-Twice"] = []string{"a ", " b"}
			m.resign(t, append([]string{"content-type", "x-twice", "host", "@authority", "@scheme", "@path", "@query", "@request-target"}, required...), params)
		}},
		{"with a space after the separators", func(t *testing.T, m *message) {
			m.resign(t, required, params)
			m.Header.Set("Signature-Input", strings.ReplaceAll(m.Header.Get("Signature-Input"), ";", "; "))
		}},
		{"beside signatures of others, which are not looked at", func(_ *testing.T, m *message) {
			m.add(`proxy=("x" "@method";req "x");created="when";alg=17;tag="cdn"`, "proxy=:AAAA:")
			m.add(`plain=("@method");created=1`, "plain=?1")
			m.add(`token=("@method");tag=ocm, item;tag="ocm"`, "other=:AAAA:")
		}},
		{"with a digest of an unknown algorithm beside", func(t *testing.T, m *message) {
			m.Header.Set("Content-Digest", "md5=:AAAA:, "+m.Header.Get("Content-Digest"))
			m.resign(t, required, params)
		}},
		{"with both digests", func(t *testing.T, m *message) {
			sum := sha512.Sum512(m.body)
			m.Header.Add("Content-Digest", "sha-512="+sfBytes(sum[:]))
			m.resign(t, required, params)
		}},
		{"with a key of the older alg EdDSA", func(_ *testing.T, m *message) { m.editKey(`"alg":"Ed25519"`, `"alg":"EdDSA"`) }},
		{"with a key among others of unknown kinds", func(_ *testing.T, m *message) {
			m.keys = append([]json.RawMessage{json.RawMessage(`{"kty":"PQ","alg":"ML-DSA-65","kid":"pq"}`), json.RawMessage(`7`)}, m.keys...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMessage(t)
			c.change(t, m)
			info, err := m.verify(t)
			if err != nil || !info.Signed || info.KeyID != kid || info.Created.Unix() != now || info.Value == "" {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

// Each case breaks one rule (OCM 1.5, HTTP Message Signatures).
func TestASignatureIsRefused(t *testing.T) {
	params := `;created=1800000000;keyid="` + kid + `";tag="ocm"`
	type test struct {
		name   string
		change func(t *testing.T, m *message)
		want   ocm.Code
	}
	tests := []test{
		{"two signatures tagged ocm", func(_ *testing.T, m *message) {
			m.add(relabel(m.Header.Get("Signature-Input"), "two"), relabel(m.Header.Get("Signature"), "two"))
		}, ocm.CodeSignatureAmbiguous},
		{"two signatures tagged ocm of which only one has a value", func(_ *testing.T, m *message) {
			m.Header.Add("Signature-Input", `two=("@method");tag="ocm"`)
		}, ocm.CodeSignatureAmbiguous},
		{"two signatures tagged ocm under one label", func(_ *testing.T, m *message) {
			m.add(m.Header.Get("Signature-Input"), m.Header.Get("Signature"))
		}, ocm.CodeSignatureAmbiguous},
		{"a signature tagged ocm hidden behind another of the same label", func(_ *testing.T, m *message) {
			m.add(`ocm=("@method");tag="cdn"`, "")
		}, ocm.CodeSignatureAmbiguous},
		{"two values under one label", func(_ *testing.T, m *message) { m.Header.Add("Signature", m.Header.Get("Signature")) }, ocm.CodeSignatureAmbiguous},

		{"a wrong digest", func(_ *testing.T, m *message) { m.body[2]++ }, ocm.CodeDigestMismatch},
		{"one wrong digest among right ones", func(t *testing.T, m *message) {
			m.Header.Add("Content-Digest", "sha-512="+sfBytes(make([]byte, 64)))
			m.resign(t, required, params)
		}, ocm.CodeDigestMismatch},
		{"a digest that is not a byte sequence", func(_ *testing.T, m *message) { m.Header.Set("Content-Digest", `sha-256="x"`) }, ocm.CodeDigestMismatch},
		{"a wrong digest hidden behind a right one", func(_ *testing.T, m *message) {
			m.Header.Set("Content-Digest", "sha-256=:AAAA:, "+m.Header.Get("Content-Digest"))
		}, ocm.CodeDigestMismatch},
		{"no digest of a known algorithm", func(_ *testing.T, m *message) { m.Header.Set("Content-Digest", "md5=:AAAA:") }, ocm.CodeDigestMismatch},
		{"no digest", func(_ *testing.T, m *message) { m.Header.Del("Content-Digest") }, ocm.CodeDigestMismatch},
		{"a digest that cannot be parsed", func(_ *testing.T, m *message) { m.Header.Set("Content-Digest", "SHA-256=abc") }, ocm.CodeDigestMismatch},
		{"a body length mismatch in the header", func(_ *testing.T, m *message) { m.Header.Set("Content-Length", "1") }, ocm.CodeDigestMismatch},
		{"a body length written in another way", func(_ *testing.T, m *message) {
			m.Header.Set("Content-Length", "0"+m.Header.Get("Content-Length"))
		}, ocm.CodeDigestMismatch},
		{"a body length mismatch without the header", func(_ *testing.T, m *message) {
			m.Header.Del("Content-Length")
			m.ContentLength++
		}, ocm.CodeDigestMismatch},
		{"a body whose length the message does not say", func(_ *testing.T, m *message) {
			m.Header.Del("Content-Length")
			m.ContentLength = -1
		}, ocm.CodeSignatureInvalid},

		{"a signature over another URI", func(_ *testing.T, m *message) { m.target = "https://other.example.org/ocm/shares" }, ocm.CodeSignatureInvalid},
		{"a signature over another query", func(_ *testing.T, m *message) { m.target += "?x" }, ocm.CodeSignatureInvalid},
		{"a signature over another method", func(_ *testing.T, m *message) { m.Method = http.MethodPut }, ocm.CodeSignatureInvalid},
		{"a signature over another digest of the same body", func(_ *testing.T, m *message) {
			sum := sha512.Sum512(m.body)
			m.Header.Set("Content-Digest", "sha-512="+sfBytes(sum[:]))
		}, ocm.CodeSignatureInvalid},
		{"a signature over another time", func(_ *testing.T, m *message) {
			m.Header.Set("Signature-Input", strings.Replace(m.Header.Get("Signature-Input"), "1800000000", "1800000001", 1))
		}, ocm.CodeSignatureInvalid},
		{"a value that was turned", func(_ *testing.T, m *message) { m.Header.Set("Signature", "ocm="+sfBytes(make([]byte, 64))) }, ocm.CodeSignatureInvalid},
		{"a value of another length", func(_ *testing.T, m *message) { m.Header.Set("Signature", "ocm=:AAAA:") }, ocm.CodeSignatureInvalid},
		{"an empty value", func(_ *testing.T, m *message) { m.Header.Set("Signature", "ocm=::") }, ocm.CodeSignatureInvalid},
		{"a value that is not a byte sequence", func(_ *testing.T, m *message) { m.Header.Set("Signature", `ocm="x"`) }, ocm.CodeSignatureInvalid},
		{"no value under the label", func(_ *testing.T, m *message) {
			m.Header.Set("Signature", relabel(m.Header.Get("Signature"), "other"))
		}, ocm.CodeSignatureInvalid},
		{"no Signature", func(_ *testing.T, m *message) { m.Header.Del("Signature") }, ocm.CodeSignatureInvalid},
		{"a Signature that cannot be parsed", func(_ *testing.T, m *message) { m.Header.Set("Signature", `keyId="x",signature="y"`) }, ocm.CodeSignatureInvalid},
		{"a Signature-Input that cannot be parsed", func(_ *testing.T, m *message) { m.Header.Set("Signature-Input", `ocm=("`) }, ocm.CodeSignatureInvalid},
		{"a Signature-Input that is too long", func(_ *testing.T, m *message) {
			m.Header.Add("Signature-Input", "x="+strings.Repeat("1", maxField))
		}, ocm.CodeSignatureInvalid},

		{"created missing", func(t *testing.T, m *message) { m.resign(t, required, `;keyid="`+kid+`";tag="ocm"`) }, ocm.CodeSignatureInvalid},
		{"created that is not a number", func(t *testing.T, m *message) {
			m.resign(t, required, `;created="1800000000";keyid="`+kid+`";tag="ocm"`)
		}, ocm.CodeSignatureInvalid},
		{"keyid missing", func(t *testing.T, m *message) { m.resign(t, required, `;created=1800000000;tag="ocm"`) }, ocm.CodeSignatureInvalid},
		{"expires that is not a number", func(t *testing.T, m *message) { m.resign(t, required, params+`;expires="never"`) }, ocm.CodeSignatureInvalid},
		{"an alg of another algorithm than the key's", func(t *testing.T, m *message) { m.resign(t, required, params+`;alg="rsa-pss-sha512"`) }, ocm.CodeSignatureInvalid},
		{"an alg that is empty", func(t *testing.T, m *message) { m.resign(t, required, params+`;alg=""`) }, ocm.CodeSignatureInvalid},
		{"an alg that is not a string", func(t *testing.T, m *message) { m.resign(t, required, params+`;alg=ed25519`) }, ocm.CodeSignatureInvalid},
		{"a component twice", func(t *testing.T, m *message) {
			m.resign(t, append([]string{"@method"}, required...), params)
		}, ocm.CodeSignatureInvalid},
		{"a component with a parameter", func(t *testing.T, m *message) {
			m.resign(t, required, params)
			m.Header.Set("Signature-Input", strings.Replace(m.Header.Get("Signature-Input"), `"@method"`, `"@method";req`, 1))
		}, ocm.CodeSignatureInvalid},
		{"a component in upper case", func(t *testing.T, m *message) {
			m.resign(t, required, params)
			m.Header.Set("Signature-Input", strings.Replace(m.Header.Get("Signature-Input"), `"content-digest"`, `"Content-Digest"`, 1))
		}, ocm.CodeSignatureInvalid},
		{"a component that the message does not have", func(t *testing.T, m *message) {
			m.Header.Set("Date", "now")
			m.resign(t, append([]string{"date"}, required...), params)
			m.Header.Del("Date")
		}, ocm.CodeSignatureInvalid},
		{"a component that holds a line break", func(t *testing.T, m *message) {
			m.Header.Set("Date", "now")
			m.resign(t, append([]string{"date"}, required...), params)
			m.Header.Set("Date", "now\n\"x\": y")
		}, ocm.CodeSignatureInvalid},
		{"a derived component of responses", func(t *testing.T, m *message) {
			m.resign(t, required, params)
			m.Header.Set("Signature-Input", strings.Replace(m.Header.Get("Signature-Input"), `("@method"`, `("@status" "@method"`, 1))
		}, ocm.CodeSignatureInvalid},
		{"too many components", func(t *testing.T, m *message) {
			var many strings.Builder
			for i := range maxComponents {
				fmt.Fprintf(&many, `"x%d" `, i)
			}
			m.Header.Set("Signature-Input", strings.Replace(m.Header.Get("Signature-Input"), "(", "("+many.String(), 1))
		}, ocm.CodeSignatureInvalid},

		{"stale: 301 s old", func(t *testing.T, m *message) { m.signAt(t, now-301) }, ocm.CodeSignatureStale},
		{"stale: from the year dot", func(t *testing.T, m *message) {
			m.resign(t, required, `;created=-999999999999999;keyid="`+kid+`";tag="ocm"`)
		}, ocm.CodeSignatureStale},
		{"stale: expired", func(t *testing.T, m *message) { m.resign(t, required, params+`;expires=1799999999`) }, ocm.CodeSignatureStale},
		{"future: 31 s ahead", func(t *testing.T, m *message) { m.signAt(t, now+31) }, ocm.CodeSignatureStale},
		{"future: as far as it goes", func(t *testing.T, m *message) {
			m.resign(t, required, `;created=999999999999999;keyid="`+kid+`";tag="ocm"`)
		}, ocm.CodeSignatureStale},

		{"keyid unknown", func(t *testing.T, m *message) {
			m.signer.KID = "sender.example.org#2"
			m.sign(t)
		}, ocm.CodeKeyUnknown},
		{"HS256 key", func(_ *testing.T, m *message) {
			m.keys = []json.RawMessage{json.RawMessage(`{"kty":"oct","alg":"HS256","kid":"` + kid + `","k":"c2VjcmV0"}`)}
		}, ocm.CodeKeyUnacceptable},
		{"none key", func(_ *testing.T, m *message) { m.editKey(`"alg":"Ed25519"`, `"alg":"none"`) }, ocm.CodeKeyUnacceptable},
		{"key without alg", func(_ *testing.T, m *message) { m.editKey(`"alg":"Ed25519",`, "") }, ocm.CodeKeyUnacceptable},
		{"key for encryption", func(_ *testing.T, m *message) { m.editKey(`"use":"sig"`, `"use":"enc"`) }, ocm.CodeKeyUnacceptable},
		{"key whose alg is another kind's", func(_ *testing.T, m *message) { m.editKey(`"alg":"Ed25519"`, `"alg":"ES256"`) }, ocm.CodeKeyUnacceptable},
		{"key of somebody else", func(t *testing.T, m *message) { m.keys = newMessage(t).keys }, ocm.CodeSignatureInvalid},
	}
	for _, name := range required {
		tests = append(tests, test{"missing component " + name, func(t *testing.T, m *message) {
			m.resign(t, without(required, name), params)
		}, ocm.CodeSignatureInvalid})
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			m := newMessage(t)
			c.change(t, m)
			_, err := m.verify(t)
			expect(t, err, c.want)
		})
	}
}

func TestARefusalSaysWhatIsWrong(t *testing.T) {
	m := newMessage(t)
	m.resign(t, without(required, "content-digest"), `;created=1800000000;keyid="`+kid+`";tag="ocm"`)
	if _, err := m.verify(t); err == nil || !strings.Contains(err.Error(), `does not cover "content-digest"`) {
		t.Error(err)
	}
	m.signAt(t, now-7200)
	if _, err := m.verify(t); err == nil || !strings.Contains(err.Error(), "2h0m0s old") {
		t.Error(err)
	}
}

func TestAMessageWithoutASignatureTaggedOCMIsUnsigned(t *testing.T) {
	for _, in := range []string{"", "x", `proxy=("@method");created=1;tag="cdn"`, `plain=("@method");created=1`, `a=("x" "x");tag=ocm`} {
		m := newMessage(t)
		m.Header.Set("Signature-Input", in)
		m.body = []byte("another") // nothing of it is checked
		if info, err := m.verify(t); err != nil || info.Signed {
			t.Errorf("%q: %+v, %v", in, info, err)
		}
	}
	// Older servers sign in another way, without Signature-Input.
	m := newMessage(t)
	m.Header.Del("Signature-Input")
	m.Header.Set("Signature", `keyId="https://old.example.org/ocm#signature",algorithm="rsa-sha512",signature="AAAA"`)
	if info, err := m.verify(t); err != nil || info.Signed {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestASignatureIsFreshFor300SecondsAnd30Ahead(t *testing.T) {
	for _, c := range []struct {
		name     string
		verifier Verifier
		age      time.Duration
		fresh    bool
	}{
		{"made just now", Verifier{}, 0, true},
		{"300 s old", Verifier{}, 300 * time.Second, true},
		{"301 s old", Verifier{}, 301 * time.Second, false},
		{"30 s ahead", Verifier{}, -30 * time.Second, true},
		{"31 s ahead", Verifier{}, -31 * time.Second, false},
		{"the age is configurable", Verifier{MaxAge: time.Hour}, time.Hour, true},
		{"also to less", Verifier{MaxAge: time.Minute}, 61 * time.Second, false},
		{"how far ahead is configurable", Verifier{MaxAhead: time.Minute}, -time.Minute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMessage(t)
				m.signer.Now = nil
				if c.age < 0 {
					ahead := time.Now().Add(-c.age)
					m.signer.Now = func() time.Time { return ahead }
				}
				m.sign(t)
				if c.age > 0 {
					time.Sleep(c.age) // the clock of the bubble
				}
				_, err := c.verifier.Verify(t.Context(), m.Request, m.target, m.body, source(t, m.keys...))
				if c.fresh && err != nil {
					t.Error(err)
				}
				if !c.fresh {
					expect(t, err, ocm.CodeSignatureStale)
				}
			})
		})
	}
}

func TestTheErrorOfAKeySourceIsPassedOn(t *testing.T) {
	m := newMessage(t)
	verify := func(fail error) error {
		_, err := Verifier{Now: at(now)}.Verify(t.Context(), m.Request, m.target, m.body,
			func(context.Context, string) (Key, error) { return Key{}, fail })
		return err
	}
	unreachable := ocm.NewError(http.StatusServiceUnavailable, ocm.CodeKeyUnreachable, "down").RetryIn(time.Second)
	if err := verify(unreachable); err != error(unreachable) {
		t.Errorf("%v, want the very same", err)
	}
	err := verify(context.DeadlineExceeded)
	e, ok := errors.AsType[*ocm.Error](err)
	if !ok || e.Code != ocm.CodeKeyUnreachable || e.Status != http.StatusServiceUnavailable || e.RetryAfter == 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another failure: %v", err)
	}
}

func TestNoKeyIsLookedUpForAMessageThatIsWrongAnyway(t *testing.T) {
	asked := func(context.Context, string) (Key, error) {
		t.Error("asked")
		return Key{}, errors.New("none")
	}
	for name, change := range map[string]func(m *message){
		"stale":        func(m *message) { m.signAt(t, now-900) },
		"digest":       func(m *message) { m.body[0]++ },
		"no such part": func(m *message) { m.resign(t, required[1:], `;created=1800000000;keyid="a";tag="ocm"`) },
	} {
		m := newMessage(t)
		change(m)
		if _, err := (Verifier{Now: at(now)}).Verify(t.Context(), m.Request, m.target, m.body, asked); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Over a real connection: what net/http keeps and drops of the fields must not
// matter.
func TestSignedRequestsVerifyOverHTTP(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer := &Signer{KID: kid, Key: key}
	keys := source(t, signer.JWK())
	var origin string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		info, err := Verifier{}.Verify(r.Context(), r, origin+r.RequestURI, body, keys)
		if err != nil || !info.Signed {
			http.Error(w, fmt.Sprint(info.Signed, err), http.StatusUnauthorized)
		}
	})
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = proto == "HTTP/2.0"
		server.StartTLS()
		defer server.Close()
		origin = server.URL
		for _, c := range []struct {
			name, method, path string
			body               []byte
			chunked            bool
			want               int
		}{
			{"a POST", http.MethodPost, "/ocm/shares", []byte(`{"a":1}`), false, 200},
			{"a POST with a query and escapes", http.MethodPost, "/ocm/a%2Fb//c%20d?x=%2f&y", []byte("x"), false, 200},
			{"a POST of nothing", http.MethodPost, "/ocm/shares", nil, false, 200},
			{"a GET, with the digest of nothing and length 0", http.MethodGet, "/ocm/journal?since=1", nil, false, 200},
			{"a GET of the origin", http.MethodGet, "", nil, false, 200},
			{"a body without a length", http.MethodPost, "/ocm/shares", []byte(`{"a":1}`), true, 401},
		} {
			t.Run(proto+" "+c.name, func(t *testing.T) {
				r, err := http.NewRequestWithContext(t.Context(), c.method, origin+c.path, bytes.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				if err := signer.Sign(r, c.body); err != nil {
					t.Fatal(err)
				}
				if c.chunked {
					r.ContentLength = -1
				}
				answer, err := server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				said, _ := io.ReadAll(answer.Body)
				if answer.StatusCode != c.want || answer.Proto != proto {
					t.Errorf("%s %d, want %d: %s", answer.Proto, answer.StatusCode, c.want, said)
				}
			})
		}
	}
}

// private are the private keys of the algorithms; RSA is slow to make.
func private(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{
		"Ed25519": ed, "EdDSA": ed, "ES256": p256, "ES384": p384, "PS256": rsaKey, "PS384": rsaKey, "PS512": rsaKey,
		"RS256": rsaKey, "RS384": rsaKey, "RS512": rsaKey,
	}
}

// signWith makes a signature as RFC 9421 §3.3 writes it.
func signWith(t testing.TB, key crypto.Signer, alg algorithm, base []byte) []byte {
	t.Helper()
	digest := base
	if alg.hash != 0 {
		h := alg.hash.New()
		h.Write(base)
		digest = h.Sum(nil)
	}
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			t.Fatal(err)
		}
		return rs(k.Curve, r, s)
	}
	var opts crypto.SignerOpts = alg.hash
	if alg.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: alg.hash}
	}
	signature, err := key.Sign(rand.Reader, digest, opts)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func rs(curve elliptic.Curve, r, s *big.Int) []byte {
	n := curve.Params().BitSize / 8
	return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
}

func TestEveryAcceptedAlgorithmVerifies(t *testing.T) {
	keys := private(t)
	base := []byte("what is signed")
	for name, alg := range algorithms {
		t.Run(name, func(t *testing.T) {
			key := Key{KID: kid, Alg: name, Public: keys[name].Public()}
			info := Info{KeyID: kid, signature: signWith(t, keys[name], alg, base)}
			for _, param := range []string{"", alg.name} {
				info.Alg = param
				if _, err := check(key, info, base); err != nil {
					t.Errorf("alg %q: %v", param, err)
				}
			}
			_, err := check(key, info, append(base, 'x'))
			expect(t, err, ocm.CodeSignatureInvalid)
			for _, other := range algorithms {
				if info.Alg = other.name; other.name == alg.name {
					info.Alg = name // a JOSE name is none of the registry
				}
				if info.Alg == "" {
					continue
				}
				_, err := check(key, info, base)
				expect(t, err, ocm.CodeSignatureInvalid)
			}
		})
	}
}

// An eavesdropper can make a second signature of an ECDSA signature: it is still
// a replay.
func TestTheMirrorOfAnECDSASignatureHasTheSameValue(t *testing.T) {
	keys := private(t)
	base := []byte("what is signed")
	for _, name := range []string{"ES256", "ES384"} {
		key := Key{KID: kid, Alg: name, Public: keys[name].Public()}
		curve := keys[name].(*ecdsa.PrivateKey).Curve
		signature := signWith(t, keys[name], algorithms[name], base)
		half := len(signature) / 2
		r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
		mirror := rs(curve, r, s.Sub(curve.Params().N, s))
		one, err := check(key, Info{signature: signature}, base)
		if err != nil {
			t.Fatal(err)
		}
		two, err := check(key, Info{signature: mirror}, base)
		if err != nil {
			t.Fatal(err)
		}
		if one != two || bytes.Equal(signature, mirror) {
			t.Errorf("%s: %s and %s", name, one, two)
		}
	}
}

func TestAKeyThatASourceShouldNotHaveGivenIsRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]Key{
		"weak RSA":       {Alg: "RS256", Public: &weak.PublicKey},
		"no key":         {Alg: "Ed25519"},
		"a symmetric":    {Alg: "HS256", Public: []byte("secret")},
		"a short key":    {Alg: "Ed25519", Public: ed25519.PublicKey("short")},
		"an unknown alg": {Alg: "ES512", Public: &ecdsa.PublicKey{Curve: elliptic.P521()}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMessage(t)
			_, err := Verifier{Now: at(now)}.Verify(t.Context(), m.Request, m.target, m.body,
				func(context.Context, string) (Key, error) { return key, nil })
			expect(t, err, ocm.CodeKeyUnacceptable)
		})
	}
}
