package sharing

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// The states of a share we send. Ended, declined and failed shares give no
// access; a failed one may still be resent.
const (
	StatePending   = "pending"   // waits for delivery
	StateDelivered = "delivered" // the peer has it
	StateAccepted  = "accepted"
	StateDeclined  = "declined"
	StateFailed    = "failed" // the peer refused it, or we gave up
	StateEnded     = "ended"
)

// Outgoing is a share we send. ID is the providerId: unique per share and never
// reused, because peers key their copy by it (OCM 1.5, Fields).
type Outgoing struct {
	bun.BaseModel `bun:"table:outgoing_shares"`

	ID            string `bun:",pk"`
	OwnerID       string
	Path          string // in the owner's home
	Name          string
	Message       string
	ResourceType  string
	ShareType     string
	ShareWith     string
	PeerHost      string
	Permissions   string
	MustExchange  bool
	MustMFA       bool `bun:"must_mfa"`
	SecretHash    string
	Secret        []byte // sealed; only for peers that want to read it in notifications
	ExpiresAt     int64
	State         string
	StateReason   string
	RecipientName string
	Sender        string // the identifier the owner goes by there; "" for the name
	Parent        string // the share in whose right this one was asked for
	Granted       bool   // its owner said yes to that; else the right was the consent
	NeedsExchange bool   // only for servers with the code flow
	WarnedFor     int64  // the end that its owner was told of beforehand
	CreatedAt     int64
	UpdatedAt     int64
}

// Live reports whether the share gives access at the given time.
func (o *Outgoing) Live(now time.Time) bool {
	switch o.State {
	case StatePending, StateDelivered, StateAccepted:
		return o.ExpiresAt == 0 || now.UnixMilli() < o.ExpiresAt
	}
	return false
}

// Rights are the share's permissions as a tree restricts by them.
func (o *Outgoing) Rights() tree.Rights { return tree.ParseRights(splitPerms(o.Permissions)) }

// NewOutgoing is what a person decides when sharing.
type NewOutgoing struct {
	Path        string
	With        string // OCM Address, the name of someone here, or of one contact
	ShareType   string // default user
	Permissions []string
	ExpiresAt   time.Time
	RequireMFA  bool
	Message     string
}

const kindShare = "share"

// shareMessage is the sealed part of a Share Creation Notification in the
// outbox; the rest is read from the share when it is sent.
type shareMessage struct {
	Secret string `json:"secret"`
}

// Create shares a file or folder of owner's and queues its delivery. A share
// with someone on this server is made by the same rules and needs no delivery.
func (s *Service) Create(ctx context.Context, owner account.User, n NewOutgoing) (*Outgoing, error) {
	o, err := s.draft(ctx, owner, n)
	if err != nil {
		return nil, err
	}
	return o, s.launch(ctx, owner, o, nil)
}

// launch records a share and queues its delivery, with what also does in the same
// transaction.
func (s *Service) launch(ctx context.Context, owner account.User, o *Outgoing, also inTx) error {
	secret := seal.Token(32)
	o.SecretHash = seal.HashHex(secret)
	payload, err := json.Marshal(shareMessage{secret.Reveal()})
	if err != nil {
		return err
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		same, err := tx.NewSelect().Model((*Outgoing)(nil)).
			Where("owner_id = ? AND path = ? AND share_with = ? AND share_type = ?", o.OwnerID, o.Path, o.ShareWith, o.ShareType).
			Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted})).Exists(ctx)
		if err != nil {
			return err
		}
		if same {
			return ErrDuplicate
		}
		if err := also.do(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(o).Exec(ctx); err != nil {
			return err
		}
		details := audit.Details{"permissions": o.Permissions, "shareType": o.ShareType}
		if o.ExpiresAt != 0 {
			details["expiresAt"] = store.Time(o.ExpiresAt).UTC()
		}
		if o.Parent != "" {
			details["parent"] = o.Parent
		}
		if err := s.noteSent(ctx, tx, "share.created", o, details); err != nil {
			return err
		}
		if o.Parent != "" && !o.Granted { // a recipient had it made
			if err := s.tellReshared(ctx, tx, o); err != nil {
				return err
			}
		}
		if ocm.Host(o.PeerHost) == s.Self {
			return s.createLocal(ctx, tx, owner, o, secret)
		}
		return s.Outbox.Enqueue(ctx, tx, delivery.Message{
			Peer: ocm.Host(o.PeerHost), OrderKey: o.ID, Kind: kindShare, Payload: payload,
		})
	})
	s.Outbox.Wake()
	return err
}

