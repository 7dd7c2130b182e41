// Package config reads what the operator decides: one TOML file, the
// environment over it, the command line over both. Everything is checked at the
// start, with errors that say what to write where.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/ocm"
)

// FileName is the configuration file within the data directory.
const FileName = "weft.toml"

// Config is all that can be decided. The keys of the file are the koanf tags.
type Config struct {
	URL      string `koanf:"url"`      // public origin
	Listen   string `koanf:"listen"`   // address of the socket
	Data     string `koanf:"data"`     // directory; not in the file, which lies in it
	Database string `koanf:"database"` // sqlite:PATH; default in Data
	Storage  string `koanf:"storage"`  // file:PATH; default in Data
	Provider string `koanf:"provider"` // display name
	Insecure bool   `koanf:"insecure"`

	TrashFor time.Duration `koanf:"trash_for"` // 0: what is deleted is gone

	TLS        TLS        `koanf:"tls"`
	Proxies    []string   `koanf:"trusted_proxies"`
	Log        Log        `koanf:"log"`
	Limits     Limits     `koanf:"limits"`
	Federation Federation `koanf:"federation"`
	Delivery   Delivery   `koanf:"delivery"`
	Notices    Notices    `koanf:"notices"`
	Mail       Mail       `koanf:"mail"`
	Audit      Audit      `koanf:"audit"`

	// TrustedProxies is Proxies, parsed.
	TrustedProxies []netip.Prefix `koanf:"-"`
	// from says of keys that someone decided where: From….
	from map[string]string
	// secretKey is WEFT_SECRET_KEY: never in the file.
	secretKey string
}

