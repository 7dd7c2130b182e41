package server

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/ocm"
)

// UserView is a user as operators see them.
type UserView struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	DisplayName string   `json:"displayName"`
	Address     string   `json:"address" doc:"OCM Address"`
	Email       string   `json:"email,omitempty"`
	Role        string   `json:"role" enum:"user,admin"`
	Disabled    bool     `json:"disabled" doc:"may not sign in"`
	Quota       int64    `json:"quota" doc:"bytes; -1: none"`
	Used        int64    `json:"used" doc:"bytes; -1 while they are being counted"`
	Sent        int64    `json:"sharesSent" doc:"that give access"`
	Received    int64    `json:"sharesReceived" doc:"that were not turned down and have not ended"`
	LastSeen    string   `json:"lastSeen,omitempty" format:"date-time"`
	CreatedAt   string   `json:"createdAt" format:"date-time"`
	Groups      []string `json:"groups,omitempty"`
}

// Users lists users for operators, with what they keep and share.
func (s *Server) Users(ctx context.Context, f account.Filter) ([]UserView, error) {
	users, err := s.Accounts.Find(ctx, f)
	if err != nil {
		return nil, err
	}
	return s.showUsers(ctx, users)
}

func (s *Server) showUsers(ctx context.Context, users []account.User) ([]UserView, error) {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	shares, err := s.Sharing.CountOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	seen, err := s.Accounts.LastSeen(ctx, ids)
	if err != nil {
		return nil, err
	}
	used, at := s.Homes.Usage(ctx)
	out := []UserView{}
	for _, u := range users {
		v := UserView{
			ID: u.ID, Name: u.Name, DisplayName: u.DisplayName, Address: ocm.Address{Identifier: u.Name, Host: s.Self}.String(), Email: u.Email,
			Role: u.Role, Disabled: u.Disabled, Quota: u.Quota, Used: used[u.ID], Sent: shares[u.ID].Sent, Received: shares[u.ID].Received,
			LastSeen: rfc3339(seen[u.ID]), CreatedAt: rfc3339(u.CreatedAt),
		}
		if _, known := used[u.ID]; !known && at.IsZero() {
			v.Used = -1
		}
		out = append(out, v)
	}
	return out, nil
}

// OneUser shows a user, by name or id, with the groups they are in.
func (s *Server) OneUser(ctx context.Context, name string) (*UserView, error) {
	u, err := s.Accounts.ByName(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.showOne(ctx, u)
}

func (s *Server) showOne(ctx context.Context, u account.User) (*UserView, error) {
	views, err := s.showUsers(ctx, []account.User{u})
	if err != nil {
		return nil, err
	}
	groups, err := s.Accounts.GroupsOf(ctx, u.ID)
	for _, g := range groups {
		views[0].Groups = append(views[0].Groups, g.Name)
	}
	return &views[0], err
}

// ChangeUser changes a user for an administrator, who cannot take away their own
// access.
func (s *Server) ChangeUser(ctx context.Context, by account.User, name string, c account.Change) (*UserView, error) {
	u, err := s.Accounts.ByName(ctx, name)
	if err != nil {
		return nil, err
	}
	if u.ID == by.ID && (c.Role != nil && *c.Role != account.RoleAdmin || c.Disabled != nil && *c.Disabled) {
		return nil, errOneself
	}
	if u, err = s.Accounts.Update(ctx, u.ID, c); err != nil {
		return nil, err
	}
	return s.showOne(ctx, u)
}

// RemoveUserFor is RemoveUser for an administrator, who cannot remove themselves.
func (s *Server) RemoveUserFor(ctx context.Context, by account.User, name string) error {
	u, err := s.Accounts.ByName(ctx, name)
	if err != nil {
		return err
	}
	if u.ID == by.ID {
		return errOneself
	}
	return s.RemoveUser(ctx, u)
}

// GroupView is a group as operators see it.
type GroupView struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	DisplayName string   `json:"displayName"`
	Address     string   `json:"address" doc:"OCM Address"`
	Size        int64    `json:"size"`
	Members     []string `json:"members,omitempty" doc:"names, of one group alone"`
	CreatedAt   string   `json:"createdAt" format:"date-time"`
}

