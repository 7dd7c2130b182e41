package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/weftest"
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

// TestMutatedMessagesAreRefusedWithoutATrace sends what families of servers send
// with one thing wrong at a time: no answer is a 500, and a refusal changes
// nothing.
func TestMutatedMessagesAreRefusedWithoutATrace(t *testing.T) {
	alice := weftest.Start(t).Person("alice")
	p := weftest.NewPeer(t)
	p.Document.Capabilities = []string{"notifications"} // signs nothing, so that nothing else refuses
	files, err := filepath.Glob("../../ocm/client/testdata/*/*-in*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	paths := map[string]string{"share-in": "/ocm/shares", "notification-in": "/ocm/notifications"}
	n, refused := 0, 0
	for i, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("https://here.example", alice.Origin, "peer.example:9200", string(p.Host), "peer.example", string(p.Host), "here.example", string(alice.Host)).Replace(string(b))
		var v struct {
			Kind    string
			Message json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		all := mutations(t, v.Message)
		for j, name := range slices.Sorted(maps.Keys(all)) {
			if (i+j)%4 != 0 { // a quarter of them, another one of each file
				continue
			}
			before := alice.Rows()
			a := p.Post(alice.Site, paths[v.Kind], "application/json", string(all[name]), weftest.Unsigned)
			n++
			switch {
			case a.Status >= http.StatusInternalServerError && a.Status != http.StatusNotImplemented:
				t.Errorf("%s, %s: %d %s", filepath.Base(filepath.Dir(file)), name, a.Status, a.Body)
			case a.Status >= 400:
				refused++
				if after := alice.Rows(); !equal(before, after) {
					t.Errorf("%s, %s: refused with %d, but %v became %v", file, name, a.Status, before, after)
				}
				if a.Code() == "" {
					t.Errorf("%s, %s: %d without a code: %s", file, name, a.Status, a.Body)
				}
			}
		}
	}
	t.Logf("%d messages, %d refused", n, refused)
	if refused < n/4 {
		t.Errorf("only %d of %d messages were refused", refused, n)
	}
}
