package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/ocm"
)

// sentInvite is an invite as its sender sees it. The invite string and the link
// hold the token: they are given when the invite is made or renewed, and never
// again.
type sentInvite struct {
	ID           string `json:"id"`
	State        string `json:"state" enum:"open,accepted,expired,revoked"`
	Email        string `json:"email,omitempty"`
	Note         string `json:"note,omitempty"`
	Pseudonym    bool   `json:"pseudonym,omitempty" doc:"who accepts gets an address of its own for you"`
	AcceptedBy   string `json:"acceptedBy,omitempty" doc:"OCM Address"`
	CreatedAt    string `json:"createdAt" format:"date-time"`
	ExpiresAt    string `json:"expiresAt" format:"date-time"`
	AcceptedAt   string `json:"acceptedAt,omitempty" format:"date-time"`
	InviteString string `json:"inviteString,omitempty"`
	Link         string `json:"link,omitempty"`
}

func showInvite(i *contact.Invite, m contact.Message, now time.Time) sentInvite {
	return sentInvite{
		ID: i.ID, State: i.State(now), Email: i.Email, Note: i.Note, Pseudonym: i.Pseudonym, AcceptedBy: i.AcceptedBy,
		CreatedAt: rfc3339(i.CreatedAt), ExpiresAt: rfc3339(i.ExpiresAt), AcceptedAt: rfc3339(i.AcceptedAt),
		InviteString: m.InviteString.Reveal(), Link: m.Link.Reveal(),
	}
}

// acceptance is an invite of someone elsewhere that the person accepted.
type acceptance struct {
	ID        string `json:"id"`
	Server    string `json:"server"`
	State     string `json:"state" enum:"pending,accepted,halfway,unclear,failed" doc:"halfway: they know you, but did not say who they are; unclear: they may know you, or someone else used the invite"`
	Knows     string `json:"knows" enum:"both,they,nobody,unclear" doc:"which side knows of the other"`
	Reason    string `json:"reason,omitempty"`
	Address   string `json:"address" doc:"yours, for them"`
	ContactID string `json:"contactId,omitempty"`
	Contact   string `json:"contact,omitempty" doc:"their OCM Address"`
	Name      string `json:"name,omitempty"`
	CreatedAt string `json:"createdAt" format:"date-time"`
}

func (s *Server) showAcceptance(ctx context.Context, a *contact.Acceptance) acceptance {
	out := acceptance{
		ID: a.ID, Server: a.PeerHost, State: a.State, Knows: a.Knows(), Reason: a.Reason, ContactID: a.ContactID, CreatedAt: rfc3339(a.CreatedAt),
		Address: ocm.Address{Identifier: a.Given, Host: s.Self}.String(),
	}
	if a.ContactID == "" {
		return out
	}
	if c, err := s.Contacts.Get(ctx, a.UserID, a.ContactID); err == nil {
		out.Contact, out.Name = c.Address, c.Name
	}
	return out
}

// otherServer is where an invite comes from.
type otherServer struct {
	Host       string `json:"host"`
	Name       string `json:"name,omitempty"`
	Federation string `json:"federation,omitempty"`
	ListedAs   string `json:"listedAs,omitempty" doc:"its name in the federation's directory"`
	Signs      bool   `json:"signs" doc:"its messages can be verified"`
	Warning    string `json:"warning,omitempty"`
}

// person is a contact.
type person struct {
	ID        string   `json:"id"`
	Address   string   `json:"address"`
	Name      string   `json:"name,omitempty"`
	Email     string   `json:"email,omitempty"`
	Source    string   `json:"source" enum:"invite,share,direct entry"`
	Invited   bool     `json:"invited" doc:"an invite was exchanged"`
	Trusted   bool     `json:"trusted" doc:"their shares are accepted by themselves"`
	Blocked   bool     `json:"blocked" doc:"their shares do not arrive"`
	Labels    []string `json:"labels"`
	Note      string   `json:"note,omitempty"`
	KnownAs   string   `json:"knownAs,omitempty" doc:"your address for them alone"`
	GoneAt    string   `json:"goneAt,omitempty" format:"date-time" doc:"their server said that they are no longer there"`
	CreatedAt string   `json:"createdAt" format:"date-time"`
}

func (s *Server) showContact(c *contact.Contact) person {
	out := person{
		ID: c.ID, Address: c.Address, Name: c.Name, Email: c.Email, Source: c.Source, Invited: c.Invited, Trusted: c.Trusted, Blocked: c.Blocked,
		Labels: c.LabelList(), Note: c.Note, GoneAt: rfc3339(c.GoneAt), CreatedAt: rfc3339(c.CreatedAt),
	}
	if c.Given != "" {
		out.KnownAs = ocm.Address{Identifier: c.Given, Host: s.Self}.String()
	}
	return out
}

