package tree

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of a peer's multistatus.
const (
	maxEntries  = 100_000
	maxXML      = 128 << 20 // bytes
	maxToken    = 256 << 10 // bytes of one tag or text
	maxXMLDepth = 32
	maxValue    = 8 << 10 // bytes of a property
)

const (
	nsDAV      = "DAV:"
	nsOwnCloud = "http://owncloud.org/ns"
	nsOCM      = "http://open-cloud-mesh.org/ns"
)

// propfindBody asks for what a listing needs. The quota costs some peers much,
// so only questions about one entry ask for it.
func propfindBody(depth depthHeader) string {
	quota := ""
	if depth == depthSelf {
		quota = "<d:quota-available-bytes/><d:quota-used-bytes/>"
	}
	return xml.Header + `<d:propfind xmlns:d="DAV:" xmlns:oc="` + nsOwnCloud + `" xmlns:ocm="` + nsOCM + `"><d:prop>` +
		`<d:resourcetype/><d:getcontentlength/><d:getlastmodified/><d:getetag/><d:getcontenttype/>` + quota +
		`<oc:id/><ocm:share-permissions/></d:prop></d:propfind>`
}

// readMultistatus reads the answer to a PROPFIND on target (RFC 4918 §13).
// Hrefs are what the peer likes to write: only target itself and what lies
// directly in it counts, on target's own host.
func readMultistatus(body io.Reader, target *url.URL, rights Rights) (*listing, error) {
	base, err := pathSegments(target)
	if err != nil {
		return nil, err
	}
	src := &tokenReader{buf: bufio.NewReaderSize(body, 32<<10), total: maxXML}
	m := &multistatus{dec: xml.NewDecoder(src), src: src}
	l, found, entries := &listing{}, false, 0
	for {
		e, err := m.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if entries++; entries > maxEntries {
			return nil, fmt.Errorf("the folder has more than %d entries", maxEntries)
		}
		name, ok := relative(e.href, target, base)
		if !ok || e.gone {
			continue
		}
		info := e.info(rights)
		switch {
		case name == "" && !found:
			l.self, l.usage, found = info, e.usage(), true
		case name != "":
			info.Name = name
			l.children = append(l.children, info)
		}
	}
	if !found {
		return nil, errors.New("the answer does not describe what was asked for")
	}
	slices.SortStableFunc(l.children, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	l.children = slices.CompactFunc(l.children, func(a, b Info) bool { return a.Name == b.Name })
	return l, nil
}

// pathSegments are the decoded elements of a URL's path. One that holds a slash
// or stands for a folder is refused: it would mean something else to others.
func pathSegments(u *url.URL) ([]string, error) {
	out := segments(u.EscapedPath())
	for i, s := range out {
		s, err := url.PathUnescape(s)
		if err != nil || s == "." || s == ".." || strings.ContainsAny(s, "/\x00") {
			return nil, fmt.Errorf("the path %.200q cannot be used", u.EscapedPath())
		}
		out[i] = s
	}
	return out, nil
}

// relative is the name of href in target: "" for target itself.
func relative(href string, target *url.URL, base []string) (string, bool) {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil || u.Opaque != "" || u.Host != "" && !strings.EqualFold(hostPort(u), hostPort(target)) || !strings.HasPrefix(u.Path, "/") && u.Host == "" {
		return "", false
	}
	path, err := pathSegments(u)
	if err != nil || len(path) < len(base) || len(path) > len(base)+1 || !slices.Equal(path[:len(base)], base) {
		return "", false
	}
	if len(path) == len(base) {
		return "", true
	}
	name := path[len(base)]
	return name, proper(name)
}

// hostPort is a URL's host with its port, so that a default one compares equal.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "http" {
		return u.Host + ":80"
	}
	return u.Host + ":443"
}

// entry is one response element: the properties that came with a 200.
type entry struct {
	href  string
	gone  bool
	dir   bool
	props map[xml.Name]string
}

func (e *entry) info(rights Rights) Info {
	dav := func(name string) string { return e.props[xml.Name{Space: nsDAV, Local: name}] }
	info := Info{Dir: e.dir, Size: -1, ETag: readETag(dav("getetag")), Rights: rights}
	if e.dir {
		info.Size = 0
	} else if n, err := strconv.ParseInt(dav("getcontentlength"), 10, 64); err == nil && n >= 0 {
		info.Size = n
	}
	info.ModTime = readTime(dav("getlastmodified"))
	if t := dav("getcontenttype"); !e.dir && headerSafe(t) {
		info.ContentType = t
	}
	if id := e.props[xml.Name{Space: nsOwnCloud, Local: "id"}]; headerSafe(id) {
		info.ID = id
	}
	var names []string
	given := e.props[xml.Name{Space: nsOCM, Local: "share-permissions"}]
	if given != "" && json.Unmarshal([]byte(given), &names) == nil {
		info.Rights &= ParseRights(names)
	}
	return info
}

// usage reads the quota; ownCloud's negative numbers mean unlimited or unknown.
func (e *entry) usage() Usage {
	read := func(name string) int64 {
		n, err := strconv.ParseInt(e.props[xml.Name{Space: nsDAV, Local: name}], 10, 64)
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	return Usage{Used: read("quota-used-bytes"), Available: read("quota-available-bytes")}
}

// readETag takes an entity tag as peers write it, without quotes at worst.
func readETag(s string) string {
	if s == "" || len(s) > 512 || !headerSafe(s) {
		return ""
	}
	if strong := strings.TrimPrefix(s, "W/"); len(strong) < 2 || strong[0] != '"' || strong[len(strong)-1] != '"' {
		s = `"` + strings.ReplaceAll(s, `"`, "") + `"`
	}
	return s
}

func readTime(s string) time.Time {
	if t, err := http.ParseTime(s); err == nil {
		return t
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// headerSafe reports whether s may be repeated in a header or a page.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
