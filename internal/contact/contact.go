// Package contact is how people who do not share a server come to know each
// other: invites, address books, the directories of federations.
package contact

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// Peers tells what other servers say of themselves.
type Peers interface {
	Discover(ctx context.Context, host ocm.Host) (*ocm.Discovery, error)
	Peer(ctx context.Context, host ocm.Host) (client.Peer, error)
	Known(ctx context.Context, host ocm.Host) *ocm.Discovery
}

// Service keeps the address books and carries out invites.
type Service struct {
	DB          *store.DB
	Outbox      *delivery.Outbox
	Accounts    *account.Accounts
	Peers       Peers
	Policy      *peer.Policy
	Directories *Directories
	Client      *client.Client
	Notices     *notice.Service
	Now         func() time.Time
	Log         *slog.Logger
	Self        ocm.Host
	Origin      string        // our public origin, in links
	InviteLife  time.Duration // of an invite without an expiry of its own
	Pseudonyms  bool          // contacts by invite get an identifier of their own
	AllowPlain  bool          // http and private addresses are fine: tests and the demo
}

// Start registers the service with the outbox; call it once, before the outbox
// runs.
func (s *Service) Start() { s.Outbox.Register(kindInvite, inviteCourier{s}) }

// How a contact came into the address book, by the names of OCM 1.5 (JSContact
// Enum Values).
const (
	SourceInvite = "invite"
	SourceShare  = "share"
	SourceDirect = "direct entry"
)

// Contact is one person in someone's address book.
type Contact struct {
	bun.BaseModel `bun:"table:contacts"`

	ID        string `bun:",pk"`
	UserID    string
	Address   string // OCM Address, unique in the book
	PeerHost  string // its host
	Name      string
	Email     string
	Source    string
	Invited   bool   // an invite was exchanged
	Trusted   bool   // their shares are accepted by themselves
	Blocked   bool   // their shares do not arrive
	Labels    string // JSON array
	Note      string
	Given     string // the identifier by which they know us; "" for the user's name
	GoneAt    int64  // when their server said that they are no longer there
	CreatedAt int64
	UpdatedAt int64
}

// LabelList are the labels.
func (c *Contact) LabelList() []string {
	var l []string
	if json.Unmarshal([]byte(c.Labels), &l) != nil || l == nil {
		return []string{}
	}
	return l
}

func labelText(labels []string) string {
	if labels == nil {
		labels = []string{}
	}
	b, _ := json.Marshal(labels) // strings always can
	return string(b)
}

// Errors people meet.
var (
	ErrNoContact = ocm.NewError(http.StatusNotFound, "CONTACT_NOT_FOUND", "There is no such contact in your address book.")
	ErrKnown     = ocm.NewError(http.StatusConflict, "CONTACT_EXISTS", "That address is in your address book already.")
	ErrOneself   = ocm.NewError(http.StatusBadRequest, "CONTACT_IS_SELF", "That is your own address.")
	ErrBookFull  = ocm.NewError(http.StatusConflict, "ADDRESS_BOOK_FULL", "Your address book is full. Remove contacts that you no longer need.")
)

// Bounds of an address book and its entries.
const (
	maxContacts = 10_000
	maxLabels   = 20
	maxLabel    = 64   // bytes
	maxName     = 255  // bytes
	maxNote     = 4096 // bytes
)

// Edit is what a person writes about a contact; nil leaves it as it is.
type Edit struct {
	Name    *string
	Email   *string
	Labels  *[]string
	Note    *string
	Trusted *bool
	Blocked *bool
}

