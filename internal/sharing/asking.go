package sharing

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// The kinds of requests.
const (
	AskShare   = "share"   // for a resource of someone (REQUEST_SHARE)
	AskReshare = "reshare" // to include someone in a share (REQUEST_RESHARE)
)

// The states of a request that our people sent.
const (
	RequestPending   = "pending"   // on its way
	RequestAsked     = "asked"     // their server has it, and asks the owner
	RequestGranted   = "granted"   // a share came of it
	RequestRefused   = "refused"   // by the owner, or by the server's policy
	RequestIgnored   = "ignored"   // no answer came
	RequestFailed    = "failed"    // it could not be delivered
	RequestWithdrawn = "withdrawn" // by who asked
)

// SentRequest is what one of our people asked of someone on another server.
type SentRequest struct {
	bun.BaseModel `bun:"table:requests_sent"`

	ID           string `bun:",pk"`
	UserID       string
	Kind         string
	PeerHost     string
	Owner        string // OCM Address of who is asked
	ShareWith    string // who is to receive it: for a reshare, the third party
	ShareID      string // the resource as named; for a reshare the share's providerId
	Name         string // as people know it
	ResourceType string
	Permissions  string
	Message      string
	State        string
	StateReason  string
	AnswerID     string // providerId of the new share, if the answer told it
	AnswerToken  []byte // sealed; proves to older servers that it is ours to withdraw
	CreatedAt    int64
	UpdatedAt    int64
}

// Rights are the permissions asked for.
func (r *SentRequest) Rights() tree.Rights { return tree.ParseRights(splitPerms(r.Permissions)) }

// NewRequest is what a person asks for.
type NewRequest struct {
	Owner       string // OCM Address, or the name of a contact
	Resource    string // a link, an id or a path, as its owner calls it
	Folder      bool
	Permissions []string // default read
	Message     string
}

// Errors of requests.
var (
	ErrNoRequest   = ocm.NewError(http.StatusNotFound, "REQUEST_NOT_FOUND", "There is no such request.")
	ErrAskSelf     = ocm.NewError(http.StatusBadRequest, "REQUEST_TO_SELF", "That is your own address: there is nobody to ask.")
	ErrAsked       = ocm.NewError(http.StatusConflict, "REQUEST_EXISTS", "You asked for that already, and the answer is still out.")
	ErrNoReshare   = ocm.NewError(http.StatusForbidden, "RESHARE_FORBIDDEN", "This was shared without the right to pass it on; ask its owner.")
	errNoAnswer    = ocm.NewError(http.StatusBadGateway, "PEER_WITHOUT_REQUESTS", "the server takes no requests")
	errNotWithdraw = ocm.NewError(http.StatusConflict, "REQUEST_CLOSED", "This request has its answer, or was withdrawn; there is nothing to withdraw.")
)

const (
	kindRequest     = "request"
	maxResourceName = 2048 // bytes
)

// Ask asks the owner of something to share it, by way of the owner's server
// (OCM 1.5, Resharing and Request to Share).
func (s *Service) Ask(ctx context.Context, user account.User, n NewRequest) (*SentRequest, error) {
	owner, err := s.Contacts.Resolve(ctx, user, n.Owner)
	if err != nil {
		return nil, err
	}
	switch n.Resource = strings.TrimSpace(n.Resource); {
	case n.Resource == "":
		return nil, ocm.Invalid("resource", "is required: a link, an id or a path, as its owner calls it")
	case len(n.Resource) > maxResourceName:
		return nil, ocm.Invalid("resource", "is longer than 2048 bytes")
	}
	r, err := s.request(ctx, user, owner, n.Permissions, n.Message)
	if err != nil {
		return nil, err
	}
	r.Kind, r.ShareID, r.Name, r.ResourceType = AskShare, n.Resource, lastOf(n.Resource), ocm.ResourceFile
	if n.Folder || strings.HasSuffix(n.Resource, "/") {
		r.ResourceType = ocm.ResourceFolder
	}
	return r, s.send(ctx, r, ocm.Notification{Type: ocm.RequestShare, Owner: owner, ShareID: r.ShareID})
}

