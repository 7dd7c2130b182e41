package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/home"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/web"
)

// maxUndone is how many things a message can take back: its form is kept in a
// cookie.
const maxUndone = 30

// deleteFiles deletes what was chosen in a list.
func (s *Server) deleteFiles(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	names, err := pathsOf(r.PostForm)
	if err != nil {
		s.back(w, r, returnTo(r, filesPath), err)
		return
	}
	next := returnTo(r, filesURL(tree.Dir(names[0])))
	var ids []string
	var fate home.Fate
	for i, name := range names {
		d, err := s.remove(r.Context(), name)
		if err != nil {
			s.partly(w, r, next, i, name, err)
			return
		}
		fate = home.Fate(d.Deletion)
		if d.TrashID != "" {
			ids = append(ids, d.TrashID)
		}
	}
	said := web.Said{Kind: "good", Key: "files.deleted." + string(fate), Args: []string{quoted(names[0])}}
	if len(names) > 1 {
		said = web.Said{Kind: "good", Key: "files.deleted.many." + string(fate), Args: []string{strconv.Itoa(len(names))}}
	}
	if len(ids) == len(names) && len(ids) <= maxUndone {
		said.Undo = &web.Undo{Action: "/trash/restore", Fields: url.Values{"id": ids, "next": {next}}}
	}
	s.done(w, r, next, said)
}

// partly says that something went wrong after some of what was chosen was done.
func (s *Server) partly(w http.ResponseWriter, r *http.Request, next string, before int, name string, err error) {
	e := asError(err)
	loc := web.LocaleFor(s.languageOf(r), r.Header.Get("Accept-Language"))
	text := loc.T("files.failed", quoted(name), loc.Error(e))
	if before > 0 {
		text += " " + loc.T("files.failed.before", before)
	}
	note(r, e)
	s.done(w, r, next, web.Said{Kind: "bad", Text: text})
}

// nameData is the form for the name of something old or new.
type nameData struct {
	Path, Name, From string
	Folder           bool
}

func (s *Server) renameForm(w http.ResponseWriter, r *http.Request) {
	name, err := tree.Clean(r.URL.Query().Get("path"))
	if err != nil || name == "" {
		s.problemPage(w, r, cmp.Or(err, error(errNothingChosen)))
		return
	}
	s.show(w, r, http.StatusOK, "rename", nameData{Path: name, Name: tree.Base(name), Folder: r.URL.Query().Get("folder") != ""})
}

func (s *Server) rename(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	from, err := tree.Clean(r.PostForm.Get("path"))
	if err != nil || from == "" {
		s.problemPage(w, r, cmp.Or(err, error(errNothingChosen)))
		return
	}
	data := nameData{Path: from, Name: strings.TrimSpace(r.PostForm.Get("name"))}
	to, err := elementIn(tree.Dir(from), data.Name)
	if err == nil && to != from {
		err = s.moveFile(r.Context(), from, to)
	}
	if err != nil {
		s.showFault(w, r, "rename", data, err)
		return
	}
	s.done(w, r, returnTo(r, filesURL(tree.Dir(to))), web.Said{
		Kind: "good", Key: "files.renamed", Args: []string{quoted(from), quoted(to)},
		Undo: &web.Undo{Action: "/rename", Fields: url.Values{"path": {to}, "name": {tree.Base(from)}}},
	})
}

// elementIn is a new name in a folder, as someone wrote it.
func elementIn(folder, name string) (string, error) {
	if strings.Contains(name, "/") {
		return "", tree.ErrName.Saying("A name cannot hold a slash.")
	}
	if name == "" {
		return "", tree.ErrName.Saying("A name cannot be empty.")
	}
	return tree.Clean(tree.Join(folder, name))
}

func (s *Server) moveFile(ctx context.Context, from, to string) error {
	in := &moveBody{}
	in.Body.From, in.Body.To = from, to
	return s.relocate(ctx, in, func(t tree.Tree, from, to string) error {
		_, err := t.Move(ctx, from, to, tree.MoveOptions{})
		return err
	})
}

func (s *Server) newFolderForm(w http.ResponseWriter, r *http.Request) {
	in, err := tree.Clean(r.URL.Query().Get("in"))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "folder", nameData{Path: in})
}

