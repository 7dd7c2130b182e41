package server

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/search"
	"github.com/weft-mesh/weft/internal/tree"
)

// found is what a search found.
type found struct {
	Entries   []entry  `json:"entries" doc:"the best first"`
	Truncated bool     `json:"truncated" doc:"there are more than the limit"`
	Left      []string `json:"left" doc:"folders that could not be looked through, or not to their end: their server does not answer quickly"`
}

func (s *Server) apiSearch(api huma.API) {
	huma.Register(api, operation("GET", "/search", "search", "Find files and folders whose name holds all words, with or without accents"), func(ctx context.Context, in *struct {
		Query string `query:"q" required:"true" minLength:"1" maxLength:"255"`
		Path  string `query:"path" maxLength:"4096" doc:"the folder to look in"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	}) (*reply[found], error) {
		t, name, err := s.filesOf(ctx, in.Path)
		if err != nil {
			return nil, failing(ctx, err)
		}
		r, err := search.Files(ctx, t, name, in.Query, in.Limit)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[found]{found{Entries: []entry{}, Truncated: r.More, Left: append([]string{}, r.Left...)}}
		for _, h := range r.Hits {
			out.Body.Entries = append(out.Body.Entries, showEntry(tree.Dir(h.Path), h.Info))
		}
		return out, nil
	})
}
