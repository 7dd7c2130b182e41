package delivery

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// setback is a failed delivery in words for the person who waits for it, with
// the cause behind it for the operator.
type setback struct {
	sentence string
	err      error
}

func (s *setback) Error() string { return s.sentence + " (" + s.err.Error() + ")" }
func (s *setback) Unwrap() error { return s.err }

// Sentence is the part of a failure that is for the person: what Explain said,
// and the peer's code.
func Sentence(err error) string {
	s, ok := errors.AsType[*setback](err)
	if !ok {
		return err.Error()
	}
	if pe, ok := errors.AsType[*client.PeerError](err); ok && pe.Code != "" && pe.Status != 0 {
		return s.sentence + " (" + string(pe.Code) + ")"
	}
	return s.sentence
}

// Hint adds to a failure's sentence what the person can make of it.
func Hint(err error, hint string) error {
	if s, ok := errors.AsType[*setback](err); ok {
		s.sentence += "; " + hint
	}
	return err
}

// Explain puts what a peer answered, or did not, into words.
func Explain(host ocm.Host, err error) error {
	if err == nil {
		return nil
	}
	name := string(host)
	sentence := name + " could not be told"
	var dns *net.DNSError
	pe, answered := errors.AsType[*client.PeerError](err)
	switch {
	case errors.Is(err, peer.ErrDenied):
		sentence = "the operator of this server does not allow dealing with " + name
	case errors.Is(err, peer.ErrAddress), errors.Is(err, peer.ErrPlain), errors.Is(err, peer.ErrRedirect):
		sentence = name + " cannot be used: " + refusedHere(err)
	case errors.As(err, &dns) && dns.IsNotFound:
		sentence = "there is no server named " + name
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, tree.ErrUnavailable),
		errors.Is(err, context.DeadlineExceeded), answered && pe.Status == 0:
		sentence = name + " does not answer"
	case answered:
		sentence = refusal(name, pe)
	}
	return &setback{sentence, err}
}

// refusedHere is why our own guard did not make a call.
func refusedHere(err error) string {
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

func refusal(name string, pe *client.PeerError) string {
	switch pe.Code {
	case ocm.CodeRecipientNotFound:
		return name + " knows no such recipient"
	case ocm.CodeInviteRequired:
		return name + " takes shares only after an invite between the two of you"
	case ocm.CodePeerDenied:
		return name + " does not deal with this server"
	case ocm.CodeShareTypeUnsupported, ocm.CodeResourceUnsupported, ocm.CodeProtocolUnsupported:
		return name + " does not take this kind of share"
	}
	switch {
	case pe.Op == "discover" && !pe.Temporary:
		return name + " is not an Open Cloud Mesh server"
	case pe.Status == http.StatusTooManyRequests:
		return name + " asks us to wait"
	case pe.Status >= 500 && pe.Temporary:
		return name + " has trouble just now"
	case pe.Status >= 400:
		return name + " refused it"
	}
	return name + " could not be told"
}

// Refused says what a peer's answer means for the next attempt.
func Refused(host ocm.Host, err error) error {
	if pe, ok := errors.AsType[*client.PeerError](err); ok {
		return &Failure{Permanent: !pe.Temporary, RetryAfter: pe.RetryAfter, Err: Explain(host, err)}
	}
	return Explain(host, err)
}

// deniedPause is how long a message waits that policy holds back: the operator
// may change their mind.
const deniedPause = 10 * time.Minute

// Unknown says what it means for the next attempt that a peer could not be
// discovered: it may be another time, also when policy forbids to ask now.
func Unknown(host ocm.Host, err error) error {
	if errors.Is(err, peer.ErrDenied) {
		return &Failure{RetryAfter: deniedPause, Err: Explain(host, err)}
	}
	return Explain(host, err)
}

// Permanently marks an error that trying again would not mend.
func Permanently(err error) error { return &Failure{Permanent: true, Err: err} }