func (s *Server) showGroup(g account.Group, size int64) GroupView {
	return GroupView{
		ID: g.ID, Name: g.Name, DisplayName: g.DisplayName, Address: ocm.Address{Identifier: g.Name, Host: s.Self}.String(), Size: size, CreatedAt: rfc3339(g.CreatedAt),
	}
}

// GroupList lists the groups with how many members they have.
func (s *Server) GroupList(ctx context.Context) ([]GroupView, error) {
	groups, err := s.Accounts.Groups(ctx)
	if err != nil {
		return nil, err
	}
	sizes, err := s.Accounts.Sizes(ctx)
	out := []GroupView{}
	for _, g := range groups {
		out = append(out, s.showGroup(g, sizes[g.ID]))
	}
	return out, err
}

// OneGroup shows a group with its members.
func (s *Server) OneGroup(ctx context.Context, name string) (*GroupView, error) {
	g, err := s.Accounts.GroupByName(ctx, name)
	if err != nil {
		return nil, err
	}
	members, err := s.Accounts.Members(ctx, g.ID)
	v := s.showGroup(g, int64(len(members)))
	v.Members = []string{}
	for _, m := range members {
		v.Members = append(v.Members, m.Name)
	}
	return &v, err
}

// Membership puts a user into a group, or takes them out.
func (s *Server) Membership(ctx context.Context, group, user string, in bool) error {
	g, err := s.Accounts.GroupByName(ctx, group)
	if err != nil {
		return err
	}
	u, err := s.Accounts.ByName(ctx, user)
	if err != nil {
		return err
	}
	if in {
		return s.Accounts.AddMember(ctx, g.ID, u.ID)
	}
	return s.Accounts.RemoveMember(ctx, g.ID, u.ID)
}

// AnyShare is a share of anyone, sent or received, as operators see it.
type AnyShare struct {
	ID          string   `json:"id"`
	Direction   string   `json:"direction" enum:"sent,received"`
	User        string   `json:"user" doc:"who sent it, by name; or the address it was sent to"`
	Other       string   `json:"other" doc:"whom it was sent to, or who sent it: an OCM Address"`
	Peer        string   `json:"peer"`
	Name        string   `json:"name" doc:"the path of what was sent, the name of what was received"`
	ShareType   string   `json:"shareType" enum:"user,group"`
	Resource    string   `json:"resourceType" enum:"file,folder"`
	Permissions []string `json:"permissions"`
	State       string   `json:"state"`
	Reason      string   `json:"reason,omitempty"`
	Live        bool     `json:"live" doc:"it can be ended"`
	ExpiresAt   string   `json:"expiresAt,omitempty" format:"date-time"`
	CreatedAt   string   `json:"createdAt" format:"date-time"`
	ProviderID  string   `json:"providerId"`
}

// The directions of shares.
const (
	dirSent     = "sent"
	dirReceived = "received"
)

// AllShares lists the shares of all people in one direction, the newest first.
func (s *Server) AllShares(ctx context.Context, direction, user string, f sharing.Everyone) ([]AnyShare, error) {
	if user != "" {
		u, err := s.Accounts.ByName(ctx, user)
		if err != nil {
			return nil, err
		}
		f.UserID = u.ID
	}
	out := []AnyShare{}
	if direction == dirReceived {
		list, err := s.Sharing.EveryReceived(ctx, f)
		for _, r := range list {
			out = append(out, s.showReaching(&r))
		}
		return out, err
	}
	list, err := s.Sharing.EverySent(ctx, f)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i, o := range list {
		ids[i] = o.OwnerID
	}
	names, err := s.Accounts.Names(ctx, ids)
	for _, o := range list {
		out = append(out, AnyShare{
			ID: o.ID, ProviderID: o.ID, Direction: dirSent, User: names[o.OwnerID], Other: o.ShareWith, Peer: o.PeerHost, Name: o.Path, ShareType: o.ShareType,
			Resource: o.ResourceType, Permissions: o.Rights().Permissions(), State: o.State, Reason: o.StateReason,
			Live: o.State != sharing.StateEnded && o.State != sharing.StateDeclined, ExpiresAt: rfc3339(o.ExpiresAt), CreatedAt: rfc3339(o.CreatedAt),
		})
	}
	return out, err
}

