package sharing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
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
	URI              string // as it was sent: absolute, an id, or "" for the form of OCM 1.0
	Secret           []byte // sealed
	Permissions      string
	MustExchange     bool
	MustMFA          bool `bun:"must_mfa"`
	ExpiresAt        int64
	EndedAt          int64
	EndedReason      string
	UnavailableSince int64
	UnavailableWhy   string
	Quarantine       string // why it waits apart from other shares; "" when it does not
	Proof            string // ProofSigned …; "" where it was not kept
	WarnedFor        int64  // the end that its people were told of beforehand
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

// Origin is where a message comes from.
type Origin struct {
	Host      ocm.Host
	Verdict   peer.Verdict // what policy says of the host
	Signed    bool         // by the host; an unsigned sender's name proves nothing
	Said      time.Time    // when it was signed; zero where that is not told
	Signature string       // to know the same message by; "" when there is none
}

// Whether the message that brought something was signed.
const (
	ProofSigned   = "signed"
	ProofUnsigned = "unsigned"
)

func (o Origin) proof() string {
	if o.Signed {
		return ProofSigned
	}
	return ProofUnsigned
}

// Receive stores a share that peer sends, and returns the recipient's display
// name. Sending the same share again changes nothing and answers the same
// (OCM 1.5, Share Creation Notification): peers retry. from is the host that
// signed the message, or that it claims to come from where unsigned messages
// are accepted.
func (s *Service) Receive(ctx context.Context, from Origin, n *ocm.NewShare) (*ocm.ShareAnswer, error) {
	if err := s.check(ctx, from.Host, from.Verdict, n); err != nil {
		return nil, err
	}
	in, members, name, err := s.incoming(ctx, from.Host, n)
	if err != nil {
		return nil, err
	}
	request, err := s.wanted(ctx, in, members)
	if err != nil {
		return nil, err
	}
	trusted, err := s.sift(ctx, from, in, members, request != nil)
	if err != nil {
		return nil, err
	}
	fresh, id := false, explain.Request(ctx) // the shared transaction is nobody's request
	err = s.DB.Batch(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if last, err := s.last(ctx, tx, from.Host, aboutShare(in.ProviderID)); err != nil {
			return err
		} else if last != nil { // SHARE_UNSHARED came first
			in.EndedAt, in.EndedReason = in.CreatedAt, "ended by its owner"
		}
		if fresh, err = insertIncoming(ctx, tx, in, members); err != nil || !fresh || in.EndedAt != 0 {
			return err
		}
		if request != nil {
			if err := s.turnRequest(ctx, tx, request.ID, request.State, RequestGranted, ""); err != nil {
				return err
			}
		}
		details := audit.Details{"permissions": in.Permissions, "signed": from.Signed}
		if in.Quarantine != "" {
			details["quarantine"] = in.Quarantine
		}
		if err := s.noteReceived(ctx, tx, "share.received", in, details); err != nil {
			return err
		}
		if err := s.tellArrived(ctx, tx, in, members, trusted, request, id); err != nil || !trusted {
			return err
		}
		return s.accept(ctx, tx, members[0].UserID, in)
	})
	if err != nil {
		return nil, err
	}
	switch {
	case !fresh:
		explain.Note(ctx, "share", "known already, nothing changes")
	case in.EndedAt != 0:
		explain.Note(ctx, "share", "stored as %s, and ended: its end came before it", in.ID)
	case in.Quarantine != "":
		explain.Note(ctx, "share", "stored as %s, in quarantine: %s", in.ID, in.Quarantine)
	case trusted:
		explain.Note(ctx, "share", "stored as %s and accepted: the recipient trusts the sender", in.ID)
		s.Outbox.Wake()
	default:
		explain.Note(ctx, "share", "stored as %s", in.ID)
	}
	return &ocm.ShareAnswer{RecipientDisplayName: name}, nil
}

