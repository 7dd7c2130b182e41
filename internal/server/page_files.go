package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/weft-mesh/weft/internal/home"
	"github.com/weft-mesh/weft/internal/preview"
	"github.com/weft-mesh/weft/internal/search"
	"github.com/weft-mesh/weft/internal/sharing"
	"github.com/weft-mesh/weft/internal/thumbnail"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

const filesPath = "/files/"

// filesURL is the page of a path.
func filesURL(name string) string { return filesPath + (&url.URL{Path: name}).EscapedPath() }

// crumb is a step of the way to a folder.
type crumb struct{ Name, URL string }

// above are the folders that a path lies in, from the top.
func above(name string) (out []crumb) {
	for i, c := range name {
		if c == '/' {
			out = append(out, crumb{tree.Base(name[:i]), filesURL(name[:i])})
		}
	}
	return out
}

// fileRow is an entry as a list shows it.
type fileRow struct {
	tree.Info
	Path, Icon, Thumb string
	Shared            int    // with how many the person shares it
	From              string // who shares it
}

// ReadOnly tells whether it is a share that may only be read.
func (f fileRow) ReadOnly() bool { return f.Mount && f.Unavailable == nil && !f.Rights.Has(tree.Write) }

// Fixed tells whether it is the folder of what others share, which stays.
func (f fileRow) Fixed() bool { return f.Path == tree.SharedDir }

// Writable tells whether the entry can be changed.
func (f fileRow) Writable() bool { return f.Rights.Has(tree.Write) || f.Mount }

func row(dir string, info tree.Info) fileRow {
	f := fileRow{Info: info, Path: tree.Join(dir, info.Name), Icon: "folder"}
	if info.Mount && info.Dir || f.Fixed() {
		f.Icon = "folder-in"
	}
	if info.Dir {
		return f
	}
	f.Icon = map[preview.Kind]string{
		preview.Image: "image", preview.Text: "text", preview.Markdown: "text", preview.PDF: "pdf", preview.Audio: "audio", preview.Video: "video",
	}[preview.KindOf(info)]
	if strings.HasSuffix(strings.ToLower(info.Name), ".zip") {
		f.Icon = "archive"
	}
	f.Icon = cmp.Or(f.Icon, "file")
	if thumbnail.Possible(info) {
		h := fnv.New64a()
		fmt.Fprint(h, info.ETag, info.Size, info.ModTime.UnixNano())
		f.Thumb = fmt.Sprintf("%s%s?size=64&v=%x", thumbnailsPath, (&url.URL{Path: f.Path}).EscapedPath(), h.Sum64())
	}
	return f
}

// filesPageData is a folder as its page shows it.
type filesPageData struct {
	Path, Name, Here string // Here is the page's own address
	Crumbs           []crumb
	Rows             []fileRow
	Count            int
	Pager            pager
	Sort             string
	Desc             bool
	Writable, Shares bool // things can be put here; it is the folder of what others share
	Shared           int
	Fate             home.Fate // of what is deleted here
	From             string    // who shares what this lies in
	Away             *away
	Uploads          []pendingUpload
}

// First tells whether nothing was ever put here: all there is, is the folder of
// what others share.
func (f *filesPageData) First() bool {
	return f.Path == "" && f.Count == 1 && len(f.Rows) == 1 && f.Rows[0].Fixed()
}

// pendingUpload is an upload that was interrupted, or of which a part is
// arriving as the page is made.
type pendingUpload struct {
	ID, Name       string
	Offset, Length int64
	Going          bool
}

// away tells why a folder cannot be read, and of when what is shown is.
type away struct {
	Since  time.Time
	Why    error
	Reason string
	Seen   time.Time // zero: nothing is known of what it holds
}

