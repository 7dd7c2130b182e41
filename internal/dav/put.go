package dav

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
)

// put answers PUT (RFC 4918 §9.7): the whole file or nothing, under the
// conditions of the request at the moment it takes effect.
func (h *Handler) put(w http.ResponseWriter, r *http.Request, name string) error {
	if r.Header.Get("Content-Range") != "" {
		return errContentRange // RFC 9110 §14.4
	}
	info, exists, err := h.stat(r.Context(), name)
	if err != nil {
		return err
	}
	if exists && info.Dir || !exists && strings.HasSuffix(r.URL.Path, "/") {
		w.Header().Set("Allow", strings.Replace(h.allow(), " GET, HEAD, PUT,", "", 1))
		return errFolderPut
	}
	recheck, err := h.permit(r, name, touch{name: name, member: !exists})
	if err != nil {
		return err
	}
	opt := tree.PutOptions{Condition: condition(r), Size: r.ContentLength, ContentType: r.Header.Get("Content-Type")}
	if v := r.Header.Get("X-OC-Mtime"); v != "" {
		if opt.ModTime, err = mtime(v); err != nil {
			return err
		}
	}
	body := h.body(w, r)
	body.recheck = recheck
	info, created, err := h.Tree.Put(r.Context(), name, body, opt)
	if err != nil {
		if fault := uploadFault(body.err); fault != nil {
			return fault
		}
		return writeFault(err)
	}
	if created {
		if err := h.removed(r, name); err != nil { // what a file of that name left behind
			return err
		}
	}
	if !opt.ModTime.IsZero() {
		w.Header().Set("X-OC-Mtime", "accepted")
	}
	if info.ETag != "" {
		w.Header().Set("ETag", info.ETag)
		w.Header().Set("OC-ETag", info.ETag)
	}
	answerWritten(w, created)
	return nil
}

// mkcol answers MKCOL (RFC 4918 §9.3).
func (h *Handler) mkcol(w http.ResponseWriter, r *http.Request, name string) error {
	if r.ContentLength > 0 {
		return errBody
	}
	if n, _ := h.body(w, r).Read(make([]byte, 1)); n > 0 {
		return errBody
	}
	info, exists, err := h.stat(r.Context(), name)
	if err != nil {
		return err
	}
	if _, err := h.permit(r, name, touch{name: name, member: !exists}); err != nil {
		return err
	}
	if err := condition(r).Check(info, exists); err != nil {
		return err
	}
	if _, err := h.Tree.Mkdir(r.Context(), name); err != nil {
		if errors.Is(err, tree.ErrExists) {
			w.Header().Set("Allow", h.allow())
			return errNameTaken.With(err)
		}
		return writeFault(err)
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// remove answers DELETE (RFC 4918 §9.6): everything below goes too, or nothing.
func (h *Handler) remove(w http.ResponseWriter, r *http.Request, name string) error {
	d, err := depth(r, Infinity)
	if err != nil {
		return err
	}
	info, err := h.Tree.Stat(tree.Unasked(r.Context()), name)
	if err != nil {
		return err
	}
	if name == "" {
		return errRoot
	}
	if info.Dir && d != Infinity {
		return errHeader.Saying("A folder is deleted with Depth: infinity or without Depth.")
	}
	if _, err := h.permit(r, name, touch{name: name, deep: info.Dir, member: true}); err != nil {
		return err
	}
	if err := h.Tree.Remove(r.Context(), name, condition(r)); err != nil {
		return err
	}
	if err := h.removed(r, name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) removed(r *http.Request, name string) error {
	if h.Follow == nil {
		return nil
	}
	return h.Follow.Removed(r.Context(), h.Space, h.filed(name))
}

// writeFault names the failure of a write as RFC 4918 does: what is missing in
// the way to the target is a conflict, not an absence.
func writeFault(err error) error {
	if isMissing(err) {
		return tree.ErrNoParent.With(err)
	}
	return err
}

func answerWritten(w http.ResponseWriter, created bool) {
	if created {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
}

// mtime reads X-OC-Mtime: Unix seconds, a fraction allowed.
func mtime(v string) (time.Time, error) {
	s, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil || strings.ContainsAny(v, "xXpP") || !(math.Abs(s) < 1<<40) {
		return time.Time{}, errMtime
	}
	whole, fraction := math.Modf(s)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

// body is the request's body with the stall timeout on it.
func (h *Handler) body(w http.ResponseWriter, r *http.Request) *upload {
	return &upload{body: r.Body, rc: http.NewResponseController(w), stall: h.stall(), watch: h.watch()}
}

// upload reads a request body that may be slow but not stand still. Before it lets
// the end through it looks once more at the locks (recheck) and at what watch
// asks: a lock taken while a long upload was under way keeps it from taking effect,
// and so does a right that was withdrawn.
type upload struct {
	body    io.Reader
	rc      *http.ResponseController
	stall   time.Duration
	until   time.Time // the deadline in force
	watch   tree.Watch
	recheck func() error
	err     error
}

func (u *upload) Read(b []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	// Setting a deadline costs more than reading a piece: move it on only when
	// a tenth of it is used up.
	if now := time.Now(); u.until.Sub(now) < u.stall-u.stall/10 {
		u.until = now.Add(u.stall)
		u.rc.SetReadDeadline(u.until)
	}
	n, err := u.body.Read(b)
	if err == nil {
		u.err = u.watch.Look()
		return n, u.err
	}
	// The server listens for the client hanging up once the body is read; a
	// deadline left in force would look like that.
	u.rc.SetReadDeadline(time.Time{})
	for _, permitted := range []func() error{u.recheck, u.watch.Ask} {
		if err == io.EOF && permitted != nil {
			if refused := permitted(); refused != nil {
				err = refused
			}
		}
	}
	u.err = err
	return n, err
}
