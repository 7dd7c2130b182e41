package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/weftest"
)

// trash is a person's trash as the API shows it.
type trash struct {
	Entries []struct{ ID, Name, Path, Until string }
	Count   int
	Size    int64
}

func trashOf(p *weftest.Person) (out trash) {
	p.T.Helper()
	p.API("GET", "/trash", nil, &out)
	return out
}

// deleted is the answer to a deletion.
type deleted struct{ Deletion, TrashID string }

func remove(p *weftest.Person, path string) (out deleted) {
	p.T.Helper()
	p.API("DELETE", "/files?path="+strings.ReplaceAll(path, " ", "%20"), nil, &out)
	return out
}

func TestWhatIsDeletedGoesToItsOwnersTrash(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	carol := alice.Site.Person("carol")
	for _, name := range []string{"Reef/by dav", "Reef/by api", "Reef/by bob", "Reef/by carol"} {
		alice.Put(name, name)
	}
	alice.Share("Reef", bob.Address, "read", "write")
	alice.Share("Reef", carol.Address, "read", "write")
	bob.Accept("Reef")
	carol.Accept("Reef")

	want(t, "over WebDAV", alice.DAV("DELETE", "Reef/by dav", ""), 204)
	if d := remove(alice, "Reef/by api"); d.Deletion != "trash" || d.TrashID == "" {
		t.Errorf("Alice deletes her own: %+v", d)
	}
	if d := remove(bob, "Shared with me/Reef/by bob"); d.Deletion != "elsewhere" || d.TrashID != "" {
		t.Errorf("Bob deletes on Alice's server: %+v", d)
	}
	if d := remove(carol, "Shared with me/Reef/by carol"); d.Deletion != "owner" || d.TrashID != "" {
		t.Errorf("Carol deletes what Alice shared on the same server: %+v", d)
	}
	got := trashOf(alice)
	if got.Count != 4 || got.Size != int64(len("Reef/by davReef/by apiReef/by bobReef/by carol")) {
		t.Errorf("Alice's trash: %+v", got)
	}
	if got := trashOf(bob); got.Count != 0 {
		t.Errorf("Bob's trash: %+v", got)
	}
	for _, d := range got.Entries {
		alice.API("POST", "/trash/"+d.ID+"/restore", nil, nil)
		if got := alice.Get(d.Path); got != d.Path {
			t.Errorf("%s restored holds %q", d.Path, got)
		}
	}
	if d := remove(carol, "Shared with me/Reef"); d.Deletion != "left" {
		t.Errorf("Carol leaves the share: %+v", d)
	}
	if got := trashOf(alice); got.Count != 0 {
		t.Errorf("left after all is restored: %+v", got)
	}
}

func TestTheTrashIsOnesOwnAndEnds(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	bob := alice.Site.Person("bob")
	alice.Put("a", "a")
	alice.Put("b", "b")
	a, b := remove(alice, "a"), remove(alice, "b")
	want(t, "Bob restores what is Alice's", bob.TryAPI("POST", "/trash/"+a.TrashID+"/restore", nil), 404)
	want(t, "Bob purges what is Alice's", bob.TryAPI("DELETE", "/trash/"+a.TrashID, nil), 404)
	bob.API("DELETE", "/trash", nil, nil)
	if got := trashOf(alice); got.Count != 2 {
		t.Errorf("Alice's trash after Bob emptied his: %+v", got)
	}
	alice.API("DELETE", "/trash/"+a.TrashID, nil, nil)
	want(t, "restoring what was purged", alice.TryAPI("POST", "/trash/"+a.TrashID+"/restore", nil), 404)
	alice.Stop()
	alice.Restart()
	alice.Advance(31 * 24 * time.Hour)
	if err := alice.Server.Homes.SweepTrash(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "restoring after the time", alice.TryAPI("POST", "/trash/"+b.TrashID+"/restore", nil), 404)
}

func TestWithoutATrashWhatIsDeletedIsGone(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.TrashFor = 0 }).Person("alice")
	alice.Put("a", "a")
	if d := remove(alice, "a"); d.Deletion != "gone" || d.TrashID != "" {
		t.Errorf("deleted: %+v", d)
	}
	if got := trashOf(alice); got.Count != 0 {
		t.Errorf("the trash: %+v", got)
	}
}