// filesPage is the page of a folder, or of a file.
func (s *Server) filesPage(w http.ResponseWriter, r *http.Request) {
	name, err := pathBelow(r, filesPath)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	user := requestOf(r).user
	t, err := s.Homes.Whole(r.Context(), user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	info, err := t.Stat(r.Context(), name)
	if err == nil && !info.Dir {
		s.previewPage(w, r, t, name, info)
		return
	}
	data := &filesPageData{Path: name, Name: tree.Base(name), Here: r.URL.RequestURI(), Crumbs: above(name), Shares: name == tree.SharedDir}
	var entries []tree.Info
	if err == nil {
		entries, err = s.sorted(r.Context(), t, user.ID, name, info, r.URL.Query())
	}
	data.Sort, data.Desc = sortBy(r.URL.Query())
	if err != nil {
		seen, known := s.seenLists.get(user.ID + "/" + name)
		if !tree.Below(name, tree.SharedDir) || !errors.Is(err, tree.ErrUnavailable) && !known || errors.Is(err, tree.ErrNotFound) || r.Context().Err() != nil {
			s.problemPage(w, r, err)
			return
		}
		entries, data.Away = slices.Clone(seen.entries), &away{Since: s.now(), Why: asError(err), Seen: seen.at}
		sortEntries(entries, data.Sort, data.Desc)
	} else if tree.Below(name, tree.SharedDir) {
		s.seenLists.put(user.ID+"/"+name, s.now(), entries)
	}
	data.Writable = data.Away == nil && info.Rights.Has(tree.Write) && !data.Shares
	if err := s.describeFolder(r.Context(), t, user.ID, data); err != nil {
		s.problemPage(w, r, err)
		return
	}
	shown, pages := cut(r, entries)
	data.Count, data.Pager = len(entries), pages
	if err := s.describeRows(r.Context(), t, user.ID, data, shown); err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "files", data)
}

// maxFolder bounds what a page sorts.
const maxFolder = 200_000

func all(list func(func(tree.Info, error) bool)) (out []tree.Info, err error) {
	for info, err := range list {
		if err != nil {
			return nil, err
		}
		if out = append(out, info); len(out) == maxFolder {
			break
		}
	}
	return out, nil
}

// describeFolder tells where a folder lies: what deleting in it comes to, who
// shares it and whether its server answers, and which uploads into it wait.
func (s *Server) describeFolder(ctx context.Context, t tree.Tree, userID string, data *filesPageData) (err error) {
	if data.Fate, err = s.Homes.Fate(ctx, userID, tree.Join(data.Path, "x")); err != nil {
		return err
	}
	pending, err := s.Uploads.List(ctx, userID)
	if err != nil {
		return err
	}
	for _, u := range pending {
		if tree.Dir(u.Path) == data.Path {
			data.Uploads = append(data.Uploads, pendingUpload{u.ID, tree.Base(u.Path), u.Offset, u.Length, s.Uploads.Busy(u.ID)})
		}
	}
	if !tree.Below(data.Path, tree.SharedDir) {
		shared, err := s.Sharing.SharedBelow(ctx, userID, data.Path)
		data.Shared = shared[data.Path]
		return err
	}
	mount, _, _ := strings.Cut(data.Path[len(tree.SharedDir)+1:], "/")
	from, err := s.sharedBy(ctx, userID)
	if err != nil {
		return err
	}
	data.From = from[mount]
	if data.Away == nil {
		return nil
	}
	points, err := all(t.List(ctx, tree.SharedDir)) // asks no server
	for _, p := range points {
		if p.Name == mount && p.Unavailable != nil {
			data.Away.Since, data.Away.Reason = p.Unavailable.Since, p.Unavailable.Reason
		}
	}
	return err
}

// sharedBy tells who shares what, by the names in the folder of shares.
func (s *Server) sharedBy(ctx context.Context, userID string) (map[string]string, error) {
	inbox, err := s.Sharing.Inbox(ctx, userID)
	out := map[string]string{}
	for _, r := range inbox {
		if r.MemberState == sharing.MemberAccepted && r.EndedAt == 0 {
			out[r.MountName] = r.Sender
		}
	}
	return out, err
}

func (s *Server) describeRows(ctx context.Context, t tree.Tree, userID string, data *filesPageData, shown []tree.Info) error {
	var shared map[string]int
	var from map[string]string
	var err error
	if data.Shares {
		from, err = s.sharedBy(ctx, userID)
	} else if !tree.Below(data.Path, tree.SharedDir) {
		shared, err = s.Sharing.SharedBelow(ctx, userID, data.Path)
	}
	if err != nil {
		return err
	}
	for _, info := range shown {
		if !tree.Within(data.Path, tree.SharedDir) { // sorted knows little of it
			found, err := t.Stat(ctx, tree.Join(data.Path, info.Name))
			if err != nil { // gone since, or not to be looked at: the others are
				continue
			}
			info = found
		}
		f := row(data.Path, info)
		f.Shared, f.From = shared[f.Path], from[info.Name]
		if data.Away != nil {
			f.Thumb, f.Rights = "", f.Rights&^tree.Write
		}
		data.Rows = append(data.Rows, f)
	}
	return ctx.Err()
}

