package delivery

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
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
	reason   string // a stable word for it
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

// Reason is a failure in a stable word, for those who put it into words of their
// own, with the peer's code: one of Reasons, or the code of an error of ours in
// lower case.
func Reason(err error) (reason, code string) {
	if pe, ok := errors.AsType[*client.PeerError](err); ok && pe.Status != 0 {
		code = string(pe.Code)
	}
	if s, ok := errors.AsType[*setback](err); ok {
		return s.reason, code
	}
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return strings.ReplaceAll(strings.ToLower(string(e.Code)), "_", "-"), code
	}
	return untold, code
}

// untold is the reason of a failure that has no better one.
const untold = "untold"

// Reasons are the stable words for why a delivery failed.
var Reasons = []string{
	untold, "denied-here", "unusable", "no-server", "silent", "no-recipient", "no-invite", "denied-there", "unsupported",
	"not-ocm", "wait", "trouble", "refused",
}

// Hint adds to a failure's sentence what the person can make of it; reason is the
// stable word for that.
func Hint(err error, reason, hint string) error {
	if s, ok := errors.AsType[*setback](err); ok {
		s.reason = reason
		s.sentence += "; " + hint
	}
	return err
}

const noServer = "there is no server named "

// NoServer tells whether a sentence of Explain is that of a name that leads
// nowhere: waiting helps only if the name is right.
func NoServer(sentence string) bool { return strings.HasPrefix(sentence, noServer) }

// Explain puts what a peer answered, or did not, into words.
func Explain(host ocm.Host, err error) error {
	if err == nil {
		return nil
	}
	name := string(host)
	reason, sentence := untold, name+" could not be told"
	var dns *net.DNSError
	pe, answered := errors.AsType[*client.PeerError](err)
	switch {
	case errors.Is(err, peer.ErrDenied):
		reason, sentence = "denied-here", "the operator of this server does not allow dealing with "+name
	case errors.Is(err, peer.ErrAddress), errors.Is(err, peer.ErrPlain), errors.Is(err, peer.ErrRedirect):
		reason, sentence = "unusable", name+" cannot be used: "+refusedHere(err)
	case errors.As(err, &dns) && dns.IsNotFound:
		reason, sentence = "no-server", noServer+name
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, tree.ErrUnavailable),
		errors.Is(err, context.DeadlineExceeded), answered && pe.Status == 0:
		reason, sentence = "silent", name+" does not answer"
	case answered:
		reason, sentence = refusal(name, pe)
	}
	return &setback{reason, sentence, err}
}

// refusedHere is why our own guard did not make a call.
func refusedHere(err error) string {
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

func refusal(name string, pe *client.PeerError) (reason, sentence string) {
	switch pe.Code {
	case ocm.CodeRecipientNotFound:
		return "no-recipient", name + " knows no such recipient"
	case ocm.CodeInviteRequired:
		return "no-invite", name + " takes shares only after an invite between the two of you"
	case ocm.CodePeerDenied:
		return "denied-there", name + " does not deal with this server"
	case ocm.CodeShareTypeUnsupported, ocm.CodeResourceUnsupported, ocm.CodeProtocolUnsupported:
		return "unsupported", name + " does not take this kind of share"
	}
	switch {
	case pe.Op == "discover" && !pe.Temporary:
		return "not-ocm", name + " is not an Open Cloud Mesh server"
	case pe.Status == http.StatusTooManyRequests:
		return "wait", name + " asks us to wait"
	case pe.Status >= 500 && pe.Temporary:
		return "trouble", name + " has trouble just now"
	case pe.Status >= 400:
		return "refused", name + " refused it"
	}
	return untold, name + " could not be told"
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
