package server_test

import (
	"bytes"
	"fmt"
	"image/color"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/weftest"
)

// sendFiles uploads by the form; files holds pairs of name and content.
func sendFiles(b *weftest.Browser, to, site string, files ...string) weftest.Page {
	b.T.Helper()
	return sendForm(b, "/upload", site, to, files...)
}

// sendForm sends a form with files.
func sendForm(b *weftest.Browser, path, site, to string, files ...string) weftest.Page {
	b.T.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("to", to)
	for i := 0; i+1 < len(files); i += 2 {
		part, err := form.CreateFormFile("file", files[i])
		if err != nil {
			b.T.Fatal(err)
		}
		part.Write([]byte(files[i+1]))
	}
	form.Close()
	req, err := http.NewRequest("POST", b.Origin+path, &body)
	if err != nil {
		b.T.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Sec-Fetch-Site", site)
	resp, err := b.HTTP.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	out.ReadFrom(resp.Body)
	return weftest.Page{Status: resp.StatusCode, Path: resp.Request.URL.RequestURI(), Header: resp.Header, Body: out.String()}
}

// shows fails unless a page is there and has a text.
func shows(t *testing.T, what string, p weftest.Page, texts ...string) {
	t.Helper()
	if p.Status != 200 {
		t.Fatalf("%s: %d %s", what, p.Status, p.Text())
	}
	for _, text := range texts {
		if !strings.Contains(p.Text(), text) {
			t.Errorf("%s: no %q on %s:\n%s", what, text, p.Path, p.Text())
		}
	}
}

func TestFilesAreKeptInABrowserWithoutScript(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	b := alice.Browser()
	shows(t, "an empty home", b.Get("/files/"), "Shared with me")
	shows(t, "a new folder", b.Post("/folder", "in", "", "name", "Reef"), "The folder “Reef” is there.")
	shows(t, "an upload", sendFiles(b, "Reef", "same-origin", "a.txt", "first", "b.txt", "second"), "2 files are uploaded.", "a.txt", "b.txt")
	shows(t, "one of the same name", sendFiles(b, "Reef", "same-origin", "a.txt", "third"), "“a (2).txt” is uploaded.")
	if alice.Get("Reef/a.txt") != "first" || alice.Get("Reef/a (2).txt") != "third" {
		t.Error("an upload replaced what was there")
	}
	renamed := b.Post("/rename", "path", "Reef/a.txt", "name", "ä & b.txt")
	shows(t, "a new name", renamed, "“a.txt” is now called “ä &amp; b.txt”.", "Undo")
	shows(t, "the old one again", b.Post("/rename", "path", "Reef/ä & b.txt", "name", "a.txt"), "a.txt")
	if p := b.Post("/rename", "path", "Reef/a.txt", "name", "b.txt"); p.Status != 409 || !strings.Contains(p.Text(), "Something of that name is there already") {
		t.Errorf("a name that is taken: %d %s", p.Status, p.Text())
	}
	if p := b.Post("/rename", "path", "Reef/a.txt", "name", "../x"); p.Status != 400 {
		t.Errorf("a name that leads out: %d %s", p.Status, p.Text())
	}
	b.Post("/folder", "in", "", "name", "Other")
	shows(t, "where to move", b.Get("/move?path=Reef/a.txt&path=Reef/b.txt&to="), "Move or copy 2 things", "Other", "Move here")
	shows(t, "a move", b.Post("/move", "mode", "move", "path", "Reef/a.txt", "path", "Reef/b.txt", "to", "Other"), "2 entries are now in “Other”.", "a.txt", "Undo")
	shows(t, "a copy beside itself", b.Post("/move", "mode", "copy", "path", "Other/a.txt", "to", "Other"), "a (2).txt")
	deleted := b.Post("/delete", "path", "Other/a.txt", "path", "Other/b.txt", "from", "/files/Other?sort=size")
	shows(t, "a deletion", deleted, "2 entries are in the trash.", "Undo")
	if deleted.Path != "/files/Other?sort=size" {
		t.Errorf("it leads to %s", deleted.Path)
	}
	ids := regexp.MustCompile(`name="id" value="([^"]+)"`).FindAllStringSubmatch(deleted.Body, -1)
	shows(t, "undone", b.Post("/trash/restore", "id", ids[0][1], "id", ids[1][1], "next", "/files/Other"), "2 entries are back.", "b.txt")
	shows(t, "nothing chosen", b.Post("/delete", "from", "/files/Other"), "Nothing is chosen.")
	b.Post("/delete", "only", "Other/b.txt", "path", "Other/a.txt")
	shows(t, "only the one of the button", b.Get("/files/Other"), "a.txt")
	trash := b.Get("/trash")
	shows(t, "the trash", trash, "b.txt", "Other", "for 30 days")
	shows(t, "emptied", b.Post("/trash/empty"), "Deleted for good: 1", "The trash is empty.")
	shows(t, "found", b.Get("/search?q=TXT"), "3 found", "a (2).txt")
	shows(t, "not found", b.Get("/search?q=nothing"), "Nothing has all these words in its name.")
	if p := b.Get("/files/nowhere"); p.Status != 404 {
		t.Errorf("what is not there: %d", p.Status)
	}
	if p := weftest.NewBrowser(t, alice.Origin).Get("/files/Reef"); p.Path != "/login?next=%2Ffiles%2FReef" {
		t.Errorf("who is not signed in is led to %s", p.Path)
	}
}

func TestPagesOfOtherSitesChangeNoFiles(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("a", "a")
	id := remove(alice, "a").TrashID
	alice.Put("b", "b")
	b := alice.Browser()
	for _, form := range [][]string{
		{"/delete", "path", "b"}, {"/rename", "path", "b", "name", "c"}, {"/folder", "name", "d"}, {"/move", "path", "b", "to", "", "mode", "copy"},
		{"/trash/restore", "id", id}, {"/trash/purge", "id", id}, {"/trash/empty"}, {"/upload/cancel", "id", "x"},
	} {
		if p := b.PostFrom("https://evil.example", form[0], form[1:]...); p.Status != 403 {
			t.Errorf("%s: %d", form[0], p.Status)
		}
	}
	if p := sendFiles(b, "", "cross-site", "e", "e"); p.Status != 403 {
		t.Errorf("an upload: %d", p.Status)
	}
	var list struct{ Entries []struct{ Name string } }
	if alice.API("GET", "/files", nil, &list); len(list.Entries) != 2 || trashOf(alice).Count != 1 {
		t.Errorf("left: %v, %v", list, trashOf(alice))
	}
}

func TestNamesAndTextsAreShownAsTheyAre(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	evil := `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	alice.Put("d/"+strings.ReplaceAll(evil, "/", "")+".txt", evil)
	alice.Put("d/"+strings.ReplaceAll(evil, "/", "")+".md", "# Title\n\n"+evil+"\n\n[x](javascript:alert(1)) ![y](https://evil.example/y.gif)")
	alice.Put("d/page.html", evil)
	alice.Put("d/a%2Fb?c#d.txt", "odd")
	alice.Share("d", bob.Address, "read")
	bob.Accept("d")
	b, c := alice.Browser(), bob.Browser()
	pages := []weftest.Page{b.Get("/files/d"), b.Get("/files/d?sort=" + evil[:2]), c.Get("/files/Shared%20with%20me/d"), b.Get("/search?q=script"), b.Get("/files/d/page.html")}
	for _, m := range regexp.MustCompile(`class="entry" href="([^"]+)"`).FindAllStringSubmatch(pages[0].Body, -1) {
		p := b.Get(strings.ReplaceAll(m[1], "&#43;", "+"))
		if p.Status != 200 {
			t.Errorf("%s: %d", m[1], p.Status)
		}
		pages = append(pages, p)
	}
	if len(pages) != 9 {
		t.Errorf("%d pages", len(pages))
	}
	alice.DAV("DELETE", "d", "")
	pages = append(pages, b.Get("/trash"), b.Post("/rename", "path", evil, "name", evil))
	for _, p := range pages {
		for _, bad := range []string{"<script>alert", "<img src=x", `href="javascript`, `src="https://evil`, "onerror=alert(1)>"} {
			if strings.Contains(p.Body, bad) {
				t.Errorf("%s holds %s", p.Path, bad)
			}
		}
		if csp := p.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %s", p.Path, csp)
		}
		if strings.Contains(p.Body, " style=") {
			t.Errorf("%s has styles that its policy forbids", p.Path)
		}
	}
}

