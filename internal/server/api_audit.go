package server

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/store"
)

// AuditView is a record of who did what, as JSON: in the API, in exports and on
// the command line.
type AuditView struct {
	ID      string          `json:"id"`
	At      string          `json:"at" format:"date-time"`
	Action  string          `json:"action" doc:"a stable word, such as share.created"`
	Actor   AuditActor      `json:"actor"`
	Object  AuditObject     `json:"object"`
	Target  string          `json:"target,omitempty" doc:"the address or host it was done towards"`
	Origin  string          `json:"origin,omitempty" doc:"the client's address, or cli"`
	Request string          `json:"request,omitempty" doc:"the request's id"`
	Outcome string          `json:"outcome" enum:"done,refused"`
	Code    string          `json:"code,omitempty" doc:"of a refusal"`
	Details json.RawMessage `json:"details"`
}

// AuditActor is who acted.
type AuditActor struct {
	Kind string `json:"kind" enum:"user,operator,peer,visitor,system" doc:"operator: at the command line of the server"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty" doc:"a user's name, a peer's host"`
}

// AuditObject is what was acted upon.
type AuditObject struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// ShowAudit makes the view of a record.
func ShowAudit(e *audit.Entry) AuditView {
	return AuditView{
		ID: e.ID, At: store.Time(e.At).UTC().Format("2006-01-02T15:04:05.000Z07:00"), Action: e.Action,
		Actor: AuditActor{e.ActorKind, e.ActorID, e.Actor}, Object: AuditObject{e.ObjectKind, e.ObjectID, e.Object},
		Target: e.Target, Origin: e.Origin, Request: e.Request, Outcome: e.Outcome, Code: e.Code, Details: json.RawMessage(e.Details),
	}
}

// ExportAudit writes all records that fit, the oldest first, as JSON Lines, and
// records that it did.
func (s *Server) ExportAudit(ctx context.Context, w io.Writer, f audit.Filter) error {
	details := audit.Details{}
	for name, v := range map[string]string{
		"actor": f.Actor, "action": f.Action, "object": f.Object, "target": f.Target, "request": f.Request, "outcome": f.Outcome, "text": f.Text,
	} {
		if v != "" {
			details[name] = v
		}
	}
	for name, t := range map[string]time.Time{"from": f.From, "to": f.To} {
		if !t.IsZero() {
			details[name] = t.UTC()
		}
	}
	if err := s.Audit.Note(ctx, audit.Event{Action: "audit.exported", Kind: "audit", Details: details}); err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return s.Audit.Each(ctx, f, func(e *audit.Entry) error { return enc.Encode(ShowAudit(e)) })
}

// AuditQuery is the filter of calls about records. (huma reads embedded structs of
// exported types alone.)
type AuditQuery struct {
	From    time.Time `query:"from" doc:"RFC 3339"`
	To      time.Time `query:"to" doc:"RFC 3339, not included"`
	Actor   string    `query:"actor" maxLength:"300" doc:"a kind of actor, a user's id or name, or a peer's host"`
	Action  string    `query:"action" maxLength:"64" doc:"the action, or what it begins with up to its dot: share."`
	Object  string    `query:"object" maxLength:"1024" doc:"its id, or its whole name"`
	Target  string    `query:"target" maxLength:"1024" doc:"an address, or a host: then all addresses there"`
	Request string    `query:"request" maxLength:"64" doc:"the request's id"`
	Outcome string    `query:"outcome" enum:"done,refused,"`
	Text    string    `query:"text" maxLength:"300" doc:"anywhere in names, targets and details; or a client's address"`
}

func (q AuditQuery) filter() audit.Filter {
	return audit.Filter{From: q.From, To: q.To, Actor: q.Actor, Action: q.Action, Object: q.Object, Target: q.Target, Request: q.Request, Outcome: q.Outcome, Text: q.Text}
}

// exportName is the file that exports are saved as.
func exportName(now time.Time) string {
	return "audit-" + now.UTC().Format("20060102-150405") + ".jsonl"
}

// typeJSONLines is a JSON value a line.
const typeJSONLines = "application/jsonl"

func (s *Server) apiAudit(api huma.API) {
	type page struct {
		Records []AuditView `json:"records" doc:"the newest first"`
		Next    string      `json:"next,omitempty" doc:"before of the next page"`
	}
	admin(api, operation("GET", "/audit", "audit", "Search the records of who did what"), func(ctx context.Context, in *struct {
		AuditQuery
		Before string `query:"before" maxLength:"100"`
		Limit  int64  `query:"limit" minimum:"1" maximum:"1000"`
	}) (*page, error) {
		f := in.filter()
		f.Before, f.Limit = in.Before, cmp.Or(in.Limit, 100)
		rows, next, err := s.Audit.List(ctx, f)
		if err != nil {
			return nil, err
		}
		out := &page{Records: []AuditView{}, Next: next}
		for i := range rows {
			out.Records = append(out.Records, ShowAudit(&rows[i]))
		}
		return out, nil
	})
	export := operation("GET", "/audit/export", "exportAudit", "Get the records that fit as JSON Lines, the oldest first (administrators)")
	export.Responses = map[string]*huma.Response{"200": {Description: "a record a line", Content: map[string]*huma.MediaType{typeJSONLines: {}}}}
	huma.Register(api, export, func(ctx context.Context, in *AuditQuery) (*huma.StreamResponse, error) {
		if !asking(ctx).Admin() {
			return nil, failing(ctx, errAdmins)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", typeJSONLines)
			hc.SetHeader("Content-Disposition", `attachment; filename="`+exportName(s.now())+`"`)
			s.streamAudit(ctx, hc.BodyWriter(), in.filter())
		}}, nil
	})
}

// streamAudit is ExportAudit into an answer that has begun: what fails then can
// only cut it off.
func (s *Server) streamAudit(ctx context.Context, w io.Writer, f audit.Filter) {
	if err := s.ExportAudit(ctx, w, f); err != nil {
		if ctx.Err() == nil {
			s.log.Error("the audit records cannot be exported", "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}
