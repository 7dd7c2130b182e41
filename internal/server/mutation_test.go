package server_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// mutations are a message with one thing wrong, each with its name.
func mutations(t *testing.T, message []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"as it is": message}
	var root map[string]any
	if err := json.Unmarshal(message, &root); err != nil {
		t.Fatal(err)
	}
	marshal := func() []byte {
		b, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wrong := map[string]any{
		"null": nil, "a number": -1.5e300, "a list": []any{[]any{}}, "an object": map[string]any{"": 1}, "true": true, "nothing": "",
		"huge": strings.Repeat("x", 70_000), "a line break": "a\nb", "reading backwards": "a\u202eb", "a path": "../../etc/passwd",
	}
	var walk func(at string, m map[string]any)
	walk = func(at string, m map[string]any) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			was := m[key]
			name := at + "/" + key
			delete(m, key)
			out[name+" is missing"] = marshal()
			for what, v := range wrong {
				m[key] = v
				out[name+" is "+what] = marshal()
			}
			m[key] = was
			if inner, ok := was.(map[string]any); ok {
				walk(name, inner)
			}
		}
		m["unheard of"] = map[string]any{"x": []any{1}}
		out[at+" has an unknown member"] = marshal()
		delete(m, "unheard of")
	}
	walk("", root)
	whole := marshal()
	for key := range root {
		out["/"+key+" is given twice"] = fmt.Appendf(nil, `{%q:null,%s`, key, whole[1:])
	}
	out["cut off"] = whole[:len(whole)/2]
	out["something behind it"] = append(slices.Clone(whole), "{}"...)
	return out
}

// told is a message as a file below testdata holds it.
type told struct {
	name, kind string
	status     int
	body       []byte
}

// files reads the vectors that a pattern names. In them the peer is peer.example or
// there.example, and we are here.example.
func files(t *testing.T, pattern string, names *strings.Replacer) (out []told) {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	for _, file := range list {
		if strings.HasPrefix(filepath.Base(file), "bad-") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Kind          string
			Status        int
			Message, Body json.RawMessage
		}
		if err := json.Unmarshal([]byte(names.Replace(string(b))), &v); err != nil {
			t.Fatal(err)
		}
		m := told{filepath.Base(filepath.Dir(file)) + "/" + filepath.Base(file), v.Kind, v.Status, append(v.Message, v.Body...)}
		if m.kind == "" {
			m.kind = filepath.Base(filepath.Dir(file))
		}
		if text := ""; json.Unmarshal(m.body, &text) == nil { // an answer's body, byte for byte
			m.body = []byte(text)
		}
		if bytes.HasPrefix(m.body, []byte("{")) {
			out = append(out, m)
		}
	}
	return out
}

const seedSecret = "s3cret"

// seeds are the ids that the vectors name.
var seeds = []string{"42", "1", "7", "0199", "c1a2"}

// seed makes the received shares that the vectors of a peer name.
func seed(t *testing.T, alice *weftest.Person, p *weftest.Peer, change ...func(*http.Request)) {
	t.Helper()
	for _, id := range seeds {
		want(t, "a share", p.Post(alice.Site, "/ocm/shares", jsonType, p.ShareFor(alice, map[string]any{
			"providerId": id, "name": id, "protocol": map[string]any{"name": "multi", "webdav": map[string]any{
				"uri": id, "sharedSecret": seedSecret, "permissions": []string{"read", "write", "share"},
			}},
		}), change...), 201)
	}
}

