package dav

import (
	"context"
	"encoding/xml"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// maxAsked bounds the properties one PROPFIND may name: each costs its length in
// every entry of the answer.
const maxAsked = 500

// propfind answers PROPFIND (RFC 4918 §9.1). The answer is written while the
// folder is read; no file is opened for it.
func (h *Handler) propfind(w http.ResponseWriter, r *http.Request, name string) error {
	d, err := depth(r, Infinity)
	if err != nil {
		return err
	}
	root, err := readXML(h.body(w, r))
	if err != nil {
		return err
	}
	asked, err := readPropfind(root)
	if err != nil {
		return err
	}
	info, err := h.Tree.Stat(r.Context(), name)
	if err != nil {
		return err
	}
	if !info.Dir {
		d = Depth0
	}
	if info.Unavailable != nil && d != Depth0 {
		// Its server was just asked; asking again would only take longer.
		return tree.ErrUnavailable.Saying("The server that holds this does not answer: %s", info.Unavailable.Reason).RetryIn(retryAfter)
	}
	l := &listing{h: h, r: r, ctx: r.Context(), w: w, asked: asked, now: h.now()}
	if asked.needs(needLocks) && h.Locks != nil {
		if l.locks, err = h.Locks.Locks(l.ctx, h.Space, h.filed(name)); err != nil {
			return err
		}
	}
	e := &entry{Info: info, name: name, href: h.href(name, info.Dir)}
	if name == "" && !info.Dir {
		e.href = r.URL.EscapedPath() // as asked: a single file answers at several addresses
	}
	if asked.needs(needUsage) && info.Dir {
		usage, err := h.Tree.Usage(l.ctx, name)
		if err != nil {
			return err
		}
		e.usage = &usage
	}
	if asked.needs(needDead) && h.Props != nil {
		if e.dead, err = h.Props.Props(l.ctx, h.Space, h.filed(name)); err != nil {
			return err
		}
	}
	members, err := l.gather(e, d)
	if err != nil {
		return err
	}
	l.begin()
	defer l.release()
	l.entry(e)
	for m, err := range members {
		if err != nil {
			return l.broken(err)
		}
		l.entry(m)
		if l.failed != nil {
			return nil // the client hung up
		}
	}
	l.end()
	return nil
}

// request is what a PROPFIND asks for.
type request struct {
	props []asked
	names bool // propname: names alone
	all   bool // allprop: every dead property too
}

// asked is one property asked for; live is nil for a dead one.
type asked struct {
	name xml.Name
	live *liveProp
}

func (q *request) needs(n need) bool {
	if n == needDead && (q.all || q.names) {
		return true
	}
	for _, p := range q.props {
		if p.live == nil && n == needDead || p.live != nil && p.live.needs == n {
			return !q.names || n == needDead
		}
	}
	return false
}

// readPropfind understands a PROPFIND body; none means allprop.
func readPropfind(root *element) (*request, error) {
	if root == nil {
		return &request{all: true, props: allprop}, nil
	}
	if !root.is("propfind") {
		return nil, errXML.Saying("A PROPFIND body is a DAV: propfind element.")
	}
	all, names, prop := root.child("allprop"), root.child("propname"), root.child("prop")
	switch {
	case prop != nil && all == nil && names == nil:
		props, err := readNames(prop, nil)
		return &request{props: props}, err
	case names != nil && all == nil && prop == nil:
		return &request{names: true, props: allprop}, nil
	case all != nil && names == nil && prop == nil:
		q := &request{all: true, props: allprop}
		if include := root.child("include"); include != nil {
			props, err := readNames(include, allprop)
			q.props = props
			return q, err
		}
		return q, nil
	}
	return nil, errXML.Saying("A propfind element holds one of allprop, propname and prop.")
}

func readNames(in *element, props []asked) ([]asked, error) {
	seen := map[xml.Name]bool{}
	props = append([]asked(nil), props...)
	for _, p := range props {
		seen[p.name] = true
	}
	for _, e := range in.elements() {
		if seen[e.Name] {
			continue
		}
		seen[e.Name] = true
		props = append(props, asked{e.Name, live[e.Name]})
	}
	if len(seen) > maxAsked {
		return nil, errXMLTooLarge.Saying("The request asks for more properties than one answer may hold.")
	}
	return props, nil
}

// entry is one resource of the answer.
type entry struct {
	tree.Info
	name  string // path in the tree
	href  string
	dead  []Prop
	usage *tree.Usage // of the resource asked for, when asked for
	fault error       // why its members, which were asked for too, cannot be listed
}

// listing writes a multistatus (RFC 4918 §13), a buffer at a time.
type listing struct {
	h       *Handler
	r       *http.Request
	ctx     context.Context
	w       http.ResponseWriter
	asked   *request
	now     time.Time
	locks   []Lock
	buf     *buffers
	started bool
	failed  error // of writing
}

type buffers struct{ out, missing []byte }

// The buffers are sent on when they reach flushAt.
const flushAt = 32 << 10

var pool = sync.Pool{New: func() any { return &buffers{out: make([]byte, 0, flushAt+8<<10)} }}

// gather yields the members of e that d reaches; a failure is yielded last. One
// folder is read while the answer is written; to refuse too large a tree before
// a word is said, infinite depth is read first.
func (l *listing) gather(e *entry, d Depth) (iter.Seq2[*entry, error], error) {
	switch d {
	case Depth0:
		return func(func(*entry, error) bool) {}, nil
	case Depth1:
		return l.members(e.name), nil
	}
	limit := l.h.MaxEntries
	if limit == 0 {
		limit = DefaultMaxEntries
	}
	var found []*entry
	folders := []*entry{e}
	for len(folders) > 0 {
		folder := folders[0]
		folders = folders[1:]
		for m, err := range l.members(folder.name) {
			if err != nil && folder != e && isPassing(err) {
				folder.fault = err
				break
			}
			if err != nil {
				return nil, err
			}
			if found = append(found, m); len(found) > limit {
				return nil, &conditionError{errInfinite, "<d:propfind-finite-depth/>"}
			}
			if m.Dir && m.Unavailable == nil {
				folders = append(folders, m)
			}
		}
	}
	return func(yield func(*entry, error) bool) {
		for _, m := range found {
			if !yield(m, nil) {
				return
			}
		}
	}, nil
}

// isPassing reports whether a folder that cannot be listed leaves the rest of an
// answer worth giving: it vanished meanwhile, is not for this reader, or lives
// on a server that does not answer.
func isPassing(err error) bool {
	return isMissing(err) || errors.Is(err, tree.ErrUnavailable) || errors.Is(err, tree.ErrForbidden)
}

// members yields the entries of one folder; a failure is yielded last.
func (l *listing) members(folder string) iter.Seq2[*entry, error] {
	return func(yield func(*entry, error) bool) {
		var dead map[string][]Prop
		if l.asked.needs(needDead) && l.h.Props != nil {
			var err error
			if dead, err = l.h.Props.ChildProps(l.ctx, l.h.Space, l.h.filed(folder)); err != nil {
				yield(nil, err)
				return
			}
		}
		prefix := l.h.href(folder, true)
		for info, err := range l.h.Tree.List(l.ctx, folder) {
			if err != nil {
				yield(nil, err)
				return
			}
			href := make([]byte, 0, len(prefix)+3*len(info.Name)+1)
			href = appendHref(append(href, prefix...), info.Name)
			if info.Dir {
				href = append(href, '/')
			}
			if !yield(&entry{Info: info, name: join(folder, info.Name), href: string(href), dead: dead[info.Name]}, nil) {
				return
			}
		}
	}
}

func (l *listing) begin() {
	l.buf = pool.Get().(*buffers)
	l.buf.out = append(l.buf.out[:0], xmlHead+`<d:multistatus xmlns:d="DAV:" xmlns:oc="`+nsOwnCloud+`" xmlns:ocs="`+nsOCS+`" xmlns:ocm="`+nsOCM+`" xmlns:w="`+nsWeft+`">`...)
}

func (l *listing) release() { pool.Put(l.buf) }

func (l *listing) flush() {
	if !l.started {
		l.started = true
		l.w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		l.w.WriteHeader(http.StatusMultiStatus)
	}
	if l.failed == nil {
		_, l.failed = l.w.Write(l.buf.out)
	}
	l.buf.out = l.buf.out[:0]
}

func (l *listing) end() {
	l.buf.out = append(l.buf.out, "</d:multistatus>\n"...)
	if !l.started {
		l.w.Header().Set("Content-Length", strconv.Itoa(len(l.buf.out)))
	}
	l.flush()
}

// broken ends an answer whose folder could not be read to its end: with the
// error while nothing was sent, else by breaking the connection. Half a listing
// must not pass for a whole one, since a client may delete what it does not see.
func (l *listing) broken(err error) error {
	if !l.started {
		return err
	}
	l.h.observe(l.r, statusCut, err)
	panic(http.ErrAbortHandler)
}

// entry writes one response element.
func (l *listing) entry(e *entry) {
	b := append(l.buf.out, "<d:response><d:href>"...)
	b = append(b, e.href...)
	b = append(b, "</d:href>"...)
	if e.fault != nil {
		b = appendStatus(b, public(e.fault).Status)
		l.buf.out = append(b, "</d:response>"...)
		return
	}
	b = append(b, "<d:propstat><d:prop>"...)
	missing := l.buf.missing[:0]
	for i := range l.asked.props {
		p := &l.asked.props[i]
		if p.live != nil {
			mark := len(b)
			b = append(b, p.live.open...)
			value, ok := p.live.write(b, l, e)
			switch {
			case !ok:
				b = b[:mark]
				if !l.asked.all && !l.asked.names {
					missing = append(missing, p.live.empty...)
				}
			case l.asked.names || len(value) == mark+len(p.live.open):
				b = append(b[:mark], p.live.empty...)
			default:
				b = append(value, p.live.close...)
			}
			continue
		}
		if d := find(e.dead, p.name); d != nil {
			b = appendDead(b, d)
		} else {
			missing = appendEmpty(missing, p.name)
		}
	}
	if l.asked.names || l.asked.all {
		for i := range e.dead {
			if live[e.dead[i].Name] != nil || l.asked.all && l.asked.includes(e.dead[i].Name) {
				continue
			}
			if l.asked.names {
				b = appendEmpty(b, e.dead[i].Name)
			} else {
				b = appendDead(b, &e.dead[i])
			}
		}
	}
	if e.Unavailable != nil && !l.asked.includes(unavailableSince) {
		b = append(b, "<w:unavailable-since>"...)
		b = e.Unavailable.Since.UTC().AppendFormat(b, time.RFC3339)
		b = append(b, "</w:unavailable-since>"...)
	}
	b = append(b, "</d:prop>"...)
	b = appendStatus(b, http.StatusOK)
	b = append(b, "</d:propstat>"...)
	if len(missing) > 0 {
		b = append(b, "<d:propstat><d:prop>"...)
		b = append(b, missing...)
		b = append(b, "</d:prop>"...)
		b = appendStatus(b, http.StatusNotFound)
		b = append(b, "</d:propstat>"...)
	}
	l.buf.out, l.buf.missing = append(b, "</d:response>"...), missing
	if len(l.buf.out) >= flushAt {
		l.flush()
	}
}

func (q *request) includes(name xml.Name) bool {
	for i := range q.props {
		if q.props[i].name == name {
			return true
		}
	}
	return false
}

func find(props []Prop, name xml.Name) *Prop {
	for i := range props {
		if props[i].Name == name {
			return &props[i]
		}
	}
	return nil
}

func appendDead(b []byte, p *Prop) []byte {
	var lang string
	if p.Lang != "" {
		lang = ` xml:lang="` + string(appendText(nil, p.Lang)) + `"`
	}
	b = appendOpen(b, p.Name, lang)
	b = append(b, p.Value...)
	return appendClose(b, p.Name)
}

func appendEmpty(b []byte, name xml.Name) []byte {
	if l := live[name]; l != nil {
		return append(b, l.empty...)
	}
	return appendClose(appendOpen(b, name, ""), name)
}

func appendStatus(b []byte, status int) []byte {
	b = append(b, "<d:status>HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	return append(b, "</d:status>"...)
}

// href is the escaped URL path of name; folders end with a slash.
func (h *Handler) href(name string, dir bool) string {
	b := appendHref(nil, h.Prefix)
	if name != "" {
		b = appendHref(append(b, '/'), name)
	}
	if dir {
		b = append(b, '/')
	}
	return string(b)
}

// need is what a live property costs beyond the entry's Info.
type need int

const (
	needInfo need = iota
	needLocks
	needUsage
	needDead
)

// liveProp is a property the server computes; none can be set. write appends its
// content, or reports that e has no such property.
type liveProp struct {
	name               xml.Name
	needs              need
	inAll              bool // allprop gives it
	write              func(b []byte, l *listing, e *entry) ([]byte, bool)
	open, close, empty string // its tags
}

var unavailableSince = xml.Name{Space: nsWeft, Local: "unavailable-since"}

// live holds the live properties by name; allprop those that allprop gives
// beyond dead properties: the ones of RFC 4918 (§9.1). Those of others are for
// who names them.
var live, allprop = index([]liveProp{
	{name: xml.Name{Space: nsDAV, Local: "resourcetype"}, inAll: true, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		if e.Dir {
			b = append(b, "<d:collection/>"...)
		}
		return b, true
	}},
	{name: xml.Name{Space: nsDAV, Local: "displayname"}, inAll: true, write: func(b []byte, l *listing, e *entry) ([]byte, bool) {
		if e.name == "" {
			return appendText(b, l.h.rootName()), true
		}
		return appendText(b, base(e.name)), true
	}},
	{name: xml.Name{Space: nsDAV, Local: "getcontentlength"}, inAll: true, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		return strconv.AppendInt(b, e.Size, 10), !e.Dir && e.Size >= 0
	}},
	{name: xml.Name{Space: nsDAV, Local: "getcontenttype"}, inAll: true, write: func(b []byte, l *listing, e *entry) ([]byte, bool) {
		return appendText(b, l.h.contentType(e.Info)), !e.Dir
	}},
	{name: xml.Name{Space: nsDAV, Local: "getlastmodified"}, inAll: true, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		return e.ModTime.UTC().AppendFormat(b, http.TimeFormat), !e.ModTime.IsZero()
	}},
	{name: xml.Name{Space: nsDAV, Local: "getetag"}, inAll: true, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		return appendText(b, e.ETag), e.ETag != ""
	}},
	{name: xml.Name{Space: nsDAV, Local: "supportedlock"}, inAll: true, write: func(b []byte, l *listing, _ *entry) ([]byte, bool) {
		return append(b, supportedLock...), l.h.Locks != nil
	}},
	{name: xml.Name{Space: nsDAV, Local: "lockdiscovery"}, inAll: true, needs: needLocks, write: func(b []byte, l *listing, e *entry) ([]byte, bool) {
		return l.h.appendLocks(b, l.locks, e.name, l.now), l.h.Locks != nil
	}},
	// No tree keeps it; it stands here to be refused in PROPPATCH.
	{name: xml.Name{Space: nsDAV, Local: "creationdate"}, write: func(b []byte, _ *listing, _ *entry) ([]byte, bool) {
		return b, false
	}},
	// Not in allprop (RFC 4331 §3), and told of the folder asked for, not of
	// each of its members, where it would cost a walk each.
	{name: xml.Name{Space: nsDAV, Local: "quota-used-bytes"}, needs: needUsage, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		if e.usage == nil {
			return b, false
		}
		return strconv.AppendInt(b, e.usage.Used, 10), true
	}},
	{name: xml.Name{Space: nsDAV, Local: "quota-available-bytes"}, needs: needUsage, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		if e.usage == nil || e.usage.Available < 0 {
			return b, false
		}
		return strconv.AppendInt(b, e.usage.Available, 10), true
	}},
	{name: xml.Name{Space: nsOwnCloud, Local: "size"}, needs: needUsage, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		switch {
		case e.usage != nil:
			return strconv.AppendInt(b, e.usage.Used, 10), true
		case e.Dir || e.Size < 0:
			return b, false
		}
		return strconv.AppendInt(b, e.Size, 10), true
	}},
	{name: xml.Name{Space: nsOwnCloud, Local: "permissions"}, write: func(b []byte, l *listing, e *entry) ([]byte, bool) {
		return l.h.appendPermissions(b, e.Info), true
	}},
	{name: xml.Name{Space: nsOwnCloud, Local: "id"}, write: writeID},
	{name: xml.Name{Space: nsOwnCloud, Local: "fileid"}, write: writeID},
	{name: xml.Name{Space: nsOCS, Local: "share-permissions"}, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		return strconv.AppendInt(b, int64(sharePermissions(e.Info)), 10), true
	}},
	{name: xml.Name{Space: nsOCM, Local: "share-permissions"}, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		return appendText(b, ocmPermissions(e.Rights)), true
	}},
	{name: unavailableSince, write: func(b []byte, _ *listing, e *entry) ([]byte, bool) {
		if e.Unavailable == nil {
			return b, false
		}
		return e.Unavailable.Since.UTC().AppendFormat(b, time.RFC3339), true
	}},
})

