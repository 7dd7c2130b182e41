// Package client calls other Open Cloud Mesh servers: it finds out what they
// are, sends shares and notifications, and exchanges secrets for tokens. The
// HTTP client it is given decides which addresses may be reached.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// Client calls other servers. It is safe for concurrent use; its fields are set
// before the first call.
type Client struct {
	HTTP   *http.Client    // nil: http.DefaultClient, which guards nothing
	Signer *httpsig.Signer // signs what goes to peers with http-sig; nil: nothing is signed
	// Legacy signs what goes to peers whose profile is of draft-cavage; nil:
	// nothing is signed so.
	Legacy *httpsig.LegacySigner
	// Observe is told of every call and its outcome; nil: nobody is. It must not
	// wait, nor keep what it is given.
	Observe func(ctx context.Context, x Exchange)

	Self  ocm.Host // our own name, the client_id of token requests
	Plain bool     // peers may be reached by plain http

	mu      sync.Mutex
	schemes map[ocm.Host]string // of peers found while Plain
}

// Peer is a server that is called: what it says of itself, and the family it
// belongs to.
type Peer struct {
	Host ocm.Host
	*ocm.Discovery
	Profile Profile
}

// Exchange is a call and what came of it. Request and Body hold secrets.
type Exchange struct {
	Op      string
	Peer    ocm.Host
	Request *http.Request
	Body    []byte
	Status  int // 0: no answer
	Header  http.Header
	Answer  []byte
	Took    time.Duration
	Err     error
}

// maxAnswer bounds, in bytes, what is read of an answer.
const maxAnswer = 1 << 20

// errPlain refuses what would go over the wire in the clear.
var errPlain = ocm.NewError(http.StatusBadGateway, "PEER_NOT_HTTPS", "the peer names an address without https, which is not used")

// Share sends a Share Creation Notification (OCM 1.5, Share Creation
// Notification). Failures are *PeerError.
func (c *Client) Share(ctx context.Context, to Peer, s *ocm.NewShare) (*ocm.ShareAnswer, error) {
	const op = "share"
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the share: %w", err)
	}
	answer, err := c.post(ctx, op, to, to.URL("/shares"), "application/json", body)
	if err != nil {
		return nil, err
	}
	// Success is the status; peers differ in what they write with it.
	out := &ocm.ShareAnswer{}
	if json.Unmarshal(answer, out) != nil {
		return &ocm.ShareAnswer{}, nil
	}
	out.RecipientDisplayName = printable(out.RecipientDisplayName, 255)
	return out, nil
}

// Notify sends a notification (OCM 1.5, Notifications). Failures are *PeerError.
func (c *Client) Notify(ctx context.Context, to Peer, n ocm.Notification) (*ocm.NotificationAnswer, error) {
	body, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("write the notification: %w", err)
	}
	answer, err := c.post(ctx, "notify", to, to.URL("/notifications"), "application/json", body)
	if err != nil {
		return nil, err
	}
	return ocm.ReadNotificationAnswer(answer), nil
}

// Exchange asks for an access token in return for a sharedSecret (OCM 1.5, Code
// Flow). Failures are *PeerError.
func (c *Client) Exchange(ctx context.Context, to Peer, code ocm.Secret) (*ocm.TokenAnswer, error) {
	const op = "exchange token"
	if to.TokenEndPoint == "" {
		return nil, &PeerError{Op: op, Host: to.Host, Err: errors.New("the peer names no tokenEndPoint")}
	}
	form := ocm.TokenRequest{GrantType: ocm.GrantAuthorizationCode, ClientID: c.Self, Code: code}.Form()
	body, err := c.post(ctx, op, to, to.TokenEndPoint, "application/x-www-form-urlencoded", []byte(form))
	if err != nil {
		return nil, err
	}
	answer, err := ocm.ReadTokenAnswer(body)
	if err != nil {
		return nil, &PeerError{Op: op, Host: to.Host, Status: http.StatusOK, Err: err}
	}
	return answer, nil
}

// OpAcceptInvite is the Op of what fails in AcceptInvite.
const OpAcceptInvite = "accept the invite of"

