package contact

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/net/idna"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// The states of an acceptance.
const (
	AcceptancePending  = "pending"  // their server is yet to be told
	AcceptanceDone     = "accepted" // both sides know
	AcceptanceHalfway  = "halfway"  // they know us, but we did not learn who they are
	AcceptanceUnclear  = "unclear"  // it may be so, or someone else used the invite
	AcceptanceRejected = "failed"   // their server refused it, or was never reached
)

// Acceptance is an invite of someone elsewhere that one of our people accepts.
type Acceptance struct {
	bun.BaseModel `bun:"table:acceptances"`

	ID        string `bun:",pk"`
	UserID    string
	PeerHost  string
	TokenHash string
	Given     string // the userID we give out
	State     string
	Reason    string
	ContactID string
	CreatedAt int64
	UpdatedAt int64

	Attempted bool `bun:",scanonly"` // their server may have heard of it
}

// Knows says which side of an acceptance knows of the other: "both", "they",
// "nobody", or "unclear" when a call went out and no answer came.
func (a *Acceptance) Knows() string {
	switch {
	case a.State == AcceptanceDone:
		return "both"
	case a.State == AcceptanceHalfway:
		return "they"
	case a.State == AcceptanceUnclear, a.State == AcceptancePending && a.Attempted:
		return "unclear"
	}
	return "nobody"
}

// Errors people meet.
var (
	ErrNoAcceptance = ocm.NewError(http.StatusNotFound, "ACCEPTANCE_NOT_FOUND", "There is no such invite that you accepted.")
	ErrOwnInvite    = ocm.NewError(http.StatusBadRequest, "INVITE_FROM_SELF", "This is your own invite. Send it to the person you want to share with.")
	ErrLocalInvite  = ocm.NewError(http.StatusBadRequest, "INVITE_FROM_HERE", "This invite is from this server.")
	ErrNotServer    = ocm.NewError(http.StatusBadRequest, "NOT_A_SERVER", "That is not a server to share with.")
	ErrNotPublic    = ocm.NewError(http.StatusBadRequest, "NOT_A_PUBLIC_ADDRESS", "That is not a public address.")
	ErrPretends     = ocm.NewError(http.StatusBadRequest, "SERVER_PRETENDS", "That server is not one of its own.")
)

const kindInvite = "invite"

// lookBudget is how long a person waits for what another server says of itself.
const lookBudget = 3 * time.Second

// Server is what can be said of another server to someone who is about to
// choose it.
type Server struct {
	Host       ocm.Host
	Name       string // as it calls itself
	Federation string // whose directory lists it, "" for none
	Listed     string // its name there
	Dialog     string // where its people accept invites; "" when it has no such page
	Signs      bool   // its messages can be verified; of use only when Seen
	Seen       bool   // it answered
	Warning    string // what the person should look at twice
}

// Look finds out whether a person can go on with a server: that policy allows
// it, that it is there, and is what it says. text is a host, a URL or an
// address. The errors say what is wrong with it in a sentence; those that may
// pass have a status of 503.
func (s *Service) Look(ctx context.Context, text string) (*Server, error) {
	text = strings.TrimSpace(text)
	if i := strings.LastIndexByte(text, '@'); i >= 0 && !strings.Contains(text, "://") {
		text = text[i+1:]
	}
	host, err := ocm.ReadHost(text)
	if err != nil {
		if ascii, e := idna.Lookup.ToASCII(text); e == nil { // as people write münchen.example
			host, err = ocm.ReadHost(ascii)
		}
	}
	if err != nil {
		return nil, ErrNotServer.Saying("%.80q is not a server's name; write it like cloud.example.org", text).With(err)
	}
	if host == s.Self {
		return &Server{Host: host}, nil
	}
	server, _, err := s.look(ctx, host)
	return server, err
}

