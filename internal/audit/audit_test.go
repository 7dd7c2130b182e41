package audit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/ocm"
)

func open(t *testing.T) *store.DB {
	t.Helper()
	return storetest.Open(t)
}

// aliceID is the id of a user.
const aliceID = "01900000-0000-7000-8000-00000000a11c"

var begin = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fill records a few acts, a minute between two.
func fill(t *testing.T, db *store.DB) {
	t.Helper()
	alice := With(t.Context(), By{Kind: User, ID: aliceID, Name: "Alice", Origin: "192.0.2.7", Request: "r1"})
	south := With(t.Context(), By{Kind: Peer, Name: "south.example", Origin: "192.0.2.9", Request: "r2"})
	for i, n := range []struct {
		ctx context.Context
		e   Event
	}{
		{alice, Event{Action: "share.created", Kind: "share", ID: "s1", Name: "Reef/100%_done", Target: "bob@south.example", Details: Details{"permissions": "read"}}},
		{south, Event{Action: "share.accepted", Kind: "share", ID: "s1", Name: "Reef/100%_done", Target: "bob@south.example"}},
		{alice, Event{Action: "sharex", Kind: "share", ID: "s2", Target: "south.example"}},
		{t.Context(), Event{Action: "share.ended", Kind: "share", ID: "s1", Target: "bob@xsouth.example", Details: Details{"reason": "Expired"}}},
	} {
		if err := Note(n.ctx, db.Write, begin.Add(time.Duration(i)*time.Minute), n.e); err != nil {
			t.Fatal(err)
		}
	}
}

func newLog(db *store.DB, now time.Time, keep time.Duration) *Log {
	return NewLog(db, func() time.Time { return now }, slog.New(slog.DiscardHandler), keep)
}

func TestRecordsAreFoundByWhatOneKnowsOfThem(t *testing.T) {
	db := open(t)
	fill(t, db)
	l := newLog(db, begin, 0)
	for _, c := range []struct {
		name string
		f    Filter
		want string
	}{
		{"everything", Filter{}, "share.ended sharex share.accepted share.created"},
		{"an actor", Filter{Actor: "alice"}, "sharex share.created"},
		{"an actor's id", Filter{Actor: aliceID}, "sharex share.created"},
		{"a kind of actor", Filter{Actor: System}, "share.ended"},
		{"a peer", Filter{Actor: "south.example"}, "share.accepted"},
		{"an action", Filter{Action: "share.created"}, "share.created"},
		{"the beginning of an action", Filter{Action: "share."}, "share.ended share.accepted share.created"},
		{"an object's id", Filter{Object: "s1"}, "share.ended share.accepted share.created"},
		{"an object's name", Filter{Object: "Reef/100%_done"}, "share.accepted share.created"},
		{"an address", Filter{Target: "bob@south.example"}, "share.accepted share.created"},
		{"a host", Filter{Target: "south.example"}, "sharex share.accepted share.created"},
		{"a pattern is no pattern", Filter{Target: "%.example"}, ""},
		{"from", Filter{From: begin.Add(2 * time.Minute)}, "share.ended sharex"},
		{"to", Filter{To: begin.Add(2 * time.Minute)}, "share.accepted share.created"},
		{"text in a name", Filter{Text: "0%_D"}, "share.accepted share.created"},
		{"text in details", Filter{Text: "expired"}, "share.ended"},
		{"a request", Filter{Text: "r2"}, "share.accepted"},
		{"a client's address", Filter{Text: "192.0.2.7"}, "sharex share.created"},
		{"a request alone", Filter{Request: "r2"}, "share.accepted"},
		{"an action without its dot", Filter{Action: "share"}, "share.ended share.accepted share.created"},
		{"an outcome", Filter{Outcome: Refused}, ""},
		{"all of it at once", Filter{Actor: "alice", Action: "share.", Object: "s1", Target: "south.example", Text: "read", Outcome: Done}, "share.created"},
	} {
		c.f.Limit = 10
		rows, next, err := l.List(t.Context(), c.f)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, r.Action)
		}
		if strings.Join(got, " ") != c.want || next != "" {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		var all []string
		if err := l.Each(t.Context(), c.f, func(e *Entry) error { all = append(all, e.Action); return nil }); err != nil {
			t.Fatal(err)
		}
		slices.Reverse(all)
		if !slices.Equal(all, got) {
			t.Errorf("%s: each of %v, listed %v", c.name, all, got)
		}
	}
	rows, _, err := l.List(t.Context(), Filter{Object: "s1", Action: "share.created", Limit: 1})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if r := rows[0]; r.At != begin.UnixMilli() || r.ActorKind != User || r.Origin != "192.0.2.7" || r.Request != "r1" || r.Outcome != Done || r.Details != `{"permissions":"read"}` {
		t.Errorf("%+v", r)
	}
}

