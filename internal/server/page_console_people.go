package server

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/web"
	"github.com/weft-mesh/weft/ocm"
)

// userPath is the page of a user.
func userPath(name string) string { return "/admin/users/" + url.PathEscape(name) }

func groupPath(name string) string { return "/admin/groups/" + url.PathEscape(name) }

// usersPage is a page of the users that fit, and the address of the next one.
func (s *Server) usersPage(r *http.Request, f account.Filter) (users []UserView, next string, err error) {
	f.After, f.Limit = asked(r, "after"), consoleRows+1
	users, err = s.Users(r.Context(), f)
	if len(users) > consoleRows {
		users = users[:consoleRows]
		next = onward(r, "after", users[consoleRows-1].Name)
	}
	return users, next, err
}

func (s *Server) consoleUsers(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Text, Only, Next, First string
		Users                   []UserView
	}{Text: asked(r, "q"), Only: asked(r, "only"), First: begun(r, "after")}
	f := account.Filter{Text: data.Text}
	switch data.Only {
	case "admin":
		f.Role = account.RoleAdmin
	case "disabled":
		f.Disabled = true
	}
	var err error
	if data.Users, data.Next, err = s.usersPage(r, f); err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-users", data)
}

// userForm is what the form of a user holds.
type userForm struct {
	Name, DisplayName, Email, Quota string
	Admin                           bool
}

// errSize says how a quota is written.
var errSize = ocm.Invalid("quota", "is a number of gigabytes, such as 10 or 0.5, or empty for no limit")

// gigabyte is the unit of quotas in forms.
const gigabyte = 1_000_000_000

func readQuota(text string) (int64, error) {
	text = strings.TrimSpace(strings.Replace(text, ",", ".", 1))
	if text == "" {
		return account.NoQuota, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0 && n < 1e9) {
		return 0, errSize
	}
	return int64(n * gigabyte), nil
}

func showQuota(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return strconv.FormatFloat(float64(bytes)/gigabyte, 'f', -1, 64)
}

func (s *Server) consoleNewUser(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "admin-user-new", userForm{})
}

func (s *Server) consoleAddUser(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	f := userForm{strings.TrimSpace(form.Get("name")), form.Get("displayName"), strings.TrimSpace(form.Get("email")), form.Get("quota"), form.Get("admin") != ""}
	quota, err := readQuota(f.Quota)
	if err == nil {
		_, err = s.Accounts.Add(r.Context(), account.NewUser{
			Name: f.Name, DisplayName: f.DisplayName, Email: f.Email, Password: ocm.Secret(form.Get("password")), Admin: f.Admin, Quota: quota,
		})
	}
	if err != nil {
		s.showFault(w, r, "admin-user-new", f, err)
		return
	}
	s.done(w, r, userPath(f.Name), web.Said{Kind: "good", Key: "admin.user.added", Args: []string{f.Name}})
}

// userPage is a user with the form about them.
type userPage struct {
	*UserView
	Form   userForm
	Self   bool // it is who looks
	Others []string
}

