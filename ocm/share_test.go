package ocm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// aShare is a share that is taken, as members that a case may change.
func aShare() map[string]any {
	return map[string]any{
		"shareWith": "bob@there.example", "name": "Plans", "providerId": "0199", "owner": "alice@here.example",
		"sender": "alice@here.example", "shareType": "user", "resourceType": "folder",
		"protocol": map[string]any{
			"name":   "multi",
			"webdav": map[string]any{"uri": "0199", "sharedSecret": "s3cr3t", "permissions": []string{"read"}},
		},
	}
}

// set changes the member at a path like "protocol.webdav.uri"; nil removes it.
func set(m map[string]any, path string, v any) map[string]any {
	in := m
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		in = in[name].(map[string]any)
	}
	if in[names[len(names)-1]] = v; v == nil {
		delete(in, names[len(names)-1])
	}
	return m
}

func body(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestShareMembers(t *testing.T) {
	long := strings.Repeat
	const (
		uri    = "protocol.webdav.uri"
		secret = "protocol.webdav.sharedSecret"
		perms  = "protocol.webdav.permissions"
	)
	for _, c := range []struct {
		rule, path string
		value      any
		fault      string // the member at fault; "": taken
	}{
		{"a share is taken", "name", "Plans", ""},
		{"a name is any text", "name", "Übersicht “2026” – 日本 👋.txt", ""},
		{"a name may be 255 bytes long", "name", long("a", 255), ""},
		{"a name of 256 bytes is refused", "name", long("a", 256), "name"},
		{"a name is not empty", "name", "", "name"},
		{"a name is text", "name", 7, "name"},
		{"a name that is null is missing", "name", json.RawMessage("null"), "name"},
		{"a name has no slash", "name", "a/b", "name"},
		{"a name is not ..", "name", "..", "name"},
		{"a name is not .", "name", ".", "name"},
		{"a name may begin with dots", "name", "...a", ""},
		{"a name has no NUL", "name", "a\x00b", "name"},
		{"a name has no line break", "name", "a\nb", "name"},
		{"a name has no C1 control character", "name", "a\u009bb", "name"},
		{"a providerId is not empty", "providerId", "", "providerId"},
		{"a providerId may be a whole number", "providerId", 17, ""},
		{"a providerId is not a fraction", "providerId", 1.5, "providerId"},
		{"a providerId is not true", "providerId", true, "providerId"},
		{"a providerId of 256 bytes is refused", "providerId", long("a", 256), "providerId"},
		{"a description may have lines", "description", "a\n\tb", ""},
		{"a description has an end", "description", long("a", 4097), "description"},
		{"a display name has one line", "ownerDisplayName", "a\r\nX: b", "ownerDisplayName"},
		{"a recipient without a host is the receiver's", "shareWith", "bob", ""},
		{"a recipient is not empty", "shareWith", "", "shareWith"},
		{"a recipient is text", "shareWith", []string{"bob@there.example"}, "shareWith"},
		{"a recipient without a host has no control characters", "shareWith", "b\x1bob", "shareWith"},
		{"a recipient's host is a host", "shareWith", "bob@there..example", "shareWith"},
		{"an owner has a host", "owner", "alice", "owner"},
		{"an owner may have a scheme and a slash", "owner", "alice@https://here.example/", ""},
		{"a sender has an identifier", "sender", "@here.example", "sender"},
		{"a sender is there", "sender", nil, "sender"},
		{"an expiration is seconds", "expiration", 1900000000, ""},
		{"an expiration may be long past: the server decides", "expiration", 0, ""},
		{"an expiration that is null is none", "expiration", json.RawMessage("null"), ""},
		{"an expiration is not negative", "expiration", -1, "expiration"},
		{"an expiration is not a text", "expiration", "1900000000", "expiration"},
		{"an expiration is not a fraction", "expiration", 1.5, "expiration"},
		{"an expiration has a year of four digits", "expiration", int64(253402300800), "expiration"},
		{"an expiration fits 64 bits", "expiration", json.Number("99999999999999999999"), "expiration"},
		{"a protocol is an object", "protocol", "webdav", "protocol"},
		{"a protocol that is null is missing", "protocol", json.RawMessage("null"), "protocol"},
		{"webdav is an object", "protocol.webdav", []int{}, "protocol.webdav"},
		{"a uri is there", uri, nil, "protocol.webdav.uri"},
		{"a uri may be a full URL", uri, "https://here.example:8443/dav/ocm/0199?x=1", ""},
		{"a uri may be a full URL in plain http: the server decides", uri, "http://localhost:9201/dav/0199", ""},
		{"a uri may be an id with a path and any letters", uri, "0199/Übersicht 1.txt", ""},
		{"a uri may hold an escaped space", uri, "a%20b", ""},
		{"a uri has no other scheme", uri, "javascript:alert(1)", uri},
		{"a uri has no file scheme", uri, "file://here.example/x", uri},
		{"a uri names a host", uri, "https:///dav/0199", uri},
		{"a uri names a host that can be", uri, "https://here..example/dav", uri},
		{"a uri has both slashes of its scheme", uri, "https:/here.example", uri},
		{"a uri does not leave out its scheme", uri, "//evil.example/dav", uri},
		{"a uri has no user", uri, "https://alice@here.example/dav", uri},
		{"a uri has no password", uri, "https://a:b@here.example/dav", uri},
		{"a uri has no fragment", uri, "https://here.example/dav#x", uri},
		{"a uri has no empty fragment", uri, "https://here.example/dav#", uri},
		{"an id has no query", uri, "0199?x", uri},
		{"an id does not lead upwards", uri, "../0198", uri},
		{"an id does not lead upwards in escapes", uri, "%2e%2E/0198", uri},
		{"an id does not lead upwards with an escaped slash", uri, "a%2f..%2f0198", uri},
		{"an id does not lead upwards with backslashes", uri, `..\0198`, uri},
		{"a full URL does not lead upwards", uri, "https://here.example/dav/../admin", uri},
		{"a uri has no line break", uri, "a\r\nb", uri},
		{"a uri has no half escape", uri, "a%2", uri},
		{"a uri has an end", uri, long("a", 2049), uri},
		{"a secret is there", secret, nil, secret},
		{"a secret is not empty", secret, "", secret},
		{"a secret may be 4096 bytes long", secret, long("a", 4096), ""},
		{"a secret of 4097 bytes is refused", secret, long("a", 4097), secret},
		{"a secret has no line break", secret, "a\r\nb", secret},
		{"a secret has no space", secret, "a b", secret},
		{"a secret is ASCII", secret, "paßwort", secret},
		{"permissions may be absent", perms, nil, ""},
		{"permissions are not empty", perms, []string{}, perms},
		{"permissions are a list", perms, "read", perms},
		{"permissions hold text", perms, []any{"read", nil}, perms},
		{"permissions are known", perms, []string{"read", "delete"}, perms},
		{"permissions may be without read", perms, []string{"write"}, ""},
		{"requirements are known", "protocol.webdav.requirements", []string{"must-exchange-token", "must-use-mfa"}, ""},
		{"requirements are in lower case", "protocol.webdav.requirements", []string{"MUST-USE-MFA"}, "protocol.webdav.requirements"},
		{"access types are text", "protocol.webdav.accessTypes", []int{1}, "protocol.webdav.accessTypes"},
		{"access types are few", "protocol.webdav.accessTypes", make([]string, 11), "protocol.webdav.accessTypes"},
		{"access types are short", "protocol.webdav.accessTypes", []string{long("a", 257)}, "protocol.webdav.accessTypes"},
		{"a size is not negative", "protocol.webdav.size", -1, "protocol.webdav.size"},
		{"a size is a number", "protocol.webdav.size", "1 MB", "protocol.webdav.size"},
		{"an encryption is an object", "encryption", "cryptomator", "encryption"},
		{"a protocol nobody knows may be anything", "protocol.teleport", "here", ""},
		{"a protocol's name is short", "protocol." + long("a", 65), 1, "protocol"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			_, err := ReadShare(body(t, set(aShare(), c.path, c.value)))
			if c.fault == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			checkRefusal(t, err, refusal{400, CodeInvalidPayload, []string{c.fault}})
		})
	}
}

