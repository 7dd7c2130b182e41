package dav

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// Bounds of the If header.
const (
	maxIf           = 8 << 10
	maxIfConditions = 100
)

// ifList is one list of the If header: all of its conditions must hold for
// resource, which is "" when the list is untagged.
type ifList struct {
	resource   string
	conditions []ifCondition
}

// ifCondition is a state token or an entity tag, one of them set.
type ifCondition struct {
	not   bool
	token string
	etag  string
}

// parseIf reads an If header (RFC 4918 §10.4.2). Tagged and untagged lists
// cannot be mixed.
func parseIf(header string) ([]ifList, bool) {
	if len(header) > maxIf {
		return nil, false
	}
	var lists []ifList
	var resource string
	conditions := 0
	tagged := strings.HasPrefix(strings.TrimLeft(header, " \t"), "<")
	bare := false // a tag no list has followed yet
	rest := strings.TrimLeft(header, " \t")
	for rest != "" {
		switch rest[0] {
		case '<':
			tag, after, ok := strings.Cut(rest[1:], ">")
			if !ok || !tagged || tag == "" || bare {
				return nil, false
			}
			resource, rest, bare = tag, after, true
		case '(':
			list, after, ok := parseIfList(rest[1:])
			if !ok {
				return nil, false
			}
			if conditions += len(list); conditions > maxIfConditions {
				return nil, false
			}
			lists = append(lists, ifList{resource, list})
			rest, bare = after, false
		default:
			return nil, false
		}
		rest = strings.TrimLeft(rest, " \t")
	}
	return lists, len(lists) > 0 && !bare
}

func parseIfList(rest string) (list []ifCondition, after string, ok bool) {
	var c ifCondition
	for {
		rest = strings.TrimLeft(rest, " \t")
		switch {
		case rest == "":
			return nil, "", false
		case rest[0] == ')':
			return list, rest[1:], len(list) > 0 && !c.not
		case rest[0] == '<':
			c.token, rest, ok = strings.Cut(rest[1:], ">")
			if !ok || c.token == "" {
				return nil, "", false
			}
		case rest[0] == '[':
			c.etag, rest, ok = strings.Cut(rest[1:], "]")
			if !ok || c.etag == "" {
				return nil, "", false
			}
		case len(rest) > 3 && strings.EqualFold(rest[:3], "Not") && !c.not:
			c.not, rest = true, rest[3:]
			continue
		default:
			return nil, "", false
		}
		list = append(list, c)
		c = ifCondition{}
	}
}

// touch is what a request is about to do to one path.
type touch struct {
	name   string
	deep   bool // everything below changes too
	member bool // name appears in or disappears from its folder
}

// permit checks a write against the request's If header and the locks on all it
// touches (RFC 4918 §7, §10.4): 412 when the header does not hold, 423 when a
// lock stands in the way whose token the holder did not submit. The recheck it
// returns does the latter again, for writes that take long to arrive.
func (h *Handler) permit(r *http.Request, name string, touches ...touch) (recheck func() error, err error) {
	var lists []ifList
	if header := strings.Join(r.Header.Values("If"), " "); header != "" {
		var ok bool
		if lists, ok = parseIf(header); !ok {
			return nil, errHeader.Saying("The If header cannot be understood.")
		}
		if err := h.evaluate(r, name, lists); err != nil {
			return nil, err
		}
	}
	if h.Locks == nil {
		return func() error { return nil }, nil
	}
	var submitted []string
	for _, l := range lists {
		for _, c := range l.conditions {
			if c.token != "" {
				submitted = append(submitted, c.token)
			}
		}
	}
	recheck = func() error {
		for _, t := range touches {
			if err := h.unlocked(r.Context(), t, submitted); err != nil {
				return err
			}
		}
		return nil
	}
	return recheck, recheck()
}

