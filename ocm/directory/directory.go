// Package directory signs and verifies what a Directory Service publishes: a
// JWS in JSON serialisation (RFC 7515 §7.2) whose payload is an ocm.Directory
// (OCM 1.5, Appendix Directory Service). The key to verify it with comes from
// the federation by another way and is never taken from the document.
package directory

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	"github.com/weft-mesh/weft/ocm"
)

// MaxDocument bounds, in bytes, a signed list.
const MaxDocument = ocm.MaxBody * 3 / 2

// Algorithms that sign lists.
var algorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256}

// Codes of what goes wrong; a payload that is not valid has
// ocm.CodeDirectoryInvalid.
const (
	CodeUnsigned ocm.Code = "DIRECTORY_NOT_SIGNED"    // no JWS that can be read
	CodeWrongKey ocm.Code = "DIRECTORY_SIGNED_BY_KEY" // by another key than the given one
	CodeKey      ocm.Code = "DIRECTORY_KEY_INVALID"   // the given key cannot be used
)

// Verify checks the signature of a list with key and reads it. plain allows
// entries with http, for tests. Failures are *ocm.Error.
func Verify(document []byte, key crypto.PublicKey, plain bool) (*ocm.Directory, error) {
	if len(document) > MaxDocument {
		return nil, tooLarge()
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	jws, err := parse(document)
	if err != nil {
		return nil, err
	}
	_, _, payload, err := jws.VerifyMulti(key)
	if err != nil {
		return nil, ocm.NewError(http.StatusBadRequest, CodeWrongKey, "the directory is not signed with the key that was given for it").With(err)
	}
	return ocm.ReadDirectory(payload, plain)
}

func tooLarge() error {
	return ocm.NewError(http.StatusBadRequest, ocm.CodeDirectoryInvalid, fmt.Sprintf("the directory is larger than %d bytes", MaxDocument))
}

func parse(document []byte) (*jose.JSONWebSignature, error) {
	jws, err := jose.ParseSignedJSON(string(document), algorithms)
	if err != nil {
		return nil, ocm.NewError(http.StatusBadRequest, CodeUnsigned,
			"the document is not a JWS in JSON serialisation signed with EdDSA, ES256 or RS256").With(err)
	}
	return jws, nil
}

// Peek reads a signed list without a key to tell who signed it: for whoever
// publishes it, never for whoever relies on it.
func Peek(document []byte, plain bool) (*ocm.Directory, error) {
	if len(document) > MaxDocument {
		return nil, tooLarge()
	}
	jws, err := parse(document)
	if err != nil {
		return nil, err
	}
	return ocm.ReadDirectory(jws.UnsafePayloadWithoutVerification(), plain)
}

// Sign makes the document of a list.
func Sign(d *ocm.Directory, key crypto.Signer) ([]byte, error) {
	if err := checkKey(key.Public()); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithmOf(key.Public()), Key: key}, nil)
	if err != nil {
		return nil, fmt.Errorf("sign the directory: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("sign the directory: %w", err)
	}
	return []byte(jws.FullSerialize()), nil
}

func algorithmOf(key crypto.PublicKey) jose.SignatureAlgorithm {
	switch key.(type) {
	case ed25519.PublicKey:
		return jose.EdDSA
	case *ecdsa.PublicKey:
		return jose.ES256
	}
	return jose.RS256
}

func badKey(format string, args ...any) error {
	return ocm.NewError(http.StatusBadRequest, CodeKey, fmt.Sprintf(format, args...))
}

func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
		return badKey("a key on the curve %s is of no use here: ES256 needs P-256", k.Params().Name)
	case *rsa.PublicKey:
		if k.Size() >= 256 {
			return nil
		}
		return badKey("an RSA key of %d bits is too short: at least 2048", k.N.BitLen())
	}
	return badKey("a key of the type %T is of no use here: Ed25519, P-256 and RSA are", key)
}

// ReadPublicKey reads a verification key as federations hand them out: PEM
// (a public key or a certificate) or a JWK.
func ReadPublicKey(b []byte) (crypto.PublicKey, error) {
	key, err := readPublicKey(b)
	if err != nil {
		return nil, err
	}
	return key, checkKey(key)
}

func readPublicKey(b []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		var jwk jose.JSONWebKey
		if err := json.Unmarshal(b, &jwk); err != nil || !jwk.Valid() {
			return nil, badKey("the key is neither PEM nor a JWK")
		}
		return jwk.Public().Key, nil
	}
	switch block.Type {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, badKey("the certificate cannot be read")
		}
		return cert.PublicKey, nil
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, badKey("the public key cannot be read")
		}
		return key, nil
	}
	return nil, badKey("the PEM file holds %q, not a public key", block.Type)
}

// ReadPrivateKey reads a key to sign with: PEM in PKCS #8, or as OpenSSL writes
// EC and RSA keys.
func ReadPrivateKey(b []byte) (crypto.Signer, error) {
	// OpenSSL writes the parameters of an EC key in a block before it.
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, badKey("the private key cannot be read")
		}
		return signer, checkKey(signer.Public())
	}
	return nil, badKey("the file holds no private key in PEM")
}
