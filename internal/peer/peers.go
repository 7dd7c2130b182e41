// Package peer knows other servers: the guarded way out to them, whether they
// answer, what they say of themselves, and their keys.
package peer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

const (
	discoveryFresh = 10 * time.Minute
	keysFresh      = 5 * time.Minute
	stale          = 24 * time.Hour // how long old knowledge serves while the peer is down
	failureKept    = 15 * time.Second
	unknownKidWait = time.Minute // between fetches for keys that a set does not hold, or no longer
	lookupBudget   = 5 * time.Second
)

// Options are what Peers needs; zero values are as noted.
type Options struct {
	Insecure    bool           // private addresses, plain http and self-signed certificates are fine
	DB          *store.DB      // nil: nothing is kept
	Policy      *Policy        // nil: every peer is dealt with
	ApproveKeys bool           // a key that joins those of a peer waits for the operator
	Client      *client.Client // makes the calls, over Peers.HTTP
	Now         func() time.Time
	Log         *slog.Logger
	Cooldown    time.Duration // of a host that does not answer; 0: 10 s
}

// Peers is what this server knows of all others.
type Peers struct {
	opt     Options
	memory  memory
	http    *http.Client
	breaker *breaker
	marks   marks
	known   *lru.Cache[ocm.Host, *record]
	flights singleflight.Group
}

// record is what is known of one peer.
type record struct {
	mu     sync.Mutex
	loaded bool

	discovery   *ocm.Discovery
	discoveryAt time.Time
	failure     error // of the last look-up; nil when it went well
	failureAt   time.Time

	keys        httpsig.KeySet
	keysAt      time.Time // zero: none
	keysFailure error
	keysTriedAt time.Time // of the last attempt to fetch them
	unknownAt   time.Time // of the last attempt for the sake of an unknown kid, or of a key that did not fit
}

// New makes Peers; the caller gives Peers.HTTP to opt.Client before its first
// call.
func New(opt Options) *Peers {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Cooldown == 0 {
		opt.Cooldown = defaultCooldown
	}
	known, err := lru.New[ocm.Host, *record](maxHosts)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	p := &Peers{opt: opt, memory: memory{opt.DB, new(atomic.Int64)}, known: known}
	way := &door{next: newTransport(opt.Insecure), insecure: opt.Insecure, stall: stallTimeout, denied: p.denied}
	p.breaker = newBreaker(way, opt.Now, opt.Cooldown, p.marks.note)
	p.http = &http.Client{Transport: p.breaker, CheckRedirect: redirects(opt.Insecure)}
	return p
}

func (p *Peers) denied(ctx context.Context, host ocm.Host) bool {
	return p.opt.Policy != nil && p.opt.Policy.denies(ctx, host)
}

// HTTP is the client through which everything goes out to peers.
func (p *Peers) HTTP() *http.Client { return p.http }

// Health tells whether a host answers.
func (p *Peers) Health(host ocm.Host) Health { return p.breaker.health(host) }

// Discover gives what a peer says of itself, at most ten minutes old, or a day
// while the peer is down. Failures are *client.PeerError and kept for fifteen
// seconds. Hosts that policy denies are not asked: ErrDenied.
func (p *Peers) Discover(ctx context.Context, host ocm.Host) (*ocm.Discovery, error) {
	if p.opt.Policy != nil {
		if _, err := p.opt.Policy.Permit(ctx, host); err != nil {
			return nil, &client.PeerError{Op: "discover", Host: host, Code: ErrDenied.Code, Temporary: !errors.Is(err, ErrDenied), Err: err}
		}
	}
	rec := p.record(ctx, host)
	rec.mu.Lock()
	d, err, known := rec.currentDiscovery(p.opt.Now())
	rec.mu.Unlock()
	if known {
		return d, err
	}
	_, err = p.alone(ctx, "discovery "+string(host), func(ctx context.Context) (any, error) {
		return nil, p.lookUp(ctx, host, rec)
	})
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if err != nil {
		return rec.oldDiscovery(p.opt.Now(), err)
	}
	return rec.discovery, nil
}

// currentDiscovery is what needs no look-up.
func (r *record) currentDiscovery(now time.Time) (*ocm.Discovery, error, bool) {
	if r.discovery != nil && now.Sub(r.discoveryAt) < discoveryFresh {
		return r.discovery, nil, true
	}
	if r.failure != nil && now.Sub(r.failureAt) < failureKept {
		d, err := r.oldDiscovery(now, r.failure)
		return d, err, true
	}
	return nil, nil, false
}

