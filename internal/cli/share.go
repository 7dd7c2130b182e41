package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

type sentShare struct {
	ID            string   `json:"id"`
	Path          string   `json:"path"`
	With          string   `json:"with"`
	RecipientName string   `json:"recipientName,omitempty"`
	ShareType     string   `json:"shareType"`
	ResourceType  string   `json:"resourceType"`
	Permissions   []string `json:"permissions"`
	State         string   `json:"state"`
	Reason        string   `json:"reason,omitempty"`
	ExpiresAt     string   `json:"expiresAt,omitempty"`
	CreatedAt     string   `json:"createdAt"`
}

type receivedShare struct {
	ID               string   `json:"id"`
	Name             string   `json:"name"`
	Description      string   `json:"description,omitempty"`
	Sender           string   `json:"sender"`
	SenderName       string   `json:"senderName,omitempty"`
	Owner            string   `json:"owner"`
	ShareType        string   `json:"shareType"`
	ResourceType     string   `json:"resourceType"`
	Permissions      []string `json:"permissions"`
	State            string   `json:"state"`
	Reason           string   `json:"reason,omitempty"`
	Path             string   `json:"path,omitempty"`
	ExpiresAt        string   `json:"expiresAt,omitempty"`
	CreatedAt        string   `json:"createdAt"`
	UnavailableSince string   `json:"unavailableSince,omitempty"`
	UnavailableWhy   string   `json:"unavailableWhy,omitempty"`
}

type allShares struct {
	Sent     []sentShare     `json:"sent"`
	Received []receivedShare `json:"received"`
}

func (s *session) shares(ctx context.Context) (*allShares, error) {
	all := &allShares{}
	return all, s.call(ctx, "GET", "/shares", nil, all)
}

// idTail is how many characters of a share's id are shown, and enough to name
// it by.
const idTail = 8

func short(id string) string { return id[max(0, len(id)-idTail):] }

// find completes what a person gave of an id: all of it, or its end.
func find(given string, ids []string, what, list string) (string, error) {
	var found []string
	for _, id := range ids {
		if id == given {
			return id, nil
		}
		if len(given) >= 4 && strings.HasSuffix(id, given) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("there is no %s %q. See: %s", what, given, list)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%q is the end of several ids; give more of it. See: %s --json", given, list)
}

func (s *session) findSent(ctx context.Context, given string) (string, error) {
	all, err := s.shares(ctx)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, o := range all.Sent {
		ids = append(ids, o.ID)
	}
	return find(given, ids, "share", "weft shares")
}

func (s *session) findReceived(ctx context.Context, given string) (string, error) {
	all, err := s.shares(ctx)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, r := range all.Received {
		ids = append(ids, r.ID)
	}
	return find(given, ids, "share", "weft shares")
}

type shareCmd struct {
	Path  string `arg:"" help:"The file or folder to share."`
	With  string `required:"" help:"Who to share with: name@server, the name of someone on your server, or of one of your contacts." placeholder:"ADDRESS"`
	Group bool   `help:"The address is a group's."`
	rights
	Expires    string `help:"When the share ends: 2027-01-31, or 30d, or 12h." placeholder:"DATE"`
	RequireMFA bool   `name:"require-mfa" help:"Demand a second factor of whoever opens it."`
	Message    string `help:"A word to the recipient." placeholder:"TEXT"`
	JSON       bool   `help:"Print JSON."`
}

func (c *shareCmd) Help() string {
	return `The recipient's server is told in the background; see: weft shares

Example:
  weft share Projects/Reef --with bob@cloud.example.org --write`
}

func (c *shareCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	in := map[string]any{"path": c.Path, "with": c.With, "group": c.Group, "requireMfa": c.RequireMFA, "message": c.Message}
	in["permissions"] = c.permissions()
	if c.Expires != "" {
		t, err := parseExpiry(c.Expires, time.Now())
		if err != nil {
			return err
		}
		in["expiresAt"] = t.UTC().Format(time.RFC3339)
	}
	var o sentShare
	if err := s.call(ctx, "POST", "/shares", in, &o); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, o)
	}
	fmt.Fprintf(io.Out, "Shared %s with %s (%s), share %s\n", o.Path, o.With, strings.Join(o.Permissions, ", "), short(o.ID))
	return nil
}

// parseExpiry reads a day (its end, here), a time, or a span from now.
func parseExpiry(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil {
			return now.Add(24 * d), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	if t, err := time.ParseInLocation("2006-01-02", s, time.Local); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Time{}, usagef("%q is not a date; write it like 2027-01-31, 30d or 12h", s)
}

type sharesCmd struct {
	All  bool `help:"Show ended, declined and left shares too."`
	JSON bool `help:"Print JSON."`
}

func (c *sharesCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	all, err := s.shares(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, all)
	}
	shown := 0
	err = table(io, "ID\t\tWHAT\tWITH OR FROM\tRIGHTS\tSTATE", func(w *tabwriter.Writer) {
		for _, r := range all.Received {
			if !c.All && r.State != "pending" && r.State != "quarantined" && r.State != "accepted" {
				continue
			}
			what := r.Name
			if r.Path != "" {
				what = r.Path
			}
			fmt.Fprintf(w, "%s\tfrom\t%s\t%s\t%s\t%s\n", short(r.ID), what, r.Sender, strings.Join(r.Permissions, ","), stateOf(r.State, r.Reason, r.ExpiresAt, r.UnavailableSince))
			shown++
		}
		for _, o := range all.Sent {
			if !c.All && (o.State == "ended" || o.State == "declined") {
				continue
			}
			fmt.Fprintf(w, "%s\tto\t%s\t%s\t%s\t%s\n", short(o.ID), o.Path, o.With, strings.Join(o.Permissions, ","), stateOf(o.State, o.Reason, o.ExpiresAt, ""))
			shown++
		}
	})
	if shown == 0 {
		fmt.Fprintln(io.Out, "No shares. Share something with: weft share PATH --with ADDRESS")
	}
	return err
}

