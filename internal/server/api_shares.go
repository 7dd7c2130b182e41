package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/tree"
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
	UnavailableSince string   `json:"unavailableSince,omitempty" format:"date-time"`
	UnavailableWhy   string   `json:"unavailableWhy,omitempty"`
}

func showReceived(r sharing.Received, now time.Time) receivedShare {
	out := receivedShare{
		ID: r.ID, Name: r.Name, Description: r.Description, Sender: r.Sender, SenderName: r.SenderName, Owner: r.Owner,
		ShareType: r.ShareType, ResourceType: r.ResourceType, Permissions: r.Rights().Permissions(),
		State: r.MemberState, ExpiresAt: rfc3339(r.ExpiresAt), CreatedAt: rfc3339(r.CreatedAt),
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
	huma.Register(api, operation("PATCH", "/shares/{id}", "changeShare", "Change the rights of a share"), func(ctx context.Context, in *struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Permissions []string `json:"permissions"`
		}
	}) (*reply[sentShare], error) {
		o, err := s.Sharing.ChangePermissions(ctx, asking(ctx).ID, in.ID, in.Body.Permissions)
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
