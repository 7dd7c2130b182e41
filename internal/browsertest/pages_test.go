package browsertest

import (
	"testing"

	"github.com/weft-mesh/weft/internal/weftest"
)

func TestPagesOfVisitors(t *testing.T) {
	chrome(t)
	site := weftest.Start(t)
	b := open(t, site.Origin)
	for _, path := range []string{"/", "/login", "/wayf?token=aaaaaaaaaaaaaaaaaaaaaaaa", "/accept-invite?token=aaaaaaaaaaaaaaaaaaaaaaaa&providerDomain=" + string(site.Host)} {
		t.Run(path, func(t *testing.T) {
			b.t = t
			b.inspect(path)
			b.quiet()
		})
	}
	b.t = t
}

func TestPagesOfPeople(t *testing.T) {
	chrome(t)
	site := weftest.Start(t)
	alice := site.Person("alice")
	alice.API("POST", "/contacts", map[string]any{"address": "a.very.long.name.that.goes.on.and.on@a-rather-long-subdomain.of.an.institution.example", "name": "Eve Example", "labels": []string{"reef"}, "note": "met in Brest"}, nil)
	alice.API("POST", "/invites", map[string]any{"email": "someone@elsewhere.example", "note": "For the survey"}, nil)
	b := open(t, site.Origin)
	b.signIn(alice)
	for _, path := range []string{"/people", "/people/new", "/people/invite", "/people/invites", "/people/accept"} {
		t.Run(path, func(t *testing.T) {
			b.t = t
			b.inspect(path)
			b.quiet()
		})
	}
	b.t = t
}
