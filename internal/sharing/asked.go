package sharing

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// The states of a request that others put to our people.
const (
	QuestionOpen    = "open"
	QuestionGranted = "granted"
	QuestionRefused = "refused"
	QuestionIgnored = "ignored" // its owner does not want to be asked that
	QuestionLapsed  = "lapsed"  // its time is over
)

// ReceivedRequest is a question to one of our people: whether to share
// something with who asks, or to include someone in a share.
type ReceivedRequest struct {
	bun.BaseModel `bun:"table:requests_received"`

	ID           string `bun:",pk"`
	OwnerID      string
	Owner        string // OCM Address by which they were asked; "" for a reshare
	Kind         string
	Asker        string // OCM Address
	PeerHost     string // its host
	ShareWith    string // who is to receive it
	ShareID      string // the resource as named; for a reshare the share's providerId
	Path         string // in the owner's home; "" when it is not clear
	Parent       string // the share that a reshare is about
	NewID        string // the providerId of the share when it is granted
	ResourceType string
	Permissions  string
	Message      string
	Times        int64 // how often it was asked
	State        string
	Proof        string // ProofSigned …; "" where it was not kept
	CreatedAt    int64
	UpdatedAt    int64
}

// Rights are the permissions asked for.
func (q *ReceivedRequest) Rights() tree.Rights { return tree.ParseRights(splitPerms(q.Permissions)) }

// Who may put a request to our people.
const (
	FromContacts = "contacts" // the owner's contacts, and servers that a rule or directory names
	FromEveryone = "everyone"
	FromNobody   = "nobody"
)

// What becomes of a request to include someone in a share with the right to
// pass it on.
const (
	ReshareAuto = "auto" // granted: the right is the owner's consent
	ReshareAsk  = "ask"  // the owner is asked
	ReshareNo   = "no"
)

// The bounds of questions.
const (
	maxFromAsker = 10                 // open ones of one asker
	maxFromHost  = 25                 // open ones of one server to one person
	maxForOwner  = 100                // open ones to one person
	maxReshares  = 50                 // at one time of one share, by federation.reshares alone
	maxInADay    = 20                 // the same, made within a day
	quietAfterNo = 7 * 24 * time.Hour // in which a refused question is not put again
	keepRequests = 90 * 24 * time.Hour
	maxMessage   = 4096 // bytes
)

// ErrNotPassedOn is the one answer to requests that policy or the owner's wish
// keeps from the owner, and to those to nobody.
var ErrNotPassedOn = ocm.NewError(http.StatusNotFound, "REQUEST_NOT_TAKEN", "this server does not pass the request on")

// ErrWhich asks the owner what a request is about.
var ErrWhich = ocm.NewError(http.StatusBadRequest, "RESOURCE_UNCLEAR", "It is not clear which of your files is meant. Name it (--path).")

// errManyRequests slows down who asks too much.
var errManyRequests = ocm.NewError(http.StatusTooManyRequests, ocm.CodeRateLimited, "too many requests wait for an answer").RetryIn(6 * time.Hour)

// put puts a request of a peer to one of our people (OCM 1.5, Resharing and
// Request to Share).
func (s *Service) put(ctx context.Context, from Origin, profile client.Profile, n *ocm.Notification) (*ocm.NotificationAnswer, error) {
	if n.Type == ocm.RequestShare {
		return s.putShare(ctx, from, n)
	}
	if err := s.proven(ctx, s.DB.Read, from, profile, n); err != nil {
		return nil, err
	}
	return s.putReshare(ctx, from, profile, n)
}

func (s *Service) putShare(ctx context.Context, from Origin, n *ocm.Notification) (*ocm.NotificationAnswer, error) {
	if n.ShareWith.Host != from.Host {
		return nil, ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch, "the asking person is not of the sender's host")
	}
	owner, err := s.person(ctx, n.Owner.Identifier, from.Host)
	if e, ok := errors.AsType[*ocm.Error](err); ok && e.Code == ocm.CodeRecipientNotFound || n.Owner.Host != s.Self {
		explain.Note(ctx, "request", "%s is nobody here", n.Owner)
		return nil, ErrNotPassedOn
	}
	if err != nil {
		return nil, err
	}
	q := &ReceivedRequest{
		OwnerID: owner.ID, Owner: n.Owner.String(), Kind: AskShare, Asker: n.ShareWith.String(), PeerHost: string(from.Host), ShareWith: n.ShareWith.String(),
		ShareID: n.ShareID, ResourceType: n.ResourceType, Permissions: joinPerms(n.Permissions), Message: n.Message, Proof: from.proof(),
	}
	if err := s.maySend(ctx, from, q); err != nil {
		return nil, err
	}
	if q.Path, err = s.locate(ctx, owner, n.ShareID); err != nil {
		return nil, err
	}
	if err := s.ask(ctx, q, nil); err != nil {
		return nil, err
	}
	// The share that comes of it is known by that, whatever they called it.
	return &ocm.NotificationAnswer{ProviderID: q.NewID}, nil
}

