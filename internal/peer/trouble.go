package peer

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Trouble is a server that an operator should look at: it does not answer, has
// messages that were given up, or keys that wait.
type Trouble struct {
	Host         ocm.Host
	FailingSince time.Time
	Failure      string
	Waiting      int64 // messages
	Dead         int64 // messages that were given up
	KeysWaiting  int64
}

// Troubles are how many servers were met, and those in trouble.
type Troubles struct {
	Met     int64
	Reports int64 // by our people
	Hosts   []Trouble
}

// Troubles lists the servers in trouble, the longest first.
func (p *Peers) Troubles(ctx context.Context) (*Troubles, error) {
	db := p.opt.DB.Read
	out := &Troubles{}
	var err error
	if out.Met, err = db.NewSelect().Model((*peerRow)(nil)).Count(ctx); err != nil {
		return nil, err
	}
	if out.Reports, err = db.NewSelect().Table("reports").Count(ctx); err != nil {
		return nil, err
	}
	var rows []struct {
		Host         string
		FailingSince int64
		Failure      string
		Waiting      int64
		Dead         int64
		KeysWaiting  int64
	}
	// A server that was never met may have messages too.
	err = db.NewRaw(`SELECT h.host, COALESCE(p.failing_since, 0) AS failing_since, COALESCE(p.failure, '') AS failure,
			(SELECT COUNT(*) FROM outbox AS o WHERE o.peer_host = h.host AND o.state = 'pending') AS waiting,
			(SELECT COUNT(*) FROM outbox AS o WHERE o.peer_host = h.host AND o.state = 'dead') AS dead,
			(SELECT COUNT(*) FROM peer_keys AS k WHERE k.host = h.host AND k.state = ?) AS keys_waiting
		FROM (
			SELECT host FROM peers WHERE failing_since > 0
			UNION SELECT peer_host FROM outbox WHERE state = 'dead' OR attempts >= 3
			UNION SELECT host FROM peer_keys WHERE state = ?
		) AS h LEFT JOIN peers AS p ON p.host = h.host
		ORDER BY CASE WHEN COALESCE(p.failing_since, 0) = 0 THEN 1 ELSE 0 END, p.failing_since, h.host LIMIT 100`, KeyWaiting, KeyWaiting).Scan(ctx, &rows)
	for _, r := range rows {
		out.Hosts = append(out.Hosts, Trouble{ocm.Host(r.Host), store.Time(r.FailingSince), r.Failure, r.Waiting, r.Dead, r.KeysWaiting})
	}
	return out, err
}
