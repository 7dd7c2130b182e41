package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/weftest"
)

func TestAdministratorsManageUsersAndGroups(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, alice.Site)
	alice.Put("a.txt", "12345")
	alice.Share("a.txt", bob.Address)
	alice.Share("a.txt", olga.Address)

	var one server.UserView
	olga.API("POST", "/users", map[string]any{"name": "dora", "displayName": "Dora", "email": "dora@example.org", "password": "a long password", "quota": 1000}, &one)
	if one.Name != "dora" || one.Quota != 1000 || one.Role != "user" || one.Address != "dora@"+string(alice.Host) {
		t.Errorf("%+v", one)
	}
	var list []server.UserView
	olga.API("GET", "/users?limit=2", nil, &list)
	if len(list) != 2 || list[0].Name != "alice" || list[0].Sent != 2 || list[0].Used != 5 || list[0].LastSeen == "" || list[1].Name != "dora" || list[1].LastSeen != "" {
		t.Errorf("%+v", list)
	}
	olga.API("GET", "/users?limit=2&after=dora", nil, &list)
	if len(list) != 1 || list[0].Name != "olga" || list[0].Received != 1 {
		t.Errorf("%+v", list)
	}
	olga.API("GET", "/users?text=EXAMPLE.org", nil, &list)
	if len(list) != 1 || list[0].Name != "dora" {
		t.Errorf("%+v", list)
	}
	olga.API("POST", "/groups", map[string]any{"name": "staff", "displayName": "The staff"}, nil)
	olga.API("PUT", "/groups/staff/members/dora", nil, nil)
	olga.API("PUT", "/groups/staff/members/alice", nil, nil)
	var g server.GroupView
	olga.API("GET", "/groups/staff", nil, &g)
	if g.Size != 2 || strings.Join(g.Members, " ") != "alice dora" || g.DisplayName != "The staff" {
		t.Errorf("%+v", g)
	}
	olga.API("GET", "/users/dora", nil, &one)
	if strings.Join(one.Groups, " ") != "staff" {
		t.Errorf("%+v", one)
	}
	for call, code := range map[string]string{
		"PUT /groups/staff/members/nobody": "USER_NOT_FOUND", "PUT /groups/none/members/dora": "GROUP_NOT_FOUND", "GET /users/nobody": "USER_NOT_FOUND",
		"DELETE /users/nobody": "USER_NOT_FOUND", "DELETE /groups/none": "GROUP_NOT_FOUND", "GET /groups/none": "GROUP_NOT_FOUND",
	} {
		method, path, _ := strings.Cut(call, " ")
		if a := olga.TryAPI(method, path, nil); a.Code() != code {
			t.Errorf("%s: %d %s", call, a.Status, a.Body)
		}
	}
	for body, code := range map[string]string{
		`{"email":"x"}`: "INVALID_PAYLOAD", `{"role":"king"}`: "INVALID_PAYLOAD", `{"displayName":"a\nb"}`: "INVALID_PAYLOAD",
	} {
		if a := olga.Do("PATCH", "/api/v1/users/dora", body, "Content-Type", "application/json"); a.Code() != code {
			t.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
}

func TestWhoIsDisabledCannotSignInAndKeepsEverything(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	olga := operator(t, alice.Site)
	alice.Put("a.txt", "a")
	browser := alice.Browser()
	olga.API("PATCH", "/users/alice", map[string]any{"disabled": true}, nil)
	if a := alice.TryAPI("GET", "/me", nil); a.Status != http.StatusForbidden || a.Code() != "SIGN_IN_DISABLED" {
		t.Errorf("an app password: %d %s", a.Status, a.Body)
	}
	if a := alice.TryAPI("POST", "/login", map[string]any{"user": "alice", "password": "a long password"}); a.Code() != "SIGN_IN_DISABLED" {
		t.Errorf("the password: %d %s", a.Status, a.Body)
	}
	if a := alice.TryAPI("POST", "/login", map[string]any{"user": "alice", "password": "a wrong password"}); a.Code() != "CREDENTIALS_INVALID" {
		t.Errorf("a wrong password learns of it: %d %s", a.Status, a.Body)
	}
	olga.API("PATCH", "/users/alice", map[string]any{"disabled": false}, nil)
	if alice.Get("a.txt") != "a" {
		t.Error("the app password does not work again")
	}
	if page := browser.Get("/api/v1/me"); page.Status != http.StatusUnauthorized {
		t.Errorf("the session outlived it: %d", page.Status)
	}
}

func TestThereIsAlwaysAnAdministratorAndNobodyLocksThemselvesOut(t *testing.T) {
	t.Parallel()
	s := weftest.Start(t)
	olga := operator(t, s)
	for _, c := range []struct {
		method, path string
		in           any
	}{
		{"PATCH", "/users/olga", map[string]any{"role": "user"}}, {"PATCH", "/users/OLGA", map[string]any{"disabled": true}}, {"DELETE", "/users/olga", nil},
	} {
		if a := olga.TryAPI(c.method, c.path, c.in); a.Code() != "ADMINISTRATOR_IS_SELF" {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.Status, a.Body)
		}
	}
	// Nor does the command line take the last one away.
	role, off := account.RoleUser, true
	for what, err := range map[string]error{
		"demoted":  second(s.Server.Accounts.Update(t.Context(), olga.User.ID, account.Change{Role: &role})),
		"disabled": second(s.Server.Accounts.Update(t.Context(), olga.User.ID, account.Change{Disabled: &off})),
		"removed":  s.Server.RemoveUser(t.Context(), olga.User),
	} {
		if err == nil || !strings.Contains(err.Error(), "last administrator") {
			t.Errorf("the last one is %s: %v", what, err)
		}
	}
	olga.API("POST", "/users", map[string]any{"name": "otto", "password": "a long password", "admin": true}, nil)
	olga.API("PATCH", "/users/otto", map[string]any{"disabled": true}, nil)
	if err := s.Server.RemoveUser(t.Context(), olga.User); err == nil {
		t.Error("removed while the other one may not sign in")
	}
	olga.API("PATCH", "/users/otto", map[string]any{"disabled": false}, nil)
	if err := s.Server.RemoveUser(t.Context(), olga.User); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAdministratorsSeeAndEndTheSharesOfAll(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga, boss := operator(t, alice.Site), operator(t, bob.Site)
	alice.Put("a.txt", "a")
	alice.Put("b.txt", "b")
	a := alice.Share("a.txt", bob.Address)
	bob.Accept("a.txt") // before the next, so that they arrive in this order
	b := alice.Share("b.txt", bob.Address)
	alice.Share("b.txt", olga.Address)
	bob.Inbox("b.txt", "pending")
	weftest.Until(t, "the answer arrives", func() bool { return alice.SentState(b.ID) == "delivered" })
	weftest.Until(t, "the acceptance arrives", func() bool { return alice.SentState(a.ID) == "accepted" })
	list := func(p *weftest.Person, query string) (names []string, all []server.AnyShare) {
		t.Helper()
		p.API("GET", "/all-shares?"+query, nil, &all)
		for _, s := range all {
			names = append(names, s.Name+":"+s.State)
		}
		return names, all
	}
	for query, want := range map[string]string{
		"direction=sent": "b.txt:delivered b.txt:delivered a.txt:accepted", "direction=sent&peer=" + string(bob.Host): "b.txt:delivered a.txt:accepted",
		"direction=sent&state=accepted": "a.txt:accepted", "direction=sent&state=live&limit=1": "b.txt:delivered", "direction=sent&text=A.TXT": "a.txt:accepted",
		"direction=sent&user=olga": "", "direction=received&user=olga": "b.txt:pending", "direction=received&state=ended": "",
	} {
		if got, _ := list(olga, query); strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	got, all := list(boss, "direction=received&peer="+string(alice.Host))
	if strings.Join(got, " ") != "b.txt:pending a.txt:accepted" || all[0].User != bob.Address || all[0].Other != alice.Address || all[1].ProviderID != a.ID {
		t.Errorf("%v %+v", got, all)
	}
	var ended struct{ Ended int }
	boss.API("POST", "/all-shares/end", map[string]any{"ids": []string{all[0].ID, all[1].ID, all[1].ID, "nothing"}}, &ended)
	if ended.Ended != 2 {
		t.Errorf("%+v", ended)
	}
	weftest.Until(t, "alice's server hears of it", func() bool { return alice.SentState(a.ID) == "declined" })
	if got, _ := list(boss, "direction=received&state=ended"); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if a := bob.DAV("GET", "Shared with me/a.txt", ""); a.Status != http.StatusNotFound {
		t.Errorf("still there: %d", a.Status)
	}
	alice.Put("c.txt", "c")
	c := alice.Share("c.txt", bob.Address)
	bob.Accept("c.txt")
	olga.API("POST", "/all-shares/end", map[string]any{"ids": []string{c.ID}}, nil)
	weftest.Until(t, "bob's server hears of it", func() bool { return bob.DAV("GET", "Shared with me/c.txt", "").Status == http.StatusNotFound })
	if a := alice.TryAPI("POST", "/all-shares/end", map[string]any{"ids": []string{c.ID}}); a.Code() != "ADMINS_ONLY" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestTheOverviewTellsHowTheServerStands(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, alice.Site)
	alice.Put("a.txt", "12345")
	alice.Share("a.txt", bob.Address)
	ln := weftest.Listen(t)
	nowhere := strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1)
	ln.Close()
	alice.Share("a.txt", "x@"+nowhere)
	var v server.Overview
	weftest.Until(t, "the share waits", func() bool {
		olga.API("GET", "/overview", nil, &v)
		return v.Waiting == 1
	})
	if v.Users != 2 || v.Admins != 1 || v.Sent != 2 || v.Oldest == "" || v.OCM == "" || v.Version == "" || v.StartedAt == "" ||
		v.Storage.Files != 5 || v.Storage.Database == 0 || v.Storage.Free <= 0 || v.Storage.Total < v.Storage.Free || v.Peers < 1 {
		t.Errorf("%+v", v)
	}
}

func TestTheConfigurationSaysWhereItComesFromAndIsChecked(t *testing.T) {
	t.Parallel()
	s := weftest.Start(t)
	olga := operator(t, s)
	var v server.ConfigView
	olga.API("GET", "/config", nil, &v)
	checks := map[string]server.Check{}
	for _, c := range v.Checks {
		checks[c.Name] = c
	}
	if c := checks["Public address"]; c.State != server.CheckGood {
		t.Errorf("%+v", c)
	}
	if c := checks["Protection"]; c.State != server.CheckWarn || c.Advice == "" {
		t.Errorf("%+v", c)
	}
	for _, set := range v.Settings {
		if set.Key == "insecure" && (set.Value != "true" || set.State != server.CheckWarn) || set.Key == "delivery.give_up_after" && (set.Value != `"72h"` || set.From != "default" || set.Variable != "WEFT_DELIVERY_GIVE_UP_AFTER") {
			t.Errorf("%+v", set)
		}
	}
	if len(v.Settings) < 40 {
		t.Errorf("%d settings", len(v.Settings))
	}
	for _, path := range []string{"/config", "/overview", "/users", "/groups", "/all-shares?direction=sent", "/outbox"} {
		if a := s.Person("p"+strings.Map(letters, path)).TryAPI("GET", path, nil); a.Code() != "ADMINS_ONLY" {
			t.Errorf("%s by someone else: %d %s", path, a.Status, a.Body)
		}
	}
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return -1
}

func TestAWrongClockIsSeenByWhatOthersAnswer(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	state := func() server.Check {
		for _, c := range alice.Server.Checks(t.Context()) {
			if c.Name == "Clock" {
				return c
			}
		}
		return server.Check{}
	}
	alice.Put("a.txt", "a")
	alice.Share("a.txt", bob.Address)
	bob.Inbox("a.txt", "pending")
	weftest.Until(t, "the answer is kept", func() bool { return strings.HasPrefix(state().Found, "Right") })
	alice.Advance(20 * time.Second)
	for range 12 { // the median is of all that are kept
		s := alice.Share("a.txt", "nobody@"+string(bob.Host))
		alice.API("DELETE", "/shares/"+s.ID, nil, nil)
	}
	weftest.Until(t, "the clock is warned of", func() bool { c := state(); return c.State == server.CheckWarn && strings.Contains(c.Found, "ahead") })
}
