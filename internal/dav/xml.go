package dav

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weft-mesh/weft/ocm"
)

// Namespaces spoken here.
const (
	nsDAV      = "DAV:"
	nsWeft     = "https://weft.dev/ns"
	nsOwnCloud = "http://owncloud.org/ns"
	nsOCS      = "http://open-collaboration-services.org/ns"
	nsOCM      = "http://open-cloud-mesh.org/ns"
	nsXML      = "http://www.w3.org/XML/1998/namespace"
)

// Bounds of a request's XML.
const (
	maxXML      = 1 << 20
	maxXMLDepth = 32
	maxXMLNodes = 10_000
)

const xmlHead = `<?xml version="1.0" encoding="utf-8"?>` + "\n"

// element is one element of a request's XML. Names and attributes carry their
// namespace; prefix is what the client wrote, kept for values that are stored.
type element struct {
	xml.Name
	prefix   string
	attrs    []attribute
	lang     string // xml:lang in force
	children []any  // *element or string
}

type attribute struct {
	xml.Name
	prefix string
	value  string
}

// readXML parses a request body; nil when it is empty. encoding/xml leaves
// prefixes nobody declared and the empty prefix binding alone, so namespaces are
// resolved here (Namespaces in XML 1.0), from its raw tokens.
func readXML(body io.Reader) (*element, error) {
	limited := &io.LimitedReader{R: body, N: maxXML + 1}
	d := xml.NewDecoder(limited)
	p := parser{bound: []binding{{"xml", nsXML}, {"", ""}}}
	for {
		token, err := d.RawToken()
		if limited.N <= 0 {
			return nil, errXMLTooLarge
		}
		if err == io.EOF && len(p.open) == 0 && (p.root != nil || !p.seen) {
			return p.root, nil
		}
		if err == nil {
			err = p.take(token)
		}
		if err != nil {
			if fault := uploadFault(err); errors.Is(fault, errStalled) {
				return nil, fault
			}
			if e, ok := errors.AsType[*ocm.Error](err); ok {
				return nil, e
			}
			return nil, errXML.With(err)
		}
	}
}

type binding struct{ prefix, uri string }

type parser struct {
	root  *element
	open  []*element
	outer []int     // len(bound) before each open element's declarations
	bound []binding // in scope, innermost last
	nodes int
	seen  bool // anything but white space at the start
}

func (p *parser) take(token xml.Token) error {
	if p.nodes++; p.nodes > maxXMLNodes {
		return errXMLTooLarge
	}
	switch t := token.(type) {
	case xml.StartElement:
		return p.start(t)
	case xml.EndElement:
		return p.end(t)
	case xml.CharData:
		if len(p.open) > 0 {
			top := p.open[len(p.open)-1]
			top.children = append(top.children, string(t))
		} else if strings.Trim(string(t), "\ufeff \t\r\n") != "" {
			return errXML.Saying("The request's XML has text outside its root element.")
		}
	case xml.ProcInst:
		p.seen = true
	case xml.Directive:
		return errXML.Saying("The request's XML has a document type; send it without.")
	}
	return nil
}

func (p *parser) start(t xml.StartElement) error {
	if p.root != nil && len(p.open) == 0 {
		return errXML.Saying("The request's XML has more than one root element.")
	}
	if len(p.open) >= maxXMLDepth {
		return errXML.Saying("The request's XML is nested too deeply.")
	}
	p.seen = true
	p.outer = append(p.outer, len(p.bound))
	for _, a := range t.Attr {
		switch {
		case a.Name.Space == "xmlns":
			if a.Value == "" || a.Name.Local == "xmlns" || (a.Name.Local == "xml") != (a.Value == nsXML) {
				return errXML.Saying("The request's XML binds the prefix %q to a namespace it cannot have.", a.Name.Local)
			}
			p.bound = append(p.bound, binding{a.Name.Local, a.Value})
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			p.bound = append(p.bound, binding{"", a.Value})
		}
	}
	e := &element{prefix: t.Name.Space, Name: xml.Name{Local: t.Name.Local}}
	var ok bool
	if e.Space, ok = lookup(p.bound, e.prefix); !ok {
		return errXML.Saying("The request's XML uses the prefix %q without declaring it.", e.prefix)
	}
	if len(p.open) > 0 {
		e.lang = p.open[len(p.open)-1].lang
	}
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		at := attribute{Name: xml.Name{Local: a.Name.Local}, prefix: a.Name.Space, value: a.Value}
		if at.prefix != "" {
			if at.Space, ok = lookup(p.bound, at.prefix); !ok {
				return errXML.Saying("The request's XML uses the prefix %q without declaring it.", at.prefix)
			}
		}
		if slices.ContainsFunc(e.attrs, func(o attribute) bool { return o.Name == at.Name }) {
			return errXML.Saying("The request's XML has an element with the same attribute twice.")
		}
		if at.Space == nsXML && at.Local == "lang" {
			e.lang = at.value
		}
		e.attrs = append(e.attrs, at)
	}
	if len(p.open) > 0 {
		top := p.open[len(p.open)-1]
		top.children = append(top.children, e)
	} else {
		p.root = e
	}
	p.open = append(p.open, e)
	return nil
}

