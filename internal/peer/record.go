package peer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// marks gather how calls to hosts went, until they are written down.
type marks struct {
	mu     sync.Mutex
	byHost map[string]*mark
}

type mark struct {
	success, failure time.Time
	since            time.Time // of the first failure in a row, if it is among these
	failures         int64     // in a row
	recovered        bool      // a success came before the failures, if any
	reason           string
}

func (m *marks) note(host string, err error, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.byHost[host]
	if k == nil {
		if len(m.byHost) >= maxHosts {
			return
		}
		if m.byHost == nil {
			m.byHost = map[string]*mark{}
		}
		k = &mark{}
		m.byHost[host] = k
	}
	if err == nil {
		k.success, k.failures, k.since, k.reason, k.recovered = at, 0, time.Time{}, "", true
		return
	}
	k.failure, k.reason = at, briefly(err)
	if k.failures++; k.failures == 1 {
		k.since = at
	}
}

// maxReason bounds the text of a failure, in bytes: some of it is the peer's.
const maxReason = 500

func briefly(err error) string {
	s := ocm.DisplayName(err.Error())
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

func (m *marks) take() map[string]*mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.byHost
	m.byHost = nil
	return out
}

// flushEvery is how often the outcomes of calls are written down.
const flushEvery = 2 * time.Second

// Run writes down how calls to peers go until ctx ends.
func (p *Peers) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.flush(context.WithoutCancel(ctx))
			return nil
		}
		p.flush(ctx)
	}
}

// flush writes what is known of hosts that are peers; others, such as those
// that keys are fetched from, have no row.
func (p *Peers) flush(ctx context.Context) {
	heard := p.marks.take()
	if len(heard) == 0 || p.opt.DB == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := p.opt.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for host, k := range heard {
			q := tx.NewUpdate().Model((*peerRow)(nil)).Where("host = ?", host)
			if !k.success.IsZero() {
				q = q.Set("last_success = ?", store.Millis(k.success))
			}
			switch {
			case k.failures > 0 && k.recovered:
				q = q.Set("failures = ?", k.failures).Set("failing_since = ?", store.Millis(k.since))
			case k.failures > 0:
				q = q.Set("failures = failures + ?", k.failures).
					Set("failing_since = CASE WHEN failing_since = 0 THEN ? ELSE failing_since END", store.Millis(k.since))
			default:
				q = q.Set("failures = 0").Set("failing_since = 0")
			}
			if !k.failure.IsZero() {
				q = q.Set("last_failure = ?", store.Millis(k.failure))
			}
			if _, err := q.Set("failure = ?", k.reason).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		p.opt.Log.Error("how peers answer cannot be written down", "error", err)
	}
}

// Record is what is known of a server that was met.
type Record struct {
	Host         ocm.Host
	FirstSeen    time.Time
	Discovery    *ocm.Discovery  // nil when it was never read
	Document     json.RawMessage // as it came
	DiscoveredAt time.Time
	Profile      client.Profile // which family of servers it seems to be
	LastSuccess  time.Time
	LastFailure  time.Time
	FailingSince time.Time // zero while it answers
	Failures     int64     // in a row
	Failure      string
	Signs        string    // the best it was seen to sign by: SignsRFC, SignsCavage, or ""
	RestsUntil   time.Time // it is not called before; zero when it may be
	Keys         []KeyRecord
	Sent         int64 // shares of ours that live there
	Received     int64 // shares of theirs that live here
	Waiting      int64 // messages that wait for it
	Dead         int64 // messages that were given up
	Reports      int64 // by our people
	KeysWaiting  int64 // for the operator
	Verdict      Verdict
}

// KeyRecord is a key a peer signs, or signed, with.
type KeyRecord struct {
	KID        string
	Thumbprint string // RFC 7638, SHA-256
	State      string
	FirstSeen  time.Time
	LastSeen   time.Time
	Published  bool // in the key set or document as last seen
	Joined     bool // came after the first ones
	Cavage     bool // of the document, for draft-cavage
}

// ErrNotMet says that a host is not known here.
var ErrNotMet = ocm.NewError(http.StatusNotFound, "PEER_NOT_FOUND", "This server has not met that one. Have a look at it with: weft peer refresh HOST")

