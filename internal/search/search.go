// Package search finds files by name, in a person's own and in what others share.
package search

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"github.com/weft-mesh/weft/internal/tree"
)

// The bounds of one search.
const (
	maxEntries = 200_000 // looked at
	ownTime    = 2 * time.Second
	sharedTime = time.Second // for all shares together
	atOnce     = 8           // shares that are looked through at a time
	maxQuery   = 255
)

// Hit is something found.
type Hit struct {
	Path string
	Info tree.Info
	rank int
}

// Result is what a search found, the best first.
type Result struct {
	Hits []Hit
	More bool // there are more than were asked for
	// Left names the folders that could not be looked through: whole, in time,
	// or at all.
	Left []string
}

// Files finds everything below a folder whose name holds all words of query, in
// small and capital letters alike and with or without accents. What others share
// is looked through as far as it can be listed quickly.
func Files(ctx context.Context, t tree.Tree, folder, query string, limit int) (*Result, error) {
	words := strings.Fields(Fold(query))
	if len(words) == 0 || len(query) > maxQuery {
		return &Result{}, nil
	}
	s := &search{tree: t, words: words, keep: limit}
	var shares []string
	own, cancel := context.WithTimeout(ctx, ownTime)
	defer cancel()
	err := s.walk(own, folder, func(path string, info tree.Info) {
		if info.Mount && info.Dir {
			shares = append(shares, path)
		}
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, gone := t.Stat(ctx, folder); gone != nil {
			return nil, gone
		}
		s.leave(folder)
	}
	s.walkShares(ctx, shares)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.result(), nil
}

type search struct {
	tree  tree.Tree
	words []string
	keep  int

	mu   sync.Mutex
	seen int
	hits []Hit
	more bool
	left []string
}

var errEnough = errors.New("looked at enough")

// walk looks through a folder but not through shares in it, of which it tells
// found.
func (s *search) walk(ctx context.Context, folder string, found func(path string, info tree.Info)) error {
	return tree.Walk(ctx, s.tree, folder, func(path string, info tree.Info) error {
		if err := s.look(path, info); err != nil {
			return err
		}
		if info.Mount {
			found(path, info)
			return tree.ErrSkipFolder
		}
		return ctx.Err()
	})
}

// walkShares looks through shares side by side, so that one that does not answer
// costs the others nothing.
func (s *search) walkShares(ctx context.Context, shares []string) {
	ctx, cancel := context.WithTimeout(ctx, sharedTime)
	defer cancel()
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, share := range shares {
		all.Add(1)
		go func() {
			defer all.Done()
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				s.leave(share)
				return
			}
			if err := s.walk(ctx, share, func(string, tree.Info) {}); err != nil {
				s.leave(share)
			}
		}()
	}
	all.Wait()
}

func (s *search) leave(folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = append(s.left, folder)
}

// look holds a name against the query.
func (s *search) look(path string, info tree.Info) error {
	name := Fold(info.Name)
	hit := !slices.ContainsFunc(s.words, func(w string) bool { return !strings.Contains(name, w) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen++; s.seen > maxEntries {
		return errEnough
	}
	if !hit {
		return nil
	}
	s.hits = append(s.hits, Hit{Path: path, Info: info, rank: s.rank(name)})
	if len(s.hits) >= 4*s.keep+1000 { // memory is bounded
		s.trim()
	}
	return nil
}

// rank tells how well a name fits: it is the query, begins with it, or only
// holds it.
func (s *search) rank(name string) int {
	query := strings.Join(s.words, " ")
	switch {
	case name == query:
		return 0
	case strings.HasPrefix(name, query):
		return 1
	case strings.HasPrefix(name, s.words[0]):
		return 2
	}
	return 3
}

func (s *search) trim() {
	slices.SortFunc(s.hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(len(a.Path), len(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	if len(s.hits) > s.keep {
		s.hits, s.more = slices.Clip(s.hits[:s.keep]), true
	}
}

func (s *search) result() *Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim()
	slices.Sort(s.left)
	return &Result{Hits: s.hits, More: s.more, Left: s.left}
}

// Fold gives names that people take for the same one form: without accents, in
// small letters.
func Fold(name string) string {
	if ascii(name) {
		return strings.ToLower(name)
	}
	folded, _, err := transform.String(transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), cases.Fold(), norm.NFC), name)
	if err != nil {
		return strings.ToLower(name)
	}
	return folded
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