func TestActiveFilesAreNotRun(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	b := alice.Browser()
	for name, attachment := range map[string]bool{"a.html": true, "a.svg": true, "a.js": true, "a.xml": true, "a.xhtml": true, "a.pdf": true, "a.txt": false, "a.png": false} {
		alice.Put(name, "<script>alert(1)</script>")
		for _, view := range []string{"", "?view"} {
			p := b.Get("/api/v1/content/" + name + view)
			h := p.Header
			pdf := name == "a.pdf" && view != ""
			if got := h.Get("Content-Disposition") == "attachment"; got != (attachment && !pdf) || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s%s: %v", name, view, h)
			}
			if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !pdf && !strings.HasPrefix(csp, "sandbox;") {
				t.Errorf("%s%s: policy %s", name, view, csp)
			}
		}
	}
	shows(t, "a text", b.Get("/files/a.html"), "&lt;script&gt;alert(1)&lt;/script&gt;")
	if p := b.Get("/files/a.svg"); !strings.Contains(p.Body, `<img src="/api/v1/content/a.svg"`) {
		t.Errorf("an SVG is not shown as an image: %s", p.Body)
	}
}

func TestALargeFolderIsQuickAndPaged(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	alice.Put("big/file 10000.txt", "x")
	dir := filepath.Join(alice.Config.StoragePath(), alice.User.ID, "files", "big")
	for i := range 9999 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file %d.txt", i+1)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := alice.Browser()
	first := b.Get("/files/big")
	names := regexp.MustCompile(`<span class="name">([^<]+)<`).FindAllStringSubmatch(first.Body, -1)
	if shows(t, "the first page", first, "10,000 entries", "Page 1 of 100"); len(names) != 100 || names[1][1] != "file 2.txt" || names[9][1] != "file 10.txt" {
		t.Errorf("the first page has %d: %v", len(names), names)
	}
	shows(t, "the last page", b.Get("/files/big?page=100"), "file 10000.txt")
	shows(t, "the largest first", b.Get("/files/big?sort=size&desc=1"), "file 10000.txt")
	if len(first.Body) > 600<<10 {
		t.Errorf("a page has %d bytes before compression", len(first.Body))
	}
	var took []time.Duration
	for range 5 {
		begin := time.Now()
		b.Get("/files/big?page=50")
		took = append(took, time.Since(begin))
	}
	t.Logf("%d bytes; a page takes %v", len(first.Body), took)
	// The bar is 50 ms on a quiet machine; this only finds what is far from it.
	if slices.Min(took) > weftest.Slow*500*time.Millisecond {
		t.Errorf("a page takes %v", took)
	}
}

func TestAFolderElsewhereThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/deep/a.txt", "a")
	alice.Put("Reef/b.jpg", photo(t, 50, 50, color.Black))
	alice.Share("Reef", bob.Address, "read", "write")
	bob.Accept("Reef")
	b := bob.Browser()
	shows(t, "the shares", b.Get("/files/Shared%20with%20me"), "Reef", alice.Address)
	here := b.Get("/files/Shared%20with%20me/Reef")
	shows(t, "the folder", here, "Shared with you by "+alice.Address, "deep", "b.jpg", "This lies on another server")
	shows(t, "a file in it", b.Get("/files/Shared%20with%20me/Reef/b.jpg"), "Shared with you by "+alice.Address)
	if !strings.Contains(here.Body, "/api/v1/thumbnails/Shared%20with%20me/Reef/b.jpg?size=64") {
		t.Error("no small picture of a received image")
	}
	alice.Stop()
	bob.Advance(time.Minute)
	p := b.Get("/files/Shared%20with%20me/Reef")
	shows(t, "what was seen of it", p, "This cannot be reached just now.", "Unavailable since", "when it was last seen", "deep", "b.jpg")
	if strings.Contains(p.Body, "/delete") || strings.Contains(p.Body, "/upload\"") {
		t.Error("a folder that cannot be reached offers changes")
	}
	shows(t, "what was never seen", b.Get("/files/Shared%20with%20me/Reef/deep"), "What it holds is not known here.")
	shows(t, "the shares", b.Get("/files/Shared%20with%20me"), "unavailable since")
	shows(t, "left", b.Post("/delete", "only", "Shared with me/Reef"), "You have left “Reef”.")
	if p := b.Get("/files/Shared%20with%20me/Reef"); p.Status != 404 {
		t.Errorf("after leaving: %d", p.Status)
	}
}