func (s *Server) newFolder(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	in, err := tree.Clean(r.PostForm.Get("in"))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	data := nameData{Path: in, Name: strings.TrimSpace(r.PostForm.Get("name"))}
	name, err := elementIn(in, data.Name)
	if err == nil {
		var t tree.Tree
		if t, err = s.Homes.Whole(r.Context(), requestOf(r).user.ID); err == nil {
			_, err = t.Mkdir(r.Context(), name)
		}
	}
	if err != nil {
		s.showFault(w, r, "folder", data, err)
		return
	}
	s.done(w, r, filesURL(in), web.Said{Kind: "good", Key: "files.folder.made", Args: []string{quoted(name)}, Link: &web.Link{To: filesURL(name), Key: "files.folder.open"}})
}

// moveData is the page that chooses where things go.
type moveData struct {
	Paths     []string
	Names     []string
	To        string
	Crumbs    []crumb // with addresses of this page
	Top       string
	Folders   []crumb
	More      bool
	Here      bool // they are in this folder already
	Writable  bool
	Fault     error
	CloseLink string
}

const maxTargets = 500

// moveForm is a page that leads through the folders.
func (s *Server) moveForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	names, err := pathsOf(q)
	if err != nil {
		s.back(w, r, filesPath, err)
		return
	}
	to := tree.Dir(names[0])
	if q.Has("to") {
		if to, err = tree.Clean(q.Get("to")); err != nil {
			s.problemPage(w, r, err)
			return
		}
	}
	address := func(to string) string {
		return "/move?" + url.Values{"path": names, "to": {to}}.Encode()
	}
	data := moveData{Paths: names, To: to, Top: address(""), CloseLink: filesURL(tree.Dir(names[0]))}
	for _, n := range names {
		data.Names = append(data.Names, tree.Base(n))
		data.Here = data.Here || tree.Dir(n) == to
	}
	for i := 0; to != "" && i <= len(to); i++ {
		if i == len(to) || to[i] == '/' {
			data.Crumbs = append(data.Crumbs, crumb{tree.Base(to[:i]), address(to[:i])})
		}
	}
	t, err := s.Homes.Whole(r.Context(), requestOf(r).user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	info, err := t.Stat(r.Context(), to)
	var entries []tree.Info
	if err == nil {
		entries, err = s.sorted(r.Context(), t, requestOf(r).user.ID, to, info, url.Values{})
	}
	if err != nil {
		data.Fault = asError(err)
	}
	data.Writable = data.Fault == nil && info.Rights.Has(tree.Write)
	for _, e := range entries {
		at := tree.Join(to, e.Name)
		if !e.Dir || withinAny(at, names) {
			continue
		}
		if data.More = len(data.Folders) == maxTargets; data.More {
			break
		}
		data.Folders = append(data.Folders, crumb{e.Name, address(at)})
	}
	s.show(w, r, http.StatusOK, "move", data)
}

func withinAny(name string, folders []string) bool {
	for _, f := range folders {
		if tree.Within(name, f) {
			return true
		}
	}
	return false
}