// AskReshare asks the owner of a received share to include someone else. Nobody
// re-shares by themselves: the new share comes from the owner's server.
func (s *Service) AskReshare(ctx context.Context, user account.User, receivedID string, n NewOutgoing) (*SentRequest, error) {
	in, err := s.own(ctx, user.ID, receivedID)
	switch {
	case err != nil:
		return nil, err
	case in.MemberState != MemberAccepted || !in.Live(s.Now()):
		return nil, ErrShareEnded
	case !in.Rights().Has(tree.Share):
		return nil, ErrNoReshare
	}
	third, err := s.Contacts.Resolve(ctx, user, n.With)
	if err != nil {
		return nil, err
	}
	owner, err := ocm.ReadAddress(in.Owner)
	if err != nil {
		return nil, err
	}
	if third == owner {
		return nil, ocm.Invalid("with", "is the owner of the files")
	}
	if len(n.Permissions) == 0 {
		n.Permissions = splitPerms(in.Permissions)
	}
	r, err := s.request(ctx, user, owner, n.Permissions, n.Message)
	if err != nil {
		return nil, err
	}
	if missing := tree.ParseRights(n.Permissions) &^ in.Rights(); missing != 0 {
		return nil, ocm.Invalid("permissions", "hold more than was shared with you")
	}
	r.Kind, r.ShareID, r.Name, r.ResourceType, r.ShareWith = AskReshare, in.ProviderID, in.Name, in.ResourceType, third.String()
	return r, s.send(ctx, r, ocm.Notification{Type: ocm.RequestReshare, ProviderID: in.ProviderID, SenderID: in.ID})
}

// request checks what all requests have in common.
func (s *Service) request(ctx context.Context, user account.User, owner ocm.Address, permissions []string, message string) (*SentRequest, error) {
	if owner.Host == s.Self && account.SameName(owner.Identifier, user.Name) {
		return nil, ErrAskSelf
	}
	if _, err := s.Policy.Permit(ctx, owner.Host); err != nil {
		return nil, err
	}
	if len(permissions) == 0 {
		permissions = []string{ocm.PermRead}
	}
	if err := checkPermissions(permissions); err != nil {
		return nil, err
	}
	if len(message) > maxMessage {
		return nil, ocm.Invalid("message", "is longer than 4096 bytes")
	}
	given, err := s.Contacts.Given(ctx, user.ID, owner.String())
	if err != nil {
		return nil, err
	}
	now := s.Now().UnixMilli()
	return &SentRequest{
		ID: store.NewID(), UserID: user.ID, PeerHost: string(owner.Host), Owner: owner.String(),
		ShareWith:   ocm.Address{Identifier: cmp.Or(given, user.Name), Host: s.Self}.String(),
		Permissions: joinPerms(permissions), Message: message, State: RequestPending, AnswerToken: []byte{}, CreatedAt: now, UpdatedAt: now,
	}, nil
}

// send records a request and queues it, or puts it to someone on this server.
func (s *Service) send(ctx context.Context, r *SentRequest, n ocm.Notification) error {
	n.SenderDomain, n.ResourceType, n.Message, n.Permissions = s.Self, r.ResourceType, r.Message, splitPerms(r.Permissions)
	with, err := ocm.ReadAddress(r.ShareWith)
	if err != nil {
		return err
	}
	n.ShareWith = with
	host := ocm.Host(r.PeerHost)
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		same, err := tx.NewSelect().Model((*SentRequest)(nil)).Where("user_id = ? AND owner = ? AND share_id = ? AND share_with = ?", r.UserID, r.Owner, r.ShareID, r.ShareWith).
			Where("state IN (?)", bun.List([]string{RequestPending, RequestAsked})).Exists(ctx)
		if err != nil {
			return err
		}
		if same {
			return ErrAsked
		}
		if _, err := tx.NewInsert().Model(r).Exec(ctx); err != nil {
			return err
		}
		if err := s.noteRequest(ctx, tx, "request.sent", r.ID, r.ShareID, r.Owner, audit.Details{"with": r.ShareWith}); err != nil {
			return err
		}
		if err := store.Bump(ctx, tx, askingName); err != nil || host == s.Self {
			return err
		}
		if err := s.attach(ctx, tx, host, &n); err != nil {
			return err
		}
		n.Form = ocm.NotifyGrantee // the outbox is sealed
		payload, err := json.Marshal(n)
		if err != nil {
			return err
		}
		return s.Outbox.Enqueue(ctx, tx, delivery.Message{Peer: host, OrderKey: r.ID, Kind: kindRequest, Payload: payload})
	})
	if err != nil {
		return err
	}
	s.asking.Stale()
	s.Outbox.Wake()
	if host != s.Self {
		return nil
	}
	answer, err := s.put(ctx, Origin{Host: s.Self, Verdict: peer.Verdict{Action: peer.Allow}, Signed: true}, client.Profile{}, &n)
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		r.State, r.StateReason = RequestRefused, e.Message
		return s.turnRequest(ctx, s.DB.Write, r.ID, RequestPending, r.State, r.StateReason)
	}
	if err != nil {
		return err
	}
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error { return s.takeAnswer(ctx, tx, r, answer) })
}