// EndableShares are the ids of the shares that AllShares lists and that can be
// ended.
func (s *Server) EndableShares(ctx context.Context, direction, user string, f sharing.Everyone) ([]string, error) {
	if user != "" {
		u, err := s.Accounts.ByName(ctx, user)
		if err != nil {
			return nil, err
		}
		f.UserID = u.ID
	}
	if direction == dirReceived {
		return s.Sharing.EndableReceived(ctx, f)
	}
	return s.Sharing.EndableSent(ctx, f)
}

func (s *Server) showReaching(r *sharing.Reaching) AnyShare {
	v := AnyShare{
		ID: r.ID, ProviderID: r.ProviderID, Direction: dirReceived, User: r.ShareWith, Other: r.Sender, Peer: r.PeerHost, Name: r.Name, ShareType: r.ShareType,
		Resource: r.ResourceType, Permissions: r.Rights().Permissions(), Live: r.EndedAt == 0, ExpiresAt: rfc3339(r.ExpiresAt), CreatedAt: rfc3339(r.CreatedAt),
	}
	switch {
	case r.EndedAt != 0:
		v.State, v.Reason = sharing.StateEnded, r.EndedReason
	case r.Quarantine != "" && r.Accepted == 0:
		v.State, v.Reason = "quarantined", r.Quarantine
	case r.Accepted > 0:
		v.State = sharing.MemberAccepted
	case r.Waiting > 0:
		v.State = sharing.MemberPending
	default:
		v.State = sharing.MemberDeclined
	}
	return v
}

// byName is the input of calls about one user or group.
type byName struct {
	Name string `path:"name" maxLength:"64"`
}

