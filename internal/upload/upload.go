// Package upload takes files in pieces, so that an upload that was interrupted
// goes on where it stopped, after a restart of the server too. The pieces are
// staged on the local disk; the complete file is put into the tree of who
// uploads, which may lie on another server.
package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// The bounds of what is under way.
const (
	MaxOpen    = 100            // uploads of one person
	MaxAge     = 72 * time.Hour // since bytes last came
	minStaged  = 2 << 30        // bytes that a person may have under way whatever the quota
	rememberIn = time.Hour      // how long a complete one is known, for who missed the answer
	cutWithin  = 5 * time.Second
)

// The failures that an upload alone has.
var (
	ErrNoUpload   = ocm.NewError(http.StatusNotFound, "UPLOAD_NOT_FOUND", "There is no such upload, or it was given up. Begin it again.")
	ErrBusy       = ocm.NewError(http.StatusConflict, "UPLOAD_BUSY", "Another request is adding to this upload.").RetryIn(time.Second)
	ErrComplete   = ocm.NewError(http.StatusConflict, "UPLOAD_COMPLETE", "This upload is complete already.")
	ErrOffset     = ocm.NewError(http.StatusConflict, "UPLOAD_OFFSET_MISMATCH", "The upload goes on at another offset; ask for it with HEAD.")
	ErrTooMuch    = ocm.NewError(http.StatusBadRequest, "UPLOAD_TOO_LONG", "More bytes came than the upload's length.")
	ErrTooLittle  = ocm.NewError(http.StatusBadRequest, "UPLOAD_INCOMPLETE", "The upload was called complete, but bytes are missing.")
	ErrTooMany    = ocm.NewError(http.StatusTooManyRequests, "UPLOADS_TOO_MANY", "Too many uploads are under way. Let some end, or cancel them.")
	ErrStagedFull = ocm.NewError(http.StatusInsufficientStorage, "UPLOADS_TOO_LARGE", "The uploads under way are too large together. Let some end, or cancel them.")
)

// Uploads are all uploads under way. Files are staged in Dir.
type Uploads struct {
	Dir string
	DB  *store.DB
	Now func() time.Time
	Log *slog.Logger
	// Files is everything a person reaches, Quota the bytes they may have (-1:
	// any), and Permit refuses changes of a name that is locked.
	Files  func(ctx context.Context, userID string) (tree.Tree, error)
	Quota  func(ctx context.Context, userID string) (int64, error)
	Permit func(ctx context.Context, userID, name string) error

	mu   sync.Mutex
	busy map[string]*claim
}

// Upload is one upload under way, or just completed.
type Upload struct {
	bun.BaseModel `bun:"table:uploads"`

	ID          string `bun:",pk"`
	UserID      string
	Path        string
	Length      int64
	MatchTag    string
	NoneMatch   string
	ContentType string
	ModifiedAt  int64
	CreatedAt   int64
	TouchedAt   int64
	CompletedAt int64

	Offset int64 `bun:"-"` // bytes that have come
}

// Complete tells whether the file stands in its place.
func (u *Upload) Complete() bool { return u.CompletedAt != 0 }

// Expires is when an upload is given up if nothing more comes.
func (u *Upload) Expires() time.Time { return store.Time(u.TouchedAt).Add(MaxAge) }

// New is what is known of an upload when it begins.
type New struct {
	tree.Condition
	Path        string
	Length      int64
	ContentType string
	Modified    time.Time // the file's own time; zero: when it is complete
}

// Create begins an upload, after checks of all that would refuse it at its end.
func (u *Uploads) Create(ctx context.Context, userID string, n New) (*Upload, error) {
	if n.Length < 0 {
		return nil, ocm.Invalid("Upload-Length", "must be the file's length in bytes")
	}
	if err := u.admit(ctx, userID, n); err != nil {
		return nil, err
	}
	quota, err := u.Quota(ctx, userID)
	if err != nil {
		return nil, err
	}
	now := u.Now().UnixMilli()
	up := &Upload{
		ID: store.NewID(), UserID: userID, Path: n.Path, Length: n.Length, MatchTag: n.Match, NoneMatch: n.NoneMatch,
		ContentType: n.ContentType, ModifiedAt: store.Millis(n.Modified), CreatedAt: now, TouchedAt: now,
	}
	err = u.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var count int
		var staged int64
		err := tx.NewSelect().Model((*Upload)(nil)).ColumnExpr("COUNT(*), COALESCE(SUM(length), 0)").
			Where("user_id = ? AND completed_at = 0", userID).Scan(ctx, &count, &staged)
		switch {
		case err != nil:
			return err
		case count >= MaxOpen:
			return ErrTooMany
		case quota >= 0 && n.Length > max(quota, minStaged)-staged:
			return ErrStagedFull
		}
		_, err = tx.NewInsert().Model(up).Exec(ctx)
		return err
	})
	return up, err
}

