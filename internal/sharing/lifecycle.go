package sharing

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

const kindNotification = "notification"

// tell queues a notification to a peer behind the others about its share; what we
// would tell ourselves happens in the same transaction.
func (s *Service) tell(ctx context.Context, tx bun.Tx, peer ocm.Host, n ocm.Notification) error {
	// What is about no share waits for no other message.
	return s.tellBehind(ctx, tx, cmp.Or(n.ProviderID, store.NewID()), peer, n)
}

// tellBehind is tell with another order key, for what is not about a share alone.
func (s *Service) tellBehind(ctx context.Context, tx bun.Tx, orderKey string, peer ocm.Host, n ocm.Notification) error {
	n.SenderDomain = s.Self
	if peer == s.Self {
		return s.apply(ctx, tx, s.Self, &n)
	}
	// Now, because the share may be gone when the message leaves: its owner too
	// can be removed.
	if err := s.attach(ctx, tx, peer, &n); err != nil {
		return err
	}
	n.Form = ocm.NotifyGrantee // the outbox is sealed
	payload, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return s.Outbox.Enqueue(ctx, tx, delivery.Message{Peer: peer, OrderKey: orderKey, Kind: kindNotification, Payload: payload})
}

// TellRemoved queues the word that the identifier by which peer knows one of our
// people is gone.
func (s *Service) TellRemoved(ctx context.Context, tx bun.Tx, peer ocm.Host, identifier string) error {
	return s.tell(ctx, tx, peer, ocm.Notification{Type: ocm.UserRemoved, ShareType: ocm.ShareTypeUser, UserID: identifier})
}

// Notify applies a notification from peer (OCM 1.5, Notifications). A share
// answers only to its own peer: a providerId of another host is not found,
// whatever the signature. Repetitions change nothing.
func (s *Service) Notify(ctx context.Context, from Origin, n *ocm.Notification) (*ocm.NotificationAnswer, error) {
	if n.SenderDomain != from.Host {
		return nil, ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch, "the signer is not the senderDomain")
	}
	if from.Host == s.Self {
		return nil, ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch, "the message names this server as its sender")
	}
	// Known only while it can be asked; when not, it is taken for a new server.
	known, _ := s.Peers.Peer(ctx, from.Host)
	profile := known.Profile
	if n.Type == ocm.RequestShare || n.Type == ocm.RequestReshare {
		answer, err := s.put(ctx, from, profile, n)
		return answer, unknownFor(profile, err)
	}
	var unknown error
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		err := s.proven(ctx, tx, from, profile, n)
		if err == nil {
			err = s.inOrder(ctx, tx, from, n)
		}
		if err == nil {
			err = s.apply(ctx, tx, from.Host, n)
		}
		if errors.Is(err, ErrNoShare) && n.Type == ocm.ShareUnshared {
			unknown = err // it may have overtaken its share
			err = s.hear(ctx, tx, from, aboutShare(n.ProviderID), true)
		}
		return unless(err, errOvertaken)
	})
	s.Outbox.Wake()
	return &ocm.NotificationAnswer{}, unknownFor(profile, cmp.Or(err, unknown))
}

// unknownFor is the answer about a share that is not there as a peer understands
// it.
func unknownFor(profile client.Profile, err error) error {
	if e, ok := errors.AsType[*ocm.Error](err); ok && e.Code == ocm.CodeShareNotFound && profile.UnknownIsBad {
		bad := *e
		bad.Status = http.StatusBadRequest
		return &bad
	}
	return err
}

// errSecret is the answer to a notification that should know its share's secret.
var errSecret = ocm.NewError(http.StatusForbidden, "SECRET_MISMATCH", "the sharedSecret is not that of the share")

// errUnsigned is the answer to a notification that nothing but a signature can
// prove.
var errUnsigned = ocm.NewError(http.StatusUnauthorized, ocm.CodeSignatureRequired, "that someone is gone is believed only when it is signed")

