package wire

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/ocm"
)

// secrets are the members and form fields that hold secrets, in any spelling of
// case and underscores.
var secrets = []string{"sharedsecret", "code", "accesstoken", "refreshtoken", "token", "password", "clientsecret", "secret", "clientassertion", "assertion"}

var separators = strings.NewReplacer("_", "", "-", "")

func isSecret(name string) bool {
	return slices.Contains(secrets, strings.ToLower(separators.Replace(name)))
}

func masked(v string) string { return fmt.Sprintf("masked, %d characters", len([]rune(v))) }

// veil hides the secrets of one exchange, and remembers them: what one side writes
// where a secret belongs, the other may repeat anywhere.
type veil struct{ seen map[string]bool }

// knownFrom is the length in bytes from which a secret is looked for elsewhere:
// shorter ones are parts of words.
const knownFrom = 4

func (v *veil) hide(secret string) string {
	if len(secret) >= knownFrom {
		if v.seen == nil {
			v.seen = map[string]bool{}
		}
		v.seen[secret] = true
	}
	return masked(secret)
}

// known replaces the secrets that were hidden so far, in the spellings of JSON and
// URLs.
func (v *veil) known() *strings.Replacer {
	spelt := map[string]string{}
	for secret := range v.seen {
		instead := masked(secret)
		quoted := quote(secret)
		for _, s := range []string{secret, strings.Trim(quoted, `"`), url.QueryEscape(secret), url.PathEscape(secret)} {
			spelt[s] = instead
		}
	}
	// The longest first: a secret may begin as another.
	names := slices.SortedFunc(maps.Keys(spelt), func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, s := range names {
		pairs = append(pairs, s, spelt[s])
	}
	return strings.NewReplacer(pairs...)
}

// Mask gives a body for people to read, with the values of secrets replaced by
// their length. What cannot be read as its kind is not shown, because nobody
// could tell where its secrets are.
func Mask(contentType string, body []byte) string { return new(veil).body(contentType, body) }

func (v *veil) body(contentType string, body []byte) string {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0:
		return ""
	case len(body) > MaxBody:
		return fmt.Sprintf("(%d bytes or more, not shown)", MaxBody)
	case kind == "application/x-www-form-urlencoded":
		return v.form(body)
	}
	if out, err := v.json(body, 0); err == nil {
		return out
	}
	if kind == "" {
		kind = "no type"
	}
	return fmt.Sprintf("(%d bytes of %s, not shown because it is not JSON)", len(body), kind)
}

func (v *veil) form(body []byte) string {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return fmt.Sprintf("(%d bytes, not shown because it is not a form)", len(body))
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			if isSecret(name) {
				value = v.hide(value)
			} else {
				value = v.text(value, 0)
			}
			out = append(out, name+"="+value)
		}
	}
	return strings.Join(out, "\n")
}

// url hides what a URL says of secrets: its user, and in its query.
func (v *veil) url(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	if u.User != nil {
		v.hide(u.User.Username())
		if password, ok := u.User.Password(); ok {
			v.hide(password)
		}
		u.User = nil
	}
	u.RawQuery = v.query(u.RawQuery)
	return u.String()
}

// query hides the secrets of a query; one without any stays as it is.
func (v *veil) query(raw string) string {
	q, err := url.ParseQuery(raw)
	if err != nil {
		q = url.Values{"query": {"not shown"}}
	}
	hidden := err != nil
	for name, values := range q {
		for i, value := range values {
			if isSecret(name) {
				values[i], hidden = v.hide(value), true
			}
		}
	}
	if !hidden {
		return raw
	}
	return q.Encode()
}

// base hides what the signature base of a request to raw repeats of its query.
func (v *veil) base(base, raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery == "" {
		return base
	}
	return strings.ReplaceAll(base, u.RawQuery, v.query(u.RawQuery))
}

