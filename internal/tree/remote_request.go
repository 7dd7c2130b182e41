package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// locate is the URL of name on the peer, and whether the credential is given
// there by Basic.
func (r *Remote) locate(ctx context.Context, name string) (at *url.URL, basic bool, err error) {
	root, basic, err := r.cfg.Root(ctx)
	if err != nil {
		return nil, false, err
	}
	u, err := url.Parse(root)
	if err != nil {
		return nil, false, fmt.Errorf("the share's address cannot be used: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, false, errors.New("the share's address is not a web address")
	}
	at = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if name == "" {
		return at, basic, nil
	}
	raw := strings.TrimRight(at.EscapedPath(), "/")
	for element := range strings.SplitSeq(name, "/") {
		raw += "/" + url.PathEscape(element)
	}
	at.RawPath = raw
	if at.Path, err = url.PathUnescape(raw); err != nil {
		return nil, false, fmt.Errorf("the share's address cannot be used: %w", err)
	}
	return at, basic, nil
}

// send makes a request with the share's credential, renewed once if the peer
// refuses it. prepare adds headers and a streamed body; it returns false when
// the body can no longer be sent.
func (r *Remote) send(ctx context.Context, method, name, body string, prepare func(*http.Request) bool) (*http.Response, error) {
	target, basic, err := r.locate(ctx, name)
	if err != nil {
		return nil, err
	}
	var margin time.Duration
	if method == http.MethodPut {
		margin = uploadMargin
	}
	token, err := r.cfg.Tokens.lasting(ctx, margin)
	if err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		req, err := http.NewRequestWithContext(ctx, method, target.String(), strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		if basic {
			req.SetBasicAuth(token.Reveal(), "")
		} else {
			req.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
		if !prepare(req) {
			return nil, &answerError{status: http.StatusUnauthorized}
		}
		resp, err := r.cfg.HTTP.Do(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized || !first {
			return resp, nil
		}
		refusal := r.answer(resp)
		renewed, err := r.cfg.Tokens.renew(ctx, token)
		if err != nil {
			return nil, err
		}
		if renewed == token {
			return nil, refusal
		}
		token = renewed
	}
}

// do is send for requests that are answered by a status alone.
func (r *Remote) do(ctx context.Context, method, name string, header map[string]string) (int, error) {
	resp, err := r.send(ctx, method, name, "", func(req *http.Request) bool {
		setHeaders(req, header)
		return true
	})
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, r.expect(resp, http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent)
}

// setHeaders sets those that have a value.
func setHeaders(req *http.Request, header map[string]string) {
	for name, value := range header {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
}

// expect closes the answer and makes an error of any other status.
func (r *Remote) expect(resp *http.Response, statuses ...int) error {
	if slices.Contains(statuses, resp.StatusCode) {
		io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is used again
		resp.Body.Close()
		return nil
	}
	return r.answer(resp)
}

// answer closes an answer that is no success and says what it was.
func (r *Remote) answer(resp *http.Response) *answerError {
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	return &answerError{resp.StatusCode, client.RetryAfter(resp.Header, r.cfg.Now())}
}

// answerError is a peer's answer that is no success.
type answerError struct {
	status     int
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	return "the peer answered " + strconv.Itoa(e.status) + " " + http.StatusText(e.status)
}

// Answered is the status of the peer's answer that made an error, 0 when it was
// none.
func Answered(err error) int {
	if e, ok := errors.AsType[*answerError](err); ok {
		return e.status
	}
	return 0
}

func (e *answerError) lacksMethod() bool {
	return e.status == http.StatusMethodNotAllowed || e.status == http.StatusNotImplemented
}

// errBusy is the cause when a peer that is alive asks for patience.
var errBusy = errors.New("the peer asks for fewer requests")

// errRefused is an answer that fits no other failure.
var errRefused = ocm.NewError(http.StatusBadGateway, "PEER_REFUSED", "The share's server does not do this.")

// asTreeError makes of any failure of a call one of a Tree.
func asTreeError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if e, ok := errors.AsType[*answerError](err); ok {
		return e.treeError()
	}
	if pe, ok := errors.AsType[*client.PeerError](err); ok {
		switch {
		case pe.Temporary:
			return ErrUnavailable.RetryIn(max(pe.RetryAfter, comeAgain)).With(pe)
		case pe.Status >= 400:
			return ErrForbidden.Saying("The share's server no longer gives access to it; ask its owner to share it again.").With(pe)
		}
		return ErrUnavailable.With(pe)
	}
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		// The transport's own refusals are servers that cannot be reached.
		if e.Status >= 500 && e.Code != errRefused.Code && !errors.Is(e, ErrUnavailable) && !errors.Is(e, ErrQuota) && !errors.Is(e, ErrDiskFull) {
			return ErrUnavailable.Saying("%s", e.Message).With(e)
		}
		return e
	}
	return ErrUnavailable.With(err)
}

// treeError says what a status means for a tree (RFC 4918 §9, §11).
func (e *answerError) treeError() error {
	switch e.status {
	case http.StatusUnauthorized:
		return ErrForbidden.Saying("The share's server does not accept our access to it any more; ask its owner to share it again.").With(e)
	case http.StatusForbidden:
		return ErrForbidden.With(e)
	case http.StatusNotFound, http.StatusGone:
		return ErrNotFound.With(e)
	case http.StatusConflict:
		return ErrNoParent.With(e)
	case http.StatusPreconditionFailed:
		return ErrPrecondition.With(e)
	case http.StatusRequestEntityTooLarge:
		return ErrTooLarge.With(e)
	case http.StatusLocked, http.StatusFailedDependency:
		return ErrLocked.With(e)
	case http.StatusInsufficientStorage:
		return ErrQuota.With(e)
	case http.StatusTooManyRequests:
		return ErrUnavailable.RetryIn(max(e.retryAfter, time.Second)).With(fmt.Errorf("%w: %w", errBusy, e))
	}
	if client.Temporary(e.status) {
		wait := e.retryAfter
		if wait == 0 {
			wait = ErrUnavailable.RetryAfter
		}
		return ErrUnavailable.RetryIn(wait).With(e)
	}
	if e.status < 400 {
		return errRefused.Saying("The share's server does not answer as servers of WebDAV do (%d %s).", e.status, http.StatusText(e.status)).With(e)
	}
	return errRefused.Saying("The share's server refused this (%d %s).", e.status, http.StatusText(e.status)).With(e)
}
