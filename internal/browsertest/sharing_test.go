package browsertest

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/weftest"
)

// sharers are two people on two servers with shares and requests in many states.
func sharers(t *testing.T) (alice, bob *weftest.Person) {
	t.Helper()
	here, there := weftest.Start(t), weftest.Start(t)
	alice, bob = here.Person("alice"), there.Person("bob")
	alice.Befriend(bob)
	alice.Put("Reef/a.txt", "fish")
	alice.Put("A rather long name of a folder that goes on "+strings.Repeat("and-on-", 12)+"/a.txt", "x")
	alice.Put("b.txt", "b")
	bob.Put("Lagoon/l.txt", "l")
	bob.Put("Tides.csv", "t")
	end := time.Now().AddDate(0, 1, 0).Format(time.RFC3339)
	alice.API("POST", "/shares", map[string]any{"path": "Reef", "with": bob.Address, "permissions": []string{"read", "write", "share"}, "expiresAt": end}, nil)
	alice.Share("b.txt", "nobody@"+string(there.Host))
	bob.API("POST", "/shares", map[string]any{"path": "Lagoon", "with": alice.Address, "permissions": []string{"read", "share"}, "message": "The data we talked about."}, nil)
	bob.Share("Tides.csv", alice.Address)
	bob.Accept("Reef")
	alice.Accept("Lagoon")
	bob.API("POST", "/requests", map[string]any{"owner": alice.Address, "resource": "the budget of May", "message": "For Friday."}, nil)
	alice.API("POST", "/requests", map[string]any{"owner": bob.Address, "resource": "Tide tables"}, nil)
	stranger := weftest.NewPeer(t)
	if a := stranger.Post(here, "/ocm/shares", "application/json", stranger.ShareFor(alice, map[string]any{"name": "Invoice", "senderDisplayName": "Bob"})); a.Status != 201 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	return alice, bob
}

func TestPagesOfShares(t *testing.T) {
	chrome(t)
	alice, _ := sharers(t)
	b := open(t, alice.Origin)
	b.signIn(alice)
	b.faults = nil // where signing in leads is another test's
	b.inspectEach(
		"/share?path=Reef", "/share?path=Shared+with+me%2FLagoon", "/shares", "/shares?by=person", "/shares?show=past", "/inbox", "/inbox?show=accepted", "/inbox?show=past", "/requests", "/requests/new",
	)
}

func TestSharingInTheDialog(t *testing.T) {
	chrome(t)
	alice, bob := sharers(t)
	b := open(t, alice.Origin)
	b.signIn(alice)
	b.faults = nil // where signing in leads is another test's
	b.visit("/shares")
	ask[bool](b, `(document.querySelector('a[data-dialog][href*="b.txt"]').click(), true)`)
	b.until("the dialog is open", `document.querySelector("dialog[open] input[role=combobox]") === document.activeElement`)
	write := func(text string) {
		t.Helper()
		ask[bool](b, `(() => { const f = document.querySelector("dialog input[role=combobox]"); f.focus(); f.value = "`+text+`"; f.dispatchEvent(new Event("input", { bubbles: true })); return true })()`)
	}
	key := func(name string) {
		t.Helper()
		ask[bool](b, `document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "`+name+`", bubbles: true, cancelable: true }))`)
	}
	write("bo")
	b.until("bob is suggested", `document.querySelectorAll("dialog [role=option]").length === 1`)
	b.axe("the dialog with suggestions")
	key("ArrowDown")
	b.until("the suggestion is marked", `document.activeElement.getAttribute("aria-activedescendant") === document.querySelector("dialog [aria-selected=true]").id`)
	key("Enter")
	b.until("bob is chosen", `document.activeElement.value === "`+bob.Address+`"`)
	b.until("the address was looked at", `document.querySelector("dialog #verdict").textContent.includes("You know each other by an invite")`)
	ask[bool](b, `(document.querySelector("dialog form[data-share] button[value=share]").click(), true)`)
	b.until("it is shared, and the dialog stays", `document.querySelector("dialog[open] .notice.good") === document.activeElement`)
	write(bob.Address)
	ask[bool](b, `(document.querySelector("dialog form[data-share] button[value=share]").click(), true)`)
	b.until("what is wrong is said there", `document.querySelector("dialog[open] .notice.bad")?.textContent.includes("already shared") && location.pathname === "/shares"`)
	if len(b.faults) != 1 || !strings.Contains(b.faults[0], "409") {
		t.Errorf("the browser complains: %v", b.faults)
	}
	b.faults = nil
	bob.Inbox("b.txt", "pending")
}
