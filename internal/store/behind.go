package store

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Behind writes rows behind the requests that make them, many in one commit, and
// sweeps old ones. Its fields are set before the first use.
type Behind[T any] struct {
	What  string // what the rows are, for the log
	Log   *slog.Logger
	Write func(ctx context.Context, rows []T) error
	Sweep func(ctx context.Context) error

	once  sync.Once
	queue chan T
}

// The bounds of what waits to be written, and of one commit.
const (
	maxBehind = 4096
	maxGroup  = 256
)

func (b *Behind[T]) open() chan T {
	b.once.Do(func() { b.queue = make(chan T, maxBehind) })
	return b.queue
}

// Put has a row written. It never waits: when more come than can be written,
// some are left out, and the log says so.
func (b *Behind[T]) Put(row T) {
	select {
	case b.open() <- row:
	default:
		b.Log.Warn("too many at once, some are not kept", "what", b.What)
	}
}

// Run writes until ctx ends and all that was put is written.
func (b *Behind[T]) Run(ctx context.Context) error {
	queue := b.open()
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	b.sweep(ctx)
	for {
		select {
		case row := <-queue:
			b.write(queue, row)
		case <-tick.C:
			b.sweep(ctx)
		case <-ctx.Done():
			for {
				select {
				case row := <-queue:
					b.write(queue, row)
				default:
					return nil
				}
			}
		}
	}
}

func (b *Behind[T]) write(queue chan T, first T) {
	rows := []T{first}
fill:
	for len(rows) < maxGroup {
		select {
		case row := <-queue:
			rows = append(rows, row)
		default:
			break fill
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Write(ctx, rows); err != nil {
		b.Log.Error("cannot be kept", "what", b.What, "error", err)
	}
}

func (b *Behind[T]) sweep(ctx context.Context) {
	if err := b.Sweep(ctx); err != nil && ctx.Err() == nil {
		b.Log.Error("old ones cannot be removed", "what", b.What, "error", err)
	}
}

// SweepOld removes what is older than a time, and the oldest beyond a number of
// rows whatever their age: a flood must not fill the disk.
func (db *DB) SweepOld(ctx context.Context, table string, before time.Time, keep int) error {
	_, err := db.Write.NewDelete().Table(table).Where("at < ?", Millis(before)).Exec(ctx)
	if err != nil {
		return err
	}
	last := db.Read.NewSelect().Table(table).Column("at").OrderExpr("at DESC").Limit(int64(keep))
	_, err = db.Write.NewDelete().Table(table).Where("at < (SELECT COALESCE(MIN(at), 0) FROM (?) AS kept)", last).Exec(ctx)
	return err
}
