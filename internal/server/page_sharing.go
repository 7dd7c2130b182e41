package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

// perList is how many shares a page of a list shows.
const perList = 50

// rightsOf names the rights of a share in the catalogue.
func rightsOf(r tree.Rights) string {
	name := "read"
	if r.Has(tree.Write) {
		name = "write"
	}
	if r.Has(tree.Share) {
		name += "-share"
	}
	return name
}

// sentView is a share as its owner's pages show it.
type sentView struct {
	sharing.Outgoing

	Who     string // the recipient's name, as far as it is known
	Rights  string // in the catalogue, as rightsOf names it
	Phase   string // the state, as it is now
	Next    string // what to do, in the catalogue
	Code    string // of a peer's refusal, for support
	Asker   string // whose request to pass it on it came of
	Live    bool
	Changed *shareForm
}

// Folder reports whether a folder is shared.
func (v sentView) Folder() bool { return v.ResourceType == ocm.ResourceFolder }

// Group reports whether it is shared with a group.
func (v sentView) Group() bool { return v.ShareType == ocm.ShareTypeGroup }

// Elsewhere reports whether the recipient is on another server.
func (v sentView) Elsewhere(self ocm.Host) bool { return ocm.Host(v.PeerHost) != self }

// showSentShares prepares shares for a page.
func (s *Server) showSentShares(ctx context.Context, userID string, shares []sharing.Outgoing) ([]sentView, error) {
	var addresses []string
	for _, o := range shares {
		addresses = append(addresses, o.ShareWith)
	}
	names, err := s.Contacts.Names(ctx, userID, addresses)
	if err != nil {
		return nil, err
	}
	askers, err := s.Sharing.Askers(ctx, shares)
	if err != nil {
		return nil, err
	}
	now := s.now()
	views := make([]sentView, 0, len(shares))
	for _, o := range shares {
		v := sentView{Outgoing: o, Who: o.RecipientName, Rights: rightsOf(o.Rights()), Phase: o.State, Live: o.Live(now), Asker: askers[o.Parent]}
		if name := names[o.ShareWith]; name != "" && !v.Group() {
			v.Who = name
		}
		if !v.Live && o.State != sharing.StateDeclined && o.State != sharing.StateFailed {
			v.Phase = sharing.StateEnded
			if o.StateReason == "" {
				v.StateReason = "expired"
			}
		}
		if sentence, code, ok := strings.Cut(v.StateReason, " ("); ok && o.State == sharing.StateFailed {
			v.StateReason, v.Code = sentence, strings.TrimSuffix(code, ")")
		}
		switch v.Next = v.Phase; {
		case v.Phase == sharing.StateDelivered && !v.Elsewhere(s.Self):
			v.Next = "here"
		case v.Code == string(ocm.CodeInviteRequired):
			v.Next = "invite"
		case v.Phase == sharing.StatePending && delivery.NoServer(v.StateReason):
			v.Next = "address"
		}
		v.Changed = &shareForm{Rights: strings.TrimSuffix(v.Rights, "-share"), Pass: o.Rights().Has(tree.Share), End: "keep"}
		if o.ExpiresAt != 0 {
			v.Changed.Ends = o.ExpiresAt
		}
		views = append(views, v)
	}
	return views, nil
}

// shareForm is what a person writes into the forms about a share.
type shareForm struct {
	With    string
	Group   bool
	Rights  string // read or write
	Pass    bool   // also pass it on
	End     string // keep, none, a number of days, or date
	Day     string
	Ends    int64 // when it ends now, for End keep
	MFA     bool
	Message string
}

// Days are the quick choices for the end of a share.
func (shareForm) Days() []int { return []int{1, 7, 30, 365} }

// Today is the first day that a share can end on.
func (shareForm) Today() string { return time.Now().Format(time.DateOnly) }