// admit refuses an upload that cannot succeed as things are.
func (u *Uploads) admit(ctx context.Context, userID string, n New) error {
	t, err := u.Files(ctx, userID)
	if err != nil {
		return err
	}
	if n.Path == "" {
		return tree.ErrIsFolder
	}
	if err := u.Permit(ctx, userID, n.Path); err != nil {
		return err
	}
	old, err := t.Stat(ctx, n.Path)
	exists := err == nil
	if err != nil && !errors.Is(err, tree.ErrNotFound) {
		return err
	}
	if exists && old.Dir {
		return tree.ErrIsFolder
	}
	if err := n.Check(old, exists); err != nil {
		return taken(n.Condition, err)
	}
	rights := old.Rights
	if !exists {
		folder, err := t.Stat(ctx, tree.Dir(n.Path))
		if errors.Is(err, tree.ErrNotFound) || err == nil && !folder.Dir {
			return tree.ErrNoParent
		}
		if err != nil {
			return err
		}
		rights = folder.Rights
	}
	if !rights.Has(tree.Write) {
		return tree.ErrForbidden.Saying("Nothing can be uploaded here: this may only be read.")
	}
	of := "" // whose room it takes
	if tree.Below(n.Path, tree.SharedDir) {
		of = tree.Dir(n.Path)
	}
	usage, err := t.Usage(ctx, of)
	if err != nil {
		return err
	}
	if usage.Available >= 0 && n.Length-max(old.Size, 0) > usage.Available {
		return tree.ErrQuota
	}
	return nil
}

// taken says of a name that should have been free that it is not.
func taken(c tree.Condition, err error) error {
	if c.NoneMatch == "*" && errors.Is(err, tree.ErrPrecondition) {
		return tree.ErrExists.With(err)
	}
	return err
}

// List are a person's uploads under way.
func (u *Uploads) List(ctx context.Context, userID string) ([]Upload, error) {
	var out []Upload
	err := u.DB.Read.NewSelect().Model(&out).Where("user_id = ? AND completed_at = 0", userID).Order("id").Scan(ctx)
	for i := range out {
		if err == nil {
			err = u.measure(&out[i])
		}
	}
	return out, err
}

// Get tells how far an upload is. A request that is still adding to it is cut:
// who asks has lost it.
func (u *Uploads) Get(ctx context.Context, userID, id string) (*Upload, error) {
	up, err := u.find(ctx, userID, id)
	if err != nil || up.Complete() {
		return up, err
	}
	if err := u.cut(ctx, id); err != nil {
		return nil, err
	}
	return u.find(ctx, userID, id)
}

func (u *Uploads) find(ctx context.Context, userID, id string) (*Upload, error) {
	var up Upload
	err := u.DB.Read.NewSelect().Model(&up).Where("id = ? AND user_id = ?", id, userID).Scan(ctx)
	if store.NotFound(err) {
		return nil, ErrNoUpload
	}
	if err != nil {
		return nil, err
	}
	return &up, u.measure(&up)
}

// measure sets the offset: the length of what is staged.
func (u *Uploads) measure(up *Upload) error {
	up.Offset = up.Length
	if up.Complete() {
		return nil
	}
	fi, err := os.Stat(u.at(up.ID))
	if errors.Is(err, fs.ErrNotExist) {
		up.Offset = 0
		return nil
	}
	if err == nil {
		up.Offset = fi.Size()
	}
	return err
}

func (u *Uploads) at(id string) string { return filepath.Join(u.Dir, id) }

// Piece is what one request adds.
type Piece struct {
	Offset int64
	Last   bool // the upload is complete with it
	Body   io.Reader
	Cut    func() // has Body fail at once
	// Replace lets the file replace whatever has its name by now, whatever was
	// said at the beginning.
	Replace bool
}

// Append adds a piece and, with the last one, puts the file in its place; info
// describes it then. The upload is returned with a failure too, when it is there.
func (u *Uploads) Append(ctx context.Context, userID, id string, p Piece) (up *Upload, info tree.Info, err error) {
	if up, err = u.find(ctx, userID, id); err != nil {
		return nil, tree.Info{}, err
	}
	c, err := u.claim(id, p.Cut)
	if err != nil {
		return up, tree.Info{}, err
	}
	defer u.release(id, c)
	if up, err = u.find(ctx, userID, id); err != nil { // as the request before left it
		return nil, tree.Info{}, err
	}
	switch {
	case up.Complete():
		return up, tree.Info{}, ErrComplete
	case up.Offset != p.Offset:
		return up, tree.Info{}, ErrOffset
	}
	if err := u.receive(ctx, up, p.Body); err != nil || !p.Last {
		return up, tree.Info{}, err
	}
	if up.Offset < up.Length {
		return up, tree.Info{}, ErrTooLittle
	}
	c.beginPlacing()
	info, err = u.place(ctx, up, p.Replace)
	return up, info, err
}

