package server

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

// questionView is a request that someone put to a person.
type questionView struct {
	sharing.ReceivedRequest

	From    regardView
	Rights  string // asked for, in the catalogue
	Third   string // whom to include, for a reshare; "" when who asks is to receive it
	Form    shareForm
	Where   string // the path as typed
	Open    bool   // the form is shown again
	Waiting bool
}

// Reshare reports whether someone else is to be included.
func (v questionView) Reshare() bool { return v.Kind == sharing.AskReshare }

// showQuestions prepares requests for a page.
func (s *Server) showQuestions(ctx context.Context, userID string, requests []sharing.ReceivedRequest) ([]questionView, error) {
	people := map[string]string{}
	for _, q := range requests {
		people[q.Asker] = ""
	}
	regards, err := s.Contacts.Regards(ctx, userID, people)
	if err != nil {
		return nil, err
	}
	views := make([]questionView, 0, len(requests))
	for _, q := range requests {
		v := questionView{ReceivedRequest: q, From: s.asView(regards[q.Asker], "", q.Asker, q.Proof), Rights: rightsOf(q.Rights()), Where: q.Path, Waiting: q.State == sharing.QuestionOpen}
		v.Form = shareForm{Rights: strings.TrimSuffix(v.Rights, "-share"), Pass: q.Rights().Has(tree.Share), End: "none"}
		if v.Reshare() {
			v.Third = q.ShareWith
		}
		views = append(views, v)
	}
	return views, nil
}

// maxPaths is how many paths the page offers for a request that names none.
const maxPaths = 200

// questionsOf adds to the inbox what others ask of its person.
func (s *Server) questionsOf(ctx context.Context, user account.User, page *inboxPage) error {
	all, err := s.Sharing.ReceivedRequests(ctx, user.ID)
	if err != nil {
		return err
	}
	var open []sharing.ReceivedRequest
	unclear := false
	for _, q := range all {
		if q.State == sharing.QuestionOpen {
			open = append(open, q)
			unclear = unclear || q.Kind == sharing.AskShare && q.Path == ""
		}
	}
	if page.Questions, err = s.showQuestions(ctx, user.ID, open); err != nil || !unclear {
		return err
	}
	entries, err := s.ownEntries(ctx, user.ID, "", "", maxPaths)
	for _, e := range entries {
		page.Complete = append(page.Complete, e.Name)
	}
	return err
}

// requestsPage is what a person asked of others, and answered.
type requestsPage struct {
	Sent     []askedView
	Answered []questionView
}

// askedView is a request that the person sent.
type askedView struct {
	sharing.SentRequest

	Who      string
	Rights   string
	Reshare  bool
	WithWhom string // to include, for a reshare
	Withdraw bool   // there is something to take back
}

// maxShown bounds the lists of requests.
const maxShown = 200

// requestsList shows what a person asked of others, and how the questions to the
// person were answered.
func (s *Server) requestsList(w http.ResponseWriter, r *http.Request) {
	ctx, user := r.Context(), *requestOf(r).user
	sent, err := s.Sharing.SentRequests(ctx, user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	received, err := s.Sharing.ReceivedRequests(ctx, user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	page := requestsPage{}
	sent = sent[:min(len(sent), maxShown)]
	var owners []string
	for _, q := range sent {
		owners = append(owners, q.Owner)
	}
	names, err := s.Contacts.Names(ctx, user.ID, owners)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	for _, q := range sent {
		v := askedView{SentRequest: q, Who: names[q.Owner], Rights: rightsOf(q.Rights()), Reshare: q.Kind == sharing.AskReshare}
		v.Withdraw = q.State == sharing.RequestPending || q.State == sharing.RequestAsked || v.Reshare && q.State == sharing.RequestGranted
		if v.Reshare {
			v.WithWhom = q.ShareWith
		}
		page.Sent = append(page.Sent, v)
	}
	var answered []sharing.ReceivedRequest
	for _, q := range received {
		if q.State != sharing.QuestionOpen && len(answered) < maxShown {
			answered = append(answered, q)
		}
	}
	if page.Answered, err = s.showQuestions(ctx, user.ID, answered); err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "requests", page)
}

// askPage is the form to ask for a share.
type askPage struct {
	Owner, Resource string
	Folder          bool
	Form            shareForm
}

// askForm shows the form to ask for a share.
func (s *Server) askForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.show(w, r, http.StatusOK, "ask", askPage{Owner: q.Get("owner"), Resource: q.Get("resource"), Form: shareForm{Rights: "read"}})
}

