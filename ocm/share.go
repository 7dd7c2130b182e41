package ocm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Share types, resource types, permissions and requirements of OCM 1.5.
const (
	ShareTypeUser  = "user"
	ShareTypeGroup = "group"

	ResourceFile   = "file"
	ResourceFolder = "folder"

	PermRead  = "read"
	PermWrite = "write"
	PermShare = "share"

	RequireExchange = "must-exchange-token"
	RequireMFA      = "must-use-mfa"
)

// NewShare is a Share Creation Notification (OCM 1.5, Share Creation
// Notification, Fields).
type NewShare struct {
	ShareWith         Address // Host is "" when an older server left it out
	Name              string  // of one path segment
	Description       string
	ProviderID        string // never reused by its sender: peers know the share by it
	Owner             Address
	OwnerDisplayName  string
	Sender            Address
	SenderDisplayName string
	ShareType         string
	ResourceType      string
	Expiration        time.Time // in whole seconds; zero: never
	Protocol          Protocol
	Encryption        json.RawMessage // nil: none
	// OwnerScheme is written before the hosts of owner and sender, for servers
	// that cannot do without: "https". It is never read.
	OwnerScheme string
}

// Protocol says how the Resource can be reached. Members that are not offered
// are nil; Other holds protocols this package does not know, as they came.
type Protocol struct {
	WebDAV *WebDAV
	Other  map[string]json.RawMessage
	Form   ProtocolForm
}

// ProtocolForm is how a share's protocol is written.
type ProtocolForm int

// The forms.
const (
	// FormMulti has a member for each protocol (OCM 1.1 on).
	FormMulti ProtocolForm = iota
	// FormOptions is that of OCM 1.0: name webdav, and options. Read from it,
	// WebDAV.URI is empty: access is Basic at the peer's webdav path.
	FormOptions
	// FormBoth has name webdav and options, for servers that look for those, and
	// the member webdav beside them. It is read as FormMulti.
	FormBoth
)

// WebDAV is the protocol member "webdav".
type WebDAV struct {
	URI          string // absolute, or an id below the sender's webdav path
	SharedSecret Secret
	Permissions  []string
	Requirements []string
	AccessTypes  []string // empty: ["remote"]
	Size         int64    // bytes; -1: not said
}

// ShareAnswer is the body of 201.
type ShareAnswer struct {
	RecipientDisplayName string   `json:"recipientDisplayName"`
	RecipientPublicKeys  []string `json:"recipientPublicKeys,omitempty"`
}

// MarshalJSON writes the share in the form that Protocol.Form says. It is the one
// place where a sharedSecret is written out.
func (n NewShare) MarshalJSON() ([]byte, error) {
	protocol := map[string]any{}
	for name, v := range n.Protocol.Other {
		protocol[name] = v
	}
	protocol["name"] = "multi"
	w := n.Protocol.WebDAV
	if w != nil && n.Protocol.Form != FormMulti {
		protocol["name"] = "webdav"
		protocol["options"] = optionsWire{w.SharedSecret.Reveal(), w.Permissions}
	}
	if w != nil && n.Protocol.Form != FormOptions {
		out := webdavWire{
			AccessTypes: w.AccessTypes, URI: w.URI, SharedSecret: w.SharedSecret.Reveal(),
			Permissions: w.Permissions, Requirements: w.Requirements,
		}
		if w.Size >= 0 {
			out.Size = &w.Size
		}
		protocol["webdav"] = out
	}
	wire := shareWire{
		ShareWith: n.ShareWith.String(), Name: n.Name, Description: n.Description, ProviderID: n.ProviderID,
		Owner: withScheme(n.Owner, n.OwnerScheme), Sender: withScheme(n.Sender, n.OwnerScheme),
		OwnerDisplayName: n.OwnerDisplayName, SenderDisplayName: n.SenderDisplayName,
		ShareType: n.ShareType, ResourceType: n.ResourceType, Protocol: protocol, Encryption: n.Encryption,
	}
	if !n.Expiration.IsZero() {
		wire.Expiration = new(n.Expiration.Unix())
	}
	return json.Marshal(wire)
}

