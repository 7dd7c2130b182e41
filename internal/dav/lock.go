package dav

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weft-mesh/weft/internal/tree"
)

// maxOwner bounds what a client may say of itself in a lock.
const maxOwner = 8 << 10

const supportedLock = "<d:lockentry><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>" +
	"<d:lockentry><d:lockscope><d:shared/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>"

// lock answers LOCK (RFC 4918 §9.10): a new lock, or a refresh when there is no
// body.
func (h *Handler) lock(w http.ResponseWriter, r *http.Request, name string) error {
	d, err := depth(r, Infinity)
	if err != nil {
		return err
	}
	if d == Depth1 {
		return errHeader.Saying("LOCK takes Depth: 0 or infinity.")
	}
	root, err := readXML(h.body(w, r))
	if err != nil {
		return err
	}
	if root == nil {
		return h.refresh(w, r, name)
	}
	l, err := readLockInfo(root)
	if err != nil {
		return err
	}
	info, exists, err := h.stat(r.Context(), name)
	if err != nil {
		return err
	}
	if exists && !info.Rights.Has(tree.Write) {
		return tree.ErrForbidden
	}
	// The lock itself conflicts or not as the store decides; what needs a
	// token already is the making of a new file.
	var touches []touch
	if !exists {
		touches = []touch{{name: name, member: true}}
	}
	if _, err := h.permit(r, name, touches...); err != nil {
		return err
	}
	if err := condition(r).Check(info, exists); err != nil {
		return err
	}
	l.Token = "urn:uuid:" + uuid.NewString()
	l.Space, l.Path, l.Principal = h.Space, h.filed(name), h.Principal
	l.Infinite = d == Infinity && (!exists || info.Dir)
	now := h.now()
	l.Expires = now.Add(h.life(r))
	if err := h.Locks.Acquire(r.Context(), l); err != nil {
		if c, ok := errors.AsType[*Conflict](err); ok {
			return &conditionError{tree.ErrLocked.With(c), "<d:no-conflicting-lock>" + string(h.appendLockRoot(nil, c.Lock)) + "</d:no-conflicting-lock>"}
		}
		return err
	}
	status := http.StatusOK
	if !exists {
		// Locking a name nobody uses makes an empty file of it (RFC 4918 §7.3).
		opt := tree.PutOptions{Condition: tree.Condition{NoneMatch: "*"}}
		if _, _, err := h.Tree.Put(r.Context(), name, bytes.NewReader(nil), opt); err != nil {
			return errors.Join(writeFault(err), h.Locks.Release(r.Context(), h.Space, l.Token))
		}
		status = http.StatusCreated
	}
	w.Header().Set("Lock-Token", "<"+l.Token+">")
	h.answerLock(w, r, status, l, now)
	return nil
}

// refresh prolongs the one lock the If header names (RFC 4918 §9.10.2).
func (h *Handler) refresh(w http.ResponseWriter, r *http.Request, name string) error {
	lists, ok := parseIf(strings.Join(r.Header.Values("If"), " "))
	if !ok {
		return errHeader.Saying("A LOCK without a body refreshes the lock that its If header names; there is none.")
	}
	if err := h.evaluate(r, name, lists); err != nil {
		return err
	}
	locks, err := h.Locks.Locks(r.Context(), h.Space, h.filed(name))
	if err != nil {
		return err
	}
	now := h.now()
	for _, list := range lists {
		for _, c := range list.conditions {
			for _, l := range locks {
				if l.Token != c.token || l.Principal != h.Principal || !l.Covers(h.filed(name)) {
					continue
				}
				l.Expires = now.Add(h.life(r))
				there, err := h.Locks.Refresh(r.Context(), h.Space, l.Token, l.Expires)
				if err != nil {
					return err
				}
				if there {
					h.answerLock(w, r, http.StatusOK, l, now)
					return nil
				}
			}
		}
	}
	return errNoSuchLock
}

