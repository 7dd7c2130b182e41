package ocm

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Host is a server's name as it stands in an address: lower case, with a port
// only when one was written ("cloud.example.org", "localhost:9201", "[::1]:80").
type Host string

func (h Host) String() string { return string(h) }

// Name is the host without its port and brackets.
func (h Host) Name() string {
	name, _, err := splitPort(string(h))
	if err != nil {
		return string(h)
	}
	return strings.Trim(name, "[]")
}

// Port is the port as written, "" when there is none.
func (h Host) Port() string {
	_, port, _ := splitPort(string(h))
	return port
}

// Address is an OCM Address: identifier "@" host [":" port], split at the LAST
// "@" (OCM 1.5, Terms). The identifier is opaque and case-sensitive: UTF-8 of
// at most 255 bytes without control characters, which may itself hold an "@".
type Address struct {
	Identifier string
	Host       Host
}

func (a Address) String() string {
	if a.Host == "" {
		return a.Identifier
	}
	return a.Identifier + "@" + string(a.Host)
}

// CodeAddressInvalid is the code of every refused address or host.
const CodeAddressInvalid Code = "ADDRESS_INVALID"

func badAddress(format string, args ...any) error {
	return NewError(http.StatusBadRequest, CodeAddressInvalid, fmt.Sprintf(format, args...))
}

// Bounds in bytes. An address as peers write it may repeat its host and carry a
// scheme and a path.
const (
	maxIdentifier = 255
	maxHost       = 253
	maxAddress    = 1024
)

// httpsPort is the port of every host that names none; writing it is the same.
const httpsPort = "443"

// ParseHost reads a host strictly: a registered name (letters, digits, hyphens,
// dots, underscores, at most 253 bytes), an IPv4 address or an IPv6 address in
// brackets, with or without a port of 1 to 65535, and nothing else. Letters
// become lower case, IPv6 takes its shortest form (RFC 5952), and the port 443 is
// left out.
func ParseHost(s string) (Host, error) {
	name, port, err := splitPort(s)
	if err != nil {
		return "", err
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		if err != nil || !closed || !ip.Is6() || ip.Zone() != "" {
			return "", badAddress("%.80q is not an IPv6 address in brackets", name)
		}
		name = "[" + ip.String() + "]"
	} else {
		name = lower(name)
		if why := badName(name); why != "" {
			return "", badAddress("%.80q is not a host: %s", name, why)
		}
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return "", badAddress("%.20q is not a port: it is a number from 1 to 65535", port)
		}
		if port != httpsPort {
			name += ":" + port
		}
	}
	return Host(name), nil
}

// splitPort cuts "host:port"; a host without a port is fine.
func splitPort(s string) (name, port string, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", nil
	}
	if strings.Contains(s[:i], ":") && !strings.HasSuffix(s[:i], "]") {
		return "", "", badAddress("%.80q is not a host; an IPv6 address stands in brackets", s)
	}
	if i == len(s)-1 {
		return "", "", badAddress("%.80q ends in a colon without a port", s)
	}
	return s[:i], s[i+1:], nil
}

// lower changes ASCII alone: Unicode's lower case of "K" (Kelvin) is a "k", and
// a host that peers spell differently must not become another one here.
func lower(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

// badName says what is wrong with a registered name or IPv4 address.
func badName(name string) string {
	if name == "" {
		return "it is empty"
	}
	if len(name) > maxHost {
		return fmt.Sprintf("it is longer than %d bytes", maxHost)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "a part of it is empty, too long, or begins or ends with a hyphen"
		}
		for _, c := range label {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return "it holds a character that host names do not have; write international names in their xn-- form"
			}
		}
	}
	// A number in the last place makes it an address to resolvers, some of
	// which read 127.1 and 0x7f000001 as 127.0.0.1.
	if _, err := strconv.ParseUint(labels[len(labels)-1], 0, 64); err == nil || isDigits(labels[len(labels)-1]) {
		if _, err := netip.ParseAddr(name); err != nil {
			return "it is a malformed IPv4 address"
		}
	}
	return ""
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// ReadHost reads a host as peers write it: http:// or https:// before it, a
// path behind it, upper case, the dot of a fully qualified name.
func ReadHost(s string) (Host, error) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if l := lower(scheme); l != "https" && l != "http" {
			return "", badAddress("%.80q is not a host", s)
		}
		s = rest
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	name, port, err := splitPort(s)
	if err != nil {
		return "", err
	}
	name = strings.TrimSuffix(name, ".")
	if port != "" {
		name += ":" + port
	}
	return ParseHost(name)
}

// ParseAddress reads an address strictly, as it is to be written: nothing is
// dropped from it.
func ParseAddress(s string) (Address, error) {
	id, host, err := splitAddress(s)
	if err != nil {
		return Address{}, err
	}
	if err := checkIdentifier(id); err != nil {
		return Address{}, err
	}
	h, err := ParseHost(host)
	if err != nil {
		return Address{}, err
	}
	return Address{id, h}, nil
}

// ReadAddress reads an address as peers write it: a host in any form that
// ReadHost takes, and an identifier that repeats the host, as oCIS sends it
// (id@host@host, id@https://host@host).
func ReadAddress(s string) (Address, error) {
	id, host, err := splitAddress(s)
	if err != nil {
		return Address{}, err
	}
	h, err := ReadHost(host)
	if err != nil {
		return Address{}, err
	}
	for {
		i := strings.LastIndexByte(id, '@')
		if i <= 0 {
			break
		}
		if again, err := ReadHost(id[i+1:]); err != nil || again != h {
			break
		}
		id = id[:i]
	}
	if err := checkIdentifier(id); err != nil {
		return Address{}, err
	}
	return Address{id, h}, nil
}

func splitAddress(s string) (id, host string, err error) {
	if len(s) > maxAddress {
		return "", "", badAddress("an address is not longer than %d bytes", maxAddress)
	}
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return "", "", badAddress("%.80q is not an address: write it as name@server", s)
	}
	return s[:i], s[i+1:], nil
}

func checkIdentifier(id string) error {
	if why := badIdentifier(id); why != "" {
		return badAddress("the part of an address before its last @ %s", why)
	}
	return nil
}

func badIdentifier(id string) string {
	switch {
	case id == "":
		return "is empty"
	case len(id) > maxIdentifier:
		return fmt.Sprintf("is longer than %d bytes", maxIdentifier)
	case !utf8.ValidString(id):
		return "is not valid UTF-8"
	case strings.ContainsFunc(id, unicode.IsControl):
		return "holds a control character"
	}
	return ""
}
