package ocm

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// TokenRequest asks the Sending Server to exchange a sharedSecret for a token
// (OCM 1.5, Code Flow).
type TokenRequest struct {
	GrantType string
	ClientID  Host // the Receiving Server
	Code      Secret
}

// GrantAuthorizationCode is the grant type of the code flow; GrantOCMShare is
// the name older peers send for it.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantOCMShare          = "ocm_share"
)

// Form is the request's body as application/x-www-form-urlencoded.
func (t TokenRequest) Form() string {
	return url.Values{
		"grant_type": {t.GrantType}, "client_id": {string(t.ClientID)}, "code": {t.Code.Reveal()},
	}.Encode()
}

const (
	maxTokenRequest = 16 << 10 // bytes
	maxToken        = 16 << 10 // bytes; JWTs with many claims are long
)

// ReadTokenRequest reads a token request: a form, or JSON as older peers send
// it. Other members are ignored, members given twice are refused (RFC 6749
// §3.2). The grant type is the server's to judge.
func ReadTokenRequest(contentType string, b []byte) (*TokenRequest, error) {
	if len(b) > maxTokenRequest {
		return nil, errTooLarge
	}
	var m map[string]json.RawMessage
	var err error
	switch kind, _, _ := mime.ParseMediaType(contentType); kind {
	case "application/x-www-form-urlencoded":
		m, err = formMembers(string(b))
	case "application/json":
		m, err = object(b)
	default:
		err = NewError(http.StatusUnsupportedMediaType, CodeUnsupportedMedia, "the body must be application/x-www-form-urlencoded")
	}
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	t := &TokenRequest{GrantType: r.required("grant_type", maxWord), Code: Secret(r.required("code", maxSecret))}
	if client := r.required("client_id", maxAddress); client != "" {
		if t.ClientID, err = ReadHost(client); err != nil {
			r.fault("client_id", "must be the host of the Receiving Server")
		}
	}
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return t, nil
}

// formMembers reads a form into what object makes of JSON.
func formMembers(s string) (map[string]json.RawMessage, error) {
	form, err := url.ParseQuery(s)
	if err != nil {
		return nil, NewError(http.StatusBadRequest, CodeInvalidPayload, "the form cannot be read").With(err)
	}
	m := map[string]json.RawMessage{}
	var faults []FieldError
	for _, name := range []string{"grant_type", "client_id", "code"} {
		switch values := form[name]; {
		case len(values) > 1:
			faults = append(faults, FieldError{name, "is given twice"})
		case len(values) == 1 && !utf8.ValidString(values[0]):
			faults = append(faults, FieldError{name, "is not valid UTF-8"})
		case len(values) == 1:
			m[name], _ = json.Marshal(values[0]) // a string always can
		}
	}
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return m, nil
}

// TokenAnswer is the body of 200 of the token endpoint.
type TokenAnswer struct {
	AccessToken Secret
	TokenType   string
	ExpiresIn   int // seconds
}

// MarshalJSON writes the token itself: this is its one way to the peer.
func (t TokenAnswer) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}{t.AccessToken.Reveal(), t.TokenType, t.ExpiresIn})
}

// Bounds in seconds of how long a peer's token is taken to last.
const (
	defaultTokenLife = 300 // when the peer does not say
	maxTokenLife     = 24 * 3600
)

// ReadTokenAnswer reads a peer's answer. A missing token_type is Bearer, as
// reva leaves it out; a token that lasts longer than a day is renewed daily.
func ReadTokenAnswer(b []byte) (*TokenAnswer, error) {
	m, err := object(b)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	t := &TokenAnswer{AccessToken: Secret(r.required("access_token", maxToken)), TokenType: "Bearer", ExpiresIn: defaultTokenLife}
	if !usableSecret(t.AccessToken.Reveal()) {
		r.fault("access_token", "holds characters that an Authorization header cannot carry")
	}
	if r.has("token_type") && !strings.EqualFold(r.text("token_type", maxWord), t.TokenType) {
		r.fault("token_type", "must be Bearer")
	}
	if r.has("expires_in") {
		sec, err := strconv.ParseInt(string(m["expires_in"]), 10, 64)
		if err != nil || sec <= 0 {
			r.fault("expires_in", "must be a positive number of seconds")
		}
		t.ExpiresIn = int(min(sec, maxTokenLife))
	}
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return t, nil
}
