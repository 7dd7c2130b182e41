package httpsig

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/ocm"
)

// Base gives the text that a request's signature signs, for people who look for
// why it does not verify: of RFC 9421 with the tag ocm, or of draft-cavage. It is
// "" when there is no such signature, or none that can be read. target is as in
// Verify.
func Base(r *http.Request, target string, length int) string {
	if HasLegacy(r) {
		if s, err := readLegacy(r.Header.Values("Signature")); err == nil {
			base, _ := legacyBase(r, target, length, s.headers)
			return base
		}
		return ""
	}
	info, err := Inspect(r.Header)
	if err != nil || !info.Signed {
		return ""
	}
	base, _ := signatureBase(r, target, length, info.components, info.params)
	return string(base)
}

// signatureBase builds what is signed (RFC 9421 §2.5) of a request sent to
// targetURI with a body of length bytes.
func signatureBase(r *http.Request, targetURI string, length int, components []string, params string) ([]byte, error) {
	b := make([]byte, 0, 512)
	for _, name := range components {
		value, ok := component(r, targetURI, length, name)
		if !ok {
			return nil, refuse(ocm.CodeSignatureInvalid, "the signature covers %.60q, which the message does not have", name)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, refuse(ocm.CodeSignatureInvalid, "the signature covers %.60q, which holds a line break", name)
		}
		// Names that a message can have need no escapes.
		b = append(append(append(b, '"'), name...), `": `...)
		b = append(append(b, value...), '\n')
	}
	return append(append(b, `"@signature-params": `...), params...), nil
}

// component is the value of a derived component (RFC 9421 §2.2) or a field
// (§2.1) of a request. All that speaks of where it was sent comes from
// targetURI: a proxy may have rewritten the rest.
func component(r *http.Request, targetURI string, length int, name string) (value string, ok bool) {
	switch name {
	case "@method":
		return cmp.Or(r.Method, http.MethodGet), true
	case "@target-uri":
		return targetURI, true
	case "content-length":
		// A client writes none for a body that is not there.
		return strconv.Itoa(length), true
	case "@authority", "host", "@scheme", "@path", "@query", "@request-target":
		u, err := url.Parse(targetURI)
		if err != nil {
			return "", false
		}
		return urlComponent(u, name), true
	}
	values := r.Header.Values(name)
	if len(values) == 0 || strings.HasPrefix(name, "@") {
		return "", false
	}
	var joined strings.Builder
	for i, v := range values {
		if i > 0 {
			joined.WriteString(", ")
		}
		joined.WriteString(strings.Trim(v, " \t"))
	}
	return joined.String(), true
}

func urlComponent(u *url.URL, name string) string {
	host := strings.ToLower(u.Host)
	switch name {
	case "@authority":
		// The default port is left out (RFC 9421 §2.2.3).
		if port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]; port != "" {
			host = strings.TrimSuffix(host, port)
		}
		return host
	case "host":
		return host
	case "@scheme":
		return u.Scheme
	case "@path":
		return cmp.Or(u.EscapedPath(), "/")
	case "@query":
		return "?" + u.RawQuery
	}
	return u.RequestURI()
}
