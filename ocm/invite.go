package ocm

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Invite is what an Invite Message carries: the Invite Token and the server it
// is to be taken to (OCM 1.5, Invite format).
type Invite struct {
	Token    Secret
	Provider Host
}

// Codes of what goes wrong with invites.
const (
	CodeInviteMalformed Code = "INVITE_MALFORMED"        // cannot be read
	CodeInviteInvalid   Code = "INVITE_INVALID"          // unknown, expired or revoked: one answer for all
	CodeInviteAccepted  Code = "INVITE_ALREADY_ACCEPTED" // by someone else
)

// Bounds in bytes.
const (
	maxInviteToken = 512
	maxInvite      = 4096 // of an invite string or link as people paste it
)

var errInvite = NewError(http.StatusBadRequest, CodeInviteMalformed, "this is not an invite")

// InviteString is the canonical form: base64url without padding of
// token@provider. It holds the secret token.
func (i Invite) InviteString() string {
	return base64.RawURLEncoding.EncodeToString([]byte(i.Token.Reveal() + "@" + string(i.Provider)))
}

// ReadInvite reads what a person was sent: an invite string, with or without
// padding, in base64url or standard base64, broken over lines or not; or a link
// with `token` in its query, the server being `providerDomain` or else the
// link's own host. It answers 400 INVITE_MALFORMED for anything else.
func ReadInvite(s string) (*Invite, error) {
	if len(s) > maxInvite {
		return nil, errInvite.Saying("an invite is not longer than %d characters", maxInvite)
	}
	s = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return -1
		}
		return c
	}, s)
	s = strings.Trim(s, `<>"'`)
	switch {
	case s == "":
		return nil, errInvite.Saying("the invite is empty")
	case strings.Contains(s, "://"):
		return readInviteLink(s)
	case strings.Contains(s, "@"): // not encoded, as some pages show it
		return readInviteParts(s)
	}
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, errInvite.Saying("this is not an invite: it is neither a link nor an invite string; copy it whole").With(err)
	}
	return readInviteParts(string(b))
}

func readInviteLink(s string) (*Invite, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return nil, errInvite.Saying("this is not the link of an invite")
	}
	q := u.Query()
	provider := q.Get("providerDomain")
	if provider == "" {
		provider = u.Host
	}
	return NewInvite(q.Get("token"), provider)
}

func readInviteParts(s string) (*Invite, error) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return nil, errInvite.Saying("this is not an invite: it names no server; copy it whole")
	}
	return NewInvite(s[:i], s[i+1:])
}

// NewInvite makes an Invite of a token and a provider as the query of an
// inviteAcceptDialog names them. The provider may carry a scheme and a slash at
// its end, but no path.
func NewInvite(token, provider string) (*Invite, error) {
	switch {
	case token == "":
		return nil, errInvite.Saying("this is not an invite: its token is missing; copy it whole")
	case len(token) > maxInviteToken:
		return nil, errInvite.Saying("this is not an invite: its token is longer than %d bytes", maxInviteToken)
	case !utf8.ValidString(token) || strings.ContainsFunc(token, func(c rune) bool { return !unicode.IsPrint(c) }):
		return nil, errInvite.Saying("this is not an invite: its token holds characters that cannot be shown")
	}
	_, rest, ok := strings.Cut(provider, "://")
	if !ok {
		rest = provider
	}
	if strings.ContainsAny(strings.TrimSuffix(rest, "/"), "/?#\\") {
		return nil, errInvite.Saying("this is not an invite: %.80q is not a server's name", provider)
	}
	host, err := ReadHost(provider)
	if err != nil {
		return nil, errInvite.Saying("this is not an invite: %.80q is not a server's name", provider).With(err)
	}
	return &Invite{Secret(token), host}, nil
}

// InviteParty is what each side of an invite tells the other of its person. The
// userID with the server's host is the person's OCM Address; it may differ for
// each contact. E-mail and name are informational (OCM 1.5, Invite Flow).
type InviteParty struct {
	UserID string `json:"userID"`
	Email  string `json:"email"`
	Name   string `json:"name"`
}

// InviteAcceptance is the Invite Acceptance Request: what the Invite Receiver's
// server posts to /invite-accepted of the Invite Sender's.
type InviteAcceptance struct {
	RecipientProvider Host // the server that sends it and must have signed it
	Token             Secret
	InviteParty
	BothNames bool // writes userId beside userID, for servers that look for that
}

// MarshalJSON writes the token itself: this is its one way to the peer.
func (a InviteAcceptance) MarshalJSON() ([]byte, error) {
	old := ""
	if a.BothNames {
		old = a.UserID
	}
	return json.Marshal(struct {
		RecipientProvider string `json:"recipientProvider"`
		Token             string `json:"token"`
		InviteParty
		UserId string `json:"userId,omitempty"` //nolint:revive // as it is on the wire
	}{string(a.RecipientProvider), a.Token.Reveal(), a.InviteParty, old})
}

// ReadInviteAcceptance reads an Invite Acceptance Request. Name and e-mail may
// be missing: peers leave empty what their person did not give.
func ReadInviteAcceptance(b []byte) (*InviteAcceptance, error) {
	m, err := object(b)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	a := &InviteAcceptance{Token: Secret(r.required("token", maxInviteToken))}
	if provider := r.required("recipientProvider", maxAddress); provider != "" {
		if a.RecipientProvider, err = ReadHost(provider); err != nil {
			r.fault("recipientProvider", "%s", err)
		}
	}
	a.InviteParty = readInviteParty(r, a.RecipientProvider)
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return a, nil
}

// ReadInviteParty reads the answer to an Invite Acceptance Request from host.
func ReadInviteParty(b []byte, host Host) (*InviteParty, error) {
	m, err := object(b)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	p := readInviteParty(reader{m, "", &faults}, host)
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return &p, nil
}

// readInviteParty reads a person of host, whose userID some servers write with the
// host behind it. What is odd about an e-mail address or a name is left out.
func readInviteParty(r reader, host Host) InviteParty {
	var p InviteParty
	before := len(*r.faults)
	id := r.required("userID", maxAddress)
	if len(*r.faults) == before && host != "" {
		a, err := ReadAddress(id + "@" + string(host))
		if err != nil {
			r.fault("userID", "%s", err)
		}
		p.UserID = a.Identifier
	}
	lenient := reader{r.members, "", new([]FieldError)}
	if e := lenient.text("email", 254); strings.Count(e, "@") == 1 && !strings.ContainsFunc(e, unicode.IsSpace) {
		p.Email = e
	}
	p.Name = DisplayName(lenient.text("name", maxDisplayName))
	return p
}

// DisplayName makes a name that a stranger chose fit to be shown: without
// characters that are invisible or turn the reading direction, and without
// spaces at its ends.
func DisplayName(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
			return -1
		}
		return c
	}, s))
}
