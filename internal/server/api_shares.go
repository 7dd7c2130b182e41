package server

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

// sentShare is a share as its owner sees it.
type sentShare struct {
	ID            string   `json:"id" doc:"the providerId"`
	Path          string   `json:"path"`
	With          string   `json:"with"`
	RecipientName string   `json:"recipientName,omitempty"`
	ShareType     string   `json:"shareType" enum:"user,group"`
	ResourceType  string   `json:"resourceType" enum:"file,folder"`
	Permissions   []string `json:"permissions"`
	State         string   `json:"state" enum:"pending,delivered,accepted,declined,failed,ended"`
	Reason        string   `json:"reason,omitempty" doc:"why it failed or ended"`
	ExpiresAt     string   `json:"expiresAt,omitempty" format:"date-time"`
	CreatedAt     string   `json:"createdAt" format:"date-time"`
}

func showSent(o sharing.Outgoing) sentShare {
	return sentShare{
		ID: o.ID, Path: o.Path, With: o.ShareWith, RecipientName: o.RecipientName, ShareType: o.ShareType,
		ResourceType: o.ResourceType, Permissions: o.Rights().Permissions(), State: o.State, Reason: o.StateReason,
		ExpiresAt: rfc3339(o.ExpiresAt), CreatedAt: rfc3339(o.CreatedAt),
	}
}

// receivedShare is a share as one of its recipients sees it.
type receivedShare struct {
	ID               string   `json:"id"`
	Name             string   `json:"name"`
	Description      string   `json:"description,omitempty"`
	Sender           string   `json:"sender"`
	SenderName       string   `json:"senderName,omitempty"`
	Owner            string   `json:"owner"`
	ShareType        string   `json:"shareType" enum:"user,group"`
	ResourceType     string   `json:"resourceType" enum:"file,folder"`
	Permissions      []string `json:"permissions"`
	State            string   `json:"state" enum:"pending,quarantined,accepted,declined,left,ended" doc:"quarantined: apart from the others; accepted and not to be opened, if it has a path, else pending"`
	Reason           string   `json:"reason,omitempty" doc:"why it ended, or is in quarantine"`
	Path             string   `json:"path,omitempty" doc:"where it stands among the files, once accepted"`
	ExpiresAt        string   `json:"expiresAt,omitempty" format:"date-time"`
	CreatedAt        string   `json:"createdAt" format:"date-time"`
	Proof            string   `json:"proof,omitempty" enum:"signed,unsigned" doc:"whether the message that brought it was signed; absent where that was not kept"`
	UnavailableSince string   `json:"unavailableSince,omitempty" format:"date-time"`
	UnavailableWhy   string   `json:"unavailableWhy,omitempty"`
}

func showReceived(r sharing.Received, now time.Time) receivedShare {
	out := receivedShare{
		ID: r.ID, Name: r.Name, Description: r.Description, Sender: r.Sender, SenderName: r.SenderName, Owner: r.Owner,
		ShareType: r.ShareType, ResourceType: r.ResourceType, Permissions: r.Rights().Permissions(),
		State: r.MemberState, Proof: r.Proof, ExpiresAt: rfc3339(r.ExpiresAt), CreatedAt: rfc3339(r.CreatedAt),
	}
	if !r.Live(now) {
		out.State, out.Reason = "ended", r.EndedReason
		if out.Reason == "" {
			out.Reason = "expired"
		}
		return out
	}
	if r.MemberState == sharing.MemberPending && r.Quarantine != "" || r.MemberState == sharing.MemberAccepted && r.Orphaned() {
		out.State, out.Reason = "quarantined", r.Quarantine
	}
	if r.MemberState == sharing.MemberAccepted {
		out.Path = tree.Join(tree.SharedDir, r.MountName)
		out.UnavailableSince, out.UnavailableWhy = rfc3339(r.UnavailableSince), r.UnavailableWhy
	}
	return out
}

type allShares struct {
	Sent     []sentShare     `json:"sent"`
	Received []receivedShare `json:"received"`
}

