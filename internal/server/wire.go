package server

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/ocm/client"
	"github.com/weft-mesh/weft/ocm/httpsig"
)

// capture is what was read of a message and written in answer.
type capture struct {
	header         http.Header
	sent, answered keeper
	length         int
}

// keeper keeps the beginning of what passes, and one byte more than is shown so
// that it is known to be cut.
type keeper struct{ bytes.Buffer }

func (k *keeper) keep(b []byte) {
	k.Buffer.Write(b[:min(len(b), wire.MaxBody+1-k.Len())])
}

// listen keeps what a peer sends and is answered.
func listen(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	c := &capture{}
	requestOf(r).wire = c
	r.Body = &heardBody{r.Body, c}
	return &heardAnswer{w, c}, r
}

type heardBody struct {
	io.ReadCloser
	c *capture
}

func (b *heardBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.sent.keep(p[:n])
	b.c.length += n
	return n, err
}

type heardAnswer struct {
	http.ResponseWriter
	c *capture
}

func (a *heardAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *heardAnswer) WriteHeader(status int) {
	a.c.header = a.Header().Clone()
	a.ResponseWriter.WriteHeader(status)
}

func (a *heardAnswer) Write(b []byte) (int, error) {
	if a.c.header == nil {
		a.c.header = a.Header().Clone()
	}
	a.c.answered.keep(b)
	return a.ResponseWriter.Write(b)
}

// keepExchange keeps a message from a peer for `weft wire`.
func (s *Server) keepExchange(r *http.Request, q *request, rec *recorder, start time.Time) {
	if q.wire == nil {
		return
	}
	host := cmp.Or(q.peer, q.claimed)
	if v, err := s.Policy.Decide(r.Context(), host); err != nil || !v.Wire || !s.Wire.Takes() {
		return
	}
	x := wire.Exchange{
		ID: q.id, At: s.now(), Direction: wire.In, Peer: host, Operation: r.URL.Path, Method: r.Method, URL: s.target(r),
		Header: r.Header, Body: q.wire.sent.Bytes(), Base: httpsig.Base(r, s.target(r), q.wire.length),
		Status: rec.status, Answered: q.wire.header, Answer: q.wire.answered.Bytes(), Took: time.Since(start),
	}
	if q.refusal != nil {
		x.Fault = string(q.refusal.Code) + ": " + q.refusal.Error()
	}
	s.Wire.Put(x)
}

// observeCall keeps a call to a peer for `weft wire`.
func (s *Server) observeCall(ctx context.Context, c client.Exchange) {
	if v, err := s.Policy.Decide(context.WithoutCancel(ctx), c.Peer); err != nil || !v.Wire || !s.Wire.Takes() {
		return
	}
	x := wire.Exchange{
		At: s.now(), Direction: wire.Out, Peer: c.Peer, Operation: c.Op, Method: c.Request.Method, URL: c.Request.URL.String(),
		Header: c.Request.Header, Body: c.Body, Base: httpsig.Base(c.Request, httpsig.TargetURI(c.Request.URL), len(c.Body)),
		Status: c.Status, Answered: c.Header, Answer: c.Answer, Took: c.Took,
	}
	if c.Err != nil {
		x.Fault = c.Err.Error()
	}
	s.Wire.Put(x)
}
