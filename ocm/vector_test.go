package ocm

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// vector is one file below testdata, as its README describes.
type vector struct {
	Rule   string          `json:"rule"`
	Body   json.RawMessage `json:"body"`
	Raw    string          `json:"raw"`
	Accept json.RawMessage `json:"accept"`
	Refuse *refusal        `json:"refuse"`
}

type refusal struct {
	Status int      `json:"status"`
	Code   Code     `json:"code"`
	Fields []string `json:"fields"`
}

func (v vector) message() []byte {
	if v.Raw != "" {
		return []byte(v.Raw)
	}
	return v.Body
}

func vectors(t testing.TB, dir string) []vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	var out []vector
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v.Rule == "" || len(v.message()) == 0 || (v.Accept == nil) == (v.Refuse == nil) {
			t.Fatalf("%s: must have a rule, a message, and one of accept and refuse", name)
		}
		out = append(out, v)
	}
	return out
}

// run reads every vector of a directory; read gives what is to equal accept.
func run(t *testing.T, dir string, read func([]byte) (any, error)) {
	for _, v := range vectors(t, dir) {
		t.Run(v.Rule, func(t *testing.T) {
			got, err := read(v.message())
			if v.Refuse != nil {
				checkRefusal(t, err, *v.Refuse)
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			b, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if !sameJSON(t, b, v.Accept) {
				t.Errorf("got  %s\nwant %s", b, v.Accept)
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, want refusal) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want %d %s", err, want.Status, want.Code)
	}
	if e.Status != want.Status || e.Code != want.Code {
		t.Errorf("got %d %s (%v), want %d %s", e.Status, e.Code, e, want.Status, want.Code)
	}
	var fields []string
	for _, f := range e.Fields {
		fields = append(fields, f.Name)
	}
	slices.Sort(fields)
	if want := slices.Sorted(slices.Values(want.Fields)); !slices.Equal(fields, want) {
		t.Errorf("faults in %v, want %v", e.Fields, want)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestShareVectors(t *testing.T) {
	run(t, "share", func(b []byte) (any, error) { return ReadShare(b) })
}

func TestNotificationVectors(t *testing.T) {
	run(t, "notification", func(b []byte) (any, error) { return ReadNotification(b) })
}

func TestDiscoveryVectors(t *testing.T) {
	capabilities := []string{CapEnforceMFA, CapExchangeToken, CapHTTPSig, CapInvites, CapInviteWAYF, CapNotifications, CapProtocolObject}
	criteria := []string{CriterionHTTPSig, CriterionExchangeToken, CriterionInvite, CriterionAllowlist, CriterionDenylist}
	having := func(names []string, has func(string) bool) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !has(name) })
	}
	order := func(list []string, by []string) []string {
		return having(by, func(name string) bool { return slices.Contains(list, name) })
	}
	type facts struct {
		Enabled       bool     `json:"enabled"`
		EndPoint      string   `json:"endPoint"`
		Shares        string   `json:"shares"`
		WebDAVPath    string   `json:"webdavPath"`
		AbsoluteURI   bool     `json:"absoluteURI"`
		Capabilities  []string `json:"capabilities"`
		Criteria      []string `json:"criteria"`
		JWKSURI       string   `json:"jwksUri"`
		TokenEndPoint string   `json:"tokenEndPoint"`
		Folders       bool     `json:"folders"`
		Groups        bool     `json:"groups"`
		Valid         bool     `json:"valid"`
	}
	for _, v := range vectors(t, "discovery") {
		t.Run(v.Rule, func(t *testing.T) {
			d, err := ReadDiscovery(v.message())
			if v.Refuse != nil {
				checkRefusal(t, err, *v.Refuse)
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			var want facts
			if err := json.Unmarshal(v.Accept, &want); err != nil {
				t.Fatal(err)
			}
			want.Capabilities, want.Criteria = order(want.Capabilities, capabilities), order(want.Criteria, criteria)
			got := facts{
				d.Enabled, d.EndPoint, d.URL("/shares"), d.WebDAVPath(), d.ReceivesAbsoluteURI(),
				having(capabilities, d.HasCapability), having(criteria, d.HasCriterion), d.JWKSURI, d.TokenEndPoint,
				d.Accepts(ResourceFolder, ShareTypeUser, "webdav"), d.Accepts(ResourceFile, ShareTypeGroup, "webdav"),
				d.Validate() == nil,
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if !d.Accepts(ResourceFile, ShareTypeUser, "webdav") {
				t.Error("file, user, webdav may always be tried")
			}
		})
	}
}