// inTx is what else happens in a transaction; nil is nothing.
type inTx func(ctx context.Context, tx bun.Tx) error

func (f inTx) do(ctx context.Context, tx bun.Tx) error {
	if f == nil {
		return nil
	}
	return f(ctx, tx)
}

// draft checks what a person asks for against the files and the address.
func (s *Service) draft(ctx context.Context, owner account.User, n NewOutgoing) (*Outgoing, error) {
	name, err := tree.Clean(n.Path)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, ErrShareHome
	}
	if tree.Within(name, tree.SharedDir) {
		return nil, ErrNotShared
	}
	files, err := s.Files.Own(ctx, owner.ID)
	if err != nil {
		return nil, err
	}
	info, err := files.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	with, err := s.recipient(ctx, owner, n)
	if err != nil {
		return nil, err
	}
	if _, err := s.Policy.Permit(ctx, with.Host); err != nil {
		return nil, err
	}
	given, err := s.Contacts.Given(ctx, owner.ID, with.String())
	if err != nil {
		return nil, err
	}
	now := s.Now()
	if !n.ExpiresAt.IsZero() && !n.ExpiresAt.After(now) {
		return nil, ErrExpiresPast
	}
	if n.ShareType == "" {
		n.ShareType = ocm.ShareTypeUser
	}
	if n.ShareType != ocm.ShareTypeUser && n.ShareType != ocm.ShareTypeGroup {
		return nil, ocm.Invalid("shareType", "must be user or group")
	}
	if n.ShareType == ocm.ShareTypeUser && with.Host == s.Self && account.SameName(with.Identifier, owner.Name) {
		return nil, ErrToSelf
	}
	if len(n.Permissions) == 0 {
		n.Permissions = []string{ocm.PermRead}
	}
	if err := checkPermissions(n.Permissions); err != nil {
		return nil, err
	}
	if len(n.Message) > maxMessage {
		return nil, ocm.Invalid("message", "is longer than 4096 bytes")
	}
	resource := ocm.ResourceFile
	if info.Dir {
		resource = ocm.ResourceFolder
	}
	return &Outgoing{
		ID: store.NewID(), OwnerID: owner.ID, Path: name, Name: path.Base(name), Message: n.Message,
		ResourceType: resource, ShareType: n.ShareType, ShareWith: with.String(), PeerHost: string(with.Host),
		Permissions: joinPerms(n.Permissions), MustMFA: n.RequireMFA, ExpiresAt: store.Millis(n.ExpiresAt),
		State: StatePending, Sender: given, Secret: []byte{}, CreatedAt: now.UnixMilli(), UpdatedAt: now.UnixMilli(),
	}, nil
}

// checkPermissions checks what a person allows, or asks for.
func checkPermissions(permissions []string) error {
	for _, p := range permissions {
		if p != ocm.PermRead && p != ocm.PermWrite && p != ocm.PermShare {
			return ocm.Invalid("permissions", "must be read, write or share")
		}
	}
	if !slices.Contains(permissions, ocm.PermRead) {
		return ocm.Invalid("permissions", "must hold read: a share nobody can read is of no use")
	}
	return nil
}

// recipient reads what a person typed: for groups, a name without "@" is one of
// this server.
func (s *Service) recipient(ctx context.Context, owner account.User, n NewOutgoing) (ocm.Address, error) {
	if n.ShareType != ocm.ShareTypeGroup {
		return s.Contacts.Resolve(ctx, owner, n.With)
	}
	if !strings.Contains(n.With, "@") {
		n.With += "@" + string(s.Self)
	}
	return ocm.ReadAddress(n.With)
}

// Sent lists the shares a person sent, newest first; ended ones stay listed for
// a while so that people see what happened.
func (s *Service) Sent(ctx context.Context, ownerID string) ([]Outgoing, error) {
	var out []Outgoing
	err := s.DB.Read.NewSelect().Model(&out).Where("owner_id = ?", ownerID).Order("id DESC").Limit(5000).Scan(ctx)
	if err != nil {
		return nil, err
	}
	return out, s.explainWaiting(ctx, ownerID, out)
}

