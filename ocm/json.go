package ocm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what the Read functions take.
const (
	MaxBody     = 1 << 20   // bytes of a message
	MaxDocument = 256 << 10 // bytes of a discovery document
	MaxDepth    = 32        // levels of nesting
)

var (
	errJSON     = NewError(http.StatusBadRequest, CodeInvalidJSON, "the body is not valid JSON")
	errTooLarge = NewError(http.StatusRequestEntityTooLarge, CodeTooLarge, "the body is too large")
)

// CheckJSON reports whether b is one JSON value of at most MaxBody bytes and
// maxDepth levels, in valid Unicode, in which no object names a member twice
// (RFC 7493 §2): two readers could otherwise take different things for true.
// It answers 413 for the size and 400 INVALID_JSON for the rest.
func CheckJSON(b []byte, maxDepth int) error {
	if len(b) > MaxBody {
		return errTooLarge
	}
	if !utf8.Valid(b) || halfSurrogate(b) {
		return errJSON.Saying("the body is not valid Unicode")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	// open holds the member names of every object we are in, nil for an array.
	var open []map[string]bool
	name := false // the next string is a member's name
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return errJSON.With(err)
		}
		switch t := tok.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				if len(open) == maxDepth {
					return errJSON.Saying("the JSON is nested more than %d levels deep", maxDepth)
				}
				var names map[string]bool
				if t == '{' {
					names = make(map[string]bool)
				}
				open = append(open, names)
				name = t == '{'
				continue
			}
			open = open[:len(open)-1]
		case string:
			if name {
				names := open[len(open)-1]
				if names[t] {
					return errJSON.Saying("the member %.64q is given twice", t)
				}
				names[t], name = true, false
				continue
			}
		}
		// A value has ended.
		if len(open) == 0 {
			break
		}
		name = open[len(open)-1] != nil
	}
	if _, err := dec.Token(); err != io.EOF {
		return errJSON.Saying("something follows the JSON")
	}
	return nil
}

// halfSurrogate reports whether b escapes one half of a UTF-16 pair without the
// other: encoding/json makes the same replacement character of any of them, and
// so one name of many. In JSON a backslash stands only in strings.
func halfSurrogate(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 == len(b) {
			return false
		}
		r := escaped(b[i:])
		if !utf16.IsSurrogate(r) {
			b = b[i+2:]
			continue
		}
		if len(b) < i+12 || utf16.DecodeRune(r, escaped(b[i+6:])) == utf8.RuneError {
			return true
		}
		b = b[i+12:]
	}
}

// escaped is the UTF-16 unit of the \uXXXX that b begins with, -1 if it does not.
func escaped(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// object reads a JSON object into its members.
func object(b []byte) (map[string]json.RawMessage, error) {
	if err := CheckJSON(b, MaxDepth); err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil || m == nil {
		return nil, errJSON.Saying("the body is not a JSON object")
	}
	return m, nil
}

// reader takes members out of an object and gathers what is wrong with them.
type reader struct {
	members map[string]json.RawMessage
	prefix  string // of the names in faults: "protocol.webdav."
	faults  *[]FieldError
}

func (r reader) fault(name, format string, args ...any) {
	*r.faults = append(*r.faults, FieldError{r.prefix + name, fmt.Sprintf(format, args...)})
}

// has reports whether a member is there and not null.
func (r reader) has(name string) bool {
	v, ok := r.members[name]
	return ok && !bytes.Equal(v, []byte("null"))
}

// text reads a string of one line and at most max bytes; "" when absent or
// wrong.
func (r reader) text(name string, max int) string { return r.str(name, max, "") }

// prose reads a string that may have several lines.
func (r reader) prose(name string, max int) string { return r.str(name, max, "\r\n\t") }

func (r reader) str(name string, max int, controls string) string {
	if !r.has(name) {
		return ""
	}
	var s string
	if err := json.Unmarshal(r.members[name], &s); err != nil {
		r.fault(name, "must be a string")
		return ""
	}
	if why := badText(s, max, controls); why != "" {
		r.fault(name, "%s", why)
		return ""
	}
	return s
}

// required is text of a member that must be there and not be empty.
func (r reader) required(name string, max int) string {
	before := len(*r.faults)
	s := r.text(name, max)
	if s == "" && len(*r.faults) == before {
		if r.has(name) {
			r.fault(name, "must not be empty")
		} else {
			r.fault(name, "is required")
		}
	}
	return s
}

// maxListed bounds, in bytes, an entry of a list.
const maxListed = 256

// list reads an array of at most max strings.
func (r reader) list(name string, max int) []string {
	if !r.has(name) {
		return nil
	}
	var l []string
	if err := json.Unmarshal(r.members[name], &l); err != nil {
		r.fault(name, "must be an array of strings")
		return nil
	}
	if len(l) > max {
		r.fault(name, "has more than %d entries", max)
		return nil
	}
	for _, s := range l {
		why := badText(s, maxListed, "")
		if s == "" {
			why = "is empty"
		}
		if why != "" {
			r.fault(name, "an entry %s", why)
			return nil
		}
	}
	return l
}

// sub reads an object member; ok is false when it is absent or wrong.
func (r reader) sub(name string) (sub reader, ok bool) {
	if !r.has(name) {
		return reader{}, false
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(r.members[name], &m); err != nil {
		r.fault(name, "must be an object")
		return reader{}, false
	}
	return reader{m, r.prefix + name + ".", r.faults}, true
}

// badText says what is wrong with a text: too long, or control characters other
// than the allowed ones.
func badText(s string, max int, controls string) string {
	if len(s) > max {
		return fmt.Sprintf("is longer than %d bytes", max)
	}
	if strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) && !strings.ContainsRune(controls, c) }) {
		return "holds a control character"
	}
	return ""
}

// invalid is the 400 for all faults found.
func invalid(faults []FieldError) error {
	return &Error{
		Status: http.StatusBadRequest, Code: CodeInvalidPayload,
		Message: faults[0].Name + ": " + faults[0].Message, Fields: faults,
	}
}
