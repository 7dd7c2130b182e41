package peer

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// Action is what becomes of a host's messages and of ours to it.
type Action string

// The actions of rules and verdicts.
const (
	Allow Action = "allow"
	Deny  Action = "deny"
	Limit Action = "limit" // its shares wait in quarantine
)

// Mode says what becomes of hosts that no rule names.
type Mode string

// The modes.
const (
	ModeOpen      Mode = "open"      // allowed
	ModeAllowlist Mode = "allowlist" // denied
	ModeDirectory Mode = "directory" // allowed if a directory we read lists them
)

// Rule is what the operator decided about a host, or about all hosts below a
// name. Of the rules that match, the most specific one that decides a thing
// decides it: a host with its port, the host, *.domain from the longest to the
// shortest, then *. A pattern without a port is for every port.
type Rule struct {
	bun.BaseModel `bun:"table:peer_rules"`

	Pattern string `bun:",pk"` // "cloud.example.org", "*.example.org", "*"
	Action  Action // "" decides only what follows
	// Yes, no, or "" to leave it to the next rule and then the configuration.
	MustSign     string
	MustExchange string
	MustInvite   string
	Profile      string // of client.Profiles, "" to read it off the document
	Wire         string // Yes, No, or "": whether what goes over the wire is kept
	Cavage       string // Yes, No, or "": whether messages to it are signed by draft-cavage; "" as its profile says
	Note         string
	CreatedAt    int64
	UpdatedAt    int64
}

// Empty reports whether the rule decides nothing.
func (r Rule) Empty() bool { return r.same(Rule{Note: r.Note}) }

// same reports whether two rules decide the same.
func (r Rule) same(o Rule) bool {
	return r.Action == o.Action && r.MustSign == o.MustSign && r.MustExchange == o.MustExchange && r.MustInvite == o.MustInvite && r.Profile == o.Profile && r.Wire == o.Wire && r.Cavage == o.Cavage && r.Note == o.Note
}

// Verdict is what policy says about a host.
type Verdict struct {
	Action       Action
	Because      string // which rule or mode decided, for the operator
	MustSign     bool   // refuse its unsigned messages
	MustExchange bool   // take only its shares of the code flow
	MustInvite   bool   // take only shares of senders whom an invite made known
	Profile      string // as the operator set it; "" to read it off the document
	// UnsignedAgreed: a rule says that it need not sign, though it could or once
	// did.
	UnsignedAgreed bool
	Wire           bool   // what goes over the wire is kept for operators
	Cavage         string // as the rules say: Yes, No, or "" for what its profile says
	Named          bool   // a rule or a directory names it, in whatever mode
}

// Defaults is what holds where no rule says otherwise.
type Defaults struct {
	Mode         Mode
	MustSign     bool
	MustExchange bool
	MustInvite   bool
	Wire         bool
}

// Members tells which federation's directory lists a host.
type Members interface {
	Member(ctx context.Context, host ocm.Host) (federation string, ok bool, err error)
}

// Policy decides whom this server deals with.
type Policy struct {
	DB       *store.DB
	Now      func() time.Time
	Self     ocm.Host
	Defaults Defaults
	Members  Members // of the directories; needed in ModeDirectory

	rules store.Watched[*ruleSet]
}

// trustName is what changes of rules and keys bump.
const trustName = "trust"

// NewPolicy makes a Policy on a database.
func NewPolicy(db *store.DB, now func() time.Time, self ocm.Host, defaults Defaults) *Policy {
	p := &Policy{DB: db, Now: now, Self: self, Defaults: defaults}
	p.rules = store.Watched[*ruleSet]{DB: db, Name: trustName, Load: loadRules}
	return p
}

// ruleSet is the rules, ready to be asked.
type ruleSet struct {
	exact map[string]*Rule // by host, with or without a port
	below map[string]*Rule // by the domain behind "*."
	any   *Rule            // "*"
	deny  bool             // there is a rule that denies
	// rejected are the keys the operator does not want.
	rejected map[keyID]bool
}

