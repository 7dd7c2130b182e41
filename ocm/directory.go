package ocm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Directory is the list that a Directory Service publishes: the payload of its
// JWS (OCM 1.5, Appendix Directory Service). Package ocm/directory signs and
// verifies it.
type Directory struct {
	Federation string
	Servers    []DirectoryServer
	// IssuedAt and ExpiresAt are our additions, `iat` and `exp` in Unix seconds
	// as JWTs have them; zero when absent.
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// DirectoryServer is one entry. URL is an origin: scheme, host, maybe a port.
type DirectoryServer struct {
	URL         string `json:"url"`
	DisplayName string `json:"displayName"`
	Host        Host   `json:"-"`
}

// MaxDirectoryServers bounds a list: ten times all servers known to take part
// in Open Cloud Mesh.
const MaxDirectoryServers = 5000

// CodeDirectoryInvalid is the code of every refused list.
const CodeDirectoryInvalid Code = "DIRECTORY_INVALID"

func badDirectory(format string, args ...any) error {
	return NewError(http.StatusBadRequest, CodeDirectoryInvalid, fmt.Sprintf(format, args...))
}

// MarshalJSON writes the payload.
func (d Directory) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Federation string            `json:"federation"`
		Servers    []DirectoryServer `json:"servers"`
		IssuedAt   int64             `json:"iat,omitempty"`
		ExpiresAt  int64             `json:"exp,omitempty"`
	}{d.Federation, d.Servers, unix(d.IssuedAt), unix(d.ExpiresAt)})
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// ReadDirectory reads a payload. One wrong entry fails it all, naming the
// entry: a list that is not right was not looked at by its publisher. plain
// allows http, for tests.
func ReadDirectory(payload []byte, plain bool) (*Directory, error) {
	m, err := object(payload)
	if err != nil {
		return nil, badDirectory("the directory cannot be read: %s", err)
	}
	var faults []FieldError
	r := reader{m, "", &faults}
	d := &Directory{Federation: visible(r, "federation"), IssuedAt: moment(r, "iat"), ExpiresAt: moment(r, "exp")}
	var entries []json.RawMessage
	if json.Unmarshal(m["servers"], &entries) != nil {
		r.fault("servers", "must be an array")
	}
	if len(entries) == 0 && len(faults) == 0 {
		r.fault("servers", "must not be empty")
	}
	if len(entries) > MaxDirectoryServers {
		return nil, badDirectory("the directory lists %d servers; %d are the most that are read", len(entries), MaxDirectoryServers)
	}
	seen := map[Host]int{}
	for i, e := range entries {
		var members map[string]json.RawMessage
		at := reader{nil, fmt.Sprintf("servers[%d].", i), &faults}
		if json.Unmarshal(e, &members) != nil {
			at.fault("", "must be an object")
			break
		}
		at.members = members
		s := DirectoryServer{URL: at.required("url", maxURL), DisplayName: visible(at, "displayName")}
		if s.URL != "" {
			if s.Host, err = origin(s.URL, plain); err != nil {
				at.fault("url", "%s", err)
			} else if first, twice := seen[s.Host]; twice {
				at.fault("url", "names the server of servers[%d] again", first)
			}
			seen[s.Host] = i
		}
		if len(faults) > 0 {
			break
		}
		d.Servers = append(d.Servers, s)
	}
	if len(faults) > 0 {
		return nil, badDirectory("the directory is not valid: %s %s", faults[0].Name, faults[0].Message)
	}
	return d, nil
}

// visible reads a required name that hides nothing: people choose by it.
func visible(r reader, name string) string {
	s := r.required(name, maxDisplayName)
	if strings.ContainsFunc(s, func(c rune) bool { return unicode.Is(unicode.Cf, c) }) {
		r.fault(name, "holds characters that cannot be seen")
	}
	return s
}

func moment(r reader, name string) time.Time {
	if !r.has(name) {
		return time.Time{}
	}
	sec, err := strconv.ParseInt(string(r.members[name]), 10, 64)
	if err != nil || sec <= 0 || sec > 1<<40 {
		r.fault(name, "must be a time in Unix seconds")
		return time.Time{}
	}
	return time.Unix(sec, 0)
}

// origin reads the URL of an entry: https, a host, maybe a port, nothing else.
func origin(s string, plain bool) (Host, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return "", badDirectory("is not an absolute URL")
	case u.Scheme != "https" && !(plain && u.Scheme == "http"):
		return "", badDirectory("must begin with https://")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return "", badDirectory("must be a scheme and a host alone")
	}
	host, err := ParseHost(u.Host)
	if err != nil {
		return "", err
	}
	if u.Scheme == "http" {
		host = Host(strings.TrimSuffix(string(host), ":80"))
	}
	return host, nil
}
