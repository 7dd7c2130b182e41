// Package server is the house put together: the database, the heart, and the
// HTTP front doors, from one configuration.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/home"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/thumbnail"
	"github.com/weft-mesh/weft/internal/upload"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// Server is one running Weft.
type Server struct {
	Self        ocm.Host
	DB          *store.DB
	Accounts    *account.Accounts
	Homes       *home.Homes
	Uploads     *upload.Uploads
	Thumbnails  *thumbnail.Thumbnails
	Policy      *peer.Policy
	Peers       *peer.Peers
	Outbox      *delivery.Outbox
	Directories *contact.Directories
	Contacts    *contact.Service
	Sharing     *sharing.Service
	Notices     *notice.Service
	Decisions   *explain.Keeper
	Wire        *wire.Keeper
	Audit       *audit.Log

	conf     *config.Config
	origin   string
	log      *slog.Logger
	now      func() time.Time
	keys     *keyring
	legacy   *httpsig.LegacySigner // nil: nothing is signed by draft-cavage
	box      *seal.Box
	verifier httpsig.Verifier
	proxies  []netip.Prefix
	api      http.Handler
	handler  http.Handler

	byAddress, byPeerAddress, byPeer, byUser, byFailure, byLook, byRefusal *limiter

	archives counted // downloads of folders under way

	seenLists   listings // what folders elsewhere held when their server answered
	sortedLists listings // of the own folders, as pages show them

	crossOrigin http.CrossOriginProtection
	started     time.Time
	checked     kept
	untrusted   atomic.Pointer[string] // an address that sends X-Forwarded-For and is not trusted
	stopping    atomic.Bool
}

// Env is what a test or the demo sets beside the configuration.
type Env struct {
	Log          *slog.Logger
	Now          func() time.Time // nil: time.Now
	PasswordCost account.Cost     // zero: account.DefaultCost
}

