package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/explain"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// request is what the server keeps about a request while it answers.
type request struct {
	id       string
	from     string        // the client's address
	net      string        // what is limited: the address, or an IPv6 network
	user     *account.User // who asks, once known
	session  ocm.Secret    // the token that the request came with
	audience audience      // of the route
	peer     ocm.Host      // who signed, once known
	claimed  ocm.Host      // whom the message names as its sender
	refusal  *ocm.Error
	notes    []any // pairs for the log
	trace    *explain.Trace
	message  bool // from a peer: how it was decided is kept in any case
	wire     *capture
}

// ActsAs tells, for the audit, who acts with the request.
func (q *request) ActsAs() audit.By {
	by := audit.By{Kind: audit.Visitor, Origin: q.from, Request: q.id}
	switch {
	case q.user != nil:
		by.Kind, by.ID, by.Name = audit.User, q.user.ID, q.user.Name
	case q.peer != "":
		by.Kind, by.Name = audit.Peer, string(q.peer)
	}
	return by
}

type requestKey struct{}

func requestOf(r *http.Request) *request { return requestIn(r.Context()) }

func requestIn(ctx context.Context) *request {
	q, _ := ctx.Value(requestKey{}).(*request)
	if q == nil {
		q = &request{}
	}
	return q
}

// note keeps the refusal for the request's one log line.
func note(r *http.Request, e *ocm.Error) { requestOf(r).refusal = e }

// observe gives every request an id, a log line, and a 500 instead of a crash.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ip := s.clientIP(r)
		q := &request{id: store.NewID(), from: ip.String(), net: network(ip)}
		w.Header().Set("X-Request-Id", q.id)
		// Whatever answers, a browser makes nothing active of it; pages and files say
		// themselves what they need.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		rec := &recorder{ResponseWriter: w}
		ctx := context.WithValue(r.Context(), requestKey{}, q)
		ctx, q.trace = explain.With(ctx, q.id)
		ctx = audit.With(ctx, q)
		r = r.WithContext(ctx)
		defer func() {
			if p := recover(); p != nil {
				err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				if p == http.ErrAbortHandler { //nolint:errorlint // panics with this very value
					defer panic(p) // an answer that broke off has its lines too
				} else if rec.status == 0 {
					s.refuse(rec, r, err)
				} else {
					note(r, asError(err))
				}
			}
			s.logRequest(r, q, rec, time.Since(start))
			s.keepDecision(r, q, rec)
			s.keepExchange(r, q, rec, start)
			s.auditRefusal(r, q)
		}()
		next.ServeHTTP(rec, r)
	})
}

func (s *Server) logRequest(r *http.Request, q *request, rec *recorder, took time.Duration) {
	attrs := []any{
		"request", q.id, "method", r.Method, "path", r.URL.Path, "status", rec.status,
		"bytes", rec.bytes, "ms", float64(took.Microseconds()) / 1000, "from", q.from,
	}
	if q.user != nil {
		attrs = append(attrs, "user", q.user.Name)
	}
	if q.peer != "" {
		attrs = append(attrs, "peer", string(q.peer))
	}
	attrs = append(attrs, q.notes...)
	level := slog.LevelInfo
	if q.refusal != nil {
		attrs = append(attrs, "code", string(q.refusal.Code), "reason", q.refusal.Error())
		if level = slog.LevelWarn; q.refusal.Status == http.StatusInternalServerError {
			level = slog.LevelError
		}
	} else if strings.HasSuffix(r.URL.Path, "z") && rec.status == http.StatusOK && (r.URL.Path == "/healthz" || r.URL.Path == "/readyz") {
		level = slog.LevelDebug
	}
	s.log.Log(r.Context(), level, "request", attrs...)
}

// keepDecision keeps how a message from a peer, or what else policy had a part
// in, was decided.
func (s *Server) keepDecision(r *http.Request, q *request, rec *recorder) {
	steps := q.trace.Steps()
	if len(steps) == 0 && !q.message {
		return
	}
	d := explain.Decision{
		Request: q.id, At: s.now(), Method: r.Method, Path: r.URL.Path, Origin: q.from, Peer: string(cmp.Or(q.peer, q.claimed)),
		Status: rec.status, Steps: steps,
	}
	if q.user != nil {
		d.Person = q.user.Name
	}
	if q.refusal != nil {
		d.Code, d.Reason = string(q.refusal.Code), q.refusal.Error()
	}
	s.Decisions.Put(d)
}

// maxOrigin is how many bytes of an Origin are recorded: a scheme, a name and a port.
const maxOrigin = 300