// unlock answers UNLOCK (RFC 4918 §9.11).
func (h *Handler) unlock(w http.ResponseWriter, r *http.Request, name string) error {
	token, ok := strings.CutPrefix(strings.TrimSpace(r.Header.Get("Lock-Token")), "<")
	token, closed := strings.CutSuffix(token, ">")
	if !ok || !closed || token == "" {
		return errHeader.Saying("The Lock-Token header is missing, or not a URL in angle brackets.")
	}
	path := h.filed(name)
	locks, err := h.Locks.Locks(r.Context(), h.Space, path)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.Token != token || !l.Covers(path) {
			continue
		}
		if l.Principal != h.Principal {
			return errNotHolder
		}
		if err := h.Locks.Release(r.Context(), h.Space, token); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return &conditionError{errUnlock, "<d:lock-token-matches-request-uri/>"}
}

// readLockInfo understands a LOCK body.
func readLockInfo(root *element) (Lock, error) {
	var l Lock
	if !root.is("lockinfo") {
		return l, errXML.Saying("A LOCK body is a DAV: lockinfo element.")
	}
	scope, kind := root.child("lockscope"), root.child("locktype")
	if scope == nil || kind == nil || kind.child("write") == nil {
		return l, errXML.Saying("A lockinfo element names a lockscope and the locktype write.")
	}
	exclusive, shared := scope.child("exclusive") != nil, scope.child("shared") != nil
	if exclusive == shared {
		return l, errXML.Saying("A lockscope is either exclusive or shared.")
	}
	l.Exclusive = exclusive
	if owner := root.child("owner"); owner != nil {
		l.Owner = owner.inner()
	}
	if len(l.Owner) > maxOwner {
		return l, errXMLTooLarge.Saying("The owner element of the lock is too long.")
	}
	return l, nil
}

// life reads the Timeout header (RFC 4918 §10.7) and bounds it.
func (h *Handler) life(r *http.Request) time.Duration {
	longest := h.MaxLock
	if longest <= 0 {
		longest = DefaultMaxLock
	}
	for wish := range strings.SplitSeq(r.Header.Get("Timeout"), ",") {
		seconds, ok := strings.CutPrefix(strings.TrimSpace(wish), "Second-")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(seconds, 10, 32); err == nil && n > 0 {
			return min(longest, time.Duration(n)*time.Second)
		}
	}
	return longest
}

func (h *Handler) answerLock(w http.ResponseWriter, r *http.Request, status int, l Lock, now time.Time) {
	b := []byte(xmlHead + `<d:prop xmlns:d="DAV:"><d:lockdiscovery>`)
	b = h.appendActiveLock(b, l, now)
	writeXML(w, r, status, append(b, "</d:lockdiscovery></d:prop>\n"...))
}

// appendLocks writes the locks that cover name.
func (h *Handler) appendLocks(b []byte, locks []Lock, name string, now time.Time) []byte {
	if len(locks) == 0 {
		return b
	}
	path := h.filed(name)
	for _, l := range locks {
		if l.Covers(path) {
			b = h.appendActiveLock(b, l, now)
		}
	}
	return b
}

// appendActiveLock writes an activelock element (RFC 4918 §14.1).
func (h *Handler) appendActiveLock(b []byte, l Lock, now time.Time) []byte {
	scope, depth := "shared", "0"
	if l.Exclusive {
		scope = "exclusive"
	}
	if l.Infinite {
		depth = "infinity"
	}
	b = append(b, "<d:activelock><d:locktype><d:write/></d:locktype><d:lockscope><d:"+scope+"/></d:lockscope><d:depth>"+depth+"</d:depth>"...)
	if l.Owner != "" {
		b = append(b, "<d:owner>"+l.Owner+"</d:owner>"...)
	}
	b = append(b, "<d:timeout>Second-"...)
	b = strconv.AppendInt(b, int64(max(0, l.Expires.Sub(now))/time.Second), 10)
	b = append(b, "</d:timeout><d:locktoken><d:href>"...)
	b = appendText(b, l.Token)
	b = append(b, "</d:href></d:locktoken><d:lockroot>"...)
	b = h.appendLockRoot(b, l)
	return append(b, "</d:lockroot></d:activelock>"...)
}

// appendLockRoot writes the href of what l locks. The root of a lock taken above
// the tree has no address here; the tree's own root stands for it.
func (h *Handler) appendLockRoot(b []byte, l Lock) []byte {
	name := ""
	if h.Base == "" {
		name = l.Path
	} else if below(l.Path, h.Base) {
		name = l.Path[len(h.Base)+1:]
	}
	b = append(b, "<d:href>"...)
	b = append(b, h.href(name, false)...)
	return append(b, "</d:href>"...)
}
