package client

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/weft-mesh/weft/ocm"
)

const (
	maxDiscovery = ocm.MaxDocument
	maxKeys      = 64 << 10
	maxDirectory = 3 * ocm.MaxBody / 2
	maxSchemes   = 4096
)

// places are where discovery documents are found, newest first (OCM 1.5, OCM
// API Discovery). Some old servers answer only with, some only without the
// slash.
var places = []string{"/.well-known/ocm", "/ocm-provider", "/ocm-provider/"}

// Discover fetches what a server says of itself, and gives the document as it
// came too. Failures are *PeerError.
func (c *Client) Discover(ctx context.Context, host ocm.Host) (*ocm.Discovery, []byte, error) {
	var first error
	for _, scheme := range c.schemesOf(host) {
		d, raw, err := c.discoverBy(ctx, scheme, host)
		if err == nil {
			c.remember(host, scheme)
			return d, raw, nil
		}
		if first == nil || answered(err) {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, first
}

func (c *Client) discoverBy(ctx context.Context, scheme string, host ocm.Host) (*ocm.Discovery, []byte, error) {
	const op = "discover"
	var first error
	for _, place := range places {
		raw, err := c.get(ctx, op, scheme+"://"+string(host)+place, maxDiscovery)
		if err == nil {
			var d *ocm.Discovery
			if d, err = ocm.ReadDiscovery(raw); err == nil {
				return d, raw, nil
			}
			// Many sites answer any path with a page; another place may do.
			err = &PeerError{Op: op, Host: host, Status: http.StatusOK, Err: err}
		}
		// A passing fault says more than that the next place holds nothing.
		if pe, ok := errors.AsType[*PeerError](err); first == nil || ok && pe.Temporary {
			first = err
		}
		if !answered(err) {
			break
		}
	}
	return nil, nil, first
}

// answered reports whether a server was there at all.
func answered(err error) bool {
	pe, ok := errors.AsType[*PeerError](err)
	return ok && pe.Status != 0
}

// schemesOf is what to try for a host: https alone, unless Plain allows http.
// Servers on the own machine are more likely to be plain.
func (c *Client) schemesOf(host ocm.Host) []string {
	if !c.Plain {
		return []string{"https"}
	}
	c.mu.Lock()
	known := c.schemes[host]
	c.mu.Unlock()
	ip := net.ParseIP(host.Name())
	if known == "http" || known == "" && (host.Name() == "localhost" || ip != nil && ip.IsLoopback()) {
		return []string{"http", "https"}
	}
	return []string{"https", "http"}
}

func (c *Client) remember(host ocm.Host, scheme string) {
	if !c.Plain {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.schemes == nil || len(c.schemes) >= maxSchemes {
		c.schemes = map[ocm.Host]string{}
	}
	c.schemes[host] = scheme
}
