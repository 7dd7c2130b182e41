package tree

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// RemoteConfig says where a share on another server is and how to reach it.
type RemoteConfig struct {
	HTTP *http.Client // guards addresses; redirects are not followed

	// Root is the URL of the shared file or folder, and whether the credential is
	// the user of Basic with an empty password there (OCM 1.0); else it is Bearer.
	Root   func(ctx context.Context) (address string, basic bool, err error)
	Tokens *TokenSource
	File   bool // the share was announced as a single file
	Rights Rights
	Now    func() time.Time // nil: time.Now

	// OnState is told when the share's server stops or begins to answer, and
	// at the first call; never twice the same. nil: nobody is told.
	OnState func(ok bool, reason string)

	Budget  time.Duration // how long a caller waits for metadata; 0: 1.8 s
	ListTTL time.Duration // how long a listing is good; 0: 4 s
}

// Remote is the Tree of a share on another server, reached by WebDAV (OCM 1.5,
// Resource Access).
//
// No caller waits longer than the budget for metadata. A slower answer is kept
// for the next who asks, and calls go on when their caller has gone.
type Remote struct {
	cfg   RemoteConfig
	cache cache

	mu    sync.Mutex
	plain bool // the peer knows no PROPFIND: a single file by HEAD and GET
	root  *Info

	state struct {
		sync.Mutex
		known, ok bool
	}
}

const (
	defaultBudget  = 1800 * time.Millisecond
	defaultListTTL = 4 * time.Second
	callBudget     = 30 * time.Second // of a metadata call on the wire
	comeAgain      = 5 * time.Second
)

// NewRemote makes the tree; nothing is called before it is used.
func NewRemote(cfg RemoteConfig) *Remote {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Budget == 0 {
		cfg.Budget = defaultBudget
	}
	if cfg.ListTTL == 0 {
		cfg.ListTTL = defaultListTTL
	}
	// Redirects would carry the credential elsewhere.
	guarded := *cfg.HTTP
	guarded.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg.HTTP = &guarded
	r := &Remote{cfg: cfg}
	r.cache.init(cfg.Now, cfg.ListTTL)
	return r
}

// CachedRoot is the root as it was last seen, without asking anybody.
func (r *Remote) CachedRoot() (Info, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.root == nil {
		return Info{}, false
	}
	return *r.root, true
}

func (r *Remote) Stat(ctx context.Context, name string) (Info, error) {
	if info, ok := r.cache.info(name); ok {
		return info, nil
	}
	l, err := r.ask(ctx, name, depthSelf)
	if err != nil {
		return Info{}, err
	}
	return l.self, nil
}

func (r *Remote) List(ctx context.Context, name string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		l, ok := r.cache.get(depthChildren, name)
		if !ok {
			var err error
			if l, err = r.ask(ctx, name, depthChildren); err != nil {
				yield(Info{}, err)
				return
			}
		}
		if !l.self.Dir {
			yield(Info{}, ErrNotFolder)
			return
		}
		for _, info := range l.children {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Usage counts by what the peer says of its quota (RFC 4331); -1 stands for
// what it does not say.
func (r *Remote) Usage(ctx context.Context, name string) (Usage, error) {
	l, ok := r.cache.get(depthSelf, name)
	if !ok {
		var err error
		if l, err = r.ask(ctx, name, depthSelf); err != nil {
			return Usage{}, err
		}
	}
	return l.usage, nil
}

// ask has the peer describe name and waits for it within the budget.
func (r *Remote) ask(ctx context.Context, name string, depth depthHeader) (*listing, error) {
	result, ok := r.cache.fetch(ctx, depth, name, func(ctx context.Context) (*listing, error) {
		l, err := r.describe(ctx, name, depth)
		r.note(err, name == "")
		return l, err
	})
	if !ok {
		return nil, ErrUnavailable.Saying("Too many questions to the share's server are still unanswered; try again later.").RetryIn(comeAgain)
	}
	patience := time.NewTimer(r.cfg.Budget)
	defer patience.Stop()
	select {
	case got := <-result:
		if got.Err != nil {
			return nil, got.Err
		}
		return got.Val.(*listing), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience.C:
		r.cache.owe(depth, name)
		return nil, ErrUnavailable.Saying("The share's server is slow to answer; try again in a moment.").RetryIn(comeAgain)
	}
}

// describe asks by PROPFIND, or by HEAD where the peer does not know that.
func (r *Remote) describe(ctx context.Context, name string, depth depthHeader) (*listing, error) {
	r.mu.Lock()
	plain := r.plain
	r.mu.Unlock()
	var l *listing
	var err error
	if !plain {
		l, err = r.propfind(ctx, name, depth)
		if refusal, ok := errors.AsType[*answerError](err); ok && r.cfg.File && name == "" && refusal.lacksMethod() {
			plain = true
		}
	}
	if plain {
		if name != "" {
			return nil, ErrNotFound
		}
		l, err = r.head(ctx)
	}
	if err != nil {
		return nil, asTreeError(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plain = plain
	if name == "" {
		r.root = new(l.self)
	}
	return l, nil
}

// note tells OnState what a call showed. A share whose root is refused or gone
// when asked for (asked) is as unreachable as one whose server is silent.
func (r *Remote) note(err error, asked bool) {
	if r.cfg.OnState == nil || errors.Is(err, context.Canceled) || errors.Is(err, errBusy) {
		return
	}
	refused := asked && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden))
	ok, reason := true, ""
	if err != nil && (refused || errors.Is(err, ErrUnavailable)) {
		ok, reason = false, err.Error()
		if e, is := errors.AsType[*ocm.Error](err); is {
			reason = e.Message
		}
	}
	r.state.Lock()
	defer r.state.Unlock()
	if !r.state.known || r.state.ok != ok {
		r.state.known, r.state.ok = true, ok
		r.cfg.OnState(ok, reason)
	}
}

// segments splits a path into its elements; "" has none.
func segments(p string) []string {
	return strings.FieldsFunc(p, func(c rune) bool { return c == '/' })
}