// readShareForm reads the fields of the forms about shares.
func readShareForm(r *http.Request) shareForm {
	f := r.PostForm
	form := shareForm{
		With: strings.TrimSpace(f.Get("with")), Group: f.Get("kind") == "group", Rights: f.Get("rights"), Pass: f.Get("pass") != "",
		End: f.Get("end"), Day: strings.TrimSpace(f.Get("day")), MFA: f.Get("mfa") != "", Message: strings.TrimSpace(strings.ReplaceAll(f.Get("message"), "\r\n", "\n")),
	}
	if form.Rights != "write" {
		form.Rights = "read"
	}
	if form.Day != "" {
		form.End = "date"
	}
	return form
}

// permissions are the rights of the form.
func (f shareForm) permissions() []string {
	out := []string{ocm.PermRead}
	if f.Rights == "write" {
		out = append(out, ocm.PermWrite)
	}
	if f.Pass {
		out = append(out, ocm.PermShare)
	}
	return out
}

// errDay refuses what is no date.
var errDay = ocm.NewError(http.StatusBadRequest, "DATE_INVALID", "The date cannot be read. Choose one from the calendar, or write it like 2026-12-31.")

// end is when the share shall end: nil for as it is, a zero time for never. A day
// is meant to its end.
func (f shareForm) end(now time.Time) (*time.Time, error) {
	var at time.Time
	switch days, err := strconv.Atoi(f.End); {
	case f.End == "keep":
		return nil, nil
	case f.End == "date":
		day, err := time.ParseInLocation(time.DateOnly, f.Day, time.Local)
		if err != nil {
			return nil, errDay.With(err)
		}
		at = day.AddDate(0, 0, 1).Add(-time.Second)
	case err == nil && slices.Contains(f.Days(), days):
		at = now.AddDate(0, 0, days)
	}
	return &at, nil
}

// draft is the share that the form asks for.
func (f shareForm) draft(item string, now time.Time) (sharing.NewOutgoing, error) {
	n := sharing.NewOutgoing{Path: item, With: f.With, Permissions: f.permissions(), RequireMFA: f.MFA, Message: f.Message}
	if f.Group {
		n.ShareType = ocm.ShareTypeGroup
	}
	end, err := f.end(now)
	if err == nil && end != nil {
		n.ExpiresAt = *end
	}
	return n, err
}

// errNoRecipient asks for what the form lacks.
var errNoRecipient = ocm.NewError(http.StatusBadRequest, "RECIPIENT_MISSING", "Say with whom to share: a name from your address book, or an address like name@server.")

// sharePage is what the dialog of one item shows.
type sharePage struct {
	Path, Name, Back string
	Folder           bool
	Self             ocm.Host
	Form             shareForm
	Verdict          *verdict
	Shares           []sentView
	Above            []sentView    // of the folders it is in
	Received         *receivedView // what came from someone else
	ReadOnly         bool          // of which no more can be asked for
}

// Here is the dialog's own address.
func (p *sharePage) Here() string { return "/share?" + url.Values{"path": {p.Path}}.Encode() }

// shareOf prepares the dialog of an item.
func (s *Server) shareOf(ctx context.Context, user account.User, item string) (*sharePage, error) {
	name, err := tree.Clean(item)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, sharing.ErrShareHome
	}
	p := &sharePage{Path: name, Name: path.Base(name), Self: s.Self, Form: shareForm{Rights: "read", End: "none"}}
	if tree.Within(name, tree.SharedDir) {
		return p, s.reshareOf(ctx, user, p)
	}
	files, err := s.Homes.Own(ctx, user.ID)
	if err != nil {
		return nil, err
	}
	info, err := files.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	p.Folder = info.Dir
	own, above, err := s.Sharing.SharesOf(ctx, user.ID, name)
	if err != nil {
		return nil, err
	}
	if p.Shares, err = s.showSentShares(ctx, user.ID, own); err != nil {
		return nil, err
	}
	p.Above, err = s.showSentShares(ctx, user.ID, above)
	return p, err
}

