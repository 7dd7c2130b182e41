package weftest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/webdav"

	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// Dialect is how one family of servers speaks: what it says of itself, what it
// insists on, what it sends. It is written from what those servers do, and knows
// nothing of the profiles by which our server deals with them.
type Dialect struct {
	Name     string
	Profile  string // by which our server is to know it; "" for Name
	Document func(origin, host string) map[string]any
	WebDAV   string // the path below which it serves shares

	Signs       bool // RFC 9421, and demands it
	Cavage      bool // signs by draft-cavage
	Multi       bool // reads protocol.webdav; else name webdav and options.sharedSecret
	OptionsBad  bool // takes filled options for a second, full protocol
	Folders     bool // knows resourceType folder; else everything is a file
	Absolute    bool // wants webdav.uri as a full URL
	ReadOnly    bool // refuses folders, rights beyond read, shares without the code flow
	NeedsInvite bool // takes shares only after an invite
	NoWebDAV    bool // takes shares of its own protocol alone

	Exchange bool // opens shares by the code flow
	Basic    bool // opens and serves shares by Basic with the secret
	NoFind   bool // answers 405 to PROPFIND

	Invites      bool
	UserWithHost bool // writes its userID with the host behind it
	InviteStatus int  // of a token it does not know

	SendURL    bool   // writes "url" for "uri"
	Scheme     bool   // writes https:// before hosts, and wants it in the owner's
	OurHost    bool   // builds its uri on the recipient's host, by mistake
	Plain200   bool   // answers 200 and text/plain to a share
	Slash      bool   // opens shares with a slash behind the uri
	SharedBy   bool   // writes sharedBy for sender
	NumberID   bool   // its providerIds are small numbers
	NotifyForm string // "", new, top, old, grantee: how it writes and wants notifications
	Sends      []string
	Hears      []string // 400 to all others
	Unknown    int      // its answer to a notification about a share it does not know
	Settled    bool     // answers 409 to the decline of a share that was accepted
}

// Simulator is a running server of a family, with files to share.
type Simulator struct {
	*httptest.Server
	T       testing.TB
	Dialect Dialect
	Host    ocm.Host
	User    string // its one person
	signer  *httpsig.Signer
	legacy  *httpsig.LegacySigner
	dir     string

	mu       sync.Mutex
	n        int
	verified int
	silent   bool
	invited  map[string]bool      // addresses it exchanged an invite with
	tokens   map[string]bool      // open invites
	used     map[string]string    // who accepted the others
	received map[string]*SimShare // by providerId
	sent     map[string]*SimShare // by providerId
	notes    []map[string]any     // notifications it took
	refusals []string             // why it refused what
}

// SimShare is a share that a Simulator has or gave.
type SimShare struct {
	ProviderID, Secret, URI, Resource string
	Permissions, Requirements         []string
	Peer                              *Site
	State                             string
	handler                           http.Handler
}

// Simulate starts a server of a family.
func Simulate(t testing.TB, d Dialect) *Simulator {
	t.Helper()
	s := &Simulator{
		T: t, Dialect: d, User: "einstein", dir: t.TempDir(),
		invited: map[string]bool{}, tokens: map[string]bool{}, used: map[string]string{}, received: map[string]*SimShare{}, sent: map[string]*SimShare{},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	s.Host = ocm.Host(strings.TrimPrefix(s.URL, "http://"))
	s.signer = newSigner(t, string(s.Host)+"#key1")
	if d.Cavage {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		s.legacy = &httpsig.LegacySigner{KeyID: s.URL + "/ocm#signature", Key: key}
	}
	return s
}

// Address is that of the Simulator's person.
func (s *Simulator) Address() string { return s.User + "@" + string(s.Host) }

func (s *Simulator) refuse(w http.ResponseWriter, status int, format string, args ...any) {
	why := fmt.Sprintf(format, args...)
	s.mu.Lock()
	s.refusals = append(s.refusals, fmt.Sprintf("%d %s", status, why))
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"message": why, "validationErrors": []string{}})
}

