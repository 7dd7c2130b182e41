package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/ocm"
)

// consoleRows is how many rows a page of the console's lists has.
const consoleRows = 50

// onward is the address of the next page of a list that goes on behind a row: ""
// when it does not.
func onward(r *http.Request, name, behind string) string {
	if behind == "" {
		return ""
	}
	q := r.URL.Query()
	q.Set(name, behind)
	return r.URL.EscapedPath() + "?" + q.Encode()
}

// begun is the address of the first page of the list, "" on it.
func begun(r *http.Request, name string) string {
	q := r.URL.Query()
	if !q.Has(name) {
		return ""
	}
	q.Del(name)
	return strings.TrimSuffix(r.URL.EscapedPath()+"?"+q.Encode(), "?")
}

// asked is a word of the address that a filter takes, without what surrounds it.
func asked(r *http.Request, name string) string {
	v := strings.TrimSpace(r.URL.Query().Get(name))
	if len(v) > 300 {
		v = strings.ToValidUTF8(v[:300], "")
	}
	return v
}

// formOf reads the form of a POST. When ok is false, the browser has been
// answered.
func (s *Server) formOf(w http.ResponseWriter, r *http.Request) (form url.Values, ok bool) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return nil, false
	}
	return r.PostForm, true
}

// backTo is where a form says it came from, if that is in the console.
func backTo(form url.Values, otherwise string) string {
	if next := localPath(form.Get("back")); strings.HasPrefix(next, "/admin/") {
		return next
	}
	return otherwise
}

// kept are the latest checks: they ask the network, and pages do not wait for it.
type kept struct {
	mu      sync.Mutex
	checks  []Check
	at      time.Time
	running chan struct{}
}

const (
	checksFresh = time.Minute
	checksWait  = 700 * time.Millisecond // for the first ones
)

// The checks are made some time after the start, so that the first page that shows
// them need not wait, and then every few minutes.
const (
	checksFirst = 10 * time.Second
	checksEvery = 5 * time.Minute
)

