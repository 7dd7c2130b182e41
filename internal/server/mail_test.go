package server_test

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/weftest"
)

// mailing starts a server that sends e-mails through a post office, with a person
// who has an address there.
func mailing(t *testing.T, choice string) (*weftest.PostOffice, *weftest.Person) {
	t.Helper()
	o := weftest.OpenPostOffice(t, mail.Plain, "")
	p := weftest.Start(t, func(c *config.Config) {
		c.Mail.Host, c.Mail.Port, c.Mail.TLS, c.Mail.From = "127.0.0.1", o.Port, mail.Plain, "Weft <weft@here.example>"
		c.Mail.DailyAt = "07:00"
	}).Person("alice")
	if _, err := p.Server.Accounts.Update(t.Context(), p.User.ID, account.Change{Email: new("alice@post.example")}); err != nil {
		t.Fatal(err)
	}
	p.API("PATCH", "/me", map[string]any{"mail": choice}, nil)
	return o, p
}

// pass lets time pass and sends what is due.
func pass(t *testing.T, p *weftest.Person, d time.Duration) {
	t.Helper()
	p.Advance(d)
	if err := p.Server.Notices.SendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// read is an e-mail with its subject and its text.
func read(t *testing.T, message string) (subject, text, html string) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	if subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return subject, text, html
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			html = string(b)
		} else {
			text = strings.ReplaceAll(string(b), "\r\n", "\n")
		}
	}
}

// share has someone on the same server share files with the person.
func shareFrom(t *testing.T, p *weftest.Person, names ...string) {
	t.Helper()
	for _, name := range names {
		p.Put(name, "x")
		p.Share(name, "alice")
	}
}

func TestNoticesGoByEMailAtOnce(t *testing.T) {
	t.Parallel()
	o, alice := mailing(t, "at-once")
	bob := alice.Site.Person("bob")
	if err := alice.Server.Accounts.SetLanguage(t.Context(), alice.User.ID, "de"); err != nil {
		t.Fatal(err)
	}
	shareFrom(t, bob, "Übung.txt")
	pass(t, alice, 0)
	if n := len(o.Messages()); n != 0 {
		t.Errorf("%d e-mails before anything else could be gathered", n)
	}
	pass(t, alice, 11*time.Second)
	if o.To()[0] != "alice@post.example" || len(o.Messages()) != 1 {
		t.Fatalf("%v", o.To())
	}
	subject, text, html := read(t, o.Messages()[0])
	if subject != "Bob ("+bob.Address+") hat „Übung.txt“ mit Ihnen geteilt." || !strings.Contains(text, alice.Origin+"/inbox") || !strings.Contains(text, alice.Origin+"/settings") || !strings.Contains(html, `<html lang="de">`) {
		t.Errorf("%q\n%s\n%s", subject, text, html)
	}
	// The next waits, and tells of all that came meanwhile; what was read is not
	// told.
	shareFrom(t, bob, "a.txt", "b.txt", "c.txt")
	alice.API("POST", "/notices/"+alice.Notices()[0].ID+"/read", nil, nil)
	pass(t, alice, time.Minute)
	if n := len(o.Messages()); n != 1 {
		t.Errorf("%d e-mails within a minute", n)
	}
	pass(t, alice, 10*time.Minute)
	if n := len(o.Messages()); n != 2 {
		t.Fatalf("%d e-mails", n)
	}
	if subject, text, _ := read(t, o.Messages()[1]); subject != "2 neue Mitteilungen auf Test" || !strings.Contains(text, "a.txt") || !strings.Contains(text, "b.txt") || strings.Contains(text, "c.txt") {
		t.Errorf("%q\n%s", subject, text)
	}
	// All of it read, none is sent; nor to who wants none any more.
	shareFrom(t, bob, "d.txt")
	alice.API("POST", "/notices/read", nil, nil)
	pass(t, alice, time.Hour)
	shareFrom(t, bob, "e.txt")
	alice.API("PATCH", "/me", map[string]any{"mail": "never"}, nil)
	pass(t, alice, time.Hour)
	shareFrom(t, bob, "f.txt")
	pass(t, alice, time.Hour)
	if n := len(o.Messages()); n != 2 {
		t.Errorf("%d e-mails", n)
	}
	if n, err := alice.Server.DB.Read.NewSelect().Table("mails").Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d e-mails wait, %v", n, err)
	}
}

func TestNoticesGoByEMailOnceADay(t *testing.T) {
	t.Parallel()
	o, alice := mailing(t, "daily")
	bob := alice.Site.Person("bob")
	now := alice.Now() // to shortly after midnight
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 1, 0, 0, now.Location())
	alice.Advance(midnight.Sub(now))
	shareFrom(t, bob, "a.txt", "b.txt")
	pass(t, alice, 6*time.Hour)
	if n := len(o.Messages()); n != 0 {
		t.Errorf("%d e-mails before seven", n)
	}
	shareFrom(t, bob, "c.txt")
	pass(t, alice, time.Hour)
	if n := len(o.Messages()); n != 1 {
		t.Fatalf("%d e-mails", n)
	}
	if subject, text, _ := read(t, o.Messages()[0]); subject != "3 notices of the day on Test" || strings.Count(text, "* Bob") != 3 {
		t.Errorf("%q\n%s", subject, text)
	}
	pass(t, alice, 24*time.Hour)
	if n := len(o.Messages()); n != 1 {
		t.Errorf("%d e-mails, the last about nothing", n)
	}
}