var (
	urls = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\\]+`)
	// named are secrets in a text, such as a message that repeats ours: by names that
	// are no words.
	named = regexp.MustCompile(`(?i)(shared_?secret|(?:access|refresh)_?token|client_?(?:secret|assertion))(["'\\]*\s*[:=]\s*["'\\]*)([^\s"'\\,;&}]+)`)
)

// text hides the secrets of a text that may be, or hold, a URL, a message or
// JSON.
func (v *veil) text(s string, depth int) string {
	if t := strings.TrimSpace(s); t != "" && (t[0] == '{' || t[0] == '[') && depth <= maxDepth {
		if out, err := v.json([]byte(t), depth+1); err == nil {
			return out
		}
	}
	var out strings.Builder
	for {
		at := urls.FindStringIndex(s)
		if at == nil {
			out.WriteString(v.prose(s))
			return out.String()
		}
		out.WriteString(v.prose(s[:at[0]]))
		raw := s[at[0]:at[1]]
		if u, err := url.Parse(raw); err != nil || u.User != nil || u.RawQuery != "" {
			raw = v.url(raw)
		}
		out.WriteString(raw)
		s = s[at[1]:]
	}
}

// prose hides the named secrets of a text.
func (v *veil) prose(s string) string {
	return named.ReplaceAllStringFunc(s, func(match string) string {
		m := named.FindStringSubmatch(match)
		return m[1] + m[2] + v.hide(m[3])
	})
}

// secretFields are the header fields that are not shown.
var secretFields = []string{"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"}

// fields writes header fields, a line each, in order.
func (v *veil) fields(h http.Header) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			if slices.Contains(secretFields, name) {
				v.credentials(value)
				value = masked(value)
			} else {
				value = v.text(value, 0)
			}
			fmt.Fprintf(&out, "%s: %s\n", name, cut(ocm.DisplayName(value)))
		}
	}
	return out.String()
}

// credentials remembers what a field such as Authorization holds.
func (v *veil) credentials(field string) {
	v.hide(field)
	scheme, rest, _ := strings.Cut(field, " ")
	v.hide(strings.TrimSpace(rest))
	if strings.EqualFold(scheme, "Basic") {
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest)); err == nil {
			user, password, _ := strings.Cut(string(b), ":")
			v.hide(user)
			v.hide(password)
		}
	}
}

var errDeep = errors.New("nested too deep")

// maxDepth is how deep a body may be nested to be shown.
const maxDepth = 64

// json writes JSON again, member by member: what is there twice stays there twice.
func (v *veil) json(body []byte, depth int) (string, error) {
	m := masker{veil: v, dec: json.NewDecoder(bytes.NewReader(body))}
	m.dec.UseNumber()
	if err := m.value(false, depth); err != nil {
		return "", err
	}
	if _, err := m.dec.Token(); err != io.EOF {
		return "", errors.New("more behind the value")
	}
	return m.out.String(), nil
}

type masker struct {
	*veil
	dec *json.Decoder
	out bytes.Buffer
}

func (m *masker) value(secret bool, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	token, err := m.dec.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Delim:
		m.out.WriteByte(byte(t))
		for first := true; m.dec.More(); first = false {
			if !first {
				m.out.WriteByte(',')
			}
			hidden := secret
			if t == '{' {
				name, err := m.dec.Token()
				if err != nil {
					return err
				}
				m.write(name)
				m.out.WriteByte(':')
				hidden = secret || isSecret(name.(string))
			}
			if err := m.value(hidden, depth+1); err != nil {
				return err
			}
		}
		end, err := m.dec.Token()
		if err != nil {
			return err
		}
		m.out.WriteByte(byte(end.(json.Delim)))
		return nil
	case nil:
	case string:
		if secret {
			token = m.hide(t)
		} else {
			token = m.text(t, depth)
		}
	default:
		if secret {
			token = m.hide(fmt.Sprint(t))
		}
	}
	m.write(token)
	return nil
}

func (m *masker) write(v any) { m.out.WriteString(quote(v)) }

// quote writes a value as JSON.
func quote(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return `""` // what was read as JSON can be written so
	}
	return strings.TrimSpace(b.String())
}