func withScheme(a Address, scheme string) string {
	if scheme == "" {
		return a.String()
	}
	return a.Identifier + "@" + scheme + "://" + string(a.Host)
}

type shareWire struct {
	ShareWith         string          `json:"shareWith"`
	Name              string          `json:"name"`
	Description       string          `json:"description,omitempty"`
	ProviderID        string          `json:"providerId"`
	Owner             string          `json:"owner"`
	Sender            string          `json:"sender"`
	OwnerDisplayName  string          `json:"ownerDisplayName,omitempty"`
	SenderDisplayName string          `json:"senderDisplayName,omitempty"`
	ShareType         string          `json:"shareType"`
	ResourceType      string          `json:"resourceType"`
	Expiration        *int64          `json:"expiration,omitempty"`
	Protocol          map[string]any  `json:"protocol"`
	Encryption        json.RawMessage `json:"encryption,omitempty"`
}

type webdavWire struct {
	AccessTypes  []string `json:"accessTypes,omitempty"`
	URI          string   `json:"uri"`
	SharedSecret string   `json:"sharedSecret"`
	Permissions  []string `json:"permissions"`
	Requirements []string `json:"requirements,omitempty"`
	Size         *int64   `json:"size,omitempty"`
}

type optionsWire struct {
	SharedSecret string   `json:"sharedSecret"`
	Permissions  []string `json:"permissions,omitempty"`
}

// Bounds of a share's members, in bytes.
const (
	maxName        = 255
	maxProviderID  = 255
	maxDisplayName = 512
	maxProse       = 4096
	maxWord        = 64 // of types
	maxSecret      = 4096
)

// maxExpiration is the end of the year 9999, the last that RFC 3339 can write.
const maxExpiration = 253402300799

// ReadShare reads a Share Creation Notification in any form that servers send:
// "multi", a protocol named and given by its own member, no name at all, and
// the `options` of OCM 1.0. All faults are gathered into one 400; what is
// well-formed but not supported here is a 501.
func ReadShare(b []byte) (*NewShare, error) {
	m, err := object(b)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	n := &NewShare{
		ShareWith: readRecipient(r), Name: r.required("name", maxName), Description: r.prose("description", maxProse),
		ProviderID: readProviderID(r), Owner: readParty(r, "owner"),
		OwnerDisplayName: r.text("ownerDisplayName", maxDisplayName), SenderDisplayName: r.text("senderDisplayName", maxDisplayName),
		ShareType: r.required("shareType", maxWord), ResourceType: r.required("resourceType", maxWord),
		Expiration: readExpiration(r),
	}
	if strings.Contains(n.Name, "/") || n.Name == "." || n.Name == ".." {
		r.fault("name", "must be a plain name, without a path")
	}
	if !r.has("sender") && r.has("sharedBy") { // Nextcloud
		n.Sender = readParty(r, "sharedBy")
		if n.SenderDisplayName == "" {
			n.SenderDisplayName = r.text("sharedByDisplayName", maxDisplayName)
		}
	} else {
		n.Sender = readParty(r, "sender")
	}
	usable := readProtocol(r, &n.Protocol)
	_, encrypted := r.sub("encryption")
	switch {
	case len(faults) > 0:
		return nil, invalid(faults)
	case n.ShareType != ShareTypeUser && n.ShareType != ShareTypeGroup:
		return nil, unsupported(CodeShareTypeUnsupported, "shares of the type %q are not supported", n.ShareType)
	case n.ResourceType != ResourceFile && n.ResourceType != ResourceFolder:
		return nil, unsupported(CodeResourceUnsupported, "resources of the type %q are not supported", n.ResourceType)
	case encrypted:
		// Without the key its content would look like a damaged file.
		return nil, unsupported(CodeSchemeUnsupported, "encrypted shares are not supported")
	case !usable:
		return nil, unsupported(CodeProtocolUnsupported, "the share offers no protocol that is supported: it must offer webdav")
	}
	return n, nil
}

func unsupported(code Code, format string, args ...any) error {
	return NewError(http.StatusNotImplemented, code, fmt.Sprintf(format, args...))
}