// takeAnswer records the answer to a request, in tx. It may tell the providerId of
// the share that comes of it: at once for a reshare, when the owner says yes for
// a request.
func (s *Service) takeAnswer(ctx context.Context, tx bun.Tx, r *SentRequest, a *ocm.NotificationAnswer) error {
	if a.Token != "" {
		r.AnswerToken = s.Box.Seal([]byte(a.Token.Reveal()), requestContext(r.ID))
	}
	r.AnswerID, r.State = a.ProviderID, RequestAsked
	if _, err := tx.NewUpdate().Model(r).Column("answer_id", "answer_token").WherePK().Exec(ctx); err != nil {
		return err
	}
	if r.AnswerID != "" {
		arrived := r.Kind == AskReshare
		if !arrived { // it may have overtaken the answer
			_, err := get[Incoming](ctx, tx, "provider_id = ? AND peer_host = ?", r.AnswerID, r.PeerHost)
			if unless(err, ErrNoShare) != nil {
				return err
			}
			arrived = err == nil
		}
		if arrived {
			r.State = RequestGranted
		}
	}
	// The refusal may have overtaken it too.
	return s.turnRequest(ctx, tx, r.ID, RequestPending, r.State, "")
}

// turnRequest changes the state of a request if it is the expected one.
func (s *Service) turnRequest(ctx context.Context, db bun.IDB, id, from, to, reason string) error {
	_, err := db.NewUpdate().Model((*SentRequest)(nil)).Where("id = ? AND state = ?", id, from).
		Set("state = ?", to).Set("state_reason = ?", reason).Set("updated_at = ?", s.Now().UnixMilli()).Exec(ctx)
	return err
}

// SentRequests lists what a person asked of others, newest first.
func (s *Service) SentRequests(ctx context.Context, userID string) ([]SentRequest, error) {
	var out []SentRequest
	err := s.DB.Read.NewSelect().Model(&out).Where("user_id = ?", userID).Order("id DESC").Limit(1000).Scan(ctx)
	return out, err
}

// Withdraw takes a request back. A reshare that came of it ends; a request for a
// share that is with its owner already is answered or not, as the owner likes.
func (s *Service) Withdraw(ctx context.Context, userID, id string) error {
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		r, err := sentRequest(ctx, tx, "id = ? AND user_id = ?", id, userID)
		if err != nil {
			return err
		}
		reshared := r.Kind == AskReshare && r.State == RequestGranted
		if r.State != RequestPending && r.State != RequestAsked && !reshared {
			return errNotWithdraw
		}
		attempted, err := s.Outbox.Withdraw(ctx, tx, ocm.Host(r.PeerHost), r.ID)
		if err != nil {
			return err
		}
		if err := s.turnRequest(ctx, tx, r.ID, r.State, RequestWithdrawn, ""); err != nil {
			return err
		}
		if err := s.noteRequest(ctx, tx, "request.withdrawn", r.ID, r.ShareID, r.Owner, nil); err != nil {
			return err
		}
		if r.Kind != AskReshare || r.State == RequestPending && !attempted {
			return nil
		}
		undo := ocm.Notification{Type: ocm.ReshareUndo, ResourceType: r.ResourceType, ProviderID: cmp.Or(r.AnswerID, r.ShareID)}
		if undo.ShareWith, err = ocm.ReadAddress(r.ShareWith); err != nil {
			return err
		}
		if len(r.AnswerToken) > 0 {
			token, err := s.Box.Open(r.AnswerToken, requestContext(r.ID))
			if err != nil {
				return err
			}
			undo.SharedSecret = ocm.Secret(token)
		}
		return s.tellBehind(ctx, tx, r.ID, ocm.Host(r.PeerHost), undo) // the request, which may be under way
	})
	s.Outbox.Wake()
	return err
}

