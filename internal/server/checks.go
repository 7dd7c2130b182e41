package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/ocm"
)

// The states of a check.
const (
	CheckGood = "good"
	CheckWarn = "warn"
	CheckBad  = "bad"
)

// Check is one look at whether the server is well configured, and what to do if
// it is not.
type Check struct {
	Name   string   `json:"name"`
	Keys   []string `json:"keys,omitempty" doc:"of the configuration, that it is about"`
	State  string   `json:"state" enum:"good,warn,bad"`
	Found  string   `json:"found"`
	Advice string   `json:"advice,omitempty" doc:"what to do"`
}

func (c *Check) worse(state, found, advice string) {
	if c.State == CheckBad || c.State == CheckWarn && state == CheckWarn {
		return
	}
	c.State, c.Found, c.Advice = state, found, advice
}

// checkBudget is how long all checks together may take.
const checkBudget = 4 * time.Second

// Checks looks whether the server is reachable, signed, on time and well
// configured. They run side by side, because some ask the network.
func (s *Server) Checks(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, checkBudget)
	defer cancel()
	looks := []func(ctx context.Context, c *Check){
		s.checkAddress, s.checkCertificate, s.checkProxy, s.checkClock, s.checkDisk, s.checkFiles, s.checkKeys, s.checkOutbox, s.checkFederation, s.checkInsecure,
	}
	out := make([]Check, len(looks))
	var g errgroup.Group
	for i, look := range looks {
		out[i].State = CheckGood
		g.Go(func() error { look(ctx, &out[i]); return nil })
	}
	g.Wait()
	return out
}

// ownDocument asks this server for its discovery document the way others do: by
// its public address.
func (s *Server) ownDocument(ctx context.Context) (*ocm.Discovery, *tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.origin+"/.well-known/ocm", nil)
	if err != nil {
		return nil, nil, err
	}
	t := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: s.conf.Insecure, MinVersion: tls.VersionTLS12}} //nolint:gosec // only where the operator allows it
	resp, err := (&http.Client{Transport: t}).Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, resp.TLS, fmt.Errorf("it answers %s", resp.Status)
	}
	var d ocm.Discovery
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, ocm.MaxBody)).Decode(&d); err != nil {
		return nil, resp.TLS, errors.New("something else answers there")
	}
	return &d, resp.TLS, nil
}

func (s *Server) checkAddress(ctx context.Context, c *Check) {
	c.Name, c.Keys, c.Found = "Public address", []string{"url", "listen"}, s.origin+" leads to this server."
	d, _, err := s.ownDocument(ctx)
	if err != nil {
		c.worse(CheckWarn, s.origin+" cannot be reached from here: "+cause(err)+".",
			"If others reach it, the network keeps this machine from its own public address. Else look at the name, the proxy and the firewall.")
		return
	}
	if d.EndPoint != s.origin+"/ocm" {
		c.worse(CheckBad, s.origin+" leads to another server, which says it is "+ocm.DisplayName(d.EndPoint)+".", "Set url to the address that leads here, or lead it here.")
	}
}

// cause is what went wrong, without the URL that http puts around it.
func cause(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "there is no name " + dns.Name
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within 3 seconds"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return ocm.DisplayName(err.Error())
		}
		err = inner
	}
}

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 14 * 24 * time.Hour

