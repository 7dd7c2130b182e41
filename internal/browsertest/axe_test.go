package browsertest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// violation is what axe-core finds.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// rules are those of WCAG 2.2 AA and what it builds on, and axe's best practice.
const rules = `{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"]}`

// axe checks the page as it is shown.
func (b *tab) axe(what string) {
	b.t.Helper()
	for _, v := range ask[[]violation](b, `(async () => { if (!window.axe) { `+axeScript(b.t)+` } return (await axe.run(document, `+rules+`)).violations })()`) {
		for _, n := range v.Nodes {
			b.t.Errorf("%s, %s: %s\n%s\n%s", what, v.ID, v.Help, n.HTML, n.Summary)
		}
	}
}

func axeScript(t *testing.T) string {
	t.Helper()
	path := os.Getenv("WEFT_AXE")
	if path == "" {
		t.Skip("set WEFT_AXE to axe-core's axe.min.js, or use .ci/run browser")
	}
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// spacing sets text as wide as a reader may want it (WCAG 1.4.12).
const spacing = `(() => {
	const wide = new CSSStyleSheet();
	wide.replaceSync("* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important } p { margin-bottom: 2em !important }");
	document.adoptedStyleSheets = [wide];
	return true;
})()`

// inspect looks at a page in every way that a reader may: light, dark, on a
// narrow screen, enlarged to 200 %, which halves the window, and widely spaced.
func (b *tab) inspect(path string) {
	b.t.Helper()
	for _, look := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 1280, 860}, {"dark", "dark", 1280, 860}, {"narrow", "light", 320, 640}, {"large", "dark", 640, 430}} {
		b.size(look.width, look.height)
		b.scheme(look.scheme)
		b.visit(path)
		b.axe(fmt.Sprintf("%s, %s", path, look.name))
		if by := b.overflow(); by > 0 {
			b.t.Errorf("%s, %s: %d pixels wider than the window", path, look.name, by)
			b.widest()
		}
		b.picture(look.name)
		ask[bool](b, spacing)
		if by := b.overflow(); by > 0 {
			b.t.Errorf("%s, %s, with wide spacing: %d pixels wider than the window", path, look.name, by)
			b.widest()
		}
	}
	b.size(1280, 860)
	b.scheme("light")
}

// fits looks at a page with all that it keeps folded, in a wide and in a narrow
// window.
func (b *tab) fits(path string) {
	b.t.Helper()
	for _, look := range []struct {
		name          string
		width, height int64
	}{{"wide", 1280, 860}, {"narrow", 320, 640}} {
		b.size(look.width, look.height)
		b.visit(path)
		b.until("all is unfolded", `[...document.querySelectorAll("main details:not(.confirm)")].every((d) => (d.open = true))`)
		if by := b.overflow(); by > 0 {
			b.t.Errorf("%s, %s: %d pixels wider than the window", path, look.name, by)
			b.widest()
		}
		b.picture(look.name)
	}
	b.size(1280, 860)
}

// inspectEach does so for some pages, each in a test of its own.
func (b *tab) inspectEach(paths ...string) {
	t := b.t
	t.Helper()
	defer func() { b.t = t }()
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			b.t = t
			b.inspect(path)
			b.quiet()
		})
	}
}

// widest tells what makes a page too wide.
func (b *tab) widest() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	html, err := chromedp.Run(ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
		.slice(0, 5).map(e => e.outerHTML.slice(0, 160)).join("\n")`))
	b.t.Log(html, err)
}
