// Package delivery is the outbox: what must reach a peer is recorded in the
// transaction of its change and delivered from here, in order per share, again
// and again until the peer has it or we give up visibly.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Message is one thing to tell a peer. Messages to a Peer of one OrderKey (a share's
// providerId, which may be another peer's too) are delivered one after the other, in
// the order of Enqueue.
type Message struct {
	ID       string // set by Enqueue
	Peer     ocm.Host
	OrderKey string
	Kind     string
	Payload  []byte // sealed at rest: it may hold a sharedSecret
}

// Courier carries the messages of the kinds it registers for.
type Courier interface {
	// Deliver tells the peer. An error that is a Failure with Permanent set
	// ends the attempts; any other is tried again.
	Deliver(ctx context.Context, m Message) (receipt any, err error)
	// Delivered records what follows from the delivery, in the transaction
	// that removes the message.
	Delivered(ctx context.Context, tx bun.Tx, m Message, receipt any) error
	// Failed records that the message will not be tried again by itself, in
	// the transaction that marks it dead.
	Failed(ctx context.Context, tx bun.Tx, m Message, cause error) error
	// Revived records that a dead message will be tried again.
	Revived(ctx context.Context, tx bun.Tx, m Message) error
}

// Failure tells the outbox what an error means for the next attempt.
type Failure struct {
	Permanent  bool
	RetryAfter time.Duration // 0: the outbox decides
	Err        error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Config says how hard the outbox tries.
type Config struct {
	FirstRetry   time.Duration // the first pause, doubled each time; default 2 s
	MaxRetry     time.Duration // the longest pause of our own; default 4 h
	GiveUpAfter  time.Duration // age at which a message is declared dead; default 72 h
	Workers      int           // deliveries at once; default 16
	PerPeer      int           // deliveries at once to one peer; default 4
	CallBudget   time.Duration // for one attempt; default 30 s
	MaxRetryWait time.Duration // a peer's Retry-After is believed up to this; default 24 h
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.FirstRetry, 2*time.Second)
	def(&c.MaxRetry, 4*time.Hour)
	def(&c.GiveUpAfter, 72*time.Hour)
	def(&c.CallBudget, 30*time.Second)
	def(&c.MaxRetryWait, 24*time.Hour)
	if c.Workers <= 0 {
		c.Workers = 16
	}
	if c.PerPeer <= 0 {
		c.PerPeer = 4
	}
	return c
}

// The states of a message that is still here.
const (
	Pending = "pending"
	Dead    = "dead"
)

// Row is a message as the database and the operator see it.
type Row struct {
	bun.BaseModel `bun:"table:outbox"`

	ID        string `bun:",pk"`
	PeerHost  string
	OrderKey  string
	Kind      string
	Payload   []byte
	State     string
	Attempts  int64
	NextAt    int64
	LastError string
	CreatedAt int64
	UpdatedAt int64
}

// Outbox records messages and delivers them while Run runs.
type Outbox struct {
	db       *store.DB
	box      *seal.Box
	now      func() time.Time
	log      *slog.Logger
	conf     Config
	couriers map[string]Courier
	passable []string // kinds whose dead hold nothing back
	wake     chan struct{}

	mu      sync.Mutex
	flying  map[line]bool // those with a message under way
	perPeer map[string]int
}

// line is where messages wait for one another.
type line struct{ peer, key string }

// New makes an outbox. Register the couriers before Run.
func New(db *store.DB, box *seal.Box, now func() time.Time, log *slog.Logger, conf Config) *Outbox {
	return &Outbox{
		db: db, box: box, now: now, log: log, conf: conf.withDefaults(),
		couriers: map[string]Courier{}, passable: []string{""}, wake: make(chan struct{}, 1),
		flying: map[line]bool{}, perPeer: map[string]int{},
	}
}

// Register names the courier of a kind.
func (o *Outbox) Register(kind string, c Courier) { o.couriers[kind] = c }

// PassDead says that messages of a kind tell what holds from then on: when one is
// dead, those behind it go out all the same, and make it obsolete. Of the other kinds
// a dead message holds back what needs it, until it is resent or withdrawn.
func (o *Outbox) PassDead(kind string) { o.passable = append(o.passable, kind) }

