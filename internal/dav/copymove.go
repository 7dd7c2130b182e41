package dav

import (
	"errors"
	"net/http"

	"github.com/weft-mesh/weft/internal/tree"
)

// copy answers COPY (RFC 4918 §9.8).
func (h *Handler) copy(w http.ResponseWriter, r *http.Request, from string) error {
	d, err := depth(r, Infinity)
	if err != nil {
		return err
	}
	if d == Depth1 {
		return errHeader.Saying("COPY takes Depth: 0 or infinity.")
	}
	info, to, overwrite, err := h.sides(r, from)
	if err != nil {
		return err
	}
	if _, err := h.permit(r, from, touch{name: to, deep: true, member: true}); err != nil {
		return err
	}
	shallow := d == Depth0 && info.Dir
	replaced, err := h.Tree.Copy(r.Context(), from, to, tree.CopyOptions{Condition: condition(r), Overwrite: overwrite, Shallow: shallow})
	if err != nil {
		return transferFault(err)
	}
	if h.Follow != nil {
		if err := h.Follow.Copied(r.Context(), h.Space, h.filed(from), h.filed(to), d); err != nil {
			return err
		}
	}
	answerWritten(w, !replaced)
	return nil
}

// move answers MOVE (RFC 4918 §9.9).
func (h *Handler) move(w http.ResponseWriter, r *http.Request, from string) error {
	d, err := depth(r, Infinity)
	if err != nil {
		return err
	}
	info, to, overwrite, err := h.sides(r, from)
	if err != nil {
		return err
	}
	if from == "" {
		return errRoot
	}
	if info.Dir && d != Infinity {
		return errHeader.Saying("A folder is moved with Depth: infinity or without Depth.")
	}
	_, err = h.permit(r, from,
		touch{name: from, deep: true, member: true},
		touch{name: to, deep: true, member: true})
	if err != nil {
		return err
	}
	replaced, err := h.Tree.Move(r.Context(), from, to, tree.MoveOptions{Condition: condition(r), Overwrite: overwrite})
	if err != nil {
		return transferFault(err)
	}
	if h.Follow != nil {
		if err := h.Follow.Moved(r.Context(), h.Space, h.filed(from), h.filed(to)); err != nil {
			return err
		}
	}
	answerWritten(w, !replaced)
	return nil
}

// sides reads what COPY and MOVE have in common: the source, which must be
// there, and the Destination and Overwrite headers (RFC 4918 §10.3, §10.6).
func (h *Handler) sides(r *http.Request, from string) (info tree.Info, to string, overwrite bool, err error) {
	header := r.Header.Get("Destination")
	if header == "" {
		return info, "", false, errHeader.Saying("The Destination header is missing.")
	}
	if to, err = h.target(r, header); err != nil {
		return info, "", false, err
	}
	switch r.Header.Get("Overwrite") {
	case "", "T", "t":
		overwrite = true
	case "F", "f":
	default:
		return info, "", false, errHeader.Saying("Overwrite is T or F.")
	}
	if info, err = h.Tree.Stat(r.Context(), from); err != nil {
		return info, "", false, err
	}
	switch {
	case to == from:
		return info, "", false, errSame
	case to == "", below(from, to):
		return info, "", false, errRoot.Saying("The destination holds the source; it cannot be replaced by it.")
	case info.Dir && below(to, from):
		return info, "", false, tree.ErrInto
	}
	return info, to, overwrite, nil
}

// transferFault names the failure of a copy or move as RFC 4918 does. The source
// was there a moment ago, so what is missing is the destination's folder.
func transferFault(err error) error {
	if errors.Is(err, tree.ErrExists) {
		return errDestExists.With(err)
	}
	return writeFault(err)
}