func (p *parser) end(t xml.EndElement) error {
	if len(p.open) == 0 {
		return errXML.Saying("The request's XML closes an element that is not open.")
	}
	top := p.open[len(p.open)-1]
	if top.prefix != t.Name.Space || top.Local != t.Name.Local {
		return errXML.Saying("The request's XML closes %s where %s is open.", t.Name.Local, top.Local)
	}
	p.open = p.open[:len(p.open)-1]
	p.bound = p.bound[:p.outer[len(p.outer)-1]]
	p.outer = p.outer[:len(p.outer)-1]
	return nil
}

func lookup(bound []binding, prefix string) (string, bool) {
	for _, b := range slices.Backward(bound) {
		if b.prefix == prefix {
			return b.uri, true
		}
	}
	return "", false
}

// is reports whether e is DAV:local.
func (e *element) is(local string) bool { return e.Space == nsDAV && e.Local == local }

// elements lists the child elements.
func (e *element) elements() []*element {
	var found []*element
	for _, c := range e.children {
		if c, ok := c.(*element); ok {
			found = append(found, c)
		}
	}
	return found
}

// child finds the first child element DAV:local, or nil.
func (e *element) child(local string) *element {
	for _, c := range e.children {
		if c, ok := c.(*element); ok && c.is(local) {
			return c
		}
	}
	return nil
}

// inner is the content of e as XML that stands anywhere: every prefix in use is
// declared where it is first used, with the prefixes the client chose
// (RFC 4918 §4.3).
func (e *element) inner() string {
	return string(e.appendInner(nil, []binding{{"xml", nsXML}, {"", ""}}))
}

func (e *element) appendInner(b []byte, bound []binding) []byte {
	for _, c := range e.children {
		switch c := c.(type) {
		case string:
			b = appendText(b, c)
		case *element:
			b = c.append(b, bound)
		}
	}
	return b
}

func (e *element) append(b []byte, bound []binding) []byte {
	declared := len(bound)
	need := func(prefix, uri string) {
		if have, ok := lookup(bound, prefix); !ok || have != uri {
			bound = append(slices.Clip(bound), binding{prefix, uri})
		}
	}
	need(e.prefix, e.Space)
	for _, a := range e.attrs {
		if a.prefix != "" {
			need(a.prefix, a.Space)
		}
	}
	name := qualified(e.prefix, e.Local)
	b = append(b, '<')
	b = append(b, name...)
	for _, d := range bound[declared:] {
		b = append(b, " xmlns"...)
		if d.prefix != "" {
			b = append(b, ':')
			b = append(b, d.prefix...)
		}
		b = append(b, `="`...)
		b = appendText(b, d.uri)
		b = append(b, '"')
	}
	for _, a := range e.attrs {
		b = append(b, ' ')
		b = append(b, qualified(a.prefix, a.Local)...)
		b = append(b, `="`...)
		b = appendText(b, a.value)
		b = append(b, '"')
	}
	if len(e.children) == 0 {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	b = e.appendInner(b, bound)
	b = append(b, "</"...)
	b = append(b, name...)
	return append(b, '>')
}

func qualified(prefix, local string) string {
	if prefix == "" {
		return local
	}
	return prefix + ":" + local
}

// appendText appends s escaped for element content and quoted attributes.
// Characters XML cannot carry become U+FFFD.
func appendText(b []byte, s string) []byte {
	last := 0
	for i := 0; i < len(s); {
		c := s[i]
		var esc string
		width := 1
		switch {
		case c == '<':
			esc = "&lt;"
		case c == '>':
			esc = "&gt;"
		case c == '&':
			esc = "&amp;"
		case c == '"':
			esc = "&#34;"
		case c == '\t' || c == '\n' || c == '\r':
			esc = "&#" + strconv.Itoa(int(c)) + ";"
		case c < ' ':
			esc = "\uFFFD"
		case c < utf8.RuneSelf:
			i++
			continue
		default:
			var r rune
			r, width = utf8.DecodeRuneInString(s[i:])
			if !(r == utf8.RuneError && width == 1) && r != 0xFFFE && r != 0xFFFF {
				i += width
				continue
			}
			esc = "\uFFFD"
		}
		b = append(b, s[last:i]...)
		b = append(b, esc...)
		i += width
		last = i
	}
	return append(b, s[last:]...)
}

// appendHref appends the elements of path percent-encoded, with its slashes.
// What stays is safe in XML too.
func appendHref(b []byte, path string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(path) {
		c := path[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/-_.~!$()*+,;=:@", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// appendOpen and appendClose write the tags of a property of any namespace.
func appendOpen(b []byte, name xml.Name, attrs string) []byte {
	b = append(b, '<')
	if name.Space == "" {
		b = append(b, name.Local...)
	} else {
		b = append(b, "x:"...)
		b = append(b, name.Local...)
		b = append(b, ` xmlns:x="`...)
		b = appendText(b, name.Space)
		b = append(b, '"')
	}
	b = append(b, attrs...)
	return append(b, '>')
}

func appendClose(b []byte, name xml.Name) []byte {
	b = append(b, "</"...)
	if name.Space != "" {
		b = append(b, "x:"...)
	}
	b = append(b, name.Local...)
	return append(b, '>')
}

// writeXML answers with a whole document.
func writeXML(w http.ResponseWriter, r *http.Request, status int, b []byte) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}