// proven makes sure that a notification comes from who it says. What is signed
// may lack the sharedSecret of its share, but not have a wrong one. What is not
// signed needs it, whatever the family of servers: hosts and ids can be guessed.
// That of oCIS names the recipient in its place, and its ids cannot be guessed.
func (s *Service) proven(ctx context.Context, db bun.IDB, from Origin, profile client.Profile, n *ocm.Notification) error {
	switch {
	case n.Type == ocm.UserRemoved || n.Type == ocm.GroupRemoved:
		if !from.Signed {
			return errUnsigned
		}
		return nil
	case n.ProviderID == "", n.SharedSecret == "" && from.Signed:
		return nil
	case n.Type == ocm.ShareDeclined && n.ShareWith != (ocm.Address{}): // of a request
		return nil
	}
	var right bool
	if ours(n.Type) {
		o, err := s.about(ctx, db, from.Host, n)
		if err != nil {
			return unless(err, ErrNoShare) // there is no secret, and nothing that could be changed
		}
		right = subtle.ConstantTimeCompare([]byte(o.SecretHash), []byte(hash(n.SharedSecret))) == 1
	} else {
		in, err := get[Incoming](ctx, db, "provider_id = ? AND peer_host = ?", n.ProviderID, string(from.Host))
		if err != nil {
			return unless(err, ErrNoShare)
		}
		secret, err := s.secret(in)
		if err != nil {
			return err
		}
		right = subtle.ConstantTimeCompare([]byte(secret.Reveal()), []byte(n.SharedSecret.Reveal())) == 1
		if n.SharedSecret == "" && profile.NotificationForm == ocm.NotifyGrantee {
			right = len(n.ProviderID) >= unguessable && isGrantee(n.Grantee, in.ShareWith)
		}
	}
	if !right {
		return errSecret
	}
	return nil
}

// about finds the share that a notification to its sender is about.
func (s *Service) about(ctx context.Context, db bun.IDB, from ocm.Host, n *ocm.Notification) (*Outgoing, error) {
	if n.Type == ocm.ReshareUndo {
		parent, _, err := s.reshared(ctx, db, from, n)
		return parent, err
	}
	return get[Outgoing](ctx, db, "id = ? AND peer_host = ?", n.ProviderID, string(from))
}

// ours reports whether notifications of a type that reach us are about shares we
// send.
func ours(kind string) bool {
	switch kind {
	case ocm.ShareAccepted, ocm.ShareDeclined, ocm.RequestReshare, ocm.ReshareUndo:
		return true
	}
	return false
}

// Identify finds out who sends a notification that does not say: servers before
// 1.4 name the share and its secret alone.
func (s *Service) Identify(ctx context.Context, n *ocm.Notification) error {
	if n.SenderDomain != "" || n.ProviderID == "" {
		return n.SenderOf("")
	}
	if ours(n.Type) {
		o, err := get[Outgoing](ctx, s.DB.Read, "id = ?", n.ProviderID)
		if errors.Is(err, ErrNoShare) {
			return n.SenderOf("")
		}
		if err == nil && n.Type == ocm.ReshareUndo && o.Parent != "" { // by who asked for it
			o, err = get[Outgoing](ctx, s.DB.Read, "id = ?", o.Parent)
		}
		if err != nil {
			return err
		}
		return n.SenderOf(ocm.Host(o.PeerHost))
	}
	var candidates []Incoming
	if err := s.DB.Read.NewSelect().Model(&candidates).Where("provider_id = ?", n.ProviderID).Limit(100).Scan(ctx); err != nil {
		return err
	}
	for _, in := range candidates { // small numbers are many servers' ids
		secret, err := s.secret(&in)
		if err == nil && n.SharedSecret != "" && subtle.ConstantTimeCompare([]byte(secret.Reveal()), []byte(n.SharedSecret.Reveal())) == 1 {
			return n.SenderOf(ocm.Host(in.PeerHost))
		}
	}
	// oCIS names the share and its recipient. Its ids cannot be guessed.
	if len(candidates) == 1 && len(n.ProviderID) >= unguessable && isGrantee(n.Grantee, candidates[0].ShareWith) {
		return n.SenderOf(ocm.Host(candidates[0].PeerHost))
	}
	return n.SenderOf("")
}

