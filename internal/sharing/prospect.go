package sharing

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// Prospect is what can be said of a share before it is made.
type Prospect struct {
	With    ocm.Address
	Name    string          // of the recipient, as far as it is known here
	Server  *contact.Server // nil on this server, and while it does not answer
	MFA     bool            // their server can make sure of a second factor
	Fits    bool            // nothing that is known keeps the share from its recipient
	Remarks []Remark
}

// Remark is one thing to know about a share before it is made.
type Remark struct {
	Kind string // RemarkGood, RemarkNote, RemarkWarn or RemarkBad
	Code string // one of the remarks below, or of the error
	Args []string
	Err  error // why the share would not be taken, in words
}

// The kinds of remarks. A bad one says why the share would not arrive.
const (
	RemarkGood = "good"
	RemarkNote = ""
	RemarkWarn = "warn"
	RemarkBad  = "bad"
)

// The remarks; their arguments are in brackets.
const (
	RemarkHere      = "here"      // a person of this server [name]
	RemarkGroup     = "group"     // a group of this server [name]
	RemarkNobody    = "nobody"    // no person of that name here [name]
	RemarkNoGroup   = "nogroup"   // no group of that name here [name]
	RemarkServer    = "server"    // there, and takes such shares [name, host]
	RemarkListed    = "listed"    // by a directory [federation]
	RemarkSigns     = "signs"     // its answers can be verified
	RemarkUnsigned  = "unsigned"  // they cannot
	RemarkKnown     = "known"     // in the address book
	RemarkInvited   = "invited"   // known by an invite
	RemarkStranger  = "stranger"  // in no address book
	RemarkGone      = "gone"      // their server said that they are no longer there
	RemarkBlocked   = "blocked"   // the own address book blocks them
	RemarkInvite    = "invite"    // it takes shares only after an invite, and there was none [host]
	RemarkAllowlist = "allowlist" // it deals with servers it was told of [host]
	RemarkNoServer  = "noserver"  // none that this server can use [host]
	RemarkSilent    = "silent"    // it does not answer just now [host]
	RemarkAlike     = "alike"     // its name could be taken for another [the warning]
	RemarkExists    = "exists"    // the share is there already
)

// Look finds out what would become of a share: whether the recipient's server is
// there, takes it, and what else its owner should know first. What is wrong with
// the share itself is an error, as from Create.
func (s *Service) Look(ctx context.Context, owner account.User, n NewOutgoing) (*Prospect, error) {
	o, err := s.draft(ctx, owner, n)
	if err != nil {
		return nil, err
	}
	with, err := ocm.ReadAddress(o.ShareWith)
	if err != nil {
		return nil, err
	}
	p := &Prospect{With: with}
	if err := s.lookFor(ctx, owner, o, p); err != nil {
		return nil, err
	}
	same, err := s.shared(ctx, s.DB.Read, o)
	if err != nil {
		return nil, err
	}
	if same {
		p.say(RemarkBad, RemarkExists)
	}
	p.Fits = !slices.ContainsFunc(p.Remarks, func(r Remark) bool { return r.Kind == RemarkBad })
	return p, nil
}

func (p *Prospect) say(kind, code string, args ...string) {
	p.Remarks = append(p.Remarks, Remark{Kind: kind, Code: code, Args: args})
}

// shared reports whether an item is shared with an address already.
func (s *Service) shared(ctx context.Context, db bun.IDB, o *Outgoing) (bool, error) {
	return db.NewSelect().Model((*Outgoing)(nil)).
		Where("owner_id = ? AND path = ? AND share_with = ? AND share_type = ?", o.OwnerID, o.Path, o.ShareWith, o.ShareType).
		Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted})).
		Where("(expires_at = 0 OR expires_at > ?)", s.Now().UnixMilli()).Exists(ctx)
}

