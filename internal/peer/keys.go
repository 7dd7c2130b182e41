package peer

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

var (
	errUnreachable = ocm.NewError(http.StatusServiceUnavailable, ocm.CodeKeyUnreachable, "the signer's keys cannot be fetched just now")
	// Operators take hours: the peer is to come again until they have decided.
	errWaiting  = ocm.NewError(http.StatusServiceUnavailable, "KEY_NOT_APPROVED", "the signer's key waits for approval").RetryIn(time.Hour)
	errRejected = ocm.NewError(http.StatusUnauthorized, ocm.CodeKeyUnacceptable, "the operator rejected the key")
	errUnknown  = ocm.NewError(http.StatusUnauthorized, ocm.CodeKeyUnknown, "the signer publishes no such key")
)

// Keys gives the key by which host signs as kid (OCM 1.5, HTTP Message
// Signatures): from its JWK Set, at most five minutes old, or a day while the
// peer is down. A kid the set does not hold fetches it again, at most once a
// minute. Fails with KEY_UNKNOWN (401), KEY_UNACCEPTABLE (401), KEY_UNREACHABLE
// (503), or KEY_NOT_APPROVED (503) when the operator has to look at it first.
func (p *Peers) Keys(ctx context.Context, host ocm.Host, kid string) (httpsig.Key, error) {
	key, err := p.published(ctx, host, kid)
	if err == nil {
		err = p.approved(ctx, host, key)
	}
	return key, err
}

func (p *Peers) published(ctx context.Context, host ocm.Host, kid string) (httpsig.Key, error) {
	d, err := p.Discover(ctx, host)
	if err != nil {
		return httpsig.Key{}, p.keyFailure(host, err)
	}
	if !d.HasCapability(ocm.CapHTTPSig) || d.JWKSURI == "" {
		return httpsig.Key{}, errUnknown.Saying("%s does not sign its messages", host)
	}
	rec := p.record(ctx, host)
	now := p.opt.Now()
	rec.mu.Lock()
	fresh := !rec.keysAt.IsZero() && now.Sub(rec.keysAt) < keysFresh
	old := !rec.keysAt.IsZero() && now.Sub(rec.keysAt) < stale
	failed := rec.keysFailure != nil && now.Sub(rec.keysTriedAt) < failureKept
	failure := rec.keysFailure
	keys := rec.keys
	if fresh {
		key, err := keys.Find(kid)
		if !errors.Is(err, errUnknown) || now.Sub(rec.unknownAt) < unknownKidWait {
			rec.mu.Unlock()
			return key, err
		}
		rec.unknownAt = now
	}
	rec.mu.Unlock()
	if failed {
		err = failure
	} else {
		_, err = p.alone(ctx, "keys "+string(host), func(ctx context.Context) (any, error) {
			return nil, p.fetchKeys(ctx, host, d.JWKSURI, rec)
		})
		rec.mu.Lock()
		keys = rec.keys
		rec.mu.Unlock()
	}
	if err != nil && !(old && passing(err)) {
		return httpsig.Key{}, p.keyFailure(host, err)
	}
	key, found := keys.Find(kid)
	if err != nil && errors.Is(found, errUnknown) {
		return key, p.keyFailure(host, err) // the newer set may hold it
	}
	return key, found
}

// Renewed gives the key that host publishes by now as used.KID, if it is another
// than the one used: servers make a key anew under the name of the old one. It
// counts among the fetches for unknown kids, at most one a minute.
func (p *Peers) Renewed(ctx context.Context, host ocm.Host, used httpsig.Key) (httpsig.Key, bool, error) {
	d, err := p.Discover(ctx, host)
	if err != nil || d.JWKSURI == "" {
		return httpsig.Key{}, false, nil
	}
	rec := p.record(ctx, host)
	now := p.opt.Now()
	rec.mu.Lock()
	ask := now.Sub(rec.unknownAt) >= unknownKidWait
	if ask {
		rec.unknownAt = now
	}
	rec.mu.Unlock()
	if !ask {
		return httpsig.Key{}, false, nil
	}
	if _, err := p.alone(ctx, "keys "+string(host), func(ctx context.Context) (any, error) {
		return nil, p.fetchKeys(ctx, host, d.JWKSURI, rec)
	}); err != nil {
		return httpsig.Key{}, false, nil
	}
	rec.mu.Lock()
	key, err := rec.keys.Find(used.KID)
	rec.mu.Unlock()
	if err != nil || key.Thumbprint() == used.Thumbprint() {
		return httpsig.Key{}, false, nil
	}
	return key, true, p.approved(ctx, host, key)
}

func (p *Peers) fetchKeys(ctx context.Context, host ocm.Host, uri string, rec *record) error {
	raw, err := p.opt.Client.FetchKeys(ctx, uri)
	var keys httpsig.KeySet
	if err == nil {
		if keys, err = httpsig.ReadJWKS(raw); err != nil {
			err = &client.PeerError{Op: "read the keys of", Host: host, Status: http.StatusOK, Err: err}
		}
	}
	now := p.opt.Now()
	if err == nil {
		// Before they are used: what waits for approval must be known to wait.
		p.keep(ctx, host, raw, keys, now)
	}
	rec.mu.Lock()
	rec.keysTriedAt, rec.keysFailure = now, err
	if err == nil {
		rec.keys, rec.keysAt = keys, now
	}
	rec.mu.Unlock()
	if err != nil {
		p.opt.Log.Info("a peer's keys cannot be fetched", "peer", host, "error", err)
		return err
	}
	for kid, why := range keys.Unfit() {
		p.opt.Log.Info("a peer's key cannot be used", "peer", host, "kid", kid, "reason", why)
	}
	return nil
}

