package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMaskHidesSecretsAndNothingElse(t *testing.T) {
	for _, c := range []struct{ kind, body, want string }{
		{"application/json", "", ""},
		{"application/json", `{"a":1.50,"b":[true,null,"<x>"]}`, `{"a":1.50,"b":[true,null,"<x>"]}`},
		{"application/json", `{"protocol":{"webdav":{"uri":"7","sharedSecret":"hunter2","permissions":["read"]}}}`,
			`{"protocol":{"webdav":{"uri":"7","sharedSecret":"masked, 7 characters","permissions":["read"]}}}`},
		{"application/json; charset=utf-8", `{"Shared_Secret":"x","SHAREDSECRET":1,"token":{"a":["b"]},"code":null}`,
			`{"Shared_Secret":"masked, 1 characters","SHAREDSECRET":"masked, 1 characters","token":{"a":["masked, 1 characters"]},"code":null}`},
		{"application/json", `{"token":"a","token":"b"}`, `{"token":"masked, 1 characters","token":"masked, 1 characters"}`},
		{"application/json", `{"\u0073haredSecret":"hunter2"}`, `{"sharedSecret":"masked, 7 characters"}`},
		{"application/json", `{"sharedSecret":"hunter2"`, "(25 bytes of application/json, not shown because it is not JSON)"},
		{"application/json", `{"sharedSecret":"hunter2"} {"a":1}`, "(34 bytes of application/json, not shown because it is not JSON)"},
		{"text/html", `<p>hunter2</p>`, "(14 bytes of text/html, not shown because it is not JSON)"},
		{"", "hunter2", "(7 bytes of no type, not shown because it is not JSON)"},
		{"application/x-www-form-urlencoded", "grant_type=authorization_code&code=hunter2&client_id=b.example", "client_id=b.example\ncode=masked, 7 characters\ngrant_type=authorization_code"},
		{"application/x-www-form-urlencoded", "code=%zz", "(8 bytes, not shown because it is not a form)"},
		{"application/json", strings.Repeat("[", 100) + strings.Repeat("]", 100), "(200 bytes of application/json, not shown because it is not JSON)"},
		{"application/json", `"` + strings.Repeat("x", MaxBody) + `"`, "(65536 bytes or more, not shown)"},
	} {
		if got := Mask(c.kind, []byte(c.body)); got != c.want {
			t.Errorf("%.80s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
	if got := maskURL("https://u:p@a.example/x?token=hunter2&a=b"); got != "https://a.example/x?a=b&token=masked%2C+7+characters" {
		t.Error(got)
	}
}

// Whatever a body is like: what a JSON reader takes for the secret is not in what
// is shown.
func FuzzMask(f *testing.F) {
	f.Add("application/json", `{"sharedSecret":"hunter2hunter2"}`)
	f.Add("application/json", `{"a":{"token":"hunter2hunter2"},"a":1}`)
	f.Add("application/x-www-form-urlencoded", "code=hunter2hunter2")
	f.Fuzz(func(t *testing.T, kind, body string) {
		out := Mask(kind, []byte(body))
		var v struct {
			SharedSecret string `json:"sharedSecret"`
		}
		if json.Unmarshal([]byte(body), &v) == nil && len(v.SharedSecret) >= 12 && strings.Count(body, v.SharedSecret) == 1 && strings.Contains(out, v.SharedSecret) {
			t.Errorf("%q shows %q", body, out)
		}
	})
}
