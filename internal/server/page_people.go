package server

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

// pageSize is how many rows a page of a list has.
const pageSize = 100

// pager tells a page of a list which part it shows.
type pager struct {
	Page, Pages, Prev, Next int
	URL                     string
	Of                      string // what is paged, where a page has several lists
}

// cut gives the part of a list that the request asks for. The page's number
// stands last in the address.
func cut[T any](r *http.Request, rows []T) ([]T, pager) {
	q := r.URL.Query()
	page, _ := strconv.Atoi(q.Get("page"))
	pages := max(1, (len(rows)+pageSize-1)/pageSize)
	page = min(max(page, 1), pages)
	q.Del("page")
	address := r.URL.EscapedPath() + "?"
	if len(q) > 0 {
		address += q.Encode() + "&"
	}
	from := (page - 1) * pageSize
	return rows[from:min(from+pageSize, len(rows))], pager{Page: page, Pages: pages, Prev: page - 1, Next: page + 1, URL: address + "page="}
}

// people is the address book.
func (s *Server) people(w http.ResponseWriter, r *http.Request) {
	user := requestOf(r).user
	query, label := strings.TrimSpace(r.URL.Query().Get("q")), r.URL.Query().Get("label")
	all, err := s.Contacts.List(r.Context(), user.ID, query, label)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	shown, pages := cut(r, all)
	data := struct {
		Query, Label string
		Contacts     []person
		Count        int
		Pager        pager
	}{Query: query, Label: label, Count: len(all), Pager: pages}
	for _, c := range shown {
		data.Contacts = append(data.Contacts, s.showContact(&c))
	}
	s.show(w, r, http.StatusOK, "people", data)
}

// contactPage is a contact with what is shared with it.
type contactPage struct {
	person
	LabelText string
	Sent      []sentShare
	Received  []receivedShare
}

func (s *Server) contactPage(w http.ResponseWriter, r *http.Request) {
	page, err := s.contactOf(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "contact", page)
}

func (s *Server) contactOf(r *http.Request) (*contactPage, error) {
	user := requestOf(r).user
	c, err := s.Contacts.Get(r.Context(), user.ID, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	page := &contactPage{person: s.showContact(c)}
	page.LabelText = strings.Join(page.Labels, ", ")
	sent, err := s.Sharing.Sent(r.Context(), user.ID)
	if err != nil {
		return nil, err
	}
	for _, o := range sent {
		if o.ShareWith == c.Address && o.ShareType == ocm.ShareTypeUser && o.State != sharing.StateEnded && o.State != sharing.StateDeclined {
			page.Sent = append(page.Sent, showSent(o))
		}
	}
	received, err := s.Sharing.Inbox(r.Context(), user.ID)
	if err != nil {
		return nil, err
	}
	for _, in := range received {
		if v := showReceived(in, s.now()); in.Sender == c.Address && (v.State == "accepted" || v.State == "pending" || v.State == "quarantined") {
			page.Received = append(page.Received, v)
		}
	}
	return page, nil
}

// contactEdit reads the form of a contact.
func contactEdit(form url.Values) contact.Edit {
	value := func(name string) *string { v := strings.TrimSpace(form.Get(name)); return &v }
	labels := []string{}
	for l := range strings.SplitSeq(form.Get("labels"), ",") {
		if l = strings.TrimSpace(l); l != "" {
			labels = append(labels, l)
		}
	}
	is := func(name string) *bool { v := form.Get(name) != ""; return &v }
	return contact.Edit{Name: value("name"), Email: value("email"), Labels: &labels, Note: value("note"), Trusted: is("trusted"), Blocked: is("blocked")}
}

func (s *Server) saveContact(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	edit := contactEdit(r.PostForm)
	c, err := s.Contacts.Change(r.Context(), requestOf(r).user.ID, r.PathValue("id"), edit)
	if err != nil {
		page, gone := s.contactOf(r)
		if gone != nil {
			s.problemPage(w, r, err)
			return
		}
		page.Name, page.Email, page.Note, page.LabelText = *edit.Name, *edit.Email, *edit.Note, r.PostForm.Get("labels")
		page.Trusted, page.Blocked = *edit.Trusted, *edit.Blocked
		s.showFault(w, r, "contact", page, err)
		return
	}
	s.done(w, r, "/people/"+c.ID, web.Said{Kind: "good", Key: "people.saved"})
}

func (s *Server) removeContactPage(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	c, err := s.Contacts.Get(r.Context(), requestOf(r).user.ID, id)
	if err == nil {
		err = s.RemoveContact(r.Context(), *requestOf(r).user, id, r.PostForm.Get("end") != "", r.PostForm.Get("tell") != "")
	}
	if err != nil {
		s.back(w, r, "/people", err)
		return
	}
	s.done(w, r, "/people", web.Said{Kind: "good", Key: "people.removed", Args: []string{c.Address}})
}

// newContactPage is the form to enter an address by hand.
type newContactPage struct{ Address, Name, Email, Note, LabelText string }

func (s *Server) newContactForm(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "contact-new", newContactPage{Address: r.URL.Query().Get("address")})
}

