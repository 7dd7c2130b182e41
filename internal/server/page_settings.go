package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

const settingsPath = "/settings"

type settingsPage struct {
	User        account.User
	Languages   []*web.Locale
	Mailed      bool   // e-mails are sent here at all
	Mail        string // when: account.MailNever …
	Undelivered string // why the latest e-mail did not arrive
	At          time.Time
	Sessions    []account.Session
	Others      int // sessions besides this one
	Apps        []account.Credential
	Label       string // of an app password that was not made
	Awaited     *notice.AddressChange
	Email       string // that was not taken
}

// settingsOf gathers what the page of settings shows.
func (s *Server) settingsOf(r *http.Request) (*settingsPage, error) {
	ctx, q := r.Context(), requestOf(r)
	page := &settingsPage{User: *q.user, Languages: web.Locales, Mailed: s.Notices.Mailed(), Mail: s.Notices.Choice(*q.user)}
	var err error
	if page.Sessions, err = s.Accounts.Sessions(ctx, q.user.ID, q.session); err != nil {
		return nil, err
	}
	for _, c := range page.Sessions {
		if !c.Current {
			page.Others++
		}
	}
	if page.Apps, err = s.Accounts.AppPasswords(ctx, q.user.ID); err != nil {
		return nil, err
	}
	if page.Awaited, err = s.Notices.AwaitedAddress(ctx, q.user.ID); err != nil {
		return nil, err
	}
	if page.Mail != account.MailNever {
		page.Undelivered, page.At, err = s.Notices.Undelivered(ctx, q.user.ID)
	}
	return page, err
}

// settings shows what people decide about themselves.
func (s *Server) settings(w http.ResponseWriter, r *http.Request) {
	page, err := s.settingsOf(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "settings", page)
}

// settingsFault shows the settings again, with why a form of theirs was not
// taken.
func (s *Server) settingsFault(w http.ResponseWriter, r *http.Request, err error) {
	page, fault := s.settingsOf(r)
	if fault != nil {
		s.problemPage(w, r, fault)
		return
	}
	page.Label, page.Email = r.PostFormValue("label"), r.PostFormValue("email")
	s.showFault(w, r, "settings", page, err)
}

func (s *Server) setProfile(w http.ResponseWriter, r *http.Request) {
	user, name, language := requestOf(r).user, r.PostFormValue("name"), r.PostFormValue("language")
	if language != "" && !web.IsLocale(language) {
		s.settingsFault(w, r, ocm.Invalid("language", "is none that this server speaks"))
		return
	}
	if _, err := s.Accounts.Edit(r.Context(), *user, account.Profile{DisplayName: &name}); err != nil {
		s.settingsFault(w, r, err)
		return
	}
	if err := s.Accounts.SetLanguage(r.Context(), user.ID, language); err != nil {
		s.settingsFault(w, r, err)
		return
	}
	s.done(w, r, settingsPath, web.Said{Kind: "good", Key: "settings.saved"})
}

func (s *Server) setMail(w http.ResponseWriter, r *http.Request) {
	choice := r.PostFormValue("mail")
	if _, err := s.Accounts.Edit(r.Context(), *requestOf(r).user, account.Profile{Mail: &choice}); err != nil {
		s.settingsFault(w, r, err)
		return
	}
	s.done(w, r, settingsPath, web.Said{Kind: "good", Key: "settings.saved"})
}

// setEmail sends a link to the address that a person wants to have.
func (s *Server) setEmail(w http.ResponseWriter, r *http.Request) {
	email := strings.TrimSpace(r.PostFormValue("email"))
	if err := s.Notices.ChangeAddress(r.Context(), *requestOf(r).user, email); err != nil {
		s.settingsFault(w, r, err)
		return
	}
	s.done(w, r, settingsPath, web.Said{Kind: "good", Key: "settings.email.sent", Args: []string{email}})
}

func (s *Server) withdrawEmail(w http.ResponseWriter, r *http.Request) {
	if err := s.Notices.WithdrawAddress(r.Context(), requestOf(r).user.ID); err != nil {
		s.back(w, r, settingsPath, err)
		return
	}
	s.done(w, r, settingsPath, web.Said{Kind: "good", Key: "settings.email.withdrawn"})
}

