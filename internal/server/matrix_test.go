package server_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// The outcomes of a flow.
const (
	passes  = "passes"
	refuses = "refused, and the person is told why" // what the family cannot do
	nothing = "the family has no such thing"
)

// line is one flow with one family in one direction.
type line struct{ family, direction, flow, outcome string }

// matrix gathers the lines and prints them.
type matrix struct {
	mu    sync.Mutex
	lines []line
}

func (m *matrix) add(family, direction, flow, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line{family, direction, flow, outcome})
}

func (m *matrix) print(t *testing.T) {
	counts := map[string]int{}
	for _, l := range m.lines {
		t.Logf("%-17s %-8s %-18s %s", l.family, l.direction, l.flow, l.outcome)
		counts[l.outcome]++
	}
	t.Logf("%d flows: %d pass, %d are refused with the reason, %d do not exist there", len(m.lines), counts[passes], counts[refuses], counts[nothing])
}

// TestPeerMatrix runs every flow with every family of servers in both directions.
// A flow that a family cannot have must be refused with words for the person; no
// other flow may fail. Run it with -v to see the matrix.
func TestPeerMatrix(t *testing.T) {
	t.Parallel()
	out := &matrix{}
	for _, d := range weftest.Dialects() {
		t.Run(strings.ReplaceAll(d.Name, "/", "-"), func(t *testing.T) {
			f := &flows{t: t, out: out, d: d}
			f.run()
		})
	}
	families := map[string]bool{}
	for _, l := range out.lines {
		families[l.family] = true
	}
	for _, name := range client.Profiles() {
		if !families[name] {
			t.Errorf("the profile %s has no simulator", name)
		}
	}
	out.print(t)
}

type flows struct {
	t     *testing.T
	out   *matrix
	d     weftest.Dialect
	sim   *weftest.Simulator
	alice *weftest.Person
}

func (f *flows) sends(flow, outcome string)    { f.out.add(f.d.Name, "to them", flow, outcome) }
func (f *flows) receives(flow, outcome string) { f.out.add(f.d.Name, "to us", flow, outcome) }

func (f *flows) run() {
	f.alice = weftest.Start(f.t).Person("alice")
	f.sim = weftest.Simulate(f.t, f.d)
	f.invites()
	known, err := f.alice.Server.Peers.Peer(f.t.Context(), f.sim.Host)
	if want := cmp.Or(f.d.Profile, f.d.Name); err != nil || known.Profile.Name != want {
		f.t.Errorf("taken for %s (%s), %v", known.Profile.Name, known.Profile.Reason, err)
	}
	f.alice.Put("Reef/a.txt", "from Alice")
	f.alice.Put("single.txt", "one file")
	f.alice.Put("other.txt", "declined")
	f.sendFile()
	f.sendFolder()
	f.sendDeclined()
	f.receiveShare(false)
	f.receiveShare(true)
	f.receiveDeclined()
	f.leave()
	f.uninvited()
	if why := f.sim.Refusals(); why != "" && f.t.Failed() {
		f.t.Logf("%s refused: %s", f.d.Name, why)
	}
}

func (f *flows) invites() {
	if !f.d.Invites {
		f.sends("invite", nothing)
		f.receives("invite", nothing)
		return
	}
	if a := f.sim.AcceptInvite(f.alice, f.alice.Invite()); a.Status != 200 {
		f.t.Errorf("they accept our invite: %d %s", a.Status, a.Body)
	} else if c := f.alice.Contacts(f.sim.Address()); len(c) != 1 || c[0].Address != f.sim.Address() {
		f.t.Errorf("they accept our invite: we know %+v", c)
	} else {
		f.sends("invite", passes)
	}
	guess := ocm.Invite{Token: "guessed", Provider: f.sim.Host}.InviteString()
	if a := f.alice.AcceptInvite(guess); a.State != "failed" || !strings.Contains(a.Reason, "ask for a new one") {
		f.t.Errorf("a guessed invite of theirs: %+v", a)
	}
	a := f.alice.AcceptInvite(f.sim.Invite())
	if a.State != "accepted" || a.Contact != f.sim.Address() {
		f.t.Errorf("we accept their invite: %+v", a)
		return
	}
	f.receives("invite", passes)
}