func (s *Server) addContact(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	edit := contactEdit(r.PostForm)
	edit.Trusted, edit.Blocked = nil, nil
	c, err := s.Contacts.Add(r.Context(), *requestOf(r).user, strings.TrimSpace(r.PostForm.Get("address")), edit)
	if err != nil {
		page := newContactPage{r.PostForm.Get("address"), *edit.Name, *edit.Email, *edit.Note, r.PostForm.Get("labels")}
		s.showFault(w, r, "contact-new", page, err)
		return
	}
	s.done(w, r, "/people/"+c.ID, web.Said{Kind: "good", Key: "people.added"})
}

// importPage takes a file of contacts.
func (s *Server) importPage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, contact.MaxCardFile+64<<10)
	file, _, err := r.FormFile("file")
	if err != nil {
		if e := asError(err); e.Status == http.StatusRequestEntityTooLarge {
			s.back(w, r, "/people", e)
			return
		}
		s.back(w, r, "/people", errForm.Saying("Choose a file of contacts first.").With(err))
		return
	}
	defer file.Close()
	body, err := io.ReadAll(io.LimitReader(file, contact.MaxCardFile))
	if err != nil {
		s.back(w, r, "/people", err)
		return
	}
	done, err := s.importCards(r.Context(), *requestOf(r).user, body, "", false)
	if err != nil {
		s.back(w, r, "/people", err)
		return
	}
	said := web.Said{Kind: "good", Key: "people.imported", Args: []string{fmt.Sprint(done.Added), fmt.Sprint(done.Updated)}}
	if n := len(done.Skipped); n > 0 {
		var names []string
		for _, card := range done.Skipped[:min(n, 5)] {
			name, _, _ := strings.Cut(card, ": ")
			names = append(names, name)
		}
		if n > len(names) {
			names = append(names, "…")
		}
		said.Key, said.Args = "people.imported.some", append(said.Args, fmt.Sprint(n), strings.Join(names, ", "))
		if said.Kind = "warn"; done.Added+done.Updated == 0 {
			said.Kind = "bad"
		}
	}
	s.done(w, r, "/people", said)
}

// invitePage is the form to invite someone, and what it gives.
type invitePage struct {
	Email, Note, Days string
	Pseudonym         bool

	Made    *sentInvite
	Subject string
	Mail    string // text to send by e-mail
	MailTo  template.URL
	QR      *qrPicture
}