func TestShareProtocolsAreFew(t *testing.T) {
	m := aShare()
	for i := range maxProtocols {
		set(m, fmt.Sprintf("protocol.p%d", i), 1)
	}
	_, err := ReadShare(body(t, m))
	checkRefusal(t, err, refusal{400, CodeInvalidPayload, []string{"protocol"}})
}

func TestAMalformedShareIsMalformedBeforeItIsUnsupported(t *testing.T) {
	m := set(set(aShare(), "shareType", "federation"), "owner", "nobody")
	_, err := ReadShare(body(t, m))
	checkRefusal(t, err, refusal{400, CodeInvalidPayload, []string{"owner"}})
}

func TestTheSecretStaysOutOfErrorsAndPrints(t *testing.T) {
	const secret = "hunter2 with spaces"
	_, err := ReadShare(body(t, set(aShare(), "protocol.webdav.sharedSecret", secret)))
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err.(*Error).Fields), "hunter2") {
		t.Errorf("the error shows the secret: %v", err)
	}
	n, err := ReadShare(body(t, aShare()))
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v", *n.Protocol.WebDAV, *n.Protocol.WebDAV, *n.Protocol.WebDAV); strings.Contains(s, "s3cr3t") {
		t.Errorf("printing shows the secret: %s", s)
	}
	if !bytes.Contains(body(t, n), []byte(`"sharedSecret":"s3cr3t"`)) {
		t.Error("the message to the peer must hold the secret itself")
	}
}

