package httpsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-jose/go-jose/v4"

	"github.com/weft-mesh/weft/ocm"
)

// Bounds of a JWK Set.
const (
	MaxJWKS = 64 << 10 // bytes
	maxKeys = 100
)

// Key is a public key of a peer, fit for verifying signatures.
type Key struct {
	KID    string
	Alg    string // the JWK's alg: "Ed25519", "ES256" …
	Public crypto.PublicKey
}

// Thumbprint is the key's JWK thumbprint with SHA-256 in base64url (RFC 7638).
func (k Key) Thumbprint() string {
	j := jose.JSONWebKey{Key: k.Public}
	sum, err := j.Thumbprint(crypto.SHA256)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// KeySet is a peer's JWK Set. A key that cannot be used is kept with the reason:
// one of an unknown kind does not spoil the others.
type KeySet struct {
	keys  []Key
	unfit map[string]string // by kid
}

// ReadJWKS reads a JWK Set (RFC 7517 §5) of at most MaxJWKS bytes and 100 keys,
// key by key. Only the public members of a key are looked at.
func ReadJWKS(b []byte) (KeySet, error) {
	if len(b) > MaxJWKS {
		return KeySet{}, fmt.Errorf("the JWK Set is larger than %d bytes", MaxJWKS)
	}
	if err := ocm.CheckJSON(b, ocm.MaxDepth); err != nil {
		return KeySet{}, fmt.Errorf("not a JWK Set: %w", err)
	}
	// Maps, because structs would take "KEYS" for "keys".
	var set map[string]json.RawMessage
	if err := json.Unmarshal(b, &set); err != nil {
		return KeySet{}, fmt.Errorf("not a JWK Set: %w", err)
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(set["keys"], &raws); err != nil || raws == nil {
		return KeySet{}, errors.New("not a JWK Set: it has no list of keys")
	}
	if len(raws) > maxKeys {
		return KeySet{}, fmt.Errorf("the JWK Set has more than %d keys", maxKeys)
	}
	out := KeySet{unfit: map[string]string{}}
	for _, raw := range raws {
		if key, err := readKey(raw); err != nil {
			out.unfit[key.KID] = err.Error()
		} else {
			out.keys = append(out.keys, key)
		}
	}
	return out, nil
}

// Keys are the usable keys, in the order of the set.
func (s KeySet) Keys() []Key { return s.keys }

// Unfit are the reasons why other keys cannot be used, by kid: "" for one that
// has none.
func (s KeySet) Unfit() map[string]string { return s.unfit }

// Find finds a key by the keyid of a signature. KEY_UNKNOWN when the set has
// none, KEY_UNACCEPTABLE when it may not be used; both 401.
func (s KeySet) Find(kid string) (Key, error) {
	for _, k := range s.keys {
		if k.KID == kid {
			return k, nil
		}
	}
	if why, ok := s.unfit[kid]; ok {
		return Key{}, refuse(ocm.CodeKeyUnacceptable, "the key %.200q cannot be used: %s", kid, why)
	}
	return Key{}, refuse(ocm.CodeKeyUnknown, "the signer publishes no key %.200q", kid)
}

// public are the members of a JWK that make up a public key (RFC 7518 §6, RFC
// 8037 §2). A private part that should never have been published is left behind.
var public = []string{"kty", "crv", "x", "y", "n", "e"}

// readKey reads a JWK (RFC 7517 §4). With an error the key still has its KID, if
// the JWK has one.
// maxKID bounds, in bytes, the name of a key.
const maxKID = 512

func readKey(raw json.RawMessage) (Key, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return Key{}, errors.New("it is not a JSON object")
	}
	var key Key
	if json.Unmarshal(members["kid"], &key.KID) != nil || key.KID == "" {
		return key, errors.New("it has no kid")
	}
	if len(key.KID) > maxKID || strings.ContainsFunc(key.KID, func(c rune) bool { return !unicode.IsPrint(c) }) {
		key.KID = ""
		return key, errors.New("its kid is too long or cannot be shown")
	}
	if json.Unmarshal(members["alg"], &key.Alg) != nil || key.Alg == "" {
		return key, errors.New("it has no alg")
	}
	if use, ok := members["use"]; ok && !bytes.Equal(use, []byte(`"sig"`)) {
		return key, errors.New("its use is not sig")
	}
	if _, ok := algorithms[key.Alg]; !ok {
		return key, fmt.Errorf("its alg %.40q is not accepted", key.Alg)
	}
	material := map[string]json.RawMessage{}
	for _, name := range public {
		if m, ok := members[name]; ok {
			material[name] = m
		}
	}
	plain, err := json.Marshal(material)
	if err != nil {
		return key, err
	}
	var j jose.JSONWebKey
	if err := j.UnmarshalJSON(plain); err != nil {
		return key, errors.New("it cannot be read as a public key")
	}
	key.Public = j.Key
	return key, fits(key)
}

// algorithm is how a JOSE algorithm signs.
type algorithm struct {
	hash crypto.Hash // of the signature base; 0: the base itself is signed
	pss  bool
	name string // in the registry of RFC 9421 §6.2; "" if it has none
}

// algorithms are the JOSE algorithms that are accepted. none and the symmetric
// ones are not among them (OCM 1.5, HTTP Message Signatures).
var algorithms = map[string]algorithm{
	"Ed25519": {name: "ed25519"},
	"EdDSA":   {name: "ed25519"},
	"ES256":   {hash: crypto.SHA256, name: "ecdsa-p256-sha256"},
	"ES384":   {hash: crypto.SHA384, name: "ecdsa-p384-sha384"},
	"PS256":   {hash: crypto.SHA256, pss: true},
	"PS384":   {hash: crypto.SHA384, pss: true},
	"PS512":   {hash: crypto.SHA512, pss: true, name: "rsa-pss-sha512"},
	"RS256":   {hash: crypto.SHA256, name: "rsa-v1_5-sha256"},
	"RS384":   {hash: crypto.SHA384},
	"RS512":   {hash: crypto.SHA512},
}

// fits reports whether a key is of the kind and strength that its alg demands.
func fits(k Key) error {
	switch p := k.Public.(type) {
	case ed25519.PublicKey:
		if (k.Alg == "Ed25519" || k.Alg == "EdDSA") && len(p) == ed25519.PublicKeySize {
			return nil
		}
	case *ecdsa.PublicKey:
		if k.Alg == "ES256" && p.Curve == elliptic.P256() || k.Alg == "ES384" && p.Curve == elliptic.P384() {
			return nil
		}
	case *rsa.PublicKey:
		switch k.Alg {
		case "PS256", "PS384", "PS512", "RS256", "RS384", "RS512":
			if bits := p.N.BitLen(); bits < 2048 || bits > 8192 {
				return fmt.Errorf("RSA keys have 2048 to 8192 bits, this one has %d", bits)
			}
			if p.N.Bit(0) == 0 || p.E < 3 || p.E%2 == 0 {
				return errors.New("its RSA modulus or exponent is not odd")
			}
			return nil
		}
	}
	return errors.New("its kind does not fit its alg")
}
