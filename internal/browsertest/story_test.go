package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/weft-mesh/weft/internal/weftest"
)

// key presses keys, and waits while they lead to another page.
func (b *tab) key(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
	b.until("the page", "document.readyState === 'complete'")
}

// seen tells what is wrong with how the focus is shown: it must be on something,
// in the window, and have an outline.
const seen = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body) return "";
	const r = e.getBoundingClientRect(), s = getComputedStyle(e);
	const name = e.outerHTML.slice(0, 120);
	if (r.width < 1 || r.height < 1) return "focus on something without a size: " + name;
	if (r.bottom < 0 || r.top > innerHeight || r.right < 0 || r.left > innerWidth) return "focus outside of the window: " + name;
	if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) === 0) return "focus without an outline: " + name;
	return "";
})()`

// to moves on by Tab until the focus is on what a selector means. The focus is
// seen on its whole way.
func (b *tab) to(what, selector string) {
	b.t.Helper()
	for range 150 {
		if ask[bool](b, fmt.Sprintf("document.activeElement?.matches(%q) ?? false", selector)) {
			return
		}
		b.do(chromedp.KeyEvent(kb.Tab))
		if fault := ask[string](b, seen); fault != "" {
			b.t.Errorf("on the way to %s at %s: %s", what, b.at(), fault)
		}
	}
	b.picture("failed")
	b.t.Fatalf("%s cannot be reached by Tab at %s\n%s", what, b.at(), ask[string](b, "document.body.innerText"))
}

// press goes to something and presses Enter on it.
func (b *tab) press(what, selector string) {
	b.t.Helper()
	b.to(what, selector)
	b.key(kb.Enter)
}

// choosing answers the next dialog of the system that asks for files.
func (b *tab) choosing(files ...string) {
	b.t.Helper()
	opened := make(chan *page.EventFileChooserOpened, 1)
	err := chromedp.Listen(b.ctx, func(ev any) {
		if e, ok := ev.(*page.EventFileChooserOpened); ok {
			select {
			case opened <- e:
			default:
			}
		}
	})
	if err == nil {
		_, err = chromedp.Call(b.ctx, page.SetInterceptFileChooserDialog, page.SetInterceptFileChooserDialogParams{Enabled: true})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	go func() {
		select {
		case e := <-opened:
			_, err := chromedp.Call(b.ctx, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: files, BackendNodeID: e.BackendNodeID})
			if err != nil {
				b.t.Errorf("choose files: %v", err)
			}
		case <-b.ctx.Done():
		}
	}()
}

// signInByKeyboard signs a person in without the pointer.
func (b *tab) signInByKeyboard(p *weftest.Person) {
	b.t.Helper()
	b.visit("/login")
	b.to("the name", "#user")
	b.key(p.Name)
	b.to("the password", "#password")
	b.key("a long password")
	b.press("the button", "main button")
	b.until("the files", "location.pathname === '/files/' && document.readyState === 'complete'")
}

// TestTheMainStoryByKeyboard is what Weft is for, on two servers and without a
// pointer: sign in, upload, share, accept on the other server, read, end.
func TestTheMainStoryByKeyboard(t *testing.T) {
	chrome(t)
	north, south := weftest.Start(t), weftest.Start(t)
	alice, bob := north.Person("alice"), south.Person("bob")
	alice.Befriend(bob)
	survey := filepath.Join(t.TempDir(), "Survey.txt")
	if err := os.WriteFile(survey, []byte("Forty-two fish were counted."), 0o600); err != nil {
		t.Fatal(err)
	}

	a := open(t, north.Origin)
	a.signInByKeyboard(alice)
	a.choosing(survey)
	a.press("Upload", "#upload-menu > summary")
	a.press("the choice of files", "#upload-menu .list button, #upload-menu input[type=file]")
	a.until("the file is listed", `[...document.querySelectorAll("#listing .name")].some(e => e.textContent === "Survey.txt")`)
	a.picture("uploaded")

	a.press("the file's menu", `summary[aria-label$="Survey.txt"]`)
	a.press("Share", `details.menu[open] a[href^="/share?path=Survey.txt"]`)
	a.until("the dialog is open", `document.querySelector("dialog[open] input[name=with]") === document.activeElement`)
	a.key(bob.Address)
	a.until("the address is looked at", `document.querySelector("dialog #verdict").textContent.includes("invite")`)
	a.picture("dialog")
	a.press("Share", "dialog form[data-share] button[value=share]")
	a.until("it is shared", `document.querySelector("dialog[open] .notice.good") !== null`)
	a.key(kb.Escape)
	a.until("the dialog is closed, and the focus is not lost", `!document.querySelector("dialog[open]") && document.activeElement !== document.body`)

	bob.Inbox("Survey.txt", "pending")
	b := open(t, south.Origin)
	b.signInByKeyboard(bob)
	b.press("the inbox", `.side a[href="/inbox"]`)
	b.says("Survey.txt")
	b.picture("inbox")
	b.press("Accept", `form[action$="/accept"] button`)
	b.press("where it is", `main a[href^="/files/Shared"]`)
	b.until("the file is shown", `document.body.innerText.includes("Forty-two fish were counted.")`)
	b.picture("read")

	a.press("what is shared", `.side a[href="/shares"]`)
	a.until("the share is accepted", `document.body.innerText.includes("Survey.txt")`)
	a.press("End", `details.confirm > summary`)
	a.press("the answer", `details.confirm[open] button.danger`)
	a.until("it has ended", `document.querySelector(".notice.good") !== null`)

	bob.Inbox("Survey.txt", "ended")
	b.press("the files", `.side a[href="/files/"]`)
	b.press("what others share", `a.entry[href="/files/Shared%20with%20me"]`)
	b.until("it is gone", `!document.querySelector("#listing")?.innerText.includes("Survey.txt")`)
	if strings.Contains(ask[string](b, "document.querySelector('#listing').innerText"), "Survey.txt") {
		t.Error("it is still listed")
	}
}
