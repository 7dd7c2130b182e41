package server

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/home"
	"github.com/weft-mesh/weft/internal/tree"
)

// trashed is something in the trash as the API shows it.
type trashed struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Path      string `json:"path" doc:"where it was"`
	Folder    bool   `json:"folder"`
	Size      int64  `json:"size" doc:"bytes of all files in it"`
	DeletedAt string `json:"deletedAt" format:"date-time"`
	Until     string `json:"until" format:"date-time" doc:"when it will be gone"`
}

func (s *Server) showTrashed(d home.Deleted) trashed {
	return trashed{
		ID: d.ID, Name: tree.Base(d.Path), Path: d.Path, Folder: d.Folder, Size: d.Size,
		DeletedAt: rfc3339(d.DeletedAt), Until: s.Homes.Until(d).UTC().Format(time.RFC3339),
	}
}

type trashList struct {
	Entries []trashed `json:"entries"`
	Count   int       `json:"count" doc:"entries in all"`
	Size    int64     `json:"size" doc:"bytes in all; they do not count against the quota"`
}

// purged tells how much was deleted for good.
type purged struct {
	Count int64 `json:"count"`
}

func (s *Server) apiTrash(api huma.API) {
	huma.Register(api, operation("GET", "/trash", "listTrash", "List what was deleted, the newest first"), func(ctx context.Context, in *struct {
		Offset int `query:"offset" minimum:"0" maximum:"1000000"`
		Limit  int `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
	}) (*reply[trashList], error) {
		list, count, size, err := s.Homes.Trash(ctx, asking(ctx).ID, in.Offset, in.Limit)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[trashList]{trashList{Entries: []trashed{}, Count: count, Size: size}}
		for _, d := range list {
			out.Body.Entries = append(out.Body.Entries, s.showTrashed(d))
		}
		return out, nil
	})
	huma.Register(api, operation("POST", "/trash/{id}/restore", "restore", "Bring something back: to where it was, or beside what is there now"), func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64"`
	}) (*reply[entry], error) {
		name, info, err := s.Homes.Restore(ctx, asking(ctx).ID, in.ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[entry]{showEntry(tree.Dir(name), info)}, nil
	})
	huma.Register(api, operation("DELETE", "/trash/{id}", "purge", "Delete something in the trash for good"), func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"64"`
	}) (*none, error) {
		n, err := s.Homes.Purge(ctx, asking(ctx).ID, in.ID)
		if err == nil && n == 0 {
			err = home.ErrNotInTrash
		}
		return nil, failing(ctx, err)
	})
	huma.Register(api, operation("DELETE", "/trash", "emptyTrash", "Delete everything in the trash for good"), func(ctx context.Context, _ *none) (*reply[purged], error) {
		n, err := s.Homes.Purge(ctx, asking(ctx).ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[purged]{purged{n}}, nil
	})
}
