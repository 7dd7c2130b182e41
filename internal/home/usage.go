package home

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// measure is what all homes hold, walked in the background.
type measure struct {
	mu      sync.Mutex
	bytes   map[string]int64 // by user id
	at      time.Time
	running chan struct{} // closed when the walk under way ends
}

const (
	measureEvery = 10 * time.Minute
	measureWait  = 300 * time.Millisecond // how long who asks waits for the walk
)

// Usage tells how many bytes people's homes hold, and when that was measured.
// Large homes take long to walk: it is done at most every ten minutes, and who
// asks first may get nothing yet. Homes in use are known exactly.
func (h *Homes) Usage(ctx context.Context) (bytes map[string]int64, at time.Time) {
	h.measured.mu.Lock()
	if h.measured.running == nil && (h.measured.at.IsZero() || h.Now().Sub(h.measured.at) >= measureEvery) {
		h.measured.running = make(chan struct{})
		go h.walk(context.WithoutCancel(ctx), h.measured.running)
	}
	running, fresh := h.measured.running, h.measured.at
	h.measured.mu.Unlock()
	if running != nil && fresh.IsZero() {
		select {
		case <-running:
		case <-time.After(measureWait):
		case <-ctx.Done():
		}
	}
	h.measured.mu.Lock()
	out := make(map[string]int64, len(h.measured.bytes))
	for id, n := range h.measured.bytes {
		out[id] = n
	}
	at = h.measured.at
	h.measured.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, o := range h.open {
		if n, known := o.used.Known(); known {
			out[id] = n
		}
	}
	return out, at
}

func (h *Homes) walk(ctx context.Context, done chan struct{}) {
	bytes := map[string]int64{}
	homes, err := os.ReadDir(h.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.Log.Warn("the homes cannot be measured", "error", err)
	}
	for _, dir := range homes {
		bytes[dir.Name()] = sizeBelow(ctx, filepath.Join(h.Dir, dir.Name()))
	}
	h.measured.mu.Lock()
	defer h.measured.mu.Unlock()
	h.measured.bytes, h.measured.at, h.measured.running = bytes, h.Now(), nil
	close(done)
}

// sizeBelow is the bytes of the files below dir; what cannot be read counts
// nothing.
func sizeBelow(ctx context.Context, dir string) (total int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ctx.Err()
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