// unguessable is the length in bytes from which an id is taken for a random one.
const unguessable = 20

func isGrantee(grantee, shareWith string) bool {
	with, err := ocm.ReadAddress(shareWith)
	return err == nil && grantee != "" && (grantee == with.Identifier || grantee == shareWith)
}

func (s *Service) apply(ctx context.Context, tx bun.Tx, peer ocm.Host, n *ocm.Notification) error {
	switch n.Type {
	case ocm.ShareAccepted:
		o, err := get[Outgoing](ctx, tx, "id = ? AND peer_host = ?", n.ProviderID, string(peer))
		if err != nil || !o.Live(s.Now()) || o.State == StateAccepted {
			return err
		}
		if err := s.noteAnswer(ctx, tx, peer, "share.accepted", o); err != nil {
			return err
		}
		if err := s.setState(ctx, tx, o, StateAccepted, ""); err != nil {
			return err
		}
		return s.tellOwner(ctx, tx, o, notice.Accepted, notice.Params{})

	case ocm.ShareDeclined:
		o, err := get[Outgoing](ctx, tx, "id = ? AND peer_host = ?", n.ProviderID, string(peer))
		if errors.Is(err, ErrNoShare) || n.ShareWith != (ocm.Address{}) {
			return s.refusedRequest(ctx, tx, peer, n)
		}
		if err != nil || o.State == StateEnded || o.State == StateDeclined {
			return err
		}
		reason, kind := "declined by the recipient", notice.Declined
		if o.State == StateAccepted {
			reason, kind = "given back by the recipient", notice.GivenBack
		}
		if err := s.noteAnswer(ctx, tx, peer, "share.declined", o); err != nil {
			return err
		}
		if err := s.setState(ctx, tx, o, StateDeclined, reason); err != nil {
			return err
		}
		return s.tellOwner(ctx, tx, o, kind, notice.Params{Words: n.Message})

	case ocm.ShareUnshared:
		in, err := get[Incoming](ctx, tx, "provider_id = ? AND peer_host = ?", n.ProviderID, string(peer))
		if err != nil || in.EndedAt != 0 {
			return err
		}
		reason := endedByOwner
		if !in.Live(s.Now()) {
			reason = endedByTime
		}
		return s.endIncoming(ctx, tx, in, reason)

	case ocm.ShareChangePermission:
		in, err := get[Incoming](ctx, tx, "provider_id = ? AND peer_host = ?", n.ProviderID, string(peer))
		if err != nil || in.EndedAt != 0 {
			return err
		}
		was, same := in.Permissions, sameRights(splitPerms(in.Permissions), n.Permissions)
		in.Permissions = joinPerms(n.Permissions)
		if _, err = tx.NewUpdate().Model(in).Column("permissions").WherePK().Exec(ctx); err != nil {
			return err
		}
		if err := s.noteReceived(ctx, tx, "share.changed", in, audit.Details{"from": was, "to": in.Permissions}); err != nil {
			return err
		}
		if n.ShareID != "" { // they are the answer to a request
			return s.grantedRequest(ctx, tx, peer, n)
		}
		if same {
			return nil
		}
		return s.tellRecipients(ctx, tx, in, notice.RightsChanged, notice.Params{})

	case ocm.ReshareUndo:
		return s.undo(ctx, tx, peer, n)

	case ocm.UserRemoved:
		// Address books say so. What the person shares ends by its own messages;
		// what is shared with the person is for its owner to end.
		who := ocm.Address{Identifier: n.UserID, Host: peer}
		if err := s.recipientGone(ctx, tx, ocm.ShareTypeUser, who, "the recipient is no longer there"); err != nil {
			return err
		}
		if err := s.Contacts.Gone(ctx, tx, who); err != nil || peer == s.Self {
			return err
		}
		return audit.Note(ctx, tx, s.Now(), audit.Event{Action: "person.gone", Kind: "person", Target: who.String()})

	case ocm.GroupRemoved:
		who := ocm.Address{Identifier: n.GroupID, Host: peer}
		if err := s.recipientGone(ctx, tx, ocm.ShareTypeGroup, who, "the group is no longer there"); err != nil || peer == s.Self {
			return err
		}
		return audit.Note(ctx, tx, s.Now(), audit.Event{Action: "group.gone", Kind: "group", Target: who.String()})
	}
	return ocm.NewError(http.StatusNotImplemented, ocm.CodeNotificationUnknown, "this server does not handle "+n.Type)
}

