package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// entry is a file or folder as the API shows it.
type entry struct {
	Name             string   `json:"name"`
	Path             string   `json:"path"`
	Folder           bool     `json:"folder"`
	Size             int64    `json:"size" doc:"bytes; -1 when not known"`
	Modified         string   `json:"modified,omitempty" format:"date-time"`
	ETag             string   `json:"etag"`
	Permissions      []string `json:"permissions"`
	Shared           bool     `json:"shared" doc:"mounted here from elsewhere"`
	UnavailableSince string   `json:"unavailableSince,omitempty" format:"date-time"`
	UnavailableWhy   string   `json:"unavailableWhy,omitempty"`
}

func showEntry(dir string, i tree.Info) entry {
	e := entry{
		Name: i.Name, Path: tree.Join(dir, i.Name), Folder: i.Dir, Size: i.Size, ETag: i.ETag,
		Permissions: i.Rights.Permissions(), Shared: i.Mount,
	}
	if !i.ModTime.IsZero() {
		e.Modified = i.ModTime.UTC().Format(time.RFC3339)
	}
	if i.Unavailable != nil {
		e.UnavailableSince, e.UnavailableWhy = i.Unavailable.Since.UTC().Format(time.RFC3339), i.Unavailable.Reason
	}
	return e
}

func rfc3339(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

// listing is a page of a folder.
type listing struct {
	Self      entry   `json:"self"`
	Deletion  string  `json:"deletion" enum:"trash,owner,elsewhere,left,gone" doc:"what becomes of this path when it is deleted: it goes to the trash (of the person or of its owner), its own server decides, a received share is given back, or it is gone"`
	Entries   []entry `json:"entries"`
	Truncated bool    `json:"truncated" doc:"there are more entries than the limit"`
}

// pathBody is the body of calls about one path.
type pathBody struct {
	Body struct {
		Path string `json:"path" maxLength:"4096"`
	}
}

// moveBody is the body of move and copy.
type moveBody struct {
	Body struct {
		From      string `json:"from" maxLength:"4096"`
		To        string `json:"to" maxLength:"4096"`
		Overwrite bool   `json:"overwrite,omitempty"`
	}
}

func (s *Server) apiFiles(api huma.API) {
	huma.Register(api, operation("GET", "/files", "list", "Describe a path, and list it when it is a folder"), func(ctx context.Context, in *struct {
		Path  string `query:"path" maxLength:"4096"`
		Limit int    `query:"limit" minimum:"1" maximum:"100000" default:"10000"`
	}) (*reply[listing], error) {
		t, name, err := s.filesOf(ctx, in.Path)
		if err != nil {
			return nil, failing(ctx, err)
		}
		info, err := t.Stat(ctx, name)
		if err != nil {
			return nil, failing(ctx, err)
		}
		fate, err := s.Homes.Fate(ctx, asking(ctx).ID, name)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[listing]{listing{Self: showEntry(tree.Dir(name), info), Deletion: string(fate), Entries: []entry{}}}
		if !info.Dir {
			return out, nil
		}
		for child, err := range t.List(ctx, name) {
			if err != nil {
				return nil, failing(ctx, err)
			}
			if len(out.Body.Entries) == in.Limit {
				out.Body.Truncated = true
				break
			}
			out.Body.Entries = append(out.Body.Entries, showEntry(name, child))
		}
		slices.SortFunc(out.Body.Entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
		return out, nil
	})
	huma.Register(api, operation("POST", "/files/folder", "mkdir", "Make a folder"), func(ctx context.Context, in *pathBody) (*reply[entry], error) {
		t, name, err := s.filesOf(ctx, in.Body.Path)
		if err != nil {
			return nil, failing(ctx, err)
		}
		info, err := t.Mkdir(ctx, name)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[entry]{showEntry(tree.Dir(name), info)}, nil
	})
	huma.Register(api, operation("POST", "/files/move", "move", "Move or rename; shares follow"), func(ctx context.Context, in *moveBody) (*none, error) {
		return nil, failing(ctx, s.relocate(ctx, in, func(t tree.Tree, from, to string) error {
			_, err := t.Move(ctx, from, to, tree.MoveOptions{Overwrite: in.Body.Overwrite})
			return err
		}))
	})
	huma.Register(api, operation("POST", "/files/copy", "copy", "Copy a file or folder"), func(ctx context.Context, in *moveBody) (*none, error) {
		return nil, failing(ctx, s.relocate(ctx, in, func(t tree.Tree, from, to string) error {
			_, err := t.Copy(ctx, from, to, tree.CopyOptions{Overwrite: in.Body.Overwrite})
			return err
		}))
	})
	huma.Register(api, operation("DELETE", "/files", "remove", "Delete a file or folder with everything in it: to the trash where there is one"), func(ctx context.Context, in *struct {
		Path string `query:"path" required:"true" maxLength:"4096"`
	}) (*reply[deletion], error) {
		name, err := tree.Clean(in.Path)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out, err := s.remove(ctx, name)
		if err != nil {
			return nil, failing(ctx, err)
		}
		return &reply[deletion]{out}, nil
	})
}

// deletion is what became of something that was deleted.
type deletion struct {
	Deletion string `json:"deletion" enum:"trash,owner,elsewhere,left,gone" doc:"where it is now; see list"`
	TrashID  string `json:"trashId,omitempty" doc:"to restore it by"`
}

// remove deletes a name in the tree of who asks.
func (s *Server) remove(ctx context.Context, name string) (deletion, error) {
	if err := s.unlocked(ctx, name); err != nil {
		return deletion{}, err
	}
	fate, id, err := s.Homes.Delete(ctx, asking(ctx).ID, name, tree.Condition{})
	return deletion{string(fate), id}, err
}

// filesOf is the tree of who asks, and the name they gave in it.
func (s *Server) filesOf(ctx context.Context, name string) (tree.Tree, string, error) {
	clean, err := tree.Clean(name)
	if err != nil {
		return nil, "", err
	}
	t, err := s.Homes.Whole(ctx, asking(ctx).ID)
	return t, clean, err
}

func (s *Server) relocate(ctx context.Context, in *moveBody, do func(t tree.Tree, from, to string) error) error {
	t, from, err := s.filesOf(ctx, in.Body.From)
	if err != nil {
		return err
	}
	to, err := tree.Clean(in.Body.To)
	if err != nil {
		return err
	}
	for _, name := range []string{from, to} {
		if err := s.unlocked(ctx, name); err != nil {
			return err
		}
	}
	return do(t, from, to)
}

// unlocked refuses changes of what someone locked over WebDAV: the API has no
// lock tokens to show.
func (s *Server) unlocked(ctx context.Context, name string) error {
	return s.unlockedFor(ctx, asking(ctx).ID, name)
}

func (s *Server) unlockedFor(ctx context.Context, userID, name string) error {
	locks, err := s.Homes.Attached.Locks(ctx, userID, name)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.Covers(name) || tree.Within(l.Path, name) {
			return tree.ErrLocked
		}
	}
	return nil
}

// content is GET, HEAD and PUT of a file at /api/v1/content/PATH: the bytes,
// with ranges and conditions as over WebDAV and errors as in the API.
func (s *Server) content(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPut {
		w.Header().Set("Allow", "GET, HEAD, PUT")
		s.refuse(w, r, ocm.NewError(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Files are read with GET and written with PUT."))
		return
	}
	user := requestOf(r).user
	t, err := s.Homes.Whole(r.Context(), user.ID)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	h := s.davHandler()
	h.Tree, h.Prefix, h.Space, h.Principal = t, "/api/v1/content", user.ID, user.ID
	h.View = r.URL.Query().Has("view")
	h.Answer = func(w http.ResponseWriter, _ *http.Request, err error) { writeProblem(w, asError(err)) }
	h.ServeHTTP(w, r)
}