// receive writes a piece behind what is there. What came before a failure stays.
func (u *Uploads) receive(ctx context.Context, up *Upload, body io.Reader) error {
	if err := os.MkdirAll(u.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(u.at(up.ID), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(body, up.Length-up.Offset), make([]byte, 256<<10))
	if err == nil && more(body) {
		err = ErrTooMuch
	}
	up.Offset += n
	up.TouchedAt = u.Now().UnixMilli()
	_, noted := u.DB.Write.NewUpdate().Model(up).Column("touched_at").WherePK().Exec(context.WithoutCancel(ctx))
	err = errors.Join(err, f.Sync(), noted)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return tree.ErrDiskFull.With(err)
	}
	return err
}

// more reports whether a body goes on.
func more(body io.Reader) bool {
	n, _ := io.ReadFull(body, make([]byte, 1))
	return n > 0
}

// place puts a complete upload where it belongs.
func (u *Uploads) place(ctx context.Context, up *Upload, replace bool) (tree.Info, error) {
	if err := u.Permit(ctx, up.UserID, up.Path); err != nil {
		return tree.Info{}, err
	}
	t, err := u.Files(ctx, up.UserID)
	if err != nil {
		return tree.Info{}, err
	}
	f, err := os.Open(u.at(up.ID))
	if err != nil {
		return tree.Info{}, err
	}
	defer f.Close()
	cond := tree.Condition{Match: up.MatchTag, NoneMatch: up.NoneMatch}
	if replace {
		cond = tree.Condition{}
	}
	info, _, err := t.Put(ctx, up.Path, f, tree.PutOptions{
		Condition: cond, Size: up.Length, ModTime: store.Time(up.ModifiedAt), ContentType: up.ContentType,
	})
	if err != nil {
		return tree.Info{}, taken(cond, err)
	}
	up.CompletedAt = u.Now().UnixMilli()
	_, err = u.DB.Write.NewUpdate().Model(up).Column("completed_at").WherePK().Exec(context.WithoutCancel(ctx))
	return info, errors.Join(err, os.Remove(u.at(up.ID)))
}

// Cancel gives an upload up.
func (u *Uploads) Cancel(ctx context.Context, userID, id string) error {
	if _, err := u.find(ctx, userID, id); err != nil {
		return err
	}
	if err := u.cut(ctx, id); err != nil {
		return err
	}
	c, err := u.claim(id, nil)
	if err != nil {
		return err
	}
	defer u.release(id, c)
	return u.drop(ctx, id)
}

func (u *Uploads) drop(ctx context.Context, id string) error {
	if err := os.Remove(u.at(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := u.DB.Write.NewDelete().Model((*Upload)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// claim is held by the one request that adds to an upload.
type claim struct {
	mu      sync.Mutex
	cutBody func()
	placing bool
	done    chan struct{}
}

func (u *Uploads) claim(id string, cut func()) (*claim, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy[id] != nil {
		return nil, ErrBusy
	}
	if u.busy == nil {
		u.busy = map[string]*claim{}
	}
	c := &claim{cutBody: cut, done: make(chan struct{})}
	u.busy[id] = c
	return c, nil
}

// Busy tells whether a request is adding to an upload just now.
func (u *Uploads) Busy(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.busy[id] != nil
}

func (u *Uploads) release(id string, c *claim) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.busy, id)
	close(c.done)
}

// beginPlacing says that all bytes are here: from now on nothing is cut.
func (c *claim) beginPlacing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.placing = true
}

// cut ends the request that adds to an upload, and waits for it to have written
// what came.
func (u *Uploads) cut(ctx context.Context, id string) error {
	u.mu.Lock()
	c := u.busy[id]
	u.mu.Unlock()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	if !c.placing && c.cutBody != nil {
		c.cutBody()
	}
	c.mu.Unlock()
	patience := time.NewTimer(cutWithin)
	defer patience.Stop()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return ErrBusy
	}
}

// Run gives up old uploads until ctx ends.
func (u *Uploads) Run(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		if err := u.Sweep(ctx); err != nil && ctx.Err() == nil {
			u.Log.Error("old uploads cannot be given up", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep gives up uploads to which nothing was added for long, forgets complete
// ones, and deletes staged files that belong to none.
func (u *Uploads) Sweep(ctx context.Context) error {
	now := u.Now()
	var old []string
	err := u.DB.Read.NewSelect().Model((*Upload)(nil)).Column("id").
		Where("touched_at <= ? OR completed_at > 0 AND completed_at <= ?", now.Add(-MaxAge).UnixMilli(), now.Add(-rememberIn).UnixMilli()).
		Scan(ctx, &old)
	if err != nil {
		return err
	}
	for _, id := range old {
		c, err := u.claim(id, nil)
		if err != nil {
			continue // something comes after all
		}
		err = u.drop(ctx, id)
		u.release(id, c)
		if err != nil {
			return fmt.Errorf("give up upload %s: %w", id, err)
		}
	}
	staged, err := os.ReadDir(u.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range staged {
		known, err := u.DB.Read.NewSelect().Model((*Upload)(nil)).Where("id = ? AND completed_at = 0", f.Name()).Exists(ctx)
		if err != nil {
			return err
		}
		if !known {
			if err := os.RemoveAll(u.at(f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
