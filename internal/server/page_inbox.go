package server

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

// receivedView is a share as the inbox shows it.
type receivedView struct {
	sharing.Received

	From   regardView // who shares
	Owned  string     // the owner's address, where it is not the sender's
	Rights string     // in the catalogue, as rightsOf names it
	Pass   bool       // it may be passed on
	Target string     // the group it is for, "" for the person alone
	Link   string     // where it stands among the files, once accepted
	Phase  string     // pending, accepted, declined, left or ended
	Ended  string     // why
}

// Folder reports whether a folder is shared.
func (v receivedView) Folder() bool { return v.ResourceType == ocm.ResourceFolder }

// Path is where an accepted share stands among the files.
func (v receivedView) Path() string { return tree.Join(tree.SharedDir, v.MountName) }

// regardView is someone elsewhere as pages show them.
type regardView struct {
	contact.Regard

	Name, Address string
	Local         bool   // on this server
	Server        string // its name, or its host
	Host          string
	Proof         string
}

// Known reports whether the person's address book holds them.
func (v regardView) Known() bool { return v.Local || v.Contact != nil }

// Invited reports whether an invite made them known.
func (v regardView) Invited() bool { return v.Contact != nil && v.Contact.Invited }

// Odd is what is suspicious about the name of their server.
func (v regardView) Odd() string { return v.Regard.Server.Warning }

// Federation names the directory that lists their server.
func (v regardView) Federation() string { return v.Regard.Server.Federation }

// asView completes what is known of someone for a page.
func (s *Server) asView(g contact.Regard, name, address, proof string) regardView {
	host := address[strings.LastIndexByte(address, '@')+1:]
	v := regardView{Regard: g, Name: name, Address: address, Host: host, Local: ocm.Host(host) == s.Self, Proof: proof}
	v.Server = cmp.Or(g.Server.Listed, g.Server.Name, host)
	if g.Contact != nil && g.Contact.Name != "" {
		v.Name = g.Contact.Name // as the person knows them
	}
	return v
}

// showReceivedShares prepares shares for a page.
func (s *Server) showReceivedShares(ctx context.Context, userID string, shares []sharing.Received) ([]receivedView, error) {
	people := map[string]string{}
	for _, r := range shares {
		people[r.Sender] = r.SenderName
	}
	regards, err := s.Contacts.Regards(ctx, userID, people)
	if err != nil {
		return nil, err
	}
	now := s.now()
	views := make([]receivedView, 0, len(shares))
	for _, r := range shares {
		v := receivedView{
			Received: r, From: s.asView(regards[r.Sender], r.SenderName, r.Sender, r.Proof), Rights: rightsOf(r.Rights()), Pass: r.Rights().Has(tree.Share), Phase: r.MemberState,
		}
		if r.Owner != r.Sender {
			v.Owned = r.Owner
		}
		if r.GroupID != "" {
			v.Target = r.ShareWith[:max(strings.LastIndexByte(r.ShareWith, '@'), 0)]
		}
		switch {
		case !r.Live(now):
			v.Phase, v.Ended = "ended", cmp.Or(r.EndedReason, "expired")
		case r.MemberState == sharing.MemberAccepted:
			v.Link = "/files/" + (&url.URL{Path: v.Path()}).EscapedPath()
		}
		views = append(views, v)
	}
	return views, nil
}

// inboxPage is what the inbox shows.
type inboxPage struct {
	Self       ocm.Host
	View       string // waiting, accepted or past
	Text       string
	Here       string
	Questions  []questionView // that wait
	Shares     []receivedView
	Apart      []receivedView // in quarantine
	Total      int64
	Pager      pager
	ApartPager pager
	Complete   []string // paths, for a request that does not say which
}

// inboxLink is an address of the inbox.
func inboxLink(view, text string) string {
	q := url.Values{}
	if view != sharing.InboxWaiting {
		q.Set("show", view)
	}
	if text != "" {
		q.Set("q", text)
	}
	if len(q) == 0 {
		return "/inbox"
	}
	return "/inbox?" + q.Encode()
}

