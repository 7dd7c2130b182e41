// Package weftest starts real servers for tests: real HTTP on loopback, a real
// database and a real disk in temporary directories.
package weftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/ocm"
)

// Patience is how long Until waits for what happens in the background.
const Patience = 20 * time.Second

// cheap is what hashing a password costs on a Site: next to nothing.
var cheap = account.Cost{Time: 1, Memory: 8}

// Site is one running server.
type Site struct {
	T      testing.TB
	Server *server.Server
	Config *config.Config
	Host   ocm.Host
	Origin string
	Log    *Log

	ahead atomic.Int64 // how far the site's clock is ahead
	addr  string
	stop  func()
}

// Start starts a server that ends with the test. adjust may change its
// configuration.
func Start(t testing.TB, adjust ...func(*config.Config)) *Site {
	t.Helper()
	ln := Listen(t)
	s := &Site{T: t, addr: ln.Addr().String(), Log: &Log{}}
	_, port, _ := net.SplitHostPort(s.addr)
	s.Host = ocm.Host("localhost:" + port)
	s.Origin = "http://" + string(s.Host)
	c := config.Default()
	c.URL, c.Data, c.Insecure, c.Provider = s.Origin, t.TempDir(), true, "Test"
	c.Delivery.FirstRetry = 20 * time.Millisecond
	c.Delivery.MaxRetry = 200 * time.Millisecond
	c.Limits.AddressRate, c.Limits.PeerRate, c.Limits.UserRate = 0, 0, 0
	for _, f := range adjust {
		f(c)
	}
	if err := errors.Join(c.Check(), c.Prepare()); err != nil {
		t.Fatal(err)
	}
	s.Config = c
	storetest.Put(t, c.DatabasePath())
	s.run(ln)
	t.Cleanup(s.Stop)
	return s
}

// Listen takes a port below those that the system gives to outgoing
// connections: it is still free when a test starts the server again. The next
// ten thousand are for the scripts of internal/cli.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	for range 1000 {
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(10_000))); err == nil {
			return ln
		}
	}
	t.Fatal("no port is free")
	return nil
}

func (s *Site) run(ln net.Listener) {
	s.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	srv, err := server.New(ctx, s.Config, server.Env{Log: slog.New(s.Log), Now: s.Now, PasswordCost: cheap})
	if err != nil {
		cancel()
		s.T.Fatal(err)
	}
	s.Server = srv
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, ln) }()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := errors.Join(<-done, srv.Close()); err != nil {
				s.T.Errorf("stopping %s: %v", s.Host, err)
			}
		})
	}
}

// Stop stops the server; its address then refuses connections.
func (s *Site) Stop() { s.stop() }

// Restart starts the server again where it stopped, with the same data.
func (s *Site) Restart() {
	s.T.Helper()
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.T.Fatal(err)
	}
	s.run(ln)
}

// Now is the site's clock.
func (s *Site) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// Advance turns the site's clock forward.
func (s *Site) Advance(d time.Duration) { s.ahead.Add(int64(d)) }

// traces are the tables that a request could leave a trace in, with the columns
// that change by themselves.
var traces = map[string][]string{
	"outgoing_shares": nil, "incoming_shares": {"unavailable_since", "unavailable_why"}, "incoming_members": nil,
	"outbox":  {"state", "attempts", "next_at", "last_error", "updated_at"},
	"invites": nil, "acceptances": nil, "contacts": nil, "pseudonyms": nil, "requests_sent": nil, "requests_received": nil,
	"notices": nil,
}

// Rows counts the rows of every table that a request could leave a trace in.
func (s *Site) Rows() map[string]int64 {
	s.T.Helper()
	out := map[string]int64{}
	for table := range traces {
		n, err := s.Server.DB.Read.NewSelect().Table(table).Count(s.T.Context())
		if err != nil {
			s.T.Fatal(err)
		}
		out[table] = n
	}
	return out
}

// State is what those rows hold, a line each: who is refused changes none.
func (s *Site) State() []string {
	s.T.Helper()
	var out []string
	for table, volatile := range traces {
		var rows []map[string]any
		if err := s.Server.DB.Read.NewSelect().Table(table).ColumnExpr("*").Scan(s.T.Context(), &rows); err != nil {
			s.T.Fatal(err)
		}
		for _, row := range rows {
			for _, column := range volatile {
				delete(row, column)
			}
			b, err := json.Marshal(row)
			if err != nil {
				s.T.Fatal(err)
			}
			out = append(out, table+" "+string(b))
		}
	}
	slices.Sort(out)
	return out
}

