package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/sharing"
)

// sentRequest is what a person asked of someone else.
type sentRequest struct {
	ID          string   `json:"id"`
	Kind        string   `json:"kind" enum:"share,reshare" doc:"share: for something of the owner's; reshare: to include someone in a share"`
	Owner       string   `json:"owner"`
	With        string   `json:"with" doc:"who is to receive the share"`
	Resource    string   `json:"resource"`
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
	Message     string   `json:"message,omitempty"`
	State       string   `json:"state" enum:"pending,asked,granted,refused,ignored,failed,withdrawn"`
	Reason      string   `json:"reason,omitempty"`
	CreatedAt   string   `json:"createdAt" format:"date-time"`
}

func showSentRequest(r sharing.SentRequest) sentRequest {
	return sentRequest{
		ID: r.ID, Kind: r.Kind, Owner: r.Owner, With: r.ShareWith, Resource: r.ShareID, Name: r.Name, Permissions: r.Rights().Permissions(),
		Message: r.Message, State: r.State, Reason: r.StateReason, CreatedAt: rfc3339(r.CreatedAt),
	}
}

// receivedRequest is what others ask of a person.
type receivedRequest struct {
	ID           string   `json:"id"`
	Kind         string   `json:"kind" enum:"share,reshare"`
	From         string   `json:"from" doc:"who asks"`
	With         string   `json:"with" doc:"who is to receive the share"`
	Resource     string   `json:"resource" doc:"as who asks calls it"`
	Path         string   `json:"path,omitempty" doc:"which of the person's files that is, if it is clear"`
	ResourceType string   `json:"resourceType" enum:"file,folder"`
	Permissions  []string `json:"permissions"`
	Message      string   `json:"message,omitempty"`
	Times        int64    `json:"times" doc:"how often it was asked"`
	State        string   `json:"state" enum:"open,granted,refused,ignored,lapsed"`
	Proof        string   `json:"proof,omitempty" enum:"signed,unsigned" doc:"whether the message that brought it was signed; absent where that was not kept"`
	CreatedAt    string   `json:"createdAt" format:"date-time"`
}

func showReceivedRequest(q sharing.ReceivedRequest) receivedRequest {
	return receivedRequest{
		ID: q.ID, Kind: q.Kind, From: q.Asker, With: q.ShareWith, Resource: q.ShareID, Path: q.Path, ResourceType: q.ResourceType,
		Permissions: q.Rights().Permissions(), Message: q.Message, Times: q.Times, State: q.State, Proof: q.Proof, CreatedAt: rfc3339(q.CreatedAt),
	}
}

type allRequests struct {
	Sent     []sentRequest     `json:"sent"`
	Received []receivedRequest `json:"received"`
}

func (s *Server) apiRequests(api huma.API) {
	huma.Register(api, operation("GET", "/requests", "requests", "List the requests for shares, sent and received"), func(ctx context.Context, _ *none) (*reply[allRequests], error) {
		user := asking(ctx)
		sent, err := s.Sharing.SentRequests(ctx, user.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		received, err := s.Sharing.ReceivedRequests(ctx, user.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[allRequests]{allRequests{[]sentRequest{}, []receivedRequest{}}}
		for _, r := range sent {
			out.Body.Sent = append(out.Body.Sent, showSentRequest(r))
		}
		for _, q := range received {
			out.Body.Received = append(out.Body.Received, showReceivedRequest(q))
		}
		return out, nil
	})
	request := operation("POST", "/requests", "request", "Ask someone for a share")
	request.DefaultStatus = http.StatusCreated
	huma.Register(api, request, func(ctx context.Context, in *struct {
		Body struct {
			Owner       string   `json:"owner" maxLength:"1024" doc:"who has it: an OCM Address, or the one contact it fits"`
			Resource    string   `json:"resource" maxLength:"2048" doc:"a link, an id or a path, as its owner calls it"`
			Folder      bool     `json:"folder,omitempty"`
			Permissions []string `json:"permissions,omitempty" doc:"read, write, share; default read"`
			Message     string   `json:"message,omitempty" maxLength:"4096"`
		}
	}) (*reply[sentRequest], error) {
		b := in.Body
		r, err := s.Sharing.Ask(ctx, asking(ctx), sharing.NewRequest{Owner: b.Owner, Resource: b.Resource, Folder: b.Folder, Permissions: b.Permissions, Message: b.Message})
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[sentRequest]{showSentRequest(*r)}, nil
	})
	reshare := operation("POST", "/received/{id}/reshare", "reshare", "Ask the owner of a share to include someone else")
	reshare.DefaultStatus = http.StatusCreated
	huma.Register(api, reshare, func(ctx context.Context, in *struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			With        string   `json:"with" maxLength:"1024" doc:"an OCM Address, or the one contact it fits"`
			Permissions []string `json:"permissions,omitempty" doc:"read, write, share; default those of the share"`
			Message     string   `json:"message,omitempty" maxLength:"4096"`
		}
	}) (*reply[sentRequest], error) {
		r, err := s.Sharing.AskReshare(ctx, asking(ctx), in.ID, sharing.NewOutgoing{With: in.Body.With, Permissions: in.Body.Permissions, Message: in.Body.Message})
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[sentRequest]{showSentRequest(*r)}, nil
	})
	huma.Register(api, operation("POST", "/requests/{id}/withdraw", "withdraw", "Take a request back; a reshare that came of it ends"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Sharing.Withdraw(ctx, asking(ctx).ID, in.ID))
	})
	huma.Register(api, operation("POST", "/requests/{id}/grant", "grant", "Share what was asked for"), func(ctx context.Context, in *struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Path        string     `json:"path,omitempty" maxLength:"4096" doc:"which file or folder; needed when the request has none"`
			Permissions []string   `json:"permissions,omitempty" doc:"default those asked for"`
			ExpiresAt   *time.Time `json:"expiresAt,omitempty"`
		}
	}) (*reply[sentShare], error) {
		n := sharing.NewOutgoing{Path: in.Body.Path, Permissions: in.Body.Permissions}
		if in.Body.ExpiresAt != nil {
			n.ExpiresAt = *in.Body.ExpiresAt
		}
		o, err := s.Sharing.Grant(ctx, asking(ctx), in.ID, n)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[sentShare]{showSent(*o)}, nil
	})
	huma.Register(api, operation("POST", "/requests/{id}/refuse", "refuse", "Say no to a request"), func(ctx context.Context, in *struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Message  string `json:"message,omitempty" maxLength:"4096" doc:"why, to who asks"`
			Silently bool   `json:"silently,omitempty" doc:"tell nobody, and let the same question not come again"`
		}
	}) (*none, error) {
		return nil, failing(ctx, s.Sharing.Refuse(ctx, asking(ctx).ID, in.ID, in.Body.Message, in.Body.Silently))
	})
}
