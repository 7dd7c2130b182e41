package server

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// PeerView is a server that was met, as operators see it.
type PeerView struct {
	Host         string           `json:"host"`
	Provider     string           `json:"provider,omitempty"`
	APIVersion   string           `json:"apiVersion,omitempty"`
	Profile      string           `json:"profile,omitempty"`
	ProfileFrom  string           `json:"profileReason,omitempty"`
	Capabilities []string         `json:"capabilities"`
	Criteria     []string         `json:"criteria"`
	Policy       string           `json:"policy" enum:"allow,deny,limit"`
	Because      string           `json:"because" doc:"which rule or mode decided"`
	MustSign     bool             `json:"mustSign"`
	MustExchange bool             `json:"mustExchange"`
	MustInvite   bool             `json:"mustInvite"`
	FirstSeen    string           `json:"firstSeen,omitempty" format:"date-time"`
	DiscoveredAt string           `json:"discoveredAt,omitempty" format:"date-time"`
	LastSuccess  string           `json:"lastSuccess,omitempty" format:"date-time"`
	LastFailure  string           `json:"lastFailure,omitempty" format:"date-time"`
	FailingSince string           `json:"failingSince,omitempty" format:"date-time"`
	Failures     int64            `json:"failures" doc:"in a row"`
	Signs        string           `json:"signs,omitempty" enum:"rfc9421,draft-cavage" doc:"the best it was ever seen to sign by; less is refused until the operator agrees"`
	Failure      string           `json:"failure,omitempty"`
	RestsUntil   string           `json:"restsUntil,omitempty" format:"date-time" doc:"it is not called before"`
	Sent         int64            `json:"sharesSent"`
	Received     int64            `json:"sharesReceived"`
	Waiting      int64            `json:"messagesWaiting"`
	Dead         int64            `json:"messagesGivenUp"`
	Reports      int64            `json:"reports"`
	KeysWaiting  int64            `json:"keysWaiting" doc:"for the operator"`
	Keys         []PeerKeyView    `json:"keys,omitempty"`
	Document     *json.RawMessage `json:"document,omitempty" doc:"the discovery document as it came"`
}

// PeerKeyView is a key of a peer.
type PeerKeyView struct {
	KID        string `json:"kid"`
	Thumbprint string `json:"thumbprint" doc:"RFC 7638, SHA-256"`
	State      string `json:"state" enum:"trusted,waiting,rejected"`
	Published  bool   `json:"published" doc:"in the key set or document as last seen"`
	Joined     bool   `json:"joined" doc:"came after the first ones"`
	Cavage     bool   `json:"cavage,omitempty" doc:"the publicKey of its document, for signatures by draft-cavage"`
	FirstSeen  string `json:"firstSeen" format:"date-time"`
	LastSeen   string `json:"lastSeen" format:"date-time"`
}

// ShowPeer makes the operator's view of a record; whole includes keys and the
// document.
func ShowPeer(r *peer.Record, whole bool) PeerView {
	at := func(t time.Time) string { return rfc3339(store.Millis(t)) }
	v := PeerView{
		Host: string(r.Host), Capabilities: []string{}, Criteria: []string{},
		Policy: string(r.Verdict.Action), Because: r.Verdict.Because,
		MustSign: r.Verdict.MustSign, MustExchange: r.Verdict.MustExchange, MustInvite: r.Verdict.MustInvite,
		FirstSeen: at(r.FirstSeen), DiscoveredAt: at(r.DiscoveredAt), LastSuccess: at(r.LastSuccess), LastFailure: at(r.LastFailure),
		FailingSince: at(r.FailingSince), Failures: r.Failures, Signs: r.Signs, Failure: r.Failure, RestsUntil: at(r.RestsUntil),
		Sent: r.Sent, Received: r.Received, Waiting: r.Waiting, Dead: r.Dead, Reports: r.Reports, KeysWaiting: r.KeysWaiting,
	}
	if d := r.Discovery; d != nil {
		v.Provider, v.APIVersion, v.Profile, v.ProfileFrom = ocm.DisplayName(d.Provider), ocm.DisplayName(d.APIVersion), r.Profile.Name, r.Profile.Reason
		v.Capabilities, v.Criteria = append(v.Capabilities, d.Capabilities...), append(v.Criteria, d.Criteria...)
	}
	if !whole {
		return v
	}
	for _, k := range r.Keys {
		v.Keys = append(v.Keys, PeerKeyView{k.KID, k.Thumbprint, k.State, k.Published, k.Joined, k.Cavage, at(k.FirstSeen), at(k.LastSeen)})
	}
	if len(r.Document) > 0 {
		v.Document = &r.Document
	}
	return v
}