// keep writes down a key set, on time of its own: the peer's answer may have
// used up the look-up's.
func (p *Peers) keep(ctx context.Context, host ocm.Host, raw []byte, keys httpsig.KeySet, now time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	changed, err := p.memory.saveKeys(ctx, host, raw, keys, now, p.opt.ApproveKeys)
	p.tellKept(host, changed, err)
}

// keepLegacy writes down the key of a document.
func (p *Peers) keepLegacy(ctx context.Context, host ocm.Host, key httpsig.Key) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	changed, err := p.memory.saveLegacyKey(ctx, host, key, p.opt.Now(), p.opt.ApproveKeys)
	p.tellKept(host, changed, err)
}

func (p *Peers) tellKept(host ocm.Host, changed []peerKeyRow, err error) {
	if err != nil {
		p.opt.Log.Error("a peer's keys cannot be kept", "peer", host, "error", err)
	}
	for _, k := range changed {
		p.opt.Log.Warn("a peer has a new key", "peer", host, "kid", k.KID, "waiting for approval", k.State == KeyWaiting)
	}
}

// approved fails for a key that waits for the operator, or that the operator
// rejected.
func (p *Peers) approved(ctx context.Context, host ocm.Host, key httpsig.Key) error {
	if p.opt.Policy == nil {
		return nil
	}
	id := keyID{string(host), key.KID, key.Thumbprint()}
	if !p.opt.ApproveKeys {
		set, err := p.opt.Policy.rules.Get(ctx)
		if err == nil && set.rejected[id] {
			err = errRejected
		}
		return err
	}
	// Here a key has to be known as trusted, not only not as something else.
	state, err := p.memory.keyState(ctx, id)
	switch {
	case err != nil:
		return errUnreachable.With(err)
	case state == KeyTrusted:
		return nil
	case state == KeyRejected:
		return errRejected
	}
	return errWaiting.Saying("the key %s of %s is new and waits for the operator: weft peer keys %s --approve %s", key.KID, host, host, id.thumbprint)
}

// keyFailure turns a failed look-up into the answer to the signer: come again,
// or there is no key.
func (p *Peers) keyFailure(host ocm.Host, err error) error {
	if !passing(err) {
		return errUnknown.Saying("the keys of %s cannot be found", host).With(err)
	}
	wait := failureKept
	if pe, ok := errors.AsType[*client.PeerError](err); ok && pe.RetryAfter > 0 {
		wait = pe.RetryAfter
	}
	return errUnreachable.RetryIn(max(wait, time.Second)).With(err)
}

// legacyKey is the key of a document by which its server signs by draft-cavage.
// A server that signs by RFC 9421 has none.
func legacyKey(d *ocm.Discovery) (httpsig.Key, error) {
	if d.PublicKey == nil || d.HasCapability(ocm.CapHTTPSig) && d.JWKSURI != "" {
		return httpsig.Key{}, errors.New("the document names no key for draft-cavage")
	}
	public, err := httpsig.ReadLegacyKey(d.PublicKey.PEM)
	return httpsig.Key{KID: d.PublicKey.KeyID, Public: public}, err
}

// LegacyKey gives the key by which host signs as kid by draft-cavage: that of its
// discovery document. A host that signs by RFC 9421 has none, and one that did
// has one only when the operator agreed: to this key, or to messages of the host
// that are not signed at all.
func (p *Peers) LegacyKey(ctx context.Context, host ocm.Host, kid string) (crypto.PublicKey, error) {
	d, err := p.Discover(ctx, host)
	if err != nil {
		return nil, p.keyFailure(host, err)
	}
	switch {
	case d.HasCapability(ocm.CapHTTPSig) && d.JWKSURI != "":
		return nil, errUnknown.Saying("%s signs by RFC 9421; the older form is not taken from it", host)
	case d.PublicKey == nil || d.PublicKey.KeyID != kid:
		return nil, errUnknown.Saying("%s publishes no key named %.200q", host, kid)
	}
	key, err := legacyKey(d)
	if err != nil {
		return nil, ocm.NewError(http.StatusUnauthorized, ocm.CodeKeyUnacceptable, "the signer's key cannot be used").With(err)
	}
	return key.Public, p.legacyApproved(ctx, host, key)
}

// legacyApproved is approved for the key of a document.
func (p *Peers) legacyApproved(ctx context.Context, host ocm.Host, key httpsig.Key) error {
	if p.opt.DB == nil || p.opt.Policy == nil {
		return nil
	}
	id := keyID{string(host), key.KID, key.Thumbprint()}
	state, err := p.memory.keyState(ctx, id)
	if err == nil && state == "" { // forgotten since the document was read
		p.keepLegacy(ctx, host, key)
		state, err = p.memory.keyState(ctx, id)
	}
	switch {
	case err != nil:
		return errUnreachable.With(err)
	case state == KeyTrusted:
		return nil
	case state == KeyRejected:
		return errRejected
	}
	newest, err := p.Signs(ctx, host)
	if err != nil {
		return errUnreachable.With(err)
	}
	if newest != SignsRFC {
		return errWaiting.Saying("the key %s of %s is new and waits for the operator: weft peer keys %s --approve %s", key.KID, host, host, id.thumbprint)
	}
	if v, err := p.opt.Policy.Decide(ctx, host); err != nil || v.UnsignedAgreed && !p.opt.ApproveKeys {
		return err
	}
	return errWaiting.Saying("%s signed by RFC 9421 and has gone back to the older form; to take that from it: weft peer keys %s --approve %s", host, host, id.thumbprint)
}

// Signs tells the best that a host was ever seen to sign by: SignsRFC,
// SignsCavage, or "".
func (p *Peers) Signs(ctx context.Context, host ocm.Host) (string, error) {
	row, err := p.memory.load(ctx, host)
	return row.Signs, err
}