// refused makes sure that a share that the family cannot take fails with words.
func (f *flows) refused(what, id string) {
	f.t.Helper()
	weftest.Until(f.t, what+" is refused by "+f.d.Name, func() bool { return f.alice.SentState(id) == "failed" })
	for _, s := range f.alice.Shares().Sent {
		if s.ID == id && !strings.Contains(s.Reason, string(f.sim.Host)) {
			f.t.Errorf("%s: the reason is %q", what, s.Reason)
		}
	}
}

// delivered waits for a share to reach them.
func (f *flows) delivered(what, id string) *weftest.SimShare {
	f.t.Helper()
	state := ""
	weftest.Until(f.t, what+" reaches "+f.d.Name, func() bool {
		state = f.alice.SentState(id)
		return state == "delivered" || state == "failed"
	})
	share := f.sim.Received(id)
	if state != "delivered" || share == nil {
		f.t.Errorf("%s is %s: %s", what, state, f.sim.Refusals())
		return nil
	}
	return share
}

func (f *flows) sendFile() {
	t := f.t
	rights := []string{"read", "write"}
	if f.d.ReadOnly {
		rights = rights[:1]
	}
	sent := f.alice.Share("single.txt", f.sim.Address(), rights...)
	if f.d.NoWebDAV {
		f.refused("a file", sent.ID)
		for _, flow := range []string{"share file", "accept", "read file", "write file", "change permission", "unshare"} {
			f.sends(flow, refuses)
		}
		return
	}
	share := f.delivered("a file", sent.ID)
	if share == nil {
		return
	}
	f.sends("share file", passes)
	if a := f.sim.Notify(f.alice.Site, "SHARE_ACCEPTED", share); a == nil {
		f.sends("accept", nothing)
	} else if a.Status != 201 || f.alice.SentState(sent.ID) != "accepted" {
		t.Errorf("they accept: %d %s, the share is %s", a.Status, a.Body, f.alice.SentState(sent.ID))
	} else {
		f.sends("accept", passes)
	}
	if a := f.sim.Open(f.alice.Site, share, "GET", "", ""); a.Status != 200 || a.Body != "one file" {
		t.Errorf("they read the file: %d %s", a.Status, a.Body)
	} else {
		f.sends("read file", passes)
	}
	if f.d.ReadOnly {
		f.sends("write file", nothing)
	} else if a := f.sim.Open(f.alice.Site, share, "PUT", "", "changed"); a.Status >= 300 || f.alice.Get("single.txt") != "changed" {
		t.Errorf("they write the file: %d %s", a.Status, a.Body)
	} else {
		f.sends("write file", passes)
	}
	f.changePermission(sent.ID, share)
	f.alice.API("DELETE", "/shares/"+sent.ID, nil, nil)
	if a := f.sim.Open(f.alice.Site, share, "GET", "", ""); a.Status < 400 {
		t.Errorf("they read an ended share: %d", a.Status)
	}
	if f.d.NotifyForm == "" {
		f.sends("unshare", passes) // access has ended; nobody there reads messages
		return
	}
	weftest.Until(t, f.d.Name+" learns of the end: "+f.sim.Refusals(), func() bool { return f.sim.State(share) == "ended" })
	f.sends("unshare", passes)
}

func (f *flows) changePermission(id string, share *weftest.SimShare) {
	if f.d.ReadOnly {
		f.sends("change permission", nothing)
		return
	}
	f.alice.API("PATCH", "/shares/"+id, map[string]any{"permissions": []string{"read"}}, nil)
	if a := f.sim.Open(f.alice.Site, share, "PUT", "", "again"); a.Status != 403 {
		f.t.Errorf("they write into a share that may only be read: %d", a.Status)
	}
	if slices.Contains(f.d.Hears, "SHARE_CHANGE_PERMISSION") {
		weftest.Until(f.t, f.d.Name+" learns of the rights", func() bool { return slices.Equal(f.sim.Holds(share), []string{"read"}) })
	}
	f.sends("change permission", passes)
}

