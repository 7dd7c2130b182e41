package tree

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Counter counts the bytes in a tree and those that uploads under way have
// reserved. Its zero value is ready: it is filled by one walk when it is first
// needed, and kept exact by what the tree charges (see Charge).
type Counter struct {
	fill sync.Mutex // held during the walk

	mu       sync.Mutex
	known    bool
	used     int64
	reserved int64
}

// Used is the bytes in the tree, 0 before the first walk.
func (c *Counter) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// Known is Used, and whether the tree has been walked.
func (c *Counter) Known() (used int64, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used, c.known
}

// ready makes sure that the tree has been counted.
func (c *Counter) ready(ctx context.Context, t Tree) error {
	c.fill.Lock()
	defer c.fill.Unlock()
	if c.known {
		return nil
	}
	usage, err := t.Usage(ctx, "")
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used, c.known = usage.Used, true
	return nil
}

// account is what one change may take. It travels in the context of the call
// down to the tree that keeps the bytes.
type account struct {
	counter *Counter
	limit   int64 // bytes, -1: none
	held    int64 // reserved for this change
}

type accountKey struct{}

// Charge books a change of the bytes that a tree keeps, at the moment it takes
// effect. Every tree that may stand directly under WithQuota calls it with the
// context of the change, and gives the change up when it fails (ErrQuota); less
// or equal 0 never fails. Without a quota it does nothing.
func Charge(ctx context.Context, delta int64) error {
	a, ok := ctx.Value(accountKey{}).(*account)
	if !ok {
		return nil
	}
	a.counter.mu.Lock()
	defer a.counter.mu.Unlock()
	a.counter.reserved -= a.held
	a.held = 0
	if delta > 0 && a.exceeded(delta) {
		return ErrQuota
	}
	a.counter.used += delta
	return nil
}

// charged reports whether Charge does anything with this context.
func charged(ctx context.Context) bool { return ctx.Value(accountKey{}) != nil }

func (a *account) exceeded(more int64) bool {
	return a.limit >= 0 && a.counter.used+a.counter.reserved+more > a.limit
}

// hold makes sure that at least n bytes are reserved.
func (a *account) hold(n int64) error {
	more := n - a.held
	if more <= 0 {
		return nil
	}
	a.counter.mu.Lock()
	defer a.counter.mu.Unlock()
	if a.exceeded(more) {
		return ErrQuota
	}
	a.counter.reserved += more
	a.held = n
	return nil
}

// release gives back what was reserved and not charged.
func (a *account) release() {
	a.counter.mu.Lock()
	defer a.counter.mu.Unlock()
	a.counter.reserved -= a.held
	a.held = 0
}

// WithQuota is t with a limit on the bytes in it, asked for at each change; -1
// is none. t keeps the bytes itself and charges them (see Charge). All quotas of
// one tree share one Counter, and everything that changes the tree goes through
// one of them.
func WithQuota(t Bin, limit func() int64, counter *Counter) Bin {
	return &quota{t, limit, counter}
}

type quota struct {
	Bin
	limit   func() int64
	counter *Counter
}

// open makes an account for one change.
func (q *quota) open(ctx context.Context) (context.Context, *account, error) {
	if err := q.counter.ready(ctx, q.Bin); err != nil {
		return nil, nil, err
	}
	a := &account{counter: q.counter, limit: q.limit()}
	return context.WithValue(ctx, accountKey{}, a), a, nil
}

// weight is the bytes at a name, 0 when it is free.
func (q *quota) weight(ctx context.Context, name string) (int64, error) {
	info, err := q.Bin.Stat(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case !info.Dir:
		return info.Size, nil
	}
	usage, err := q.Bin.Usage(ctx, name)
	return usage.Used, err
}

// Put implements Tree: refused by the announced size, or as soon as more comes
// than there is room for. What the new file replaces counts as room.
func (q *quota) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	ctx, a, err := q.open(ctx)
	if err != nil {
		return Info{}, false, err
	}
	defer a.release()
	old, err := q.Bin.Stat(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Info{}, false, err
	}
	if err := a.hold(opt.Size - old.Size); err != nil {
		return Info{}, false, err
	}
	return q.Bin.Put(ctx, name, &meter{body: body, account: a, room: old.Size}, opt)
}

// meter reserves the bytes of a body as they come.
type meter struct {
	body    io.Reader
	account *account
	room    int64 // bytes that need no reservation
	read    int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.body.Read(p)
	m.read += int64(n)
	if full := m.account.hold(m.read - m.room); full != nil {
		return 0, full
	}
	return n, err
}

// Move implements Tree: what it replaces becomes room.
func (q *quota) Move(ctx context.Context, from, to string, opt MoveOptions) (bool, error) {
	ctx, a, err := q.open(ctx)
	if err != nil {
		return false, err
	}
	defer a.release()
	return q.Bin.Move(ctx, from, to, opt)
}

// Copy implements Tree: refused before anything is copied when there is no room.
func (q *quota) Copy(ctx context.Context, from, to string, opt CopyOptions) (bool, error) {
	ctx, a, err := q.open(ctx)
	if err != nil {
		return false, err
	}
	defer a.release()
	info, err := q.Bin.Stat(ctx, from)
	if err != nil {
		return false, err
	}
	if a.limit >= 0 && !(info.Dir && opt.Shallow) {
		more, err := q.weight(ctx, from)
		if err != nil {
			return false, err
		}
		old, err := q.weight(ctx, to)
		if err != nil {
			return false, err
		}
		if err := a.hold(more - old); err != nil {
			return false, err
		}
	}
	return q.Bin.Copy(ctx, from, to, opt)
}

// Remove implements Tree.
func (q *quota) Remove(ctx context.Context, name string, cond Condition) error {
	ctx, a, err := q.open(ctx)
	if err != nil {
		return err
	}
	defer a.release()
	return q.Bin.Remove(ctx, name, cond)
}

// Discard implements Bin.
func (q *quota) Discard(ctx context.Context, name string, cond Condition, id string) (Kept, error) {
	ctx, a, err := q.open(ctx)
	if err != nil {
		return Kept{}, err
	}
	defer a.release()
	return q.Bin.Discard(ctx, name, cond, id)
}

// Restore implements Bin: refused when there is no room for it.
func (q *quota) Restore(ctx context.Context, id, to string) (Info, error) {
	ctx, a, err := q.open(ctx)
	if err != nil {
		return Info{}, err
	}
	defer a.release()
	return q.Bin.Restore(ctx, id, to)
}

// Usage implements Tree. For the root it needs no walk.
func (q *quota) Usage(ctx context.Context, name string) (Usage, error) {
	if err := q.counter.ready(ctx, q.Bin); err != nil {
		return Usage{}, err
	}
	if name != "" {
		usage, err := q.Bin.Usage(ctx, name)
		usage.Available = q.left(usage.Available)
		return usage, err
	}
	room := int64(-1)
	if disk, ok := q.Bin.(interface{ Free() int64 }); ok {
		room = disk.Free()
	}
	return Usage{Used: q.counter.Used(), Available: q.left(room)}, nil
}

// left is the bytes left of the quota, or room (-1: not known) where that is
// less.
func (q *quota) left(room int64) int64 {
	limit := q.limit()
	if limit < 0 {
		return room
	}
	q.counter.mu.Lock()
	rest := max(limit-q.counter.used-q.counter.reserved, 0)
	q.counter.mu.Unlock()
	if room < 0 {
		return rest
	}
	return min(rest, room)
}
