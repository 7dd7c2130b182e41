package ocm

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Version is the API version this package writes.
const Version = "1.5.0"

// Capabilities and criteria by their names of OCM 1.5.
const (
	CapEnforceMFA     = "enforce-mfa"
	CapExchangeToken  = "exchange-token"
	CapHTTPSig        = "http-sig"
	CapInvites        = "invites"
	CapInviteWAYF     = "invite-wayf"
	CapNotifications  = "notifications"
	CapProtocolObject = "protocol-object"

	CriterionHTTPSig       = "must-use-http-sig"
	CriterionExchangeToken = "must-exchange-token"
	CriterionInvite        = "must-invite"
	CriterionAllowlist     = "allowlist"
	CriterionDenylist      = "denylist"
)

// Discovery is the document at /.well-known/ocm (OCM 1.5, OCM API Discovery).
type Discovery struct {
	Enabled            bool           `json:"enabled"`
	APIVersion         string         `json:"apiVersion"`
	EndPoint           string         `json:"endPoint"` // absolute, without a slash at its end when read
	Provider           string         `json:"provider,omitempty"`
	ResourceTypes      []ResourceType `json:"resourceTypes"`
	Capabilities       []string       `json:"capabilities,omitempty"`
	Criteria           []string       `json:"criteria,omitempty"`
	JWKSURI            string         `json:"jwksUri,omitempty"`
	TokenEndPoint      string         `json:"tokenEndPoint,omitempty"`
	InviteAcceptDialog string         `json:"inviteAcceptDialog,omitempty"` // a path or a URL
	PublicKey          *LegacyKey     `json:"publicKey,omitempty"`          // before 1.4
}

// LegacyKey is the key of a server that signs by draft-cavage-http-signatures, as
// Nextcloud 31 and 32 do.
type LegacyKey struct {
	KeyID string `json:"keyId"`        // a URL
	PEM   string `json:"publicKeyPem"` // SubjectPublicKeyInfo
}

// ResourceType is one entry of resourceTypes. Protocols holds each member as it
// came, because peers put strings where objects belong and the reverse.
type ResourceType struct {
	Name       string                     `json:"name"`
	ShareTypes []string                   `json:"shareTypes"`
	Protocols  map[string]json.RawMessage `json:"protocols"`
}

// The names that servers before 1.5 use, by what OCM 1.5 calls the same.
var (
	oldCapabilities = map[string][]string{
		CapNotifications: {"/notifications"},
		CapInvites:       {"/invite-accepted", "invite-accepted"},
		CapEnforceMFA:    {"/mfa-capable"},
	}
	oldCriteria = map[string][]string{
		CriterionHTTPSig:       {"http-request-signatures"},
		CriterionExchangeToken: {"token-exchange"},
		CriterionInvite:        {"invite"},
	}
)

// Bounds of a discovery document.
const (
	maxURL     = 2048 // bytes
	maxEntries = 100  // of a list
	maxPEM     = 8192 // bytes
)

// ReadDiscovery reads a peer's document as leniently as is safe: URLs without a
// scheme, entries of a wrong type, missing and unknown members. It must be an
// object of at most MaxDocument bytes with enabled and an endPoint; whatever
// else is odd is left out and does not keep us from what is well.
func ReadDiscovery(b []byte) (*Discovery, error) {
	if len(b) > MaxDocument {
		return nil, errTooLarge.Saying("the discovery document is larger than %d bytes", MaxDocument)
	}
	m, err := object(b)
	if err != nil {
		return nil, err
	}
	r := reader{m, "", new([]FieldError)}
	d := &Discovery{
		APIVersion: r.text("apiVersion", 64), Provider: r.text("provider", 512),
		ResourceTypes: readResourceTypes(m["resourceTypes"]),
		Capabilities:  readWords(m["capabilities"]), Criteria: readWords(m["criteria"]),
		EndPoint: readURL(r, "endPoint"), JWKSURI: readURL(r, "jwksUri"), TokenEndPoint: readURL(r, "tokenEndPoint"),
		InviteAcceptDialog: r.text("inviteAcceptDialog", maxURL),
	}
	if len(d.ResourceTypes) == 0 { // ownCloud 10
		d.ResourceTypes = readResourceTypes(m["shareTypes"])
	}
	if key, ok := r.sub("publicKey"); ok {
		k := &LegacyKey{KeyID: key.text("keyId", maxURL), PEM: key.prose("publicKeyPem", maxPEM)}
		if k.KeyID != "" && k.PEM != "" {
			d.PublicKey = k
		}
	}
	var faults []FieldError
	switch v := string(m["enabled"]); v {
	case "true", `"true"`, "1":
		d.Enabled = true
	case "false", `"false"`, "0":
	default:
		faults = append(faults, FieldError{"enabled", "must be true or false"})
	}
	d.EndPoint = strings.TrimRight(d.EndPoint, "/")
	if d.EndPoint == "" {
		faults = append(faults, FieldError{"endPoint", "must be an absolute URL"})
	}
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return d, nil
}

