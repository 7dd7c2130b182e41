package server

import (
	"cmp"
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/ocm"
)

// newAPI is the HTTP API for people and their programs at /api/v1. Its OpenAPI
// document is made from the types below and served beside it.
func (s *Server) newAPI() http.Handler {
	mux := http.NewServeMux()
	conf := huma.DefaultConfig("Weft", "1")
	conf.Info.Description = "Files and shares of one person. Sign in with POST /api/v1/login and send the token as a Bearer, or send an app password."
	conf.OpenAPIPath, conf.DocsPath, conf.SchemasPath = "/api/v1/openapi", "", ""
	conf.Transformers, conf.CreateHooks = nil, nil // no $schema links in answers
	conf.Servers = []*huma.Server{{URL: s.origin}}
	conf.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	api := humago.New(mux, conf)
	s.apiSession(api)
	s.apiFiles(api)
	s.apiTrash(api)
	s.apiUploads(api, mux)
	s.apiArchive(api, mux)
	s.apiSearch(api)
	s.apiThumbnails(api, mux)
	s.apiShares(api)
	s.apiRequests(api)
	s.apiSettings(api)
	s.apiNotices(api)
	s.apiWire(api)
	s.apiInvites(api)
	s.apiContacts(api)
	s.apiPeers(api)
	s.apiOutbox(api)
	s.apiUsers(api)
	s.apiGroups(api)
	s.apiConsole(api)
	s.apiAudit(api)
	mux.HandleFunc("/api/v1/content/", s.content)
	mux.HandleFunc("GET /api/v1/contacts.json", s.exportContacts(contact.WriteJSContact, typeJSContact, "contacts.json"))
	mux.HandleFunc("GET /api/v1/contacts.vcf", s.exportContacts(contact.WriteVCard, typeVCard, "contacts.vcf"))
	mux.HandleFunc("POST /api/v1/contacts/import", s.importContacts)
	mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, ocm.NewError(http.StatusNotFound, "NO_SUCH_ENDPOINT", "There is no "+r.Method+" "+r.URL.Path+"; /api/v1/openapi.json lists what there is."))
	})
	return mux
}

func init() {
	// huma makes its own errors (a body that does not fit, say) through this
	// one variable; they are to look like ours.
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		e := ocm.NewError(status, ocm.CodeInvalidPayload, msg)
		for _, err := range errs {
			if d, ok := err.(*huma.ErrorDetail); ok {
				e.Fields = append(e.Fields, ocm.FieldError{Name: d.Location, Message: d.Message})
			}
		}
		switch status {
		case http.StatusRequestEntityTooLarge:
			e.Code = ocm.CodeTooLarge
		case http.StatusUnsupportedMediaType:
			e.Code = ocm.CodeUnsupportedMedia
		case http.StatusInternalServerError:
			e.Code = ocm.CodeInternal
		}
		return newProblem(e)
	}
}

// problem is huma's error and answer in one.
func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return "application/problem+json" }

// failing turns a domain error into the API's answer and keeps it for the log.
func failing(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	e := asError(err)
	q := requestIn(ctx)
	q.refusal = e
	p := newProblem(e)
	p.RequestID = q.id
	if e.RetryAfter > 0 {
		w := http.Header{}
		w.Set("Retry-After", retrySeconds(e))
		return huma.ErrorWithHeaders(p, w)
	}
	return p
}

// asking is the user behind a request; guard saw to it that there is one.
func asking(ctx context.Context) account.User { return *requestIn(ctx).user }

// operation describes a call of the API.
func operation(method, path, id, summary string) huma.Operation {
	return huma.Operation{
		Method: method, Path: "/api/v1" + path, OperationID: id, Summary: summary,
		Security: []map[string][]string{{"token": {}}},
	}
}

// document describes a call that is answered without huma because it streams.
func document(api huma.API, op huma.Operation, answers string, params ...*huma.Param) {
	op.Parameters = params
	op.Responses = map[string]*huma.Response{"default": {Description: answers}}
	api.OpenAPI().AddOperation(&op)
}

// param describes a parameter of a documented call.
func param(in, name, kind, what string) *huma.Param {
	return &huma.Param{In: in, Name: name, Required: in == "path", Description: what, Schema: &huma.Schema{Type: kind}}
}

