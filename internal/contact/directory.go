package contact

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
	"github.com/weft-mesh/weft/ocm/directory"
)

// Directories reads the lists of federations that the operator subscribed to
// (OCM 1.5, Appendix Directory Service), and publishes one.
type Directories struct {
	DB         *store.DB
	Client     *client.Client
	Now        func() time.Time
	Log        *slog.Logger
	Every      time.Duration // between two fetches of a list
	AllowPlain bool          // http is fine: tests and the demo

	union store.Watched[*union]
}

// NewDirectories makes Directories on a database.
func NewDirectories(db *store.DB, calls *client.Client, now func() time.Time, log *slog.Logger, every time.Duration, plain bool) *Directories {
	d := &Directories{DB: db, Client: calls, Now: now, Log: log, Every: every, AllowPlain: plain}
	d.union = store.Watched[*union]{DB: db, Name: directoriesName, Load: d.load}
	return d
}

const directoriesName = "directories"

// Subscription is a Directory Service we read.
type Subscription struct {
	bun.BaseModel `bun:"table:directories"`

	URL        string `bun:"url,pk"`
	PublicKey  string // as the operator gave it: PEM or JWK
	Federation string
	Payload    string // the last good list
	Servers    int64
	FetchedAt  int64 // when the last good list was fetched
	TriedAt    int64
	Failure    string // of the last attempt, "" when it went well
	AddedAt    int64
}

// Entry is a server that a directory lists.
type Entry struct {
	Host        ocm.Host
	DisplayName string
	Federation  string
	ends        time.Time // of the list; zero: never
}

// inForce reports whether the list an entry is from has not ended.
func (e Entry) inForce(now time.Time) bool { return e.ends.IsZero() || e.ends.After(now) }

// union is what all directories list.
type union struct {
	entries []Entry // by name
	byHost  map[ocm.Host]Entry
}

func (d *Directories) load(ctx context.Context, db bun.IDB) (*union, error) {
	var subs []Subscription
	if err := db.NewSelect().Model(&subs).Order("added_at", "url").Scan(ctx); err != nil {
		return nil, err
	}
	u := &union{byHost: map[ocm.Host]Entry{}}
	for _, sub := range subs {
		if sub.Payload == "" {
			continue
		}
		list, err := ocm.ReadDirectory([]byte(sub.Payload), d.AllowPlain)
		if err != nil {
			d.Log.Error("a kept directory cannot be read", "url", sub.URL, "error", err)
			continue
		}
		for _, server := range list.Servers {
			e := Entry{server.Host, server.DisplayName, list.Federation, list.ExpiresAt}
			if had, known := u.byHost[e.Host]; !known || !had.inForce(d.Now()) {
				u.byHost[e.Host] = e
				u.entries = append(u.entries, e)
			}
		}
	}
	slices.SortFunc(u.entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(fold(a.DisplayName), fold(b.DisplayName)), cmp.Compare(a.Host, b.Host))
	})
	return u, nil
}

func (d *Directories) entry(ctx context.Context, host ocm.Host) (Entry, bool, error) {
	u, err := d.union.Get(ctx)
	if err != nil {
		return Entry{}, false, err
	}
	e, ok := u.byHost[host]
	return e, ok && e.inForce(d.Now()), nil
}

// Member tells which federation's directory lists a host.
func (d *Directories) Member(ctx context.Context, host ocm.Host) (federation string, ok bool, err error) {
	e, ok, err := d.entry(ctx, host)
	return e.Federation, ok, err
}

// Servers lists what all directories list, by name: those whose name, host or
// federation holds query, at most limit.
func (d *Directories) Servers(ctx context.Context, query string, limit int) ([]Entry, error) {
	u, err := d.union.Get(ctx)
	if err != nil {
		return nil, err
	}
	query = fold(strings.TrimSpace(query))
	out := []Entry{}
	for _, e := range u.entries {
		if len(out) == limit {
			break
		}
		if !e.inForce(d.Now()) {
			continue
		}
		if query == "" || strings.Contains(fold(e.DisplayName+"\n"+string(e.Host)+"\n"+e.Federation), query) {
			out = append(out, e)
		}
	}
	return out, nil
}

// Errors of subscriptions.
var (
	ErrNoDirectory      = ocm.NewError(http.StatusNotFound, "DIRECTORY_NOT_FOUND", "There is no subscription to that directory. See: weft directory list")
	ErrDirectoryExpired = ocm.NewError(http.StatusBadRequest, "DIRECTORY_EXPIRED", "the directory has expired; its federation should publish it anew")
	ErrDirectoryOlder   = ocm.NewError(http.StatusBadRequest, "DIRECTORY_OLDER", "the directory is older than the one we have")
)

// Ends is when the list in force ends by itself; zero: never.
func (sub *Subscription) Ends() time.Time {
	list, err := ocm.ReadDirectory([]byte(sub.Payload), true)
	if err != nil {
		return time.Time{}
	}
	return list.ExpiresAt
}