// RuleView is a rule about peers.
type RuleView struct {
	Host         string `json:"host" maxLength:"300" doc:"a host, *.domain, or *"`
	Action       string `json:"action,omitempty" enum:"allow,deny,limit," doc:"limit: its shares wait in quarantine"`
	MustSign     string `json:"mustSign,omitempty" enum:"yes,no,"`
	MustExchange string `json:"mustExchange,omitempty" enum:"yes,no,"`
	MustInvite   string `json:"mustInvite,omitempty" enum:"yes,no,"`
	Profile      string `json:"profile,omitempty" maxLength:"64" doc:"the family of servers it is dealt with as"`
	Wire         string `json:"wire,omitempty" enum:"yes,no," doc:"whether what goes over the wire is kept"`
	Cavage       string `json:"cavage,omitempty" enum:"yes,no," doc:"whether messages to it are signed by draft-cavage, where federation.legacy_signatures is on"`
	Note         string `json:"note,omitempty" maxLength:"1000"`
}

// ShowRule makes the operator's view of a rule.
func ShowRule(r peer.Rule) RuleView {
	return RuleView{r.Pattern, string(r.Action), r.MustSign, r.MustExchange, r.MustInvite, r.Profile, r.Wire, r.Cavage, r.Note}
}

func (v RuleView) rule() peer.Rule {
	return peer.Rule{Pattern: v.Host, Action: peer.Action(v.Action), MustSign: v.MustSign, MustExchange: v.MustExchange, MustInvite: v.MustInvite, Profile: v.Profile, Wire: v.Wire, Cavage: v.Cavage, Note: v.Note}
}

// ChangeView is a difference that an import of rules makes.
type ChangeView struct {
	Change string    `json:"change" enum:"added,changed,removed"`
	Rule   RuleView  `json:"rule"`
	Was    *RuleView `json:"was,omitempty"`
}

// ShowChanges makes the operator's view of a plan.
func ShowChanges(changes []peer.Change) []ChangeView {
	out := []ChangeView{}
	for _, c := range changes {
		v := ChangeView{Change: c.Kind, Rule: ShowRule(c.Rule)}
		if c.Was != nil {
			was := ShowRule(*c.Was)
			v.Was = &was
		}
		out = append(out, v)
	}
	return out
}

// DirectoryView is a subscription to a directory.
type DirectoryView struct {
	URL        string `json:"url"`
	Federation string `json:"federation"`
	Servers    int64  `json:"servers"`
	FetchedAt  string `json:"fetchedAt" format:"date-time"`
	TriedAt    string `json:"triedAt" format:"date-time"`
	Failure    string `json:"failure,omitempty" doc:"of the last attempt; the last good list is in force"`
	EndsAt     string `json:"endsAt,omitempty" format:"date-time" doc:"when the list in force ends by itself"`
	Ended      bool   `json:"ended" doc:"the list has ended: its servers are no members"`
}

// ShowDirectory makes the operator's view of a subscription.
func ShowDirectory(s *contact.Subscription, now time.Time) DirectoryView {
	ends := s.Ends()
	return DirectoryView{
		URL: s.URL, Federation: s.Federation, Servers: s.Servers, FetchedAt: rfc3339(s.FetchedAt), TriedAt: rfc3339(s.TriedAt), Failure: s.Failure,
		EndsAt: rfc3339(store.Millis(ends)), Ended: !ends.IsZero() && !ends.After(now),
	}
}

