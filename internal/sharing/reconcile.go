package sharing

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// Comparison is how the shares between this server and another look from here
// and from there.
type Comparison struct {
	Host     ocm.Host
	Stopped  string           // why the rest was not asked about; "" when all was
	Counts   map[string]int64 // of shares and messages, by the codes below
	Findings []Finding        // what differs or is unclear
}

// Finding is a share, or a message, on which the two servers differ, or may.
type Finding struct {
	Direction   string // Sent or Got; "" for a message about no share we have
	Share       string // our id
	ProviderID  string
	Name        string
	Person      string // the OCM Address at the other server
	State       string // what we believe
	Permissions []string
	Code        string // what the peer answers: Unknown …
	Answer      string // the same in words
	Proposal    string // Resend, Quarantine, Restore, or "" for none
	Why         string
	Message     string // in the outbox, to resend
	Done        bool   // Repair carried it out
}

// The directions of a share.
const (
	Sent = "sent"
	Got  = "received"
)

// What a comparison finds.
const (
	Agreed  = "agreed"
	Unknown = "unknown"  // the peer does not know it
	Apart   = "apart"    // the same, and it is in quarantine already
	Back    = "back"     // in quarantine, but the peer knows it
	Rights  = "rights"   // the peer gives other rights
	Unclear = "unclear"  // no answer, or none that says something of the share
	Unasked = "unasked"  // the peer does not read the question
	LeftOut = "left-out" // not asked, because the peer does not answer
	Unsent  = "unsent"   // waits for a delivery that nothing would make
	GivenUp = "given-up" // a message that did not arrive
	Waiting = "waiting"  // messages still to be delivered
)

// What a comparison proposes.
const (
	Resend     = "resend"
	Quarantine = "quarantine"
	Restore    = "restore"
)

// The bounds of a comparison. The pace is below what servers allow one peer.
const (
	comparisonBudget = 10 * time.Minute
	questionBudget   = 10 * time.Second
	questionsAtOnce  = 4
	questionsASecond = 20
	silentAfter      = 3 // questions in a row without an answer
	comparedAtOnce   = 200
	maxUnproposed    = 200 // findings without a proposal; all are counted
)

// ErrCompareSelf says that there is no other side.
var ErrCompareSelf = ocm.NewError(http.StatusBadRequest, "PEER_IS_SELF", "That is this server itself. Name the other one.")

// Compare asks a peer about every share between it and us, and proposes what
// would make both sides agree. It changes nothing.
func (s *Service) Compare(ctx context.Context, host ocm.Host) (*Comparison, error) {
	if host == s.Self {
		return nil, ErrCompareSelf
	}
	if _, err := s.Policy.Permit(ctx, host); err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, comparisonBudget)
	defer cancel()
	c := &comparing{
		Service: s, asking: asking, pace: rate.NewLimiter(questionsASecond, 1),
		Comparison: Comparison{Host: host, Counts: map[string]int64{}},
	}
	// Anew: what a peer refuses says something of a share only while the peer is
	// there.
	err := s.Peers.Refresh(asking, host)
	if err == nil {
		c.to, err = s.Peers.Peer(asking, host)
	}
	if err != nil {
		c.Stopped = words(host, err)
	}
	now, at := s.Now().UnixMilli(), string(host)
	dead := func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.ExcludeColumn("payload").Where("peer_host = ? AND state = ?", at, delivery.Dead)
	}
	sent := func(q *bun.SelectQuery) *bun.SelectQuery { return settled(q, now).Where("peer_host = ?", at) }
	received := func(q *bun.SelectQuery) *bun.SelectQuery {
		q = q.ModelTableExpr("incoming_shares AS s").ColumnExpr("s.*").ColumnExpr("MIN(m.state) AS member_state") // accepted before pending
		return q.Join("JOIN incoming_members AS m ON m.share_id = s.id AND m.state IN (?)", bun.List([]string{MemberPending, MemberAccepted})).
			Where("s.peer_host = ? AND s.ended_at = 0 AND (s.expires_at = 0 OR s.expires_at > ?)", at, now).Group("s.id")
	}
	// All of them, also when the time to ask is over: what is left out is counted.
	err = errors.Join(
		each(ctx, s, dead, func(m *delivery.Row) string { return m.ID }, c.givenUp),
		each(ctx, s, sent, func(o *Outgoing) string { return o.ID }, c.sent),
		each(ctx, s, received, func(r *Received) string { return r.ID }, c.received),
	)
	if err != nil {
		return nil, err
	}
	c.Counts[Waiting], err = s.DB.Read.NewSelect().Model((*delivery.Row)(nil)).Where("peer_host = ? AND state = ?", at, delivery.Pending).Count(ctx)
	return &c.Comparison, err
}