func (e Edit) apply(c *Contact) error {
	if e.Name != nil {
		if c.Name = ocm.DisplayName(*e.Name); len(c.Name) > maxName {
			return ocm.Invalid("name", "is longer than 255 bytes")
		}
	}
	if e.Email != nil {
		c.Email = strings.TrimSpace(*e.Email)
		if c.Email != "" && (len(c.Email) > 254 || strings.Count(c.Email, "@") != 1 || strings.ContainsAny(c.Email, " \t\r\n<>")) {
			return ocm.Invalid("email", "is not an e-mail address")
		}
	}
	if e.Labels != nil {
		var labels []string
		for _, l := range *e.Labels {
			if l = ocm.DisplayName(l); l != "" && !slices.Contains(labels, l) {
				labels = append(labels, l)
			}
			if len(l) > maxLabel {
				return ocm.Invalid("labels", "a label is longer than 64 bytes")
			}
		}
		if len(labels) > maxLabels {
			return ocm.Invalid("labels", "there are more than 20")
		}
		c.Labels = labelText(labels)
	}
	if e.Note != nil {
		if c.Note = strings.TrimSpace(*e.Note); len(c.Note) > maxNote {
			return ocm.Invalid("note", "is longer than 4096 bytes")
		}
	}
	if e.Trusted != nil {
		c.Trusted = *e.Trusted
	}
	if e.Blocked != nil {
		c.Blocked = *e.Blocked
	}
	c.Trusted = c.Trusted && !c.Blocked
	return nil
}

// Add enters an address by hand.
func (s *Service) Add(ctx context.Context, user account.User, address string, e Edit) (*Contact, error) {
	a, err := s.address(user, address)
	if err != nil {
		return nil, err
	}
	c := s.blank(user.ID, a, SourceDirect)
	if a.Host == s.Self {
		here, err := s.Accounts.ByName(ctx, a.Identifier)
		if err != nil {
			return nil, err
		}
		c.Name = here.DisplayName
	}
	if err := e.apply(c); err != nil {
		return nil, err
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := room(ctx, tx, user.ID, c.Address); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(c).Exec(ctx); err != nil {
			return err
		}
		return s.note(ctx, tx, "contact.added", c, nil)
	})
	if store.IsConflict(err) {
		return nil, ErrKnown
	}
	return c, err
}

// note records an act on a contact for the audit.
func (s *Service) note(ctx context.Context, tx bun.IDB, action audit.Action, c *Contact, details audit.Details) error {
	return audit.Note(ctx, tx, s.Now(), audit.Event{Action: action, Kind: "contact", ID: c.ID, Name: c.Name, Target: c.Address, Details: details})
}

// address reads what a person typed: a name without "@" is someone here.
func (s *Service) address(user account.User, text string) (ocm.Address, error) {
	text = strings.TrimSpace(text)
	if text != "" && !strings.Contains(text, "@") {
		text += "@" + string(s.Self)
	}
	a, err := ocm.ReadAddress(text)
	if err != nil {
		return a, err
	}
	if a.Host == s.Self && account.SameName(a.Identifier, user.Name) {
		return a, ErrOneself
	}
	return a, nil
}

func (s *Service) blank(userID string, address ocm.Address, source string) *Contact {
	now := s.Now().UnixMilli()
	return &Contact{
		ID: store.NewID(), UserID: userID, Address: address.String(), PeerHost: string(address.Host), Source: source, Labels: "[]",
		CreatedAt: now, UpdatedAt: now,
	}
}

// room fails when a book can take no new address.
func room(ctx context.Context, db bun.IDB, userID, address string) error {
	n, err := db.NewSelect().Model((*Contact)(nil)).Where("user_id = ?", userID).Count(ctx)
	if err != nil || n < maxContacts {
		return err
	}
	known, err := db.NewSelect().Model((*Contact)(nil)).Where("user_id = ? AND address = ?", userID, address).Exists(ctx)
	if err == nil && !known {
		err = ErrBookFull
	}
	return err
}

// meet enters, or completes, a contact that an invite or a share brought. What
// the person wrote about it stays. Who was gone is back, but may be someone else of
// that name: the trust and the invite were the other's.
func (s *Service) meet(ctx context.Context, tx bun.Tx, c *Contact) (id string, err error) {
	q := tx.NewInsert().Model(c).On("CONFLICT (user_id, address) DO UPDATE").
		Set("name = CASE WHEN contact.name = '' THEN EXCLUDED.name ELSE contact.name END").
		Set("email = CASE WHEN contact.email = '' THEN EXCLUDED.email ELSE contact.email END").
		Set("trusted = (contact.trusted AND contact.gone_at = 0)").
		Set("gone_at = 0").Set("updated_at = EXCLUDED.updated_at")
	if !c.Invited {
		q = q.Set("invited = (contact.invited AND contact.gone_at = 0)")
	} else {
		q = q.Set("invited = TRUE").Set("source = EXCLUDED.source").Set("given = EXCLUDED.given")
	}
	if _, err = q.Exec(ctx); err != nil {
		return "", err
	}
	err = tx.NewSelect().Model((*Contact)(nil)).Column("id").Where("user_id = ? AND address = ?", c.UserID, c.Address).Scan(ctx, &id)
	return id, err
}

