package server

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

func peerPath(host string) string { return "/admin/peers/" + url.PathEscape(host) }

// peersPage lists the servers met.
type peersPage struct {
	Text, Only string
	Peers      []PeerView
	Count      int
	Pager      pager
	Host       string // in the form that looks at another
}

func (s *Server) peersPage(r *http.Request) (*peersPage, error) {
	p := &peersPage{Text: strings.ToLower(asked(r, "q")), Only: asked(r, "only")}
	records, err := s.Peers.Records(r.Context())
	if err != nil {
		return nil, err
	}
	var all []PeerView
	for _, rec := range records {
		v := ShowPeer(&rec, false)
		if p.Text != "" && !strings.Contains(v.Host+"\n"+strings.ToLower(v.Provider)+"\n"+strings.ToLower(v.Profile), p.Text) {
			continue
		}
		switch p.Only {
		case "trouble":
			if v.FailingSince == "" && v.Dead == 0 && v.KeysWaiting == 0 {
				continue
			}
		case "reported":
			if v.Reports == 0 {
				continue
			}
		case "denied":
			if v.Policy != string(peer.Deny) {
				continue
			}
		}
		all = append(all, v)
	}
	p.Count = len(all)
	p.Peers, p.Pager = cut(r, all)
	return p, nil
}

