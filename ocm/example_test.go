package ocm_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/ocm"
)

func ExampleReadAddress() {
	a, err := ocm.ReadAddress("alice@https://Cloud.Example.org/")
	fmt.Println(a.Identifier, a.Host, err)
	// Output: alice cloud.example.org <nil>
}

func ExampleReadShare() {
	n, err := ocm.ReadShare([]byte(`{
		"shareWith": "bob@there.example", "name": "Plans", "providerId": "0199",
		"owner": "alice@here.example", "sender": "alice@here.example",
		"shareType": "user", "resourceType": "folder",
		"protocol": {"name": "multi", "webdav": {"uri": "0199", "sharedSecret": "s3cr3t", "permissions": ["read"]}}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n.Name, "from", n.Sender, n.Protocol.WebDAV.Permissions, n.Protocol.WebDAV.SharedSecret)
	// Output: Plans from alice@here.example [read] [redacted]
}

// A refusal says what the peer is to be answered.
func ExampleReadShare_refused() {
	_, err := ocm.ReadShare([]byte(`{"shareWith": "bob@there.example", "name": "../../etc/passwd"}`))
	e, _ := errors.AsType[*ocm.Error](err)
	fmt.Println(e.Status, e.Code)
	for _, f := range e.Fields {
		fmt.Println(f.Name, f.Message)
	}
	// Output:
	// 400 INVALID_PAYLOAD
	// providerId is required
	// owner is required
	// shareType is required
	// resourceType is required
	// name must be a plain name, without a path
	// sender is required
	// protocol is required
}

func ExampleNewShare_MarshalJSON() {
	alice := ocm.Address{Identifier: "alice", Host: "here.example"}
	b, err := json.MarshalIndent(ocm.NewShare{
		ShareWith: ocm.Address{Identifier: "bob", Host: "there.example"},
		Name:      "Plans", ProviderID: "0199", Owner: alice, Sender: alice,
		ShareType: ocm.ShareTypeUser, ResourceType: ocm.ResourceFolder,
		Protocol: ocm.Protocol{WebDAV: &ocm.WebDAV{
			URI: "0199", SharedSecret: "s3cr3t", Permissions: []string{ocm.PermRead, ocm.PermWrite},
			Requirements: []string{ocm.RequireExchange}, Size: -1,
		}},
	}, "", "  ")
	fmt.Println(string(b), err)
	// Output:
	// {
	//   "shareWith": "bob@there.example",
	//   "name": "Plans",
	//   "providerId": "0199",
	//   "owner": "alice@here.example",
	//   "sender": "alice@here.example",
	//   "shareType": "user",
	//   "resourceType": "folder",
	//   "protocol": {
	//     "name": "multi",
	//     "webdav": {
	//       "uri": "0199",
	//       "sharedSecret": "s3cr3t",
	//       "permissions": [
	//         "read",
	//         "write"
	//       ],
	//       "requirements": [
	//         "must-exchange-token"
	//       ]
	//     }
	//   }
	// } <nil>
}

func ExampleReadDiscovery() {
	d, err := ocm.ReadDiscovery([]byte(`{
		"enabled": true, "apiVersion": "1.1.0", "endPoint": "cloud.example/index.php/ocm",
		"resourceTypes": [{"name": "file", "shareTypes": ["user"], "protocols": {"webdav": "public.php/webdav/"}}],
		"capabilities": ["/notifications"]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.URL("/shares"))
	fmt.Println(d.WebDAVPath())
	fmt.Println(d.HasCapability(ocm.CapNotifications), d.HasCapability(ocm.CapHTTPSig))
	// Output:
	// https://cloud.example/index.php/ocm/shares
	// /public.php/webdav/
	// true false
}

func ExampleNotification_MarshalJSON() {
	b, err := json.Marshal(ocm.Notification{
		Type: ocm.ShareAccepted, SenderDomain: "there.example", ResourceType: ocm.ResourceFile, ProviderID: "0199",
	})
	fmt.Println(string(b), err)
	// Output: {"notificationType":"SHARE_ACCEPTED","senderDomain":"there.example","resourceType":"file","notification":{"file":{"providerId":"0199"}}} <nil>
}

func ExampleTokenRequest_Form() {
	fmt.Println(ocm.TokenRequest{GrantType: ocm.GrantAuthorizationCode, ClientID: "there.example:8443", Code: "s3cr3t"}.Form())
	// Output: client_id=there.example%3A8443&code=s3cr3t&grant_type=authorization_code
}
