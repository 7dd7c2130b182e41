package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/weftest"
)

// records are those that fit, the newest first.
func records(t *testing.T, s *weftest.Site, f audit.Filter) []audit.Entry {
	t.Helper()
	f.Limit = 1000
	rows, _, err := s.Server.Audit.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// unaudited are the calls that change nothing that an operator would have to
// answer for.
var unaudited = map[string]string{
	"createUpload": "files are people's own", "appendUpload": "as createUpload", "cancelUpload": "as createUpload", "uploadOffset": "reads",
	"restore": "files are people's own", "readNotice": "people's own", "readAllNotices": "people's own",
	"mkdir": "files are people's own", "move": "files are people's own", "copy": "files are people's own",
	"refreshDirectory": "reads", "refreshPeer": "reads", "lookAtInvite": "reads",
	"editContact": "names, labels and notes are people's own; trust and blocks are recorded, see below",
	"reconcile":   "what it repairs is recorded where that is tested, share by share",
	"resend":      "as resendMessage", "retryAcceptance": "as resendMessage", "reshare": "as request",
}

func TestEveryCallThatChangesSomethingIsRecorded(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	olga := operator(t, alice.Site)
	carol := alice.Site.Person("carol")
	gone := weftest.NewPeer(t)
	seen := map[string]bool{}
	// does makes a call and looks for its record.
	does := func(p *weftest.Person, op, method, path string, in any, action string) string {
		t.Helper()
		seen[op] = true
		a := p.TryAPI(method, path, in)
		if a.Status >= 300 {
			t.Fatalf("%s: %d %s", op, a.Status, a.Body)
		}
		rows := records(t, p.Site, audit.Filter{Text: a.Header.Get("X-Request-Id")})
		i := slices.IndexFunc(rows, func(e audit.Entry) bool { return e.Action == action })
		if i < 0 {
			t.Errorf("%s: recorded is %+v, want %s", op, rows, action)
			return a.Body
		}
		if e := rows[i]; e.ActorKind != audit.User || e.Actor != p.Name || e.ActorID != p.User.ID || e.Origin != "127.0.0.1" || e.Outcome != audit.Done {
			t.Errorf("%s: %+v", op, e)
		}
		return a.Body
	}
	id := func(body string) string {
		var v struct{ ID string }
		json.Unmarshal([]byte(body), &v)
		return v.ID
	}
	last := func(s *weftest.Site, action string) string {
		return records(t, s, audit.Filter{Action: action})[0].ObjectID
	}

	does(olga, "addUser", "POST", "/users", map[string]any{"name": "dora", "password": "a long password"}, "user.added")
	does(olga, "changeUser", "PATCH", "/users/dora", map[string]any{"displayName": "Dora"}, "user.changed")
	does(olga, "setPassword", "PUT", "/users/dora/password", map[string]any{"password": "another password"}, "password.changed")
	does(olga, "addGroup", "POST", "/groups", map[string]any{"name": "staff"}, "group.added")
	does(olga, "renameGroup", "PATCH", "/groups/staff", map[string]any{"displayName": "Staff"}, "group.changed")
	does(olga, "joinGroup", "PUT", "/groups/staff/members/dora", nil, "group.joined")
	does(olga, "leaveGroup", "DELETE", "/groups/staff/members/dora", nil, "group.left")
	does(olga, "removeGroup", "DELETE", "/groups/staff", nil, "group.removed")
	does(olga, "removeUser", "DELETE", "/users/dora", nil, "user.removed")

	does(alice, "login", "POST", "/login", map[string]any{"user": "alice", "password": "a long password"}, "session.began")
	_, token, err := alice.Server.Accounts.Login(t.Context(), "alice", "a long password", "1.2.3.4", "")
	if err != nil {
		t.Fatal(err)
	}
	session := *alice
	session.Secret = token
	does(&session, "logout", "POST", "/logout", nil, "session.ended")
	does(alice, "addAppPassword", "POST", "/app-passwords", map[string]any{"label": "x"}, "app-password.made")
	var apps []struct{ ID, Label string }
	alice.API("GET", "/app-passwords", nil, &apps)
	for _, a := range apps {
		if a.Label == "x" {
			does(alice, "removeAppPassword", "DELETE", "/app-passwords/"+a.ID, nil, "app-password.ended")
		}
	}

	invite := does(alice, "invite", "POST", "/invites", map[string]any{}, "invite.made")
	does(alice, "renewInvite", "POST", "/invites/"+id(invite)+"/renew", nil, "invite.renewed")
	does(alice, "revokeInvite", "DELETE", "/invites/"+id(invite), nil, "invite.revoked")
	does(bob, "acceptInvite", "POST", "/invites/accept", map[string]any{"invite": alice.Invite().InviteString}, "invite.accepted")
	does(bob, "forgetAcceptance", "DELETE", "/acceptances/"+last(bob.Site, "invite.accepted"), nil, "invite.forgotten")
	contact := does(alice, "addContact", "POST", "/contacts", map[string]any{"address": "x@" + string(gone.Host)}, "contact.added")
	does(alice, "editContact", "PATCH", "/contacts/"+id(contact), map[string]any{"trusted": true}, "contact.changed")
	does(alice, "removeContact", "DELETE", "/contacts/"+id(contact), nil, "contact.removed")

	does(alice, "changeMe", "PATCH", "/me", map[string]any{"displayName": "Alice A."}, "user.changed")
	other := func() *weftest.Person {
		t.Helper()
		_, token, err := alice.Server.Accounts.Login(t.Context(), "alice", "a long password", "1.2.3.4", "")
		if err != nil {
			t.Fatal(err)
		}
		p := *alice
		p.Secret = token
		return &p
	}
	here := other()
	other()
	var sessions []struct {
		ID      string
		Current bool
	}
	here.API("GET", "/sessions", nil, &sessions)
	i := slices.IndexFunc(sessions, func(s struct {
		ID      string
		Current bool
	}) bool {
		return !s.Current
	})
	does(here, "endSession", "DELETE", "/sessions/"+sessions[i].ID, nil, "session.ended")
	other()
	does(here, "endOtherSessions", "POST", "/sessions/end-others", nil, "session.ended")
	does(here, "changePassword", "POST", "/password", map[string]any{"present": "a long password", "password": "another long password"}, "password.changed")

	alice.Put("Reef/a.txt", "a")
	alice.Put("Second/a.txt", "a")
	alice.Put("b.txt", "b")
	share := does(alice, "share", "POST", "/shares", map[string]any{"path": "Reef", "with": bob.Address, "permissions": []string{"read", "share"}}, "share.created")
	received := bob.Inbox("Reef", "pending")
	does(bob, "accept", "POST", "/received/"+received.ID+"/accept", nil, "share.accepted")
	does(bob, "report", "POST", "/received/"+received.ID+"/report", map[string]any{}, "share.reported")
	weftest.Until(t, "the acceptance arrives", func() bool { return alice.SentState(id(share)) == "accepted" })
	does(alice, "changeShare", "PATCH", "/shares/"+id(share), map[string]any{"permissions": []string{"read"}}, "share.changed")
	does(bob, "leave", "POST", "/received/"+received.ID+"/leave", nil, "share.left")
	for _, answer := range []struct{ op, action string }{{"decline", "share.declined"}, {"block", "contact.changed"}} {
		s := alice.Share("b.txt", carol.Address)
		r := carol.Inbox("b.txt", "pending")
		does(carol, answer.op, "POST", "/received/"+r.ID+"/"+answer.op, nil, answer.action)
		if answer.op == "block" {
			does(alice, "unshare", "DELETE", "/shares/"+s.ID, nil, "share.ended")
		}
	}
	again := alice.Share("b.txt", bob.Address)
	bob.Inbox("b.txt", "pending")
	does(olga, "endShares", "POST", "/all-shares/end", map[string]any{"ids": []string{again.ID}}, "share.ended")

	does(bob, "request", "POST", "/requests", map[string]any{"owner": alice.Address, "resource": "b.txt"}, "request.sent")
	request := func() string {
		var q struct {
			Received []struct{ ID, State string }
		}
		weftest.Until(t, "a request arrives", func() bool {
			alice.API("GET", "/requests", nil, &q)
			return slices.ContainsFunc(q.Received, func(r struct{ ID, State string }) bool { return r.State == "open" })
		})
		for _, r := range q.Received {
			if r.State == "open" {
				return r.ID
			}
		}
		return ""
	}
	does(alice, "grant", "POST", "/requests/"+request()+"/grant", map[string]any{}, "request.granted")
	bob.Inbox("b.txt", "pending")
	bob.API("POST", "/requests", map[string]any{"owner": alice.Address, "resource": "Reef"}, nil)
	does(alice, "refuse", "POST", "/requests/"+request()+"/refuse", map[string]any{"silently": true}, "request.ignored")
	does(bob, "withdraw", "POST", "/requests/"+last(bob.Site, "request.sent")+"/withdraw", nil, "request.withdrawn")

	does(olga, "setRule", "PUT", "/policy/rules", map[string]any{"host": "x.example", "action": "deny", "note": "spam"}, "policy.changed")
	does(olga, "removeRule", "DELETE", "/policy/rules?host=x.example", nil, "policy.removed")
	does(olga, "importRules", "POST", "/policy/import", map[string]any{"csv": "host,action\ny.example,limit\n", "apply": true}, "policy.changed")
	key := newKey(t)
	publish(t, alice.Site, key, map[string]string{"one.example": "One"})
	does(olga, "subscribe", "POST", "/directories", map[string]any{"url": alice.Origin + "/ocm/directory", "key": string(publicPEM(t, key))}, "directory.subscribed")
	does(olga, "unsubscribe", "DELETE", "/directories?url="+alice.Origin+"/ocm/directory", nil, "directory.unsubscribed")
	want(t, "a share", gone.Post(alice.Site, "/ocm/shares", jsonType, gone.ShareFor(alice, nil)), 201)
	var known struct{ Keys []struct{ Thumbprint string } }
	olga.API("POST", "/peers/"+string(gone.Host)+"/refresh", nil, &known)
	does(olga, "decideKey", "PUT", "/peers/"+string(gone.Host)+"/keys", map[string]any{"key": known.Keys[0].Thumbprint, "state": "rejected"}, "key.decided")

	does(alice, "remove", "DELETE", "/files?path=Reef", nil, "files.removed")
	var trash struct{ Entries []struct{ ID string } }
	alice.API("GET", "/trash", nil, &trash)
	does(alice, "purge", "DELETE", "/trash/"+trash.Entries[0].ID, nil, "files.purged")
	alice.API("DELETE", "/files?path=Second", nil, nil)
	does(alice, "emptyTrash", "DELETE", "/trash", nil, "files.purged")

	ln := weftest.Listen(t)
	nowhere := strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1)
	ln.Close()
	lost := alice.Share("b.txt", "x@"+nowhere)
	does(olga, "resendMessages", "POST", "/outbox/resend", map[string]any{"peer": nowhere}, "outbox.resent")
	var waiting []struct{ ID, Share string }
	olga.API("GET", "/outbox?state=pending&peer="+nowhere, nil, &waiting)
	if len(waiting) != 1 || waiting[0].Share != lost.ID {
		t.Fatalf("%+v", waiting)
	}
	does(olga, "resendMessage", "POST", "/outbox/"+waiting[0].ID+"/resend", nil, "outbox.resent")

	// Every call of the API that may change something is above, or said to need
	// no record.
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(olga.Do("GET", "/api/v1/openapi.json", "").Body), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if method != "get" && !seen[op.OperationID] && unaudited[op.OperationID] == "" {
				t.Errorf("%s %s (%s) leaves no record that is tested", method, path, op.OperationID)
			}
		}
	}

	// What other servers and the server itself do is recorded as theirs.
	for _, c := range []struct {
		site   *weftest.Site
		action string
		actor  string
	}{
		{bob.Site, "share.received", string(alice.Host)}, {alice.Site, "share.accepted", string(bob.Host)}, {alice.Site, "share.declined", string(bob.Host)},
		{bob.Site, "share.changed", string(alice.Host)}, {bob.Site, "share.ended", string(alice.Host)}, {alice.Site, "invite.accepted", string(bob.Host)},
		{alice.Site, "request.received", string(bob.Host)},
	} {
		weftest.Until(t, c.action+" by "+c.actor, func() bool {
			rows := records(t, c.site, audit.Filter{Action: c.action, Actor: c.actor})
			return len(rows) > 0 && rows[0].ActorKind == audit.Peer && rows[0].Request != ""
		})
	}

	// Nothing of it holds a secret.
	var all []string
	for _, s := range []*weftest.Site{alice.Site, bob.Site} {
		for _, e := range records(t, s, audit.Filter{}) {
			all = append(all, e.Details, e.Object, e.Target)
		}
	}
	for _, secret := range []string{"a long password", "another password", alice.Secret.Reveal(), token.Reveal(), "hfiuhworzwnur98d3wjiwhr"} {
		if strings.Contains(strings.Join(all, "\n"), secret) {
			t.Errorf("%.4s… is in the records", secret)
		}
	}
}