func (s *Server) checkCertificate(ctx context.Context, c *Check) {
	c.Name, c.Keys = "Certificate", []string{"tls.cert", "tls.key"}
	if strings.HasPrefix(s.origin, "http://") {
		c.worse(CheckWarn, "There is none: the address is plain http.", "Nobody else can use this server so. For trials on one machine it is fine.")
		return
	}
	var leaf *x509.Certificate
	if s.conf.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.conf.TLS.Cert, s.conf.TLS.Key)
		if err == nil {
			leaf, err = x509.ParseCertificate(pair.Certificate[0])
		}
		if err != nil {
			c.worse(CheckBad, "The certificate cannot be read: "+cause(err)+".", "Look at tls.cert and tls.key.")
			return
		}
	} else {
		_, state, _ := s.ownDocument(ctx)
		if state == nil || len(state.PeerCertificates) == 0 {
			c.worse(CheckWarn, "The proxy’s certificate could not be looked at from here.", "See what others say of it.")
			return
		}
		leaf = state.PeerCertificates[0]
	}
	left := leaf.NotAfter.Sub(s.now())
	c.Found = "Valid until " + leaf.NotAfter.UTC().Format(time.DateOnly) + "."
	switch err := leaf.VerifyHostname(s.Self.Name()); {
	case left <= 0:
		c.worse(CheckBad, "It ended on "+leaf.NotAfter.UTC().Format(time.DateOnly)+".", "Renew it; other servers refuse to deal with this one.")
	case err != nil:
		c.worse(CheckBad, "It is not for "+s.Self.Name()+".", "Get one for the name in url.")
	case left < expiresSoon:
		c.worse(CheckWarn, "It ends on "+leaf.NotAfter.UTC().Format(time.DateOnly)+".", "Renew it.")
	}
}

func (s *Server) checkProxy(_ context.Context, c *Check) {
	c.Name, c.Keys, c.Found = "Proxy", []string{"trusted_proxies"}, "Clients are known by their own addresses."
	if from := s.untrusted.Load(); from != nil {
		c.worse(CheckWarn, *from+" sends X-Forwarded-For and is not trusted: all its clients are taken for one, and share its limits.",
			`If it is your proxy, set trusted_proxies = ["`+*from+`"].`)
	}
}

// The ways a clock may be off: others refuse signatures that are older than
// minutes, or 30 seconds ahead.
const (
	clockOff   = 5 * time.Second
	clockWrong = 25 * time.Second
)

// checkClock compares the clock with what other servers said in their answers,
// as far as they are kept: nobody is asked for it.
func (s *Server) checkClock(ctx context.Context, c *Check) {
	c.Name, c.Keys = "Clock", []string{"federation.signature_max_age", "federation.signature_max_ahead"}
	answers, err := s.Wire.Answers(ctx, 25)
	if err != nil {
		c.worse(CheckWarn, "The answers of other servers cannot be read.", "Look at the log.")
		return
	}
	var off []time.Duration
	for _, a := range answers {
		if d, ok := clockOffset(a); ok {
			off = append(off, d)
		}
	}
	if len(off) == 0 {
		c.Found = "No other server answered lately that it could be compared with."
		return
	}
	slices.Sort(off)
	median := off[len(off)/2]
	c.Found = "Right, by what other servers say."
	say := "It is %s behind, by what other servers say."
	if median > 0 {
		say = "It is %s ahead, by what other servers say."
	}
	say = fmt.Sprintf(say, median.Abs().Round(time.Second))
	switch {
	case median.Abs() >= clockWrong:
		c.worse(CheckBad, say, "Set it, and keep it by NTP: others refuse signatures of another time.")
	case median.Abs() >= clockOff:
		c.worse(CheckWarn, say, "Keep it by NTP.")
	}
}

// clockOffset is how far we were ahead of a server when it answered.
func clockOffset(e wire.Entry) (time.Duration, bool) {
	for line := range strings.Lines(e.AnswerHeader) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Date: "); ok {
			at, err := http.ParseTime(v)
			// Its second had begun.
			return store.Time(e.At).Sub(at.Add(500 * time.Millisecond)), err == nil
		}
	}
	return 0, false
}

// The room below which a disk is warned of, as bytes and as a part of it.
const (
	littleRoom = 2 << 30
	noRoom     = 200 << 20
)

