package peer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// memory keeps what peers say of themselves in the database, so that a restart
// forgets neither their keys nor that they sign. Without a database nothing is
// kept.
type memory struct {
	db      *store.DB
	inserts *atomic.Int64 // of servers, since the start
}

type peerRow struct {
	bun.BaseModel `bun:"table:peers"`

	Host         string `bun:",pk"`
	Discovery    string
	DiscoveredAt int64
	JWKS         string `bun:"jwks"`
	JWKSAt       int64  `bun:"jwks_at"`
	FirstSeen    int64
	FailingSince int64
	Failure      string
	LastSuccess  int64
	LastFailure  int64
	Failures     int64
	Signs        string // the best it was seen to sign by
}

// What servers sign by, the lesser first.
const (
	SignsCavage = "draft-cavage"
	SignsRFC    = "rfc9421"
)

// signs is what a server signs by that says d of itself; "" for nothing.
func signs(d *ocm.Discovery) string {
	switch {
	case d.HasCapability(ocm.CapHTTPSig) && (d.JWKSURI != "" || d.PublicKey == nil):
		return SignsRFC
	case d.PublicKey != nil:
		return SignsCavage
	}
	return ""
}

// The states of a peer's key. Waiting and rejected keys verify nothing.
const (
	KeyTrusted  = "trusted"
	KeyWaiting  = "waiting" // for the operator
	KeyRejected = "rejected"
)

type peerKeyRow struct {
	bun.BaseModel `bun:"table:peer_keys"`

	Host       string `bun:",pk"`
	KID        string `bun:"kid,pk"`
	Thumbprint string `bun:",pk"`
	FirstSeen  int64
	LastSeen   int64
	State      string
	Form       string // formJWK or formPEM
}

const (
	formJWK = "jwk"
	formPEM = "pem" // of a discovery document, for draft-cavage
)

// keyID names a key of a peer.
type keyID struct{ host, kid, thumbprint string }

// load gives the documents last seen, empty for a host never met.
func (m memory) load(ctx context.Context, host ocm.Host) (r peerRow, err error) {
	if m.db == nil {
		return r, nil
	}
	err = m.db.Read.NewSelect().Model(&r).Where("host = ?", string(host)).Scan(ctx)
	if store.NotFound(err) {
		return peerRow{}, nil
	}
	return r, err
}

// saveDiscovery keeps a discovery document. What the server was seen to sign by
// stays when the document says less; that it has come to sign by RFC 9421 makes
// its older key a step back, which waits for the operator from then on.
func (m memory) saveDiscovery(ctx context.Context, host ocm.Host, raw []byte, d *ocm.Discovery, at time.Time) error {
	if m.db == nil {
		return nil
	}
	met := false
	err := m.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := peerRow{Host: string(host), Discovery: string(raw), DiscoveredAt: store.Millis(at), FirstSeen: store.Millis(at), Signs: signs(d)}
		var was []string
		if err := tx.NewSelect().Model((*peerRow)(nil)).Column("signs").Where("host = ?", row.Host).Scan(ctx, &was); err != nil {
			return err
		}
		if len(was) == 0 {
			met = true
			_, err := tx.NewInsert().Model(&row).Exec(ctx)
			return err
		}
		q := tx.NewUpdate().Model(&row).Column("discovery", "discovered_at").WherePK()
		if row.Signs == SignsRFC || was[0] == "" {
			q = q.Column("signs")
		}
		if _, err := q.Exec(ctx); err != nil {
			return err
		}
		if row.Signs == SignsRFC && was[0] == SignsCavage {
			_, err := tx.NewUpdate().Model((*peerKeyRow)(nil)).Set("state = ?", KeyWaiting).
				Where("host = ? AND form = ? AND state = ?", row.Host, formPEM, KeyTrusted).Exec(ctx)
			return err
		}
		return nil
	})
	if err == nil && met {
		err = m.prune(ctx)
	}
	return err
}

// maxPassing bounds how many servers are remembered that we have nothing to do
// with: anyone can make us meet servers without end.
const maxPassing = 1000

// prune forgets the oldest of the servers with which there are no shares,
// contacts, messages or reports, beyond maxPassing; now and then, because it
// looks at all of them. Their keys go with them, but for the rejected ones.
func (m memory) prune(ctx context.Context) error {
	if m.inserts.Add(1)%50 != 0 {
		return nil
	}
	return m.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var surplus []string
		q := tx.NewSelect().Model((*peerRow)(nil)).Column("host").Order("discovered_at DESC").Limit(100_000).Offset(maxPassing)
		for _, table := range []string{"outgoing_shares", "incoming_shares", "contacts", "acceptances", "outbox", "reports"} {
			q = q.Where("NOT EXISTS (SELECT 1 FROM ? AS o WHERE o.peer_host = ?TableAlias.host)", bun.Ident(table))
		}
		if err := q.Scan(ctx, &surplus); err != nil || len(surplus) == 0 {
			return err
		}
		if _, err := tx.NewDelete().Model((*peerKeyRow)(nil)).Where("host IN (?)", bun.List(surplus)).Where("state <> ?", KeyRejected).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*peerRow)(nil)).Where("host IN (?)", bun.List(surplus)).Exec(ctx)
		return err
	})
}