func (s *Server) apiInvites(api huma.API) {
	create := operation("POST", "/invites", "invite", "Invite someone from another server")
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, func(ctx context.Context, in *struct {
		Body struct {
			Email     string     `json:"email,omitempty" maxLength:"254" doc:"whom it is for"`
			Note      string     `json:"note,omitempty" maxLength:"4096"`
			ExpiresAt *time.Time `json:"expiresAt,omitempty"`
			Pseudonym *bool      `json:"pseudonym,omitempty" doc:"give who accepts an address of its own for you; default: as the operator decided"`
		}
	}) (*reply[sentInvite], error) {
		n := contact.NewInvite{Email: in.Body.Email, Note: in.Body.Note, Pseudonym: in.Body.Pseudonym}
		if in.Body.ExpiresAt != nil {
			n.ExpiresAt = *in.Body.ExpiresAt
		}
		i, m, err := s.Contacts.Invite(ctx, asking(ctx), n)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[sentInvite]{showInvite(i, m, s.now())}, nil
	})
	huma.Register(api, operation("GET", "/invites", "invites", "List the invites you sent"), func(ctx context.Context, _ *none) (*reply[[]sentInvite], error) {
		list, err := s.Contacts.Invites(ctx, asking(ctx).ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]sentInvite]{[]sentInvite{}}
		for _, i := range list {
			out.Body = append(out.Body, showInvite(&i, contact.Message{}, s.now()))
		}
		return out, nil
	})
	huma.Register(api, operation("DELETE", "/invites/{id}", "revokeInvite", "Revoke an invite that was not accepted"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Contacts.Revoke(ctx, asking(ctx).ID, in.ID))
	})
	huma.Register(api, operation("POST", "/invites/{id}/renew", "renewInvite", "Give an invite a new string and link; the old ones are then worth nothing"), func(ctx context.Context, in *byID) (*reply[sentInvite], error) {
		i, m, err := s.Contacts.Renew(ctx, asking(ctx).ID, in.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[sentInvite]{showInvite(i, m, s.now())}, nil
	})
	huma.Register(api, operation("POST", "/invites/look", "lookAtInvite", "See where an invite comes from, before accepting it"), func(ctx context.Context, in *struct {
		Body struct {
			Invite string `json:"invite" maxLength:"4096" doc:"an invite string or a link"`
		}
	}) (*reply[otherServer], error) {
		o, err := s.Contacts.Preview(ctx, asking(ctx), in.Body.Invite)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[otherServer]{otherServer{string(o.Host), o.Name, o.Federation, o.Listed, o.Signs, o.Warning}}, nil
	})
	huma.Register(api, operation("POST", "/invites/accept", "acceptInvite", "Accept an invite; again, to go on where it stopped"), func(ctx context.Context, in *struct {
		Body struct {
			Invite    string `json:"invite" maxLength:"4096" doc:"an invite string or a link"`
			Pseudonym *bool  `json:"pseudonym,omitempty" doc:"give them an address of its own for you"`
		}
	}) (*reply[acceptance], error) {
		a, err := s.Contacts.Accept(ctx, asking(ctx), in.Body.Invite, in.Body.Pseudonym)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[acceptance]{s.showAcceptance(ctx, a)}, nil
	})
	huma.Register(api, operation("GET", "/acceptances", "acceptances", "List the invites you accepted"), func(ctx context.Context, _ *none) (*reply[[]acceptance], error) {
		list, err := s.Contacts.Acceptances(ctx, asking(ctx).ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]acceptance]{[]acceptance{}}
		for _, a := range list {
			out.Body = append(out.Body, s.showAcceptance(ctx, &a))
		}
		return out, nil
	})
	huma.Register(api, operation("POST", "/acceptances/{id}/retry", "retryAcceptance", "Tell the inviting server again"), func(ctx context.Context, in *byID) (*reply[acceptance], error) {
		a, err := s.Contacts.Retry(ctx, asking(ctx).ID, in.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[acceptance]{s.showAcceptance(ctx, a)}, nil
	})
	huma.Register(api, operation("DELETE", "/acceptances/{id}", "forgetAcceptance", "Take an acceptance off the list; its contact stays"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Contacts.Forget(ctx, asking(ctx).ID, in.ID))
	})
}

// ContactEdit is what a person writes about a contact. Its name is exported for
// huma, which takes members of embedded types only so.
type ContactEdit struct {
	Name    *string   `json:"name,omitempty" maxLength:"255"`
	Email   *string   `json:"email,omitempty" maxLength:"254"`
	Labels  *[]string `json:"labels,omitempty" maxItems:"20"`
	Note    *string   `json:"note,omitempty" maxLength:"4096"`
	Trusted *bool     `json:"trusted,omitempty" doc:"accept their shares without asking"`
	Blocked *bool     `json:"blocked,omitempty" doc:"let no share of theirs arrive; they are not told"`
}

