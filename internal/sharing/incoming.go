package sharing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// Incoming is a share sent to us: one row a share, whoever it reaches. The pair
// (PeerHost, ProviderID) is what its Sending Server knows it by.
type Incoming struct {
	bun.BaseModel `bun:"table:incoming_shares"`

	ID               string `bun:",pk"`
	PeerHost         string
	ProviderID       string
	ShareType        string
	ShareWith        string
	GroupID          string
	ResourceType     string
	Name             string
	Description      string
	Owner            string
	OwnerName        string
	Sender           string
	SenderName       string
	URI              string // absolute, an id, or "" for the form of OCM 1.0
	Secret           []byte // sealed
	Permissions      string
	MustExchange     bool
	MustMFA          bool `bun:"must_mfa"`
	ExpiresAt        int64
	EndedAt          int64
	EndedReason      string
	UnavailableSince int64
	UnavailableWhy   string
	CreatedAt        int64
}

// Live reports whether the share can be used at the given time.
func (in *Incoming) Live(now time.Time) bool {
	return in.EndedAt == 0 && (in.ExpiresAt == 0 || now.UnixMilli() < in.ExpiresAt)
}

// Rights are the share's permissions as a tree restricts by them.
func (in *Incoming) Rights() tree.Rights { return tree.ParseRights(splitPerms(in.Permissions)) }

// Member is what one person made of a share sent to us.
type Member struct {
	bun.BaseModel `bun:"table:incoming_members"`

	ShareID   string `bun:",pk"`
	UserID    string `bun:",pk"`
	State     string
	MountName string
	UpdatedAt int64
}

// The states of a member. Declined and left are final: the Sending Server may
// have withdrawn access.
const (
	MemberPending  = "pending"
	MemberAccepted = "accepted"
	MemberDeclined = "declined"
	MemberLeft     = "left"
)

// Received is a share as one person sees it in the inbox.
type Received struct {
	Incoming `bun:",extend"`

	MemberState string
	MountName   string
}

// Receive stores a share that peer sends, and returns the recipient's display
// name. Sending the same share again changes nothing and answers the same
// (OCM 1.5, Share Creation Notification): peers retry. peer is the host that
// signed the message, or that it claims to come from where unsigned messages
// are accepted.
func (s *Service) Receive(ctx context.Context, peer ocm.Host, n *ocm.NewShare) (*ocm.ShareAnswer, error) {
	if err := s.check(ctx, peer, n); err != nil {
		return nil, err
	}
	in, members, name, err := s.incoming(ctx, peer, n)
	if err != nil {
		return nil, err
	}
	err = s.DB.Batch(ctx, func(ctx context.Context, tx bun.Tx) error {
		return insertIncoming(ctx, tx, in, members)
	})
	if err != nil {
		return nil, err
	}
	return &ocm.ShareAnswer{RecipientDisplayName: name}, nil
}

// insertIncoming stores the share unless it is there already.
func insertIncoming(ctx context.Context, tx bun.Tx, in *Incoming, members []Member) error {
	res, err := tx.NewInsert().Model(in).On("CONFLICT (peer_host, provider_id) DO NOTHING").Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return err
	}
	if len(members) == 0 {
		return nil
	}
	_, err = tx.NewInsert().Model(&members).Exec(ctx)
	return err
}

// check holds the rules that need no recipient.
func (s *Service) check(ctx context.Context, peer ocm.Host, n *ocm.NewShare) error {
	if n.Sender.Host != peer {
		return ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch,
			fmt.Sprintf("the message comes from %s but names a sender at %s", peer, n.Sender.Host))
	}
	if n.Owner.Host != peer {
		return ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch,
			fmt.Sprintf("the message comes from %s but names an owner at %s", peer, n.Owner.Host))
	}
	if peer == s.Self {
		return ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch, "the message names this server as its sender")
	}
	if !n.Expiration.IsZero() && !n.Expiration.After(s.Now()) {
		return ocm.Invalid("expiration", "lies in the past")
	}
	dav := n.Protocol.WebDAV
	if slices.Contains(dav.Requirements, ocm.RequireMFA) {
		return ocm.NewError(http.StatusNotImplemented, ocm.CodeMFAUnsupported, "this server does not offer enforce-mfa")
	}
	exchange := slices.Contains(dav.Requirements, ocm.RequireExchange)
	if s.Policy.MustExchange && !exchange {
		return &ocm.Error{Status: http.StatusBadRequest, Code: ocm.CodeExchangeRequired,
			Message: "this server takes only shares that require the code flow",
			Fields:  []ocm.FieldError{{Name: "protocol.webdav.requirements", Message: "must hold must-exchange-token"}}}
	}
	return s.checkURI(ctx, peer, dav.URI)
}