// AcceptInvite tells the Invite Sender's server that one of our people accepts
// its invite, and gives the Invite Sender (OCM 1.5, Invite Flow). Failures are
// *PeerError; one with a Status of 200 says that the answer cannot be read,
// though the invite is accepted.
func (c *Client) AcceptInvite(ctx context.Context, to Peer, a ocm.InviteAcceptance) (*ocm.InviteParty, error) {
	const op = OpAcceptInvite
	body, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("write the acceptance: %w", err)
	}
	answer, err := c.post(ctx, op, to, to.URL("/invite-accepted"), "application/json", body)
	if pe, ok := errors.AsType[*PeerError](err); ok && pe.Status == http.StatusConflict {
		// opencloudmesh-go says so to the same person, with the answer.
		if again, unread := ocm.ReadInviteParty(pe.body, to.Host); unread == nil {
			return again, nil
		}
	}
	if err != nil {
		return nil, err
	}
	party, err := ocm.ReadInviteParty(answer, to.Host)
	if err != nil {
		return nil, &PeerError{Op: op, Host: to.Host, Status: http.StatusOK, Err: err}
	}
	return party, nil
}

// FetchDirectory fetches the signed list of a Directory Service; package
// ocm/directory verifies it. Failures are *PeerError.
func (c *Client) FetchDirectory(ctx context.Context, uri string) ([]byte, error) {
	return c.get(ctx, "fetch the directory of", uri, maxDirectory)
}

// FetchKeys fetches the JWK Set at uri (OCM 1.5, HTTP Message Signatures).
// Failures are *PeerError.
func (c *Client) FetchKeys(ctx context.Context, uri string) ([]byte, error) {
	return c.get(ctx, "fetch the keys of", uri, maxKeys)
}

// post sends body, signed if the peer says that it verifies signatures, and
// gives the answer's body if it is a success.
func (c *Client) post(ctx context.Context, op string, to Peer, target, contentType string, body []byte) ([]byte, error) {
	r, err := c.request(ctx, http.MethodPost, op, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	if c.Signer != nil && to.HasCapability(ocm.CapHTTPSig) {
		// A token may be asked for twice in a second, and servers refuse a
		// signature that they have seen.
		signer := *c.Signer
		signer.Nonce = rand.Text
		if err := signer.Sign(r, body); err != nil {
			return nil, fmt.Errorf("sign the message to %s: %w", r.URL.Host, err)
		}
	} else if c.Legacy != nil && to.Profile.Cavage {
		if err := c.Legacy.Sign(r, body); err != nil {
			return nil, fmt.Errorf("sign the message to %s: %w", r.URL.Host, err)
		}
	}
	return c.do(r, to.Host, body, op, maxAnswer)
}

func (c *Client) get(ctx context.Context, op, target string, limit int64) ([]byte, error) {
	r, err := c.request(ctx, http.MethodGet, op, target, nil)
	if err != nil {
		return nil, err
	}
	return c.do(r, hostOf(target), nil, op, limit)
}

func (c *Client) request(ctx context.Context, method, op, target string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, &PeerError{Op: op, Host: hostOf(target), Err: err}
	}
	r.URL.User, r.URL.Fragment = nil, ""
	if r.URL.Scheme != "https" && !(c.Plain && r.URL.Scheme == "http") {
		return nil, &PeerError{Op: op, Host: hostOf(target), Code: errPlain.Code, Err: errPlain}
	}
	r.Header.Set("Accept", "application/json")
	return r, nil
}

// do sends r, with the body sent, and reads a successful answer of at most limit
// bytes.
func (c *Client) do(r *http.Request, peer ocm.Host, sent []byte, op string, limit int64) (answer []byte, err error) {
	host := ocm.Host(strings.ToLower(r.URL.Host))
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	x := Exchange{Op: op, Peer: peer, Request: r, Body: sent}
	if c.Observe != nil {
		start := time.Now()
		defer func() {
			x.Took, x.Err = time.Since(start), err
			c.Observe(r.Context(), x)
		}()
	}
	resp, err := hc.Do(r)
	if err != nil {
		return nil, failed(op, host, err)
	}
	defer resp.Body.Close()
	x.Status, x.Header = resp.StatusCode, resp.Header
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	x.Answer = body
	switch ok := resp.StatusCode >= 200 && resp.StatusCode < 300; {
	case !ok:
		return nil, refused(op, host, resp, body[:min(int64(len(body)), limit)])
	case err != nil:
		return nil, failed(op, host, err)
	case int64(len(body)) > limit:
		return nil, &PeerError{Op: op, Host: host, Status: resp.StatusCode, Err: fmt.Errorf("the answer is larger than %d bytes", limit)}
	}
	return body, nil
}

// hostOf is the host of a URL, for errors.
func hostOf(target string) ocm.Host {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return ocm.Host(strings.ToLower(u.Host))
}
