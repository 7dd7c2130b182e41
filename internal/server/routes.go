package server

import (
	"net/http"
	"strings"

	"github.com/weft-mesh/weft/internal/contact"
	"github.com/weft-mesh/weft/internal/web"
)

// audience says who may call a route, and so how it is guarded.
type audience int

const (
	public    audience = iota // anyone: documents and health
	peers                     // other servers: the handler verifies the signature
	bearers                   // holders of a share's token or secret
	people                    // signed in, by password, app password or session
	signing                   // people about to sign in
	visitors                  // people's browsers: pages
	members                   // people's browsers, signed in
	operators                 // those of administrators
	monitors                  // the operator's probes
)

// route is one row of the table of everything this server answers.
type route struct {
	method  string // "" for any
	path    string // as http.ServeMux reads it; a trailing "/" takes all below
	who     audience
	handler func(*Server) http.HandlerFunc
}

// routes is every route there is. The WebDAV trees stand in front of the mux
// (see ServeHTTP), because it would redirect names that hold "//".
var routes = []route{
	{"GET", "/.well-known/ocm", public, func(s *Server) http.HandlerFunc { return s.discovery }},
	{"GET", "/ocm-provider", public, func(s *Server) http.HandlerFunc { return s.legacyDiscovery }},
	{"GET", "/ocm-provider/{$}", public, func(s *Server) http.HandlerFunc { return s.legacyDiscovery }},
	{"GET", "/ocm/jwks", public, func(s *Server) http.HandlerFunc { return s.jwks }},
	{"POST", "/ocm/shares", peers, func(s *Server) http.HandlerFunc { return s.createShare }},
	{"POST", "/ocm/notifications", peers, func(s *Server) http.HandlerFunc { return s.notify }},
	{"POST", "/ocm/request-share", peers, func(s *Server) http.HandlerFunc { return s.requestShare }},
	{"POST", "/ocm/invite-accepted", peers, func(s *Server) http.HandlerFunc { return s.inviteAccepted }},
	{"POST", "/ocm/token", peers, func(s *Server) http.HandlerFunc { return s.token }},
	{"GET", "/ocm/directory", public, func(s *Server) http.HandlerFunc { return s.publishedDirectory }},
	{"", "/ocm/", peers, func(s *Server) http.HandlerFunc { return s.noEndpoint }},

	{"GET", "/healthz", monitors, func(s *Server) http.HandlerFunc { return s.healthz }},
	{"GET", "/readyz", monitors, func(s *Server) http.HandlerFunc { return s.readyz }},

	{"POST", "/api/v1/login", signing, func(s *Server) http.HandlerFunc { return s.api.ServeHTTP }},
	{"GET", "/api/v1/openapi.json", public, func(s *Server) http.HandlerFunc { return s.api.ServeHTTP }},
	{"GET", "/api/v1/openapi.yaml", public, func(s *Server) http.HandlerFunc { return s.api.ServeHTTP }},
	{"", "/api/v1/", people, func(s *Server) http.HandlerFunc { return s.api.ServeHTTP }},

	{"GET", "/{$}", visitors, func(s *Server) http.HandlerFunc { return s.welcome }},
	{"GET", loginPath, visitors, func(s *Server) http.HandlerFunc { return s.loginForm }},
	{"POST", loginPath, visitors, func(s *Server) http.HandlerFunc { return s.login }},
	{"POST", "/logout", visitors, func(s *Server) http.HandlerFunc { return s.logout }},
	{"GET", contact.WAYFPath, visitors, func(s *Server) http.HandlerFunc { return s.wayf }},
	{"GET", contact.WAYFPath + "/check", visitors, func(s *Server) http.HandlerFunc { return s.wayfCheck }},
	{"GET", contact.DialogPath, visitors, func(s *Server) http.HandlerFunc { return s.acceptDialog }},
	{"POST", contact.DialogPath, visitors, func(s *Server) http.HandlerFunc { return s.acceptInvite }},
	{"GET", noticesPath, members, func(s *Server) http.HandlerFunc { return s.notices }},
	{"POST", noticesPath + "/read", members, func(s *Server) http.HandlerFunc { return s.readNotices }},
	{"POST", noticesPath + "/{id}/read", members, func(s *Server) http.HandlerFunc { return s.readNotices }},
	{"POST", noticesPath + "/{id}/resend", members, func(s *Server) http.HandlerFunc { return s.resendNotice }},
	{"GET", confirmPath, visitors, func(s *Server) http.HandlerFunc { return s.confirmForm }},
	{"POST", confirmPath, visitors, func(s *Server) http.HandlerFunc { return s.confirmEmail }},
	{"GET", settingsPath, members, func(s *Server) http.HandlerFunc { return s.settings }},
	{"POST", settingsPath + "/profile", members, func(s *Server) http.HandlerFunc { return s.setProfile }},
	{"POST", settingsPath + "/email", members, func(s *Server) http.HandlerFunc { return s.setEmail }},
	{"POST", settingsPath + "/email/withdraw", members, func(s *Server) http.HandlerFunc { return s.withdrawEmail }},
	{"POST", settingsPath + "/mail", members, func(s *Server) http.HandlerFunc { return s.setMail }},
	{"POST", settingsPath + "/password", members, func(s *Server) http.HandlerFunc { return s.setPassword }},
	{"POST", settingsPath + "/sessions/end", members, func(s *Server) http.HandlerFunc { return s.endSessions }},
	{"POST", settingsPath + "/sessions/{id}/end", members, func(s *Server) http.HandlerFunc { return s.endSessions }},
	{"POST", settingsPath + "/apps", members, func(s *Server) http.HandlerFunc { return s.addApp }},
	{"POST", settingsPath + "/apps/{id}/end", members, func(s *Server) http.HandlerFunc { return s.endApp }},
	{"GET", "/people", members, func(s *Server) http.HandlerFunc { return s.people }},
	{"GET", "/people/new", members, func(s *Server) http.HandlerFunc { return s.newContactForm }},
	{"POST", "/people/new", members, func(s *Server) http.HandlerFunc { return s.addContact }},
	{"POST", "/people/import", members, func(s *Server) http.HandlerFunc { return s.importPage }},
	{"GET", "/people/invite", members, func(s *Server) http.HandlerFunc { return s.inviteForm }},
	{"POST", "/people/invite", members, func(s *Server) http.HandlerFunc { return s.makeInvite }},
	{"GET", "/people/accept", members, func(s *Server) http.HandlerFunc { return s.acceptPasted }},
	{"POST", "/people/accept", members, func(s *Server) http.HandlerFunc { return s.acceptPastedInvite }},
	{"GET", "/people/invites", members, func(s *Server) http.HandlerFunc { return s.invitesPage }},
	{"POST", "/people/invites/{id}/revoke", members, func(s *Server) http.HandlerFunc { return s.revokeInvite }},
	{"POST", "/people/invites/{id}/renew", members, func(s *Server) http.HandlerFunc { return s.renewInvite }},
	{"POST", "/people/acceptances/{id}/retry", members, func(s *Server) http.HandlerFunc { return s.retryAcceptance }},
	{"POST", "/people/acceptances/{id}/forget", members, func(s *Server) http.HandlerFunc { return s.forgetAcceptance }},
	{"GET", "/people/{id}", members, func(s *Server) http.HandlerFunc { return s.contactPage }},
	{"POST", "/people/{id}", members, func(s *Server) http.HandlerFunc { return s.saveContact }},
	{"POST", "/people/{id}/remove", members, func(s *Server) http.HandlerFunc { return s.removeContactPage }},

	{"GET", "/share", members, func(s *Server) http.HandlerFunc { return s.shareDialog }},
	{"POST", "/share", members, func(s *Server) http.HandlerFunc { return s.share }},
	{"GET", "/share/check", members, func(s *Server) http.HandlerFunc { return s.shareCheck }},
	{"GET", "/share/complete", members, func(s *Server) http.HandlerFunc { return s.shareComplete }},
	{"GET", "/share/paths", members, func(s *Server) http.HandlerFunc { return s.sharePaths }},
	{"GET", "/shares", members, func(s *Server) http.HandlerFunc { return s.sharesList }},
	{"POST", "/shares/{id}/change", members, func(s *Server) http.HandlerFunc { return s.changeShare }},
	{"POST", "/shares/{id}/end", members, func(s *Server) http.HandlerFunc { return s.endShare }},
	{"POST", "/shares/{id}/resend", members, func(s *Server) http.HandlerFunc { return s.resendShare }},
	{"GET", "/inbox", members, func(s *Server) http.HandlerFunc { return s.inbox }},
	{"POST", "/inbox/{id}/accept", members, func(s *Server) http.HandlerFunc { return s.acceptShare }},
	{"POST", "/inbox/{id}/decline", members, func(s *Server) http.HandlerFunc { return s.declineShare }},
	{"POST", "/inbox/{id}/leave", members, func(s *Server) http.HandlerFunc { return s.leaveShare }},
	{"POST", "/inbox/{id}/block", members, func(s *Server) http.HandlerFunc { return s.blockSender }},
	{"POST", "/inbox/{id}/report", members, func(s *Server) http.HandlerFunc { return s.reportShare }},
	{"GET", "/requests", members, func(s *Server) http.HandlerFunc { return s.requestsList }},
	{"GET", "/requests/new", members, func(s *Server) http.HandlerFunc { return s.askForm }},
	{"POST", "/requests/new", members, func(s *Server) http.HandlerFunc { return s.askForShare }},
	{"POST", "/requests/{id}/grant", members, func(s *Server) http.HandlerFunc { return s.grantRequest }},
	{"POST", "/requests/{id}/refuse", members, func(s *Server) http.HandlerFunc { return s.refuseRequest }},
	{"POST", "/requests/{id}/ignore", members, func(s *Server) http.HandlerFunc { return s.ignoreRequest }},
	{"POST", "/requests/{id}/withdraw", members, func(s *Server) http.HandlerFunc { return s.withdrawRequest }},

	{"GET", filesPath, members, func(s *Server) http.HandlerFunc { return s.filesPage }},
	{"POST", "/delete", members, func(s *Server) http.HandlerFunc { return s.deleteFiles }},
	{"GET", "/rename", members, func(s *Server) http.HandlerFunc { return s.renameForm }},
	{"POST", "/rename", members, func(s *Server) http.HandlerFunc { return s.rename }},
	{"GET", "/folder", members, func(s *Server) http.HandlerFunc { return s.newFolderForm }},
	{"POST", "/folder", members, func(s *Server) http.HandlerFunc { return s.newFolder }},
	{"GET", "/move", members, func(s *Server) http.HandlerFunc { return s.moveForm }},
	{"POST", "/move", members, func(s *Server) http.HandlerFunc { return s.moveFiles }},
	{"POST", "/upload", members, func(s *Server) http.HandlerFunc { return s.uploadFiles }},
	{"POST", "/upload/cancel", members, func(s *Server) http.HandlerFunc { return s.cancelUploadPage }},
	{"GET", "/search", members, func(s *Server) http.HandlerFunc { return s.searchPage }},
	{"GET", "/trash", members, func(s *Server) http.HandlerFunc { return s.trashPage }},
	{"POST", "/trash/restore", members, func(s *Server) http.HandlerFunc { return s.restoreTrash }},
	{"POST", "/trash/purge", members, func(s *Server) http.HandlerFunc { return s.purgeTrash }},
	{"POST", "/trash/empty", members, func(s *Server) http.HandlerFunc { return s.emptyTrash }},
	{"GET", "/admin", operators, func(s *Server) http.HandlerFunc { return s.consoleOverview }},
	{"GET", "/admin/users", operators, func(s *Server) http.HandlerFunc { return s.consoleUsers }},
	{"GET", "/admin/new-user", operators, func(s *Server) http.HandlerFunc { return s.consoleNewUser }},
	{"POST", "/admin/new-user", operators, func(s *Server) http.HandlerFunc { return s.consoleAddUser }},
	{"GET", "/admin/users/{name}", operators, func(s *Server) http.HandlerFunc { return s.consoleUser }},
	{"POST", "/admin/users/{name}", operators, func(s *Server) http.HandlerFunc { return s.consoleSaveUser }},
	{"POST", "/admin/users/{name}/password", operators, func(s *Server) http.HandlerFunc { return s.consolePassword }},
	{"POST", "/admin/users/{name}/signin", operators, func(s *Server) http.HandlerFunc { return s.consoleSignIn }},
	{"POST", "/admin/users/{name}/remove", operators, func(s *Server) http.HandlerFunc { return s.consoleRemoveUser }},
	{"GET", "/admin/groups", operators, func(s *Server) http.HandlerFunc { return s.consoleGroups }},
	{"POST", "/admin/groups", operators, func(s *Server) http.HandlerFunc { return s.consoleAddGroup }},
	{"GET", "/admin/groups/{name}", operators, func(s *Server) http.HandlerFunc { return s.consoleGroup }},
	{"POST", "/admin/groups/{name}", operators, func(s *Server) http.HandlerFunc { return s.consoleSaveGroup }},
	{"POST", "/admin/groups/{name}/members", operators, func(s *Server) http.HandlerFunc { return s.consoleMember }},
	{"POST", "/admin/groups/{name}/remove", operators, func(s *Server) http.HandlerFunc { return s.consoleRemoveGroup }},
	{"GET", "/admin/peers", operators, func(s *Server) http.HandlerFunc { return s.consolePeers }},
	{"POST", "/admin/peers", operators, func(s *Server) http.HandlerFunc { return s.consoleLook }},
	{"GET", "/admin/peers/{host}", operators, func(s *Server) http.HandlerFunc { return s.consolePeer }},
	{"POST", "/admin/peers/{host}/refresh", operators, func(s *Server) http.HandlerFunc { return s.consoleRefreshPeer }},
	{"POST", "/admin/peers/{host}/key", operators, func(s *Server) http.HandlerFunc { return s.consoleKey }},
	{"GET", "/admin/policy", operators, func(s *Server) http.HandlerFunc { return s.consolePolicy }},
	{"POST", "/admin/policy", operators, func(s *Server) http.HandlerFunc { return s.consoleSetRule }},
	{"POST", "/admin/policy/remove", operators, func(s *Server) http.HandlerFunc { return s.consoleRemoveRule }},
	{"GET", "/admin/policy.csv", operators, func(s *Server) http.HandlerFunc { return s.consoleExportRules }},
	{"POST", "/admin/policy/import", operators, func(s *Server) http.HandlerFunc { return s.consoleImportRules }},
	{"POST", "/admin/directories", operators, func(s *Server) http.HandlerFunc { return s.consoleSubscribe }},
	{"POST", "/admin/directories/act", operators, func(s *Server) http.HandlerFunc { return s.consoleDirectory }},
	{"GET", "/admin/shares", operators, func(s *Server) http.HandlerFunc { return s.consoleShares }},
	{"POST", "/admin/shares/end", operators, func(s *Server) http.HandlerFunc { return s.consoleEndShares }},
	{"GET", "/admin/deliveries", operators, func(s *Server) http.HandlerFunc { return s.consoleDeliveries }},
	{"POST", "/admin/deliveries/resend", operators, func(s *Server) http.HandlerFunc { return s.consoleResend }},
	{"GET", "/admin/wire", operators, func(s *Server) http.HandlerFunc { return s.consoleWire }},
	{"GET", "/admin/wire/{id}", operators, func(s *Server) http.HandlerFunc { return s.consoleExchange }},
	{"GET", "/admin/audit", operators, func(s *Server) http.HandlerFunc { return s.consoleAudit }},
	{"GET", "/admin/audit.jsonl", operators, func(s *Server) http.HandlerFunc { return s.consoleAuditFile }},
	{"GET", "/admin/config", operators, func(s *Server) http.HandlerFunc { return s.consoleConfig }},
	{"POST", "/admin/config/check", operators, func(s *Server) http.HandlerFunc { return s.consoleCheck }},
	{"", "/admin/", operators, func(s *Server) http.HandlerFunc { return s.noPage }},

	{"", "/", visitors, func(s *Server) http.HandlerFunc { return s.noPage }},
	{"GET", "/assets/", visitors, func(*Server) http.HandlerFunc { return web.Assets().ServeHTTP }},
}

// The WebDAV trees, and the API.
const (
	apiPath   = "/api/v1/"
	davFiles  = "/dav/files/"
	davShares = "/dav/ocm/"
)

// ServeHTTP implements http.Handler: limits and logs first, then the WebDAV
// trees, then the table.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Server) build() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		pattern := rt.path
		if rt.method != "" {
			pattern = rt.method + " " + rt.path
		}
		mux.Handle(pattern, s.guard(rt.who, rt.handler(s)))
	}
	files := s.guard(people, s.files)
	shares := s.guard(bearers, s.shares)
	return s.observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case below(r.URL.Path, davFiles):
			files.ServeHTTP(w, r)
		case below(r.URL.Path, davShares):
			shares.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
}

// below reports whether path is the folder dir (given with its slash) or in it.
func below(path, dir string) bool {
	return strings.HasPrefix(path, dir) || path == strings.TrimSuffix(dir, "/")
}
