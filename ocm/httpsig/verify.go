package httpsig

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// KeySource finds the public key that a keyid names, among the keys of the host
// that the message speaks for. A failure that is an *ocm.Error is what the peer
// is answered.
type KeySource func(ctx context.Context, kid string) (Key, error)

// Verifier verifies requests. Its zero value takes signatures up to 300 s old
// and 30 s ahead. It is safe for concurrent use.
type Verifier struct {
	MaxAge   time.Duration    // of created; 0: 300 s
	MaxAhead time.Duration    // of created, for clocks that run fast; 0: 30 s
	Now      func() time.Time // nil: time.Now
}

// errSource answers a KeySource that failed without saying how.
var errSource = ocm.NewError(http.StatusServiceUnavailable, ocm.CodeKeyUnreachable,
	"the signer's key cannot be looked up just now").RetryIn(time.Minute)

// Verify verifies the signature tagged ocm of a request that was sent to
// targetURI with body, which the caller has read and bounded. targetURI is what
// the client sent: the configured origin, its host in lower case, and the
// request URI. Info.Signed is false, without an error, for a request that has no
// such signature.
//
// Errors are those of keys, and *ocm.Error with status 401: SIGNATURE_INVALID,
// SIGNATURE_STALE, SIGNATURE_AMBIGUOUS, DIGEST_MISMATCH, KEY_UNACCEPTABLE. keys
// is asked only once everything but the signature itself is right.
func (v Verifier) Verify(ctx context.Context, r *http.Request, targetURI string, body []byte, keys KeySource) (Info, error) {
	info, err := Inspect(r.Header)
	if err != nil || !info.Signed {
		return info, err
	}
	if err := v.profile(info); err != nil {
		return info, err
	}
	if err := checkLength(r, body); err != nil {
		return info, err
	}
	if err := checkDigest(r.Header, body); err != nil {
		return info, err
	}
	base, err := signatureBase(r, targetURI, len(body), info.components, info.params)
	if err != nil {
		return info, err
	}
	key, err := keys(ctx, info.KeyID)
	if err != nil {
		if _, ok := errors.AsType[*ocm.Error](err); !ok {
			err = errSource.With(err)
		}
		return info, err
	}
	info.Value, err = check(key, info, base)
	return info, err
}

// profile checks that a signature covers and says what OCM demands, and its age
// (OCM 1.5, HTTP Message Signatures).
func (v Verifier) profile(info Info) error {
	for _, name := range required {
		if !slices.Contains(info.components, name) {
			return refuse(ocm.CodeSignatureInvalid, "the signature does not cover %q", name)
		}
	}
	if info.KeyID == "" {
		return refuse(ocm.CodeSignatureInvalid, "the signature lacks the parameter keyid")
	}
	if info.Created.IsZero() {
		return refuse(ocm.CodeSignatureInvalid, "the signature lacks the parameter created")
	}
	now := time.Now()
	if v.Now != nil {
		now = v.Now()
	}
	maxAge, maxAhead := v.MaxAge, v.MaxAhead
	if maxAge <= 0 {
		maxAge = 300 * time.Second
	}
	if maxAhead <= 0 {
		maxAhead = 30 * time.Second
	}
	switch age := now.Sub(info.Created); {
	case age > maxAge:
		return refuse(ocm.CodeSignatureStale, "the signature is %s old; is the signer's clock right?", age.Round(time.Second))
	case age < -maxAhead:
		return refuse(ocm.CodeSignatureStale, "the signature is %s ahead of our time; is the signer's clock right?", (-age).Round(time.Second))
	case !info.expires.IsZero() && now.After(info.expires):
		return refuse(ocm.CodeSignatureStale, "the signature has expired %s ago", now.Sub(info.expires).Round(time.Second))
	}
	return nil
}

// check verifies a signature with the algorithm of the key (RFC 9421 §3.3) and
// gives the value to know a replay by.
func check(key Key, info Info, base []byte) (string, error) {
	if err := fits(key); err != nil {
		return info.Value, refuse(ocm.CodeKeyUnacceptable, "the key %.200q cannot be used: %v", info.KeyID, err)
	}
	alg := algorithms[key.Alg]
	if info.Alg != "" && info.Alg != alg.name {
		return info.Value, refuse(ocm.CodeSignatureInvalid, "the signature says alg %.40q, but the key %.200q is for %s", info.Alg, info.KeyID, key.Alg)
	}
	var digest []byte
	if alg.hash != 0 {
		h := alg.hash.New()
		h.Write(base)
		digest = h.Sum(nil)
	}
	value, valid := info.Value, false
	switch public := key.Public.(type) {
	case ed25519.PublicKey:
		valid = ed25519.Verify(public, base, info.signature)
	case *ecdsa.PublicKey:
		value, valid = checkECDSA(public, digest, info.signature)
	case *rsa.PublicKey:
		if alg.pss {
			valid = rsa.VerifyPSS(public, alg.hash, digest, info.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		} else {
			valid = rsa.VerifyPKCS1v15(public, alg.hash, digest, info.signature) == nil
		}
	}
	if !valid {
		return info.Value, refuse(ocm.CodeSignatureInvalid,
			"the signature does not verify with the key %.200q: was the message changed on its way, or sent to another URI?", info.KeyID)
	}
	return value, nil
}

// checkECDSA verifies r and s, one after the other in the size of the curve (RFC
// 9421 §3.3.4). Whoever has seen (r, s) can write (r, n-s), which verifies too:
// the value names the smaller of the two.
func checkECDSA(public *ecdsa.PublicKey, digest, signature []byte) (value string, valid bool) {
	order := public.Curve.Params().N
	size := (order.BitLen() + 7) / 8
	if len(signature) != 2*size {
		return "", false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	if !ecdsa.Verify(public, digest, r, s) {
		return "", false
	}
	if mirrored := new(big.Int).Sub(order, s); mirrored.Cmp(s) < 0 {
		s = mirrored
	}
	return base64.StdEncoding.EncodeToString(append(slices.Clone(signature[:size]), s.FillBytes(make([]byte, size))...)), true
}
