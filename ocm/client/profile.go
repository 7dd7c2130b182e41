package client

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/ocm"
)

// Profile is the family of servers that a peer belongs to, with the switches in
// which families differ. What a peer says of itself by capabilities and protocols
// is not here: that is read off its discovery document.
type Profile struct {
	Name   string
	Reason string // what shows it
	Switches
}

// Switches are the differences between families of servers that no discovery
// document tells. The zero value is a server of OCM 1.5.
type Switches struct {
	// ShareForm is how it wants the protocol of a share written.
	ShareForm ocm.ProtocolForm
	// NotificationForm is how it reads and writes notifications.
	NotificationForm ocm.NotificationForm
	// SaysFile: its notifications, and those to it, are about a "file" whatever
	// the share is.
	SaysFile bool
	// TakesNotifications: it reads notifications though its document does not
	// say so.
	TakesNotifications bool
	// Hears are the types of notifications that it reads; nil: all. Others are
	// not sent to it.
	Hears []string
	// SecretProves: its notifications carry the sharedSecret, by which they are
	// known to come from it where they are not signed.
	SecretProves bool
	// OwnerScheme: it keeps the owner's host as it came and needs https:// in it.
	OwnerScheme bool
	// RootOnly: it serves a share at its webdav path alone, by the secret, and the
	// uri of its shares is of no use.
	RootOnly bool
	// UserIdToo: it looks for userId in an accepted invite.
	UserIdToo bool //nolint:revive // as it is on the wire
	// UnknownIsBad: a notification about a share that is not there is answered
	// with 400 in place of 404, which it takes for a missing server.
	UnknownIsBad bool
	// ReadOnlyFiles: it takes single files to read, and nothing else.
	ReadOnlyFiles bool
	// NoMFA: it refuses a share that demands a second factor.
	NoMFA bool
	// Cavage: it signs by draft-cavage, and verifies that alone.
	Cavage bool
}

// What servers before 1.5 hear of: the end of a share and its acceptance.
var old = []string{ocm.ShareAccepted, ocm.ShareDeclined, ocm.ShareUnshared, ocm.RequestReshare, ocm.ReshareUndo}

// nextcloud is what all its versions have in common, and ownCloud 10 with them.
var nextcloud = Switches{
	ShareForm: ocm.FormBoth, NotificationForm: ocm.NotifyBoth, SaysFile: true, TakesNotifications: true, Hears: old, SecretProves: true,
	RootOnly: true, UserIdToo: true, UnknownIsBad: true, NoMFA: true,
}

func with(s Switches, change func(*Switches)) Switches {
	change(&s)
	return s
}

// The profiles by name, in the order in which they are shown.
var profiles = []Profile{
	{Name: "ocm-1.5"},
	{Name: "ocm-1.4", Switches: Switches{NotificationForm: ocm.NotifyBoth}},
	{Name: "nextcloud-33+", Switches: nextcloud},
	{Name: "nextcloud-31/32", Switches: with(nextcloud, func(s *Switches) { s.Cavage = true })},
	{Name: "nextcloud-30-", Switches: nextcloud},
	{Name: "owncloud-10", Switches: with(nextcloud, func(s *Switches) { s.OwnerScheme = true })},
	{Name: "ocis", Switches: Switches{
		NotificationForm: ocm.NotifyGrantee, SaysFile: true, TakesNotifications: true, Hears: []string{ocm.ShareUnshared, ocm.ShareChangePermission}, NoMFA: true,
	}},
	{Name: "reva", Switches: Switches{NotificationForm: ocm.NotifyBoth, NoMFA: true}},
	{Name: "opencloudmesh-go", Switches: Switches{
		NotificationForm: ocm.NotifyBoth, Hears: []string{ocm.ShareAccepted, ocm.ShareDeclined, ocm.ShareUnshared}, ReadOnlyFiles: true, NoMFA: true,
	}},
	{Name: "seafile", Switches: Switches{ShareForm: ocm.FormBoth, NotificationForm: ocm.NotifyBoth, TakesNotifications: true, Hears: old}},
	{Name: "ocm-1.2", Switches: Switches{NotificationForm: ocm.NotifyBoth}},
	{Name: "ocm-1.1", Switches: Switches{NotificationForm: ocm.NotifyBoth}},
	{Name: "ocm-1.0", Switches: Switches{ShareForm: ocm.FormBoth, NotificationForm: ocm.NotifyBoth, TakesNotifications: true, Hears: old}},
}

