package server

import (
	"fmt"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/archive"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

const (
	archivePath      = "/api/v1/archive"
	maxArchives      = 2   // of one person at a time
	maxArchivedNames = 500 // in one request
)

var errArchives = ocm.NewError(http.StatusTooManyRequests, "DOWNLOADS_TOO_MANY", "Two downloads of folders are under way. Wait for one to end.").RetryIn(10 * time.Second)

// apiArchive is the download of folders, or of several things at once.
func (s *Server) apiArchive(api huma.API, mux *http.ServeMux) {
	document(api, operation("GET", "/archive", "archive", "Download files and folders as a ZIP, which is made while it is sent"),
		"200 with application/zip; when something cannot be read any more, the connection breaks before the end",
		param("query", "path", "string", "what to download; can be repeated"))
	mux.HandleFunc("GET "+archivePath, s.archive)
}

// counted bounds what each person does at a time.
type counted struct {
	mu  sync.Mutex
	now map[string]int
}

func (c *counted) enter(key string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[key] >= most {
		return false
	}
	if c.now == nil {
		c.now = map[string]int{}
	}
	c.now[key]++
	return true
}

func (c *counted) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[key]--; c.now[key] == 0 {
		delete(c.now, key)
	}
}

func (s *Server) archive(w http.ResponseWriter, r *http.Request) {
	user := requestOf(r).user
	names, err := archivedNames(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if !s.archives.enter(user.ID, maxArchives) {
		s.refuse(w, r, errArchives)
		return
	}
	defer s.archives.leave(user.ID)
	t, err := s.Homes.Whole(r.Context(), user.ID)
	if err == nil {
		err = archive.Check(r.Context(), t, names)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	name := tree.Base(names[0])
	if name == "" || len(names) > 1 {
		name = fmt.Sprintf("%s %s", s.conf.Provider, s.now().Format("2006-01-02 15.04"))
	}
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name + ".zip"}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if err := archive.Write(r.Context(), &steady{w, http.NewResponseController(w), s.conf.Limits.StallTimeout}, t, names); err != nil {
		// What was sent looks like a good beginning: only a broken connection
		// tells that it is not all.
		note(r, asError(err))
		panic(http.ErrAbortHandler)
	}
	http.NewResponseController(w).SetWriteDeadline(time.Time{})
}

func archivedNames(r *http.Request) ([]string, error) {
	paths := r.URL.Query()["path"]
	if len(paths) == 0 || len(paths) > maxArchivedNames {
		return nil, ocm.Invalid("path", fmt.Sprintf("must be given 1 to %d times", maxArchivedNames))
	}
	names := make([]string, len(paths))
	for i, p := range paths {
		var err error
		if names[i], err = tree.Clean(p); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// steady writes to a client that may be slow but not stand still.
type steady struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration
}

func (s *steady) Write(b []byte) (int, error) {
	s.rc.SetWriteDeadline(time.Now().Add(s.stall))
	return s.w.Write(b)
}
