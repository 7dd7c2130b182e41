package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

func newPeers(t *testing.T, insecure bool, now func() time.Time) *Peers {
	t.Helper()
	calls := &client.Client{Self: "us.example.org", Plain: insecure}
	p := New(Options{Insecure: insecure, Client: calls, Now: now, Cooldown: 50 * time.Millisecond})
	calls.HTTP = p.HTTP()
	return p
}

func get(t *testing.T, p *Peers, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.HTTP().Do(r)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

func TestOnlyPublicAddressesAreCalled(t *testing.T) {
	p := newPeers(t, false, time.Now)
	for _, host := range []string{
		"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[2002:7f00:1::]",
		"169.254.169.254", "[fe80::1]", "[fd00::1]", "[fd00:ec2::254]", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "[::]",
		"224.0.0.1", "255.255.255.255", "localhost", "192.0.2.1", "198.18.0.1", "[2001:db8::1]",
	} {
		if err := get(t, p, "https://"+host+"/.well-known/ocm"); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v, want %v", host, err, ErrAddress)
		}
	}
}

func TestOnlyHTTPSIsCalled(t *testing.T) {
	if err := get(t, newPeers(t, false, time.Now), "http://cloud.example.org/"); !errors.Is(err, ErrPlain) {
		t.Errorf("%v", err)
	}
}

func TestRedirectsAreFollowedWithCare(t *testing.T) {
	var posted atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case r.Method == "POST" && r.URL.Path == "/post":
			http.Redirect(w, r, "/target", http.StatusTemporaryRedirect)
		case r.Method == "POST":
			posted.Add(1)
		case r.URL.Path == "/once":
			http.Redirect(w, r, "/target", http.StatusFound)
		}
	}))
	defer s.Close()
	p := newPeers(t, true, time.Now)
	if err := get(t, p, s.URL+"/once"); err != nil {
		t.Errorf("one redirect: %v", err)
	}
	if err := get(t, p, s.URL+"/loop"); !errors.Is(err, ErrRedirect) {
		t.Errorf("a loop: %v", err)
	}
	resp, err := p.HTTP().Post(s.URL+"/post", "text/plain", strings.NewReader("x"))
	if err == nil {
		resp.Body.Close()
	}
	if posted.Load() != 0 {
		t.Error("a POST was redirected")
	}
}

func TestADeadPeerFailsAtOnceUntilItAnswersAgain(t *testing.T) {
	var mu sync.Mutex
	alive := true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !alive {
			panic(http.ErrAbortHandler)
		}
	}))
	defer s.Close()
	p := newPeers(t, true, time.Now)
	host, err := ocm.ReadHost(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	set := func(v bool) { mu.Lock(); alive = v; mu.Unlock() }
	set(false)
	deadline := time.Now().Add(10 * time.Second)
	for !errors.Is(err, tree.ErrUnavailable) {
		if err = get(t, p, s.URL); err == nil || time.Now().After(deadline) {
			t.Fatalf("the breaker does not open: %v", err)
		}
	}
	if h := p.Health(host); h.Up || h.Since.IsZero() {
		t.Errorf("health %+v", h)
	}
	set(true)
	for get(t, p, s.URL) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the breaker does not close")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if h := p.Health(host); !h.Up {
		t.Errorf("health %+v", h)
	}
}

func TestARefusalIsNoFailureOfThePeer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	p := newPeers(t, true, time.Now)
	for range 20 {
		if err := get(t, p, s.URL); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATransferThatStandsStillEnds(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begun")
		w.(http.Flusher).Flush()
		<-release
	}))
	defer s.Close()
	defer close(release)
	c := &http.Client{Transport: &door{next: newTransport(true), insecure: true, stall: 50 * time.Millisecond}}
	resp, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); !errors.Is(err, errStalled) {
		t.Errorf("%q, %v", b, err)
	}
}

// site serves a document and keys, and counts who asks.
type site struct {
	*httptest.Server
	host            ocm.Host
	documents, keys atomic.Int64
	down            atomic.Bool
	set             atomic.Value // the JWK Set
}