// sortBy reads how a page is to be sorted.
func sortBy(q url.Values) (by string, desc bool) {
	by, desc = q.Get("sort"), q.Get("desc") != ""
	if by != "size" && by != "time" {
		by = "name"
	}
	return by, desc
}

// sortEntries sorts folders first, and by name, size or time.
func sortEntries(entries []tree.Info, by string, desc bool) {
	type keyed struct {
		*tree.Info
		key string
	}
	before := slices.Clone(entries)
	list := make([]keyed, len(entries))
	for i := range before {
		list[i] = keyed{&before[i], search.Fold(before[i].Name)}
	}
	slices.SortFunc(list, func(a, b keyed) int {
		if a.Dir != b.Dir {
			if a.Dir {
				return -1
			}
			return 1
		}
		order := 0
		switch by {
		case "size":
			order = cmp.Compare(a.Size, b.Size)
		case "time":
			order = a.ModTime.Compare(b.ModTime)
		}
		order = cmp.Or(order, natural(a.key, b.key), strings.Compare(a.Name, b.Name))
		if desc {
			return -order
		}
		return order
	})
	for i := range list {
		entries[i] = *list[i].Info
	}
}

// natural compares names so that "file 9" comes before "file 10".
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if c := cmp.Or(cmp.Compare(len(na), len(nb)), strings.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return strings.Compare(a, b)
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// listings remembers what folders held, within bounds.
type listings struct {
	mu      sync.Mutex
	kept    *lru.LRU[string, remembered]
	entries int
}

type remembered struct {
	at      time.Time
	entries []tree.Info // not to be changed
}

// The bounds of what is remembered, in folders and in their entries.
const (
	maxRemembered        = 4096
	maxRememberedEntries = 150_000
	maxRememberedFolder  = 50_000
)

func (l *listings) put(key string, at time.Time, entries []tree.Info) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		kept, err := lru.NewLRU(maxRemembered, func(_ string, r remembered) { l.entries -= len(r.entries) })
		if err != nil {
			panic(err) // only for a size below one
		}
		l.kept = kept
	}
	l.kept.Remove(key)
	if len(entries) > maxRememberedFolder {
		return
	}
	l.kept.Add(key, remembered{at, entries})
	l.entries += len(entries)
	for l.entries > maxRememberedEntries {
		l.kept.RemoveOldest()
	}
}

func (l *listings) get(key string) (remembered, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		return remembered{}, false
	}
	return l.kept.Get(key)
}

// sorted lists a folder as a page was asked to; what its order does not need is not
// known of the entries of one's own folders. The ETag of one's own folder
// changes with whatever is in it or below, so a list that was made for it holds.
func (s *Server) sorted(ctx context.Context, t tree.Tree, userID, name string, info tree.Info, q url.Values) ([]tree.Info, error) {
	by, desc := sortBy(q)
	key := fmt.Sprintf("%s %s %t %s %s", userID, by, desc, info.ETag, name)
	own := !tree.Within(name, tree.SharedDir)
	if own {
		if r, ok := s.sortedLists.get(key); ok {
			return r.entries, nil
		}
	}
	if own {
		ctx = tree.Brief(ctx, by != "name")
	}
	entries, err := all(t.List(ctx, name))
	if err != nil {
		return nil, err
	}
	sortEntries(entries, by, desc)
	if own {
		s.sortedLists.put(key, s.now(), entries)
	}
	return entries, nil
}

// previewData is a file as its page shows it.
type previewData struct {
	fileRow
	Crumbs   []crumb
	Folder   string // address of the folder's page
	Kind     preview.Kind
	Text     string
	Markdown template.HTML
	Cut      bool  // the text goes on
	Fault    error // why it cannot be shown
	Content  string
	Source   bool // Markdown shown as it is written
	Own      bool
	Fate     home.Fate
}

// previewWait is how long a page waits for a text on another server.
const previewWait = 3 * time.Second