// maySend reports whether policy and the owner let someone ask.
func (s *Service) maySend(ctx context.Context, from Origin, q *ReceivedRequest) error {
	standings, err := s.Contacts.Standings(ctx, []string{q.OwnerID}, q.Asker)
	if err != nil {
		return err
	}
	st := standings[q.OwnerID]
	local := from.Host == s.Self
	reason := ""
	switch {
	case st.Blocked:
		reason = "the owner blocks " + q.Asker
	case local, st.Known:
		return nil
	case s.Requests == FromNobody:
		reason = "federation.requests is nobody"
	case from.Verdict.Action == peer.Limit:
		reason = "the operator limits the server"
	case s.Requests == FromContacts && !from.Verdict.Named:
		reason = q.Asker + " is not in the owner's address book, and nothing names the server"
	default:
		return nil
	}
	explain.Note(ctx, "request", "not passed on: %s", reason)
	return ErrNotPassedOn
}

// locate finds what a request names among the owner's files: a link to them or
// to a share, a providerId, or a path; "" when it is none.
func (s *Service) locate(ctx context.Context, owner account.User, named string) (string, error) {
	if u, err := url.Parse(named); err == nil && u.Scheme != "" && strings.HasPrefix(named, s.Origin+"/") {
		named = strings.TrimPrefix(u.Path, "/dav/files/"+owner.Name+"/")
		if id, ok := strings.CutPrefix(u.Path, DAVPath); ok {
			named, _, _ = strings.Cut(id, "/")
		}
	}
	o, err := get[Outgoing](ctx, s.DB.Read, "id = ? AND owner_id = ?", named, owner.ID)
	if err == nil {
		named = o.Path
	} else if !errors.Is(err, ErrNoShare) {
		return "", err
	}
	name, err := tree.Clean(strings.Trim(named, "/"))
	if err != nil || name == "" {
		return "", nil
	}
	files, err := s.Files.Own(ctx, owner.ID)
	if err != nil {
		return "", err
	}
	if _, err := files.Stat(ctx, name); err != nil {
		return "", nil
	}
	return name, nil
}

// ask records a question, once however often it is asked, with what also does in
// the same transaction.
func (s *Service) ask(ctx context.Context, q *ReceivedRequest, also inTx) error {
	now := s.Now()
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := also.do(ctx, tx); err != nil {
			return err
		}
		var before ReceivedRequest
		err := tx.NewSelect().Model(&before).
			Where("owner_id = ? AND kind = ? AND asker = ? AND share_with = ? AND share_id = ?", q.OwnerID, q.Kind, q.Asker, q.ShareWith, q.ShareID).
			Order("id DESC").Limit(1).Scan(ctx)
		switch {
		case err == nil && (before.State == QuestionOpen || before.State == QuestionIgnored):
			explain.Note(ctx, "request", "asked before, nobody is asked again")
			q.NewID = before.NewID
			_, err := tx.NewUpdate().Model((*ReceivedRequest)(nil)).Where("id = ?", before.ID).
				Set("times = times + 1").Set("message = ?", q.Message).Set("permissions = ?", q.Permissions).Set("proof = ?", q.Proof).Set("updated_at = ?", now.UnixMilli()).Exec(ctx)
			return err
		case err == nil && before.State == QuestionRefused && now.Sub(store.Time(before.UpdatedAt)) < quietAfterNo:
			explain.Note(ctx, "request", "refused by its owner not long ago")
			return ErrNotPassedOn
		case err != nil && !store.NotFound(err):
			return err
		}
		ofAsker, err := tx.NewSelect().Model((*ReceivedRequest)(nil)).Where("asker = ? AND state = ?", q.Asker, QuestionOpen).Count(ctx)
		if err != nil {
			return err
		}
		ofOwner, err := tx.NewSelect().Model((*ReceivedRequest)(nil)).Where("owner_id = ? AND state = ?", q.OwnerID, QuestionOpen).Count(ctx)
		if err != nil {
			return err
		}
		ofHost, err := tx.NewSelect().Model((*ReceivedRequest)(nil)).Where("owner_id = ? AND peer_host = ? AND state = ?", q.OwnerID, q.PeerHost, QuestionOpen).Count(ctx)
		if err != nil {
			return err
		}
		local := q.PeerHost == string(s.Self)
		if ofAsker >= maxFromAsker || ofOwner >= maxForOwner || ofHost >= maxFromHost && !local {
			explain.Note(ctx, "request", "%d questions of %s, %d of its server and %d in all to the owner wait already", ofAsker, q.Asker, ofHost, ofOwner)
			return errManyRequests
		}
		q.ID, q.State, q.Times, q.CreatedAt, q.UpdatedAt = store.NewID(), QuestionOpen, 1, now.UnixMilli(), now.UnixMilli()
		if q.NewID == "" {
			q.NewID = store.NewID()
		}
		explain.Note(ctx, "request", "the owner is asked, as %s", q.ID)
		if _, err := tx.NewInsert().Model(q).Exec(ctx); err != nil {
			return err
		}
		if err := s.noteRequest(ctx, tx, "request.received", q.ID, q.ShareID, q.Asker, audit.Details{"owner": q.OwnerID, "with": q.ShareWith}); err != nil {
			return err
		}
		return s.tellAsked(ctx, tx, q)
	})
}

