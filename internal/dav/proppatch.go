package dav

import (
	"encoding/xml"
	"net/http"

	"github.com/weft-mesh/weft/internal/tree"
)

// Bounds of dead properties.
const (
	maxProps     = 200      // of one resource
	maxPropValue = 64 << 10 // bytes of one value
)

// proppatch answers PROPPATCH (RFC 4918 §9.2): all of its instructions take
// effect, in their order, or none.
func (h *Handler) proppatch(w http.ResponseWriter, r *http.Request, name string) error {
	info, err := h.Tree.Stat(r.Context(), name)
	if err != nil {
		return err
	}
	if !info.Rights.Has(tree.Write) {
		return tree.ErrForbidden
	}
	if _, err := h.permit(r, name, touch{name: name}); err != nil {
		return err
	}
	if err := condition(r).Check(info, true); err != nil {
		return err
	}
	root, err := readXML(h.body(w, r))
	if err != nil {
		return err
	}
	changes, err := readPropertyUpdate(root)
	if err != nil {
		return err
	}
	path := h.filed(name)
	if h.Props == nil {
		for _, c := range changes {
			c.refused = http.StatusForbidden
		}
	} else {
		held, err := h.Props.Props(r.Context(), h.Space, path)
		if err != nil {
			return err
		}
		limitProps(changes, held)
	}
	refused := false
	for _, c := range changes {
		refused = refused || c.refused != 0
	}
	if !refused {
		var set []Prop
		var remove []xml.Name
		for _, c := range changes {
			if c.set != nil {
				set = append(set, *c.set)
			} else {
				remove = append(remove, c.name)
			}
		}
		if err := h.Props.PatchProps(r.Context(), h.Space, path, set, remove); err != nil {
			return err
		}
	}
	writeXML(w, r, http.StatusMultiStatus, appendPatched(h.href(name, info.Dir), changes, refused))
	return nil
}

// change is what becomes of one property.
type change struct {
	name    xml.Name
	set     *Prop // nil: remove
	refused int   // HTTP status; 0: nothing speaks against it
}

// readPropertyUpdate understands a PROPPATCH body. Of several instructions for
// one property the last counts: they are carried out in their order.
func readPropertyUpdate(root *element) ([]*change, error) {
	if root == nil || !root.is("propertyupdate") {
		return nil, errXML.Saying("A PROPPATCH body is a DAV: propertyupdate element.")
	}
	var changes []*change
	byName := map[xml.Name]*change{}
	for _, instruction := range root.elements() {
		set := instruction.is("set")
		prop := instruction.child("prop")
		if !set && !instruction.is("remove") {
			continue // RFC 4918 §17: what is not known is passed over
		}
		if prop == nil {
			return nil, errXML.Saying("Each set and remove holds a prop element.")
		}
		for _, e := range prop.elements() {
			c := byName[e.Name]
			if c == nil {
				c = &change{name: e.Name}
				byName[e.Name] = c
				changes = append(changes, c)
			}
			c.set = nil
			if e.Space == nsDAV || live[e.Name] != nil {
				c.refused = http.StatusForbidden
			}
			if !set {
				continue
			}
			c.set = &Prop{Name: e.Name, Lang: e.lang, Value: e.inner()}
			if len(c.set.Value) > maxPropValue && c.refused == 0 {
				c.refused = http.StatusInsufficientStorage
			}
		}
	}
	if len(changes) == 0 {
		return nil, errXML.Saying("The propertyupdate element sets and removes nothing.")
	}
	return changes, nil
}

// limitProps refuses the changes that would leave a resource with too many.
func limitProps(changes []*change, held []Prop) {
	left := map[xml.Name]bool{}
	for i := range held {
		left[held[i].Name] = true
	}
	for _, c := range changes {
		if c.set == nil {
			delete(left, c.name)
			continue
		}
		if !left[c.name] && len(left) >= maxProps && c.refused == 0 {
			c.refused = http.StatusInsufficientStorage
		}
		left[c.name] = true
	}
}

// appendPatched writes the multistatus: with a refusal among them, the changes
// that could have been made are failed dependencies (RFC 4918 §9.2.1).
func appendPatched(href string, changes []*change, refused bool) []byte {
	b := []byte(xmlHead + `<d:multistatus xmlns:d="DAV:" xmlns:oc="` + nsOwnCloud + `" xmlns:ocs="` + nsOCS + `" xmlns:ocm="` + nsOCM + `" xmlns:w="` + nsWeft + `"><d:response><d:href>` + href + `</d:href>`)
	statuses := []int{http.StatusOK}
	if refused {
		statuses = []int{http.StatusForbidden, http.StatusInsufficientStorage, http.StatusFailedDependency}
	}
	for _, status := range statuses {
		var names []byte
		for _, c := range changes {
			of := c.refused
			switch {
			case !refused:
				of = http.StatusOK
			case of == 0:
				of = http.StatusFailedDependency
			}
			if of == status {
				names = appendEmpty(names, c.name)
			}
		}
		if names == nil {
			continue
		}
		b = append(b, "<d:propstat><d:prop>"...)
		b = append(b, names...)
		b = append(b, "</d:prop>"...)
		b = appendStatus(b, status)
		if status == http.StatusForbidden {
			b = append(b, "<d:error><d:cannot-modify-protected-property/></d:error>"...)
		}
		b = append(b, "</d:propstat>"...)
	}
	return append(b, "</d:response></d:multistatus>\n"...)
}