// readURL reads an absolute URL that may lack its scheme; "" when it is none.
func readURL(r reader, name string) string {
	s := strings.TrimSpace(r.text(name, maxURL))
	if s == "" {
		return ""
	}
	if !strings.Contains(s, "://") {
		s = "https://" + strings.TrimPrefix(s, "//")
	}
	s, _, _ = strings.Cut(s, "#")
	if badURL(s) != "" {
		return ""
	}
	return s
}

// badURL says what is wrong with an absolute URL of the API.
func badURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return "must be an absolute https URL"
	case u.User != nil || strings.Contains(s, "#"):
		return "must hold neither a user nor a fragment"
	}
	return ""
}

// readWords takes the words out of a list that should hold nothing else.
func readWords(b json.RawMessage) []string {
	var entries []json.RawMessage
	if json.Unmarshal(b, &entries) != nil {
		return nil
	}
	var words []string
	for _, e := range entries[:min(len(entries), maxEntries)] {
		var s string
		if json.Unmarshal(e, &s) == nil && s != "" && badText(s, maxListed, "") == "" {
			words = append(words, s)
		}
	}
	return words
}

func readResourceTypes(b json.RawMessage) []ResourceType {
	var entries []json.RawMessage
	if json.Unmarshal(b, &entries) != nil {
		return nil
	}
	var types []ResourceType
	for _, e := range entries[:min(len(entries), maxEntries)] {
		var m map[string]json.RawMessage
		if json.Unmarshal(e, &m) != nil {
			continue
		}
		r := reader{m, "", new([]FieldError)}
		name := r.text("name", maxListed)
		if name == "" {
			continue
		}
		protocols, _ := r.sub("protocols")
		types = append(types, ResourceType{name, readWords(m["shareTypes"]), protocols.members})
	}
	return types
}

// HasCapability reports whether the server names a capability, by its name of
// OCM 1.5 or an older one.
func (d *Discovery) HasCapability(name string) bool {
	return hasWord(d.Capabilities, name, oldCapabilities[name])
}

// HasCriterion reports whether the server names a criterion, by its name of
// OCM 1.5 or an older one.
func (d *Discovery) HasCriterion(name string) bool {
	return hasWord(d.Criteria, name, oldCriteria[name])
}

func hasWord(list []string, name string, old []string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return w == name || slices.Contains(old, w) })
}

// resource is the entry of a resource type, nil when there is none.
func (d *Discovery) resource(name string) *ResourceType {
	for i := range d.ResourceTypes {
		if d.ResourceTypes[i].Name == name {
			return &d.ResourceTypes[i]
		}
	}
	return nil
}

// WebDAVPath is the escaped path below which the server serves shares: the
// `webdav` member of its file entry, or of the first entry that has one. It
// begins with one slash; "" when there is none.
func (d *Discovery) WebDAVPath() string {
	types := d.ResourceTypes
	if f := d.resource(ResourceFile); f != nil {
		types = append([]ResourceType{*f}, types...)
	}
	for _, t := range types {
		var s string
		if json.Unmarshal(t.Protocols["webdav"], &s) != nil || s == "" {
			continue
		}
		if !strings.Contains(s, "://") {
			s = "/" + strings.TrimLeft(s, "/")
		}
		if u, err := url.Parse(s); err == nil {
			return "/" + strings.TrimLeft(u.EscapedPath(), "/")
		}
	}
	return ""
}

// ReceivesAbsoluteURI reports whether the server wants webdav.uri as a full
// URL (webdav-receive {"uri":"absolute"}); otherwise it takes the bare id.
func (d *Discovery) ReceivesAbsoluteURI() bool {
	for _, t := range d.ResourceTypes {
		var m map[string]json.RawMessage
		if json.Unmarshal(t.Protocols["webdav-receive"], &m) != nil {
			continue
		}
		if uri := string(m["uri"]); uri != "" {
			return uri == `"absolute"`
		}
	}
	return false
}