func (s *Service) look(ctx context.Context, host ocm.Host) (*Server, *ocm.Discovery, error) {
	if _, err := s.Policy.Permit(ctx, host); err != nil {
		return nil, nil, err
	}
	if ip, err := netip.ParseAddr(host.Name()); err == nil && !s.AllowPlain && !(ip.Unmap().IsGlobalUnicast() && !ip.Unmap().IsPrivate()) {
		return nil, nil, ErrNotPublic.Saying("%s is not a public address.", host)
	}
	ctx, cancel := context.WithTimeout(ctx, lookBudget)
	defer cancel()
	d, err := s.discover(ctx, host)
	if err != nil {
		return nil, nil, err
	}
	if err := s.genuine(ctx, host, d); err != nil {
		return nil, nil, err
	}
	out := &Server{Host: host, Seen: true, Name: ocm.DisplayName(d.Provider), Signs: d.HasCapability(ocm.CapHTTPSig), Dialog: s.dialog(host, d), Warning: lookalike(host)}
	if entry, ok, err := s.Directories.entry(ctx, host); err == nil && ok {
		out.Federation, out.Listed = entry.Federation, entry.DisplayName
	}
	return out, d, nil
}

// discover is Discover with errors for the person who typed the host.
func (s *Service) discover(ctx context.Context, host ocm.Host) (*ocm.Discovery, error) {
	d, err := s.Peers.Discover(ctx, host)
	if err == nil && !d.Enabled {
		return nil, ErrNotServer.Saying("%s has Open Cloud Mesh switched off.", host)
	}
	if err == nil || errors.Is(err, peer.ErrDenied) {
		return d, err
	}
	explained := delivery.Explain(host, err)
	sentence := delivery.Sentence(explained) + "."
	if !strings.HasPrefix(sentence, string(host)) {
		sentence = strings.ToUpper(sentence[:1]) + sentence[1:]
	}
	pe, ok := errors.AsType[*client.PeerError](err)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, ok && !pe.Temporary && pe.Status == 0:
		return nil, ErrNotServer.Saying("%s", sentence).With(err)
	case ok && !pe.Temporary:
		return nil, ErrNotServer.Saying("%s is not an Open Cloud Mesh server.", host).With(err)
	}
	return nil, ocm.NewError(http.StatusServiceUnavailable, ocm.CodeUnavailable, sentence).RetryIn(time.Minute).With(err)
}

// genuine refuses a host whose document leads to another server that speaks for
// itself: its people would be known by a name that someone else controls.
func (s *Service) genuine(ctx context.Context, host ocm.Host, d *ocm.Discovery) error {
	end, err := url.Parse(d.EndPoint)
	if err != nil {
		return ErrNotServer.Saying("%s says of itself what cannot be read.", host).With(err)
	}
	at, err := ocm.ReadHost(end.Host)
	if err != nil {
		return ErrNotServer.Saying("%s says of itself what cannot be read.", host).With(err)
	}
	if strings.TrimSuffix(string(at), ":80") == strings.TrimSuffix(string(host), ":80") {
		return nil
	}
	other, err := s.Peers.Discover(ctx, at)
	if pe, ok := errors.AsType[*client.PeerError](err); ok && !pe.Temporary && !errors.Is(err, peer.ErrDenied) {
		return nil // it serves the API alone, and speaks for nobody
	}
	if err != nil {
		return ocm.NewError(http.StatusServiceUnavailable, ocm.CodeUnavailable,
			string(at)+", which speaks for "+string(host)+", cannot be looked at just now.").RetryIn(time.Minute).With(err)
	}
	if end, err := url.Parse(other.EndPoint); err == nil {
		if own, err := ocm.ReadHost(end.Host); err == nil && own == at {
			return ErrPretends.Saying("%s is not a server of its own: it leads to %s. Use that name instead.", host, at)
		}
	}
	return nil
}

// dialog is the address of the page where a server's people accept invites.
func (s *Service) dialog(host ocm.Host, d *ocm.Discovery) string {
	if d.InviteAcceptDialog == "" {
		return ""
	}
	u, err := url.Parse(d.InviteAcceptDialog)
	if err != nil || u.User != nil {
		return ""
	}
	if !u.IsAbs() {
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			u, err = url.Parse("/" + strings.TrimLeft(d.InviteAcceptDialog, "/"))
			if err != nil {
				return ""
			}
		}
		u.Scheme, u.Host = "https", string(host)
		if end, err := url.Parse(d.EndPoint); err == nil && s.AllowPlain {
			u.Scheme = end.Scheme
		}
	}
	if u.Scheme != "https" && !(s.AllowPlain && u.Scheme == "http") {
		return ""
	}
	// Our page sends people to servers that were looked at, and nowhere else.
	at, err := ocm.ReadHost(u.Host)
	if err != nil || at != host && !strings.HasPrefix(d.EndPoint, u.Scheme+"://"+u.Host+"/") {
		return ""
	}
	u.Fragment = ""
	return u.String()
}

