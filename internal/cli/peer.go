package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

type peerCmd struct {
	List    peerListCmd    `cmd:"" help:"List the servers met."`
	Show    peerShowCmd    `cmd:"" help:"Show what is known of a server."`
	Refresh peerRefreshCmd `cmd:"" help:"Ask a server anew what it is and which keys it has."`
	Keys    peerKeysCmd    `cmd:"" help:"List the keys a server was seen with; trust or reject one."`
	Allow   peerAllowCmd   `cmd:"" help:"Deal with a server, or with all below a name."`
	Deny    peerDenyCmd    `cmd:"" help:"Do not deal with a server, or with any below a name."`
	Limit   peerLimitCmd   `cmd:"" help:"Let a server's shares wait in quarantine."`
	Require peerRequireCmd `cmd:"" help:"Demand more, or less, of a server than of others."`
	Forget  peerForgetCmd  `cmd:"" help:"Remove the rule about a server or pattern."`
	Rules   peerRulesCmd   `cmd:"" help:"List the rules, and what holds without one."`
	Import  peerImportCmd  `cmd:"" help:"Take rules from a CSV file, after showing what would change."`
	Export  peerExportCmd  `cmd:"" help:"Write the rules as CSV."`
	Reports peerReportsCmd `cmd:"" help:"List the shares that people reported."`

	Reconcile peerReconcileCmd `cmd:"" help:"Compare the shares with a server from both sides, and repair them."`
}

func (c *peerCmd) Help() string {
	return `A rule is for a host (cloud.example.org), for all below a name (*.example.org)
or for everyone (*); the most specific one decides. What no rule decides follows
from federation.mode in weft.toml. A running server follows within a second.

While a server is denied nothing passes in either direction: its messages are
refused, shares in both directions cannot be opened, and what waits for it is held
back. Nothing is ended: when the rule goes, all goes on. The shares of a limited
server wait apart in its recipients' lists ("quarantined"), to be accepted,
declined, blocked or reported.

Examples:
  weft peer deny '*.spam.example' --note "reported by three people" --data /var/lib/weft
  weft peer show cloud.example.org --data /var/lib/weft
  weft peer import rules.csv --data /var/lib/weft`
}

type peerListCmd struct {
	where
	JSON bool `help:"Print JSON."`
}

func (c *peerListCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		records, err := s.Peers.Records(ctx)
		if err != nil {
			return err
		}
		out := []server.PeerView{}
		for _, r := range records {
			out = append(out, server.ShowPeer(&r, false))
		}
		if c.JSON {
			return printJSON(io, out)
		}
		if len(out) == 0 {
			fmt.Fprintln(io.Out, "No server was met yet. Have a look at one with: weft peer refresh HOST")
			return nil
		}
		return table(io, "SERVER\tNAME\tPROFILE\tPOLICY\tSHARES OUT\tIN\tSTATE", func(w *tabwriter.Writer) {
			for _, p := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", p.Host, p.Provider, p.Profile, p.Policy, p.Sent, p.Received, peerState(p))
			}
		})
	})
}

func peerState(p server.PeerView) string {
	var parts []string
	switch {
	case p.RestsUntil != "":
		parts = append(parts, "does not answer since "+local(p.FailingSince)+", not called until "+local(p.RestsUntil))
	case p.FailingSince != "":
		parts = append(parts, "does not answer since "+local(p.FailingSince))
	case p.LastSuccess != "":
		parts = append(parts, "answered "+local(p.LastSuccess))
	default:
		parts = append(parts, "not called yet")
	}
	for _, c := range []struct {
		n         int64
		one, many string
	}{{p.Waiting, "1 message waits", "%d messages wait"}, {p.Dead, "1 message was given up", "%d messages were given up"}, {p.Reports, "1 report", "%d reports"}} {
		if c.n > 0 {
			parts = append(parts, plural(c.n, c.one, c.many))
		}
	}
	return strings.Join(parts, "; ")
}

// plural writes a number of things; many has a place for it.
func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

// hostArg is a command about one server.
type hostArg struct {
	where
	Host string `arg:"" help:"The server, such as cloud.example.org."`
	JSON bool   `help:"Print JSON."`
}

func (c hostArg) on(ctx context.Context, io IO, do func(s *server.Server, host ocm.Host) error) error {
	host, err := ocm.ReadHost(c.Host)
	if err != nil {
		return usageError{err}
	}
	return c.onServer(ctx, io, func(s *server.Server) error { return do(s, host) })
}

