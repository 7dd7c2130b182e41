package sharing

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Moved makes the shares of what a person moved follow it, in the transaction
// that completes the move. A share of a file that was replaced stays with its
// path: editors save by moving a new file over the old one.
func (s *Service) Moved(ctx context.Context, tx bun.Tx, ownerID, from, to string) error {
	var shares []Outgoing
	below, args := store.Below("path", from)
	err := tx.NewSelect().Model(&shares).Where("owner_id = ?", ownerID).
		WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("path = ?", from).WhereOr(below, args...) }).Scan(ctx)
	if err != nil {
		return err
	}
	for _, o := range shares {
		o.Path = store.Rebase(o.Path, from, to)
		if _, err := tx.NewUpdate().Model(&o).Column("path").WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Removed ends the shares of what a person deleted, and tells their peers.
func (s *Service) Removed(ctx context.Context, tx bun.Tx, ownerID, name string) error {
	var shares []Outgoing
	below, args := store.Below("path", name)
	err := tx.NewSelect().Model(&shares).Where("owner_id = ?", ownerID).Where("state <> ?", StateEnded).
		WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("path = ?", name).WhereOr(below, args...) }).Scan(ctx)
	if err != nil {
		return err
	}
	for _, o := range shares {
		if err := s.end(ctx, tx, &o, "deleted by its owner"); err != nil {
			return err
		}
	}
	return nil
}

// Committed wakes the outbox after the transaction of Removed.
func (s *Service) Committed() { s.Outbox.Wake() }

// UserRemoved ends all shares of a person who is about to be deleted, and gives
// back those they received, so that every peer hears of it.
func (s *Service) UserRemoved(ctx context.Context, tx bun.Tx, userID string) error {
	var sent []Outgoing
	err := tx.NewSelect().Model(&sent).Where("owner_id = ? AND state NOT IN (?)", userID, bun.List([]string{StateEnded, StateDeclined})).Scan(ctx)
	if err != nil {
		return err
	}
	for _, o := range sent {
		if err := s.end(ctx, tx, &o, "its owner was removed"); err != nil {
			return err
		}
	}
	var received []Incoming
	err = tx.NewSelect().Model(&received).Where("group_id = '' AND ended_at = 0").
		Where("id IN (SELECT share_id FROM incoming_members WHERE user_id = ? AND state IN (?))", userID, bun.List([]string{MemberPending, MemberAccepted})).Scan(ctx)
	if err != nil {
		return err
	}
	for _, in := range received {
		if err := s.endIncoming(ctx, tx, &in, "its recipient was removed"); err != nil {
			return err
		}
		if err := s.answer(ctx, tx, &in, ocm.ShareDeclined); err != nil {
			return err
		}
	}
	return nil
}