// DialogFor is where a visitor with one of our tokens is sent on to, "" when the
// server has no such page.
func (s *Service) DialogFor(server *Server, token ocm.Secret) string {
	if server.Dialog == "" {
		return ""
	}
	u, err := url.Parse(server.Dialog)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("token", token.Reveal())
	q.Set("providerDomain", string(s.Self))
	u.RawQuery = q.Encode()
	return u.String()
}

// Preview reads an invite and finds out where it comes from, before it is
// accepted. Nothing is stored, and the inviting server learns no more than that
// it was looked at.
func (s *Service) Preview(ctx context.Context, user account.User, text string) (*Server, error) {
	i, err := ocm.ReadInvite(text)
	if err != nil {
		return nil, err
	}
	if i.Provider == s.Self {
		return nil, s.fromHere(ctx, user, i)
	}
	server, _, err := s.look(ctx, i.Provider)
	return server, err
}

// fromHere explains an invite of this very server to one of its people.
func (s *Service) fromHere(ctx context.Context, user account.User, i *ocm.Invite) error {
	row := &Invite{}
	err := s.DB.Read.NewSelect().Model(row).Where("token_hash = ?", seal.HashHex(i.Token)).Scan(ctx)
	if store.NotFound(err) || err == nil && row.State(s.Now()) != InviteOpen && row.OwnerID != user.ID {
		return ocm.NewError(http.StatusBadRequest, ocm.CodeInviteInvalid, "This invite is from this server, but it is unknown here, has expired or was revoked.")
	}
	if err != nil {
		return err
	}
	if row.OwnerID == user.ID {
		return ErrOwnInvite
	}
	owner, err := s.Accounts.Get(ctx, row.OwnerID)
	if err != nil {
		return err
	}
	return ErrLocalInvite.Saying("This invite is from %s, who is on this server as you are. No invite is needed: share with %s.", owner.DisplayName, owner.Name)
}

// acceptMessage is the sealed message to the Invite Sender's server.
type acceptMessage struct {
	Token string `json:"token"`
}

// Accept accepts an invite: it is recorded and their server is told, at once if
// it answers. What comes back is how far that got; accepting again goes on from
// there. withPseudonym nil is as configured.
func (s *Service) Accept(ctx context.Context, user account.User, text string, withPseudonym *bool) (*Acceptance, error) {
	i, err := ocm.ReadInvite(text)
	if err != nil {
		return nil, err
	}
	if i.Provider == s.Self {
		return nil, s.fromHere(ctx, user, i)
	}
	hash := seal.HashHex(i.Token)
	again := func() (*Acceptance, error) {
		known, err := s.acceptance(ctx, "user_id = ? AND token_hash = ? AND peer_host = ?", user.ID, hash, string(i.Provider))
		if err != nil {
			return nil, err
		}
		if known.State == AcceptanceDone {
			return s.afresh(ctx, user, known, i)
		}
		return s.Retry(ctx, user.ID, known.ID)
	}
	if known, err := again(); !errors.Is(err, ErrNoAcceptance) {
		return known, err
	}
	// What can be known to be wrong is said now, and nothing is stored of it.
	_, _, silent := s.look(ctx, i.Provider)
	if e, ok := errors.AsType[*ocm.Error](silent); silent != nil && (!ok || e.Status != http.StatusServiceUnavailable) {
		return nil, silent
	}
	if err := room(ctx, s.DB.Read, user.ID, ""); err != nil {
		return nil, err
	}
	now := s.Now().UnixMilli()
	a := &Acceptance{
		ID: store.NewID(), UserID: user.ID, PeerHost: string(i.Provider), TokenHash: hash, Given: user.Name,
		State: AcceptancePending, CreatedAt: now, UpdatedAt: now,
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if withPseudonym == nil && s.Pseudonyms || withPseudonym != nil && *withPseudonym {
			if a.Given, err = s.newPseudonym(ctx, tx, user.ID, i.Provider); err != nil {
				return err
			}
		}
		if _, err := tx.NewInsert().Model(a).Exec(ctx); err != nil {
			return err
		}
		return s.tell(ctx, tx, a, i)
	})
	if store.IsConflict(err) { // pressed twice
		return again()
	}
	if err != nil {
		return nil, err
	}
	s.Outbox.Wake()
	if silent != nil { // waited for already
		a.Reason = strings.TrimSuffix(sentence(silent), ".") + "; it will be tried again"
		return a, nil
	}
	return s.await(ctx, user.ID, a.ID)
}