// askForShare takes the form of askForm.
func (s *Server) askForShare(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	page := askPage{
		Owner: strings.TrimSpace(r.PostForm.Get("owner")), Resource: strings.TrimSpace(r.PostForm.Get("resource")),
		Folder: r.PostForm.Get("what") == "folder", Form: readShareForm(r),
	}
	var err error
	if page.Owner == "" {
		err = errOwnerMissing
	} else if page.Resource == "" {
		err = errResourceMissing
	} else {
		_, err = s.Sharing.Ask(r.Context(), *requestOf(r).user, sharing.NewRequest{
			Owner: page.Owner, Resource: page.Resource, Folder: page.Folder, Permissions: page.Form.permissions(), Message: page.Form.Message,
		})
	}
	if err != nil {
		s.showFault(w, r, "ask", page, err)
		return
	}
	s.done(w, r, "/requests", web.Said{Kind: "good", Key: "requests.sent", Args: []string{page.Owner}})
}

// What the form to ask lacks.
var (
	errOwnerMissing    = ocm.NewError(http.StatusBadRequest, "OWNER_MISSING", "Say whom to ask: a name from your address book, or an address like name@server.")
	errResourceMissing = ocm.NewError(http.StatusBadRequest, "RESOURCE_MISSING", "Say what you ask for: a link, or the name of the file or folder as its owner calls it.")
)

// grantRequest shares what was asked for.
func (s *Server) grantRequest(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	ctx, user := r.Context(), *requestOf(r).user
	id, where, form := r.PathValue("id"), strings.TrimSpace(r.PostForm.Get("path")), readShareForm(r)
	n, err := form.draft(where, s.now())
	if err == nil {
		var o *sharing.Outgoing
		if o, err = s.Sharing.Grant(ctx, user, id, n); err == nil {
			s.done(w, r, "/inbox", web.Said{
				Kind: "good", Key: "requests.granted", Args: []string{o.Name, o.ShareWith},
				Link: &web.Link{To: "/share?path=" + url.QueryEscape(o.Path), Key: "sharing.see"},
			})
			return
		}
	}
	page, again := s.inboxOf(r)
	if again != nil {
		s.problemPage(w, r, again)
		return
	}
	for i := range page.Questions {
		if q := &page.Questions[i]; q.ID == id {
			q.Form, q.Where, q.Open = form, where, true
			s.showFault(w, r, "inbox", page, err)
			return
		}
	}
	s.back(w, r, "/inbox", err) // it is gone, or answered
}

// onQuestion runs an answer to a request, and leads back to the inbox.
func (s *Server) onQuestion(w http.ResponseWriter, r *http.Request, said web.Said, act func(ctx context.Context, userID, id string) error) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	if err := act(r.Context(), requestOf(r).user.ID, r.PathValue("id")); err != nil {
		s.back(w, r, cameFrom(r, "/inbox"), err)
		return
	}
	s.done(w, r, cameFrom(r, "/inbox"), said)
}

// refuseRequest says no to a request.
func (s *Server) refuseRequest(w http.ResponseWriter, r *http.Request) {
	s.onQuestion(w, r, web.Said{Kind: "good", Key: "requests.refused"}, func(ctx context.Context, userID, id string) error {
		return s.Sharing.Refuse(ctx, userID, id, strings.TrimSpace(r.PostForm.Get("message")), false)
	})
}

// ignoreRequest leaves a request without an answer, for good.
func (s *Server) ignoreRequest(w http.ResponseWriter, r *http.Request) {
	s.onQuestion(w, r, web.Said{Kind: "good", Key: "requests.ignored"}, func(ctx context.Context, userID, id string) error {
		return s.Sharing.Refuse(ctx, userID, id, "", true)
	})
}

// withdrawRequest takes a request back.
func (s *Server) withdrawRequest(w http.ResponseWriter, r *http.Request) {
	s.onQuestion(w, r, web.Said{Kind: "good", Key: "requests.withdrawn"}, s.Sharing.Withdraw)
}