// putReshare includes a third party in a share at the recipient's request, or
// asks the owner whether to.
func (s *Service) putReshare(ctx context.Context, from Origin, profile client.Profile, n *ocm.Notification) (*ocm.NotificationAnswer, error) {
	parent, err := get[Outgoing](ctx, s.DB.Read, "id = ? AND peer_host = ?", n.ProviderID, string(from.Host))
	if err == nil && !parent.Live(s.Now()) {
		err = ErrNoShare
	}
	if err != nil {
		return nil, err
	}
	permissions := n.Permissions
	if len(permissions) == 0 {
		permissions = splitPerms(parent.Permissions)
	}
	switch rights := tree.ParseRights(permissions); {
	case s.Reshares == ReshareNo, !parent.Rights().Has(tree.Share):
		return nil, ErrNoReshare.Saying("the share was given without the right to pass it on")
	case rights&^parent.Rights() != 0 || !rights.Has(tree.Read):
		return nil, ErrNoReshare.Saying("the share does not give the rights asked for")
	case n.ShareWith.String() == parent.ShareWith:
		return nil, ocm.Invalid("notification.file.shareWith", "has the share already")
	}
	if v, err := s.Policy.Decide(ctx, n.ShareWith.Host); err != nil {
		return nil, err
	} else if v.Action == peer.Deny {
		explain.Note(ctx, "policy", "%s for %s: %s", v.Action, n.ShareWith.Host, v.Because)
		return nil, ErrNoReshare.Saying("this server does not deal with the third party's")
	}
	owner, err := s.Accounts.Get(ctx, parent.OwnerID)
	if err != nil {
		return nil, err
	}
	if n.ShareWith.Host == s.Self && account.SameName(n.ShareWith.Identifier, owner.Name) {
		return nil, ocm.Invalid("notification.file.shareWith", "is the owner of the files")
	}
	q := &ReceivedRequest{
		OwnerID: owner.ID, Kind: AskReshare, Asker: parent.ShareWith, PeerHost: parent.PeerHost, ShareWith: n.ShareWith.String(), ShareID: parent.ID,
		Path: parent.Path, Parent: parent.ID, NewID: store.NewID(), ResourceType: parent.ResourceType, Permissions: joinPerms(permissions), Message: n.Message, Proof: from.proof(),
	}
	inOrder := func(ctx context.Context, tx bun.Tx) error {
		return s.hear(ctx, tx, from, aboutReshare(parent.ID, q.ShareWith), false)
	}
	many, err := s.manyReshares(ctx, parent.ID, q.ShareWith)
	if err != nil {
		return nil, err
	}
	if s.Reshares == ReshareAsk || many {
		if err := s.ask(ctx, q, inOrder); err != nil || !profile.SecretProves {
			return &ocm.NotificationAnswer{}, unless(err, errOvertaken)
		}
		// It cannot go on without an id, which the share will have.
		return &ocm.NotificationAnswer{ProviderID: q.NewID, Token: n.SharedSecret}, nil
	}
	o, err := s.include(ctx, owner, parent, q, NewOutgoing{}, inOrder)
	if err != nil {
		return &ocm.NotificationAnswer{}, unless(err, errOvertaken) // taken back since
	}
	explain.Note(ctx, "request", "granted by federation.reshares, as share %s", o.ID)
	return &ocm.NotificationAnswer{ProviderID: o.ID, Token: n.SharedSecret}, nil
}