func (s *Server) previewPage(w http.ResponseWriter, r *http.Request, t tree.Tree, name string, info tree.Info) {
	data := &previewData{
		fileRow: row(tree.Dir(name), info), Folder: filesURL(tree.Dir(name)), Kind: preview.KindOf(info),
		Content: "/api/v1/content/" + (&url.URL{Path: name}).EscapedPath(), Source: r.URL.Query().Has("source"),
		Own: !tree.Within(name, tree.SharedDir), Crumbs: above(name),
	}
	userID := requestOf(r).user.ID
	var err error
	if data.Fate, err = s.Homes.Fate(r.Context(), userID, name); err != nil {
		s.problemPage(w, r, err)
		return
	}
	shared, err := s.Sharing.SharedBelow(r.Context(), userID, name)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	data.Shared = shared[name]
	if !data.Own {
		mount, _, _ := strings.Cut(strings.TrimPrefix(name, tree.SharedDir+"/"), "/")
		from, err := s.sharedBy(r.Context(), userID)
		if err != nil {
			s.problemPage(w, r, err)
			return
		}
		data.From = from[mount]
	}
	switch {
	case info.Unavailable != nil:
		data.Kind, data.Fault = preview.None, tree.ErrUnavailable.Saying("%s", info.Unavailable.Reason)
	case data.Kind == preview.Text || data.Kind == preview.Markdown:
		s.readText(r.Context(), t, name, data)
	}
	s.show(w, r, http.StatusOK, "file", data)
}

// readText reads the beginning of a text for its page.
func (s *Server) readText(ctx context.Context, t tree.Tree, name string, data *previewData) {
	ctx, cancel := context.WithTimeout(ctx, previewWait)
	defer cancel()
	b, err := readHead(ctx, t, name, preview.MaxText+1)
	if err != nil {
		data.Kind, data.Fault = preview.None, asError(err)
		if ctx.Err() != nil {
			data.Fault = tree.ErrUnavailable.Saying("The share's server is slow to answer; try again in a moment.")
		}
		return
	}
	data.Cut = len(b) > preview.MaxText
	text, ok := preview.TextOf(b[:min(len(b), preview.MaxText)], !data.Cut)
	if !ok {
		data.Kind = preview.None
		return
	}
	data.Text = text
	if data.Kind == preview.Markdown && !data.Source && len(b) <= preview.MaxMarkdown {
		if data.Markdown, err = preview.HTML([]byte(text), tree.Dir(name)); err != nil {
			data.Kind = preview.Text
		}
	}
}

func readHead(ctx context.Context, t tree.Tree, name string, n int64) ([]byte, error) {
	f, err := t.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if h, ok := f.(tree.Hinter); ok {
		if size := f.Info().Size; size >= 0 {
			n = min(n, size)
		}
		h.Hint(n)
	}
	return io.ReadAll(io.LimitReader(f, n))
}

// pathsOf are the paths of a form: the one that its button names, or those that
// were chosen.
func pathsOf(values url.Values) ([]string, error) {
	paths := values["only"]
	if len(paths) == 0 {
		paths = values["path"]
	}
	if len(paths) == 0 {
		return nil, errNothingChosen
	}
	if len(paths) > maxChosen {
		return nil, errNothingChosen.Saying("At most %d things can be chosen at once.", maxChosen)
	}
	names := make([]string, len(paths))
	for i, p := range paths {
		name, err := tree.Clean(p)
		if err != nil {
			return nil, err
		}
		if name == "" {
			return nil, errNothingChosen
		}
		names[i] = name
	}
	return names, nil
}

const maxChosen = 1000

var errNothingChosen = ocm.NewError(http.StatusBadRequest, "NOTHING_CHOSEN", "Nothing is chosen. Tick what it is about first.")

// returnTo is the list that a form came from.
func returnTo(r *http.Request, or string) string {
	from := r.PostForm.Get("from")
	if strings.HasPrefix(from, filesPath) || strings.HasPrefix(from, "/search?") {
		if local := localPath(from); local == from {
			return from
		}
	}
	return or
}

// quoted is a name as messages have it, not too long.
func quoted(name string) string {
	name = tree.Base(name)
	if len(name) <= 120 {
		return name
	}
	cut := 110
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "…"
}
