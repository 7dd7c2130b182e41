package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

type sentInvite struct {
	ID           string `json:"id"`
	State        string `json:"state"`
	Email        string `json:"email,omitempty"`
	Note         string `json:"note,omitempty"`
	Pseudonym    bool   `json:"pseudonym,omitempty"`
	AcceptedBy   string `json:"acceptedBy,omitempty"`
	CreatedAt    string `json:"createdAt"`
	ExpiresAt    string `json:"expiresAt"`
	AcceptedAt   string `json:"acceptedAt,omitempty"`
	InviteString string `json:"inviteString,omitempty"`
	Link         string `json:"link,omitempty"`
}

type acceptance struct {
	ID        string `json:"id"`
	Server    string `json:"server"`
	State     string `json:"state"`
	Knows     string `json:"knows"`
	Reason    string `json:"reason,omitempty"`
	Address   string `json:"address"`
	ContactID string `json:"contactId,omitempty"`
	Contact   string `json:"contact,omitempty"`
	Name      string `json:"name,omitempty"`
	CreatedAt string `json:"createdAt"`
}

type inviteCmd struct {
	New    inviteNewCmd    `cmd:"" default:"withargs" help:"Invite someone from another server (the default)."`
	Accept inviteAcceptCmd `cmd:"" help:"Accept an invite: a string or a link you were sent."`
	List   inviteListCmd   `cmd:"" help:"List the invites you sent and accepted."`
	Revoke inviteRevokeCmd `cmd:"" help:"Make an invite worthless."`
	Renew  inviteRenewCmd  `cmd:"" help:"Give an open, expired or revoked invite a new string and link, and the usual span of life."`
	Retry  inviteRetryCmd  `cmd:"" help:"Go on with an invite you accepted, where it stopped."`
	Forget inviteForgetCmd `cmd:"" help:"Give up an invite you accepted, and take it off the list."`
}

type inviteNewCmd struct {
	Email     string `help:"Whom it is for." placeholder:"ADDRESS"`
	Note      string `help:"A note to yourself." placeholder:"TEXT"`
	Expires   string `help:"Until when it can be accepted: 2027-01-31, or 7d, or 12h." placeholder:"DATE"`
	Pseudonym bool   `help:"Give whoever accepts an address of its own for you."`
	JSON      bool   `help:"Print JSON."`
}

func (c *inviteNewCmd) Help() string {
	return `Prints the invite in both forms; send one of them on, by a way that only the
person reads. It works once. When it is accepted, each of you is in the other's
address book, and you can share in both directions.

Examples:
  weft invite --email ann@example.org
  weft invite accept YTU1YTk2NmUtMTVjMS00Y2I5LWEzOWQtNGU0YzU0Mzk5YmFmQGNsb3VkLmV4YW1wbGUub3Jn`
}

func (c *inviteNewCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	in := map[string]any{"email": c.Email, "note": c.Note}
	if c.Pseudonym {
		in["pseudonym"] = true
	}
	if c.Expires != "" {
		t, err := parseExpiry(c.Expires, time.Now())
		if err != nil {
			return err
		}
		in["expiresAt"] = t.UTC().Format(time.RFC3339)
	}
	var i sentInvite
	if err := s.call(ctx, "POST", "/invites", in, &i); err != nil {
		return err
	}
	return printInvite(io, i, c.JSON)
}

func printInvite(io IO, i sentInvite, asJSON bool) error {
	if asJSON {
		return printJSON(io, i)
	}
	fmt.Fprintf(io.Out, "Invite %s, until %s. Send one of these on:\n\n%s\n\n%s\n", short(i.ID), local(i.ExpiresAt), i.Link, i.InviteString)
	return nil
}

type inviteAcceptCmd struct {
	Invite    string `arg:"" help:"The invite string or link; - reads it from standard input."`
	Pseudonym bool   `help:"Give them an address of its own for you."`
	Yes       bool   `short:"y" help:"Do not ask."`
	JSON      bool   `help:"Print JSON."`
}