// putBack makes what the vectors name as it was before a message changed it.
func putBack(t *testing.T, alice *weftest.Person) []string {
	t.Helper()
	for _, q := range []string{
		"UPDATE incoming_shares SET ended_at = 0, ended_reason = '', permissions = 'read,write,share' WHERE name IN ('42', '1', '7', '0199', 'c1a2')",
		"UPDATE outgoing_shares SET state = 'accepted', state_reason = ''",
		"UPDATE invites SET accepted_at = 0, accepted_by = '', given = ''",
		"UPDATE contacts SET gone_at = 0",
	} {
		if _, err := alice.Server.DB.Write.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	return alice.State()
}

// TestMutatedMessagesAreRefusedWithoutATrace sends what families of servers, and
// the newest, send with one thing wrong at a time, about shares and an invite that
// are there: no answer is a 500, and a refusal changes nothing.
func TestMutatedMessagesAreRefusedWithoutATrace(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t, func(c *config.Config) { c.Federation.Reshares = "ask" }).Person("alice")
	quiet, signing := weftest.NewPeer(t), weftest.NewPeer(t)
	heard(quiet)
	heard(signing)
	quiet.Document.Capabilities, quiet.Document.JWKSURI = []string{"notifications"}, "" // so that no missing signature refuses
	seed(t, alice, quiet, weftest.Unsigned)
	seed(t, alice, signing)
	for _, id := range seeds { // of ours an id, and a secret, is one share's alone
		p, secret := quiet, seedSecret
		if id == "0199" || id == "7" {
			p = signing
		}
		if id != "42" {
			secret += id
		}
		if _, err := alice.Server.DB.Write.NewInsert().Model(&sharing.Outgoing{
			ID: id, OwnerID: alice.User.ID, Path: id, Name: id, ResourceType: ocm.ResourceFile, ShareType: ocm.ShareTypeUser, ShareWith: "richard@" + string(p.Host),
			PeerHost: string(p.Host), Permissions: "read,write,share", SecretHash: seal.HashHex(ocm.Secret(secret)), State: sharing.StateAccepted, Secret: []byte{},
		}).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := alice.Server.DB.Write.NewInsert().Table("invites").Model(&map[string]any{
		"id": "invite", "owner_id": alice.User.ID, "token_hash": seal.HashHex("a55a966e"), "email": "", "note": "", "pseudonym": false, "given": "", "accepted_by": "",
		"created_at": alice.Now().UnixMilli(), "expires_at": alice.Now().Add(time.Hour).UnixMilli(), "accepted_at": 0, "revoked_at": 0,
	}).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"richard", "bob", "einstein"} {
		alice.API("POST", "/contacts", map[string]any{"address": name + "@" + string(signing.Host)}, nil)
	}
	paths := map[string]string{
		"share-in": "/ocm/shares", "share": "/ocm/shares", "notification-in": "/ocm/notifications", "notification": "/ocm/notifications", "invite": "/ocm/invite-accepted",
	}
	readers := map[string]func([]byte) error{
		"/ocm/shares":          func(b []byte) error { _, err := ocm.ReadShare(b); return err },
		"/ocm/notifications":   func(b []byte) error { _, err := ocm.ReadNotification(b); return err },
		"/ocm/invite-accepted": func(b []byte) error { _, err := ocm.ReadInviteAcceptance(b); return err },
	}
	sent, refused, taken := 0, 0, map[string]int{}
	base := alice.State()
	before := base
	for _, from := range []struct {
		peer     *weftest.Peer
		patterns []string
		change   []func(*http.Request)
	}{
		{quiet, []string{"../../ocm/client/testdata/*/*-in*.json"}, []func(*http.Request){weftest.Unsigned}},
		{signing, []string{"../../ocm/testdata/notification/*.json", "../../ocm/testdata/invite/*.json"}, nil},
	} {
		host := string(from.peer.Host)
		names := strings.NewReplacer("https://here.example", alice.Origin, "peer.example:9200", host, "peer.example", host, "there.example", host, "here.example", string(alice.Host))
		for _, pattern := range from.patterns {
			for i, m := range files(t, pattern, names) {
				path := paths[m.kind]
				all := mutations(t, m.body)
				for j, name := range slices.Sorted(maps.Keys(all)) {
					// What cannot be read goes no further, and what is about no row that is there
					// is taken or not: a part of them does.
					if readers[path](all[name]) != nil && (i+j)%16 != 0 || path == "/ocm/shares" && (i+j)%4 != 0 {
						continue
					}
					a := from.peer.Post(alice.Site, path, jsonType, string(all[name]), from.change...)
					sent++
					switch {
					case a.Status >= http.StatusInternalServerError && a.Status != http.StatusNotImplemented && a.Code() != "KEY_UNREACHABLE":
						t.Errorf("%s, %s: %d %s", m.name, name, a.Status, a.Body)
					case a.Status >= 400:
						refused++
						after := alice.State()
						same(t, fmt.Sprintf("%s, %s: refused with %d", m.name, name, a.Status), before, after)
						before = after
						if a.Code() == "" {
							t.Errorf("%s, %s: %d without a code: %s", m.name, name, a.Status, a.Body)
						}
					default:
						taken[m.kind]++
						if before = alice.State(); !slices.Equal(before, base) {
							base = putBack(t, alice)
							before = base
						}
					}
				}
			}
		}
	}
	t.Logf("%d messages, %d refused, taken %v", sent, refused, taken)
	if refused < sent/4 || taken["share-in"] == 0 || taken["notification-in"] == 0 || taken["notification"] == 0 || taken["invite"] == 0 {
		t.Errorf("of %d messages %d were refused, and taken were %v", sent, refused, taken)
	}
}