// settled selects the live shares we send of which no message is to be
// delivered: what the peer says of the others may change.
func settled(q *bun.SelectQuery, now int64) *bun.SelectQuery {
	return q.Where("state IN (?) AND (expires_at = 0 OR expires_at > ?)", bun.List([]string{StatePending, StateDelivered, StateAccepted}), now).
		Where("NOT EXISTS (SELECT 1 FROM outbox AS m WHERE m.order_key = ?TableAlias.id)")
}

// each goes through rows in the order of their ids, a page at a time and a few
// at once.
func each[T any](ctx context.Context, s *Service, which func(*bun.SelectQuery) *bun.SelectQuery, id func(*T) string, do func(context.Context, *T) error) error {
	for after := ""; ; {
		var rows []T
		if err := which(s.DB.Read.NewSelect().Model(&rows)).Where("id > ?", after).Order("id").Limit(comparedAtOnce).Scan(ctx); err != nil {
			return err
		}
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(questionsAtOnce)
		for i := range rows {
			g.Go(func() error { return do(ctx, &rows[i]) })
		}
		if err := g.Wait(); err != nil || len(rows) < comparedAtOnce {
			return err
		}
		after = id(&rows[len(rows)-1])
	}
}

// comparing is a Comparison in the making.
type comparing struct {
	*Service
	asking context.Context // ends with the time to ask
	to     client.Peer
	pace   *rate.Limiter

	mu sync.Mutex
	Comparison
	silent     int // questions in a row without an answer
	unproposed int
}

// add takes a finding into the comparison.
func (c *comparing) add(f Finding, code, answer, proposal, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Counts[code]++
	switch {
	case code == Agreed, code == Apart, code == Unasked, code == LeftOut:
		return
	case proposal == "":
		if c.unproposed++; c.unproposed > maxUnproposed {
			return
		}
	}
	f.Code, f.Answer, f.Proposal, f.Why = code, answer, proposal, why
	c.Findings = append(c.Findings, f)
}

// mayAsk waits for the next question's turn; false when none is to be asked any
// more.
func (c *comparing) mayAsk() bool {
	if !c.answers() {
		return false
	}
	err := c.pace.Wait(c.asking)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.Stopped == "" {
		c.Stopped = fmt.Sprintf("that took longer than %s", comparisonBudget)
	}
	return c.Stopped == ""
}

func (c *comparing) answers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Stopped == ""
}

// heard notes whether a question was answered: a peer that went away is noticed
// once, not with every share.
func (c *comparing) heard(answered bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent++; answered {
		c.silent = 0
	}
	if c.silent >= silentAfter && c.Stopped == "" {
		c.Stopped = words(c.Host, err)
	}
}

// words say what a peer answered, or that it did not.
func words(host ocm.Host, err error) string {
	if status := tree.Answered(err); status != 0 {
		return fmt.Sprintf("%s answers %d %s", host, status, http.StatusText(status))
	}
	return delivery.Sentence(delivery.Explain(host, err))
}