// MetByShare enters the sender of a share that a person accepted.
func (s *Service) MetByShare(ctx context.Context, tx bun.Tx, userID, address, name string) error {
	a, err := ocm.ReadAddress(address)
	if err != nil {
		return err
	}
	c := s.blank(userID, a, SourceShare)
	c.Name = cutText(ocm.DisplayName(name), maxName)
	if err := room(ctx, tx, userID, c.Address); err != nil {
		if errors.Is(err, ErrBookFull) {
			return nil // the share matters more
		}
		return err
	}
	_, err = s.meet(ctx, tx, c)
	return err
}

func cutText(s string, max int) string {
	if len(s) > max {
		return strings.ToValidUTF8(s[:max], "")
	}
	return s
}

// List gives a person's contacts by name; those that hold all the words of
// query, and the label, if they are given.
func (s *Service) List(ctx context.Context, userID, query, label string) ([]Contact, error) {
	var all []Contact
	if err := s.DB.Read.NewSelect().Model(&all).Where("user_id = ?", userID).Scan(ctx); err != nil {
		return nil, err
	}
	words := strings.Fields(fold(query))
	out := []Contact{}
	for _, c := range all {
		labels := c.LabelList()
		text := fold(strings.Join(append(labels, c.Name, c.Address, c.Email, c.Note), "\n"))
		if label != "" && !slices.ContainsFunc(labels, func(l string) bool { return fold(l) == fold(label) }) {
			continue
		}
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			continue
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Contact) int {
		return cmp.Or(cmp.Compare(fold(a.shown()), fold(b.shown())), cmp.Compare(a.Address, b.Address))
	})
	return out, nil
}

// fold is a text for comparison by people: without case.
func fold(s string) string { return cases.Fold().String(norm.NFKC.String(s)) }

// shown is what the contact is listed by.
func (c *Contact) shown() string { return cmp.Or(c.Name, c.Address) }

// Get finds a contact of a person.
func (s *Service) Get(ctx context.Context, userID, id string) (*Contact, error) {
	return s.contact(ctx, s.DB.Read, "user_id = ? AND id = ?", userID, id)
}

func (s *Service) contact(ctx context.Context, db bun.IDB, where string, args ...any) (*Contact, error) {
	c := &Contact{}
	err := db.NewSelect().Model(c).Where(where, args...).Limit(1).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoContact
	}
	return c, err
}

// Change edits a contact.
func (s *Service) Change(ctx context.Context, userID, id string, e Edit) (*Contact, error) {
	var c *Contact
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if c, err = s.contact(ctx, tx, "user_id = ? AND id = ?", userID, id); err != nil {
			return err
		}
		was := *c
		if err := e.apply(c); err != nil {
			return err
		}
		c.UpdatedAt = s.Now().UnixMilli()
		if _, err := tx.NewUpdate().Model(c).WherePK().Exec(ctx); err != nil {
			return err
		}
		// Labels and notes are the person's own affair.
		if c.Blocked != was.Blocked || c.Trusted != was.Trusted {
			return s.note(ctx, tx, "contact.changed", c, audit.Details{"blocked": c.Blocked, "trusted": c.Trusted})
		}
		return nil
	})
	return c, err
}

// Block blocks an address, whether it is in the book or not, in tx.
func (s *Service) Block(ctx context.Context, tx bun.Tx, userID, address, name string) error {
	if err := s.MetByShare(ctx, tx, userID, address, name); err != nil {
		return err
	}
	_, err := tx.NewUpdate().Model((*Contact)(nil)).Set("blocked = TRUE").Set("trusted = FALSE").
		Where("user_id = ? AND address = ?", userID, address).Exec(ctx)
	if err != nil {
		return err
	}
	return s.note(ctx, tx, "contact.changed", &Contact{Name: name, Address: address}, audit.Details{"blocked": true, "trusted": false})
}

