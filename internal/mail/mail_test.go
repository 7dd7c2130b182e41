package mail_test

import (
	"context"
	"errors"
	"mime"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/weftest"
	"github.com/weft-mesh/weft/ocm"
)

var letter = mail.Message{To: "alice@there.example", Subject: "Grüße", Text: "Ein Text.\n.\nmit Punkt", HTML: "<p>Ein Text.</p>", Unsubscribe: "https://here.example/settings"}

func sender(o *weftest.PostOffice, protection string) *mail.Sender {
	s := &mail.Sender{Host: "127.0.0.1", Port: o.Port, From: "Weft <weft@here.example>", TLS: protection, Insecure: true, Self: "here.example:8080", Now: time.Now}
	if o.Password != "" {
		s.User, s.Password = "weft", o.Password
	}
	return s
}

func TestAnEMailArrivesUnderEveryProtection(t *testing.T) {
	for protection, password := range map[string]ocm.Secret{mail.StartTLS: "a secret word", mail.TLS: "a secret word", mail.Plain: ""} {
		o := weftest.OpenPostOffice(t, protection, password)
		if err := sender(o, protection).Send(t.Context(), letter); err != nil {
			t.Errorf("%s: %v", protection, err)
			continue
		}
		messages := o.Messages()
		if len(messages) != 1 || o.To()[0] != letter.To {
			t.Fatalf("%s: %v to %v", protection, messages, o.To())
		}
		m, err := netmail.ReadMessage(strings.NewReader(messages[0]))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"List-Unsubscribe": "<https://here.example/settings>", "Auto-Submitted": "auto-generated", "To": "<alice@there.example>", "From": `"Weft" <weft@here.example>`,
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
	known := map[string]bool{}
	for _, name := range []string{"From", "To", "Subject", "Date", "Message-Id", "Auto-Submitted", "List-Unsubscribe", "Mime-Version", "Content-Type", "User-Agent", "X-Mailer"} {
		known[name] = true
	}
	o := weftest.OpenPostOffice(t, mail.Plain, "")
	s := sender(o, mail.Plain)
	for i, evil := range []string{"\r\nBcc: eve@evil.example", "\nBcc: eve@evil.example\n\nmore", "\u2028Bcc: x", "a\x00b\rBcc: c", "\xff\r\n\r\n."} {
		m := letter
		m.Subject, m.Unsubscribe, m.Text = "x"+evil, "https://here.example/"+evil, "text"+evil
		if err := s.Send(t.Context(), m); err != nil {
			t.Errorf("%q: %v", evil, err)
			continue
		}
		messages := o.Messages()
		got, err := netmail.ReadMessage(strings.NewReader(messages[len(messages)-1]))
		if err != nil {
			t.Fatal(err)
		}
		for name := range got.Header {
			if !known[name] {
				t.Errorf("%q made the header %s", evil, name)
			}
		}
		if len(o.To()) != i+1 {
			t.Errorf("%q reached %v", evil, o.To())
		}
		for _, to := range []string{letter.To + evil, "Eve <eve@evil.example>", "a@b.example, eve@evil.example", "", "eve", "<eve@evil.example>", "a@b.example>"} {
			m := letter
			m.To = to
			f, ok := errors.AsType[*mail.Failure](s.Send(t.Context(), m))
			if !ok || !f.Permanent || len(o.Messages()) != i+1 {
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
		speaks    string
		password  ocm.Secret
		refuse    error
		adjust    func(s *mail.Sender)
		want      string
		permanent bool
	}{
		"nobody there":       {speaks: mail.Plain, adjust: func(s *mail.Sender) { s.Port = closed.Addr().(*net.TCPAddr).Port }, want: "nothing answers at 127.0.0.1"},
		"no STARTTLS":        {speaks: mail.Plain, adjust: func(s *mail.Sender) { s.TLS = mail.StartTLS }, want: "offers no STARTTLS"},
		"no TLS":             {speaks: mail.Plain, adjust: func(s *mail.Sender) { s.TLS = mail.TLS }, want: "does not begin with TLS"},
		"a wrong name":       {speaks: mail.StartTLS, adjust: func(s *mail.Sender) { s.Insecure = false }, want: "certificate of"},
		"a wrong password":   {speaks: mail.StartTLS, password: "right", adjust: func(s *mail.Sender) { s.Password = "wrong" }, want: "refuses the name or the password"},
		"no such recipient":  {speaks: mail.Plain, refuse: &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "who?"}, want: "does not take messages to alice@there.example", permanent: true},
		"a recipient, later": {speaks: mail.Plain, refuse: &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "later"}, want: "does not take messages to alice@there.example"},
		"a bad sender":       {speaks: mail.Plain, adjust: func(s *mail.Sender) { s.From = "nobody" }, want: "mail.from", permanent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := weftest.OpenPostOffice(t, c.speaks, c.password)
			o.Refuse(c.refuse)
			s := sender(o, c.speaks)
			if c.adjust != nil {
				c.adjust(s)
			}
			f, ok := errors.AsType[*mail.Failure](s.Send(t.Context(), letter))
			if !ok || !strings.Contains(f.Sentence, c.want) || f.Permanent != c.permanent {
				t.Fatalf("%+v", f)
			}
			if len(o.Messages()) != 0 {
				t.Error("something was sent")
			}
			if s.Password != "" && strings.Contains(f.Error(), s.Password.Reveal()) {
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
	s := &mail.Sender{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, From: "weft@here.example", TLS: mail.Plain, Self: "here.example", Now: time.Now}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, ok := errors.AsType[*mail.Failure](s.Send(ctx, letter)); !ok {
		t.Error("it was sent")
	}
}