// reshareOf prepares the dialog of what came from someone else: its owner alone
// can share it, and can be asked to.
func (s *Server) reshareOf(ctx context.Context, user account.User, p *sharePage) error {
	mount, below, deeper := strings.Cut(strings.TrimPrefix(p.Path, tree.SharedDir+"/"), "/")
	if p.Path == tree.SharedDir || deeper && below != "" {
		return sharing.ErrNotShared.Saying("Only the whole of what someone shares with you can be passed on, by its owner. Open the folder that was shared, and ask there.")
	}
	r, err := s.Sharing.Mounted(ctx, user.ID, mount)
	if err != nil {
		return err
	}
	views, err := s.showReceivedShares(ctx, user.ID, []sharing.Received{*r})
	if err != nil {
		return err
	}
	p.Received, p.Folder = &views[0], views[0].Folder()
	p.ReadOnly = !r.Rights().Has(tree.Write)
	return nil
}

// shareDialog shows who has an item, and the form to share it.
func (s *Server) shareDialog(w http.ResponseWriter, r *http.Request) {
	page, err := s.shareOf(r.Context(), *requestOf(r).user, r.URL.Query().Get("path"))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	page.Form.With = r.URL.Query().Get("with")
	s.show(w, r, http.StatusOK, "share", page)
}

// share takes the form of the dialog: it checks, shares, or asks the owner to.
func (s *Server) share(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	ctx, user := r.Context(), *requestOf(r).user
	page, err := s.shareOf(ctx, user, r.PostForm.Get("path"))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	page.Form = readShareForm(r)
	n, err := page.Form.draft(page.Path, s.now())
	if err == nil && n.With == "" {
		err = errNoRecipient
	}
	if err == nil && r.PostForm.Get("do") == "check" && page.Received == nil {
		if err = s.mayAsk(user); err == nil {
			page.Verdict = s.lookAt(r, n)
			s.show(w, r, http.StatusOK, "share", page)
			return
		}
	}
	said := web.Said{Kind: "good", Key: "sharing.shared", Args: []string{page.Name, n.With}}
	if err == nil && page.Received != nil {
		_, err = s.Sharing.AskReshare(ctx, user, page.Received.ID, n)
		said = web.Said{Kind: "good", Key: "requests.sent", Args: []string{page.Received.Owner}, Link: &web.Link{To: "/requests", Key: "requests.mine"}}
	} else if err == nil {
		var o *sharing.Outgoing
		if o, err = s.Sharing.Create(ctx, user, n); err == nil {
			said.Args[1] = o.ShareWith
			if ocm.Host(o.PeerHost) != s.Self {
				said.Key = "sharing.shared.away"
			}
		}
	}
	if err != nil {
		s.showFault(w, r, "share", page, err)
		return
	}
	s.done(w, r, page.Here(), said)
}

// mayAsk bounds how often a person has us ask other servers.
func (s *Server) mayAsk(user account.User) error {
	if wait := s.byLook.take("user " + user.ID); wait > 0 {
		return errTooMany.RetryIn(wait)
	}
	return nil
}

// verdict is what a check of a recipient says, in the reader's language.
type verdict struct {
	OK      bool     `json:"ok"`
	Name    string   `json:"name,omitempty"`
	Address string   `json:"address,omitempty"`
	Remarks []remark `json:"remarks"`
	Invite  string   `json:"invite,omitempty"` // where to send an invite
	NoMFA   bool     `json:"noMfa,omitempty"`
}

type remark struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// lookAt is Sharing.Look in words.
func (s *Server) lookAt(r *http.Request, n sharing.NewOutgoing) *verdict {
	l := web.LocaleFor(s.languageOf(r), r.Header.Get("Accept-Language"))
	p, err := s.Sharing.Look(r.Context(), *requestOf(r).user, n)
	if err != nil {
		e := asError(err)
		note(r, e)
		text := l.Error(e)
		if e.Code == ocm.CodeAddressInvalid {
			text = l.T("sharing.look.address") // it may be half typed
		}
		return &verdict{Remarks: []remark{{sharing.RemarkBad, text}}}
	}
	v := &verdict{OK: p.Fits, Name: p.Name, Address: p.With.String(), NoMFA: p.Server != nil && !p.MFA || p.With.Host == s.Self, Remarks: []remark{}}
	for _, x := range p.Remarks {
		if x.Code == sharing.RemarkInvite {
			v.Invite = "/people/invite?" + url.Values{"for": {p.With.String()}}.Encode()
		}
		v.Remarks = append(v.Remarks, remark{x.Kind, remarkText(l, x)})
	}
	return v
}