func (c hostArg) show(ctx context.Context, io IO, s *server.Server, host ocm.Host) error {
	r, err := s.Peers.Record(ctx, host)
	if errors.Is(err, peer.ErrNotMet) {
		v, err := s.Policy.Decide(ctx, host)
		if err != nil {
			return err
		}
		return fmt.Errorf("this server has not met %s. Policy: %s (%s). Have a look at it with: weft peer refresh %s", host, v.Action, v.Because, host)
	}
	if err != nil {
		return err
	}
	p := server.ShowPeer(r, true)
	if c.JSON {
		return printJSON(io, p)
	}
	w := tabwriter.NewWriter(io.Out, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, text)
		}
	}
	line("server", "%s", p.Host)
	line("name", "%s", p.Provider)
	line("policy", "%s: %s", p.Policy, p.Because)
	var asks []string
	for word, is := range map[string]bool{"signed messages": p.MustSign, "the code flow": p.MustExchange, "an invite": p.MustInvite} {
		if is {
			asks = append(asks, word)
		}
	}
	line("we demand", "%s", strings.Join(asks, ", "))
	line("it demands", "%s", strings.Join(p.Criteria, ", "))
	line("can do", "%s", strings.Join(p.Capabilities, ", "))
	line("signs by", "%s", p.Signs)
	line("version", "%s", p.APIVersion)
	if p.Profile != "" {
		line("profile", "%s (%s)", p.Profile, p.ProfileFrom)
	}
	line("first met", "%s", local(p.FirstSeen))
	if p.DiscoveredAt != "" {
		line("last described", "%s", local(p.DiscoveredAt))
	}
	line("state", "%s", peerState(p))
	line("last failure", "%s", p.Failure)
	line("shares", "%d sent to it, %d received from it", p.Sent, p.Received)
	if err := w.Flush(); err != nil {
		return err
	}
	if len(p.Keys) == 0 {
		return nil
	}
	fmt.Fprintln(io.Out)
	return keyTable(io, p.Keys)
}

func keyTable(io IO, keys []server.PeerKeyView) error {
	return table(io, "KEY\tSTATE\tFIRST SEEN\tLAST SEEN\tTHUMBPRINT", func(w *tabwriter.Writer) {
		for _, k := range keys {
			state := k.State
			if k.Joined {
				state += ", came later"
			}
			if k.Cavage {
				state += ", for draft-cavage"
			}
			if !k.Published {
				state += ", no longer published"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.KID, state, local(k.FirstSeen), local(k.LastSeen), k.Thumbprint)
		}
	})
}

type peerShowCmd struct{ hostArg }

func (c *peerShowCmd) Run(ctx context.Context, io IO) error {
	return c.on(ctx, io, func(s *server.Server, host ocm.Host) error { return c.show(ctx, io, s, host) })
}

type peerRefreshCmd struct{ hostArg }

func (c *peerRefreshCmd) Run(ctx context.Context, io IO) error {
	return c.on(ctx, io, func(s *server.Server, host ocm.Host) error {
		if err := s.LookAgain(ctx, host); err != nil {
			return err
		}
		return c.show(ctx, io, s, host)
	})
}

type peerKeysCmd struct {
	hostArg
	Approve string `help:"Trust this key: its id or thumbprint." placeholder:"KEY" xor:"decide"`
	Reject  string `help:"Take no signature of this key." placeholder:"KEY" xor:"decide"`
}

func (c *peerKeysCmd) Run(ctx context.Context, io IO) error {
	return c.on(ctx, io, func(s *server.Server, host ocm.Host) error {
		for key, state := range map[string]string{c.Approve: peer.KeyTrusted, c.Reject: peer.KeyRejected} {
			if key == "" {
				continue
			}
			if err := s.Peers.DecideKey(ctx, host, key, state); err != nil {
				return err
			}
		}
		keys, err := s.Peers.KeysOf(ctx, host)
		if err != nil {
			return err
		}
		views := server.ShowPeer(&peer.Record{Keys: keys}, true).Keys
		if c.JSON {
			return printJSON(io, append([]server.PeerKeyView{}, views...))
		}
		if len(views) == 0 {
			fmt.Fprintf(io.Out, "No key of %s was seen. Ask for them with: weft peer refresh %s\n", host, host)
			return nil
		}
		return keyTable(io, views)
	})
}

