package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/ocm"
)

type userCmd struct {
	Add         userAddCmd     `cmd:"" help:"Add a user; the password is asked for, or read from standard input."`
	List        userListCmd    `cmd:"" help:"List the users."`
	Passwd      userPasswdCmd  `cmd:"" help:"Set a user's password."`
	AppPassword appPasswordCmd `cmd:"" help:"Make an app password for WebDAV and programs, and print it."`
	Quota       userQuotaCmd   `cmd:"" help:"Set how many bytes a user may keep."`
	Change      userChangeCmd  `cmd:"" help:"Change a user's names and role, or whether they may sign in."`
	Remove      userRemoveCmd  `cmd:"" help:"Remove a user with all files; ends the user's shares."`
}

// onServer opens the server of a data directory for a command of its operator.
// It works beside a running server.
func (w where) onServer(ctx context.Context, io IO, do func(s *server.Server) error) error {
	conf, err := w.load(io, nil)
	if err != nil {
		return err
	}
	if _, err := os.Stat(conf.Data); err != nil {
		return fmt.Errorf("there is no data directory at %s. Name it with --data, or start the server once", absolute(conf.Data))
	}
	if err := conf.Check(); err != nil {
		return err
	}
	s, err := server.New(ctx, conf, server.Env{Log: newLogger(io, conf.Log), PasswordCost: io.PasswordCost})
	if err != nil {
		return startFault(err)
	}
	return errors.Join(do(s), s.Close())
}

type userAddCmd struct {
	where
	Name        string `arg:"" help:"Name: the part of the address before the @."`
	DisplayName string `help:"Name as others see it." placeholder:"NAME"`
	Email       string `help:"E-mail address." placeholder:"ADDRESS"`
	Admin       bool   `help:"Make the user an administrator."`
	Quota       string `help:"Bytes the user may keep, such as 10GiB. Default: no limit." placeholder:"SIZE"`
}

func (c *userAddCmd) Help() string {
	return `Example:
  weft user add alice --display-name "Alice Andersen" --data /var/lib/weft`
}

func (c *userAddCmd) Run(ctx context.Context, io IO) error {
	quota, err := parseSize(c.Quota)
	if err != nil {
		return err
	}
	password, err := newPassword(io)
	if err != nil {
		return err
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		u, err := s.Accounts.Add(ctx, account.NewUser{
			Name: c.Name, DisplayName: c.DisplayName, Email: c.Email, Password: password, Admin: c.Admin, Quota: quota,
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "Added %s; the address to share with is %s@%s\n", u.Name, u.Name, s.Self)
		return nil
	})
}

type userListCmd struct {
	where
	JSON bool `help:"Print JSON."`
}

func (c *userListCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		users, err := s.Accounts.List(ctx)
		if err != nil {
			return err
		}
		type user struct {
			Name        string `json:"name"`
			DisplayName string `json:"displayName"`
			Email       string `json:"email,omitempty"`
			Role        string `json:"role"`
			Quota       int64  `json:"quota"`
			Disabled    bool   `json:"disabled"`
			CreatedAt   string `json:"createdAt"`
		}
		out := []user{}
		for _, u := range users {
			out = append(out, user{u.Name, u.DisplayName, u.Email, u.Role, u.Quota, u.Disabled, time.UnixMilli(u.CreatedAt).UTC().Format(time.RFC3339)})
		}
		if c.JSON {
			return printJSON(io, out)
		}
		return table(io, "NAME\tDISPLAY NAME\tROLE\tQUOTA\tE-MAIL", func(w *tabwriter.Writer) {
			for _, u := range out {
				quota := "none"
				if u.Quota >= 0 {
					quota = size(u.Quota)
				}
				role := u.Role
				if u.Disabled {
					role += ", may not sign in"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Name, u.DisplayName, role, quota, u.Email)
			}
		})
	})
}

type userPasswdCmd struct {
	where
	Name string `arg:"" help:"The user."`
}

func (c *userPasswdCmd) Run(ctx context.Context, io IO) error {
	password, err := newPassword(io)
	if err != nil {
		return err
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		u, err := s.Accounts.ByName(ctx, c.Name)
		if err != nil {
			return err
		}
		if err := s.Accounts.SetPassword(ctx, u.ID, password); err != nil {
			return err
		}
		fmt.Fprintln(io.Out, "The password is set, and the sessions of", u.Name, "have ended.")
		return nil
	})
}

type appPasswordCmd struct {
	where
	Name  string `arg:"" help:"The user."`
	Label string `help:"What it is for." default:"command line" placeholder:"TEXT"`
}

