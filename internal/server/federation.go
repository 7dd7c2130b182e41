package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// document is what this server says of itself (OCM 1.5, OCM API Discovery): only
// what is switched on and works.
func (s *Server) document(ctx context.Context) *ocm.Discovery {
	webdav, _ := json.Marshal(sharing.DAVPath)
	protocols := map[string]json.RawMessage{
		"webdav":         webdav,
		"webdav-receive": json.RawMessage(`{"uri":"absolute"}`),
	}
	shareTypes := []string{ocm.ShareTypeUser, ocm.ShareTypeGroup}
	d := &ocm.Discovery{
		Enabled: true, APIVersion: ocm.Version, EndPoint: s.origin + "/ocm", Provider: s.conf.Provider,
		ResourceTypes: []ocm.ResourceType{
			{Name: ocm.ResourceFile, ShareTypes: shareTypes, Protocols: protocols},
			{Name: ocm.ResourceFolder, ShareTypes: shareTypes, Protocols: protocols},
		},
		Capabilities: []string{
			ocm.CapExchangeToken, ocm.CapHTTPSig, ocm.CapInvites, ocm.CapInviteWAYF, ocm.CapNotifications, ocm.CapProtocolObject,
		},
		Criteria:           s.Policy.Criteria(ctx),
		JWKSURI:            s.origin + "/ocm/jwks",
		TokenEndPoint:      s.origin + "/ocm/token",
		InviteAcceptDialog: contact.DialogPath,
	}
	return d
}

func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	agent := r.UserAgent()
	// Nextcloud up to 32; it refuses, up to 30, any version it does not know.
	if strings.HasPrefix(agent, "Nextcloud Server Crawler") {
		s.writeDiscovery(w, r, "1.1.0", true)
		return
	}
	s.writeDiscovery(w, r, ocm.Version, strings.HasPrefix(agent, "Nextcloud-Server-Crawler/"))
}

// legacyDiscovery is the path that peers before 1.1 ask, with the version they
// understand.
func (s *Server) legacyDiscovery(w http.ResponseWriter, r *http.Request) {
	if !s.conf.Federation.LegacyDiscovery {
		s.refusePeer(w, r, ocm.NewError(http.StatusNotFound, "NOT_FOUND", "the old discovery path is switched off"))
		return
	}
	s.writeDiscovery(w, r, "1.1.0", true)
}

// writeDiscovery writes the document; with older, for servers that may verify by
// draft-cavage. Others are not shown a key that they would have no use for, and
// that would have them take us for a server of that time.
func (s *Server) writeDiscovery(w http.ResponseWriter, r *http.Request, version string, older bool) {
	d := s.document(r.Context())
	d.APIVersion = version
	if older && s.legacy != nil {
		d.PublicKey = &ocm.LegacyKey{KeyID: s.legacy.KeyID, PEM: s.legacy.PEM()}
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Vary", "User-Agent")
	writeJSON(w, http.StatusOK, d)
}

func (s *Server) jwks(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, map[string]any{"keys": s.keys.Public()})
}

func (s *Server) noEndpoint(w http.ResponseWriter, r *http.Request) {
	s.refusePeer(w, r, ocm.NewError(http.StatusNotImplemented, "NOT_IMPLEMENTED", "no endpoint "+r.Method+" "+r.URL.Path))
}

// message reads a JSON message and makes sure that it comes from the host that it
// names. When ok is false, the peer has been answered.
func message[T any](s *Server, w http.ResponseWriter, r *http.Request, read func([]byte) (T, error), sender func(T) ocm.Host) (msg T, from sharing.Origin, ok bool) {
	body, err := readJSON(r)
	if err == nil {
		msg, err = read(body)
	}
	if err == nil {
		var info httpsig.Info
		from.Host = sender(msg)
		from.Verdict, info, err = s.verify(r, body, from.Host)
		from.Signed, from.Said, from.Signature = info.Signed, info.Created, info.Value
	}
	if err != nil {
		s.refusePeer(w, r, err)
	}
	return msg, from, err == nil
}

