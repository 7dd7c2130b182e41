package server

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// peerMemory keeps what peers say of themselves in the database, so that a
// restart forgets neither their keys nor that they sign.
type peerMemory struct{ db *store.DB }

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
}

type peerKeyRow struct {
	bun.BaseModel `bun:"table:peer_keys"`

	Host       string `bun:",pk"`
	KID        string `bun:"kid,pk"`
	Thumbprint string `bun:",pk"`
	FirstSeen  int64
	LastSeen   int64
}

// LoadPeer returns the documents last seen, empty for a host never met.
func (m peerMemory) LoadPeer(ctx context.Context, host ocm.Host) (discovery []byte, at time.Time, jwks []byte, jwksAt time.Time, err error) {
	var r peerRow
	err = m.db.Read.NewSelect().Model(&r).Where("host = ?", string(host)).Scan(ctx)
	if store.NotFound(err) {
		return nil, time.Time{}, nil, time.Time{}, nil
	}
	return []byte(r.Discovery), store.Time(r.DiscoveredAt), []byte(r.JWKS), store.Time(r.JWKSAt), err
}

// SaveDiscovery keeps a discovery document.
func (m peerMemory) SaveDiscovery(ctx context.Context, host ocm.Host, raw []byte, at time.Time) error {
	_, err := m.db.Write.NewInsert().
		Model(&peerRow{Host: string(host), Discovery: string(raw), DiscoveredAt: store.Millis(at), FirstSeen: store.Millis(at)}).
		On("CONFLICT (host) DO UPDATE").Set("discovery = EXCLUDED.discovery").Set("discovered_at = EXCLUDED.discovered_at").Exec(ctx)
	return err
}

// SaveKeys keeps a JWK Set, and since when each key is known.
func (m peerMemory) SaveKeys(ctx context.Context, host ocm.Host, raw []byte, keys httpsig.KeySet, at time.Time) error {
	return m.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().
			Model(&peerRow{Host: string(host), JWKS: string(raw), JWKSAt: store.Millis(at), FirstSeen: store.Millis(at)}).
			On("CONFLICT (host) DO UPDATE").Set("jwks = EXCLUDED.jwks").Set("jwks_at = EXCLUDED.jwks_at").Exec(ctx)
		if err != nil {
			return err
		}
		for _, k := range keys.Keys() {
			row := &peerKeyRow{Host: string(host), KID: k.KID, Thumbprint: k.Thumbprint(), FirstSeen: store.Millis(at), LastSeen: store.Millis(at)}
			if _, err := tx.NewInsert().Model(row).On("CONFLICT (host, kid, thumbprint) DO UPDATE").Set("last_seen = EXCLUDED.last_seen").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