func TestAnUploadThatBrokeOffIsTold(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("box/a", "a")
	created := begin(alice, "box/film.mp4", 100)
	want(t, "the beginning", created, 201)
	want(t, "a piece", alice.Do("PATCH", created.Header.Get("Location"), "12345", "Content-Type", "application/partial-upload", "Upload-Offset", "0", "Upload-Complete", "?0"), 204)
	b := alice.Browser()
	shows(t, "the folder, at once", b.Get("/files/box"), "The upload of “film.mp4” was interrupted at 5 B of 100 B", "Choose the same file again", "Give up")
	if p := b.Get("/files/"); strings.Contains(p.Text(), "film.mp4") {
		t.Error("another folder tells of it")
	}
}

func TestWhatIsOpenedIsAskedForAnewEachTime(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	alice.Put("a.txt", "a")
	if p := alice.Browser().Get("/api/v1/content/a.txt"); p.Header.Get("Cache-Control") != "private, no-cache" || p.Header.Get("ETag") == "" {
		t.Errorf("browsers and proxies may keep it: %v", p.Header)
	}
}

func TestMakingAFolderLeadsIntoIt(t *testing.T) {
	t.Parallel()
	b := weftest.Start(t).Person("alice").Browser()
	shows(t, "the first page", b.Get("/files/"), "Nothing of yours is here yet.", "Upload something, or drop files and folders here.")
	p := b.Post("/folder", "in", "", "name", "Übung")
	if shows(t, "made", p, "The folder “Übung” is there."); strings.Contains(p.Text(), "Nothing of yours") || !strings.Contains(p.Body, `href="/files/%C3%9Cbung">Open`) {
		t.Errorf("it cannot be opened from there: %s", p.Body)
	}
}

func TestTheFolderOfSharesTellsWhatWaits(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	b := bob.Browser()
	shows(t, "nothing", b.Get("/files/Shared%20with%20me"), "Nobody shares anything with you yet.", "What you accept in the inbox stands here.")
	alice.Put("a.txt", "a")
	alice.Share("a.txt", "bob")
	shows(t, "something waits", b.Get("/files/Shared%20with%20me"), "1 share waits in your inbox.", "Open the inbox")
}

func TestWithoutATrashDeletionIsAskedOnce(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.TrashFor = 0 }).Person("alice")
	alice.Put("a", "a")
	b := alice.Browser()
	shows(t, "the list", b.Get("/files/"), "what is deleted is gone for good. Delete it?")
	p := b.Post("/delete", "path", "a")
	if shows(t, "deleted", p, "“a” is deleted."); strings.Contains(p.Text(), "Undo") {
		t.Error("what is gone can be undone")
	}
}

func TestWhatIsSharedIsMarked(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	alice, bob := site.Person("alice"), site.Person("bob")
	alice.Put("shared/a", "a")
	alice.Put("not shared/a", "a")
	alice.Share("shared", bob.Address, "read")
	b := alice.Browser()
	shows(t, "the list", b.Get("/files/"), "Shared with 1 recipient")
	shows(t, "the folder", b.Get("/files/shared"), "Shared with 1")
	if p := b.Get("/files/not%20shared"); strings.Contains(p.Text(), "Shared with 1") {
		t.Error("what is not shared is marked")
	}
	bob.Accept("shared")
	shows(t, "read only", bob.Browser().Get("/files/"+strings.ReplaceAll(tree.SharedDir, " ", "%20")), "Read only", alice.Address)
}