// seeThrough is the uri of a share as it is to be read: some servers serve at
// their webdav path alone, some build the uri on our host in place of theirs.
func (s *Service) seeThrough(sender client.Profile, uri string) string {
	if sender.RootOnly {
		return ""
	}
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return uri
	}
	if host, err := ocm.ReadHost(u.Host); err == nil && host == s.Self {
		return path.Base(u.Path)
	}
	return uri
}

// sift applies what the recipients' address books and the operator say of the
// sender: refusal, quarantine, or acceptance without asking. A share that was
// asked for does not come from a stranger.
func (s *Service) sift(ctx context.Context, from Origin, in *Incoming, members []Member, wanted bool) (trusted bool, err error) {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.UserID
	}
	standings, err := s.Contacts.Standings(ctx, ids, in.Sender)
	if err != nil {
		return false, err
	}
	var known, invited, blocked int
	for i := range members {
		st := standings[members[i].UserID]
		switch {
		case st.Blocked:
			blocked++
			members[i].State = MemberDeclined
		case st.Known:
			known++
		}
		if st.Invited && !st.Blocked {
			invited++
		}
	}
	in.Proof = from.proof()
	explain.Note(ctx, "contacts", "of %d recipients, %d know %s, %d by an invite, %d block it", len(members), known, in.Sender, invited, blocked)
	local, v := from.Host == s.Self, from.Verdict
	if in.GroupID == "" && blocked > 0 && !local {
		return false, errNoRecipient() // who is blocked is not told
	}
	if v.MustInvite && invited == 0 && !local {
		return false, ocm.NewError(http.StatusForbidden, ocm.CodeInviteRequired, "no invite was exchanged between sender and recipient")
	}
	switch {
	case v.Action == peer.Limit:
		in.Quarantine = "the operator limits the sender's server"
	case s.Quarantine && known == 0 && !local && !wanted:
		in.Quarantine = "the sender is in nobody's address book"
	}
	return from.Signed && in.GroupID == "" && in.Quarantine == "" && len(members) == 1 && standings[members[0].UserID].Trusted, nil
}

// insertIncoming stores the share unless it is there already.
func insertIncoming(ctx context.Context, tx bun.Tx, in *Incoming, members []Member) (fresh bool, err error) {
	res, err := store.Insert(ctx, tx, []Incoming{*in}, "CONFLICT (peer_host, provider_id) DO NOTHING")
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		return false, err
	}
	if len(members) == 0 {
		return true, nil
	}
	_, err = store.Insert(ctx, tx, members, "")
	return true, err
}

// check holds the rules that need no recipient.
func (s *Service) check(ctx context.Context, from ocm.Host, v peer.Verdict, n *ocm.NewShare) error {
	if n.Sender.Host != from {
		return ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch,
			fmt.Sprintf("the message comes from %s but names a sender at %s", from, n.Sender.Host))
	}
	if n.Owner.Host != from {
		return ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch,
			fmt.Sprintf("the message comes from %s but names an owner at %s", from, n.Owner.Host))
	}
	if from == s.Self {
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
	if v.MustExchange && !exchange {
		return &ocm.Error{Status: http.StatusBadRequest, Code: ocm.CodeExchangeRequired,
			Message: "this server takes only shares that require the code flow",
			Fields:  []ocm.FieldError{{Name: "protocol.webdav.requirements", Message: "must hold must-exchange-token"}}}
	}
	uri := dav.URI
	if sender, err := s.Peers.Peer(ctx, from); err == nil {
		if uri = s.seeThrough(sender.Profile, uri); uri != dav.URI {
			explain.Note(ctx, "share", "its uri leads nowhere; it is read at the sender's webdav path: %q", uri)
		}
	}
	return s.checkURI(ctx, from, uri)
}

