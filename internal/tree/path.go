package tree

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The bounds of a name, in bytes of UTF-8 and in elements.
const (
	MaxElement = 255
	MaxPath    = 4096
	MaxDepth   = 100
)

// Clean turns a path as people and clients write it into a name of a Tree: in
// Unicode normal form C, without a slash at either end. What cannot be a name is
// refused with ErrName and the reason: "." and "..", empty elements, control
// characters, invalid UTF-8, elements of nothing but spaces, too long or too
// deep.
func Clean(p string) (string, error) {
	if !utf8.ValidString(p) {
		return "", ErrName.Saying("The name is not valid UTF-8.")
	}
	p = strings.TrimSuffix(strings.TrimPrefix(p, "/"), "/")
	if len(p) <= 3*MaxPath { // normal form C is never shorter than a third
		p = norm.NFC.String(p)
	}
	if len(p) > MaxPath {
		return "", ErrName.Saying("The path has more than %d bytes; use shorter names or fewer folders.", MaxPath)
	}
	if p == "" {
		return "", nil
	}
	depth := 0
	for element := range strings.SplitSeq(p, "/") {
		if depth++; depth > MaxDepth {
			return "", errTooDeep
		}
		if reason := flaw(element); reason != "" {
			return "", ErrName.Saying("The name %.80q cannot be used: it %s.", element, reason)
		}
	}
	return p, nil
}

var errTooDeep = ErrName.Saying("More than %d folders inside each other are not possible.", MaxDepth)

// flaw says why one element of a path cannot be a name, or "".
func flaw(element string) string {
	switch {
	case element == "":
		return "is empty"
	case element == "." || element == "..":
		return "stands for a folder, not for a name in it"
	case len(element) > MaxElement:
		return "has more than 255 bytes"
	case strings.IndexFunc(element, unicode.IsControl) >= 0:
		return "holds control characters"
	case strings.TrimSpace(element) == "":
		return "has nothing but spaces"
	}
	return ""
}

// canonical refuses a name that is not as Clean gives it.
func canonical(name string) error {
	clean, err := Clean(name)
	if err == nil && clean != name {
		err = ErrName.Saying("The name %.80q is not in the form that names have.", name)
	}
	return err
}

// proper reports whether one element met on a disk or in a listing is a name as
// Clean makes them.
func proper(element string) bool {
	return utf8.ValidString(element) && flaw(element) == "" && !strings.Contains(element, "/") && norm.NFC.IsNormalString(element)
}

// Base is the last element of a name, "" for the root.
func Base(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// Dir is the folder that holds name; the root holds itself.
func Dir(name string) string { return name[:max(strings.LastIndexByte(name, '/'), 0)] }

// Join appends elements to a name; either may be "".
func Join(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}

// Within reports whether name is dir or lies inside it, at any depth.
func Within(name, dir string) bool {
	return dir == "" || name == dir || len(name) > len(dir) && name[len(dir)] == '/' && name[:len(dir)] == dir
}

// Below reports whether name lies inside dir, at any depth; nothing lies inside
// itself.
func Below(name, dir string) bool { return name != dir && Within(name, dir) }

// depth counts the elements of a name.
func depth(name string) int {
	if name == "" {
		return 0
	}
	return strings.Count(name, "/") + 1
}