// Enqueue records m in the caller's transaction. Call Wake after the commit.
func (o *Outbox) Enqueue(ctx context.Context, tx bun.IDB, m Message) error {
	now := o.now().UnixMilli()
	id := store.NewID()
	_, err := tx.NewInsert().Model(&Row{
		ID: id, PeerHost: string(m.Peer), OrderKey: m.OrderKey, Kind: m.Kind,
		Payload: o.box.Seal(m.Payload, sealContext(id)), State: Pending,
		NextAt: now, CreatedAt: now, UpdatedAt: now,
	}).Exec(ctx)
	return err
}

func sealContext(id string) string { return "outbox/" + id }

// Wake tells a running outbox that there may be something to deliver.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Withdraw removes what is still waiting for a peer under an order key and reports
// whether any of it may have reached the peer.
func (o *Outbox) Withdraw(ctx context.Context, tx bun.IDB, peer ocm.Host, orderKey string) (attempted bool, err error) {
	var rows []Row
	err = tx.NewSelect().Model(&rows).Column("id", "attempts").Where("order_key = ? AND peer_host = ?", orderKey, string(peer)).Scan(ctx)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	for _, r := range rows {
		attempted = attempted || r.Attempts > 0
	}
	_, err = tx.NewDelete().Model((*Row)(nil)).Where("order_key = ? AND peer_host = ?", orderKey, string(peer)).Exec(ctx)
	return attempted || o.UnderWay(peer, orderKey), err
}

// UnderWay reports whether a message to a peer of an order key is being delivered.
func (o *Outbox) UnderWay(peer ocm.Host, key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flying[line{string(peer), key}]
}

// List returns the messages that wait or are dead, oldest first, without their
// payloads.
func (o *Outbox) List(ctx context.Context) ([]Row, error) {
	var rows []Row
	err := o.db.Read.NewSelect().Model(&rows).ExcludeColumn("payload").Order("id").Limit(1000).Scan(ctx)
	return rows, err
}

// ErrNoMessage says that a message to resend is not, or no longer, in the outbox.
var ErrNoMessage = ocm.NewError(http.StatusNotFound, "MESSAGE_NOT_FOUND",
	"There is no such message in the outbox; it may have been delivered meanwhile.")

// Resend gives a message a new span of attempts, beginning at once.
func (o *Outbox) Resend(ctx context.Context, id string) error {
	err := o.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var r Row
		err := tx.NewSelect().Model(&r).Where("id = ?", id).Scan(ctx)
		if store.NotFound(err) {
			return ErrNoMessage
		}
		if err != nil {
			return err
		}
		now := o.now().UnixMilli()
		_, err = tx.NewUpdate().Model((*Row)(nil)).Where("id = ?", id).
			Set("state = ?", Pending).Set("next_at = ?", now).Set("created_at = ?", now).Set("updated_at = ?", now).
			Set("last_error = ''").Exec(ctx)
		if err != nil {
			return err
		}
		if err := audit.Note(ctx, tx, o.now(), r.event("outbox.resent", audit.Details{"was": r.State})); err != nil || r.State != Dead || o.couriers[r.Kind] == nil {
			return err
		}
		return o.couriers[r.Kind].Revived(ctx, tx, o.message(r))
	})
	o.Wake()
	return err
}

// event is what became of a message, for the audit.
func (r *Row) event(action audit.Action, details audit.Details) audit.Event {
	details["kind"], details["about"] = r.Kind, r.OrderKey
	return audit.Event{Action: action, Kind: "message", ID: r.ID, Name: r.Kind, Target: r.PeerHost, Details: details}
}

// message is r's header; the payload is opened only for delivery.
func (o *Outbox) message(r Row) Message {
	return Message{ID: r.ID, Peer: ocm.Host(r.PeerHost), OrderKey: r.OrderKey, Kind: r.Kind}
}

