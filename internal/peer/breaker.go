package peer

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sony/gobreaker/v2"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

const (
	maxHosts        = 4096
	maxCalls        = 32 // to one host at a time
	failuresToOpen  = 3
	defaultCooldown = 10 * time.Second
)

// Health tells whether a host answers, as far as the last calls showed.
type Health struct {
	Up     bool
	Since  time.Time // of the first failure in a row; zero when up
	Reason string
}

// breaker is the RoundTripper that stops calling a host that does not answer,
// and keeps one host from taking all our connections.
type breaker struct {
	next     http.RoundTripper
	now      func() time.Time
	cooldown time.Duration
	heard    func(host string, err error, at time.Time) // of every outcome that says something of the host

	mu    sync.Mutex
	hosts *lru.Cache[string, *circuit]
}

// circuit is what is known of one host. Slots are held until the answer's
// header is there: bodies and streamed uploads go at the pace of their local
// reader or writer, and slow people must not shut out the others.
type circuit struct {
	gate  *gobreaker.TwoStepCircuitBreaker[struct{}]
	slots chan struct{}

	mu     sync.Mutex
	since  time.Time // of the first failure in a row
	last   time.Time // of the last failure
	reason error
}

func newBreaker(next http.RoundTripper, now func() time.Time, cooldown time.Duration, heard func(string, error, time.Time)) *breaker {
	hosts, err := lru.New[string, *circuit](maxHosts)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &breaker{next: next, now: now, cooldown: cooldown, heard: heard, hosts: hosts}
}

func (b *breaker) circuit(host string) *circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.hosts.Get(host); ok {
		return c
	}
	c := &circuit{
		slots: make(chan struct{}, maxCalls),
		gate: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Timeout:     b.cooldown,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= failuresToOpen },
			IsExcluded:  func(err error) bool { return !blamesPeer(err) && err != nil },
		}),
	}
	b.hosts.Add(host, c)
	return c
}

// blamesPeer tells the host's failures from those of the caller, who went away,
// and from our own refusals.
func blamesPeer(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return e.Status >= http.StatusServiceUnavailable
	}
	return true
}

func (b *breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	host := strings.ToLower(r.URL.Host)
	c := b.circuit(host)
	refuse := func(err error) (*http.Response, error) {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	if c.gate.State() == gobreaker.StateOpen {
		return refuse(b.open(c, host))
	}
	streams := r.Body != nil && r.Body != http.NoBody && r.GetBody == nil
	if !streams {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-r.Context().Done():
			return refuse(r.Context().Err())
		}
	}
	report, err := c.gate.Allow()
	if err != nil {
		return refuse(b.open(c, host))
	}
	var once sync.Once
	done := func(err error) {
		once.Do(func() {
			c.note(err, b.now())
			if err == nil || blamesPeer(err) {
				b.heard(host, err, b.now())
			}
			report(err)
		})
	}
	if streams {
		// An upload may take an hour; that the host took the connection is
		// enough to let others in.
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { done(nil) }}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	}
	resp, err := b.next.RoundTrip(r)
	done(err)
	return resp, err
}

// note remembers since when the host fails.
func (c *circuit) note(err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.since, c.reason = time.Time{}, nil
	case blamesPeer(err):
		if c.since.IsZero() {
			c.since = now
		}
		c.last, c.reason = now, err
	}
}

// open is the answer for a host that is not called just now.
func (b *breaker) open(c *circuit, host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := min(max(c.last.Add(b.cooldown).Sub(b.now()), time.Second), b.cooldown)
	e := tree.ErrUnavailable.RetryIn(wait).With(c.reason)
	if !c.since.IsZero() {
		e = e.Saying("%s has not answered since %s", host, c.since.UTC().Format(time.RFC3339))
	}
	return e
}

func (b *breaker) health(host ocm.Host) Health {
	b.mu.Lock()
	c, ok := b.hosts.Peek(string(host))
	b.mu.Unlock()
	if !ok {
		return Health{Up: true}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return Health{Up: true}
	}
	return Health{Since: c.since, Reason: c.reason.Error()}
}
