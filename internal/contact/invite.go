package contact

import (
	"cmp"
	"context"
	"crypto/rand"
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
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// The states of an invite.
const (
	InviteOpen     = "open"
	InviteAccepted = "accepted"
	InviteExpired  = "expired"
	InviteRevoked  = "revoked"
)

// Invite is an invite that one of our people sends. Its token is used once and
// known here by its hash alone, so that it is shown when it is made and never
// again.
type Invite struct {
	bun.BaseModel `bun:"table:invites"`

	ID         string `bun:",pk"`
	OwnerID    string
	TokenHash  string
	Email      string // whom it is for
	Note       string
	Pseudonym  bool   // who accepts gets an identifier of its own
	Given      string // the userID that was given out
	AcceptedBy string // OCM Address
	CreatedAt  int64
	ExpiresAt  int64
	AcceptedAt int64
	RevokedAt  int64
}

// State is what has become of the invite.
func (i *Invite) State(now time.Time) string {
	switch {
	case i.AcceptedAt != 0:
		return InviteAccepted
	case i.RevokedAt != 0:
		return InviteRevoked
	case now.UnixMilli() >= i.ExpiresAt:
		return InviteExpired
	}
	return InviteOpen
}

// Message is what the person sends on: both forms of the invite. They hold the
// token.
type Message struct {
	InviteString ocm.Secret
	Link         ocm.Secret // leads to our Where-Are-You-From page
}

// NewInvite is what a person decides about an invite.
type NewInvite struct {
	Email     string
	Note      string
	ExpiresAt time.Time // zero: the configured life
	Pseudonym *bool     // nil: as configured
}

// Errors people meet.
var (
	ErrNoInvite       = ocm.NewError(http.StatusNotFound, "INVITE_NOT_FOUND", "There is no such invite of yours.")
	ErrInviteUsed     = ocm.NewError(http.StatusConflict, ocm.CodeInviteAccepted, "This invite was accepted. To undo that, remove the contact.")
	ErrTooManyInvites = ocm.NewError(http.StatusConflict, "TOO_MANY_INVITES", "You have too many open invites. Revoke those that you no longer need.")
)

// ErrInvalid is the one answer to a peer for a token that is unknown, expired
// or revoked: whoever guesses learns nothing.
var ErrInvalid = ocm.NewError(http.StatusBadRequest, ocm.CodeInviteInvalid, "the invite is unknown, has expired or was revoked")

const (
	maxOpenInvites = 500
	maxInviteLife  = 366 * 24 * time.Hour
	tokenBytes     = 18 // of randomness: 24 characters
)

// Invite makes an invite and the message to send on.
func (s *Service) Invite(ctx context.Context, owner account.User, n NewInvite) (*Invite, Message, error) {
	now := s.Now()
	if n.ExpiresAt.IsZero() {
		n.ExpiresAt = now.Add(s.InviteLife)
	}
	switch {
	case !n.ExpiresAt.After(now):
		return nil, Message{}, ocm.Invalid("expiresAt", "lies in the past")
	case n.ExpiresAt.After(now.Add(maxInviteLife)):
		return nil, Message{}, ocm.Invalid("expiresAt", "is more than a year away")
	}
	var c Contact
	n.Note = ocm.DisplayName(n.Note) // one line
	if err := (Edit{Email: &n.Email, Note: &n.Note}).apply(&c); err != nil {
		return nil, Message{}, err
	}
	i := &Invite{
		ID: store.NewID(), OwnerID: owner.ID, Email: c.Email, Note: c.Note, Pseudonym: s.Pseudonyms,
		CreatedAt: now.UnixMilli(), ExpiresAt: n.ExpiresAt.UnixMilli(),
	}
	if n.Pseudonym != nil {
		i.Pseudonym = *n.Pseudonym
	}
	m := s.renewToken(i)
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		open, err := tx.NewSelect().Model((*Invite)(nil)).
			Where("owner_id = ? AND accepted_at = 0 AND revoked_at = 0 AND expires_at > ?", owner.ID, now.UnixMilli()).Count(ctx)
		if err != nil {
			return err
		}
		if open >= maxOpenInvites {
			return ErrTooManyInvites
		}
		if _, err = tx.NewInsert().Model(i).Exec(ctx); err != nil {
			return err
		}
		return s.noteInvite(ctx, tx, "invite.made", i)
	})
	return i, m, err
}

