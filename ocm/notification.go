package ocm

import (
	"encoding/json"
	"slices"
)

// Notification types of OCM 1.5, and ReshareUndo of earlier versions.
const (
	ShareAccepted         = "SHARE_ACCEPTED"
	ShareDeclined         = "SHARE_DECLINED"
	ShareUnshared         = "SHARE_UNSHARED"
	ShareChangePermission = "SHARE_CHANGE_PERMISSION"
	RequestReshare        = "REQUEST_RESHARE"
	ReshareUndo           = "RESHARE_UNDO"
	RequestShare          = "REQUEST_SHARE"
	UserRemoved           = "USER_REMOVED"
	GroupRemoved          = "GROUP_REMOVED"
)

// reshareChangePermission is what servers before 1.5 call SHARE_CHANGE_PERMISSION.
const reshareChangePermission = "RESHARE_CHANGE_PERMISSION"

// NotificationForm is how a notification is written.
type NotificationForm int

// The forms. All are read.
const (
	// NotifyNew is OCM 1.5 alone.
	NotifyNew NotificationForm = iota
	// NotifyBoth adds providerId on top and notification.sharedSecret, as the
	// servers before 1.5 want them.
	NotifyBoth
	// NotifyGrantee adds what oCIS wants besides: notification.grantee and
	// notification.protocol.
	NotifyGrantee
)

// Notification is a message about a share, a request, or a person (OCM 1.5,
// Notifications): {notificationType, senderDomain, resourceType, shareType,
// notification:{message, file:{providerId, permissions}}}.
type Notification struct {
	Type         string
	SenderDomain Host   // the server that sends it and must have signed it; "" when an older server left it out
	ResourceType string // one of ResourceType and ShareType is set
	ShareType    string
	Message      string
	ProviderID   string   // "" where Type is not about a share
	Permissions  []string // those that hold from now on, or are asked for
	UserID       string   // identifier at the senderDomain; USER_REMOVED only
	GroupID      string   // identifier at the senderDomain; GROUP_REMOVED only

	// ShareWith is who is to receive a share: the third party of
	// REQUEST_RESHARE and of what ends it, the asking person of REQUEST_SHARE. A
	// SHARE_DECLINED that has it says no to that request.
	ShareWith Address
	Owner     Address // who is asked by REQUEST_SHARE, or answers it

	// ShareID names the resource of REQUEST_SHARE, opaque or a URL. A
	// SHARE_CHANGE_PERMISSION that has it is the yes to that request.
	ShareID string

	Form         NotificationForm
	SenderID     string // of the share at the asking server; REQUEST_RESHARE before 1.5
	SharedSecret Secret // of the share, by which servers without signatures know each other
	Grantee      string // oCIS: the recipient, as its invite named them
}

// aboutShare are the types that name a share by its providerId; known are all
// that ReadNotification takes. Which of them a server handles is its own matter.
var (
	aboutShare = []string{ShareAccepted, ShareDeclined, ShareUnshared, ShareChangePermission, RequestReshare, ReshareUndo}
	known      = append([]string{RequestShare, UserRemoved, GroupRemoved}, aboutShare...)
)

type notificationWire struct {
	Type         string    `json:"notificationType"`
	SenderDomain string    `json:"senderDomain,omitempty"`
	ResourceType string    `json:"resourceType,omitempty"`
	ShareType    string    `json:"shareType,omitempty"`
	ProviderID   string    `json:"providerId,omitempty"`
	Notification innerWire `json:"notification"`
}

type innerWire struct {
	Message      string          `json:"message,omitempty"`
	File         *fileWire       `json:"file,omitempty"`
	User         *userWire       `json:"user,omitempty"`
	Group        *groupWire      `json:"group,omitempty"`
	SharedSecret string          `json:"sharedSecret,omitempty"`
	Grantee      string          `json:"grantee,omitempty"`
	ShareWith    string          `json:"shareWith,omitempty"`
	SenderID     string          `json:"senderId,omitempty"`
	ShareType    string          `json:"shareType,omitempty"`
	Protocol     *permissionWire `json:"protocol,omitempty"`
}