func unknown(pe *client.PeerError, status int) string {
	if pe != nil && pe.Code != "" {
		return fmt.Sprintf("it knows no such share (%s)", pe.Code)
	}
	return fmt.Sprintf("it knows no such share (%d)", status)
}

func sentFinding(o *Outgoing) Finding {
	return Finding{
		Direction: Sent, Share: o.ID, ProviderID: o.ID, Name: o.Name, Person: o.ShareWith,
		State: o.State, Permissions: o.Rights().Permissions(),
	}
}

func gotFinding(in *Incoming, state string) Finding {
	if in.Orphaned() {
		state += ", in quarantine"
	}
	return Finding{
		Direction: Got, Share: in.ID, ProviderID: in.ProviderID, Name: in.Name, Person: in.Sender,
		State: strings.TrimPrefix(state, ", "), Permissions: in.Rights().Permissions(),
	}
}

// received asks the Sending Server of a share for what it shares, as someone
// does who opens it.
func (c *comparing) received(_ context.Context, in *Received) error {
	f := gotFinding(&in.Incoming, in.MemberState)
	if !c.mayAsk() {
		c.add(f, LeftOut, "", "", "")
		return nil
	}
	given, exchanged, err := c.open(c.asking, in.Incoming)
	pe, refused := errors.AsType[*client.PeerError](err)
	status := tree.Answered(err)
	c.heard(err == nil || status != 0 || refused && pe.Status != 0, err)
	gone := refused && pe.Code == codeInvalidGrant || status == http.StatusNotFound || status == http.StatusGone ||
		status == http.StatusUnauthorized && !exchanged // one that gives a token knows the share
	const both = tree.Read | tree.Write // the peer's "share" may mean something else
	switch {
	case gone && in.Orphaned():
		c.add(f, Apart, "", "", "")
	case gone:
		c.add(f, Unknown, unknown(pe, status), Quarantine, "Its server no longer knows it. It stands apart until it does, and can be removed.")
	case err != nil:
		c.add(f, Unclear, words(c.Host, err), "", "That says nothing of the share. Compare again later.")
	case in.Orphaned():
		c.add(f, Back, "it answers", Restore, "It was put in quarantine when its server did not know it; now it does.")
	case given&unsaid == 0 && given&both != in.Rights()&both:
		c.add(f, Rights, "it gives "+strings.Join(given.Permissions(), ","), "",
			"What its server gives holds. We learn of it when its operator compares.")
	default:
		c.add(f, Agreed, "", "", "")
	}
	return nil
}

const (
	codeInvalidGrant = ocm.Code("invalid_grant") // RFC 6749 §5.2
	unsaid           = tree.Rights(1 << 7)       // stays where a peer names no rights
)

// open asks for the root of a received share with a fresh credential, and tells
// the rights that the peer names and whether it gave a token.
func (s *Service) open(ctx context.Context, in Incoming) (given tree.Rights, exchanged bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, questionBudget)
	defer cancel()
	secret, err := s.secret(&in)
	if err != nil {
		return 0, false, err
	}
	token, _, err := s.credential(ctx, in)
	if err != nil {
		return 0, false, err
	}
	conf := s.remote(in, &tree.TokenSource{Fetch: func(context.Context) (ocm.Secret, time.Time, error) { return token, time.Time{}, nil }})
	conf.Rights, conf.Budget, conf.OnState = tree.All|unsaid, questionBudget, nil
	info, err := tree.NewRemote(conf).Stat(ctx, "")
	return info.Rights, token != secret, err
}

