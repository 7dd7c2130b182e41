package peer

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// memory keeps what peers say of themselves in the database, so that a restart
// forgets neither their keys nor that they sign. Without a database nothing is
// kept.
type memory struct{ db *store.DB }

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
}

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

func (m memory) saveDiscovery(ctx context.Context, host ocm.Host, raw []byte, at time.Time) error {
	if m.db == nil {
		return nil
	}
	_, err := m.db.Write.NewInsert().
		Model(&peerRow{Host: string(host), Discovery: string(raw), DiscoveredAt: store.Millis(at), FirstSeen: store.Millis(at)}).
		On("CONFLICT (host) DO UPDATE").Set("discovery = EXCLUDED.discovery").Set("discovered_at = EXCLUDED.discovered_at").Exec(ctx)
	return err
}

// saveKeys keeps a JWK Set, and since when each key is known. With approve, a
// key that joins others waits for the operator. It returns the keys that are
// new beside known ones.
func (m memory) saveKeys(ctx context.Context, host ocm.Host, raw []byte, keys httpsig.KeySet, at time.Time, approve bool) (changed []string, err error) {
	if m.db == nil {
		return nil, nil
	}
	err = m.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().
			Model(&peerRow{Host: string(host), JWKS: string(raw), JWKSAt: store.Millis(at), FirstSeen: store.Millis(at)}).
			On("CONFLICT (host) DO UPDATE").Set("jwks = EXCLUDED.jwks").Set("jwks_at = EXCLUDED.jwks_at").Exec(ctx)
		if err != nil {
			return err
		}
		var known []peerKeyRow
		if err := tx.NewSelect().Model(&known).Where("host = ?", string(host)).Scan(ctx); err != nil {
			return err
		}
		have := map[keyID]bool{}
		for _, k := range known {
			have[keyID{k.Host, k.KID, k.Thumbprint}] = true
		}
		for _, k := range keys.Keys() {
			row := &peerKeyRow{
				Host: string(host), KID: k.KID, Thumbprint: k.Thumbprint(), State: KeyTrusted,
				FirstSeen: store.Millis(at), LastSeen: store.Millis(at),
			}
			if len(known) > 0 && !have[keyID{row.Host, row.KID, row.Thumbprint}] {
				changed = append(changed, k.KID)
				if approve {
					row.State = KeyWaiting
				}
			}
			if _, err := tx.NewInsert().Model(row).On("CONFLICT (host, kid, thumbprint) DO UPDATE").Set("last_seen = EXCLUDED.last_seen").Exec(ctx); err != nil {
				return err
			}
		}
		if approve && len(changed) > 0 {
			return store.Bump(ctx, tx, trustName)
		}
		return nil
	})
	return changed, err
}
