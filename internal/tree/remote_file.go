package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/ocm"
	"github.com/weft-mesh/weft/ocm/client"
)

// ErrChanged ends the reading of a remote file that is no longer the one that
// was opened.
var ErrChanged = ocm.NewError(http.StatusConflict, "FILE_CHANGED", "The file was changed on its server while it was read; open it again.")

const (
	maxResumes   = 3         // in a row, of a download that is cut
	resumeEarned = 256 << 10 // bytes after which the count begins anew
	resumePause  = 200 * time.Millisecond
	maxSkip      = 64 << 10 // bytes read over rather than asked for anew
)

func (r *Remote) Open(ctx context.Context, name string) (File, error) {
	info, err := r.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if info.Dir {
		return nil, ErrIsFolder
	}
	return &remoteFile{r: r, ctx: ctx, name: name, info: info, hint: -1}, nil
}

// remoteFile downloads from the current offset when it is first read, and again
// after a Seek or when the connection breaks.
type remoteFile struct {
	r    *Remote
	ctx  context.Context // of Open: reading ends with it
	name string
	info Info

	off      int64
	hint     int64         // bytes wanted from off; -1: to the end
	body     io.ReadCloser // nil: not begun, or broken
	end      int64         // where body ends; -1: not known
	begun    bool          // the peer has answered once
	whole    bool          // all of a file of unknown size is read
	modified string        // Last-Modified of the last answer

	broken  error // what cut the download; it may be resumed
	resumes int
	earned  int64 // bytes since the last resume
	err     error // what ended the reading for good
}

func (f *remoteFile) Info() Info { return f.info }

// Hint bounds the next download to length bytes from the current offset.
func (f *remoteFile) Hint(length int64) {
	if f.body == nil && length > 0 {
		f.hint = length
	}
}

func (f *remoteFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		if f.info.Size < 0 {
			return f.off, errors.New("the size of the file is not known")
		}
		offset += f.info.Size
	}
	if offset < 0 {
		return f.off, errors.New("seek before the beginning of the file")
	}
	if offset == f.off {
		return f.off, nil
	}
	if ahead := offset - f.off; f.body != nil && ahead > 0 && ahead <= maxSkip && (f.end < 0 || offset < f.end) {
		if n, err := io.CopyN(io.Discard, f.body, ahead); err != nil || n != ahead {
			f.drop()
		}
	} else {
		f.drop()
	}
	f.off, f.whole = offset, false
	return offset, nil
}

func (f *remoteFile) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if f.whole || f.info.Size >= 0 && f.off >= f.info.Size {
			return 0, io.EOF
		}
		if f.body == nil {
			err := f.broken
			f.broken = nil
			if err == nil {
				err = f.begin()
			}
			if err == io.EOF {
				return 0, err
			}
			if err != nil {
				if err = f.resume(err); err != nil {
					return 0, f.fail(err)
				}
				continue
			}
		}
		n, err := f.body.Read(p)
		f.off += int64(n)
		if f.earned += int64(n); f.earned >= resumeEarned {
			f.resumes = 0
		}
		switch {
		case f.end >= 0 && f.off > f.end:
			return 0, f.fail(ErrChanged)
		case err == io.EOF && (f.end < 0 || f.off == f.end):
			f.drop()
			f.whole = f.hint < 0 && f.info.Size < 0
			f.hint = -1 // whoever reads on after what was hinted at wants the rest
		case err == io.EOF:
			f.drop()
			f.broken = io.ErrUnexpectedEOF
		case err != nil:
			f.drop()
			f.broken = err
		}
		if n > 0 || err == nil {
			return n, nil
		}
	}
}

// begin asks for the bytes from the current offset (RFC 9110 §14.2).
func (f *remoteFile) begin() error {
	ctx, cancel := context.WithCancel(f.ctx)
	late := time.AfterFunc(callBudget, cancel) // for the header, not for the body
	resp, err := f.r.send(ctx, http.MethodGet, f.name, "", func(req *http.Request) bool {
		switch {
		case f.off == 0 && f.info.Size >= 0 && f.hint >= f.info.Size:
			// All of it: some servers answer ranges less well.
		case f.hint >= 0:
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", f.off, f.off+f.hint-1))
		case f.off > 0:
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.off))
		}
		if strongETag(f.info.ETag) {
			req.Header.Set("If-Match", f.info.ETag)
		} else if f.info.ETag == "" && f.modified != "" && f.off > 0 {
			req.Header.Set("If-Unmodified-Since", f.modified)
		}
		return true
	})
	if !late.Stop() && f.ctx.Err() == nil && err != nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return err
	}
	if err := f.accept(resp); err != nil {
		resp.Body.Close()
		cancel()
		return err
	}
	f.body = &cancelling{resp.Body, cancel}
	f.r.note(nil, false)
	return nil
}

