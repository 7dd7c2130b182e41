package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/ocm"
)

// bench is an outbox on a real database with a courier of the test.
type bench struct {
	*Outbox
	t     *testing.T
	db    *store.DB
	ahead atomic.Int64

	mu        sync.Mutex
	carried   []string // payloads, in the order of attempts
	delivered []string
	failed    []string
	revived   []string
	answer    func(payload string) error // nil: delivered
	record    func() error               // of Delivered
}

func newBench(t *testing.T, conf Config) *bench {
	t.Helper()
	db := storetest.Open(t)
	box, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db}
	b.Outbox = New(db, box, func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }, slog.New(slog.DiscardHandler), conf)
	b.Register("test", b)
	return b
}

func (b *bench) Deliver(_ context.Context, m Message) (any, error) {
	b.mu.Lock()
	b.carried = append(b.carried, string(m.Payload))
	answer := b.answer
	b.mu.Unlock()
	if answer != nil {
		return nil, answer(string(m.Payload))
	}
	return "receipt of " + string(m.Payload), nil
}

func (b *bench) Delivered(_ context.Context, _ bun.Tx, _ Message, receipt any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.record != nil {
		if err := b.record(); err != nil {
			return err
		}
	}
	b.delivered = append(b.delivered, receipt.(string))
	return nil
}

func (b *bench) Failed(_ context.Context, _ bun.Tx, m Message, cause error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = append(b.failed, m.OrderKey+": "+cause.Error())
	return nil
}

func (b *bench) Revived(_ context.Context, _ bun.Tx, m Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revived = append(b.revived, m.OrderKey)
	return nil
}