func newSite(t *testing.T) *site {
	s := &site{}
	s.set.Store(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","kid":"a","x":"AzeStPAdQ-vbi6bJVxcQjBPF2I7fDZdfDZ_XZ3J4Azs"}]}`)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		switch r.URL.Path {
		case "/.well-known/ocm":
			s.documents.Add(1)
			json.NewEncoder(w).Encode(ocm.Discovery{Enabled: true, APIVersion: "1.5.0", EndPoint: s.URL + "/ocm", Capabilities: []string{ocm.CapHTTPSig}, JWKSURI: s.URL + "/jwks"})
		case "/jwks":
			s.keys.Add(1)
			io.WriteString(w, s.set.Load().(string))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	s.host = ocm.Host(strings.TrimPrefix(s.URL, "http://"))
	return s
}

func TestDiscoveryIsAskedOnceAndServesWhileThePeerIsDown(t *testing.T) {
	s := newSite(t)
	var ahead atomic.Int64
	p := newPeers(t, true, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := p.Discover(t.Context(), s.host); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.documents.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	s.down.Store(true)
	ahead.Store(int64(time.Hour))
	if d, err := p.Discover(t.Context(), s.host); err != nil || d == nil {
		t.Errorf("an hour later, with the peer down: %v", err)
	}
	ahead.Store(int64(26 * time.Hour))
	if _, err := p.Discover(t.Context(), s.host); err == nil {
		t.Error("a day later the old document still serves")
	}
}

func TestKeysAreCachedAndAnUnknownOneIsSoughtOnceAMinute(t *testing.T) {
	s := newSite(t)
	var ahead atomic.Int64
	p := newPeers(t, true, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	key := func(kid string) error { _, err := p.Keys(t.Context(), s.host, kid); return err }
	for range 5 {
		if err := key("a"); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.keys.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	for range 5 {
		if e, ok := errors.AsType[*ocm.Error](key("b")); !ok || e.Code != ocm.CodeKeyUnknown || e.Status != 401 {
			t.Fatalf("%v", e)
		}
	}
	if n := s.keys.Load(); n > 2 {
		t.Errorf("fetched %d times for one unknown key", n)
	}
	s.set.Store(strings.Replace(s.set.Load().(string), `"kid":"a"`, `"kid":"b"`, 1))
	ahead.Store(int64(2 * time.Minute))
	if err := key("b"); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestKeysThatCannotBeHadAskToTryAgain(t *testing.T) {
	s := newSite(t)
	s.down.Store(true)
	_, err := newPeers(t, true, time.Now).Keys(t.Context(), s.host, "a")
	e, ok := errors.AsType[*ocm.Error](err)
	if !ok || e.Code != ocm.CodeKeyUnreachable || e.Status != 503 || e.RetryAfter <= 0 {
		t.Errorf("%v", err)
	}
}

// Anyone can make us meet servers without end: only those we have to do with are
// remembered for good.
func TestServersMetInPassingAreForgotten(t *testing.T) {
	db := openDB(t)
	m := memory{db, new(atomic.Int64)}
	at := time.Now()
	for _, q := range []string{
		"INSERT INTO users (id, name, name_key, display_name, email, role, password_hash, quota, created_at) VALUES ('u', 'u', 'u', '', '', '', '', 0, 0)",
		"INSERT INTO contacts (id, user_id, address, peer_host, name, email, source, invited, trusted, blocked, labels, note, given, gone_at, created_at, updated_at) VALUES ('c', 'u', 'x@kept.example', 'kept.example', '', '', '', 0, 0, 0, '', '', '', 0, 0, 0)",
	} {
		if _, err := db.Write.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.saveDiscovery(t.Context(), "kept.example", []byte("{}"), &ocm.Discovery{}, at.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for i := range maxPassing + 60 {
		if err := m.saveDiscovery(t.Context(), ocm.Host(fmt.Sprintf("s%d.example", i)), []byte("{}"), &ocm.Discovery{}, at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	n, err := db.Read.NewSelect().Model((*peerRow)(nil)).Count(t.Context())
	if err != nil || n > maxPassing+50+1 {
		t.Errorf("%d servers are remembered, %v", n, err)
	}
	if row, err := m.load(t.Context(), "kept.example"); err != nil || row.Host == "" {
		t.Errorf("the contact's server is forgotten: %v", err)
	}
	if row, _ := m.load(t.Context(), "s0.example"); row.Host != "" {
		t.Error("the oldest one is remembered")
	}
}

func TestPolicyKnowsAHostUnderEverySpelling(t *testing.T) {
	policy := newPolicy(t, Defaults{Mode: ModeOpen}, Rule{Pattern: "evil.example", Action: Deny})
	calls := &client.Client{}
	p := New(Options{Insecure: true, Client: calls, Policy: policy, DB: policy.DB})
	calls.HTTP = p.HTTP()
	for _, host := range []string{"evil.example", "EVIL.example", "evil.example.", "evil.example:443", "evil.example.:8443"} {
		if err := get(t, p, "https://"+host+"/"); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := get(t, p, "https://evıl.example/"); !errors.Is(err, ErrAddress) {
		t.Errorf("other letters: %v", err)
	}
	if _, err := p.Discover(t.Context(), "evil.example"); !errors.Is(err, ErrDenied) {
		t.Errorf("discovery: %v", err)
	}
}

func TestWhatAPeerSaidIsRememberedAcrossARestart(t *testing.T) {
	s := newSite(t)
	db := storetest.Open(t)
	start := func() *Peers {
		calls := &client.Client{Plain: true}
		p := New(Options{Insecure: true, Client: calls, DB: db})
		calls.HTTP = p.HTTP()
		return p
	}
	if _, err := start().Keys(t.Context(), s.host, "a"); err != nil {
		t.Fatal(err)
	}
	s.down.Store(true)
	p := start()
	if d, err := p.Discover(t.Context(), s.host); err != nil || !d.HasCapability(ocm.CapHTTPSig) {
		t.Errorf("that it signs is forgotten: %v", err)
	}
	if _, err := p.Keys(t.Context(), s.host, "a"); err != nil {
		t.Errorf("its key is forgotten: %v", err)
	}
}
