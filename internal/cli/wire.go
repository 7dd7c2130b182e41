package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/weft-mesh/weft/internal/peer"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/wire"
)

type wireCmd struct {
	List wireListCmd `cmd:"" help:"List the latest messages in and out, the newest last."`
	Show wireShowCmd `cmd:"" help:"Show one whole: headers, bodies, signature base, decision."`
	Keep wireKeepCmd `cmd:"" help:"Keep what goes to and from a server, or do not."`
}

func (c *wireCmd) Help() string {
	return `Kept for federation.wire_for (24 hours). Secrets are masked before anything is kept.`
}

type wireListCmd struct {
	where
	Peer   string `help:"Of this server alone." placeholder:"HOST"`
	About  string `help:"That hold this text: a share's id, an address." placeholder:"TEXT"`
	Failed bool   `help:"That were refused or failed."`
	Limit  int64  `help:"How many." default:"50"`
	JSON   bool   `help:"Print JSON."`
}

func (c *wireListCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		list, err := s.OnTheWire(ctx, wire.Filter{Peer: strings.ToLower(c.Peer), About: c.About, Failed: c.Failed, Limit: max(1, c.Limit)})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(io, list)
		}
		if len(list) == 0 {
			fmt.Fprintln(io.Out, "Nothing was kept that fits.")
			return nil
		}
		return table(io, "ID\tTIME\t\tPEER\tWHAT\tOUTCOME", func(w *tabwriter.Writer) {
			for i := len(list) - 1; i >= 0; i-- {
				x := list[i]
				outcome := fmt.Sprint(x.Status)
				if x.Status == 0 {
					outcome = "no answer"
				}
				if x.Fault != "" {
					outcome += "  " + x.Fault
				}
				if r := []rune(outcome); len(r) > 100 {
					outcome = string(r[:99]) + "…"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s %s\t%s (%.0f ms)\n", short(x.ID), clock(x.At), x.Direction, x.Peer, x.Method, what(x), outcome, x.Millis)
			}
		})
	})
}

// what an exchange was for: a path of ours, or what we did.
func what(x server.ExchangeView) string {
	if x.Direction == wire.In {
		return x.Operation
	}
	return "(" + x.Operation + ")"
}

type wireShowCmd struct {
	where
	ID   string `arg:"" help:"The exchange, by its id or the end of it: see weft wire list; or the id of a request."`
	JSON bool   `help:"Print JSON."`
}

func (c *wireShowCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		x, err := s.ShowExchange(ctx, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(io, x)
		}
		out := plain{io.Out}
		arrow := map[string]string{wire.In: "from", wire.Out: "to"}[x.Direction]
		fmt.Fprintf(out, "%s  %s %s, %.1f ms, %s\n\n%s %s\n%s", local(x.At), arrow, x.Peer, x.Millis, x.ID, x.Method, x.URL, x.Header)
		section(out, "", server.Indented(x.Body))
		section(out, "Signature base", x.Base)
		if x.Status == 0 {
			section(out, "Answer", "none")
		} else {
			section(out, fmt.Sprintf("Answer %d", x.Status), strings.TrimSpace(x.AnswerHeader+"\n"+server.Indented(x.Answer)))
		}
		var steps []string
		for _, step := range x.Steps {
			steps = append(steps, fmt.Sprintf("%-11s %s", step.Check, step.Found))
		}
		section(out, "Decision", strings.Join(steps, "\n"))
		section(out, "Fault", x.Fault)
		return nil
	})
}

// section prints a part of an exchange, if there is one.
func section(out plain, title, text string) {
	if text == "" {
		return
	}
	if title != "" {
		title = "--- " + title + "\n"
	}
	fmt.Fprintf(out, "\n%s%s\n", title, strings.TrimRight(text, "\n"))
}

type wireKeepCmd struct {
	ruleArgs
	Keep string `arg:"" help:"on, off, or default: as federation.wire says." enum:"on,off,default"`
}

func (c *wireKeepCmd) Run(ctx context.Context, io IO) error {
	return c.set(ctx, io, func(r *peer.Rule) {
		r.Wire = map[string]string{"on": peer.Yes, "off": peer.No, "default": ""}[c.Keep]
	})
}
