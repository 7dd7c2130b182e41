package sharing

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"

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

// sentence is the part of a failure that is for the person: what explain said,
// and the peer's code.
func sentence(err error) string {
	s, ok := errors.AsType[*setback](err)
	if !ok {
		return err.Error()
	}
	if pe, ok := errors.AsType[*client.PeerError](err); ok && pe.Code != "" {
		return s.sentence + " (" + string(pe.Code) + ")"
	}
	return s.sentence
}

// explain puts what a peer answered, or did not, into words.
func explain(peer ocm.Host, err error) error {
	if err == nil {
		return nil
	}
	name := string(peer)
	sentence := name + " could not be told"
	var dns *net.DNSError
	pe, answered := errors.AsType[*client.PeerError](err)
	switch {
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
	case pe.Op == "discover" && pe.Status == http.StatusNotFound:
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