func (s *Server) checkDisk(_ context.Context, c *Check) {
	c.Name, c.Keys = "Disk", []string{"storage", "database"}
	for _, of := range []struct{ dir, left, untold string }{
		{s.conf.StoragePath(), "The files have %s left of %s.", "The room left for the files cannot be told."},
		{filepath.Dir(s.conf.DatabasePath()), "The database has %s left of %s.", "The room left for the database cannot be told."},
	} {
		free, total := tree.Space(of.dir)
		if free < 0 { // before the first home there is no folder
			free, total = tree.Space(s.conf.Data)
		}
		say := fmt.Sprintf(of.left, sizeText(free), sizeText(total))
		c.Found = cmp.Or(c.Found, say)
		switch {
		case free < 0:
			c.worse(CheckWarn, of.untold, "Watch the disk by other means.")
		case free < noRoom:
			c.worse(CheckBad, say, "Make room: nothing can be written soon.")
		case free < littleRoom && free < total/10:
			c.worse(CheckWarn, say, "Make room, or give it a larger disk.")
		}
	}
}

// sizeText writes a size for operators.
func sizeText(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.3g %s", f, units[i])
}

func (s *Server) checkFiles(_ context.Context, c *Check) {
	c.Name, c.Found = "Data directory", "Only the user that runs the server can read what is in it."
	for _, path := range []string{filepath.Join(s.conf.Data, "secret.key"), filepath.Join(s.conf.Data, config.FileName), s.conf.DatabasePath(), s.conf.StoragePath()} {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			c.worse(CheckBad, path+" can be read by other users of this machine.", "chmod go= "+path)
		}
	}
}

// keyYear is the age from which a new signing key is suggested.
const keyYear = 2 * 365 * 24 * time.Hour

func (s *Server) checkKeys(ctx context.Context, c *Check) {
	c.Name = "Signing key"
	var rows []keyRow
	err := s.DB.Read.NewSelect().Model(&rows).Column("kid", "created_at", "retired_at").Where("retired_at = 0").Order("created_at DESC").Scan(ctx)
	if err != nil || len(rows) == 0 {
		c.worse(CheckBad, "The keys cannot be read.", "Look at the log.")
		return
	}
	signs := s.keys.Current().KID
	c.Found = "Signs with " + signs + ", of " + store.Time(rows[0].CreatedAt).UTC().Format(time.DateOnly) + "."
	switch {
	case rows[0].KID != signs:
		c.worse(CheckWarn, "There is a newer key than the one that signs: "+rows[0].KID+".", "Restart the server: it then signs with the new key.")
	case s.now().Sub(store.Time(rows[0].CreatedAt)) > keyYear:
		c.worse(CheckWarn, c.Found, "It is old. Make another: weft key rotate.")
	}
}

func (s *Server) checkOutbox(ctx context.Context, c *Check) {
	c.Name, c.Keys, c.Found = "Deliveries", []string{"delivery.first_retry", "delivery.max_retry", "delivery.give_up_after"}, "Nothing waits."
	b, err := s.Outbox.Backlog(ctx)
	if err != nil {
		c.worse(CheckBad, "The outbox cannot be read.", "Look at the log.")
		return
	}
	if b.Waiting > 0 {
		c.Found = fmt.Sprintf("Messages that wait: %d.", b.Waiting)
	}
	switch age := s.now().Sub(store.Time(b.Oldest)); {
	case b.Dead > 0:
		c.worse(CheckWarn, fmt.Sprintf("Messages that were given up: %d.", b.Dead), "See why, and resend them: weft outbox list.")
	case b.Oldest > 0 && age > time.Hour:
		c.worse(CheckWarn, fmt.Sprintf("Messages that wait: %d, the oldest for %d h.", b.Waiting, age.Round(time.Hour)/time.Hour), "See which server does not answer: weft outbox list.")
	}
}