// manyReshares reports whether one more share at the request of a recipient is
// for the owner to decide, whatever federation.reshares says: each sends messages
// to a server of the recipient's choice.
func (s *Service) manyReshares(ctx context.Context, parent, with string) (bool, error) {
	var made []Outgoing
	day := s.Now().Add(-24 * time.Hour).UnixMilli()
	final := bun.List([]string{StateEnded, StateDeclined})
	err := s.DB.Read.NewSelect().Model(&made).Column("share_with", "state", "created_at").
		Where("parent = ? AND (created_at > ? OR state NOT IN (?))", parent, day, final).Limit(maxReshares + maxInADay).Scan(ctx)
	live, today := 0, 0
	for _, o := range made {
		if o.State != StateEnded && o.State != StateDeclined {
			if o.ShareWith == with {
				return false, err // it is there already
			}
			live++
		}
		if o.CreatedAt > day {
			today++
		}
	}
	if live >= maxReshares || today >= maxInADay {
		explain.Note(ctx, "request", "%d shares were made so at its recipient's request, %d within a day: the owner is asked", live, today)
		return true, err
	}
	return false, err
}

// include makes the share that a request to include someone asks for. What the
// share it is asked by demands, and its end, hold for it too.
func (s *Service) include(ctx context.Context, owner account.User, parent *Outgoing, q *ReceivedRequest, n NewOutgoing, also inTx) (*Outgoing, error) {
	n.Path, n.With, n.RequireMFA = parent.Path, q.ShareWith, parent.MustMFA
	if len(n.Permissions) == 0 {
		n.Permissions = splitPerms(q.Permissions)
	}
	if end := store.Time(parent.ExpiresAt); !end.IsZero() && (n.ExpiresAt.IsZero() || n.ExpiresAt.After(end)) {
		n.ExpiresAt = end
	}
	o, err := s.draft(ctx, owner, n)
	if err != nil {
		return nil, err
	}
	o.ID, o.Parent, o.NeedsExchange = q.NewID, parent.ID, parent.MustExchange || parent.NeedsExchange
	o.Granted = q.ID != "" // a question to the owner
	err = s.launch(ctx, owner, o, also)
	if errors.Is(err, ErrDuplicate) { // asked again: the share is there
		if err := s.DB.Tx(ctx, also.do); err != nil {
			return nil, err
		}
		return get[Outgoing](ctx, s.DB.Read, "owner_id = ? AND path = ? AND share_with = ? AND share_type = ? AND state IN (?)",
			o.OwnerID, o.Path, o.ShareWith, o.ShareType, bun.List([]string{StatePending, StateDelivered, StateAccepted}))
	}
	return o, err
}

// undo ends the share that was made at a recipient's request.
func (s *Service) undo(ctx context.Context, tx bun.Tx, from ocm.Host, n *ocm.Notification) error {
	parent, children, err := s.reshared(ctx, tx, from, n)
	if err != nil {
		return err
	}
	for _, o := range children {
		if o.State == StateEnded {
			continue // said before
		}
		if err := s.end(ctx, tx, &o, "withdrawn by "+parent.ShareWith); err != nil {
			return err
		}
		if err := s.tellOwner(ctx, tx, &o, notice.ReshareUndone, notice.Params{With: parent.ShareWith}); err != nil {
			return err
		}
	}
	_, err = tx.NewUpdate().Model((*ReceivedRequest)(nil)).Where("parent = ? AND state = ?", parent.ID, QuestionOpen).
		Where("share_with = ? OR new_id = ?", n.ShareWith.String(), n.ProviderID).
		Set("state = ?", QuestionLapsed).Set("updated_at = ?", s.Now().UnixMilli()).Exec(ctx)
	return err
}

