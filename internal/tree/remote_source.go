package tree

import (
	"errors"
	"io"
	"sync"
)

// source is the body of an upload. A transport may go on reading after it gave
// an answer, so each attempt reads through a lease of its own, and there is a
// new lease only while nothing has been read.
type source struct {
	body io.Reader
	size int64 // announced; -1: not known

	mu    sync.Mutex
	valid *lease
	begun bool
	n     int64
	err   error // io.EOF at the end
}

type lease struct{ *source }

// lease gives the body to one attempt; nil when it is not whole any more.
func (s *source) lease() io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return nil
	}
	s.valid = &lease{s}
	return s.valid
}

// revoke ends all leases.
func (s *source) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid = nil
}

func (l *lease) Read(p []byte) (int, error) {
	l.mu.Lock()
	if l.valid != l {
		l.mu.Unlock()
		return 0, errors.New("the upload has ended")
	}
	l.begun = true
	l.mu.Unlock()
	n, err := l.body.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n += int64(n)
	if err != nil {
		l.err = err
	}
	return n, err
}

func (l *lease) Close() error { return nil }

// read counts the bytes taken so far.
func (s *source) read() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// failure is what was wrong with the body itself.
func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil && s.err != io.EOF:
		return s.err
	case s.err == io.EOF && s.size >= 0 && s.n < s.size:
		return io.ErrUnexpectedEOF
	case s.size >= 0 && s.n > s.size:
		return errors.New("the body is longer than announced")
	}
	return nil
}