// answering is a server that always answers the same.
type answering struct {
	status int
	body   []byte
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// Documents and answers with one thing wrong are read, or are the peer's fault.
func TestMutatedDocumentsAndAnswersAreReadOrRefused(t *testing.T) {
	t.Parallel()
	names := strings.NewReplacer()
	all := append(files(t, "../../ocm/client/testdata/*/*.json", names), files(t, "../../ocm/testdata/discovery/*.json", names)...)
	all = append(all, files(t, "../../ocm/testdata/invite-answer/*.json", names)...)
	read, failed := map[string]int{}, map[string]int{}
	shown := func(t *testing.T, what, text string) {
		t.Helper()
		if text != ocm.DisplayName(text) || len(text) > 10_000 {
			t.Errorf("%s is shown: %.200q", what, text)
		}
	}
	for _, m := range all {
		status := cmp.Or(m.status, http.StatusOK)
		switch m.kind {
		case "discovery", "answer", "invite-answer":
		default:
			continue
		}
		for name, body := range mutations(t, m.body) {
			c := &client.Client{HTTP: &http.Client{Transport: answering{status, body}}, Self: "here.example"}
			to := client.Peer{Host: "peer.example", Discovery: &ocm.Discovery{Enabled: true, EndPoint: "https://peer.example/ocm"}}
			var err error
			switch m.kind {
			case "discovery":
				var d *ocm.Discovery
				if d, _, err = c.Discover(t.Context(), "peer.example"); err == nil {
					if _, known := client.ProfileNamed(client.ProfileOf(d).Name); !known {
						t.Errorf("%s, %s: of no profile", m.name, name)
					}
					if end, err := url.Parse(d.EndPoint); err != nil || end.Scheme != "https" && end.Scheme != "http" || end.Host == "" {
						t.Errorf("%s, %s: endPoint %q", m.name, name, d.EndPoint)
					}
				}
			case "answer":
				var answer *ocm.ShareAnswer
				if answer, err = c.Share(t.Context(), to, &ocm.NewShare{}); err == nil {
					shown(t, m.name+", "+name, answer.RecipientDisplayName)
				}
			case "invite-answer":
				var party *ocm.InviteParty
				if party, err = c.AcceptInvite(t.Context(), to, ocm.InviteAcceptance{RecipientProvider: "here.example", Token: "t"}); err == nil {
					shown(t, m.name+", "+name, party.Name)
					if _, err := ocm.ReadAddress(party.UserID + "@peer.example"); err != nil {
						t.Errorf("%s, %s: userID %q", m.name, name, party.UserID)
					}
				}
			}
			if err == nil {
				read[m.kind]++
				continue
			}
			failed[m.kind]++
			if pe, ok := errors.AsType[*client.PeerError](err); !ok {
				t.Errorf("%s, %s: %v", m.name, name, err)
			} else if strings.ContainsAny(string(pe.Code), "\n\u202e") || len(pe.Code) > 1000 {
				t.Errorf("%s, %s: the code %.200q", m.name, name, pe.Code)
			}
		}
	}
	t.Log("read", read, "and refused", failed)
	for _, kind := range []string{"discovery", "answer", "invite-answer"} {
		if read[kind] == 0 || failed[kind] == 0 {
			t.Errorf("%s: %d were read and %d refused", kind, read[kind], failed[kind])
		}
	}
}