// SharedBelow tells what of a person's own files is shared at or below a folder:
// with how many, by path.
func (s *Service) SharedBelow(ctx context.Context, ownerID, folder string) (map[string]int, error) {
	var rows []struct {
		Path  string
		Count int
	}
	below, args := store.Below("path", folder)
	err := s.DB.Read.NewSelect().Model((*Outgoing)(nil)).ColumnExpr("path, COUNT(*) AS count").
		Where("owner_id = ?", ownerID).Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted})).
		Where("expires_at = 0 OR expires_at > ?", s.Now().UnixMilli()).
		WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("path = ?", folder).WhereOr(below, args...) }).
		GroupExpr("path").Scan(ctx, &rows)
	out := make(map[string]int, len(rows))
	for _, r := range rows {
		out[r.Path] = r.Count
	}
	return out, err
}

// explainWaiting says of shares that wait for delivery what the last attempt
// met.
func (s *Service) explainWaiting(ctx context.Context, ownerID string, shares []Outgoing) error {
	var waiting []delivery.Row
	err := s.DB.Read.NewSelect().Model(&waiting).Column("order_key", "last_error").
		Where("state = ? AND kind = ? AND last_error <> ''", delivery.Pending, kindShare).
		Where("order_key IN (SELECT id FROM outgoing_shares WHERE owner_id = ? AND state = ?)", ownerID, StatePending).Scan(ctx)
	if err != nil {
		return err
	}
	for _, m := range waiting {
		for i := range shares {
			if shares[i].ID == m.OrderKey {
				said, _, _ := strings.Cut(m.LastError, " (") // as setback writes it
				shares[i].StateReason = said + ", will be tried again"
			}
		}
	}
	return nil
}

