package sharing

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// Mounts are the shares a person accepted, as they stand under "Shared with
// me". Listing them asks no peer.
func (s *Service) Mounts(ctx context.Context, userID string) ([]tree.MountPoint, error) {
	var shares []Received
	err := s.received(userID, &shares).Where("m.state = ? AND s.ended_at = 0", MemberAccepted).Scan(ctx)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	var out []tree.MountPoint
	for _, r := range shares {
		if r.Live(now) {
			out = append(out, s.mountPoint(userID, r))
		}
	}
	return out, nil
}

func (s *Service) mountPoint(userID string, r Received) tree.MountPoint {
	info := tree.Info{
		Name: r.MountName, Dir: r.ResourceType == ocm.ResourceFolder, Size: -1,
		ModTime: store.Time(r.CreatedAt), ID: r.ID, Rights: r.Rights(), Mount: true,
		ETag: `"` + r.ID + `"`,
	}
	if known, ok := s.remotes.rootInfo(r.ID); ok {
		info.Dir, info.Size, info.ModTime, info.ETag = known.Dir, known.Size, known.ModTime, known.ETag
	}
	if r.UnavailableSince != 0 {
		info.Unavailable = &tree.Unavailable{Since: store.Time(r.UnavailableSince), Reason: r.UnavailableWhy}
	}
	return tree.MountPoint{
		Name: r.MountName, Info: info, Here: ocm.Host(r.PeerHost) == s.Self,
		Tree: func(ctx context.Context) (tree.Tree, error) {
			t, err := s.reach(ctx, r.Incoming)
			if err != nil {
				return nil, err
			}
			return tree.While(t, func(ctx context.Context, writes bool) error { return s.stillReceived(ctx, userID, r.ID, writes) }), nil
		},
		Rename: func(ctx context.Context, name string) error { return s.renameMount(ctx, userID, r.ID, name) },
		Remove: func(ctx context.Context) error { return s.Leave(ctx, userID, r.ID) },
	}
}

// stillReceived reports why what a person does by a received share must end, nil
// when it need not: the share is no longer theirs, or for writes, has lost that
// right; or policy turned against its server.
func (s *Service) stillReceived(ctx context.Context, userID, id string, writes bool) error {
	var r Received
	err := s.received(userID, &r).Where("s.id = ?", id).Scan(ctx)
	switch {
	case store.NotFound(err):
		return ErrShareEnded
	case err != nil:
		return err
	case r.MemberState != MemberAccepted || !r.Live(s.Now()):
		return ErrShareEnded
	case writes && !r.Rights().Has(tree.Write):
		return errWithdrawn
	}
	_, err = s.Policy.Permit(ctx, ocm.Host(r.PeerHost))
	return err
}

func (s *Service) renameMount(ctx context.Context, userID, id, name string) error {
	clean, err := tree.Clean(name)
	if err != nil {
		return err
	}
	return s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		taken, err := tx.NewSelect().Model((*Member)(nil)).
			Where("user_id = ? AND state = ? AND mount_name = ? AND share_id <> ?", userID, MemberAccepted, clean, id).
			Where("share_id IN (SELECT id FROM incoming_shares WHERE ended_at = 0)").Exists(ctx)
		if err != nil {
			return err
		}
		if taken {
			return tree.ErrExists
		}
		return s.setMember(ctx, tx, id, userID, MemberAccepted, clean)
	})
}

// reach gives the tree behind a received share: our own files when the sender
// is on this server, the peer's WebDAV otherwise.
func (s *Service) reach(ctx context.Context, in Incoming) (tree.Tree, error) {
	if in.Orphaned() {
		return nil, errOrphaned
	}
	if ocm.Host(in.PeerHost) != s.Self {
		if _, err := s.Policy.Permit(ctx, ocm.Host(in.PeerHost)); err != nil {
			return nil, err
		}
		return s.remotes.get(s, in), nil
	}
	o, err := get[Outgoing](ctx, s.DB.Read, "id = ?", in.ProviderID)
	if err != nil {
		return nil, err
	}
	if !o.Live(s.Now()) {
		return nil, ErrShareEnded
	}
	own, err := s.Files.Own(ctx, o.OwnerID)
	if err != nil {
		return nil, err
	}
	return sharedTree(own, o), nil
}

// remotes keeps the open remote trees, so that their tokens and listings are
// shared by all who read.
type remotes struct {
	mu   sync.Mutex
	open map[string]*remote
}

type remote struct {
	tree        *tree.Remote
	tokens      *tree.TokenSource
	permissions string // those it was opened with
	used        time.Time
}

const maxRemotes = 4096

