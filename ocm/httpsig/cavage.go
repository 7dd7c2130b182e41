package httpsig

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// Legacy signs and verifies by draft-cavage-http-signatures, the way Nextcloud 31
// to 34 do: a Signature header with keyId, algorithm, headers and signature, and
// a Digest of the body. A request with Signature-Input is never read so.
type Legacy struct {
	MaxAge   time.Duration // of the Date; 0: 5 min
	MaxAhead time.Duration // of their clock; 0: 5 min
	Now      func() time.Time
}

// covered are the parts a legacy signature must cover: without them it could be
// moved to another message.
var covered = []string{"(request-target)", "host", "date", "digest"}

// HasLegacy reports whether a request carries a legacy signature, and no other.
func HasLegacy(r *http.Request) bool {
	return r.Header.Get("Signature") != "" && r.Header.Get("Signature-Input") == ""
}

// LegacyKeyID is the keyId of a request's legacy signature, "" when it cannot be
// read.
func LegacyKeyID(r *http.Request) string {
	s, err := readLegacy(r.Header.Values("Signature"))
	if err != nil {
		return ""
	}
	return s.keyID
}

type legacySignature struct {
	keyID, algorithm string
	headers          []string
	signature        []byte
}

var errLegacy = ocm.NewError(http.StatusUnauthorized, ocm.CodeSignatureInvalid, "the Signature header cannot be read")

// readLegacy reads the Signature header: name="value" pairs with commas between.
func readLegacy(values []string) (*legacySignature, error) {
	if len(values) != 1 || len(values[0]) > 8192 {
		return nil, errLegacy
	}
	params := map[string]string{}
	rest := strings.TrimSpace(values[0])
	for rest != "" {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, errLegacy
		}
		name = strings.TrimSpace(name)
		value := ""
		if strings.HasPrefix(after, `"`) {
			if value, after, ok = strings.Cut(after[1:], `"`); !ok {
				return nil, errLegacy
			}
		} else { // created and expires are numbers; we use neither
			value, after, _ = strings.Cut(after, ",")
			after = "," + after
		}
		if _, twice := params[name]; twice {
			return nil, errLegacy.Saying("the Signature header names %s twice", name)
		}
		params[name] = value
		rest = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(after), ","))
	}
	sig, err := base64.StdEncoding.DecodeString(params["signature"])
	if err != nil || len(sig) == 0 || params["keyId"] == "" {
		return nil, errLegacy.With(err)
	}
	return &legacySignature{params["keyId"], params["algorithm"], strings.Fields(strings.ToLower(params["headers"])), sig}, nil
}

// Verify checks a legacy signature with the signer's key. target is the URL the
// signer sent to, from our configuration. It covers at least (request-target),
// host, date and digest; every digest given is the body's. The Info's Value is that
// of the signature itself, however the header around it is written.
func (l Legacy) Verify(r *http.Request, target string, body []byte, key crypto.PublicKey) (Info, error) {
	s, err := readLegacy(r.Header.Values("Signature"))
	if err != nil {
		return Info{}, err
	}
	info := Info{Signed: true, KeyID: s.keyID, Alg: s.algorithm, Value: base64.StdEncoding.EncodeToString(s.signature)}
	return info, l.check(r, s, target, body, key)
}

func (l Legacy) check(r *http.Request, s *legacySignature, target string, body []byte, key crypto.PublicKey) error {
	for _, name := range covered {
		if !slices.Contains(s.headers, name) {
			return errLegacy.Saying("the signature does not cover %s", name)
		}
	}
	if err := l.timely(r.Header.Get("Date")); err != nil {
		return err
	}
	if err := checkLegacyDigest(r.Header.Values("Digest"), body); err != nil {
		return err
	}
	if n := r.Header.Get("Content-Length"); n != "" && n != strconv.Itoa(len(body)) {
		return ocm.NewError(http.StatusUnauthorized, ocm.CodeDigestMismatch, "Content-Length is not that of the body")
	}
	base, err := legacyBase(r, target, len(body), s.headers)
	if err != nil {
		return err
	}
	return checkLegacy(key, s.algorithm, base, s.signature)
}

func (l Legacy) timely(date string) error {
	at, err := http.ParseTime(date)
	if err != nil {
		return errLegacy.Saying("the Date header is missing or cannot be read")
	}
	now := time.Now
	if l.Now != nil {
		now = l.Now
	}
	age := now().Sub(at)
	if age > orDefault(l.MaxAge) || -age > orDefault(l.MaxAhead) {
		return ocm.NewError(http.StatusUnauthorized, ocm.CodeSignatureStale, fmt.Sprintf("the signature's Date is %s off our clock", age.Round(time.Second)))
	}
	return nil
}