// Refusals are what it refused so far.
func (s *Simulator) Refusals() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.refusals, "; ")
}

func (s *Simulator) serve(w http.ResponseWriter, r *http.Request) {
	doc := s.Dialect.Document(s.URL, string(s.Host))
	if s.legacy != nil {
		doc["publicKey"] = map[string]string{"keyId": s.legacy.KeyID, "publicKeyPem": s.legacy.PEM()}
	}
	end, _ := url.Parse(doc["endPoint"].(string))
	switch p := r.URL.Path; {
	case p == "/.well-known/ocm" && doc["apiVersion"] == "1.0-proposal1": // before the well-known place
		http.NotFound(w, r)
	case p == "/.well-known/ocm", strings.TrimSuffix(p, "/") == "/ocm-provider":
		json.NewEncoder(w).Encode(doc)
	case p == "/jwks":
		json.NewEncoder(w).Encode(map[string]any{"keys": []json.RawMessage{s.signer.JWK()}})
	case p == end.Path+"/shares":
		s.takeShare(w, r)
	case p == end.Path+"/notifications":
		s.takeNotification(w, r)
	case p == end.Path+"/invite-accepted" && s.Dialect.Invites:
		s.takeAcceptance(w, r)
	case p == "/token":
		s.giveToken(w, r)
	case strings.HasPrefix(p, s.Dialect.WebDAV):
		s.giveFile(w, r)
	default:
		http.NotFound(w, r)
	}
}

// body reads a JSON message, and its signature where the family demands one.
func (s *Simulator) body(w http.ResponseWriter, r *http.Request) (map[string]any, bool) {
	b, _ := io.ReadAll(r.Body)
	s.checkLegacy(r, b)
	if s.Dialect.Signs && (r.Header.Get("Signature-Input") == "" || !strings.Contains(r.Header.Get("Signature-Input"), `tag="ocm"`)) {
		s.refuse(w, 401, "the request is not signed")
		return nil, false
	}
	var m map[string]any
	if json.Unmarshal(b, &m) != nil {
		s.refuse(w, 400, "not JSON")
		return nil, false
	}
	return m, true
}

func text(m map[string]any, keys ...string) string {
	for i, k := range keys {
		if i == len(keys)-1 {
			v, _ := m[k].(string)
			return v
		}
		m, _ = m[k].(map[string]any)
	}
	return ""
}