func loadRules(ctx context.Context, db bun.IDB) (*ruleSet, error) {
	var rules []Rule
	if err := db.NewSelect().Model(&rules).Scan(ctx); err != nil {
		return nil, err
	}
	set := newRuleSet(rules)
	var keys []peerKeyRow
	if err := db.NewSelect().Model(&keys).Where("state = ?", KeyRejected).Scan(ctx); err != nil {
		return nil, err
	}
	for _, k := range keys {
		set.rejected[keyID{k.Host, k.KID, k.Thumbprint}] = true
	}
	return set, nil
}

func newRuleSet(rules []Rule) *ruleSet {
	set := &ruleSet{exact: map[string]*Rule{}, below: map[string]*Rule{}, rejected: map[keyID]bool{}}
	for i := range rules {
		r := &rules[i]
		set.deny = set.deny || r.Action == Deny
		if domain, ok := strings.CutPrefix(r.Pattern, "*."); ok {
			set.below[domain] = r
		} else if r.Pattern == "*" {
			set.any = r
		} else {
			set.exact[r.Pattern] = r
		}
	}
	return set
}

// match calls f with the rules that match a host, the most specific first,
// until f has what it wants.
func (s *ruleSet) match(host ocm.Host, f func(*Rule) (done bool)) {
	if r := s.exact[string(host)]; r != nil && f(r) {
		return
	}
	name := string(host)
	if port := host.Port(); port != "" {
		name = strings.TrimSuffix(name, ":"+port)
		if r := s.exact[name]; r != nil && f(r) {
			return
		}
	}
	for {
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		if r := s.below[parent]; r != nil && f(r) {
			return
		}
		name = parent
	}
	if s.any != nil {
		f(s.any)
	}
}

// Decide says what holds for a host. It asks no peer, and reads the database
// only to see whether the rules have changed.
func (p *Policy) Decide(ctx context.Context, host ocm.Host) (Verdict, error) {
	d := p.Defaults
	v := Verdict{MustSign: d.MustSign, MustExchange: d.MustExchange, MustInvite: d.MustInvite, Wire: d.Wire}
	if host == p.Self {
		v.Action, v.Because = Allow, "this server"
		return v, nil
	}
	set, err := p.rules.Get(ctx)
	if err != nil {
		return v, fmt.Errorf("read the rules about peers: %w", err)
	}
	var sign, exchange, invite, wire string
	set.match(host, func(r *Rule) bool {
		if v.Action == "" && r.Action != "" {
			v.Action, v.Because, v.Named = r.Action, "rule "+r.Pattern, r.Pattern != "*"
			if r.Note != "" {
				v.Because += " (" + r.Note + ")"
			}
		}
		for _, o := range []struct {
			is *string
			by string
		}{{&sign, r.MustSign}, {&exchange, r.MustExchange}, {&invite, r.MustInvite}, {&v.Profile, r.Profile}, {&wire, r.Wire}, {&v.Cavage, r.Cavage}} {
			if *o.is == "" {
				*o.is = o.by
			}
		}
		return v.Action != "" && sign != "" && exchange != "" && invite != "" && v.Profile != "" && wire != "" && v.Cavage != ""
	})
	v.MustSign, v.MustExchange, v.MustInvite = or(sign, d.MustSign), or(exchange, d.MustExchange), or(invite, d.MustInvite)
	v.Wire = or(wire, d.Wire)
	v.UnsignedAgreed = sign == No
	if v.Action == "" {
		v.Action, v.Because, err = p.byMode(ctx, host)
	}
	if err == nil && !v.Named && v.Action == Allow && p.Members != nil {
		// Whoever cannot be looked up is as good as not listed.
		_, listed, err := p.Members.Member(ctx, host)
		v.Named = listed && err == nil
	}
	return v, err
}

func or(given string, otherwise bool) bool {
	if given == "" {
		return otherwise
	}
	return given == Yes
}

func (p *Policy) byMode(ctx context.Context, host ocm.Host) (Action, string, error) {
	switch p.Defaults.Mode {
	case ModeAllowlist:
		return Deny, "mode allowlist, and no rule allows it", nil
	case ModeDirectory:
		federation, ok, err := p.Members.Member(ctx, host)
		if err != nil {
			return "", "", fmt.Errorf("read the directories: %w", err)
		}
		if ok {
			return Allow, "mode directory, member of " + federation, nil
		}
		return Deny, "mode directory, and no directory lists it", nil
	}
	return Allow, "mode open, and no rule names it", nil
}

