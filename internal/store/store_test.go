package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"
)

func open(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

type setting struct {
	bun.BaseModel `bun:"table:settings"`

	Name  string `bun:",pk"`
	Value string
}

func set(name string) func(ctx context.Context, tx bun.Tx) error {
	return func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&setting{Name: name}).Exec(ctx)
		return err
	}
}

func count(t *testing.T, db *DB) int64 {
	t.Helper()
	n, err := db.Read.NewSelect().Model((*setting)(nil)).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestATextWithANULIsNoEndOfAStatement(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Write.NewRaw("INSERT INTO settings (name, value) VALUES (?, ?)", "a\x00b", "'\x00'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	var value string
	if err := db.Read.NewSelect().Table("settings").Column("value").Where("name = ?", "a\x00b").Scan(t.Context(), &value); err != nil || value != "'\ufffd'" {
		t.Errorf("%q, %v", value, err)
	}
	if n, err := db.Read.NewSelect().Table("settings").Where("name = ?", "ab").Count(t.Context()); err != nil || n != 0 {
		t.Errorf("another name is meant: %d, %v", n, err)
	}
}

func TestADatabaseIsOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a dir with #, ? and %", "weft.db")
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(t.Context(), set("x")); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, open(t, path)); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestABatchKeepsWhatSucceedsAndUndoesWhatFails(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "weft.db"))
	bad := errors.New("bad")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			name := fmt.Sprint("row ", i)
			switch i % 4 {
			case 0:
				if err := db.Batch(t.Context(), set(name)); err != nil {
					t.Error(err)
				}
			case 1:
				err := db.Batch(t.Context(), func(ctx context.Context, tx bun.Tx) error {
					return errors.Join(set(name)(ctx, tx), bad)
				})
				if !errors.Is(err, bad) {
					t.Errorf("a failing one: %v", err)
				}
			case 2:
				err := db.Batch(t.Context(), func(ctx context.Context, tx bun.Tx) error {
					if err := set(name)(ctx, tx); err != nil {
						return err
					}
					panic("oops")
				})
				if err == nil || !strings.Contains(err.Error(), "oops") {
					t.Errorf("a panicking one: %v", err)
				}
			case 3:
				if err := db.Batch(cancelled, set(name)); !errors.Is(err, context.Canceled) {
					t.Errorf("a cancelled one: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, db); n != 75 {
		t.Errorf("%d rows, want 75", n)
	}
}

// Writers of a batch share their statements, and none has what another failed at.
func TestPreparedStatementsSeeWhatTheirBatchWrote(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "weft.db"))
	write := func(name, value, on string) error {
		return db.Batch(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			var before, after string
			const query = "SELECT value FROM settings WHERE name = ?"
			if err := ScanRow(ctx, tx, []any{&before}, query, name); err != nil && !NotFound(err) {
				return err
			}
			if _, err := Insert(ctx, tx, []setting{{Name: name, Value: value}}, on); err != nil {
				return err
			}
			if err := ScanRow(ctx, tx, []any{&after}, query, name); err != nil || after != cmp.Or(before, value) {
				return fmt.Errorf("%q after %q, %w", after, before, err)
			}
			_, err := Insert(ctx, tx, []setting{{Name: name + " a"}, {Name: name + " b"}}, "CONFLICT DO NOTHING")
			return err
		})
	}
	if err := write("taken", "first", ""); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			switch i % 3 {
			case 0:
				if err := write(fmt.Sprint("row ", i), "it's \"so\"", ""); err != nil {
					t.Error(err)
				}
			case 1:
				if err := write("taken", "second", ""); !IsConflict(err) {
					t.Errorf("one whose name is taken: %v", err)
				}
			case 2:
				if err := write("taken", "third", "CONFLICT (name) DO NOTHING"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, db); n != 3*68 {
		t.Errorf("%d rows, want %d", n, 3*68)
	}
	for name, want := range map[string]string{"taken": "first", "row 3": "it's \"so\"", "row 3 b": "", "row 1": "-"} {
		var found []setting
		if err := db.Find(t.Context(), &found, "name = ?", name); err != nil {
			t.Fatal(err)
		}
		if want == "-" {
			if len(found) != 0 {
				t.Errorf("%s is there: %v", name, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Value != want {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestTwoProgramsWriteOneDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.db")
	a, b := open(t, path), open(t, path)
	var wg sync.WaitGroup
	for i := range 50 {
		for name, db := range map[string]*DB{"a": a, "b": b} {
			wg.Go(func() {
				if err := db.Tx(t.Context(), set(fmt.Sprint(name, i))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := count(t, a); n != 100 {
		t.Errorf("%d rows", n)
	}
}

func TestConflictsAreKnown(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "weft.db"))
	if err := db.Tx(t.Context(), set("x")); err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(t.Context(), set("x")); !IsConflict(err) {
		t.Errorf("%v", err)
	}
	if IsConflict(nil) || IsConflict(errors.New("x")) || IsFull(nil) {
		t.Error("what is no conflict is one")
	}
}

func TestBelowIsWhatLiesBelow(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "weft.db"))
	for _, name := range []string{"a", "a/b", "a/b/c", "a b", "a-b", "a0", "ab", "b/a", "A/b", "a%/x", "a_/x"} {
		if err := db.Tx(t.Context(), set(name)); err != nil {
			t.Fatal(err)
		}
	}
	cond, args := Below("name", "a")
	var names []string
	if err := db.Read.NewSelect().Model((*setting)(nil)).Column("name").Where(cond, args...).Order("name").Scan(t.Context(), &names); err != nil {
		t.Fatal(err)
	}
	if strings.Join(names, " ") != "a/b a/b/c" {
		t.Errorf("%q", names)
	}
	if got := Rebase("a/b/c", "a", "x/y"); got != "x/y/b/c" {
		t.Error(got)
	}
}

func TestTimes(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123)
	if !Time(Millis(now)).Equal(now) || Millis(time.Time{}) != 0 || !Time(0).IsZero() {
		t.Error("times do not come back")
	}
}
