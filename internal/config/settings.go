package config

import (
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// Where the value of a key comes from.
const (
	FromDefault     = "default"
	FromFile        = "file"
	FromEnvironment = "environment"
	FromFlag        = "flag"
)

// Setting is a key with its value, as it is shown to operators: secrets are not.
type Setting struct {
	Key      string
	Value    string // as in the file
	Default  string
	From     string // FromDefault …
	Variable string // of the environment
	Help     string // what it means; "" when the key before says it
}

// Settings lists all keys in the order of the file.
func (c *Config) Settings() []Setting {
	now, def := values(c), values(Default())
	out := make([]Setting, 0, len(keys))
	for _, k := range keys {
		s := Setting{
			Key: k.name, Value: shown(k.name, now[k.name]), Default: shown(k.name, def[k.name]), From: c.from[k.name],
			Variable: variable(k.name), Help: strings.ReplaceAll(k.help, "\n", " "),
		}
		if s.From == "" {
			s.From = FromDefault
			if !reflect.DeepEqual(now[k.name], def[k.name]) { // the program decided, as the demo does
				s.From = FromFlag
			}
		}
		out = append(out, s)
	}
	return out
}

// SealedBy tells where the key that seals secrets comes from.
func (c *Config) SealedBy() string {
	if c.secretKey != "" {
		return FromEnvironment
	}
	return FromFile
}

// NotShown is in place of a secret's value.
const NotShown = "set, not shown"

// shown writes a value without its secrets: those of keys that are secret, and
// the password in a URL.
func shown(key string, v any) string {
	if s, ok := v.(string); ok && s != "" {
		if u, err := url.Parse(s); err == nil && u.User != nil {
			v = u.Redacted()
		}
	}
	if secret(key, v) && !reflect.ValueOf(v).IsZero() {
		return NotShown
	}
	if d, ok := v.(time.Duration); ok {
		return `"` + short(d) + `"`
	}
	return literal(v)
}

func secret(key string, v any) bool {
	if _, ok := v.(ocm.Secret); ok {
		return true
	}
	if _, text := v.(string); !text {
		return false
	}
	_, name, ok := strings.Cut(key, ".")
	if !ok {
		name = key
	}
	for _, word := range []string{"password", "secret", "token"} {
		if name == word || strings.HasSuffix(name, "_"+word) {
			return true
		}
	}
	return false
}

// short writes a duration without the parts that are zero: 72h, not 72h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