func TestRefusedSignInsAndActsOfAdministrationAreRecorded(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	for _, name := range []string{"alice", "my secret typed too early"} {
		alice.TryAPI("POST", "/login", map[string]any{"user": name, "password": "not the password"})
	}
	r, _ := http.NewRequest("GET", alice.Origin+"/dav/files/alice/", nil)
	r.SetBasicAuth("alice", "wrong again")
	weftest.Send(t, r)
	alice.TryAPI("GET", "/users", nil)
	weftest.Until(t, "the refusals are recorded", func() bool {
		return len(records(t, alice.Site, audit.Filter{Outcome: audit.Refused})) == 4
	})
	var got []string
	for _, e := range records(t, alice.Site, audit.Filter{Outcome: audit.Refused}) {
		got = append(got, strings.Join([]string{e.Action, e.ActorKind, e.Actor, e.Object, e.Code}, "|"))
	}
	slices.Sort(got)
	if strings.Join(got, "\n") != strings.Join([]string{
		"admin.refused|user|alice|GET /api/v1/users|ADMINS_ONLY", "session.failed|visitor||alice|CREDENTIALS_INVALID",
		"session.failed|visitor||alice|CREDENTIALS_INVALID", "session.failed|visitor|||CREDENTIALS_INVALID",
	}, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	// One network cannot fill the disk with them.
	for range 60 {
		alice.TryAPI("GET", "/users", nil)
	}
	weftest.Until(t, "most are left out", func() bool {
		n := len(records(t, alice.Site, audit.Filter{Action: "admin.refused"}))
		return n >= 25 && n <= 35
	})
}

func TestAdministratorsSearchAndExportTheRecords(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Audit.KeepFor = 24 * time.Hour }).Person("alice")
	olga := operator(t, alice.Site)
	alice.Put("a.txt", "a")
	for range 3 {
		s := alice.Share("a.txt", olga.Address)
		alice.API("DELETE", "/shares/"+s.ID, nil, nil)
	}
	type page struct {
		Records []server.AuditView
		Next    string
	}
	var first, second page
	query := "/audit?actor=alice&action=share.&text=a.txt&from=" + url.QueryEscape(alice.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	olga.API("GET", query+"&limit=7", nil, &first)
	olga.API("GET", query+"&limit=7&before="+first.Next, nil, &second)
	if len(first.Records) != 7 || len(second.Records) != 2 || second.Next != "" || first.Records[0].Action != "share.ended" || second.Records[1].Action != "share.created" {
		t.Errorf("%d and %d, next %q: %+v", len(first.Records), len(second.Records), second.Next, second.Records)
	}
	if r := second.Records[1]; r.Actor.Name != "alice" || r.Object.Name != "a.txt" || r.Target != olga.Address || !strings.Contains(string(r.Details), `"permissions":"read"`) {
		t.Errorf("%+v", r)
	}
	a := olga.Do("GET", "/api/v1/audit/export?action=share.created", "")
	if a.Status != 200 || a.Header.Get("Content-Type") != "application/jsonl" || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment;") {
		t.Fatalf("%d %v", a.Status, a.Header)
	}
	lines := 0
	for sc := bufio.NewScanner(strings.NewReader(a.Body)); sc.Scan(); lines++ {
		var v server.AuditView
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil || v.Action != "share.created" {
			t.Errorf("%v %s", err, sc.Text())
		}
	}
	if lines != 3 {
		t.Errorf("%d lines: %s", lines, a.Body)
	}
	if rows := records(t, alice.Site, audit.Filter{Action: "audit.exported"}); len(rows) != 1 || !strings.Contains(rows[0].Details, "share.created") {
		t.Errorf("%+v", rows)
	}
	for _, path := range []string{"/audit", "/audit/export"} {
		if a := alice.TryAPI("GET", path, nil); a.Code() != "ADMINS_ONLY" {
			t.Errorf("%s by someone else: %d %s", path, a.Status, a.Body)
		}
	}
	if a := olga.TryAPI("GET", "/audit?before=x", nil); a.Code() != "CURSOR_INVALID" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// A restart sweeps what is too old.
	alice.Advance(25 * time.Hour)
	alice.Stop()
	alice.Restart()
	weftest.Until(t, "old records are gone", func() bool { return len(records(t, alice.Site, audit.Filter{Action: "share.created"})) == 0 })
}

func TestWhoActsInTheBackgroundIsTheServer(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("a.txt", "a")
	if _, err := alice.Server.Policy.Set(t.Context(), peer.Rule{Pattern: "x.example", Action: peer.Deny}); err != nil {
		t.Fatal(err)
	}
	var s weftest.Sent
	alice.API("POST", "/shares", map[string]any{"path": "a.txt", "with": bob.Address, "expiresAt": alice.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, &s)
	alice.Advance(2 * time.Hour)
	if err := alice.Server.Sharing.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := records(t, alice.Site, audit.Filter{Object: s.ID, Action: "share.ended"})
	if len(rows) != 1 || rows[0].ActorKind != audit.System || !strings.Contains(rows[0].Details, "expired") {
		t.Errorf("%+v", rows)
	}
}
