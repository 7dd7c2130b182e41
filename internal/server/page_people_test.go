package server_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/weftest"
)

// found is the first group of a pattern in a page.
func found(t *testing.T, page weftest.Page, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(page.Body)
	if m == nil {
		t.Fatalf("no %s on %s: %d %s", pattern, page.Path, page.Status, page.Body)
	}
	return html.UnescapeString(m[1])
}

func TestInvitingWithTwoBrowsers(t *testing.T) {
	t.Parallel()
	north, south := weftest.Start(t), weftest.Start(t)
	alice, bob := north.Person("alice"), south.Person("bob")
	a, b := alice.Browser(), bob.Browser()

	made := a.Post("/people/invite", "email", "bob@south.example", "note", "For the <reef>", "days", "7")
	if made.Status != 200 || !strings.Contains(made.Body, "<svg") || made.Header.Get("Content-Encoding") != "" {
		t.Fatalf("%d %s", made.Status, made.Body)
	}
	invite := found(t, made, `id="string">([^<]+)<`)
	mail := found(t, made, `href="(mailto:[^"]+)"`)
	u, err := url.Parse(mail)
	if err != nil || u.Opaque != "bob@south.example" || !strings.Contains(u.Query().Get("body"), invite) || !strings.Contains(u.Query().Get("body"), "For the <reef>") {
		t.Errorf("%s: %v", mail, err)
	}
	if listed := a.Get("/people/invites"); strings.Contains(listed.Body, invite) || !strings.Contains(listed.Text(), "For the &lt;reef&gt;") {
		t.Error("the list shows the token, or not the note")
	}

	look := b.Post("/people/accept", "invite", invite)
	if look.Status != 200 || !strings.Contains(look.Text(), string(north.Host)) {
		t.Fatalf("%d %s", look.Status, look.Text())
	}
	met := b.Post("/people/accept", "invite", invite, "sure", "1")
	if !regexp.MustCompile(`^/people/[0-9a-f-]{36}$`).MatchString(met.Path) || !strings.Contains(met.Text(), "You and Alice know each other now") {
		t.Fatalf("led to %s: %s", met.Path, met.Text())
	}
	if book := a.Get("/people"); !strings.Contains(book.Text(), "Bob "+bob.Address) {
		t.Error(book.Text())
	}
	if listed := a.Get("/people/invites"); !strings.Contains(listed.Text(), "accepted "+bob.Address) {
		t.Error(listed.Text())
	}

	// The dialog that the Where-Are-You-From page leads to knows who is signed in.
	second := found(t, a.Post("/people/invite", "days", "7"), `token=([^"<]+)<`)
	dialog := b.Get("/accept-invite?" + url.Values{"token": {second}, "providerDomain": {string(north.Host)}}.Encode())
	if strings.Contains(dialog.Body, `type="password"`) || !strings.Contains(dialog.Text(), "You accept as Bob "+bob.Address) {
		t.Error(dialog.Text())
	}
	if done := b.Post("/accept-invite", "token", second, "providerDomain", string(north.Host)); done.Status != 200 || !strings.Contains(done.Text(), "know each other now") {
		t.Error(done.Status, done.Text())
	}
}

func TestAddressBookPages(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t)
	b := site.Person("alice").Browser()

	added := b.Post("/people/new", "address", "eve@there.example", "name", `<script>alert(1)</script>`, "labels", "reef, Travel & more")
	if !strings.Contains(added.Body, "&lt;script&gt;alert(1)") || strings.Contains(added.Body, "<script>alert") || !strings.Contains(added.Text(), "The contact is in your address book.") {
		t.Fatalf("%s: %s", added.Path, added.Body)
	}
	id := strings.TrimPrefix(added.Path, "/people/")
	for _, c := range []struct{ query, rule string }{
		{"/people?q=eve", "by address"}, {"/people?label=Travel+%26+more", "by label"}, {"/people?q=script", "by name"},
	} {
		if p := b.Get(c.query); !strings.Contains(p.Body, "/people/"+id) {
			t.Errorf("not found %s: %s", c.rule, p.Text())
		}
	}
	if p := b.Get("/people?q=nobody"); strings.Contains(p.Body, "/people/"+id) || !strings.Contains(p.Text(), "Nobody fits that.") {
		t.Error(p.Text())
	}
	if p := b.Post("/people/new", "address", "eve@no server", "name", "Kept"); p.Status != 400 || !strings.Contains(p.Body, `value="Kept"`) || !strings.Contains(p.Body, `role="alert"`) {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	saved := b.Post("/people/"+id, "name", "Eve", "email", "eve@there.example", "note", "met in Brest", "labels", "", "blocked", "1")
	if saved.Status != 200 || !strings.Contains(saved.Text(), "Saved.") || !strings.Contains(saved.Text(), "blocked") {
		t.Errorf("%d %s", saved.Status, saved.Text())
	}
	if p := b.Get("/people/invite?for=eve%40there.example"); !strings.Contains(p.Body, `value="eve@there.example"`) {
		t.Errorf("an invite for a contact: %s", p.Body)
	}
	if p := b.Post("/people/"+id, "name", "Eve", "email", "no e-mail", "note", "still here"); p.Status != 400 || !strings.Contains(p.Body, "still here") || !strings.Contains(p.Body, "no e-mail") {
		t.Errorf("%d %s", p.Status, p.Text())
	}
	other := site.Person("oscar").Browser()
	for _, path := range []string{"/people/" + id, "/people/" + id + "/remove"} {
		if p := other.Post(path, "name", "Mine"); strings.Contains(p.Text(), "Saved.") || strings.Contains(p.Text(), "no longer in your address book") {
			t.Errorf("%s of someone else: %d %s", path, p.Status, p.Text())
		}
	}
	if p := b.PostFrom("https://evil.example", "/people/"+id+"/remove"); p.Status != http.StatusForbidden {
		t.Errorf("from another site: %d", p.Status)
	}
	removed := b.Post("/people/"+id+"/remove", "end", "1")
	if removed.Path != "/people" || !strings.Contains(removed.Text(), "eve@there.example is no longer in your address book.") {
		t.Errorf("%s: %s", removed.Path, removed.Text())
	}
	if p := weftest.NewBrowser(t, site.Origin).Get("/people?q=eve"); p.Path != "/login?next=%2Fpeople%3Fq%3Deve" {
		t.Errorf("a stranger is led to %s", p.Path)
	}
}

func TestAnImportTellsWhatItDidNotTake(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	b := alice.Browser()
	card := func(name, more string) string {
		return "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:" + name + "\r\n" + more + "END:VCARD\r\n"
	}
	p := sendForm(b, "/people/import", "same-origin", "", "c.vcf", card("Dora Duck", "EMAIL:dora@mail.example\r\n"))
	if !strings.Contains(p.Text(), "Contacts taken: 0 new, 0 completed. Not taken: 1,") || !strings.Contains(p.Text(), ": Dora Duck") || !strings.Contains(p.Body, `class="notice bad`) {
		t.Errorf("%s", p.Text())
	}
	var many string
	for _, name := range []string{"A", "B", "C", "D", "E", "F"} {
		many += card(name, "")
	}
	p = sendForm(b, "/people/import", "same-origin", "", "c.vcf", many)
	if !strings.Contains(p.Text(), "Not taken: 6,") || !strings.Contains(p.Text(), ": A, B, C, D, E, …") {
		t.Errorf("%s", p.Text())
	}
}