// sent asks the Receiving Server of a share by telling it the rights that hold,
// which changes nothing there: OCM has no question for it.
func (c *comparing) sent(ctx context.Context, o *Outgoing) error {
	f := sentFinding(o)
	switch {
	case c.answers() && o.State == StatePending:
		c.add(f, Unsent, "it was not told", Resend, "Nothing waits in the outbox that would deliver it.")
		return nil
	case c.answers() && !c.to.Profile.Reads(c.to.Discovery, ocm.ShareChangePermission):
		c.add(f, Unasked, "", "", "")
		return nil
	case !c.mayAsk():
		c.add(f, LeftOut, "", "", "")
		return nil
	}
	// As it is now: the page may be a while old, and the question must not
	// overtake what was decided since.
	now := new(Outgoing)
	err := settled(c.DB.Read.NewSelect().Model(now), c.Now().UnixMilli()).Where("id = ?", o.ID).Scan(ctx)
	if store.NotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	err = c.remind(c.asking, now)
	pe, refused := errors.AsType[*client.PeerError](err)
	c.heard(err == nil || refused && pe.Status != 0, err)
	switch {
	case err == nil:
		c.add(f, Agreed, "", "", "")
	case refused && unknownThere(c.to, pe) && (pe.Code != "" || pe.Err != nil): // a bare 404 may be a missing endpoint
		why := "Its server has lost it. It is sent again under the same providerId with a new secret, to be accepted anew."
		c.add(f, Unknown, unknown(pe, pe.Status), Resend, why)
	case refused && pe.Status == http.StatusNotImplemented:
		c.add(f, Unasked, "", "", "")
	default:
		c.add(f, Unclear, words(c.Host, err), "", "That says nothing of the share. Compare again later.")
	}
	return nil
}

// remind tells a peer the rights of a share once more, at once.
func (c *comparing) remind(ctx context.Context, o *Outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, questionBudget)
	defer cancel()
	n := ocm.Notification{
		Type: ocm.ShareChangePermission, SenderDomain: c.Self, ResourceType: o.ResourceType, ProviderID: o.ID, Permissions: splitPerms(o.Permissions),
	}
	if err := c.attach(ctx, c.DB.Read, c.Host, &n); err != nil {
		return err
	}
	c.to.Profile.AdaptNotification(&n)
	_, err := c.Client.Notify(ctx, c.to, n)
	return err
}

// givenUp is about a message that did not arrive.
func (c *comparing) givenUp(ctx context.Context, m *delivery.Row) error {
	f := Finding{Name: m.Kind}
	o, notSent := get[Outgoing](ctx, c.DB.Read, "id = ? AND peer_host = ?", m.OrderKey, m.PeerHost)
	in, notGot := get[Incoming](ctx, c.DB.Read, "provider_id = ? AND peer_host = ?", m.OrderKey, m.PeerHost)
	if err := errors.Join(unless(notSent, ErrNoShare), unless(notGot, ErrNoShare)); err != nil {
		return err
	}
	proposal, why := Resend, "Its server was not told. The message gets a new span of attempts."
	switch {
	case notSent == nil:
		f = sentFinding(o)
	case notGot == nil:
		f = gotFinding(in, "")
		if in.Orphaned() {
			proposal, why = "", "Its server no longer knows the share."
		}
	}
	if !c.answers() {
		proposal, why = "", "It can be sent again when its server answers."
	}
	f.Message = m.ID
	said, _, _ := strings.Cut(m.LastError, " (") // as delivery writes it
	c.add(f, GivenUp, said, proposal, why)
	return nil
}

// Repair carries out the proposals of a comparison, marks those as done that
// still made sense, and counts them. It deletes nothing: what is resent changes
// nothing at a peer that has it, and what is put in quarantine can be restored.
func (s *Service) Repair(ctx context.Context, host ocm.Host, findings []Finding) (done int, err error) {
	defer s.Outbox.Wake()
	for i := range findings {
		f := &findings[i]
		switch {
		case f.Proposal == "" || f.Done:
			continue
		case f.Message != "":
			err = s.Outbox.Resend(ctx, f.Message)
			f.Done, err = err == nil, unless(err, delivery.ErrNoMessage)
		default:
			err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
				switch f.Proposal {
				case Resend:
					f.Done, err = s.sendAgain(ctx, tx, host, f.Share)
				case Quarantine, Restore:
					f.Done, err = s.setApart(ctx, tx, host, f.Share, f.Proposal == Quarantine)
				}
				if err != nil || !f.Done {
					return err
				}
				return audit.Note(ctx, tx, s.Now(), audit.Event{
					Action: "share.repaired", Kind: map[string]string{Sent: "share", Got: "received"}[f.Direction], ID: f.Share, Name: f.Name, Target: f.Person,
					Details: audit.Details{"did": f.Proposal, "because": f.Answer},
				})
			})
		}
		if err != nil {
			f.Done = false
			return done, err
		}
		if f.Done {
			done++
			s.Log.Info("reconciled", "peer", host, "share", f.Share, "did", f.Proposal, "because", f.Answer)
		}
	}
	return done, nil
}

