// Package mail sends e-mails through the operator's SMTP server, and says in
// words what failed.
package mail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"syscall"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/weft-mesh/weft/ocm"
)

// How the connection to the SMTP server is protected.
const (
	StartTLS = "starttls" // from the first command on; usual on port 587
	TLS      = "tls"      // from the first byte on; usual on port 465
	Plain    = "none"     // not at all: for trials
)

// Sender sends e-mails through one SMTP server.
type Sender struct {
	Host     string
	Port     int
	User     string // "": without signing in
	Password ocm.Secret
	From     string // address, or Name <address>
	TLS      string
	Insecure bool   // certificates are not verified
	Self     string // our host name, for message ids
	Now      func() time.Time
}

// Message is an e-mail in words.
type Message struct {
	To          string // address
	Subject     string
	Text        string
	HTML        string // "": none
	Unsubscribe string // where the person can end the e-mails; "": nowhere
}

// Failure is why an e-mail did not leave, in a sentence for the operator.
type Failure struct {
	Sentence  string
	Permanent bool // trying again would not mend it
	Err       error
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Sentence
	}
	return f.Sentence + " (" + oneLine(f.Err.Error()) + ")"
}

func (f *Failure) Unwrap() error { return f.Err }

// budget is how long the server may take for each step of the conversation.
const budget = 15 * time.Second

// CheckAddress reports why text is not the address of one person.
func CheckAddress(text string) error {
	a, err := netmail.ParseAddress(text)
	if err != nil || a.Address != text || len(text) > 254 || ocm.DisplayName(text) != text || strings.ContainsAny(text, " ,;<>\"") {
		return ocm.Invalid("email", "is not an e-mail address")
	}
	return nil
}

// Send sends an e-mail. Its error is a Failure.
func (s *Sender) Send(ctx context.Context, m Message) error {
	msg, err := s.compose(m)
	if err != nil {
		return err
	}
	patience := budget
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, max(time.Until(end), time.Millisecond))
	}
	options := []gomail.Option{
		gomail.WithPort(s.Port), gomail.WithTimeout(patience), gomail.WithHELO(helo(s.Self)),
		gomail.WithTLSConfig(&tls.Config{ServerName: s.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.Insecure}),
	}
	switch s.TLS {
	case TLS:
		options = append(options, gomail.WithSSL())
	case Plain:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.User != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.User), gomail.WithPassword(s.Password.Reveal()))
	}
	client, err := gomail.NewClient(s.Host, options...)
	if err != nil {
		return &Failure{"the e-mail configuration cannot be used", true, err}
	}
	if err := client.DialWithContext(ctx); err != nil {
		return s.unreached(err)
	}
	err = client.Send(msg)
	client.Close() // what the server has, it has
	if err != nil {
		return s.refused(m.To, err)
	}
	return nil
}

// compose makes the message. Whatever its texts hold, they stay in their place:
// what could begin another header is gone from the headers.
func (s *Sender) compose(m Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg()
	from, err := netmail.ParseAddress(s.From)
	if err != nil {
		return nil, &Failure{fmt.Sprintf("mail.from = %q is not an e-mail address", s.From), true, err}
	}
	if err := msg.FromFormat(oneLine(from.Name), from.Address); err != nil {
		return nil, &Failure{fmt.Sprintf("mail.from = %q cannot be used", s.From), true, err}
	}
	if err := CheckAddress(m.To); err != nil {
		return nil, &Failure{fmt.Sprintf("%q is not an e-mail address", oneLine(m.To)), true, nil}
	}
	if err := msg.To(m.To); err != nil {
		return nil, &Failure{fmt.Sprintf("%q is not an e-mail address", oneLine(m.To)), true, err}
	}
	msg.Subject(oneLine(m.Subject))
	msg.SetDateWithValue(s.Now())
	msg.SetMessageIDWithValue(rand.Text() + "@" + helo(s.Self))
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	if m.Unsubscribe != "" {
		msg.SetGenHeader("List-Unsubscribe", "<"+oneLine(m.Unsubscribe)+">")
	}
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg, nil
}

// oneLine is text fit for a header: without line ends and other characters that
// are not seen.
func oneLine(s string) string {
	return ocm.DisplayName(strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " "))
}

// helo is our host's name without its port.
func helo(self string) string {
	if host, _, err := net.SplitHostPort(self); err == nil {
		return host
	}
	return self
}

// unreached explains why the conversation did not come to the message.
func (s *Sender) unreached(err error) error {
	at := net.JoinHostPort(s.Host, fmt.Sprint(s.Port))
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	var said *textproto.Error
	var slow net.Error
	f := &Failure{Sentence: at + " cannot be spoken to", Err: err}
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		f.Sentence = "there is no server named " + s.Host + ": check mail.host"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Sentence = "nothing answers at " + at + ": check mail.host and mail.port"
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid):
		f.Sentence = "the certificate of " + at + " cannot be verified"
	case errors.As(err, &noTLS):
		f.Sentence = at + ` does not begin with TLS: set mail.tls = "starttls", or another mail.port`
	case strings.Contains(err.Error(), "STARTTLS"):
		f.Sentence = at + ` offers no STARTTLS: set mail.tls = "tls", or another mail.port`
	case strings.Contains(err.Error(), "does not support SMTP AUTH"), errors.Is(err, gomail.ErrNoSupportedAuthDiscovered):
		f.Sentence = at + " takes no name and password, at least not over this connection: check mail.tls, or leave mail.user empty"
	case errors.As(err, &said) && said.Code/10 == 53:
		f.Sentence = at + " refuses the name or the password: check mail.user and mail.password"
	case errors.As(err, &said):
		f.Sentence = fmt.Sprintf("%s answers %d", at, said.Code)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		f.Sentence = at + " does not answer in time"
	}
	return f // the operator can mend all of this: it is tried again
}

// refused explains why a message was not taken.
func (s *Sender) refused(to string, err error) error {
	f := &Failure{Sentence: "the message was not taken", Err: err}
	e, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return f
	}
	f.Permanent = !e.IsTemp() && e.ErrorCode()/100 == 5
	switch e.Reason {
	case gomail.ErrSMTPMailFrom:
		f.Sentence = s.Host + " does not take messages from " + oneLine(s.From) + ": check mail.from"
		f.Permanent = false // the operator can mend it
	case gomail.ErrSMTPRcptTo:
		f.Sentence = s.Host + " does not take messages to " + to
	case gomail.ErrSMTPData, gomail.ErrSMTPDataClose, gomail.ErrWriteContent:
		f.Sentence = s.Host + " does not take the message"
	}
	return f
}
