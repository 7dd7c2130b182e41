package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/ocm"
)

func openDB(t testing.TB) *store.DB {
	t.Helper()
	return storetest.Open(t)
}

// members is a directory.
type members map[ocm.Host]string

func (m members) Member(_ context.Context, host ocm.Host) (string, bool, error) {
	f, ok := m[host]
	return f, ok, nil
}

func newPolicy(t testing.TB, d Defaults, rules ...Rule) *Policy {
	t.Helper()
	p := NewPolicy(openDB(t), time.Now, "us.example.org", d)
	p.Members = members{"member.example": "The Federation"}
	for _, r := range rules {
		if _, err := p.Set(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestTheMostSpecificRuleDecides(t *testing.T) {
	rules := []Rule{
		{Pattern: "*.example.org", Action: Deny, Note: "all of it"},
		{Pattern: "Good.Example.org", Action: Allow},
		{Pattern: "good.example.org:8443", Action: Limit},
		{Pattern: "*.lab.example.org", Action: Limit},
		{Pattern: "*.com", MustSign: Yes},
		{Pattern: "shop.com", MustSign: No, MustInvite: Yes},
	}
	for _, c := range []struct {
		host    ocm.Host
		action  Action
		because string
	}{
		{"good.example.org", Allow, "rule good.example.org"},
		{"good.example.org:8443", Limit, "rule good.example.org:8443"},
		{"good.example.org:9", Allow, "rule good.example.org"},
		{"bad.example.org", Deny, "rule *.example.org (all of it)"},
		{"a.b.lab.example.org", Limit, "rule *.lab.example.org"},
		{"example.org", Allow, "mode open, and no rule names it"},
		{"notexample.org", Allow, "mode open, and no rule names it"},
		{"shop.com", Allow, "mode open, and no rule names it"},
		{"us.example.org", Allow, "this server"},
		{"[2001:db8::1]:80", Allow, "mode open, and no rule names it"},
	} {
		v, err := newPolicy(t, Defaults{Mode: ModeOpen}, rules...).Decide(t.Context(), c.host)
		if err != nil || v.Action != c.action || v.Because != c.because {
			t.Errorf("%s: %+v, %v; want %s by %s", c.host, v, err, c.action, c.because)
		}
	}
	p := newPolicy(t, Defaults{Mode: ModeOpen, MustExchange: true}, rules...)
	if v, _ := p.Decide(t.Context(), "shop.com"); v.MustSign || !v.MustInvite || !v.MustExchange {
		t.Errorf("overrides: %+v", v)
	}
	if v, _ := p.Decide(t.Context(), "other.com"); !v.MustSign || v.MustInvite {
		t.Errorf("overrides of the wider rule: %+v", v)
	}
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		mode     Mode
		host     ocm.Host
		action   Action
		criteria []string
	}{
		{ModeOpen, "any.example", Allow, []string{"denylist"}},
		{ModeAllowlist, "any.example", Deny, []string{"allowlist", "denylist"}},
		{ModeAllowlist, "listed.example", Allow, []string{"allowlist", "denylist"}},
		{ModeDirectory, "member.example", Allow, []string{"allowlist", "denylist"}},
		{ModeDirectory, "listed.example", Allow, []string{"allowlist", "denylist"}},
		{ModeDirectory, "any.example", Deny, []string{"allowlist", "denylist"}},
	} {
		p := newPolicy(t, Defaults{Mode: c.mode}, Rule{Pattern: "listed.example", Action: Allow}, Rule{Pattern: "x.example", Action: Deny})
		v, err := p.Decide(t.Context(), c.host)
		if err != nil || v.Action != c.action {
			t.Errorf("%s, %s: %+v, %v", c.mode, c.host, v, err)
		}
		if got := p.Criteria(t.Context()); !slices.Equal(got, c.criteria) {
			t.Errorf("%s: criteria %v", c.mode, got)
		}
	}
	for host, named := range map[ocm.Host]bool{"any.example": false, "member.example": true, "listed.example": true} {
		for _, rules := range [][]Rule{nil, {{Pattern: "*", Action: Allow}}} {
			p := newPolicy(t, Defaults{Mode: ModeOpen}, append(rules, Rule{Pattern: "listed.example", Action: Allow})...)
			if v, err := p.Decide(t.Context(), host); err != nil || v.Named != named {
				t.Errorf("%s: %+v, %v", host, v, err)
			}
		}
	}
	p := newPolicy(t, Defaults{Mode: ModeOpen, MustSign: true, MustExchange: true, MustInvite: true})
	if got := p.Criteria(t.Context()); !slices.Equal(got, []string{"must-use-http-sig", "must-exchange-token", "must-invite"}) {
		t.Errorf("criteria %v", got)
	}
}

// A command of the operator is another process: the server sees its change.
func TestARuleOfAnotherProcessIsSeen(t *testing.T) {
	db := openDB(t)
	server, command := NewPolicy(db, time.Now, "us.example", Defaults{Mode: ModeOpen}), NewPolicy(db, time.Now, "us.example", Defaults{Mode: ModeOpen})
	if v, _ := server.Decide(t.Context(), "bad.example"); v.Action != Allow {
		t.Fatalf("%+v", v)
	}
	if _, err := command.Set(t.Context(), Rule{Pattern: "bad.example", Action: Deny}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		v, err := server.Decide(t.Context(), "bad.example")
		if err != nil {
			t.Fatal(err)
		}
		if v.Action == Deny {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not see the rule")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRulesThatMakeNoSenseAreRefused(t *testing.T) {
	p := newPolicy(t, Defaults{})
	for what, r := range map[string]Rule{
		"no host":           {Action: Deny},
		"a path":            {Pattern: "https://a.example/ocm", Action: Deny},
		"a star inside":     {Pattern: "a.*.example", Action: Deny},
		"a star and a port": {Pattern: "*.example:8443", Action: Deny},
		"another action":    {Pattern: "a.example", Action: "block"},
		"neither yes nor":   {Pattern: "a.example", MustSign: "maybe"},
		"nothing decided":   {Pattern: "a.example", Note: "hm"},
		"a long note":       {Pattern: "a.example", Action: Deny, Note: strings.Repeat("x", 1001)},
		"other letters":     {Pattern: "а.example", Action: Deny},
	} {
		if _, err := p.Set(t.Context(), r); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if r, err := p.Set(t.Context(), Rule{Pattern: "https://B.example:443/", Action: Deny}); err != nil || r.Pattern != "b.example" {
		t.Errorf("as copied from a browser: %+v, %v", r, err)
	}
	if err := p.Unset(t.Context(), "a.example"); !errors.Is(err, ErrNoRule) {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestRulesComeAndGoAsCSV(t *testing.T) {
	p := newPolicy(t, Defaults{}, Rule{Pattern: "old.example", Action: Deny, Note: "spam, 2025"}, Rule{Pattern: "same.example", Action: Allow})
	in := "\ufeffHost,action,note,must_sign\n# a comment\nsame.example,allow,,\nOLD.example,limit,\"better now, \"\"perhaps\"\"\",\n*.new.example,deny,x,yes\n"
	rules, err := ReadRules(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := p.Plan(t.Context(), rules, false)
	if err != nil || len(changes) != 2 || changes[0].Kind != "changed" || changes[0].Was.Action != Deny || changes[1].Kind != "added" {
		t.Fatalf("planned %+v, %v", changes, err)
	}
	if now, _ := p.Rules(t.Context()); len(now) != 2 {
		t.Error("planning changed the rules")
	}
	if err := p.Apply(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	now, err := p.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteRules(&out, now); err != nil {
		t.Fatal(err)
	}
	again, err := ReadRules(&out)
	if err != nil {
		t.Fatal(err)
	}
	if changes, err := p.Plan(t.Context(), again, true); err != nil || len(changes) != 0 {
		t.Errorf("written and read again: %+v, %v", changes, err)
	}
	if changes, err := p.Plan(t.Context(), again[:1], true); err != nil || len(changes) != 2 || changes[0].Kind != "removed" {
		t.Errorf("replacing: %+v, %v", changes, err)
	}
	for what, c := range map[string]struct{ in, says string }{
		"nothing":           {"", "host,action"},
		"no head":           {"a.example,deny\n", `no column "a.example"`},
		"no host column":    {"action\ndeny\n", "column host is missing"},
		"a bad rule":        {"host,action\na.example,allow\nb.example,block\n", "line 3"},
		"one twice":         {"host,action\na.example,allow\nA.example,deny\n", "line 3: a.example is in line 2"},
		"too many fields":   {"host,action\na.example,allow,x\n", "line 2"},
		"an open quotation": {"host,action\n\"a.example,allow\n", "not CSV"},
	} {
		if _, err := ReadRules(strings.NewReader(c.in)); !errors.Is(err, ErrRule) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzReadRules(f *testing.F) {
	f.Add("host,action\na.example,allow\n")
	f.Add("host,action,must_sign,must_exchange,must_invite,note\n*.a.example,,yes,no,,\"x,y\"\n")
	f.Fuzz(func(t *testing.T, in string) {
		rules, err := ReadRules(strings.NewReader(in))
		if err != nil {
			if !errors.Is(err, ErrRule) {
				t.Fatalf("an error without its code: %v", err)
			}
			return
		}
		var out bytes.Buffer
		if err := WriteRules(&out, rules); err != nil {
			t.Fatal(err)
		}
		again, err := ReadRules(&out)
		if err != nil || len(again) != len(rules) {
			t.Fatalf("%q does not come back: %v", out.String(), err)
		}
	})
}

// BenchmarkDecide is one policy decision with 10,000 rules.
func BenchmarkDecide(b *testing.B) {
	p := newPolicy(b, Defaults{Mode: ModeDirectory})
	rules := make([]Rule, 0, 10_000)
	for i := range 5_000 {
		rules = append(rules, Rule{Pattern: fmt.Sprintf("cloud%d.example.org", i), Action: Allow}, Rule{Pattern: fmt.Sprintf("*.d%d.example.net", i), Action: Deny})
	}
	changes, err := p.Plan(b.Context(), rules, false)
	if err == nil {
		err = p.Apply(b.Context(), changes)
	}
	if err != nil {
		b.Fatal(err)
	}
	hosts := []ocm.Host{"cloud4711.example.org", "a.b.c.d4711.example.net:8443", "member.example", "unknown.deep.below.example.com"}
	for b.Loop() {
		for _, h := range hosts {
			if _, err := p.Decide(b.Context(), h); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(hosts)), "ns/decision")
}