func (s *Server) checkFederation(ctx context.Context, c *Check) {
	c.Name, c.Keys = "Directories", []string{"federation.mode", "federation.directory_refresh"}
	subs, err := s.Directories.Subscriptions(ctx)
	if err != nil {
		c.worse(CheckBad, "The subscriptions cannot be read.", "Look at the log.")
		return
	}
	c.Found = fmt.Sprintf("Directories that are read: %d.", len(subs))
	if len(subs) == 0 && s.Policy.Defaults.Mode == peer.ModeDirectory {
		c.worse(CheckBad, "The mode is directory, and none is read: no server is dealt with.", "Subscribe to the federation's: weft directory add.")
	}
	for _, sub := range subs {
		ends := sub.Ends()
		switch {
		case !ends.IsZero() && !ends.After(s.now()):
			c.worse(CheckBad, "The list of "+sub.Federation+" has ended: its servers are no members.", "Ask the federation for a new list, then: weft directory refresh.")
		case sub.Failure != "":
			c.worse(CheckWarn, sub.Federation+" could not be read anew: "+strings.TrimSuffix(sub.Failure, ".")+".", "The last good list is in force.")
		}
	}
}

func (s *Server) checkInsecure(_ context.Context, c *Check) {
	c.Name, c.Keys, c.Found = "Protection", []string{"insecure"}, "On: https and public addresses alone."
	if s.conf.Insecure {
		c.worse(CheckWarn, "insecure is on: plain http, self-signed certificates and private addresses are allowed.", "Only for trials on one machine.")
	}
}

// SettingView is a key of the configuration as operators see it.
type SettingView struct {
	Key      string `json:"key"`
	Value    string `json:"value" doc:"as in the file; secrets are not shown"`
	Default  string `json:"default"`
	From     string `json:"from" enum:"default,file,environment,flag"`
	Variable string `json:"variable" doc:"of the environment"`
	Help     string `json:"help,omitempty"`
	State    string `json:"state" enum:"good,warn,bad" doc:"of the checks that are about it"`
	Found    string `json:"found,omitempty" doc:"by those checks"`
}

// Hidden reports whether the value is a secret that is not shown.
func (v SettingView) Hidden() bool { return v.Value == config.NotShown }

// ConfigView is the configuration with its checks.
type ConfigView struct {
	File     string        `json:"file"`
	SealedBy string        `json:"sealedBy" enum:"environment,file" doc:"where the key that seals secrets comes from"`
	Settings []SettingView `json:"settings"`
	Checks   []Check       `json:"checks"`
}

// Config shows the configuration: each value, where it comes from, and what the
// checks say of it.
func (s *Server) Config(ctx context.Context) *ConfigView { return s.configView(s.Checks(ctx)) }

func (s *Server) configView(checks []Check) *ConfigView {
	v := &ConfigView{File: filepath.Join(s.conf.Data, config.FileName), SealedBy: s.conf.SealedBy(), Settings: []SettingView{}, Checks: checks}
	for _, set := range s.conf.Settings() {
		view := SettingView{
			Key: set.Key, Value: set.Value, Default: set.Default, From: set.From, Variable: set.Variable, Help: set.Help, State: CheckGood,
		}
		for _, c := range v.Checks {
			if slices.Contains(c.Keys, set.Key) {
				view.State, view.Found = c.State, c.Found
			}
		}
		v.Settings = append(v.Settings, view)
	}
	return v
}

// Overview is how the server stands, for the first page of its operator.
type Overview struct {
	Server    string        `json:"server"`
	Version   string        `json:"version" doc:"of this program"`
	Go        string        `json:"go"`
	OCM       string        `json:"ocm" doc:"the version of the protocol"`
	StartedAt string        `json:"startedAt" format:"date-time"`
	Users     int64         `json:"users"`
	Admins    int64         `json:"admins"`
	Disabled  int64         `json:"disabled" doc:"users who may not sign in"`
	Groups    int64         `json:"groups"`
	Sent      int64         `json:"sharesSent" doc:"that give access"`
	Received  int64         `json:"sharesReceived" doc:"that give access"`
	Waiting   int64         `json:"messagesWaiting"`
	Dead      int64         `json:"messagesGivenUp"`
	Oldest    string        `json:"oldestWaiting,omitempty" format:"date-time"`
	Peers     int64         `json:"peers" doc:"servers met"`
	Trouble   []PeerTrouble `json:"trouble" doc:"servers that do not answer, or have messages given up, or keys that wait"`
	Reports   int64         `json:"reports"`
	Storage   StorageView   `json:"storage"`
}

