package tree

import (
	"net/http"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// The failures of a Tree. Compare with errors.Is; Saying and With make copies
// that still match.
var (
	ErrNotFound     = ocm.NewError(http.StatusNotFound, "NOT_FOUND", "There is no such file or folder.")
	ErrExists       = ocm.NewError(http.StatusConflict, "ALREADY_EXISTS", "Something of that name is there already; choose another name or replace it.")
	ErrNoParent     = ocm.NewError(http.StatusConflict, "PARENT_MISSING", "The folder to put this in does not exist; create it first.")
	ErrIsFolder     = ocm.NewError(http.StatusConflict, "IS_A_FOLDER", "This is a folder, not a file.")
	ErrNotFolder    = ocm.NewError(http.StatusConflict, "NOT_A_FOLDER", "This is a file, not a folder.")
	ErrForbidden    = ocm.NewError(http.StatusForbidden, "FORBIDDEN", "You may not do this here.")
	ErrPrecondition = ocm.NewError(http.StatusPreconditionFailed, "PRECONDITION_FAILED", "It was changed in the meantime; look at it again before changing it.")
	ErrQuota        = ocm.NewError(http.StatusInsufficientStorage, "QUOTA_EXCEEDED", "The storage quota is used up; delete something or ask for more.")
	ErrDiskFull     = ocm.NewError(http.StatusInsufficientStorage, "DISK_FULL", "The server's disk is full; ask its operator to make room.")
	ErrLocked       = ocm.NewError(http.StatusLocked, "LOCKED", "Someone has locked this; wait until they are done.")
	ErrName         = ocm.NewError(http.StatusBadRequest, "NAME_INVALID", "This name cannot be used.")
	ErrTooLarge     = ocm.NewError(http.StatusRequestEntityTooLarge, ocm.CodeTooLarge, "This is larger than the server takes.")
	ErrInto         = ocm.NewError(http.StatusConflict, "INTO_ITSELF", "A folder cannot be moved or copied into itself, nor replace what holds it.")
	ErrUnavailable  = ocm.NewError(http.StatusServiceUnavailable, "PEER_UNAVAILABLE", "The server that holds this does not answer; try again later.").RetryIn(30 * time.Second)
)
