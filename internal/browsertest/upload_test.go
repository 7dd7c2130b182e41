package browsertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/weft-mesh/weft/internal/weftest"
)

// drop drops files and folders of this machine onto the page.
func (b *tab) drop(paths ...string) {
	b.t.Helper()
	for _, kind := range []input.DispatchDragEventType{input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, input.DispatchDragEventTypeDrop} {
		_, err := chromedp.Call(b.ctx, input.DispatchDragEvent, input.DispatchDragEventParams{
			Type: kind, X: 500, Y: 400, Data: &input.DragData{Items: []*input.DragDataItem{}, Files: paths, DragOperationsMask: 1},
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// forget takes what the browser complains about for what was to come.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = nil
}

func TestFilesAndFoldersAreUploadedByPointer(t *testing.T) {
	chrome(t)
	north := weftest.Start(t)
	alice := north.Person("alice")
	alice.Put("Chosen/here.txt", "x")
	alice.Put("Dropped/here.txt", "x")
	dir := t.TempDir()
	for name, text := range map[string]string{"loose.txt": "loose", "Trip/one.txt": "one", "Trip/Sub/Deep/Größe.txt": "deep"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "Trip", "Empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	trip, loose := filepath.Join(dir, "Trip"), filepath.Join(dir, "loose.txt")
	holds := func(name, text string) {
		t.Helper()
		if got := alice.Get(name); got != text {
			t.Errorf("%s holds %q, want %q", name, got, text)
		}
	}
	b := open(t, north.Origin)
	b.signIn(alice)

	b.visit("/files/Chosen")
	b.choosing(loose)
	b.do(chromedp.Click("#upload-menu summary"), chromedp.Click("#upload-menu .list button:nth-child(1)"))
	b.says("Uploaded: 1")
	holds("Chosen/loose.txt", "loose")
	b.choosing(trip)
	b.do(chromedp.Click("#upload-menu summary"), chromedp.Click("#upload-menu .list button:nth-child(2)"))
	b.says("Uploaded: 2")
	holds("Chosen/Trip/Sub/Deep/Größe.txt", "deep")
	b.until("the list to show them", `[...document.querySelectorAll("#listing .entry .name")].map((n) => n.textContent).join() === "Trip,here.txt,loose.txt"`)

	// A drop brings folders with all they hold, the empty ones too.
	b.visit("/files/Dropped")
	b.drop(trip, loose)
	b.says("Uploaded: 3")
	holds("Dropped/loose.txt", "loose")
	holds("Dropped/Trip/one.txt", "one")
	holds("Dropped/Trip/Sub/Deep/Größe.txt", "deep")
	b.quiet()

	// What is there already is asked about, once for all, and the focus stays.
	alice.Put("Dropped/loose.txt", "another")
	b.drop(trip, loose)
	b.says("3 files are there already.")
	b.picture("asked")
	b.do(chromedp.Click(`//button[text()="Keep both for all"]`))
	b.says("Uploaded: 3")
	holds("Dropped/loose.txt", "another")
	holds("Dropped/loose (2).txt", "loose")
	holds("Dropped/Trip/one (2).txt", "one")
	if !ask[bool](b, `document.activeElement.matches(".transfers button")`) {
		t.Error("the focus is lost with the button")
	}
	b.forget() // the refusals that were asked about
	b.visit("/files/Dropped/Trip")
	b.says("Empty")
	b.quiet()
}

func TestDropsInQuickSuccessionDisturbNothing(t *testing.T) {
	chrome(t)
	north := weftest.Start(t)
	alice := north.Person("alice")
	alice.Put("Quick/here.txt", "x")
	dir := t.TempDir()
	loose, tour, refused := filepath.Join(dir, "loose.txt"), filepath.Join(dir, "Tour"), filepath.Join(dir, "no\x01name")
	for i := range 40 {
		day := filepath.Join(tour, fmt.Sprint("Day ", i))
		if err := errors.Join(os.MkdirAll(day, 0o755), os.WriteFile(filepath.Join(day, "a.txt"), []byte("a"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(loose, []byte("loose"), 0o644), os.Mkdir(refused, 0o755)); err != nil {
		t.Fatal(err)
	}
	b := open(t, north.Origin)
	b.signIn(alice)
	b.visit("/files/Quick")
	b.drop(tour)
	b.drop(loose)         // while folders are made
	b.says("Uploaded: 4") // with the other, or without it: that may have been done before
	if got := alice.Get("Quick/Tour/Day 39/a.txt") + alice.Get("Quick/loose.txt"); got != "aloose" {
		t.Errorf("%q", got)
	}
	b.quiet()
	// A folder that cannot be made is told, even if it is empty.
	b.drop(refused)
	b.says("could not be uploaded")
	b.forget() // the refusal
}

func TestWhatIsMeantIsAtHand(t *testing.T) {
	chrome(t)
	north := weftest.Start(t)
	alice := north.Person("alice")
	alice.Put("report.final.pdf", "%PDF-1.4")
	alice.Put("v1.2/a.txt", "a")
	b := open(t, north.Origin)
	b.signIn(alice)
	// A new name keeps the ending, unless someone wants another one.
	for row, stem := range map[string]string{"report.final.pdf": "report.final", "v1.2": "v1.2"} {
		b.visit("/files/")
		b.do(chromedp.Focus(`input[value="`+row+`"]`), chromedp.KeyEvent(kb.F2))
		b.until("the name to be chosen", `document.querySelector("dialog[open] #new-name") !== null`)
		if got := ask[string](b, `(() => { const f = document.activeElement; return f.value.slice(f.selectionStart, f.selectionEnd); })()`); got != stem {
			t.Errorf("%q is marked of %s", got, row)
		}
	}
	// A link to what is folded away unfolds it.
	b.visit("/people")
	b.do(chromedp.Click("main details.menu > summary"), chromedp.Click(`a[href="#import"]`))
	b.until("the form to show", `document.getElementById("import").open && document.activeElement.matches("#import > summary")`)
	b.visit("/people#import")
	b.until("the form to show", `document.getElementById("import").open`)
	b.quiet()
}