// accept makes sure that an answer holds the bytes from the current offset of
// the file that was opened.
func (f *remoteFile) accept(resp *http.Response) error {
	tag, opened := strings.TrimPrefix(readETag(resp.Header.Get("ETag")), "W/"), strings.TrimPrefix(f.info.ETag, "W/")
	if tag != "" && opened != "" && tag != opened {
		return ErrChanged
	}
	modified := resp.Header.Get("Last-Modified")
	if f.modified != "" && f.info.ETag == "" && modified != f.modified {
		return ErrChanged
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if f.info.Size >= 0 && resp.ContentLength >= 0 && resp.ContentLength != f.info.Size {
			return ErrChanged
		}
		f.end = max(resp.ContentLength, f.info.Size)
		if f.off > 0 { // the peer knows no ranges
			if _, err := io.CopyN(io.Discard, resp.Body, f.off); err != nil {
				return err
			}
		}
	case http.StatusPartialContent:
		first, last, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || first != f.off {
			return errRefused.Saying("The share's server answered with another part of the file than was asked for.")
		}
		if f.info.Size >= 0 && size >= 0 && size != f.info.Size {
			return ErrChanged
		}
		f.end = last + 1
	case http.StatusRequestedRangeNotSatisfiable:
		if f.info.Size < 0 {
			return io.EOF // of a file whose size nobody said
		}
		return ErrChanged
	case http.StatusPreconditionFailed:
		return ErrChanged
	default:
		return f.r.answer(resp)
	}
	f.begun, f.modified = true, modified
	return nil
}

// contentRange reads "bytes 5-9/10"; size is -1 for "*".
func contentRange(s string) (first, last, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(s, "/")
	from, to, ok3 := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	size, err3 := strconv.ParseInt(total, 10, 64)
	if total == "*" {
		size, err3 = -1, nil
	}
	ok = ok && ok2 && ok3 && err1 == nil && err2 == nil && err3 == nil && first >= 0 && last >= first
	return first, last, size, ok
}

// resume decides whether a download that broke with cause is begun again: the
// cause may pass, and what follows is surely of the same file.
func (f *remoteFile) resume(cause error) error {
	same := strongETag(f.info.ETag) || f.info.ETag == "" && f.modified != "" && f.info.Size >= 0
	if !f.begun || !same || !mayPass(cause) || f.resumes >= maxResumes || f.ctx.Err() != nil {
		return cause
	}
	f.resumes++
	f.earned = 0
	if f.resumes == 1 {
		return nil
	}
	pause := time.NewTimer(resumePause << (f.resumes - 2))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

// mayPass tells faults of the network and of a server in trouble from answers
// that will stay the same.
func mayPass(err error) bool {
	if e, ok := errors.AsType[*answerError](err); ok {
		return client.Temporary(e.status)
	}
	if e, ok := errors.AsType[*ocm.Error](err); ok {
		return e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout
	}
	return true
}

func (f *remoteFile) fail(err error) error {
	f.drop()
	if f.ctx.Err() != nil {
		err = f.ctx.Err()
	}
	if errors.Is(err, ErrChanged) {
		f.r.cache.changed(f.name)
	}
	f.err = asTreeError(err)
	f.r.note(f.err, false)
	return f.err
}

func (f *remoteFile) drop() {
	if f.body != nil {
		f.body.Close()
		f.body = nil
	}
}

func (f *remoteFile) Close() error {
	f.drop()
	if f.err == nil {
		f.err = errors.New("the file is closed")
	}
	return nil
}

// cancelling ends its request when closed.
type cancelling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *cancelling) Close() error {
	err := c.ReadCloser.Close()
	c.cancel()
	return err
}
