package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

// loginPath is where browsers sign in.
const loginPath = "/login"

// cookieName names a cookie of this server: bound to its origin where the
// connection is safe. Plain http, which only trials use, has neither the prefix
// nor ports of its own for cookies, so there the port is part of the name.
func (s *Server) cookieName(purpose string) string {
	if strings.HasPrefix(s.origin, "https://") {
		return "__Host-weft-" + purpose
	}
	_, port, _ := strings.Cut(string(s.Self), ":")
	return "weft-" + purpose + "-" + port
}

// setCookie gives the browser a cookie; an empty value takes it away.
func (s *Server) setCookie(w http.ResponseWriter, purpose, value string, life time.Duration) {
	c := &http.Cookie{
		Name: s.cookieName(purpose), Value: value, Path: "/", MaxAge: int(life / time.Second), HttpOnly: true,
		Secure: strings.HasPrefix(s.origin, "https://"), SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func (s *Server) cookie(r *http.Request, purpose string) string {
	c, err := r.Cookie(s.cookieName(purpose))
	if err != nil {
		return ""
	}
	return c.Value
}

// The cookies.
const (
	cookieSession = "session"
	cookieSaid    = "said" // a message for the next page
)

// member tells who is signed in with a browser.
func (s *Server) member(r *http.Request) (account.User, error) {
	token := s.cookie(r, cookieSession)
	if token == "" {
		return account.User{}, errSignIn
	}
	requestOf(r).session = ocm.Secret(token)
	return s.Accounts.AuthenticateSession(r.Context(), ocm.Secret(token))
}

// toSignIn sends a browser without a session to sign in, and back where it
// wanted to go.
func (s *Server) toSignIn(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	if e.Status != http.StatusUnauthorized {
		s.problemPage(w, r, err)
		return
	}
	s.setCookie(w, cookieSession, "", 0)
	note(r, e)
	next := r.URL.RequestURI()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// What was sent is not kept, but the person comes back to the page.
		next = "/"
		if from, err := url.Parse(r.Referer()); err == nil && from.Host == r.Host {
			next = from.RequestURI()
		}
	}
	http.Redirect(w, r, loginPath+"?"+url.Values{"next": {next}}.Encode(), http.StatusSeeOther)
}

// localPath is where to go on after signing in: a path of this server, and
// nothing that browsers read as another one.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || len(next) > 4096 || strings.HasPrefix(u.Path, loginPath) {
		return "/"
	}
	return next
}

type loginPage struct {
	Name, Next string
}

// loginForm shows the form to sign in.
func (s *Server) loginForm(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, err := s.member(r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.show(w, r, http.StatusOK, "login", loginPage{Next: next})
}

// login begins a session of a browser.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	page := loginPage{Name: strings.TrimSpace(r.PostForm.Get("user")), Next: localPath(r.PostForm.Get("next"))}
	user, token, err := s.Accounts.Login(r.Context(), page.Name, ocm.Secret(r.PostForm.Get("password")), requestOf(r).from, device(r.UserAgent()))
	if err != nil {
		s.showFault(w, r, "login", page, err)
		return
	}
	requestOf(r).user = &user
	s.setCookie(w, cookieSession, token.Reveal(), account.SessionLife)
	http.Redirect(w, r, page.Next, http.StatusSeeOther)
}

// logout ends the browser's session.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if token := s.cookie(r, cookieSession); token != "" {
		if err := s.Accounts.Logout(r.Context(), ocm.Secret(token)); err != nil {
			s.problemPage(w, r, err)
			return
		}
	}
	s.setCookie(w, cookieSession, "", 0)
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	s.say(w, web.Said{Kind: "good", Key: "login.out"})
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

// say keeps a message for the next page.
func (s *Server) say(w http.ResponseWriter, said web.Said) {
	b, err := json.Marshal(said)
	if err != nil || len(b) > maxSaid {
		said.Args, said.Undo, said.Link = nil, nil, nil // too much for a cookie: the bare message
		b, _ = json.Marshal(said)
	}
	s.setCookie(w, cookieSaid, base64.RawURLEncoding.EncodeToString(b), 2*time.Minute)
}

// maxSaid bounds a message, so that the cookie stays below the 4096 bytes that
// browsers take.
const maxSaid = 2800