// ruleArgs are the parts of a rule.
type ruleArgs struct {
	where
	Pattern string `arg:"" help:"A host, *.domain or *."`
	Note    string `help:"Why." placeholder:"TEXT"`
}

// set changes the rule of the pattern, or makes it.
func (c ruleArgs) set(ctx context.Context, io IO, change func(*peer.Rule)) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		rules, err := s.Policy.Rules(ctx)
		if err != nil {
			return err
		}
		r := peer.Rule{Pattern: c.Pattern}
		for _, old := range rules {
			if old.Pattern == strings.ToLower(c.Pattern) {
				r = old
			}
		}
		change(&r)
		if c.Note != "" {
			r.Note = c.Note
		}
		if r.Empty() && r.CreatedAt != 0 {
			fmt.Fprintln(io.Out, "The rule decides nothing any more, and is gone.")
			return s.Policy.Unset(ctx, r.Pattern)
		}
		if r, err = s.Policy.Set(ctx, r); err != nil {
			return err
		}
		fmt.Fprintln(io.Out, ruleLine(r))
		return nil
	})
}

func ruleLine(r peer.Rule) string {
	var parts []string
	if r.Action != "" {
		parts = append(parts, string(r.Action))
	}
	for _, o := range []struct{ name, is string }{{"must-sign", r.MustSign}, {"must-exchange", r.MustExchange}, {"must-invite", r.MustInvite}, {"as", r.Profile}, {"wire", r.Wire}, {"cavage", r.Cavage}} {
		if o.is != "" {
			parts = append(parts, o.name+" "+o.is)
		}
	}
	line := r.Pattern + ": " + strings.Join(parts, ", ")
	if r.Note != "" {
		line += " (" + r.Note + ")"
	}
	return line
}

type peerAllowCmd struct{ ruleArgs }

func (c *peerAllowCmd) Run(ctx context.Context, io IO) error {
	return c.set(ctx, io, func(r *peer.Rule) { r.Action = peer.Allow })
}

type peerDenyCmd struct{ ruleArgs }

func (c *peerDenyCmd) Run(ctx context.Context, io IO) error {
	return c.set(ctx, io, func(r *peer.Rule) { r.Action = peer.Deny })
}

type peerLimitCmd struct{ ruleArgs }

func (c *peerLimitCmd) Run(ctx context.Context, io IO) error {
	return c.set(ctx, io, func(r *peer.Rule) { r.Action = peer.Limit })
}

type peerRequireCmd struct {
	ruleArgs
	Sign     string `help:"Signed messages: yes, no, or default." enum:"yes,no,default," default:""`
	Exchange string `help:"The code flow: yes, no, or default." enum:"yes,no,default," default:""`
	Invite   string `help:"An invite between the people: yes, no, or default." enum:"yes,no,default," default:""`
	Cavage   string `help:"Sign messages to it by draft-cavage, where federation.legacy_signatures is on: yes, no, or default: as its profile says." enum:"yes,no,default," default:""`
	Profile  string `help:"Deal with it as with this family of servers, or default: to read it off its document." placeholder:"NAME"`
}

func (c *peerRequireCmd) Run(ctx context.Context, io IO) error {
	if c.Sign+c.Exchange+c.Invite+c.Cavage+c.Profile == "" {
		return usagef("give at least one of --sign, --exchange, --invite, --cavage and --profile (%s)", strings.Join(client.Profiles(), ", "))
	}
	return c.set(ctx, io, func(r *peer.Rule) {
		for _, o := range []struct {
			given string
			is    *string
		}{{c.Sign, &r.MustSign}, {c.Exchange, &r.MustExchange}, {c.Invite, &r.MustInvite}, {c.Cavage, &r.Cavage}, {c.Profile, &r.Profile}} {
			if o.given != "" {
				*o.is = strings.TrimPrefix(o.given, "default")
			}
		}
	})
}

type peerForgetCmd struct {
	where
	Pattern string `arg:"" help:"The host or pattern of the rule."`
}

func (c *peerForgetCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		if err := s.Policy.Unset(ctx, c.Pattern); err != nil {
			return err
		}
		fmt.Fprintln(io.Out, "The rule is gone.")
		return nil
	})
}

type peerRulesCmd struct {
	where
	JSON bool `help:"Print JSON."`
}

