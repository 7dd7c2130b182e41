package sharing

import (
	"cmp"
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
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

// UserRemoved ends all shares of a person who is about to be deleted, gives back
// those they received, and tells every server that knows the person.
func (s *Service) UserRemoved(ctx context.Context, tx bun.Tx, user account.User) error {
	known, err := s.Contacts.KnownAt(ctx, tx, user)
	if err != nil {
		return err
	}
	var sent []Outgoing
	err = tx.NewSelect().Model(&sent).Where("owner_id = ? AND state NOT IN (?)", user.ID, bun.List([]string{StateEnded, StateDeclined})).Scan(ctx)
	if err != nil {
		return err
	}
	for _, o := range sent {
		if o.State != StatePending && o.State != StateFailed {
			known = append(known, ocm.Address{Identifier: cmp.Or(o.Sender, user.Name), Host: ocm.Host(o.PeerHost)})
		}
		if err := s.end(ctx, tx, &o, "its owner was removed"); err != nil {
			return err
		}
	}
	var received []Incoming
	err = tx.NewSelect().Model(&received).Where("group_id = '' AND ended_at = 0").
		Where("id IN (SELECT share_id FROM incoming_members WHERE user_id = ? AND state IN (?))", user.ID, bun.List([]string{MemberPending, MemberAccepted})).Scan(ctx)
	if err != nil {
		return err
	}
	for _, in := range received {
		if with, err := ocm.ReadAddress(in.ShareWith); err == nil {
			known = append(known, ocm.Address{Identifier: with.Identifier, Host: ocm.Host(in.PeerHost)})
		}
		if err := s.giveUp(ctx, tx, &in, "its recipient was removed"); err != nil {
			return err
		}
	}
	slices.SortFunc(known, func(a, b ocm.Address) int { return cmp.Compare(a.String(), b.String()) })
	for _, at := range slices.Compact(known) {
		if err := s.TellRemoved(ctx, tx, at.Host, at.Identifier); err != nil {
			return err
		}
	}
	// People of this server have them in their address books too.
	return s.TellRemoved(ctx, tx, s.Self, user.Name)
}

// GroupRemoved gives back what a group that is about to be deleted received, and
// tells the servers it came from.
func (s *Service) GroupRemoved(ctx context.Context, tx bun.Tx, group account.Group) error {
	var received []Incoming
	if err := tx.NewSelect().Model(&received).Where("group_id = ? AND ended_at = 0", group.ID).Scan(ctx); err != nil {
		return err
	}
	hosts := map[string]bool{}
	for _, in := range received {
		hosts[in.PeerHost] = true
		if err := s.giveUp(ctx, tx, &in, endedOfGroup); err != nil {
			return err
		}
	}
	for host := range hosts {
		err := s.tell(ctx, tx, ocm.Host(host), ocm.Notification{Type: ocm.GroupRemoved, ShareType: ocm.ShareTypeGroup, GroupID: group.Name})
		if err != nil {
			return err
		}
	}
	return nil
}

// giveUp ends a received share for all its recipients, and tells its sender.
func (s *Service) giveUp(ctx context.Context, tx bun.Tx, in *Incoming, reason string) error {
	if err := s.endIncoming(ctx, tx, in, reason); err != nil {
		return err
	}
	return s.answer(ctx, tx, in, ocm.ShareDeclined)
}
