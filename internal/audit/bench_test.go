package audit

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
)

// BenchmarkNote is what a record adds to the transaction of its act.
func BenchmarkNote(b *testing.B) {
	db, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "weft.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	south := With(b.Context(), By{Kind: Peer, Name: "south.example", Origin: "192.0.2.9", Request: store.NewID()})
	b.ResetTimer()
	err = db.Tx(south, func(ctx context.Context, tx bun.Tx) error {
		for range b.N {
			err := Note(ctx, tx, begin, Event{
				Action: "share.received", Kind: "received", ID: store.NewID(), Name: "Field notes", Target: "ann@south.example",
				Details: Details{"permissions": "read,write", "signed": true, "share": "7c084226-d9a1-11e6-bf26-cec0c932ce01", "with": "bob@north.example"},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