// byID is the input of calls about one share.
type byID struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *Server) apiShares(api huma.API) {
	huma.Register(api, operation("GET", "/shares", "shares", "List the shares sent and received"), func(ctx context.Context, _ *none) (*reply[allShares], error) {
		user := asking(ctx)
		sent, err := s.Sharing.Sent(ctx, user.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		received, err := s.Sharing.Inbox(ctx, user.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[allShares]{allShares{[]sentShare{}, []receivedShare{}}}
		for _, o := range sent {
			out.Body.Sent = append(out.Body.Sent, showSent(o))
		}
		for _, r := range received {
			out.Body.Received = append(out.Body.Received, showReceived(r, s.now()))
		}
		return out, nil
	})
	create := operation("POST", "/shares", "share", "Share a file or folder with someone anywhere")
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, func(ctx context.Context, in *struct {
		Body struct {
			Path        string     `json:"path" maxLength:"4096"`
			With        string     `json:"with" maxLength:"1024" doc:"an OCM Address, name@server; a name alone is someone here, or the one contact it fits"`
			Group       bool       `json:"group,omitempty" doc:"the address is a group's"`
			Permissions []string   `json:"permissions,omitempty" doc:"read, write, share; default read"`
			ExpiresAt   *time.Time `json:"expiresAt,omitempty"`
			RequireMFA  bool       `json:"requireMfa,omitempty" doc:"the recipient's server must make sure of a second factor"`
			Message     string     `json:"message,omitempty" maxLength:"4096"`
		}
	}) (*reply[sentShare], error) {
		n := sharing.NewOutgoing{
			Path: in.Body.Path, With: in.Body.With, Permissions: in.Body.Permissions,
			RequireMFA: in.Body.RequireMFA, Message: in.Body.Message,
		}
		if in.Body.Group {
			n.ShareType = ocm.ShareTypeGroup
		}
		if in.Body.ExpiresAt != nil {
			n.ExpiresAt = *in.Body.ExpiresAt
		}
		o, err := s.Sharing.Create(ctx, asking(ctx), n)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[sentShare]{showSent(*o)}, nil
	})
	type said struct {
		Kind string `json:"kind" enum:"good,note,warn,bad" doc:"bad: the share would not arrive"`
		Code string `json:"code"`
		Text string `json:"text"`
	}
	type prospect struct {
		With    string `json:"with" doc:"the recipient's address"`
		Name    string `json:"name,omitempty"`
		Fits    bool   `json:"fits" doc:"nothing that is known keeps the share from its recipient"`
		Remarks []said `json:"remarks"`
	}
	huma.Register(api, operation("GET", "/shares/check", "checkShare", "Find out what would become of a share; nothing is shared"), func(ctx context.Context, in *struct {
		Path        string   `query:"path" required:"true" maxLength:"4096"`
		With        string   `query:"with" required:"true" maxLength:"1024"`
		Group       bool     `query:"group"`
		Permissions []string `query:"permissions" doc:"read, write, share; default read"`
		RequireMFA  bool     `query:"requireMfa"`
	}) (*reply[prospect], error) {
		user := asking(ctx)
		if err := s.mayAsk(user); err != nil {
			return nil, failing(ctx, err)
		}
		n := sharing.NewOutgoing{Path: in.Path, With: in.With, Permissions: in.Permissions, RequireMFA: in.RequireMFA}
		if in.Group {
			n.ShareType = ocm.ShareTypeGroup
		}
		p, err := s.Sharing.Look(ctx, user, n)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[prospect]{prospect{With: p.With.String(), Name: p.Name, Fits: p.Fits, Remarks: []said{}}}
		for _, x := range p.Remarks {
			out.Body.Remarks = append(out.Body.Remarks, said{cmp.Or(x.Kind, "note"), x.Code, remarkText(web.Locales[0], x)})
		}
		return out, nil
	})
	huma.Register(api, operation("PATCH", "/shares/{id}", "changeShare", "Change the rights of a share, or its end"), func(ctx context.Context, in *struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Permissions []string `json:"permissions,omitempty" doc:"default: as they are"`
			ExpiresAt   *string  `json:"expiresAt,omitempty" maxLength:"40" doc:"a date-time (RFC 3339), or empty for no end; in force here, while the recipient's server may go on to show the old one"`
		}
	}) (*reply[sentShare], error) {
		change := sharing.Change{Permissions: in.Body.Permissions}
		if at := in.Body.ExpiresAt; at != nil {
			var end time.Time
			if *at != "" {
				var err error
				if end, err = time.Parse(time.RFC3339, *at); err != nil {
					return nil, failing(ctx, ocm.Invalid("expiresAt", "is no date-time, such as 2026-12-31T18:00:00Z"))
				}
			}
			change.ExpiresAt = &end
		}
		if change.Permissions == nil && change.ExpiresAt == nil {
			return nil, failing(ctx, ocm.Invalid("permissions", "there is nothing to change: give permissions or expiresAt"))
		}
		o, err := s.Sharing.Change(ctx, asking(ctx).ID, in.ID, change)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[sentShare]{showSent(*o)}, nil
	})
	huma.Register(api, operation("DELETE", "/shares/{id}", "unshare", "End a share"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Sharing.Unshare(ctx, asking(ctx).ID, in.ID))
	})
	huma.Register(api, operation("POST", "/shares/{id}/resend", "resend", "Try to deliver a share again"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Sharing.Resend(ctx, asking(ctx).ID, in.ID))
	})
	huma.Register(api, operation("POST", "/received/{id}/accept", "accept", "Accept a share"), func(ctx context.Context, in *byID) (*reply[receivedShare], error) {
		r, err := s.Sharing.Accept(ctx, asking(ctx).ID, in.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[receivedShare]{showReceived(*r, s.now())}, nil
	})
	huma.Register(api, operation("POST", "/received/{id}/decline", "decline", "Decline a share"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Sharing.Decline(ctx, asking(ctx).ID, in.ID))
	})
	huma.Register(api, operation("POST", "/received/{id}/block", "block", "Give a share back and let no other of its sender arrive"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Sharing.Block(ctx, asking(ctx).ID, in.ID))
	})
	huma.Register(api, operation("POST", "/received/{id}/report", "report", "Tell the operator of a share that should not have come"), func(ctx context.Context, in *struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Message string `json:"message,omitempty" maxLength:"4096"`
		}
	}) (*none, error) {
		return nil, failing(ctx, s.Sharing.Report(ctx, asking(ctx).ID, in.ID, in.Body.Message))
	})
	huma.Register(api, operation("POST", "/received/{id}/leave", "leave", "Give an accepted share back"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Sharing.Leave(ctx, asking(ctx).ID, in.ID))
	})
}
