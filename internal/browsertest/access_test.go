package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/weftest"
)

// focused waits until the focus is on what a selector names.
func (b *tab) focused(what, selector string) {
	b.t.Helper()
	b.until(what, fmt.Sprintf("document.readyState === 'complete' && document.activeElement.matches(%q)", selector))
}

// namesApart opens a page and fails where buttons that a screen reader lists
// have the same name, or none.
func (b *tab) namesApart(path string) {
	b.t.Helper()
	b.visit(path)
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil || n.Name == nil {
			continue
		}
		name := string(n.Name.Value)
		switch string(n.Role.Value) {
		case `"button"`, `"DisclosureTriangle"`:
			if name == `""` || seen[name] && name != `"Show date picker Show date picker"` { // the browser's own
				b.t.Errorf("%s: a button is called %s like another", path, name)
			}
			seen[name] = true
		}
	}
	if len(seen) == 0 {
		b.t.Errorf("%s has no buttons", path)
	}
}

func TestButtonsAreToldApart(t *testing.T) {
	chrome(t)
	alice, bob := sharers(t)
	if _, err := alice.Site.Server.Accounts.Update(t.Context(), alice.User.ID, account.Change{Role: new(account.RoleAdmin)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		alice.API("POST", "/invites", map[string]any{"email": name + "@elsewhere.example"}, nil)
		alice.Share("b.txt", name+"@"+string(bob.Site.Host))
	}
	b := open(t, alice.Origin)
	b.signIn(alice)
	b.faults = nil // where signing in leads is another test's
	for _, path := range []string{"/files/", "/inbox", "/shares", "/notices", "/people/invites", "/admin/config"} {
		b.namesApart(path)
	}
}

func TestTheFocusMeetsWhatIsSaid(t *testing.T) {
	chrome(t)
	site := weftest.Start(t)
	alice := site.Person("alice")
	alice.Put("a.txt", "a")
	alice.Put("b.txt", "b")
	b := open(t, site.Origin)

	// A form that was not taken leads to the field.
	b.visit("/login")
	b.do(chromedp.SendKeys("#user", "alice"), chromedp.SendKeys("#password", "a wrong password\r"))
	b.focused("the password to be wrong", `#password[aria-invalid=true][aria-describedby=fault]`)
	b.forget() // the answer was 401
	b.signIn(alice)
	b.visit("/people/invite")
	ask[bool](b, `(() => { const f = document.querySelector("#days"); f.form.noValidate = true; f.value = "1000"; f.form.requestSubmit(); return true })()`)
	b.focused("the number of days to be wrong", `#days[aria-invalid=true][aria-describedby~=fault]`)
	b.until("the title to say so", `document.title.startsWith("Error: Invite")`)
	b.forget()

	// What was done, and the button that takes it back, come first.
	b.visit("/files/")
	b.do(chromedp.Focus(`input[value="a.txt"]`), chromedp.KeyEvent(kb.Delete))
	b.focused("the message", "#said")
	b.do(chromedp.KeyEvent(kb.Tab))
	b.focused("the way back", "#said button")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until("a.txt is back", `document.querySelector('input[value="a.txt"]') !== null`)
	b.focused("the next message", "#said")

	// A button that goes leaves the focus near.
	b.visit("/files/")
	b.do(chromedp.Focus(`input[value="b.txt"]`), chromedp.KeyEvent(" "), chromedp.Focus("[data-act=none]"), chromedp.KeyEvent(kb.Enter))
	b.focused("the box", `input[value="b.txt"]:not(:checked)`)

	// A menu that was left is closed.
	b.do(chromedp.Focus(`tr:has([value="b.txt"]) .more summary`), chromedp.KeyEvent(kb.Enter))
	b.until("the menu is open", `document.querySelector("details.menu[open]") !== null`)
	b.do(chromedp.Focus(`input[value="b.txt"]`))
	b.until("the menu is closed", `document.querySelector("details.menu[open]") === null`)
	b.quiet()
}

func TestTheShareDialogByKeys(t *testing.T) {
	chrome(t)
	alice, _ := sharers(t)
	b := open(t, alice.Origin)
	b.signIn(alice)
	b.faults = nil // where signing in leads is another test's
	b.visit("/files/")
	b.do(chromedp.Focus(`a.badge[href="/share?path=Reef"]`), chromedp.KeyEvent(kb.Enter))
	b.until("the dialog is open", `document.querySelector("dialog[open] [role=combobox]") === document.activeElement`)
	if !ask[bool](b, `document.querySelector("dialog #verdict").checkVisibility()`) {
		t.Error("what the look comes to is said by a region that is not there yet")
	}
	b.do(chromedp.Focus(`dialog [name=kind][value=user]`), chromedp.KeyEvent(kb.ArrowDown))
	b.focused("the other kind", "[name=kind][value=group]:checked")
	b.do(chromedp.Focus(`dialog .confirm summary`), chromedp.KeyEvent(kb.Enter))
	b.until("it is asked", `document.querySelector("dialog .confirm[open] .ask button[aria-describedby^=asked]") !== null`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("the question is closed, the dialog is not", `document.querySelector("dialog[open] .confirm:not([open])") !== null`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.focused("the link that opened it", `a.badge[href="/share?path=Reef"]`)
	b.quiet()
}

// TestUploadsAreHeard looks at what the live region says of many small files:
// that they are under way and that they are there, but not each of them.
func TestUploadsAreHeard(t *testing.T) {
	chrome(t)
	site := weftest.Start(t)
	alice := site.Person("alice")
	alice.Put("here.txt", "x")
	dir := t.TempDir()
	var paths []string
	for i := range 20 {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%d.txt", i)))
		if err := os.WriteFile(paths[i], []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, site.Origin)
	b.signIn(alice)
	b.visit("/files/")
	ask[bool](b, `(window.heard = [], new MutationObserver(() => heard.push(document.querySelector("body > [role=status]").textContent))
		.observe(document.querySelector("body > [role=status]"), { childList: true }), true)`)
	b.do(chromedp.Focus(`input[value="here.txt"]`), chromedp.KeyEvent(" "))
	b.drop(paths...)
	b.until("the end to be heard", `heard.at(-1)?.startsWith("Uploaded: 20")`)
	if n := ask[int](b, "heard.length"); n > 3 {
		t.Errorf("%d words on 20 small files: %s", n, ask[string](b, `heard.join("\n")`))
	}
	b.until("the list to be drawn anew", `document.querySelector('input[value="19.txt"]') !== null`)
	if !ask[bool](b, `document.activeElement.matches('input[value="here.txt"]:checked')`) {
		t.Error("the new list lost the focus or what was chosen")
	}
	b.quiet()
}

// TestNothingStaysBeforeALowWindow is what an enlargement to 400 % needs.
func TestNothingStaysBeforeALowWindow(t *testing.T) {
	chrome(t)
	site := weftest.Start(t)
	alice := site.Person("alice")
	for i := range 20 {
		alice.Put(fmt.Sprintf("%d.txt", i), "x")
	}
	b := open(t, site.Origin)
	b.signIn(alice)
	b.size(320, 256)
	b.visit("/files/")
	ask[bool](b, `(document.querySelector("td.tick input").click(), scrollTo(0, 600), true)`)
	if stays := ask[string](b, `[...document.querySelectorAll("body *")].filter((e) => /fixed|sticky/.test(getComputedStyle(e).position) && e.checkVisibility()).map((e) => e.className).join()`); stays != "" {
		t.Errorf("these stay: %s", stays)
	}
}