func (f *flows) sendFolder() {
	sent := f.alice.Share("Reef", f.sim.Address(), "read", "write")
	if f.d.NoWebDAV || f.d.ReadOnly {
		f.refused("a folder", sent.ID)
		for _, flow := range []string{"share folder", "read folder", "write folder"} {
			f.sends(flow, refuses)
		}
		return
	}
	share := f.delivered("a folder", sent.ID)
	if share == nil {
		return
	}
	f.sends("share folder", passes)
	if a := f.sim.Open(f.alice.Site, share, "PROPFIND", "", ""); a.Status != 207 || !strings.Contains(a.Body, "a.txt") {
		f.t.Errorf("they list the folder: %d %s", a.Status, a.Body)
	}
	if a := f.sim.Open(f.alice.Site, share, "GET", "a.txt", ""); a.Status != 200 || a.Body != "from Alice" {
		f.t.Errorf("they read from the folder: %d %s", a.Status, a.Body)
	} else {
		f.sends("read folder", passes)
	}
	if a := f.sim.Open(f.alice.Site, share, "PUT", "theirs.txt", "theirs"); a.Status != 201 || f.alice.Get("Reef/theirs.txt") != "theirs" {
		f.t.Errorf("they write into the folder: %d %s", a.Status, a.Body)
	} else {
		f.sends("write folder", passes)
	}
}

func (f *flows) sendDeclined() {
	if f.d.NoWebDAV {
		f.sends("decline", refuses)
		return
	}
	sent := f.alice.Share("other.txt", f.sim.Address(), "read")
	share := f.delivered("a file to decline", sent.ID)
	if share == nil {
		return
	}
	a := f.sim.Notify(f.alice.Site, "SHARE_DECLINED", share)
	if a == nil {
		f.sends("decline", nothing)
		return
	}
	if a.Status != 201 || f.alice.SentState(sent.ID) != "declined" {
		f.t.Errorf("they decline: %d %s, the share is %s", a.Status, a.Body, f.alice.SentState(sent.ID))
		return
	}
	f.sends("decline", passes)
	stranger := *share
	stranger.Secret = "wrong"
	if f.d.NotifyForm == "old" {
		if a := f.sim.Notify(f.alice.Site, "SHARE_ACCEPTED", &stranger); a.Status < 400 {
			f.t.Errorf("a wrong secret is taken: %d", a.Status)
		}
	}
	stranger.ProviderID = "there is none"
	want := 404
	if f.d.Unknown == 400 && f.d.NotifyForm == "old" && strings.HasPrefix(f.d.Name, "nextcloud") || f.d.Name == "owncloud-10" {
		want = 400
	}
	if a := f.sim.Notify(f.alice.Site, "SHARE_ACCEPTED", &stranger); a.Status != want && a.Status != 400 {
		f.t.Errorf("a share that is not there: %d, want %d", a.Status, want)
	}
}

func (f *flows) receiveShare(folder bool) {
	t, what, name := f.t, "file", "note.txt"
	if folder {
		what, name = "folder", "Folder"
	}
	if f.d.NoWebDAV || folder && f.d.ReadOnly {
		for _, flow := range []string{"share ", "read ", "write "} {
			f.receives(flow+what, nothing)
		}
		return
	}
	share, a := f.sim.Share(f.alice, folder)
	if a.Status != 201 {
		t.Errorf("we receive a %s: %d %s", what, a.Status, a.Body)
		return
	}
	f.receives("share "+what, passes)
	r := f.alice.Accept(name)
	if !slices.Contains(f.d.Hears, "SHARE_ACCEPTED") {
		if !folder {
			f.receives("accept", nothing)
		}
	} else {
		weftest.Until(t, f.d.Name+" learns that we accept: "+f.sim.Refusals(), func() bool { return f.sim.State(share) == "accepted" })
		if !folder {
			f.receives("accept", passes)
		}
	}
	path := r.Path
	if folder {
		path += "/note.txt"
	}
	if got := f.alice.DAV("GET", path, ""); got.Status != 200 || got.Body != "from "+f.d.Name {
		t.Errorf("we read a %s: %d %s", what, got.Status, got.Body)
	} else {
		f.receives("read "+what, passes)
	}
	if f.d.ReadOnly {
		f.receives("write "+what, nothing)
	} else if got := f.alice.DAV("PUT", path, "by Alice"); got.Status >= 300 || f.alice.Get(path) != "by Alice" {
		t.Errorf("we write a %s: %d %s", what, got.Status, got.Body)
	} else {
		f.receives("write "+what, passes)
	}
	if folder {
		f.receivePermission(r, share)
	} else {
		f.receiveUnshare(r, share)
	}
}

