package server

import (
	"context"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/ocm"
)

// apiSignIn is a place where a person is signed in.
type apiSignIn struct {
	ID         string `json:"id"`
	Label      string `json:"label"`
	From       string `json:"from,omitempty" doc:"the address at the sign-in"`
	CreatedAt  string `json:"createdAt" format:"date-time"`
	LastUsedAt string `json:"lastUsedAt" format:"date-time"`
	Current    bool   `json:"current" doc:"it is the one that asks"`
}

func (s *Server) apiSettings(api huma.API) {
	huma.Register(api, operation("PATCH", "/me", "changeMe", "Change one's own name and when notices go by e-mail"), func(ctx context.Context, in *struct {
		Body struct {
			DisplayName *string `json:"displayName,omitempty" maxLength:"255"`
			Mail        *string `json:"mail,omitempty" enum:"never,at-once,daily"`
		}
	}) (*reply[apiUser], error) {
		u, err := s.Accounts.Edit(ctx, asking(ctx), account.Profile{DisplayName: in.Body.DisplayName, Mail: in.Body.Mail})
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[apiUser]{s.showUser(u)}, nil
	})
	huma.Register(api, operation("POST", "/password", "changePassword", "Change the password; all other sessions end"), func(ctx context.Context, in *struct {
		Body struct {
			Present  string `json:"present" maxLength:"1024"`
			Password string `json:"password" maxLength:"1024"`
		}
	}) (*none, error) {
		return nil, failing(ctx, s.Accounts.ChangePassword(ctx, asking(ctx), ocm.Secret(in.Body.Present), ocm.Secret(in.Body.Password), requestIn(ctx).from, requestIn(ctx).session))
	})
	huma.Register(api, operation("GET", "/sessions", "sessions", "List where one is signed in"), func(ctx context.Context, _ *none) (*reply[[]apiSignIn], error) {
		list, err := s.Accounts.Sessions(ctx, asking(ctx).ID, requestIn(ctx).session)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]apiSignIn]{[]apiSignIn{}}
		for _, c := range list {
			out.Body = append(out.Body, apiSignIn{c.ID, c.Label, c.BegunFrom, rfc3339(c.CreatedAt), rfc3339(c.LastUsedAt), c.Current})
		}
		return out, nil
	})
	huma.Register(api, operation("DELETE", "/sessions/{id}", "endSession", "Sign out in one place"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Accounts.EndSession(ctx, asking(ctx).ID, in.ID))
	})
	type endedSessions struct {
		Ended int64 `json:"ended" doc:"how many sessions"`
	}
	huma.Register(api, operation("POST", "/sessions/end-others", "endOtherSessions", "Sign out everywhere but in the session that asks"), func(ctx context.Context, _ *none) (*reply[endedSessions], error) {
		n, err := s.Accounts.EndOtherSessions(ctx, asking(ctx).ID, requestIn(ctx).session)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[endedSessions]{endedSessions{n}}, nil
	})
}

// device names a browser and its system by their User-Agent, as people know them;
// "" when it is neither.
func device(userAgent string) string {
	name := func(names [][2]string) string {
		for _, n := range names {
			if strings.Contains(userAgent, n[0]) {
				return n[1]
			}
		}
		return ""
	}
	// Each claims to be those that follow it.
	browser := name([][2]string{
		{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"OPR/", "Opera"}, {"Vivaldi/", "Vivaldi"}, {"SamsungBrowser/", "Samsung Internet"},
		{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chromium/", "Chromium"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	})
	system := name([][2]string{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"},
		{"FreeBSD", "FreeBSD"}, {"OpenBSD", "OpenBSD"}, {"Linux", "Linux"},
	})
	if browser == "" { // a program: its name
		browser, _, _ = strings.Cut(userAgent, "/")
		browser, _, _ = strings.Cut(browser, " ")
		if len(browser) > 40 {
			browser = ""
		}
	}
	if browser == "" || system == "" {
		return browser + system
	}
	return browser + ", " + system
}
