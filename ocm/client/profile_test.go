package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/ocm"
)

// vector is a file below testdata, as its README describes.
type vector struct {
	Rule, Kind, Type string
	Status           int
	Message          json.RawMessage
	Expect           map[string]any
	file             string
}

func vectors(t *testing.T, profile string) []vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", strings.ReplaceAll(profile, "/", "-"), "*.json"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%s has %d vectors, %v", profile, len(files), err)
	}
	var out []vector
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v := vector{file: filepath.Base(name)}
		if err := json.Unmarshal(b, &v); err != nil || v.Rule == "" || v.Expect == nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, v)
	}
	return out
}

func TestEveryProfileAgainstItsVectors(t *testing.T) {
	count := 0
	for _, name := range Profiles() {
		profile, _ := ProfileNamed(name)
		list := vectors(t, name)
		var d *ocm.Discovery
		for _, v := range list {
			if v.file == "discovery.json" {
				d, _ = ocm.ReadDiscovery(v.Message)
			}
		}
		for _, v := range list {
			count++
			t.Run(name+"/"+v.file, func(t *testing.T) {
				got, err := outcome(t, profile, d, v)
				if refuse, ok := v.Expect["refuse"]; ok {
					if e, is := errors.AsType[*ocm.Error](err); !is || float64(e.Status) != refuse {
						t.Errorf("%s: got %v, %v, want to refuse with %v", v.Rule, got, err, refuse)
					}
					return
				}
				if err != nil {
					t.Fatalf("%s: %v", v.Rule, err)
				}
				for key, want := range v.Expect {
					have := got[key]
					if strings.HasPrefix(key, "/") {
						have = at(got["body"], key)
					}
					if !reflect.DeepEqual(plain(have), want) {
						t.Errorf("%s: %s is %v, want %v", v.Rule, key, plain(have), want)
					}
				}
			})
		}
	}
	if count < 60 {
		t.Errorf("only %d vectors", count)
	}
}

// plain is v as JSON has it.
func plain(v any) (out any) {
	b, _ := json.Marshal(v)
	json.Unmarshal(b, &out)
	return out
}

// at follows a JSON pointer; nil when nothing is there.
func at(v any, pointer string) any {
	v = plain(v)
	for _, key := range strings.Split(pointer, "/")[1:] {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// outcome is what the package makes of a vector.
func outcome(t *testing.T, profile Profile, d *ocm.Discovery, v vector) (map[string]any, error) {
	us, them := ocm.Address{Identifier: "alice", Host: "here.example"}, ocm.Address{Identifier: "einstein", Host: "peer.example"}
	switch v.Kind {
	case "discovery":
		d, err := ocm.ReadDiscovery(v.Message)
		if err != nil {
			return nil, err
		}
		return map[string]any{"profile": ProfileOf(d).Name}, nil
	case "share-in":
		n, err := ocm.ReadShare(v.Message)
		if err != nil {
			return nil, err
		}
		dav := n.Protocol.WebDAV
		form := map[ocm.ProtocolForm]string{ocm.FormMulti: "multi", ocm.FormOptions: "options"}[n.Protocol.Form]
		return map[string]any{
			"providerId": n.ProviderID, "sender": n.Sender.String(), "owner": n.Owner.String(), "shareWith": n.ShareWith.String(),
			"resourceType": n.ResourceType, "uri": dav.URI, "permissions": dav.Permissions, "requirements": append([]string{}, dav.Requirements...),
			"secret": dav.SharedSecret.Reveal(), "form": form,
		}, nil
	case "share-out":
		n := &ocm.NewShare{
			ShareWith: them, Name: "spec.txt", ProviderID: "0199", Owner: us, Sender: us, ShareType: "user", ResourceType: "file",
			Protocol: ocm.Protocol{WebDAV: &ocm.WebDAV{URI: "0199", SharedSecret: "s3cret", Permissions: []string{"read"}, Size: -1}},
		}
		profile.Adapt(n, "https")
		return map[string]any{"body": n}, nil
	case "notification-in":
		n, err := ocm.ReadNotification(v.Message)
		if err != nil {
			return nil, err
		}
		got := map[string]any{
			"type": n.Type, "providerId": n.ProviderID, "secret": n.SharedSecret.Reveal(), "sender": string(n.SenderDomain),
			"grantee": n.Grantee, "permissions": n.Permissions, "with": n.ShareWith.String(),
		}
		return got, nil
	case "notification-out":
		n := ocm.Notification{
			Type: v.Type, SenderDomain: us.Host, ResourceType: "folder", ProviderID: "0199", SharedSecret: "s3cret", Grantee: them.String(),
		}
		if v.Type == ocm.ShareChangePermission {
			n.Permissions = []string{"read"}
		}
		profile.AdaptNotification(&n)
		return map[string]any{"sent": profile.Reads(d, v.Type), "body": n}, nil
	}
	var body string
	if err := json.Unmarshal(v.Message, &body); err != nil {
		t.Fatal(err)
	}
	c := &Client{HTTP: &http.Client{Transport: answers{v.Status, body}}, Self: us.Host}
	to := Peer{Host: them.Host, Discovery: &ocm.Discovery{Enabled: true, EndPoint: "https://peer.example/ocm"}}
	got := map[string]any{}
	var err error
	switch v.Kind {
	case "answer":
		var answer *ocm.ShareAnswer
		if answer, err = c.Share(t.Context(), to, &ocm.NewShare{}); err == nil {
			got["name"] = answer.RecipientDisplayName
		}
	case "invite-answer":
		var party *ocm.InviteParty
		if party, err = c.AcceptInvite(t.Context(), to, ocm.InviteAcceptance{RecipientProvider: us.Host, Token: "t"}); err == nil {
			got["userID"] = party.UserID
		}
	default:
		return nil, fmt.Errorf("no such kind: %s", v.Kind)
	}
	if pe, ok := errors.AsType[*PeerError](err); ok {
		got["status"], got["code"], got["temporary"] = pe.Status, string(pe.Code), pe.Temporary
		return got, nil
	}
	return got, err
}

// answers is a server that always answers the same.
type answers struct {
	status int
	body   string
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func TestAProfileIsKnownByItsName(t *testing.T) {
	if _, ok := ProfileNamed("nextcloud-99"); ok {
		t.Error("an unknown profile is known")
	}
	for _, name := range Profiles() {
		if p, ok := ProfileNamed(name); !ok || p.Name != name {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