// EndWith ends what a person shares with an address and gives back what came
// from it, in tx.
func (s *Service) EndWith(ctx context.Context, tx bun.Tx, userID, address string) error {
	var sent []Outgoing
	err := tx.NewSelect().Model(&sent).Where("owner_id = ? AND share_with = ? AND share_type = ?", userID, address, ocm.ShareTypeUser).
		Where("state NOT IN (?)", bun.List([]string{StateEnded, StateDeclined})).Scan(ctx)
	if err != nil {
		return err
	}
	for _, o := range sent {
		if err := s.end(ctx, tx, &o, "ended with the contact"); err != nil {
			return err
		}
	}
	var received []Received
	if err := s.received(userID, &received).Where("s.sender = ? AND s.ended_at = 0", address).Scan(ctx); err != nil {
		return err
	}
	for _, r := range received {
		if r.MemberState == MemberPending || r.MemberState == MemberAccepted {
			if err := s.giveBack(ctx, tx, userID, &r, MemberLeft); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unshare ends a share of owner's at once and queues the word to its peer.
func (s *Service) Unshare(ctx context.Context, ownerID, id string) error {
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		o, err := get[Outgoing](ctx, tx, "id = ? AND owner_id = ?", id, ownerID)
		if err != nil {
			return err
		}
		if err := s.Notices.Settled(ctx, tx, ownerID, id); err != nil {
			return err
		}
		return s.end(ctx, tx, o, endedByOwner)
	})
	s.Outbox.Wake()
	return err
}

// end ends a share in tx, and those that were made in its right. The peer is told
// only if it may know of the share.
func (s *Service) end(ctx context.Context, tx bun.Tx, o *Outgoing, reason string) error {
	now, err := get[Outgoing](ctx, tx, "id = ?", o.ID)
	if err != nil {
		return err
	}
	*o = *now
	if o.State == StateEnded { // with the one it was made in the right of
		return nil
	}
	if err := s.noteSent(ctx, tx, "share.ended", o, audit.Details{"reason": reason, "was": o.State}); err != nil {
		return err
	}
	if err := s.endReshares(ctx, tx, o); err != nil {
		return err
	}
	if o.State == StateDeclined {
		return s.setState(ctx, tx, o, StateEnded, reason)
	}
	reached := o.State == StateDelivered || o.State == StateAccepted
	attempted, err := s.Outbox.Withdraw(ctx, tx, ocm.Host(o.PeerHost), o.ID)
	if err != nil {
		return err
	}
	if err := s.setState(ctx, tx, o, StateEnded, reason); err != nil {
		return err
	}
	if !reached && !attempted {
		return nil
	}
	return s.tell(ctx, tx, ocm.Host(o.PeerHost), ocm.Notification{
		Type: ocm.ShareUnshared, ResourceType: o.ResourceType, ProviderID: o.ID, Message: "The share was ended.",
	})
}

// endReshares ends the shares that were made in a share's right without a word of the
// owner: they have no other ground than that right.
func (s *Service) endReshares(ctx context.Context, tx bun.Tx, parent *Outgoing) error {
	children, err := reshares(ctx, tx, parent)
	if err != nil {
		return err
	}
	for _, o := range children {
		if err := s.end(ctx, tx, &o, "ended with the right of "+parent.ShareWith+" to pass it on"); err != nil {
			return err
		}
	}
	return nil
}

// limitReshares lets the shares that were made in a share's right have no more rights
// than it has.
func (s *Service) limitReshares(ctx context.Context, tx bun.Tx, parent *Outgoing) error {
	if !parent.Rights().Has(tree.Share) {
		return s.endReshares(ctx, tx, parent)
	}
	children, err := reshares(ctx, tx, parent)
	if err != nil {
		return err
	}
	for _, o := range children {
		if o.Rights()&^parent.Rights() == 0 {
			continue
		}
		if err := s.setRights(ctx, tx, &o, (o.Rights() & parent.Rights()).Permissions(), nil); err != nil {
			return err
		}
	}
	return nil
}

func reshares(ctx context.Context, tx bun.Tx, parent *Outgoing) (out []Outgoing, err error) {
	err = tx.NewSelect().Model(&out).Where("parent = ? AND granted = ?", parent.ID, false).
		Where("state NOT IN (?)", bun.List([]string{StateEnded, StateDeclined})).Order("id").Scan(ctx)
	return out, err
}

func (s *Service) setState(ctx context.Context, tx bun.IDB, o *Outgoing, state, reason string) error {
	o.State, o.StateReason, o.UpdatedAt = state, reason, s.Now().UnixMilli()
	_, err := tx.NewUpdate().Model(o).Column("state", "state_reason", "updated_at").WherePK().Exec(ctx)
	return err
}

// ChangePermissions gives a share other rights, at once here, and tells the peer.
func (s *Service) ChangePermissions(ctx context.Context, ownerID, id string, permissions []string) (*Outgoing, error) {
	if err := checkPermissions(permissions); err != nil {
		return nil, err
	}
	var out *Outgoing
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		o, err := get[Outgoing](ctx, tx, "id = ? AND owner_id = ?", id, ownerID)
		if err != nil {
			return err
		}
		if !o.Live(s.Now()) {
			return ErrShareEnded
		}
		out = o
		return s.setRights(ctx, tx, o, permissions, nil)
	})
	s.Outbox.Wake()
	return out, err
}

// setRights gives a share other rights, in tx, and tells the peer; of a request that
// it is the yes to that. The shares made in its right keep within them.
func (s *Service) setRights(ctx context.Context, tx bun.Tx, o *Outgoing, permissions []string, asked *ReceivedRequest) error {
	was := o.Permissions
	o.Permissions, o.UpdatedAt = joinPerms(permissions), s.Now().UnixMilli()
	if _, err := tx.NewUpdate().Model(o).Column("permissions", "updated_at").WherePK().Exec(ctx); err != nil {
		return err
	}
	if err := s.noteSent(ctx, tx, "share.changed", o, audit.Details{"from": was, "to": o.Permissions}); err != nil {
		return err
	}
	if err := s.limitReshares(ctx, tx, o); err != nil {
		return err
	}
	if o.State == StateFailed {
		return nil // should it be resent, it carries them
	}
	n := ocm.Notification{Type: ocm.ShareChangePermission, ResourceType: o.ResourceType, ProviderID: o.ID, Permissions: permissions}
	if asked != nil {
		if err := asked.name(&n); err != nil {
			return err
		}
	} else if o.State == StatePending {
		waiting, err := tx.NewSelect().Model((*delivery.Row)(nil)).Where("order_key = ? AND kind = ? AND attempts = 0", o.ID, kindShare).Exists(ctx)
		if err != nil || waiting {
			return err // the creation will carry the new rights
		}
	}
	return s.tell(ctx, tx, ocm.Host(o.PeerHost), n)
}

