package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
)

type contactInfo struct {
	ID        string   `json:"id"`
	Address   string   `json:"address"`
	Name      string   `json:"name,omitempty"`
	Email     string   `json:"email,omitempty"`
	Source    string   `json:"source"`
	Invited   bool     `json:"invited"`
	Trusted   bool     `json:"trusted"`
	Blocked   bool     `json:"blocked"`
	Labels    []string `json:"labels"`
	Note      string   `json:"note,omitempty"`
	KnownAs   string   `json:"knownAs,omitempty"`
	GoneAt    string   `json:"goneAt,omitempty"`
	CreatedAt string   `json:"createdAt"`
}

type contactsCmd struct {
	List    contactsListCmd   `cmd:"" default:"withargs" help:"List or search your address book (the default)."`
	Add     contactsAddCmd    `cmd:"" help:"Enter a contact by its address."`
	Edit    contactsEditCmd   `cmd:"" help:"Change what you wrote about a contact, trust or block it."`
	Remove  contactsRemoveCmd `cmd:"" help:"Remove a contact."`
	Export  contactsExportCmd `cmd:"" help:"Write your address book as JSContact or vCards."`
	Import  contactsImportCmd `cmd:"" help:"Enter contacts from a file of JSContact or vCards."`
	Servers serversCmd        `cmd:"" help:"List the servers of the federations your server takes part in."`
}

func (s *session) contacts(ctx context.Context, query, label string) ([]contactInfo, error) {
	var list []contactInfo
	q := url.Values{"q": {query}, "label": {label}}
	return list, s.call(ctx, "GET", "/contacts?"+q.Encode(), nil, &list)
}

type contactsListCmd struct {
	Query []string `arg:"" optional:"" help:"Words to look for in names, addresses, labels and notes."`
	Label string   `help:"Only those with this label."`
	JSON  bool     `help:"Print JSON."`
}

func (c *contactsListCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	list, err := s.contacts(ctx, strings.Join(c.Query, " "), c.Label)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, list)
	}
	if len(list) == 0 && len(c.Query)+len(c.Label) > 0 {
		fmt.Fprintln(io.Out, "None of your contacts fits. All: weft contacts")
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(io.Out, "No contacts. Meet someone with: weft invite, or enter an address with: weft contacts add ADDRESS")
		return nil
	}
	return table(io, "NAME\tADDRESS\tFROM\tLABELS\tNOTE", func(w *tabwriter.Writer) {
		for _, k := range list {
			from := k.Source
			for _, mark := range []struct {
				is   bool
				word string
			}{{k.Trusted, "trusted"}, {k.Blocked, "blocked"}, {k.GoneAt != "", "no longer there"}} {
				if mark.is {
					from += ", " + mark.word
				}
			}
			note, _, _ := strings.Cut(k.Note, "\n")
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Name, k.Address, from, strings.Join(k.Labels, ", "), note)
		}
	})
}

// contactFields are what a person writes about a contact.
type contactFields struct {
	Name  *string  `help:"Name."`
	Email *string  `help:"E-mail address." placeholder:"ADDRESS"`
	Label []string `help:"Labels, in place of those there are; several are given one by one, an empty one clears them."`
	Note  *string  `help:"A note." placeholder:"TEXT"`
}

func (f contactFields) put(in map[string]any) {
	for name, v := range map[string]*string{"name": f.Name, "email": f.Email, "note": f.Note} {
		if v != nil {
			in[name] = *v
		}
	}
	if f.Label != nil {
		in["labels"] = f.Label
	}
}

type contactsAddCmd struct {
	Address string `arg:"" help:"name@server."`
	contactFields
}

func (c *contactsAddCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	in := map[string]any{"address": c.Address}
	c.put(in)
	var k contactInfo
	if err := s.call(ctx, "POST", "/contacts", in, &k); err != nil {
		return err
	}
	fmt.Fprintln(io.Out, "Added", k.Address)
	return nil
}

