package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"code.dny.dev/ssrf"

	"github.com/weft-mesh/weft/ocm"
)

const (
	userAgent     = "Weft (Open Cloud Mesh)"
	dialTimeout   = 1500 * time.Millisecond
	tlsTimeout    = 3 * time.Second
	headerTimeout = 60 * time.Second
	stallTimeout  = 30 * time.Second
	maxHeader     = 64 << 10 // bytes of an answer's header
	maxRedirects  = 3
)

// The refusals of the outgoing client. All are for good: trying again would
// meet the same.
var (
	ErrAddress  = ocm.NewError(http.StatusBadGateway, "PEER_ADDRESS_REFUSED", "the peer's address is not a public one; calls to private addresses are refused")
	ErrPlain    = ocm.NewError(http.StatusBadGateway, "PEER_NOT_HTTPS", "the peer is named without https, which is not used")
	ErrRedirect = ocm.NewError(http.StatusBadGateway, "PEER_REDIRECTS", "the peer redirects too often or away from https")
)

// errStalled ends a body in which nothing moves.
var errStalled = ocm.NewError(http.StatusGatewayTimeout, "PEER_STALLED", "the peer stopped in the middle of the transfer")

// newTransport is the one way out to other servers. The address is checked when
// it is dialled, after every name look-up, so that a name cannot be looked up
// twice with different answers.
func newTransport(insecure bool) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	if !insecure {
		dialer.Control = ssrf.New(ssrf.WithAnyPort()).Safe
	}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        time.Minute,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    maxCalls,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         64 << 10,
		WriteBufferSize:        64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// door keeps to https and to policy, names us, and watches that transfers move.
type door struct {
	next     http.RoundTripper
	insecure bool
	stall    time.Duration
	denied   func(ctx context.Context, host ocm.Host) bool
}

func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	// One spelling of a host is known to policy: others are not called.
	host, refusal := ocm.ReadHost(r.URL.Host)
	switch {
	case refusal != nil:
		refusal = ErrAddress.Saying("the peer names an address that is not a host").With(refusal)
	case r.URL.Scheme != "https" && !d.insecure:
		refusal = ErrPlain
	case d.denied != nil && d.denied(r.Context(), host):
		refusal = ErrDenied.Saying("The operator of this server does not allow dealing with %s.", host)
	}
	if refusal != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, refusal
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	watch := time.AfterFunc(d.stall, func() { cancel(errStalled) })
	watch.Stop()
	r = r.Clone(ctx)
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", userAgent)
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &upload{r.Body, watch, d.stall}
	}
	resp, err := d.next.RoundTrip(r)
	watch.Stop()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		cancel(nil)
		if errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedNetwork) || errors.Is(err, ssrf.ErrInvalidHostPort) {
			err = ErrAddress.With(err)
		}
		return nil, err
	}
	// The watch of the answer is its own: the transport may still be sending.
	resp.Body = &download{
		ReadCloser: resp.Body, ctx: ctx, cancel: cancel, stall: d.stall,
		watch: time.AfterFunc(d.stall, func() { cancel(errStalled) }),
	}
	resp.Body.(*download).watch.Stop()
	return resp, nil
}

// download ends when the peer sends nothing for a while. The time between two
// reads is the reader's own.
type download struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
	stall  time.Duration
}

func (b *download) Read(p []byte) (int, error) {
	b.watch.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.watch.Stop()
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (b *download) Close() error {
	err := b.ReadCloser.Close()
	b.watch.Stop()
	b.cancel(nil)
	return err
}

// upload ends when the peer takes nothing for a while: the watch runs from one
// read of the body to the next.
type upload struct {
	io.ReadCloser
	watch *time.Timer
	stall time.Duration
}

func (b *upload) Read(p []byte) (int, error) {
	b.watch.Stop()
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		b.watch.Reset(b.stall)
	}
	return n, err
}

func (b *upload) Close() error {
	b.watch.Stop()
	return b.ReadCloser.Close()
}

// redirects follows only what carries nothing of value: an unsigned GET without
// credentials, as for discovery documents and keys.
func redirects(insecure bool) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		first := via[0]
		if first.Method != http.MethodGet || first.Header.Get("Authorization") != "" || first.Header.Get("Signature") != "" {
			return http.ErrUseLastResponse
		}
		if len(via) > maxRedirects || next.URL.Scheme != "https" && !insecure {
			return ErrRedirect
		}
		next.Header.Del("Referer")
		return nil
	}
}