// Resend tries a failed share again.
func (s *Service) Resend(ctx context.Context, ownerID, id string) error {
	o, err := get[Outgoing](ctx, s.DB.Read, "id = ? AND owner_id = ?", id, ownerID)
	if err != nil {
		return err
	}
	var rows []delivery.Row
	if err := s.DB.Read.NewSelect().Model(&rows).Column("id").Where("order_key = ? AND peer_host = ?", id, o.PeerHost).Order("id").Scan(ctx); err != nil {
		return err
	}
	if len(rows) == 0 {
		return delivery.ErrNoMessage
	}
	for _, r := range rows {
		if err := s.Outbox.Resend(ctx, r.ID); err != nil {
			return err
		}
	}
	return nil
}

// shareCourier delivers Share Creation Notifications.
type shareCourier struct{ *Service }

func (c shareCourier) Deliver(ctx context.Context, m delivery.Message) (any, error) {
	o, err := get[Outgoing](ctx, c.DB.Read, "id = ?", m.OrderKey)
	if err != nil {
		return nil, &delivery.Failure{Permanent: errors.Is(err, ErrNoShare), Err: err}
	}
	if !o.Live(c.Now()) {
		return nil, delivery.Permanently(ErrShareEnded)
	}
	var msg shareMessage
	if err := json.Unmarshal(m.Payload, &msg); err != nil {
		return nil, delivery.Permanently(err)
	}
	to, err := c.Peers.Peer(ctx, m.Peer)
	if err != nil {
		return nil, delivery.Unknown(m.Peer, err)
	}
	if err := c.suits(o, to); err != nil {
		return nil, delivery.Permanently(err)
	}
	exchange := to.HasCapability(ocm.CapExchangeToken) || to.HasCriterion(ocm.CriterionExchangeToken)
	kept := to.Profile.NotificationForm != ocm.NotifyNew
	if exchange != o.MustExchange || kept != (len(o.Secret) > 0) {
		// Before the call: the peer may come for a token before its answer
		// reaches us.
		o.MustExchange, o.Secret = exchange, []byte{}
		if kept {
			o.Secret = c.Box.Seal([]byte(msg.Secret), outgoingContext(o.ID))
		}
		if _, err := c.DB.Write.NewUpdate().Model(o).Column("must_exchange", "secret").WherePK().Exec(ctx); err != nil {
			return nil, err
		}
	}
	owner, err := c.Accounts.Get(ctx, o.OwnerID)
	if err != nil {
		return nil, err
	}
	share, err := c.notice(o, owner, ocm.Secret(msg.Secret), to)
	if err != nil {
		return nil, delivery.Permanently(err)
	}
	answer, err := c.Client.Share(ctx, to, share)
	if err != nil {
		failed := delivery.Refused(m.Peer, err)
		if c.lacksInvite(ctx, o, to, err) {
			failed = delivery.Hint(failed, "no-invite", "it takes shares only after an invite between the two of you")
		}
		return nil, failed
	}
	return answer, nil
}

// lacksInvite reports whether a share was refused by a peer that demands an
// invite, and there was none: peers say that in many words.
func (c shareCourier) lacksInvite(ctx context.Context, o *Outgoing, to client.Peer, refused error) bool {
	pe, ok := errors.AsType[*client.PeerError](refused)
	if !ok || pe.Status != http.StatusForbidden && pe.Status != http.StatusUnauthorized || pe.Code == ocm.CodeInviteRequired || !to.HasCriterion(ocm.CriterionInvite) {
		return false
	}
	standings, err := c.Contacts.Standings(ctx, []string{o.OwnerID}, o.ShareWith)
	return err == nil && !standings[o.OwnerID].Invited
}