// inboxOf prepares the inbox.
func (s *Server) inboxOf(r *http.Request) (*inboxPage, error) {
	ctx, q, user := r.Context(), r.URL.Query(), *requestOf(r).user
	page := &inboxPage{Self: s.Self, View: sharing.InboxWaiting, Text: strings.TrimSpace(q.Get("q"))}
	if show := q.Get("show"); show == sharing.InboxAccepted || show == sharing.InboxPast {
		page.View = show
	}
	if len(page.Text) > 255 || page.View == sharing.InboxWaiting {
		page.Text = ""
	}
	here := inboxLink(page.View, page.Text)
	var n, apart int
	var err error
	if page.Shares, page.Total, n, err = s.inboxPart(ctx, user.ID, page.View, page.Text, numberOf(q, "page")); err != nil {
		return nil, err
	}
	if page.View != sharing.InboxWaiting {
		page.Here, page.Pager = withNumber(here, "page", n), pagerOf(n, page.Total, withPage(here))
		return page, nil
	}
	// Two lists stand here, and each keeps its place while the other is leafed
	// through.
	var kept int64
	if page.Apart, kept, apart, err = s.inboxPart(ctx, user.ID, sharing.InboxApart, "", numberOf(q, "apart")); err != nil {
		return nil, err
	}
	page.Here = withNumber(withNumber(here, "page", n), "apart", apart)
	page.Pager = pagerOf(n, page.Total, withPage(withNumber(here, "apart", apart)))
	page.ApartPager = pagerOf(apart, kept, beside(withNumber(here, "page", n), "apart"))
	page.ApartPager.Of = "sharing.inbox.apart"
	return page, s.questionsOf(ctx, user, page)
}

// inboxPart is a page of a part of the inbox: the last one, where what the
// asked one held is gone.
func (s *Server) inboxPart(ctx context.Context, userID, view, text string, n int) ([]receivedView, int64, int, error) {
	shares, total, err := s.Sharing.InboxPart(ctx, userID, view, text, int64(n-1)*perList, perList)
	if last := int(max(1, (total+perList-1)/perList)); err == nil && n > last {
		n = last
		shares, total, err = s.Sharing.InboxPart(ctx, userID, view, text, int64(n-1)*perList, perList)
	}
	if err != nil {
		return nil, 0, n, err
	}
	views, err := s.showReceivedShares(ctx, userID, shares)
	return views, total, n, err
}

// inbox shows what others share with a person, and ask of them.
func (s *Server) inbox(w http.ResponseWriter, r *http.Request) {
	page, err := s.inboxOf(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "inbox", page)
}

// onReceived runs an act on a received share, and leads back to where it was
// asked for.
func (s *Server) onReceived(w http.ResponseWriter, r *http.Request, act func(ctx context.Context, userID, id string) (web.Said, error)) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	said, err := act(r.Context(), requestOf(r).user.ID, r.PathValue("id"))
	if err != nil {
		s.back(w, r, cameFrom(r, "/inbox"), err)
		return
	}
	s.done(w, r, cameFrom(r, "/inbox"), said)
}

// acceptShare takes a share.
func (s *Server) acceptShare(w http.ResponseWriter, r *http.Request) {
	s.onReceived(w, r, func(ctx context.Context, userID, id string) (web.Said, error) {
		in, err := s.Sharing.Accept(ctx, userID, id)
		if err != nil {
			return web.Said{}, err
		}
		views, err := s.showReceivedShares(ctx, userID, []sharing.Received{*in})
		if err != nil {
			return web.Said{}, err
		}
		return web.Said{Kind: "good", Key: "sharing.accepted", Args: []string{in.MountName}, Link: &web.Link{To: views[0].Link, Key: "sharing.open"}}, nil
	})
}

// declineShare refuses a share.
func (s *Server) declineShare(w http.ResponseWriter, r *http.Request) {
	s.onReceived(w, r, func(ctx context.Context, userID, id string) (web.Said, error) {
		return web.Said{Kind: "good", Key: "sharing.declined"}, s.Sharing.Decline(ctx, userID, id)
	})
}

// leaveShare gives an accepted share back.
func (s *Server) leaveShare(w http.ResponseWriter, r *http.Request) {
	s.onReceived(w, r, func(ctx context.Context, userID, id string) (web.Said, error) {
		return web.Said{Kind: "good", Key: "sharing.left"}, s.Sharing.Leave(ctx, userID, id)
	})
}

// blockSender gives a share back and lets no other of its sender arrive.
func (s *Server) blockSender(w http.ResponseWriter, r *http.Request) {
	s.onReceived(w, r, func(ctx context.Context, userID, id string) (web.Said, error) {
		return web.Said{Kind: "good", Key: "sharing.blocked", Link: &web.Link{To: "/people", Key: "nav.people"}}, s.Sharing.Block(ctx, userID, id)
	})
}

// reportShare tells the operator of a share.
func (s *Server) reportShare(w http.ResponseWriter, r *http.Request) {
	s.onReceived(w, r, func(ctx context.Context, userID, id string) (web.Said, error) {
		return web.Said{Kind: "good", Key: "sharing.reported"}, s.Sharing.Report(ctx, userID, id, r.PostForm.Get("message"))
	})
}
