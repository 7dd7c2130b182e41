package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

type sentRequest struct {
	ID          string   `json:"id"`
	Kind        string   `json:"kind"`
	Owner       string   `json:"owner"`
	With        string   `json:"with"`
	Resource    string   `json:"resource"`
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
	Message     string   `json:"message,omitempty"`
	State       string   `json:"state"`
	Reason      string   `json:"reason,omitempty"`
	CreatedAt   string   `json:"createdAt"`
}

type receivedRequest struct {
	ID           string   `json:"id"`
	Kind         string   `json:"kind"`
	From         string   `json:"from"`
	With         string   `json:"with"`
	Resource     string   `json:"resource"`
	Path         string   `json:"path,omitempty"`
	ResourceType string   `json:"resourceType"`
	Permissions  []string `json:"permissions"`
	Message      string   `json:"message,omitempty"`
	Times        int64    `json:"times"`
	State        string   `json:"state"`
	CreatedAt    string   `json:"createdAt"`
}

type allRequests struct {
	Sent     []sentRequest     `json:"sent"`
	Received []receivedRequest `json:"received"`
}

func (s *session) requests(ctx context.Context) (*allRequests, error) {
	all := &allRequests{}
	return all, s.call(ctx, "GET", "/requests", nil, all)
}

// rights are the flags of what is asked for or given.
type rights struct {
	Write   bool `help:"With the right to change it."`
	Reshare bool `help:"With the right to pass it on."`
}

func (r rights) permissions() []string {
	out := []string{"read"}
	if r.Write {
		out = append(out, "write")
	}
	if r.Reshare {
		out = append(out, "share")
	}
	return out
}

type requestCmd struct {
	Owner    string `arg:"" help:"Who has it: name@server, or one of your contacts."`
	Resource string `arg:"" help:"What you want: a link, an id or a path, as its owner calls it."`
	rights
	Folder  bool   `help:"It is a folder."`
	Message string `help:"A word to the owner." placeholder:"TEXT"`
	JSON    bool   `help:"Print JSON."`
}

func (c *requestCmd) Help() string {
	return `The owner is asked by their server, and decides. See what came of it: weft requests

Example:
  weft request alice@cloud.example.org Projects/Reef --message "for the review"`
}

func (c *requestCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	in := map[string]any{"owner": c.Owner, "resource": c.Resource, "folder": c.Folder, "permissions": c.permissions(), "message": c.Message}
	var r sentRequest
	if err := s.call(ctx, "POST", "/requests", in, &r); err != nil {
		return err
	}
	return c.said(io, r, c.JSON)
}

func (rights) said(io IO, r sentRequest, asJSON bool) error {
	if asJSON {
		return printJSON(io, r)
	}
	what := "for " + r.Name
	if r.Kind == "reshare" {
		what = "to include " + r.With + " in " + r.Name
	}
	switch r.State {
	case "refused":
		fmt.Fprintf(plain{io.Out}, "Asked %s %s, but: %s\n", r.Owner, what, r.Reason)
	case "granted":
		fmt.Fprintf(plain{io.Out}, "Asked %s %s: granted\n", r.Owner, what)
	default:
		fmt.Fprintf(plain{io.Out}, "Asked %s %s, request %s. See: weft requests\n", r.Owner, what, short(r.ID))
	}
	return nil
}

type reshareCmd struct {
	ID   string `arg:"" help:"The share you received, by its id or the end of it: see weft shares."`
	With string `required:"" help:"Who is to be included: name@server, or one of your contacts." placeholder:"ADDRESS"`
	rights
	Message string `help:"A word to the owner." placeholder:"TEXT"`
	JSON    bool   `help:"Print JSON."`
}

func (c *reshareCmd) Help() string {
	return `The new share comes from the owner's server, which grants it or asks the owner. You need the right to pass the share on.

Example:
  weft reshare 4f1c2a90 --with carol@lab.example`
}

func (c *reshareCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	id, err := s.findReceived(ctx, c.ID)
	if err != nil {
		return err
	}
	var r sentRequest
	in := map[string]any{"with": c.With, "permissions": c.permissions(), "message": c.Message}
	if err := s.call(ctx, "POST", "/received/"+id+"/reshare", in, &r); err != nil {
		return err
	}
	return c.said(io, r, c.JSON)
}