// PeerTrouble is a server that needs a look.
type PeerTrouble struct {
	Host         string `json:"host"`
	FailingSince string `json:"failingSince,omitempty" format:"date-time"`
	Failure      string `json:"failure,omitempty"`
	Waiting      int64  `json:"messagesWaiting"`
	Dead         int64  `json:"messagesGivenUp"`
	Keys         int64  `json:"keysWaiting"`
}

// StorageView is what is kept, and the room for it.
type StorageView struct {
	Files      int64  `json:"files" doc:"bytes of all people's files; -1 while they are being counted"`
	CountedAt  string `json:"countedAt,omitempty" format:"date-time"`
	Database   int64  `json:"database" doc:"bytes"`
	Free       int64  `json:"free" doc:"bytes left on the disk of the files; -1 when it cannot be told"`
	Total      int64  `json:"total" doc:"bytes of that disk"`
	NearQuotas int64  `json:"nearQuotas" doc:"people who used 90 % of their quota or more"`
}

// maxTrouble is how many servers in trouble the overview names.
const maxTrouble = 20

// Overview tells how the server stands.
func (s *Server) Overview(ctx context.Context) (*Overview, error) {
	v := &Overview{Server: string(s.Self), OCM: ocm.Version, StartedAt: rfc3339(store.Millis(s.started)), Trouble: []PeerTrouble{}}
	v.Version, v.Go = builtAs()
	var err error
	if v.Users, v.Admins, v.Disabled, err = s.Accounts.Count(ctx); err != nil {
		return nil, err
	}
	groups, err := s.Accounts.Groups(ctx)
	if err != nil {
		return nil, err
	}
	v.Groups = int64(len(groups))
	shares, err := s.Sharing.Count(ctx)
	if err != nil {
		return nil, err
	}
	v.Sent, v.Received = shares.Sent, shares.Received
	b, err := s.Outbox.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	v.Waiting, v.Dead, v.Oldest = b.Waiting, b.Dead, rfc3339(b.Oldest)
	troubles, err := s.Peers.Troubles(ctx)
	if err != nil {
		return nil, err
	}
	v.Peers, v.Reports = troubles.Met, troubles.Reports
	for _, t := range troubles.Hosts[:min(len(troubles.Hosts), maxTrouble)] {
		v.Trouble = append(v.Trouble, PeerTrouble{string(t.Host), rfc3339(store.Millis(t.FailingSince)), t.Failure, t.Waiting, t.Dead, t.KeysWaiting})
	}
	v.Storage = s.storage(ctx)
	return v, nil
}

func (s *Server) storage(ctx context.Context) StorageView {
	v := StorageView{Files: -1}
	used, at := s.Homes.Usage(ctx)
	if !at.IsZero() {
		v.Files, v.CountedAt = 0, rfc3339(store.Millis(at))
		for _, n := range used {
			v.Files += n
		}
	}
	if quotas, err := s.Accounts.Quotas(ctx); err == nil {
		for id, quota := range quotas {
			if n, ok := used[id]; ok && n >= quota/10*9 {
				v.NearQuotas++
			}
		}
	}
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.conf.DatabasePath() + suffix); err == nil {
			v.Database += info.Size()
		}
	}
	if v.Free, v.Total = tree.Space(s.conf.StoragePath()); v.Free < 0 {
		v.Free, v.Total = tree.Space(s.conf.Data)
	}
	return v
}