// ErrSharedIdentifier says why the other side cannot be told of a removal.
var ErrSharedIdentifier = ocm.NewError(http.StatusConflict, "KNOWN_TO_OTHERS",
	"Others on that server know you by the same address and would lose you too. Remove the contact without telling.")

// Remove takes a contact out of the book, in tx. With tell, the caller is about
// to tell the other server that the identifier it knows us by is gone; it is
// returned. A pseudonym ends with its contact.
func (s *Service) Remove(ctx context.Context, tx bun.Tx, user account.User, id string, tell bool) (c *Contact, given string, err error) {
	if c, err = s.contact(ctx, tx, "user_id = ? AND id = ?", user.ID, id); err != nil {
		return nil, "", err
	}
	given = cmp.Or(c.Given, user.Name)
	if tell {
		others, err := tx.NewSelect().Model((*Contact)(nil)).
			Where("user_id = ? AND id <> ? AND peer_host = ? AND given = ?", user.ID, id, c.PeerHost, c.Given).Exists(ctx)
		if err != nil {
			return nil, "", err
		}
		if others {
			return nil, "", ErrSharedIdentifier
		}
	}
	if c.Given != "" {
		if _, err := tx.NewDelete().Model((*pseudonym)(nil)).Where("identifier = ? AND user_id = ?", c.Given, user.ID).Exec(ctx); err != nil {
			return nil, "", err
		}
	}
	if _, err = tx.NewDelete().Model(c).WherePK().Exec(ctx); err != nil {
		return nil, "", err
	}
	return c, given, s.note(ctx, tx, "contact.removed", c, audit.Details{"told": tell})
}

// Gone marks, in every address book, a person whose server says that they are
// no longer there.
func (s *Service) Gone(ctx context.Context, tx bun.Tx, address ocm.Address) error {
	_, err := tx.NewUpdate().Model((*Contact)(nil)).Set("gone_at = ?", s.Now().UnixMilli()).
		Where("address = ? AND gone_at = 0", address.String()).Exec(ctx)
	return err
}

// Standing is what someone's address book says of a sender. Of who is gone it says
// no more than that they are blocked: the name may be someone else's now.
type Standing struct {
	Known, Invited, Trusted, Blocked bool
}

// Standings tells how a sender stands with each of some people.
func (s *Service) Standings(ctx context.Context, userIDs []string, address string) (map[string]Standing, error) {
	if len(userIDs) == 0 {
		return nil, nil
	}
	var rows []Contact
	var err error
	if len(userIDs) == 1 {
		err = s.DB.Find(ctx, &rows, "user_id = ? AND address = ?", userIDs[0], address)
	} else {
		err = s.DB.Read.NewSelect().Model(&rows).Column("user_id", "invited", "trusted", "blocked", "gone_at").
			Where("address = ?", address).Where("user_id IN (?)", bun.List(userIDs)).Scan(ctx)
	}
	out := map[string]Standing{}
	for _, c := range rows {
		here := c.GoneAt == 0
		out[c.UserID] = Standing{here, here && c.Invited, here && c.Trusted, c.Blocked}
	}
	return out, err
}

// Given is the identifier by which a person goes at an address; "" for the
// person's name.
func (s *Service) Given(ctx context.Context, userID, address string) (given string, err error) {
	err = s.DB.Read.NewSelect().Model((*Contact)(nil)).Column("given").Where("user_id = ? AND address = ?", userID, address).Scan(ctx, &given)
	if store.NotFound(err) {
		return "", nil
	}
	return given, err
}

// KnownAt lists by which identifier which servers know a person since an invite:
// addresses made of the identifier and of the server that knows it.
func (s *Service) KnownAt(ctx context.Context, tx bun.Tx, user account.User) ([]ocm.Address, error) {
	var rows []Contact
	err := tx.NewSelect().Model(&rows).Column("given", "peer_host").Where("user_id = ? AND invited AND gone_at = 0", user.ID).
		Where("peer_host <> ?", string(s.Self)).Scan(ctx)
	var out []ocm.Address
	for _, c := range rows {
		out = append(out, ocm.Address{Identifier: cmp.Or(c.Given, user.Name), Host: ocm.Host(c.PeerHost)})
	}
	return out, err
}

