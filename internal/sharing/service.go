// Package sharing is the heart: shares we send, shares we receive, what becomes
// of them, and who may reach what through them.
package sharing

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// Peers tells what other servers say of themselves.
type Peers interface {
	Discover(ctx context.Context, host ocm.Host) (*ocm.Discovery, error)
	Peer(ctx context.Context, host ocm.Host) (client.Peer, error)
	Refresh(ctx context.Context, host ocm.Host) error
}

// Files gives the files of the people of this server.
type Files interface {
	Own(ctx context.Context, userID string) (tree.Tree, error)
}

// Service carries out what people and peers ask about shares.
type Service struct {
	DB       *store.DB
	Outbox   *delivery.Outbox
	Accounts *account.Accounts
	Peers    Peers
	Client   *client.Client
	HTTP     *http.Client // for reading received shares
	Files    Files
	Box      *seal.Box
	Notices  *notice.Service
	Now      func() time.Time
	Log      *slog.Logger
	Self     ocm.Host
	Origin   string // our public origin, the issuer of access tokens
	Key      ed25519.PrivateKey
	KeyID    string

	Contacts   *contact.Service
	Policy     *peer.Policy
	Quarantine bool          // shares of senders whom no recipient knows wait apart
	AllowPlain bool          // http and private addresses are fine: tests and the demo
	TokenTTL   time.Duration // of access tokens; default 5 min

	// SignatureLife is how long after a message arrived its signature, or one made
	// before, can still be taken; default 10 min.
	SignatureLife time.Duration

	Requests    string        // who may ask our people for shares: FromContacts …
	Reshares    string        // what becomes of requests to include someone: ReshareAuto …
	RequestLife time.Duration // after which a request without an answer is given up

	remotes remotes
	asking  store.Watched[map[string]bool] // who has requests open
}

// Start registers the service with the outbox; call it once, before the outbox
// runs.
func (s *Service) Start() {
	if s.TokenTTL <= 0 {
		s.TokenTTL = 5 * time.Minute
	}
	if s.SignatureLife <= 0 {
		s.SignatureLife = 10 * time.Minute
	}
	s.asking = store.Watched[map[string]bool]{DB: s.DB, Name: askingName, Load: loadAsking}
	s.Outbox.Register(kindShare, shareCourier{s})
	s.Outbox.Register(kindNotification, notificationCourier{s})
	s.Outbox.Register(kindRequest, requestCourier{s})
	s.Outbox.PassDead(kindNotification)
}

// Run ends expired shares until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("expired shares cannot be ended", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Errors that people meet; peers meet the codes of package ocm.
var (
	ErrNoShare     = ocm.NewError(http.StatusNotFound, ocm.CodeShareNotFound, "There is no such share.")
	ErrShareEnded  = ocm.NewError(http.StatusGone, "SHARE_ENDED", "This share has ended.")
	ErrDeclined    = ocm.NewError(http.StatusConflict, "SHARE_DECLINED", "You declined this share. Ask the sender to share it again.")
	ErrToSelf      = ocm.NewError(http.StatusBadRequest, "SHARE_TO_SELF", "That is your own address: the files are already yours.")
	ErrDuplicate   = ocm.NewError(http.StatusConflict, "SHARE_EXISTS", "This is already shared with that address. End that share first (weft unshare), or change its rights (weft change).")
	ErrShareHome   = ocm.NewError(http.StatusBadRequest, "SHARE_HOME", "Your whole home cannot be shared. Choose a folder or a file in it.")
	ErrNotShared   = ocm.NewError(http.StatusForbidden, "RESHARE_FORBIDDEN", "This came from someone else. Only its owner can share it: ask them to include the person (weft reshare).")
	ErrExpiresPast = ocm.NewError(http.StatusBadRequest, "EXPIRES_IN_PAST", "The end of the share lies in the past. Give a later date.")
)

// row times and lists

func joinPerms(p []string) string { return strings.Join(p, ",") }

func splitPerms(p string) []string {
	if p == "" {
		return nil
	}
	return strings.Split(p, ",")
}

// get selects one row by its primary key or conditions, ErrNoShare when absent.
func get[T any](ctx context.Context, db bun.IDB, where string, args ...any) (*T, error) {
	row := new(T)
	err := db.NewSelect().Model(row).Where(where, args...).Limit(1).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoShare
	}
	return row, err
}