// keyState is the state of a key, "" for one never seen.
func (m memory) keyState(ctx context.Context, id keyID) (state string, err error) {
	err = m.db.Read.NewSelect().Model((*peerKeyRow)(nil)).Column("state").
		Where("host = ? AND kid = ? AND thumbprint = ?", id.host, id.kid, id.thumbprint).Scan(ctx, &state)
	if store.NotFound(err) {
		return "", nil
	}
	return state, err
}

// saveKeys keeps a JWK Set, and since when each key is known. With approve, a
// key that joins others waits for the operator. It returns the keys that are
// new beside known ones, and those that wait since now.
func (m memory) saveKeys(ctx context.Context, host ocm.Host, raw []byte, keys httpsig.KeySet, at time.Time, approve bool) (changed []peerKeyRow, err error) {
	if m.db == nil {
		return nil, nil
	}
	err = m.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().
			Model(&peerRow{Host: string(host), JWKS: string(raw), JWKSAt: store.Millis(at), FirstSeen: store.Millis(at), Signs: SignsRFC}).
			On("CONFLICT (host) DO UPDATE").Set("jwks = EXCLUDED.jwks").Set("jwks_at = EXCLUDED.jwks_at").Set("signs = EXCLUDED.signs").Exec(ctx)
		if err != nil {
			return err
		}
		keys := keys.Keys()
		changed, err = m.seen(ctx, tx, host, formJWK, keys[:min(len(keys), maxKeys)], at, func(joins bool) bool { return joins && approve })
		return err
	})
	return changed, err
}

// saveLegacyKey keeps the key of a document, as saveKeys does. Of a server that
// signed by RFC 9421 it waits for the operator in any case.
func (m memory) saveLegacyKey(ctx context.Context, host ocm.Host, key httpsig.Key, at time.Time, approve bool) (changed []peerKeyRow, err error) {
	if m.db == nil {
		return nil, nil
	}
	err = m.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		newer, err := tx.NewSelect().Model((*peerRow)(nil)).Where("host = ? AND signs = ?", string(host), SignsRFC).Exists(ctx)
		if err != nil {
			return err
		}
		changed, err = m.seen(ctx, tx, host, formPEM, []httpsig.Key{key}, at, func(joins bool) bool { return newer || joins && approve })
		return err
	})
	return changed, err
}

// seen notes keys of a server. wait tells which of the new ones, by whether they
// join others, are for the operator to decide.
func (m memory) seen(ctx context.Context, tx bun.Tx, host ocm.Host, form string, keys []httpsig.Key, at time.Time, wait func(joins bool) bool) (changed []peerKeyRow, err error) {
	var known []peerKeyRow
	if err := tx.NewSelect().Model(&known).Where("host = ?", string(host)).Scan(ctx); err != nil {
		return nil, err
	}
	have := map[keyID]bool{}
	for _, k := range known {
		have[keyID{k.Host, k.KID, k.Thumbprint}] = true
	}
	for _, k := range keys {
		row := &peerKeyRow{
			Host: string(host), KID: k.KID, Thumbprint: k.Thumbprint(), State: KeyTrusted, Form: form,
			FirstSeen: store.Millis(at), LastSeen: store.Millis(at),
		}
		if !have[keyID{row.Host, row.KID, row.Thumbprint}] {
			if wait(len(known) > 0) {
				row.State = KeyWaiting
			}
			if len(known) > 0 || row.State == KeyWaiting {
				changed = append(changed, *row)
			}
		}
		if _, err := tx.NewInsert().Model(row).On("CONFLICT (host, kid, thumbprint) DO UPDATE").Set("last_seen = EXCLUDED.last_seen").Exec(ctx); err != nil {
			return nil, err
		}
	}
	return changed, m.dropKeys(ctx, tx, host, at)
}

// maxKeys bounds how many keys of a server are kept.
const maxKeys = 50

// dropKeys forgets the oldest keys that a server no longer publishes, beyond
// maxKeys. What the operator rejected stays rejected.
func (m memory) dropKeys(ctx context.Context, tx bun.Tx, host ocm.Host, at time.Time) error {
	var old []peerKeyRow
	err := tx.NewSelect().Model(&old).Where("host = ? AND state <> ? AND last_seen < ?", string(host), KeyRejected, store.Millis(at)).
		Order("last_seen DESC").Offset(maxKeys).Limit(1000).Scan(ctx)
	for _, k := range old {
		if _, err := tx.NewDelete().Model(&k).WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	return err
}
