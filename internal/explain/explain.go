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
	mu    sync.Mutex
	steps []Step
}

type traceKey struct{}

// With gives a context whose steps are gathered in the Trace.
func With(ctx context.Context) (context.Context, *Trace) {
	t := &Trace{}
	return context.WithValue(ctx, traceKey{}, t), t
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
	DB   *store.DB
	Now  func() time.Time
	Log  *slog.Logger
	Keep time.Duration // how long; 0 keeps none

	once  sync.Once
	queue chan Decision
}

const (
	maxQueue = 4096
	maxKept  = 200_000 // whatever the age: a flood must not fill the disk
	maxGroup = 256
)

func (k *Keeper) open() chan Decision {
	k.once.Do(func() { k.queue = make(chan Decision, maxQueue) })
	return k.queue
}

// Put keeps a decision. It never waits: when more come than can be written, some
// are left out, and the log says so.
func (k *Keeper) Put(d Decision) {
	if k.Keep <= 0 {
		return
	}
	select {
	case k.open() <- d:
	default:
		k.Log.Warn("a decision is not kept: too many at once", "request", d.Request)
	}
}

// Run writes until ctx ends and all that was put is written.
func (k *Keeper) Run(ctx context.Context) error {
	queue := k.open()
	sweep := time.NewTicker(10 * time.Minute)
	defer sweep.Stop()
	k.sweep(ctx)
	for {
		select {
		case d := <-queue:
			k.write(queue, d)
		case <-sweep.C:
			k.sweep(ctx)
		case <-ctx.Done():
			for {
				select {
				case d := <-queue:
					k.write(queue, d)
				default:
					return nil
				}
			}
		}
	}
}

func (k *Keeper) write(queue chan Decision, first Decision) {
	rows := []row{rowOf(first)}
fill:
	for len(rows) < maxGroup {
		select {
		case d := <-queue:
			rows = append(rows, rowOf(d))
		default:
			break fill
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := k.DB.Write.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
		k.Log.Error("decisions cannot be kept", "error", err)
	}
}

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

func (k *Keeper) sweep(ctx context.Context) {
	_, err := k.DB.Write.NewDelete().Model((*row)(nil)).Where("at < ?", store.Millis(k.Now().Add(-k.Keep))).Exec(ctx)
	if err == nil {
		_, err = k.DB.Write.NewDelete().Model((*row)(nil)).
			Where("at < (SELECT COALESCE(MIN(at), 0) FROM (SELECT at FROM decisions ORDER BY at DESC LIMIT ?) AS kept)", maxKept).Exec(ctx)
	}
	if err != nil && ctx.Err() == nil {
		k.Log.Error("old decisions cannot be removed", "error", err)
	}
}

// ErrNoDecision says that nothing is known of a request.
var ErrNoDecision = ocm.NewError(http.StatusNotFound, "REQUEST_NOT_FOUND",
	"Nothing is kept of that request: it is too old, it was not decided by a rule (such as reading a file), or the id is mistyped.")

// Find gives the decision on a request.
func (k *Keeper) Find(ctx context.Context, request string) (*Decision, error) {
	var r row
	err := k.DB.Read.NewSelect().Model(&r).Where("request = ?", request).Scan(ctx)
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