// moveFiles moves or copies to a folder. What has a name there already stays:
// what comes gets another.
func (s *Server) moveFiles(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	names, err := pathsOf(r.PostForm)
	var to string
	if err == nil {
		to, err = tree.Clean(r.PostForm.Get("to"))
	}
	if err != nil {
		s.back(w, r, filesPath, err)
		return
	}
	next := filesURL(to)
	copying := r.PostForm.Get("mode") == "copy"
	t, err := s.Homes.Whole(r.Context(), requestOf(r).user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	var moved []string
	plain := true // all keep their names, and came from one folder
	for i, from := range names {
		target, err := s.carry(r.Context(), t, from, to, copying)
		if err != nil {
			s.partly(w, r, next, i, from, err)
			return
		}
		moved = append(moved, target)
		plain = plain && tree.Base(target) == tree.Base(from) && tree.Dir(from) == tree.Dir(names[0])
	}
	key := "files.moved"
	if copying {
		key = "files.copied"
	}
	where := tree.Base(to)
	if where == "" {
		where = web.LocaleFor(s.languageOf(r), r.Header.Get("Accept-Language")).T("files.title")
	}
	said := web.Said{Kind: "good", Key: key, Args: []string{quoted(names[0]), quoted(where)}}
	if len(names) > 1 {
		said = web.Said{Kind: "good", Key: key + ".many", Args: []string{strconv.Itoa(len(names)), quoted(where)}}
	}
	if !copying && plain && len(moved) <= maxUndone {
		said.Undo = &web.Undo{Action: "/move", Fields: url.Values{"path": moved, "to": {tree.Dir(names[0])}}}
	}
	s.done(w, r, next, said)
}

// carry moves or copies one thing into a folder, under a name that is free.
func (s *Server) carry(ctx context.Context, t tree.Tree, from, folder string, copying bool) (string, error) {
	info, err := t.Stat(ctx, from)
	if err != nil {
		return "", err
	}
	if !copying && tree.Dir(from) == folder {
		return from, nil
	}
	for range 3 { // another may take the name
		var to string
		if to, err = tree.FreeName(ctx, t, tree.Join(folder, tree.Base(from)), info.Dir); err != nil {
			return "", err
		}
		if err = s.unlocked(ctx, to); err != nil {
			return "", err
		}
		if copying {
			_, err = t.Copy(ctx, from, to, tree.CopyOptions{})
		} else if err = s.unlocked(ctx, from); err == nil {
			_, err = t.Move(ctx, from, to, tree.MoveOptions{})
		}
		if !errors.Is(err, tree.ErrExists) {
			return to, err
		}
	}
	return "", err
}

// uploadFiles takes files from a form. Names that are taken get a number.
func (s *Server) uploadFiles(w http.ResponseWriter, r *http.Request) {
	form, err := r.MultipartReader()
	if err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	body := &piece{body: r.Body, rc: http.NewResponseController(w), stall: s.conf.Limits.StallTimeout}
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	defer body.rc.SetReadDeadline(time.Time{})
	t, err := s.Homes.Whole(r.Context(), requestOf(r).user.ID)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	var to, last string
	count := 0
	for count < maxChosen {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			s.back(w, r, filesURL(to), errForm.With(err))
			return
		}
		switch {
		case part.FormName() == "to":
			b, _ := io.ReadAll(io.LimitReader(part, tree.MaxPath+1))
			if to, err = tree.Clean(string(b)); err != nil {
				s.problemPage(w, r, err)
				return
			}
		case part.FormName() == "file" && part.FileName() != "":
			if last, err = s.takeFile(r.Context(), t, to, part); err != nil {
				s.partly(w, r, filesURL(to), count, part.FileName(), err)
				return
			}
			count++
		}
	}
	switch count {
	case 0:
		s.back(w, r, filesURL(to), errNothingChosen)
	case 1:
		s.done(w, r, filesURL(to), web.Said{Kind: "good", Key: "files.uploaded", Args: []string{quoted(last)}})
	default:
		s.done(w, r, filesURL(to), web.Said{Kind: "good", Key: "files.uploaded.many", Args: []string{strconv.Itoa(count)}})
	}
}

func (s *Server) takeFile(ctx context.Context, t tree.Tree, folder string, part *multipart.Part) (string, error) {
	name, err := elementIn(folder, part.FileName())
	if err != nil {
		return "", err
	}
	if name, err = tree.FreeName(ctx, t, name, false); err != nil {
		return "", err
	}
	if err := s.unlocked(ctx, name); err != nil {
		return "", err
	}
	_, _, err = t.Put(ctx, name, part, tree.PutOptions{Condition: tree.Condition{NoneMatch: "*"}, Size: -1, ContentType: part.Header.Get("Content-Type")})
	return name, err
}

// cancelUploadPage gives up an upload from a list.
func (s *Server) cancelUploadPage(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.problemPage(w, r, errForm.With(err))
		return
	}
	next := returnTo(r, filesPath)
	if err := s.Uploads.Cancel(r.Context(), requestOf(r).user.ID, r.PostForm.Get("id")); err != nil {
		s.back(w, r, next, err)
		return
	}
	s.done(w, r, next, web.Said{Kind: "good", Key: "files.upload.cancelled"})
}