func (b *bench) enqueue(peer ocm.Host, key, payload string) {
	b.t.Helper()
	err := b.db.Tx(b.t.Context(), func(ctx context.Context, tx bun.Tx) error {
		return b.Enqueue(ctx, tx, Message{Peer: peer, OrderKey: key, Kind: "test", Payload: []byte(payload)})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Wake()
}

// run runs the outbox until the test ends or stop is called.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) until(what string, done func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		b.mu.Lock()
		ok := done()
		b.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("did not happen: %s (carried %q)", what, b.carried)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (b *bench) rows() []Row {
	b.t.Helper()
	rows, err := b.List(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}

// untilRows polls for a state of the table and returns it.
func (b *bench) untilRows(what string, done func([]Row) bool) []Row {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		rows := b.rows()
		if done(rows) {
			return rows
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("did not happen: %s (rows %+v)", what, rows)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

var quick = Config{FirstRetry: time.Millisecond, MaxRetry: 5 * time.Millisecond}

func TestMessagesOfOneKeyArriveInOrderThroughFailures(t *testing.T) {
	b := newBench(t, quick)
	var n atomic.Int64
	var got, want []string
	b.answer = func(p string) error {
		if n.Add(1)%3 != 0 {
			return errors.New("not now")
		}
		b.mu.Lock()
		got = append(got, p)
		b.mu.Unlock()
		return nil
	}
	b.Register("test", courierOf{b})
	for i := range 10 {
		b.enqueue("a", "key", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	b.run()
	b.until("all are delivered", func() bool { return len(got) == 10 })
	if !slices.Equal(got, want) {
		t.Errorf("order %v", got)
	}
}

// courierOf gives a receipt whatever the answer function does.
type courierOf struct{ *bench }

func (c courierOf) Deliver(ctx context.Context, m Message) (any, error) {
	_, err := c.bench.Deliver(ctx, m)
	return "receipt of " + string(m.Payload), err
}

func TestADeadPeerDelaysNobodyElse(t *testing.T) {
	b := newBench(t, Config{FirstRetry: time.Hour, Workers: 4, PerPeer: 2})
	release := make(chan struct{})
	b.answer = func(p string) error {
		if p == "dead" {
			<-release
			return errors.New("down")
		}
		return nil
	}
	b.Register("test", courierOf{b})
	for i := range 200 {
		b.enqueue("dead", fmt.Sprint("dead ", i), "dead")
	}
	b.enqueue("alive", "key", "alive")
	b.run()
	b.until("the other peer's message arrives", func() bool { return slices.Contains(b.delivered, "receipt of alive") })
	close(release)
}

func TestAPermanentFailureIsDeadAtOnceHoldsBackTheNextAndCanBeResent(t *testing.T) {
	b := newBench(t, quick)
	b.Register("test", courierOf{b})
	b.answer = func(string) error { return &Failure{Permanent: true, Err: errors.New("refused")} }
	b.enqueue("a", "key", "first")
	b.enqueue("a", "key", "second")
	b.run()
	rows := b.untilRows("the first is dead", func(rows []Row) bool { return len(rows) == 2 && rows[0].State == Dead })
	if len(b.failed) != 1 {
		t.Errorf("failed %v", b.failed)
	}
	if rows[0].LastError != "refused" || rows[1].State != Pending {
		t.Fatalf("rows %+v", rows)
	}
	b.mu.Lock()
	b.answer = nil
	b.mu.Unlock()
	if err := b.Resend(t.Context(), rows[0].ID); err != nil {
		t.Fatal(err)
	}
	b.until("both are delivered", func() bool { return len(b.delivered) == 2 })
	if !slices.Equal(b.revived, []string{"key"}) || !slices.Equal(b.carried, []string{"first", "first", "second"}) {
		t.Errorf("revived %v, carried %v", b.revived, b.carried)
	}
	if err := b.Resend(t.Context(), rows[0].ID); !errors.Is(err, ErrNoMessage) {
		t.Errorf("resending what was delivered: %v", err)
	}
}

func TestAPeersTroubleHoldsBackNoOtherPeersMessagesOfTheSameKey(t *testing.T) {
	b := newBench(t, Config{FirstRetry: time.Hour})
	b.Register("test", courierOf{b})
	b.answer = func(p string) error {
		if p == "to the one that is down" {
			return errors.New("down")
		}
		return nil
	}
	b.enqueue("down", "7", "to the one that is down")
	b.enqueue("up", "7", "to the other")
	b.run()
	b.until("the other has its message", func() bool { return slices.Contains(b.delivered, "receipt of to the other") })
	err := b.db.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		_, err := b.Withdraw(ctx, tx, "up", "7")
		return err
	})
	if err != nil || len(b.rows()) != 1 {
		t.Errorf("withdrawn with another peer's: %v, %+v", err, b.rows())
	}
}

func TestADeadMessageThatMayBePassedIsObsoleteOnceItIs(t *testing.T) {
	b := newBench(t, quick)
	b.Register("test", courierOf{b})
	b.PassDead("test")
	b.answer = func(p string) error {
		if p == "first" {
			return &Failure{Permanent: true, Err: errors.New("refused")}
		}
		return nil
	}
	b.enqueue("a", "key", "first")
	b.enqueue("a", "other", "first")
	b.enqueue("b", "key", "first")
	b.run()
	b.untilRows("the first of all are dead", func(rows []Row) bool {
		return !slices.ContainsFunc(rows, func(r Row) bool { return r.State != Dead })
	})
	b.enqueue("a", "key", "second")
	b.untilRows("the second is delivered, and the first gone", func(rows []Row) bool {
		return len(rows) == 2 && !slices.ContainsFunc(rows, func(r Row) bool { return r.PeerHost == "a" && r.OrderKey == "key" })
	})
	if !slices.Equal(b.delivered, []string{"receipt of second"}) {
		t.Errorf("delivered %v", b.delivered)
	}
}

func TestAMessageIsGivenUpAtItsAge(t *testing.T) {
	b := newBench(t, Config{FirstRetry: time.Millisecond, MaxRetry: time.Millisecond, GiveUpAfter: time.Hour})
	b.answer = func(string) error { return errors.New("down") }
	b.enqueue("a", "key", "x")
	b.run()
	b.until("some attempts", func() bool { return len(b.carried) > 3 })
	b.ahead.Store(int64(2 * time.Hour))
	b.Wake()
	b.until("it is given up", func() bool { return len(b.failed) == 1 })
}

func TestPausesGrowAndHonourRetryAfter(t *testing.T) {
	b := newBench(t, Config{FirstRetry: time.Second, MaxRetry: time.Minute})
	for attempt, want := range map[int64]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 7: time.Minute, 40: time.Minute, 1 << 40: time.Minute} {
		for range 100 {
			if p := b.pause(attempt); p < want*3/4 || p > want*5/4 {
				t.Fatalf("pause after attempt %d: %s", attempt, p)
			}
		}
	}
	b.answer = func(string) error { return &Failure{RetryAfter: 2 * time.Hour, Err: errors.New("busy")} }
	b.enqueue("a", "key", "x")
	b.run()
	b.until("an attempt", func() bool { return len(b.carried) == 1 })
	r := b.untilRows("the failure is recorded", func(rows []Row) bool { return rows[0].LastError == "busy" })[0]
	if wait := time.Until(time.UnixMilli(r.NextAt)); wait < 119*time.Minute || wait > 121*time.Minute {
		t.Errorf("waits %s", wait)
	}
}

func TestADeliveryThatCouldNotBeRecordedIsRepeated(t *testing.T) {
	b := newBench(t, quick)
	first := true
	b.record = func() error {
		if first {
			first = false
			return errors.New("killed before the commit")
		}
		return nil
	}
	b.enqueue("a", "key", "x")
	stop := b.run()
	b.until("the first attempt", func() bool { return len(b.carried) >= 1 && !first })
	stop()
	b.run() // the next start
	b.untilRows("it is delivered", func(rows []Row) bool { return len(rows) == 0 })
	if len(b.delivered) != 1 {
		t.Errorf("delivered %v", b.delivered)
	}
}

func TestWithdrawTellsWhetherThePeerMayKnow(t *testing.T) {
	b := newBench(t, Config{FirstRetry: time.Hour})
	withdraw := func(key string) (attempted bool) {
		t.Helper()
		err := b.db.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) (err error) {
			attempted, err = b.Withdraw(ctx, tx, "a", key)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return attempted
	}
	b.enqueue("a", "fresh", "x")
	if withdraw("fresh") || withdraw("unknown") {
		t.Error("attempted, it says")
	}
	b.answer = func(string) error { return errors.New("lost") }
	b.enqueue("a", "tried", "x")
	b.run()
	b.until("an attempt", func() bool { return len(b.carried) == 1 })
	if !withdraw("tried") {
		t.Error("not attempted, it says")
	}
	if len(b.rows()) != 0 {
		t.Error("something is left")
	}
}

func TestPayloadsAreSealedAtRest(t *testing.T) {
	b := newBench(t, quick)
	b.enqueue("a", "key", "the sharedSecret")
	var r Row
	if err := b.db.Read.NewSelect().Model(&r).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(r.Payload, []byte("sharedSecret")) {
		t.Error("the payload can be read in the database")
	}
}

func TestTheEndOfRunWaitsForWhatIsUnderWay(t *testing.T) {
	b := newBench(t, quick)
	began, release := make(chan struct{}), make(chan struct{})
	b.Register("test", courierOf{b})
	b.answer = func(string) error { close(began); <-release; return nil }
	b.enqueue("a", "key", "x")
	stop := b.run()
	<-began
	go close(release)
	stop()
	if len(b.rows()) != 0 || len(b.delivered) != 1 {
		t.Error("the delivery under way was not recorded")
	}
}