// reshared finds what a RESHARE_UNDO is about: older servers name the new share,
// others the one it was asked by and the third party.
func (s *Service) reshared(ctx context.Context, db bun.IDB, from ocm.Host, n *ocm.Notification) (parent *Outgoing, children []Outgoing, err error) {
	child, err := get[Outgoing](ctx, db, "id = ? AND parent <> ''", n.ProviderID)
	if err == nil {
		parent, err = get[Outgoing](ctx, db, "id = ? AND peer_host = ?", child.Parent, string(from))
		return parent, []Outgoing{*child}, err
	}
	if !errors.Is(err, ErrNoShare) {
		return nil, nil, err
	}
	if parent, err = get[Outgoing](ctx, db, "id = ? AND peer_host = ?", n.ProviderID, string(from)); err != nil {
		var waiting *ReceivedRequest // not granted yet, or never
		if waiting, err = get[ReceivedRequest](ctx, db, "new_id = ? AND peer_host = ? AND kind = ?", n.ProviderID, string(from), AskReshare); err == nil {
			parent, err = get[Outgoing](ctx, db, "id = ? AND peer_host = ?", waiting.Parent, string(from))
		}
		return parent, nil, err
	}
	if n.ShareWith == (ocm.Address{}) {
		return nil, nil, ocm.Invalid("notification.file.shareWith", "is required")
	}
	err = db.NewSelect().Model(&children).Where("parent = ? AND share_with = ?", parent.ID, n.ShareWith.String()).
		Where("state NOT IN (?)", bun.List([]string{StateEnded, StateDeclined})).Scan(ctx)
	return parent, children, err
}

// ReceivedRequests lists what others ask of a person, newest first.
func (s *Service) ReceivedRequests(ctx context.Context, ownerID string) ([]ReceivedRequest, error) {
	var out []ReceivedRequest
	err := s.DB.Read.NewSelect().Model(&out).Where("owner_id = ?", ownerID).Order("id DESC").Limit(1000).Scan(ctx)
	return out, err
}

// Grant shares what was asked for. n may name another path, fewer rights and an
// end; what it leaves out is as it was asked. A share that the asker has already
// gets the rights that it lacks.
func (s *Service) Grant(ctx context.Context, owner account.User, id string, n NewOutgoing) (*Outgoing, error) {
	q, err := s.question(ctx, owner.ID, id)
	if err != nil {
		return nil, err
	}
	var o *Outgoing
	if q.Kind == AskReshare {
		parent, err := get[Outgoing](ctx, s.DB.Read, "id = ?", q.Parent)
		if err == nil && !parent.Live(s.Now()) {
			err = ErrShareEnded
		}
		if err != nil {
			return nil, err
		}
		if o, err = s.include(ctx, owner, parent, q, n, nil); err != nil {
			return nil, err
		}
	} else {
		if n.Path == "" {
			n.Path = q.Path
		}
		if n.Path == "" {
			return nil, ErrWhich
		}
		if len(n.Permissions) == 0 {
			n.Permissions = splitPerms(q.Permissions)
		}
		n.With, n.ShareType = q.ShareWith, ocm.ShareTypeUser
		if o, err = s.draft(ctx, owner, n); err != nil {
			return nil, err
		}
		o.ID = q.NewID
		if err = s.launch(ctx, owner, o, nil); errors.Is(err, ErrDuplicate) && n.ExpiresAt.IsZero() {
			o, err = s.widen(ctx, o, q)
		}
		if err != nil {
			return nil, err
		}
	}
	return o, s.close(ctx, q, QuestionGranted)
}

// widen gives the asker what a share that is there lacks of the one that was asked
// for, and tells them that it is the answer.
func (s *Service) widen(ctx context.Context, asked *Outgoing, q *ReceivedRequest) (o *Outgoing, err error) {
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		o, err = get[Outgoing](ctx, tx, "owner_id = ? AND path = ? AND share_with = ? AND share_type = ? AND state IN (?)",
			asked.OwnerID, asked.Path, asked.ShareWith, asked.ShareType, bun.List([]string{StatePending, StateDelivered, StateAccepted}))
		if err != nil {
			return err
		}
		return s.setRights(ctx, tx, o, (o.Rights() | asked.Rights()).Permissions(), q)
	})
	s.Outbox.Wake()
	return o, err
}