// tell queues the message to the inviting server.
func (s *Service) tell(ctx context.Context, tx bun.Tx, a *Acceptance, i *ocm.Invite) error {
	payload, err := json.Marshal(acceptMessage{i.Token.Reveal()})
	if err != nil {
		return err
	}
	err = s.Outbox.Enqueue(ctx, tx, delivery.Message{Peer: i.Provider, OrderKey: a.ID, Kind: kindInvite, Payload: payload})
	if err != nil {
		return err
	}
	return audit.Note(ctx, tx, s.Now(), audit.Event{Action: "invite.accepted", Kind: "acceptance", ID: a.ID, Target: a.PeerHost})
}

// afresh accepts an invite again whose contact was removed since: their server
// answers the same user as the first time.
func (s *Service) afresh(ctx context.Context, user account.User, a *Acceptance, i *ocm.Invite) (*Acceptance, error) {
	if _, err := s.Get(ctx, user.ID, a.ContactID); !errors.Is(err, ErrNoContact) {
		return a, err
	}
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if a.Given != user.Name {
			row := &pseudonym{Identifier: a.Given, UserID: user.ID, PeerHost: a.PeerHost, CreatedAt: s.Now().UnixMilli()}
			if _, err := tx.NewInsert().Model(row).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
				return err
			}
		}
		if err := s.turn(ctx, tx, a.ID, AcceptancePending, "", ""); err != nil {
			return err
		}
		return s.tell(ctx, tx, a, i)
	})
	if err != nil {
		return nil, err
	}
	s.Outbox.Wake()
	return s.await(ctx, user.ID, a.ID)
}

// answerBudget is how long a person waits for the other server's answer before
// the matter goes on without them.
const answerBudget = 3 * time.Second