// said takes the message for this page.
func (s *Server) said(w http.ResponseWriter, r *http.Request) *web.Said {
	value := s.cookie(r, cookieSaid)
	if value == "" {
		return nil
	}
	s.setCookie(w, cookieSaid, "", 0)
	said := &web.Said{}
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || json.Unmarshal(b, said) != nil || said.Undo != nil && localPath(said.Undo.Action) != said.Undo.Action ||
		said.Link != nil && localPath(said.Link.To) != said.Link.To {
		return nil
	}
	return said
}

// done answers a form: the next page says what it came to.
func (s *Server) done(w http.ResponseWriter, r *http.Request, next string, said web.Said) {
	s.say(w, said)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// back answers a form that was not taken, where there is nothing to correct: the
// page it came from says why.
func (s *Server) back(w http.ResponseWriter, r *http.Request, next string, err error) {
	e := asError(err)
	note(r, e)
	text := web.LocaleFor(s.languageOf(r), r.Header.Get("Accept-Language")).Error(e)
	if e.Status == http.StatusInternalServerError {
		text += " (" + requestOf(r).id + ")"
	}
	s.done(w, r, next, web.Said{Kind: "bad", Text: text})
}

// errForm refuses what is no form.
var errForm = ocm.NewError(http.StatusBadRequest, ocm.CodeInvalidPayload, "The form cannot be read.")

func (s *Server) languageOf(r *http.Request) string {
	if u := requestOf(r).user; u != nil {
		return u.Language
	}
	return ""
}

// view is what every page is given.
func (s *Server) view(w http.ResponseWriter, r *http.Request) web.View {
	q := requestOf(r)
	v := web.View{
		Site: s.conf.Provider, Locale: web.LocaleFor(s.languageOf(r), r.Header.Get("Accept-Language")), Request: q.id, Said: s.said(w, r),
		Section: section(r.URL.Path),
	}
	if q.user == nil || q.audience != members && q.audience != operators {
		return v
	}
	v.User = &web.User{
		Name: q.user.Name, DisplayName: q.user.DisplayName, Admin: q.user.Admin(),
		Address: ocm.Address{Identifier: q.user.Name, Host: s.Self}.String(),
	}
	var err error
	if v.Counts, err = s.pageCounts(r.Context(), q.user.ID); err != nil && !isCanceled(r, err) {
		s.log.Error("the numbers beside the sections cannot be told", "error", err)
	}
	return v
}

// section is the part of the pages that a path belongs to.
func section(path string) string {
	part, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if part == "admin" {
		_, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		below, _, _ := strings.Cut(rest, "/")
		return strings.TrimSuffix("admin/"+below, "/")
	}
	switch part {
	case "share":
		return "shares"
	case "folder", "rename", "move", "search":
		return "files"
	case "requests":
		return "inbox"
	}
	return part
}

// pageCounts are the numbers beside the sections.
func (s *Server) pageCounts(ctx context.Context, userID string) (web.Counts, error) {
	inbox, err := s.Sharing.Waiting(ctx, userID)
	if err != nil {
		return web.Counts{}, err
	}
	unread, err := s.Notices.Unread(ctx, userID)
	return web.Counts{Inbox: inbox, Unread: unread}, err
}

// show answers with a page.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	v := s.view(w, r)
	v.Data = data
	web.Render(w, r, status, name, v, web.Policy{})
}

// showFault shows a form again with why it was not taken.
func (s *Server) showFault(w http.ResponseWriter, r *http.Request, name string, data any, err error) {
	e := asError(err)
	note(r, e)
	setRetryAfter(w, e)
	v := s.view(w, r)
	v.Data, v.Fault = data, e
	web.Render(w, r, e.Status, name, v, web.Policy{})
}

// problemPage answers a browser with an error alone.
func (s *Server) problemPage(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	note(r, e)
	setRetryAfter(w, e)
	v := s.view(w, r)
	v.Fault = e
	name := "problem"
	if v.User != nil {
		name = "trouble" // the same within the frame of who is signed in
	}
	web.Render(w, r, e.Status, name, v, web.Policy{})
}

// noPage answers paths below a section that lead nowhere.
func (s *Server) noPage(w http.ResponseWriter, r *http.Request) {
	s.problemPage(w, r, errNoPage)
}

var errNoPage = ocm.NewError(http.StatusNotFound, "PAGE_NOT_FOUND", "There is no such page here.")
