package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/server"
)

type keyCmd struct {
	Rotate keyRotateCmd `cmd:"" help:"Make a new signing key. The old one stays published for a week; restart the server to sign with the new."`
}

type keyRotateCmd struct{ where }

func (c *keyRotateCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		kid, err := s.RotateKey(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "The new key is %s. Restart the server to sign with it.\n", kid)
		return nil
	})
}

type outboxCmd struct {
	List   outboxListCmd   `cmd:"" help:"List the messages that wait or were given up."`
	Resend outboxResendCmd `cmd:"" help:"Try to deliver a message again."`
}

type outboxListCmd struct {
	where
	JSON bool `help:"Print JSON."`
}

func (c *outboxListCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		rows, err := s.Outbox.List(ctx)
		if err != nil {
			return err
		}
		type message struct {
			ID        string `json:"id"`
			Peer      string `json:"peer"`
			Kind      string `json:"kind"`
			Share     string `json:"share"`
			State     string `json:"state"`
			Attempts  int64  `json:"attempts"`
			NextAt    string `json:"nextAt,omitempty"`
			LastError string `json:"lastError,omitempty"`
		}
		out := []message{}
		for _, r := range rows {
			m := message{ID: r.ID, Peer: r.PeerHost, Kind: r.Kind, Share: r.OrderKey, State: r.State, Attempts: r.Attempts, LastError: r.LastError}
			if r.State == delivery.Pending {
				m.NextAt = time.UnixMilli(r.NextAt).UTC().Format(time.RFC3339)
			}
			out = append(out, m)
		}
		if c.JSON {
			return printJSON(io, out)
		}
		return table(io, "ID\tPEER\tKIND\tSTATE\tATTEMPTS\tNEXT\tLAST ERROR", func(w *tabwriter.Writer) {
			for _, m := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", m.ID, m.Peer, m.Kind, m.State, m.Attempts, m.NextAt, m.LastError)
			}
		})
	})
}

type outboxResendCmd struct {
	where
	ID string `arg:"" help:"The message."`
}

func (c *outboxResendCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error { return s.Outbox.Resend(ctx, c.ID) })
}