// findContact finds the one contact of an address or name, or whose name or
// address alone begins so.
func (s *session) findContact(ctx context.Context, given string) (contactInfo, error) {
	list, err := s.contacts(ctx, "", "")
	if err != nil {
		return contactInfo{}, err
	}
	word := strings.ToLower(given)
	for _, fits := range []func(k contactInfo) bool{
		func(k contactInfo) bool { return k.Address == given || k.ID == given },
		func(k contactInfo) bool { return strings.ToLower(k.Name) == word },
		func(k contactInfo) bool {
			return strings.HasPrefix(strings.ToLower(k.Name), word) || strings.HasPrefix(strings.ToLower(k.Address), word)
		},
	} {
		var found []contactInfo
		for _, k := range list {
			if fits(k) {
				found = append(found, k)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return contactInfo{}, fmt.Errorf("%q fits %d contacts, among them %s and %s; give the address", given, len(found), found[0].Address, found[1].Address)
		}
	}
	return contactInfo{}, fmt.Errorf("there is no contact %q. See: weft contacts", given)
}

type contactsEditCmd struct {
	Contact string `arg:"" help:"Address or name, or how it begins if that fits one contact alone."`
	contactFields
	Trust *bool `help:"Accept their shares without asking." negatable:""`
	Block *bool `help:"Let no share of theirs arrive; they are not told." negatable:""`
}

func (c *contactsEditCmd) Help() string {
	return `Examples:
  weft contacts edit ann@east.example.org --label lab --note "Reef project"
  weft contacts edit mallory@spam.example --block`
}

func (c *contactsEditCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	k, err := s.findContact(ctx, c.Contact)
	if err != nil {
		return err
	}
	in := map[string]any{}
	c.put(in)
	if c.Trust != nil {
		in["trusted"] = *c.Trust
	}
	if c.Block != nil {
		in["blocked"] = *c.Block
	}
	if len(in) == 0 {
		return usagef("nothing to change was given. See: weft contacts edit --help")
	}
	if err := s.call(ctx, "PATCH", "/contacts/"+k.ID, in, nil); err != nil {
		return err
	}
	fmt.Fprintln(io.Out, "Changed", k.Address)
	return nil
}

type contactsRemoveCmd struct {
	Contact   string `arg:"" help:"Address or name, or how it begins if that fits one contact alone."`
	EndShares bool   `help:"End what you share with them, and give back what they share with you."`
	Tell      bool   `help:"Tell their server that you are gone for them."`
}

func (c *contactsRemoveCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	k, err := s.findContact(ctx, c.Contact)
	if err != nil {
		return err
	}
	if err := s.call(ctx, "DELETE", fmt.Sprintf("/contacts/%s?endShares=%t&tell=%t", k.ID, c.EndShares, c.Tell), nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(io.Out, "Removed", k.Address)
	if c.EndShares {
		return nil
	}
	all, err := s.shares(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, o := range all.Sent {
		if o.With == k.Address && (o.State == "pending" || o.State == "delivered" || o.State == "accepted") {
			n++
		}
	}
	if n > 0 {
		fmt.Fprintln(io.Out, plural(int64(n), "You still share a file or folder with them.", "You still share %d files or folders with them."),
			"To end that: weft unshare ID; see: weft shares")
	}
	return nil
}

type contactsExportCmd struct {
	VCard bool   `name:"vcard" help:"Write vCards in place of JSContact."`
	Out   string `help:"File to write. Default: standard output." placeholder:"FILE" short:"o"`
}

func (c *contactsExportCmd) Run(ctx context.Context, streams IO) error {
	s, err := openSession(streams)
	if err != nil {
		return err
	}
	path := "/contacts.json"
	if c.VCard {
		path = "/contacts.vcf"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/v1"+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if c.Out == "" {
		_, err = streams.Out.Write(b)
		return err
	}
	return os.WriteFile(c.Out, b, 0o600)
}

type contactsImportCmd struct {
	File      string `arg:"" help:"File of JSContact or vCards; - reads standard input."`
	KeepTrust bool   `help:"Take over whose shares are accepted without asking."`
}

func (c *contactsImportCmd) Run(ctx context.Context, streams IO) error {
	s, err := openSession(streams)
	if err != nil {
		return err
	}
	var b []byte
	if c.File == "-" {
		b, err = io.ReadAll(io.LimitReader(streams.In, 64<<20))
	} else {
		b, err = os.ReadFile(c.File)
	}
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/api/v1/contacts/import?keepTrust=%t", s.URL, c.KeepTrust), bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	var done struct {
		Added   int      `json:"added"`
		Updated int      `json:"updated"`
		Skipped []string `json:"skipped"`
	}
	if err := s.send(req, &done); err != nil {
		return err
	}
	fmt.Fprintf(streams.Out, "%d added, %d completed, %d left out\n", done.Added, done.Updated, len(done.Skipped))
	for _, why := range done.Skipped {
		fmt.Fprintln(streams.Out, "  left out:", why)
	}
	return nil
}

type serversCmd struct {
	Query string `arg:"" optional:"" help:"A part of the name."`
	JSON  bool   `help:"Print JSON."`
}

func (c *serversCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	list := []struct {
		Host       string `json:"host"`
		Name       string `json:"name"`
		Federation string `json:"federation"`
	}{}
	if err := s.call(ctx, "GET", "/servers?q="+url.QueryEscape(c.Query), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(io.Out, "No server is listed: your server takes part in no federation, or none fits.")
		return nil
	}
	return table(io, "NAME\tSERVER\tFEDERATION", func(w *tabwriter.Writer) {
		for _, e := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\n", e.Name, e.Host, e.Federation)
		}
	})
}
