// Package httpsig is HTTP Message Signatures (RFC 9421) in the one profile of
// Open Cloud Mesh 1.5: a signature tagged "ocm" that covers the method, the
// target URI, the digest and the length of the body, made with a key whose JWK
// says the algorithm.
//
// A Signer signs requests, a Verifier verifies them with keys that a KeySource
// finds, and ReadJWKS reads the key sets that peers publish. Which keys a host
// may sign with, and whether an unsigned message is welcome, is the caller's to
// decide.
package httpsig

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/weft-mesh/weft/ocm"
)

// Tag is the signature parameter by which an OCM signature is known; its label
// says nothing (OCM 1.5, HTTP Message Signatures).
const Tag = "ocm"

// Bounds of what is read of a message.
const (
	maxField      = 16 << 10 // bytes of Signature-Input, Signature or Content-Digest
	maxComponents = 64       // covered by one signature
)

// required are the components that every OCM signature covers.
var required = []string{"@method", "@target-uri", "content-digest", "content-length"}

// ErrAmbiguous refuses a message of which it cannot be said which signature is
// the one tagged ocm.
var ErrAmbiguous = ocm.NewError(http.StatusUnauthorized, ocm.CodeSignatureAmbiguous,
	"the message carries two signatures tagged ocm")

// Info is what a request's signature says of itself. From Inspect nothing of it
// is proven; from Verify all of it is, if there was no error.
type Info struct {
	Signed  bool      // there is a signature tagged ocm
	KeyID   string    // equal to the kid of the signer's JWK
	Alg     string    // the alg parameter, "" when the message does not say
	Created time.Time // zero when the message does not say

	// Value is the signature in base64, to know a replay by. Verify writes the
	// two forms that every ECDSA signature has as one.
	Value string

	components []string
	params     string // the value of @signature-params (RFC 9421 §2.3)
	expires    time.Time
	signature  []byte
}

// Inspect finds the signature tagged ocm, whatever its label, and does not look
// at others. A request without one is unsigned, which is no error; one with two
// is refused as ErrAmbiguous, one that cannot be read as SIGNATURE_INVALID.
func Inspect(h http.Header) (Info, error) {
	inputs, unique, err := dictionary(h, "Signature-Input", ocm.CodeSignatureInvalid)
	if err != nil {
		return Info{}, err
	}
	var (
		found string
		list  httpsfv.InnerList
	)
	for _, label := range inputs.Names() {
		member, _ := inputs.Get(label)
		l, ok := member.(httpsfv.InnerList)
		if !ok {
			continue
		}
		if tag, _ := l.Params.Get("tag"); tag != Tag {
			continue
		}
		if found != "" {
			return Info{}, ErrAmbiguous
		}
		found, list = label, l
	}
	if !unique {
		// A label given twice would hide a signature behind the last one.
		return Info{}, ErrAmbiguous.Saying("Signature-Input gives a label twice")
	}
	if found == "" {
		return Info{}, nil
	}
	info, err := read(list)
	if err != nil {
		return Info{}, err
	}
	signatures, unique, err := dictionary(h, "Signature", ocm.CodeSignatureInvalid)
	if err != nil {
		return Info{}, err
	}
	if !unique {
		return Info{}, ErrAmbiguous.Saying("Signature gives a label twice")
	}
	member, _ := signatures.Get(found)
	item, _ := member.(httpsfv.Item)
	if info.signature, _ = item.Value.([]byte); len(info.signature) == 0 {
		return Info{}, refuse(ocm.CodeSignatureInvalid, "Signature has no byte sequence for the label %.40q of Signature-Input", found)
	}
	info.Value = base64.StdEncoding.EncodeToString(info.signature)
	return info, nil
}

// read reads a member of Signature-Input (RFC 9421 §4.1).
func read(list httpsfv.InnerList) (Info, error) {
	info := Info{Signed: true}
	if len(list.Items) > maxComponents {
		return Info{}, refuse(ocm.CodeSignatureInvalid, "the signature covers more than %d components", maxComponents)
	}
	for _, item := range list.Items {
		name, ok := item.Value.(string)
		if !ok || name != strings.ToLower(name) {
			return Info{}, refuse(ocm.CodeSignatureInvalid, "the signature covers a component that is not a name in lower case")
		}
		if len(item.Params.Names()) > 0 {
			return Info{}, refuse(ocm.CodeSignatureInvalid, "the signature covers %.60q with a parameter, which is not supported", name)
		}
		if slices.Contains(info.components, name) {
			return Info{}, refuse(ocm.CodeSignatureInvalid, "the signature covers %.60q twice", name)
		}
		info.components = append(info.components, name)
	}
	for _, name := range list.Params.Names() {
		value, _ := list.Params.Get(name)
		ok := true
		switch name {
		case "keyid":
			info.KeyID, ok = value.(string)
		case "alg":
			// Empty is given, and names no algorithm.
			info.Alg, ok = value.(string)
			ok = ok && info.Alg != ""
		case "created":
			info.Created, ok = unix(value)
		case "expires":
			info.expires, ok = unix(value)
		}
		if !ok {
			return Info{}, refuse(ocm.CodeSignatureInvalid, "the signature parameter %s is malformed", name)
		}
	}
	params, err := httpsfv.Marshal(list)
	if err != nil {
		return Info{}, refuse(ocm.CodeSignatureInvalid, "Signature-Input cannot be parsed").With(err)
	}
	info.params = params
	return info, nil
}

func unix(value any) (time.Time, bool) {
	sec, ok := value.(int64)
	return time.Unix(sec, 0), ok
}

// dictionary reads a field that is a Dictionary (RFC 9651 §3.2), empty if it is
// absent, and tells whether all its keys are unique: of one given several times
// the parser keeps the last and hides the others.
func dictionary(h http.Header, name string, code ocm.Code) (dict *httpsfv.Dictionary, unique bool, err error) {
	lines := h.Values(name)
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size > maxField {
		return nil, false, refuse(code, "%s is longer than %d bytes", name, maxField)
	}
	if dict, err = httpsfv.UnmarshalDictionary(lines); err != nil {
		return nil, false, refuse(code, "%s cannot be parsed", name).With(err)
	}
	return dict, members(lines) == len(dict.Names()), nil
}

// members counts the members of a well-formed Dictionary: the commas outside of
// strings part them, inner lists and byte sequences have none.
func members(lines []string) int {
	count := 0
	for _, line := range lines {
		if strings.Trim(line, " \t") == "" {
			continue
		}
		count++
		quoted := false
		for i := 0; i < len(line); i++ {
			switch c := line[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case c == ',' && !quoted:
				count++
			}
		}
	}
	return count
}

// refuse is the 401 that every failed verification answers.
func refuse(code ocm.Code, format string, args ...any) *ocm.Error {
	return ocm.NewError(http.StatusUnauthorized, code, fmt.Sprintf(format, args...))
}