// Person is someone with an account on a site.
type Person struct {
	*Site
	User    account.User
	Name    string
	Address string
	Secret  ocm.Secret // an app password
}

// Person adds a user.
func (s *Site) Person(name string) *Person {
	s.T.Helper()
	u, err := s.Server.Accounts.Add(s.T.Context(), account.NewUser{Name: name, DisplayName: strings.ToUpper(name[:1]) + name[1:], Password: "a long password"})
	if err != nil {
		s.T.Fatal(err)
	}
	app, err := s.Server.Accounts.AppPassword(s.T.Context(), u.ID, "test")
	if err != nil {
		s.T.Fatal(err)
	}
	return &Person{s, u, name, name + "@" + string(s.Host), app}
}

// Answer is a response, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Code is the code of a refusal, in any of its forms.
func (a Answer) Code() string {
	var v struct{ Code, Message, Error string }
	if json.Unmarshal([]byte(a.Body), &v) == nil {
		for _, c := range []string{v.Code, v.Error, v.Message} {
			if c != "" {
				return c
			}
		}
	}
	_, rest, _ := strings.Cut(a.Body, "<w:code>")
	code, _, _ := strings.Cut(rest, "<")
	return code
}

// Do sends a request as the person; header holds pairs.
func (p *Person) Do(method, path, body string, header ...string) Answer {
	p.T.Helper()
	req, err := http.NewRequest(method, p.Origin+path, strings.NewReader(body))
	if err != nil {
		p.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.Secret.Reveal())
	return Send(p.T, req, header...)
}

// Send sends a request and reads the answer.
func Send(t testing.TB, req *http.Request, header ...string) Answer {
	t.Helper()
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return Answer{resp.StatusCode, resp.Header, string(b)}
}

// API makes a call that must succeed; out may be nil.
func (p *Person) API(method, path string, in, out any) {
	p.T.Helper()
	a := p.TryAPI(method, path, in)
	if a.Status >= 300 {
		p.T.Fatalf("%s %s by %s: %d %s\nlog: %v", method, path, p.Name, a.Status, a.Body, p.Log.Records(a.Header.Get("X-Request-Id")))
	}
	if out != nil {
		if err := json.Unmarshal([]byte(a.Body), out); err != nil {
			p.T.Fatalf("%s %s: %v in %s", method, path, err, a.Body)
		}
	}
}

// TryAPI makes a call and returns its answer, whatever it is.
func (p *Person) TryAPI(method, path string, in any) Answer {
	p.T.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			p.T.Fatal(err)
		}
	}
	return p.Do(method, "/api/v1"+path, body.String(), "Content-Type", "application/json")
}

// dav is the person's WebDAV address of a name.
func (p *Person) dav(name string) string {
	return (&url.URL{Path: "/dav/files/" + p.Name + "/" + name}).EscapedPath()
}

// DAV sends a WebDAV request for a name among the person's files.
func (p *Person) DAV(method, name, body string, header ...string) Answer {
	p.T.Helper()
	return p.Do(method, p.dav(name), body, header...)
}

// Put writes a file, making its folders.
func (p *Person) Put(name, content string) {
	p.T.Helper()
	for i, c := range name {
		if c == '/' {
			if a := p.DAV("MKCOL", name[:i], ""); a.Status != 201 && a.Status != 405 {
				p.T.Fatalf("MKCOL %s: %d %s", name[:i], a.Status, a.Body)
			}
		}
	}
	if a := p.DAV("PUT", name, content); a.Status != 201 && a.Status != 204 {
		p.T.Fatalf("PUT %s: %d %s", name, a.Status, a.Body)
	}
}

// Get reads a file that must be there.
func (p *Person) Get(name string) string {
	p.T.Helper()
	a := p.DAV("GET", name, "")
	if a.Status != 200 {
		p.T.Fatalf("GET %s by %s: %d %s", name, p.Name, a.Status, a.Body)
	}
	return a.Body
}

// Sent is a share as its owner's API shows it.
type Sent struct {
	ID, Path, With, RecipientName, State, Reason string
	Permissions                                  []string
}

// Received is a share as its recipient's API shows it.
type Received struct {
	ID, Name, Sender, State, Reason, Path, ResourceType, UnavailableSince string
	Permissions                                                           []string
}

// Shares lists a person's shares.
func (p *Person) Shares() (out struct {
	Sent     []Sent
	Received []Received
}) {
	p.T.Helper()
	p.API("GET", "/shares", nil, &out)
	return out
}

// Share shares a path.
func (p *Person) Share(path, with string, permissions ...string) Sent {
	p.T.Helper()
	var out Sent
	p.API("POST", "/shares", map[string]any{"path": path, "with": with, "permissions": permissions}, &out)
	return out
}