func (s *Service) lookFor(ctx context.Context, owner account.User, o *Outgoing, p *Prospect) error {
	if p.With.Host == s.Self {
		return s.lookHere(ctx, o, p)
	}
	known := &contact.Contact{}
	if o.ShareType == ocm.ShareTypeUser {
		regards, err := s.Contacts.Regards(ctx, owner.ID, map[string]string{p.With.String(): ""})
		if err != nil {
			return err
		}
		if c := regards[p.With.String()].Contact; c != nil {
			known, p.Name = c, c.Name
		}
	}
	server, to, err := s.lookThere(ctx, p.With.Host)
	if e, ok := errors.AsType[*ocm.Error](err); ok && errors.Is(err, errSilent) {
		p.say(RemarkWarn, RemarkSilent, string(p.With.Host))
	} else if ok && errors.Is(err, errNoServer) {
		p.say(RemarkBad, RemarkNoServer, string(p.With.Host))
		return nil
	} else if ok && e.Status < 500 {
		p.Remarks = append(p.Remarks, Remark{Kind: RemarkBad, Code: string(e.Code), Err: e})
		return nil
	} else if err != nil {
		return err
	} else {
		p.Server, p.MFA = server, to.HasCapability(ocm.CapEnforceMFA) && !to.Profile.NoMFA
		s.judge(o, p, to, known.Invited)
	}
	switch {
	case o.ShareType != ocm.ShareTypeUser:
	case known.Blocked:
		p.say(RemarkWarn, RemarkBlocked)
	case known.GoneAt != 0:
		p.say(RemarkWarn, RemarkGone)
	case known.Invited:
		p.say(RemarkGood, RemarkInvited)
	case known.ID != "":
		p.say(RemarkGood, RemarkKnown)
	default:
		p.say(RemarkNote, RemarkStranger)
	}
	return nil
}

// lookHere looks for a recipient on this server.
func (s *Service) lookHere(ctx context.Context, o *Outgoing, p *Prospect) error {
	name := p.With.Identifier
	if o.ShareType == ocm.ShareTypeGroup {
		g, err := s.Accounts.GroupByName(ctx, name)
		if errors.Is(err, account.ErrNoGroup) {
			p.say(RemarkBad, RemarkNoGroup, name)
			return nil
		}
		p.Name = g.DisplayName
		p.say(RemarkGood, RemarkGroup, g.DisplayName)
		return err
	}
	u, err := s.Accounts.ByName(ctx, name)
	if errors.Is(err, account.ErrNoUser) {
		p.say(RemarkBad, RemarkNobody, name)
		return nil
	}
	p.Name = u.DisplayName
	p.say(RemarkGood, RemarkHere, u.DisplayName)
	return err
}

// How looking for a server can end without one.
var (
	errSilent   = ocm.NewError(http.StatusServiceUnavailable, "PEER_SILENT", "The server does not answer just now.")
	errNoServer = ocm.NewError(http.StatusBadRequest, "PEER_NOT_THERE", "There is no such server.")
)

// lookThere looks at another server. What a name is inside our network is not
// told: one that cannot be used looks like one that is not there.
func (s *Service) lookThere(ctx context.Context, host ocm.Host) (*contact.Server, client.Peer, error) {
	server, err := s.Contacts.Look(ctx, string(host))
	if err == nil {
		to, err := s.Peers.Peer(ctx, host)
		return server, to, err
	}
	e, ok := errors.AsType[*ocm.Error](err)
	pe, tried := errors.AsType[*client.PeerError](err)
	switch {
	case !ok || errors.Is(err, peer.ErrDenied):
		return nil, client.Peer{}, err
	case e.Status == http.StatusServiceUnavailable:
		return nil, client.Peer{}, errSilent.With(err)
	case errors.Is(err, contact.ErrNotPublic), tried && pe.Status == 0:
		return nil, client.Peer{}, errNoServer.With(err)
	}
	return nil, client.Peer{}, e
}

// judge says what a server that answers makes of a share.
func (s *Service) judge(o *Outgoing, p *Prospect, to client.Peer, invited bool) {
	name := p.Server.Listed
	if name == "" {
		name = p.Server.Name
	}
	host := string(p.With.Host)
	if name == "" {
		name = host
	}
	if err := s.suits(o, to); err != nil {
		e, _ := errors.AsType[*ocm.Error](err)
		p.Remarks = append(p.Remarks, Remark{Kind: RemarkBad, Code: string(e.Code), Err: e})
	} else {
		p.say(RemarkGood, RemarkServer, name, host)
	}
	if p.Server.Warning != "" {
		p.say(RemarkWarn, RemarkAlike, p.Server.Warning)
	}
	if p.Server.Federation != "" {
		p.say(RemarkGood, RemarkListed, p.Server.Federation)
	}
	if p.Server.Signs {
		p.say(RemarkGood, RemarkSigns)
	} else {
		p.say(RemarkWarn, RemarkUnsigned)
	}
	if to.HasCriterion(ocm.CriterionInvite) && !invited {
		p.say(RemarkBad, RemarkInvite, host)
	}
	if to.HasCriterion(ocm.CriterionAllowlist) {
		p.say(RemarkWarn, RemarkAllowlist, host)
	}
}
