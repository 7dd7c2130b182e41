package weftest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/ocm"
)

// PostOffice is an SMTP server that keeps what it is given.
type PostOffice struct {
	Port     int
	Password ocm.Secret // of the user weft; "": nobody signs in

	mu       sync.Mutex
	refuse   error
	to       []string
	messages []string
}

// OpenPostOffice starts one that ends with the test. protection is as in the
// configuration.
func OpenPostOffice(t testing.TB, protection string, password ocm.Secret) *PostOffice {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &PostOffice{Port: ln.Addr().(*net.TCPAddr).Port, Password: password}
	srv := smtp.NewServer(o)
	srv.AllowInsecureAuth, srv.ErrorLog = password == "", log.New(io.Discard, "", 0)
	if protection != mail.Plain {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS12}
	}
	if protection == mail.TLS {
		ln = tls.NewListener(ln, srv.TLSConfig)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return o
}

// certificate is one that nobody has reason to trust.
func certificate(t testing.TB) tls.Certificate {
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

// Refuse answers every recipient with an error; nil takes them again.
func (o *PostOffice) Refuse(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = err
}

// To lists the recipients that were named.
func (o *PostOffice) To() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.to)
}

// Messages are those taken, as they came.
func (o *PostOffice) Messages() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.messages)
}

// NewSession implements smtp.Backend.
func (o *PostOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &conversation{o}, nil }

type conversation struct{ *PostOffice }

func (c *conversation) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *conversation) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "weft" || password != c.Password.Reveal() {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no"}
		}
		return nil
	}), nil
}

func (c *conversation) Reset()                               {}
func (c *conversation) Logout() error                        { return nil }
func (c *conversation) Mail(string, *smtp.MailOptions) error { return nil }

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
