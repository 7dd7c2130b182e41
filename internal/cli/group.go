package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/server"
)

type groupCmd struct {
	Add    groupAddCmd    `cmd:"" help:"Add a group."`
	List   groupListCmd   `cmd:"" help:"List the groups and their members."`
	Member groupMemberCmd `cmd:"" help:"Put users into a group, or take them out."`
	Remove groupRemoveCmd `cmd:"" help:"Remove a group; its members stay."`
}

type groupAddCmd struct {
	where
	Name        string `arg:"" help:"Name: the part of the address before the @."`
	DisplayName string `help:"Name as others see it." placeholder:"NAME"`
}

func (c *groupAddCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		g, err := s.Accounts.AddGroup(ctx, c.Name, c.DisplayName)
		if err != nil {
			return err
		}
		fmt.Fprintf(io.Out, "Added the group %s; the address to share with is %s@%s\n", g.Name, g.Name, s.Self)
		return nil
	})
}

type groupListCmd struct {
	where
	JSON bool `help:"Print JSON."`
}

func (c *groupListCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		groups, err := s.Accounts.Groups(ctx)
		if err != nil {
			return err
		}
		type group struct {
			Name        string   `json:"name"`
			DisplayName string   `json:"displayName"`
			Members     []string `json:"members"`
		}
		out := []group{}
		for _, g := range groups {
			members, err := s.Accounts.Members(ctx, g.ID)
			if err != nil {
				return err
			}
			names := []string{}
			for _, m := range members {
				names = append(names, m.Name)
			}
			out = append(out, group{g.Name, g.DisplayName, names})
		}
		if c.JSON {
			return printJSON(io, out)
		}
		return table(io, "NAME\tDISPLAY NAME\tMEMBERS", func(w *tabwriter.Writer) {
			for _, g := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\n", g.Name, g.DisplayName, strings.Join(g.Members, ", "))
			}
		})
	})
}

type groupMemberCmd struct {
	where
	Group  string   `arg:"" help:"The group."`
	Users  []string `arg:"" help:"The users."`
	Remove bool     `help:"Take them out instead of putting them in."`
}

func (c *groupMemberCmd) Help() string {
	return `Example:
  weft group member staff alice bob`
}

func (c *groupMemberCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		g, err := s.Accounts.GroupByName(ctx, c.Group)
		if err != nil {
			return err
		}
		var users []account.User
		for _, name := range c.Users {
			u, err := s.Accounts.ByName(ctx, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			users = append(users, u)
		}
		change := s.Accounts.AddMember
		if c.Remove {
			change = s.Accounts.RemoveMember
		}
		for _, u := range users {
			if err := change(ctx, g.ID, u.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

type groupRemoveCmd struct {
	where
	Name string `arg:"" help:"The group."`
}

func (c *groupRemoveCmd) Run(ctx context.Context, io IO) error {
	return c.onServer(ctx, io, func(s *server.Server) error {
		g, err := s.Accounts.GroupByName(ctx, c.Name)
		if err != nil {
			return err
		}
		return s.RemoveGroup(ctx, g)
	})
}