// denies reports whether a rule denies a host, whatever the mode.
func (p *Policy) denies(ctx context.Context, host ocm.Host) bool {
	set, err := p.rules.Get(ctx)
	if err != nil {
		return true
	}
	denied := false
	set.match(host, func(r *Rule) bool {
		denied = r.Action == Deny
		return r.Action != ""
	})
	return denied
}

// Criteria are those of the discovery document that follow from policy.
func (p *Policy) Criteria(ctx context.Context) []string {
	var out []string
	for _, c := range []struct {
		holds bool
		name  string
	}{
		{p.Defaults.MustSign, ocm.CriterionHTTPSig}, {p.Defaults.MustExchange, ocm.CriterionExchangeToken}, {p.Defaults.MustInvite, ocm.CriterionInvite},
		{p.Defaults.Mode != ModeOpen && p.Defaults.Mode != "", ocm.CriterionAllowlist},
	} {
		if c.holds {
			out = append(out, c.name)
		}
	}
	if set, err := p.rules.Get(ctx); err == nil && set.deny {
		out = append(out, ocm.CriterionDenylist)
	}
	return out
}

// ErrDenied says that policy forbids dealing with a peer.
var ErrDenied = ocm.NewError(http.StatusForbidden, "PEER_DENIED_HERE", "The operator of this server does not allow dealing with that server.")

// Permit fails with ErrDenied for hosts that policy denies: for what our own
// people want of a peer.
func (p *Policy) Permit(ctx context.Context, host ocm.Host) (Verdict, error) {
	v, err := p.Decide(ctx, host)
	if err == nil && v.Action == Deny {
		explain.Note(ctx, "policy", "%s for %s: %s", v.Action, host, v.Because)
		err = ErrDenied.Saying("The operator of this server does not allow dealing with %s.", host).With(errors.New(v.Because))
	}
	return v, err
}

// The answers of a rule's overrides.
const (
	Yes = "yes"
	No  = "no"
)

// ErrRule says what is wrong with a rule.
var ErrRule = ocm.NewError(http.StatusBadRequest, "RULE_INVALID", "This is not a rule.")

// maxNote bounds, in bytes, the operator's note on a rule.
const maxNote = 1000

// Check makes a rule ready to be stored, or says what is wrong with it.
func (r *Rule) Check() error {
	pattern := strings.ToLower(strings.TrimSpace(r.Pattern))
	if _, rest, ok := strings.Cut(pattern, "://"); ok { // as copied from a browser
		pattern = strings.TrimSuffix(rest, "/")
	}
	name := strings.TrimPrefix(pattern, "*.")
	if pattern != "*" {
		host, err := ocm.ParseHost(name)
		if err != nil {
			return ErrRule.Saying("%q is not a host, such as cloud.example.org, *.example.org or *", r.Pattern)
		}
		if name != pattern && (host.Port() != "" || strings.HasPrefix(name, "[")) {
			return ErrRule.Saying("%q: a pattern with * is for names, without a port", r.Pattern)
		}
		pattern = strings.TrimSuffix(pattern, name) + string(host)
	}
	r.Pattern = pattern
	if !slices.Contains([]Action{Allow, Deny, Limit, ""}, r.Action) {
		return ErrRule.Saying("%s: the action %q is not allow, deny or limit", pattern, r.Action)
	}
	for _, v := range []string{r.MustSign, r.MustExchange, r.MustInvite, r.Wire, r.Cavage} {
		if v != "" && v != Yes && v != No {
			return ErrRule.Saying("%s: %q is neither yes nor no, nor empty", pattern, v)
		}
	}
	if _, ok := client.ProfileNamed(r.Profile); r.Profile != "" && !ok {
		return ErrRule.Saying("%s: there is no profile %q; there are: %s", pattern, r.Profile, strings.Join(client.Profiles(), ", "))
	}
	if r.Empty() {
		return ErrRule.Saying("%s: the rule decides nothing", pattern)
	}
	if r.Note = ocm.DisplayName(r.Note); len(r.Note) > maxNote {
		return ErrRule.Saying("%s: the note is longer than %d bytes", pattern, maxNote)
	}
	return nil
}

