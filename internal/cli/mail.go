package cli

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/internal/server"
)

type mailCmd struct {
	Test mailTestCmd `cmd:"" help:"Send a test message, and say what failed."`
}

type mailTestCmd struct {
	where
	To string `required:"" help:"Whom to send it to." placeholder:"ADDRESS"`
}

func (c *mailTestCmd) Help() string {
	return `Sends a message through the SMTP server of mail.host, at once and without a
second try.

Example:
  weft mail test --to you@example.org --data /var/lib/weft`
}

func (c *mailTestCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		if err := s.TestMail(ctx, c.To); err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "The SMTP server took a test message to %s. If it does not arrive, its log knows more.\n", c.To)
		return nil
	})
}