// Profiles lists the names of all profiles.
func Profiles() []string {
	var out []string
	for _, p := range profiles {
		out = append(out, p.Name)
	}
	return out
}

// ProfileNamed finds a profile, for operators who know better than the document
// tells.
func ProfileNamed(name string) (Profile, bool) {
	i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return profiles[i], true
}

func because(name, reason string) Profile {
	p, _ := ProfileNamed(name)
	p.Reason = reason
	return p
}

// ProfileOf reads a server's family off what it says of itself.
func ProfileOf(d *ocm.Discovery) Profile {
	provider := strings.ToLower(d.Provider)
	old := strings.HasPrefix(d.APIVersion, "1.0") || strings.HasPrefix(d.APIVersion, "1.1")
	protocol := func(name string) bool {
		return slices.ContainsFunc(d.ResourceTypes, func(t ocm.ResourceType) bool { _, ok := t.Protocols[name]; return ok })
	}
	newer := d.JWKSURI != "" || d.HasCapability(ocm.CapHTTPSig) // a key of the older kind beside it shows nothing
	has := func(part string) bool { return strings.Contains(strings.ToLower(d.EndPoint), part) }
	switch {
	case has("/api/v2.1/ocm"), has("/ocm-via-webdav"):
		return because("seafile", "endPoint of Seafile")
	case has("federatedfilesharing"):
		return because("owncloud-10", "endPoint of the app federatedfilesharing")
	case provider == "opencloudmesh" || strings.Contains(provider, "opencloudmesh-go"):
		return because("opencloudmesh-go", "provider "+d.Provider)
	case d.JWKSURI != "" && (strings.Contains(provider, "nextcloud") || has("/index.php/ocm")):
		return because("nextcloud-33+", "provider or endPoint of Nextcloud, with jwksUri")
	case d.PublicKey != nil && !newer:
		return because("nextcloud-31/32", "publicKey in the document, and no newer key")
	case d.JWKSURI == "" && has("/index.php/ocm"), strings.Contains(provider, "nextcloud"):
		return because("nextcloud-30-", "endPoint or provider of Nextcloud, without a key")
	case strings.Contains(provider, "ocis") || strings.Contains(provider, "infinite scale"):
		return because("ocis", "provider "+d.Provider)
	case provider == "opencloud", d.JWKSURI == "" && slices.Contains(d.Capabilities, "webdav-uri"):
		return because("reva", "provider OpenCloud, or the capability webdav-uri")
	case d.JWKSURI == "" && protocol("webdav-receive") && d.ReceivesAbsoluteURI():
		return because("reva", "no jwksUri, webdav-receive with absolute uri")
	case strings.HasPrefix(d.APIVersion, "1.5"):
		return because("ocm-1.5", "apiVersion "+d.APIVersion)
	case protocol("webdav-receive") || d.JWKSURI != "":
		return because("ocm-1.4", "jwksUri or webdav-receive, apiVersion "+d.APIVersion)
	case strings.HasPrefix(d.APIVersion, "1.0") && !d.HasCapability(ocm.CapProtocolObject):
		return because("ocm-1.0", "apiVersion "+d.APIVersion)
	case old:
		return because("ocm-1.1", "apiVersion "+d.APIVersion)
	case strings.HasPrefix(d.APIVersion, "1.2") || strings.HasPrefix(d.APIVersion, "1.3"):
		return because("ocm-1.2", "apiVersion "+d.APIVersion)
	}
	return because("ocm-1.4", "apiVersion "+d.APIVersion)
}

// Adapt writes a share as the peer reads it; scheme is that of our own origin.
func (p Profile) Adapt(n *ocm.NewShare, scheme string) {
	n.Protocol.Form = p.ShareForm
	if p.OwnerScheme {
		n.OwnerScheme = scheme
	}
}

// Reads reports whether a peer that says d of itself reads notifications of a
// type.
func (p Profile) Reads(d *ocm.Discovery, kind string) bool {
	return (d.HasCapability(ocm.CapNotifications) || p.TakesNotifications) && (p.Hears == nil || slices.Contains(p.Hears, kind))
}

// AdaptNotification writes a notification as the peer reads it. The caller adds
// the sharedSecret and the grantee that its form has.
func (p Profile) AdaptNotification(n *ocm.Notification) {
	n.Form = p.NotificationForm
	if p.SaysFile && n.ResourceType != "" {
		n.ResourceType = ocm.ResourceFile
	}
}
