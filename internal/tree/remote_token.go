package tree

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/weft-mesh/weft/ocm"
)

// TokenSource keeps the credential of a share and renews it once for all who
// wait for it.
type TokenSource struct {
	Now   func() time.Time // nil: time.Now
	Fetch func(ctx context.Context) (ocm.Secret, time.Time, error)

	mu     sync.Mutex
	token  ocm.Secret
	from   time.Time
	expiry time.Time // zero: never
	flight singleflight.Group
}

const (
	renewBefore  = 30 * time.Second
	fetchBudget  = 30 * time.Second
	uploadMargin = time.Minute // what a token must still last when an upload begins
)

// Token is the credential as it is now: the cached one until shortly before its
// expiry. force renews it although it seems good.
func (t *TokenSource) Token(ctx context.Context, force bool) (ocm.Secret, error) {
	current, ok := t.cached(0)
	if ok && !force {
		return current, nil
	}
	return t.renew(ctx, current)
}

// lasting is a token that is good for a while yet, if the peer gives such.
func (t *TokenSource) lasting(ctx context.Context, margin time.Duration) (ocm.Secret, error) {
	current, ok := t.cached(margin)
	if ok {
		return current, nil
	}
	return t.renew(ctx, current)
}

// cached gives the token held, and whether it is not due for renewal: thirty
// seconds before its expiry, or after four fifths of a short life.
func (t *TokenSource) cached(margin time.Duration) (ocm.Secret, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == "" || t.expiry.IsZero() {
		return t.token, t.token != ""
	}
	now := t.now()
	due := t.expiry.Add(-renewBefore)
	if early := t.from.Add(t.expiry.Sub(t.from) * 4 / 5); early.After(due) {
		due = early
	}
	return t.token, now.Before(due) && t.expiry.Sub(now) > margin
}

// renew replaces a token that turned out to be no good. When another has done
// so already, the new one is good for all.
func (t *TokenSource) renew(ctx context.Context, bad ocm.Secret) (ocm.Secret, error) {
	result := t.flight.DoChan("", func() (any, error) {
		t.mu.Lock()
		current := t.token
		t.mu.Unlock()
		if current != bad {
			return current, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchBudget)
		defer cancel()
		token, expiry, err := t.Fetch(ctx)
		if err != nil {
			return ocm.Secret(""), err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.token, t.from, t.expiry = token, t.now(), expiry
		return token, nil
	})
	select {
	case got := <-result:
		return got.Val.(ocm.Secret), got.Err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (t *TokenSource) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}
