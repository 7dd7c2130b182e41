package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/wire"
)

// ExchangeView is what went over the wire, as operators see it.
type ExchangeView struct {
	ID        string  `json:"id" doc:"for what came in, the request's id"`
	At        string  `json:"at" format:"date-time"`
	Direction string  `json:"direction" enum:"in,out"`
	Peer      string  `json:"peer,omitempty"`
	Operation string  `json:"operation"`
	Method    string  `json:"method"`
	URL       string  `json:"url"`
	Status    int64   `json:"status" doc:"0: no answer"`
	Millis    float64 `json:"ms"`
	Fault     string  `json:"fault,omitempty" doc:"why it was refused or failed"`

	Header       string     `json:"header,omitempty"`
	Body         string     `json:"body,omitempty" doc:"secrets are masked"`
	Base         string     `json:"signatureBase,omitempty" doc:"the text that the signature signs"`
	AnswerHeader string     `json:"answerHeader,omitempty"`
	Answer       string     `json:"answer,omitempty"`
	Steps        []StepView `json:"steps,omitempty" doc:"how it was decided"`
}

func showExchange(e wire.Entry) ExchangeView {
	return ExchangeView{
		ID: e.ID, At: store.Time(e.At).UTC().Format(time.RFC3339Nano), Direction: e.Direction, Peer: e.Peer, Operation: e.Operation, Method: e.Method,
		URL: e.URL, Status: e.Status, Millis: float64(e.Micros) / 1000, Fault: e.Fault,
		Header: e.Header, Body: e.Body, Base: e.SignatureBase, AnswerHeader: e.AnswerHeader, Answer: e.Answer,
	}
}

// OnTheWire lists exchanges, the newest first.
func (s *Server) OnTheWire(ctx context.Context, f wire.Filter) ([]ExchangeView, error) {
	entries, err := s.Wire.List(ctx, f)
	out := []ExchangeView{}
	for _, e := range entries {
		out = append(out, showExchange(e))
	}
	return out, err
}

// ShowExchange tells all of one exchange, with the decision on what came in.
func (s *Server) ShowExchange(ctx context.Context, id string) (*ExchangeView, error) {
	e, err := s.Wire.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	v := showExchange(*e)
	d, err := s.Decisions.Find(ctx, e.ID)
	if errors.Is(err, explain.ErrNoDecision) {
		return &v, nil
	}
	if err != nil {
		return nil, err
	}
	for _, step := range d.Steps {
		v.Steps = append(v.Steps, StepView(step))
	}
	return &v, nil
}

// Indented writes a body that is JSON over several lines.
func Indented(body string) string {
	var v json.RawMessage
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return body
	}
	return string(b)
}

func (s *Server) apiWire(api huma.API) {
	admin(api, operation("GET", "/wire", "wire", "List what went over the wire to and from other servers"), func(ctx context.Context, in *struct {
		Peer   string `query:"peer" maxLength:"300"`
		About  string `query:"about" maxLength:"300" doc:"a providerId, or other text of a body"`
		Failed bool   `query:"failed"`
		Before string `query:"before" maxLength:"64" doc:"the id of the last one of the page before"`
		Limit  int64  `query:"limit" minimum:"1" maximum:"1000"`
	}) ([]ExchangeView, error) {
		return s.OnTheWire(ctx, wire.Filter{Peer: in.Peer, About: in.About, Failed: in.Failed, Before: in.Before, Limit: cmp.Or(in.Limit, 100)})
	})
	admin(api, operation("GET", "/wire/{id}", "exchange", "Show an exchange: headers, bodies with secrets masked, the signature base, the decision"), func(ctx context.Context, in *byID) (*ExchangeView, error) {
		return s.ShowExchange(ctx, in.ID)
	})
}
