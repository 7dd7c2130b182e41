package httpsig

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

const legacyTarget = "https://here.example/ocm/shares"

func legacyRequest(t testing.TB, key *rsa.PrivateKey, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", legacyTarget, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := (&LegacySigner{KeyID: "https://nc.example/ocm#signature", Key: key}).Sign(r, []byte(body)); err != nil {
		t.Fatal(err)
	}
	return r
}

func legacyKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestALegacySignatureIsVerified(t *testing.T) {
	key, other := legacyKey(t, 2048), legacyKey(t, 2048)
	const body = `{"a":1}`
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	edit := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Signature", strings.Replace(r.Header.Get("Signature"), from, to, 1))
		}
	}
	for what, c := range map[string]struct {
		change func(*http.Request)
		target string
		body   string
		code   ocm.Code
	}{
		"as it was signed":            {nil, legacyTarget, body, ""},
		"with blanks and a number":    {edit(`",algorithm`, `", created=12, algorithm`), legacyTarget, body, ""},
		"another body":                {nil, legacyTarget, `{"a":2}`, ocm.CodeDigestMismatch},
		"another length":              {set("Content-Length", "99"), legacyTarget, body, ocm.CodeDigestMismatch},
		"no digest":                   {set("Digest", "MD5=abc"), legacyTarget, body, ocm.CodeDigestMismatch},
		"another path":                {nil, "https://here.example/ocm/token", body, ocm.CodeSignatureInvalid},
		"another host":                {nil, "https://there.example/ocm/shares", body, ocm.CodeSignatureInvalid},
		"another date":                {set("Date", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat)), legacyTarget, body, ocm.CodeSignatureInvalid},
		"an old date":                 {set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)), legacyTarget, body, ocm.CodeSignatureStale},
		"a date to come":              {set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), legacyTarget, body, ocm.CodeSignatureStale},
		"no date":                     {func(r *http.Request) { r.Header.Del("Date") }, legacyTarget, body, ocm.CodeSignatureInvalid},
		"the date alone is covered":   {edit(`headers="(request-target) content-length date digest host"`, `headers="date"`), legacyTarget, body, ocm.CodeSignatureInvalid},
		"no headers are covered":      {edit(`headers="(request-target) content-length date digest host",`, ``), legacyTarget, body, ocm.CodeSignatureInvalid},
		"another algorithm":           {edit("rsa-sha512", "rsa-sha256"), legacyTarget, body, ocm.CodeSignatureInvalid},
		"a weak algorithm":            {edit("rsa-sha512", "rsa-sha1"), legacyTarget, body, ocm.CodeKeyUnacceptable},
		"an algorithm of another key": {edit("rsa-sha512", "ed25519"), legacyTarget, body, ocm.CodeKeyUnacceptable},
		"hmac":                        {edit("rsa-sha512", "hmac-sha256"), legacyTarget, body, ocm.CodeKeyUnacceptable},
		"two keyIds":                  {edit(`keyId=`, `keyId="x",keyId=`), legacyTarget, body, ocm.CodeSignatureInvalid},
		"no header of that kind":      {set("Signature", "sig1=:AAAA:"), legacyTarget, body, ocm.CodeSignatureInvalid},
	} {
		r := legacyRequest(t, key, body)
		if c.change != nil {
			c.change(r)
		}
		_, err := Legacy{}.Verify(r, c.target, []byte(c.body), &key.PublicKey)
		if e, ok := errors.AsType[*ocm.Error](err); c.code == "" && err != nil || c.code != "" && (!ok || e.Code != c.code || e.Status != 401) {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
	if _, err := (Legacy{}).Verify(legacyRequest(t, key, body), legacyTarget, []byte(body), &other.PublicKey); err == nil {
		t.Error("another key verifies")
	}
	if !HasLegacy(legacyRequest(t, key, body)) || LegacyKeyID(legacyRequest(t, key, body)) != "https://nc.example/ocm#signature" {
		t.Error("the signature is not found")
	}
	both := legacyRequest(t, key, body)
	both.Header.Set("Signature-Input", `sig1=()`)
	if HasLegacy(both) {
		t.Error("a request with Signature-Input is read the old way")
	}
	text := (&LegacySigner{Key: key}).PEM()
	if got, err := ReadLegacyKey(text); err != nil || !key.PublicKey.Equal(got) {
		t.Errorf("the published key: %v", err)
	}
	if _, err := ReadLegacyKey((&LegacySigner{Key: legacyKey(t, 1024)}).PEM()); err == nil {
		t.Error("a short key is taken")
	}
}

func FuzzLegacySignature(f *testing.F) {
	key := legacyKey(f, 2048)
	f.Add(legacyRequest(f, key, "x").Header.Get("Signature"))
	f.Add(`keyId="a",created=1,headers="",signature="AA=="`)
	f.Fuzz(func(t *testing.T, header string) {
		r := legacyRequest(t, key, "x")
		good := r.Header.Get("Signature")
		r.Header.Set("Signature", header)
		_, err := Legacy{}.Verify(r, legacyTarget, []byte("x"), &key.PublicKey)
		if err == nil && !strings.Contains(header, good[strings.Index(good, "signature="):len(good)-4]) {
			t.Errorf("a forged header verifies: %q", header)
		}
		if err != nil {
			if _, ok := errors.AsType[*ocm.Error](err); !ok {
				t.Errorf("an error without a code: %v", err)
			}
		}
	})
}
