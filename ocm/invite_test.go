package ocm

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func TestReadInvite(t *testing.T) {
	enc := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct {
		name, in, token string
		provider        Host
	}{
		{"the draft's example", "YTU1YTk2NmUtMTVjMS00Y2I5LWEzOWQtNGU0YzU0Mzk5YmFmQGNsb3VkLmV4YW1wbGUub3Jn", "a55a966e-15c1-4cb9-a39d-4e4c54399baf", "cloud.example.org"},
		{"with padding", base64.URLEncoding.EncodeToString([]byte("tok@a.example")), "tok", "a.example"},
		{"standard base64 with padding", base64.StdEncoding.EncodeToString([]byte("to>k?~@a.example")), "to>k?~", "a.example"},
		{"broken over lines", enc("a-long-token@a.example")[:7] + "\r\n  " + enc("a-long-token@a.example")[7:] + "\n", "a-long-token", "a.example"},
		{"several @", enc("to@k@en@a.example:8443"), "to@k@en", "a.example:8443"},
		{"a scheme before the server", enc("tok@https://A.example/"), "tok", "a.example"},
		{"not encoded", "tok@a.example", "tok", "a.example"},
		{"a link to a WAYF page", "https://a.example/wayf?token=tok", "tok", "a.example"},
		{"a link in angle brackets", "<https://a.example:444/x/wayf?lang=en&token=t%40k>", "t@k", "a.example:444"},
		{"a link to our own dialog", "https://b.example/accept-invite?token=tok&providerDomain=a.example", "tok", "a.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadInvite(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got.Token.Reveal() != c.token || got.Provider != c.provider {
				t.Errorf("read %q at %q", got.Token.Reveal(), got.Provider)
			}
			again, err := ReadInvite(got.InviteString())
			if err != nil || *again != *got {
				t.Errorf("written and read again: %v, %v", again, err)
			}
		})
	}
	for name, in := range map[string]string{
		"nothing":                     " \n",
		"some words":                  "please share with me",
		"base64 of no invite":         enc("hello"),
		"no token":                    enc("@a.example"),
		"no server":                   enc("tok@"),
		"a path behind the server":    enc("tok@a.example/ocm"),
		"a URL with a path inside":    enc("tok@https://a.example/index.php"),
		"another scheme":              enc("tok@ftp://a.example"),
		"a user before the server":    enc("tok@https://u:p@a.example/x"),
		"a control character":         enc("to\x00k@a.example"),
		"a token that hides":          enc("tok\u202e@a.example"),
		"bytes that are no text":      enc("t\xffk@a.example"),
		"a long token":                enc(strings.Repeat("x", 513) + "@a.example"),
		"a very long text":            strings.Repeat("A", 5000),
		"a link without a token":      "https://a.example/wayf",
		"a link of another kind":      "javascript://a.example/?token=x",
		"a link to a server's path":   "https://b.example/?token=x&providerDomain=a.example/evil",
		"a link with a hidden server": "https://b.example/?token=x&providerDomain=a.example%5c@evil.example",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadInvite(in)
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeInviteMalformed || e.Status != 400 {
				t.Errorf("read %+v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "tok@") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestInviteVectors(t *testing.T) {
	run(t, "invite", func(b []byte) (any, error) { return ReadInviteAcceptance(b) })
	run(t, "invite-answer", func(b []byte) (any, error) { return ReadInviteParty(b, "there.example") })
}

func TestDirectoryVectors(t *testing.T) {
	run(t, "directory", func(b []byte) (any, error) { return ReadDirectory(b, false) })
}

func TestADirectoryIsBounded(t *testing.T) {
	entry := `{"url":"https://a.example","displayName":"A"},`
	_, err := ReadDirectory([]byte(`{"federation":"F","servers":[`+strings.Repeat(entry, 100_000)+`{}]}`), false)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeDirectoryInvalid {
		t.Errorf("100,000 servers: %v", err)
	}
	_, err = ReadDirectory([]byte(`{"federation":"F","servers":[`+strings.Repeat(`1,`, MaxDirectoryServers)+`1]}`), false)
	if err == nil || !strings.Contains(err.Error(), "5001 servers") {
		t.Errorf("one too many: %v", err)
	}
	if d, err := ReadDirectory([]byte(`{"federation":"F","servers":[{"url":"http://localhost:80","displayName":"A"}]}`), true); err != nil || d.Servers[0].Host != "localhost" {
		t.Errorf("plain http, for tests: %+v, %v", d, err)
	}
}

func FuzzReadInvite(f *testing.F) {
	f.Add("YTU1YTk2NmUtMTVjMS00Y2I5LWEzOWQtNGU0YzU0Mzk5YmFmQGNsb3VkLmV4YW1wbGUub3Jn")
	f.Add("https://a.example/wayf?token=tok&providerDomain=b.example")
	f.Add("t@k@a.example:8443")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ReadInvite(s)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeInviteMalformed {
				t.Fatalf("an error without its code: %v", err)
			}
			return
		}
		if h, err := ParseHost(string(i.Provider)); err != nil || h != i.Provider {
			t.Errorf("provider %q", i.Provider)
		}
		again, err := ReadInvite(i.InviteString())
		if err != nil || *again != *i {
			t.Errorf("%q at %q does not come back: %v", i.Token.Reveal(), i.Provider, err)
		}
	})
}

func FuzzReadInviteAcceptance(f *testing.F) {
	for _, v := range vectors(f, "invite") {
		f.Add(v.message())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadInviteAcceptance(b)
		if err != nil {
			return
		}
		out, err := a.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ReadInviteAcceptance(out)
		if err != nil || again.InviteParty.UserID != a.InviteParty.UserID || again.Token != a.Token || again.RecipientProvider != a.RecipientProvider {
			t.Errorf("%s does not come back: %v", out, err)
		}
	})
}

func FuzzReadDirectory(f *testing.F) {
	for _, v := range vectors(f, "directory") {
		f.Add(v.message())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ReadDirectory(b, false)
		if err != nil {
			return
		}
		seen := map[Host]bool{}
		for _, s := range d.Servers {
			if h, err := ParseHost(string(s.Host)); err != nil || h != s.Host || seen[h] || !strings.HasPrefix(s.URL, "https://") {
				t.Errorf("took %+v", s)
			}
			seen[s.Host] = true
		}
	})
}