// checkURI refuses an absolute uri that leads anywhere but to the sender: it
// would turn us into a client of someone else.
func (s *Service) checkURI(ctx context.Context, peer ocm.Host, uri string) error {
	if !strings.Contains(uri, "://") {
		return nil
	}
	const field = "protocol.webdav.uri"
	u, err := url.Parse(uri)
	if err != nil {
		return ocm.Invalid(field, "is not a URL")
	}
	if u.Scheme != "https" && !s.Policy.AllowPlain {
		return ocm.Invalid(field, "must be https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !s.Policy.AllowPlain && !public(ip) {
		return ocm.Invalid(field, "is not a public address")
	}
	host, err := ocm.ReadHost(u.Host)
	if err != nil {
		return ocm.Invalid(field, "has no valid host")
	}
	if sameHost(host, peer) {
		return nil
	}
	// A provider may run its API on another host than its addresses name.
	if d, err := s.Peers.Discover(ctx, peer); err == nil {
		if end, err := url.Parse(d.EndPoint); err == nil {
			if h, err := ocm.ReadHost(end.Host); err == nil && sameHost(h, host) {
				return nil
			}
		}
	}
	return ocm.Invalid(field, "is not on the sender's host")
}

func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsGlobalUnicast() && !ip.IsPrivate()
}

// sameHost compares hosts, an absent port being 443.
func sameHost(a, b ocm.Host) bool {
	return strings.TrimSuffix(string(a), ":443") == strings.TrimSuffix(string(b), ":443")
}

// errNoRecipient is one answer for all unknown recipients.
func errNoRecipient() error {
	return &ocm.Error{
		Status: http.StatusBadRequest, Code: ocm.CodeRecipientNotFound, Message: "the recipient is not known here",
		Fields: []ocm.FieldError{{Name: "shareWith", Message: "NOT_FOUND"}},
	}
}

// incoming makes the rows of a share, and tells the recipient's display name.
func (s *Service) incoming(ctx context.Context, peer ocm.Host, n *ocm.NewShare) (*Incoming, []Member, string, error) {
	if n.ShareWith.Host != "" && n.ShareWith.Host != s.Self {
		return nil, nil, "", errNoRecipient()
	}
	now := s.Now().UnixMilli()
	id := store.NewID()
	dav := n.Protocol.WebDAV
	in := &Incoming{
		ID: id, PeerHost: string(peer), ProviderID: n.ProviderID, ShareType: n.ShareType,
		ShareWith:    ocm.Address{Identifier: n.ShareWith.Identifier, Host: s.Self}.String(),
		ResourceType: n.ResourceType, Name: displayName(n.Name), Description: n.Description,
		Owner: n.Owner.String(), OwnerName: n.OwnerDisplayName, Sender: n.Sender.String(), SenderName: n.SenderDisplayName,
		URI: dav.URI, Secret: s.Box.Seal([]byte(dav.SharedSecret.Reveal()), secretContext(id)),
		Permissions:  joinPerms(dav.Permissions),
		MustExchange: slices.Contains(dav.Requirements, ocm.RequireExchange),
		MustMFA:      slices.Contains(dav.Requirements, ocm.RequireMFA),
		ExpiresAt:    store.Millis(n.Expiration), CreatedAt: now,
	}
	var users []account.User
	var name string
	if n.ShareType == ocm.ShareTypeGroup {
		g, err := s.Accounts.GroupByName(ctx, n.ShareWith.Identifier)
		if errors.Is(err, account.ErrNoGroup) {
			return nil, nil, "", errNoRecipient()
		}
		if err != nil {
			return nil, nil, "", err
		}
		in.GroupID, name = g.ID, g.DisplayName
		if users, err = s.Accounts.Members(ctx, g.ID); err != nil {
			return nil, nil, "", err
		}
	} else {
		u, err := s.Accounts.ByName(ctx, n.ShareWith.Identifier)
		if errors.Is(err, account.ErrNoUser) {
			return nil, nil, "", errNoRecipient()
		}
		if err != nil {
			return nil, nil, "", err
		}
		users, name = []account.User{u}, u.DisplayName
	}
	var members []Member
	for _, u := range users {
		members = append(members, Member{ShareID: id, UserID: u.ID, State: MemberPending, UpdatedAt: now})
	}
	return in, members, name, nil
}

