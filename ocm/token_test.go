package ocm

import (
	"strings"
	"testing"
)

const form = "application/x-www-form-urlencoded"

func TestReadTokenRequest(t *testing.T) {
	want := TokenRequest{GrantAuthorizationCode, "there.example:8443", "s3cr3t"}
	for _, c := range []struct{ rule, contentType, body string }{
		{"a form is taken", form, "grant_type=authorization_code&client_id=there.example%3A8443&code=s3cr3t"},
		{"a form with a charset is taken", form + "; charset=UTF-8", "grant_type=authorization_code&client_id=there.example:8443&code=s3cr3t"},
		{"JSON is taken", "application/json", `{"grant_type":"authorization_code","client_id":"there.example:8443","code":"s3cr3t"}`},
		{"other members are ignored", form, want.Form() + "&scope=a&scope=b&redirect_uri=x"},
		{"a client_id with scheme and slash is the same host", form, "grant_type=authorization_code&client_id=https://There.example:8443/&code=s3cr3t"},
		{"what is written is read", form, want.Form()},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got, err := ReadTokenRequest(c.contentType, []byte(c.body)); err != nil || *got != want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	for _, c := range []struct {
		rule, contentType, body string
		want                    refusal
	}{
		{"a body of another kind is refused", "text/plain", want.Form(), refusal{415, CodeUnsupportedMedia, nil}},
		{"a body of no kind is refused", "", want.Form(), refusal{415, CodeUnsupportedMedia, nil}},
		{"a body too large is refused", form, strings.Repeat("a", maxTokenRequest+1), refusal{413, CodeTooLarge, nil}},
		{"a broken form is refused", form, "code=%zz", refusal{400, CodeInvalidPayload, nil}},
		{"broken JSON is refused", "application/json", "{", refusal{400, CodeInvalidJSON, nil}},
		{"all that is missing is named", form, "", refusal{400, CodeInvalidPayload, []string{"grant_type", "client_id", "code"}}},
		{"a member given twice is refused", form, want.Form() + "&code=other", refusal{400, CodeInvalidPayload, []string{"code"}}},
		{"a code in bytes that are not UTF-8 is refused", form, "grant_type=a&client_id=h&code=%ff", refusal{400, CodeInvalidPayload, []string{"code"}}},
		{"a code too long is refused", form, "grant_type=a&client_id=h&code=" + strings.Repeat("a", maxSecret+1), refusal{400, CodeInvalidPayload, []string{"code"}}},
		{"a client_id that is no host is refused", form, "grant_type=a&client_id=alice@h&code=c", refusal{400, CodeInvalidPayload, []string{"client_id"}}},
		{"a member of a wrong type is refused", "application/json", `{"grant_type":"a","client_id":"h","code":7}`, refusal{400, CodeInvalidPayload, []string{"code"}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			_, err := ReadTokenRequest(c.contentType, []byte(c.body))
			checkRefusal(t, err, c.want)
		})
	}
}

func TestReadTokenAnswer(t *testing.T) {
	for _, c := range []struct {
		rule, body string
		want       int    // seconds; 0: refused
		fault      string // the member
	}{
		{"an answer is taken", `{"access_token":"t","token_type":"Bearer","expires_in":60}`, 60, ""},
		{"the type may be in any letters", `{"access_token":"t","token_type":"bearer","expires_in":60}`, 60, ""},
		{"the type may be absent, as reva does it", `{"access_token":"t","expires_in":60}`, 60, ""},
		{"a life that is not said is five minutes", `{"access_token":"t"}`, 300, ""},
		{"a very long life is a day", `{"access_token":"t","expires_in":9223372036854775807}`, 86400, ""},
		{"a token is there", `{"expires_in":60}`, 0, "access_token"},
		{"a token fits a header", `{"access_token":"a\r\nb"}`, 0, "access_token"},
		{"a token has an end", `{"access_token":"` + strings.Repeat("a", maxToken+1) + `"}`, 0, "access_token"},
		{"another type is refused", `{"access_token":"t","token_type":"mac"}`, 0, "token_type"},
		{"a life is a number", `{"access_token":"t","expires_in":"60"}`, 0, "expires_in"},
		{"a life is not over", `{"access_token":"t","expires_in":0}`, 0, "expires_in"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got, err := ReadTokenAnswer([]byte(c.body))
			if c.fault != "" {
				checkRefusal(t, err, refusal{400, CodeInvalidPayload, []string{c.fault}})
				return
			}
			if err != nil || *got != (TokenAnswer{"t", "Bearer", c.want}) {
				t.Fatalf("got %+v, %v", got, err)
			}
			if again, err := ReadTokenAnswer(body(t, got)); err != nil || *again != *got {
				t.Errorf("what is written reads as %+v, %v", again, err)
			}
		})
	}
}

func FuzzTokenRequest(f *testing.F) {
	f.Add(form, []byte("grant_type=authorization_code&client_id=there.example&code=s3cr3t"))
	f.Add(form+"; charset=utf-8", []byte("grant_type=a;b&client_id=[::1]:80&code=%ff&code=2"))
	f.Add("application/json", []byte(`{"grant_type":"ocm_share","client_id":"https://there.example/","code":"s3cr3t"}`))
	f.Fuzz(func(t *testing.T, contentType string, b []byte) {
		req, err := ReadTokenRequest(contentType, b)
		if err != nil {
			mustRefuse(t, err)
			return
		}
		if len(req.Form()) > maxTokenRequest {
			t.Skip("the form's escapes made it longer")
		}
		if again, err := ReadTokenRequest(form, []byte(req.Form())); err != nil || *again != *req {
			t.Errorf("%q reads as %+v, %v", req.Form(), again, err)
		}
	})
}

func FuzzTokenAnswer(f *testing.F) {
	f.Add([]byte(`{"access_token":"t","token_type":"Bearer","expires_in":60}`))
	f.Add([]byte(`{"access_token":"t"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadTokenAnswer(b)
		if err != nil {
			mustRefuse(t, err)
			return
		}
		if again, err := ReadTokenAnswer(body(t, a)); err != nil || *again != *a {
			t.Errorf("what is written reads as %+v, %v", again, err)
		}
	})
}