func (c *inviteAcceptCmd) Run(ctx context.Context, streams IO) error {
	s, err := openSession(streams)
	if err != nil {
		return err
	}
	lines := bufio.NewReader(streams.In)
	if c.Invite == "-" {
		b, err := io.ReadAll(io.LimitReader(lines, 8192))
		if err != nil {
			return err
		}
		c.Invite = string(b)
		if !c.Yes {
			return usagef("nothing was accepted: with standard input, confirm by --yes")
		}
	}
	var from struct {
		Host       string `json:"host"`
		Name       string `json:"name"`
		Federation string `json:"federation"`
		ListedAs   string `json:"listedAs"`
		Signs      bool   `json:"signs"`
		Warning    string `json:"warning"`
	}
	err = s.call(ctx, "POST", "/invites/look", map[string]any{"invite": c.Invite}, &from)
	silent := false
	if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusServiceUnavailable {
		fmt.Fprintln(streams.Err, p.Detail)
		silent, err = true, nil
		if i, err := ocm.ReadInvite(c.Invite); err == nil {
			from.Host = string(i.Provider)
		}
	}
	if err != nil {
		return err
	}
	if !c.Yes {
		fmt.Fprintf(streams.Err, "The invite is from %s", from.Host)
		if from.Name != "" {
			fmt.Fprintf(streams.Err, " (%s)", from.Name)
		}
		if from.Federation != "" {
			fmt.Fprintf(streams.Err, ", listed by %s as %s", from.Federation, from.ListedAs)
		}
		fmt.Fprintln(streams.Err)
		if from.Warning != "" {
			fmt.Fprintln(streams.Err, "Warning:", from.Warning)
		}
		if !from.Signs && !silent {
			fmt.Fprintln(streams.Err, "It does not sign its messages: what comes from it cannot be verified.")
		}
		fmt.Fprint(streams.Err, "They learn your name, e-mail address and the address to share with. Accept? [y/N] ")
		answer, _ := lines.ReadString('\n')
		if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
			return errors.New("not accepted; to accept without being asked, add --yes")
		}
	}
	in := map[string]any{"invite": c.Invite}
	if c.Pseudonym {
		in["pseudonym"] = true
	}
	var a acceptance
	if err := s.call(ctx, "POST", "/invites/accept", in, &a); err != nil {
		return err
	}
	return printAcceptance(streams, a, c.JSON)
}

// printAcceptance tells how far an acceptance got; one that is not complete is a
// failure to a script.
func printAcceptance(io IO, a acceptance, asJSON bool) error {
	if asJSON {
		return printJSON(io, a)
	}
	if a.State == "accepted" {
		fmt.Fprintf(io.Out, "You and %s (%s) know each other now; they know you as %s\n", a.Name, a.Contact, a.Address)
		return nil
	}
	knows := map[string]string{
		"they": "They know you; you do not know them yet.", "unclear": "Whether they know you already is not clear.", "nobody": "Neither side knows the other.",
	}[a.Knows]
	reason := a.Reason
	if reason == "" {
		reason = a.Server + " is being told"
	}
	if a.State == "pending" {
		fmt.Fprintf(io.Out, "Accepted here, but %s. %s It goes on by itself; see: weft invite list\n", reason, knows)
		return nil
	}
	return fmt.Errorf("%s. %s", strings.TrimSuffix(reason, "."), knows)
}

type inviteListCmd struct {
	JSON bool `help:"Print JSON."`
}

func (s *session) invites(ctx context.Context) (sent []sentInvite, accepted []acceptance, err error) {
	if err := s.call(ctx, "GET", "/invites", nil, &sent); err != nil {
		return nil, nil, err
	}
	return sent, accepted, s.call(ctx, "GET", "/acceptances", nil, &accepted)
}

