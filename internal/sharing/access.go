package sharing

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// DAVPath is where shares are served: the webdav path of our discovery
// document.
const DAVPath = "/dav/ocm/"

// The refusals of the token endpoint by their names of RFC 6749 §5.2; Code is
// the OAuth error itself.
var (
	ErrInvalidRequest   = ocm.NewError(http.StatusBadRequest, "invalid_request", "the token request is malformed")
	ErrInvalidClient    = ocm.NewError(http.StatusBadRequest, "invalid_client", "the request is not signed by its client_id")
	ErrInvalidGrant     = ocm.NewError(http.StatusBadRequest, "invalid_grant", "the code is unknown, has ended, or was given to another server")
	ErrUnauthorizedPeer = ocm.NewError(http.StatusBadRequest, "unauthorized_client", "this server does not deal with the client")
	ErrGrantType        = ocm.NewError(http.StatusBadRequest, "unsupported_grant_type", "grant_type must be authorization_code")
)

// ErrPeerDenied is the answer to a server that policy denies.
var ErrPeerDenied = ocm.NewError(http.StatusForbidden, ocm.CodePeerDenied, "this server does not deal with yours")

// Exchange turns a sharedSecret into a short-lived access token for the server
// it was given to (OCM 1.5, Code Flow). signature is the value of the request's
// signature, "" when it was unsigned; the same one is not taken twice.
func (s *Service) Exchange(ctx context.Context, client ocm.Host, signature string, req *ocm.TokenRequest) (*ocm.TokenAnswer, error) {
	if req.GrantType != ocm.GrantAuthorizationCode && req.GrantType != ocm.GrantOCMShare {
		return nil, ErrGrantType
	}
	if req.ClientID != client {
		return nil, ErrInvalidClient
	}
	if signature != "" {
		fresh, err := s.firstSight(ctx, s.DB.Write, signature)
		if err != nil {
			return nil, err
		}
		if !fresh {
			return nil, ErrInvalidClient.Saying("this signed request was used before").
				With(ocm.NewError(http.StatusBadRequest, ocm.CodeSignatureReplayed, "signature seen before"))
		}
	}
	o, err := get[Outgoing](ctx, s.DB.Read, "secret_hash = ?", hash(req.Code))
	if err != nil {
		if errors.Is(err, ErrNoShare) {
			return nil, ErrInvalidGrant
		}
		return nil, err
	}
	if ocm.Host(o.PeerHost) != client || !o.Live(s.Now()) {
		return nil, ErrInvalidGrant
	}
	owner, err := s.Accounts.Get(ctx, o.OwnerID)
	if err != nil {
		return nil, err
	}
	token, err := s.issue(o, cmp.Or(o.Sender, owner.Name))
	if err != nil {
		return nil, err
	}
	return &ocm.TokenAnswer{AccessToken: token, TokenType: "Bearer", ExpiresIn: int(s.TokenTTL / time.Second)}, nil
}

// firstSight records a signature and reports whether it is new.
func (s *Service) firstSight(ctx context.Context, db bun.IDB, signature string) (bool, error) {
	res, err := db.NewInsert().Table("seen_signatures").
		Model(&map[string]any{"hash": seal.HashHex(ocm.Secret(signature)), "expires_at": s.Now().Add(s.SignatureLife).UnixMilli()}).
		On("CONFLICT DO NOTHING").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// issue makes an access token: a JWT by RFC 9068 whose claims only we read.
func (s *Service) issue(o *Outgoing, owner string) (ocm.Secret, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: s.Key},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", s.KeyID))
	if err != nil {
		return "", err
	}
	now := s.Now()
	token, err := jwt.Signed(signer).Claims(tokenClaims{
		Claims: jwt.Claims{
			Issuer: s.Origin, Subject: owner, Audience: jwt.Audience{o.ShareWith},
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(s.TokenTTL)), ID: store.NewID(),
		},
		ClientID: o.ID,
	}).Serialize()
	return ocm.Secret(token), err
}

type tokenClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"` // the providerId
}