// createShare is POST /ocm/shares (OCM 1.5, Share Creation Notification).
func (s *Server) createShare(w http.ResponseWriter, r *http.Request) {
	share, from, ok := message(s, w, r, ocm.ReadShare, func(n *ocm.NewShare) ocm.Host { return n.Sender.Host })
	if !ok {
		return
	}
	answer, err := s.Sharing.Receive(r.Context(), from, share)
	if e, ok := errors.AsType[*ocm.Error](err); ok && e.Code == ocm.CodeRecipientNotFound && !from.Signed {
		// Senders have to be told, but who does not sign is not to try names for long.
		if wait := s.byFailure.take(requestOf(r).net); wait > 0 {
			err = errTooMany.RetryIn(wait).With(err)
		}
	}
	if err != nil {
		s.refusePeer(w, r, err)
		return
	}
	s.log.Info("share received", "peer", share.Sender.Host, "share", share.ProviderID, "for", share.ShareWith.String(), "request", requestOf(r).id)
	writeJSON(w, http.StatusCreated, answer)
}

// notify is POST /ocm/notifications (OCM 1.5, Notifications).
func (s *Server) notify(w http.ResponseWriter, r *http.Request) {
	read := func(b []byte) (*ocm.Notification, error) {
		n, err := ocm.ReadNotification(b)
		if err == nil {
			err = s.Sharing.Identify(r.Context(), n)
		}
		return n, err
	}
	n, from, ok := message(s, w, r, read, func(n *ocm.Notification) ocm.Host { return n.SenderDomain })
	if !ok {
		return
	}
	explain.Note(r.Context(), "message", "%s about %s", n.Type, cmp.Or(n.ProviderID, n.UserID, n.GroupID, n.ShareID))
	s.notified(w, r, from, n)
}

// requestShare is POST /ocm/request-share of OCM 1.4: a REQUEST_SHARE.
func (s *Server) requestShare(w http.ResponseWriter, r *http.Request) {
	n, from, ok := message(s, w, r, ocm.ReadShareRequest, func(n *ocm.Notification) ocm.Host { return n.SenderDomain })
	if ok {
		s.notified(w, r, from, n)
	}
}

func (s *Server) notified(w http.ResponseWriter, r *http.Request, from sharing.Origin, n *ocm.Notification) {
	answer, err := s.Sharing.Notify(r.Context(), from, n)
	if err != nil {
		s.refusePeer(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, answer)
}

// inviteAccepted is POST /ocm/invite-accepted (OCM 1.5, Invite Flow).
func (s *Server) inviteAccepted(w http.ResponseWriter, r *http.Request) {
	a, _, ok := message(s, w, r, ocm.ReadInviteAcceptance, func(a *ocm.InviteAcceptance) ocm.Host { return a.RecipientProvider })
	if !ok {
		return
	}
	answer, err := s.Contacts.Accepted(r.Context(), a.RecipientProvider, a)
	if errors.Is(err, contact.ErrInvalid) {
		// Tokens cannot be guessed, and nobody is to try for long.
		if wait := s.byFailure.take(requestOf(r).net); wait > 0 {
			err = errTooMany.RetryIn(wait).With(err)
		}
	}
	if err != nil {
		s.refusePeer(w, r, err)
		return
	}
	s.log.Info("invite accepted", "peer", a.RecipientProvider, "request", requestOf(r).id)
	writeJSON(w, http.StatusOK, answer)
}

// token is POST /ocm/token (OCM 1.5, Code Flow).
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	req, err := ocm.ReadTokenRequest(r.Header.Get("Content-Type"), body)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	_, info, err := s.verify(r, body, req.ClientID)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	answer, err := s.Sharing.Exchange(r.Context(), req.ClientID, info.Value, req)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, answer)
}

