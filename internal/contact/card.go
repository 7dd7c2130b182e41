package contact

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-vcard"
	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/ocm"
)

// Card is a person as files of contacts have them; one may have several OCM
// Addresses.
type Card struct {
	UID       string
	Name      string
	Email     string
	Labels    []string
	Note      string
	Addresses []CardAddress
}

// CardAddress is an ocmAddress object (OCM 1.5, JSContact Types Registry).
type CardAddress struct {
	Address string
	Trusted bool
	Source  string
	Label   string
}

// ErrCards says that a file of contacts cannot be read.
var ErrCards = ocm.NewError(http.StatusBadRequest, "CONTACTS_UNREADABLE", "The file holds no contacts that can be read.")

// Bounds of a file of contacts.
const (
	MaxCardFile  = 16 << 20 // bytes
	maxCards     = maxContacts
	maxAddresses = 20 // of one card
)

// jsCard is a Card of JSContact (RFC 9553), as far as we use it.
type jsCard struct {
	Type      string                  `json:"@type"`
	Version   string                  `json:"version"`
	UID       string                  `json:"uid"`
	Kind      string                  `json:"kind,omitempty"`
	Updated   string                  `json:"updated,omitempty"`
	Name      *jsName                 `json:"name,omitempty"`
	Emails    map[string]jsEmail      `json:"emails,omitempty"`
	Keywords  map[string]bool         `json:"keywords,omitempty"`
	Notes     map[string]jsNote       `json:"notes,omitempty"`
	Addresses map[string]jsOCMAddress `json:"ietf.org:ocmAddresses,omitempty"`
}

type jsName struct {
	Full       string        `json:"full,omitempty"`
	Components []jsComponent `json:"components,omitempty"`
}

type jsComponent struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

type jsEmail struct {
	Address string `json:"address"`
}

type jsNote struct {
	Note string `json:"note"`
}

type jsOCMAddress struct {
	Type    string `json:"@type,omitempty"`
	Address string `json:"address"`
	Trusted bool   `json:"trusted,omitempty"`
	Source  string `json:"source,omitempty"`
	Label   string `json:"label,omitempty"`
}

// ReadJSContact reads one Card of JSContact, or an array of them. What a card
// holds besides is left out.
func ReadJSContact(b []byte) ([]Card, error) {
	b = bytes.TrimSpace(b)
	if len(b) > MaxCardFile {
		return nil, ErrCards.Saying("The file is larger than %d MiB.", MaxCardFile>>20)
	}
	var raw []json.RawMessage
	if len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(b, &raw); err != nil {
			return nil, ErrCards.Saying("The file is not valid JSON.").With(err)
		}
	} else {
		raw = []json.RawMessage{b}
	}
	if len(raw) > maxCards {
		return nil, ErrCards.Saying("The file holds more than %d cards.", maxCards)
	}
	cards := []Card{}
	for i, r := range raw {
		// Card by card: what is strict about one keeps the file bounded too.
		if err := ocm.CheckJSON(r, ocm.MaxDepth); err != nil {
			if i == 0 {
				return nil, ErrCards.Saying("The file holds neither JSContact nor vCards: it is not valid JSON.").With(err)
			}
			return nil, ErrCards.Saying("Card %d is not valid JSON.", i+1).With(err)
		}
		var c jsCard
		if err := json.Unmarshal(r, &c); err != nil {
			return nil, ErrCards.Saying("Card %d is not a Card of JSContact (RFC 9553).", i+1).With(err)
		}
		if c.Type != "Card" {
			return nil, ErrCards.Saying("Card %d is not a Card of JSContact (RFC 9553): its @type is %.40q.", i+1, c.Type)
		}
		cards = append(cards, c.card())
	}
	return cards, nil
}

func (c jsCard) card() Card {
	out := Card{UID: c.UID, Labels: slices.Sorted(maps.Keys(c.Keywords))}
	if c.Name != nil {
		out.Name = c.Name.Full
		if out.Name == "" {
			var parts []string
			for _, p := range c.Name.Components {
				parts = append(parts, p.Value)
			}
			out.Name = strings.Join(parts, " ")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Emails)) {
		out.Email = cmp.Or(out.Email, c.Emails[id].Address)
	}
	var notes []string
	for _, id := range slices.Sorted(maps.Keys(c.Notes)) {
		notes = append(notes, c.Notes[id].Note)
	}
	out.Note = strings.Join(notes, "\n")
	for _, id := range slices.Sorted(maps.Keys(c.Addresses)) {
		a := c.Addresses[id]
		out.Addresses = append(out.Addresses, CardAddress{a.Address, a.Trusted, a.Source, a.Label})
	}
	return out
}