func texts(m map[string]any, key string) (out []string) {
	l, _ := m[key].([]any)
	for _, v := range l {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func (s *Simulator) takeShare(w http.ResponseWriter, r *http.Request) {
	m, ok := s.body(w, r)
	if !ok {
		return
	}
	d := s.Dialect
	for _, name := range []string{"shareWith", "name", "providerId", "owner", "shareType", "resourceType"} {
		if text(m, name) == "" {
			s.refuse(w, 400, "Missing arguments: %s", name)
			return
		}
	}
	protocol, _ := m["protocol"].(map[string]any)
	dav, _ := protocol["webdav"].(map[string]any)
	share := &SimShare{ProviderID: text(m, "providerId"), Resource: text(m, "resourceType"), State: "received"}
	switch {
	case d.NoWebDAV:
		s.refuse(w, 501, "Unsupported protocol")
		return
	case text(m, "shareType") != "user":
		s.refuse(w, 501, "Share type not supported")
		return
	case share.Resource != "file" && (!d.Folders || share.Resource != "folder"):
		s.refuse(w, 501, "Resource type not supported: %s", share.Resource)
		return
	case !d.Multi && text(protocol, "name") != "webdav":
		s.refuse(w, 501, "Unsupported protocol: %s", text(protocol, "name"))
		return
	case !d.Multi && text(protocol, "options", "sharedSecret") == "":
		s.refuse(w, 400, "Missing arguments")
		return
	case d.OptionsBad && text(protocol, "options", "sharedSecret") != "", d.ReadOnly && protocol["options"] != nil:
		s.refuse(w, 400, "two protocols")
		return
	case d.Scheme && !strings.Contains(text(m, "owner"), "://"):
		s.refuse(w, 400, "the owner %s has no scheme", text(m, "owner"))
		return
	case d.Multi && dav == nil:
		s.refuse(w, 400, "no webdav")
		return
	case d.NeedsInvite && !s.invited[text(m, "sender")]:
		s.refuse(w, 401, "no invite from %s", text(m, "sender"))
		return
	}
	if d.Multi {
		share.Secret, share.URI, share.Permissions, share.Requirements = text(dav, "sharedSecret"), text(dav, "uri"), texts(dav, "permissions"), texts(dav, "requirements")
		if d.Absolute != strings.Contains(share.URI, "://") {
			s.refuse(w, 400, "uri %s is not of the form wanted", share.URI)
			return
		}
		if d.ReadOnly && (share.Resource != "file" || !slices.Equal(share.Permissions, []string{"read"}) || !slices.Contains(share.Requirements, "must-exchange-token")) {
			s.refuse(w, 501, "only single files to read by the code flow")
			return
		}
		if !d.Exchange && slices.Contains(share.Requirements, "must-exchange-token") {
			s.refuse(w, 400, "requirement not supported")
			return
		}
	} else {
		share.Secret, share.Permissions = text(protocol, "options", "sharedSecret"), []string{"read", "write"}
	}
	s.mu.Lock()
	s.received[share.ProviderID] = share
	s.mu.Unlock()
	if d.Plain200 {
		io.WriteString(w, "{}")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(201)
	json.NewEncoder(w).Encode(map[string]any{"recipientDisplayName": "Albert Einstein", "recipientUserId": s.User})
}

// checkLegacy verifies a signature by draft-cavage with the key that its server
// publishes.
func (s *Simulator) checkLegacy(r *http.Request, body []byte) {
	if !httpsig.HasLegacy(r) {
		return
	}
	kid := httpsig.LegacyKeyID(r)
	origin, _, _ := strings.Cut(kid, "/ocm#")
	var d ocm.Discovery
	s.fetch(origin+"/ocm-provider", &d)
	if d.PublicKey == nil || d.PublicKey.KeyID != kid {
		return
	}
	key, err := httpsig.ReadLegacyKey(d.PublicKey.PEM)
	if err == nil {
		_, err = httpsig.Legacy{}.Verify(r, s.URL+r.URL.Path, body, key)
	}
	if err == nil {
		s.mu.Lock()
		s.verified++
		s.mu.Unlock()
	}
}

// StopSigning makes it leave off its signatures, and say nothing of it.
func (s *Simulator) StopSigning() { s.silent = true }

// Verified counts the messages it took with a good signature by draft-cavage.
func (s *Simulator) Verified() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verified
}

// Received finds a share by its providerId.
func (s *Simulator) Received(id string) *SimShare {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received[id]
}

func (s *Simulator) takeNotification(w http.ResponseWriter, r *http.Request) {
	m, ok := s.body(w, r)
	if !ok {
		return
	}
	kind, id := text(m, "notificationType"), text(m, "notification", "file", "providerId")
	if s.Dialect.NotifyForm != "new" {
		id = text(m, "providerId")
	}
	s.mu.Lock()
	share := s.received[id]
	if kind == "SHARE_ACCEPTED" || kind == "SHARE_DECLINED" || kind == "REQUEST_RESHARE" {
		share = s.sent[id]
	}
	s.mu.Unlock()
	switch {
	case s.Dialect.NotifyForm == "":
		// Logged and dropped.
	case !slices.Contains(s.Dialect.Hears, kind):
		s.refuse(w, 400, "NotificationType %s is not supported", kind)
		return
	case id == "":
		s.refuse(w, 400, "%s without a providerId where it is looked for", kind)
		return
	case share == nil:
		s.refuse(w, s.Dialect.Unknown, "share not found")
		return
	case s.Dialect.Settled && kind == "SHARE_DECLINED" && s.State(share) == "accepted":
		s.refuse(w, 409, "SHARE_STATUS_CONFLICT")
		return
	case s.Dialect.NotifyForm == "old" && !s.Dialect.Folders && text(m, "resourceType") != "file":
		s.refuse(w, 501, "resource type not supported")
		return
	case s.Dialect.NotifyForm == "old" && text(m, "notification", "sharedSecret") != share.Secret:
		s.refuse(w, 403, "the sharedSecret does not match")
		return
	case s.Dialect.NotifyForm == "grantee" && text(m, "notification", "grantee") != s.Address():
		s.refuse(w, 400, "the grantee is not %s", s.Address())
		return
	}
	if share != nil {
		s.mu.Lock()
		switch kind {
		case "SHARE_ACCEPTED":
			share.State = "accepted"
		case "SHARE_DECLINED":
			share.State = "declined"
		case "SHARE_UNSHARED":
			share.State = "ended"
		case "SHARE_CHANGE_PERMISSION":
			notification, _ := m["notification"].(map[string]any)
			if file, ok := notification["file"].(map[string]any); ok {
				share.Permissions = texts(file, "permissions")
			}
		}
		s.notes = append(s.notes, m)
		s.mu.Unlock()
	}
	w.WriteHeader(201)
	io.WriteString(w, "{}")
}

// State is what has become of a share, in either direction.
func (s *Simulator) State(share *SimShare) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return share.State
}

// Holds are the permissions of a share as it knows them.
func (s *Simulator) Holds(share *SimShare) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(share.Permissions)
}