// readJSON reads a body that must be JSON.
func readJSON(r *http.Request) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, ocm.NewError(http.StatusUnsupportedMediaType, ocm.CodeUnsupportedMedia, "the body must be application/json")
	}
	return io.ReadAll(r.Body)
}

// verify makes sure that policy lets us deal with the host that a message names
// as its sender, and that it comes from that host (OCM 1.5, HTTP Message
// Signatures): a signature that is present must verify with a key of the host;
// none is acceptable only from a host that does not sign.
func (s *Server) verify(r *http.Request, body []byte, claimed ocm.Host) (peer.Verdict, httpsig.Info, error) {
	requestOf(r).claimed = claimed
	v, err := s.admit(r.Context(), claimed)
	if err != nil {
		return v, httpsig.Info{}, err
	}
	info, err := s.verifySignature(r, body, claimed, v)
	if err == nil {
		explain.Note(r.Context(), "signature", "%s", describeSignature(claimed, info))
	}
	return v, info, err
}

func describeSignature(claimed ocm.Host, info httpsig.Info) string {
	if !info.Signed {
		return "none, and " + string(claimed) + " is a server that does not sign"
	}
	return "verified with the key " + info.KeyID
}

// admit asks policy about a host that a message names: before anything is
// fetched from there.
func (s *Server) admit(ctx context.Context, claimed ocm.Host) (peer.Verdict, error) {
	if claimed == s.Self {
		return peer.Verdict{}, ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch, "the message names this server as its sender")
	}
	v, err := s.Policy.Decide(ctx, claimed)
	if err != nil {
		return v, err
	}
	explain.Note(ctx, "policy", "%s for %s: %s", v.Action, claimed, v.Because)
	if v.Action == peer.Deny {
		return v, sharing.ErrPeerDenied.With(errors.New(v.Because))
	}
	return v, nil
}

// hasLegacyKey reports whether the Signature header of a host can be by
// draft-cavage. One by a host that says nowhere that it signs, nor by which key,
// is of a scheme of its own: the message counts as unsigned.
func (s *Server) hasLegacyKey(ctx context.Context, claimed ocm.Host) bool {
	d, err := s.Peers.Discover(ctx, claimed)
	return err != nil || d.HasCapability(ocm.CapHTTPSig) || d.PublicKey != nil
}

// verifyLegacy verifies a signature by draft-cavage of a host that publishes a
// key for that and has no other.
func (s *Server) verifyLegacy(r *http.Request, body []byte, claimed ocm.Host) (httpsig.Info, error) {
	kid := httpsig.LegacyKeyID(r)
	if signer := keyHost(kid); signer != claimed {
		return httpsig.Info{}, ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch, "signed by "+string(signer)+", but speaks for "+string(claimed))
	}
	key, err := s.Peers.LegacyKey(r.Context(), claimed, kid)
	if err != nil {
		return httpsig.Info{}, err
	}
	f := s.conf.Federation
	legacy := httpsig.Legacy{MaxAge: f.SignatureMaxAge, MaxAhead: f.SignatureMaxAhead, Now: s.now}
	return legacy.Verify(r, s.target(r), body, key)
}

func (s *Server) verifySignature(r *http.Request, body []byte, claimed ocm.Host, v peer.Verdict) (info httpsig.Info, err error) {
	if httpsig.HasLegacy(r) && s.hasLegacyKey(r.Context(), claimed) {
		if info, err = s.verifyLegacy(r, body, claimed); err != nil {
			return info, err
		}
		return info, s.from(r, claimed, info)
	}
	var used httpsig.Key
	info, err = s.verifier.Verify(r.Context(), r, s.target(r), body, func(ctx context.Context, kid string) (httpsig.Key, error) {
		key, err := s.Peers.Keys(ctx, claimed, kid)
		used = key
		if e, ok := errors.AsType[*ocm.Error](err); ok && e.Code == ocm.CodeKeyUnknown {
			if signer := keyHost(kid); signer != "" && signer != claimed {
				return key, ocm.NewError(http.StatusForbidden, ocm.CodeSenderMismatch,
					"signed by "+string(signer)+", but speaks for "+string(claimed))
			}
		}
		return key, err
	})
	if e, ok := errors.AsType[*ocm.Error](err); ok && e.Code == ocm.CodeSignatureInvalid && used.KID != "" {
		// The peer may have made its key anew since we fetched it.
		info, err = s.verifyRenewed(r, body, claimed, used, info, err)
	}
	if err != nil {
		return info, err
	}
	if !info.Signed {
		if err := s.acceptUnsigned(r.Context(), claimed, v); err != nil {
			return info, err
		}
	}
	return info, s.from(r, claimed, info)
}