func TestPagesHoldEachRecordOnceAlsoWhenTimesAreTheSame(t *testing.T) {
	db := open(t)
	const n = 2*eachPart + 7
	err := db.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		for i := range n {
			if err := Note(ctx, tx, begin.Add(time.Duration(i/600)*time.Second), Event{Action: "a"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(db, begin, 0)
	seen := map[string]bool{}
	f := Filter{Limit: 300}
	for pages := 0; ; pages++ {
		rows, next, err := l.List(t.Context(), f)
		if err != nil || pages > 4 {
			t.Fatal(pages, err)
		}
		for _, r := range rows {
			seen[r.ID] = true
		}
		if f.Before = next; next == "" {
			break
		}
	}
	each := 0
	if err := l.Each(t.Context(), Filter{}, func(*Entry) error { each++; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != n || each != n {
		t.Errorf("%d on pages, %d in all, want %d", len(seen), each, n)
	}
	stop := errors.New("stop")
	if err := l.Each(t.Context(), Filter{}, func(*Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"x", "1", "x.y", "1." + strings.Repeat("x", 100)} {
		if _, _, err := l.List(t.Context(), Filter{Before: bad, Limit: 1}); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOldRecordsGoAndOthersStay(t *testing.T) {
	db := open(t)
	fill(t, db)
	count := func() int64 {
		n, err := db.Read.NewSelect().Table("audit").Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	later := begin.Add(time.Hour)
	for keep, want := range map[time.Duration]int64{0: 4, time.Hour: 4, 2 * time.Hour: 4} {
		if err := newLog(db, later, keep).behind.Sweep(t.Context()); err != nil || count() != want {
			t.Errorf("kept for %s: %d, %v", keep, count(), err)
		}
	}
	if err := newLog(db, later, time.Hour-90*time.Second).behind.Sweep(t.Context()); err != nil || count() != 2 {
		t.Errorf("two are old: %d stay, %v", count(), err)
	}
	// A refusal is written behind what refused it.
	l := newLog(db, later, 0)
	l.Refused(t.Context(), Event{Action: "session.failed", Name: "alice"}, ocm.NewError(401, "NO", "No."))
	l.Refused(t.Context(), Event{Action: "session.failed"}, errors.New("disk"))
	if err := l.Run(done); err != nil {
		t.Fatal(err)
	}
	rows, _, err := l.List(t.Context(), Filter{Outcome: Refused, Limit: 5})
	if err != nil || len(rows) != 2 || rows[1].Code != "NO" || rows[0].Code != "INTERNAL_ERROR" {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestWhatOthersWriteIsBoundedAndPlain(t *testing.T) {
	db := open(t)
	err := Note(t.Context(), db.Write, begin, Event{
		Action: "a", Name: "one\n\u202etwo\x00" + strings.Repeat("x", 5000), Target: strings.Repeat("ü", 5000),
		Details: Details{"secret": ocm.Secret("hunter2"), "long": strings.Repeat("y", 20_000)},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = Note(t.Context(), db.Write, begin, Event{Action: "b", Details: Details{"secret": ocm.Secret("hunter2")}})
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := newLog(db, begin, 0).List(t.Context(), Filter{Limit: 5})
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	if r := rows[1]; !strings.HasPrefix(r.Object, "onetwox") || len(r.Object) > maxText+3 || len(r.Target) > maxText+3 || len(r.Details) > 100 {
		t.Errorf("%+v", r)
	}
	if rows[0].Details != `{"secret":"[redacted]"}` {
		t.Errorf("%s", rows[0].Details)
	}
	if err := Note(t.Context(), db.Write, begin, Event{Action: "c", Details: Details{"f": func() {}}}); err == nil {
		t.Error("details that are no JSON are written")
	}
}
