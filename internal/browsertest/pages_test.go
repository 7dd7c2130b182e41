package browsertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/internal/wire"
)

func TestPagesOfVisitors(t *testing.T) {
	chrome(t)
	site := weftest.Start(t)
	b := open(t, site.Origin)
	b.inspectEach("/", "/login", "/wayf?token=aaaaaaaaaaaaaaaaaaaaaaaa", "/accept-invite?token=aaaaaaaaaaaaaaaaaaaaaaaa&providerDomain="+string(site.Host))
}

func TestPagesOfPeople(t *testing.T) {
	chrome(t)
	site := weftest.Start(t)
	alice := site.Person("alice")
	alice.API("POST", "/contacts", map[string]any{"address": "a.very.long.name.that.goes.on.and.on@a-rather-long-subdomain.of.an.institution.example", "name": "Eve Example", "labels": []string{"reef"}, "note": "met in Brest"}, nil)
	alice.API("POST", "/invites", map[string]any{"email": "someone@elsewhere.example", "note": "For the survey"}, nil)
	b := open(t, site.Origin)
	b.signIn(alice)
	b.inspectEach("/people", "/people/new", "/people/invite", "/people/invites", "/people/accept")
}

func TestPagesOfNoticesAndSettings(t *testing.T) {
	chrome(t)
	o := weftest.OpenPostOffice(t, mail.Plain, "")
	site := weftest.Start(t, func(c *config.Config) {
		c.Mail.Host, c.Mail.Port, c.Mail.TLS, c.Mail.From = "127.0.0.1", o.Port, mail.Plain, "Weft <weft@here.example>"
	})
	alice, bob := site.Person("alice"), site.Person("bob")
	if _, err := site.Server.Accounts.Update(t.Context(), alice.User.ID, account.Change{Email: new("alice@post.example")}); err != nil {
		t.Fatal(err)
	}
	bob.Put("Reef survey with a name that goes on and on and on/a.txt", "a")
	bob.API("POST", "/shares", map[string]any{"path": "Reef survey with a name that goes on and on and on", "with": "alice", "message": "Please look at page 3."}, nil)
	alice.Put("a.txt", "a")
	alice.Share("a.txt", "nobody@"+string(weftest.Start(t).Host))
	alice.Told("delivery-failed")
	alice.API("POST", "/notices/"+alice.Told("share-received").ID+"/read", nil, nil)
	// An address waits to be confirmed, which its owner does from the e-mail.
	if p := alice.Browser().Post("/settings/email", "email", "alice@new.example"); p.Status != 200 {
		t.Fatalf("%d %s", p.Status, p.Text())
	}
	letter := strings.ReplaceAll(o.Messages()[len(o.Messages())-1], "=\r\n", "")
	_, token, _ := strings.Cut(letter, "/confirm-email?token=3D")
	token, _, _ = strings.Cut(token, "\r\n")
	b := open(t, site.Origin)
	b.signIn(alice)
	b.inspectEach("/notices", "/notices?show=unread", "/settings", "/confirm-email?token="+token)
}

func TestPagesOfOperators(t *testing.T) {
	chrome(t)
	north, south := weftest.Start(t), weftest.Start(t)
	olga, bob := north.Person("olga"), south.Person("bob")
	if _, err := north.Server.Accounts.Update(t.Context(), olga.User.ID, account.Change{Role: new(account.RoleAdmin)}); err != nil {
		t.Fatal(err)
	}
	olga.Befriend(bob)
	olga.Put("a text with a name that goes on and on and does not come to an end soon, as names of reports do.txt", "x")
	olga.Share("a text with a name that goes on and on and does not come to an end soon, as names of reports do.txt", bob.Address)
	bob.Accept("a text with a name that goes on and on and does not come to an end soon, as names of reports do.txt")
	olga.Put("b.txt", "x")
	olga.Share("b.txt", "nobody@nowhere.invalid")
	olga.API("POST", "/groups", map[string]any{"name": "staff", "displayName": "All who work here"}, nil)
	olga.API("PUT", "/policy/rules", map[string]any{"host": "*.spam.example", "action": "deny", "note": "reported by three people"}, nil)
	b := open(t, north.Origin)
	b.signIn(olga)
	b.inspectEach(
		"/admin", "/admin/users", "/admin/new-user", "/admin/users/olga", "/admin/groups", "/admin/groups/staff", "/admin/peers", "/admin/peers/"+string(south.Host), "/admin/policy",
		"/admin/shares", "/admin/deliveries", "/admin/wire", "/admin/audit", "/admin/config",
	)
	// Others have longer words.
	var decided string
	weftest.Until(t, "the acceptance is on the wire", func() bool {
		list, err := north.Server.OnTheWire(t.Context(), wire.Filter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(x server.ExchangeView) bool { return x.Direction == "in" && x.Operation != "/ocm/invite-accepted" })
		if i >= 0 {
			decided = list[i].ID
		}
		return i >= 0
	})
	for _, lang := range []string{"de", "fr", "es"} {
		if err := north.Server.Accounts.SetLanguage(t.Context(), olga.User.ID, lang); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/admin", "/admin/peers/" + string(south.Host), "/admin/policy", "/admin/audit", "/admin/config", "/admin/wire/" + decided} {
			t.Run(lang+path, func(t *testing.T) {
				b.t = t
				b.fits(path)
				b.quiet()
			})
		}
	}
	b.t = t
}