// TLS is the server's own certificate; without it the server speaks plain HTTP
// behind a proxy.
type TLS struct {
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// Limits bound what comes in. Rates are requests per second, 0 for no limit.
type Limits struct {
	MaxBody       int64         `koanf:"max_body"` // bytes of a message to the API or from a peer
	HeaderTimeout time.Duration `koanf:"header_timeout"`
	StallTimeout  time.Duration `koanf:"stall_timeout"`
	AddressRate   float64       `koanf:"address_rate"`
	AddressBurst  int           `koanf:"address_burst"`
	PeerRate      float64       `koanf:"peer_rate"`
	PeerBurst     int           `koanf:"peer_burst"`
	UserRate      float64       `koanf:"user_rate"`
	UserBurst     int           `koanf:"user_burst"`
}

// Federation is how this server deals with others.
type Federation struct {
	Mode              string        `koanf:"mode"`
	MustInvite        bool          `koanf:"must_invite"`
	Quarantine        bool          `koanf:"quarantine_strangers"`
	MustUseHTTPSig    bool          `koanf:"must_use_http_sig"`
	MustExchangeToken bool          `koanf:"must_exchange_token"`
	AllowUnsigned     bool          `koanf:"allow_unsigned"`
	ApproveKeys       bool          `koanf:"approve_keys"`
	LegacyDiscovery   bool          `koanf:"legacy_discovery"`
	LegacySignatures  bool          `koanf:"legacy_signatures"`
	SignatureMaxAge   time.Duration `koanf:"signature_max_age"`
	SignatureMaxAhead time.Duration `koanf:"signature_max_ahead"`
	InviteLife        time.Duration `koanf:"invite_life"`
	Pseudonyms        bool          `koanf:"pseudonyms"`
	DirectoryRefresh  time.Duration `koanf:"directory_refresh"`
	ExplainFor        time.Duration `koanf:"explain_for"`
	Wire              bool          `koanf:"wire"`
	WireFor           time.Duration `koanf:"wire_for"`
	Requests          string        `koanf:"requests"`
	Reshares          string        `koanf:"reshares"`
	RequestLife       time.Duration `koanf:"request_life"`
}

// Delivery is how hard the outbox tries.
type Delivery struct {
	FirstRetry  time.Duration `koanf:"first_retry"`
	MaxRetry    time.Duration `koanf:"max_retry"`
	GiveUpAfter time.Duration `koanf:"give_up_after"`
}

// Notices is what people are told of what happened.
type Notices struct {
	Keep time.Duration `koanf:"keep"`
}

// Mail is how e-mails leave; without a host, none do.
type Mail struct {
	Host         string        `koanf:"host"`
	Port         int           `koanf:"port"`
	TLS          string        `koanf:"tls"`
	User         string        `koanf:"user"`
	Password     ocm.Secret    `koanf:"password"`
	PasswordFile string        `koanf:"password_file"`
	From         string        `koanf:"from"`
	Notices      string        `koanf:"notices"`
	DailyAt      string        `koanf:"daily_at"`
	FirstRetry   time.Duration `koanf:"first_retry"`
	MaxRetry     time.Duration `koanf:"max_retry"`
	GiveUpAfter  time.Duration `koanf:"give_up_after"`

	// Daily is DailyAt, as the time since midnight.
	Daily time.Duration `koanf:"-"`
	// port and password are those in use.
	port     int
	password ocm.Secret
}

// Audit is what is kept of who did what.
type Audit struct {
	KeepFor time.Duration `koanf:"keep_for"` // 0: forever
}

// Default is the configuration of someone who decided nothing but the URL.
func Default() *Config {
	return &Config{
		Listen: "127.0.0.1:8080", Data: "weft-data", Provider: "Weft", TrashFor: 30 * 24 * time.Hour,
		Log: Log{Level: "info", Format: "text"},
		Limits: Limits{
			MaxBody: ocm.MaxBody, HeaderTimeout: 10 * time.Second, StallTimeout: time.Minute,
			AddressRate: 200, AddressBurst: 2000, PeerRate: 50, PeerBurst: 500, UserRate: 200, UserBurst: 2000,
		},
		Federation: Federation{
			Mode: "open", AllowUnsigned: true, LegacyDiscovery: true,
			SignatureMaxAge: 5 * time.Minute, SignatureMaxAhead: 30 * time.Second,
			InviteLife: 30 * 24 * time.Hour, DirectoryRefresh: time.Hour, ExplainFor: 7 * 24 * time.Hour,
			Wire: true, WireFor: 24 * time.Hour, Requests: "contacts", Reshares: "auto", RequestLife: 30 * 24 * time.Hour,
		},
		Delivery: Delivery{FirstRetry: 2 * time.Second, MaxRetry: 4 * time.Hour, GiveUpAfter: 72 * time.Hour},
		Notices:  Notices{Keep: 180 * 24 * time.Hour},
		Mail: Mail{
			TLS: mail.StartTLS, Notices: account.MailNever, DailyAt: "07:00",
			FirstRetry: time.Minute, MaxRetry: 4 * time.Hour, GiveUpAfter: 48 * time.Hour,
		},
		Audit: Audit{KeepFor: 365 * 24 * time.Hour},
	}
}

// Options are where to look.
type Options struct {
	File  string            // "": FileName in the data directory, if it is there
	Data  string            // "": WEFT_DATA, or the default
	Flags map[string]string // keys as in the file: what the command line decides
	Env   []string          // as os.Environ gives it
}

// envKeys are the variables by the key they set. A key may hold "_", so the
// variable's name alone would not tell.
func envKeys() map[string]string {
	out := map[string]string{}
	for _, k := range keys {
		out[variable(k.name)] = k.name
	}
	return out
}

func variable(key string) string {
	return "WEFT_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// Load reads the configuration without checking that it can work; see Check.
func Load(o Options) (*Config, error) {
	env := map[string]string{}
	for _, e := range o.Env {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, "WEFT_") {
			env[name] = value
		}
	}
	data := o.Data
	if data == "" {
		data = env["WEFT_DATA"]
	}
	if data == "" {
		data = Default().Data
	}
	k := koanf.New(".")
	path := o.File
	if path == "" {
		path = filepath.Join(data, FileName)
	}
	// A data directory that is no directory is Prepare's to explain.
	absent := func(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }
	if err := k.Load(file.Provider(path), toml.Parser()); err != nil && (o.File != "" || !absent(err)) {
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, fmt.Errorf("the configuration file cannot be read: %w", err)
		}
		return nil, fmt.Errorf("the configuration file %s is not valid TOML: %w. Mend that place, or move the file away to have a new one made", path, err)
	}
	from := map[string]string{}
	for _, key := range k.Keys() {
		from[key] = FromFile
	}
	for name, key := range envKeys() {
		if v := env[name]; v != "" { // an empty variable decides nothing
			from[key] = FromEnvironment
			if err := k.Load(confmap.Provider(map[string]any{key: v}, "."), nil); err != nil {
				return nil, err
			}
		}
	}
	for key, v := range o.Flags {
		from[key] = FromFlag
		if err := k.Load(confmap.Provider(map[string]any{key: v}, "."), nil); err != nil {
			return nil, err
		}
	}
	c := Default()
	for _, key := range k.Keys() {
		if !known(key) {
			return nil, fmt.Errorf("the configuration file %s has an unknown key %q%s", path, key, nearest(key))
		}
	}
	err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: c, WeaklyTypedInput: true, TagName: "koanf",
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(",")),
	}})
	if err != nil {
		return nil, fmt.Errorf("the configuration has a value of the wrong kind: %w", err)
	}
	c.Data = data
	c.from = from
	c.secretKey = env["WEFT_SECRET_KEY"]
	return c, nil
}