// remarkText is a remark in words.
func remarkText(l *web.Locale, x sharing.Remark) string {
	switch {
	case x.Err != nil:
		return l.Error(x.Err)
	case x.Code == sharing.RemarkAlike:
		return l.Said(x.Args[0]) + "."
	}
	args := make([]any, len(x.Args))
	for i, a := range x.Args {
		args[i] = a
	}
	return l.T("sharing.look."+x.Code, args...)
}

// shareCheck says early, to the dialog's script, what would become of a share.
func (s *Server) shareCheck(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.mayAsk(*requestOf(r).user); err != nil {
		e := asError(err)
		note(r, e)
		setRetryAfter(w, e)
		writeJSON(w, e.Status, verdict{Remarks: []remark{}})
		return
	}
	q := r.URL.Query()
	form := shareForm{With: strings.TrimSpace(q.Get("with")), Group: q.Get("kind") == "group", Rights: q.Get("rights"), Pass: q.Get("pass") != "", MFA: q.Get("mfa") != "", End: "none"}
	n, err := form.draft(q.Get("path"), s.now())
	if err != nil || n.With == "" {
		writeJSON(w, http.StatusOK, verdict{Remarks: []remark{}})
		return
	}
	writeJSON(w, http.StatusOK, s.lookAt(r, n))
}

// suggestion is a line that a field offers to complete what is typed.
type suggestion struct {
	Value string `json:"value"`
	Label string `json:"label"`
	Hint  string `json:"hint,omitempty"`
	Icon  string `json:"icon"`
	More  bool   `json:"more,omitempty"` // there is more to choose below it
}

const maxSuggestions = 10

