package client

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/ocm"
)

// Profile is the family of servers that a discovery document belongs to, as far
// as it shows.
type Profile struct {
	Name   string // "ocm-1.4+", "nextcloud-31/32" …
	Reason string // what shows it
}

// ProfileOf reads a server's family off what it says of itself. No behaviour
// that the document states is guessed from it.
func ProfileOf(d *ocm.Discovery) Profile {
	receives := false
	for _, t := range d.ResourceTypes {
		_, ok := t.Protocols["webdav-receive"]
		receives = receives || ok
	}
	nextcloud := strings.Contains(strings.ToLower(d.Provider), "nextcloud")
	switch {
	case nextcloud && d.JWKSURI != "":
		return Profile{"nextcloud-33+", fmt.Sprintf("provider %q with jwksUri", d.Provider)}
	case nextcloud && strings.HasPrefix(d.APIVersion, "1.2"):
		return Profile{"nextcloud-31/32", fmt.Sprintf("provider %q, apiVersion %s", d.Provider, d.APIVersion)}
	case d.HasCapability(ocm.CapHTTPSig) && d.JWKSURI != "" && receives:
		return Profile{"ocm-1.4+", "http-sig with jwksUri, webdav-receive"}
	case receives && d.ReceivesAbsoluteURI():
		return Profile{"reva", "no http-sig, webdav-receive with absolute uri"}
	case strings.HasPrefix(d.APIVersion, "1.0") || strings.HasPrefix(d.APIVersion, "1.1"):
		return Profile{"nextcloud-30-/owncloud-10", "apiVersion " + d.APIVersion}
	}
	return Profile{"ocm-" + minor(d.APIVersion), "apiVersion " + d.APIVersion}
}

func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return "?"
	}
	return parts[0] + "." + parts[1]
}
