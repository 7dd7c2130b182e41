package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// session is who the command line is signed in as. It is kept in a file that
// only its owner can read.
type session struct {
	URL     string `json:"url"`
	User    string `json:"user"`
	Address string `json:"address"`
	Token   string `json:"token"`

	client http.Client
}

// sessionPath is where the session is kept: $WEFT_SESSION, or a file in the
// user's configuration directory.
func sessionPath(io IO) (string, error) {
	for _, e := range io.Env {
		if v, ok := strings.CutPrefix(e, "WEFT_SESSION="); ok && v != "" {
			return v, nil
		}
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no place to keep the session: %w. Name a file in $WEFT_SESSION", err)
	}
	return filepath.Join(dir, "weft", "session.json"), nil
}

func openSession(io IO) (*session, error) {
	path, err := sessionPath(io)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("you are not signed in. Run: weft login URL --user NAME")
	}
	if err != nil {
		return nil, err
	}
	s := &session{}
	if err := json.Unmarshal(b, s); err != nil || s.URL == "" || s.Token == "" {
		return nil, fmt.Errorf("the session in %s is damaged. Run: weft login URL --user NAME", path)
	}
	return s, nil
}

func (s *session) save(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// problem is the API's answer to what it refuses (RFC 9457).
type problem struct {
	Status    int              `json:"status"`
	Detail    string           `json:"detail"`
	Code      string           `json:"code"`
	RequestID string           `json:"requestId"`
	Errors    []ocm.FieldError `json:"errors"`
}

func (p *problem) Error() string {
	msg := p.Detail
	for _, e := range p.Errors {
		if !strings.Contains(msg, e.Message) {
			msg += " (" + e.Name + ": " + e.Message + ")"
		}
	}
	if (p.Status >= 500 || p.Status == http.StatusForbidden) && p.RequestID != "" { // for the operator: weft explain
		msg += " (request " + p.RequestID + ")"
	}
	if p.Code == "SESSION_INVALID" {
		msg += " Run: weft login URL --user NAME"
	}
	return msg
}

// call makes one call of the API: in is sent as JSON unless nil, the answer is
// read into out unless nil.
func (s *session) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return s.send(req, out)
}

// send sends a request and reads the answer's JSON into out unless nil.
func (s *session) send(req *http.Request, out any) error {
	resp, err := s.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 256<<20)).Decode(out)
}

// do sends a request as the session's user and turns refusals into errors.
func (s *session) do(req *http.Request) (*http.Response, error) {
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	req.Header.Set("User-Agent", "weft")
	resp, err := s.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, fmt.Errorf("%s does not answer: %w", s.URL, err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	p := &problem{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(p); err != nil || p.Detail == "" {
		return nil, fmt.Errorf("%s answered %s; is it a Weft server?", s.URL, resp.Status)
	}
	return nil, p
}

type loginCmd struct {
	URL  string `arg:"" help:"The server, such as https://cloud.example.org."`
	User string `required:"" help:"Your name there." placeholder:"NAME"`
}

func (c *loginCmd) Help() string {
	return `The password is asked for, or read from standard input. The session is kept in
your configuration directory, or in the file that $WEFT_SESSION names.

Example:
  weft login https://cloud.example.org --user alice`
}

func (c *loginCmd) Run(ctx context.Context, io IO) error {
	origin, err := originOf(c.URL)
	if err != nil {
		return err
	}
	path, err := sessionPath(io)
	if err != nil {
		return err
	}
	password, err := readPassword(io)
	if err != nil {
		return err
	}
	s, err := signIn(ctx, origin, c.User, password)
	if err != nil {
		return err
	}
	if err := s.save(path); err != nil {
		return fmt.Errorf("the session cannot be kept: %w", err)
	}
	fmt.Fprintf(io.Out, "Signed in as %s\n", s.Address)
	return nil
}

func originOf(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return "", usagef("%q is not a server's address; write it like https://cloud.example.org", s)
	}
	return u.Scheme + "://" + u.Host, nil
}

func signIn(ctx context.Context, origin, user string, password ocm.Secret) (*session, error) {
	s := &session{URL: origin}
	host, _ := os.Hostname()
	var answer struct {
		Token string `json:"token"`
		User  struct {
			Name    string `json:"name"`
			Address string `json:"address"`
		} `json:"user"`
	}
	err := s.call(ctx, "POST", "/login", map[string]string{"user": user, "password": password.Reveal(), "label": "weft on " + host}, &answer)
	if err != nil {
		return nil, err
	}
	s.Token, s.User, s.Address = answer.Token, answer.User.Name, answer.User.Address
	return s, nil
}

type logoutCmd struct{}

func (c *logoutCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	path, err := sessionPath(io)
	if err != nil {
		return err
	}
	// The file goes even when the server does not answer.
	return errors.Join(s.call(ctx, "POST", "/logout", nil, nil), os.Remove(path))
}