// await waits a little for what becomes of an acceptance.
func (s *Service) await(ctx context.Context, userID, id string) (*Acceptance, error) {
	budget, cancel := context.WithTimeout(ctx, answerBudget)
	defer cancel()
	for {
		a, err := s.acceptance(ctx, "user_id = ? AND id = ?", userID, id)
		if err != nil || a.State != AcceptancePending || a.Reason != "" {
			return a, err
		}
		select {
		case <-budget.Done():
			return a, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Acceptances lists the invites a person accepted, the newest first.
func (s *Service) Acceptances(ctx context.Context, userID string) ([]Acceptance, error) {
	out := []Acceptance{}
	err := s.DB.Read.NewSelect().Model(&out).Where("user_id = ?", userID).Order("id DESC").Limit(2000).Scan(ctx)
	for i := range out {
		if err == nil && out[i].State == AcceptancePending {
			err = s.attempted(ctx, &out[i])
		}
	}
	return out, err
}

func (s *Service) acceptance(ctx context.Context, where string, args ...any) (*Acceptance, error) {
	a := &Acceptance{}
	err := s.DB.Read.NewSelect().Model(a).Where(where, args...).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoAcceptance
	}
	if err == nil && a.State == AcceptancePending {
		err = s.attempted(ctx, a)
	}
	return a, err
}

// attempted completes an acceptance that waits with what the last attempt met.
func (s *Service) attempted(ctx context.Context, a *Acceptance) error {
	var m delivery.Row
	err := s.DB.Read.NewSelect().Model(&m).Column("attempts", "last_error").Where("order_key = ? AND peer_host = ? AND state = ?", a.ID, a.PeerHost, delivery.Pending).Scan(ctx)
	if store.NotFound(err) {
		return nil // it was delivered or given up since the acceptance was read
	}
	a.Attempted = m.Attempts > 0
	if said, _, _ := strings.Cut(m.LastError, " ("); said != "" { // as a setback is written
		a.Reason = said + ", will be tried again"
	}
	return err
}

// Retry tells their server again, at once.
func (s *Service) Retry(ctx context.Context, userID, id string) (*Acceptance, error) {
	a, err := s.acceptance(ctx, "user_id = ? AND id = ?", userID, id)
	if err != nil || a.State == AcceptanceDone {
		return a, err
	}
	var m delivery.Row
	if err := s.DB.Read.NewSelect().Model(&m).Column("id").Where("order_key = ? AND peer_host = ?", id, a.PeerHost).Scan(ctx); err != nil {
		if store.NotFound(err) {
			return a, nil // delivered meanwhile
		}
		return nil, err
	}
	if err := s.Outbox.Resend(ctx, m.ID); err != nil && !errors.Is(err, delivery.ErrNoMessage) {
		return nil, err
	}
	return s.await(ctx, userID, id)
}

// ErrUnderWay says why an acceptance cannot be forgotten.
var ErrUnderWay = ocm.NewError(http.StatusConflict, "ACCEPTANCE_UNDER_WAY", "Their server is being told at this moment. Try again shortly.")

// Forget takes an acceptance off the list, and out of the outbox if it waits
// there; a pseudonym made for it goes too. The contact of one that is done stays.
func (s *Service) Forget(ctx context.Context, userID, id string) error {
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		a := &Acceptance{}
		err := tx.NewSelect().Model(a).Where("user_id = ? AND id = ?", userID, id).Scan(ctx)
		if store.NotFound(err) {
			return ErrNoAcceptance
		}
		if err != nil {
			return err
		}
		if s.Outbox.UnderWay(ocm.Host(a.PeerHost), id) {
			return ErrUnderWay
		}
		if _, err := s.Outbox.Withdraw(ctx, tx, ocm.Host(a.PeerHost), id); err != nil {
			return err
		}
		if a.State != AcceptanceDone {
			if _, err := tx.NewDelete().Model((*pseudonym)(nil)).Where("identifier = ? AND user_id = ?", a.Given, userID).Exec(ctx); err != nil {
				return err
			}
		}
		if _, err = tx.NewDelete().Model(a).WherePK().Exec(ctx); err != nil {
			return err
		}
		return audit.Note(ctx, tx, s.Now(), audit.Event{Action: "invite.forgotten", Kind: "acceptance", ID: a.ID, Target: a.PeerHost})
	})
}

// inviteCourier tells Invite Senders' servers of acceptances.
type inviteCourier struct{ *Service }

func (c inviteCourier) Deliver(ctx context.Context, m delivery.Message) (any, error) {
	a, err := c.Service.acceptance(ctx, "id = ?", m.OrderKey)
	if err != nil {
		return nil, &delivery.Failure{Permanent: errors.Is(err, ErrNoAcceptance), Err: err}
	}
	user, err := c.Accounts.Get(ctx, a.UserID)
	if err != nil {
		return nil, &delivery.Failure{Permanent: errors.Is(err, account.ErrNoUser), Err: err}
	}
	var msg acceptMessage
	if err := json.Unmarshal(m.Payload, &msg); err != nil {
		return nil, delivery.Permanently(err)
	}
	to, err := c.Peers.Peer(ctx, m.Peer)
	if err != nil {
		return nil, delivery.Unknown(m.Peer, err)
	}
	if err := c.genuine(ctx, m.Peer, to.Discovery); err != nil {
		return nil, &delivery.Failure{Permanent: errors.Is(err, ErrPretends), Err: err}
	}
	answer, err := c.Client.AcceptInvite(ctx, to, ocm.InviteAcceptance{
		RecipientProvider: c.Self, Token: ocm.Secret(msg.Token), InviteParty: *party(user, a.Given), BothNames: to.Profile.UserIdToo,
	})
	if err != nil {
		return nil, delivery.Refused(m.Peer, err)
	}
	return answer, nil
}

