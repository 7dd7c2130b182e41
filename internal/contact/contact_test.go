package contact

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/ocm"
)

// book is a service with the address book of one person.
func book(t testing.TB) (*Service, account.User) {
	t.Helper()
	db := storetest.Open(t)
	accounts := account.New(db, time.Now, account.Cost{Time: 1, Memory: 8})
	alice, err := accounts.Add(t.Context(), account.NewUser{Name: "alice", DisplayName: "Alice Andersen", Password: "a long password"})
	if err != nil {
		t.Fatal(err)
	}
	return &Service{DB: db, Accounts: accounts, Now: time.Now, Log: slog.New(slog.DiscardHandler), Self: "here.example"}, alice
}

func add(t *testing.T, s *Service, u account.User, address, name string, labels ...string) *Contact {
	t.Helper()
	c, err := s.Add(t.Context(), u, address, Edit{Name: &name, Labels: &labels})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addresses(list []Contact) string {
	var out []string
	for _, c := range list {
		out = append(out, c.Address)
	}
	return strings.Join(out, " ")
}

func TestContactsAreSearched(t *testing.T) {
	s, alice := book(t)
	add(t, s, alice, "bob@there.example", "Bob Müller", "Reef")
	add(t, s, alice, "https://Ann@East.example/", "ann östberg", "reef", "lab")
	add(t, s, alice, "x@y@z.example", "")
	for _, c := range []struct{ query, label, want string }{
		{"", "", "Ann@east.example bob@there.example x@y@z.example"},
		{"MÜLLER", "", "bob@there.example"},
		{"reef öst", "", "Ann@east.example"},
		{"", "REEF", "Ann@east.example bob@there.example"},
		{"bob", "lab", ""},
		{"%", "", ""},
		{"_", "", ""},
	} {
		got, err := s.List(t.Context(), alice.ID, c.query, c.label)
		if c.query == "" && c.label == "" {
			// https:// stands before the name here, and so belongs to it.
			if err != nil || len(got) != 3 {
				t.Errorf("all: %s, %v", addresses(got), err)
			}
			continue
		}
		if err != nil || strings.ReplaceAll(addresses(got), "https://", "") != c.want {
			t.Errorf("%q %q: %s, %v; want %s", c.query, c.label, addresses(got), err, c.want)
		}
	}
	for what, address := range map[string]string{"twice": "bob@there.example", "oneself": "ALICE", "oneself by address": "alice@here.example", "no address": "bob@", "nothing": " "} {
		if _, err := s.Add(t.Context(), alice, address, Edit{}); err == nil {
			t.Errorf("%s was added", what)
		}
	}
	long, many := strings.Repeat("x", 5000), make([]string, 21)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for what, e := range map[string]Edit{"a long name": {Name: &long}, "a long note": {Note: &long}, "many labels": {Labels: &many}, "no e-mail": {Email: &many[3]}} {
		if _, err := s.Add(t.Context(), alice, "new@there.example", e); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

func TestRecipientsAreCompletedFromTheOwnContactsFirst(t *testing.T) {
	s, alice := book(t)
	for _, name := range []string{"bobby", "carol", "under_score"} {
		if _, err := s.Accounts.Add(t.Context(), account.NewUser{Name: name, Password: "a long password"}); err != nil {
			t.Fatal(err)
		}
	}
	add(t, s, alice, "bob@there.example", "Bob")
	add(t, s, alice, "z@there.example", "Zoe bo")
	gone := add(t, s, alice, "bo@gone.example", "Bo")
	blocked := true
	if _, err := s.Change(t.Context(), alice.ID, gone.ID, Edit{Blocked: &blocked}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"bo": "bob@there.example z@there.example bobby@here.example",
		"b":  "bob@there.example z@there.example", // too little to be told of others here
		"al": "", "u_": "", "%%": "", "under_": "under_score@here.example",
	} {
		got, err := s.Complete(t.Context(), alice, text)
		var list []string
		for _, g := range got {
			list = append(list, g.Address)
		}
		if err != nil || strings.Join(list, " ") != want {
			t.Errorf("%q: %v, %v; want %s", text, list, err, want)
		}
	}
}

func TestAnAddressBookComesAndGoesAsFiles(t *testing.T) {
	s, alice := book(t)
	bob := add(t, s, alice, "bob@there.example", "Bob Müller", "Reef", "lab")
	note, email, yes := "line one\nline two, with; signs", "bob@mail.example", true
	if _, err := s.Change(t.Context(), alice.ID, bob.ID, Edit{Note: &note, Email: &email, Trusted: &yes}); err != nil {
		t.Fatal(err)
	}
	add(t, s, alice, "x@y@z.example", "")
	all, _ := s.List(t.Context(), alice.ID, "", "")
	for form, f := range map[string]struct {
		write func(*bytes.Buffer, []Contact) error
		read  func([]byte) ([]Card, error)
	}{
		"JSContact": {func(b *bytes.Buffer, c []Contact) error { return WriteJSContact(b, c) }, ReadJSContact},
		"vCard":     {func(b *bytes.Buffer, c []Contact) error { return WriteVCard(b, c) }, ReadVCard},
	} {
		var file bytes.Buffer
		if err := f.write(&file, all); err != nil {
			t.Fatal(err)
		}
		cards, err := f.read(file.Bytes())
		if err != nil {
			t.Fatalf("%s: %v in %s", form, err, file.String())
		}
		other, carol := book(t)
		done, err := other.Import(t.Context(), carol, cards, false)
		if err != nil || done.Added != 2 || len(done.Skipped) != 0 {
			t.Fatalf("%s: %+v, %v", form, done, err)
		}
		got, _ := other.List(t.Context(), carol.ID, "bob@there", "")
		if len(got) != 1 || got[0].Name != "Bob Müller" || got[0].Email != email || got[0].Note != note || !slices.Equal(got[0].LabelList(), []string{"Reef", "lab"}) {
			t.Errorf("%s brought %+v", form, got)
		}
		if got[0].Trusted || got[0].Invited {
			t.Errorf("%s: a file made someone trusted", form)
		}
		if done, err := other.Import(t.Context(), carol, cards, true); err != nil || done.Added != 0 || done.Updated != 2 {
			t.Errorf("%s again: %+v, %v", form, done, err)
		}
		got, _ = other.List(t.Context(), carol.ID, "bob@there", "")
		if got[0].Trusted != (form == "JSContact") {
			t.Errorf("%s with trust: %v", form, got[0].Trusted)
		}
	}
}

func TestFilesOfOthersAreRead(t *testing.T) {
	s, alice := book(t)
	js := `{"@type":"Card","version":"1.0","uid":"urn:uuid:22B2C7DF-9120-4969-8460-05956FE6B065","name":{"components":[{"kind":"given","value":"Ann"},{"kind":"surname","value":"Lee"}]},
	 "phones":{"p":{"number":"1"}},"ietf.org:ocmAddresses":{"primary":{"@type":"ocmAddress","address":"ann@one.example","source":"invite","trusted":true},
	 "work":{"address":"ann@https://two.example/","label":"work"},"bad":{"address":"nobody"}}}`
	cards, err := ReadJSContact([]byte(js))
	if err != nil {
		t.Fatal(err)
	}
	done, err := s.Import(t.Context(), alice, cards, false)
	if err != nil || done.Added != 3 || len(done.Skipped) != 0 { // "nobody" could be someone here
		t.Fatalf("%+v, %v", done, err)
	}
	got, _ := s.List(t.Context(), alice.ID, "two.example work", "")
	if len(got) != 1 || got[0].Name != "Ann Lee" {
		t.Errorf("%+v", got)
	}
	if one, _ := s.List(t.Context(), alice.ID, "one.example", ""); one[0].Source != SourceDirect || one[0].Invited {
		t.Errorf("a file says that an invite was exchanged: %+v", one)
	}
	vcards := "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ben\r\nCLOUD;TYPE=HOME:ben@three.example\r\nCATEGORIES:a,b\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:3.0\r\nFN:No Address\r\nEND:VCARD\r\n"
	if cards, err = ReadVCard([]byte(vcards)); err != nil || len(cards) != 2 {
		t.Fatalf("%+v, %v", cards, err)
	}
	if done, err = s.Import(t.Context(), alice, cards, false); err != nil || done.Added != 1 || len(done.Skipped) != 1 || !strings.Contains(done.Skipped[0], "No Address: has no OCM Address") {
		t.Errorf("%+v, %v", done, err)
	}
	for what, file := range map[string]string{
		"nothing": "", "a page": "<html>", "another type": `{"@type":"Group"}`, "a name twice": `{"@type":"Card","uid":"a","uid":"b"}`,
		"a number for an address": `[{"@type":"Card","ietf.org:ocmAddresses":{"a":{"address":7}}}]`, "an open array": `[{"@type":"Card"}`,
		"too many cards": "[" + strings.Repeat("1,", maxCards) + "1]",
	} {
		if _, err := ReadJSContact([]byte(file)); !errors.Is(err, ErrCards) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, file := range map[string]string{"no card": "hello", "an open card": "BEGIN:VCARD\r\nVERSION:4.0\r\n"} {
		if _, err := ReadVCard([]byte(file)); !errors.Is(err, ErrCards) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWhoIsMeantByAName(t *testing.T) {
	s, alice := book(t)
	if _, err := s.Accounts.Add(t.Context(), account.NewUser{Name: "carol", Password: "a long password"}); err != nil {
		t.Fatal(err)
	}
	add(t, s, alice, "bob@there.example", "Bob")
	add(t, s, alice, "bob@other.example", "Bob Baptiste")
	add(t, s, alice, "ann@there.example", "Ann Lee", "Zoo")
	note := "knows Bob; salary secret"
	frida := add(t, s, alice, "frida@nowhere.example", "Frida")
	if _, err := s.Change(t.Context(), alice.ID, frida.ID, Edit{Note: &note}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"bob": "bob@there.example", "BOB BAPTISTE": "bob@other.example", "ann": "ann@there.example", "carol": "carol@here.example",
		"frida@now": "frida@now", "ann@there.example": "ann@there.example", "Fr": "frida@nowhere.example",
	} {
		if got, err := s.Resolve(t.Context(), alice, text); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for text, code := range map[string]ocm.Code{"salary": ocm.CodeRecipientNotFound, "zoo": ocm.CodeRecipientNotFound, "lee": ocm.CodeRecipientNotFound, "b": "RECIPIENT_UNCLEAR", "": ""} {
		_, err := s.Resolve(t.Context(), alice, text)
		if e, ok := errors.AsType[*ocm.Error](err); !ok || code != "" && e.Code != code {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestALargeFileIsRefusedWhole(t *testing.T) {
	s, alice := book(t)
	cards := make([]Card, 600)
	for i := range cards {
		for j := range 17 {
			cards[i].Addresses = append(cards[i].Addresses, CardAddress{Address: fmt.Sprintf("u%d-%d@there.example", i, j)})
		}
	}
	if _, err := s.Import(t.Context(), alice, cards, false); !errors.Is(err, ErrCards) {
		t.Errorf("10,200 addresses: %v", err)
	}
	if done, err := s.Import(t.Context(), alice, cards[:30], false); err != nil || done.Added != 510 {
		t.Errorf("510 addresses: %+v, %v", done, err)
	}
}

func TestLookalikes(t *testing.T) {
	for host, suspicious := range map[ocm.Host]bool{
		"cloud.example.org":        false,
		"xn--mnchen-3ya.de":        false, // münchen
		"xn--80akhbyknj4f.example": false, // испытание
		"xn--ngbo7ck.example":      false, // Arabic
		"xn--r8jz45g.jp":           false, // 例え
		"xn--ne-emc.example":       true,  // оne, with a Cyrillic o
		"xn--e1awd7f.example":      true,  // еріс
		"xn--a.example":            true,  // no Punycode
		"cloud.xn--80ak6aa92e.com": true,  // аррӏе
		"xn--80ak6aa92e.com:8443":  true,
		"[2001:db8::1]":            false,
		"192.0.2.7":                false,
	} {
		if got := lookalike(host); (got != "") != suspicious {
			t.Errorf("%s: %q", host, got)
		}
	}
}

func FuzzReadCards(f *testing.F) {
	f.Add([]byte(`[{"@type":"Card","version":"1.0","uid":"x","name":{"full":"A"},"ietf.org:ocmAddresses":{"primary":{"address":"a@b.example","trusted":true}}}]`))
	f.Add([]byte("BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ben\r\nCLOUD:ben@three.example\r\nEND:VCARD\r\n"))
	s, alice := book(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, read := range []func([]byte) ([]Card, error){ReadJSContact, ReadVCard} {
			cards, err := read(file)
			if err != nil {
				if !errors.Is(err, ErrCards) {
					t.Fatalf("an error without its code: %v", err)
				}
				continue
			}
			if _, err := s.Import(t.Context(), alice, cards, false); err != nil && !errors.Is(err, ErrBookFull) {
				t.Fatalf("import: %v", err)
			}
		}
		all, err := s.List(t.Context(), alice.ID, "", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if a, err := ocm.ParseAddress(c.Address); err != nil || a.String() != c.Address || c.Trusted {
				t.Errorf("entered %+v", c)
			}
		}
		var out bytes.Buffer
		if err := errors.Join(WriteJSContact(&out, all), WriteVCard(&out, all)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.DB.Write.NewDelete().Model((*Contact)(nil)).Where("1 = 1").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
