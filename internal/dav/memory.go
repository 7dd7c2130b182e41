package dav

import (
	"context"
	"encoding/xml"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory is a LockStore, PropStore and Follower that forgets everything when
// the process ends: for tests, and for servers whose files are as short-lived.
type Memory struct {
	Now func() time.Time // nil: time.Now

	mu    sync.Mutex
	locks map[string]Lock // by token
	props map[place]map[xml.Name]Prop
}

type place struct{ space, path string }

// NewMemory makes an empty Memory.
func NewMemory() *Memory {
	return &Memory{locks: map[string]Lock{}, props: map[place]map[xml.Name]Prop{}}
}

// Acquire implements LockStore.
func (m *Memory) Acquire(_ context.Context, l Lock) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	for _, held := range m.locks {
		if held.Space == l.Space && held.Conflicts(l) {
			return &Conflict{held}
		}
	}
	m.locks[l.Token] = l
	return nil
}

// Refresh implements LockStore.
func (m *Memory) Refresh(_ context.Context, space, token string, expires time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	l, ok := m.locks[token]
	if !ok || l.Space != space {
		return false, nil
	}
	l.Expires = expires
	m.locks[token] = l
	return true, nil
}

// Release implements LockStore.
func (m *Memory) Release(_ context.Context, space, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[token].Space == space {
		delete(m.locks, token)
	}
	return nil
}

// Locks implements LockStore.
func (m *Memory) Locks(_ context.Context, space, path string) ([]Lock, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	var found []Lock
	for _, l := range m.locks {
		if l.Space == space && (l.Path == path || below(l.Path, path) || below(path, l.Path)) {
			found = append(found, l)
		}
	}
	return found, nil
}

// Props implements PropStore.
func (m *Memory) Props(_ context.Context, space, path string) ([]Prop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.props[place{space, path}])), nil
}

// ChildProps implements PropStore.
func (m *Memory) ChildProps(_ context.Context, space, folder string) (map[string][]Prop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string][]Prop{}
	for at, props := range m.props {
		if at.space == space && at.path != "" && parent(at.path) == folder {
			found[base(at.path)] = slices.Collect(maps.Values(props))
		}
	}
	return found, nil
}

// PatchProps implements PropStore.
func (m *Memory) PatchProps(_ context.Context, space, path string, set []Prop, remove []xml.Name) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	props := m.props[place{space, path}]
	if props == nil {
		props = map[xml.Name]Prop{}
		m.props[place{space, path}] = props
	}
	for _, p := range set {
		props[p.Name] = p
	}
	for _, n := range remove {
		delete(props, n)
	}
	if len(props) == 0 {
		delete(m.props, place{space, path})
	}
	return nil
}

// Moved implements Follower.
func (m *Memory) Moved(_ context.Context, space, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.subtree(space, from)
	m.drop(space, from)
	m.drop(space, to)
	for path, props := range taken {
		m.props[place{space, to + path[len(from):]}] = props
	}
	return nil
}

// Copied implements Follower.
func (m *Memory) Copied(_ context.Context, space, from, to string, depth Depth) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.subtree(space, from)
	m.drop(space, to)
	for path, props := range taken {
		if path == from || depth == Infinity {
			m.props[place{space, to + path[len(from):]}] = maps.Clone(props)
		}
	}
	return nil
}

// Removed implements Follower.
func (m *Memory) Removed(_ context.Context, space, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(space, path)
	return nil
}

// subtree is the properties at and below path, by path.
func (m *Memory) subtree(space, path string) map[string]map[xml.Name]Prop {
	found := map[string]map[xml.Name]Prop{}
	for at, props := range m.props {
		if at.space == space && (at.path == path || below(at.path, path)) {
			found[at.path] = props
		}
	}
	return found
}

// drop forgets properties and locks at and below path.
func (m *Memory) drop(space, path string) {
	maps.DeleteFunc(m.props, func(at place, _ map[xml.Name]Prop) bool {
		return at.space == space && (at.path == path || below(at.path, path))
	})
	maps.DeleteFunc(m.locks, func(_ string, l Lock) bool {
		return l.Space == space && (l.Path == path || below(l.Path, path))
	})
}

func (m *Memory) expire() {
	now := time.Now()
	if m.Now != nil {
		now = m.Now()
	}
	maps.DeleteFunc(m.locks, func(_ string, l Lock) bool { return !l.Expires.After(now) })
}
