package httpsig

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"net/http"
	"strconv"

	"github.com/dunglas/httpsfv"

	"github.com/weft-mesh/weft/ocm"
)

// checkDigest compares a body with its Content-Digest (RFC 9530 §2): every
// digest of an algorithm we know must match, and there must be one. All
// failures are DIGEST_MISMATCH.
func checkDigest(h http.Header, body []byte) error {
	digests, unique, err := dictionary(h, "Content-Digest", ocm.CodeDigestMismatch)
	if err != nil {
		return err
	}
	if !unique {
		return refuse(ocm.CodeDigestMismatch, "Content-Digest names an algorithm twice")
	}
	known := false
	for _, name := range digests.Names() {
		var want []byte
		switch name {
		case "sha-256":
			sum := sha256.Sum256(body)
			want = sum[:]
		case "sha-512":
			sum := sha512.Sum512(body)
			want = sum[:]
		default:
			continue
		}
		member, _ := digests.Get(name)
		item, _ := member.(httpsfv.Item)
		if got, _ := item.Value.([]byte); !bytes.Equal(got, want) {
			return refuse(ocm.CodeDigestMismatch, "the %s digest in Content-Digest is not that of the body", name)
		}
		known = true
	}
	if !known {
		return refuse(ocm.CodeDigestMismatch, "Content-Digest is missing or has neither sha-256 nor sha-512")
	}
	return nil
}

// checkLength compares a body with its Content-Length. A client writes none with
// a body that is not there, so there the length that net/http found counts.
func checkLength(r *http.Request, body []byte) error {
	values := r.Header.Values("Content-Length")
	switch {
	case len(values) == 0 && r.ContentLength < 0:
		return refuse(ocm.CodeSignatureInvalid, `the signature covers "content-length", which the message does not have`)
	case len(values) == 0 && r.ContentLength == int64(len(body)),
		len(values) == 1 && values[0] == strconv.Itoa(len(body)):
		return nil
	}
	return refuse(ocm.CodeDigestMismatch, "Content-Length is not the length of the body, %d bytes", len(body))
}
