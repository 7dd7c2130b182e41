package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// overlap is how long a replaced key stays published: longer than peers cache a
// key set.
const overlap = 7 * 24 * time.Hour

// keyRow is a signing key of this server; the private part is sealed.
type keyRow struct {
	bun.BaseModel `bun:"table:signing_keys"`

	KID       string `bun:"kid,pk"`
	Private   []byte
	CreatedAt int64
	RetiredAt int64
}

// keyring holds the keys this server signs with: the newest signs, the others
// stay published until their overlap has passed.
type keyring struct {
	signers []*httpsig.Signer // newest first
}

// Current is the key that signs.
func (k *keyring) Current() *httpsig.Signer { return k.signers[0] }

// Private is the current key itself, for access tokens.
func (k *keyring) Private() ed25519.PrivateKey { return k.signers[0].Key.(ed25519.PrivateKey) }

// Public is the JWK Set's keys.
func (k *keyring) Public() []json.RawMessage {
	out := make([]json.RawMessage, len(k.signers))
	for i, s := range k.signers {
		out[i] = s.JWK()
	}
	return out
}

// loadKeys reads the keys, making the first at the first start.
func loadKeys(ctx context.Context, db *store.DB, box *seal.Box, host ocm.Host, now func() time.Time) (*keyring, error) {
	var rows []keyRow
	err := db.Read.NewSelect().Model(&rows).Where("retired_at = 0 OR retired_at > ?", now().Add(-overlap).UnixMilli()).
		Order("created_at DESC", "kid DESC").Scan(ctx)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || rows[0].RetiredAt != 0 {
		if _, err := rotateKey(ctx, db, box, host, now); err != nil {
			return nil, err
		}
		return loadKeys(ctx, db, box, host, now)
	}
	ring := &keyring{}
	for _, r := range rows {
		seed, err := box.Open(r.Private, "signing-key/"+r.KID)
		if err != nil {
			return nil, fmt.Errorf("the signing key %s cannot be opened with this data directory's secret.key: "+
				"restore the secret.key that belongs to this database: %w", r.KID, err)
		}
		ring.signers = append(ring.signers, &httpsig.Signer{KID: r.KID, Key: ed25519.NewKeyFromSeed(seed), Now: now})
	}
	return ring, nil
}

// rotateKey makes a new signing key and retires the others, which stay
// published for a while. It returns the new key's id. A running server takes it
// up at its next start.
func rotateKey(ctx context.Context, db *store.DB, box *seal.Box, host ocm.Host, now func() time.Time) (string, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	t := now()
	kid := fmt.Sprintf("%s#%s", host, t.UTC().Format("2006-01-02T150405"))
	err = db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*keyRow)(nil)).Set("retired_at = ?", t.UnixMilli()).Where("retired_at = 0").Exec(ctx)
		if err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(&keyRow{KID: kid, Private: box.Seal(private.Seed(), "signing-key/"+kid), CreatedAt: t.UnixMilli()}).Exec(ctx)
		if err != nil {
			return err
		}
		return audit.Note(ctx, tx, t, audit.Event{Action: "signing-key.made", Kind: "signing-key", ID: kid})
	})
	return kid, err
}

const legacyKeyName = "legacy_key"

// loadLegacyKey reads the RSA key for servers that verify by draft-cavage alone,
// making it at the first start with the switch on.
func loadLegacyKey(ctx context.Context, db *store.DB, box *seal.Box, origin string, now func() time.Time) (*httpsig.LegacySigner, error) {
	var stored string
	err := db.Read.NewSelect().Table("settings").Column("value").Where("name = ?", legacyKeyName).Scan(ctx, &stored)
	if err != nil && !store.NotFound(err) {
		return nil, err
	}
	signer := &httpsig.LegacySigner{KeyID: origin + "/ocm#signature", Now: now}
	if stored == "" {
		if signer.Key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, err
		}
		sealed := box.Seal(x509.MarshalPKCS1PrivateKey(signer.Key), legacyKeyName)
		_, err = db.Write.NewInsert().Table("settings").
			Model(&map[string]any{"name": legacyKeyName, "value": base64.StdEncoding.EncodeToString(sealed)}).Exec(ctx)
		return signer, err
	}
	sealed, err := base64.StdEncoding.DecodeString(stored)
	if err != nil {
		return nil, err
	}
	der, err := box.Open(sealed, legacyKeyName)
	if err != nil {
		return nil, fmt.Errorf("the key for older servers cannot be opened with this data directory's secret.key: %w", err)
	}
	signer.Key, err = x509.ParsePKCS1PrivateKey(der)
	return signer, err
}
