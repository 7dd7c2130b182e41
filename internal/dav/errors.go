package dav

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// Refusals of this package; those about files are tree's.
var (
	errMethod       = ocm.NewError(405, "METHOD_NOT_ALLOWED", "This address does not know that method; Allow lists those it knows.")
	errFolderGet    = ocm.NewError(405, "IS_A_FOLDER", "This is a folder behind a WebDAV address: open it with a WebDAV client, or list it with PROPFIND.")
	errFolderPut    = ocm.NewError(405, "IS_A_FOLDER", "A folder is in the way; upload under another name.")
	errNameTaken    = ocm.NewError(405, "ALREADY_EXISTS", "Something of that name is there already.")
	errFragment     = ocm.NewError(400, "FRAGMENT_IN_URL", "The request's address holds a #; write it as %23.")
	errOutside      = ocm.NewError(404, "NOT_FOUND", "There is nothing at this address.")
	errContentRange = ocm.NewError(400, "CONTENT_RANGE_REFUSED", "Uploading a part of a file is not possible; send all of it.")
	errMtime        = ocm.NewError(400, "MTIME_INVALID", "X-OC-Mtime is seconds since 1970 as a decimal number.")
	errBody         = ocm.NewError(415, ocm.CodeUnsupportedMedia, "This method takes no body of that kind; send none.")
	errIncomplete   = ocm.NewError(400, "UPLOAD_INCOMPLETE", "The upload ended before it was complete; nothing was changed. Send it again.")
	errStalled      = ocm.NewError(408, "UPLOAD_STALLED", "The upload stood still for too long; nothing was changed. Send it again.")
	errHeader       = ocm.NewError(400, "HEADER_INVALID", "A request header cannot be understood.")
	errXML          = ocm.NewError(400, "XML_INVALID", "The request's XML cannot be understood.")
	errXMLTooLarge  = ocm.NewError(413, ocm.CodeTooLarge, "The request's XML is too large.")
	errDestination  = ocm.NewError(502, "DESTINATION_FOREIGN", "The destination lies outside this WebDAV address; copy and move work within it.")
	errSame         = ocm.NewError(403, "SAME_RESOURCE", "Source and destination are the same.")
	errDestExists   = ocm.NewError(412, "ALREADY_EXISTS", "Something is at the destination; send Overwrite: T to replace it.")
	errRoot         = ocm.NewError(403, "ROOT_IMMOVABLE", "The root of a WebDAV address can be neither moved, replaced nor deleted.")
	errInfinite     = ocm.NewError(403, "DEPTH_REFUSED", "There is too much below this folder to list at once; list it folder by folder with Depth: 1.")
	errNoSuchLock   = ocm.NewError(412, "LOCK_UNKNOWN", "No such lock covers this address; it may have expired. Lock it again.")
	errUnlock       = ocm.NewError(409, "LOCK_UNKNOWN", "The Lock-Token names no lock of this address; it may have expired.")
	errNotHolder    = ocm.NewError(403, "LOCK_HELD_BY_OTHER", "Only the one who locked it may unlock it; others wait until the lock expires.")
	errTemporary    = ocm.NewError(503, ocm.CodeUnavailable, "This took too long; try again later.")
	errInternal     = ocm.NewError(500, ocm.CodeInternal, "Something went wrong on the server; the request id in this answer's headers finds it in the log.")
)

// retryAfter is told with a 503 whose cause names no time.
const retryAfter = 30 * time.Second

// What OnError is told of answers nobody can read: the client hung up, or the
// answer had begun and was cut off.
const (
	statusClientGone = 499
	statusCut        = 599
)

// conditionError is an error whose RFC 4918 §16 condition element is known.
type conditionError struct {
	error
	element string // XML with the prefix d bound to DAV:
}

func (e *conditionError) Unwrap() error { return e.error }

// fail writes the one answer for an error: the status, and the code, sentence
// and condition as XML. What is not an *ocm.Error tells the client nothing.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == context.Canceled {
		h.observe(r, statusClientGone, err)
		return
	}
	e := public(err)
	h.observe(r, e.Status, err)
	if h.Answer != nil {
		h.Answer(w, r, e)
		return
	}
	if e.Status == http.StatusServiceUnavailable && e.RetryAfter == 0 {
		e = e.RetryIn(retryAfter)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	b := append([]byte(xmlHead), `<d:error xmlns:d="DAV:" xmlns:w="`+nsWeft+`">`...)
	if c, ok := errors.AsType[*conditionError](err); ok {
		b = append(b, c.element...)
	} else if e.Status == http.StatusInsufficientStorage {
		b = append(b, "<d:quota-not-exceeded/>"...) // RFC 4331 §6
	}
	b = append(b, "<w:code>"...)
	b = appendText(b, string(e.Code))
	b = append(b, "</w:code><w:message>"...)
	b = appendText(b, e.Message)
	b = append(b, "</w:message></d:error>\n"...)
	writeXML(w, r, e.Status, b)
}

func (h *Handler) observe(r *http.Request, status int, err error) {
	if h.OnError != nil {
		h.OnError(r, status, err)
	}
}

// public is the part of err that the client may know.
func public(err error) *ocm.Error {
	if e, ok := errors.AsType[*ocm.Error](err); ok && e.Status >= 400 {
		return e
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tree.ErrTooLarge
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errTemporary
	}
	return errInternal
}

// isMissing reports whether err says that nothing is there. Below a file there
// is nothing either.
func isMissing(err error) bool {
	return errors.Is(err, tree.ErrNotFound) || errors.Is(err, tree.ErrNotFolder)
}

// uploadFault makes an answer of a failed read of a request body.
func uploadFault(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStalled.With(err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, fs.ErrClosed):
		return errIncomplete.With(err)
	}
	return err
}