func (c inviteCourier) Delivered(ctx context.Context, tx bun.Tx, m delivery.Message, receipt any) error {
	answer := receipt.(*ocm.InviteParty)
	a := &Acceptance{}
	if err := tx.NewSelect().Model(a).Where("id = ?", m.OrderKey).Scan(ctx); err != nil {
		return err
	}
	user, err := c.Accounts.Get(ctx, a.UserID)
	if err != nil {
		return err
	}
	who := ocm.Address{Identifier: answer.UserID, Host: m.Peer}
	id, err := c.meetByInvite(ctx, tx, user, who, *answer, a.Given)
	about := notice.Params{Acceptance: a.ID, Contact: id, Who: who.String(), WhoName: answer.Name, Host: string(m.Peer)}
	if errors.Is(err, ErrBookFull) {
		about.Reason = "book-full"
		if err := c.Notices.Put(ctx, tx, notice.Event{Kind: notice.AcceptanceFailed, About: about}, a.UserID); err != nil {
			return err
		}
		return c.turn(ctx, tx, m.OrderKey, AcceptanceHalfway, "Your address book is full: they know you; make room, and enter "+who.String()+" by hand", "")
	}
	if err != nil {
		return err
	}
	if err := c.Notices.Settled(ctx, tx, a.UserID, a.ID); err != nil {
		return err
	}
	if c.Now().Sub(store.Time(a.UpdatedAt)) > answerBudget { // nobody waits for it any more
		if err := c.Notices.Put(ctx, tx, notice.Event{Kind: notice.AcceptanceDone, About: about}, a.UserID); err != nil {
			return err
		}
	}
	return c.turn(ctx, tx, m.OrderKey, AcceptanceDone, "", id)
}

func (c inviteCourier) Failed(ctx context.Context, tx bun.Tx, m delivery.Message, cause error) error {
	state, reason := AcceptanceRejected, delivery.Sentence(cause)
	word, code := delivery.Reason(cause)
	tell := func() error {
		a := &Acceptance{}
		if err := tx.NewSelect().Model(a).Where("id = ?", m.OrderKey).Scan(ctx); store.NotFound(err) {
			return nil // gone with its user
		} else if err != nil {
			return err
		}
		about := notice.Params{Acceptance: a.ID, Host: string(m.Peer), Reason: word, Code: code}
		if err := c.Notices.Put(ctx, tx, notice.Event{Kind: notice.AcceptanceFailed, About: about}, a.UserID); err != nil {
			return err
		}
		return c.turn(ctx, tx, m.OrderKey, state, reason, "")
	}
	pe, ok := errors.AsType[*client.PeerError](cause)
	if !ok || pe.Op != client.OpAcceptInvite { // it never got so far
		return tell()
	}
	switch pe.Status {
	case http.StatusBadRequest, http.StatusNotFound:
		word, reason = "invite-unknown", "The invite is not known to "+string(m.Peer)+", has expired, was revoked, or was used by someone else; ask for a new one"
	case http.StatusForbidden:
		word, reason = "denied-there", string(m.Peer)+" does not take invites back from this server"
	case http.StatusConflict:
		state, word = AcceptanceUnclear, "invite-used"
		reason = string(m.Peer) + " says that the invite was accepted already: if that was you, they know you, and you can enter their address by hand; if not, someone else used it: ask for a new one"
	case http.StatusOK:
		state, word = AcceptanceHalfway, "unreadable"
		reason = string(m.Peer) + " accepted, but its answer cannot be read: they know you, and you can enter their address by hand"
	default:
		if pe.Temporary { // given up; one of the calls may have arrived
			state, word = AcceptanceUnclear, "unclear"
		}
	}
	return tell()
}

func (c inviteCourier) Revived(ctx context.Context, tx bun.Tx, m delivery.Message) error {
	a := &Acceptance{}
	if err := tx.NewSelect().Model(a).Where("id = ?", m.OrderKey).Scan(ctx); store.NotFound(err) {
		return nil // gone with its user
	} else if err != nil {
		return err
	}
	if err := c.Notices.Settled(ctx, tx, a.UserID, a.ID); err != nil {
		return err
	}
	return c.turn(ctx, tx, m.OrderKey, AcceptancePending, "", "")
}

func (s *Service) turn(ctx context.Context, tx bun.Tx, id, state, reason, contact string) error {
	_, err := tx.NewUpdate().Model((*Acceptance)(nil)).Where("id = ?", id).
		Set("state = ?", state).Set("reason = ?", reason).Set("contact_id = ?", contact).Set("updated_at = ?", s.Now().UnixMilli()).Exec(ctx)
	return err
}