func (s *Server) inviteForm(w http.ResponseWriter, r *http.Request) {
	// The address to share with says whom it is for; only a contact has an e-mail address.
	var email string
	if address := r.URL.Query().Get("for"); address != "" {
		found, err := s.Contacts.List(r.Context(), requestOf(r).user.ID, address, "")
		if err != nil {
			s.problemPage(w, r, err)
			return
		}
		for _, c := range found {
			if c.Address == address {
				email = c.Email
			}
		}
	}
	s.show(w, r, http.StatusOK, "invite", invitePage{Email: email, Days: strconv.Itoa(int(s.conf.Federation.InviteLife.Hours() / 24)), Pseudonym: s.conf.Federation.Pseudonyms})
}

func (s *Server) makeInvite(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	page := invitePage{
		Email: strings.TrimSpace(r.PostForm.Get("email")), Note: strings.TrimSpace(r.PostForm.Get("note")), Days: r.PostForm.Get("days"),
		Pseudonym: r.PostForm.Get("pseudonym") != "",
	}
	days, err := strconv.Atoi(page.Days)
	if err != nil || days < 1 || days > 365 {
		s.showFault(w, r, "invite", page, ocm.Invalid("days", "must be a number of days from 1 to 365").Saying("An invite lasts from 1 to 365 days."))
		return
	}
	i, m, err := s.Contacts.Invite(r.Context(), *requestOf(r).user, contact.NewInvite{
		Email: page.Email, Note: page.Note, ExpiresAt: s.now().Add(time.Duration(days) * 24 * time.Hour), Pseudonym: &page.Pseudonym,
	})
	if err != nil {
		s.showFault(w, r, "invite", page, err)
		return
	}
	s.giveInvite(w, r, page, i, m)
}

