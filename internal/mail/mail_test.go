package mail

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"mime"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// postOffice is an SMTP server that keeps what it is given.
type postOffice struct {
	mu       sync.Mutex
	from, to []string
	messages []string
	refuse   error  // at RCPT
	password string // "": nobody signs in
}

func (o *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &conversation{o}, nil }

type conversation struct{ *postOffice }

func (c *conversation) AuthMechanisms() []string { return []string{sasl.Plain} }
func (c *conversation) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "weft" || password != c.password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no"}
		}
		return nil
	}), nil
}
func (c *conversation) Reset()        {}
func (c *conversation) Logout() error { return nil }
func (c *conversation) Mail(from string, _ *smtp.MailOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from = append(c.from, from)
	return nil
}
func (c *conversation) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = append(c.to, to)
	return c.refuse
}
func (c *conversation) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = append(c.messages, string(b))
	return err
}

// open starts the server; with tls "" it offers no protection.
func (o *postOffice) open(t *testing.T, protection string) *Sender {
	t.Helper()
	srv := smtp.NewServer(o)
	srv.AllowInsecureAuth, srv.ErrorLog = o.password == "", log.New(io.Discard, "", 0)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if protection != Plain {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	}
	if protection == TLS {
		ln = tls.NewListener(ln, srv.TLSConfig)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return &Sender{Host: "127.0.0.1", Port: port, From: "Weft <weft@here.example>", TLS: protection, Insecure: true, Self: "here.example:8080", Now: time.Now}
}

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"elsewhere.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var letter = Message{To: "alice@there.example", Subject: "Grüße", Text: "Ein Text.\n.\nmit Punkt", HTML: "<p>Ein Text.</p>", Unsubscribe: "https://here.example/settings"}

func TestAnEMailArrivesUnderEveryProtection(t *testing.T) {
	for _, protection := range []string{StartTLS, TLS, Plain} {
		o := &postOffice{}
		if protection != Plain {
			o.password = "a secret word"
		}
		s := o.open(t, protection)
		if o.password != "" {
			s.User, s.Password = "weft", "a secret word"
		}
		if err := s.Send(t.Context(), letter); err != nil {
			t.Errorf("%s: %v", protection, err)
			continue
		}
		if len(o.messages) != 1 || o.from[0] != "weft@here.example" || o.to[0] != letter.To {
			t.Fatalf("%s: %+v", protection, o)
		}
		m, err := netmail.ReadMessage(strings.NewReader(o.messages[0]))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"List-Unsubscribe": "<https://here.example/settings>", "Auto-Submitted": "auto-generated", "To": "<alice@there.example>",
		} {
			if got := m.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q", protection, name, got)
			}
		}
		if subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || subject != "Grüße" {
			t.Errorf("%q, %v", m.Header.Get("Subject"), err)
		}
		if id := m.Header.Get("Message-Id"); !strings.HasSuffix(id, "@here.example>") {
			t.Errorf("%q", id)
		}
	}
}

func TestNothingInAnEMailBeginsAnotherHeader(t *testing.T) {
	for _, evil := range []string{"\r\nBcc: eve@evil.example", "\nBcc: eve@evil.example\n\nmore", "\u2028Bcc: x", "a\x00b\rBcc: c", "\xff\r\n\r\n."} {
		o := &postOffice{}
		s := o.open(t, Plain)
		s.From = "Weft <weft@here.example>"
		m := letter
		m.Subject, m.Unsubscribe, m.Text = "x"+evil, "https://here.example/"+evil, "text"+evil
		if err := s.Send(t.Context(), m); err != nil {
			t.Errorf("%q: %v", evil, err)
			continue
		}
		got, err := netmail.ReadMessage(strings.NewReader(o.messages[0]))
		if err != nil {
			t.Fatal(err)
		}
		for name := range got.Header {
			switch name {
			case "From", "To", "Subject", "Date", "Message-Id", "Auto-Submitted", "List-Unsubscribe", "Mime-Version", "Content-Type", "User-Agent", "X-Mailer":
			default:
				t.Errorf("%q made the header %s", evil, name)
			}
		}
		if len(o.to) != 1 {
			t.Errorf("%q reached %v", evil, o.to)
		}
		for _, to := range []string{letter.To + evil, "Eve <eve@evil.example>", "a@b.example, eve@evil.example", "", "eve", "<eve@evil.example>"} {
			m := letter
			m.To = to
			f, ok := errors.AsType[*Failure](s.Send(t.Context(), m))
			if !ok || !f.Permanent || len(o.messages) != 1 {
				t.Errorf("to %q: %v", to, f)
			}
		}
	}
}

func TestWhatFailsIsSaidInWords(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct {
		office    postOffice
		speaks    string
		adjust    func(s *Sender)
		want      string
		permanent bool
	}{
		"nobody there":       {speaks: Plain, adjust: func(s *Sender) { s.Port = closed.Addr().(*net.TCPAddr).Port }, want: "nothing answers at 127.0.0.1"},
		"no STARTTLS":        {speaks: Plain, adjust: func(s *Sender) { s.TLS = StartTLS }, want: "offers no STARTTLS"},
		"no TLS":             {speaks: Plain, adjust: func(s *Sender) { s.TLS = TLS }, want: "does not begin with TLS"},
		"a wrong name":       {speaks: StartTLS, adjust: func(s *Sender) { s.Insecure = false }, want: "certificate of"},
		"a wrong password":   {office: postOffice{password: "right"}, speaks: StartTLS, adjust: func(s *Sender) { s.User, s.Password = "weft", "wrong" }, want: "refuses the name or the password"},
		"no such recipient":  {office: postOffice{refuse: &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "who?"}}, speaks: Plain, want: "does not take messages to alice@there.example", permanent: true},
		"a recipient, later": {office: postOffice{refuse: &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "later"}}, speaks: Plain, want: "does not take messages to alice@there.example"},
		"a bad sender":       {speaks: Plain, adjust: func(s *Sender) { s.From = "nobody" }, want: "mail.from", permanent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.office
			s := o.open(t, c.speaks)
			if c.adjust != nil {
				c.adjust(s)
			}
			f, ok := errors.AsType[*Failure](s.Send(t.Context(), letter))
			if !ok || !strings.Contains(f.Sentence, c.want) || f.Permanent != c.permanent {
				t.Errorf("%+v", f)
			}
			if len(o.messages) != 0 {
				t.Error("something was sent")
			}
			if f != nil && strings.Contains(f.Error(), s.Password.Reveal()) && s.Password != "" {
				t.Error("the password is in the error")
			}
		})
	}
}

func TestASilentServerIsNotWaitedForLong(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := &Sender{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, From: "weft@here.example", TLS: Plain, Self: "here.example", Now: time.Now}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, ok := errors.AsType[*Failure](s.Send(ctx, letter)); !ok {
		t.Error("it was sent")
	}
}