func (s *Simulator) takeAcceptance(w http.ResponseWriter, r *http.Request) {
	m, ok := s.body(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	by := text(m, "userID") + "@" + text(m, "recipientProvider")
	token := text(m, "token")
	known, again := s.tokens[token], s.used[token] == by
	delete(s.tokens, token)
	if known {
		s.invited[by], s.used[token] = true, by
	}
	s.mu.Unlock()
	if again {
		w.WriteHeader(409) // with the answer of the first time
		json.NewEncoder(w).Encode(s.party())
		return
	}
	if !known {
		s.refuse(w, s.Dialect.InviteStatus, "token not found")
		return
	}
	json.NewEncoder(w).Encode(s.party())
}

func (s *Simulator) party() map[string]string {
	id := s.User
	if s.Dialect.UserWithHost {
		id = s.Address()
	}
	return map[string]string{"userID": id, "email": "albert@example.org", "name": "Albert Einstein"}
}

// Invite makes an invite of its person's.
func (s *Simulator) Invite() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	token := fmt.Sprintf("token-%d", s.n)
	s.tokens[token] = true
	return ocm.Invite{Token: ocm.Secret(token), Provider: s.Host}.InviteString()
}

// AcceptInvite has its person accept an invite of ours.
func (s *Simulator) AcceptInvite(from *Person, i Invite) Answer {
	read, err := ocm.ReadInvite(i.InviteString)
	if err != nil {
		s.T.Fatal(err)
	}
	m := map[string]any{"recipientProvider": string(s.Host), "token": read.Token.Reveal()}
	for k, v := range s.party() {
		m[k] = v
	}
	a := s.post(from.Site, "/ocm/invite-accepted", m)
	if a.Status == 200 {
		s.mu.Lock()
		s.invited[from.Address] = true
		s.mu.Unlock()
	}
	return a
}