func TestWritingAShare(t *testing.T) {
	n := NewShare{
		ShareWith: Address{"bob", "there.example"}, Name: "Plans", ProviderID: "1",
		Owner: Address{"alice", "here.example"}, Sender: Address{"alice", "here.example"},
		ShareType: ShareTypeUser, ResourceType: ResourceFolder, Expiration: time.Date(2030, 1, 1, 0, 0, 0, 999, time.UTC),
		Protocol: Protocol{
			WebDAV: &WebDAV{URI: "1", SharedSecret: "s", Permissions: []string{PermRead}},
			Other:  map[string]json.RawMessage{"name": json.RawMessage(`"x"`), "webdav": json.RawMessage(`1`)},
		},
	}
	const want = `{"shareWith":"bob@there.example","name":"Plans","providerId":"1","owner":"alice@here.example","sender":"alice@here.example",` +
		`"shareType":"user","resourceType":"folder","expiration":1893456000,` +
		`"protocol":{"name":"multi","webdav":{"uri":"1","sharedSecret":"s","permissions":["read"],"size":0}}}`
	if got := string(body(t, n)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzShare(f *testing.F) {
	for _, v := range vectors(f, "share") {
		f.Add(v.message())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ReadShare(b)
		if err != nil {
			mustRefuse(t, err)
			return
		}
		first := body(t, n)
		if len(first) > MaxBody {
			t.Skip("JSON's escapes made it longer")
		}
		again, err := ReadShare(first)
		if err != nil {
			t.Fatalf("what was read is written as %s, which is refused: %v", first, err)
		}
		if second := body(t, again); !bytes.Equal(first, second) {
			t.Errorf("what was written as %s is read and written as %s", first, second)
		}
	})
}

func BenchmarkReadShare(b *testing.B) {
	msg := body(b, set(set(aShare(), "description", "First draft. Please comment."), "protocol.webdav.requirements", []string{RequireExchange}))
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadShare(msg); err != nil {
			b.Fatal(err)
		}
	}
}