type fileWire struct {
	ProviderID  string   `json:"providerId,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	ShareWith   string   `json:"shareWith,omitempty"`
	ShareID     string   `json:"shareId,omitempty"`
	Permissions []string `json:"permissions,omitempty"`
}

type userWire struct {
	UserID string `json:"userId"`
}

type groupWire struct {
	GroupID string `json:"groupId"`
}

// permissionWire is how oCIS writes changed permissions.
type permissionWire struct {
	Name   string `json:"name"`
	WebDAV struct {
		Permissions []string `json:"permissions"`
	} `json:"webdav"`
}

// NotificationAnswer is what an answer to a notification may say. OCM 1.5 has
// nothing in it; servers before tell of the share that REQUEST_RESHARE made.
type NotificationAnswer struct {
	ProviderID string // of the new share
	Token      Secret // what proves to the peer that it may be withdrawn
}

// MarshalJSON writes the members that servers before 1.5 look for.
func (a NotificationAnswer) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ProviderID string `json:"providerId,omitempty"`
		Token      string `json:"token,omitempty"`
		Secret     string `json:"sharedSecret,omitempty"`
	}{a.ProviderID, a.Token.Reveal(), a.Token.Reveal()})
}

// ReadNotificationAnswer reads an answer; one that cannot be read says nothing,
// because success is the status.
func ReadNotificationAnswer(b []byte) *NotificationAnswer {
	m, err := object(b)
	if err != nil {
		return &NotificationAnswer{}
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	a := &NotificationAnswer{Token: Secret(r.text("token", maxSecret))}
	if a.Token == "" {
		a.Token = Secret(r.text("sharedSecret", maxSecret))
	}
	if r.has("providerId") {
		a.ProviderID = readProviderID(r)
	}
	if len(faults) > 0 {
		return &NotificationAnswer{}
	}
	return a
}

// MarshalJSON writes the form of OCM 1.5, and with it what Form says. The key is
// `file` for folders too. With Form other than NotifyNew it writes out the
// sharedSecret, which goes to the share's own peer alone.
func (n Notification) MarshalJSON() ([]byte, error) {
	w := notificationWire{Type: n.Type, SenderDomain: string(n.SenderDomain), ResourceType: n.ResourceType, ShareType: n.ShareType}
	in := &w.Notification
	in.Message = n.Message
	file := fileWire{ProviderID: n.ProviderID, ShareID: n.ShareID, Permissions: n.Permissions}
	if n.ShareWith != (Address{}) {
		file.ShareWith = n.ShareWith.String()
	}
	if n.Owner != (Address{}) {
		file.Owner = n.Owner.String()
	}
	if n.ProviderID != "" || n.ShareID != "" || len(n.Permissions) > 0 {
		in.File = &file
	}
	if n.UserID != "" {
		in.User = &userWire{Address{n.UserID, n.SenderDomain}.String()}
	}
	if n.GroupID != "" {
		in.Group = &groupWire{n.GroupID}
	}
	if n.Form != NotifyNew && n.ProviderID != "" {
		w.ProviderID, in.SharedSecret, in.ShareWith = n.ProviderID, n.SharedSecret.Reveal(), file.ShareWith
	}
	if n.Form != NotifyNew && n.Type == RequestReshare {
		in.SenderID, in.ShareType = n.SenderID, ShareTypeUser
	}
	if n.Form == NotifyGrantee && n.ProviderID != "" {
		in.Grantee = n.Grantee
		if n.Type == ShareChangePermission {
			in.Protocol = &permissionWire{Name: "multi"}
			in.Protocol.WebDAV.Permissions = n.Permissions
		}
	}
	return json.Marshal(w)
}

// ReadNotification reads a notification of OCM 1.5 or an older form: `folder`
// for `file`, providerId and sharedSecret where servers before 1.5 put them, the
// grantee and protocol of oCIS. What names a type of notification or of resource
// that is not known here is a 501 whatever else it holds: other applications send
// their own to the same place.
func ReadNotification(b []byte) (*Notification, error) {
	m, err := object(b)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	n := &Notification{
		Type: r.required("notificationType", maxWord), ResourceType: r.text("resourceType", maxWord), ShareType: r.text("shareType", maxWord),
	}
	if n.Type == reshareChangePermission {
		n.Type = ShareChangePermission
	}
	if n.Type != "" && !slices.Contains(known, n.Type) {
		return nil, unsupported(CodeNotificationUnknown, "notifications of the type %q are not supported", n.Type)
	}
	if n.ResourceType != "" && n.ResourceType != ResourceFile && n.ResourceType != ResourceFolder {
		return nil, unsupported(CodeResourceUnsupported, "notifications about the resource type %q are not supported", n.ResourceType)
	}
	if n.ResourceType == "" && n.ShareType == "" {
		r.fault("resourceType", "is required, or shareType in its place")
	}
	inner, hasInner := r.sub("notification")
	if !hasInner {
		inner = reader{nil, "notification.", &faults}
	}
	old := r.has("providerId") || inner.has("sharedSecret") || inner.has("grantee")
	// Servers before 1.4 do not say who they are: the share tells.
	if r.has("senderDomain") || !old {
		if domain := r.required("senderDomain", maxAddress); domain != "" {
			if n.SenderDomain, err = ReadHost(domain); err != nil {
				r.fault("senderDomain", "%s", err)
			}
		}
	}
	n.Message = inner.prose("message", maxProse)
	file := reader{nil, "notification.file.", &faults}
	for _, key := range []string{"folder", "file"} {
		if f, ok := inner.sub(key); ok {
			file = f
		}
	}
	switch n.Type {
	case UserRemoved:
		n.UserID = readRemoved(inner, "user", "userId", n.SenderDomain)
	case GroupRemoved:
		n.GroupID = readRemoved(inner, "group", "groupId", n.SenderDomain)
	case RequestShare:
		readRequest(n, file)
	case RequestReshare, ReshareUndo:
		readReshare(n, inner, file)
	case ShareChangePermission: // as the answer to a request
		if file.has("shareId") {
			n.Owner, n.ShareWith = readParty(file, "owner"), readParty(file, "shareWith")
			n.ShareID = file.required("shareId", maxShareID)
		}
	case ShareDeclined: // of a request
		if file.has("shareWith") {
			n.ShareWith = readParty(file, "shareWith")
		}
		if file.has("owner") {
			n.Owner = readParty(file, "owner")
		}
	}
	switch {
	case !file.has("providerId") && r.has("providerId"):
		n.ProviderID = readProviderID(r)
	case file.has("providerId") || slices.Contains(aboutShare, n.Type):
		n.ProviderID = readProviderID(file)
	}
	if n.Type == ShareChangePermission {
		n.Permissions = readChanged(inner, file)
	}
	if old {
		n.Form = NotifyBoth
		n.SharedSecret = Secret(inner.text("sharedSecret", maxSecret))
	}
	if inner.has("grantee") {
		n.Form, n.Grantee = NotifyGrantee, inner.text("grantee", maxAddress)
	}
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return n, nil
}

// readChanged reads the permissions that hold from now on.
func readChanged(inner, file reader) []string {
	if file.has("permissions") {
		return readPermissions(file)
	}
	if protocol, ok := inner.sub("protocol"); ok {
		if dav, ok := protocol.sub("webdav"); ok && dav.has("permissions") {
			return readPermissions(dav)
		}
	}
	if inner.has("permission") || inner.has("permissions") { // a number of OCS flags, or words
		if !inner.has("permissions") {
			inner.members["permissions"] = inner.members["permission"]
		}
		return readLegacyPermissions(inner)
	}
	file.fault("permissions", "is required")
	return nil
}

// readReshare reads who is to be included in a share.
func readReshare(n *Notification, inner, file reader) {
	at := file
	if !file.has("shareWith") && inner.has("shareWith") { // before 1.5
		at = inner
	}
	if n.Type == RequestReshare || at.has("shareWith") {
		n.ShareWith = readParty(at, "shareWith")
	}
	if file.has("permissions") {
		n.Permissions = readPermissions(file)
	}
	if n.Type == RequestReshare {
		n.SenderID = inner.text("senderId", maxProviderID)
	}
}

// readRequest reads who asks whom for what.
func readRequest(n *Notification, file reader) {
	n.Owner, n.ShareWith = readParty(file, "owner"), readParty(file, "shareWith")
	n.ShareID = file.required("shareId", maxShareID)
	if file.has("permissions") {
		n.Permissions = readPermissions(file)
	} else {
		file.fault("permissions", "is required")
	}
}

// maxShareID bounds, in bytes, the name of a resource that is asked for: URLs
// serve.
const maxShareID = 2048

// ReadShareRequest reads the body of /request-share of OCM 1.4 (owner,
// shareWith, share) as a REQUEST_SHARE. The asking server is the host of
// shareWith.
func ReadShareRequest(b []byte) (*Notification, error) {
	m, err := object(b)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	n := &Notification{Type: RequestShare, ResourceType: ResourceFile, Permissions: []string{PermRead}, Message: r.prose("message", maxProse)}
	n.Owner, n.ShareWith = readParty(r, "owner"), readParty(r, "shareWith")
	n.SenderDomain = n.ShareWith.Host
	if n.ShareID = r.text("share", maxShareID); n.ShareID == "" {
		n.ShareID = r.required("shareId", maxShareID)
	}
	if len(faults) > 0 {
		return nil, invalid(faults)
	}
	return n, nil
}

// readRemoved reads who was removed, with or without the host behind it.
func readRemoved(r reader, object, member string, host Host) string {
	sub, ok := r.sub(object)
	if !ok {
		r.fault(object, "is required")
		return ""
	}
	id := sub.required(member, maxAddress)
	if a, err := ReadAddress(id + "@" + string(host)); err == nil {
		return a.Identifier
	}
	return id
}

// errNoSender is the 400 for an old notification about a share that is not
// known, so that it cannot be told who sends it.
var errNoSender = Invalid("senderDomain", "is required")

// SenderOf completes a notification that does not say who sends it with the
// host that its share belongs to; 400 when that is not known.
func (n *Notification) SenderOf(host Host) error {
	if n.SenderDomain != "" {
		return nil
	}
	if host == "" {
		return errNoSender
	}
	n.SenderDomain = host
	return nil
}