// oldDiscovery stands in when a look-up failed with err, if that may pass.
func (r *record) oldDiscovery(now time.Time, err error) (*ocm.Discovery, error) {
	if r.discovery != nil && passing(err) && now.Sub(r.discoveryAt) < stale {
		return r.discovery, nil
	}
	return nil, err
}

func (p *Peers) lookUp(ctx context.Context, host ocm.Host, rec *record) error {
	d, raw, err := p.opt.Client.Discover(ctx, host)
	now := p.opt.Now()
	rec.mu.Lock()
	if err != nil {
		rec.failure, rec.failureAt = err, now
	} else {
		rec.discovery, rec.discoveryAt, rec.failure = d, now, nil
	}
	rec.mu.Unlock()
	if err != nil {
		p.opt.Log.Info("a peer cannot be discovered", "peer", host, "error", err)
		return err
	}
	if err := p.memory.saveDiscovery(ctx, host, raw, d, now); err != nil {
		p.opt.Log.Error("a discovery document cannot be kept", "peer", host, "error", err)
	}
	if key, err := legacyKey(d); err == nil {
		p.keepLegacy(ctx, host, key)
	}
	return nil
}

// Peer tells what a peer says of itself and which family of servers it belongs
// to: as the operator set it, or as its discovery document shows.
func (p *Peers) Peer(ctx context.Context, host ocm.Host) (client.Peer, error) {
	d, err := p.Discover(ctx, host)
	if err != nil {
		return client.Peer{}, err
	}
	profile, err := p.profile(ctx, host, d)
	return client.Peer{Host: host, Discovery: d, Profile: profile}, err
}

func (p *Peers) profile(ctx context.Context, host ocm.Host, d *ocm.Discovery) (client.Profile, error) {
	out := client.ProfileOf(d)
	if p.opt.Policy == nil {
		return out, nil
	}
	v, err := p.opt.Policy.Decide(ctx, host)
	if err != nil {
		return client.Profile{}, err
	}
	if set, ok := client.ProfileNamed(v.Profile); ok {
		out, out.Reason = set, "set by the operator"
	}
	out.Cavage = or(v.Cavage, out.Cavage)
	return out, nil
}

// Refresh asks a peer anew what it is and which keys it has, whatever policy
// says: operators look before they decide.
func (p *Peers) Refresh(ctx context.Context, host ocm.Host) error {
	defer p.flush(ctx)
	rec := p.record(ctx, host)
	_, err := p.alone(ctx, "discovery "+string(host), func(ctx context.Context) (any, error) {
		return nil, p.lookUp(ctx, host, rec)
	})
	if err != nil {
		return err
	}
	rec.mu.Lock()
	d := rec.discovery
	rec.mu.Unlock()
	if !d.HasCapability(ocm.CapHTTPSig) || d.JWKSURI == "" {
		return nil
	}
	_, err = p.alone(ctx, "keys "+string(host), func(ctx context.Context) (any, error) {
		return nil, p.fetchKeys(ctx, host, d.JWKSURI, rec)
	})
	return err
}

// record finds what is known of a host, from the memory the first time.
func (p *Peers) record(ctx context.Context, host ocm.Host) *record {
	rec, ok := p.known.Get(host)
	if !ok {
		fresh := &record{}
		if rec, ok, _ = p.known.PeekOrAdd(host, fresh); !ok {
			rec = fresh
		}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.loaded {
		return rec
	}
	row, err := p.memory.load(ctx, host)
	if err != nil {
		p.opt.Log.Error("what is known of a peer cannot be loaded", "peer", host, "error", err)
		return rec
	}
	rec.loaded = true
	if d, err := ocm.ReadDiscovery([]byte(row.Discovery)); err == nil {
		rec.discovery, rec.discoveryAt = d, store.Time(row.DiscoveredAt)
	}
	if keys, err := httpsig.ReadJWKS([]byte(row.JWKS)); err == nil {
		rec.keys, rec.keysAt = keys, store.Time(row.JWKSAt)
	}
	return rec
}

// alone runs f once for all who ask for the same at the same time, whoever of
// them goes away.
func (p *Peers) alone(ctx context.Context, key string, f func(context.Context) (any, error)) (any, error) {
	result := p.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupBudget)
		defer cancel()
		return f(ctx)
	})
	select {
	case r := <-result:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// passing reports whether a failure may be gone later.
func passing(err error) bool {
	if pe, ok := errors.AsType[*client.PeerError](err); ok {
		return pe.Temporary
	}
	return true
}
