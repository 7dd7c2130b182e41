package wire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/store/storetest"
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
		{"application/json", `{"uri":"https://u:hunter2@x.example/?access_token=hunter2&a=b","text":"see https://a.example/x?y=1. It is so"}`,
			`{"uri":"https://x.example/?a=b&access_token=masked%2C+7+characters","text":"see https://a.example/x?y=1. It is so"}`},
		{"application/json", `{"protocol":"{\"sharedSecret\":\"hunter2\",\"x\":\"{\\\"token\\\":1}\"}"}`,
			`{"protocol":"{\"sharedSecret\":\"masked, 7 characters\",\"x\":\"{\\\"token\\\":\\\"masked, 1 characters\\\"}\"}"}`},
		{"application/json", `{"message":"cannot read {'sharedSecret':'hunter2','permissions':['read']}"}`,
			`{"message":"cannot read {'sharedSecret':'masked, 7 characters','permissions':['read']}"}`},
		{"application/x-www-form-urlencoded", "uri=https%3A%2F%2Fx.example%2F%3Fcode%3Dhunter2", "uri=https://x.example/?code=masked%2C+7+characters"},
		{"application/json", strings.Repeat("[", 100) + strings.Repeat("]", 100), "(200 bytes of application/json, not shown because it is not JSON)"},
		{"application/json", `"` + strings.Repeat("x", MaxBody) + `"`, "(65536 bytes or more, not shown)"},
	} {
		if got := Mask(c.kind, []byte(c.body)); got != c.want {
			t.Errorf("%.80s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
	if got := new(veil).url("https://u:p@a.example/x?token=hunter2&a=b"); got != "https://a.example/x?a=b&token=masked%2C+7+characters" {
		t.Error(got)
	}
}

// What one side wrote where a secret belongs is hidden wherever either side repeats
// it.
func TestWhatIsOnceASecretIsHiddenInTheWholeExchange(t *testing.T) {
	db := storetest.Open(t)
	k := NewKeeper(db, time.Now, slog.New(slog.DiscardHandler), time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	secrets := []string{`top/secret"1`, "code-in-the-query", "bearer-of-it", "basic-user", "user-of-a-url", "answered-token"}
	echo := strings.Join(secrets, " ")
	k.Put(Exchange{
		ID: "1", At: time.Now(), Direction: Out, Method: "POST", URL: "https://x.example/ocm?code=code-in-the-query",
		Header: http.Header{
			"Authorization": {"Bearer bearer-of-it", "Basic " + base64.StdEncoding.EncodeToString([]byte("basic-user:"))}, "X-Echo": {echo},
			"Referer": {"https://user-of-a-url@x.example/"}, "Content-Type": {"application/json"},
		},
		Body:     []byte(`{"sharedSecret":"top/secret\"1","name":"a"}`),
		Base:     `"@target-uri": https://x.example/ocm?code=code-in-the-query` + "\n" + `"authorization": Bearer bearer-of-it`,
		Answered: http.Header{"Location": {"/?x=" + url.QueryEscape(secrets[0])}},
		Answer:   []byte(`{"access_token":"answered-token","message":` + quote(echo) + `,"` + secrets[1] + `":1}`), Fault: "it said: " + echo,
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	e, err := k.Find(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join([]string{e.URL, e.Header, e.Body, e.SignatureBase, e.AnswerHeader, e.Answer, e.Fault}, "\n")
	for _, s := range append(secrets, `top/secret\"1`, "top%2Fsecret%221") {
		if strings.Contains(all, s) {
			t.Errorf("%s is in\n%s", s, all)
		}
	}
	for _, s := range []string{`"name":"a"`, "it said: masked, 12 characters", `"@target-uri": https://x.example/ocm?code=masked`} {
		if !strings.Contains(all, s) {
			t.Errorf("%s is not in\n%s", s, all)
		}
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
