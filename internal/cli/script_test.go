package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-mesh/weft/internal/account"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weft": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			io := Streams()
			io.PasswordCost = account.Cost{Time: 1, Memory: 8}
			os.Exit(Run(ctx, os.Args[1:], io))
		},
	})
}

// TestScripts runs the scripts of testdata/script. Besides the usual commands
// they have:
//
//	port NAME          a free port, as $NAME
//	ready URL          waits until a server answers there
//	pending NAME [STATE]  waits for a share of that name (in another state), and sets $SHARE to its id
//	refused PATH ADDRESS  waits until sharing with the address is refused, and sets $REQUEST to its id
//	waits PATH         waits until a share of that path met a setback
//	accepted PATH      waits until a share of that path was accepted; $SHARE too
//	gone PATH          waits until there is nothing at the path
//	code N ARGS…       weft with these arguments exits with N
//	take NAME REGEXP   sets $NAME to what the group matches in the last output
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"port":     port,
			"ready":    ready,
			"pending":  pending,
			"waits":    waits,
			"accepted": accepted,
			"gone":     gone,
			"code":     code,
			"take":     take,

			"eventually": eventually,
			"refused":    refused,
		},
	})
}

// eventually runs a command until it prints what fits a regular expression.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	poll(ts, strings.Join(args[1:], " ")+" says "+args[0], func() error {
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			return err
		}
		if out := ts.ReadFile("stdout"); !want.MatchString(out) {
			return errors.New("it says: " + out)
		}
		return nil
	})
}

// given are the ports of all scripts.
var given sync.Map

// port finds ports that neither the system gives to outgoing connections, nor
// the tests of other packages take (weftest.Listen), so that they are still free
// when the script starts its servers.
func port(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		for {
			p := strconv.Itoa(20_000 + rand.IntN(10_000))
			if _, taken := given.LoadOrStore(p, true); taken {
				continue
			}
			ln, err := net.Listen("tcp", "127.0.0.1:"+p)
			if err != nil {
				continue
			}
			ts.Check(ln.Close())
			ts.Setenv(name, p)
			break
		}
	}
}

func ready(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, args[0], func() error {
		resp, err := http.Get(args[0] + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", resp.Status)
		}
		return nil
	})
}

// shares are those of the script's session.
func shares(ts *testscript.TestScript) *allShares {
	s, err := openSession(IO{Env: []string{"WEFT_SESSION=" + ts.Getenv("WEFT_SESSION")}})
	ts.Check(err)
	all, err := s.shares(context.Background())
	ts.Check(err)
	return all
}

func pending(ts *testscript.TestScript, _ bool, args []string) {
	state := "pending"
	if len(args) > 1 {
		state = args[1]
	}
	poll(ts, "a share "+args[0]+" "+state, func() error {
		for _, r := range shares(ts).Received {
			if r.Name == args[0] && r.State == state {
				ts.Setenv("SHARE", short(r.ID))
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func refused(ts *testscript.TestScript, _ bool, args []string) {
	s, err := openSession(IO{Env: []string{"WEFT_SESSION=" + ts.Getenv("WEFT_SESSION")}})
	ts.Check(err)
	poll(ts, "a refusal of "+args[1], func() error {
		err := s.call(context.Background(), "POST", "/shares", map[string]any{"path": args[0], "with": args[1]}, nil)
		if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusForbidden {
			ts.Setenv("REQUEST", p.RequestID)
			return nil
		}
		return fmt.Errorf("it gives %v", err)
	})
}

func waits(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "a setback of "+args[0], func() error {
		for _, o := range shares(ts).Sent {
			if o.Path == args[0] && o.State == "pending" && o.Reason != "" {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func accepted(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "an accepted share of "+args[0], func() error {
		for _, o := range shares(ts).Sent {
			if o.Path == args[0] && o.State == "accepted" {
				ts.Setenv("SHARE", o.ID)
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func gone(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, args[0]+" is gone", func() error {
		s, err := openSession(IO{Env: []string{"WEFT_SESSION=" + ts.Getenv("WEFT_SESSION")}})
		ts.Check(err)
		_, err = s.list(context.Background(), args[0])
		if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusNotFound {
			return nil
		}
		return fmt.Errorf("it gives %v", err)
	})
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec("weft", args[1:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Check(err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("weft %v exits with %d, want %d", args[1:], got, want)
	}
}

func take(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range []string{"stdout", "stderr"} {
		if m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile(name)); m != nil {
			ts.Setenv(args[0], m[1])
			return
		}
	}
	ts.Fatalf("nothing matches %s", args[1])
}

func poll(ts *testscript.TestScript, what string, try func() error) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