// suits reports why a peer cannot take a share, in the sender's words.
func (s *Service) suits(o *Outgoing, to client.Peer) error {
	switch {
	case to.Profile.ReadOnlyFiles && (o.ResourceType != ocm.ResourceFile || o.ShareType != ocm.ShareTypeUser || o.Permissions != ocm.PermRead):
		return ocm.NewError(http.StatusBadGateway, "PEER_TAKES_FILES_ONLY", o.PeerHost+" takes single files to read by one person, and nothing else.")
	case o.MustMFA && to.Profile.NoMFA:
		return ocm.NewError(http.StatusBadGateway, "PEER_WITHOUT_MFA", o.PeerHost+" cannot make sure of a second factor, which this share demands.")
	case o.NeedsExchange && !to.HasCapability(ocm.CapExchangeToken):
		return ocm.NewError(http.StatusBadGateway, "PEER_WITHOUT_EXCHANGE", o.PeerHost+" does not know the code flow, which the share it was asked by demands.")
	case !to.Enabled:
		return ocm.NewError(http.StatusBadGateway, "PEER_DISABLED", o.PeerHost+" has Open Cloud Mesh switched off.")
	case o.MustMFA && !to.HasCapability(ocm.CapEnforceMFA):
		return ocm.NewError(http.StatusBadGateway, "PEER_WITHOUT_MFA", o.PeerHost+" cannot make sure of a second factor, which this share demands.")
	case o.ShareType != ocm.ShareTypeUser && !to.Accepts(o.ResourceType, o.ShareType, "webdav") && !to.Accepts(ocm.ResourceFile, o.ShareType, "webdav"):
		return ocm.NewError(http.StatusBadGateway, "PEER_WITHOUT_GROUPS", o.PeerHost+" does not take shares with groups.")
	}
	return nil
}

func outgoingContext(id string) string { return "outgoing/" + id }

// notice is the Share Creation Notification for a peer.
func (s *Service) notice(o *Outgoing, owner account.User, secret ocm.Secret, to client.Peer) (*ocm.NewShare, error) {
	with, err := ocm.ReadAddress(o.ShareWith)
	if err != nil {
		return nil, err
	}
	from := ocm.Address{Identifier: cmp.Or(o.Sender, owner.Name), Host: s.Self}
	dav := &ocm.WebDAV{URI: o.ID, SharedSecret: secret, Permissions: splitPerms(o.Permissions), Size: -1}
	if to.ReceivesAbsoluteURI() {
		dav.URI = s.Origin + DAVPath + o.ID
	}
	if o.MustExchange {
		dav.Requirements = append(dav.Requirements, ocm.RequireExchange)
	}
	if o.MustMFA {
		dav.Requirements = append(dav.Requirements, ocm.RequireMFA)
	}
	resource := o.ResourceType
	if resource == ocm.ResourceFolder && !to.Accepts(ocm.ResourceFolder, o.ShareType, "webdav") {
		resource = ocm.ResourceFile // older peers take folders under this name
	}
	share := &ocm.NewShare{
		ShareWith: with, Name: o.Name, Description: o.Message, ProviderID: o.ID,
		Owner: from, OwnerDisplayName: owner.DisplayName, Sender: from, SenderDisplayName: owner.DisplayName,
		ShareType: o.ShareType, ResourceType: resource, Expiration: store.Time(o.ExpiresAt),
		Protocol: ocm.Protocol{WebDAV: dav},
	}
	scheme, _, _ := strings.Cut(s.Origin, "://")
	to.Profile.Adapt(share, scheme)
	return share, nil
}

func (c shareCourier) Delivered(ctx context.Context, tx bun.Tx, m delivery.Message, receipt any) error {
	name := receipt.(*ocm.ShareAnswer).RecipientDisplayName
	_, err := tx.NewUpdate().Model((*Outgoing)(nil)).Where("id = ?", m.OrderKey).
		Set("recipient_name = ?", name).Set("updated_at = ?", c.Now().UnixMilli()).
		// An acceptance may have overtaken the answer.
		Set("state = CASE WHEN state = ? THEN ? ELSE state END", StatePending, StateDelivered).Exec(ctx)
	return err
}

func (c shareCourier) Failed(ctx context.Context, tx bun.Tx, m delivery.Message, cause error) error {
	o, err := get[Outgoing](ctx, tx, "id = ?", m.OrderKey)
	if err != nil || o.State != StatePending {
		return unless(err, ErrNoShare)
	}
	if err := c.setState(ctx, tx, o, StateFailed, delivery.Sentence(cause)); err != nil {
		return err
	}
	return c.tellOwner(ctx, tx, o, notice.DeliveryFailed, becauseOf(cause))
}

func (c shareCourier) Revived(ctx context.Context, tx bun.Tx, m delivery.Message) error {
	o, err := get[Outgoing](ctx, tx, "id = ?", m.OrderKey)
	if err != nil || o.State != StateFailed {
		return unless(err, ErrNoShare)
	}
	if err := c.Notices.Settled(ctx, tx, o.OwnerID, o.ID); err != nil {
		return err
	}
	return c.setState(ctx, tx, o, StatePending, "")
}