func writeID(b []byte, _ *listing, e *entry) ([]byte, bool) {
	return appendText(b, e.ID), e.ID != ""
}

// index gives each property its tags, under the prefixes begin declares.
func index(props []liveProp) (map[xml.Name]*liveProp, []asked) {
	prefixes := map[string]string{nsDAV: "d:", nsOwnCloud: "oc:", nsOCS: "ocs:", nsOCM: "ocm:", nsWeft: "w:"}
	byName := map[xml.Name]*liveProp{}
	var all []asked
	for i := range props {
		p := &props[i]
		tag := prefixes[p.name.Space] + p.name.Local
		p.open, p.close, p.empty = "<"+tag+">", "</"+tag+">", "<"+tag+"/>"
		byName[p.name] = p
		if p.inAll {
			all = append(all, asked{p.name, p})
		}
	}
	return byName, all
}

// appendPermissions writes the letters ownCloud and Nextcloud clients read: S
// shared with the reader, M mounted from elsewhere, R may be shared on, G may be
// read, D deleted, N renamed, V moved, W written; C and K: files and folders may
// be made in it.
func (h *Handler) appendPermissions(b []byte, info tree.Info) []byte {
	if h.Shared || info.Mount {
		b = append(b, 'S')
	}
	if info.Mount {
		b = append(b, 'M')
	}
	if info.Rights.Has(tree.Share) {
		b = append(b, 'R')
	}
	if info.Rights.Has(tree.Read) {
		b = append(b, 'G')
	}
	if !info.Rights.Has(tree.Write) {
		return b
	}
	b = append(b, "DNV"...)
	if info.Dir {
		return append(b, "CK"...)
	}
	return append(b, 'W')
}

// sharePermissions is the sum Open Collaboration Services use: 1 read, 2 update,
// 4 create, 8 delete, 16 share. Single files are neither created in nor deleted.
func sharePermissions(info tree.Info) int {
	sum := 0
	if info.Rights.Has(tree.Read) {
		sum |= 1
	}
	if info.Rights.Has(tree.Write) {
		sum |= 2
		if info.Dir {
			sum |= 4 | 8
		}
	}
	if info.Rights.Has(tree.Share) {
		sum |= 16
	}
	return sum
}

// ocmPermissions is the list of OCM permissions as JSON.
func ocmPermissions(rights tree.Rights) string {
	var words []string
	for _, w := range []struct {
		right tree.Rights
		word  string
	}{{tree.Read, ocm.PermRead}, {tree.Write, ocm.PermWrite}, {tree.Share, ocm.PermShare}} {
		if rights.Has(w.right) {
			words = append(words, `"`+w.word+`"`)
		}
	}
	return "[" + strings.Join(words, ",") + "]"
}
