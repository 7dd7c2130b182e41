package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/upload"
	"github.com/weft-mesh/weft/ocm"
)

const uploadsPath = "/api/v1/uploads"

// upload as the API shows it.
type apiUpload struct {
	ID        string `json:"id"`
	Path      string `json:"path"`
	Offset    int64  `json:"offset" doc:"bytes that have come"`
	Length    int64  `json:"length"`
	Modified  string `json:"modified,omitempty" format:"date-time" doc:"the file's own time, as it was given"`
	CreatedAt string `json:"createdAt" format:"date-time"`
	ExpiresAt string `json:"expiresAt" format:"date-time" doc:"when it is given up if nothing more comes"`
}

// apiUploads takes files in pieces, in the shape of "Resumable Uploads for HTTP"
// (draft-ietf-httpbis-resumable-upload): POST begins, HEAD asks how far it is,
// PATCH adds, DELETE gives up.
func (s *Server) apiUploads(api huma.API, mux *http.ServeMux) {
	huma.Register(api, operation("GET", "/uploads", "listUploads", "List the uploads under way"), func(ctx context.Context, _ *none) (*reply[[]apiUpload], error) {
		list, err := s.Uploads.List(ctx, asking(ctx).ID)
		if err != nil {
			return nil, failing(ctx, err)
		}
		out := &reply[[]apiUpload]{[]apiUpload{}}
		for _, u := range list {
			out.Body = append(out.Body, apiUpload{
				ID: u.ID, Path: u.Path, Offset: u.Offset, Length: u.Length, Modified: rfc3339(u.ModifiedAt),
				CreatedAt: rfc3339(u.CreatedAt), ExpiresAt: u.Expires().UTC().Format(time.RFC3339),
			})
		}
		return out, nil
	})
	id := param("path", "id", "string", "the upload")
	offset := param("header", "Upload-Offset", "integer", "where the piece begins: the bytes that have come")
	complete := param("header", "Upload-Complete", "string", `"?1" when the file is complete with this body, "?0" when more follows`)
	overwrite := param("query", "overwrite", "boolean", "replace what has the name; without it a name that is taken is refused")
	document(api, operation("POST", "/uploads", "createUpload", "Begin an upload that can be resumed; the body may hold the first bytes, or all"),
		"201 with Location, Upload-Offset and Upload-Complete; the file is described when it is complete",
		param("query", "path", "string", "where the file will stand"), overwrite,
		param("query", "modified", "integer", "the file's own time, in milliseconds since 1970"),
		param("header", "Upload-Length", "integer", "bytes of the file; may be left out when the body is all of it"), complete,
		param("header", "If-Match", "string", "the ETag of the one version that may be replaced"))
	document(api, operation("HEAD", "/uploads/{id}", "uploadOffset", "Ask how far an upload is; a request that is still adding to it is cut"),
		"204 with Upload-Offset, Upload-Complete, Upload-Length and Upload-Limit", id)
	document(api, operation("PATCH", "/uploads/{id}", "appendUpload", "Add to an upload, as application/partial-upload"),
		"204 when more must follow, 200 with the file when it is complete, 409 with Upload-Offset when it goes on at another offset or another request is adding", id, offset, complete, overwrite)
	document(api, operation("DELETE", "/uploads/{id}", "cancelUpload", "Give an upload up"), "204", id)
	mux.HandleFunc("POST "+uploadsPath, s.createUpload)
	mux.HandleFunc("HEAD "+uploadsPath+"/{id}", s.uploadOffset)
	mux.HandleFunc("PATCH "+uploadsPath+"/{id}", s.appendUpload)
	mux.HandleFunc("DELETE "+uploadsPath+"/{id}", s.cancelUpload)
}

