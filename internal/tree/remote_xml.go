package tree

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// multistatus decodes responses one by one, so that memory is bounded by what
// is kept of them.
type multistatus struct {
	dec   *xml.Decoder
	src   *tokenReader
	depth int
	begun bool
}

var errXML = errors.New("the answer is not a WebDAV multistatus")

// token reads the next token, refusing what bounds do not allow. Comments and
// the like are passed over.
func (m *multistatus) token() (xml.Token, error) {
	for {
		m.src.left = maxToken
		tok, err := m.dec.Token()
		if err != nil {
			return nil, err
		}
		switch tok.(type) {
		case xml.Directive:
			return nil, errXML // a document type: entities have no place here
		case xml.StartElement:
			if m.depth++; m.depth > maxXMLDepth {
				return nil, fmt.Errorf("the answer is nested more than %d levels deep", maxXMLDepth)
			}
			return tok, nil
		case xml.EndElement:
			m.depth--
			return tok, nil
		case xml.CharData:
			return tok, nil
		}
	}
}

// next reads up to the end of the next response; io.EOF at the end.
func (m *multistatus) next() (*entry, error) {
	for {
		tok, err := m.token()
		if err == io.EOF && !m.begun {
			return nil, errXML
		}
		if err != nil {
			return nil, err
		}
		start, ok := tok.(xml.StartElement)
		switch {
		case !ok:
		case !m.begun:
			if start.Name != (xml.Name{Space: nsDAV, Local: "multistatus"}) {
				return nil, errXML
			}
			m.begun = true
		case start.Name == xml.Name{Space: nsDAV, Local: "response"}:
			return m.response()
		default:
			if err := m.skip(); err != nil {
				return nil, err
			}
		}
	}
}

func (m *multistatus) response() (*entry, error) {
	e := &entry{props: map[xml.Name]string{}}
	err := m.children(func(start xml.StartElement) error {
		var err error
		switch start.Name {
		case xml.Name{Space: nsDAV, Local: "href"}:
			var href string
			if href, err = m.text(); e.href == "" {
				e.href = href
			}
			return err
		case xml.Name{Space: nsDAV, Local: "status"}:
			var status string
			status, err = m.text()
			e.gone = !fine(status)
			return err
		case xml.Name{Space: nsDAV, Local: "propstat"}:
			return m.propstat(e)
		}
		return m.skip()
	})
	return e, err
}

// propstat adds the properties of a group whose status is a success, which
// stands behind them.
func (m *multistatus) propstat(e *entry) error {
	props, dir, status := map[xml.Name]string{}, false, ""
	err := m.children(func(start xml.StartElement) error {
		var err error
		switch start.Name {
		case xml.Name{Space: nsDAV, Local: "status"}:
			status, err = m.text()
			return err
		case xml.Name{Space: nsDAV, Local: "prop"}:
			return m.children(func(prop xml.StartElement) error {
				if prop.Name == (xml.Name{Space: nsDAV, Local: "resourcetype"}) {
					return m.children(func(kind xml.StartElement) error {
						dir = dir || kind.Name == xml.Name{Space: nsDAV, Local: "collection"}
						return m.skip()
					})
				}
				text, err := m.text()
				if len(props) < 64 {
					props[prop.Name] = text
				}
				return err
			})
		}
		return m.skip()
	})
	if err != nil || !fine(status) {
		return err
	}
	e.dir = e.dir || dir
	for name, value := range props {
		e.props[name] = value
	}
	return nil
}

// fine reports whether a status line is a success; some peers leave it out.
func fine(status string) bool {
	_, code, _ := strings.Cut(status, " ")
	return status == "" || strings.HasPrefix(code, "2")
}

// children calls f at each element in the current one; f reads to its end.
func (m *multistatus) children(f func(xml.StartElement) error) error {
	for {
		tok, err := m.token()
		if err != nil {
			return unexpected(err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if err := f(t); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

// text is what the current element says, without what is nested in it.
func (m *multistatus) text() (string, error) {
	var b strings.Builder
	for {
		tok, err := m.token()
		if err != nil {
			return "", unexpected(err)
		}
		switch t := tok.(type) {
		case xml.CharData:
			if b.Len()+len(t) > maxValue {
				return "", fmt.Errorf("a property of the answer has more than %d bytes", maxValue)
			}
			b.Write(t)
		case xml.StartElement:
			if err := m.skip(); err != nil {
				return "", err
			}
		case xml.EndElement:
			return strings.TrimSpace(b.String()), nil
		}
	}
}

// skip passes over the rest of the current element.
func (m *multistatus) skip() error {
	return m.children(func(xml.StartElement) error { return m.skip() })
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// tokenReader bounds what the decoder may gather into one token, and all of it.
// It is an io.ByteReader so that the decoder reads no further than it needs.
type tokenReader struct {
	buf   *bufio.Reader
	left  int // for the current token
	total int
}

func (r *tokenReader) ReadByte() (byte, error) {
	if r.left--; r.left < 0 {
		return 0, fmt.Errorf("a part of the answer has more than %d bytes", maxToken)
	}
	if r.total--; r.total < 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", maxXML)
	}
	return r.buf.ReadByte()
}

func (r *tokenReader) Read([]byte) (int, error) { return 0, errors.New("read byte by byte") }