func stateOf(state, reason, expires, unavailable string) string {
	if reason != "" {
		state += ": " + reason
	}
	if expires != "" && reason == "" {
		state += " until " + local(expires)
	}
	if unavailable != "" {
		state += ", unavailable since " + local(unavailable)
	}
	return state
}

// received is a command about one received share.
type received struct {
	ID string `arg:"" help:"The share, by its id or the end of it: see weft shares."`
}

func (c received) run(ctx context.Context, io IO, verb string, out any) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	id, err := s.findReceived(ctx, c.ID)
	if err != nil {
		return err
	}
	return s.call(ctx, "POST", "/received/"+id+"/"+verb, nil, out)
}

type acceptCmd struct{ received }

func (c *acceptCmd) Run(ctx context.Context, io IO) error {
	var r receivedShare
	if err := c.run(ctx, io, "accept", &r); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "Accepted. It is at: %s\n", r.Path)
	return nil
}

type declineCmd struct{ received }

func (c *declineCmd) Run(ctx context.Context, io IO) error { return c.run(ctx, io, "decline", nil) }

type leaveCmd struct{ received }

func (c *leaveCmd) Run(ctx context.Context, io IO) error { return c.run(ctx, io, "leave", nil) }

type blockCmd struct{ received }

func (c *blockCmd) Run(ctx context.Context, io IO) error {
	if err := c.run(ctx, io, "block", nil); err != nil {
		return err
	}
	fmt.Fprintln(io.Out, "Blocked: no share of that sender arrives any more. To undo it: weft contacts edit ADDRESS --no-block")
	return nil
}

type reportCmd struct {
	received
	Message string `help:"What is wrong with it." placeholder:"TEXT"`
}

func (c *reportCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	id, err := s.findReceived(ctx, c.ID)
	if err != nil {
		return err
	}
	if err := s.call(ctx, "POST", "/received/"+id+"/report", map[string]string{"message": c.Message}, nil); err != nil {
		return err
	}
	fmt.Fprintln(io.Out, "Reported to the operator of your server. The share is still there: decline or block it if you want.")
	return nil
}

type changeCmd struct {
	ID   string `arg:"" help:"The share, by its id or the end of it: see weft shares."`
	Read bool   `help:"To read only."`
	rights
	Expires string `help:"When the share ends: 2027-01-31, or 30d, or 12h, or never." placeholder:"DATE"`
	JSON    bool   `help:"Print JSON."`
}

func (c *changeCmd) Help() string {
	return `The new rights hold at once, in place of those there were. So does another end, on
your server; that of who received the share is not told of it, and may go by the old one.

Example:
  weft change 4f1c2a90 --write
  weft change 4f1c2a90 --read
  weft change 4f1c2a90 --expires 30d`
}

func (c *changeCmd) Run(ctx context.Context, io IO) error {
	rights := c.Read || c.Write || c.Reshare
	if c.Read && (c.Write || c.Reshare) || !rights && c.Expires == "" {
		return usagef("say which rights: --read, or --write and --reshare; or another end: --expires")
	}
	in := map[string]any{}
	if rights {
		in["permissions"] = c.permissions()
	}
	if c.Expires == "never" {
		in["expiresAt"] = ""
	} else if c.Expires != "" {
		t, err := parseExpiry(c.Expires, time.Now())
		if err != nil {
			return err
		}
		in["expiresAt"] = t.UTC().Format(time.RFC3339)
	}
	s, err := openSession(io)
	if err != nil {
		return err
	}
	id, err := s.findSent(ctx, c.ID)
	if err != nil {
		return err
	}
	var o sentShare
	if err := s.call(ctx, "PATCH", "/shares/"+id, in, &o); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, o)
	}
	fmt.Fprintf(io.Out, "Shared %s with %s (%s), share %s\n", o.Path, o.With, strings.Join(o.Permissions, ", "), short(o.ID))
	return nil
}

type unshareCmd struct {
	ID string `arg:"" help:"The share, by its id or the end of it: see weft shares."`
}

func (c *unshareCmd) Run(ctx context.Context, io IO) error {
	return sentCall(ctx, io, c.ID, "DELETE", "")
}

type resendCmd struct {
	ID string `arg:"" help:"The share, by its id or the end of it: see weft shares."`
}

func (c *resendCmd) Run(ctx context.Context, io IO) error {
	err := sentCall(ctx, io, c.ID, "POST", "/resend")
	if p, ok := errors.AsType[*problem](err); ok && p.Code == "MESSAGE_NOT_FOUND" {
		return errors.New("nothing of this share waits to be sent")
	}
	return err
}

func sentCall(ctx context.Context, io IO, given, method, suffix string) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	id, err := s.findSent(ctx, given)
	if err != nil {
		return err
	}
	return s.call(ctx, method, "/shares/"+id+suffix, nil, nil)
}
