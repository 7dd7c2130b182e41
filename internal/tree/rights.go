package tree

import "github.com/weft-mesh/weft/ocm"

// Rights say what may be done with an entry: a set of Read, Write and Share.
type Rights uint8

// The rights of OCM (OCM 1.5, Share Creation Notification, permissions).
const (
	Read  Rights = 1 << iota // see what a file or folder holds
	Write                    // change, create, rename and delete
	Share                    // give the rights on to others

	All = Read | Write | Share
)

var permissions = [...]struct {
	right Rights
	name  string
}{{Read, ocm.PermRead}, {Write, ocm.PermWrite}, {Share, ocm.PermShare}}

// ParseRights reads OCM permissions; names it does not know give nothing.
func ParseRights(names []string) Rights {
	var r Rights
	for _, name := range names {
		for _, p := range permissions {
			if p.name == name {
				r |= p.right
			}
		}
	}
	return r
}

// Has reports whether all of want are in r.
func (r Rights) Has(want Rights) bool { return r&want == want }

// Permissions are the OCM permissions of r, in the order read, write, share;
// never nil.
func (r Rights) Permissions() []string {
	names := make([]string, 0, len(permissions))
	for _, p := range permissions {
		if r.Has(p.right) {
			names = append(names, p.name)
		}
	}
	return names
}
