package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// welcome greets who opens the server in a browser: what it is, and the ways in.
func (s *Server) welcome(w http.ResponseWriter, r *http.Request) {
	if _, err := s.member(r); err == nil {
		http.Redirect(w, r, "/files/", http.StatusSeeOther)
		return
	}
	s.show(w, r, http.StatusOK, "welcome", map[string]string{"Host": string(s.Self), "Origin": s.origin})
}

// mayLook bounds how often a visitor has us ask other servers.
func (s *Server) mayLook(r *http.Request) error {
	if wait := s.byLook.take(requestOf(r).net); wait > 0 {
		return errTooMany.RetryIn(wait)
	}
	return nil
}

// look is Contacts.Look for visitors: they are not told what a name is inside our
// network, nor whom policy denies.
func (s *Server) look(r *http.Request, text string) (*contact.Server, error) {
	if err := s.mayLook(r); err != nil {
		return nil, err
	}
	server, err := s.Contacts.Look(r.Context(), text)
	e, ok := errors.AsType[*ocm.Error](err)
	if !ok {
		return server, err
	}
	pe, tried := errors.AsType[*client.PeerError](err)
	if errors.Is(err, peer.ErrDenied) || errors.Is(err, contact.ErrNotPublic) || tried && pe.Status == 0 && e.Status != http.StatusServiceUnavailable {
		return nil, contact.ErrNotServer.Saying("There is no server %.80q that this one can use, or it does not deal with it. Check the name.", text).With(err)
	}
	return server, err
}

// How many servers the page lists at once, and completes what is typed from.
const (
	maxListed    = 50
	maxCompleted = 1000
)

// wayf is the Where-Are-You-From page (OCM 1.5, Invite Flow): who holds one of
// our invites says which server they are from, and is sent on to accept it
// there. Whether the token is good is not looked at: nobody is to try them here.
func (s *Server) wayf(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	invite, err := ocm.NewInvite(q.Get("token"), string(s.Self))
	if err != nil {
		s.problemPage(w, r, ocm.NewError(http.StatusBadRequest, ocm.CodeInviteMalformed, "This link is not complete. Ask for it again, and copy it whole."))
		return
	}
	type listed struct {
		contact.Entry
		Link string
	}
	data := struct {
		Token, InviteString, Server, Query, NoPage string
		Error                                      error
		Servers                                    []listed
		Complete                                   []contact.Entry
		Count                                      int
		Many, More                                 bool
	}{Token: invite.Token.Reveal(), InviteString: invite.InviteString(), Server: strings.TrimSpace(q.Get("server")), Query: q.Get("q")}
	status := http.StatusOK
	if data.Server != "" {
		target, server, err := s.sendOn(r, data.Server, invite.Token)
		switch {
		case err != nil:
			e := asError(err)
			note(r, e)
			status, data.Error = e.Status, e
		case target != "":
			w.Header().Set("Referrer-Policy", "no-referrer")
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, target, http.StatusSeeOther)
			return
		default:
			data.NoPage = cmp.Or(server.Listed, server.Name, string(server.Host))
		}
	}
	all, err := s.Directories.Servers(r.Context(), "", ocm.MaxDirectoryServers)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	found, err := s.Directories.Servers(r.Context(), data.Query, maxListed+1)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	data.Complete = all[:min(len(all), maxCompleted)]
	data.Count, data.Many, data.More = len(all), len(all) > maxListed, len(found) > maxListed
	for _, e := range found[:min(len(found), maxListed)] {
		link := url.Values{"token": {data.Token}, "server": {string(e.Host)}}
		data.Servers = append(data.Servers, listed{e, contact.WAYFPath + "?" + link.Encode()})
	}
	v := s.view(w, r)
	v.Data = data
	web.Render(w, r, status, "wayf", v, web.Policy{Leaving: true, Secret: true})
}

// sendOn finds where a visitor from a server accepts an invite of ours.
func (s *Server) sendOn(r *http.Request, text string, token ocm.Secret) (string, *contact.Server, error) {
	server, err := s.look(r, text)
	if err != nil {
		return "", nil, err
	}
	if server.Host == s.Self {
		return "", nil, ocm.NewError(http.StatusBadRequest, "SERVER_IS_THIS", "That is this server. People here need no invite to share with each other.")
	}
	return s.Contacts.DialogFor(server, token), server, nil
}

// wayfCheck says early, to the page's script, what a typed server is.
func (s *Server) wayfCheck(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	server, err := s.look(r, r.URL.Query().Get("server"))
	if err != nil {
		e := asError(err)
		note(r, e)
		writeJSON(w, http.StatusOK, map[string]any{"ok": false, "verdict": e.Message})
		return
	}
	verdict := cmp.Or(server.Listed, server.Name, string(server.Host)) + " can take the invite."
	switch {
	case server.Warning != "":
		verdict = server.Warning + "."
	case server.Dialog == "":
		verdict = cmp.Or(server.Listed, server.Name, string(server.Host)) + " has no page for invites; you will take the invite there by hand."
	}
	writeJSON(w, http.StatusOK, map[string]any{"ok": true, "verdict": verdict})
}

