package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

// operator adds an administrator.
func operator(t *testing.T, s *weftest.Site) *weftest.Person {
	t.Helper()
	u, err := s.Server.Accounts.Add(t.Context(), account.NewUser{Name: "olga", Password: "a long password", Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Server.Accounts.AppPassword(t.Context(), u.ID, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &weftest.Person{Site: s, User: u, Name: "olga", Address: "olga@" + string(s.Host), Secret: app}
}

func TestOperatorsDecideAboutPeersThroughTheAPI(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	p := weftest.NewPeer(t)
	host := string(p.Host)
	want(t, "a share", p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, nil)), 201)
	type view struct {
		Host, Provider, Profile, Policy, Because string
		SharesReceived                           int
		Capabilities                             []string
		Keys                                     []struct{ KID, State, Thumbprint string }
	}
	var list []view
	olga.API("GET", "/peers", nil, &list)
	if len(list) != 1 || list[0].Host != host || list[0].SharesReceived != 1 || list[0].Policy != "allow" {
		t.Fatalf("%+v", list)
	}
	var one view
	olga.API("POST", "/peers/"+host+"/refresh", nil, &one)
	if one.Provider != "Peer" || len(one.Keys) != 1 || one.Keys[0].State != "trusted" || len(one.Capabilities) != 3 {
		t.Errorf("%+v", one)
	}
	olga.API("PUT", "/peers/"+host+"/keys", map[string]any{"key": one.Keys[0].Thumbprint, "state": "rejected"}, &one)
	if a := p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, nil)); a.Code() != "KEY_UNACCEPTABLE" {
		t.Errorf("a rejected key: %d %s", a.Status, a.Body)
	}
	olga.API("PUT", "/peers/"+host+"/keys", map[string]any{"key": one.Keys[0].KID, "state": "trusted"}, nil)

	olga.API("PUT", "/policy/rules", map[string]any{"host": host, "action": "deny", "note": "a reason"}, nil)
	refused := p.Post(alice.Site, "/ocm/shares", "application/json", p.ShareFor(alice, nil))
	want(t, "a denied server", refused, 403)
	explained(t, alice.Site, refused) // waits until it is kept
	var d struct {
		Peer, Code string
		Status     int
		Steps      []struct{ Check, Found string }
	}
	olga.API("GET", "/decisions/"+refused.Header.Get("X-Request-Id"), nil, &d)
	if d.Peer != host || d.Code != "PEER_DENIED" || d.Status != 403 || len(d.Steps) != 1 || !strings.Contains(d.Steps[0].Found, "(a reason)") {
		t.Errorf("%+v", d)
	}
	var changes []struct{ Change string }
	csv := map[string]any{"csv": "host,action\n*.example,limit\n", "replace": true}
	olga.API("POST", "/policy/import", csv, &changes)
	var policy struct {
		Mode     string
		Criteria []string
		Rules    []struct{ Host, Action string }
	}
	olga.API("GET", "/policy", nil, &policy)
	if len(changes) != 2 || len(policy.Rules) != 1 || policy.Rules[0].Action != "deny" || len(policy.Criteria) != 1 || policy.Mode != "open" {
		t.Errorf("a look at %+v made of the policy %+v", changes, policy)
	}
	csv["apply"] = true
	olga.API("POST", "/policy/import", csv, &changes)
	olga.API("GET", "/policy", nil, &policy)
	if len(policy.Rules) != 1 || policy.Rules[0].Host != "*.example" {
		t.Errorf("imported: %+v", policy)
	}
	olga.API("DELETE", "/policy/rules?host=*.example", nil, nil)

	publish(t, alice.Site, newKey(t), map[string]string{"one.example": "One"})
	if a := olga.TryAPI("POST", "/directories", map[string]any{"url": alice.Origin + "/ocm/directory", "key": string(publicPEM(t, newKey(t)))}); a.Code() != "DIRECTORY_SIGNED_BY_KEY" {
		t.Errorf("another key: %d %s", a.Status, a.Body)
	}
	key := newKey(t)
	publish(t, alice.Site, key, map[string]string{"one.example": "One"})
	olga.API("POST", "/directories", map[string]any{"url": alice.Origin + "/ocm/directory", "key": string(publicPEM(t, key))}, nil)
	olga.API("POST", "/directories/refresh?url="+alice.Origin+"/ocm/directory", nil, nil)
	olga.API("DELETE", "/directories?url="+alice.Origin+"/ocm/directory", nil, nil)

	received := alice.Inbox("Field notes", "pending")
	alice.API("POST", "/received/"+received.ID+"/report", map[string]any{"message": "odd"}, nil)
	var reports []struct{ Host, Message, ShareName string }
	olga.API("GET", "/reports?host="+host, nil, &reports)
	if len(reports) != 1 || reports[0].Message != "odd" {
		t.Errorf("%+v", reports)
	}

	for _, call := range []struct {
		method, path string
		in           any
	}{
		{"GET", "/peers", nil}, {"GET", "/peers/" + host, nil}, {"POST", "/peers/" + host + "/refresh", nil},
		{"PUT", "/peers/" + host + "/keys", map[string]any{"key": "x", "state": "trusted"}},
		{"GET", "/policy", nil}, {"PUT", "/policy/rules", map[string]any{"host": "x.example", "action": "deny"}}, {"DELETE", "/policy/rules?host=x", nil},
		{"POST", "/policy/import", map[string]any{"csv": "host\n"}}, {"GET", "/directories", nil},
		{"POST", "/directories", map[string]any{"url": "https://x.example", "key": "x"}}, {"DELETE", "/directories?url=x", nil},
		{"POST", "/directories/refresh?url=x", nil}, {"GET", "/reports", nil}, {"GET", "/decisions/x", nil},
	} {
		if a := alice.TryAPI(call.method, call.path, call.in); a.Status != http.StatusForbidden || a.Code() != "ADMINS_ONLY" {
			t.Errorf("%s %s by someone else: %d %s", call.method, call.path, a.Status, a.Body)
		}
	}
	for path, code := range map[string]string{"/peers/nowhere.example": "PEER_NOT_FOUND", "/peers/a b": string(ocm.CodeAddressInvalid), "/decisions/x": "REQUEST_NOT_FOUND"} {
		if a := olga.TryAPI("GET", strings.ReplaceAll(path, " ", "%20"), nil); a.Code() != code {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
}
