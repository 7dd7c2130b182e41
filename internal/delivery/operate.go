package delivery

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/ocm"
)

// Filter says which messages an operator wants to see; what is empty does not
// matter.
type Filter struct {
	Peer  string
	State string // Pending or Dead
	Kind  string
	After string // the id of the last one of the page before
	Limit int64
}

// Messages lists messages, the oldest first, without their payloads.
func (o *Outbox) Messages(ctx context.Context, f Filter) ([]Row, error) {
	rows := []Row{}
	q := o.db.Read.NewSelect().Model(&rows).ExcludeColumn("payload").Order("id").Limit(f.Limit)
	for column, v := range map[string]string{"peer_host": f.Peer, "state": f.State, "kind": f.Kind} {
		if v != "" {
			q = q.Where("? = ?", bun.Ident(column), v)
		}
	}
	if f.After != "" {
		q = q.Where("id > ?", f.After)
	}
	return rows, q.Scan(ctx)
}

// ResendAll gives the messages to a host, or those of them in a state, a new span
// of attempts.
func (o *Outbox) ResendAll(ctx context.Context, peer ocm.Host, state string) (resent int, err error) {
	f := Filter{Peer: string(peer), State: state, Limit: 500}
	for {
		rows, err := o.Messages(ctx, f)
		if err != nil {
			return resent, err
		}
		for _, r := range rows {
			switch err := o.Resend(ctx, r.ID); {
			case err == nil:
				resent++
			case !errors.Is(err, ErrNoMessage): // others were delivered meanwhile
				return resent, err
			}
			f.After = r.ID
		}
		if int64(len(rows)) < f.Limit {
			return resent, nil
		}
	}
}

// Backlog is how the outbox stands.
type Backlog struct {
	Waiting int64
	Dead    int64
	Oldest  int64 // when the oldest that waits was written, 0 for none
}

// Backlog tells how the outbox stands.
func (o *Outbox) Backlog(ctx context.Context) (b Backlog, err error) {
	var rows []struct {
		State  string
		N      int64
		Oldest int64
	}
	err = o.db.Read.NewSelect().Model((*Row)(nil)).Column("state").ColumnExpr("COUNT(*) AS n").ColumnExpr("MIN(created_at) AS oldest").Group("state").Scan(ctx, &rows)
	for _, r := range rows {
		if r.State == Dead {
			b.Dead = r.N
		} else {
			b.Waiting, b.Oldest = r.N, r.Oldest
		}
	}
	return b, err
}
