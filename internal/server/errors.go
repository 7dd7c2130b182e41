package server

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// asError makes any failure an *ocm.Error; what nobody foresaw is a 500 that
// keeps its cause for the log.
func asError(err error) *ocm.Error {
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return e
	}
	if store.IsFull(err) {
		return tree.ErrDiskFull.With(err)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return ocm.NewError(http.StatusRequestEntityTooLarge, ocm.CodeTooLarge, "The body is larger than the allowed "+strconv.FormatInt(e.Limit, 10)+" bytes.")
	}
	return &ocm.Error{
		Status: http.StatusInternalServerError, Code: ocm.CodeInternal,
		Message: "Something went wrong here. Give the request id to the operator.", Err: err,
	}
}

// Refusals of what administrators do.
var (
	errAdmins  = ocm.NewError(http.StatusForbidden, "ADMINS_ONLY", "Only administrators may do this.")
	errOneself = ocm.NewError(http.StatusConflict, "ADMINISTRATOR_IS_SELF", "You cannot take away your own access. Ask another administrator.")
)

// retrySeconds is the value of Retry-After: whole seconds, rounded up.
func retrySeconds(e *ocm.Error) string { return strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))) }

func setRetryAfter(w http.ResponseWriter, e *ocm.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", retrySeconds(e))
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"message":"INTERNAL_ERROR"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// refusePeer answers a peer: a code, never a sentence (OCM OpenAPI 1.4). The
// reason goes to the log under the request id.
func (s *Server) refusePeer(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	note(r, e)
	setRetryAfter(w, e)
	body := struct {
		Message          ocm.Code         `json:"message"`
		ValidationErrors []ocm.FieldError `json:"validationErrors,omitempty"`
	}{e.Code, e.Fields}
	writeJSON(w, e.Status, body)
}

// refuseToken answers a token request in the form of RFC 6749 §5.2.
func (s *Server) refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	note(r, e)
	setRetryAfter(w, e)
	code, status := e.Code, e.Status
	switch {
	case status == http.StatusUnauthorized: // a signature that does not verify
		code, status = "invalid_client", http.StatusBadRequest
	case status == http.StatusForbidden && e.Code == ocm.CodeSenderMismatch:
		code, status = "invalid_client", http.StatusBadRequest
	case status == http.StatusForbidden:
		code, status = "unauthorized_client", http.StatusBadRequest
	case status == http.StatusRequestEntityTooLarge, status == http.StatusUnsupportedMediaType:
		code = "invalid_request"
	case status == http.StatusBadRequest && !oauthCode(e.Code):
		code = "invalid_request"
	case status >= 500:
		code = "temporarily_unavailable"
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, map[string]string{"error": string(code), "error_description": string(e.Code)})
}

func oauthCode(c ocm.Code) bool { return len(c) > 0 && c[0] >= 'a' && c[0] <= 'z' }

// problem is an answer of the API to people (RFC 9457).
type problem struct {
	Type      string           `json:"type"`
	Title     string           `json:"title"`
	Status    int              `json:"status"`
	Detail    string           `json:"detail"`
	Code      ocm.Code         `json:"code"`
	RequestID string           `json:"requestId,omitempty"`
	Errors    []ocm.FieldError `json:"errors,omitempty"`
}

func newProblem(e *ocm.Error) *problem {
	return &problem{
		Type: "about:blank", Title: http.StatusText(e.Status), Status: e.Status,
		Detail: e.Message, Code: e.Code, Errors: e.Fields,
	}
}

// refuse answers a person's program.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	note(r, e)
	writeProblem(w, e)
}

func writeProblem(w http.ResponseWriter, e *ocm.Error) {
	setRetryAfter(w, e)
	p := newProblem(e)
	p.RequestID = w.Header().Get("X-Request-Id")
	body, _ := json.Marshal(p)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(e.Status)
	w.Write(body)
}
