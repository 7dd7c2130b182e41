package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/server"
)

type auditCmd struct {
	where
	Actor   string `help:"By whom: a user's name or id, a server, or operator, visitor, system." placeholder:"NAME"`
	Action  string `help:"What, or how it begins: share.ended, or share." placeholder:"ACTION"`
	Object  string `help:"To what: its id, or its whole name." placeholder:"ID"`
	Target  string `help:"Towards whom: an address, or a server." placeholder:"ADDRESS"`
	Text    string `help:"Anywhere in it; or a client's address." placeholder:"TEXT"`
	Request string `help:"In which request: its id, as errors and logs tell it." placeholder:"ID"`
	Since   string `help:"From when: 2026-01-31, or 30d or 12h ago." placeholder:"DATE"`
	Limit   int64  `help:"How many of the latest." default:"50"`
	All     bool   `help:"All that fit, as JSON, a record a line: an export, which is recorded too."`
	JSON    bool   `help:"Print JSON, a record a line."`
}

func (c *auditCmd) Help() string {
	return `Kept for audit.keep_for (a year).

Examples:
  weft audit --actor alice --action share. --since 30d
  weft audit --all --since 2026-01-01 > 2026.jsonl`
}

func (c *auditCmd) Run(ctx context.Context, io IO) error {
	f := audit.Filter{Actor: c.Actor, Action: c.Action, Object: c.Object, Target: c.Target, Text: c.Text, Request: c.Request, Limit: max(1, c.Limit)}
	if c.Since != "" {
		t, err := parseSince(c.Since, time.Now())
		if err != nil {
			return err
		}
		f.From = t
	}
	return c.onServer(ctx, io, func(s *server.Server) error {
		if c.All {
			return s.ExportAudit(ctx, io.Out, f)
		}
		rows, _, err := s.Audit.List(ctx, f)
		if err != nil {
			return err
		}
		if c.JSON {
			enc := json.NewEncoder(io.Out)
			enc.SetEscapeHTML(false)
			for i := len(rows) - 1; i >= 0; i-- {
				if err := enc.Encode(server.ShowAudit(&rows[i])); err != nil {
					return err
				}
			}
			return nil
		}
		if len(rows) == 0 {
			fmt.Fprintln(io.Out, "Nothing was recorded that fits.")
			return nil
		}
		return table(io, "TIME\tBY\tFROM\tACTION\tWHAT\tTOWARDS\tDETAILS", func(w *tabwriter.Writer) {
			for i := len(rows) - 1; i >= 0; i-- {
				v := server.ShowAudit(&rows[i])
				action := v.Action
				if v.Outcome == audit.Refused {
					action += " refused: " + v.Code
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", local(v.At), actor(v.Actor), v.Origin, action, object(v.Object), v.Target, briefly(v.Details))
			}
		})
	})
}

func actor(a server.AuditActor) string {
	switch a.Kind {
	case audit.User, audit.Peer:
		return a.Name
	}
	return strings.TrimSpace(a.Kind + " " + a.Name)
}

func object(o server.AuditObject) string {
	name := o.Name
	if name == "" && o.ID != "" {
		name = short(o.ID)
	}
	return strings.TrimSpace(o.Kind + " " + name)
}

// briefly is JSON for a line of a table.
func briefly(details json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, details); err != nil || b.Len() <= 2 {
		return ""
	}
	text := []rune(strings.NewReplacer("\"", "", "{", "", "}", "", ",", ", ", ":", ": ").Replace(b.String()))
	if len(text) > 100 {
		return string(text[:99]) + "…"
	}
	return string(text)
}

// parseSince reads a day, or how long ago: 30d, 12h.
func parseSince(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil {
			return now.Add(-24 * d), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return now, usagef("%q is no time: write 2026-01-31, or how long ago, as 30d or 12h", s)
}

type doctorCmd struct {
	where
	JSON bool `help:"Print JSON."`
}

func (c *doctorCmd) Help() string {
	return `Works beside a running server, and asks it by its public address. Exits with 1 when something is wrong.`
}

func (c *doctorCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		checks := s.Checks(ctx)
		bad := 0
		for _, check := range checks {
			if check.State == server.CheckBad {
				bad++
			}
		}
		if c.JSON {
			if err := printJSON(io, checks); err != nil {
				return err
			}
		} else {
			out := plain{io.Out}
			for _, check := range checks {
				fmt.Fprintf(out, "%-5s %s: %s\n", map[string]string{server.CheckGood: "ok", server.CheckWarn: "warn", server.CheckBad: "BAD"}[check.State], check.Name, check.Found)
				if check.Advice != "" {
					fmt.Fprintf(out, "      %s\n", check.Advice)
				}
			}
		}
		if bad > 0 {
			return fmt.Errorf("%s", plural(int64(bad), "1 thing is wrong", "%d things are wrong"))
		}
		return nil
	})
}