// Errors of access. They tell a stranger nothing about which shares exist.
var (
	ErrNoAccess = ocm.NewError(http.StatusUnauthorized, "UNAUTHORIZED", "Access to this share needs a valid token or secret.")
	ErrExchange = ocm.NewError(http.StatusUnauthorized, ocm.CodeExchangeRequired, "This share is opened with an access token: exchange the secret at the token endpoint.")
)

// Grant is the access that a credential gives.
type Grant struct {
	Share *Outgoing
	Tree  tree.Tree // the shared file or folder, restricted to the share's rights
}

// Open gives the share that a Bearer token or secret belongs to. id is the
// providerId in the path; "" lets the secret alone decide, as older peers do.
// Ending a share ends its tokens at once, because the share is looked up each
// time.
func (s *Service) Open(ctx context.Context, id string, credential ocm.Secret) (*Grant, error) {
	o, err := s.grant(ctx, id, credential)
	if err != nil {
		return nil, err
	}
	v, err := s.Policy.Decide(ctx, ocm.Host(o.PeerHost))
	if err != nil {
		return nil, err
	}
	if v.Action == peer.Deny {
		explain.Note(ctx, "policy", "%s is denied: %s", o.PeerHost, v.Because)
		return nil, ErrPeerDenied
	}
	own, err := s.Files.Own(ctx, o.OwnerID)
	if err != nil {
		return nil, err
	}
	return &Grant{Share: o, Tree: sharedTree(own, o)}, nil
}

// Still reports why what a grant gives must end, nil when it need not: the share
// has ended, or for writes, has lost that right. Long transfers ask.
func (s *Service) Still(ctx context.Context, g *Grant, writes bool) error {
	o, err := s.live(ctx, g.Share.ID, "id = ?", g.Share.ID)
	if err == nil && writes && !o.Rights().Has(tree.Write) {
		return errWithdrawn
	}
	return err
}

var errWithdrawn = tree.ErrForbidden.Saying("The right to change this was withdrawn meanwhile.")

func sharedTree(own tree.Tree, o *Outgoing) tree.Tree {
	if o.ResourceType == ocm.ResourceFile {
		return tree.Restrict(tree.SingleFile(own, o.Path), o.Rights())
	}
	return tree.Restrict(tree.Sub(own, o.Path), o.Rights())
}

func (s *Service) grant(ctx context.Context, id string, credential ocm.Secret) (*Outgoing, error) {
	if strings.Count(credential.Reveal(), ".") == 2 {
		return s.grantToken(ctx, id, credential)
	}
	o, err := s.live(ctx, id, "secret_hash = ?", hash(credential))
	if err == nil && o.MustExchange {
		return nil, ErrExchange
	}
	return o, err
}

// live finds a share that gives access now; one that does not exist, has ended
// or is not the one asked for looks the same to who asks.
func (s *Service) live(ctx context.Context, id, where, arg string) (*Outgoing, error) {
	o, err := get[Outgoing](ctx, s.DB.Read, where, arg)
	if errors.Is(err, ErrNoShare) {
		return nil, ErrNoAccess
	}
	if err != nil {
		return nil, err
	}
	if id != "" && id != o.ID || !o.Live(s.Now()) {
		return nil, ErrNoAccess
	}
	return o, nil
}

func (s *Service) grantToken(ctx context.Context, id string, token ocm.Secret) (*Outgoing, error) {
	parsed, err := jwt.ParseSigned(token.Reveal(), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, ErrNoAccess.With(err)
	}
	var claims tokenClaims
	if err := parsed.Claims(s.Key.Public().(ed25519.PublicKey), &claims); err != nil {
		return nil, ErrNoAccess.With(err)
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: s.Origin, Time: s.Now()}, 0); err != nil {
		return nil, ErrNoAccess.With(err)
	}
	return s.live(ctx, id, "id = ?", claims.ClientID)
}

// BaseName is the last element of the shared path, by which a file share may
// also be asked for.
func (o *Outgoing) BaseName() string { return path.Base(o.Path) }