func (c *peerRulesCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		rules, err := s.Policy.Rules(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			views := []server.RuleView{}
			for _, r := range rules {
				views = append(views, server.ShowRule(r))
			}
			return printJSON(io, map[string]any{"mode": s.Policy.Defaults.Mode, "rules": views})
		}
		for _, r := range rules {
			fmt.Fprintln(io.Out, ruleLine(r))
		}
		without := map[peer.Mode]string{
			peer.ModeOpen: "allow", peer.ModeAllowlist: "deny", peer.ModeDirectory: "allow what a directory lists, deny the rest",
		}[s.Policy.Defaults.Mode]
		fmt.Fprintf(io.Out, "all others: %s (mode %s)\n", without, s.Policy.Defaults.Mode)
		return nil
	})
}

type peerImportCmd struct {
	where
	File    string `arg:"" help:"CSV with a first line of host,action,must_sign,must_exchange,must_invite,profile,wire,cavage,note; - reads standard input."`
	Replace bool   `help:"Remove the rules that are not in the file."`
	Yes     bool   `short:"y" help:"Do not ask."`
}

func (c *peerImportCmd) Run(ctx context.Context, io IO) error {
	in := io.In
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	rules, err := peer.ReadRules(in)
	if err != nil {
		return err
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		changes, err := s.Policy.Plan(ctx, rules, c.Replace)
		if err != nil {
			return err
		}
		for _, change := range changes {
			sign := map[string]string{"added": "+", "changed": "~", "removed": "-"}[change.Kind]
			fmt.Fprintf(io.Out, "%s %s", sign, ruleLine(change.Rule))
			if change.Was != nil {
				fmt.Fprintf(io.Out, "; was %s", strings.TrimPrefix(ruleLine(*change.Was), change.Was.Pattern+": "))
			}
			fmt.Fprintln(io.Out)
		}
		if len(changes) == 0 {
			fmt.Fprintln(io.Out, "Nothing would change.")
			return nil
		}
		if !c.Yes {
			if c.File == "-" {
				return usagef("nothing was changed: with standard input, confirm by --yes")
			}
			fmt.Fprintf(io.Err, "%s [y/N] ", plural(int64(len(changes)), "Make this change?", "Make these %d changes?"))
			answer, _ := bufio.NewReader(io.In).ReadString('\n')
			if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
				return errors.New("nothing was changed")
			}
		}
		if err := s.Policy.Apply(ctx, changes); err != nil {
			return err
		}
		fmt.Fprintln(io.Out, plural(int64(len(changes)), "1 change made.", "%d changes made."))
		return nil
	})
}

type peerExportCmd struct{ where }

func (c *peerExportCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		rules, err := s.Policy.Rules(ctx)
		if err != nil {
			return err
		}
		return peer.WriteRules(io.Out, rules)
	})
}

type peerReportsCmd struct {
	where
	Host string `arg:"" optional:"" help:"Only those about this server."`
	JSON bool   `help:"Print JSON."`
}

func (c *peerReportsCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		out, err := s.Reports(ctx, ocm.Host(strings.ToLower(c.Host)))
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(io, out)
		}
		if len(out) == 0 {
			fmt.Fprintln(io.Out, "Nothing was reported.")
			return nil
		}
		return table(io, "WHEN\tBY\tSENDER\tSHARE\tMESSAGE", func(w *tabwriter.Writer) {
			for _, r := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", local(r.CreatedAt), r.By, r.Sender, r.ShareName, r.Message)
			}
		})
	})
}

type peerReconcileCmd struct {
	hostArg
	Apply bool `help:"Carry out what is proposed."`
}

func (c *peerReconcileCmd) Help() string {
	return `Asks the server about every share between it and this one: of those received,
whether it still gives them; of those sent, whether it still knows them, where it
can be asked. Nothing is changed without --apply. The proposals are
  resend      tell it again; what it has already stays as it is there
  quarantine  a received share that it no longer knows cannot be opened until it
              knows it again; its people see why, and can remove it
  restore     ends that quarantine
No proposal deletes anything, and all can be repeated. A running server delivers
what is resent within half a minute.

Example:
  weft peer reconcile cloud.example.org --data /var/lib/weft`
}