// reply is an answer with a JSON body.
type reply[T any] struct{ Body T }

// none is the input of a call without one, and the output of one that only
// succeeds.
type none struct{}

// apiUser is a person as the API shows them to themselves.
type apiUser struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
	Address     string `json:"address" doc:"the OCM Address others share with"`
	Role        string `json:"role" enum:"user,admin"`
	Email       string `json:"email,omitempty"`
	Mail        string `json:"mail" enum:"never,at-once,daily" doc:"when notices go by e-mail"`
}

func (s *Server) showUser(u account.User) apiUser {
	return apiUser{u.Name, u.DisplayName, ocm.Address{Identifier: u.Name, Host: s.Self}.String(), u.Role, u.Email, s.Notices.Choice(u)}
}

type session struct {
	Token string  `json:"token" doc:"to be sent as Authorization: Bearer"`
	User  apiUser `json:"user"`
}

func (s *Server) apiSession(api huma.API) {
	login := operation("POST", "/login", "login", "Sign in with a name and a password")
	login.Security = nil
	huma.Register(api, login, func(ctx context.Context, in *struct {
		UserAgent string `header:"User-Agent" hidden:"true"`
		Body      struct {
			User     string `json:"user" maxLength:"255"`
			Password string `json:"password" maxLength:"1024"`
			Label    string `json:"label,omitempty" maxLength:"255" doc:"what signs in, shown in the list of sessions"`
		}
	}) (*reply[session], error) {
		u, token, err := s.Accounts.Login(ctx, in.Body.User, ocm.Secret(in.Body.Password), requestIn(ctx).from, cmp.Or(in.Body.Label, device(in.UserAgent)))
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[session]{session{token.Reveal(), s.showUser(u)}}, nil
	})
	huma.Register(api, operation("POST", "/logout", "logout", "End the session"), func(ctx context.Context, in *struct {
		Authorization string `header:"Authorization"`
	}) (*none, error) {
		if token, ok := bearerToken(in.Authorization); ok {
			return nil, failing(ctx, s.Accounts.Logout(ctx, token))
		}
		return nil, nil
	})
	huma.Register(api, operation("GET", "/me", "me", "Who is signed in"), func(ctx context.Context, _ *none) (*reply[apiUser], error) {
		return &reply[apiUser]{s.showUser(asking(ctx))}, nil
	})
	type appPassword struct {
		ID         string `json:"id"`
		Label      string `json:"label"`
		Password   string `json:"password,omitempty" doc:"given this once"`
		CreatedAt  string `json:"createdAt,omitempty" format:"date-time"`
		LastUsedAt string `json:"lastUsedAt,omitempty" format:"date-time"`
	}
	huma.Register(api, operation("GET", "/app-passwords", "listAppPasswords", "List the app passwords"), func(ctx context.Context, _ *none) (*reply[[]appPassword], error) {
		list, err := s.Accounts.AppPasswords(ctx, asking(ctx).ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]appPassword]{[]appPassword{}}
		for _, c := range list {
			out.Body = append(out.Body, appPassword{ID: c.ID, Label: c.Label, CreatedAt: rfc3339(c.CreatedAt), LastUsedAt: rfc3339(c.LastUsedAt)})
		}
		return out, nil
	})
	huma.Register(api, operation("POST", "/app-passwords", "addAppPassword", "Make an app password for WebDAV"), func(ctx context.Context, in *struct {
		Body struct {
			Label string `json:"label" maxLength:"255"`
		}
	}) (*reply[appPassword], error) {
		secret, err := s.Accounts.AppPassword(ctx, asking(ctx).ID, in.Body.Label)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[appPassword]{appPassword{Label: in.Body.Label, Password: secret.Reveal()}}, nil
	})
	huma.Register(api, operation("DELETE", "/app-passwords/{id}", "removeAppPassword", "End an app password"), func(ctx context.Context, in *struct {
		ID string `path:"id"`
	}) (*none, error) {
		return nil, failing(ctx, s.Accounts.RevokeAppPassword(ctx, asking(ctx).ID, in.ID))
	})
}
