// Package store opens the database: SQLite in one file, with the schema brought
// up to date. Queries live in the packages that own the rows; they are written
// through bun so that PostgreSQL can serve them too.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is the database: Read serves any number of readers, Write is the one
// writer SQLite allows. Use Write for anything that changes rows, and Tx for
// anything that changes more than one.
type DB struct {
	Read  *bun.DB
	Write *bun.DB
	batch chan batched
	done  chan struct{}

	queries sync.Map // prepared statements of Read, for Find
}

// Open opens (and creates) the SQLite database at path and migrates it.
func Open(ctx context.Context, path string) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("the database's folder cannot be made: %w", err)
	}
	write, err := connect(path, 1)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, write.DB); err != nil {
		write.Close()
		return nil, fmt.Errorf("the database %s cannot be opened: %w. Is it a Weft database, and is its folder writable?", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		write.Close()
		return nil, err
	}
	read, err := connect(path, max(4, runtime.NumCPU()))
	if err != nil {
		write.Close()
		return nil, err
	}
	db := &DB{Read: read, Write: write, batch: make(chan batched), done: make(chan struct{})}
	go db.runBatches()
	return db, nil
}

func connect(path string, conns int) (*bun.DB, error) {
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)",
		"foreign_keys(ON)", "cache_size(-8000)",
		"temp_store(MEMORY)", // a savepoint's journal is then no file, to which each page of it would be written
	} {
		q.Add("_pragma", p)
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return bun.NewDB(db, dialect{sqlitedialect.New()}), nil
}

// dialect is SQLite's, where texts with a NUL, which would end the statement, fit:
// anyone can send one, and nothing that is kept has any.
type dialect struct{ *sqlitedialect.Dialect }

func (d dialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, strings.ReplaceAll(s, "\x00", "\ufffd"))
}

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Close ends the batch writer and both pools. No call may be under way.
func (db *DB) Close() error {
	close(db.batch)
	<-db.done
	return errors.Join(db.Read.Close(), db.Write.Close())
}

// Tx runs fn in one write transaction; an error or panic undoes all of it.
func (db *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	return db.Write.RunInTx(ctx, nil, fn)
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int
	return db.Read.NewSelect().ColumnExpr("1").Scan(ctx, &one)
}

// NewID returns a UUIDv7: unique, and sorting in the order of making.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// Millis is the stored form of a time: Unix milliseconds, 0 for the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time reads the stored form of a time.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// IsConflict reports whether err is a violated unique or primary key.
func IsConflict(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Code() int
	}](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// IsFull reports whether err says that the disk has no room left.
func IsFull(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Code() int
	}](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_FULL
}

// Below is a condition that column lies below the path dir, for paths that
// cannot hold the character after "/": a range the index serves, where LIKE
// would need escaping.
func Below(column, dir string) (cond string, args []any) {
	if dir == "" {
		return column + " > ''", nil
	}
	return column + " >= ? AND " + column + " < ?", []any{dir + "/", dir + "0"}
}

// Rebase returns name moved from below (or at) from to below (or at) to.
func Rebase(name, from, to string) string {
	return to + strings.TrimPrefix(name, from)
}
