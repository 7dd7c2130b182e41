package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/seal"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/ocm"
)

type demoCmd struct {
	Once bool   `help:"Walk through the whole story, a line a step, and end."`
	Dir  string `help:"Keep the two servers' data here. Default: a temporary directory." placeholder:"DIR"`
}

func (c *demoCmd) Help() string {
	return `Starts two servers on this machine, one for Alice and one for Bob, with sample
files and a first share, and prints what to try. Ctrl-C stops it.

  weft demo          try it yourself
  weft demo --once   see it done; the exit code says whether every step went well`
}

func (c *demoCmd) Run(ctx context.Context, streams IO) error {
	dir := c.Dir
	if dir == "" {
		tmp, err := os.MkdirTemp("", "weft-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	var sites [2]*site
	for i, def := range []struct{ name, title, port, user, display string }{
		{"north", "North University", "9201", "alice", "Alice Andersen"},
		{"south", "South Institute", "9202", "bob", "Bob Baptiste"},
	} {
		s, err := openSite(ctx, filepath.Join(dir, def.name), def.title, def.port, def.user, def.display)
		if err != nil {
			stop()
			return errors.Join(err, g.Wait())
		}
		defer s.server.Close()
		sites[i] = s
		g.Go(func() error { return s.server.Run(ctx, s.listener) })
		if err := s.signIn(ctx); err != nil {
			stop()
			return errors.Join(err, g.Wait())
		}
	}
	story := &story{out: streams.Out, alice: sites[0], bob: sites[1]}
	story.begin()
	var err error
	if c.Once {
		err = story.whole(ctx)
	} else if err = story.first(ctx); err == nil {
		story.invite(dir)
		<-ctx.Done()
		fmt.Fprintln(streams.Out, "\nStopping both servers.")
	}
	stop()
	return errors.Join(err, g.Wait())
}

// site is one server of the demo with the one person on it.
type site struct {
	title    string
	origin   string
	user     string
	password ocm.Secret
	app      ocm.Secret
	dir      string
	listener net.Listener
	server   *server.Server
	session  *session
	wire     *tap
}

func openSite(ctx context.Context, dir, title, port, user, display string) (*site, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil { // taken: any other will do
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, err
	}
	s := &site{title: title, origin: "http://localhost:" + port, user: user, dir: dir, listener: ln, wire: newTap()}
	conf := config.Default()
	conf.URL, conf.Data, conf.Provider, conf.Insecure = s.origin, dir, title, true
	conf.Listen = ln.Addr().String()
	conf.Delivery.FirstRetry = 500 * time.Millisecond
	if err := errors.Join(conf.Check(), conf.Prepare()); err != nil {
		ln.Close()
		return nil, err
	}
	if s.server, err = server.New(ctx, conf, server.Env{Log: slog.New(s.wire)}); err != nil {
		ln.Close()
		return nil, err
	}
	s.password = seal.Token(9)
	u, err := s.server.Accounts.Add(ctx, account.NewUser{Name: user, DisplayName: display, Password: s.password, Admin: true})
	if errors.Is(err, account.ErrUserExists) { // --dir of an earlier demo
		if u, err = s.server.Accounts.ByName(ctx, user); err == nil {
			err = s.server.Accounts.SetPassword(ctx, u.ID, s.password)
		}
	}
	if err == nil {
		s.app, err = s.server.Accounts.AppPassword(ctx, u.ID, "demo")
	}
	if err != nil {
		return nil, errors.Join(err, s.server.Close(), ln.Close())
	}
	return s, nil
}

func (s *site) signIn(ctx context.Context) (err error) {
	if s.session, err = signIn(ctx, s.origin, s.user, s.password); err != nil {
		return err
	}
	return s.session.save(s.sessionFile())
}

func (s *site) sessionFile() string { return filepath.Join(s.dir, s.user+".session") }

// story is what the demo tells.
type story struct {
	out        io.Writer
	alice, bob *site
	step       int
	share      sentShare
	received   receivedShare
	began      time.Time
}

const sharedFolder = "Reef survey"

func (t *story) begin() {
	t.began = time.Now()
	for _, s := range []*site{t.alice, t.bob} {
		fmt.Fprintf(t.out, "%-18s %s   %s\n", s.title, s.origin, s.session.Address)
	}
	fmt.Fprintln(t.out)
}

// tell prints a step that went well.
func (t *story) tell(format string, args ...any) {
	t.step++
	fmt.Fprintf(t.out, "%2d. %s\n", t.step, fmt.Sprintf(format, args...))
}

// wire prints what a step did between the servers.
func (t *story) wire(s *site, line string) { fmt.Fprintf(t.out, "      %s: %s\n", s.title, line) }

// meet has Alice invite Bob.
func (t *story) meet(ctx context.Context) error {
	var i sentInvite
	if err := t.alice.session.call(ctx, "POST", "/invites", map[string]any{"note": "met at the reef"}, &i); err != nil {
		return t.failed("invited", err)
	}
	t.tell("Alice meets Bob, who has his account elsewhere, and sends him an invite.")
	fmt.Fprintf(t.out, "      %s\n", i.Link)
	var a acceptance
	if err := t.bob.session.call(ctx, "POST", "/invites/accept", map[string]any{"invite": i.Link}, &a); err != nil {
		return t.failed("invite accepted", err)
	}
	if a.State != "accepted" {
		return t.failed("invite accepted", fmt.Errorf("it is %s: %s", a.State, a.Reason))
	}
	line, err := t.alice.wire.await(ctx, "POST", "/ocm/invite-accepted", http.StatusOK)
	if err != nil {
		return t.failed("invite accepted", err)
	}
	t.tell("Bob accepts it on his own server, which tells hers.")
	t.wire(t.alice, line)
	for _, of := range []struct {
		owner *site
		other string
	}{{t.alice, t.bob.session.Address}, {t.bob, t.alice.session.Address}} {
		if _, err := of.owner.session.findContact(ctx, of.other); err != nil {
			return t.failed("each in the other's address book", err)
		}
	}
	t.tell("Now each is in the other's address book, and both can share.")
	return nil
}

// endEarlier ends what an earlier demo in the same directory shared.
func (t *story) endEarlier(ctx context.Context) error {
	all, err := t.alice.session.shares(ctx)
	if err != nil {
		return err
	}
	for _, s := range all.Sent {
		if s.Path == sharedFolder && s.State != "ended" && s.State != "declined" {
			if err := t.alice.session.call(ctx, "DELETE", "/shares/"+s.ID, nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// first makes the files and the first share, up to Bob's inbox.
func (t *story) first(ctx context.Context) error {
	if err := t.meet(ctx); err != nil {
		return err
	}
	if err := t.files(ctx); err != nil {
		return err
	}
	in := map[string]any{
		"path": sharedFolder, "with": t.bob.session.Address, "permissions": []string{"read", "write"},
		"message": "The survey we spoke about.",
	}
	if err := t.endEarlier(ctx); err != nil {
		return t.failed("shares of an earlier demo ended", err)
	}
	if err := t.alice.session.call(ctx, "POST", "/shares", in, &t.share); err != nil {
		return t.failed("share created", err)
	}
	t.tell("Alice shares %q with %s to read and write.", sharedFolder, t.bob.session.Address)
	line, err := t.bob.wire.await(ctx, "POST", "/ocm/shares", http.StatusCreated)
	if err != nil {
		return t.failed("share delivered", err)
	}
	t.tell("Her server delivers it, signed; Bob's verifies the signature.")
	t.wire(t.bob, line)
	return t.until(ctx, "share in Bob's inbox", func() (bool, error) {
		all, err := t.bob.session.shares(ctx)
		if err != nil {
			return false, err
		}
		for _, r := range all.Received {
			if r.State == "pending" && r.Sender == t.alice.session.Address {
				t.received = r
				return true, nil
			}
		}
		return false, nil
	})
}

// files puts sample files into Alice's home, unless an earlier demo did.
func (t *story) files(ctx context.Context) error {
	s := t.alice.session
	if l, err := s.list(ctx, sharedFolder); err == nil && l.Self.Folder {
		return nil
	}
	for _, dir := range []string{sharedFolder, sharedFolder + "/Photos", sharedFolder + "/Data"} {
		if err := s.call(ctx, "POST", "/files/folder", map[string]string{"path": dir}, nil); err != nil {
			return t.failed("sample files", err)
		}
	}
	for name, content := range sampleFiles() {
		if err := s.putBytes(ctx, name, content); err != nil {
			return t.failed("sample files", err)
		}
	}
	return nil
}

// putBytes uploads a small file.
func (s *session) putBytes(ctx context.Context, name string, content []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.contentURL(name), bytes.NewReader(content))
	if err != nil {
		return err
	}
	resp, err := s.do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// whole walks through everything.
func (t *story) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, chapter := range []func(context.Context) error{t.first, t.accept, t.read, t.write, t.restrict, t.end} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, "\nEvery step went well, in %.1f s. Try it yourself: weft demo\n", time.Since(t.began).Seconds())
	return nil
}

func (t *story) accept(ctx context.Context) error {
	if err := t.bob.session.call(ctx, "POST", "/received/"+t.received.ID+"/accept", nil, &t.received); err != nil {
		return t.failed("accepted", err)
	}
	t.tell("Bob accepts; it stands beside his own files as %q.", t.received.Path)
	line, err := t.alice.wire.await(ctx, "POST", "/ocm/notifications", http.StatusCreated)
	if err != nil {
		return t.failed("acceptance delivered", err)
	}
	t.wire(t.alice, line)
	err = t.until(ctx, "Alice sees the acceptance", func() (bool, error) {
		all, err := t.alice.session.shares(ctx)
		if err != nil {
			return false, err
		}
		for _, o := range all.Sent {
			if o.ID == t.share.ID {
				return o.State == "accepted", nil
			}
		}
		return false, nil
	})
	if err == nil {
		t.tell("Alice sees that he did.")
	}
	return err
}

func (t *story) read(ctx context.Context) error {
	l, err := t.bob.session.list(ctx, t.received.Path)
	if err != nil {
		return t.failed("folder listed", err)
	}
	line, err := t.alice.wire.await(ctx, "POST", "/ocm/token", http.StatusOK)
	if err != nil {
		return t.failed("token exchanged", err)
	}
	t.tell("Bob opens it: his server exchanges the share's secret for a token of five minutes.")
	t.wire(t.alice, line)
	var names []string
	for _, e := range l.Entries {
		names = append(names, e.Name)
	}
	t.tell("He sees: %s.", strings.Join(names, ", "))
	for name, want := range sampleFiles() {
		var got bytes.Buffer
		if err := t.bob.session.stream(ctx, t.received.Path+strings.TrimPrefix(name, sharedFolder), &got); err != nil {
			return t.failed("file read", err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			return t.failed("file read", fmt.Errorf("%s came with %d bytes that are not Alice's %d", name, got.Len(), len(want)))
		}
	}
	if line, err = t.alice.wire.await(ctx, "GET", "/dav/ocm/"+t.share.ID, http.StatusOK); err != nil {
		return t.failed("file read", err)
	}
	t.tell("He reads every file, byte for byte as Alice has it.")
	t.wire(t.alice, line)
	return nil
}

const (
	bobsNote = "Notes from Bob.txt"
	bobsText = "The transect at 12 m should be repeated in March.\n"
)

func (t *story) write(ctx context.Context) error {
	if err := t.bob.session.putBytes(ctx, t.received.Path+"/"+bobsNote, []byte(bobsText)); err != nil {
		return t.failed("written back", err)
	}
	line, err := t.alice.wire.await(ctx, "PUT", "/dav/ocm/"+t.share.ID, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return t.failed("written back", err)
	}
	t.tell("Bob writes %q into it.", bobsNote)
	t.wire(t.alice, line)
	var got bytes.Buffer
	if err := t.alice.session.stream(ctx, sharedFolder+"/"+bobsNote, &got); err != nil {
		return t.failed("seen by Alice", err)
	}
	if got.String() != bobsText {
		return t.failed("seen by Alice", fmt.Errorf("she reads %q", got.String()))
	}
	t.tell("Alice finds it in her own folder.")
	return nil
}

func (t *story) restrict(ctx context.Context) error {
	if err := t.alice.session.call(ctx, "PATCH", "/shares/"+t.share.ID, map[string]any{"permissions": []string{"read"}}, nil); err != nil {
		return t.failed("rights changed", err)
	}
	line, err := t.bob.wire.await(ctx, "POST", "/ocm/notifications", http.StatusCreated)
	if err != nil {
		return t.failed("rights changed", err)
	}
	t.tell("Alice changes her mind: only reading.")
	t.wire(t.bob, line)
	err = t.bob.session.putBytes(ctx, t.received.Path+"/"+bobsNote, []byte("changed"))
	p, ok := errors.AsType[*problem](err)
	if !ok || p.Status != http.StatusForbidden {
		return t.failed("writing refused", fmt.Errorf("the write should be refused, but it gave: %v", err))
	}
	t.tell("Bob's next write is refused: %s", p.Detail)
	return nil
}

func (t *story) end(ctx context.Context) error {
	if err := t.alice.session.call(ctx, "DELETE", "/shares/"+t.share.ID, nil, nil); err != nil {
		return t.failed("unshared", err)
	}
	line, err := t.bob.wire.await(ctx, "POST", "/ocm/notifications", http.StatusCreated)
	if err != nil {
		return t.failed("unshared", err)
	}
	t.tell("Alice ends the share.")
	t.wire(t.bob, line)
	err = t.until(ctx, "gone for Bob", func() (bool, error) {
		_, err := t.bob.session.list(ctx, t.received.Path)
		p, ok := errors.AsType[*problem](err)
		return ok && p.Status == http.StatusNotFound, nil
	})
	if err == nil {
		t.tell("It is gone from Bob's files, and no token opens it any more.")
	}
	return err
}

// until polls for what happens in the background.
func (t *story) until(ctx context.Context, step string, done func() (bool, error)) error {
	deadline := time.After(20 * time.Second)
	for {
		ok, err := done()
		if err != nil {
			return t.failed(step, err)
		}
		if ok {
			return nil
		}
		select {
		case <-deadline:
			return t.failed(step, errors.New("it did not happen within 20 seconds"))
		case <-ctx.Done():
			return t.failed(step, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (t *story) failed(step string, err error) error {
	return fmt.Errorf("the demo failed at %q: %w", step, err)
}

// invite prints what to try next.
func (t *story) invite(dir string) {
	weft := "weft"
	if exe, err := os.Executable(); err != nil || strings.Contains(exe, "go-build") {
		weft = "go run ./cmd/weft"
	}
	a, b := t.alice, t.bob
	fmt.Fprintf(t.out, `
Both servers run. Open them in a browser:

  %[9]s   user bob     password %[13]s     (a share waits in his inbox)
  %[7]s   user alice   password %[12]s

Or, in another terminal:

  export WEFT_SESSION=%[1]s           # you are Bob
  %[2]s shares
  %[2]s accept %[3]s
  %[2]s ls "Shared with me/%[4]s"
  %[2]s get "Shared with me/%[4]s/Read me first.txt" -

  export WEFT_SESSION=%[5]s           # you are Alice
  %[2]s contacts
  %[2]s ls "%[4]s"
  %[2]s unshare %[6]s
  %[2]s invite                # open its link in a browser: where are you from?

Mount them with any WebDAV program (the files of both and what is shared):
  %[7]s/dav/files/alice/   user alice   password %[8]s
  %[9]s/dav/files/bob/   user bob     password %[10]s

What they say to other servers:
  curl %[7]s/.well-known/ocm

Their data is in %[11]s. Ctrl-C stops both.
`, b.sessionFile(), weft, short(t.received.ID), sharedFolder, a.sessionFile(), short(t.share.ID),
		a.origin, a.app.Reveal(), b.origin, b.app.Reveal(), dir, a.password.Reveal(), b.password.Reveal())
}