// giveInvite shows an invite with its token: this once.
func (s *Server) giveInvite(w http.ResponseWriter, r *http.Request, page invitePage, i *contact.Invite, m contact.Message) {
	v := s.view(w, r)
	made := showInvite(i, m, s.now())
	page.Made = &made
	user := requestOf(r).user
	page.Subject = v.Locale.T("people.mail.subject", user.DisplayName)
	page.Mail = v.Locale.T("people.mail.text", user.DisplayName, s.conf.Provider, m.Link.Reveal(), m.InviteString.Reveal(), v.Locale.Day(time.UnixMilli(i.ExpiresAt)))
	if i.Note != "" {
		page.Mail = i.Note + "\n\n" + page.Mail
	}
	query := url.Values{"subject": {page.Subject}, "body": {page.Mail}}
	page.MailTo = template.URL("mailto:" + url.PathEscape(i.Email) + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")) //nolint:gosec // every part is escaped
	var err error
	if page.QR, err = drawQR(m.Link.Reveal()); err != nil {
		s.log.Error("a QR code cannot be drawn", "error", err)
	}
	v.Data = page
	web.Render(w, r, http.StatusOK, "invite", v, web.Policy{Secret: true})
}

// qrPicture is a QR code as one path of an SVG, in units of its modules.
type qrPicture struct {
	Side int
	Path string
}

func drawQR(text string) (*qrPicture, error) {
	code, err := qrcode.New(text, qrcode.Medium)
	if err != nil {
		return nil, err
	}
	bits := code.Bitmap() // with the quiet zone around it
	var path bytes.Buffer
	for y, row := range bits {
		for x := 0; x < len(row); x++ {
			from := x
			for x < len(row) && row[x] {
				x++
			}
			if x > from {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", from, y, x-from, x-from)
			}
		}
	}
	return &qrPicture{len(bits), path.String()}, nil
}

// invitesPage lists invites in both directions.
type invitesPage struct {
	Sent         []sentInvite
	Accepted     []acceptance
	InvitesPages pager
}

func (s *Server) invitesPage(w http.ResponseWriter, r *http.Request) {
	user := requestOf(r).user
	invites, err := s.Contacts.Invites(r.Context(), user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	accepted, err := s.Contacts.Acceptances(r.Context(), user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	var page invitesPage
	shown, pages := cut(r, invites)
	page.InvitesPages = pages
	for _, i := range shown {
		page.Sent = append(page.Sent, showInvite(&i, contact.Message{}, s.now()))
	}
	for _, a := range accepted[:min(len(accepted), pageSize)] {
		page.Accepted = append(page.Accepted, s.showAcceptance(r.Context(), &a))
	}
	s.show(w, r, http.StatusOK, "invites", page)
}

func (s *Server) revokeInvite(w http.ResponseWriter, r *http.Request) {
	if err := s.Contacts.Revoke(r.Context(), requestOf(r).user.ID, r.PathValue("id")); err != nil {
		s.back(w, r, "/people/invites", err)
		return
	}
	s.done(w, r, "/people/invites", web.Said{Kind: "good", Key: "people.revoked"})
}

func (s *Server) renewInvite(w http.ResponseWriter, r *http.Request) {
	i, m, err := s.Contacts.Renew(r.Context(), requestOf(r).user.ID, r.PathValue("id"))
	if err != nil {
		s.back(w, r, "/people/invites", err)
		return
	}
	s.giveInvite(w, r, invitePage{Email: i.Email, Note: i.Note}, i, m)
}

// acceptPastedPage is where an invite is pasted, and looked at before it is
// accepted.
type acceptPastedPage struct {
	Invite    string
	From      *contact.Server
	Pseudonym bool
}

func (s *Server) acceptPasted(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "invite-accept", acceptPastedPage{Pseudonym: s.conf.Federation.Pseudonyms})
}

func (s *Server) acceptPastedInvite(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	user := *requestOf(r).user
	page := acceptPastedPage{Invite: strings.TrimSpace(r.PostForm.Get("invite")), Pseudonym: r.PostForm.Get("pseudonym") != ""}
	if r.PostForm.Get("sure") == "" {
		from, err := s.Contacts.Preview(r.Context(), user, page.Invite)
		if err != nil {
			s.showFault(w, r, "invite-accept", page, err)
			return
		}
		page.From, page.Pseudonym = from, s.conf.Federation.Pseudonyms
		v := s.view(w, r)
		v.Data = page
		web.Render(w, r, http.StatusOK, "invite-accept", v, web.Policy{Secret: true})
		return
	}
	a, err := s.Contacts.Accept(r.Context(), user, page.Invite, &page.Pseudonym)
	if err != nil {
		s.showFault(w, r, "invite-accept", page, err)
		return
	}
	s.acceptanceSaid(w, r, user, a)
}

// acceptanceSaid leads on from an acceptance and says what it came to.
func (s *Server) acceptanceSaid(w http.ResponseWriter, r *http.Request, user account.User, a *contact.Acceptance) {
	if a.State != contact.AcceptanceDone {
		s.done(w, r, "/people/invites", web.Said{Kind: "warn", Text: web.LocaleFor(user.Language, r.Header.Get("Accept-Language")).Said(explainAcceptance(a))})
		return
	}
	name := a.PeerHost
	if c, err := s.Contacts.Get(r.Context(), user.ID, a.ContactID); err == nil {
		name = c.Name
	}
	s.done(w, r, "/people/"+a.ContactID, web.Said{Kind: "good", Key: "people.met", Args: []string{name}})
}

func (s *Server) retryAcceptance(w http.ResponseWriter, r *http.Request) {
	user := *requestOf(r).user
	a, err := s.Contacts.Retry(r.Context(), user.ID, r.PathValue("id"))
	if err != nil {
		s.back(w, r, "/people/invites", err)
		return
	}
	s.acceptanceSaid(w, r, user, a)
}

func (s *Server) forgetAcceptance(w http.ResponseWriter, r *http.Request) {
	if err := s.Contacts.Forget(r.Context(), requestOf(r).user.ID, r.PathValue("id")); err != nil {
		s.back(w, r, "/people/invites", err)
		return
	}
	s.done(w, r, "/people/invites", web.Said{Kind: "good", Key: "people.forgotten"})
}
