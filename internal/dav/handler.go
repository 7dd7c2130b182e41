// Package dav serves a tree.Tree over WebDAV (RFC 4918, classes 1, 2 and 3).
//
// A request's way: ServeHTTP turns the URL into a path of the tree, the method
// named in routes does its work and returns an error or nil, and fail makes the
// one answer for errors. Locks and dead properties are kept by small stores
// (store.go) under the name of the space the tree belongs to, so that one file
// has the same locks whether it is reached through a home or through a share.
package dav

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
)

// Defaults of the Handler's limits.
const (
	DefaultMaxEntries   = 10_000
	DefaultMaxLock      = time.Hour
	DefaultStallTimeout = time.Minute
)

// Handler answers WebDAV for one Tree as one request sees it. It is cheap to
// make per request; only Tree is required.
type Handler struct {
	Tree   tree.Tree
	Prefix string // URL path below which the tree is served, decoded, no trailing slash: "/dav/files/alice"
	Name   string // what the root is called; a root that is a file is also reached as Prefix + "/" + Name
	Host   string // public host[:port], understood in Destination and If besides the request's own
	Shared bool   // the tree was shared with whoever asks (shown in oc:permissions)

	Space     string // whose files these are: locks and properties are filed under (Space, path)
	Base      string // the tree's root within the Space: "" for a home, the folder's path for a share
	Principal string // who asks: only the holder of a lock may use its token

	Locks  LockStore // nil: no LOCK and UNLOCK, class 1 and 3 only
	Props  PropStore // nil: no dead properties
	Follow Follower  // told of moves, copies and deletions; nil when the tree sees to its properties and locks itself

	MaxEntries   int           // entries a PROPFIND of infinite depth may list; 0: DefaultMaxEntries
	MaxLock      time.Duration // longest and usual life of a lock; 0: DefaultMaxLock
	StallTimeout time.Duration // how long a transfer may stand still; 0: DefaultStallTimeout

	// View is of a page of ours that shows a file within itself: what a browser
	// shows without running it in our name is no attachment then.
	View bool

	// Still is asked now and again while a file is transferred, and before an upload
	// takes effect: an error ends the transfer. nil: nothing can change meanwhile.
	Still func() error

	Now     func() time.Time                             // nil: time.Now
	OnError func(r *http.Request, status int, err error) // told of every refusal, with its cause, for the log
	// Answer writes refusals in another form than WebDAV's; nil for WebDAV's.
	Answer func(w http.ResponseWriter, r *http.Request, err error)
}

// routes holds every method. Each is given the path within the tree and writes
// its own answer unless it returns an error.
var routes = map[string]func(h *Handler, w http.ResponseWriter, r *http.Request, name string) error{
	"OPTIONS":   (*Handler).options,
	"GET":       (*Handler).get,
	"HEAD":      (*Handler).get,
	"PUT":       (*Handler).put,
	"MKCOL":     (*Handler).mkcol,
	"DELETE":    (*Handler).remove,
	"COPY":      (*Handler).copy,
	"MOVE":      (*Handler).move,
	"PROPFIND":  (*Handler).propfind,
	"PROPPATCH": (*Handler).proppatch,
	"LOCK":      (*Handler).lock,
	"UNLOCK":    (*Handler).unlock,
}

const (
	allowPlain = "OPTIONS, GET, HEAD, PUT, MKCOL, DELETE, COPY, MOVE, PROPFIND, PROPPATCH"
	allowLocks = allowPlain + ", LOCK, UNLOCK"
)

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		h.fail(w, r, err)
	}
}

// Refuse answers a request with an error, as ServeHTTP would.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, err error) { h.fail(w, r, err) }

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	// net/url takes "#" into the path of a request; acting on it would be
	// acting on another resource than the client meant (RFC 9110 §7.1).
	if strings.Contains(r.RequestURI, "#") {
		return errFragment
	}
	name, err := h.resolve(r.URL.EscapedPath())
	if err != nil {
		return err
	}
	if name != "" && name == h.Name {
		if root, err := h.Tree.Stat(r.Context(), ""); err == nil && !root.Dir {
			name = ""
		}
	}
	method, ok := routes[r.Method]
	if !ok || h.Locks == nil && (r.Method == "LOCK" || r.Method == "UNLOCK") {
		w.Header().Set("Allow", h.allow())
		return errMethod
	}
	return method(h, w, r, name)
}

func (h *Handler) allow() string {
	if h.Locks == nil {
		return allowPlain
	}
	return allowLocks
}

// options answers for every path alike: what may be done to one of them is told
// by oc:permissions (RFC 4918 §10.1).
func (h *Handler) options(w http.ResponseWriter, r *http.Request, _ string) error {
	class := "1, 2, 3"
	if h.Locks == nil {
		class = "1, 3"
	}
	w.Header().Set("DAV", class)
	w.Header().Set("MS-Author-Via", "DAV")
	w.Header().Set("Allow", h.allow())
	w.Header().Set("Content-Length", "0")
	return nil
}

// resolve turns an escaped URL path into a path of the tree. Elements are
// decoded one by one, so that an escaped slash cannot pass for a separator.
func (h *Handler) resolve(escaped string) (string, error) {
	var elements []string
	for e := range strings.SplitSeq(escaped, "/") {
		if e == "" {
			continue
		}
		e, err := url.PathUnescape(e)
		if err != nil || strings.Contains(e, "/") {
			return "", tree.ErrName.Saying("The address holds a name with a slash or a broken escape in it; rename the file without it.")
		}
		elements = append(elements, e)
	}
	for e := range strings.SplitSeq(h.Prefix, "/") {
		if e == "" {
			continue
		}
		if len(elements) == 0 || elements[0] != e {
			return "", errOutside
		}
		elements = elements[1:]
	}
	return tree.Clean(strings.Join(elements, "/"))
}

// filed is the path under which locks and properties of name are kept.
func (h *Handler) filed(name string) string {
	switch {
	case h.Base == "":
		return name
	case name == "":
		return h.Base
	}
	return h.Base + "/" + name
}

// stat is Tree.Stat with absence as an answer and not as an error.
func (h *Handler) stat(ctx context.Context, name string) (info tree.Info, exists bool, err error) {
	info, err = h.Tree.Stat(ctx, name)
	if isMissing(err) {
		return tree.Info{}, false, nil
	}
	return info, err == nil, err
}

// condition reads the conditional headers of RFC 9110 §13.1.1 and §13.1.2.
func condition(r *http.Request) tree.Condition {
	return tree.Condition{
		Match:     strings.Join(r.Header.Values("If-Match"), ", "),
		NoneMatch: strings.Join(r.Header.Values("If-None-Match"), ", "),
	}
}

func (h *Handler) watch() tree.Watch { return tree.NewWatch(h.Still) }

func (h *Handler) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

func (h *Handler) stall() time.Duration {
	if h.StallTimeout > 0 {
		return h.StallTimeout
	}
	return DefaultStallTimeout
}

// parent is the folder that holds name, "" for the root's children.
func parent(name string) string {
	dir, _, _ := cutLast(name)
	return dir
}

// base is the last element of name.
func base(name string) string {
	_, last, _ := cutLast(name)
	return last
}

func cutLast(name string) (dir, last string, nested bool) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:], true
	}
	return "", name, false
}

// below reports whether name lies under dir, at any depth.
func below(name, dir string) bool {
	return len(name) > len(dir) && strings.HasPrefix(name, dir) && (dir == "" || name[len(dir)] == '/')
}

// join is the inverse of cutLast.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