// WriteJSContact writes an array of Cards of JSContact.
func WriteJSContact(w io.Writer, contacts []Contact) error {
	cards := []jsCard{}
	for _, c := range contacts {
		card := jsCard{
			Type: "Card", Version: "1.0", UID: "urn:uuid:" + c.ID, Kind: "individual",
			Updated: time.UnixMilli(c.UpdatedAt).UTC().Format(time.RFC3339),
			Addresses: map[string]jsOCMAddress{"primary": {
				Type: "ocmAddress", Address: c.Address, Trusted: c.Trusted, Source: c.Source,
			}},
		}
		if c.Name != "" {
			card.Name = &jsName{Full: c.Name}
		}
		if c.Email != "" {
			card.Emails = map[string]jsEmail{"e1": {c.Email}}
		}
		if c.Note != "" {
			card.Notes = map[string]jsNote{"n1": {c.Note}}
		}
		for _, l := range c.LabelList() {
			if card.Keywords == nil {
				card.Keywords = map[string]bool{}
			}
			card.Keywords[l] = true
		}
		cards = append(cards, card)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(cards)
}

// The properties of a vCard that hold an OCM Address: CLOUD is how Nextcloud's
// contacts write it.
const (
	vcardCloud = "CLOUD"
	vcardOCM   = "X-OCM-ADDRESS"
)

// ReadVCard reads vCards (RFC 6350 and its predecessors).
func ReadVCard(b []byte) ([]Card, error) {
	if len(b) > MaxCardFile {
		return nil, ErrCards.Saying("The file is larger than %d MiB.", MaxCardFile>>20)
	}
	dec := vcard.NewDecoder(bytes.NewReader(b))
	cards := []Card{}
	for {
		v, err := dec.Decode()
		if errors.Is(err, io.EOF) {
			if len(cards) == 0 {
				return nil, ErrCards
			}
			return cards, nil
		}
		if err != nil {
			return nil, ErrCards.Saying("vCard %d cannot be read.", len(cards)+1).With(err)
		}
		if len(cards) == maxCards {
			return nil, ErrCards.Saying("The file holds more than %d cards.", maxCards)
		}
		c := Card{
			UID: v.Value(vcard.FieldUID), Name: v.PreferredValue(vcard.FieldFormattedName), Email: v.PreferredValue(vcard.FieldEmail),
			Note: v.PreferredValue(vcard.FieldNote),
		}
		for _, l := range v.Categories() {
			if l = strings.TrimSpace(l); l != "" {
				c.Labels = append(c.Labels, l)
			}
		}
		for _, name := range []string{vcardCloud, vcardOCM} {
			for _, f := range v[name] {
				a := CardAddress{Address: f.Value}
				if f.Params != nil {
					a.Label = f.Params.Get(vcard.ParamType)
				}
				c.Addresses = append(c.Addresses, a)
			}
		}
		cards = append(cards, c)
	}
}

// WriteVCard writes vCards of version 4.
func WriteVCard(w io.Writer, contacts []Contact) error {
	enc := vcard.NewEncoder(w)
	for _, c := range contacts {
		v := vcard.Card{}
		v.SetValue(vcard.FieldVersion, "4.0")
		v.SetValue(vcard.FieldUID, "urn:uuid:"+c.ID)
		v.SetValue(vcard.FieldFormattedName, c.shown())
		v.SetValue(vcardCloud, c.Address)
		if c.Email != "" {
			v.SetValue(vcard.FieldEmail, c.Email)
		}
		if c.Note != "" {
			v.SetValue(vcard.FieldNote, c.Note)
		}
		if l := c.LabelList(); len(l) > 0 {
			v.SetCategories(l)
		}
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// Imported says what became of a file of contacts.
type Imported struct {
	Added   int
	Updated int
	Skipped []string // which cards were not taken, and why
}

// Import enters cards. keepTrust takes over whose shares are accepted by
// themselves; without it nobody new is trusted, because files come from
// elsewhere. What the person wrote about contacts that are there is kept where
// the file says nothing.
func (s *Service) Import(ctx context.Context, user account.User, cards []Card, keepTrust bool) (*Imported, error) {
	out := &Imported{Skipped: []string{}}
	addresses := 0
	for _, c := range cards {
		addresses += len(c.Addresses)
	}
	if addresses > maxContacts {
		return nil, ErrCards.Saying("The file holds %d OCM Addresses; an address book takes %d.", addresses, maxContacts)
	}
	// In parts: others want to write too.
	const part = 200
	for from := 0; from < len(cards); from += part {
		if err := s.importPart(ctx, user, cards, from, min(from+part, len(cards)), keepTrust, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (s *Service) importPart(ctx context.Context, user account.User, cards []Card, from, to int, keepTrust bool, out *Imported) error {
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for i := from; i < to; i++ {
			card := cards[i]
			name := cmp.Or(ocm.DisplayName(card.Name), fmt.Sprintf("card %d", i+1))
			skip := func(format string, args ...any) {
				if len(out.Skipped) < 1000 {
					out.Skipped = append(out.Skipped, cutText(name, 100)+": "+fmt.Sprintf(format, args...))
				}
			}
			if len(card.Addresses) == 0 {
				skip("has no OCM Address")
				continue
			}
			if len(card.Addresses) > maxAddresses {
				skip("has more than %d OCM Addresses", maxAddresses)
				continue
			}
			for _, at := range card.Addresses {
				a, err := s.address(user, at.Address)
				if err != nil {
					skip("%s", sentence(err))
					continue
				}
				added, err := s.enter(ctx, tx, user.ID, a, card, at, keepTrust)
				if errors.Is(err, ErrBookFull) {
					return err
				}
				if e, ok := errors.AsType[*ocm.Error](err); ok {
					skip("%s", e.Message)
					continue
				}
				if err != nil {
					return err
				}
				if added {
					out.Added++
				} else {
					out.Updated++
				}
			}
		}
		return audit.Note(ctx, tx, s.Now(), audit.Event{
			Action: "contacts.imported", Kind: "user", ID: user.ID, Name: user.Name,
			Details: audit.Details{"cards": to - from, "added": out.Added, "updated": out.Updated, "trust": keepTrust},
		})
	})
}

// enter adds or completes one contact of a file.
func (s *Service) enter(ctx context.Context, tx bun.Tx, userID string, address ocm.Address, card Card, at CardAddress, keepTrust bool) (added bool, err error) {
	c, err := s.contact(ctx, tx, "user_id = ? AND address = ?", userID, address.String())
	if errors.Is(err, ErrNoContact) {
		if err := room(ctx, tx, userID, address.String()); err != nil {
			return false, err
		}
		// Whatever the file says, here it was entered, and no invite exchanged.
		c, added = s.blank(userID, address, SourceDirect), true
		if id, err := uuid.Parse(strings.TrimPrefix(card.UID, "urn:uuid:")); err == nil {
			taken, err := tx.NewSelect().Model((*Contact)(nil)).Where("id = ?", id.String()).Exists(ctx)
			if err != nil {
				return false, err
			}
			if !taken {
				c.ID = id.String()
			}
		}
	} else if err != nil {
		return false, err
	}
	labels := append(c.LabelList(), card.Labels...)
	if at.Label != "" && !strings.EqualFold(at.Label, "primary") {
		labels = append(labels, at.Label)
	}
	e := Edit{Labels: &labels}
	for _, f := range []struct {
		edit **string
		text string
	}{{&e.Name, card.Name}, {&e.Email, card.Email}, {&e.Note, card.Note}} {
		if f.text != "" {
			*f.edit = &f.text
		}
	}
	if keepTrust && at.Trusted {
		e.Trusted = &at.Trusted
	}
	if err := e.apply(c); err != nil {
		return false, err
	}
	c.UpdatedAt = s.Now().UnixMilli()
	if added {
		_, err = tx.NewInsert().Model(c).Exec(ctx)
		return true, err
	}
	_, err = tx.NewUpdate().Model(c).WherePK().Exec(ctx)
	return false, err
}