// sendAgain queues the Share Creation Notification of a share once more, if it
// is live and nothing else is to be delivered of it. Of most secrets we know the
// hash alone, so that the peer gets a new one.
func (s *Service) sendAgain(ctx context.Context, tx bun.Tx, host ocm.Host, id string) (bool, error) {
	o := new(Outgoing)
	err := settled(tx.NewSelect().Model(o), s.Now().UnixMilli()).Where("id = ? AND peer_host = ?", id, string(host)).Scan(ctx)
	if store.NotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	secret := seal.Token(32)
	if len(o.Secret) > 0 {
		kept, err := s.Box.Open(o.Secret, outgoingContext(o.ID))
		if err != nil {
			return false, err
		}
		secret = ocm.Secret(kept)
	}
	o.SecretHash = seal.HashHex(secret)
	if _, err := tx.NewUpdate().Model(o).Column("secret_hash").WherePK().Exec(ctx); err != nil {
		return false, err
	}
	if err := s.setState(ctx, tx, o, StatePending, ""); err != nil {
		return false, err
	}
	payload, err := json.Marshal(shareMessage{secret.Reveal()})
	if err != nil {
		return false, err
	}
	return true, s.Outbox.Enqueue(ctx, tx, delivery.Message{Peer: host, OrderKey: o.ID, Kind: kindShare, Payload: payload})
}

// orphaned begins the quarantine of a share whose server no longer knows it; what
// it was in quarantine for before stands behind.
const orphaned = "its server no longer knows it"

// Orphaned reports whether the share waits in quarantine because its server does
// not know it. It keeps its place, and cannot be opened.
func (in *Incoming) Orphaned() bool { return strings.HasPrefix(in.Quarantine, orphaned) }

// setApart puts a received share in quarantine because its server does not know
// it, or takes it out of that quarantine, and no other.
func (s *Service) setApart(ctx context.Context, tx bun.Tx, host ocm.Host, id string, apart bool) (bool, error) {
	in, err := get[Incoming](ctx, tx, "id = ? AND peer_host = ?", id, string(host))
	if err != nil || in.EndedAt != 0 || in.Orphaned() == apart {
		return false, unless(err, ErrNoShare)
	}
	if apart {
		in.Quarantine = strings.TrimSuffix(orphaned+"; "+in.Quarantine, "; ")
		in.UnavailableSince, in.UnavailableWhy = cmp.Or(in.UnavailableSince, s.Now().UnixMilli()), errOrphaned.Message
	} else {
		in.Quarantine = strings.TrimPrefix(strings.TrimPrefix(in.Quarantine, orphaned), "; ")
		in.UnavailableSince, in.UnavailableWhy = 0, ""
	}
	_, err = tx.NewUpdate().Model(in).Column("quarantine", "unavailable_since", "unavailable_why").WherePK().Exec(ctx)
	s.forget(in.ID)
	return true, err
}

// errOrphaned is why a share in quarantine cannot be opened. It is no "not
// found": programs that keep a copy in step would delete theirs.
var errOrphaned = tree.ErrUnavailable.Saying("The server of this share no longer knows it. Ask its sender to share it again; you can remove it at any time.")