// New opens everything the configuration names. Close it when done.
func New(ctx context.Context, conf *config.Config, env Env) (_ *Server, err error) {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.PasswordCost == (account.Cost{}) {
		env.PasswordCost = account.DefaultCost
	}
	s := &Server{
		Self: conf.Host(), conf: conf, origin: conf.Origin(), log: env.Log, now: env.Now,
		verifier: httpsig.Verifier{MaxAge: conf.Federation.SignatureMaxAge, MaxAhead: conf.Federation.SignatureMaxAhead, Now: env.Now},
		proxies:  conf.TrustedProxies, started: env.Now(),
	}
	box, err := conf.OpenBox()
	if err != nil {
		return nil, err
	}
	s.box = box
	if s.DB, err = store.Open(ctx, conf.DatabasePath()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.keys, err = loadKeys(ctx, s.DB, box, s.Self, s.now); err != nil {
		return nil, err
	}
	if conf.Federation.LegacySignatures {
		if s.legacy, err = loadLegacyKey(ctx, s.DB, box, s.origin, s.now); err != nil {
			return nil, err
		}
	}
	s.Accounts = account.New(s.DB, s.now, env.PasswordCost)
	s.Homes = &home.Homes{
		Dir: conf.StoragePath(), DB: s.DB, Accounts: s.Accounts, Now: s.now, Log: s.log,
		Attached: &home.Attached{DB: s.DB, Now: s.now}, TrashFor: conf.TrashFor,
	}
	calls := &client.Client{Signer: s.keys.Current(), Legacy: s.legacy, Self: s.Self, Plain: conf.Insecure}
	f := conf.Federation
	s.Directories = contact.NewDirectories(s.DB, calls, s.now, s.log, f.DirectoryRefresh, conf.Insecure)
	s.Policy = peer.NewPolicy(s.DB, s.now, s.Self, peer.Defaults{
		Mode: peer.Mode(f.Mode), MustSign: f.MustUseHTTPSig, MustExchange: f.MustExchangeToken, MustInvite: f.MustInvite, Wire: f.Wire,
	})
	s.Policy.Members = s.Directories
	s.Peers = peer.New(peer.Options{
		Insecure: conf.Insecure, DB: s.DB, Policy: s.Policy, ApproveKeys: f.ApproveKeys, Client: calls, Now: s.now, Log: s.log,
	})
	calls.HTTP, calls.Observe = s.Peers.HTTP(), s.observeCall
	s.Wire = wire.NewKeeper(s.DB, s.now, s.log, f.WireFor)
	s.Audit = audit.NewLog(s.DB, s.now, s.log, conf.Audit.KeepFor)
	s.Decisions = explain.NewKeeper(s.DB, s.now, s.log, f.ExplainFor)
	s.Outbox = delivery.New(s.DB, box, s.now, s.log, delivery.Config{
		FirstRetry: conf.Delivery.FirstRetry, MaxRetry: conf.Delivery.MaxRetry, GiveUpAfter: conf.Delivery.GiveUpAfter,
	})
	s.Notices = &notice.Service{DB: s.DB, Accounts: s.Accounts, Now: s.now, Log: s.log, Keep: conf.Notices.Keep}
	if sender := conf.Sender(s.now); sender != nil {
		s.Notices.Send = sender.Send
		s.Notices.Compose = func(l notice.Letter) (mail.Message, error) { return web.Letter(conf.Provider, s.origin, l) }
		s.Notices.Confirming = func(u account.User, token ocm.Secret, until time.Time) mail.Message {
			return web.ConfirmLetter(conf.Provider, s.origin, u, s.origin+confirmPath+"?"+url.Values{"token": {token.Reveal()}}.Encode(), until)
		}
		s.Notices.Changed = func(u account.User, email string) mail.Message {
			return web.ChangedLetter(conf.Provider, s.origin, u, email)
		}
		s.Notices.Mailing = notice.Mailing{
			Choice: conf.Mail.Notices, DailyAt: conf.Mail.Daily,
			FirstRetry: conf.Mail.FirstRetry, MaxRetry: conf.Mail.MaxRetry, GiveUp: conf.Mail.GiveUpAfter,
		}
	}
	s.Contacts = &contact.Service{
		DB: s.DB, Outbox: s.Outbox, Accounts: s.Accounts, Peers: s.Peers, Policy: s.Policy, Directories: s.Directories, Client: calls,
		Notices: s.Notices, Now: s.now, Log: s.log, Self: s.Self, Origin: s.origin, InviteLife: f.InviteLife, Pseudonyms: f.Pseudonyms, AllowPlain: conf.Insecure,
	}
	s.Contacts.Start()
	s.Sharing = &sharing.Service{
		DB: s.DB, Outbox: s.Outbox, Accounts: s.Accounts, Peers: s.Peers, Client: calls, HTTP: s.Peers.HTTP(),
		Files: s.Homes, Box: box, Notices: s.Notices, Now: s.now, Log: s.log, Self: s.Self, Origin: s.origin,
		Key: s.keys.Private(), KeyID: s.keys.Current().KID,
		Contacts: s.Contacts, Policy: s.Policy, Quarantine: f.Quarantine, AllowPlain: conf.Insecure,
		Requests: f.Requests, Reshares: f.Reshares, RequestLife: f.RequestLife,
		SignatureLife: f.SignatureMaxAge + f.SignatureMaxAhead + time.Minute,
	}
	s.Sharing.Start()
	s.Homes.Followers = []home.Follower{s.Sharing}
	s.Homes.Mounts = s.Sharing.Mounts
	s.Uploads = &upload.Uploads{
		Dir: conf.StagingPath(), DB: s.DB, Now: s.now, Log: s.log,
		Files: s.Homes.Whole, Permit: s.unlockedFor,
		Quota: func(ctx context.Context, userID string) (int64, error) {
			u, err := s.Accounts.Get(ctx, userID)
			return u.Quota, err
		},
	}
	s.Thumbnails = &thumbnail.Thumbnails{Dir: conf.CachePath("thumbnails")}
	l := conf.Limits
	s.byAddress = newLimiter(l.AddressRate, l.AddressBurst)
	s.byPeerAddress = newLimiter(l.PeerRate, l.PeerBurst)
	s.byPeer = newLimiter(l.PeerRate, l.PeerBurst)
	s.byUser = newLimiter(l.UserRate, l.UserBurst)
	s.byFailure = newLimiter(1, 20)
	s.byLook = newLimiter(1, 30)
	s.byRefusal = newLimiter(0.1, 30)
	s.api = s.newAPI()
	s.handler = s.build()
	return s, nil
}

// Close releases what New opened.
func (s *Server) Close() error {
	var errs []error
	if s.Decisions != nil { // what the last requests left
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		errs = append(errs, s.Decisions.Run(ctx), s.Wire.Run(ctx), s.Audit.Run(ctx))
	}
	if s.Homes != nil {
		errs = append(errs, s.Homes.Close())
	}
	return errors.Join(append(errs, s.DB.Close())...)
}

// Run serves on ln, delivers the outbox and ends expired shares until ctx ends,
// then lets the requests under way finish for a while.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	var early ahead
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.conf.Limits.HeaderTimeout,
		IdleTimeout:       2 * time.Minute,
		ConnState:         early.note,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if s.conf.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(s.conf.TLS.Cert, s.conf.TLS.Key)
		if err != nil {
			return fmt.Errorf("the TLS certificate cannot be used; check tls.cert and tls.key in the configuration: %w", err)
		}
		hs.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	// Not in New: commands of the operator open the same data directory beside
	// a running server, whose changes under way are not theirs to complete.
	if err := s.Homes.Recover(ctx); err != nil {
		ln.Close()
		if ctx.Err() != nil { // stopped before it began
			return nil
		}
		return err
	}
	// What happens by itself from here on is nobody's act.
	g, ctx := errgroup.WithContext(audit.With(ctx, audit.By{Kind: audit.System}))
	g.Go(func() error {
		err := error(nil)
		if hs.TLSConfig != nil {
			err = hs.ServeTLS(ln, "", "")
		} else {
			err = hs.Serve(ln)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	g.Go(func() error {
		<-ctx.Done()
		s.stopping.Store(true)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		defer time.AfterFunc(aheadFor, early.close).Stop()
		if err := hs.Shutdown(grace); err != nil {
			s.log.Warn("some requests were cut off by the stop", "error", err)
			return hs.Close()
		}
		return nil
	})
	g.Go(func() error { return s.Homes.Run(ctx) })
	g.Go(func() error { return s.Uploads.Run(ctx) })
	g.Go(func() error { return s.Outbox.Run(ctx) })
	g.Go(func() error { return s.Sharing.Run(ctx) })
	g.Go(func() error { return s.Notices.Run(ctx) })
	g.Go(func() error { return s.Directories.Run(ctx) })
	g.Go(func() error { return s.Peers.Run(ctx) })
	g.Go(func() error { return s.Decisions.Run(ctx) })
	g.Go(func() error { return s.Wire.Run(ctx) })
	g.Go(func() error { return s.Audit.Run(ctx) })
	g.Go(func() error { return s.runChecks(ctx) })
	return g.Wait()
}

// aheadFor is how long a server that stops waits for the first byte of a connection.
const aheadFor = 300 * time.Millisecond

// ahead are the connections that nothing came over yet: browsers and servers open
// some ahead of need. Shutdown would wait for each until it is five seconds old.
type ahead struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
}

func (a *ahead) note(c net.Conn, state http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if state != http.StateNew {
		delete(a.conns, c)
		return
	}
	if a.conns == nil {
		a.conns = map[net.Conn]bool{}
	}
	a.conns[c] = true
}

func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		c.Close()
	}
}

