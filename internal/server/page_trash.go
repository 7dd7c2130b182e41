package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/home"
	"github.com/weft-mesh/weft/internal/search"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/internal/web"
)

// trashPageData is the trash as its page shows it.
type trashPageData struct {
	Rows  []trashRow
	Count int
	Size  int64
	Days  int
	Pager pager
}

type trashRow struct {
	ID, Name, In, Icon string
	Size, DeletedAt    int64
	Until              time.Time
}

func (s *Server) trashPage(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	page = min(max(page, 1), 10_000)
	list, count, size, err := s.Homes.Trash(r.Context(), requestOf(r).user.ID, (page-1)*pageSize, pageSize)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	pages := max(1, (count+pageSize-1)/pageSize)
	data := trashPageData{
		Count: count, Size: size, Days: int(s.Homes.TrashFor.Hours() / 24),
		Pager: pager{Page: page, Pages: pages, Prev: page - 1, Next: page + 1, URL: "/trash?page="},
	}
	for _, d := range list {
		f := row(tree.Dir(d.Path), tree.Info{Name: tree.Base(d.Path), Dir: d.Folder, Size: d.Size})
		data.Rows = append(data.Rows, trashRow{d.ID, f.Name, tree.Dir(d.Path), f.Icon, d.Size, d.DeletedAt, s.Homes.Until(d)})
	}
	s.show(w, r, http.StatusOK, "trash", data)
}

// idsOf are the things in the trash that a form is about.
func idsOf(r *http.Request) ([]string, error) {
	if err := r.ParseForm(); err != nil {
		return nil, errForm.With(err)
	}
	ids := r.PostForm["only"]
	if len(ids) == 0 {
		ids = r.PostForm["id"]
	}
	if len(ids) == 0 || len(ids) > maxChosen {
		return nil, errNothingChosen
	}
	return ids, nil
}

// restoreTrash brings back what was chosen, or undoes a deletion.
func (s *Server) restoreTrash(w http.ResponseWriter, r *http.Request) {
	ids, err := idsOf(r)
	next := "/trash"
	if err == nil {
		if n := r.PostForm.Get("next"); strings.HasPrefix(n, filesPath) && localPath(n) == n {
			next = n
		}
	}
	if err != nil {
		s.back(w, r, next, err)
		return
	}
	var name string
	for i, id := range ids {
		if name, _, err = s.Homes.Restore(r.Context(), requestOf(r).user.ID, id); err != nil {
			if i == 0 {
				s.back(w, r, next, err)
				return
			}
			s.partly(w, r, next, i, id, err)
			return
		}
	}
	said := web.Said{Kind: "good", Key: "trash.restored", Args: []string{quoted(name), "/" + tree.Dir(name)}}
	if len(ids) > 1 {
		said = web.Said{Kind: "good", Key: "trash.restored.many", Args: []string{strconv.Itoa(len(ids))}}
	}
	s.done(w, r, next, said)
}

func (s *Server) purgeTrash(w http.ResponseWriter, r *http.Request) {
	ids, err := idsOf(r)
	var n int64
	if err == nil {
		n, err = s.Homes.Purge(r.Context(), requestOf(r).user.ID, ids...)
	}
	if err == nil && n == 0 {
		err = home.ErrNotInTrash
	}
	s.purgedTrash(w, r, n, err)
}

func (s *Server) emptyTrash(w http.ResponseWriter, r *http.Request) {
	n, err := s.Homes.Purge(r.Context(), requestOf(r).user.ID)
	s.purgedTrash(w, r, n, err)
}

func (s *Server) purgedTrash(w http.ResponseWriter, r *http.Request, n int64, err error) {
	if err != nil {
		s.back(w, r, "/trash", err)
		return
	}
	s.done(w, r, "/trash", web.Said{Kind: "good", Key: "trash.purged", Args: []string{strconv.FormatInt(n, 10)}})
}

// searchPageData is what a search found, as its page shows it.
type searchPageData struct {
	Query string
	Path  string // the folder that was looked in
	Rows  []foundRow
	More  bool
	Left  []string
}

type foundRow struct {
	fileRow
	In    string
	InURL string
}

const maxFound = 200

func (s *Server) searchPage(w http.ResponseWriter, r *http.Request) {
	data := searchPageData{Query: strings.TrimSpace(r.URL.Query().Get("q"))}
	t, err := s.Homes.Whole(r.Context(), requestOf(r).user.ID)
	if err == nil {
		data.Path, err = tree.Clean(r.URL.Query().Get("in"))
	}
	var found *search.Result
	if err == nil {
		found, err = search.Files(r.Context(), t, data.Path, data.Query, maxFound)
	}
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	data.More, data.Left = found.More, found.Left
	for _, h := range found.Hits {
		dir := tree.Dir(h.Path)
		data.Rows = append(data.Rows, foundRow{row(dir, h.Info), dir, filesURL(dir)})
	}
	s.show(w, r, http.StatusOK, "search", data)
}
