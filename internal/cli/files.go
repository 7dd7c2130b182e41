package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// entry is a file or folder as the API describes it.
type entry struct {
	Name             string   `json:"name"`
	Path             string   `json:"path"`
	Folder           bool     `json:"folder"`
	Size             int64    `json:"size"`
	Modified         string   `json:"modified,omitempty"`
	ETag             string   `json:"etag"`
	Permissions      []string `json:"permissions"`
	Shared           bool     `json:"shared"`
	UnavailableSince string   `json:"unavailableSince,omitempty"`
	UnavailableWhy   string   `json:"unavailableWhy,omitempty"`
}

type listing struct {
	Self      entry   `json:"self"`
	Entries   []entry `json:"entries"`
	Truncated bool    `json:"truncated"`
}

func (s *session) list(ctx context.Context, name string) (*listing, error) {
	l := &listing{}
	return l, s.call(ctx, "GET", "/files?limit=100000&path="+url.QueryEscape(name), nil, l)
}

type lsCmd struct {
	Path string `arg:"" optional:"" help:"The folder. Default: your home."`
	JSON bool   `help:"Print JSON."`
}

func (c *lsCmd) Help() string {
	return `Example:
  weft ls "Shared with me"`
}

func (c *lsCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	l, err := s.list(ctx, c.Path)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(io, l)
	}
	shown := l.Entries
	if !l.Self.Folder {
		shown = []entry{l.Self}
	}
	err = table(io, "SIZE\tCHANGED\tNAME", func(w *tabwriter.Writer) {
		for _, e := range shown {
			name, much := e.Name, size(e.Size)
			if e.Folder {
				name, much = name+"/", "-"
			}
			if e.UnavailableSince != "" {
				name += "   (unavailable since " + local(e.UnavailableSince) + ": " + e.UnavailableWhy + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", much, local(e.Modified), name)
		}
	})
	if l.Truncated {
		fmt.Fprintln(io.Err, "There is more in this folder than was listed.")
	}
	return err
}

type mkdirCmd struct {
	Path string `arg:"" help:"The folder to make."`
}

func (c *mkdirCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	return s.call(ctx, "POST", "/files/folder", map[string]string{"path": c.Path}, nil)
}

type mvCmd struct {
	From  string `arg:"" help:"What to move."`
	To    string `arg:"" help:"Its new path, or the folder to move it into."`
	Force bool   `short:"f" help:"Replace what is there."`
}

func (c *mvCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	to := c.To
	if l, err := s.list(ctx, to); err == nil && l.Self.Folder {
		to = path.Join(to, path.Base(path.Clean("/"+c.From)))
	}
	return s.call(ctx, "POST", "/files/move", map[string]any{"from": c.From, "to": to, "overwrite": c.Force}, nil)
}

type rmCmd struct {
	Path      string `arg:"" help:"What to delete."`
	Recursive bool   `short:"r" help:"Delete a folder with everything in it."`
}

func (c *rmCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	l, err := s.list(ctx, c.Path)
	if err != nil {
		return err
	}
	if l.Self.Folder && !c.Recursive {
		return usagef("%s is a folder; delete it with everything in it by: weft rm -r %s", c.Path, c.Path)
	}
	return s.call(ctx, "DELETE", "/files?path="+url.QueryEscape(c.Path), nil, nil)
}

type putCmd struct {
	Local []string `arg:"" help:"Files and folders here, then where they go there: a folder, or a new name."`
	Quiet bool     `short:"q" help:"Show no progress."`
}

func (c *putCmd) Help() string {
	return `Examples:
  weft put report.pdf Documents/
  weft put photos Pictures`
}

func (c *putCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	from, to := c.Local, ""
	if len(from) > 1 {
		from, to = from[:len(from)-1], from[len(from)-1]
	}
	l, err := s.list(ctx, to)
	into := err == nil && l.Self.Folder
	if !into && (len(from) > 1 || strings.HasSuffix(to, "/")) {
		return fmt.Errorf("there is no folder %q to put them into. Make it with: weft mkdir %q", to, strings.TrimSuffix(to, "/"))
	}
	for _, f := range from {
		target := to
		if into {
			target = path.Join(to, filepath.Base(absolute(f)))
		}
		if err := s.upload(ctx, io, f, target, c.Quiet); err != nil {
			return err
		}
	}
	return nil
}

// upload sends a file, or a folder with everything in it.
func (s *session) upload(ctx context.Context, streams IO, from, to string, quiet bool) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		target := path.Join(to, filepath.ToSlash(rel))
		switch {
		case d.IsDir():
			if l, err := s.list(ctx, target); err == nil && l.Self.Folder {
				return nil
			}
			return s.call(ctx, "POST", "/files/folder", map[string]string{"path": target}, nil)
		case !d.Type().IsRegular():
			fmt.Fprintln(streams.Err, "skipped, not a plain file:", p)
			return nil
		}
		return s.uploadFile(ctx, streams, p, target, quiet)
	})
}