func (s *Server) createUpload(w http.ResponseWriter, r *http.Request) {
	n, last, err := newUpload(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	up, err := s.Uploads.Create(r.Context(), requestOf(r).user.ID, n)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Location", uploadsPath+"/"+up.ID)
	if r.Header.Get("Upload-Draft-Interop-Version") != "" && r.ContentLength != 0 {
		w.WriteHeader(104) // Upload Resumption Supported: the body may be cut from now on
	}
	if r.ContentLength == 0 && (!last || up.Length > 0) {
		tellProgress(w, up)
		w.WriteHeader(http.StatusCreated)
		return
	}
	s.addToUpload(w, r, up.ID, upload.Piece{Last: last}, http.StatusCreated)
}

// newUpload reads what a request says of the upload it begins.
func newUpload(r *http.Request) (n upload.New, last bool, err error) {
	q := r.URL.Query()
	if n.Path, err = tree.Clean(q.Get("path")); err != nil {
		return n, false, err
	}
	if last, err = structuredBool(r.Header.Get("Upload-Complete")); err != nil {
		return n, false, err
	}
	n.Length = r.ContentLength
	if v := r.Header.Get("Upload-Length"); v != "" {
		if n.Length, err = strconv.ParseInt(v, 10, 64); err != nil {
			return n, false, ocm.Invalid("Upload-Length", "must be a number of bytes")
		}
	} else if !last {
		return n, false, ocm.Invalid("Upload-Length", "must be given when the body is not all of the file")
	}
	if last && r.ContentLength >= 0 && r.ContentLength != n.Length {
		return n, false, ocm.Invalid("Upload-Length", "is not the length of the body, which is said to be all of the file")
	}
	if v := q.Get("modified"); v != "" {
		ms, err := strconv.ParseInt(v, 10, 64)
		if err != nil || ms < 0 || ms > 1<<50 {
			return n, false, ocm.Invalid("modified", "must be milliseconds since 1970")
		}
		n.Modified = store.Time(ms)
	}
	if n.Match = r.Header.Get("If-Match"); n.Match == "" && q.Get("overwrite") != "true" {
		n.NoneMatch = "*"
	}
	return n, last, nil
}

func (s *Server) appendUpload(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/partial-upload" {
		s.refuse(w, r, ocm.NewError(http.StatusUnsupportedMediaType, ocm.CodeUnsupportedMedia, "A piece of an upload has the type application/partial-upload."))
		return
	}
	last, err := structuredBool(r.Header.Get("Upload-Complete"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	offset, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 {
		s.refuse(w, r, ocm.Invalid("Upload-Offset", "must be the number of bytes that have come"))
		return
	}
	s.addToUpload(w, r, r.PathValue("id"), upload.Piece{Offset: offset, Last: last, Replace: r.URL.Query().Get("overwrite") == "true"}, http.StatusOK)
}

// addToUpload has the request's body added; placed is the status when the file
// then stands in its place.
func (s *Server) addToUpload(w http.ResponseWriter, r *http.Request, id string, p upload.Piece, placed int) {
	body := &piece{body: r.Body, rc: http.NewResponseController(w), stall: s.conf.Limits.StallTimeout}
	p.Body, p.Cut = body, body.cut
	up, info, err := s.Uploads.Append(r.Context(), requestOf(r).user.ID, id, p)
	body.rc.SetReadDeadline(time.Time{})
	if up != nil {
		tellProgress(w, up)
	}
	switch {
	case err != nil:
		if body.wasCut.Load() {
			err = upload.ErrBusy.Saying("Another request asked how far the upload is, which cuts this one.").With(err)
		} else if body.err != nil && !errors.Is(err, upload.ErrTooMuch) {
			err = ocm.NewError(http.StatusBadRequest, "UPLOAD_CUT", "The upload broke off; it can be resumed.").With(err)
		}
		s.refuse(w, r, err)
	case up.Complete():
		writeJSON(w, placed, showEntry(tree.Dir(up.Path), info))
	case placed == http.StatusCreated:
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) uploadOffset(w http.ResponseWriter, r *http.Request) {
	up, err := s.Uploads.Get(r.Context(), requestOf(r).user.ID, r.PathValue("id"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	tellProgress(w, up)
	w.Header().Set("Upload-Length", strconv.FormatInt(up.Length, 10))
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) cancelUpload(w http.ResponseWriter, r *http.Request) {
	if err := s.Uploads.Cancel(r.Context(), requestOf(r).user.ID, r.PathValue("id")); err != nil {
		s.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func tellProgress(w http.ResponseWriter, up *upload.Upload) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Upload-Offset", strconv.FormatInt(up.Offset, 10))
	h.Set("Upload-Complete", "?0")
	if up.Complete() {
		h.Set("Upload-Complete", "?1")
	}
	h.Set("Upload-Limit", fmt.Sprintf("max-age=%d", int(upload.MaxAge.Seconds())))
}

// structuredBool reads a boolean of RFC 9651.
func structuredBool(v string) (bool, error) {
	switch v {
	case "?1":
		return true, nil
	case "?0":
		return false, nil
	}
	return false, ocm.Invalid("Upload-Complete", `must be "?1" or "?0"`)
}

// piece is the body of a request that adds to an upload: it may be slow but not
// stand still, and can be cut from elsewhere.
type piece struct {
	body   io.Reader
	rc     *http.ResponseController
	stall  time.Duration
	until  time.Time
	wasCut atomic.Bool
	err    error
}

var errCut = errors.New("cut by another request")

func (p *piece) Read(b []byte) (int, error) {
	if now := time.Now(); p.until.Sub(now) < p.stall-p.stall/10 {
		p.until = now.Add(p.stall)
		p.rc.SetReadDeadline(p.until)
	}
	// After the deadline, which would undo what cut did to it.
	if p.wasCut.Load() {
		p.err = errCut
		return 0, errCut
	}
	n, err := p.body.Read(b)
	if err != nil && err != io.EOF {
		p.err = err
	}
	return n, err
}

func (p *piece) cut() {
	p.wasCut.Store(true)
	p.rc.SetReadDeadline(time.Now())
}
