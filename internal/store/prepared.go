package store

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"
)

// What is asked or written with every message is prepared: the database reads its
// text once and not each time. These texts go past bun to the driver, so their
// places are those of SQLite (?), and other databases need their own put in.

// Find reads the rows that fit a condition into a slice. Each connection keeps the
// statement: the condition is a constant.
func (db *DB) Find(ctx context.Context, into any, where string, args ...any) error {
	type query struct {
		into  reflect.Type
		where string
	}
	key := query{reflect.TypeOf(into), where}
	known, ok := db.queries.Load(key)
	if !ok {
		table := db.Read.Table(key.into.Elem().Elem())
		s, err := db.Read.DB.PrepareContext(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s", columns(table), table.SQLName, where))
		if err != nil {
			return err
		}
		if known, ok = db.queries.LoadOrStore(key, s); ok {
			s.Close()
		}
	}
	rows, err := known.(*sql.Stmt).QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return db.Read.ScanRows(ctx, rows, into)
}

func columns(t *schema.Table) string {
	names := make([]string, len(t.Fields))
	for i, f := range t.Fields {
		names[i] = string(f.SQLName)
	}
	return strings.Join(names, ", ")
}

// prepared are the statements of one batch, whose writers do the same one after
// the other.
type prepared struct {
	tx         bun.Tx
	statements map[string]*sql.Stmt
}

type preparedKey struct{}

func preparedIn(ctx context.Context) *prepared {
	p, _ := ctx.Value(preparedKey{}).(*prepared)
	return p
}

func (p *prepared) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := p.statements[text]; s != nil {
		return s, nil
	}
	s, err := p.tx.PrepareContext(ctx, text)
	if err == nil {
		p.statements[text] = s
	}
	return s, err
}

func (p *prepared) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	s, err := p.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// ScanRow reads the one row that a query finds; in a batch with a statement that
// its writers share.
func ScanRow(ctx context.Context, tx bun.IDB, into []any, query string, args ...any) error {
	p := preparedIn(ctx)
	if p == nil {
		return tx.QueryRowContext(ctx, query, args...).Scan(into...)
	}
	s, err := p.statement(ctx, query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(ctx, args...).Scan(into...)
}

// Insert adds rows, unless on, such as "CONFLICT DO NOTHING", says otherwise. A
// single row of a batch goes by a statement that its writers share. The fields of a
// row are plain values.
func Insert[T any](ctx context.Context, tx bun.IDB, rows []T, on string) (sql.Result, error) {
	p := preparedIn(ctx)
	if p == nil || len(rows) != 1 {
		q := tx.NewInsert().Model(&rows)
		if on != "" {
			q.On(on)
		}
		return q.Exec(ctx)
	}
	row := reflect.ValueOf(&rows[0]).Elem()
	table := tx.Dialect().Tables().Get(row.Type())
	args := make([]any, len(table.Fields))
	for i, f := range table.Fields {
		args[i] = f.Value(row).Interface()
	}
	text := fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", table.SQLName, columns(table), strings.Repeat(", ?", len(args)-1))
	if on != "" {
		text += " ON " + on
	}
	return p.exec(ctx, text, args...)
}
