package server_test

import (
	"io"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/weftest"
)

// latest is the last e-mail that a post office took: to whom, and its text.
func latest(t *testing.T, o *weftest.PostOffice) (to, text string) {
	t.Helper()
	all, messages := o.To(), o.Messages()
	if len(messages) == 0 {
		t.Fatal("no e-mail")
	}
	m, err := netmail.ReadMessage(strings.NewReader(messages[len(messages)-1]))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return all[len(all)-1], strings.ReplaceAll(string(b), "\r\n", "\n")
}

var confirmLink = regexp.MustCompile(`http\S+(/confirm-email\?token=[A-Z0-9]+)`)

// linkIn is the path of the link in the last e-mail.
func linkIn(t *testing.T, o *weftest.PostOffice) string {
	t.Helper()
	_, text := latest(t, o)
	m := confirmLink.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no link in %s", text)
	}
	return m[1]
}

func confirmToken(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("token")
}

func TestAnEMailAddressIsChangedOnceItIsConfirmed(t *testing.T) {
	t.Parallel()
	o, alice := mailing(t, "never")
	email := func() string {
		u, err := alice.Server.Accounts.Get(t.Context(), alice.User.ID)
		if err != nil {
			t.Fatal(err)
		}
		return u.Email
	}
	stays := func(what, address string) {
		t.Helper()
		if e := email(); e != address {
			t.Fatalf("after %s the address is %q", what, e)
		}
	}
	b, elsewhere := alice.Browser(), weftest.NewBrowser(t, alice.Origin)
	page(t, b.Get("/settings"), 200, "alice@post.example", "New e-mail address")
	page(t, b.Post("/settings/email", "email", " new@post.example "), 200, "A confirmation is on its way to new@post.example", "new@post.example is not confirmed yet")
	stays("asking", "alice@post.example")
	to, text := latest(t, o)
	if to != "new@post.example" || !strings.Contains(text, "The account “alice”") {
		t.Errorf("to %s: %s", to, text)
	}

	// Looking at the link changes nothing: mail programs do so by themselves.
	link := linkIn(t, o)
	page(t, elsewhere.Get(link), 200, "Confirm an e-mail address", "new@post.example", "Confirm this address")
	stays("looking", "alice@post.example")
	if p := elsewhere.PostFrom("https://evil.example", "/confirm-email", "token", confirmToken(t, link)); p.Status != 403 {
		t.Errorf("another site's page confirms: %d", p.Status)
	}
	page(t, elsewhere.Post("/confirm-email", "token", "AAAA"), 410, "This link was used")
	stays("what others try", "alice@post.example")

	// It is confirmed where the e-mail is read, without a session there.
	page(t, elsewhere.Post("/confirm-email", "token", confirmToken(t, link)), 200, "The e-mail address of Alice is new@post.example now", "Sign in")
	stays("confirming", "new@post.example")
	page(t, elsewhere.Post("/confirm-email", "token", confirmToken(t, link)), 410, "This link was used")
	page(t, elsewhere.Get(link), 410, "Ask for a new confirmation in the settings")
	without(t, b.Get("/settings"), "is not confirmed yet")

	// The old address is told, again if its server takes nothing at first, and once.
	o.Refuse(&smtp.SMTPError{Code: 451, Message: "later"})
	pass(t, alice, 0)
	o.Refuse(nil)
	sent := len(o.Messages())
	pass(t, alice, 2*time.Hour)
	if to, text := latest(t, o); to != "alice@post.example" || !strings.Contains(text, "It now uses new@post.example") || len(o.Messages()) != sent+1 {
		t.Errorf("to %s: %s", to, text)
	}
	pass(t, alice, 2*time.Hour)
	if len(o.Messages()) != sent+1 {
		t.Error("the old address is told twice")
	}
}

func TestLinksThatConfirmNothing(t *testing.T) {
	t.Parallel()
	o, alice := mailing(t, "never")
	b := alice.Browser()
	ask := func(email string) string {
		t.Helper()
		page(t, b.Post("/settings/email", "email", email), 200, "A confirmation is on its way to "+email)
		return linkIn(t, o)
	}
	dead := func(what, link string) {
		t.Helper()
		page(t, b.Post("/confirm-email", "token", confirmToken(t, link)), 410)
		if u, err := alice.Server.Accounts.Get(t.Context(), alice.User.ID); err != nil || strings.HasPrefix(u.Email, "new") {
			t.Fatalf("a link that %s changed the address to %s, %v", what, u.Email, err)
		}
	}
	first := ask("new1@post.example")
	second := ask("new2@post.example")
	dead("was replaced", first)
	page(t, b.Post("/settings/email/withdraw"), 200, "Your e-mail address stays as it is")
	dead("was withdrawn", second)
	old := ask("new3@post.example")
	alice.Advance(25 * time.Hour)
	dead("is too old", old)
	overtaken := ask("new4@post.example")
	if _, err := alice.Server.Accounts.Update(t.Context(), alice.User.ID, account.Change{Email: new("other@post.example")}); err != nil {
		t.Fatal(err)
	}
	dead("an administrator overtook", overtaken)

	sent := len(o.To())
	for _, bad := range []string{"", "x", "a@b.example, c@d.example", "A <a@b.example>", "a@b.example\r\nBcc: c@d.example"} {
		page(t, b.Post("/settings/email", "email", bad), 400, "That is not an e-mail address")
	}
	page(t, b.Post("/settings/email", "email", "other@post.example"), 409, "That is your e-mail address already")
	if len(o.To()) != sent {
		t.Error("an e-mail was sent all the same")
	}
	o.Refuse(&smtp.SMTPError{Code: 550, Message: "no such mailbox"})
	without(t, page(t, b.Post("/settings/email", "email", "new5@post.example"), 503, "The confirmation could not be sent"), "is not confirmed yet")
	o.Refuse(nil)
	// Others' mailboxes are not filled: the next of an hour is refused.
	for range 3 {
		ask("new6@post.example")
	}
	page(t, b.Post("/settings/email", "email", "new7@post.example"), 429, "Several confirmations were asked for within the hour")
	if err := alice.Server.Notices.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	page(t, b.Get("/settings"), 200, "new6@post.example is not confirmed yet")
	alice.Advance(8 * 24 * time.Hour)
	if err := alice.Server.Notices.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := alice.Server.DB.Read.NewSelect().Table("email_changes").Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d rows stay, %v", n, err)
	}
}

func TestWithoutEMailsAnAdministratorSetsTheAddress(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	b := alice.Browser()
	without(t, page(t, b.Get("/settings"), 200, "This server sends no e-mails", "an administrator enters and changes it"), "Send a confirmation")
	page(t, b.Post("/settings/email", "email", "new@post.example"), 409, "This server sends no e-mails")
}