// recipientGone lets the owners of shares know that nobody can open them any
// more.
func (s *Service) recipientGone(ctx context.Context, tx bun.Tx, shareType string, who ocm.Address, reason string) error {
	these := func(q bun.QueryBuilder) bun.QueryBuilder {
		return q.Where("share_with = ? AND share_type = ?", who.String(), shareType).
			Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted}))
	}
	var owners []struct {
		OwnerID       string
		RecipientName string
		Shares        int64
	}
	err := tx.NewSelect().Model((*Outgoing)(nil)).Column("owner_id").ColumnExpr("MAX(recipient_name) AS recipient_name").ColumnExpr("COUNT(*) AS shares").
		ApplyQueryBuilder(these).Where("state_reason <> ?", reason).Group("owner_id").Scan(ctx, &owners)
	if err != nil {
		return err
	}
	for _, o := range owners {
		about := notice.Params{Who: who.String(), WhoName: o.RecipientName, Host: string(who.Host), Count: o.Shares, Reason: shareType}
		if err := s.Notices.Put(ctx, tx, notice.Event{Kind: notice.RecipientGone, About: about}, o.OwnerID); err != nil {
			return err
		}
	}
	_, err = tx.NewUpdate().Model((*Outgoing)(nil)).Set("state_reason = ?", reason).Set("updated_at = ?", s.Now().UnixMilli()).
		ApplyQueryBuilder(these).Exec(ctx)
	return err
}

// noteAnswer records what a recipient on another server made of a share of ours;
// of one on this server it is recorded on their side.
func (s *Service) noteAnswer(ctx context.Context, tx bun.Tx, peer ocm.Host, action audit.Action, o *Outgoing) error {
	if peer == s.Self {
		return nil
	}
	return s.noteSent(ctx, tx, action, o, nil)
}

func (s *Service) endIncoming(ctx context.Context, tx bun.Tx, in *Incoming, reason string) error {
	in.EndedAt, in.EndedReason = s.Now().UnixMilli(), reason
	if _, err := tx.NewUpdate().Model(in).Column("ended_at", "ended_reason").WherePK().Exec(ctx); err != nil {
		return err
	}
	s.forget(in.ID)
	if err := s.noteReceived(ctx, tx, "share.ended", in, audit.Details{"reason": reason}); err != nil {
		return err
	}
	return s.tellEnded(ctx, tx, in, reason)
}

// Sweep ends what has expired, on both sides, and forgets old signatures.
// Access does not wait for it: it looks at the time itself.
func (s *Service) Sweep(ctx context.Context) error {
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := s.Now().UnixMilli()
		var sent []Outgoing
		err := tx.NewSelect().Model(&sent).Where("expires_at > 0 AND expires_at <= ?", now).
			Where("state NOT IN (?)", bun.List([]string{StateEnded, StateDeclined})).Limit(1000).Scan(ctx)
		if err != nil {
			return err
		}
		for _, o := range sent {
			known := o.State != StateFailed
			if err := s.end(ctx, tx, &o, "expired"); err != nil {
				return err
			}
			if known {
				if err := s.tellOwner(ctx, tx, &o, notice.SentExpired, notice.Params{}); err != nil {
					return err
				}
			}
		}
		var received []Incoming
		err = tx.NewSelect().Model(&received).Where("expires_at > 0 AND expires_at <= ? AND ended_at = 0", now).Limit(1000).Scan(ctx)
		if err != nil {
			return err
		}
		for _, in := range received {
			if err := s.endIncoming(ctx, tx, &in, endedByTime); err != nil {
				return err
			}
		}
		if err := s.sweepEnding(ctx, tx); err != nil {
			return err
		}
		if err := s.sweepRequests(ctx, tx); err != nil {
			return err
		}
		if err := s.sweepOrder(ctx, tx); err != nil {
			return err
		}
		_, err = tx.NewDelete().Table("seen_signatures").Where("expires_at <= ?", now).Exec(ctx)
		return err
	})
	s.Outbox.Wake()
	return err
}