// auditRefusal records refused sign-ins and refused acts of administration. Who
// makes many of them is recorded now and then: the log has them all.
func (s *Server) auditRefusal(r *http.Request, q *request) {
	if q.refusal == nil {
		return
	}
	var e audit.Event
	switch q.refusal.Code {
	case account.ErrCredentials.Code, account.ErrAttempts.Code, account.ErrDisabled.Code:
		e = audit.Event{Action: "session.failed", Kind: "user"}
		if as, ok := errors.AsType[*account.Attempt](q.refusal); ok {
			e.ID, e.Name = as.UserID, as.Name
		}
	case errAdmins.Code, account.ErrLastAdmin.Code, errOneself.Code:
		e = audit.Event{Action: "admin.refused", Kind: "call", Name: r.Method + " " + r.URL.Path}
	case errCrossOrigin.Code:
		if q.audience != operators {
			return
		}
		from := r.Header.Get("Origin")
		from = strings.ToValidUTF8(from[:min(len(from), maxOrigin)], "")
		e = audit.Event{Action: "admin.refused", Kind: "call", Name: r.Method + " " + r.URL.Path, Details: audit.Details{"from": from}}
	default:
		return
	}
	if s.byRefusal.take(q.net) == 0 {
		s.Audit.Refused(r.Context(), e, q.refusal)
	}
}

// recorder remembers what was answered. Unwrap keeps deadlines, and ReadFrom
// keeps sendfile, working through it.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom lets the connection send a file by itself.
func (w *recorder) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

// messageBudget is how long the body of a message may take to arrive.
const messageBudget = 30 * time.Second

// guard limits how often one client asks, and how large and slow a request may
// be, by the audience of the route.
func (s *Server) guard(who audience, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if who == monitors {
			next(w, r)
			return
		}
		limiter := s.byAddress
		if who == peers {
			limiter = s.byPeerAddress
		}
		// Who reads shares is limited by share, once that is known.
		if who != bearers {
			if wait := limiter.take(requestOf(r).net); wait > 0 {
				s.deny(who, w, r, errTooMany.RetryIn(wait))
				return
			}
		}
		switch who {
		case peers, public, signing, visitors:
			requestOf(r).message = who == peers
			if who == peers && s.Wire.On() {
				w, r = listen(w, r)
			}
			if r.ContentLength > s.conf.Limits.MaxBody {
				s.deny(who, w, r, &http.MaxBytesError{Limit: s.conf.Limits.MaxBody})
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, s.conf.Limits.MaxBody)
			// A message is small: one that takes longer than this to arrive is
			// held back on purpose.
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(messageBudget))
			if who == visitors {
				if err := s.crossOrigin.Check(r); err != nil {
					s.deny(who, w, r, errCrossOrigin.With(err))
					return
				}
			}
		case members, operators:
			requestOf(r).audience = who
			if err := s.crossOrigin.Check(r); err != nil {
				s.deny(who, w, r, errCrossOrigin.With(err))
				return
			}
			user, err := s.member(r)
			if err != nil {
				s.toSignIn(w, r, err)
				return
			}
			requestOf(r).user = &user
			if wait := s.byUser.take(user.ID); wait > 0 {
				s.deny(who, w, r, errTooMany.RetryIn(wait))
				return
			}
			if who == operators && !user.Admin() {
				s.deny(who, w, r, errAdmins)
				return
			}
			// Who takes files as parts of a form bounds them.
			if !takesFiles[r.URL.Path] {
				r.Body = http.MaxBytesReader(w, r.Body, s.conf.Limits.MaxBody)
				http.NewResponseController(w).SetReadDeadline(time.Now().Add(messageBudget))
			}
		case people:
			if err := s.crossOrigin.Check(r); err != nil {
				s.deny(who, w, r, errCrossOrigin.With(err))
				return
			}
			user, err := s.signedIn(r)
			if err != nil {
				s.askToSignIn(w, r)
				s.deny(who, w, r, err)
				return
			}
			requestOf(r).user = &user
			if wait := s.byUser.take(user.ID); wait > 0 {
				s.deny(who, w, r, errTooMany.RetryIn(wait))
				return
			}
		}
		next(w, r)
	})
}

// takesFiles are the pages whose forms carry files.
var takesFiles = map[string]bool{"/upload": true, "/people/import": true}