// Refuse says no to a request, and why if the owner likes; silently, who asks
// hears nothing, and asking again reaches nobody.
func (s *Service) Refuse(ctx context.Context, ownerID, id, message string, silently bool) error {
	if len(message) > maxMessage {
		return ocm.Invalid("message", "is longer than 4096 bytes")
	}
	q, err := s.question(ctx, ownerID, id)
	if err != nil {
		return err
	}
	if silently {
		return s.close(ctx, q, QuestionIgnored)
	}
	n := ocm.Notification{Type: ocm.ShareDeclined, ResourceType: q.ResourceType, ProviderID: q.ShareID, Message: message}
	if err := q.name(&n); err != nil {
		return err
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.answered(ctx, tx, q, QuestionRefused); err != nil {
			return err
		}
		// What they call it is not to hold back, nor be held back by, a share of that name.
		return s.tellBehind(ctx, tx, q.ID, ocm.Host(q.PeerHost), n)
	})
	s.Outbox.Wake()
	return err
}

// name completes an answer with who asked whom: others may ask for the same, or others
// be asked.
func (q *ReceivedRequest) name(n *ocm.Notification) (err error) {
	if n.ShareWith, err = ocm.ReadAddress(q.ShareWith); err == nil && q.Owner != "" {
		n.Owner, err = ocm.ReadAddress(q.Owner)
	}
	if n.Type == ocm.ShareChangePermission {
		n.ShareID = q.ShareID
	}
	return err
}

// question finds a request that waits for its owner's answer.
func (s *Service) question(ctx context.Context, ownerID, id string) (*ReceivedRequest, error) {
	q, err := get[ReceivedRequest](ctx, s.DB.Read, "id = ? AND owner_id = ?", id, ownerID)
	switch {
	case errors.Is(err, ErrNoShare):
		return nil, ErrNoRequest
	case err == nil && q.State != QuestionOpen && q.State != QuestionIgnored:
		return nil, ErrNoRequest.Saying("This request has its answer already: %s.", q.State)
	}
	return q, err
}

// close records an owner's answer that nobody needs to be told of.
func (s *Service) close(ctx context.Context, q *ReceivedRequest, state string) error {
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error { return s.answered(ctx, tx, q, state) })
}

// answerActs are what the audit calls the answers of owners.
var answerActs = map[string]audit.Action{
	QuestionGranted: "request.granted", QuestionRefused: "request.refused", QuestionIgnored: "request.ignored",
}

// answered records an owner's answer, in tx.
func (s *Service) answered(ctx context.Context, tx bun.Tx, q *ReceivedRequest, state string) error {
	_, err := tx.NewUpdate().Model((*ReceivedRequest)(nil)).Where("id = ?", q.ID).Set("state = ?", state).Set("updated_at = ?", s.Now().UnixMilli()).Exec(ctx)
	if err != nil {
		return err
	}
	if err := s.Notices.Settled(ctx, tx, q.OwnerID, q.ID); err != nil {
		return err
	}
	return s.noteRequest(ctx, tx, answerActs[state], q.ID, q.ShareID, q.Asker, audit.Details{"with": q.ShareWith, "share": q.NewID})
}

// sweepRequests gives up questions that nobody answers, and forgets old ones.
func (s *Service) sweepRequests(ctx context.Context, tx bun.Tx) error {
	now := s.Now()
	late, old := now.Add(-s.RequestLife).UnixMilli(), now.Add(-keepRequests-s.RequestLife).UnixMilli()
	_, err := tx.NewUpdate().Model((*SentRequest)(nil)).Where("state = ? AND updated_at < ?", RequestAsked, late).
		Set("state = ?", RequestIgnored).Set("updated_at = ?", now.UnixMilli()).Exec(ctx)
	if err == nil {
		_, err = tx.NewUpdate().Model((*ReceivedRequest)(nil)).Where("state = ? AND updated_at < ?", QuestionOpen, late).
			Set("state = ?", QuestionLapsed).Set("updated_at = ?", now.UnixMilli()).Exec(ctx)
	}
	if err == nil {
		_, err = tx.NewDelete().Model((*SentRequest)(nil)).Where("updated_at < ?", old).
			Where("state NOT IN (?)", bun.List([]string{RequestPending, RequestAsked})).Exec(ctx)
	}
	if err == nil {
		_, err = tx.NewDelete().Model((*ReceivedRequest)(nil)).Where("updated_at < ? AND state <> ?", old, QuestionOpen).Exec(ctx)
	}
	return err
}