// Set stores a rule in the place of one with its pattern.
func (p *Policy) Set(ctx context.Context, r Rule) (Rule, error) {
	if err := r.Check(); err != nil {
		return r, err
	}
	return r, p.change(ctx, func(ctx context.Context, tx bun.Tx) error { return p.put(ctx, tx, r) })
}

func (p *Policy) put(ctx context.Context, tx bun.Tx, r Rule) error {
	r.CreatedAt = p.Now().UnixMilli()
	r.UpdatedAt = r.CreatedAt
	was := &Rule{}
	err := tx.NewSelect().Model(was).Where("pattern = ?", r.Pattern).Scan(ctx)
	if err != nil && !store.NotFound(err) {
		return err
	}
	details := audit.Details{"to": r.decides()}
	if err == nil {
		details["from"] = was.decides()
	}
	_, err = tx.NewInsert().Model(&r).On("CONFLICT (pattern) DO UPDATE").
		Set("action = EXCLUDED.action").Set("must_sign = EXCLUDED.must_sign").Set("must_exchange = EXCLUDED.must_exchange").
		Set("must_invite = EXCLUDED.must_invite").Set("profile = EXCLUDED.profile").Set("wire = EXCLUDED.wire").Set("cavage = EXCLUDED.cavage").Set("note = EXCLUDED.note").Set("updated_at = EXCLUDED.updated_at").Exec(ctx)
	if err != nil {
		return err
	}
	return p.noteRule(ctx, tx, "policy.changed", r.Pattern, details)
}

// noteRule records an act on a rule for the audit, with all that it takes to undo
// it.
func (p *Policy) noteRule(ctx context.Context, tx bun.Tx, action audit.Action, pattern string, details audit.Details) error {
	return audit.Note(ctx, tx, p.Now(), audit.Event{Action: action, Kind: "rule", ID: pattern, Name: pattern, Target: pattern, Details: details})
}

// decides is what a rule decides, by the columns of a file of rules.
func (r *Rule) decides() audit.Details {
	out := audit.Details{}
	for i, v := range r.columns() {
		if i > 0 && v != "" {
			out[csvHead[i]] = v
		}
	}
	return out
}

// drop removes the rule of a pattern, and reports whether there was one.
func (p *Policy) drop(ctx context.Context, tx bun.Tx, pattern string) (found bool, err error) {
	r := &Rule{}
	err = tx.NewSelect().Model(r).Where("pattern = ?", pattern).Scan(ctx)
	if store.NotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := tx.NewDelete().Model(r).WherePK().Exec(ctx); err != nil {
		return false, err
	}
	return true, p.noteRule(ctx, tx, "policy.removed", pattern, audit.Details{"from": r.decides()})
}

// change runs a change of the rules and lets every process see it.
func (p *Policy) change(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	defer p.rules.Stale()
	return p.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		return store.Bump(ctx, tx, trustName)
	})
}

// ErrNoRule says that there is no rule of a pattern.
var ErrNoRule = ocm.NewError(http.StatusNotFound, "RULE_NOT_FOUND", "There is no rule for exactly that host or pattern.")

// Unset removes the rule of a pattern.
func (p *Policy) Unset(ctx context.Context, pattern string) error {
	return p.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		found, err := p.drop(ctx, tx, strings.ToLower(strings.TrimSpace(pattern)))
		if err == nil && !found {
			err = ErrNoRule
		}
		return err
	})
}

// Rules lists all rules by pattern.
func (p *Policy) Rules(ctx context.Context) ([]Rule, error) {
	rules := []Rule{}
	err := p.DB.Read.NewSelect().Model(&rules).Order("pattern").Scan(ctx)
	return rules, err
}

// Change is one difference that an import makes.
type Change struct {
	Kind string // added, changed or removed
	Rule Rule   // as it will be; as it was, when removed
	Was  *Rule  // when changed
}