func (s *Server) deny(who audience, w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case who == peers && r.URL.Path == "/ocm/token":
		s.refuseToken(w, r, err)
	case who == visitors || who == members || who == operators:
		s.problemPage(w, r, err)
	case who == peers || who == public:
		s.refusePeer(w, r, err)
	default:
		s.refuse(w, r, err)
	}
}

var (
	errTooMany     = ocm.NewError(http.StatusTooManyRequests, ocm.CodeRateLimited, "Too many requests. Wait a moment and try again.")
	errCrossOrigin = ocm.NewError(http.StatusForbidden, "CROSS_ORIGIN", "A page of another site may not do this in your name.")

	errSignIn = ocm.NewError(http.StatusUnauthorized, "SIGN_IN_REQUIRED", "Sign in first: with your name and an app password, or with a token from the login.")
)

// askToSignIn names the ways in. Programs that send a token are not offered
// Basic, lest a browser opens its dialog.
func (s *Server) askToSignIn(w http.ResponseWriter, r *http.Request) {
	if below(r.URL.Path, davFiles) {
		w.Header().Add("WWW-Authenticate", `Basic realm="Weft", charset="UTF-8"`)
	}
	w.Header().Add("WWW-Authenticate", `Bearer realm="Weft"`)
}

// signedIn tells who asks: a Bearer token (session or app password), Basic with
// a name and an app password or the password, or in the API, whose answers are
// no pages, the session of a browser.
func (s *Server) signedIn(r *http.Request) (account.User, error) {
	if token, ok := bearer(r); ok {
		requestOf(r).session = token
		return s.Accounts.AuthenticateBearer(r.Context(), token)
	}
	if name, pass, ok := r.BasicAuth(); ok {
		return s.Accounts.Authenticate(r.Context(), name, ocm.Secret(pass), requestOf(r).from)
	}
	if below(r.URL.Path, apiPath) {
		return s.member(r)
	}
	return account.User{}, errSignIn
}

// bearer is the token of an Authorization header.
func bearer(r *http.Request) (ocm.Secret, bool) { return bearerToken(r.Header.Get("Authorization")) }

func bearerToken(authorization string) (ocm.Secret, bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return ocm.Secret(strings.TrimSpace(token)), true
}

// clientIP is the address the request comes from: the connection's, or the last
// one in X-Forwarded-For that a trusted proxy did not add itself.
func (s *Server) clientIP(r *http.Request) netip.Addr {
	addr := parseIP(r.RemoteAddr)
	if !s.trusted(addr) {
		if (addr.IsLoopback() || addr.IsPrivate()) && r.Header.Get("X-Forwarded-For") != "" && s.untrusted.Load() == nil {
			name := addr.String()
			s.untrusted.Store(&name) // for the checks: it may be a proxy
		}
		return addr
	}
	chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		ip, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
		if err != nil {
			break
		}
		if addr = ip.Unmap(); !s.trusted(addr) {
			break
		}
	}
	return addr
}

// network is what one client has: an IPv4 address, or the 64 bits of IPv6 that
// name a network.
func network(ip netip.Addr) string {
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

func parseIP(hostport string) netip.Addr {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, _ := netip.ParseAddr(host)
	return ip.Unmap().WithZone("")
}

func (s *Server) trusted(ip netip.Addr) bool {
	for _, p := range s.proxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// limiter is a token bucket for each of the most recent keys.
type limiter struct {
	mu      sync.Mutex
	rate    rate.Limit
	burst   int
	buckets *lru.Cache[[16]byte, *rate.Limiter]
}

func newLimiter(perSecond float64, burst int) *limiter {
	buckets, err := lru.New[[16]byte, *rate.Limiter](1 << 14)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &limiter{rate: rate.Limit(perSecond), burst: burst, buckets: buckets}
}

// take uses one token of key's bucket, or tells how long to wait for one.
func (l *limiter) take(key string) time.Duration {
	if l.rate <= 0 {
		return 0 // switched off
	}
	var k [16]byte
	sum := sha256.Sum256([]byte(key))
	copy(k[:], sum[:])
	l.mu.Lock()
	b, ok := l.buckets.Get(k)
	if !ok {
		b = rate.NewLimiter(l.rate, l.burst)
		l.buckets.Add(k, b)
	}
	l.mu.Unlock()
	now := time.Now()
	res := b.ReserveN(now, 1)
	if wait := res.DelayFrom(now); wait > 0 {
		res.CancelAt(now)
		return max(wait, time.Second)
	}
	return 0
}

// isCanceled reports whether err only says that the asker went away.
func isCanceled(r *http.Request, err error) bool {
	return errors.Is(err, context.Canceled) && r.Context().Err() != nil
}
