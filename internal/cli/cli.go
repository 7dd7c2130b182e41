// Package cli is the command line: one file a command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
)

// Exit codes. People's scripts rely on them.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

// IO is what a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Env      []string

	PasswordCost account.Cost // zero, but in tests: what the server takes by default
}

// commands are all commands. What people do with files and shares goes through
// the HTTP API; what operators do works on the data directory.
type commands struct {
	Demo  demoCmd  `cmd:"" help:"Two servers on this machine, people and files: see sharing work."`
	Serve serveCmd `cmd:"" help:"Run a server."`

	User   userCmd   `cmd:"" group:"Operators" help:"Manage the users of this server."`
	Group  groupCmd  `cmd:"" group:"Operators" help:"Manage the groups of this server."`
	Key    keyCmd    `cmd:"" group:"Operators" help:"Manage the keys this server signs with."`
	Outbox outboxCmd `cmd:"" group:"Operators" help:"See and resend what waits for other servers."`

	Peer      peerCmd      `cmd:"" group:"Operators" help:"See the servers met, and decide whom to deal with."`
	Directory directoryCmd `cmd:"" group:"Operators" help:"Join a federation by its directory, or publish one."`
	Mail      mailCmd      `cmd:"" group:"Operators" help:"Try whether e-mails leave this server."`
	Wire      wireCmd      `cmd:"" group:"Operators" help:"See what went over the wire to and from other servers."`
	Explain   explainCmd   `cmd:"" group:"Operators" help:"Tell how a request was decided, and by which rule."`
	Audit     auditCmd     `cmd:"" group:"Operators" help:"See who did what to whom."`
	Doctor    doctorCmd    `cmd:"" group:"Operators" help:"Look whether the server is reachable, on time and well configured."`

	Login    loginCmd    `cmd:"" group:"People" help:"Sign in to a server, for the commands below."`
	Logout   logoutCmd   `cmd:"" group:"People" help:"Sign out."`
	Ls       lsCmd       `cmd:"" group:"People" help:"List a folder."`
	Put      putCmd      `cmd:"" group:"People" help:"Upload files and folders."`
	Get      getCmd      `cmd:"" group:"People" help:"Download a file or folder."`
	Mkdir    mkdirCmd    `cmd:"" group:"People" help:"Make a folder."`
	Mv       mvCmd       `cmd:"" group:"People" help:"Move or rename; shares follow."`
	Rm       rmCmd       `cmd:"" group:"People" help:"Delete a file or folder."`
	Invite   inviteCmd   `cmd:"" group:"People" help:"Meet someone from another server: invite, or accept an invite."`
	Contacts contactsCmd `cmd:"" group:"People" help:"Your address book."`

	Share   shareCmd   `cmd:"" group:"People" help:"Share a file or folder with someone anywhere."`
	Shares  sharesCmd  `cmd:"" group:"People" help:"List the shares you sent and received."`
	Change  changeCmd  `cmd:"" group:"People" help:"Change the rights of a share you sent."`
	Accept  acceptCmd  `cmd:"" group:"People" help:"Accept a share."`
	Decline declineCmd `cmd:"" group:"People" help:"Decline a share."`
	Leave   leaveCmd   `cmd:"" group:"People" help:"Give an accepted share back."`
	Block   blockCmd   `cmd:"" group:"People" help:"Give a share back and let no other of its sender arrive."`
	Report  reportCmd  `cmd:"" group:"People" help:"Tell the operator of a share that should not have come."`
	Unshare unshareCmd `cmd:"" group:"People" help:"End a share you sent."`
	Resend  resendCmd  `cmd:"" group:"People" help:"Try to deliver a failed share again."`

	Request  requestCmd  `cmd:"" group:"People" help:"Ask someone for a share."`
	Requests requestsCmd `cmd:"" group:"People" help:"List what you asked of others, and what they ask of you."`
	Grant    grantCmd    `cmd:"" group:"People" help:"Share what someone asks for."`
	Refuse   refuseCmd   `cmd:"" group:"People" help:"Say no to a request."`
	Reshare  reshareCmd  `cmd:"" group:"People" help:"Ask the owner of a share to include someone else."`
	Withdraw withdrawCmd `cmd:"" group:"People" help:"Take back a request of yours."`
}

const description = `Weft shares files and folders with people on any other Open Cloud Mesh server.

  weft demo      try it on this machine
  weft serve     run it: weft serve --data /var/lib/weft --url https://cloud.example.org`

// Run runs the command line and returns the exit code.
func Run(ctx context.Context, args []string, streams IO) int {
	var cmds commands
	code := -1
	ctx = audit.With(ctx, operator(streams.Env))
	parser, err := kong.New(&cmds,
		kong.Name("weft"), kong.Description(description),
		kong.Writers(streams.Out, streams.Err),
		kong.UsageOnError(),
		kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoExpandSubcommands: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(streams),
	)
	if err != nil {
		fmt.Fprintln(streams.Err, "weft:", err)
		return exitFault
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if code >= 0 { // help was shown
		return code
	}
	if err != nil {
		fmt.Fprintf(streams.Err, "weft: %v\nSee: weft --help\n", err)
		return exitUsage
	}
	if err := k.Run(); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			fmt.Fprintln(streams.Err, "weft: stopped")
			return exitFault
		}
		fmt.Fprintln(streams.Err, "weft:", said(err))
		if _, ok := errors.AsType[usageError](err); ok {
			return exitUsage
		}
		return exitFault
	}
	return exitOK
}

// operator is who acts at this command line, for the audit: the account of the
// system, and behind sudo the one that called it. What the command does is found
// by its request.
func operator(env []string) audit.By {
	by := audit.By{Kind: audit.Operator, Origin: audit.CLI, Request: store.NewID()}
	if u, err := user.Current(); err == nil {
		by.Name = u.Username
	}
	for _, e := range env {
		if name, ok := strings.CutPrefix(e, "SUDO_USER="); ok && name != "" {
			by.Name = name
		}
	}
	return by
}

// said is what a person reads of a failure: of a refusal its sentence, not the
// causes behind it.
func said(err error) string {
	if e, ok := err.(*ocm.Error); ok && e.Status != http.StatusInternalServerError { //nolint:errorlint // wrapped, its context matters
		return e.Message
	}
	return err.Error()
}

// usageError is a mistake in how a command was called.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Streams are the process's own.
func Streams() IO { return IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ()} }