// Records lists the servers met, by name.
func (p *Peers) Records(ctx context.Context) ([]Record, error) {
	var rows []peerRow
	if err := p.opt.DB.Read.NewSelect().Model(&rows).ExcludeColumn("jwks").Order("host").Scan(ctx); err != nil {
		return nil, err
	}
	counts, err := p.counts(ctx, "")
	if err != nil {
		return nil, err
	}
	out := []Record{}
	for _, r := range rows {
		rec, err := p.recordOf(ctx, r, counts[r.Host])
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// Record tells what is known of one server, with its keys.
func (p *Peers) Record(ctx context.Context, host ocm.Host) (*Record, error) {
	row, err := p.memory.load(ctx, host)
	if err != nil {
		return nil, err
	}
	if row.Host == "" {
		return nil, ErrNotMet
	}
	counts, err := p.counts(ctx, host)
	if err != nil {
		return nil, err
	}
	rec, err := p.recordOf(ctx, row, counts[row.Host])
	if err != nil {
		return nil, err
	}
	rec.Keys, err = p.KeysOf(ctx, host)
	return &rec, err
}

// numbers are how much there is with a host.
type numbers struct{ Sent, Received, Waiting, Dead, Reports, KeysWaiting int64 }

// counts are the numbers of one host, or of all for "".
func (p *Peers) counts(ctx context.Context, host ocm.Host) (map[string]numbers, error) {
	out := map[string]numbers{}
	for _, q := range []struct{ table, host, where, numbers string }{
		{"outgoing_shares", "peer_host", "state IN ('pending', 'delivered', 'accepted')", "COUNT(*) AS sent"},
		{"incoming_shares", "peer_host", "ended_at = 0", "COUNT(*) AS received"},
		{"outbox", "peer_host", "1 = 1", "SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END) AS waiting, SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END) AS dead"},
		{"reports", "peer_host", "1 = 1", "COUNT(*) AS reports"},
		{"peer_keys", "host", "state = 'waiting'", "COUNT(*) AS keys_waiting"},
	} {
		var rows []struct {
			PeerHost string
			numbers
		}
		sel := p.opt.DB.Read.NewSelect().Table(q.table).ColumnExpr("? AS peer_host", bun.Ident(q.host)).ColumnExpr(q.numbers).Where(q.where).GroupExpr("?", bun.Ident(q.host))
		if host != "" {
			sel = sel.Where("? = ?", bun.Ident(q.host), string(host))
		}
		if err := sel.Scan(ctx, &rows); err != nil {
			return nil, err
		}
		for _, r := range rows {
			n := out[r.PeerHost]
			out[r.PeerHost] = numbers{n.Sent + r.Sent, n.Received + r.Received, n.Waiting + r.Waiting, n.Dead + r.Dead, n.Reports + r.Reports, n.KeysWaiting + r.KeysWaiting}
		}
	}
	return out, nil
}

func (p *Peers) recordOf(ctx context.Context, r peerRow, n numbers) (Record, error) {
	rec := Record{
		Host: ocm.Host(r.Host), FirstSeen: store.Time(r.FirstSeen), DiscoveredAt: store.Time(r.DiscoveredAt),
		LastSuccess: store.Time(r.LastSuccess), LastFailure: store.Time(r.LastFailure), FailingSince: store.Time(r.FailingSince),
		Failures: r.Failures, Failure: r.Failure, Signs: r.Signs,
		Sent: n.Sent, Received: n.Received, Waiting: n.Waiting, Dead: n.Dead, Reports: n.Reports, KeysWaiting: n.KeysWaiting,
	}
	if d, err := ocm.ReadDiscovery([]byte(r.Discovery)); err == nil {
		rec.Discovery, rec.Document = d, json.RawMessage(r.Discovery)
		if rec.Profile, err = p.profile(ctx, rec.Host, d); err != nil {
			return rec, err
		}
	}
	if until := rec.LastFailure.Add(p.opt.Cooldown); r.Failures >= failuresToOpen && until.After(p.opt.Now()) {
		rec.RestsUntil = until
	}
	var err error
	if p.opt.Policy != nil {
		rec.Verdict, err = p.opt.Policy.Decide(ctx, rec.Host)
	}
	return rec, err
}

// KeysOf lists all keys a peer was seen with, the newest first.
func (p *Peers) KeysOf(ctx context.Context, host ocm.Host) ([]KeyRecord, error) {
	row, err := p.memory.load(ctx, host)
	if err != nil {
		return nil, err
	}
	var rows []peerKeyRow
	if err := p.opt.DB.Read.NewSelect().Model(&rows).Where("host = ?", string(host)).Order("first_seen DESC", "kid").Scan(ctx); err != nil {
		return nil, err
	}
	out := []KeyRecord{}
	for _, k := range rows {
		at := row.JWKSAt
		if k.Form == formPEM {
			at = row.DiscoveredAt
		}
		out = append(out, KeyRecord{
			KID: k.KID, Thumbprint: k.Thumbprint, State: k.State, FirstSeen: store.Time(k.FirstSeen), LastSeen: store.Time(k.LastSeen),
			Published: k.LastSeen >= at, Joined: k.FirstSeen > rows[len(rows)-1].FirstSeen, Cavage: k.Form == formPEM,
		})
	}
	return out, nil
}

// ErrNoKey says that a peer was never seen with a key.
var ErrNoKey = ocm.NewError(http.StatusNotFound, "KEY_NOT_FOUND", "That server was never seen with such a key.")

// ErrWhichKey says that a kid names several keys.
var ErrWhichKey = ocm.NewError(http.StatusConflict, "KEY_UNCLEAR", "That server was seen with several keys of that name. Give the thumbprint.")

// DecideKey trusts or rejects a key of a peer, named by its thumbprint, or by its
// kid if there is one alone.
func (p *Peers) DecideKey(ctx context.Context, host ocm.Host, key, state string) error {
	if !slices.Contains([]string{KeyTrusted, KeyRejected}, state) {
		return errors.New("a key is trusted or rejected")
	}
	if p.opt.Policy != nil {
		defer p.opt.Policy.rules.Stale()
	}
	return p.opt.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var named []peerKeyRow
		for _, column := range []string{"thumbprint", "kid"} {
			if len(named) == 0 {
				if err := tx.NewSelect().Model(&named).Where("host = ? AND ? = ?", string(host), bun.Ident(column), key).Scan(ctx); err != nil {
					return err
				}
			}
		}
		switch {
		case len(named) == 0:
			return ErrNoKey
		case len(named) > 1 && named[0].Thumbprint != named[1].Thumbprint:
			return ErrWhichKey
		}
		for _, k := range named {
			if _, err := tx.NewUpdate().Model(&k).Set("state = ?", state).WherePK().Exec(ctx); err != nil {
				return err
			}
			err := audit.Note(ctx, tx, p.opt.Now(), audit.Event{
				Action: "key.decided", Kind: "key", ID: k.Thumbprint, Name: k.KID, Target: string(host), Details: audit.Details{"from": k.State, "to": state},
			})
			if err != nil {
				return err
			}
		}
		return store.Bump(ctx, tx, trustName)
	})
}
