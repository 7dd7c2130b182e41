package ocm

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func aDocument() *Discovery {
	protocols := func() map[string]json.RawMessage {
		return map[string]json.RawMessage{"webdav": json.RawMessage(`"/dav/ocm/"`), "webdav-receive": json.RawMessage(`{"uri":"absolute"}`)}
	}
	return &Discovery{
		Enabled: true, APIVersion: Version, EndPoint: "https://cloud.example/ocm",
		ResourceTypes: []ResourceType{
			{ResourceFile, []string{ShareTypeUser}, protocols()}, {ResourceFolder, []string{ShareTypeUser}, protocols()},
		},
		Capabilities: []string{CapHTTPSig, CapExchangeToken}, Criteria: []string{CriterionHTTPSig},
		JWKSURI: "https://cloud.example/ocm/jwks", TokenEndPoint: "https://cloud.example/ocm/token",
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*Discovery)
		fault  string // "": valid
	}{
		{"a document with all that is needed is valid", func(d *Discovery) {}, ""},
		{"plain http is for trials, and not this package's to refuse", func(d *Discovery) { d.EndPoint = "http://localhost:9201/ocm" }, ""},
		{"the version is required", func(d *Discovery) { d.APIVersion = "" }, "apiVersion"},
		{"the endPoint is required", func(d *Discovery) { d.EndPoint = "" }, "endPoint"},
		{"the endPoint is absolute", func(d *Discovery) { d.EndPoint = "/ocm" }, "endPoint"},
		{"the jwksUri is absolute", func(d *Discovery) { d.JWKSURI = "jwks" }, "jwksUri"},
		{"http-sig needs a jwksUri", func(d *Discovery) { d.JWKSURI = "" }, "jwksUri"},
		{"exchange-token needs a tokenEndPoint", func(d *Discovery) { d.TokenEndPoint = "" }, "tokenEndPoint"},
		{"must-use-http-sig needs http-sig", func(d *Discovery) { d.Capabilities = []string{CapExchangeToken} }, "criteria"},
		{"must-exchange-token needs exchange-token", func(d *Discovery) {
			d.Capabilities, d.Criteria = []string{CapHTTPSig}, []string{CriterionExchangeToken}
		}, "criteria"},
		{"files are required", func(d *Discovery) { d.ResourceTypes = d.ResourceTypes[1:] }, "resourceTypes"},
		{"folders are required", func(d *Discovery) { d.ResourceTypes = d.ResourceTypes[:1] }, "resourceTypes"},
		{"a resource type has one entry", func(d *Discovery) { d.ResourceTypes = append(d.ResourceTypes, d.ResourceTypes[0]) }, "resourceTypes[2].name"},
		{"a resource type is shared with users", func(d *Discovery) { d.ResourceTypes[1].ShareTypes = []string{ShareTypeGroup} }, "resourceTypes[1].shareTypes"},
		{"a resource type has protocols", func(d *Discovery) { d.ResourceTypes[0].Protocols = nil }, "resourceTypes[0].protocols"},
		{"the webdav path begins with a slash", func(d *Discovery) { d.ResourceTypes[0].Protocols["webdav"] = json.RawMessage(`"dav"`) }, "resourceTypes[0].protocols.webdav"},
		{"webdav-receive says which uri", func(d *Discovery) {
			d.ResourceTypes[0].Protocols["webdav-receive"] = json.RawMessage(`{}`)
		}, "resourceTypes[0].protocols.webdav-receive"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			d := aDocument()
			c.change(d)
			err := d.Validate()
			if c.fault == "" {
				if err != nil {
					t.Errorf("not valid: %v", err)
				}
				return
			}
			checkRefusal(t, err, refusal{400, CodeInvalidPayload, []string{c.fault}})
		})
	}
}

func TestADocumentReadsAsItWasWritten(t *testing.T) {
	d := aDocument()
	got, err := ReadDiscovery(body(t, d))
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, d)
	}
}

func TestDiscoveryIsBounded(t *testing.T) {
	d := aDocument()
	d.Provider = strings.Repeat("a", MaxDocument)
	_, err := ReadDiscovery(body(t, d))
	checkRefusal(t, err, refusal{413, CodeTooLarge, nil})

	d.Provider, d.Capabilities = "", make([]string, 10_000)
	for i := range d.Capabilities {
		d.Capabilities[i] = "c"
	}
	got, err := ReadDiscovery(body(t, d))
	if err != nil || len(got.Capabilities) != maxEntries {
		t.Errorf("got %d capabilities, %v, want %d", len(got.Capabilities), err, maxEntries)
	}
}