type requestsCmd struct {
	All  bool `help:"Show those that have their answer too."`
	JSON bool `help:"Print JSON."`
}

// inWords is what the states of requests mean.
var inWords = map[string]string{
	"pending": "on its way", "asked": "waits for the owner", "ignored": "no answer",
	"open": "waits for you: weft grant, or weft refuse", "lapsed": "nobody answered",
}

func requestState(state, reason string) string {
	if w, ok := inWords[state]; ok {
		state = w
	}
	if reason != "" {
		state += ": " + reason
	}
	return state
}

func (c *requestsCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	all, err := s.requests(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, all)
	}
	shown := 0
	err = table(io, "ID\t\tWHAT\tFOR\tRIGHTS\tSTATE", func(w *tabwriter.Writer) {
		for _, q := range all.Received {
			if !c.All && q.State != "open" {
				continue
			}
			what := q.Path
			if what == "" {
				what = q.Resource + " (?)"
			}
			fmt.Fprintf(w, "%s\tfrom %s\t%s\t%s\t%s\t%s\n", short(q.ID), q.From, what, q.With, strings.Join(q.Permissions, ","), requestState(q.State, q.Message))
			shown++
		}
		for _, r := range all.Sent {
			if !c.All && (r.State == "withdrawn" || r.State == "granted" && r.Kind == "share") {
				continue
			}
			fmt.Fprintf(w, "%s\tto %s\t%s\t%s\t%s\t%s\n", short(r.ID), r.Owner, r.Name, r.With, strings.Join(r.Permissions, ","), requestState(r.State, r.Reason))
			shown++
		}
	})
	if shown == 0 {
		fmt.Fprintln(io.Out, "No open requests. Ask for something with: weft request OWNER RESOURCE")
	}
	return err
}

// question is a command about one request of others.
type question struct {
	ID string `arg:"" help:"The request, by its id or the end of it: see weft requests."`
}

func (c question) call(ctx context.Context, io IO, verb string, in, out any) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	all, err := s.requests(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, q := range all.Received {
		ids = append(ids, q.ID)
	}
	if verb == "withdraw" {
		ids = nil
		for _, r := range all.Sent {
			ids = append(ids, r.ID)
		}
	}
	id, err := find(c.ID, ids, "request", "weft requests")
	if err != nil {
		return err
	}
	return s.call(ctx, "POST", "/requests/"+id+"/"+verb, in, out)
}

type grantCmd struct {
	question
	Path    string `help:"Which file or folder, when the request does not make it clear." placeholder:"PATH"`
	Read    bool   `help:"To read only, whatever was asked for."`
	Expires string `help:"When the share ends: 2027-01-31, or 30d, or 12h." placeholder:"DATE"`
}

func (c *grantCmd) Run(ctx context.Context, io IO) error {
	in := map[string]any{"path": c.Path}
	if c.Read {
		in["permissions"] = []string{"read"}
	}
	if c.Expires != "" {
		t, err := parseExpiry(c.Expires, time.Now())
		if err != nil {
			return err
		}
		in["expiresAt"] = t.UTC().Format(time.RFC3339)
	}
	var o sentShare
	if err := c.call(ctx, io, "grant", in, &o); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "Shared %s with %s (%s), share %s\n", o.Path, o.With, strings.Join(o.Permissions, ", "), short(o.ID))
	return nil
}

type refuseCmd struct {
	question
	Message  string `help:"Why, to who asks." placeholder:"TEXT"`
	Silently bool   `help:"Tell nobody, and let the same question not come again."`
}

func (c *refuseCmd) Run(ctx context.Context, io IO) error {
	return c.call(ctx, io, "refuse", map[string]any{"message": c.Message, "silently": c.Silently}, nil)
}

type withdrawCmd struct{ question }

func (c *withdrawCmd) Run(ctx context.Context, io IO) error {
	return c.call(ctx, io, "withdraw", nil, nil)
}