func (s *session) uploadFile(ctx context.Context, streams IO, from, to string, quiet bool) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	bar := newBar(streams, to, info.Size(), quiet)
	defer bar.Close()
	body := progressbar.NewReader(f, bar)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.contentURL(to), io.NopCloser(&body))
	if err != nil {
		return err
	}
	if req.ContentLength = info.Size(); info.Size() == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("X-OC-Mtime", strconv.FormatInt(info.ModTime().Unix(), 10))
	resp, err := s.do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	return resp.Body.Close()
}

func (s *session) contentURL(name string) string {
	return s.URL + (&url.URL{Path: "/api/v1/content/" + strings.Trim(name, "/")}).EscapedPath()
}

type getCmd struct {
	Path  string `arg:"" help:"The file or folder there."`
	Local string `arg:"" optional:"" help:"Where it goes here: a folder, a new name, or - for standard output. Default: this folder."`
	Quiet bool   `short:"q" help:"Show no progress."`
}

func (c *getCmd) Help() string {
	return `Examples:
  weft get Documents/report.pdf
  weft get "Shared with me/Project"
  weft get notes.txt -`
}

func (c *getCmd) Run(ctx context.Context, io IO) error {
	s, err := openSession(io)
	if err != nil {
		return err
	}
	if c.Local == "-" {
		return s.stream(ctx, c.Path, io.Out)
	}
	l, err := s.list(ctx, c.Path)
	if err != nil {
		return err
	}
	to := c.Local
	if info, err := os.Stat(to); to == "" || err == nil && info.IsDir() {
		name := l.Self.Name
		if name == "" {
			name = s.User
		}
		to = filepath.Join(to, filepath.Base(name))
	}
	return s.download(ctx, io, l, to, c.Quiet)
}

func (s *session) stream(ctx context.Context, name string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.contentURL(name), nil)
	if err != nil {
		return err
	}
	resp, err := s.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// download fetches a file, or a folder with everything in it.
func (s *session) download(ctx context.Context, streams IO, l *listing, to string, quiet bool) error {
	if !l.Self.Folder {
		return s.downloadFile(ctx, streams, l.Self, to, quiet)
	}
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	for _, e := range l.Entries {
		// A name comes from a server: it must stay in the folder.
		if e.Name != filepath.Base(e.Name) || e.Name == ".." || e.Name == "." {
			return fmt.Errorf("the name %q cannot be used here", e.Name)
		}
		at := filepath.Join(to, e.Name)
		if !e.Folder {
			if err := s.downloadFile(ctx, streams, e, at, quiet); err != nil {
				return err
			}
			continue
		}
		child, err := s.list(ctx, e.Path)
		if err != nil {
			return err
		}
		if err := s.download(ctx, streams, child, at, quiet); err != nil {
			return err
		}
	}
	return nil
}

// downloadFile writes beside the target and renames when all is there.
func (s *session) downloadFile(ctx context.Context, streams IO, e entry, to string, quiet bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(to), ".weft-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	bar := newBar(streams, e.Path, e.Size, quiet)
	defer bar.Close()
	if err := s.stream(ctx, e.Path, io.MultiWriter(f, bar)); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}

// newBar shows the progress of a transfer on a terminal, and nothing elsewhere.
func newBar(streams IO, name string, total int64, quiet bool) *progressbar.ProgressBar {
	f, ok := streams.Err.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultBytesSilent(total)
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(path.Base(name)),
		progressbar.OptionShowBytes(true), progressbar.OptionSetWidth(24), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionOnCompletion(func() { fmt.Fprintln(f) }))
}

// units are the steps of sizes.
var units = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}

// size writes a number of bytes for people.
func size(n int64) string {
	if n < 0 {
		return "?"
	}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[i]
}

// parseSize reads "10GiB", "500 MB", "1024" or "none" (and "").
func parseSize(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" || strings.EqualFold(s, "none") {
		return -1, nil
	}
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, unit := s, ""
	if i >= 0 {
		number, unit = s[:i], strings.ToUpper(strings.TrimSpace(s[i:]))
	}
	f, err := strconv.ParseFloat(number, 64)
	for j, u := range units {
		u = strings.ToUpper(u)
		if err == nil && (unit == u || j > 0 && (unit == u[:1] || unit == u[:1]+"B") || unit == "") {
			if n := f * float64(int64(1)<<(10*j)); n >= 1 && n < 1<<62 {
				return int64(n), nil
			}
		}
	}
	return 0, usagef("%q is not a size; write it like 10GiB, or none", s)
}

// clock is a time to the second, for lists of what happens close together.
func clock(rfc string) string {
	t, err := time.Parse(time.RFC3339, rfc)
	if err != nil {
		return "-"
	}
	return t.Local().Format("01-02 15:04:05")
}

// local writes a time of the API in the user's zone.
func local(rfc string) string {
	t, err := time.Parse(time.RFC3339, rfc)
	if err != nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