func requestContext(id string) string { return "request/" + id }

func sentRequest(ctx context.Context, db bun.IDB, where string, args ...any) (*SentRequest, error) {
	r, err := get[SentRequest](ctx, db, where, args...)
	if errors.Is(err, ErrNoShare) {
		return nil, ErrNoRequest
	}
	return r, err
}

// wanted finds the request that a share answers: the one whose answer told its
// providerId, the one for that, or the one for something of its name.
func (s *Service) wanted(ctx context.Context, in *Incoming, members []Member) (*SentRequest, error) {
	if in.GroupID != "" || len(members) != 1 {
		return nil, nil
	}
	if asking, err := s.asking.Get(ctx); err != nil || !asking[members[0].UserID] {
		return nil, err
	}
	var open []SentRequest
	err := s.DB.Read.NewSelect().Model(&open).Where("user_id = ? AND kind = ?", members[0].UserID, AskShare).
		Where("state IN (?)", bun.List([]string{RequestPending, RequestAsked})).Where("owner IN (?)", bun.List([]string{in.Owner, in.Sender})).
		Order("id").Limit(100).Scan(ctx)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	for _, fits := range []func(r SentRequest) bool{
		func(r SentRequest) bool { return r.AnswerID == in.ProviderID },
		func(r SentRequest) bool { return r.ShareID == in.ProviderID },
		func(r SentRequest) bool { return displayName(r.Name) == in.Name },
	} {
		if i := slices.IndexFunc(open, fits); i >= 0 {
			return &open[i], nil
		}
	}
	return nil, nil
}

// askingName is what new requests bump.
const askingName = "requests"

// loadAsking tells who has requests open: few people, while shares arrive by the
// thousand.
func loadAsking(ctx context.Context, db bun.IDB) (map[string]bool, error) {
	var ids []string
	err := db.NewSelect().Model((*SentRequest)(nil)).ColumnExpr("DISTINCT user_id").
		Where("state IN (?)", bun.List([]string{RequestPending, RequestAsked, RequestFailed})).Scan(ctx, &ids)
	out := map[string]bool{}
	for _, id := range ids {
		out[id] = true
	}
	return out, err
}

// refusedRequest records that an owner said no: SHARE_DECLINED names what was asked
// for, and who asked whom. Where a server leaves that out, the one request that is
// open is meant.
func (s *Service) refusedRequest(ctx context.Context, tx bun.Tx, from ocm.Host, n *ocm.Notification) error {
	var found []SentRequest
	q := tx.NewSelect().Model(&found).Where("peer_host = ? AND share_id = ?", string(from), n.ProviderID).
		Where("state IN (?)", bun.List([]string{RequestPending, RequestAsked, RequestRefused}))
	if n.ShareWith != (ocm.Address{}) {
		q = q.Where("share_with = ?", n.ShareWith.String())
	}
	if n.Owner != (ocm.Address{}) {
		q = q.Where("owner = ?", n.Owner.String())
	}
	if err := q.Scan(ctx); err != nil {
		return err
	}
	if len(found) == 0 {
		return ErrNoShare
	}
	open := slices.DeleteFunc(found, func(r SentRequest) bool { return r.State == RequestRefused })
	for _, r := range open {
		if r.ShareWith != open[0].ShareWith || r.Owner != open[0].Owner {
			return ocm.Invalid("notification.file.shareWith", "is required, and owner: several requests ask for this")
		}
	}
	for _, r := range open {
		if err := s.turnRequest(ctx, tx, r.ID, r.State, RequestRefused, n.Message); err != nil {
			return err
		}
		if err := s.tellAsker(ctx, tx, &r, notice.RequestRefused, notice.Params{Reason: "owner", Words: n.Message}); err != nil {
			return err
		}
	}
	return nil
}