// pseudonym is an identifier that one server alone knows a person by.
type pseudonym struct {
	bun.BaseModel `bun:"table:pseudonyms"`

	Identifier string `bun:",pk"`
	UserID     string
	PeerHost   string
	CreatedAt  int64
}

// Known finds whom a server knows by a pseudonym: "" for nobody. At another
// server than the one it was given to, a pseudonym is nobody's.
func (s *Service) Known(ctx context.Context, identifier string, host ocm.Host) (userID string, err error) {
	err = s.DB.Read.NewSelect().Model((*pseudonym)(nil)).Column("user_id").
		Where("identifier = ? AND peer_host = ?", identifier, string(host)).Scan(ctx, &userID)
	if store.NotFound(err) {
		return "", nil
	}
	return userID, err
}

// What is said of a name that fits nobody, or several.
var (
	errNobody = ocm.NewError(http.StatusBadRequest, ocm.CodeRecipientNotFound, "There is nobody of that name.")
	errWhich  = ocm.NewError(http.StatusBadRequest, "RECIPIENT_UNCLEAR", "It is not clear whom you mean.")
)

// Resolve finds whom a person means: an address; the name of someone on this
// server; the whole name of one contact; or how the name or address of one
// contact alone begins. Labels and notes have no part in it: files are not to go
// to whom a note happens to mention.
func (s *Service) Resolve(ctx context.Context, user account.User, text string) (ocm.Address, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "@") {
		return ocm.ReadAddress(text)
	}
	here := ocm.Address{Identifier: text, Host: s.Self}
	if _, err := s.Accounts.ByName(ctx, text); !errors.Is(err, account.ErrNoUser) || text == "" {
		return here, err
	}
	contacts, err := s.List(ctx, user.ID, "", "")
	if err != nil {
		return here, err
	}
	t := fold(text)
	for _, fits := range []func(c Contact) bool{
		func(c Contact) bool { return fold(c.Name) == t },
		func(c Contact) bool {
			return strings.HasPrefix(fold(c.Name), t) || strings.HasPrefix(fold(c.Address), t)
		},
	} {
		var found []Contact
		for _, c := range contacts {
			if fits(c) {
				found = append(found, c)
			}
		}
		switch {
		case len(found) == 1:
			return ocm.ParseAddress(found[0].Address)
		case len(found) > 1:
			return here, errWhich.Saying("%.80q fits %d of your contacts, among them %s and %s. Write the address.", text, len(found), found[0].Address, found[1].Address)
		}
	}
	return here, errNobody.Saying("Nobody on this server or in your address book is called %.80q. Write name@server for others.", text)
}

// Suggestion completes what a person types for a recipient.
type Suggestion struct {
	Address string
	Name    string
	Source  string // of the contact, or "here" for someone on this server
}

const maxSuggestions = 10

// Complete suggests recipients: the own contacts first, those whose name or
// address begins so before others, then people of this server.
func (s *Service) Complete(ctx context.Context, user account.User, text string) ([]Suggestion, error) {
	contacts, err := s.List(ctx, user.ID, text, "")
	if err != nil {
		return nil, err
	}
	begins := func(c Contact) int {
		if t := fold(text); strings.HasPrefix(fold(c.Name), t) || strings.HasPrefix(fold(c.Address), t) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(contacts, func(a, b Contact) int { return cmp.Compare(begins(a), begins(b)) })
	out := []Suggestion{}
	listed := map[string]bool{}
	for _, c := range contacts {
		if c.Blocked || c.GoneAt != 0 || len(out) == maxSuggestions {
			continue
		}
		listed[c.Address] = true
		out = append(out, Suggestion{c.Address, c.Name, c.Source})
	}
	here, err := s.Accounts.Search(ctx, text, maxSuggestions+1)
	if err != nil {
		return nil, err
	}
	for _, u := range here {
		address := ocm.Address{Identifier: u.Name, Host: s.Self}.String()
		if u.ID == user.ID || listed[address] || len(out) == maxSuggestions {
			continue
		}
		out = append(out, Suggestion{address, u.DisplayName, "here"})
	}
	return out, nil
}