// post sends a JSON message to a site, signed if the family signs.
func (s *Simulator) post(to *Site, path string, m map[string]any) Answer {
	b, err := json.Marshal(m)
	if err != nil {
		s.T.Fatal(err)
	}
	req, err := http.NewRequest("POST", to.Origin+path, bytes.NewReader(b))
	if err != nil {
		s.T.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	s.sign(req, b)
	return Send(s.T, req)
}

func (s *Simulator) sign(r *http.Request, body []byte) {
	if s.legacy != nil && !s.silent {
		if err := s.legacy.Sign(r, body); err != nil {
			s.T.Fatal(err)
		}
	}
	if !s.Dialect.Signs {
		return
	}
	if err := s.signer.Sign(r, body); err != nil {
		s.T.Fatal(err)
	}
}

// Share has its person share a file "note.txt", or a folder "Folder" that holds
// it, with someone of ours.
func (s *Simulator) Share(to *Person, folder bool) (*SimShare, Answer) {
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	share := &SimShare{ProviderID: fmt.Sprintf("id-%d-%s", n, strings.ReplaceAll(s.T.Name(), "/", "-")), Secret: fmt.Sprintf("secret-%d-x", n), Peer: to.Site, State: "sent", Resource: "file"}
	if s.Dialect.NumberID {
		share.ProviderID = fmt.Sprint(n)
	}
	dir := filepath.Join(s.dir, fmt.Sprint(n))
	name := "note.txt"
	if folder {
		name = "Folder"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.T.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "note.txt"), []byte("from "+s.Dialect.Name), 0o644); err != nil {
		s.T.Fatal(err)
	}
	if folder && s.Dialect.Folders {
		share.Resource = "folder"
	}
	share.handler = s.files(dir, share, folder)
	s.mu.Lock()
	s.sent[share.ProviderID] = share
	s.mu.Unlock()
	owner := s.Address()
	if s.Dialect.Scheme {
		owner = s.User + "@https://" + string(s.Host)
	}
	m := map[string]any{
		"shareWith": to.Address, "name": name, "providerId": share.ProviderID, "owner": owner, "ownerDisplayName": "Albert Einstein",
		"shareType": "user", "resourceType": share.Resource,
	}
	if s.Dialect.SharedBy {
		m["sharedBy"], m["sharedByDisplayName"] = owner, "Albert Einstein"
		m["shareWith"] = to.Name + "@" + to.Origin
	} else {
		m["sender"], m["senderDisplayName"] = owner, "Albert Einstein"
	}
	if s.Dialect.Multi {
		key := "uri"
		if s.Dialect.SendURL {
			key = "url"
		}
		at := s.URL
		if s.Dialect.OurHost {
			at = to.Origin
		}
		dav := map[string]any{key: share.ProviderID, "sharedSecret": share.Secret, "permissions": []string{"read", "write"}}
		if s.Dialect.Absolute {
			dav[key] = at + strings.TrimSuffix(s.Dialect.WebDAV, "/") + "/" + share.ProviderID
		}
		if s.Dialect.ReadOnly {
			dav["permissions"], dav["requirements"] = []string{"read"}, []string{"must-exchange-token"}
		}
		protocol := map[string]any{"name": "multi", "webdav": dav}
		if !s.Dialect.ReadOnly {
			protocol["options"] = map[string]any{}
		}
		m["protocol"] = protocol
	} else {
		m["protocol"] = map[string]any{"name": "webdav", "options": map[string]any{
			"sharedSecret": share.Secret, "permissions": "{http://open-cloud-mesh.org/ns}share-permissions",
		}}
	}
	return share, s.post(to.Site, "/ocm/shares", m)
}

