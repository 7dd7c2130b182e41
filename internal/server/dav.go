package server

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/dav"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/ocm"
)

// files is WebDAV for people at /dav/files/{user}/.
func (s *Server) files(w http.ResponseWriter, r *http.Request) {
	user := requestOf(r).user
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, davFiles), "/")
	h := s.davHandler()
	if !account.SameName(name, user.Name) {
		h.Refuse(w, r, ocm.NewError(http.StatusForbidden, "NOT_YOURS", "These are not your files. Yours are at "+davFiles+user.Name+"/."))
		return
	}
	t, err := s.Homes.Whole(r.Context(), user.ID)
	if err != nil {
		h.Refuse(w, r, err)
		return
	}
	h.Tree, h.Prefix, h.Name = t, davFiles+name, name
	h.Space, h.Principal = user.ID, user.ID
	h.ServeHTTP(w, r)
}

// shares is WebDAV for the peers that received a share, at /dav/ocm/ (OCM 1.5,
// Resource Access).
func (s *Server) shares(w http.ResponseWriter, r *http.Request) {
	h := s.davHandler()
	h.Prefix = strings.TrimSuffix(davShares, "/")
	id, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, h.Prefix), "/"), "/")
	credential, basic, ok := shareCredential(r)
	if !ok {
		s.refuseAccess(w, r, h, sharing.ErrNoAccess)
		return
	}
	grant, err := s.openShare(r, id, credential, basic)
	if err != nil {
		s.refuseAccess(w, r, h, err)
		return
	}
	if wait := s.byUser.take("share " + grant.Share.ID); wait > 0 {
		h.Refuse(w, r, errTooMany.RetryIn(wait))
		return
	}
	q := requestOf(r)
	q.peer = ocm.Host(grant.Share.PeerHost)
	q.notes = append(q.notes, "share", grant.Share.ID)
	if id == grant.Share.ID {
		h.Prefix = davShares + id
	}
	h.Tree, h.Name, h.Shared = grant.Tree, grant.Share.BaseName(), true
	h.Space, h.Base = grant.Share.OwnerID, grant.Share.Path
	h.Principal = grant.Share.ID
	writes := r.Method == http.MethodPut
	h.Still = func() error { return s.Sharing.Still(r.Context(), grant, writes) }
	h.ServeHTTP(w, r)
}

// openShare opens the share that the path names, or for the Basic form of OCM
// 1.0 the one that the secret alone names.
func (s *Server) openShare(r *http.Request, id string, credential ocm.Secret, basic bool) (*sharing.Grant, error) {
	grant, err := s.Sharing.Open(r.Context(), id, credential)
	if basic && errors.Is(err, sharing.ErrNoAccess) && id != "" {
		return s.Sharing.Open(r.Context(), "", credential)
	}
	if err == nil && id == "" && !basic {
		return nil, sharing.ErrNoAccess
	}
	return grant, err
}

func shareCredential(r *http.Request) (credential ocm.Secret, basic, ok bool) {
	if token, ok := bearer(r); ok {
		return token, false, token != ""
	}
	user, _, ok := r.BasicAuth()
	return ocm.Secret(user), true, ok && user != ""
}

func (s *Server) refuseAccess(w http.ResponseWriter, r *http.Request, h *dav.Handler, err error) {
	if e := asError(err); e.Status == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", `Bearer realm="Open Cloud Mesh"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="Open Cloud Mesh"`)
		if wait := s.byFailure.take(requestOf(r).net); wait > 0 {
			err = errTooMany.RetryIn(wait)
		}
	} else if e.Status == http.StatusInternalServerError {
		// Peers drop a share on most failures; this one will pass.
		err = ocm.NewError(http.StatusServiceUnavailable, ocm.CodeUnavailable, "The files cannot be served just now.").With(err).RetryIn(30 * time.Second)
	}
	h.Refuse(w, r, err)
}

func (s *Server) davHandler() *dav.Handler {
	return &dav.Handler{
		Host: string(s.Self), Locks: s.Homes.Attached, Props: s.Homes.Attached,
		StallTimeout: s.conf.Limits.StallTimeout, Now: s.now,
		OnError: func(r *http.Request, _ int, err error) {
			if !isCanceled(r, err) {
				note(r, asError(err))
			}
		},
	}
}