// verifyRenewed verifies a signature that did not fit the key used with the one
// that the peer publishes by now under the same name. Where there is none, what
// was found before stands.
func (s *Server) verifyRenewed(r *http.Request, body []byte, claimed ocm.Host, used httpsig.Key, info httpsig.Info, found error) (httpsig.Info, error) {
	key, ok, err := s.Peers.Renewed(r.Context(), claimed, used)
	if !ok {
		return info, found
	}
	explain.Note(r.Context(), "key", "%s has a new key under the name %s", claimed, used.KID)
	return s.verifier.Verify(r.Context(), r, s.target(r), body, func(context.Context, string) (httpsig.Key, error) { return key, err })
}

// from notes who a request is from, and bounds how often they ask.
func (s *Server) from(r *http.Request, claimed ocm.Host, info httpsig.Info) error {
	q := requestOf(r)
	q.peer = claimed
	q.notes = append(q.notes, "signed", info.Signed)
	if wait := s.byPeer.take(string(claimed)); wait > 0 {
		return errTooMany.RetryIn(wait)
	}
	return nil
}

func (s *Server) acceptUnsigned(ctx context.Context, claimed ocm.Host, v peer.Verdict) error {
	refused := ocm.NewError(http.StatusUnauthorized, ocm.CodeSignatureRequired, "the message is not signed")
	if v.MustSign {
		return refused.Saying("the message is not signed, and %s must sign: %s", claimed, v.Because)
	}
	if !s.conf.Federation.AllowUnsigned {
		return refused
	}
	d, err := s.Peers.Discover(ctx, claimed)
	if err != nil {
		return ocm.NewError(http.StatusServiceUnavailable, ocm.CodeKeyUnreachable,
			"whether "+string(claimed)+" signs its messages cannot be told just now").With(err).RetryIn(time.Minute)
	}
	if d.HasCapability(ocm.CapHTTPSig) {
		return refused.Saying("%s signs its messages, but this one is not signed", claimed)
	}
	if v.UnsignedAgreed {
		return nil
	}
	agree := "; to take unsigned messages from it: weft peer require " + string(claimed) + " --sign no"
	if d.PublicKey != nil {
		return refused.Saying("%s publishes a key to sign with, but this message is not signed%s", claimed, agree)
	}
	once, err := s.Peers.Signs(ctx, claimed)
	if err != nil {
		return err
	}
	if once != "" {
		return refused.Saying("%s could sign its messages (%s) and no longer says so%s", claimed, once, agree)
	}
	return nil
}

// target is the URI the peer sent its request to, from the configured origin
// and never from headers that others may write.
func (s *Server) target(r *http.Request) string {
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil && u.IsAbs() {
		return s.origin + u.RequestURI()
	}
	return s.origin + r.RequestURI
}

// keyHost is the host that a keyid names, in the forms seen in the wild:
// "host#key" and "https://host/path#key"; "" when it names none.
func keyHost(kid string) ocm.Host {
	name, _, ok := strings.Cut(kid, "#")
	if !ok {
		return ""
	}
	host, err := ocm.ReadHost(name)
	if err != nil {
		return ""
	}
	return host
}