// confirmPath is where the link leads that confirms an address.
const confirmPath = "/confirm-email"

type confirmPage struct {
	Token, Email string
	User         account.User
}

// confirmForm shows what the link would change. Mail programs open links by
// themselves: so only its button changes anything. It is opened where the e-mail
// is read, and needs no session there.
func (s *Server) confirmForm(w http.ResponseWriter, r *http.Request) {
	token := r.URL.Query().Get("token")
	u, c, err := s.Notices.AddressAsked(r.Context(), ocm.Secret(token))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	v := s.view(w, r)
	v.Data = confirmPage{token, c.Email, u}
	web.Render(w, r, http.StatusOK, "confirm-email", v, web.Policy{Secret: true})
}

func (s *Server) confirmEmail(w http.ResponseWriter, r *http.Request) {
	token := ocm.Secret(r.PostFormValue("token"))
	u, _, err := s.Notices.AddressAsked(r.Context(), token)
	if err == nil {
		requestOf(r).user = &u // whose mailbox it is acts for them
		u, err = s.Notices.ConfirmAddress(r.Context(), token)
	}
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.done(w, r, settingsPath, web.Said{Kind: "good", Key: "settings.email.done", Args: []string{u.DisplayName, u.Email}})
}

var errTwoPasswords = ocm.NewError(http.StatusBadRequest, "PASSWORDS_DIFFER", "The new password was not typed the same twice.")

func (s *Server) setPassword(w http.ResponseWriter, r *http.Request) {
	q := requestOf(r)
	next := r.PostFormValue("password")
	err := error(errTwoPasswords)
	if next == r.PostFormValue("again") {
		err = s.Accounts.ChangePassword(r.Context(), *q.user, ocm.Secret(r.PostFormValue("present")), ocm.Secret(next), q.from, q.session)
	}
	if err != nil {
		s.settingsFault(w, r, err)
		return
	}
	s.done(w, r, settingsPath, web.Said{Kind: "good", Key: "settings.password.done"})
}

// endSessions signs the person out in one place, or everywhere else.
func (s *Server) endSessions(w http.ResponseWriter, r *http.Request) {
	q, id := requestOf(r), r.PathValue("id")
	said := web.Said{Kind: "good", Key: "settings.session.ended"}
	var err error
	if id != "" {
		err = s.Accounts.EndSession(r.Context(), q.user.ID, id)
	} else {
		var n int64
		n, err = s.Accounts.EndOtherSessions(r.Context(), q.user.ID, q.session)
		said.Key, said.Args = "settings.sessions.ended", []string{strconv.FormatInt(n, 10)}
	}
	if err != nil {
		s.back(w, r, settingsPath, err)
		return
	}
	s.done(w, r, settingsPath, said)
}

type appPage struct {
	Label, Password, User, Files string
}

var errNoLabel = ocm.NewError(http.StatusBadRequest, "LABEL_REQUIRED", "Give the app password a name, so that you know later what it is for.")

// addApp makes an app password and shows it this once.
func (s *Server) addApp(w http.ResponseWriter, r *http.Request) {
	user, label := requestOf(r).user, ocm.DisplayName(r.PostFormValue("label"))
	if label == "" {
		s.settingsFault(w, r, errNoLabel)
		return
	}
	secret, err := s.Accounts.AppPassword(r.Context(), user.ID, label)
	if err != nil {
		s.settingsFault(w, r, err)
		return
	}
	v := s.view(w, r)
	v.Data = appPage{label, secret.Reveal(), user.Name, s.origin + davFiles + user.Name + "/"}
	web.Render(w, r, http.StatusOK, "apppassword", v, web.Policy{Secret: true})
}

func (s *Server) endApp(w http.ResponseWriter, r *http.Request) {
	if err := s.Accounts.RevokeAppPassword(r.Context(), requestOf(r).user.ID, r.PathValue("id")); err != nil {
		s.back(w, r, settingsPath, err)
		return
	}
	s.done(w, r, settingsPath, web.Said{Kind: "good", Key: "settings.app.ended"})
}