// noteInvite records an act on an invite for the audit.
func (s *Service) noteInvite(ctx context.Context, tx bun.IDB, action audit.Action, i *Invite) error {
	return audit.Note(ctx, tx, s.Now(), audit.Event{Action: action, Kind: "invite", ID: i.ID, Name: i.Email, Target: i.AcceptedBy})
}

// renewToken gives an invite a new token; the old one is worth nothing then.
func (s *Service) renewToken(i *Invite) Message {
	token := seal.Token(tokenBytes)
	i.TokenHash = seal.HashHex(token)
	return Message{
		InviteString: ocm.Secret(ocm.Invite{Token: token, Provider: s.Self}.InviteString()),
		Link:         ocm.Secret(s.Origin + WAYFPath + "?token=" + url.QueryEscape(token.Reveal())),
	}
}

// The pages of the invite flow.
const (
	WAYFPath   = "/wayf"          // Where Are You From
	DialogPath = "/accept-invite" // inviteAcceptDialog of our discovery document
)

// Invites lists a person's invites, the newest first.
func (s *Service) Invites(ctx context.Context, ownerID string) ([]Invite, error) {
	out := []Invite{}
	err := s.DB.Read.NewSelect().Model(&out).Where("owner_id = ?", ownerID).Order("id DESC").Limit(2000).Scan(ctx)
	return out, err
}

func (s *Service) invite(ctx context.Context, tx bun.Tx, ownerID, id string) (*Invite, error) {
	i := &Invite{}
	err := tx.NewSelect().Model(i).Where("owner_id = ? AND id = ?", ownerID, id).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoInvite
	}
	if err == nil && i.AcceptedAt != 0 {
		return nil, ErrInviteUsed
	}
	return i, err
}

// Revoke makes an invite worthless. Revoking again changes nothing.
func (s *Service) Revoke(ctx context.Context, ownerID, id string) error {
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		i, err := s.invite(ctx, tx, ownerID, id)
		if err != nil || i.RevokedAt != 0 {
			return err
		}
		i.RevokedAt = s.Now().UnixMilli()
		if _, err = tx.NewUpdate().Model(i).Column("revoked_at").WherePK().Exec(ctx); err != nil {
			return err
		}
		return s.noteInvite(ctx, tx, "invite.revoked", i)
	})
}

// Renew gives an invite that was not accepted, revoked or not, a new token and
// the usual span of life.
func (s *Service) Renew(ctx context.Context, ownerID, id string) (*Invite, Message, error) {
	var i *Invite
	var m Message
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if i, err = s.invite(ctx, tx, ownerID, id); err != nil {
			return err
		}
		m = s.renewToken(i)
		i.ExpiresAt, i.RevokedAt = s.Now().Add(s.InviteLife).UnixMilli(), 0
		if _, err = tx.NewUpdate().Model(i).WherePK().Exec(ctx); err != nil {
			return err
		}
		return s.noteInvite(ctx, tx, "invite.renewed", i)
	})
	return i, m, err
}