// Plan tells what storing rules would change; with replace, rules that are not
// among them go.
func (p *Policy) Plan(ctx context.Context, rules []Rule, replace bool) ([]Change, error) {
	current, err := p.Rules(ctx)
	if err != nil {
		return nil, err
	}
	was := map[string]*Rule{}
	for i := range current {
		was[current[i].Pattern] = &current[i]
	}
	changes := []Change{}
	for _, r := range rules {
		old := was[r.Pattern]
		delete(was, r.Pattern)
		switch {
		case old == nil:
			changes = append(changes, Change{"added", r, nil})
		case !old.same(r):
			changes = append(changes, Change{"changed", r, old})
		}
	}
	if replace {
		for _, r := range current {
			if was[r.Pattern] != nil {
				changes = append(changes, Change{"removed", r, nil})
			}
		}
	}
	return changes, nil
}

// Apply makes the changes of a plan.
func (p *Policy) Apply(ctx context.Context, changes []Change) error {
	return p.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, c := range changes {
			if c.Kind != "removed" {
				if err := p.put(ctx, tx, c.Rule); err != nil {
					return err
				}
				continue
			}
			if _, err := p.drop(ctx, tx, c.Rule.Pattern); err != nil {
				return err
			}
		}
		return nil
	})
}

// csvHead names the columns of a file of rules.
var csvHead = []string{"host", "action", "must_sign", "must_exchange", "must_invite", "profile", "wire", "cavage", "note"}

// maxRules bounds a file of rules.
const maxRules = 100_000

// ReadRules reads a file of rules: CSV whose first line names the columns, of
// which only host is required. Every fault names its line.
func ReadRules(r io.Reader) ([]Rule, error) {
	in := csv.NewReader(r)
	in.TrimLeadingSpace = true
	in.Comment = '#'
	head, err := in.Read()
	if err != nil {
		return nil, ErrRule.Saying("the file of rules is empty or not CSV; its first line is: %s", strings.Join(csvHead, ",")).With(err)
	}
	column := map[string]int{}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if !slices.Contains(csvHead, name) {
			return nil, ErrRule.Saying("line 1: there is no column %q; the columns are: %s", name, strings.Join(csvHead, ","))
		}
		column[name] = i
	}
	if _, ok := column["host"]; !ok {
		return nil, ErrRule.Saying("line 1: the column host is missing; the columns are: %s", strings.Join(csvHead, ","))
	}
	lines := map[string]int{}
	var rules []Rule
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rules, nil
		}
		if err != nil {
			return nil, ErrRule.Saying("the file of rules is not CSV: %v", err)
		}
		line, _ := in.FieldPos(0)
		of := func(name string) string {
			if i, ok := column[name]; ok {
				return strings.TrimSpace(fields[i])
			}
			return ""
		}
		r := Rule{
			Pattern: of("host"), Action: Action(strings.ToLower(of("action"))), MustSign: strings.ToLower(of("must_sign")),
			MustExchange: strings.ToLower(of("must_exchange")), MustInvite: strings.ToLower(of("must_invite")), Profile: of("profile"),
			Wire: strings.ToLower(of("wire")), Cavage: strings.ToLower(of("cavage")), Note: of("note"),
		}
		if err := r.Check(); err != nil {
			return nil, ErrRule.Saying("line %d: %v", line, err)
		}
		if first, twice := lines[r.Pattern]; twice {
			return nil, ErrRule.Saying("line %d: %s is in line %d already", line, r.Pattern, first)
		}
		lines[r.Pattern] = line
		if rules = append(rules, r); len(rules) > maxRules {
			return nil, ErrRule.Saying("the file holds more than %d rules", maxRules)
		}
	}
}

// WriteRules writes what ReadRules reads.
func WriteRules(w io.Writer, rules []Rule) error {
	out := csv.NewWriter(w)
	out.Write(csvHead)
	for _, r := range rules {
		out.Write(r.columns())
	}
	out.Flush()
	return out.Error()
}

// columns are those of csvHead.
func (r *Rule) columns() []string {
	return []string{r.Pattern, string(r.Action), r.MustSign, r.MustExchange, r.MustInvite, r.Profile, r.Wire, r.Cavage, r.Note}
}