// Run delivers until ctx ends, then waits for the deliveries under way.
func (o *Outbox) Run(ctx context.Context) error {
	var flights sync.WaitGroup
	defer flights.Wait()
	for {
		pause, err := o.launch(ctx, &flights)
		if err != nil && ctx.Err() == nil {
			o.log.Error("the outbox cannot be read", "error", err)
			pause = 5 * time.Second
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-o.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// launch starts every delivery that may start now and tells how long to wait
// for the next.
func (o *Outbox) launch(ctx context.Context, flights *sync.WaitGroup) (time.Duration, error) {
	// One time for both questions below: what is not due yet is the next.
	now := o.now()
	due, err := o.due(ctx, now)
	if err != nil {
		return 0, err
	}
	for _, r := range due {
		if !o.takeOff(r) {
			continue
		}
		flights.Go(func() {
			// A started call is finished even when the server stops:
			// its answer is worth more than the wait.
			err := o.attempt(context.WithoutCancel(ctx), r)
			o.land(r)
			if err != nil {
				// The row keeps its due time; pause so that a broken
				// database is not asked in a tight loop.
				o.log.Error("a delivery cannot be recorded", "message", r.ID, "error", err)
				return
			}
			o.Wake()
		})
	}
	var next int64
	err = o.db.Read.NewSelect().Model((*Row)(nil)).ColumnExpr("COALESCE(MIN(next_at), 0)").
		Where("state = ?", Pending).Where("next_at > ?", now.UnixMilli()).Scan(ctx, &next)
	if err != nil {
		return 0, err
	}
	pause := 30 * time.Second
	if next > 0 {
		pause = min(pause, max(time.UnixMilli(next).Sub(o.now()), 10*time.Millisecond))
	}
	return pause, nil
}

// due selects the first waiting message of every peer's order keys, a few per peer
// so that one peer's backlog does not hide the others'. A dead message holds back
// those behind it, unless its kind may be passed.
func (o *Outbox) due(ctx context.Context, now time.Time) ([]Row, error) {
	heads := o.db.Read.NewSelect().Model((*Row)(nil)).
		ColumnExpr("?TableAlias.id").
		ColumnExpr("ROW_NUMBER() OVER (PARTITION BY peer_host ORDER BY next_at, id) AS place").
		Where("state = ?", Pending).Where("next_at <= ?", now.UnixMilli()).
		Where("NOT EXISTS (SELECT 1 FROM outbox AS earlier WHERE earlier.order_key = ?TableAlias.order_key AND earlier.peer_host = ?TableAlias.peer_host"+
			" AND earlier.id < ?TableAlias.id AND (earlier.state = ? OR earlier.kind NOT IN (?)))", Pending, bun.List(o.passable))
	var rows []Row
	err := o.db.Read.NewSelect().Model(&rows).
		Where("id IN (SELECT id FROM (?) AS heads WHERE place <= ?)", heads, 2*o.conf.PerPeer).
		Order("next_at", "id").Limit(int64(4 * o.conf.Workers)).Scan(ctx)
	return rows, err
}

func (r Row) line() line { return line{r.PeerHost, r.OrderKey} }

func (o *Outbox) takeOff(r Row) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flying[r.line()] || len(o.flying) >= o.conf.Workers || o.perPeer[r.PeerHost] >= o.conf.PerPeer {
		return false
	}
	o.flying[r.line()] = true
	o.perPeer[r.PeerHost]++
	return true
}

func (o *Outbox) land(r Row) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.flying, r.line())
	if o.perPeer[r.PeerHost]--; o.perPeer[r.PeerHost] == 0 {
		delete(o.perPeer, r.PeerHost)
	}
}

