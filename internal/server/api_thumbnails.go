package server

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/thumbnail"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

const thumbnailsPath = "/api/v1/thumbnails/"

func (s *Server) apiThumbnails(api huma.API, mux *http.ServeMux) {
	document(api, operation("GET", "/thumbnails/{path}", "thumbnail", "A small picture of an image"),
		"200 with image/jpeg or image/png; 404 NO_THUMBNAIL where there is none. Of large images on other servers only the beginning is read, for the picture that a camera put there",
		param("path", "path", "string", "the image"), param("query", "size", "integer", "pixels each way, rounded up to 64, 128, 256 or 512; 256 when not given"),
		param("query", "v", "string", "anything that changes with the file: the answer may then be kept for long"))
	mux.HandleFunc("GET "+thumbnailsPath, s.thumbnail)
}

func (s *Server) thumbnail(w http.ResponseWriter, r *http.Request) {
	p, key, err := s.findThumbnail(w, r)
	if err != nil {
		w.Header().Set("Cache-Control", "private, max-age=60") // pages ask for many
		s.refuse(w, r, err)
		return
	}
	if p == nil {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h := w.Header()
	h.Set("Content-Type", p.Type)
	h.Set("Content-Length", strconv.Itoa(len(p.Data)))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", key)
	w.Write(p.Data)
}

// findThumbnail finds a picture and its ETag; without the picture when the asker
// has it.
func (s *Server) findThumbnail(w http.ResponseWriter, r *http.Request) (p *thumbnail.Picture, etag string, err error) {
	size := 256
	if v := r.URL.Query().Get("size"); v != "" {
		if size, err = strconv.Atoi(v); err != nil || size < 1 {
			return nil, "", ocm.Invalid("size", "must be a number of pixels")
		}
	}
	name, err := pathBelow(r, thumbnailsPath)
	if err != nil {
		return nil, "", err
	}
	user := requestOf(r).user
	t, err := s.Homes.Whole(r.Context(), user.ID)
	if err != nil {
		return nil, "", err
	}
	info, err := t.Stat(r.Context(), name)
	if err != nil {
		return nil, "", err
	}
	of := thumbnail.Of{
		UserID: user.ID, Path: name, Info: info, Size: size,
		Open: func(ctx context.Context) (tree.File, error) { return t.Open(ctx, name) },
	}
	etag = `"` + of.Key() + `"`
	p, err = s.Thumbnails.Get(r.Context(), of)
	if err != nil {
		return nil, "", err
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	if r.URL.Query().Get("v") != "" {
		w.Header().Set("Cache-Control", "private, max-age=2592000, immutable")
	}
	if r.Header.Get("If-None-Match") == etag {
		return nil, etag, nil
	}
	return p, etag, nil
}

// pathBelow is the path of a tree in a URL, behind a prefix. Elements are decoded
// one by one, so that an escaped slash cannot pass for a separator.
func pathBelow(r *http.Request, prefix string) (string, error) {
	rest := strings.TrimPrefix(r.URL.EscapedPath(), strings.TrimSuffix(prefix, "/"))
	elements := strings.Split(strings.Trim(rest, "/"), "/")
	for i, e := range elements {
		plain, err := url.PathUnescape(e)
		if err != nil || strings.Contains(plain, "/") {
			return "", tree.ErrName.Saying("The address holds a name with a slash or a broken escape in it.")
		}
		elements[i] = plain
	}
	return tree.Clean(strings.Join(elements, "/"))
}