func (r *remotes) get(s *Service, in Incoming) *tree.Remote {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := s.Now()
	if r.open == nil {
		r.open = map[string]*remote{}
	}
	e, ok := r.open[in.ID]
	if ok && e.permissions == in.Permissions {
		e.used = now
		return e.tree
	}
	if ok { // other rights by the same token
		e.tree, e.permissions, e.used = s.dial(in, e.tokens), in.Permissions, now
		return e.tree
	}
	if len(r.open) >= maxRemotes {
		var oldest string
		for id, e := range r.open {
			if oldest == "" || e.used.Before(r.open[oldest].used) {
				oldest = id
			}
		}
		delete(r.open, oldest)
	}
	tokens := &tree.TokenSource{
		Now:   s.Now,
		Fetch: func(ctx context.Context) (ocm.Secret, time.Time, error) { return s.credential(ctx, in) },
	}
	e = &remote{s.dial(in, tokens), tokens, in.Permissions, now}
	r.open[in.ID] = e
	return e.tree
}

func (r *remotes) rootInfo(id string) (tree.Info, bool) {
	r.mu.Lock()
	e := r.open[id]
	r.mu.Unlock()
	if e == nil {
		return tree.Info{}, false
	}
	return e.tree.CachedRoot()
}

// forget drops the open tree of a share that has ended.
func (s *Service) forget(id string) {
	s.remotes.mu.Lock()
	defer s.remotes.mu.Unlock()
	delete(s.remotes.open, id)
}

// dial makes the remote tree of a received share (OCM 1.5, Resource Access).
func (s *Service) dial(in Incoming, tokens *tree.TokenSource) *tree.Remote {
	return tree.NewRemote(s.remote(in, tokens))
}

func (s *Service) remote(in Incoming, tokens *tree.TokenSource) tree.RemoteConfig {
	peer := ocm.Host(in.PeerHost)
	return tree.RemoteConfig{
		HTTP: s.HTTP, Root: func(ctx context.Context) (string, bool, error) { return s.root(ctx, peer, in) },
		Tokens: tokens,
		File:   in.ResourceType == ocm.ResourceFile, Rights: in.Rights(), Now: s.Now,
		OnState: func(ok bool, reason string) { s.noteState(in.ID, ok, reason) },
	}
}

// credential is the token of the code flow where it is required or offered,
// else the secret itself. The secret is the fall-back only where the exchange
// is not required.
func (s *Service) credential(ctx context.Context, in Incoming) (ocm.Secret, time.Time, error) {
	peer := ocm.Host(in.PeerHost)
	secret, err := s.secret(&in)
	if err != nil {
		return "", time.Time{}, err
	}
	if in.URI == "" && !in.MustExchange { // OCM 1.0: Basic with the secret
		return secret, time.Time{}, nil
	}
	from, err := s.Peers.Peer(ctx, peer)
	if err != nil {
		return "", time.Time{}, err
	}
	if !in.MustExchange && (from.Profile.RootOnly || !from.HasCapability(ocm.CapExchangeToken) || from.TokenEndPoint == "") {
		return secret, time.Time{}, nil
	}
	answer, err := s.Client.Exchange(ctx, from, secret)
	if err == nil {
		return answer.AccessToken, s.Now().Add(time.Duration(answer.ExpiresIn) * time.Second), nil
	}
	if in.MustExchange {
		return "", time.Time{}, err
	}
	s.Log.Info("the optional token exchange failed, using the secret", "peer", peer, "share", in.ID, "error", err)
	return secret, s.Now().Add(5 * time.Minute), nil
}

// root is the URL of the shared resource, and whether the secret is given there by
// Basic. What the sender wrote is kept as it came: how it is read follows the
// profile of today, which the operator may have corrected.
func (s *Service) root(ctx context.Context, peer ocm.Host, in Incoming) (address string, basic bool, err error) {
	from, err := s.Peers.Peer(ctx, peer)
	if err != nil {
		return "", false, err
	}
	uri := s.seeThrough(from.Profile, in.URI)
	if strings.Contains(uri, "://") {
		if err := s.checkURI(ctx, peer, uri); err != nil {
			return "", false, tree.ErrUnavailable.Saying("The address of the share is not on its server; ask its owner to share it again.").With(err)
		}
		return uri, false, nil
	}
	end, err := url.Parse(from.EndPoint)
	if err != nil {
		return "", false, err
	}
	base := end.Scheme + "://" + string(peer) + from.WebDAVPath()
	if uri == "" { // at the webdav path itself, by the secret or, where that is demanded, a token for it
		return base, !in.MustExchange, nil // to the letter: some servers know it with its slash alone
	}
	id, err := url.Parse(uri)
	if err != nil {
		return "", false, err
	}
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(id.EscapedPath(), "/"), false, nil
}

// noteState records when a share's server stopped or began to answer, once a
// change.
func (s *Service) noteState(id string, ok bool, reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	q := s.DB.Write.NewUpdate().Model((*Incoming)(nil)).Where("id = ?", id)
	if ok {
		q = q.Set("unavailable_since = 0").Set("unavailable_why = ''").Where("unavailable_since <> 0")
	} else {
		q = q.Set("unavailable_since = ?", s.Now().UnixMilli()).Set("unavailable_why = ?", reason).Where("unavailable_since = 0")
	}
	if _, err := q.Exec(ctx); err != nil {
		s.Log.Error("a share's availability cannot be recorded", "share", id, "error", err)
	}
}