func secretContext(id string) string { return "incoming/" + id }

func (s *Service) secret(in *Incoming) (ocm.Secret, error) {
	b, err := s.Box.Open(in.Secret, secretContext(in.ID))
	return ocm.Secret(b), err
}

// createLocal makes the receiving side of a share between two people of this
// server: the same inbox and the same rules, without a message.
func (s *Service) createLocal(ctx context.Context, tx bun.Tx, owner account.User, o *Outgoing, secret ocm.Secret) error {
	share, err := s.notice(o, owner, secret, &ocm.Discovery{})
	if err != nil {
		return err
	}
	share.ResourceType = o.ResourceType
	in, members, name, err := s.incoming(ctx, s.Self, share)
	if err != nil {
		return err
	}
	if o.ShareType == ocm.ShareTypeGroup {
		members = slices.DeleteFunc(members, func(m Member) bool { return m.UserID == owner.ID })
	}
	if err := insertIncoming(ctx, tx, in, members); err != nil {
		return err
	}
	o.State, o.RecipientName = StateDelivered, name
	_, err = tx.NewUpdate().Model(o).Column("state", "recipient_name").WherePK().Exec(ctx)
	return err
}

// Inbox lists what others share with a person: what waits for an answer, what
// was accepted, and what has ended or was declined.
func (s *Service) Inbox(ctx context.Context, userID string) ([]Received, error) {
	if err := s.joinGroups(ctx, userID); err != nil {
		return nil, err
	}
	var out []Received
	err := s.received(userID, &out).Order("s.id DESC").Limit(5000).Scan(ctx)
	return out, err
}

// received selects the shares that reach a person: their own, and those of the
// groups they are in now.
func (s *Service) received(userID string, into any) *bun.SelectQuery {
	return s.DB.Read.NewSelect().Model(into).
		ModelTableExpr("incoming_shares AS s").
		Join("JOIN incoming_members AS m ON m.share_id = s.id").
		ColumnExpr("s.*").ColumnExpr("m.state AS member_state").ColumnExpr("m.mount_name AS mount_name").
		Where("m.user_id = ?", userID).
		Where("s.group_id = '' OR EXISTS (SELECT 1 FROM group_members AS g WHERE g.group_id = s.group_id AND g.user_id = m.user_id)")
}

// joinGroups gives a person who joined a group since the shares it already has.
func (s *Service) joinGroups(ctx context.Context, userID string) error {
	missing := s.DB.Read.NewSelect().TableExpr("incoming_shares AS s").
		Join("JOIN group_members AS g ON g.group_id = s.group_id").
		Where("g.user_id = ? AND s.ended_at = 0", userID).
		Where("NOT EXISTS (SELECT 1 FROM incoming_members AS m WHERE m.share_id = s.id AND m.user_id = g.user_id)")
	var ids []string
	if err := missing.ColumnExpr("s.id").Scan(ctx, &ids); err != nil || len(ids) == 0 {
		return err
	}
	var members []Member
	for _, id := range ids {
		members = append(members, Member{ShareID: id, UserID: userID, State: MemberPending, UpdatedAt: s.Now().UnixMilli()})
	}
	_, err := s.DB.Write.NewInsert().Model(&members).On("CONFLICT DO NOTHING").Exec(ctx)
	return err
}

// own finds a share in a person's inbox.
func (s *Service) own(ctx context.Context, userID, id string) (*Received, error) {
	if err := s.joinGroups(ctx, userID); err != nil {
		return nil, err
	}
	out := new(Received)
	err := s.received(userID, out).Where("s.id = ?", id).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoShare
	}
	return out, err
}