func TestAnEMailIsTriedAgainAndGivenUp(t *testing.T) {
	t.Parallel()
	o, alice := mailing(t, "at-once")
	bob := alice.Site.Person("bob")
	o.Refuse(&smtp.SMTPError{Code: 451, Message: "later"})
	shareFrom(t, bob, "a.txt")
	pass(t, alice, 11*time.Second)
	shareFrom(t, bob, "b.txt") // goes into the one that waits
	pass(t, alice, 10*time.Second)
	if n := len(o.To()); n != 1 {
		t.Errorf("%d attempts within the pause", n)
	}
	o.Refuse(nil)
	pass(t, alice, time.Minute)
	if n := len(o.Messages()); n != 1 {
		t.Fatalf("%d e-mails", n)
	}
	if subject, _, _ := read(t, o.Messages()[0]); subject != "2 new notices on Test" {
		t.Errorf("%q", subject)
	}
	o.Refuse(&smtp.SMTPError{Code: 451, Message: "later"})
	shareFrom(t, bob, "c.txt")
	for range 20 {
		pass(t, alice, 4*time.Hour)
	}
	tried := len(o.To())
	pass(t, alice, 24*time.Hour)
	if n := len(o.To()); n != tried || tried > 16 {
		t.Errorf("%d attempts, %d after giving up", tried, n-tried)
	}
	if page := alice.Browser().Get("/settings"); !strings.Contains(page.Text(), "could not be delivered") {
		t.Error("the settings do not say that e-mails do not arrive")
	}
	// An address that is refused is not tried again.
	o.Refuse(&smtp.SMTPError{Code: 550, Message: "who?"})
	shareFrom(t, bob, "d.txt")
	tried = len(o.To())
	for range 3 {
		pass(t, alice, time.Hour)
	}
	if n := len(o.To()) - tried; n != 1 {
		t.Errorf("%d attempts", n)
	}
	if err := alice.Server.Notices.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.Advance(30 * 24 * time.Hour)
	if err := alice.Server.Notices.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := alice.Server.DB.Read.NewSelect().Table("mails").Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d e-mails are kept, %v", n, err)
	}
}

func TestNoEMailWithoutAnAddressOrAServer(t *testing.T) {
	t.Parallel()
	_, alice := mailing(t, "never")
	bob := alice.Site.Person("bob")
	if a := bob.TryAPI("PATCH", "/me", map[string]any{"mail": "daily"}); a.Status != 409 || a.Code() != "NO_EMAIL_ADDRESS" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := bob.TryAPI("PATCH", "/me", map[string]any{"mail": "hourly"}); a.Status < 400 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	for _, address := range []string{"x", "a@b\r\nBcc: c@d.example", "A <a@b.example>", "a@b.example,c@d.example"} {
		if _, err := alice.Server.Accounts.Update(t.Context(), bob.User.ID, account.Change{Email: new(address)}); err == nil {
			t.Errorf("%q was taken for an address", address)
		}
	}
	plain := weftest.Start(t).Person("carol")
	if err := plain.Server.TestMail(t.Context(), "a@b.example"); err == nil || !strings.Contains(err.Error(), "mail.host") {
		t.Error(err)
	}
}

func TestOldAndTooManyNoticesGo(t *testing.T) {
	t.Parallel()
	site := weftest.Start(t, func(c *config.Config) { c.Notices.Keep = 30 * 24 * time.Hour })
	alice := site.Person("alice")
	type row struct {
		ID, UserID, Kind, Subject, Params, Request, MailID string
		Times, Since, At, ReadAt                           int64
	}
	rows := make([]row, 1010)
	for i := range rows {
		at := site.Now().Add(time.Duration(i) * time.Second).UnixMilli()
		rows[i] = row{ID: fmt.Sprintf("%08d", i), UserID: alice.User.ID, Kind: "accepted", Subject: "s", Params: "{}", Times: 1, Since: at, At: at}
	}
	if _, err := site.Server.DB.Write.NewInsert().Model(&rows).ModelTableExpr("notices").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ahead time.Duration
		want  int64
	}{{0, 1000}, {31 * 24 * time.Hour, 0}} {
		site.Advance(c.ahead)
		if err := site.Server.Notices.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := site.Server.Notices.Unread(t.Context(), alice.User.ID); n != c.want || err != nil {
			t.Errorf("%d notices, %v; want %d", n, err, c.want)
		}
	}
}