// Subscriptions lists the directories we read.
func (d *Directories) Subscriptions(ctx context.Context) ([]Subscription, error) {
	out := []Subscription{}
	err := d.DB.Read.NewSelect().Model(&out).Order("added_at", "url").Scan(ctx)
	return out, err
}

// Subscribe reads a directory for the first time and keeps it. What cannot be
// fetched and verified is not kept.
func (d *Directories) Subscribe(ctx context.Context, address string, key []byte) (*Subscription, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(d.AllowPlain && u.Scheme == "http") {
		return nil, ocm.Invalid("url", "must be an https URL")
	}
	if _, err := directory.ReadPublicKey(key); err != nil {
		return nil, err
	}
	sub := &Subscription{URL: u.String(), PublicKey: string(key), AddedAt: d.Now().UnixMilli()}
	list, err := d.fetch(ctx, sub)
	if err != nil {
		return nil, err
	}
	if err := sub.take(list, d.Now()); err != nil {
		return nil, err
	}
	return sub, d.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(sub).On("CONFLICT (url) DO UPDATE").
			Set("public_key = EXCLUDED.public_key").Set("federation = EXCLUDED.federation").Set("payload = EXCLUDED.payload").
			Set("servers = EXCLUDED.servers").Set("fetched_at = EXCLUDED.fetched_at").Set("tried_at = EXCLUDED.tried_at").Set("failure = ''").Exec(ctx)
		if err != nil {
			return err
		}
		return d.note(ctx, tx, "directory.subscribed", sub.URL, audit.Details{"federation": sub.Federation, "servers": sub.Servers})
	})
}

// note records an act on a directory for the audit.
func (d *Directories) note(ctx context.Context, tx bun.IDB, action audit.Action, id string, details audit.Details) error {
	return audit.Note(ctx, tx, d.Now(), audit.Event{Action: action, Kind: "directory", ID: id, Details: details})
}

func (d *Directories) change(ctx context.Context, f func(ctx context.Context, tx bun.Tx) error) error {
	defer d.union.Stale()
	return d.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		return store.Bump(ctx, tx, directoriesName)
	})
}

// fetchBudget is how long a list may take to arrive.
const fetchBudget = 10 * time.Second

// fetch gets a list and makes sure that it is the federation's own, in force,
// and not older than what we have.
func (d *Directories) fetch(ctx context.Context, sub *Subscription) (*ocm.Directory, error) {
	key, err := directory.ReadPublicKey([]byte(sub.PublicKey))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchBudget)
	defer cancel()
	document, err := d.Client.FetchDirectory(ctx, sub.URL)
	if err != nil {
		host := sub.URL
		if u, err := url.Parse(sub.URL); err == nil {
			host = u.Host
		}
		return nil, ocm.NewError(http.StatusBadGateway, "DIRECTORY_UNREACHABLE", delivery.Sentence(delivery.Explain(ocm.Host(host), err))).With(err)
	}
	list, err := directory.Verify(document, key, d.AllowPlain)
	if err != nil {
		return nil, err
	}
	if !list.ExpiresAt.IsZero() && !list.ExpiresAt.After(d.Now()) {
		return nil, ErrDirectoryExpired
	}
	if sub.Payload != "" {
		if had, err := ocm.ReadDirectory([]byte(sub.Payload), d.AllowPlain); err == nil && list.IssuedAt.Before(had.IssuedAt) {
			return nil, ErrDirectoryOlder
		}
	}
	for _, server := range list.Servers {
		if why := lookalike(server.Host); why != "" {
			return nil, ocm.NewError(http.StatusBadRequest, ocm.CodeDirectoryInvalid, "the directory is not valid: "+why)
		}
	}
	return list, nil
}

// take puts a good list into a subscription.
func (sub *Subscription) take(list *ocm.Directory, now time.Time) error {
	payload, err := json.Marshal(list)
	if err != nil {
		return err
	}
	sub.Federation, sub.Payload, sub.Servers = list.Federation, string(payload), int64(len(list.Servers))
	sub.FetchedAt, sub.TriedAt, sub.Failure = now.UnixMilli(), now.UnixMilli(), ""
	return nil
}

// Unsubscribe forgets a directory.
func (d *Directories) Unsubscribe(ctx context.Context, address string) error {
	return d.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model((*Subscription)(nil)).Where("url = ?", address).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			return ErrNoDirectory
		}
		return d.note(ctx, tx, "directory.unsubscribed", address, nil)
	})
}

