package tree

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// propfind asks for name, at depth 1 with what is in it (RFC 4918 §9.1).
func (r *Remote) propfind(ctx context.Context, name string, depth depthHeader) (*listing, error) {
	target, _, err := r.locate(ctx, name)
	if err != nil {
		return nil, err
	}
	resp, err := r.send(ctx, "PROPFIND", name, propfindBody(depth), func(req *http.Request) bool {
		req.Header.Set("Depth", string(depth))
		req.Header.Set("Content-Type", "application/xml; charset=utf-8")
		return true
	})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusMultiStatus {
		return nil, r.answer(resp)
	}
	defer resp.Body.Close()
	l, err := readMultistatus(resp.Body, target, r.cfg.Rights)
	if err != nil {
		return nil, ErrUnavailable.Saying("The answer of the share's server cannot be understood.").With(fmt.Errorf("read the listing: %w", err))
	}
	l.self.Name = Base(name)
	return l, nil
}

// head describes a single file by the headers of its download.
func (r *Remote) head(ctx context.Context) (*listing, error) {
	resp, err := r.send(ctx, http.MethodHead, "", "", func(*http.Request) bool { return true })
	if err != nil {
		return nil, err
	}
	if err := r.expect(resp, http.StatusOK); err != nil {
		return nil, err
	}
	info := Info{
		Size: resp.ContentLength, ETag: readETag(resp.Header.Get("ETag")),
		ModTime: readTime(resp.Header.Get("Last-Modified")), Rights: r.cfg.Rights,
	}
	if t := resp.Header.Get("Content-Type"); headerSafe(t) {
		info.ContentType = t
	}
	return &listing{self: info, usage: Usage{Used: info.Size, Available: -1}}, nil
}

// strongETag reports whether two answers with this tag have the same bytes (RFC
// 9110 §8.8.1).
func strongETag(tag string) bool { return strings.HasPrefix(tag, `"`) }