func (s *Server) userPage(r *http.Request) (*userPage, error) {
	u, err := s.OneUser(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	p := &userPage{UserView: u, Self: u.ID == requestOf(r).user.ID}
	p.Form = userForm{u.Name, u.DisplayName, u.Email, showQuota(u.Quota), u.Role == account.RoleAdmin}
	return p, nil
}

func (s *Server) consoleUser(w http.ResponseWriter, r *http.Request) {
	p, err := s.userPage(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-user", p)
}

func (s *Server) consoleSaveUser(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	p, err := s.userPage(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	p.Form = userForm{p.Name, form.Get("displayName"), form.Get("email"), form.Get("quota"), form.Get("admin") != "" || p.Self}
	role := account.RoleUser
	if p.Form.Admin {
		role = account.RoleAdmin
	}
	quota, err := readQuota(p.Form.Quota)
	if err == nil {
		_, err = s.ChangeUser(r.Context(), *requestOf(r).user, p.Name, account.Change{DisplayName: &p.Form.DisplayName, Email: &p.Form.Email, Role: &role, Quota: &quota})
	}
	if err != nil {
		s.showFault(w, r, "admin-user", p, err)
		return
	}
	s.done(w, r, userPath(p.Name), web.Said{Kind: "good", Key: "admin.saved"})
}

func (s *Server) consolePassword(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	p, err := s.userPage(r)
	if err == nil {
		err = s.Accounts.SetPassword(r.Context(), p.ID, ocm.Secret(form.Get("password")))
	}
	if err != nil {
		s.back(w, r, userPath(r.PathValue("name")), err)
		return
	}
	s.done(w, r, userPath(p.Name), web.Said{Kind: "good", Key: "admin.user.password.set", Args: []string{p.Name}})
}

// consoleSignIn closes an account, or opens it again. It can be undone.
func (s *Server) consoleSignIn(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	name, disabled := r.PathValue("name"), form.Get("disabled") != ""
	if _, err := s.ChangeUser(r.Context(), *requestOf(r).user, name, account.Change{Disabled: &disabled}); err != nil {
		s.back(w, r, userPath(name), err)
		return
	}
	said := web.Said{Kind: "good", Key: "admin.user.opened", Args: []string{name}}
	if disabled {
		said.Key = "admin.user.closed"
		said.Undo = &web.Undo{Action: userPath(name) + "/signin", Fields: url.Values{}}
	}
	s.done(w, r, userPath(name), said)
}

func (s *Server) consoleRemoveUser(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if err := s.RemoveUserFor(r.Context(), *requestOf(r).user, name); err != nil {
		s.back(w, r, userPath(name), err)
		return
	}
	s.done(w, r, "/admin/users", web.Said{Kind: "good", Key: "admin.user.removed", Args: []string{name}})
}

// Groups

// groupsPage lists the groups, with the form of a new one.
type groupsPage struct {
	Groups            []GroupView
	Name, DisplayName string
	Pager             pager
}

func (s *Server) groupsPage(r *http.Request) (*groupsPage, error) {
	all, err := s.GroupList(r.Context())
	if err != nil {
		return nil, err
	}
	p := &groupsPage{}
	p.Groups, p.Pager = cut(r, all)
	return p, nil
}

func (s *Server) consoleGroups(w http.ResponseWriter, r *http.Request) {
	p, err := s.groupsPage(r)
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-groups", p)
}

func (s *Server) consoleAddGroup(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	g, err := s.Accounts.AddGroup(r.Context(), strings.TrimSpace(form.Get("name")), form.Get("displayName"))
	if err != nil {
		p, e := s.groupsPage(r)
		if e != nil {
			s.problemPage(w, r, e)
			return
		}
		p.Name, p.DisplayName = form.Get("name"), form.Get("displayName")
		s.showFault(w, r, "admin-groups", p, err)
		return
	}
	s.done(w, r, groupPath(g.Name), web.Said{Kind: "good", Key: "admin.group.added", Args: []string{g.Name}})
}

// groupPage is a group with those of its members that a page shows.
type groupPage struct {
	GroupView
	Text, Next, First, Back string
	People                  []UserView
}

func (s *Server) consoleGroup(w http.ResponseWriter, r *http.Request) {
	g, err := s.Accounts.GroupByName(r.Context(), r.PathValue("name"))
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	p := &groupPage{Text: asked(r, "q"), First: begun(r, "after"), Back: r.URL.RequestURI()}
	sizes, err := s.Accounts.Sizes(r.Context())
	if err == nil {
		p.GroupView = s.showGroup(g, sizes[g.ID])
		p.People, p.Next, err = s.usersPage(r, account.Filter{GroupID: g.ID, Text: p.Text})
	}
	if err != nil {
		s.problemPage(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "admin-group", p)
}

func (s *Server) consoleSaveGroup(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	name := r.PathValue("name")
	g, err := s.Accounts.GroupByName(r.Context(), name)
	if err == nil {
		err = s.Accounts.RenameGroup(r.Context(), g.ID, form.Get("displayName"))
	}
	if err != nil {
		s.back(w, r, groupPath(name), err)
		return
	}
	s.done(w, r, groupPath(name), web.Said{Kind: "good", Key: "admin.saved"})
}

// consoleMember puts someone into a group or takes them out; both can be undone.
func (s *Server) consoleMember(w http.ResponseWriter, r *http.Request) {
	form, ok := s.formOf(w, r)
	if !ok {
		return
	}
	group, user, out := r.PathValue("name"), strings.TrimSpace(form.Get("user")), form.Get("out") != ""
	next := backTo(form, groupPath(group))
	if err := s.Membership(r.Context(), group, user, !out); err != nil {
		s.back(w, r, next, err)
		return
	}
	said := web.Said{Kind: "good", Key: "admin.group.joined", Args: []string{user}, Undo: &web.Undo{Action: groupPath(group) + "/members", Fields: url.Values{"user": {user}}}}
	if out {
		said.Key = "admin.group.left"
	} else {
		said.Undo.Fields.Set("out", "1")
	}
	s.done(w, r, next, said)
}

func (s *Server) consoleRemoveGroup(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	g, err := s.Accounts.GroupByName(r.Context(), name)
	if err == nil {
		err = s.RemoveGroup(r.Context(), g)
	}
	if err != nil {
		s.back(w, r, groupPath(name), err)
		return
	}
	s.done(w, r, "/admin/groups", web.Said{Kind: "good", Key: "admin.group.removed", Args: []string{g.Name}})
}
