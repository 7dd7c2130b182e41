package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"

	"github.com/weft-mesh/weft/ocm"
)

// setting is a key of the file with what it means.
type setting struct{ name, help string }

// keys are all keys, in the order of the file.
var keys = []setting{
	{"url", "Where people and other servers reach this server: scheme and host, as in\nhttps://cloud.example.org. It is part of every address and signature, so it is\nset here and never guessed; changing it later breaks the shares that exist."},
	{"listen", "The address the server listens on. Behind a proxy keep it on loopback; with a\ncertificate of its own (below) \":443\" is usual."},
	{"provider", "The name other servers show for this one."},
	{"database", "The database, as sqlite:PATH. Empty: weft.db in this directory."},
	{"storage", "Where people's files are kept, as file:PATH. Empty: homes in this directory."},
	{"trash_for", "How long what people delete can be had back from their trash, as in 720h; 0s is not\nat all. A trash holds at most as many bytes as its owner's quota."},
	{"insecure", "Allows plain http, self-signed certificates and private addresses, here and at\nother servers. For trials on one machine only."},
	{"trusted_proxies", "Proxies whose X-Forwarded-For is believed, as addresses or networks."},
	{"tls.cert", "The server's own certificate chain and key, as PEM files. Leave both empty when\na proxy speaks TLS."},
	{"tls.key", ""},
	{"log.level", "debug, info, warn or error."},
	{"log.format", "text or json."},
	{"limits.max_body", "Bytes of a message from another server or to the API. Files are not limited\nby this."},
	{"limits.header_timeout", "How long a client may take to send its request's header."},
	{"limits.stall_timeout", "How long a transfer of a file may stand still."},
	{"limits.address_rate", "Requests a second, and how many at once beyond that: from one address; messages\nfrom one other server; from one user, or through one share. A rate of 0 is no\nlimit."},
	{"limits.address_burst", ""},
	{"limits.peer_rate", ""},
	{"limits.peer_burst", ""},
	{"limits.user_rate", ""},
	{"limits.user_burst", ""},
	{"federation.mode", "Whom to deal with where no rule of `weft peer` says otherwise: open (everyone),\nallowlist (nobody), or directory (the servers that a subscribed directory lists)."},
	{"federation.must_invite", "Take shares only from people whom an invite made known to the recipient\n(criterion must-invite)."},
	{"federation.quarantine_strangers", "Shares of people who are in no recipient's address book wait apart from the\nothers."},
	{"federation.must_use_http_sig", "Refuse every message that is not signed (criterion must-use-http-sig)."},
	{"federation.must_exchange_token", "Take only shares that are opened with short-lived tokens (criterion\nmust-exchange-token)."},
	{"federation.allow_unsigned", "Take unsigned messages from servers that cannot sign."},
	{"federation.approve_keys", "A new key of a known server is used only after `weft peer keys HOST --approve`."},
	{"federation.legacy_discovery", "Answer at /ocm-provider too, where servers before OCM 1.1 look."},
	{"federation.legacy_signatures", "Publish a key for draft-cavage where older servers look, and sign so to those that know\nnothing newer, such as Nextcloud 31 and 32 (for one server: weft peer require --cavage).\nTheir own signatures are verified in any case. Once a server was sent one, it has to go\non: it refuses unsigned messages of a server that signed before."},
	{"federation.signature_max_age", "How old a signature may be, and how far ahead its server's clock."},
	{"federation.signature_max_ahead", ""},
	{"federation.invite_life", "How long an invite can be accepted when its sender does not say."},
	{"federation.pseudonyms", "Give every contact by invite an address of its own for the person here, so that\nservers cannot tell by it whom else they know."},
	{"federation.directory_refresh", "How often the directories of `weft directory` are read."},
	{"federation.explain_for", "How long `weft explain` can say how a request was decided. 0s keeps nothing."},
	{"federation.wire", "Keep what goes over the wire to and from other servers, with secrets masked, for\n`weft wire`; for one server: `weft wire keep`."},
	{"federation.wire_for", "For how long; 0s keeps nothing."},
	{"federation.requests", "Who may ask people here for a share: contacts (their own, and servers that a rule of\n`weft peer` or a directory names), everyone, or nobody."},
	{"federation.reshares", "When someone with the right to pass a share on asks to include another: auto (the\nright is the owner's consent), ask (the owner), or no."},
	{"federation.request_life", "After how long a request without an answer is given up."},
	{"delivery.first_retry", "When a server does not answer: the first pause, the longest pause, and after\nhow long a message is given up. It then stays visible and can be resent."},
	{"delivery.max_retry", ""},
	{"delivery.give_up_after", ""},
	{"notices.keep", "How long people's notices of what happened are kept."},
	{"mail.host", "The SMTP server for e-mails to people here. Empty: no e-mails are sent. To try it:\n`weft mail test --to ADDRESS`."},
	{"mail.port", "0: 587 for starttls, 465 for tls, 25 for none."},
	{"mail.tls", "How the connection is protected: starttls, tls (from the first byte on), or none\n(only with insecure)."},
	{"mail.user", "Empty: without signing in."},
	{"mail.password", "The password, or a file that holds it, or WEFT_MAIL_PASSWORD in the environment."},
	{"mail.password_file", ""},
	{"mail.from", "Whom the e-mails come from, as in \"Weft <weft@example.org>\"."},
	{"mail.notices", "When notices go by e-mail to people who did not choose: never, at-once or daily."},
	{"mail.daily_at", "When the daily e-mails leave, by the server's clock."},
	{"mail.first_retry", "When the SMTP server does not take an e-mail: the first pause, the longest, and\nafter how long the e-mail is given up."},
	{"mail.max_retry", ""},
	{"mail.give_up_after", ""},
	{"audit.keep_for", "How long `weft audit` knows who did what to whom. 0s keeps it forever."},
}

// document is the configuration file that explains itself: every key with its
// meaning. What differs from the default is set, the rest is commented out.
func (c *Config) document() []byte {
	now, def := values(c), values(Default())
	var b strings.Builder
	b.WriteString("# Configuration of this Weft server. A line with # in front shows the default.\n" +
		"# Every key can also be given in the environment: log.level as WEFT_LOG_LEVEL.\n")
	table := ""
	for _, k := range keys {
		section, name, ok := strings.Cut(k.name, ".")
		if !ok {
			section, name = "", k.name
		}
		if section != table {
			table = section
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		if k.help != "" {
			b.WriteString("\n# " + strings.ReplaceAll(k.help, "\n", "\n# ") + "\n")
		}
		if secret, ok := now[k.name].(ocm.Secret); ok { // it came from elsewhere, and stays there
			now[k.name] = string(secret[:0])
			b.WriteString("# ")
		} else if reflect.DeepEqual(now[k.name], def[k.name]) {
			b.WriteString("# ")
		}
		fmt.Fprintf(&b, "%s = %s\n", name, literal(now[k.name]))
	}
	return []byte(b.String())
}

// values flattens a configuration by key.
func values(c *Config) map[string]any {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(*c, "koanf"), nil); err != nil {
		panic(err) // the type is ours
	}
	return k.All()
}

// literal writes a value in TOML.
func literal(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return fmt.Sprintf("%q", v.String())
	case string:
		return fmt.Sprintf("%q", v)
	case []string:
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	default:
		return fmt.Sprint(v)
	}
}