// Accepted is the Invite Sender's part of the flow: someone at peer accepts an
// invite of one of our people, who is told back. The same user accepting again
// is answered as the first time (OCM 1.5, Invite Acceptance Response Details).
func (s *Service) Accepted(ctx context.Context, peer ocm.Host, a *ocm.InviteAcceptance) (*ocm.InviteParty, error) {
	if a.RecipientProvider != peer {
		return nil, ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch, "the signer is not the recipientProvider")
	}
	by := ocm.Address{Identifier: a.UserID, Host: peer}
	var answer *ocm.InviteParty
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		i := &Invite{}
		err := tx.NewSelect().Model(i).Where("token_hash = ?", seal.HashHex(a.Token)).Scan(ctx)
		if store.NotFound(err) {
			explain.Note(ctx, "invite", "no invite has this token")
			return ErrInvalid
		}
		if err != nil {
			return err
		}
		// Up to here all tokens are looked at alike, so that the time tells
		// nothing of them.
		state := i.State(s.Now())
		explain.Note(ctx, "invite", "invite %s is %s", i.ID, state)
		switch {
		case state == InviteExpired || state == InviteRevoked:
			return ErrInvalid
		case state == InviteAccepted && i.AcceptedBy != by.String():
			return ErrInviteUsed.Saying("the invite was accepted by someone else")
		}
		owner, err := s.Accounts.Get(ctx, i.OwnerID)
		if err != nil {
			return err
		}
		if state == InviteAccepted {
			answer = party(owner, i.Given)
			return nil
		}
		if c, err := s.contact(ctx, tx, "user_id = ? AND address = ?", owner.ID, by.String()); err == nil && c.Blocked {
			explain.Note(ctx, "contact", "%s is blocked by %s", by, owner.Name)
			return ErrInvalid
		}
		i.Given = owner.Name
		if i.Pseudonym {
			if i.Given, err = s.newPseudonym(ctx, tx, owner.ID, peer); err != nil {
				return err
			}
		}
		a.Email = cmp.Or(a.Email, i.Email)
		id, err := s.meetByInvite(ctx, tx, owner, by, a.InviteParty, i.Given)
		if err != nil {
			if errors.Is(err, ErrBookFull) {
				explain.Note(ctx, "contact", "the address book of %s is full", owner.Name)
				return ocm.NewError(http.StatusServiceUnavailable, ocm.CodeUnavailable, "the invite cannot be taken just now").RetryIn(time.Hour)
			}
			return err
		}
		i.AcceptedAt, i.AcceptedBy = s.Now().UnixMilli(), by.String()
		if _, err := tx.NewUpdate().Model(i).Column("accepted_at", "accepted_by", "given").WherePK().Exec(ctx); err != nil {
			return err
		}
		about := notice.Params{Contact: id, Who: by.String(), WhoName: a.Name, Host: string(peer)}
		if err := s.Notices.Put(ctx, tx, notice.Event{Kind: notice.InviteAccepted, About: about}, owner.ID); err != nil {
			return err
		}
		if err := s.noteInvite(ctx, tx, "invite.accepted", i); err != nil {
			return err
		}
		answer = party(owner, i.Given)
		return nil
	})
	return answer, err
}

// party is what we tell of one of our people.
func party(u account.User, given string) *ocm.InviteParty {
	return &ocm.InviteParty{UserID: given, Email: u.Email, Name: u.DisplayName}
}

// meetByInvite enters who an invite made known, on either side.
func (s *Service) meetByInvite(ctx context.Context, tx bun.Tx, user account.User, who ocm.Address, p ocm.InviteParty, given string) (id string, err error) {
	if err := room(ctx, tx, user.ID, who.String()); err != nil {
		return "", err
	}
	c := s.blank(user.ID, who, SourceInvite)
	c.Name, c.Email, c.Invited = cutText(cmp.Or(p.Name, who.Identifier), maxName), p.Email, true
	if given != user.Name {
		c.Given = given
	}
	return s.meet(ctx, tx, c)
}

// newPseudonym makes an identifier for one server: letters and digits alone, as
// every server takes them.
func (s *Service) newPseudonym(ctx context.Context, tx bun.Tx, userID string, host ocm.Host) (string, error) {
	id := strings.ToLower(rand.Text())
	_, err := tx.NewInsert().Model(&pseudonym{Identifier: id, UserID: userID, PeerHost: string(host), CreatedAt: s.Now().UnixMilli()}).Exec(ctx)
	return id, err
}
