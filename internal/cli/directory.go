package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/ocm/directory"
)

type directoryCmd struct {
	List    directoryListCmd    `cmd:"" help:"List the directories this server reads."`
	Add     directoryAddCmd     `cmd:"" help:"Read a federation's directory from now on."`
	Remove  directoryRemoveCmd  `cmd:"" help:"Forget a directory."`
	Refresh directoryRefreshCmd `cmd:"" help:"Read the directories now."`
	Key     directoryKeyCmd     `cmd:"" help:"Make a key to sign a directory with."`
	Sign    directorySignCmd    `cmd:"" help:"Sign a list of servers."`
	Publish directoryPublishCmd `cmd:"" help:"Serve a signed list at /ocm/directory."`
}

func (c *directoryCmd) Help() string {
	return `A directory lists the servers of a federation, signed. Its servers are offered
to people who are invited, and with federation.mode = "directory" only they are
dealt with.

Join a federation (it gives you the address and the key):
  weft directory add https://directory.example.org/list --key federation.pem --data /var/lib/weft

Run one:
  weft directory key federation-key.pem
  weft directory sign servers.txt --federation "Northern Universities" --key federation-key.pem -o list.json
  weft directory publish list.json --data /var/lib/weft`
}

type directoryListCmd struct {
	where
	JSON bool `help:"Print JSON."`
}

func (c *directoryListCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		subs, err := s.Directories.Subscriptions(ctx)
		if err != nil {
			return err
		}
		out := []server.DirectoryView{}
		for _, d := range subs {
			out = append(out, server.ShowDirectory(&d, time.Now()))
		}
		if c.JSON {
			return printJSON(io, out)
		}
		if len(out) == 0 {
			fmt.Fprintln(io.Out, "No directory is read. Join a federation with: weft directory add URL --key FILE")
			return nil
		}
		return table(io, "FEDERATION\tSERVERS\tREAD\tURL\tTROUBLE", func(w *tabwriter.Writer) {
			for _, d := range out {
				trouble := ""
				if d.Ended {
					trouble = "the list ended " + local(d.EndsAt) + ": its servers are no members. "
				}
				if d.Failure != "" {
					trouble += d.Failure + " (tried " + local(d.TriedAt) + "; the last good list is in force)"
				}
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", d.Federation, d.Servers, local(d.FetchedAt), d.URL, trouble)
			}
		})
	})
}

type directoryAddCmd struct {
	where
	URL string `arg:"" help:"Address of the list."`
	Key string `required:"" help:"File with the federation's verification key: PEM or a JWK." placeholder:"FILE"`
}

func (c *directoryAddCmd) Run(ctx context.Context, io IO) error {
	key, err := os.ReadFile(c.Key)
	if err != nil {
		return err
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		d, err := s.Directories.Subscribe(ctx, c.URL, key)
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "%s lists %d servers; it is read every %s from now on.\n", d.Federation, d.Servers, s.Directories.Every)
		return nil
	})
}

type directoryRemoveCmd struct {
	where
	URL string `arg:"" help:"Address of the list."`
}

func (c *directoryRemoveCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error { return s.Directories.Unsubscribe(ctx, c.URL) })
}

type directoryRefreshCmd struct {
	where
	URL string `arg:"" optional:"" help:"Address of the list. Default: all."`
}

func (c *directoryRefreshCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		urls := []string{c.URL}
		if c.URL == "" {
			subs, err := s.Directories.Subscriptions(ctx)
			if err != nil {
				return err
			}
			urls = nil
			for _, d := range subs {
				urls = append(urls, d.URL)
			}
		}
		var failed error
		for _, u := range urls {
			d, err := s.Directories.Refresh(ctx, u)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", u, err))
				continue
			}
			fmt.Fprintf(io.Out, "%s lists %d servers\n", d.Federation, d.Servers)
		}
		return failed
	})
}

type directoryKeyCmd struct {
	File string `arg:"" help:"File for the private key; it must not exist."`
}

func (c *directoryKeyCmd) Run(_ context.Context, io IO) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	fmt.Fprintf(io.Err, "The private key is in %s; keep it off the servers. Members of the federation get this one:\n", c.File)
	return pem.Encode(io.Out, &pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
}

type directorySignCmd struct {
	List       string `arg:"" help:"The list: lines of a URL and a name, or the payload as JSON; - reads standard input."`
	Federation string `help:"Name of the federation, unless the JSON has it." placeholder:"NAME"`
	Key        string `required:"" help:"Private key in PEM: Ed25519, P-256 or RSA." placeholder:"FILE"`
	Valid      string `help:"How long it holds, such as 30d. Default: for ever." placeholder:"SPAN"`
	Out        string `short:"o" help:"File to write. Default: standard output." placeholder:"FILE"`
	Insecure   bool   `help:"Allow http:// entries: for trials on one machine."`
}

func (c *directorySignCmd) Run(_ context.Context, streams IO) error {
	var b []byte
	var err error
	if c.List == "-" {
		b, err = io.ReadAll(io.LimitReader(streams.In, 16<<20))
	} else {
		b, err = os.ReadFile(c.List)
	}
	if err != nil {
		return err
	}
	list, err := contact.ReadList(b, c.Federation, c.Insecure)
	if err != nil {
		return err
	}
	list.IssuedAt = time.Now().Truncate(time.Second)
	list.ExpiresAt = time.Time{}
	if c.Valid != "" {
		if list.ExpiresAt, err = parseExpiry(c.Valid, list.IssuedAt); err != nil {
			return usagef("--valid=%s is not a span; write it like 90d or 12h", c.Valid)
		}
	}
	pemKey, err := os.ReadFile(c.Key)
	if err != nil {
		return err
	}
	key, err := directory.ReadPrivateKey(pemKey)
	if err != nil {
		return err
	}
	doc, err := directory.Sign(list, key)
	if err != nil {
		return err
	}
	fmt.Fprintf(streams.Err, "Signed: %s, %d servers\n", list.Federation, len(list.Servers))
	if c.Out == "" {
		_, err = fmt.Fprintf(streams.Out, "%s\n", doc)
		return err
	}
	return os.WriteFile(c.Out, doc, 0o644)
}

type directoryPublishCmd struct {
	where
	File string `arg:"" optional:"" help:"The signed list."`
	Stop bool   `help:"Serve none any more."`
}

func (c *directoryPublishCmd) Run(ctx context.Context, io IO) error {
	if (c.File == "") != c.Stop {
		return usagef("give either a signed list or --stop")
	}
	var doc []byte
	if c.File != "" {
		var err error
		if doc, err = os.ReadFile(c.File); err != nil {
			return err
		}
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		if err := s.Directories.Publish(ctx, doc); err != nil {
			return err
		}
		if !c.Stop {
			fmt.Fprintf(io.Out, "Served at %s/ocm/directory\n", s.Origin())
		}
		return nil
	})
}