// Origin is the public origin, such as https://cloud.example.org.
func (s *Server) Origin() string { return s.origin }

// healthz tells that the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz tells whether requests can be served: not while stopping, and not
// without the database.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if s.stopping.Load() {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "stopping"})
		return
	}
	if err := s.DB.Ping(ctx); err != nil {
		s.log.Error("the database does not answer", "error", err)
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "database unavailable"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// RemoveUser ends a user's shares, tells the servers that know the user, and
// deletes the user with all files.
func (s *Server) RemoveUser(ctx context.Context, user account.User) error {
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.Sharing.UserRemoved(ctx, tx, user); err != nil {
			return err
		}
		return s.Accounts.Remove(ctx, tx, user.ID)
	})
	if err != nil {
		return err
	}
	s.Outbox.Wake()
	return s.Homes.Remove(user.ID)
}

// RemoveGroup gives back what others share with a group, tells their servers, and
// deletes the group; its members stay.
func (s *Server) RemoveGroup(ctx context.Context, group account.Group) error {
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.Sharing.GroupRemoved(ctx, tx, group); err != nil {
			return err
		}
		return s.Accounts.RemoveGroup(ctx, tx, group)
	})
	s.Outbox.Wake()
	return err
}

// RemoveContact takes a contact out of someone's address book; with endShares
// all shares with it end, and with tell its server hears that the person is gone
// for it.
func (s *Server) RemoveContact(ctx context.Context, user account.User, id string, endShares, tell bool) error {
	err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		c, given, err := s.Contacts.Remove(ctx, tx, user, id, tell)
		if err != nil {
			return err
		}
		if endShares {
			if err := s.Sharing.EndWith(ctx, tx, user.ID, c.Address); err != nil {
				return err
			}
		}
		if host := ocm.Host(c.PeerHost); tell && host != s.Self {
			return s.Sharing.TellRemoved(ctx, tx, host, given)
		}
		return nil
	})
	s.Outbox.Wake()
	return err
}

// TestMail sends an e-mail that says that e-mails arrive. Its error says what
// failed.
func (s *Server) TestMail(ctx context.Context, to string) error {
	if s.Notices.Send == nil {
		return errNoMail
	}
	m := web.TestLetter(s.conf.Provider, s.origin)
	m.To = to
	return s.Notices.Send(ctx, m)
}

var errNoMail = ocm.NewError(http.StatusConflict, "MAIL_OFF", "No e-mails are sent, because mail.host is not set. Write it, and mail.from, into weft.toml.")

// RotateKey makes a new signing key and retires the others, which stay published
// for a while. The next start signs with it.
func (s *Server) RotateKey(ctx context.Context) (kid string, err error) {
	return rotateKey(ctx, s.DB, s.box, s.Self, s.now)
}
