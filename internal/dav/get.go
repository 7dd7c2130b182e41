package dav

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
)

// get answers GET and HEAD: ranges and conditions are net/http's.
func (h *Handler) get(w http.ResponseWriter, r *http.Request, name string) error {
	file, err := h.Tree.Open(r.Context(), name)
	if errors.Is(err, tree.ErrIsFolder) {
		w.Header().Set("Allow", strings.Replace(h.allow(), " GET, HEAD, PUT,", "", 1))
		return errFolderGet.With(err)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info := file.Info()
	header := w.Header()
	header.Set("Content-Type", h.contentType(info))
	header.Set("X-Content-Type-Options", "nosniff")
	// It is for who asked, and may be another the next time: without a word
	// browsers would guess for how long they can show what they have.
	header.Set("Cache-Control", "private, no-cache")
	// Whatever a file holds, it must not act with the rights of this origin.
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'")
	if h.View && strings.HasPrefix(header.Get("Content-Type"), "application/pdf") {
		// Browsers show a PDF by a program of their own, which a sandbox would
		// keep from starting and which has none of our rights.
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'self'")
		header.Set("Content-Disposition", "inline")
	} else if active(header.Get("Content-Type")) {
		header.Set("Content-Disposition", "attachment")
	}
	if info.ETag != "" {
		header.Set("ETag", info.ETag)
		header.Set("OC-ETag", info.ETag)
	}
	out := &download{w: w, rc: http.NewResponseController(w), stall: h.stall(), watch: h.watch()}
	defer out.rc.SetWriteDeadline(time.Time{})
	if f, ok := file.(interface{ OSFile() *os.File }); ok {
		// A plain file goes to the socket without passing through us.
		http.ServeContent(out, r, "", info.ModTime, f.OSFile())
		return nil
	}
	out.late = true
	if info.Size < 0 {
		return h.stream(out, r, file)
	}
	if hinter, ok := file.(tree.Hinter); ok {
		hinter.Hint(rangeLength(r, info))
	}
	body := &source{file: file, size: info.Size}
	http.ServeContent(out, r, "", info.ModTime, body)
	return out.finish(h, r, body.err)
}

// stream sends a file of unknown length: no ranges, no Content-Length.
func (h *Handler) stream(out *download, r *http.Request, file tree.File) error {
	out.Header().Set("Accept-Ranges", "none")
	if modified := file.Info().ModTime; !modified.IsZero() {
		out.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	}
	out.WriteHeader(http.StatusOK)
	body := &source{file: file}
	if r.Method != http.MethodHead {
		io.Copy(out, body)
	}
	return out.finish(h, r, body.err)
}

// download is the ResponseWriter of a GET. It lets a client be slow but not
// stand still, and with late set keeps the status back until the first byte is
// there, so that a file that cannot be read is answered with an error.
type download struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	stall  time.Duration
	watch  tree.Watch
	late   bool
	status int // kept back; 0: none or sent
	sent   bool
}

// pace is how many bytes must get through before the stall timeout.
const pace = 256 << 10

func (d *download) Header() http.Header { return d.w.Header() }

func (d *download) WriteHeader(status int) {
	if d.late {
		d.status = status
		return
	}
	d.w.WriteHeader(status)
}

func (d *download) flushHeader() {
	if d.status != 0 {
		d.w.WriteHeader(d.status)
		d.status = 0
	}
	d.sent = true
}

func (d *download) Write(b []byte) (int, error) {
	if err := d.watch.Look(); err != nil {
		return 0, err
	}
	d.flushHeader()
	d.rc.SetWriteDeadline(time.Now().Add(d.stall))
	return d.w.Write(b)
}

// ReadFrom keeps sendfile in use: net/http's writer is handed the source itself,
// a piece at a time.
func (d *download) ReadFrom(src io.Reader) (n int64, err error) {
	if d.late {
		return io.Copy(struct{ io.Writer }{d}, src)
	}
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	for limited.N > 0 {
		if err := d.watch.Look(); err != nil {
			return n, err
		}
		d.rc.SetWriteDeadline(time.Now().Add(d.stall))
		piece := min(limited.N, pace)
		m, err := io.CopyN(d.w, limited.R, piece)
		n += m
		limited.N -= m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// finish closes a late answer: with the error when nothing was sent yet, by
// breaking the connection when the body ends short of what was promised.
func (d *download) finish(h *Handler, r *http.Request, fault error) error {
	switch {
	case fault == nil:
		d.flushHeader()
	case !d.sent:
		for _, k := range []string{"Content-Length", "Content-Range", "Content-Disposition", "ETag", "OC-ETag", "Last-Modified", "Accept-Ranges"} {
			d.Header().Del(k)
		}
		return fault
	default:
		h.observe(r, statusCut, fault)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// source remembers why reading failed, and knows the size without seeking.
type source struct {
	file tree.File
	size int64
	err  error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.file.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) Seek(offset int64, whence int) (int64, error) {
	if offset == 0 && whence == io.SeekEnd {
		return s.size, nil // http.ServeContent asks for the size and seeks back before it reads
	}
	n, err := s.file.Seek(offset, whence)
	if err != nil {
		s.err = err
	}
	return n, err
}

// rangeLength is how many bytes the request will read: of its one range, or of
// the whole file when there is none, several, or one that does not hold.
func rangeLength(r *http.Request, info tree.Info) int64 {
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || r.Method == http.MethodHead || strings.Contains(spec, ",") {
		return info.Size
	}
	if tag := r.Header.Get("If-Range"); tag != "" && tag != info.ETag {
		return info.Size
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return info.Size
	}
	if first == "" {
		if n, err := strconv.ParseInt(last, 10, 64); err == nil && n >= 0 {
			return min(n, info.Size)
		}
		return info.Size
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || from < 0 || from >= info.Size {
		return info.Size
	}
	to := info.Size - 1
	if last != "" {
		if n, err := strconv.ParseInt(last, 10, 64); err == nil && n >= from {
			to = min(to, n)
		}
	}
	return to - from + 1
}

// contentType is what the tree knows, or what the name's ending means.
func (h *Handler) contentType(info tree.Info) string {
	if info.ContentType != "" {
		return info.ContentType
	}
	name := info.Name
	if name == "" {
		name = h.rootName()
	}
	if t := tree.TypeOf(name); t != "" {
		return t
	}
	return "application/octet-stream"
}

// rootName is what the root is called.
func (h *Handler) rootName() string {
	switch {
	case h.Name != "":
		return h.Name
	case h.Base != "":
		return base(h.Base)
	}
	return base(h.Prefix)
}

// active reports whether a browser would run what such a file holds.
func active(contentType string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch kind = strings.TrimSpace(kind); kind {
	case "text/html", "text/xml", "application/xml", "text/javascript", "application/javascript",
		"application/x-shockwave-flash", "application/pdf", "text/xsl":
		return true
	}
	return strings.HasSuffix(kind, "+xml") || strings.HasSuffix(kind, "script")
}
