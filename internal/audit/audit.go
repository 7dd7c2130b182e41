// Package audit keeps who did what to whom, from where, and how it ended: for
// operators who have to answer that later. Records are added and never changed;
// they go when they are older than the operator keeps them.
//
// Domain methods call Note in the transaction of their change, so that there is
// no change without its record and no record without its change. Who acts
// travels in the context.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// The kinds of actors.
const (
	User     = "user"     // someone who is signed in
	Operator = "operator" // someone at the command line of the server
	Peer     = "peer"     // another server
	Visitor  = "visitor"  // someone who is not signed in
	System   = "system"   // the server by itself: expiry, deliveries
)

// CLI is the origin of what is done at the command line.
const CLI = "cli"

// By is who acts, and from where.
type By struct {
	Kind    string
	ID      string // of a user
	Name    string // a user's name, a peer's host
	Origin  string // the client's address, or CLI
	Request string // the request's id
}

// Source tells who acts in a context. It is asked when a record is made: a
// request learns who it is from while it is handled.
type Source interface{ ActsAs() By }

// ActsAs makes a fixed By a Source.
func (b By) ActsAs() By { return b }

type sourceKey struct{}

// With gives a context in which s acts.
func With(ctx context.Context, s Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, s)
}

// Acting tells who acts in a context: the server itself where nobody is named.
func Acting(ctx context.Context) By {
	if s, ok := ctx.Value(sourceKey{}).(Source); ok {
		return s.ActsAs()
	}
	return By{Kind: System}
}

// As gives a context in which someone else acts, from the same place.
func As(ctx context.Context, kind, id, name string) context.Context {
	by := Acting(ctx)
	by.Kind, by.ID, by.Name = kind, id, name
	return With(ctx, by)
}

// Action is a stable word for an act: operators filter by it, and by its
// beginning.
type Action string

// Event is what a domain method says of a change.
type Event struct {
	Action Action
	Kind   string // of the object
	ID     string
	Name   string // as people know it: a name, or a path
	Target string // the address or host it was done towards
	// Details are what else should be known later, as JSON. They hold no
	// secret and no content.
	Details Details
}

// Details are named values.
type Details map[string]any

// Entry is a record as it is kept.
type Entry struct {
	bun.BaseModel `bun:"table:audit"`

	ID         string `bun:",pk"`
	At         int64
	Action     string
	ActorKind  string
	ActorID    string
	Actor      string
	ObjectKind string
	ObjectID   string
	Object     string
	Target     string
	Origin     string
	Request    string
	Outcome    string
	Code       string
	Details    string
}

// The outcomes.
const (
	Done    = "done"
	Refused = "refused"
)

// The bounds of a record, in bytes: some of it is a peer's.
const (
	maxText    = 1024
	maxDetails = 16 << 10
)

// Note records that a change was made, in the transaction of the change.
func Note(ctx context.Context, tx bun.IDB, now time.Time, e Event) error {
	row, err := entry(ctx, now, e)
	if err != nil {
		return err
	}
	_, err = store.Insert(ctx, tx, []Entry{*row}, "")
	return err
}

func entry(ctx context.Context, now time.Time, e Event) (*Entry, error) {
	by := Acting(ctx)
	details := []byte("{}")
	if len(e.Details) > 0 {
		var err error
		if details, err = json.Marshal(e.Details); err != nil {
			return nil, fmt.Errorf("audit %s: %w", e.Action, err)
		}
		if len(details) > maxDetails {
			details = fmt.Appendf(nil, `{"leftOut":"%d bytes"}`, len(details))
		}
	}
	return &Entry{
		ID: store.NewID(), At: store.Millis(now), Action: string(e.Action),
		ActorKind: by.Kind, ActorID: by.ID, Actor: cut(by.Name), ObjectKind: e.Kind, ObjectID: cut(e.ID), Object: cut(e.Name),
		Target: cut(e.Target), Origin: by.Origin, Request: by.Request, Outcome: Done, Details: string(details),
	}, nil
}

// cut makes text of others fit: one line, without characters that mislead.
func cut(s string) string {
	if s = ocm.DisplayName(s); len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
