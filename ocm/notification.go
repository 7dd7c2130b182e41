package ocm

import (
	"encoding/json"
	"slices"
)

// Notification types of OCM 1.5.
const (
	ShareAccepted         = "SHARE_ACCEPTED"
	ShareDeclined         = "SHARE_DECLINED"
	ShareUnshared         = "SHARE_UNSHARED"
	ShareChangePermission = "SHARE_CHANGE_PERMISSION"
	RequestReshare        = "REQUEST_RESHARE"
	RequestShare          = "REQUEST_SHARE"
	UserRemoved           = "USER_REMOVED"
	GroupRemoved          = "GROUP_REMOVED"
)

// Notification is a message about a share in the 1.5 form (OCM 1.5,
// Notifications): {notificationType, senderDomain, resourceType, shareType,
// notification:{message, file:{providerId, permissions}}}.
type Notification struct {
	Type         string
	SenderDomain Host   // the server that sends it and must have signed it
	ResourceType string // one of ResourceType and ShareType is set
	ShareType    string
	Message      string
	ProviderID   string   // "" where Type is not about a share
	Permissions  []string // all that hold from now on; SHARE_CHANGE_PERMISSION only
	UserID       string   // identifier at the senderDomain; USER_REMOVED only
	GroupID      string   // of the senderDomain; GROUP_REMOVED only
}

// aboutShare are the types that name a share by its providerId; known are all
// that ReadNotification takes. Which of them a server handles is its own matter.
var (
	aboutShare = []string{ShareAccepted, ShareDeclined, ShareUnshared, ShareChangePermission}
	known      = append([]string{RequestReshare, RequestShare, UserRemoved, GroupRemoved}, aboutShare...)
)

type notificationWire struct {
	Type         string `json:"notificationType"`
	SenderDomain string `json:"senderDomain"`
	ResourceType string `json:"resourceType,omitempty"`
	ShareType    string `json:"shareType,omitempty"`
	Notification struct {
		Message string     `json:"message,omitempty"`
		File    *fileWire  `json:"file,omitempty"`
		User    *userWire  `json:"user,omitempty"`
		Group   *groupWire `json:"group,omitempty"`
	} `json:"notification"`
}

type fileWire struct {
	ProviderID  string   `json:"providerId,omitempty"`
	Permissions []string `json:"permissions,omitempty"`
}

type userWire struct {
	UserID string `json:"userId"`
}

type groupWire struct {
	GroupID string `json:"groupId"`
}

// MarshalJSON writes the form of OCM 1.5; the key is `file` for folders too.
func (n Notification) MarshalJSON() ([]byte, error) {
	w := notificationWire{Type: n.Type, SenderDomain: string(n.SenderDomain), ResourceType: n.ResourceType, ShareType: n.ShareType}
	w.Notification.Message = n.Message
	if n.ProviderID != "" || len(n.Permissions) > 0 {
		w.Notification.File = &fileWire{n.ProviderID, n.Permissions}
	}
	if n.UserID != "" {
		w.Notification.User = &userWire{Address{n.UserID, n.SenderDomain}.String()}
	}
	if n.GroupID != "" {
		w.Notification.Group = &groupWire{n.GroupID}
	}
	return json.Marshal(w)
}

// ReadNotification reads a notification of OCM 1.5; `folder` is taken for
// `file`, and a top-level providerId where neither is given. What names a type
// of notification or of resource that is not known here is a 501 whatever else
// it holds: other applications send their own to the same place.
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
	if n.Type != "" && !slices.Contains(known, n.Type) {
		return nil, unsupported(CodeNotificationUnknown, "notifications of the type %q are not supported", n.Type)
	}
	if n.ResourceType != "" && n.ResourceType != ResourceFile && n.ResourceType != ResourceFolder {
		return nil, unsupported(CodeResourceUnsupported, "notifications about the resource type %q are not supported", n.ResourceType)
	}
	if n.ResourceType == "" && n.ShareType == "" {
		r.fault("resourceType", "is required, or shareType in its place")
	}
	if domain := r.required("senderDomain", maxAddress); domain != "" {
		if n.SenderDomain, err = ReadHost(domain); err != nil {
			r.fault("senderDomain", "%s", err)
		}
	}
	file := reader{nil, "notification.file.", &faults}
	if inner, ok := r.sub("notification"); ok {
		n.Message = inner.prose("message", maxProse)
		if n.Type == UserRemoved {
			n.UserID = readRemoved(inner, "user", "userId", n.SenderDomain)
		}
		if n.Type == GroupRemoved {
			n.GroupID = readRemoved(inner, "group", "groupId", n.SenderDomain)
		}
		if f, ok := inner.sub("file"); ok {
			file = f
		} else if f, ok := inner.sub("folder"); ok {
			file = f
		}
	} else if n.Type == UserRemoved || n.Type == GroupRemoved {
		r.fault("notification", "is required")
	}
	switch {
	case !file.has("providerId") && r.has("providerId"):
		n.ProviderID = readProviderID(r)
	case file.has("providerId") || slices.Contains(aboutShare, n.Type):
		n.ProviderID = readProviderID(file)
	}
	if n.Type == ShareChangePermission {
		if file.has("permissions") {
			n.Permissions = readPermissions(file)
		} else {
			file.fault("permissions", "is required")
		}
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