// unlocked returns the 423 for the locks that keep the request from t.
func (h *Handler) unlocked(ctx context.Context, t touch, submitted []string) error {
	path := h.filed(t.name)
	locks, err := h.Locks.Locks(ctx, h.Space, path)
	if err != nil || len(locks) == 0 {
		return err
	}
	points := []string{path}
	for _, l := range locks {
		if t.deep && below(l.Path, path) || t.member && path != "" && l.Path == parent(path) {
			points = append(points, l.Path)
		}
	}
	slices.Sort(points)
	// Of several shared locks on one resource the token of any is enough
	// (RFC 4918 §6.2, §7.5).
	var hrefs []byte
	for _, point := range slices.Compact(points) {
		covering := slices.DeleteFunc(slices.Clone(locks), func(l Lock) bool { return !l.Covers(point) })
		mine := func(l Lock) bool { return l.Principal == h.Principal && slices.Contains(submitted, l.Token) }
		if len(covering) > 0 && !slices.ContainsFunc(covering, mine) {
			hrefs = h.appendLockRoot(hrefs, covering[0])
		}
	}
	if hrefs == nil {
		return nil
	}
	return &conditionError{tree.ErrLocked, "<d:lock-token-submitted>" + string(hrefs) + "</d:lock-token-submitted>"}
}

// evaluate decides the If header: one list that holds is enough.
func (h *Handler) evaluate(r *http.Request, name string, lists []ifList) error {
	states := map[string]*ifState{}
	for _, l := range lists {
		at, inside := name, true
		if l.resource != "" {
			var err error
			if at, err = h.target(r, l.resource); err != nil {
				inside = false // of what is not ours nothing is known: no state matches
			}
		}
		s := states[at]
		if s == nil && inside {
			s = &ifState{h: h, ctx: r.Context(), name: at}
			states[at] = s
		}
		holds, err := s.all(l.conditions)
		if err != nil || holds {
			return err
		}
	}
	return tree.ErrPrecondition
}

// ifState is what conditions are held against: one resource, asked for its tag
// and locks when first needed. A nil state matches nothing.
type ifState struct {
	h     *Handler
	ctx   context.Context
	name  string
	etag  *string
	locks *[]Lock
}

func (s *ifState) all(conditions []ifCondition) (bool, error) {
	for _, c := range conditions {
		holds, err := s.one(c)
		if err != nil || holds == c.not {
			return false, err
		}
	}
	return true, nil
}

func (s *ifState) one(c ifCondition) (bool, error) {
	if s == nil {
		return false, nil
	}
	if c.etag != "" {
		if s.etag == nil {
			info, _, err := s.h.stat(s.ctx, s.name)
			if err != nil {
				return false, err
			}
			s.etag = &info.ETag
		}
		return c.etag == *s.etag && !strings.HasPrefix(c.etag, "W/"), nil
	}
	if s.h.Locks == nil {
		return false, nil
	}
	path := s.h.filed(s.name)
	if s.locks == nil {
		locks, err := s.h.Locks.Locks(s.ctx, s.h.Space, path)
		if err != nil {
			return false, err
		}
		s.locks = &locks
	}
	return slices.ContainsFunc(*s.locks, func(l Lock) bool { return l.Token == c.token && l.Covers(path) }), nil
}

// target reads a URL or absolute path in a header that names a resource of this
// tree (RFC 4918 §8.3). Another host or another tree is errDestination.
func (h *Handler) target(r *http.Request, ref string) (string, error) {
	u, err := url.Parse(ref)
	if err != nil || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") || u.Fragment != "" {
		return "", errHeader.Saying("A header names a resource by something that is neither a URL nor an absolute path.")
	}
	if u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		return "", errDestination
	}
	if u.Host != "" && !sameHost(u.Host, r.Host) && (h.Host == "" || !sameHost(u.Host, h.Host)) {
		return "", errDestination
	}
	name, err := h.resolve(u.EscapedPath())
	if e, ok := err.(*ocm.Error); ok && e == errOutside {
		return "", errDestination
	}
	return name, err
}

// sameHost compares host[:port] without regard to case and default ports. A
// proxy may have changed the scheme, so both default ports count as none.
func sameHost(a, b string) bool {
	plain := func(s string) string {
		s = strings.ToLower(s)
		return strings.TrimSuffix(strings.TrimSuffix(s, ":80"), ":443")
	}
	return plain(a) == plain(b)
}

// depth reads the Depth header; absent is what the method takes as its default.
func depth(r *http.Request, absent Depth) (Depth, error) {
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Depth"))) {
	case "":
		return absent, nil
	case "0":
		return Depth0, nil
	case "1":
		return Depth1, nil
	case "infinity":
		return Infinity, nil
	}
	return 0, errHeader.Saying("Depth is 0, 1 or infinity.")
}