func orDefault(d time.Duration) time.Duration {
	if d <= 0 {
		return 5 * time.Minute
	}
	return d
}

func checkLegacyDigest(values []string, body []byte) error {
	mismatch := ocm.NewError(http.StatusUnauthorized, ocm.CodeDigestMismatch, "the Digest is not that of the body")
	known := 0
	for _, v := range strings.Split(strings.Join(values, ","), ",") {
		name, b64, _ := strings.Cut(strings.TrimSpace(v), "=")
		var sum []byte
		switch strings.ToUpper(name) {
		case "SHA-256":
			s := sha256.Sum256(body)
			sum = s[:]
		case "SHA-512":
			s := sha512.Sum512(body)
			sum = s[:]
		default:
			continue
		}
		known++
		if b64 != base64.StdEncoding.EncodeToString(sum) {
			return mismatch
		}
	}
	if known == 0 {
		return mismatch.Saying("there is no Digest by SHA-256 or SHA-512")
	}
	return nil
}

// legacyBase is the text that is signed.
func legacyBase(r *http.Request, target string, length int, headers []string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("the target is not a URL: %w", err)
	}
	var lines []string
	for _, name := range headers {
		var value string
		switch name {
		case "(request-target)":
			value = strings.ToLower(r.Method) + " " + u.RequestURI()
		case "host":
			value = u.Host
		case "content-length":
			value = strconv.Itoa(length)
		default:
			if strings.HasPrefix(name, "(") {
				return "", errLegacy.Saying("the signature covers %.40s, which is not supported", name)
			}
			value = strings.Join(r.Header.Values(name), ", ")
		}
		lines = append(lines, name+": "+strings.TrimSpace(value))
	}
	return strings.Join(lines, "\n"), nil
}

func checkLegacy(key crypto.PublicKey, algorithm, base string, sig []byte) error {
	invalid := ocm.NewError(http.StatusUnauthorized, ocm.CodeSignatureInvalid, "the signature does not verify")
	unfit := ocm.NewError(http.StatusUnauthorized, ocm.CodeKeyUnacceptable, fmt.Sprintf("the algorithm %.40q does not fit the signer's key", algorithm))
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.Size() < 256 {
			return unfit.Saying("the signer's RSA key is too short")
		}
		hash, sum := crypto.SHA512, sha512.New()
		switch algorithm {
		case "rsa-sha256":
			hash, sum = crypto.SHA256, sha256.New()
		case "rsa-sha512", "hs2019":
		default:
			return unfit
		}
		sum.Write([]byte(base))
		if rsa.VerifyPKCS1v15(k, hash, sum.Sum(nil), sig) != nil {
			return invalid
		}
		return nil
	case ed25519.PublicKey:
		if algorithm != "ed25519" && algorithm != "hs2019" {
			return unfit
		}
		if !ed25519.Verify(k, []byte(base), sig) {
			return invalid
		}
		return nil
	}
	return unfit
}

// ReadLegacyKey reads the publicKeyPem of a discovery document: RSA of at least
// 2048 bits, or Ed25519.
func ReadLegacyKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the key cannot be read")
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.Size() < 256 {
			return nil, fmt.Errorf("the RSA key has %d bits; at least 2048 are needed", k.N.BitLen())
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("a key of the type %T is of no use here", key)
	}
	return key, nil
}

// LegacySigner signs for servers that verify by draft-cavage alone.
type LegacySigner struct {
	KeyID string // a URL on our host, as published
	Key   *rsa.PrivateKey
	Now   func() time.Time // nil: time.Now
}

// PEM is the public key for the discovery document.
func (s *LegacySigner) PEM() string {
	b, err := x509.MarshalPKIXPublicKey(&s.Key.PublicKey)
	if err != nil {
		return "" // an RSA key always can be written
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}))
}

// Sign signs r, whose body is body, by rsa-sha512.
func (s *LegacySigner) Sign(r *http.Request, body []byte) error {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	sum := sha512.Sum512(body)
	r.Header.Set("Date", now().UTC().Format(http.TimeFormat))
	r.Header.Set("Digest", "SHA-512="+base64.StdEncoding.EncodeToString(sum[:]))
	headers := []string{"(request-target)", "content-length", "date", "digest", "host"}
	base, err := legacyBase(r, r.URL.String(), len(body), headers)
	if err != nil {
		return err
	}
	hashed := sha512.Sum512([]byte(base))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.Key, crypto.SHA512, hashed[:])
	if err != nil {
		return err
	}
	// No blanks behind the commas, and every value quoted: their readers are simple.
	r.Header.Set("Signature", fmt.Sprintf(`keyId="%s",algorithm="rsa-sha512",headers="%s",signature="%s"`,
		s.KeyID, strings.Join(headers, " "), base64.StdEncoding.EncodeToString(sig)))
	return nil
}
