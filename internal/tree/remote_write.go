package tree

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// expectFrom is the size from which an upload waits for the peer's consent
// before it sends the body.
const expectFrom = 1 << 20

var errNotAll = errRefused.Saying("The share's server did not do this for everything in the folder; look at it again.")

// Put uploads to the peer as body is read.
func (r *Remote) Put(ctx context.Context, name string, body io.Reader, opt PutOptions) (Info, bool, error) {
	if err := r.writable(name, true); err != nil {
		return Info{}, false, err
	}
	if name == "" && !r.cfg.File {
		return Info{}, false, ErrIsFolder
	}
	src := &source{body: body, size: opt.Size}
	defer src.revoke()
	resp, err := r.send(ctx, http.MethodPut, name, "", func(req *http.Request) bool {
		lease := src.lease()
		if lease == nil {
			return false
		}
		req.Body, req.GetBody, req.ContentLength = lease, nil, opt.Size
		if opt.Size == 0 {
			req.Body = http.NoBody
		}
		setHeaders(req, map[string]string{
			"If-Match": opt.Match, "If-None-Match": opt.NoneMatch, "Content-Type": opt.ContentType,
		})
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", "application/octet-stream")
		}
		if !opt.ModTime.IsZero() {
			req.Header.Set("X-OC-Mtime", strconv.FormatInt(opt.ModTime.Unix(), 10))
		}
		if opt.Size < 0 || opt.Size >= expectFrom {
			req.Header.Set("Expect", "100-continue")
		}
		return true
	})
	var created bool
	var etag string
	if err == nil {
		created, etag = resp.StatusCode == http.StatusCreated, readETag(resp.Header.Get("ETag"))
		err = r.expect(resp, http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent)
	}
	r.cache.changed(name)
	if failure := src.failure(); err != nil && failure != nil {
		return Info{}, false, failure // ours, not the peer's
	}
	if refusal, ok := errors.AsType[*answerError](err); ok && refusal.status == http.StatusMethodNotAllowed {
		return Info{}, false, ErrIsFolder.With(err) // RFC 4918 §9.7.2
	}
	if err != nil {
		return Info{}, false, r.done(err)
	}
	r.note(nil, false)
	if info, err := r.Stat(ctx, name); err == nil {
		return info, created, nil
	}
	return Info{
		Name: Base(name), Size: src.read(), ModTime: r.cfg.Now(), ETag: etag, ContentType: opt.ContentType, Rights: r.cfg.Rights,
	}, created, nil
}

// Mkdir makes a folder (RFC 4918 §9.3).
func (r *Remote) Mkdir(ctx context.Context, name string) (Info, error) {
	if name == "" {
		return Info{}, ErrExists
	}
	if err := r.writable(name, false); err != nil {
		return Info{}, err
	}
	_, err := r.do(ctx, "MKCOL", name, nil)
	r.cache.changed(name)
	if e, ok := errors.AsType[*answerError](err); ok && e.status == http.StatusMethodNotAllowed {
		return Info{}, ErrExists.With(e)
	}
	if err != nil {
		return Info{}, r.done(err)
	}
	r.note(nil, false)
	if info, err := r.Stat(ctx, name); err == nil {
		return info, nil
	}
	return Info{Name: Base(name), Dir: true, ModTime: r.cfg.Now(), Rights: r.cfg.Rights}, nil
}

func (r *Remote) Move(ctx context.Context, from, to string, opt MoveOptions) (bool, error) {
	return r.transfer(ctx, "MOVE", from, to, opt.Condition, opt.Overwrite, "")
}

func (r *Remote) Copy(ctx context.Context, from, to string, opt CopyOptions) (bool, error) {
	depth := "infinity"
	if opt.Shallow {
		depth = "0"
	}
	return r.transfer(ctx, "COPY", from, to, opt.Condition, opt.Overwrite, depth)
}

// transfer moves or copies within the share (RFC 4918 §9.8, §9.9).
func (r *Remote) transfer(ctx context.Context, method, from, to string, cond Condition, overwrite bool, depth string) (bool, error) {
	if err := r.writable(to, false); err != nil {
		return false, err
	}
	if method == "MOVE" && from == "" {
		return false, ErrForbidden
	}
	if from == to || Below(to, from) || Below(from, to) {
		return false, ErrInto
	}
	target, _, err := r.locate(ctx, to)
	if err != nil {
		return false, r.done(err)
	}
	header := map[string]string{
		"Destination": target.String(), "Overwrite": "F", "Depth": depth,
		"If-Match": cond.Match, "If-None-Match": cond.NoneMatch,
	}
	if overwrite {
		header["Overwrite"] = "T"
	}
	status, err := r.do(ctx, method, from, header)
	r.cache.changed(from, to)
	if e, ok := errors.AsType[*answerError](err); ok && e.status == http.StatusPreconditionFailed && !overwrite {
		if _, there := r.Stat(ctx, to); there == nil || cond == (Condition{}) {
			return false, ErrExists.With(e)
		}
	}
	if err != nil {
		return false, r.done(err)
	}
	r.note(nil, false)
	return status == http.StatusNoContent || status == http.StatusOK, nil
}

// Remove deletes name and what is in it (RFC 4918 §9.6). The root is the
// owner's to remove.
func (r *Remote) Remove(ctx context.Context, name string, cond Condition) error {
	if err := r.writable(name, false); err != nil {
		return err
	}
	_, err := r.do(ctx, http.MethodDelete, name, map[string]string{"If-Match": cond.Match, "If-None-Match": cond.NoneMatch})
	r.cache.changed(name)
	if err != nil {
		return r.done(err)
	}
	r.note(nil, false)
	return nil
}

// writable refuses what the share does not allow without asking the peer.
func (r *Remote) writable(name string, root bool) error {
	if !r.cfg.Rights.Has(Write) {
		return ErrForbidden.Saying("This share may only be read.")
	}
	if name == "" && !root {
		return ErrForbidden.Saying("The share itself belongs to its owner; leave it if you do not want it any more.")
	}
	return nil
}

// done is the failure of a change as a Tree's.
func (r *Remote) done(err error) error {
	if e, ok := errors.AsType[*answerError](err); ok && e.status == http.StatusMultiStatus {
		return errNotAll.With(e)
	}
	err = asTreeError(err)
	r.note(err, false)
	return err
}
