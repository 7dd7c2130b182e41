package server

import (
	"cmp"
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/notice"
)

// apiNotice is something that happened, as its person sees it.
type apiNotice struct {
	ID      string        `json:"id"`
	Kind    notice.Kind   `json:"kind"`
	About   notice.Params `json:"about"`
	Times   int64         `json:"times" doc:"how often it happened"`
	Since   string        `json:"since" format:"date-time" doc:"the first time"`
	At      string        `json:"at" format:"date-time"`
	Read    bool          `json:"read"`
	Request string        `json:"requestId,omitempty" doc:"for the operator: weft explain"`
}

type noticePage struct {
	Notices []apiNotice `json:"notices" doc:"the newest first"`
	Unread  int64       `json:"unread" doc:"how many there are in all"`
	Next    string      `json:"next,omitempty" doc:"to be given as before, for those that follow"`
}

func (s *Server) apiNotices(api huma.API) {
	list := operation("GET", "/notices", "notices", "List what happened")
	list.Description = "Each notice has a kind and what it is about, for the program to put into words: " + kindsInWords()
	huma.Register(api, list, func(ctx context.Context, in *struct {
		Before string `query:"before" maxLength:"64" doc:"only those before this one"`
		Unread bool   `query:"unread" doc:"only those that are not read"`
		Limit  int    `query:"limit" minimum:"1" maximum:"100" doc:"default 50"`
	}) (*reply[noticePage], error) {
		p, err := s.Notices.List(ctx, asking(ctx).ID, in.Before, in.Unread, cmp.Or(in.Limit, 50))
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[noticePage]{noticePage{[]apiNotice{}, p.Unread, p.Next}}
		for _, n := range p.Notices {
			out.Body.Notices = append(out.Body.Notices, apiNotice{
				ID: n.ID, Kind: n.Kind, About: n.About(), Times: n.Times, Since: rfc3339(n.Since), At: rfc3339(n.At), Read: n.ReadAt != 0, Request: n.Request,
			})
		}
		return out, nil
	})
	type count struct {
		Unread int64 `json:"unread"`
	}
	huma.Register(api, operation("GET", "/notices/unread", "unreadNotices", "Count the notices that are not read"), func(ctx context.Context, _ *none) (*reply[count], error) {
		n, err := s.Notices.Unread(ctx, asking(ctx).ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[count]{count{n}}, nil
	})
	huma.Register(api, operation("POST", "/notices/read", "readAllNotices", "Mark all notices as read"), func(ctx context.Context, _ *none) (*none, error) {
		return nil, failing(ctx, s.Notices.MarkRead(ctx, asking(ctx).ID, ""))
	})
	huma.Register(api, operation("POST", "/notices/{id}/read", "readNotice", "Mark a notice as read"), func(ctx context.Context, in *byID) (*none, error) {
		return nil, failing(ctx, s.Notices.MarkRead(ctx, asking(ctx).ID, in.ID))
	})
}

func kindsInWords() string {
	words := ""
	for i, k := range notice.Kinds {
		if i > 0 {
			words += ", "
		}
		words += string(k)
	}
	return words + "."
}
