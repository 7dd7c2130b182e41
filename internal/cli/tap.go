package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// tap is a log handler that remembers the requests a server of the demo
// answered, so that the story can show them.
type tap struct {
	mu    sync.Mutex
	seen  []map[string]any
	fresh chan struct{} // closed and renewed with each record
}

func newTap() *tap { return &tap{fresh: make(chan struct{})} }

func (t *tap) Enabled(context.Context, slog.Level) bool { return true }
func (t *tap) WithAttrs([]slog.Attr) slog.Handler       { return t }
func (t *tap) WithGroup(string) slog.Handler            { return t }

func (t *tap) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "request" {
		return nil
	}
	rec := map[string]any{}
	r.Attrs(func(a slog.Attr) bool {
		rec[a.Key] = a.Value.Any()
		return true
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, rec)
	if len(t.seen) > 10_000 {
		t.seen = t.seen[5_000:]
	}
	close(t.fresh)
	t.fresh = make(chan struct{})
	return nil
}

// await waits for a request that was answered so and not awaited before, and
// describes it.
func (t *tap) await(ctx context.Context, method, path string, status ...int64) (string, error) {
	deadline := time.After(20 * time.Second)
	for {
		t.mu.Lock()
		var last string
		for i, rec := range t.seen {
			p, _ := rec["path"].(string)
			if rec["method"] != method || !strings.HasPrefix(p, path) {
				continue
			}
			if got, _ := rec["status"].(int64); slices.Contains(status, got) {
				t.seen = append(t.seen[:i], t.seen[i+1:]...)
				t.mu.Unlock()
				return describe(rec), nil
			}
			last = describe(rec)
		}
		fresh := t.fresh
		t.mu.Unlock()
		select {
		case <-fresh:
		case <-deadline:
			return "", fmt.Errorf("no %s %s was answered with %v within 20 seconds; the last one: %s", method, path, status, last)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func describe(rec map[string]any) string {
	line := fmt.Sprintf("%s %s -> %v", rec["method"], rec["path"], rec["status"])
	if signed, ok := rec["signed"].(bool); ok && signed {
		line += fmt.Sprintf(", signature of %v verified", rec["peer"])
	}
	if code, ok := rec["code"]; ok {
		line += fmt.Sprintf(", %v: %v", code, rec["reason"])
	}
	return line + fmt.Sprintf(" (%.1f ms)", rec["ms"])
}
