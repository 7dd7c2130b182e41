package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheCommandLineWinsOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "url = \"https://file.example.org\"\nlisten = \"file:1\"\nprovider = \"File\"\n[log]\nlevel = \"warn\"\n")
	c, err := Load(Options{
		Data: dir, Env: []string{"WEFT_LISTEN=env:1", "WEFT_URL=https://env.example.org", "WEFT_LOG_FORMAT=json", "WEFT_TRUSTED_PROXIES=127.0.0.1,10.0.0.0/8", "WEFT_PROVIDER=", "OTHER=x"},
		Flags: map[string]string{"url": "https://flag.example.org", "insecure": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.URL != "https://flag.example.org" || c.Listen != "env:1" || c.Provider != "File" || c.Log.Level != "warn" || c.Log.Format != "json" || !c.Insecure || c.Data != dir {
		t.Errorf("%+v", c)
	}
	if err := c.Check(); err != nil || len(c.TrustedProxies) != 2 {
		t.Errorf("%v, %v", c.TrustedProxies, err)
	}
	if c.Delivery.GiveUpAfter != 72*time.Hour {
		t.Errorf("a default is lost: %+v", c.Delivery)
	}
}

func TestTheFirstFileExplainsEveryKeyAndReadsBackTheSame(t *testing.T) {
	c := Default()
	c.Data, c.URL, c.Insecure, c.Limits.StallTimeout, c.Proxies = t.TempDir(), "https://a.example.org", true, 90*time.Second, []string{"10.0.0.1"}
	if err := c.Prepare(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(c.Data, FileName))
	if err != nil {
		t.Fatal(err)
	}
	for name := range values(c) {
		if name == "data" {
			continue
		}
		if !known(name) {
			t.Errorf("%s is not among the keys", name)
		}
		_, last, ok := strings.Cut(name, ".")
		if !ok {
			last = name
		}
		if !strings.Contains(string(b), "\n"+last+" = ") && !strings.Contains(string(b), "\n# "+last+" = ") {
			t.Errorf("%s is not explained", name)
		}
	}
	back, err := Load(Options{Data: c.Data})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(values(back), values(c)) {
		t.Errorf("read back %v\nwritten %v", values(back), values(c))
	}
	if err := c.Prepare(); err != nil {
		t.Errorf("a second start: %v", err)
	}
}

func TestEveryKeyHasAVariable(t *testing.T) {
	seen := map[string]string{}
	for variable, key := range envKeys() {
		if other, ok := seen[variable]; ok {
			t.Errorf("%s stands for %s and %s", variable, key, other)
		}
		seen[variable] = key
	}
	if len(seen) != len(keys) {
		t.Errorf("%d variables for %d keys", len(seen), len(keys))
	}
}

func TestMistakesInTheFileSayWhatToDo(t *testing.T) {
	for text, want := range map[string]string{
		"url = \"x":                           "is not valid TOML",
		"lisen = \"x\"":                       `unknown key "lisen"; is "listen" meant?`,
		"[log]\nlevle = \"x\"":                `unknown key "log.levle"; is "log.level" meant?`,
		"[limits]\nmax_body = \"a lot\"":      "wrong kind",
		"[delivery]\nfirst_retry = \"soon\"":  "wrong kind",
		"something_else_altogether = \"x\"\n": `unknown key "something_else_altogether"`,
	} {
		dir := t.TempDir()
		write(t, dir, text)
		if _, err := Load(Options{Data: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(Options{File: filepath.Join(t.TempDir(), "none.toml")}); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("%v", err)
	}
}

func TestWhatCannotWorkSaysWhatToWriteWhere(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"write url = ":                     func(c *Config) { c.URL = "" },
		"must be an origin":                func(c *Config) { c.URL = "https://a.example.org/path" },
		"must be an origin such":           func(c *Config) { c.URL = "cloud.example.org" },
		"must be https":                    func(c *Config) { c.URL = "http://a.example.org" },
		"not a host":                       func(c *Config) { c.URL = "https://a_b..example" },
		"belong together":                  func(c *Config) { c.TLS.Cert = "x" },
		"neither an address nor a network": func(c *Config) { c.Proxies = []string{"proxy"} },
		"log.level":                        func(c *Config) { c.Log.Level = "loud" },
		"log.format":                       func(c *Config) { c.Log.Format = "xml" },
		"must be sqlite:PATH":              func(c *Config) { c.Database = "mysql://x" },
		"must be file:PATH":                func(c *Config) { c.Storage = "s3://x" },
		"longer than nothing":              func(c *Config) { c.Delivery.FirstRetry = 0 },
		"limits.max_body":                  func(c *Config) { c.Limits.MaxBody = 10 },
		"mail.tls = \"ssl\"":               func(c *Config) { c.Mail.TLS = "ssl" },
		"mail.notices":                     func(c *Config) { c.Mail.Notices = "hourly" },
		"mail.daily_at":                    func(c *Config) { c.Mail.DailyAt = "7 in the morning" },
		"mail.from":                        func(c *Config) { c.Mail.Host = "smtp.example.org" },
		"in the clear":                     func(c *Config) { c.Mail.Host, c.Mail.TLS = "smtp.example.org", "none" },
		"exclude each other": func(c *Config) {
			c.Mail.Host, c.Mail.From, c.Mail.Password, c.Mail.PasswordFile = "smtp.example.org", "weft@example.org", "x", "y"
		},
		"mail.password_file": func(c *Config) {
			c.Mail.Host, c.Mail.From, c.Mail.PasswordFile = "smtp.example.org", "weft@example.org", "/no/such/file"
		},
	} {
		c := Default()
		c.URL = "https://a.example.org"
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		change(c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestThePasswordOfTheMailServerStaysWhereItIs(t *testing.T) {
	dir := t.TempDir()
	c, err := Load(Options{Data: dir, Env: []string{"WEFT_URL=https://a.example.org", "WEFT_MAIL_HOST=smtp.example.org", "WEFT_MAIL_FROM=Weft <weft@example.org>", "WEFT_MAIL_PASSWORD=a secret word"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Check(), c.Prepare()); err != nil {
		t.Fatal(err)
	}
	if s := c.Sender(time.Now); s.Password.Reveal() != "a secret word" || s.Port != 587 || s.TLS != "starttls" {
		t.Errorf("%+v", s)
	}
	b, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil || strings.Contains(string(b), "a secret word") || !strings.Contains(string(b), "# password = \"\"") || !strings.Contains(string(b), "# port = 0") {
		t.Errorf("%v\n%s", err, b)
	}
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte("of the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "url = \"https://a.example.org\"\n[mail]\nhost = \"smtp.example.org\"\nfrom = \"weft@example.org\"\ntls = \"tls\"\npassword_file = \""+file+"\"\n")
	if c, err = Load(Options{Data: dir}); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if s := c.Sender(time.Now); s.Password.Reveal() != "of the file" || s.Port != 465 {
		t.Errorf("%+v", s)
	}
	if Default().Sender(time.Now) != nil {
		t.Error("e-mails are sent without a host")
	}
}

func TestOriginAndHost(t *testing.T) {
	for in, want := range map[string][2]string{
		"https://Cloud.Example.ORG/":     {"https://cloud.example.org", "cloud.example.org"},
		"https://cloud.example.org:443":  {"https://cloud.example.org", "cloud.example.org"},
		"https://cloud.example.org:8443": {"https://cloud.example.org:8443", "cloud.example.org:8443"},
		"http://localhost:80":            {"http://localhost", "localhost"},
		"http://[::1]:9201":              {"http://[::1]:9201", "[::1]:9201"},
	} {
		c := &Config{URL: in}
		if c.Origin() != want[0] || string(c.Host()) != want[1] {
			t.Errorf("%s: %s and %s", in, c.Origin(), c.Host())
		}
	}
}

func TestTheSealingKeyMayComeFromTheEnvironment(t *testing.T) {
	c, err := Load(Options{Data: t.TempDir(), Env: []string{"WEFT_SECRET_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.OpenBox(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(c.Data, "secret.key")); err == nil {
		t.Error("a key file was made all the same")
	}
}

func TestSettingsSayWhereTheyComeFromAndShowNoSecret(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "url = \"https://file.example.org\"\nprovider = \"File\"\n")
	c, err := Load(Options{
		Data: dir, Env: []string{"WEFT_PROVIDER=Env", "WEFT_LISTEN=env:1"},
		Flags: map[string]string{"listen": "flag:1", "database": "postgres://weft:hunter2@db/weft"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Setting{}
	for _, s := range c.Settings() {
		got[s.Key] = s
		if strings.Contains(s.Value, "hunter2") {
			t.Errorf("%+v", s)
		}
	}
	for key, want := range map[string][2]string{
		"url": {`"https://file.example.org"`, FromFile}, "provider": {`"Env"`, FromEnvironment}, "listen": {`"flag:1"`, FromFlag},
		"delivery.first_retry": {`"2s"`, FromDefault}, "limits.stall_timeout": {`"1m"`, FromDefault}, "audit.keep_for": {`"8760h"`, FromDefault},
	} {
		if s := got[key]; s.Value != want[0] || s.From != want[1] || s.Variable == "" {
			t.Errorf("%s: %+v", key, s)
		}
	}
	if len(got) != len(keys) || c.SealedBy() != FromFile {
		t.Errorf("%d settings of %d keys", len(got), len(keys))
	}
	for key, hidden := range map[string]bool{"smtp.password": true, "oidc.client_secret": true, "tls.key": false} {
		if is := shown(key, "hunter2") != `"hunter2"`; is != hidden {
			t.Errorf("%s is hidden: %v", key, is)
		}
	}
	if v := shown("federation.must_exchange_token", true); v != "true" {
		t.Error(v)
	}
}