// checkURI refuses an absolute uri that leads anywhere but to the sender: it
// would turn us into a client of someone else.
func (s *Service) checkURI(ctx context.Context, from ocm.Host, uri string) error {
	if !strings.Contains(uri, "://") {
		return nil
	}
	const field = "protocol.webdav.uri"
	u, err := url.Parse(uri)
	if err != nil {
		return ocm.Invalid(field, "is not a URL")
	}
	if u.Scheme != "https" && !s.AllowPlain {
		return ocm.Invalid(field, "must be https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !s.AllowPlain && !public(ip) {
		return ocm.Invalid(field, "is not a public address")
	}
	host, err := ocm.ReadHost(u.Host)
	if err != nil {
		return ocm.Invalid(field, "has no valid host")
	}
	if host == from {
		return nil
	}
	// A provider may run its API on another host than its addresses name.
	if d, err := s.Peers.Discover(ctx, from); err == nil {
		if end, err := url.Parse(d.EndPoint); err == nil {
			if h, err := ocm.ReadHost(end.Host); err == nil && h == host {
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

// errNoRecipient is one answer for all unknown recipients.
func errNoRecipient() error {
	return &ocm.Error{
		Status: http.StatusBadRequest, Code: ocm.CodeRecipientNotFound, Message: "the recipient is not known here",
		Fields: []ocm.FieldError{{Name: "shareWith", Message: "NOT_FOUND"}},
	}
}

// incoming makes the rows of a share, and tells the recipient's display name.
func (s *Service) incoming(ctx context.Context, from ocm.Host, n *ocm.NewShare) (*Incoming, []Member, string, error) {
	if n.ShareWith.Host != "" && n.ShareWith.Host != s.Self {
		return nil, nil, "", errNoRecipient()
	}
	now := s.Now().UnixMilli()
	id := store.NewID()
	dav := n.Protocol.WebDAV
	in := &Incoming{
		ID: id, PeerHost: string(from), ProviderID: n.ProviderID, ShareType: n.ShareType,
		ShareWith:    ocm.Address{Identifier: n.ShareWith.Identifier, Host: s.Self}.String(),
		ResourceType: n.ResourceType, Name: displayName(n.Name), Description: n.Description,
		Owner: n.Owner.String(), OwnerName: ocm.DisplayName(n.OwnerDisplayName),
		Sender: n.Sender.String(), SenderName: ocm.DisplayName(n.SenderDisplayName),
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
		u, err := s.person(ctx, n.ShareWith.Identifier, from)
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

// person finds the recipient that a peer names: a user, or whom the peer knows by
// a pseudonym.
func (s *Service) person(ctx context.Context, identifier string, from ocm.Host) (account.User, error) {
	u, err := s.Accounts.ByName(ctx, identifier)
	if !errors.Is(err, account.ErrNoUser) {
		return u, err
	}
	id, err := s.Contacts.Known(ctx, identifier, from)
	if err != nil {
		return u, err
	}
	if id == "" {
		explain.Note(ctx, "recipient", "nobody here is known to %s as %s", from, identifier)
		return u, errNoRecipient()
	}
	return s.Accounts.Get(ctx, id)
}

func secretContext(id string) string { return "incoming/" + id }

func (s *Service) secret(in *Incoming) (ocm.Secret, error) {
	b, err := s.Box.Open(in.Secret, secretContext(in.ID))
	return ocm.Secret(b), err
}

// createLocal makes the receiving side of a share between two people of this
// server: the same inbox and the same rules, without a message.
func (s *Service) createLocal(ctx context.Context, tx bun.Tx, owner account.User, o *Outgoing, secret ocm.Secret) error {
	share, err := s.notice(o, owner, secret, client.Peer{Host: s.Self, Discovery: &ocm.Discovery{}})
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
	trusted, err := s.sift(ctx, Origin{Host: s.Self, Verdict: peer.Verdict{Action: peer.Allow}, Signed: true}, in, members, false)
	if err != nil {
		return err
	}
	request, err := s.wanted(ctx, in, members)
	if err != nil {
		return err
	}
	if request != nil {
		if err := s.turnRequest(ctx, tx, request.ID, request.State, RequestGranted, ""); err != nil {
			return err
		}
	}
	if _, err := insertIncoming(ctx, tx, in, members); err != nil {
		return err
	}
	if err := s.tellArrived(ctx, tx, in, members, trusted, request, ""); err != nil {
		return err
	}
	o.State, o.RecipientName = StateDelivered, name
	if _, err = tx.NewUpdate().Model(o).Column("state", "recipient_name").WherePK().Exec(ctx); err != nil || !trusted {
		return err
	}
	return s.accept(ctx, tx, members[0].UserID, in)
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

// Waiting counts what waits for a person's answer: shares, apart from those in
// quarantine, and requests.
func (s *Service) Waiting(ctx context.Context, userID string) (int64, error) {
	if err := s.joinGroups(ctx, userID); err != nil {
		return 0, err
	}
	shares, err := s.received(userID, (*Received)(nil)).Where("m.state = ? AND s.ended_at = 0 AND s.quarantine = ''", MemberPending).
		Where("s.expires_at = 0 OR s.expires_at > ?", s.Now().UnixMilli()).Count(ctx)
	if err != nil {
		return 0, err
	}
	requests, err := s.DB.Read.NewSelect().Model((*ReceivedRequest)(nil)).Where("owner_id = ? AND state = ?", userID, QuestionOpen).Count(ctx)
	return shares + requests, err
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
	var missing []struct{ ID, Sender string }
	err := s.DB.Read.NewSelect().TableExpr("incoming_shares AS s").ColumnExpr("s.id, s.sender").
		Join("JOIN group_members AS g ON g.group_id = s.group_id").
		Where("g.user_id = ? AND s.ended_at = 0", userID).
		Where("NOT EXISTS (SELECT 1 FROM incoming_members AS m WHERE m.share_id = s.id AND m.user_id = g.user_id)").Scan(ctx, &missing)
	if err != nil || len(missing) == 0 {
		return err
	}
	var members []Member
	for _, share := range missing {
		standing, err := s.Contacts.Standings(ctx, []string{userID}, share.Sender)
		if err != nil {
			return err
		}
		state := MemberPending
		if standing[userID].Blocked {
			state = MemberDeclined
		}
		members = append(members, Member{ShareID: share.ID, UserID: userID, State: state, UpdatedAt: s.Now().UnixMilli()})
	}
	_, err = s.DB.Write.NewInsert().Model(&members).On("CONFLICT DO NOTHING").Exec(ctx)
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
		if err := s.accept(ctx, tx, userID, &r.Incoming); err != nil {
			return err
		}
		if err := s.Notices.Settled(ctx, tx, userID, r.ID); err != nil {
			return err
		}
		if r.Sender == s.addressOf(ctx, userID) {
			return nil
		}
		return s.Contacts.MetByShare(ctx, tx, userID, r.Sender, r.SenderName)
	})
	s.Outbox.Wake()
	if err != nil {
		return nil, err
	}
	return s.own(ctx, userID, id)
}

// addressOf is a person's own address, "" when it cannot be told.
func (s *Service) addressOf(ctx context.Context, userID string) string {
	u, err := s.Accounts.Get(ctx, userID)
	if err != nil {
		return ""
	}
	return ocm.Address{Identifier: u.Name, Host: s.Self}.String()
}

// accept takes a share for a person, in tx.
func (s *Service) accept(ctx context.Context, tx bun.Tx, userID string, in *Incoming) error {
	name, err := s.freeMountName(ctx, tx, userID, in.Name)
	if err != nil {
		return err
	}
	first, err := tx.NewSelect().Model((*Member)(nil)).Where("share_id = ? AND state = ?", in.ID, MemberAccepted).Exists(ctx)
	if err != nil {
		return err
	}
	if err := s.setMember(ctx, tx, in.ID, userID, MemberAccepted, name); err != nil {
		return err
	}
	details := audit.Details{"by": userID, "as": name}
	if audit.Acting(ctx).ID != userID { // their address book says so
		details["unasked"] = true
	}
	if err := s.noteReceived(ctx, tx, "share.accepted", in, details); err != nil || first {
		return err // the sender has been told by the first of the group
	}
	return s.answer(ctx, tx, in, ocm.ShareAccepted)
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
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error { return s.giveBack(ctx, tx, userID, r, state) })
	s.Outbox.Wake()
	return err
}

// turnActs are what the audit calls the ways to turn a share down.
var turnActs = map[string]audit.Action{MemberDeclined: "share.declined", MemberLeft: "share.left"}

// giveBack takes a share from a person, in tx. Its sender is told when nobody of
// the recipients is left.
func (s *Service) giveBack(ctx context.Context, tx bun.Tx, userID string, r *Received, state string) error {
	s.forget(r.ID)
	if err := s.setMember(ctx, tx, r.ID, userID, state, ""); err != nil {
		return err
	}
	if err := s.Notices.Settled(ctx, tx, userID, r.ID); err != nil {
		return err
	}
	if err := s.noteReceived(ctx, tx, turnActs[state], &r.Incoming, audit.Details{"by": userID}); err != nil {
		return err
	}
	others, err := tx.NewSelect().Model((*Member)(nil)).
		Where("share_id = ? AND state IN (?)", r.ID, bun.List([]string{MemberPending, MemberAccepted})).Exists(ctx)
	if err != nil || others || r.EndedAt != 0 {
		return err
	}
	return s.answer(ctx, tx, &r.Incoming, ocm.ShareDeclined)
}

// Block gives a share back, if it is there, and lets no other of its sender
// arrive.
func (s *Service) Block(ctx context.Context, userID, id string) error {
	r, err := s.own(ctx, userID, id)
	if err != nil {
		return err
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		switch r.MemberState {
		case MemberPending:
			err = s.giveBack(ctx, tx, userID, r, MemberDeclined)
		case MemberAccepted:
			err = s.giveBack(ctx, tx, userID, r, MemberLeft)
		}
		if err != nil {
			return err
		}
		return s.Contacts.Block(ctx, tx, userID, r.Sender, r.SenderName)
	})
	s.Outbox.Wake()
	return err
}

// Report is what someone told the operator of a received share.
type Report struct {
	bun.BaseModel `bun:"table:reports"`

	ID        string `bun:",pk"`
	UserID    string
	ShareID   string
	PeerHost  string
	Sender    string
	ShareName string
	Message   string
	CreatedAt int64
}

const maxReport = 4096 // bytes

// Report tells the operator of a share that should not have come; again, in other
// words. What becomes of the share is another matter.
func (s *Service) Report(ctx context.Context, userID, id, message string) error {
	if len(message) > maxReport {
		return ocm.Invalid("message", "is longer than 4096 bytes")
	}
	r, err := s.own(ctx, userID, id)
	if err != nil {
		return err
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&Report{
			ID: store.NewID(), UserID: userID, ShareID: id, PeerHost: r.PeerHost, Sender: r.Sender, ShareName: r.Name,
			Message: ocm.DisplayName(message), CreatedAt: s.Now().UnixMilli(),
		}).On("CONFLICT (user_id, share_id) DO UPDATE").Set("message = EXCLUDED.message").Exec(ctx)
		if err != nil {
			return err
		}
		return s.noteReceived(ctx, tx, "share.reported", &r.Incoming, nil)
	})
	if err == nil {
		s.Log.Warn("a share was reported", "peer", r.PeerHost, "sender", r.Sender, "share", id)
	}
	return err
}

// Reports lists what people reported, the newest first; of one host, or of all
// for "".
func (s *Service) Reports(ctx context.Context, host ocm.Host) ([]Report, error) {
	out := []Report{}
	q := s.DB.Read.NewSelect().Model(&out).Order("id DESC").Limit(1000)
	if host != "" {
		q = q.Where("peer_host = ?", string(host))
	}
	return out, q.Scan(ctx)
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
	clean, err := tree.Clean(ocm.DisplayName(name))
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