func TestWebDAVPath(t *testing.T) {
	for _, c := range []struct{ rule, webdav, want string }{
		{"a path is taken", `"/dav/ocm/"`, "/dav/ocm/"},
		{"a missing slash is put before it", `"remote.php/dav"`, "/remote.php/dav"},
		{"slashes at the front are one: two would name a host", `"//evil.example/dav"`, "/evil.example/dav"},
		{"of a URL the path is taken, for the host is known", `"https://evil.example/dav"`, "/dav"},
		{"a path is escaped for a URL", `"/public files/"`, "/public%20files/"},
		{"a query and a fragment are no part of it", `"/dav?x#y"`, "/dav"},
		{"a line break makes it none", `"/dav\r\nX: y"`, ""},
		{"an object makes it none", `{"uri":"/dav"}`, ""},
		{"nothing makes it none", `""`, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			d := &Discovery{ResourceTypes: []ResourceType{
				{Name: "ro-crate", Protocols: map[string]json.RawMessage{"embedded": json.RawMessage("{}")}},
				{Name: ResourceFile, Protocols: map[string]json.RawMessage{"webdav": json.RawMessage(c.webdav)}},
			}}
			if got := d.WebDAVPath(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAccepts(t *testing.T) {
	old := &Discovery{ResourceTypes: []ResourceType{{ResourceFile, []string{ShareTypeUser, ShareTypeGroup}, map[string]json.RawMessage{"webdav": json.RawMessage(`"/dav"`)}}}}
	roles := aDocument()
	roles.ResourceTypes[1].Protocols = map[string]json.RawMessage{"webdav": json.RawMessage(`"/dav"`)}
	for _, c := range []struct {
		rule                          string
		d                             *Discovery
		resource, shareType, protocol string
		want                          bool
	}{
		{"file, user, webdav may always be tried", &Discovery{}, ResourceFile, ShareTypeUser, "webdav", true},
		{"a group is not taken unless it is said", roles, ResourceFile, ShareTypeGroup, "webdav", false},
		{"an older server takes what it serves", old, ResourceFile, ShareTypeGroup, "webdav", true},
		{"a resource type that is not listed is not taken", old, ResourceFolder, ShareTypeUser, "webdav", false},
		{"a protocol that is only served is not taken", roles, ResourceFolder, ShareTypeUser, "webdav", false},
		{"a protocol that is not listed is not taken", roles, ResourceFile, ShareTypeUser, "ssh", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := c.d.Accepts(c.resource, c.shareType, c.protocol); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestURL(t *testing.T) {
	for endPoint, want := range map[string]string{
		"https://cloud.example/ocm":             "https://cloud.example/ocm/shares",
		"https://cloud.example/ocm/":            "https://cloud.example/ocm/shares",
		"https://cloud.example":                 "https://cloud.example/shares",
		"https://cloud.example/index.php?a=ocm": "https://cloud.example/index.php/shares?a=ocm",
	} {
		if got := (&Discovery{EndPoint: endPoint}).URL("/shares"); got != want {
			t.Errorf("%s gives %s, want %s", endPoint, got, want)
		}
	}
}

func FuzzDiscovery(f *testing.F) {
	for _, v := range vectors(f, "discovery") {
		f.Add(v.message())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ReadDiscovery(b)
		if err != nil {
			mustRefuse(t, err)
			return
		}
		if p := d.WebDAVPath(); p != "" && (!strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//")) {
			t.Errorf("the webdav path is %q", p)
		}
		if !strings.HasPrefix(d.URL("/shares"), "http") {
			t.Errorf("shares go to %q", d.URL("/shares"))
		}
		first := body(t, d)
		if len(first) > MaxDocument {
			t.Skip("JSON's escapes made it longer")
		}
		again, err := ReadDiscovery(first)
		if err != nil {
			t.Fatalf("what was read is written as %s, which is refused: %v", first, err)
		}
		if second := body(t, again); !bytes.Equal(first, second) {
			t.Errorf("what was written as %s is read and written as %s", first, second)
		}
	})
}
