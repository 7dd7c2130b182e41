package store

import (
	"context"
	"database/sql"
	"fmt"
	"runtime/debug"

	"github.com/uptrace/bun"
)

// maxBatch bounds how many writers share one transaction.
const maxBatch = 128

type batched struct {
	ctx  context.Context
	fn   func(ctx context.Context, tx bun.Tx) error
	done chan error
}

// Batch runs fn in a write transaction that it shares with the other callers
// of the moment: many small writers then pay for one commit. fn's own changes
// are undone when it fails; the others' stay. Batch returns after the commit.
func (db *DB) Batch(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	b := batched{ctx, fn, make(chan error, 1)}
	select {
	case db.batch <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-b.done
}

func (db *DB) runBatches() {
	defer close(db.done)
	group := make([]batched, 0, maxBatch)
	for first := range db.batch {
		group = append(group[:0], first)
	fill:
		for len(group) < maxBatch {
			select {
			case b, ok := <-db.batch:
				if !ok {
					break fill
				}
				group = append(group, b)
			default:
				break fill
			}
		}
		db.runBatch(group)
	}
}

// guarded runs fn; a panic is the fault of its caller alone.
func guarded(ctx context.Context, tx bun.Tx, fn func(ctx context.Context, tx bun.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a batched write: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(ctx, tx)
}

func (db *DB) runBatch(group []batched) {
	results := make([]error, len(group))
	err := db.Tx(context.Background(), func(ctx context.Context, tx bun.Tx) error {
		shared := &prepared{tx, map[string]*sql.Stmt{}}
		for i, b := range group {
			if _, err := shared.exec(ctx, "SAVEPOINT one"); err != nil {
				return err
			}
			if results[i] = b.ctx.Err(); results[i] == nil {
				// fn finds in its context what its caller put there; the group's
				// transaction does not end with one of its callers.
				results[i] = guarded(context.WithValue(context.WithoutCancel(b.ctx), preparedKey{}, shared), tx, b.fn)
			}
			if results[i] != nil {
				if _, err := shared.exec(ctx, "ROLLBACK TO one"); err != nil {
					return err
				}
			}
			if _, err := shared.exec(ctx, "RELEASE one"); err != nil {
				return err
			}
		}
		return nil
	})
	for i, b := range group {
		if results[i] == nil {
			results[i] = err
		}
		b.done <- results[i]
	}
}

// NotFound reports whether err says that no row matched.
func NotFound(err error) bool { return err == sql.ErrNoRows }
