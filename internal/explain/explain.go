// Package explain keeps how requests were decided: which checks were made, what
// each found, and what it led to. An operator asks for it by the id that every
// answer carries.
package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Step is one check of a request and its outcome.
type Step struct {
	Check string `json:"check"`
	Found string `json:"found"`
}

// Trace gathers the steps of one request. The nil Trace takes none.
type Trace struct {
	request string
	mu      sync.Mutex
	steps   []Step
}

type traceKey struct{}

// With gives a context whose steps are gathered in the Trace of a request.
func With(ctx context.Context, request string) (context.Context, *Trace) {
	t := &Trace{request: request}
	return context.WithValue(ctx, traceKey{}, t), t
}

// Request is the id of the request behind ctx, "" when there is none.
func Request(ctx context.Context) string {
	if t, _ := ctx.Value(traceKey{}).(*Trace); t != nil {
		return t.request
	}
	return ""
}

const (
	maxSteps = 50
	maxFound = 500 // bytes; some of it is a peer's
)

// Note adds a step to the request behind ctx, if it is gathered. What was found
// must hold no secret.
func Note(ctx context.Context, check, format string, args ...any) {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	if t == nil {
		return
	}
	found := fmt.Sprintf(format, args...)
	if len(found) > maxFound {
		found = found[:maxFound] + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, Step{check, ocm.DisplayName(found)})
	}
}

// Steps are those gathered so far.
func (t *Trace) Steps() []Step {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.steps
}

// Decision is a request and how it was decided.
type Decision struct {
	Request string
	At      time.Time
	Method  string
	Path    string
	Origin  string // the client's address
	Peer    string // who it came from or named, once known
	Person  string // who asked, for the API
	Status  int
	Code    string // "" when it was accepted
	Reason  string
	Steps   []Step
}

type row struct {
	bun.BaseModel `bun:"table:decisions"`

	Request string `bun:",pk"`
	At      int64
	Method  string
	Path    string
	Origin  string
	Peer    string
	Person  string
	Status  int64
	Code    string
	Reason  string
	Steps   string
}

// Keeper writes decisions behind the requests, many in one commit.
type Keeper struct {
	db     *store.DB
	behind *store.Behind[row]
	keep   time.Duration
}

// maxKept is how many decisions are kept at most.
const maxKept = 200_000

// NewKeeper keeps decisions for a time; 0 keeps none.
func NewKeeper(db *store.DB, now func() time.Time, log *slog.Logger, keep time.Duration) *Keeper {
	k := &Keeper{db: db, keep: keep}
	k.behind = &store.Behind[row]{
		What: "decisions", Log: log,
		Write: func(ctx context.Context, rows []row) error {
			_, err := db.Write.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Exec(ctx)
			return err
		},
		Sweep: func(ctx context.Context) error { return db.SweepOld(ctx, "decisions", now().Add(-keep), maxKept) },
	}
	return k
}

// Put keeps a decision. It never waits.
func (k *Keeper) Put(d Decision) {
	if k.keep > 0 {
		k.behind.Put(rowOf(d))
	}
}

// Run writes until ctx ends and all that was put is written.
func (k *Keeper) Run(ctx context.Context) error { return k.behind.Run(ctx) }

func rowOf(d Decision) row {
	steps, err := json.Marshal(d.Steps)
	if err != nil {
		steps = []byte("[]")
	}
	return row{
		Request: d.Request, At: store.Millis(d.At), Method: d.Method, Path: cut(d.Path), Origin: d.Origin, Peer: d.Peer, Person: d.Person,
		Status: int64(d.Status), Code: d.Code, Reason: cut(d.Reason), Steps: string(steps),
	}
}

func cut(s string) string {
	if len(s) > maxFound {
		return s[:maxFound] + "…"
	}
	return s
}

// ErrNoDecision says that nothing is known of a request.
var ErrNoDecision = ocm.NewError(http.StatusNotFound, "REQUEST_NOT_FOUND",
	"Nothing is kept of that request: it is too old, it was not decided by a rule (such as reading a file), or the id is mistyped.")

// Find gives the decision on a request.
func (k *Keeper) Find(ctx context.Context, request string) (*Decision, error) {
	var r row
	err := k.db.Read.NewSelect().Model(&r).Where("request = ?", request).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoDecision
	}
	if err != nil {
		return nil, err
	}
	d := &Decision{
		Request: r.Request, At: store.Time(r.At), Method: r.Method, Path: r.Path, Origin: r.Origin, Peer: r.Peer, Person: r.Person,
		Status: int(r.Status), Code: r.Code, Reason: r.Reason,
	}
	return d, json.Unmarshal([]byte(r.Steps), &d.Steps)
}