// attempt delivers r once and records the outcome. The attempt is counted
// first, so that Withdraw knows that the peer may have heard of it.
func (o *Outbox) attempt(ctx context.Context, r Row) error {
	res, err := o.db.Write.NewUpdate().Model((*Row)(nil)).Set("attempts = attempts + 1").
		Where("id = ?", r.ID).Where("state = ?", Pending).Where("attempts = ?", r.Attempts).Exec(ctx)
	if err != nil {
		return err
	}
	if n, _ := res.RowsAffected(); n == 0 {
		return nil // withdrawn, or delivered since it was selected
	}
	r.Attempts++
	m := o.message(r)
	courier := o.couriers[r.Kind]
	receipt, err := o.carry(ctx, courier, r)
	if err == nil {
		o.log.Info("delivered", "kind", r.Kind, "peer", r.PeerHost, "share", r.OrderKey, "attempts", r.Attempts)
		err = o.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
			res, err := tx.NewDelete().Model((*Row)(nil)).Where("id = ?", r.ID).Exec(ctx)
			if err != nil {
				return err
			}
			if n, _ := res.RowsAffected(); n == 0 {
				return nil // withdrawn while it was under way
			}
			// What it passed would say what no longer holds, should someone resend it.
			_, err = tx.NewDelete().Model((*Row)(nil)).Where("order_key = ? AND peer_host = ? AND id < ?", r.OrderKey, r.PeerHost, r.ID).Exec(ctx)
			if err != nil {
				return err
			}
			return courier.Delivered(ctx, tx, m, receipt)
		})
		if err == nil {
			return nil
		}
		// Deliveries are harmless to repeat; the pauses hold for this too.
		err = fmt.Errorf("the peer has it, but that cannot be recorded: %w", err)
	}
	return o.failed(ctx, courier, r, err)
}

func (o *Outbox) carry(ctx context.Context, courier Courier, r Row) (any, error) {
	if courier == nil {
		return nil, &Failure{Permanent: true, Err: fmt.Errorf("no courier for messages of kind %q", r.Kind)}
	}
	payload, err := o.box.Open(r.Payload, sealContext(r.ID))
	if err != nil {
		return nil, &Failure{Permanent: true, Err: fmt.Errorf("the sealed message cannot be opened: %w", err)}
	}
	m := o.message(r)
	m.Payload = payload
	ctx, cancel := context.WithTimeout(ctx, o.conf.CallBudget)
	defer cancel()
	return courier.Deliver(ctx, m)
}

func (o *Outbox) failed(ctx context.Context, courier Courier, r Row, cause error) error {
	now := o.now()
	failure, _ := errors.AsType[*Failure](cause)
	age := now.Sub(time.UnixMilli(r.CreatedAt))
	log := o.log.With("kind", r.Kind, "peer", r.PeerHost, "share", r.OrderKey, "attempts", r.Attempts, "error", cause)
	if (failure != nil && failure.Permanent) || age >= o.conf.GiveUpAfter {
		log.Warn("delivery given up")
		return o.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
			res, err := tx.NewUpdate().Model((*Row)(nil)).Where("id = ?", r.ID).
				Set("state = ?", Dead).Set("last_error = ?", cause.Error()).Set("updated_at = ?", now.UnixMilli()).Exec(ctx)
			if err != nil {
				return err
			}
			if n, _ := res.RowsAffected(); n == 0 {
				return nil
			}
			if err := audit.Note(ctx, tx, now, r.event("delivery.failed", audit.Details{"attempts": r.Attempts, "reason": Sentence(cause)})); err != nil || courier == nil {
				return err
			}
			return courier.Failed(ctx, tx, o.message(r), cause)
		})
	}
	pause := o.pause(r.Attempts)
	if failure != nil && failure.RetryAfter > 0 {
		pause = min(max(failure.RetryAfter, o.conf.FirstRetry), o.conf.MaxRetryWait)
	}
	log.Info("delivery failed, will try again", "in", pause.Round(time.Millisecond))
	_, err := o.db.Write.NewUpdate().Model((*Row)(nil)).Where("id = ?", r.ID).
		Set("next_at = ?", now.Add(pause).UnixMilli()).Set("last_error = ?", cause.Error()).Set("updated_at = ?", now.UnixMilli()).Exec(ctx)
	return err
}

// pause doubles with each attempt up to MaxRetry, give or take a quarter so
// that a peer that comes back is not met by everyone at once.
func (o *Outbox) pause(attempts int64) time.Duration {
	d := o.conf.MaxRetry
	if attempts < 32 {
		d = min(o.conf.FirstRetry<<(attempts-1), o.conf.MaxRetry)
	}
	if d <= 0 { // the shift overflowed
		d = o.conf.MaxRetry
	}
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2))
}
