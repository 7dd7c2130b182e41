package httpsig

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net/http"
	"testing"
	"time"

	dadrus "github.com/dadrus/httpsig"
)

// share is a body of the usual size.
var share = bytes.Repeat([]byte("0123456789"), 50)

func benchMessage(b *testing.B) (*message, Key) {
	m := newMessage(b)
	m.body, m.signer.Now = share, nil
	m.sign(b)
	return m, Key{KID: kid, Alg: "Ed25519", Public: m.signer.Key.Public()}
}

func BenchmarkSign(b *testing.B) {
	m, _ := benchMessage(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.signer.Sign(m.Request, m.body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	m, key := benchMessage(b)
	source := func(context.Context, string) (Key, error) { return key, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Verifier{}).Verify(b.Context(), m.Request, m.target, m.body, source); err != nil {
			b.Fatal(err)
		}
	}
}

// The floor under BenchmarkVerify.
func BenchmarkEd25519(b *testing.B) {
	m, key := benchMessage(b)
	info, err := Inspect(m.Header)
	if err != nil {
		b.Fatal(err)
	}
	base, err := signatureBase(m.Request, m.target, len(m.body), info.components, info.params)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ed25519.Verify(key.Public.(ed25519.PublicKey), base, info.signature) {
			b.Fatal("does not verify")
		}
	}
}

// The same message verified by the general library.
func BenchmarkVerifyByLibrary(b *testing.B) {
	m, key := benchMessage(b)
	verifier, err := dadrus.NewVerifier(dadrus.Key{KeyID: kid, Key: key.Public, Algorithm: dadrus.Ed25519},
		dadrus.WithRequiredTag(Tag, dadrus.WithRequiredComponents(required...), dadrus.WithMaxAge(time.Hour),
			dadrus.WithValidityTolerance(time.Minute), dadrus.WithExpiredTimestampRequired(false)))
	if err != nil {
		b.Fatal(err)
	}
	r := &http.Request{Method: m.Method, URL: m.URL, Host: m.Host, Header: m.Header}
	b.ReportAllocs()
	for b.Loop() {
		r.Body = readCloser{bytes.NewReader(m.body)}
		if err := verifier.Verify(dadrus.MessageFromRequest(r)); err != nil {
			b.Fatal(err)
		}
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