func (s *Server) consolePeers(w http.ResponseWriter, r *http.Request) {
	p, err := s.peersPage(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-peers", p)
}

// consoleLook looks at a server that was not met yet.
func (s *Server) consoleLook(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	text := strings.TrimSpace(form.Get("host"))
	host, err := ocm.ReadHost(text)
	if err == nil {
		err = s.LookAgain(r.Context(), host)
	}
	if err != nil {
		p, e := s.peersPage(r)
		if e != nil {
			s.problemPage(w, r, e)
			return
		}
		p.Host = text
		s.showFault(w, r, "admin-peers", p, err)
		return
	}
	http.Redirect(w, r, peerPath(string(host)), http.StatusSeeOther)
}

// peerPage is a server with the rule about exactly it.
type peerPage struct {
	PeerView
	Discovered string // the document, indented
	Rule       RuleView
	HasRule    bool
	Profiles   []string
	Listed     []ReportView
	Pager      pager // of what is listed
	Met        bool
}

func (s *Server) peerPage(r *http.Request) (*peerPage, error) {
	host, err := ocm.ReadHost(r.PathValue("host"))
	if err != nil {
		return nil, err
	}
	p := &peerPage{Profiles: client.Profiles(), Rule: RuleView{Host: string(host)}}
	rec, err := s.Peers.Record(r.Context(), host)
	switch {
	case err == nil:
		p.PeerView, p.Met = ShowPeer(rec, true), true
		if p.Document != nil {
			p.Discovered = Indented(string(*p.Document))
		}
	case errors.Is(err, peer.ErrNotMet): // one may decide about it all the same
		v, err := s.Policy.Decide(r.Context(), host)
		if err != nil {
			return nil, err
		}
		p.PeerView = PeerView{Host: string(host), Policy: string(v.Action), Because: v.Because, MustSign: v.MustSign, MustExchange: v.MustExchange, MustInvite: v.MustInvite}
	default:
		return nil, err
	}
	rules, err := s.Policy.Rules(r.Context())
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(rules, func(rule peer.Rule) bool { return rule.Pattern == string(host) }); i >= 0 {
		p.Rule, p.HasRule = ShowRule(rules[i]), true
	}
	reports, err := s.Sharing.Reports(r.Context(), host)
	if err != nil {
		return nil, err
	}
	reports, p.Pager = cut(r, reports)
	p.Listed, err = s.showReports(r.Context(), reports)
	return p, err
}

func (s *Server) consolePeer(w http.ResponseWriter, r *http.Request) {
	p, err := s.peerPage(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-peer", p)
}

func (s *Server) consoleRefreshPeer(w http.ResponseWriter, r *http.Request) {
	host, err := ocm.ReadHost(r.PathValue("host"))
	if err == nil {
		err = s.LookAgain(r.Context(), host)
	}
	if err != nil {
		s.back(w, r, peerPath(r.PathValue("host")), err)
		return
	}
	s.done(w, r, peerPath(string(host)), web.Said{Kind: "good", Key: "admin.peer.refreshed"})
}

func (s *Server) consoleKey(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	state := peer.KeyRejected
	if form.Get("state") == peer.KeyTrusted {
		state = peer.KeyTrusted
	}
	host, err := ocm.ReadHost(r.PathValue("host"))
	var keys []peer.KeyRecord
	if err == nil {
		keys, err = s.Peers.KeysOf(r.Context(), host)
	}
	if err == nil {
		err = s.Peers.DecideKey(r.Context(), host, form.Get("key"), state)
	}
	if err != nil {
		s.back(w, r, peerPath(r.PathValue("host")), err)
		return
	}
	said := web.Said{Kind: "good", Key: "admin.key.trusted"}
	if state == peer.KeyRejected {
		said.Key = "admin.key.rejected"
		// One that waited was not trusted before: taking the rejection back must not
		// make it so.
		if slices.ContainsFunc(keys, func(k peer.KeyRecord) bool { return k.Thumbprint == form.Get("key") && k.State == peer.KeyTrusted }) {
			said.Undo = &web.Undo{Action: peerPath(string(host)) + "/key", Fields: url.Values{"key": {form.Get("key")}, "state": {peer.KeyTrusted}}}
		}
	}
	s.done(w, r, peerPath(string(host)), said)
}

// Policy

// policyPage is the rules with the forms about them.
type policyPage struct {
	Mode        string
	Criteria    []string
	Rules       []RuleView
	Count       int
	Text        string
	Pager       pager
	Rule        RuleView // in the form
	Profiles    []string
	CSV         string // what is to be imported
	Replace     bool
	Changes     []ChangeView
	Preview     bool
	Directories []DirectoryView
	URL, Key    string // of a directory to read
}

func (s *Server) policyPage(r *http.Request) (*policyPage, error) {
	rules, err := s.Policy.Rules(r.Context())
	if err != nil {
		return nil, err
	}
	p := &policyPage{
		Mode: string(s.Policy.Defaults.Mode), Criteria: s.Policy.Criteria(r.Context()), Text: strings.ToLower(asked(r, "q")), Profiles: client.Profiles(),
		Rule: RuleView{Host: asked(r, "host")},
	}
	var all []RuleView
	for _, rule := range rules {
		v := ShowRule(rule)
		if v.Host == p.Rule.Host {
			p.Rule = v
		}
		if p.Text == "" || strings.Contains(v.Host+"\n"+strings.ToLower(v.Note), p.Text) {
			all = append(all, v)
		}
	}
	p.Count = len(all)
	p.Rules, p.Pager = cut(r, all)
	subs, err := s.Directories.Subscriptions(r.Context())
	for _, d := range subs {
		p.Directories = append(p.Directories, ShowDirectory(&d, s.now()))
	}
	return p, err
}

func (s *Server) consolePolicy(w http.ResponseWriter, r *http.Request) {
	p, err := s.policyPage(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-policy", p)
}

// policyFault shows the page again with a form that was not taken.
func (s *Server) policyFault(w http.ResponseWriter, r *http.Request, fill func(p *policyPage), err error) {
	p, e := s.policyPage(r)
	if e != nil {
		s.problemPage(w, r, e)
		return
	}
	fill(p)
	if err != nil {
		s.showFault(w, r, "admin-policy", p, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-policy", p)
}

func ruleOf(form url.Values) RuleView {
	return RuleView{
		Host: strings.TrimSpace(form.Get("host")), Action: form.Get("action"), MustSign: form.Get("mustSign"), MustExchange: form.Get("mustExchange"),
		MustInvite: form.Get("mustInvite"), Profile: form.Get("profile"), Wire: form.Get("wire"), Cavage: form.Get("cavage"), Note: form.Get("note"),
	}
}

// fields are the form that sets a rule again.
func (v RuleView) fields() url.Values {
	return url.Values{
		"host": {v.Host}, "action": {v.Action}, "mustSign": {v.MustSign}, "mustExchange": {v.MustExchange}, "mustInvite": {v.MustInvite},
		"profile": {v.Profile}, "wire": {v.Wire}, "cavage": {v.Cavage}, "note": {v.Note},
	}
}

func (s *Server) consoleSetRule(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	v := ruleOf(form)
	was, had, err := s.ruleAt(r, v.Host)
	var rule peer.Rule
	if err == nil {
		rule, err = s.Policy.Set(r.Context(), v.rule())
	}
	if err != nil {
		s.policyFault(w, r, func(p *policyPage) { p.Rule = v }, err)
		return
	}
	said := web.Said{Kind: "good", Key: "admin.rule.set", Args: []string{rule.Pattern}, Undo: &web.Undo{Action: "/admin/policy/remove", Fields: url.Values{"host": {rule.Pattern}}}}
	if had {
		said.Undo = &web.Undo{Action: "/admin/policy", Fields: was.fields()}
	}
	s.done(w, r, backTo(form, "/admin/policy"), said)
}

// ruleAt finds the rule of exactly a pattern.
func (s *Server) ruleAt(r *http.Request, pattern string) (RuleView, bool, error) {
	rules, err := s.Policy.Rules(r.Context())
	i := slices.IndexFunc(rules, func(rule peer.Rule) bool { return rule.Pattern == strings.ToLower(strings.TrimSpace(pattern)) })
	if err != nil || i < 0 {
		return RuleView{}, false, err
	}
	return ShowRule(rules[i]), true, nil
}

func (s *Server) consoleRemoveRule(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	next := backTo(form, "/admin/policy")
	was, _, err := s.ruleAt(r, form.Get("host"))
	if err == nil {
		err = s.Policy.Unset(r.Context(), form.Get("host"))
	}
	if err != nil {
		s.back(w, r, next, err)
		return
	}
	s.done(w, r, next, web.Said{Kind: "good", Key: "admin.rule.removed", Args: []string{was.Host}, Undo: &web.Undo{Action: "/admin/policy", Fields: was.fields()}})
}

func (s *Server) consoleExportRules(w http.ResponseWriter, r *http.Request) {
	rules, err := s.Policy.Rules(r.Context())
	var b bytes.Buffer
	if err == nil {
		err = peer.WriteRules(&b, rules)
	}
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="rules.csv"`)
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b.Bytes())
}

// consoleImportRules shows what a file of rules would change, and the second time
// changes it.
func (s *Server) consoleImportRules(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	text, replace := form.Get("csv"), form.Get("replace") != ""
	rules, err := peer.ReadRules(strings.NewReader(text))
	var changes []peer.Change
	if err == nil {
		changes, err = s.Policy.Plan(r.Context(), rules, replace)
	}
	if err == nil && form.Get("apply") != "" {
		if err = s.Policy.Apply(r.Context(), changes); err == nil {
			s.done(w, r, "/admin/policy", saidOf("admin.import.done", len(changes)))
			return
		}
	}
	s.policyFault(w, r, func(p *policyPage) {
		p.CSV, p.Replace, p.Preview, p.Changes = text, replace, err == nil, ShowChanges(changes)
	}, err)
}

func (s *Server) consoleSubscribe(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	d, err := s.Directories.Subscribe(r.Context(), strings.TrimSpace(form.Get("url")), []byte(form.Get("key")))
	if err != nil {
		s.policyFault(w, r, func(p *policyPage) { p.URL, p.Key = form.Get("url"), form.Get("key") }, err)
		return
	}
	s.done(w, r, "/admin/policy", web.Said{Kind: "good", Key: "admin.directory.added", Args: []string{d.Federation}})
}

func (s *Server) consoleDirectory(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	said := web.Said{Kind: "good", Key: "admin.directory.refreshed"}
	var err error
	if form.Get("remove") != "" {
		said.Key = "admin.directory.removed"
		err = s.Directories.Unsubscribe(r.Context(), form.Get("url"))
	} else {
		_, err = s.Directories.Refresh(r.Context(), form.Get("url"))
	}
	if err != nil {
		s.back(w, r, "/admin/policy", err)
		return
	}
	s.done(w, r, "/admin/policy", said)
}
