package server

import (
	"net/http"
	"net/url"

	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/web"
)

const noticesPath = "/notices"

type noticesPage struct {
	Notices []web.Told
	Unread  int64
	Only    bool   // those that are not read
	Paged   bool   // it does not begin with the newest
	Older   string // where it goes on; "" at the end
	Here    string // the page itself, to come back to
	Mail    bool   // e-mails could be had, and are not
}

// perPage is how many notices a page shows.
const perPage = 30

// notices shows what happened.
func (s *Server) notices(w http.ResponseWriter, r *http.Request) {
	user, q := requestOf(r).user, r.URL.Query()
	page := noticesPage{Only: q.Get("show") == "unread", Paged: q.Get("before") != "", Here: r.URL.RequestURI()}
	list, err := s.Notices.List(r.Context(), user.ID, q.Get("before"), page.Only, perPage)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	locale := web.LocaleFor(s.languageOf(r), r.Header.Get("Accept-Language"))
	for _, n := range list.Notices {
		page.Notices = append(page.Notices, locale.Tell(n))
	}
	page.Unread = list.Unread
	page.Mail = s.Notices.Mailed() && user.Email != "" && s.Notices.Choice(*user) == "never"
	if list.Next != "" {
		next := url.Values{"before": {list.Next}}
		if page.Only {
			next.Set("show", "unread")
		}
		page.Older = noticesPath + "?" + next.Encode()
	}
	s.show(w, r, http.StatusOK, "notices", page)
}

// fromNotices is the page of notices that a form was sent from.
func fromNotices(r *http.Request) string {
	if here := localPath(r.PostFormValue("here")); below(here, noticesPath+"?") || below(here, noticesPath+"/") {
		return here
	}
	return noticesPath
}

// readNotices marks one notice, or all, as read.
func (s *Server) readNotices(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if err := s.Notices.MarkRead(r.Context(), requestOf(r).user.ID, id); err != nil {
		s.back(w, r, fromNotices(r), err)
		return
	}
	if id != "" { // the page shows it
		http.Redirect(w, r, fromNotices(r), http.StatusSeeOther)
		return
	}
	s.done(w, r, noticesPath, web.Said{Kind: "good", Key: "notices.read.done"})
}

// resendNotice delivers again what a notice says could not be delivered.
func (s *Server) resendNotice(w http.ResponseWriter, r *http.Request) {
	user := requestOf(r).user
	n, err := s.Notices.Get(r.Context(), user.ID, r.PathValue("id"))
	if err == nil && n.Kind != notice.DeliveryFailed {
		err = notice.ErrNone
	}
	if err == nil {
		err = s.Sharing.Resend(r.Context(), user.ID, n.About().Share)
	}
	if err != nil {
		s.back(w, r, fromNotices(r), err)
		return
	}
	s.done(w, r, fromNotices(r), web.Said{Kind: "good", Key: "notices.resend.done"})
}