func (c *peerReconcileCmd) Run(ctx context.Context, io IO) error {
	return c.on(ctx, io, func(s *server.Server, host ocm.Host) error {
		found, err := s.Sharing.Compare(ctx, host)
		if err != nil {
			return err
		}
		if !c.JSON {
			if err := comparisonTable(io, server.ShowComparison(found)); err != nil {
				return err
			}
		}
		done := 0
		if c.Apply {
			done, err = s.Sharing.Repair(ctx, host, found.Findings)
		}
		if c.JSON {
			return errors.Join(err, printJSON(io, server.ShowComparison(found)))
		}
		if done > 0 {
			fmt.Fprintln(io.Out, plural(int64(done), "1 proposal carried out.", "%d proposals carried out."))
		}
		return err
	})
}

// counted are the lines about what needs no line of its own.
var counted = []struct{ code, one, many string }{
	{sharing.Agreed, "1 share agrees.", "%d shares agree."},
	{sharing.Apart, "1 share stays in quarantine: it is still unknown there.", "%d shares stay in quarantine: they are still unknown there."},
	{sharing.Unclear, "1 share is unclear.", "%d shares are unclear."},
	{sharing.Unasked, "1 share sent there cannot be asked about: it reads no such message.", "%d shares sent there cannot be asked about: it reads no such message."},
	{sharing.LeftOut, "1 share was not asked about.", "%d shares were not asked about."},
	{sharing.Waiting, "1 message waits for it.", "%d messages wait for it."},
}

// comparisonTable prints what differs, and counts what does not.
func comparisonTable(io IO, v server.ComparisonView) error {
	out, proposed, whys := plain{io.Out}, int64(0), []string{}
	rows := func(w *tabwriter.Writer) {
		for _, f := range v.Findings {
			way := map[string]string{sharing.Sent: "to", sharing.Got: "from"}[f.Direction]
			believed := strings.TrimSpace(strings.Join(f.Permissions, ",") + " " + f.State)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", short(cmp.Or(f.Share, f.Message)), way, f.Name, f.Person, believed, f.Answer, cmp.Or(f.Proposal, "-"))
			if why := cmp.Or(f.Proposal, f.Code) + ": " + f.Why; !slices.Contains(whys, why) {
				whys = append(whys, why)
			}
			if f.Proposal != "" {
				proposed++
			}
		}
	}
	if len(v.Findings) > 0 {
		if err := table(io, "SHARE\t\tNAME\tWITH OR FROM\tWE BELIEVE\tIT SAYS\tPROPOSAL", rows); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s\n\n", strings.Join(whys, "\n"))
	}
	for _, line := range counted {
		if n := v.Counts[line.code]; n > 0 {
			fmt.Fprintln(out, plural(n, line.one, line.many))
		}
	}
	if v.Stopped != "" {
		fmt.Fprintf(out, "Not all was asked: %s. Compare again later.\n", v.Stopped)
	}
	if proposed == 0 {
		fmt.Fprintln(out, "Nothing to repair.")
		return nil
	}
	fmt.Fprintln(out, plural(proposed, "1 proposal", "%d proposals")+". None deletes anything, and all can be repeated; --apply carries them out.")
	return nil
}

type explainCmd struct {
	where
	Request string `arg:"" help:"The request's id: X-Request-Id of the answer, \"request\" in the log."`
	JSON    bool   `help:"Print JSON."`
}

func (c *explainCmd) Help() string {
	return `Every answer carries its request's id, and refusals name it to people. Kept for
federation.explain_for (7 days).

Example:
  weft explain 019a8f5c-7d0e-7c31-9d6e-2a4b1c3d5e6f --data /var/lib/weft`
}

func (c *explainCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		d, err := s.Explain(ctx, c.Request)
		for range 5 { // a decision is written just after its answer
			if !errors.Is(err, explain.ErrNoDecision) {
				break
			}
			time.Sleep(100 * time.Millisecond)
			d, err = s.Explain(ctx, c.Request)
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(io, d)
		}
		who := d.Peer
		if d.Person != "" {
			who = d.Person
		}
		if who != "" {
			who = " for " + who
		}
		fmt.Fprintf(io.Out, "%s  %s %s%s from %s\n", local(d.At), d.Method, d.Path, who, d.From)
		for _, step := range d.Steps {
			fmt.Fprintf(io.Out, "  %-11s %s\n", step.Check, step.Found)
		}
		if d.Code == "" {
			fmt.Fprintf(io.Out, "accepted: %d\n", d.Status)
			return nil
		}
		fmt.Fprintf(io.Out, "refused: %d %s: %s\n", d.Status, d.Code, d.Reason)
		return nil
	})
}