func known(key string) bool {
	return key == "data" || slices.ContainsFunc(keys, func(k setting) bool {
		return k.name == key || strings.HasPrefix(k.name, key+".") // a table with nothing in it
	})
}

// nearest suggests the known key that differs least.
func nearest(key string) string {
	best, least := "", len(key)/2+1
	for _, k := range keys {
		if d := distance(key, k.name); d < least {
			best, least = k.name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; is %q meant?", best)
}

// distance is the number of letters to change, add or take away.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Check makes sure that a server can run with the configuration, and says what
// to write where when it cannot.
func (c *Config) Check() error {
	at := filepath.Join(c.Data, FileName)
	if c.URL == "" {
		return fmt.Errorf("the public address is not set: write url = \"https://cloud.example.org\" into %s, or start with --url", at)
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("url = %q in %s must be an origin such as https://cloud.example.org: a scheme and a host, without a path", c.URL, at)
	}
	if _, err := ocm.ParseHost(strings.ToLower(u.Host)); err != nil {
		return fmt.Errorf("url = %q in %s: %w", c.URL, at, err)
	}
	if u.Scheme == "http" && !c.Insecure {
		return fmt.Errorf("url = %q in %s must be https; for a trial on one machine set insecure = true, or start with --insecure", c.URL, at)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return fmt.Errorf("tls.cert and tls.key in %s belong together: set both, or neither when a proxy speaks TLS", at)
	}
	for _, p := range c.Proxies {
		prefix, err := parsePrefix(strings.TrimSpace(p))
		if err != nil {
			return fmt.Errorf("trusted_proxies in %s: %q is neither an address nor a network such as 10.0.0.0/8", at, p)
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level = %q in %s must be debug, info, warn or error", c.Log.Level, at)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format = %q in %s must be text or json", c.Log.Format, at)
	}
	for key, v := range map[string]string{"database": c.Database, "storage": c.Storage} {
		want := map[string]string{"database": "sqlite", "storage": "file"}[key]
		if scheme, path, ok := strings.Cut(v, ":"); v != "" && (!ok || scheme != want || path == "") {
			return fmt.Errorf("%s = %q in %s must be %s:PATH", key, v, at, want)
		}
	}
	for key, d := range map[string]time.Duration{
		"limits.header_timeout": c.Limits.HeaderTimeout, "limits.stall_timeout": c.Limits.StallTimeout,
		"federation.signature_max_age": c.Federation.SignatureMaxAge, "delivery.first_retry": c.Delivery.FirstRetry,
		"delivery.max_retry": c.Delivery.MaxRetry, "delivery.give_up_after": c.Delivery.GiveUpAfter,
		"federation.invite_life": c.Federation.InviteLife, "federation.request_life": c.Federation.RequestLife, "federation.directory_refresh": c.Federation.DirectoryRefresh,
		"notices.keep": c.Notices.Keep, "mail.first_retry": c.Mail.FirstRetry, "mail.max_retry": c.Mail.MaxRetry, "mail.give_up_after": c.Mail.GiveUpAfter,
	} {
		if d <= 0 {
			return fmt.Errorf("%s in %s must be longer than nothing, such as \"30s\"", key, at)
		}
	}
	if c.TrashFor < 0 {
		return fmt.Errorf("trash_for in %s must be a time such as \"720h\", or \"0s\" for no trash", at)
	}
	f := c.Federation
	for _, choice := range []struct {
		key, is string
		of      []string
	}{
		{"mode", f.Mode, []string{"open", "allowlist", "directory"}},
		{"requests", f.Requests, []string{"contacts", "everyone", "nobody"}},
		{"reshares", f.Reshares, []string{"auto", "ask", "no"}},
	} {
		if !slices.Contains(choice.of, choice.is) {
			return fmt.Errorf("federation.%s = %q in %s must be one of: %s", choice.key, choice.is, at, strings.Join(choice.of, ", "))
		}
	}
	if err := c.Mail.check(c.Insecure, at); err != nil {
		return err
	}
	if c.Limits.MaxBody < 16<<10 {
		return fmt.Errorf("limits.max_body in %s must be at least 16384 bytes", at)
	}
	return nil
}

// check completes and checks what is said of e-mail. Nothing of it matters
// without a host, but for what would be a surprise once there is one.
func (m *Mail) check(insecure bool, at string) error {
	for _, choice := range []struct {
		key, is string
		of      []string
	}{
		{"tls", m.TLS, []string{mail.StartTLS, mail.TLS, mail.Plain}},
		{"notices", m.Notices, []string{account.MailNever, account.MailAtOnce, account.MailDaily}},
	} {
		if !slices.Contains(choice.of, choice.is) {
			return fmt.Errorf("mail.%s = %q in %s must be one of: %s", choice.key, choice.is, at, strings.Join(choice.of, ", "))
		}
	}
	daily, err := time.Parse("15:04", m.DailyAt)
	if err != nil {
		return fmt.Errorf("mail.daily_at = %q in %s must be a time of day such as \"07:00\"", m.DailyAt, at)
	}
	m.Daily = time.Duration(daily.Hour())*time.Hour + time.Duration(daily.Minute())*time.Minute
	if m.Host == "" {
		return nil
	}
	if m.TLS == mail.Plain && !insecure {
		return fmt.Errorf("mail.tls = \"none\" in %s sends what people are told, and the password, in the clear: set it to \"starttls\" or \"tls\"; for a trial on one machine set insecure = true", at)
	}
	if m.port = m.Port; m.port == 0 {
		m.port = map[string]int{mail.StartTLS: 587, mail.TLS: 465, mail.Plain: 25}[m.TLS]
	}
	if m.port < 1 || m.port > 65535 {
		return fmt.Errorf("mail.port = %d in %s is no port", m.Port, at)
	}
	from, err := netmail.ParseAddress(m.From)
	if err != nil || mail.CheckAddress(from.Address) != nil {
		return fmt.Errorf("mail.from = %q in %s must be an address such as \"Weft <weft@example.org>\"", m.From, at)
	}
	if m.password = m.Password; m.PasswordFile != "" {
		if m.Password != "" {
			return fmt.Errorf("mail.password and mail.password_file in %s exclude each other: keep one", at)
		}
		b, err := os.ReadFile(m.PasswordFile)
		if err != nil {
			return fmt.Errorf("mail.password_file in %s cannot be read: %w", at, err)
		}
		m.password = ocm.Secret(strings.TrimSpace(string(b)))
	}
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Prefix(ip.BitLen())
	}
	return netip.ParsePrefix(s)
}

// Prepare makes the data directory, and at the first start the configuration
// file in it.
func (c *Config) Prepare() error {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("the data directory cannot be made: %w. Choose another with --data, or make it and give it to this user", err)
	}
	probe, err := os.CreateTemp(c.Data, ".probe-*")
	if err != nil {
		return fmt.Errorf("the data directory cannot be written to: %w. Give it to the user that runs the server (chown), or choose another with --data", err)
	}
	probe.Close()
	os.Remove(probe.Name())
	path := filepath.Join(c.Data, FileName)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Beside and renamed: half a file would be read at the next start.
	if err := os.WriteFile(path+".new", c.document(), 0o600); err != nil {
		os.Remove(path + ".new")
		return fmt.Errorf("the configuration file cannot be written: %w", err)
	}
	return os.Rename(path+".new", path)
}