// Refresh fetches a directory now. When that fails, the last good list stays in
// force, and the subscription says what went wrong.
func (d *Directories) Refresh(ctx context.Context, address string) (*Subscription, error) {
	sub := &Subscription{}
	err := d.DB.Read.NewSelect().Model(sub).Where("url = ?", address).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoDirectory
	}
	if err != nil {
		return nil, err
	}
	before := sub.FetchedAt
	list, failed := d.fetch(ctx, sub)
	if failed != nil {
		sub.TriedAt, sub.Failure = d.Now().UnixMilli(), sentence(failed)
		d.Log.Warn("a directory cannot be read anew; the last good list stays", "url", sub.URL, "error", failed)
		_, err := d.DB.Write.NewUpdate().Model(sub).Column("tried_at", "failure").WherePK().Exec(ctx)
		return sub, errors.Join(failed, err)
	}
	if err := sub.take(list, d.Now()); err != nil {
		return nil, err
	}
	return sub, d.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		// Unless the operator subscribed anew meanwhile, with another key say.
		_, err := tx.NewUpdate().Model(sub).Column("federation", "payload", "servers", "fetched_at", "tried_at", "failure").WherePK().
			Where("public_key = ? AND fetched_at = ?", sub.PublicKey, before).Exec(ctx)
		return err
	})
}

// sentence is what an operator reads of a failure.
func sentence(err error) string {
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// Run fetches every directory now and then until ctx ends.
func (d *Directories) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		subs, err := d.Subscriptions(ctx)
		if err != nil && ctx.Err() == nil {
			d.Log.Error("the subscriptions cannot be read", "error", err)
		}
		for _, sub := range subs {
			if d.Now().Sub(store.Time(sub.TriedAt)) >= d.Every {
				d.Refresh(ctx, sub.URL) // what fails is logged and kept there
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

const publishedName = "directory"

// ErrNotPublished says that this server serves no directory.
var ErrNotPublished = ocm.NewError(http.StatusNotFound, "NO_DIRECTORY", "this server publishes no directory")

// Publish makes this server serve a signed list. Whoever publishes it keeps the
// key elsewhere, so that it is not verified here; it must be one that others can
// read. An empty document ends it.
func (d *Directories) Publish(ctx context.Context, document []byte) error {
	if len(document) == 0 {
		return d.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.NewDelete().Table("settings").Where("name = ?", publishedName).Exec(ctx); err != nil {
				return err
			}
			return d.note(ctx, tx, "directory.withdrawn", "", nil)
		})
	}
	list, err := directory.Peek(document, d.AllowPlain)
	if err != nil {
		return err
	}
	if !list.ExpiresAt.IsZero() && !list.ExpiresAt.After(d.Now()) {
		return ErrDirectoryExpired.Saying("This list has expired. Sign it anew.")
	}
	return d.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Table("settings").Model(&map[string]any{"name": publishedName, "value": string(document)}).
			On("CONFLICT (name) DO UPDATE").Set("value = EXCLUDED.value").Exec(ctx)
		if err != nil {
			return err
		}
		return d.note(ctx, tx, "directory.published", "", audit.Details{"federation": list.Federation, "servers": len(list.Servers)})
	})
}

// Published is the list this server serves.
func (d *Directories) Published(ctx context.Context) ([]byte, error) {
	var value string
	err := d.DB.Read.NewSelect().Table("settings").Column("value").Where("name = ?", publishedName).Scan(ctx, &value)
	if store.NotFound(err) {
		return nil, ErrNotPublished
	}
	return []byte(value), err
}

// ReadList reads what an operator writes to have it signed: the payload itself,
// or lines of a URL and a name behind it. Lines that begin with # are left out.
func ReadList(b []byte, federation string, plain bool) (*ocm.Directory, error) {
	list := &ocm.Directory{Federation: federation}
	if text := strings.TrimSpace(string(b)); strings.HasPrefix(text, "{") {
		read, err := ocm.ReadDirectory(b, plain)
		if err != nil {
			return nil, err
		}
		read.Federation = cmp.Or(federation, read.Federation)
		return read, nil
	}
	for i, line := range strings.Split(string(b), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		address, name, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("line %d: write the server's URL, a space, and its name", i+1)
		}
		server := ocm.DirectoryServer{URL: address, DisplayName: strings.TrimSpace(name)}
		if _, err := reread(&ocm.Directory{Federation: "x", Servers: []ocm.DirectoryServer{server}}, plain); err != nil {
			_, why, _ := strings.Cut(sentence(err), "servers[0].")
			if strings.HasPrefix(address, "http://") {
				why += "; for trials on one machine, --insecure allows http"
			}
			return nil, fmt.Errorf("line %d: %s", i+1, why)
		}
		list.Servers = append(list.Servers, server)
	}
	if len(list.Servers) == 0 {
		return nil, errors.New("the list is empty: write lines of a server's URL and its name")
	}
	return reread(list, plain)
}

// reread takes a list through the reader, so that nothing is signed that others
// would refuse.
func reread(list *ocm.Directory, plain bool) (*ocm.Directory, error) {
	payload, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return ocm.ReadDirectory(payload, plain)
}
