package audit

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Log reads the records, and lets the old ones go.
type Log struct {
	db     *store.DB
	now    func() time.Time
	behind *store.Behind[Entry]
}

// NewLog keeps records for a time; 0 is forever.
func NewLog(db *store.DB, now func() time.Time, log *slog.Logger, keep time.Duration) *Log {
	l := &Log{db: db, now: now}
	l.behind = &store.Behind[Entry]{
		What: "audit records of refusals", Log: log,
		Write: func(ctx context.Context, rows []Entry) error {
			_, err := db.Write.NewInsert().Model(&rows).Exec(ctx)
			return err
		},
		Sweep: func(ctx context.Context) error {
			if keep <= 0 {
				return nil
			}
			return l.sweep(ctx, now().Add(-keep))
		},
	}
	return l
}

// sweepPart is how many records one commit takes away: others want to write too.
const sweepPart = 5000

func (l *Log) sweep(ctx context.Context, before time.Time) error {
	for {
		old := l.db.Read.NewSelect().Table("audit").Column("id").Where("at < ?", store.Millis(before)).Order("at", "id").Limit(sweepPart)
		res, err := l.db.Write.NewDelete().Table("audit").Where("id IN (?)", old).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); n < sweepPart || err != nil {
			return err
		}
	}
}

// Run sweeps and writes refusals until ctx ends and all of them are written.
func (l *Log) Run(ctx context.Context) error { return l.behind.Run(ctx) }

// Refused records that something was refused: after the fact, because there is no
// change whose transaction it could be part of. It never waits.
func (l *Log) Refused(ctx context.Context, e Event, cause error) {
	row, err := entry(ctx, l.now(), e)
	if err != nil {
		return // details that cannot be written; the log line has the refusal
	}
	row.Outcome, row.Code = Refused, string(ocm.CodeInternal)
	if e, ok := errors.AsType[*ocm.Error](cause); ok {
		row.Code = string(e.Code)
	}
	l.behind.Put(*row)
}

// Note records what is a change by itself, such as that records were exported.
func (l *Log) Note(ctx context.Context, e Event) error { return Note(ctx, l.db.Write, l.now(), e) }

// Filter says which records to list; what is empty does not matter.
type Filter struct {
	From, To time.Time // To is not included
	Actor    string    // a kind of actor, a user's id or name, or a peer's host
	Action   string    // the action, or what it begins with up to its dot: "share."
	Object   string    // its id, or its whole name
	Target   string    // an address, or a host: then all addresses there
	Request  string    // the request's id
	Outcome  string    // Done or Refused
	Text     string    // anywhere in names, targets and details
	Before   string    // Cursor of the last record of the page before
	Limit    int64
}

// ErrCursor says that a page cannot be found.
var ErrCursor = ocm.NewError(http.StatusBadRequest, "CURSOR_INVALID", "That page is not there. Begin again at the first.")

// Cursor names a record for paging: it stays where it is while others arrive.
func (e *Entry) Cursor() string { return strconv.FormatInt(e.At, 10) + "." + e.ID }

func readCursor(s string) (at int64, id string, err error) {
	ms, id, ok := strings.Cut(s, ".")
	at, err = strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil || len(id) > 64 {
		return 0, "", ErrCursor
	}
	return at, id, nil
}

// literal makes text stand for itself in a pattern of LIKE … ESCAPE '\'.
func literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text)
}

// hostOfTarget is what stands behind the last @ of a target: there is an index of
// just this.
const hostOfTarget = "SUBSTR(target, LENGTH(RTRIM(target, REPLACE(target, '@', ''))) + 1)"

// isID reports whether a text is an id as this server writes them.
func isID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

func (f Filter) apply(q *bun.SelectQuery) *bun.SelectQuery {
	if !f.From.IsZero() {
		q = q.Where("at >= ?", store.Millis(f.From))
	}
	if !f.To.IsZero() {
		q = q.Where("at < ?", store.Millis(f.To))
	}
	if f.Actor != "" {
		switch {
		case slices.Contains([]string{User, Operator, Peer, Visitor, System}, f.Actor):
			q = q.Where("actor_kind = ?", f.Actor)
		case isID(f.Actor):
			q = q.Where("actor_id = ?", f.Actor)
		default:
			q = q.Where("LOWER(actor) = ?", strings.ToLower(f.Actor))
		}
	}
	if f.Action != "" {
		if noun, verb, _ := strings.Cut(f.Action, "."); verb == "" {
			q = q.Where(`action LIKE ? ESCAPE '\'`, literal(noun)+".%")
		} else {
			q = q.Where("action = ?", f.Action)
		}
	}
	if f.Object != "" {
		if isID(f.Object) {
			q = q.Where("object_id = ?", f.Object)
		} else {
			q = q.Where("(object_id = ? OR object = ?)", f.Object, f.Object)
		}
	}
	if f.Target != "" {
		q = q.Where(hostOfTarget+" = ?", f.Target[strings.LastIndex(f.Target, "@")+1:])
		if strings.Contains(f.Target, "@") {
			q = q.Where("target = ?", f.Target)
		}
	}
	if f.Request != "" {
		q = q.Where("request = ?", f.Request)
	}
	if f.Outcome != "" {
		q = q.Where("outcome = ?", f.Outcome)
	}
	if f.Text != "" {
		t := "%" + literal(strings.ToLower(f.Text)) + "%"
		q = q.Where(`(LOWER(object || ' ' || target || ' ' || actor || ' ' || details) LIKE ? ESCAPE '\' OR request = ? OR origin = ?)`, t, f.Text, f.Text)
	}
	return q
}

// List gives records, the newest first, and the cursor of the next page: "" when
// there is none.
func (l *Log) List(ctx context.Context, f Filter) (rows []Entry, next string, err error) {
	rows = []Entry{}
	q := f.apply(l.db.Read.NewSelect().Model(&rows)).Order("at DESC", "id DESC").Limit(f.Limit + 1)
	if f.Before != "" {
		at, id, err := readCursor(f.Before)
		if err != nil {
			return nil, "", err
		}
		q = q.Where("(at < ? OR at = ? AND id < ?)", at, at, id)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", err
	}
	if int64(len(rows)) > f.Limit {
		rows = rows[:f.Limit]
		next = rows[f.Limit-1].Cursor()
	}
	return rows, next, nil
}

// eachPart is how many records Each reads at once.
const eachPart = 500

// Each gives all records that fit to f, the oldest first. It reads them in
// parts, so that neither memory nor the database is held for long.
func (l *Log) Each(ctx context.Context, f Filter, give func(*Entry) error) error {
	var after *Entry
	for {
		rows := make([]Entry, 0, eachPart)
		q := f.apply(l.db.Read.NewSelect().Model(&rows)).Order("at", "id").Limit(eachPart)
		if after != nil {
			q = q.Where("(at > ? OR at = ? AND id > ?)", after.At, after.At, after.ID)
		}
		if err := q.Scan(ctx); err != nil {
			return err
		}
		for i := range rows {
			if err := give(&rows[i]); err != nil {
				return err
			}
		}
		if len(rows) < eachPart {
			return nil
		}
		after = &rows[len(rows)-1]
	}
}
