package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
)

// freshFor is how long a Watched value is used without a look at its version:
// how late a change by another process, such as a command of the operator, is
// seen.
const freshFor = time.Second

// Bump says, in the transaction of a change, that what is made of the rows
// under this name has to be made anew, in every process.
func Bump(ctx context.Context, tx bun.IDB, name string) error {
	_, err := tx.NewRaw("INSERT INTO settings (name, value) VALUES (?, '1') ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(settings.value AS BIGINT) + 1 AS TEXT)",
		versionOf(name)).Exec(ctx)
	return err
}

func versionOf(name string) string { return name + "_version" }

// Watched keeps in memory what is made of rows that change seldom and are
// needed with every request. Writers call Bump with its name.
type Watched[T any] struct {
	DB   *DB
	Name string
	Load func(ctx context.Context, db bun.IDB) (T, error)

	mu      sync.Mutex
	current atomic.Pointer[watched[T]]
}

type watched[T any] struct {
	value   T
	version string
	checked time.Time
}

// Get gives the value, at most a second behind other processes. While the
// database cannot be read, the last value serves.
func (w *Watched[T]) Get(ctx context.Context) (T, error) {
	if c := w.current.Load(); c != nil && time.Since(c.checked) < freshFor {
		return c.value, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.current.Load()
	if c != nil && time.Since(c.checked) < freshFor {
		return c.value, nil
	}
	checked := time.Now()
	version, err := w.version(ctx)
	if c != nil && (err != nil || version == c.version) {
		w.current.Store(&watched[T]{c.value, c.version, checked})
		return c.value, nil
	}
	var none T
	if err != nil {
		return none, err
	}
	value, err := w.Load(ctx, w.DB.Read)
	if err != nil {
		return none, err
	}
	w.current.Store(&watched[T]{value, version, checked})
	return value, nil
}

func (w *Watched[T]) version(ctx context.Context) (string, error) {
	var v string
	err := w.DB.Read.NewSelect().Table("settings").Column("value").Where("name = ?", versionOf(w.Name)).Scan(ctx, &v)
	if NotFound(err) {
		return "", nil
	}
	return v, err
}

// Stale makes the next Get look at the version: to be called after a change by
// this process.
func (w *Watched[T]) Stale() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.current.Load(); c != nil {
		w.current.Store(&watched[T]{c.value, c.version, time.Time{}})
	}
}
