package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/weft-mesh/weft/ocm"
)

// PeerError says how a call to another server failed.
type PeerError struct {
	Op         string   // what was tried: "discover", "share", "notify" …
	Host       ocm.Host // whom
	Status     int      // of the answer; 0 when there was none
	Code       ocm.Code // the peer's code, or ours when the call was not made; "" when neither
	RetryAfter time.Duration
	Temporary  bool // the same call may succeed later
	Err        error

	body []byte // of the answer
}

func (e *PeerError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Op, e.Host)
	if e.Status != 0 {
		fmt.Fprintf(&b, "answered %d %s", e.Status, http.StatusText(e.Status))
		if e.Code != "" {
			fmt.Fprintf(&b, " (%s)", e.Code)
		}
		if e.Err != nil {
			b.WriteString(": ")
		}
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *PeerError) Unwrap() error { return e.Err }

// Temporary reports whether a status may be another one later: timeouts, too
// early, too many, and the server's own faults except "not implemented".
func Temporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented:
		return false
	}
	return status >= 500
}

// maxRetryAfter bounds how long a peer can put us off.
const maxRetryAfter = 24 * time.Hour

// RetryAfter reads the Retry-After header, seconds or a date (RFC 9110
// §10.2.3); 0 when there is none that makes sense.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// failed is the error of a call without an answer. A guarded HTTP client says
// with an *ocm.Error why it did not make the call at all, for good if that is a
// 502; anything else is a fault of the network, which may pass.
func failed(op string, host ocm.Host, err error) *PeerError {
	pe := &PeerError{Op: op, Host: host, Temporary: true, Err: err}
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		pe.Code, pe.RetryAfter, pe.Temporary = e.Code, e.RetryAfter, Temporary(e.Status) && e.Status != http.StatusBadGateway
		pe.Err = e
	}
	if errors.Is(err, context.Canceled) {
		pe.Err = context.Canceled
	}
	return pe
}

// refused is the error of an answer that is not a success.
func refused(op string, host ocm.Host, r *http.Response, body []byte) *PeerError {
	pe := &PeerError{
		Op: op, Host: host, Status: r.StatusCode, Temporary: Temporary(r.StatusCode),
		RetryAfter: RetryAfter(r.Header, time.Now()), body: body,
	}
	// {"message": CODE or sentence} on OCM endpoints, {"error", …} of OAuth on
	// the token endpoint (RFC 6749 §5.2).
	var answer struct {
		Message     string `json:"message"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(bytes.TrimSpace(body), &answer) != nil {
		return pe
	}
	said := answer.Description
	switch {
	case isCode(answer.Error):
		pe.Code = ocm.Code(answer.Error)
	case isCode(answer.Message):
		pe.Code = ocm.Code(answer.Message)
	default:
		said = answer.Message
	}
	if said = printable(said, 200); said != "" {
		pe.Err = errors.New(said)
	}
	return pe
}

// isCode tells a code from a sentence.
func isCode(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return !(c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	})
}

// printable makes a peer's text safe for a log line and a page.
func printable(s string, max int) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > max {
		s = string(r[:max]) + "…"
	}
	return strings.TrimSpace(s)
}
