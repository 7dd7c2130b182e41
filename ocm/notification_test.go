package ocm

import (
	"bytes"
	"strings"
	"testing"
)

func TestNotificationMembers(t *testing.T) {
	for _, c := range []struct {
		rule, path string
		value      any
		fault      string // "": taken
	}{
		{"a notification is taken", "resourceType", "folder", ""},
		{"a shareType may stand for the resourceType", "shareType", "user", ""},
		{"a type is text", "notificationType", 1, "notificationType"},
		{"a senderDomain is a host", "senderDomain", "not a host", "senderDomain"},
		{"a senderDomain is not an address", "senderDomain", "alice@here.example", "senderDomain"},
		{"a senderDomain may have a port", "senderDomain", "localhost:9201", ""},
		{"a notification is an object", "notification", "hello", "notification"},
		{"a file is an object", "notification.file", "0199", "notification.file"},
		{"a message may have lines", "notification.message", "a\nb", ""},
		{"a message has an end", "notification.message", strings.Repeat("a", 4097), "notification.message"},
		{"a message has no escape character", "notification.message", "\x1b[2J", "notification.message"},
		{"a providerId may be a number", "notification.file.providerId", 17, ""},
		{"a providerId is not empty", "notification.file.providerId", "", "notification.file.providerId"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			m := map[string]any{
				"notificationType": ShareDeclined, "senderDomain": "there.example", "resourceType": "file",
				"notification": map[string]any{"file": map[string]any{"providerId": "0199"}},
			}
			// Where the providerId goes missing with its parent, it stands on top.
			if c.path == "notification" || c.path == "notification.file" {
				m["providerId"] = "0199"
			}
			_, err := ReadNotification(body(t, set(m, c.path, c.value)))
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

func FuzzNotification(f *testing.F) {
	for _, v := range vectors(f, "notification") {
		f.Add(v.message())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ReadNotification(b)
		if err != nil {
			mustRefuse(t, err)
			return
		}
		first := body(t, n)
		again, err := ReadNotification(first)
		if err != nil {
			t.Fatalf("what was read is written as %s, which is refused: %v", first, err)
		}
		if second := body(t, again); !bytes.Equal(first, second) {
			t.Errorf("what was written as %s is read and written as %s", first, second)
		}
	})
}