// Accepts reports whether the server says that it takes a combination. The
// combination file, user, webdav may always be tried (OCM 1.5, Share Creation
// Notification). Servers before 1.4 have one word for both roles of a protocol.
func (d *Discovery) Accepts(resourceType, shareType, protocol string) bool {
	if resourceType == ResourceFile && shareType == ShareTypeUser && protocol == "webdav" {
		return true
	}
	t := d.resource(resourceType)
	if t == nil || !slices.Contains(t.ShareTypes, shareType) {
		return false
	}
	if d.namesRoles() {
		protocol += "-receive"
	}
	_, ok := t.Protocols[protocol]
	return ok
}

// namesRoles reports whether the document tells receiving from sending.
func (d *Discovery) namesRoles() bool {
	for _, t := range d.ResourceTypes {
		for name := range t.Protocols {
			if strings.HasSuffix(name, "-receive") {
				return true
			}
		}
	}
	return false
}

// URL is the endPoint with a path like "/shares" behind it.
func (d *Discovery) URL(path string) string {
	base, query, ok := strings.Cut(d.EndPoint, "?")
	joined := strings.TrimRight(base, "/") + "/" + strings.TrimLeft(path, "/")
	if ok {
		joined += "?" + query
	}
	return joined
}

// Validate reports everything that keeps a document from being one of OCM 1.5:
// 400 with an entry of Fields for each. It is for documents we write, and for
// telling implementers what to mend.
func (d *Discovery) Validate() error {
	var faults []FieldError
	fault := func(name, format string, args ...any) {
		faults = append(faults, FieldError{name, fmt.Sprintf(format, args...)})
	}
	if d.APIVersion == "" {
		fault("apiVersion", "is required")
	}
	if d.EndPoint == "" {
		fault("endPoint", "is required")
	}
	if d.JWKSURI == "" && d.HasCapability(CapHTTPSig) {
		fault("jwksUri", "is required with the capability http-sig")
	}
	if d.TokenEndPoint == "" && d.HasCapability(CapExchangeToken) {
		fault("tokenEndPoint", "is required with the capability exchange-token")
	}
	for _, f := range []struct{ name, url string }{{"endPoint", d.EndPoint}, {"jwksUri", d.JWKSURI}, {"tokenEndPoint", d.TokenEndPoint}} {
		if f.url == "" {
			continue
		}
		if why := badURL(f.url); why != "" {
			fault(f.name, "%s", why)
		}
	}
	for _, need := range []struct{ criterion, capability string }{
		{CriterionHTTPSig, CapHTTPSig}, {CriterionExchangeToken, CapExchangeToken}, {CriterionInvite, CapInvites},
	} {
		if d.HasCriterion(need.criterion) && !d.HasCapability(need.capability) {
			fault("criteria", "%s needs the capability %s", need.criterion, need.capability)
		}
	}
	for _, name := range []string{ResourceFile, ResourceFolder} {
		if d.resource(name) == nil {
			fault("resourceTypes", "must have an entry for %s", name)
		}
	}
	seen := map[string]bool{}
	for i, t := range d.ResourceTypes {
		at := fmt.Sprintf("resourceTypes[%d].", i)
		if t.Name == "" || seen[t.Name] {
			fault(at+"name", "must be there and be unique")
		}
		seen[t.Name] = true
		if !slices.Contains(t.ShareTypes, ShareTypeUser) {
			fault(at+"shareTypes", "must hold user")
		}
		if len(t.Protocols) == 0 {
			fault(at+"protocols", "must not be empty")
		}
		if v, ok := t.Protocols["webdav"]; ok {
			var path string
			if json.Unmarshal(v, &path) != nil || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
				fault(at+"protocols.webdav", "must be a path that begins with a slash")
			}
		}
		if v, ok := t.Protocols["webdav-receive"]; ok {
			var receive map[string]string
			if json.Unmarshal(v, &receive) != nil || receive["uri"] != "absolute" && receive["uri"] != "relative" {
				fault(at+"protocols.webdav-receive", `must be {"uri":"absolute"} or {"uri":"relative"}`)
			}
		}
	}
	if len(faults) > 0 {
		return invalid(faults)
	}
	return nil
}