// acceptPage is what the template of the inviteAcceptDialog shows.
type acceptPage struct {
	Token, Provider, User string
	From                  *contact.Server
	Error                 error
	State, Explained      string // of an acceptance that is not complete
	Done, Form            bool
	Contact, Address      string
	As, AsAddress         string // who is signed in, "" when nobody is
}

// acceptDialog is the inviteAcceptDialog of our discovery document: it shows who
// invites from where, and takes the acceptance of someone who signs in.
func (s *Server) acceptDialog(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	page, status := s.invitation(r, q.Get("token"), q.Get("providerDomain"))
	s.show(w, r, status, "accept", page)
}

// invitation looks at where an invite comes from.
func (s *Server) invitation(r *http.Request, token, provider string) (*acceptPage, int) {
	page := &acceptPage{Token: token, Provider: provider}
	if user, err := s.member(r); err == nil {
		page.As, page.AsAddress = user.DisplayName, ocm.Address{Identifier: user.Name, Host: s.Self}.String()
	}
	fail := func(err error) (*acceptPage, int) {
		e := asError(err)
		note(r, e)
		page.Error = e
		return page, e.Status
	}
	invite, err := ocm.NewInvite(token, provider)
	if err != nil {
		return fail(ocm.NewError(http.StatusBadRequest, ocm.CodeInviteMalformed, "This link is not complete, or it was changed. Ask for the invite again, and copy it whole.").With(err))
	}
	page.Provider = string(invite.Provider)
	if invite.Provider == s.Self { // who may be told more signs in
		page.Form = true
		return page, http.StatusOK
	}
	server, err := s.look(r, string(invite.Provider))
	if err != nil {
		// A server that does not answer now can still be told later.
		page.Form = asError(err).Status == http.StatusServiceUnavailable
		page.From = &contact.Server{Host: invite.Provider}
		return fail(err)
	}
	page.From, page.Form = server, true
	return page, http.StatusOK
}

// acceptInvite takes the form of acceptDialog.
func (s *Server) acceptInvite(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	page, status := s.invitation(r, r.PostForm.Get("token"), r.PostForm.Get("providerDomain"))
	page.User = r.PostForm.Get("user")
	if page.Form {
		status = s.acceptFor(r.Context(), r, page)
	}
	s.show(w, r, status, "accept", page)
}

func (s *Server) acceptFor(ctx context.Context, r *http.Request, page *acceptPage) int {
	fail := func(err error) int {
		e := asError(err)
		note(r, e)
		page.Error = e
		return e.Status
	}
	user, err := s.visitor(r, page.User)
	if err != nil {
		return fail(err)
	}
	requestOf(r).user = &user
	invite, err := ocm.NewInvite(page.Token, page.Provider)
	if err != nil {
		return fail(err)
	}
	a, err := s.Contacts.Accept(ctx, user, invite.InviteString(), nil)
	if err != nil {
		page.Form = false
		return fail(err)
	}
	page.Error = nil
	if a.State != contact.AcceptanceDone {
		page.State, page.Explained = a.State, explainAcceptance(a)
		page.Form = a.State == contact.AcceptancePending // else only a new invite helps
		return http.StatusOK
	}
	page.Done, page.Form = true, false
	page.Address = ocm.Address{Identifier: a.Given, Host: s.Self}.String()
	page.Contact = string(invite.Provider)
	if c, err := s.Contacts.Get(ctx, user.ID, a.ContactID); err == nil {
		page.Contact = c.Name + " (" + c.Address + ")"
	}
	return http.StatusOK
}

// visitor is who a form is sent by: whom it names with a password, or who is
// signed in.
func (s *Server) visitor(r *http.Request, name string) (account.User, error) {
	if name == "" {
		return s.member(r)
	}
	return s.Accounts.Authenticate(r.Context(), name, ocm.Secret(r.PostForm.Get("password")), requestOf(r).from)
}

// explainAcceptance says of an acceptance that is not complete which side knows
// what.
func explainAcceptance(a *contact.Acceptance) string {
	var knows string
	switch a.Knows() {
	case "they":
		knows = " They know you; you do not know them yet."
	case "unclear":
		knows = " Whether they know you already is not clear; it is safe to try again."
	case "nobody":
		knows = " Neither side knows the other yet."
	}
	switch {
	case a.State == contact.AcceptancePending && a.Reason == "":
		return a.PeerHost + " is being told; you find the contact in your address book as soon as it answers." + knows
	case a.Reason != "":
		return a.Reason + "." + knows
	}
	return "The invite could not be accepted." + knows
}

// publishedDirectory serves the list this server publishes, if it does.
func (s *Server) publishedDirectory(w http.ResponseWriter, r *http.Request) {
	doc, err := s.Directories.Published(r.Context())
	if err != nil {
		s.refusePeer(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/jose+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Write(doc)
}