func (s *Server) apiContacts(api huma.API) {
	huma.Register(api, operation("GET", "/contacts", "contacts", "List or search your address book"), func(ctx context.Context, in *struct {
		Query string `query:"q" maxLength:"255"`
		Label string `query:"label" maxLength:"64"`
	}) (*reply[[]person], error) {
		list, err := s.Contacts.List(ctx, asking(ctx).ID, in.Query, in.Label)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]person]{[]person{}}
		for _, c := range list {
			out.Body = append(out.Body, s.showContact(&c))
		}
		return out, nil
	})
	create := operation("POST", "/contacts", "addContact", "Enter a contact by its address")
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, func(ctx context.Context, in *struct {
		Body struct {
			Address string `json:"address" maxLength:"1024"`
			ContactEdit
		}
	}) (*reply[person], error) {
		c, err := s.Contacts.Add(ctx, asking(ctx), in.Body.Address, contact.Edit(in.Body.ContactEdit))
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[person]{s.showContact(c)}, nil
	})
	huma.Register(api, operation("GET", "/contacts/{id}", "contact", "Show a contact"), func(ctx context.Context, in *byID) (*reply[person], error) {
		c, err := s.Contacts.Get(ctx, asking(ctx).ID, in.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[person]{s.showContact(c)}, nil
	})
	huma.Register(api, operation("PATCH", "/contacts/{id}", "editContact", "Edit, trust or block a contact"), func(ctx context.Context, in *struct {
		ID   string `path:"id" maxLength:"64"`
		Body ContactEdit
	}) (*reply[person], error) {
		c, err := s.Contacts.Change(ctx, asking(ctx).ID, in.ID, contact.Edit(in.Body))
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[person]{s.showContact(c)}, nil
	})
	huma.Register(api, operation("DELETE", "/contacts/{id}", "removeContact", "Remove a contact"), func(ctx context.Context, in *struct {
		ID        string `path:"id" maxLength:"64"`
		EndShares bool   `query:"endShares" doc:"end what you share with them, and give back what they share with you"`
		Tell      bool   `query:"tell" doc:"tell their server that you are gone for them"`
	}) (*none, error) {
		return nil, failing(ctx, s.RemoveContact(ctx, asking(ctx), in.ID, in.EndShares, in.Tell))
	})
	type suggestion struct {
		Address string `json:"address"`
		Name    string `json:"name,omitempty"`
		Source  string `json:"source" enum:"invite,share,direct entry,here"`
	}
	huma.Register(api, operation("GET", "/suggestions", "suggestions", "Complete a recipient: your contacts first, then people of this server"), func(ctx context.Context, in *struct {
		Query string `query:"q" maxLength:"255"`
	}) (*reply[[]suggestion], error) {
		list, err := s.Contacts.Complete(ctx, asking(ctx), in.Query)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]suggestion]{[]suggestion{}}
		for _, c := range list {
			out.Body = append(out.Body, suggestion{c.Address, c.Name, c.Source})
		}
		return out, nil
	})
	type listed struct {
		Host       string `json:"host"`
		Name       string `json:"name"`
		Federation string `json:"federation"`
	}
	huma.Register(api, operation("GET", "/servers", "servers", "List the servers of the federations this one takes part in"), func(ctx context.Context, in *struct {
		Query string `query:"q" maxLength:"255"`
	}) (*reply[[]listed], error) {
		list, err := s.Directories.Servers(ctx, in.Query, ocm.MaxDirectoryServers)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]listed]{[]listed{}}
		for _, e := range list {
			out.Body = append(out.Body, listed{string(e.Host), e.DisplayName, e.Federation})
		}
		return out, nil
	})
}

// The forms of files of contacts.
const (
	typeJSContact = "application/jscontact+json"
	typeVCard     = "text/vcard"
)

// exportContacts is GET /api/v1/contacts.json and contacts.vcf.
func (s *Server) exportContacts(write func(io.Writer, []contact.Contact) error, kind, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		list, err := s.Contacts.List(r.Context(), requestOf(r).user.ID, "", "")
		var body bytes.Buffer
		if err == nil {
			err = write(&body, list)
		}
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
		w.Write(body.Bytes())
	}
}

// importContacts is POST /api/v1/contacts/import: a file of JSContact or vCards.
func (s *Server) importContacts(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, contact.MaxCardFile))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	done, err := s.importCards(r.Context(), *requestOf(r).user, body, r.Header.Get("Content-Type"), r.URL.Query().Get("keepTrust") == "true")
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"added": done.Added, "updated": done.Updated, "skipped": done.Skipped})
}

// importCards enters what a file of JSContact or vCards holds; the kind may be
// left to what it looks like.
func (s *Server) importCards(ctx context.Context, user account.User, body []byte, kind string, keepTrust bool) (*contact.Imported, error) {
	read := contact.ReadJSContact
	if strings.HasPrefix(kind, typeVCard) || bytes.HasPrefix(bytes.TrimSpace(bytes.ToUpper(body[:min(len(body), 64)])), []byte("BEGIN:VCARD")) {
		read = contact.ReadVCard
	}
	cards, err := read(body)
	if err != nil {
		return nil, err
	}
	return s.Contacts.Import(ctx, user, cards, keepTrust)
}