func (f *flows) receivePermission(r weftest.Received, share *weftest.SimShare) {
	a := f.sim.Notify(f.alice.Site, "SHARE_CHANGE_PERMISSION", share, "read")
	if a == nil {
		f.receives("change permission", nothing)
		return
	}
	if put := f.alice.DAV("PUT", r.Path+"/new.txt", "x"); a.Status != 201 || put.Status != 403 {
		f.t.Errorf("they change the rights: %d %s; then we write: %d", a.Status, a.Body, put.Status)
		return
	}
	f.receives("change permission", passes)
}

func (f *flows) receiveUnshare(r weftest.Received, share *weftest.SimShare) {
	forged := *share
	forged.Secret = "forged"
	if f.d.NotifyForm == "old" {
		if a := f.sim.Notify(f.alice.Site, "SHARE_UNSHARED", &forged); a == nil || a.Status < 400 {
			f.t.Errorf("a forged end is taken: %+v", a)
		}
	}
	a := f.sim.Notify(f.alice.Site, "SHARE_UNSHARED", share)
	if a == nil {
		f.receives("unshare", nothing)
		return
	}
	if a.Status != 201 {
		f.t.Errorf("they end the share: %d %s", a.Status, a.Body)
		return
	}
	f.alice.Inbox(r.Name, "ended")
	f.receives("unshare", passes)
}

func (f *flows) receiveDeclined() {
	if f.d.NoWebDAV {
		f.receives("decline", nothing)
		return
	}
	share, a := f.sim.Share(f.alice, false)
	if a.Status != 201 {
		f.t.Errorf("we receive a file to decline: %d %s", a.Status, a.Body)
		return
	}
	r := f.alice.Inbox("note.txt", "pending")
	f.alice.API("POST", fmt.Sprintf("/received/%s/decline", r.ID), nil, nil)
	if !slices.Contains(f.d.Hears, "SHARE_DECLINED") {
		f.receives("decline", nothing)
		return
	}
	weftest.Until(f.t, f.d.Name+" learns that we decline: "+f.sim.Refusals(), func() bool { return f.sim.State(share) == "declined" })
	f.receives("decline", passes)
}

// leave gives an accepted share back. A server that knows no way back from
// accepted is told all the same, and nothing waits for it.
func (f *flows) leave() {
	if f.d.NoWebDAV {
		f.receives("leave", nothing)
		return
	}
	share, a := f.sim.Share(f.alice, false)
	if a.Status != 201 {
		f.t.Errorf("we receive a file to leave: %d %s", a.Status, a.Body)
		return
	}
	// The one that was declined has the same name.
	var id string
	for _, r := range f.alice.Shares().Received {
		if r.State == "pending" {
			id = r.ID
		}
	}
	f.alice.API("POST", "/received/"+id+"/accept", nil, nil)
	hears := slices.Contains(f.d.Hears, "SHARE_DECLINED")
	if hears {
		weftest.Until(f.t, f.d.Name+" learns that we accept", func() bool { return f.sim.State(share) == "accepted" })
	}
	f.alice.API("POST", "/received/"+id+"/leave", nil, nil)
	if hears && !f.d.Settled {
		weftest.Until(f.t, f.d.Name+" learns that we leave: "+f.sim.Refusals(), func() bool { return f.sim.State(share) == "declined" })
	}
	weftest.Until(f.t, "nothing about "+f.d.Name+" waits", func() bool {
		queue, err := f.alice.Server.Outbox.List(f.t.Context())
		return err == nil && !slices.ContainsFunc(queue, func(m delivery.Row) bool { return m.Kind == "notification" })
	})
	f.receives("leave", passes)
}

// uninvited shares with someone whose server demands an invite first: the person
// is told so, whatever the words of the refusal.
func (f *flows) uninvited() {
	d, err := f.alice.Server.Peers.Discover(f.t.Context(), f.sim.Host)
	if err != nil || !d.HasCriterion(ocm.CriterionInvite) {
		return
	}
	carol := f.alice.Site.Person("carol")
	carol.Put("uninvited.txt", "x")
	sent := carol.Share("uninvited.txt", f.sim.Address(), "read")
	weftest.Until(f.t, "a share without an invite is refused by "+f.d.Name, func() bool { return carol.SentState(sent.ID) == "failed" })
	if why := carol.Shares().Sent[0].Reason; !strings.Contains(why, "takes shares only after an invite") {
		f.t.Errorf("a share without an invite: %q", why)
	}
	f.sends("uninvited", refuses)
}
