package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/weft-mesh/weft/internal/weftest"
)

// patience is how long the browser may take for anything.
const patience = 30 * time.Second

var (
	starting sync.Once
	started  context.Context
	failure  error
)

// chrome is the one browser of all tests.
func chrome(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("WEFT_BROWSER") == "" {
		t.Skip("set WEFT_BROWSER=1 to run the pages in Chromium, or use .ci/run browser")
	}
	starting.Do(func() {
		var path string
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if path, failure = exec.LookPath(name); failure == nil {
				break
			}
		}
		if failure != nil {
			return
		}
		options := []chromedp.ExecAllocatorOption{
			chromedp.ExecPath(path), chromedp.Headless, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.DisableGPU,
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
			chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("lang", "en-GB"),
		}
		if os.Getuid() == 0 { // its sandbox does not work for root
			options = append(options, chromedp.NoSandbox)
		}
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		stopBrowser = func() { cancel(); stop() }
		started, failure = ctx, chromedp.Do(ctx, chromedp.Navigate("about:blank"))
	})
	if failure != nil {
		t.Fatalf("Chromium cannot be started: %v", failure)
	}
	return started
}

var stopBrowser = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopBrowser()
	os.Exit(code)
}

// tab is a window of someone, apart from those of others.
type tab struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu     sync.Mutex
	faults []string
}

// open opens a window; what the page's scripts and its policy complain about
// fails the test.
func open(t *testing.T, origin string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chrome(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, origin: origin}
	// The window lives as long as the context of its first action.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 860)); err != nil {
		t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.faults = append(b.faults, fmt.Sprint(ev.ExceptionDetails.Text, " ", describe(ev.ExceptionDetails.Exception)))
		case *cdplog.EventEntryAdded:
			if ev.Entry.Level == cdplog.EntryLevelError {
				b.faults = append(b.faults, ev.Entry.Text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.quiet() })
	return b
}

func describe(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return o.Description
}

// quiet fails the test if something was complained about since it was asked.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		b.t.Errorf("the browser complains: %s", f)
	}
	b.faults = nil
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.picture("failed")
		b.t.Fatalf("%v at %s", err, b.at())
	}
}

// ask evaluates an expression in the page.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (b *tab) at() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(at, b.origin)
}

// visit opens a page of the site.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.origin + path))
}

// until waits for an expression to be true; while the page changes, there is
// none to ask.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err == nil && yes {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.picture("failed")
			b.t.Fatalf("waiting for %s at %s: %v\n%s", what, b.at(), err, ask[string](b, "document.body.innerText"))
		}
	}
}

// says waits until the page's text holds some.
func (b *tab) says(text string) {
	b.t.Helper()
	b.until(text, fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// signIn signs a person in by the form.
func (b *tab) signIn(p *weftest.Person) {
	b.t.Helper()
	b.visit("/login")
	b.do(chromedp.SendKeys("#user", p.Name), chromedp.SendKeys("#password", "a long password\r"))
	b.until("a session", "document.readyState === 'complete' && !location.pathname.startsWith('/login')")
}

// scheme emulates the reader's wish for light or dark, and for less motion.
func (b *tab) scheme(scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// size sets the width and height of the window in CSS pixels.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// picture keeps a picture of the page, where pictures are wanted.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("WEFT_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, strings.NewReplacer("/", "-", " ", "-").Replace(b.t.Name()+"-"+name)+".png"), png, 0o644))
	}
	if err != nil {
		b.t.Logf("no picture of %s: %v", name, err)
	}
}

// overflow is by how many pixels the page is wider than the window.
func (b *tab) overflow() int {
	b.t.Helper()
	return ask[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth")
}
