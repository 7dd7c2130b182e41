package tree

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// depthHeader is the Depth of a PROPFIND (RFC 4918 §10.2).
type depthHeader string

const (
	depthSelf     depthHeader = "0"
	depthChildren depthHeader = "1"
)

// listing is what a peer said of one entry and, at depth 1, of those in it.
type listing struct {
	self     Info
	children []Info // by name
	usage    Usage  // at depth 0
}

// child finds an entry of the folder.
func (l *listing) child(name string) (Info, bool) {
	i, ok := slices.BinarySearchFunc(l.children, name, func(i Info, name string) int { return strings.Compare(i.Name, name) })
	if !ok {
		return Info{}, false
	}
	return l.children[i], true
}

const (
	maxListings = 512
	maxListed   = maxEntries + maxListings // entries of all listings
	maxFlights  = 64                       // calls on the wire at a time
	owedTTL     = 30 * time.Second
)

type cacheKey struct {
	depth depthHeader
	name  string
}

type kept struct {
	*listing
	expires time.Time
	owed    bool // its caller went away without it
}

// flight is what is on the wire for one question.
type flight struct {
	calls int
	owed  bool // a caller gave up and will come back
}

// cache keeps answers for a short while, and has one call on the wire for all
// who want the same.
type cache struct {
	now func() time.Time
	ttl time.Duration

	mu      sync.Mutex
	kept    map[cacheKey]*kept
	entries int
	flying  map[cacheKey]*flight
	calls   int    // on the wire
	writes  uint64 // counts our own changes: an answer begun before one may be old
	flights singleflight.Group
}

func (c *cache) init(now func() time.Time, ttl time.Duration) {
	c.now, c.ttl = now, ttl
	c.kept, c.flying = map[cacheKey]*kept{}, map[cacheKey]*flight{}
}

// get gives an answer that is still good. One that came too late for its caller
// is kept for long, but after its first use no longer than others.
func (c *cache) get(depth depthHeader, name string) (*listing, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fresh(cacheKey{depth, name})
}

func (c *cache) fresh(key cacheKey) (*listing, bool) {
	now := c.now()
	k, ok := c.kept[key]
	if !ok || !now.Before(k.expires) {
		return nil, false
	}
	if k.owed {
		k.owed, k.expires = false, now.Add(c.ttl)
	}
	return k.listing, true
}

// info finds an entry in what was said of it or of its folder.
func (c *cache) info(name string) (Info, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, depth := range []depthHeader{depthSelf, depthChildren} {
		if l, ok := c.fresh(cacheKey{depth, name}); ok {
			return l.self, true
		}
	}
	if name != "" {
		if l, ok := c.fresh(cacheKey{depthChildren, Dir(name)}); ok {
			return l.child(Base(name))
		}
	}
	return Info{}, false
}

// fetch has ask answer in the background and keeps what it says; false when too
// many calls are on the wire.
func (c *cache) fetch(ctx context.Context, depth depthHeader, name string, ask func(context.Context) (*listing, error)) (<-chan singleflight.Result, bool) {
	key := cacheKey{depth, name}
	c.mu.Lock()
	writes, busy := c.writes, c.calls >= maxFlights
	c.mu.Unlock()
	if busy {
		return nil, false
	}
	return c.flights.DoChan(fmt.Sprint(writes, depth, "/", name), func() (any, error) {
		f := c.takeOff(key)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callBudget)
		defer cancel()
		l, err := ask(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls--
		if f.calls--; f.calls == 0 {
			delete(c.flying, key)
		}
		if err != nil {
			return nil, err
		}
		if c.writes == writes {
			c.keep(key, l, f.owed)
		}
		return l, nil
	}), true
}

func (c *cache) takeOff(key cacheKey) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flying[key]
	if f == nil {
		f = &flight{}
		c.flying[key] = f
	}
	f.calls++
	c.calls++
	return f
}

// owe marks a question on the wire as one whose answer somebody will come back
// for.
func (c *cache) owe(depth depthHeader, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flying[cacheKey{depth, name}]; f != nil {
		f.owed = true
	}
}

func (c *cache) keep(key cacheKey, l *listing, owed bool) {
	ttl := c.ttl
	if owed {
		ttl = owedTTL
	}
	c.remove(key)
	c.purge()
	for len(c.kept) > 0 && (len(c.kept) >= maxListings || c.entries+len(l.children)+1 > maxListed) {
		var first cacheKey
		var at time.Time
		for k, v := range c.kept {
			if at.IsZero() || v.expires.Before(at) {
				first, at = k, v.expires
			}
		}
		c.remove(first)
	}
	c.kept[key] = &kept{l, c.now().Add(ttl), owed}
	c.entries += len(l.children) + 1
	// A share that nobody looks at any more holds no memory.
	time.AfterFunc(ttl+time.Second, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.purge()
	})
}

// purge forgets what is no longer good.
func (c *cache) purge() {
	now := c.now()
	for key, k := range c.kept {
		if !now.Before(k.expires) {
			c.remove(key)
		}
	}
}

func (c *cache) remove(key cacheKey) {
	if k, ok := c.kept[key]; ok {
		c.entries -= len(k.children) + 1
		delete(c.kept, key)
	}
}

// changed forgets what a change of ours at name touches: what is there and
// below, and the folders above, whose ETag and listing change with it.
func (c *cache) changed(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	for key := range c.kept {
		for _, name := range names {
			if key.name == name || Below(key.name, name) || Below(name, key.name) {
				c.remove(key)
				break
			}
		}
	}
}
