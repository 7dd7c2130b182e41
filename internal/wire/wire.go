// Package wire keeps what went over the wire to and from other servers, for
// operators who want to see why something does not work. Secrets are masked
// before anything is kept.
package wire

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// The directions of an exchange.
const (
	In  = "in"
	Out = "out"
)

// Exchange is a request and its answer.
type Exchange struct {
	ID        string // of the request, for what came in
	At        time.Time
	Direction string
	Peer      ocm.Host // who asked or was asked; "" when a request does not tell
	Operation string   // what it was for
	Method    string
	URL       string
	Header    http.Header
	Body      []byte
	Base      string // what the signature signs; "" when there is none
	Status    int    // 0: no answer
	Answered  http.Header
	Answer    []byte
	Took      time.Duration
	Fault     string // why it was refused or failed; "" when all went well
}

// Entry is an exchange as it is kept.
type Entry struct {
	bun.BaseModel `bun:"table:wire"`

	ID            string `bun:",pk"`
	At            int64
	Direction     string
	Peer          string
	Operation     string
	Method        string
	URL           string `bun:"url"`
	Header        string
	Body          string
	SignatureBase string
	Status        int64
	AnswerHeader  string
	Answer        string
	Micros        int64
	Fault         string
}

// MaxBody is how many bytes of a body are looked at; larger ones are not shown.
const MaxBody = 64 << 10

const (
	maxKept = 20_000
	maxLine = 4096 // bytes of a header field, URL or fault
)

// Keeper writes exchanges behind the requests.
type Keeper struct {
	db     *store.DB
	behind *store.Behind[Entry]
	keep   time.Duration
	pace   *rate.Limiter
	left   atomic.Int64 // out, since the last word on it
}

// perSecond is how many exchanges a second are kept: under a flood the others go
// by, because looking at them would slow the server down.
const perSecond = 200

// NewKeeper keeps exchanges for a time, the latest 20,000 at most; 0 keeps none.
func NewKeeper(db *store.DB, now func() time.Time, log *slog.Logger, keep time.Duration) *Keeper {
	k := &Keeper{db: db, keep: keep, pace: rate.NewLimiter(perSecond, 5*perSecond)}
	k.behind = &store.Behind[Entry]{
		What: "the wire", Log: log,
		Write: func(ctx context.Context, rows []Entry) error {
			_, err := db.Write.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Exec(ctx)
			return err
		},
		Sweep: func(ctx context.Context) error {
			if n := k.left.Swap(0); n > 0 {
				log.Warn("too many messages to keep all for weft wire", "left out", n)
			}
			return db.SweepOld(ctx, "wire", now().Add(-keep), maxKept)
		},
	}
	return k
}

// On reports whether anything is kept.
func (k *Keeper) On() bool { return k.keep > 0 }

// Takes reports whether one more exchange can be kept now; who is told so puts
// it.
func (k *Keeper) Takes() bool {
	if !k.On() {
		return false
	}
	if !k.pace.Allow() {
		k.left.Add(1)
		return false
	}
	return true
}

// Put keeps an exchange, with its secrets masked. It never waits.
func (k *Keeper) Put(x Exchange) {
	if x.ID == "" {
		x.ID = store.NewID()
	}
	v := new(veil)
	e := Entry{
		ID: x.ID, At: store.Millis(x.At), Direction: x.Direction, Peer: string(x.Peer), Operation: x.Operation, Method: x.Method, URL: v.url(x.URL),
		Header: v.fields(x.Header), Body: v.body(x.Header.Get("Content-Type"), x.Body),
		Status: int64(x.Status), AnswerHeader: v.fields(x.Answered), Answer: v.body(x.Answered.Get("Content-Type"), x.Answer),
		Micros: x.Took.Microseconds(), Fault: v.text(x.Fault, 0), SignatureBase: v.base(x.Base, x.URL),
	}
	known := v.known()
	for _, text := range []*string{&e.URL, &e.Header, &e.Body, &e.SignatureBase, &e.AnswerHeader, &e.Answer, &e.Fault} {
		*text = known.Replace(*text)
	}
	e.URL, e.Fault = cut(e.URL), cut(e.Fault)
	k.behind.Put(e)
}

// Run writes until ctx ends and all that was put is written.
func (k *Keeper) Run(ctx context.Context) error { return k.behind.Run(ctx) }

func cut(s string) string {
	if len(s) > maxLine {
		return strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return s
}

// Filter says which exchanges to list.
type Filter struct {
	Peer   string // of this host alone
	About  string // that hold this text: a providerId, a name
	Failed bool   // that were refused or failed
	Before string // the id of the last one of the page before
	Limit  int64
}

// List gives the latest exchanges, the newest first, without headers and bodies.
func (k *Keeper) List(ctx context.Context, f Filter) ([]Entry, error) {
	out := []Entry{}
	q := k.db.Read.NewSelect().Model(&out).ExcludeColumn("header", "body", "signature_base", "answer_header", "answer").
		Order("at DESC", "id DESC").Limit(f.Limit)
	if f.Peer != "" {
		q = q.Where("peer = ?", f.Peer)
	}
	if f.Failed {
		q = q.Where("fault <> ''")
	}
	if f.About != "" {
		like := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(f.About) + "%"
		q = q.Where(`(body LIKE ? ESCAPE '\' OR answer LIKE ? ESCAPE '\')`, like, like)
	}
	if f.Before != "" {
		switch last, err := k.Find(ctx, f.Before); {
		case err == nil:
			q = q.Where("(at < ? OR at = ? AND id < ?)", last.At, last.At, last.ID)
		case errors.Is(err, ErrNoExchange) && uuid.Validate(f.Before) == nil: // kept no more; what is older has a smaller id
			q = q.Where("id < ?", f.Before)
		default:
			return nil, err
		}
	}
	return out, q.Scan(ctx)
}

// Answers gives the latest answers of other servers: when they came, and their
// header fields.
func (k *Keeper) Answers(ctx context.Context, limit int64) ([]Entry, error) {
	out := []Entry{}
	err := k.db.Read.NewSelect().Model(&out).Column("at", "peer", "answer_header").Where("direction = ? AND status > 0", Out).
		Order("at DESC", "id DESC").Limit(limit).Scan(ctx)
	return out, err
}

// ErrNoExchange says that nothing is kept under an id.
var ErrNoExchange = ocm.NewError(http.StatusNotFound, "EXCHANGE_NOT_FOUND",
	"Nothing is kept under that id: it is too old, the wire is not kept for that server, or the id is mistyped.")

// Find gives an exchange by its id or the end of it.
func (k *Keeper) Find(ctx context.Context, id string) (*Entry, error) {
	var found []Entry
	err := k.db.Read.NewSelect().Model(&found).Where("id = ?", id).Scan(ctx)
	if err == nil && len(found) == 0 && len(id) >= 8 && !strings.ContainsAny(id, `%_\`) {
		err = k.db.Read.NewSelect().Model(&found).Where("id LIKE ?", "%"+id).Limit(2).Scan(ctx)
	}
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, ErrNoExchange
	}
	return &found[0], nil
}