func (c *appPasswordCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		u, err := s.Accounts.ByName(ctx, c.Name)
		if err != nil {
			return err
		}
		secret, err := s.Accounts.AppPassword(ctx, u.ID, c.Label)
		if err != nil {
			return err
		}
		fmt.Fprintln(io.Out, secret.Reveal())
		return nil
	})
}

type userQuotaCmd struct {
	where
	Name string `arg:"" help:"The user."`
	Size string `arg:"" help:"Bytes, such as 10GiB, or none."`
}

func (c *userQuotaCmd) Run(ctx context.Context, io IO) error {
	quota, err := parseSize(c.Size)
	if err != nil {
		return err
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		u, err := s.Accounts.ByName(ctx, c.Name)
		if err != nil {
			return err
		}
		return s.Accounts.SetQuota(ctx, u.ID, quota)
	})
}

type userChangeCmd struct {
	where
	Name        string  `arg:"" help:"The user."`
	DisplayName *string `help:"Name as others see it." placeholder:"NAME"`
	Email       *string `help:"E-mail address; \"\" for none." placeholder:"ADDRESS"`
	Role        *string `help:"user or admin." placeholder:"ROLE"`
	Disable     bool    `help:"Let the user not sign in any more; ends the sessions. Files and shares stay." xor:"signin"`
	Enable      bool    `help:"Let the user sign in again." xor:"signin"`
}

func (c *userChangeCmd) Help() string {
	return `Example:
  weft user change alice --role admin`
}

func (c *userChangeCmd) Run(ctx context.Context, io IO) error {
	change := account.Change{DisplayName: c.DisplayName, Email: c.Email, Role: c.Role}
	if c.Disable || c.Enable {
		change.Disabled = &c.Disable
	}
	if change == (account.Change{}) {
		return usagef("say what to change: see weft user change --help")
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		u, err := s.Accounts.ByName(ctx, c.Name)
		if err != nil {
			return err
		}
		_, err = s.Accounts.Update(ctx, u.ID, change)
		return err
	})
}

type userRemoveCmd struct {
	where
	Name string `arg:"" help:"The user."`
	Yes  bool   `help:"Do not ask." short:"y"`
}

func (c *userRemoveCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		u, err := s.Accounts.ByName(ctx, c.Name)
		if err != nil {
			return err
		}
		if !c.Yes {
			fmt.Fprintf(io.Err, "Remove %s with all files and shares, for good? Type the name to confirm: ", u.Name)
			line, _ := bufio.NewReader(io.In).ReadString('\n')
			if strings.TrimSpace(line) != u.Name {
				return errors.New("not removed")
			}
		}
		if err := s.RemoveUser(ctx, u); err != nil {
			return err
		}
		fmt.Fprintln(io.Out, "Removed", u.Name)
		return nil
	})
}

// plain writes text without control characters, but for line breaks.
type plain struct{ io.Writer }

func (p plain) Write(b []byte) (int, error) {
	clean := strings.Map(func(c rune) rune {
		if c != '\n' && unicode.IsControl(c) {
			return ' '
		}
		return c
	}, string(b))
	if _, err := io.WriteString(p.Writer, clean); err != nil {
		return 0, err
	}
	return len(b), nil
}

// newPassword asks twice on a terminal, or reads one line of standard input.
func newPassword(streams IO) (ocm.Secret, error) {
	if f, ok := streams.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		first, err := askSecret(streams, f, "Password: ")
		if err != nil {
			return "", err
		}
		again, err := askSecret(streams, f, "Again: ")
		if err != nil {
			return "", err
		}
		if first != again {
			return "", errors.New("the two passwords differ; nothing was changed")
		}
		return first, nil
	}
	return readPassword(streams)
}

// readPassword asks once on a terminal, or reads one line of standard input.
func readPassword(streams IO) (ocm.Secret, error) {
	if f, ok := streams.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askSecret(streams, f, "Password: ")
	}
	line, err := bufio.NewReader(io.LimitReader(streams.In, 4096)).ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && line != "") {
		return "", errors.New("no password on standard input")
	}
	return ocm.Secret(strings.TrimRight(line, "\r\n")), nil
}

func askSecret(streams IO, f *os.File, prompt string) (ocm.Secret, error) {
	fmt.Fprint(streams.Err, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(streams.Err)
	return ocm.Secret(b), err
}

func printJSON(io IO, v any) error {
	enc := json.NewEncoder(io.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows of cells with tabs between them. What is in the cells may
// come from others: a terminal is not to take it for commands.
func table(io IO, head string, rows func(w *tabwriter.Writer)) error {
	w := tabwriter.NewWriter(plain{io.Out}, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(w)
	return w.Flush()
}
