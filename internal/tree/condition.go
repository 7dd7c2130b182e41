package tree

import "strings"

// Condition is what must hold for a change to take effect: the raw values of
// If-Match and If-None-Match (RFC 9110 §13.1), "" when the header is absent.
type Condition struct {
	Match     string
	NoneMatch string
}

// Check holds the condition against an entry as it is now and fails with
// ErrPrecondition. If-Match compares strongly, If-None-Match weakly (RFC 9110
// §8.8.3.2).
func (c Condition) Check(info Info, exists bool) error {
	if c.Match != "" {
		matched := exists && listed(c.Match, func(tag string, weak bool) bool { return !weak && tag == info.ETag })
		if !matched {
			return ErrPrecondition
		}
	}
	if c.NoneMatch != "" {
		opaque := strings.TrimPrefix(info.ETag, "W/")
		matched := exists && listed(c.NoneMatch, func(tag string, _ bool) bool { return opaque != "" && tag == opaque })
		if matched {
			return ErrPrecondition
		}
	}
	return nil
}

// listed reports whether list is "*" or same holds for one of its entity tags,
// given in quotes and without W/. A tag sent without quotes counts as if it had
// them.
func listed(list string, same func(tag string, weak bool) bool) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for {
		list = strings.TrimLeft(list, ", \t")
		if list == "" {
			return false
		}
		var weak bool
		if rest, ok := strings.CutPrefix(list, `W/"`); ok {
			list, weak = `"`+rest, true
		}
		var tag string
		if list[0] == '"' {
			end := strings.IndexByte(list[1:], '"')
			if end < 0 {
				return false
			}
			tag, list = list[:end+2], list[end+2:]
		} else {
			bare, rest, _ := strings.Cut(list, ",")
			tag, list = `"`+strings.TrimRight(bare, " \t")+`"`, rest
		}
		if same(tag, weak) {
			return true
		}
	}
}
