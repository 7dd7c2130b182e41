package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/crypto/argon2"
	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/ocm"
)

const (
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
)

// Cost is what hashing a password costs, in the terms of argon2id.
type Cost struct {
	Time   uint32
	Memory uint32 // KiB
}

// DefaultCost is about 60 ms on one core and 19 MiB, the second choice of OWASP's
// password storage guide. No configuration lowers it; tests give their own.
var DefaultCost = Cost{Time: 2, Memory: 19 * 1024}

// hashing bounds how many passwords are hashed at once, and so the memory it
// takes.
var hashing = make(chan struct{}, 2)

func argon(password, salt []byte, t, m uint32, p uint8, n uint32) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey(password, salt, t, m, p, n)
}

// hash returns the PHC string of a password.
func (c Cost) hash(p ocm.Secret) string {
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	key := argon([]byte(p.Reveal()), salt, c.Time, c.Memory, argonThreads, argonKey)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Time, argonThreads, b64(salt), b64(key))
}

// verifyPassword reports whether p is the password behind a PHC string.
func verifyPassword(phc string, p ocm.Secret) bool {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false
	}
	var version int
	var m, t uint32
	var threads uint8
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &threads); err != nil || t == 0 || threads == 0 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) == 0 {
		return false
	}
	return subtle.ConstantTimeCompare(argon([]byte(p.Reveal()), salt, t, m, threads, uint32(len(want))), want) == 1
}

// passwordCache remembers for a few minutes which passwords were right, so that
// a WebDAV client that sends one with every request does not pay for the
// hashing each time. It keeps a keyed hash, never the password.
type passwordCache struct {
	now   func() time.Time
	key   []byte
	known *lru.Cache[string, remembered] // by user id
}

type remembered struct {
	mac   [sha256.Size]byte
	phc   string
	until time.Time
}

const rememberFor = 5 * time.Minute

func newPasswordCache(now func() time.Time) *passwordCache {
	key := make([]byte, 32)
	rand.Read(key)
	known, err := lru.New[string, remembered](4096)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &passwordCache{now, key, known}
}

func (c *passwordCache) mac(p ocm.Secret) (out [sha256.Size]byte) {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(p.Reveal()))
	h.Sum(out[:0])
	return out
}

// verify is verifyPassword through the cache.
func (c *passwordCache) verify(u User, p ocm.Secret) bool {
	mac := c.mac(p)
	if r, ok := c.known.Get(u.ID); ok && r.phc == u.PasswordHash && c.now().Before(r.until) && hmac.Equal(r.mac[:], mac[:]) {
		return true
	}
	if !verifyPassword(u.PasswordHash, p) {
		return false
	}
	c.known.Add(u.ID, remembered{mac, u.PasswordHash, c.now().Add(rememberFor)})
	return true
}

func (c *passwordCache) forget(userID string) { c.known.Remove(userID) }

// failures slows down who guesses: a few wrong passwords for a name from one
// address are free, then one every ten seconds.
type failures struct {
	now     func() time.Time
	mu      sync.Mutex
	buckets *lru.Cache[string, *rate.Limiter]
}

const (
	freeFailures  = 10
	failurePeriod = 10 * time.Second
)

func newFailures(now func() time.Time) *failures {
	buckets, err := lru.New[string, *rate.Limiter](1 << 14)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &failures{now: now, buckets: buckets}
}

func (f *failures) bucket(name, from string) *rate.Limiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := nameKey(name) + "\x00" + from
	b, ok := f.buckets.Get(k)
	if !ok {
		b = rate.NewLimiter(rate.Every(failurePeriod), freeFailures)
		f.buckets.Add(k, b)
	}
	return b
}

// wait tells how long the next attempt has to wait, 0 when it may be made.
func (f *failures) wait(name, from string) time.Duration {
	now := f.now()
	if f.bucket(name, from).TokensAt(now) >= 1 {
		return 0
	}
	return failurePeriod
}

func (f *failures) record(name, from string) { f.bucket(name, from).AllowN(f.now(), 1) }
