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
	// A server that was never met may have messages too. Each table is read once.
	err = db.NewRaw(`SELECT h.host, COALESCE(MAX(p.failing_since), 0) AS failing_since, COALESCE(MAX(p.failure), '') AS failure,
			SUM(h.waiting) AS waiting, SUM(h.dead) AS dead, SUM(h.keys) AS keys_waiting
		FROM (
			SELECT host, 0 AS waiting, 0 AS dead, 0 AS keys, 1 AS trouble FROM peers WHERE failing_since > 0
			UNION ALL SELECT peer_host, SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END), SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 0,
				MAX(CASE WHEN state = 'dead' OR attempts >= 3 THEN 1 ELSE 0 END) FROM outbox GROUP BY peer_host
			UNION ALL SELECT host, 0, 0, COUNT(*), 1 FROM peer_keys WHERE state = ? GROUP BY host
		) AS h LEFT JOIN peers AS p ON p.host = h.host
		GROUP BY h.host HAVING MAX(h.trouble) > 0
		ORDER BY CASE WHEN COALESCE(MAX(p.failing_since), 0) = 0 THEN 1 ELSE 0 END, MAX(p.failing_since), h.host LIMIT 100`, KeyWaiting).Scan(ctx, &rows)
	for _, r := range rows {
		out.Hosts = append(out.Hosts, Trouble{ocm.Host(r.Host), store.Time(r.FailingSince), r.Failure, r.Waiting, r.Dead, r.KeysWaiting})
	}
	return out, err
}