// grantedRequest records that an owner said yes by giving rights to a share that is
// there.
func (s *Service) grantedRequest(ctx context.Context, tx bun.Tx, from ocm.Host, n *ocm.Notification) error {
	var open []SentRequest
	err := tx.NewSelect().Model(&open).
		Where("peer_host = ? AND kind = ? AND share_id = ? AND share_with = ? AND owner = ?", string(from), AskShare, n.ShareID, n.ShareWith.String(), n.Owner.String()).
		Where("state IN (?)", bun.List([]string{RequestPending, RequestAsked})).Scan(ctx)
	if err != nil {
		return err
	}
	for _, r := range open {
		if err := s.turnRequest(ctx, tx, r.ID, r.State, RequestGranted, ""); err != nil {
			return err
		}
		if err := s.tellAsker(ctx, tx, &r, notice.RequestGranted, notice.Params{}); err != nil {
			return err
		}
	}
	return nil
}

// lastOf is the last element of a link or path, for people.
func lastOf(resource string) string {
	if i := strings.Index(resource, "://"); i >= 0 {
		resource, _, _ = strings.Cut(resource[i+3:], "?")
		if name, err := url.PathUnescape(path.Base(resource)); err == nil {
			return name
		}
	}
	return path.Base(resource)
}

// requestCourier delivers requests.
type requestCourier struct{ *Service }

func (c requestCourier) Deliver(ctx context.Context, m delivery.Message) (any, error) {
	n, err := ocm.ReadNotification(m.Payload)
	if err != nil {
		return nil, delivery.Permanently(err)
	}
	to, err := c.Peers.Peer(ctx, m.Peer)
	if err != nil {
		return nil, delivery.Unknown(m.Peer, err)
	}
	if !to.Profile.Reads(to.Discovery, n.Type) {
		return nil, delivery.Permanently(errNoAnswer.Saying("%s takes no requests of this kind. Ask the owner by other means", m.Peer))
	}
	to.Profile.AdaptNotification(n)
	answer, err := c.Client.Notify(ctx, to, *n)
	if err != nil {
		return nil, delivery.Refused(m.Peer, err)
	}
	return answer, nil
}

func (c requestCourier) Delivered(ctx context.Context, tx bun.Tx, m delivery.Message, receipt any) error {
	r, err := sentRequest(ctx, tx, "id = ?", m.OrderKey)
	if err != nil {
		return unless(err, ErrNoRequest)
	}
	pending := r.State == RequestPending
	if err := c.takeAnswer(ctx, tx, r, receipt.(*ocm.NotificationAnswer)); err != nil {
		return err
	}
	if !pending || r.Kind != AskReshare || r.State != RequestGranted { // the share itself tells of the others
		return nil
	}
	return c.tellAsker(ctx, tx, r, notice.RequestGranted, notice.Params{})
}

func (c requestCourier) Failed(ctx context.Context, tx bun.Tx, m delivery.Message, cause error) error {
	r, err := sentRequest(ctx, tx, "id = ?", m.OrderKey)
	if err != nil || r.State != RequestPending {
		return unless(err, ErrNoRequest)
	}
	state, reason := RequestFailed, delivery.Sentence(cause)
	kind, about := notice.RequestFailed, becauseOf(cause)
	if pe, ok := errors.AsType[*client.PeerError](cause); ok && (pe.Status == http.StatusNotFound || pe.Status == http.StatusForbidden) {
		state, reason = RequestRefused, string(m.Peer)+" does not pass it on, or knows nobody of that name"
		kind, about.Reason = notice.RequestRefused, "server"
	}
	if err := c.turnRequest(ctx, tx, r.ID, RequestPending, state, reason); err != nil {
		return err
	}
	return c.tellAsker(ctx, tx, r, kind, about)
}

func (c requestCourier) Revived(ctx context.Context, tx bun.Tx, m delivery.Message) error {
	return c.turnRequest(ctx, tx, m.OrderKey, RequestFailed, RequestPending, "")
}