// files serves a shared folder, or a file alone.
func (s *Simulator) files(dir string, share *SimShare, folder bool) http.Handler {
	prefix := strings.TrimSuffix(s.Dialect.WebDAV, "/")
	if !s.Dialect.Basic {
		prefix += "/" + share.ProviderID
	}
	var fs webdav.FileSystem = webdav.Dir(dir)
	if !folder {
		fs = alone{webdav.Dir(dir), "note.txt"}
	}
	h := &webdav.Handler{Prefix: prefix, FileSystem: fs, LockSystem: webdav.NewMemLS()}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Dialect.NoFind && r.Method == "PROPFIND" {
			w.WriteHeader(405)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// alone is a file system whose root is one file.
type alone struct {
	webdav.Dir
	name string
}

func (a alone) OpenFile(ctx context.Context, _ string, flag int, perm os.FileMode) (webdav.File, error) {
	return a.Dir.OpenFile(ctx, a.name, flag, perm)
}

func (a alone) Stat(ctx context.Context, _ string) (os.FileInfo, error) {
	return a.Dir.Stat(ctx, a.name)
}

func (s *Simulator) giveFile(w http.ResponseWriter, r *http.Request) {
	credential := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if user, _, ok := r.BasicAuth(); ok {
		credential = user
	}
	s.mu.Lock()
	var share *SimShare
	for _, sh := range s.sent {
		if sh.Secret == credential && !s.Dialect.Exchange || "at-"+sh.Secret == credential {
			share = sh
		}
	}
	s.mu.Unlock()
	if share == nil || s.State(share) == "ended" {
		w.WriteHeader(401)
		return
	}
	share.handler.ServeHTTP(w, r)
}

func (s *Simulator) giveToken(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	if s.Dialect.Signs && r.Header.Get("Signature-Input") == "" {
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_client"}`)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"access_token": "at-" + r.PostForm.Get("code"), "expires_in": 300, "token_type": "Bearer"})
}

// Notify sends a notification about a share in the family's form; nil when the
// family sends none of the type.
func (s *Simulator) Notify(to *Site, kind string, share *SimShare, permissions ...string) *Answer {
	if !slices.Contains(s.Dialect.Sends, kind) {
		return nil
	}
	inner := map[string]any{"message": "a message"}
	m := map[string]any{"notificationType": kind, "resourceType": share.Resource, "notification": inner}
	switch s.Dialect.NotifyForm {
	case "new":
		m["senderDomain"] = string(s.Host)
		file := map[string]any{"providerId": share.ProviderID}
		if len(permissions) > 0 {
			file["permissions"] = permissions
		}
		inner["file"] = file
	case "top": // no more than that
		m = map[string]any{"notificationType": kind, "resourceType": "file", "providerId": share.ProviderID}
	case "old":
		m["resourceType"], m["providerId"], inner["sharedSecret"] = "file", share.ProviderID, share.Secret
	case "grantee":
		m["resourceType"], m["providerId"], inner["grantee"] = "file", share.ProviderID, "alice"
		if len(permissions) > 0 {
			inner["protocol"] = map[string]any{"name": "multi", "webdav": map[string]any{"permissions": permissions}}
		}
	}
	a := s.post(to, "/ocm/notifications", m)
	return &a
}

// Open reads or writes a share it received, by the family's way: rel is a path
// in a folder, "" for a file.
func (s *Simulator) Open(from *Site, share *SimShare, method, rel, body string) Answer {
	base, credential := share.URI, share.Secret
	var d struct {
		TokenEndPoint string
		ResourceTypes []struct{ Protocols map[string]any }
	}
	s.fetch(from.Origin+"/ocm-provider", &d)
	dav := from.Origin + d.ResourceTypes[0].Protocols["webdav"].(string)
	switch {
	case s.Dialect.Basic:
		base = strings.TrimSuffix(dav, "/")
	case !strings.Contains(base, "://"):
		base = dav + base
	}
	if slices.Contains(share.Requirements, "must-exchange-token") {
		form := url.Values{"grant_type": {"authorization_code"}, "client_id": {string(s.Host)}, "code": {share.Secret}}.Encode()
		req, err := http.NewRequest("POST", d.TokenEndPoint, strings.NewReader(form))
		if err != nil {
			s.T.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		s.sign(req, []byte(form))
		a := Send(s.T, req)
		var token struct {
			Token string `json:"access_token"`
		}
		if json.Unmarshal([]byte(a.Body), &token); a.Status != 200 {
			return a
		}
		credential = token.Token
	}
	if rel != "" {
		base += "/" + rel
	} else if s.Dialect.Slash && method != "PUT" {
		base += "/"
	}
	req, err := http.NewRequest(method, base, strings.NewReader(body))
	if err != nil {
		s.T.Fatal(err)
	}
	if s.Dialect.Basic {
		req.SetBasicAuth(credential, "")
	} else {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	return Send(s.T, req)
}

func (s *Simulator) fetch(address string, into any) {
	resp, err := http.Get(address)
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		s.T.Fatal(err)
	}
}