func (s *Server) apiUsers(api huma.API) {
	admin(api, operation("GET", "/users", "users", "List the users"), func(ctx context.Context, in *struct {
		Text     string `query:"text" maxLength:"255"`
		Role     string `query:"role" enum:"user,admin,"`
		Disabled bool   `query:"disabled"`
		After    string `query:"after" maxLength:"64" doc:"the name of the last one of the page before"`
		Limit    int64  `query:"limit" minimum:"1" maximum:"1000"`
	}) ([]UserView, error) {
		return s.Users(ctx, account.Filter{Text: in.Text, Role: in.Role, Disabled: in.Disabled, After: in.After, Limit: cmp.Or(in.Limit, 100)})
	})
	create := operation("POST", "/users", "addUser", "Add a user")
	create.DefaultStatus = http.StatusCreated
	admin(api, create, func(ctx context.Context, in *struct {
		Body struct {
			Name        string `json:"name" maxLength:"64"`
			DisplayName string `json:"displayName,omitempty" maxLength:"255"`
			Email       string `json:"email,omitempty" maxLength:"254"`
			Password    string `json:"password" maxLength:"1024"`
			Admin       bool   `json:"admin,omitempty"`
			Quota       int64  `json:"quota,omitempty" doc:"bytes; 0 or less: none"`
		}
	}) (*UserView, error) {
		b := in.Body
		u, err := s.Accounts.Add(ctx, account.NewUser{Name: b.Name, DisplayName: b.DisplayName, Email: b.Email, Password: ocm.Secret(b.Password), Admin: b.Admin, Quota: b.Quota})
		if err != nil {
			return nil, err
		}
		return s.showOne(ctx, u)
	})
	admin(api, operation("GET", "/users/{name}", "user", "Show a user"), func(ctx context.Context, in *byName) (*UserView, error) {
		return s.OneUser(ctx, in.Name)
	})
	admin(api, operation("PATCH", "/users/{name}", "changeUser", "Change a user, or whether they may sign in"), func(ctx context.Context, in *struct {
		Name string `path:"name" maxLength:"64"`
		Body struct {
			DisplayName *string `json:"displayName,omitempty" maxLength:"255"`
			Email       *string `json:"email,omitempty" maxLength:"254"`
			Role        *string `json:"role,omitempty" enum:"user,admin"`
			Quota       *int64  `json:"quota,omitempty" doc:"bytes; 0 or less: none"`
			Disabled    *bool   `json:"disabled,omitempty" doc:"may not sign in; ends the sessions"`
		}
	}) (*UserView, error) {
		return s.ChangeUser(ctx, asking(ctx), in.Name, account.Change(in.Body))
	})
	admin(api, operation("PUT", "/users/{name}/password", "setPassword", "Set a user's password; ends the user's sessions"), func(ctx context.Context, in *struct {
		Name string `path:"name" maxLength:"64"`
		Body struct {
			Password string `json:"password" maxLength:"1024"`
		}
	}) (*none, error) {
		u, err := s.Accounts.ByName(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		return &none{}, s.Accounts.SetPassword(ctx, u.ID, ocm.Secret(in.Body.Password))
	})
	admin(api, operation("DELETE", "/users/{name}", "removeUser", "Remove a user with all files, for good; ends the user's shares"), func(ctx context.Context, in *byName) (*none, error) {
		return &none{}, s.RemoveUserFor(ctx, asking(ctx), in.Name)
	})
}

func (s *Server) apiGroups(api huma.API) {
	admin(api, operation("GET", "/groups", "groups", "List the groups"), func(ctx context.Context, _ *none) ([]GroupView, error) {
		return s.GroupList(ctx)
	})
	create := operation("POST", "/groups", "addGroup", "Add a group")
	create.DefaultStatus = http.StatusCreated
	admin(api, create, func(ctx context.Context, in *struct {
		Body struct {
			Name        string `json:"name" maxLength:"64"`
			DisplayName string `json:"displayName,omitempty" maxLength:"255"`
		}
	}) (*GroupView, error) {
		g, err := s.Accounts.AddGroup(ctx, in.Body.Name, in.Body.DisplayName)
		if err != nil {
			return nil, err
		}
		return s.OneGroup(ctx, g.Name)
	})
	admin(api, operation("GET", "/groups/{name}", "group", "Show a group with its members"), func(ctx context.Context, in *byName) (*GroupView, error) {
		return s.OneGroup(ctx, in.Name)
	})
	admin(api, operation("PATCH", "/groups/{name}", "renameGroup", "Give a group another name to show"), func(ctx context.Context, in *struct {
		Name string `path:"name" maxLength:"64"`
		Body struct {
			DisplayName string `json:"displayName" maxLength:"255"`
		}
	}) (*GroupView, error) {
		g, err := s.Accounts.GroupByName(ctx, in.Name)
		if err == nil {
			err = s.Accounts.RenameGroup(ctx, g.ID, in.Body.DisplayName)
		}
		if err != nil {
			return nil, err
		}
		return s.OneGroup(ctx, in.Name)
	})
	type member struct {
		Name string `path:"name" maxLength:"64"`
		User string `path:"user" maxLength:"64"`
	}
	admin(api, operation("PUT", "/groups/{name}/members/{user}", "joinGroup", "Put a user into a group"), func(ctx context.Context, in *member) (*none, error) {
		return &none{}, s.Membership(ctx, in.Name, in.User, true)
	})
	admin(api, operation("DELETE", "/groups/{name}/members/{user}", "leaveGroup", "Take a user out of a group"), func(ctx context.Context, in *member) (*none, error) {
		return &none{}, s.Membership(ctx, in.Name, in.User, false)
	})
	admin(api, operation("DELETE", "/groups/{name}", "removeGroup", "Remove a group; its members stay"), func(ctx context.Context, in *byName) (*none, error) {
		g, err := s.Accounts.GroupByName(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		return &none{}, s.RemoveGroup(ctx, g)
	})
}

func (s *Server) apiConsole(api huma.API) {
	admin(api, operation("GET", "/overview", "overview", "How the server stands"), func(ctx context.Context, _ *none) (*Overview, error) {
		return s.Overview(ctx)
	})
	admin(api, operation("GET", "/config", "config", "Show the configuration, where each value comes from, and a check of each"), func(ctx context.Context, _ *none) (*ConfigView, error) {
		return s.Config(ctx), nil
	})
	admin(api, operation("GET", "/all-shares", "allShares", "List the shares of all people"), func(ctx context.Context, in *struct {
		Direction string `query:"direction" enum:"sent,received" required:"true"`
		Peer      string `query:"peer" maxLength:"300"`
		User      string `query:"user" maxLength:"64" doc:"whose they are, or whom they reach"`
		State     string `query:"state" enum:"live,pending,delivered,accepted,declined,failed,quarantined,ended," doc:"live: all that give access"`
		Text      string `query:"text" maxLength:"300"`
		Before    string `query:"before" maxLength:"64" doc:"the id of the last one of the page before"`
		Limit     int64  `query:"limit" minimum:"1" maximum:"1000"`
	}) ([]AnyShare, error) {
		return s.AllShares(ctx, in.Direction, in.User, sharing.Everyone{
			Peer: strings.ToLower(in.Peer), State: in.State, Text: in.Text, Before: in.Before, Limit: cmp.Or(in.Limit, 100),
		})
	})
	type endedShares struct {
		Ended int `json:"ended"`
	}
	admin(api, operation("POST", "/all-shares/end", "endShares", "End shares of anyone, sent or received, and tell the other servers"), func(ctx context.Context, in *struct {
		Body struct {
			IDs []string `json:"ids" minItems:"1" maxItems:"1000"`
		}
	}) (*endedShares, error) {
		n, err := s.Sharing.EndByOperator(ctx, in.Body.IDs)
		return &endedShares{n}, err
	})
}

// outboxMessage is a message to a peer as the operator sees it.
type outboxMessage struct {
	ID        string `json:"id"`
	Peer      string `json:"peer"`
	Share     string `json:"share"`
	Kind      string `json:"kind"`
	State     string `json:"state" enum:"pending,dead"`
	Attempts  int64  `json:"attempts"`
	NextAt    string `json:"nextAt,omitempty" format:"date-time"`
	LastError string `json:"lastError,omitempty"`
	CreatedAt string `json:"createdAt" format:"date-time"`
}

func (s *Server) apiOutbox(api huma.API) {
	admin(api, operation("GET", "/outbox", "outbox", "List the messages that wait or were given up"), func(ctx context.Context, in *struct {
		Peer  string `query:"peer" maxLength:"300"`
		State string `query:"state" enum:"pending,dead,"`
		Kind  string `query:"kind" maxLength:"64"`
		After string `query:"after" maxLength:"64" doc:"the id of the last one of the page before"`
		Limit int64  `query:"limit" minimum:"1" maximum:"1000"`
	}) ([]outboxMessage, error) {
		rows, err := s.Outbox.Messages(ctx, delivery.Filter{Peer: strings.ToLower(in.Peer), State: in.State, Kind: in.Kind, After: in.After, Limit: cmp.Or(in.Limit, 1000)})
		out := []outboxMessage{}
		for _, r := range rows {
			out = append(out, outboxMessage{
				ID: r.ID, Peer: r.PeerHost, Share: r.OrderKey, Kind: r.Kind, State: r.State, Attempts: r.Attempts,
				NextAt: rfc3339(r.NextAt), LastError: r.LastError, CreatedAt: rfc3339(r.CreatedAt),
			})
		}
		return out, err
	})
	admin(api, operation("POST", "/outbox/{id}/resend", "resendMessage", "Try to deliver a message again"), func(ctx context.Context, in *byID) (*none, error) {
		return &none{}, s.Outbox.Resend(ctx, in.ID)
	})
	type resent struct {
		Resent int `json:"resent"`
	}
	admin(api, operation("POST", "/outbox/resend", "resendMessages", "Try to deliver all messages of a server again"), func(ctx context.Context, in *struct {
		Body struct {
			Peer  string `json:"peer" maxLength:"300"`
			State string `json:"state,omitempty" enum:"pending,dead," doc:"only those"`
		}
	}) (*resent, error) {
		h, err := ocm.ReadHost(in.Body.Peer)
		if err != nil {
			return nil, err
		}
		n, err := s.Outbox.ResendAll(ctx, h, in.Body.State)
		return &resent{n}, err
	})
}