// SentState is the state of a share the person sent.
func (p *Person) SentState(id string) string {
	p.T.Helper()
	for _, s := range p.Shares().Sent {
		if s.ID == id {
			return s.State
		}
	}
	return ""
}

// Inbox waits until a share of that name is in a state, and returns it.
func (p *Person) Inbox(name, state string) Received {
	p.T.Helper()
	var found Received
	Until(p.T, "a share "+name+" "+state+" for "+p.Name, func() bool {
		for _, r := range p.Shares().Received {
			if r.Name == name && r.State == state {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

// Accept waits for a share, accepts it and returns it.
func (p *Person) Accept(name string) Received {
	p.T.Helper()
	r := p.Inbox(name, "pending")
	p.API("POST", "/received/"+r.ID+"/accept", nil, &r)
	return r
}

// Notice is something that happened, as the API tells it.
type Notice struct {
	ID, Kind, RequestID string
	About               struct {
		Share, Request, Acceptance, Contact, Name, Path, Who, WhoName, With, Host, Reason, Code, Words string
		Rights                                                                                         []string
		Until, Count                                                                                   int64
	}
	Times int64
	Read  bool
}

// Notices lists what the person was told, the newest first.
func (p *Person) Notices() []Notice {
	p.T.Helper()
	var out struct{ Notices []Notice }
	p.API("GET", "/notices?limit=100", nil, &out)
	return out.Notices
}

// Told waits for a notice of a kind and returns the newest.
func (p *Person) Told(kind string) Notice {
	p.T.Helper()
	var found Notice
	Until(p.T, "a notice "+kind+" for "+p.Name, func() bool {
		for _, n := range p.Notices() {
			if n.Kind == kind {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

// Invite is an invite as its sender's API shows it.
type Invite struct{ ID, State, AcceptedBy, InviteString, Link string }

// Invite makes an invite; options are members of the call.
func (p *Person) Invite(options ...map[string]any) Invite {
	p.T.Helper()
	in := map[string]any{}
	for _, o := range options {
		for k, v := range o {
			in[k] = v
		}
	}
	var out Invite
	p.API("POST", "/invites", in, &out)
	return out
}

// Acceptance is an accepted invite as the API shows it.
type Acceptance struct{ ID, Server, State, Knows, Reason, Address, Contact, Name string }

// AcceptInvite accepts an invite string or link.
func (p *Person) AcceptInvite(invite string) Acceptance {
	p.T.Helper()
	var out Acceptance
	p.API("POST", "/invites/accept", map[string]any{"invite": invite}, &out)
	return out
}

// Contact is an entry of the address book as the API shows it.
type Contact struct {
	ID, Address, Name, Email, Source, Note, KnownAs, GoneAt string
	Invited, Trusted, Blocked                               bool
	Labels                                                  []string
}

// Contacts searches the address book.
func (p *Person) Contacts(query string) (out []Contact) {
	p.T.Helper()
	p.API("GET", "/contacts?q="+url.QueryEscape(query), nil, &out)
	return out
}

// Befriend has the person invite other, who accepts.
func (p *Person) Befriend(other *Person) {
	p.T.Helper()
	if a := other.AcceptInvite(p.Invite().InviteString); a.State != "accepted" {
		p.T.Fatalf("%s accepts the invite of %s: %+v", other.Name, p.Name, a)
	}
}

// Until polls for what happens in the background.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen in %s: %s", Patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Log keeps what a server logs.
type Log struct {
	mu      sync.Mutex
	records []map[string]any
}

// Enabled implements slog.Handler; so do the other three.
func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler { return &with{l, attrs} }

// WithGroup implements slog.Handler.
func (l *Log) WithGroup(string) slog.Handler { return l }

// Handle implements slog.Handler.
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	rec := map[string]any{"msg": r.Message, "level": r.Level.String()}
	r.Attrs(func(a slog.Attr) bool { rec[a.Key] = a.Value.Resolve().Any(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, rec)
	return nil
}

// with is a Log with attributes of its own.
type with struct {
	*Log
	attrs []slog.Attr
}

func (w *with) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(w.attrs...)
	return w.Log.Handle(ctx, r)
}

func (w *with) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &with{w.Log, append(w.attrs[:len(w.attrs):len(w.attrs)], attrs...)}
}

// Records returns what was logged with a request id.
func (l *Log) Records(request string) (out []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r["request"] == request {
			out = append(out, r)
		}
	}
	return out
}

// Text is everything logged, as one text to search for what must not be there.
func (l *Log) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, _ := json.Marshal(l.records)
	return string(b)
}