func (c *inviteListCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	sent, accepted, err := s.invites(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, map[string]any{"sent": sent, "accepted": accepted})
	}
	if len(sent)+len(accepted) == 0 {
		fmt.Fprintln(io.Out, "No invites. Invite someone with: weft invite --email ADDRESS")
		return nil
	}
	return table(io, "ID\t\tWHO\tNOTE\tSTATE", func(w *tabwriter.Writer) {
		for _, i := range sent {
			who, state := i.Email, i.State
			switch i.State {
			case "accepted":
				who, state = i.AcceptedBy, "accepted "+local(i.AcceptedAt)
			case "open":
				state = "open until " + local(i.ExpiresAt)
			}
			fmt.Fprintf(w, "%s\tto\t%s\t%s\t%s\n", short(i.ID), who, i.Note, state)
		}
		for _, a := range accepted {
			who := a.Contact
			if who == "" {
				who = "someone at " + a.Server
			}
			state := a.State
			if a.Reason != "" {
				state += ": " + a.Reason
			}
			fmt.Fprintf(w, "%s\tfrom\t%s\t\t%s\n", short(a.ID), who, state)
		}
	})
}

// inviteID is a command about one invite that was sent.
type inviteID struct {
	ID string `arg:"" help:"The invite, by its id or the end of it: see weft invite list."`
}

func (c inviteID) find(ctx context.Context, io IO) (*session, string, error) {
	s, err := openSession(io)
	if err != nil {
		return nil, "", err
	}
	sent, _, err := s.invites(ctx)
	if err != nil {
		return nil, "", err
	}
	var ids []string
	for _, i := range sent {
		ids = append(ids, i.ID)
	}
	id, err := find(c.ID, ids, "invite", "weft invite list")
	return s, id, err
}

type inviteRevokeCmd struct{ inviteID }

func (c *inviteRevokeCmd) Run(ctx context.Context, io IO) error {
	s, id, err := c.find(ctx, io)
	if err != nil {
		return err
	}
	if err := s.call(ctx, "DELETE", "/invites/"+id, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(io.Out, "Revoked: nobody can accept it any more.")
	return nil
}

type inviteRenewCmd struct {
	inviteID
	JSON bool `help:"Print JSON."`
}

func (c *inviteRenewCmd) Run(ctx context.Context, io IO) error {
	s, id, err := c.find(ctx, io)
	if err != nil {
		return err
	}
	var i sentInvite
	if err := s.call(ctx, "POST", "/invites/"+id+"/renew", nil, &i); err != nil {
		return err
	}
	return printInvite(io, i, c.JSON)
}

// acceptedID is a command about one invite that was accepted.
type acceptedID struct {
	ID string `arg:"" help:"The invite you accepted, by its id or the end of it: see weft invite list."`
}

func (c acceptedID) find(ctx context.Context, io IO) (*session, string, error) {
	s, err := openSession(io)
	if err != nil {
		return nil, "", err
	}
	_, accepted, err := s.invites(ctx)
	if err != nil {
		return nil, "", err
	}
	var ids []string
	for _, a := range accepted {
		ids = append(ids, a.ID)
	}
	id, err := find(c.ID, ids, "accepted invite", "weft invite list")
	return s, id, err
}

type inviteForgetCmd struct{ acceptedID }

func (c *inviteForgetCmd) Run(ctx context.Context, io IO) error {
	s, id, err := c.find(ctx, io)
	if err != nil {
		return err
	}
	return s.call(ctx, "DELETE", "/acceptances/"+id, nil, nil)
}

type inviteRetryCmd struct {
	acceptedID
	JSON bool `help:"Print JSON."`
}

func (c *inviteRetryCmd) Run(ctx context.Context, io IO) error {
	s, id, err := c.find(ctx, io)
	if err != nil {
		return err
	}
	var a acceptance
	if err := s.call(ctx, "POST", "/acceptances/"+id+"/retry", nil, &a); err != nil {
		return err
	}
	return printAcceptance(io, a, c.JSON)
}