// notificationCourier delivers notifications.
type notificationCourier struct{ *Service }

func (c notificationCourier) Deliver(ctx context.Context, m delivery.Message) (any, error) {
	var n ocm.Notification
	read, err := ocm.ReadNotification(m.Payload)
	if err != nil {
		return nil, delivery.Permanently(err)
	}
	n = *read
	to, err := c.Peers.Peer(ctx, m.Peer)
	if err != nil {
		return nil, delivery.Unknown(m.Peer, err)
	}
	if !to.Profile.Reads(to.Discovery, n.Type) {
		// Nobody there would read it. An end is still in force, because
		// access is refused; an acceptance shows when they look.
		c.Log.Info("the peer takes no notifications", "peer", m.Peer, "type", n.Type, "share", m.OrderKey)
		return nil, nil
	}
	to.Profile.AdaptNotification(&n)
	if n.SharedSecret == "" { // given out since the message was written
		if err := c.attach(ctx, c.DB.Read, m.Peer, &n); err != nil {
			return nil, err
		}
	}
	_, err = c.Client.Notify(ctx, to, n)
	if pe, ok := errors.AsType[*client.PeerError](err); ok && (n.Type == ocm.ShareUnshared || n.Type == ocm.ShareDeclined) {
		switch {
		case unknownThere(to, pe):
			return nil, nil // it is gone there, which is what we wanted
		case pe.Status == http.StatusConflict: // some servers know no way back from accepted
			c.Log.Info("the peer keeps its state of a share that ended here", "peer", m.Peer, "type", n.Type, "share", m.OrderKey, "error", err)
			return nil, nil
		}
	}
	return nil, delivery.Refused(m.Peer, err)
}

// unknownThere reports whether a peer answered that it has no such share.
func unknownThere(to client.Peer, pe *client.PeerError) bool {
	return pe.Status == http.StatusNotFound || pe.Status == http.StatusGone || pe.Status == http.StatusBadRequest && to.Profile.UnknownIsBad
}

// attach adds to a notification what older forms carry: the secret of its share,
// which goes back to its own peer alone, and the recipient.
func (s *Service) attach(ctx context.Context, db bun.IDB, peer ocm.Host, n *ocm.Notification) error {
	if n.ProviderID == "" {
		return nil
	}
	if ours(n.Type) { // what reaches us about our shares, we say about theirs
		in, err := get[Incoming](ctx, db, "provider_id = ? AND peer_host = ?", n.ProviderID, string(peer))
		if err == nil {
			n.SharedSecret, err = s.secret(in)
		}
		return unless(err, ErrNoShare)
	}
	o, err := get[Outgoing](ctx, db, "id = ? AND peer_host = ?", n.ProviderID, string(peer))
	if err != nil {
		return unless(err, ErrNoShare)
	}
	n.Grantee = o.ShareWith
	if len(o.Secret) == 0 {
		return nil
	}
	secret, err := s.Box.Open(o.Secret, outgoingContext(o.ID))
	n.SharedSecret = ocm.Secret(secret)
	return err
}

// unless is err, but for the one that does not matter.
func unless(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

func (c notificationCourier) Delivered(context.Context, bun.Tx, delivery.Message, any) error {
	return nil
}

// Failed changes nothing: the message stays in the outbox for the operator,
// and the share's state here is what its people decided.
func (c notificationCourier) Failed(context.Context, bun.Tx, delivery.Message, error) error {
	return nil
}

func (c notificationCourier) Revived(context.Context, bun.Tx, delivery.Message) error { return nil }
