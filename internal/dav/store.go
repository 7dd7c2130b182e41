package dav

import (
	"context"
	"encoding/xml"
	"time"
)

// Depth is how far an operation or a lock reaches (RFC 4918 §10.2).
type Depth int

// The depths of RFC 4918.
const (
	Depth0   Depth = 0  // the resource alone
	Depth1   Depth = 1  // the resource and its direct members
	Infinity Depth = -1 // the resource and everything below it
)

// Lock is one write lock (RFC 4918 §6). Path is the path within Space; it is
// the lock's root.
type Lock struct {
	Token     string // "urn:uuid:…"
	Space     string
	Path      string
	Infinite  bool   // covers everything below Path too
	Exclusive bool   // no other lock may cover what it covers
	Owner     string // what the client says of itself: XML, self-contained
	Principal string // who holds it
	Expires   time.Time
}

// Covers reports whether the lock protects path.
func (l Lock) Covers(path string) bool {
	return l.Path == path || l.Infinite && below(path, l.Path)
}

// Conflicts reports whether l and o, both unexpired and of one space, cannot be
// held together (RFC 4918 §6.2): they cover a common path and one is exclusive.
func (l Lock) Conflicts(o Lock) bool {
	return (l.Exclusive || o.Exclusive) && (l.Covers(o.Path) || o.Covers(l.Path))
}

// Conflict is the failure of Acquire: Lock is held and in the way.
type Conflict struct{ Lock Lock }

func (c *Conflict) Error() string { return "a lock on " + c.Lock.Path + " is in the way" }

// LockStore keeps locks. Expired locks do not exist for any of its methods.
type LockStore interface {
	// Acquire records l, or returns a *Conflict when a held lock Conflicts
	// with it. Deciding and recording are one atomic step.
	Acquire(ctx context.Context, l Lock) error
	// Refresh sets a new end of life and reports whether the lock was there.
	Refresh(ctx context.Context, space, token string, expires time.Time) (bool, error)
	// Release drops a lock; a lock that is not there is no failure.
	Release(ctx context.Context, space, token string) error
	// Locks lists the locks whose Path is path, an ancestor of it (the root ""
	// included, whatever their depth), or anything below it.
	Locks(ctx context.Context, space, path string) ([]Lock, error)
}

// Prop is a dead property (RFC 4918 §4): kept as given and not understood.
type Prop struct {
	Name  xml.Name // Space is the namespace
	Lang  string   // xml:lang in force, "" when none
	Value string   // the inner XML, self-contained: it declares every prefix it uses
}

// PropStore keeps dead properties.
type PropStore interface {
	// Props lists the properties of one path.
	Props(ctx context.Context, space, path string) ([]Prop, error)
	// ChildProps lists the properties of every direct member of a folder, by
	// the member's name (the last element of its path).
	ChildProps(ctx context.Context, space, folder string) (map[string][]Prop, error)
	// PatchProps sets and removes properties of one path in one atomic step.
	// Removing one that is not there is no failure.
	PatchProps(ctx context.Context, space, path string, set []Prop, remove []xml.Name) error
}

// Follower keeps properties and locks in step with the files they belong to.
// Paths are within the space; each call concerns the path and all below it.
type Follower interface {
	// Moved is told after a move: properties go along and replace those at
	// the target; locks on both sides are dropped (RFC 4918 §7.6, §9.9).
	Moved(ctx context.Context, space, from, to string) error
	// Copied is told after a copy: properties are copied (those of the path
	// alone at Depth0) and replace those at the target; locks at the target are
	// dropped, those at the source stay (RFC 4918 §9.8).
	Copied(ctx context.Context, space, from, to string, depth Depth) error
	// Removed is told after a deletion: properties and locks are dropped.
	Removed(ctx context.Context, space, path string) error
}
