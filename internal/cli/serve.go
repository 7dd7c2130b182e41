package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/server"
	"github.com/weft-mesh/weft/internal/store"
)

// where are the flags of commands that work on a data directory.
type where struct {
	Config string `help:"Configuration file. Default: weft.toml in the data directory." placeholder:"FILE"`
	Data   string `help:"Data directory. Default: weft-data here, or $WEFT_DATA." placeholder:"DIR"`
}

// load reads the configuration; flags are its keys as the command line sets
// them.
func (w where) load(io IO, flags map[string]string) (*config.Config, error) {
	return config.Load(config.Options{File: w.Config, Data: w.Data, Flags: flags, Env: io.Env})
}

type serveCmd struct {
	where
	Listen   string `help:"Address to listen on." placeholder:"ADDR"`
	URL      string `help:"Public address of this server, such as https://cloud.example.org." placeholder:"URL"`
	Database string `help:"Database, as sqlite:PATH." placeholder:"URL"`
	Storage  string `help:"Where files are kept, as file:PATH." placeholder:"URL"`
	Insecure bool   `help:"Allow plain http, self-signed certificates and private addresses: for trials on one machine."`
}

func (c *serveCmd) Help() string {
	return `The first start makes the data directory with a key, a database and a
configuration file that explains itself.

Examples:
  weft serve --data /var/lib/weft --url https://cloud.example.org
  weft serve --url http://localhost:8080 --insecure`
}

func (c *serveCmd) flags() map[string]string {
	flags := map[string]string{}
	for key, v := range map[string]string{"listen": c.Listen, "url": c.URL, "database": c.Database, "storage": c.Storage} {
		if v != "" {
			flags[key] = v
		}
	}
	if c.Insecure {
		flags["insecure"] = strconv.FormatBool(true)
	}
	return flags
}

func (c *serveCmd) Run(ctx context.Context, io IO) error {
	conf, err := c.load(io, c.flags())
	if err != nil {
		return err
	}
	if err := conf.Check(); err != nil {
		return err
	}
	if err := conf.Prepare(); err != nil {
		return roomFor(err)
	}
	ln, err := listen(conf.Listen)
	if err != nil {
		return err
	}
	log := newLogger(io, conf.Log)
	s, err := server.New(ctx, conf, server.Env{Log: log, PasswordCost: io.PasswordCost})
	if err != nil {
		ln.Close()
		return startFault(err)
	}
	defer s.Close()
	log.Info("weft serves", "url", conf.Origin(), "listen", ln.Addr().String(), "data", conf.Data)
	if conf.Insecure {
		log.Warn("insecure is on: plain http and private addresses are allowed, here and at other servers")
	}
	err = s.Run(ctx, ln)
	log.Info("weft stopped")
	return err
}

func listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is taken by another program. Stop it, or choose another address with --listen", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("this user may not listen on %s. Choose a port from 1024 on with --listen, or give the program the right (CAP_NET_BIND_SERVICE)", addr)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %q: %w. Give host:port with --listen", addr, err)
	}
	return ln, nil
}

// startFault adds what to do to the faults of a start.
func startFault(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w. Give the data directory to the user that runs the server (chown -R)", err)
	}
	return roomFor(err)
}

// roomFor adds what to do to the fault of a full disk.
func roomFor(err error) error {
	if errors.Is(err, syscall.ENOSPC) || store.IsFull(err) {
		return fmt.Errorf("%w. The disk is full: make room, then start again", err)
	}
	return err
}

func newLogger(io IO, conf config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(conf.Level)); err != nil {
		level = slog.LevelInfo
	}
	opt := &slog.HandlerOptions{Level: level}
	if conf.Format == "json" {
		return slog.New(slog.NewJSONHandler(io.Err, opt))
	}
	return slog.New(slog.NewTextHandler(io.Err, opt))
}

// absolute makes a path readable in messages that are used elsewhere.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