// shareComplete completes recipients for the dialog's script: people, or groups
// of this server.
func (s *Server) shareComplete(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	text := strings.TrimSpace(q.Get("q"))
	l := web.LocaleFor(s.languageOf(r), r.Header.Get("Accept-Language"))
	out := []suggestion{}
	if q.Get("kind") == "group" {
		groups, err := s.Accounts.Groups(r.Context())
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		for _, g := range groups {
			if len(out) < maxSuggestions && (strings.Contains(strings.ToLower(g.Name), strings.ToLower(text)) || strings.Contains(strings.ToLower(g.DisplayName), strings.ToLower(text))) {
				out = append(out, suggestion{Value: g.Name, Label: g.DisplayName, Hint: l.T("sharing.from.group", g.Name), Icon: "people"})
			}
		}
	} else if len(text) <= 255 {
		people, err := s.Contacts.Complete(r.Context(), *requestOf(r).user, text)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		for _, p := range people {
			one := suggestion{Value: p.Address, Label: p.Name, Hint: p.Address, Icon: "person"}
			if p.Name == "" {
				one.Label, one.Hint = p.Address, ""
			}
			switch p.Source {
			case "here":
				one.Hint += " · " + l.T("sharing.from.here")
			case contact.SourceInvite:
				one.Hint += " · " + l.T("sharing.from.invite")
			}
			one.Hint = strings.TrimPrefix(one.Hint, " · ")
			out = append(out, one)
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, out)
}

// sharePaths completes a path among the own files, a folder at a time.
func (s *Server) sharePaths(w http.ResponseWriter, r *http.Request) {
	text := strings.TrimLeft(r.URL.Query().Get("q"), "/")
	dir, begin := "", text
	if i := strings.LastIndexByte(text, '/'); i >= 0 {
		dir, begin = text[:i], text[i+1:]
	}
	out := []suggestion{}
	entries, err := s.ownEntries(r.Context(), requestOf(r).user.ID, dir, begin, maxSuggestions)
	if err != nil && !errors.Is(err, tree.ErrNotFound) && !errors.Is(err, tree.ErrNotFolder) && !errors.Is(err, tree.ErrName) {
		s.refuse(w, r, err)
		return
	}
	for _, e := range entries {
		one := suggestion{Value: tree.Join(dir, e.Name), Label: e.Name, Icon: "file"}
		if e.Dir {
			one.Icon, one.More = "folder", true
		}
		out = append(out, one)
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, out)
}

// ownEntries lists what in a folder of a person's own files begins so, at most
// limit.
func (s *Server) ownEntries(ctx context.Context, userID, dir, begin string, limit int) ([]tree.Info, error) {
	name, err := tree.Clean(dir)
	if err != nil {
		return nil, err
	}
	files, err := s.Homes.Own(ctx, userID)
	if err != nil {
		return nil, err
	}
	var out []tree.Info
	for e, err := range files.List(ctx, name) {
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(strings.ToLower(e.Name), strings.ToLower(begin)) {
			if out = append(out, e); len(out) == limit {
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b tree.Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// The choices of the list of shares, with the states they stand for.
var sentChoices = []struct {
	Name   string
	states []string
}{
	{"current", []string{sharing.StatePending, sharing.StateDelivered, sharing.StateAccepted, sharing.StateFailed}},
	{"waiting", []string{sharing.StatePending, sharing.StateDelivered}},
	{"trouble", []string{sharing.StateFailed}},
	{"past", []string{sharing.StateDeclined, sharing.StateEnded}},
}

// sharesPage is what the list of all shares shows.
type sharesPage struct {
	Self     ocm.Host
	Choice   string
	Choices  []choice
	Text, By string
	ByLink   string // the same in the other order
	Parts    []sentPart
	Total    int64
	Pager    pager
	Here     string
}

// choice is a tab of a list.
type choice struct {
	Name, Link string
	Current    bool
}

// sentPart are the shares of one item, or with one recipient.
type sentPart struct {
	Title, Address string
	First          sentView
	Shares         []sentView
}

// pagerOf tells which page of a list this is; link ends where the page's number
// belongs.
func pagerOf(page int, total int64, link string) pager {
	return pager{Page: page, Pages: int((total + perList - 1) / perList), Prev: page - 1, Next: page + 1, URL: link}
}

// numberOf reads which page of a list is asked for.
func numberOf(q url.Values, name string) int {
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 1 || n > 10_000 {
		return 1
	}
	return n
}

// sharesLink is an address of the list.
func sharesLink(choice, by, text string) string {
	q := url.Values{}
	for name, value := range map[string]string{"show": choice, "by": by, "q": text} {
		if value != "" && value != "current" && value != "item" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return "/shares"
	}
	return "/shares?" + q.Encode()
}

// withPage is a link to which a page's number can be added.
func withPage(link string) string { return beside(link, "page") }

// beside is a link to which a parameter's value can be added.
func beside(link, name string) string {
	if strings.Contains(link, "?") {
		return link + "&" + name + "="
	}
	return link + "?" + name + "="
}

// withNumber adds the number of a page that is not the first.
func withNumber(link, name string, n int) string {
	if n == 1 {
		return link
	}
	return beside(link, name) + strconv.Itoa(n)
}

// sharesList shows what a person shares.
func (s *Server) sharesList(w http.ResponseWriter, r *http.Request) {
	q, user := r.URL.Query(), *requestOf(r).user
	page := sharesPage{Self: s.Self, Choice: sentChoices[0].Name, Text: strings.TrimSpace(q.Get("q")), By: "item", Here: r.URL.RequestURI()}
	if q.Get("by") == "person" {
		page.By = "person"
	}
	if len(page.Text) > 255 {
		page.Text = ""
	}
	states := sentChoices[0].states
	for _, c := range sentChoices {
		if c.Name == q.Get("show") {
			page.Choice, states = c.Name, c.states
		}
	}
	for _, c := range sentChoices {
		page.Choices = append(page.Choices, choice{c.Name, sharesLink(c.Name, page.By, page.Text), c.Name == page.Choice})
	}
	other := "person"
	if page.By == other {
		other = "item"
	}
	page.ByLink = sharesLink(page.Choice, other, page.Text)
	n := numberOf(q, "page")
	shares, total, err := s.Sharing.SentPage(r.Context(), user.ID, sharing.SentQuery{
		States: states, Text: page.Text, ByPerson: page.By == "person", Offset: int64(n-1) * perList, Limit: perList,
	})
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	views, err := s.showSentShares(r.Context(), user.ID, shares)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	for _, v := range views {
		key := v.Path
		if page.By == "person" {
			key = v.ShareWith
		}
		if len(page.Parts) == 0 || page.Parts[len(page.Parts)-1].Address != key {
			page.Parts = append(page.Parts, sentPart{Title: v.Name, Address: key, First: v})
		}
		part := &page.Parts[len(page.Parts)-1]
		part.Shares = append(part.Shares, v)
		if page.By == "person" && v.Who != "" {
			part.First.Who = v.Who
		}
	}
	page.Total, page.Pager = total, pagerOf(n, total, withPage(sharesLink(page.Choice, page.By, page.Text)))
	s.show(w, r, http.StatusOK, "shares", page)
}

// cameFrom is the page that a form of a list came from.
func cameFrom(r *http.Request, otherwise string) string {
	if back := r.PostForm.Get("back"); back != "" && localPath(back) == back {
		return back
	}
	return otherwise
}

// onShare runs an act on a share of one's own, and leads back to where it was
// asked for.
func (s *Server) onShare(w http.ResponseWriter, r *http.Request, act func(ctx context.Context, o *sharing.Outgoing) (web.Said, error)) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	back := cameFrom(r, "/shares")
	o, err := s.Sharing.SentOne(r.Context(), requestOf(r).user.ID, r.PathValue("id"))
	if err != nil {
		s.back(w, r, back, err)
		return
	}
	said, err := act(r.Context(), o)
	if err != nil {
		s.back(w, r, back, err)
		return
	}
	s.done(w, r, back, said)
}

// changeShare takes the form that changes rights and end.
func (s *Server) changeShare(w http.ResponseWriter, r *http.Request) {
	s.onShare(w, r, func(ctx context.Context, o *sharing.Outgoing) (web.Said, error) {
		form := readShareForm(r)
		end, err := form.end(s.now())
		if err != nil {
			return web.Said{}, err
		}
		before := o.ExpiresAt
		changed, err := s.Sharing.Change(ctx, o.OwnerID, o.ID, sharing.Change{Permissions: form.permissions(), ExpiresAt: end})
		if err != nil {
			return web.Said{}, err
		}
		said := web.Said{Kind: "good", Key: "sharing.changed", Args: []string{o.Name, o.ShareWith}}
		reached := o.State == sharing.StateDelivered || o.State == sharing.StateAccepted
		if ocm.Host(o.PeerHost) != s.Self && reached && changed.ExpiresAt != before {
			said.Key, said.Args = "sharing.changed.end", append(said.Args, o.PeerHost)
			if later := changed.ExpiresAt == 0 || before != 0 && changed.ExpiresAt > before; later && before != 0 {
				said.Kind, said.Key = "warn", "sharing.changed.later"
			}
		}
		return said, nil
	})
}

// endShare ends a share.
func (s *Server) endShare(w http.ResponseWriter, r *http.Request) {
	s.onShare(w, r, func(ctx context.Context, o *sharing.Outgoing) (web.Said, error) {
		return web.Said{Kind: "good", Key: "sharing.ended", Args: []string{o.Name, o.ShareWith}}, s.Sharing.Unshare(ctx, o.OwnerID, o.ID)
	})
}

// resendShare tries to deliver a share again.
func (s *Server) resendShare(w http.ResponseWriter, r *http.Request) {
	s.onShare(w, r, func(ctx context.Context, o *sharing.Outgoing) (web.Said, error) {
		return web.Said{Kind: "good", Key: "sharing.resent", Args: []string{o.Name, o.PeerHost}}, s.Sharing.Resend(ctx, o.OwnerID, o.ID)
	})
}