// runChecks makes them until ctx ends.
func (s *Server) runChecks(ctx context.Context) error {
	for wait := checksFirst; ; wait = checksEvery {
		select {
		case <-time.After(wait):
			s.recentChecks(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// recentChecks gives the checks of a minute ago at most, and has them made anew
// behind the page when they are older.
func (s *Server) recentChecks(ctx context.Context) ([]Check, time.Time) {
	k := &s.checked
	k.mu.Lock()
	if k.running == nil && time.Since(k.at) > checksFresh {
		running := make(chan struct{})
		k.running = running
		go func() {
			checks := s.Checks(context.WithoutCancel(ctx))
			k.mu.Lock()
			defer k.mu.Unlock()
			k.checks, k.at, k.running = checks, time.Now(), nil
			close(running)
		}()
	}
	running, first := k.running, k.at.IsZero()
	k.mu.Unlock()
	if running != nil && first {
		select {
		case <-running:
		case <-time.After(checksWait):
		case <-ctx.Done():
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.checks, k.at
}

// attention is a check that is not good, and the page where something can be done
// about it, "" where that is none of ours.
type attention struct {
	Check
	Page string
}

// checkPages are those pages, by the name of the check.
var checkPages = map[string]string{"Deliveries": "/admin/deliveries", "Directories": "/admin/policy#directories"}

func (s *Server) consoleOverview(w http.ResponseWriter, r *http.Request) {
	v, err := s.Overview(r.Context())
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	checks, at := s.recentChecks(r.Context())
	data := struct {
		*Overview
		Attention []attention // what is wrong, then what needs a look
		Checked   time.Time
		Part      int64 // of the disk that is used, in percent
		Recent    []AuditView
	}{Overview: v, Checked: at}
	for _, state := range []string{CheckBad, CheckWarn} {
		for _, c := range checks {
			if c.State == state {
				data.Attention = append(data.Attention, attention{c, checkPages[c.Name]})
			}
		}
	}
	if v.Storage.Total > 0 {
		data.Part = (v.Storage.Total - v.Storage.Free) * 100 / v.Storage.Total
	}
	rows, _, err := s.Audit.List(r.Context(), audit.Filter{Limit: 8})
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	for i := range rows {
		data.Recent = append(data.Recent, ShowAudit(&rows[i]))
	}
	s.show(w, r, http.StatusOK, "admin", data)
}

// Everyone's shares

var shareStates = map[string][]string{
	dirSent:     {sharing.StateLive, sharing.StatePending, sharing.StateDelivered, sharing.StateAccepted, sharing.StateDeclined, sharing.StateFailed, sharing.StateEnded},
	dirReceived: {sharing.StateLive, sharing.MemberPending, sharing.MemberAccepted, "quarantined", sharing.StateEnded},
}

func (s *Server) consoleShares(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Direction, User, Peer, State, Text, Next, First, Back string
		States                                                []string
		Shares                                                []AnyShare
		Fitting                                               int  // that can be ended at once; 0 without a filter that says whose
		Many                                                  bool // there are more than that
	}{
		Direction: dirSent, User: asked(r, "user"), Peer: strings.ToLower(asked(r, "peer")), State: asked(r, "state"), Text: asked(r, "q"),
		First: begun(r, "before"), Back: r.URL.RequestURI(),
	}
	if asked(r, "direction") == dirReceived {
		data.Direction = dirReceived
	}
	data.States = shareStates[data.Direction]
	if !slices.Contains(data.States, data.State) {
		data.State = ""
	}
	shares, err := s.AllShares(r.Context(), data.Direction, data.User, sharing.Everyone{
		Peer: data.Peer, State: data.State, Text: data.Text, Before: asked(r, "before"), Limit: consoleRows + 1,
	})
	if err != nil {
		s.showFault(w, r, "admin-shares", data, err)
		return
	}
	if len(shares) > consoleRows {
		shares = shares[:consoleRows]
		data.Next = onward(r, "before", shares[consoleRows-1].ID)
	}
	data.Shares = shares
	if len(shares) > 0 && (data.User != "" || data.Peer != "" || data.Text != "") {
		ids, err := s.EndableShares(r.Context(), data.Direction, data.User, sharing.Everyone{Peer: data.Peer, State: data.State, Text: data.Text, Limit: maxEnded + 1})
		if err != nil {
			s.problemPage(w, r, err)
			return
		}
		data.Fitting, data.Many = min(len(ids), maxEnded), len(ids) > maxEnded
	}
	s.show(w, r, http.StatusOK, "admin-shares", data)
}

// maxEnded is how many shares one form ends.
const maxEnded = 1000

func (s *Server) consoleEndShares(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	next := backTo(form, "/admin/shares")
	ids := form["id"]
	var err error
	// All that fit, but never everyone's: a form that lost its fields ends nothing.
	if f := (sharing.Everyone{Peer: form.Get("peer"), State: form.Get("state"), Text: form.Get("q"), Limit: maxEnded}); form.Get("fitting") != "" && (form.Get("user") != "" || f.Peer != "" || f.Text != "") {
		ids, err = s.EndableShares(r.Context(), form.Get("direction"), form.Get("user"), f)
	}
	if err == nil && len(ids) == 0 {
		err = errNothingChosen
	}
	n := 0
	if err == nil {
		n, err = s.Sharing.EndByOperator(r.Context(), ids[:min(len(ids), maxEnded)])
	}
	if err != nil {
		s.back(w, r, next, err)
		return
	}
	s.done(w, r, next, saidOf("admin.shares.ended", n))
}

// saidOf is a message about a number of things.
func saidOf(key string, n int) web.Said {
	kind := "good"
	if n == 0 {
		kind = "warn"
	}
	if n == 1 {
		key += ".one" // arguments of a message are text, which chooses no form
	}
	return web.Said{Kind: kind, Key: key, Args: []string{strconv.Itoa(n)}}
}

// Deliveries

// deliveryRow is a message with how old it is in words of the page.
type deliveryRow struct {
	delivery.Row
	Error string
}

func (s *Server) consoleDeliveries(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Peer, State, Kind, Next, First, Back string
		Rows                                 []deliveryRow
		Backlog                              delivery.Backlog
	}{Peer: strings.ToLower(asked(r, "peer")), State: asked(r, "state"), Kind: asked(r, "kind"), First: begun(r, "after"), Back: r.URL.RequestURI()}
	rows, err := s.Outbox.Messages(r.Context(), delivery.Filter{Peer: data.Peer, State: data.State, Kind: data.Kind, After: asked(r, "after"), Limit: consoleRows + 1})
	if err == nil {
		data.Backlog, err = s.Outbox.Backlog(r.Context())
	}
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	if len(rows) > consoleRows {
		rows = rows[:consoleRows]
		data.Next = onward(r, "after", rows[consoleRows-1].ID)
	}
	for _, row := range rows {
		said, _, _ := strings.Cut(row.LastError, " (") // as a setback is written
		data.Rows = append(data.Rows, deliveryRow{row, said})
	}
	s.show(w, r, http.StatusOK, "admin-deliveries", data)
}

func (s *Server) consoleResend(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	next := backTo(form, "/admin/deliveries")
	n := 0
	var err error
	switch peer := form.Get("peer"); {
	case peer != "":
		var host ocm.Host
		if host, err = ocm.ReadHost(peer); err == nil {
			n, err = s.Outbox.ResendAll(r.Context(), host, "")
		}
	case len(form["id"]) == 0:
		err = errNothingChosen
	default:
		for _, id := range form["id"][:min(len(form["id"]), 1000)] {
			if err = s.Outbox.Resend(r.Context(), id); errors.Is(err, delivery.ErrNoMessage) { // delivered meanwhile
				err = nil
				continue
			}
			if err != nil {
				break
			}
			n++
		}
	}
	if err != nil {
		s.back(w, r, next, err)
		return
	}
	s.done(w, r, next, saidOf("admin.deliveries.resent", n))
}

// The wire

func (s *Server) consoleWire(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Peer, About, Next, First string
		Failed, On               bool
		Exchanges                []ExchangeView
	}{Peer: strings.ToLower(asked(r, "peer")), About: asked(r, "about"), Failed: asked(r, "failed") != "", On: s.Wire.On(), First: begun(r, "before")}
	var err error
	data.Exchanges, err = s.OnTheWire(r.Context(), wire.Filter{Peer: data.Peer, About: data.About, Failed: data.Failed, Before: asked(r, "before"), Limit: consoleRows + 1})
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	if len(data.Exchanges) > consoleRows {
		data.Exchanges = data.Exchanges[:consoleRows]
		data.Next = onward(r, "before", data.Exchanges[consoleRows-1].ID)
	}
	s.show(w, r, http.StatusOK, "admin-wire", data)
}

func (s *Server) consoleExchange(w http.ResponseWriter, r *http.Request) {
	x, err := s.ShowExchange(r.Context(), r.PathValue("id"))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	x.Body, x.Answer = Indented(x.Body), Indented(x.Answer)
	s.show(w, r, http.StatusOK, "admin-exchange", x)
}

// The audit

// day reads a date of a form: the beginning of the day.
func dayOf(text string) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err != nil {
		return time.Time{}
	}
	return t
}

func auditFilter(r *http.Request) audit.Filter {
	f := audit.Filter{
		From: dayOf(asked(r, "from")), Actor: asked(r, "actor"), Action: asked(r, "action"), Object: asked(r, "object"), Target: strings.ToLower(asked(r, "target")),
		Request: asked(r, "request"), Outcome: asked(r, "outcome"), Text: asked(r, "q"), Before: asked(r, "before"), Limit: consoleRows,
	}
	if to := dayOf(asked(r, "to")); !to.IsZero() {
		f.To = to.AddDate(0, 0, 1)
	}
	return f
}

func (s *Server) consoleAudit(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Filter            map[string]string
		Records           []AuditView
		Next, First, File string
	}{Filter: map[string]string{}, First: begun(r, "before")}
	for _, name := range []string{"from", "to", "actor", "action", "object", "target", "request", "outcome", "q"} {
		data.Filter[name] = asked(r, name)
	}
	q := r.URL.Query()
	q.Del("before")
	data.File = strings.TrimSuffix("/admin/audit.jsonl?"+q.Encode(), "?")
	rows, next, err := s.Audit.List(r.Context(), auditFilter(r))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	data.Next = onward(r, "before", next)
	for i := range rows {
		data.Records = append(data.Records, ShowAudit(&rows[i]))
	}
	s.show(w, r, http.StatusOK, "admin-audit", data)
}

// DetailText is the details for people: names and values, a line each.
func (v AuditView) DetailText() string {
	if string(v.Details) == "{}" {
		return ""
	}
	return Indented(string(v.Details))
}

// Search is the address of the records about the same thing.
func (v AuditView) Search() string {
	return "/admin/audit?" + url.Values{"object": {v.Object.ID}}.Encode()
}

func (s *Server) consoleAuditFile(w http.ResponseWriter, r *http.Request) {
	f := auditFilter(r)
	f.Before, f.Limit = "", 0
	w.Header().Set("Content-Type", typeJSONLines)
	w.Header().Set("Content-Disposition", `attachment; filename="`+exportName(s.now())+`"`)
	w.Header().Set("Cache-Control", "no-store")
	s.streamAudit(r.Context(), w, f)
}

// The configuration

func (s *Server) consoleConfig(w http.ResponseWriter, r *http.Request) {
	checks, at := s.recentChecks(r.Context())
	s.show(w, r, http.StatusOK, "admin-config", struct {
		*ConfigView
		Checked time.Time
	}{s.configView(checks), at})
}

func (s *Server) consoleCheck(w http.ResponseWriter, r *http.Request) {
	k := &s.checked
	checks := s.Checks(r.Context())
	k.mu.Lock()
	k.checks, k.at = checks, time.Now()
	k.mu.Unlock()
	bad := 0
	for _, c := range checks {
		if c.State != CheckGood {
			bad++
		}
	}
	said := web.Said{Kind: "good", Key: "admin.config.checked"}
	if bad > 0 {
		said = web.Said{Kind: "warn", Key: "admin.config.found", Args: []string{fmt.Sprint(bad)}}
	}
	s.done(w, r, "/admin/config", said)
}