// readProviderID takes the small numbers of older servers too.
func readProviderID(r reader) string {
	if id := string(r.members["providerId"]); id != "" {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return r.required("providerId", maxProviderID)
}

func readParty(r reader, name string) Address {
	s := r.required(name, maxAddress)
	if s == "" {
		return Address{}
	}
	a, err := ReadAddress(s)
	if err != nil {
		r.fault(name, "%s", err)
	}
	return a
}

// readRecipient reads shareWith, which older servers send without a host: the
// host is then the server's to fill in.
func readRecipient(r reader) Address {
	var s string
	if json.Unmarshal(r.members["shareWith"], &s) != nil || s == "" || strings.Contains(s, "@") {
		return readParty(r, "shareWith")
	}
	if err := checkIdentifier(s); err != nil {
		r.fault("shareWith", "%s", err)
		return Address{}
	}
	return Address{Identifier: s}
}

func readExpiration(r reader) time.Time {
	if !r.has("expiration") {
		return time.Time{}
	}
	sec, err := strconv.ParseInt(string(r.members["expiration"]), 10, 64)
	if err != nil || sec < 0 || sec > maxExpiration {
		r.fault("expiration", "must be a time in whole seconds since 1970, as a number")
		return time.Time{}
	}
	return time.Unix(sec, 0).UTC()
}

// maxProtocols bounds how many protocols a share offers.
const maxProtocols = 16

// readProtocol reads the protocol object and reports whether it offers anything
// this package can use.
func readProtocol(r reader, p *Protocol) bool {
	m, ok := r.sub("protocol")
	if !ok {
		if !r.has("protocol") {
			r.fault("protocol", "is required")
		}
		return false
	}
	if len(m.members) > maxProtocols {
		r.fault("protocol", "has more than %d members", maxProtocols)
		return false
	}
	name := m.text("name", maxWord)
	for member, v := range m.members {
		if member == "name" || member == "options" || member == "webdav" || !m.has(member) {
			continue
		}
		if badText(member, maxWord, "") != "" {
			r.fault("protocol", "has a member whose name is too long or holds control characters")
			return false
		}
		if p.Other == nil {
			p.Other = map[string]json.RawMessage{}
		}
		p.Other[member] = v
	}
	old := name == "webdav" || name == ""
	if m.has("webdav") && !(name == "webdav" && onlyOptions(m)) {
		if dav, ok := m.sub("webdav"); ok {
			p.WebDAV = readWebDAV(dav)
			checkAgreement(m, p.WebDAV.Requirements)
		}
		return true
	}
	if m.has("options") && old {
		if options, ok := m.sub("options"); ok && len(options.members) > 0 {
			p.Form = FormOptions
			p.WebDAV = &WebDAV{SharedSecret: readSecret(options), Permissions: readLegacyPermissions(options), Size: -1}
			return true
		}
	}
	if len(p.Other) == 0 && (old || name == "multi") {
		r.fault("protocol", "offers nothing: it must have the member webdav")
	}
	return false
}

// onlyOptions reports whether a share can be opened by its options alone: its
// member webdav leads nowhere (ocm-stub), and demands nothing that would be lost
// with it.
func onlyOptions(m reader) bool {
	var dav, options map[string]json.RawMessage
	if json.Unmarshal(m.members["webdav"], &dav) != nil || json.Unmarshal(m.members["options"], &options) != nil {
		return false
	}
	return dav["uri"] == nil && dav["url"] == nil && dav["requirements"] == nil && options["sharedSecret"] != nil
}

func readWebDAV(r reader) *WebDAV {
	w := &WebDAV{
		SharedSecret: readSecret(r), Size: -1, Permissions: []string{PermRead},
		Requirements: readSubset(r, "requirements", RequireExchange, RequireMFA), AccessTypes: r.list("accessTypes", 10),
	}
	uri := "uri"
	if !r.has("uri") && r.has("url") { // older oCIS
		uri = "url"
	}
	w.URI = r.required(uri, maxURL)
	if scheme, rest, ok := strings.Cut(w.URI, "://"); ok && strings.Contains(rest, "://") && (scheme == "https" || scheme == "http") {
		w.URI = rest // Nextcloud 35 writes a scheme before a URL that has one
	}
	if why := badURI(w.URI); w.URI != "" && why != "" {
		r.fault(uri, "%s", why)
	}
	switch words := readWords(r.members["permissions"]); {
	case slices.Contains(words, sharePermissions): // Nextcloud 35: the property to ask for
		w.Permissions = []string{PermRead, PermWrite}
	case r.has("permissions"):
		w.Permissions = readPermissions(r)
	}
	if r.has("size") {
		size, err := strconv.ParseInt(string(r.members["size"]), 10, 64)
		if err != nil || size < 0 {
			r.fault("size", "must be a number of bytes")
			return w
		}
		w.Size = size
	}
	return w
}

func readSecret(r reader) Secret {
	s := r.required("sharedSecret", maxSecret)
	if !usableSecret(s) {
		r.fault("sharedSecret", "holds characters that an Authorization header cannot carry")
	}
	return Secret(s)
}

// usableSecret reports whether s can stand in an Authorization header.
func usableSecret(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}

// badURI says what is wrong with webdav.uri: it is an https or http URL, or an
// id that stays below the sender's webdav path.
func badURI(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "is not a URI"
	}
	if strings.Contains(s, "://") {
		if why := badURL(s); why != "" {
			return why
		}
		if _, err := ReadHost(u.Host); err != nil {
			return "has no valid host"
		}
	} else if u.Scheme != "" || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "?#") {
		return "must be an absolute https URL or an id"
	}
	if strings.Contains(u.Path, `\`) || slices.Contains(strings.Split(u.Path, "/"), "..") {
		return "must not lead upwards"
	}
	return ""
}

// readSubset reads a list whose entries are among the allowed ones, each once.
func readSubset(r reader, name string, allowed ...string) []string {
	var out []string
	for _, v := range r.list(name, 10) {
		if !slices.Contains(allowed, v) {
			r.fault(name, "must be among %s", strings.Join(allowed, ", "))
			return nil
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// readPermissions reads the permissions that are there: an empty list would
// share nothing.
func readPermissions(r reader) []string {
	before := len(*r.faults)
	perms := readSubset(r, "permissions", PermRead, PermWrite, PermShare)
	if len(perms) == 0 && len(*r.faults) == before {
		r.fault("permissions", "must not be empty")
	}
	return perms
}

// checkAgreement makes sure that the protocols of a share demand the same: the
// weaker one would be the way around the stronger (OCM 1.5, Fields).
func checkAgreement(r reader, requirements []string) {
	if webapp, ok := r.sub("webapp"); ok {
		want := slices.Sorted(slices.Values(requirements))
		got := slices.Sorted(slices.Values(webapp.list("requirements", 10)))
		if !slices.Equal(want, slices.Compact(got)) {
			webapp.fault("requirements", "must be those of webdav")
		}
	}
}

// sharePermissions is the property in which the OwnCloud family keeps what a
// share allows. They send its name in place of a value, or beside one.
const sharePermissions = "{http://open-cloud-mesh.org/ns}share-permissions"

// Flags of the Open Collaboration Services' sharing API, which numbers stand for.
const (
	ocsUpdate = 1 << 1
	ocsCreate = 1 << 2
	ocsShare  = 1 << 4
)

// readLegacyPermissions reads the rights that servers put into options: a list,
// a number of OCS flags, or the name of the property to ask for, in which case
// writing may be tried: the sender decides at each access. Reading is always
// meant, and all that is understood of anything else.
func readLegacyPermissions(r reader) []string {
	v := r.members[sharePermissions]
	if !r.has(sharePermissions) {
		v = r.members["permissions"]
	}
	perms := []string{PermRead}
	if flags, err := strconv.ParseInt(string(v), 10, 64); err == nil {
		if flags&(ocsUpdate|ocsCreate) != 0 {
			perms = append(perms, PermWrite)
		}
		if flags&ocsShare != 0 {
			perms = append(perms, PermShare)
		}
		return perms
	}
	var word string
	if json.Unmarshal(v, &word) == nil && word == sharePermissions {
		return append(perms, PermWrite)
	}
	words := readWords(v)
	for _, p := range []string{PermWrite, PermShare} {
		if slices.Contains(words, p) {
			perms = append(perms, p)
		}
	}
	return perms
}
