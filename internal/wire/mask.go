package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"slices"
	"strings"
)

// secrets are the members and form fields that hold secrets, in any spelling of
// case and underscores.
var secrets = []string{"sharedsecret", "code", "accesstoken", "refreshtoken", "token", "password", "clientsecret", "secret", "clientassertion", "assertion"}

func isSecret(name string) bool {
	return slices.Contains(secrets, strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)))
}

func masked(v string) string { return fmt.Sprintf("masked, %d characters", len([]rune(v))) }

// Mask gives a body for people to read, with the values of secrets replaced by
// their length. What cannot be read as its kind is not shown, because nobody
// could tell where its secrets are.
func Mask(contentType string, body []byte) string {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0:
		return ""
	case len(body) > MaxBody:
		return fmt.Sprintf("(%d bytes or more, not shown)", MaxBody)
	case kind == "application/x-www-form-urlencoded":
		return maskForm(body)
	}
	if out, err := maskJSON(body); err == nil {
		return out
	}
	if kind == "" {
		kind = "no type"
	}
	return fmt.Sprintf("(%d bytes of %s, not shown because it is not JSON)", len(body), kind)
}

func maskForm(body []byte) string {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return fmt.Sprintf("(%d bytes, not shown because it is not a form)", len(body))
	}
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []string
	for _, name := range names {
		for _, v := range values[name] {
			if isSecret(name) {
				v = masked(v)
			}
			out = append(out, name+"="+v)
		}
	}
	return strings.Join(out, "\n")
}

// maskURL hides what a query says of secrets.
func maskURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	u.User = nil
	if u.RawQuery != "" {
		q, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			q = url.Values{"query": {"not shown"}}
		}
		for name := range q {
			if isSecret(name) {
				q.Set(name, masked(q.Get(name)))
			}
		}
		u.RawQuery = q.Encode()
	}
	return u.String()
}

var errDeep = errors.New("nested too deep")

// maxDepth is how deep a body may be nested to be shown.
const maxDepth = 64

// maskJSON writes JSON again, member by member: what is there twice stays there
// twice.
func maskJSON(body []byte) (string, error) {
	m := masker{dec: json.NewDecoder(bytes.NewReader(body))}
	m.dec.UseNumber()
	if err := m.value(false, 0); err != nil {
		return "", err
	}
	if _, err := m.dec.Token(); err != io.EOF {
		return "", errors.New("more behind the value")
	}
	return m.out.String(), nil
}

type masker struct {
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
	default:
		if secret {
			token = masked(fmt.Sprint(t))
		}
	}
	return m.write(token)
}

func (m *masker) write(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	m.out.Write(bytes.TrimSpace(b.Bytes()))
	return nil
}
