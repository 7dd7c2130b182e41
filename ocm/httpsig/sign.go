package httpsig

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// Signer signs requests with an Ed25519 key. It is safe for concurrent use.
type Signer struct {
	KID string           // equal to the kid of the published JWK: "cloud.example.org#2026-11"
	Key crypto.Signer    // its public key is an ed25519.PublicKey
	Now func() time.Time // nil: time.Now

	// Nonce makes the value of the parameter nonce, of printable ASCII: with it
	// two requests that are the same otherwise, within one second, do not look
	// like one replayed. nil: there is none.
	Nonce func() string
}

// JWK is the public key as it is to be published (RFC 8037 §2, RFC 9864). It
// panics if the key is not an Ed25519 key.
func (s *Signer) JWK() json.RawMessage {
	x := base64.RawURLEncoding.EncodeToString(s.Key.Public().(ed25519.PublicKey))
	b, err := json.Marshal(struct {
		KTY string `json:"kty"`
		CRV string `json:"crv"`
		Alg string `json:"alg"`
		Use string `json:"use"`
		KID string `json:"kid"`
		X   string `json:"x"`
	}{"OKP", "Ed25519", "Ed25519", "sig", s.KID, x})
	if err != nil {
		panic(err) // cannot be: strings alone
	}
	return b
}

// Sign adds Content-Digest, Content-Length, Signature-Input and Signature to a
// request whose body is body (nil for none), in place of any that it has. What
// is signed must not change afterwards: the method, the URL, the body.
func (s *Signer) Sign(r *http.Request, body []byte) error {
	if _, ok := s.Key.Public().(ed25519.PublicKey); !ok {
		return fmt.Errorf("cannot sign with a key of type %T: an Ed25519 key is needed", s.Key.Public())
	}
	u := *r.URL
	if r.Host != "" {
		u.Host = r.Host // what the client sends, whatever it connects to
	}
	if u.Scheme == "" || u.Host == "" || u.Opaque != "" {
		return errors.New("cannot sign a request whose URL is not absolute")
	}
	kid, err := httpsfv.Marshal(httpsfv.NewItem(s.KID))
	if err != nil {
		return fmt.Errorf("the key id %q cannot stand in a signature: %w", s.KID, err)
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	sum := sha256.Sum256(body)
	r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	// The client writes the length from ContentLength; the header is for those
	// who read what was signed.
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	params := `("@method" "@target-uri" "content-digest" "content-length");created=` + strconv.FormatInt(now().Unix(), 10) +
		`;keyid=` + kid + `;alg="ed25519"`
	if s.Nonce != nil {
		nonce, err := httpsfv.Marshal(httpsfv.NewItem(s.Nonce()))
		if err != nil {
			return fmt.Errorf("the nonce cannot stand in a signature: %w", err)
		}
		params += ";nonce=" + nonce
	}
	params += `;tag="` + Tag + `"`
	base, err := signatureBase(r, TargetURI(&u), len(body), required, params)
	if err != nil {
		return err
	}
	signature, err := s.Key.Sign(rand.Reader, base, crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	r.Header.Set("Signature-Input", Tag+"="+params)
	r.Header.Set("Signature", Tag+"=:"+base64.StdEncoding.EncodeToString(signature)+":")
	return nil
}

// TargetURI is the @target-uri of an absolute URL: the host in lower case, "/"
// for an empty path, no user and no fragment (RFC 9421 §2.2.2).
func TargetURI(u *url.URL) string {
	return u.Scheme + "://" + strings.ToLower(u.Host) + u.RequestURI()
}