// Sender is what sends e-mails; nil when none are sent.
func (c *Config) Sender(now func() time.Time) *mail.Sender {
	m := c.Mail
	if m.Host == "" {
		return nil
	}
	return &mail.Sender{
		Host: m.Host, Port: m.port, User: m.User, Password: m.password, From: m.From, TLS: m.TLS, Insecure: c.Insecure,
		Self: string(c.Host()), Now: now,
	}
}

// Origin is the public origin, without a trailing slash.
func (c *Config) Origin() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + string(c.Host())
}

// Host is the host of the public origin: what stands behind the @ of our
// addresses. A default port is left out.
func (c *Config) Host() ocm.Host {
	u, err := url.Parse(c.URL)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return ocm.Host(host)
}

// DatabasePath is the SQLite file.
func (c *Config) DatabasePath() string {
	if _, path, ok := strings.Cut(c.Database, ":"); ok {
		return path
	}
	return filepath.Join(c.Data, "weft.db")
}

// StoragePath is the directory of the homes.
func (c *Config) StoragePath() string {
	if _, path, ok := strings.Cut(c.Storage, ":"); ok {
		return path
	}
	return filepath.Join(c.Data, "homes")
}

// StagingPath is the directory of uploads that are not complete: beside the homes,
// on the disk that has room for files.
func (c *Config) StagingPath() string { return filepath.Join(c.StoragePath(), ".uploads") }

// CachePath is a directory of what can be made again.
func (c *Config) CachePath(name string) string { return filepath.Join(c.Data, "cache", name) }

// OpenBox opens the key that seals secrets at rest: WEFT_SECRET_KEY, or the
// file secret.key in the data directory.
func (c *Config) OpenBox() (*seal.Box, error) {
	if c.secretKey != "" {
		return seal.Parse(c.secretKey)
	}
	return seal.Open(filepath.Join(c.Data, "secret.key"))
}