// Accept takes a share: it appears under "Shared with me", and its sender is
// told. Accepting again changes nothing.
func (s *Service) Accept(ctx context.Context, userID, id string) (*Received, error) {
	r, err := s.own(ctx, userID, id)
	if err != nil {
		return nil, err
	}
	switch {
	case !r.Live(s.Now()):
		return nil, ErrShareEnded
	case r.MemberState == MemberAccepted:
		return r, nil
	case r.MemberState != MemberPending:
		return nil, ErrDeclined
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		name, err := s.freeMountName(ctx, tx, userID, r.Name)
		if err != nil {
			return err
		}
		first, err := tx.NewSelect().Model((*Member)(nil)).Where("share_id = ? AND state = ?", id, MemberAccepted).Exists(ctx)
		if err != nil {
			return err
		}
		r.MemberState, r.MountName = MemberAccepted, name
		if err := s.setMember(ctx, tx, id, userID, MemberAccepted, name); err != nil || first {
			return err // the sender has been told by the first of the group
		}
		return s.answer(ctx, tx, &r.Incoming, ocm.ShareAccepted)
	})
	s.Outbox.Wake()
	return r, err
}

// Decline refuses a share that waits for an answer.
func (s *Service) Decline(ctx context.Context, userID, id string) error {
	return s.turnDown(ctx, userID, id, MemberDeclined)
}

// Leave gives an accepted share back. Both tell the sender when nobody of the
// recipients is left: accepted and then ended equals declined (OCM 1.5, Share
// Deletion).
func (s *Service) Leave(ctx context.Context, userID, id string) error {
	return s.turnDown(ctx, userID, id, MemberLeft)
}

func (s *Service) turnDown(ctx context.Context, userID, id, state string) error {
	r, err := s.own(ctx, userID, id)
	if err != nil {
		return err
	}
	if r.MemberState == MemberDeclined || r.MemberState == MemberLeft {
		return nil
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.setMember(ctx, tx, id, userID, state, ""); err != nil {
			return err
		}
		others, err := tx.NewSelect().Model((*Member)(nil)).
			Where("share_id = ? AND state IN (?)", id, bun.List([]string{MemberPending, MemberAccepted})).Exists(ctx)
		if err != nil || others || r.EndedAt != 0 {
			return err
		}
		return s.answer(ctx, tx, &r.Incoming, ocm.ShareDeclined)
	})
	s.forget(id)
	s.Outbox.Wake()
	return err
}

func (s *Service) setMember(ctx context.Context, tx bun.Tx, id, userID, state, mount string) error {
	_, err := tx.NewUpdate().Model((*Member)(nil)).Where("share_id = ? AND user_id = ?", id, userID).
		Set("state = ?", state).Set("mount_name = ?", mount).Set("updated_at = ?", s.Now().UnixMilli()).Exec(ctx)
	return err
}

// answer queues the word on a received share to its Sending Server.
func (s *Service) answer(ctx context.Context, tx bun.Tx, in *Incoming, kind string) error {
	return s.tell(ctx, tx, ocm.Host(in.PeerHost), ocm.Notification{
		Type: kind, ResourceType: in.ResourceType, ProviderID: in.ProviderID,
	})
}

// freeMountName finds the name for a share under "Shared with me": its own, or
// with a number when the person has one of that name.
func (s *Service) freeMountName(ctx context.Context, tx bun.Tx, userID, want string) (string, error) {
	var taken []string
	err := tx.NewSelect().Model((*Member)(nil)).Column("mount_name").
		Where("user_id = ? AND state = ?", userID, MemberAccepted).
		Where("share_id IN (SELECT id FROM incoming_shares WHERE ended_at = 0)").Scan(ctx, &taken)
	if err != nil {
		return "", err
	}
	stem, ext := want, ""
	if i := strings.LastIndexByte(want, '.'); i > 0 {
		stem, ext = want[:i], want[i:]
	}
	name := want
	for i := 2; slices.Contains(taken, name); i++ {
		name = fmt.Sprintf("%s (%d)%s", stem, i, ext)
	}
	return name, nil
}

// displayName makes a peer's name for a share fit to be a folder's name: NFC,
// without characters that are invisible or turn the reading direction.
func displayName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, name)
	clean, err := tree.Clean(strings.TrimSpace(name))
	if err != nil || clean == "" || strings.Contains(clean, "/") {
		return "Share"
	}
	if len(clean) > 200 { // room for a number
		clean = strings.ToValidUTF8(clean[:200], "")
	}
	return clean
}

// hash is how a secret that we handed out is found again.
func hash(secret ocm.Secret) string { return seal.HashHex(secret) }