// ReportView is what someone reported.
type ReportView struct {
	ID        string `json:"id"`
	Host      string `json:"host"`
	Sender    string `json:"sender"`
	Share     string `json:"share"`
	ShareName string `json:"shareName"`
	Message   string `json:"message,omitempty"`
	By        string `json:"by" doc:"who reported it"`
	CreatedAt string `json:"createdAt" format:"date-time"`
}

// Reports lists what people reported, of one host, or of all for "".
func (s *Server) Reports(ctx context.Context, host ocm.Host) ([]ReportView, error) {
	list, err := s.Sharing.Reports(ctx, host)
	if err != nil {
		return nil, err
	}
	return s.showReports(ctx, list)
}

func (s *Server) showReports(ctx context.Context, list []sharing.Report) ([]ReportView, error) {
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.UserID
	}
	names, err := s.Accounts.Names(ctx, ids)
	out := []ReportView{}
	for _, r := range list {
		by := cmp.Or(names[r.UserID], r.UserID) // of someone who was removed since
		out = append(out, ReportView{r.ID, r.PeerHost, r.Sender, r.ShareID, r.ShareName, r.Message, by, rfc3339(r.CreatedAt)})
	}
	return out, err
}

// DecisionView is how a request was decided.
type DecisionView struct {
	Request string     `json:"request"`
	At      string     `json:"at" format:"date-time"`
	Method  string     `json:"method"`
	Path    string     `json:"path"`
	From    string     `json:"from" doc:"the client's address"`
	Peer    string     `json:"peer,omitempty"`
	Person  string     `json:"person,omitempty"`
	Status  int        `json:"status"`
	Code    string     `json:"code,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Steps   []StepView `json:"steps"`
}

// StepView is one check and what it found.
type StepView struct {
	Check string `json:"check"`
	Found string `json:"found"`
}

// Explain tells how a request was decided.
func (s *Server) Explain(ctx context.Context, request string) (*DecisionView, error) {
	d, err := s.Decisions.Find(ctx, strings.TrimSpace(request))
	if err != nil {
		return nil, err
	}
	v := &DecisionView{
		Request: d.Request, At: d.At.UTC().Format(time.RFC3339), Method: d.Method, Path: d.Path, From: d.Origin, Peer: d.Peer, Person: d.Person,
		Status: d.Status, Code: d.Code, Reason: d.Reason, Steps: []StepView{},
	}
	for _, step := range d.Steps {
		v.Steps = append(v.Steps, StepView(step))
	}
	return v, nil
}

// ComparisonView is how the shares between this server and another look from
// both sides.
type ComparisonView struct {
	Host     string           `json:"host"`
	Stopped  string           `json:"stopped,omitempty" doc:"why the rest was not asked about"`
	Counts   map[string]int64 `json:"counts" doc:"by what was found: of shares, those that agree too; of messages, given-up and waiting"`
	Findings []FindingView    `json:"findings" doc:"what differs or is unclear; without a proposal, the first 200"`
}

// FindingView is a share or message on which two servers differ, or may.
type FindingView struct {
	Direction   string   `json:"direction,omitempty" enum:"sent,received,"`
	Share       string   `json:"share,omitempty"`
	ProviderID  string   `json:"providerId,omitempty"`
	Name        string   `json:"name" doc:"of a message about no share, its kind"`
	Person      string   `json:"person,omitempty" doc:"the address at the other server"`
	State       string   `json:"state,omitempty" doc:"what we believe"`
	Permissions []string `json:"permissions,omitempty"`
	Code        string   `json:"code" enum:"unknown,back,rights,unclear,unsent,given-up"`
	Answer      string   `json:"answer" doc:"what the other server says"`
	Proposal    string   `json:"proposal,omitempty" enum:"resend,quarantine,restore,"`
	Why         string   `json:"why"`
	Message     string   `json:"message,omitempty" doc:"in the outbox, to be resent"`
	Done        bool     `json:"done" doc:"the proposal was carried out"`
}

// ShowComparison makes the operator's view of a comparison.
func ShowComparison(c *sharing.Comparison) ComparisonView {
	v := ComparisonView{string(c.Host), c.Stopped, c.Counts, []FindingView{}}
	for _, f := range c.Findings {
		v.Findings = append(v.Findings, FindingView(f))
	}
	return v
}

// admin registers a call that only administrators may make.
func admin[I, O any](api huma.API, op huma.Operation, call func(ctx context.Context, in *I) (O, error)) {
	op.Summary += " (administrators)"
	huma.Register(api, op, func(ctx context.Context, in *I) (*reply[O], error) {
		if !asking(ctx).Admin() {
			return nil, failing(ctx, errAdmins)
		}
		out, err := call(ctx, in)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[O]{out}, nil
	})
}

// byHost is the input of calls about one server.
type byHost struct {
	Host string `path:"host" maxLength:"300"`
}

func (s *Server) apiPeers(api huma.API) {
	admin(api, operation("GET", "/peers", "peers", "List the servers met"), func(ctx context.Context, _ *none) ([]PeerView, error) {
		records, err := s.Peers.Records(ctx)
		out := []PeerView{}
		for _, r := range records {
			out = append(out, ShowPeer(&r, false))
		}
		return out, err
	})
	one := func(ctx context.Context, host string) (*PeerView, error) {
		h, err := ocm.ReadHost(host)
		if err != nil {
			return nil, err
		}
		r, err := s.Peers.Record(ctx, h)
		if err != nil {
			return nil, err
		}
		v := ShowPeer(r, true)
		return &v, nil
	}
	admin(api, operation("GET", "/peers/{host}", "peer", "Show a server with its keys"), func(ctx context.Context, in *byHost) (*PeerView, error) {
		return one(ctx, in.Host)
	})
	admin(api, operation("POST", "/peers/{host}/refresh", "refreshPeer", "Ask a server anew what it is and which keys it has"), func(ctx context.Context, in *byHost) (*PeerView, error) {
		h, err := ocm.ReadHost(in.Host)
		if err != nil {
			return nil, err
		}
		if err := s.LookAgain(ctx, h); err != nil {
			return nil, err
		}
		return one(ctx, in.Host)
	})
	reconcile := operation("POST", "/peers/{host}/reconcile", "reconcile", "Compare the shares with a server from both sides, and with apply repair them")
	admin(api, reconcile, func(ctx context.Context, in *struct {
		Host string `path:"host" maxLength:"300"`
		Body struct {
			Apply bool `json:"apply,omitempty" doc:"carry out the proposals; none deletes anything"`
		}
	}) (*ComparisonView, error) {
		h, err := ocm.ReadHost(in.Host)
		if err != nil {
			return nil, err
		}
		c, err := s.Sharing.Compare(ctx, h)
		if err != nil {
			return nil, err
		}
		if in.Body.Apply {
			_, err = s.Sharing.Repair(ctx, h, c.Findings)
		}
		v := ShowComparison(c)
		return &v, err
	})
	admin(api, operation("PUT", "/peers/{host}/keys", "decideKey", "Trust or reject a key of a server"), func(ctx context.Context, in *struct {
		Host string `path:"host" maxLength:"300"`
		Body struct {
			Key   string `json:"key" maxLength:"1024" doc:"its kid or thumbprint"`
			State string `json:"state" enum:"trusted,rejected"`
		}
	}) (*PeerView, error) {
		h, err := ocm.ReadHost(in.Host)
		if err != nil {
			return nil, err
		}
		if err := s.Peers.DecideKey(ctx, h, in.Body.Key, in.Body.State); err != nil {
			return nil, err
		}
		return one(ctx, in.Host)
	})
	type policy struct {
		Mode     string     `json:"mode" enum:"open,allowlist,directory"`
		Criteria []string   `json:"criteria" doc:"as advertised"`
		Rules    []RuleView `json:"rules"`
	}
	admin(api, operation("GET", "/policy", "policy", "Show the mode and the rules about servers"), func(ctx context.Context, _ *none) (*policy, error) {
		rules, err := s.Policy.Rules(ctx)
		out := &policy{string(s.Policy.Defaults.Mode), append([]string{}, s.Policy.Criteria(ctx)...), []RuleView{}}
		for _, r := range rules {
			out.Rules = append(out.Rules, ShowRule(r))
		}
		return out, err
	})
	admin(api, operation("PUT", "/policy/rules", "setRule", "Set the rule of a host or pattern"), func(ctx context.Context, in *struct{ Body RuleView }) (*RuleView, error) {
		r, err := s.Policy.Set(ctx, in.Body.rule())
		v := ShowRule(r)
		return &v, err
	})
	admin(api, operation("DELETE", "/policy/rules", "removeRule", "Remove the rule of a host or pattern"), func(ctx context.Context, in *struct {
		Host string `query:"host" required:"true" maxLength:"300"`
	}) (*none, error) {
		return &none{}, s.Policy.Unset(ctx, in.Host)
	})
	admin(api, operation("POST", "/policy/import", "importRules", "See what a file of rules would change, and with apply change it"), func(ctx context.Context, in *struct {
		Body struct {
			CSV     string `json:"csv" maxLength:"900000"`
			Replace bool   `json:"replace,omitempty" doc:"remove the rules that are not in the file"`
			Apply   bool   `json:"apply,omitempty"`
		}
	}) ([]ChangeView, error) {
		rules, err := peer.ReadRules(strings.NewReader(in.Body.CSV))
		if err != nil {
			return nil, err
		}
		changes, err := s.Policy.Plan(ctx, rules, in.Body.Replace)
		if err == nil && in.Body.Apply {
			err = s.Policy.Apply(ctx, changes)
		}
		return ShowChanges(changes), err
	})
	s.apiDirectories(api)
	admin(api, operation("GET", "/reports", "reports", "List the shares that people reported"), func(ctx context.Context, in *struct {
		Host string `query:"host" maxLength:"300"`
	}) ([]ReportView, error) {
		return s.Reports(ctx, ocm.Host(in.Host))
	})
	admin(api, operation("GET", "/decisions/{request}", "explain", "Tell how a request was decided"), func(ctx context.Context, in *struct {
		Request string `path:"request" maxLength:"64"`
	}) (*DecisionView, error) {
		return s.Explain(ctx, in.Request)
	})
}

// LookAgain asks a server anew what it is, with an error for the operator.
func (s *Server) LookAgain(ctx context.Context, host ocm.Host) error {
	if err := s.Peers.Refresh(ctx, host); err != nil {
		return ocm.NewError(http.StatusBadGateway, "PEER_NOT_READ", delivery.Sentence(delivery.Explain(host, err))+".").With(err)
	}
	return nil
}

func (s *Server) apiDirectories(api huma.API) {
	admin(api, operation("GET", "/directories", "directories", "List the directories this server reads"), func(ctx context.Context, _ *none) ([]DirectoryView, error) {
		subs, err := s.Directories.Subscriptions(ctx)
		out := []DirectoryView{}
		for _, d := range subs {
			out = append(out, ShowDirectory(&d, s.now()))
		}
		return out, err
	})
	create := operation("POST", "/directories", "subscribe", "Read a directory from now on")
	create.DefaultStatus = http.StatusCreated
	admin(api, create, func(ctx context.Context, in *struct {
		Body struct {
			URL string `json:"url" maxLength:"2048"`
			Key string `json:"key" maxLength:"16384" doc:"the federation's verification key: PEM or a JWK"`
		}
	}) (*DirectoryView, error) {
		d, err := s.Directories.Subscribe(ctx, in.Body.URL, []byte(in.Body.Key))
		if err != nil {
			return nil, err
		}
		v := ShowDirectory(d, s.now())
		return &v, nil
	})
	type byURL struct {
		URL string `query:"url" required:"true" maxLength:"2048"`
	}
	admin(api, operation("DELETE", "/directories", "unsubscribe", "Forget a directory"), func(ctx context.Context, in *byURL) (*none, error) {
		return &none{}, s.Directories.Unsubscribe(ctx, in.URL)
	})
	admin(api, operation("POST", "/directories/refresh", "refreshDirectory", "Read a directory now"), func(ctx context.Context, in *byURL) (*DirectoryView, error) {
		d, err := s.Directories.Refresh(ctx, in.URL)
		if err != nil {
			return nil, err
		}
		v := ShowDirectory(d, s.now())
		return &v, nil
	})
}
