package preview

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/tree"
)

func TestKindsOfFiles(t *testing.T) {
	for name, want := range map[string]Kind{
		"a.JPG": Image, "a.svg": Image, "a.md": Markdown, "README.markdown": Markdown, "a.pdf": PDF, "a.txt": Text, "a.html": Text, "a.go": Text,
		"a.mp3": Audio, "a.mp4": Video, "a.bin": None, "a": None, "a.zip": None,
	} {
		if got := KindOf(tree.Info{Name: name}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := KindOf(tree.Info{Name: "a.txt", Dir: true}); got != None {
		t.Errorf("a folder: %s", got)
	}
}

func TestTextsInOtherEncodings(t *testing.T) {
	for _, tt := range []struct {
		b     string
		whole bool
		want  string
		ok    bool
	}{
		{"größer", true, "größer", true},
		{"\xef\xbb\xbfwith a mark", true, "with a mark", true},
		{"gr\xf6\xdfer", true, "größer", true},
		{"cut in an ö"[:len("cut in an ö")-1], false, "cut in an ", true},
		{"a\x00b", true, "", false},
		{"", true, "", true},
	} {
		if got, ok := TextOf([]byte(tt.b), tt.whole); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %q, %v", tt.b, got, ok)
		}
	}
}

func TestMarkdownBringsNoMarkupAndLoadsNothingFromElsewhere(t *testing.T) {
	for source, want := range map[string]string{
		"# A *title*":                              "<h2>A <em>title</em></h2>",
		"###### A detail":                          "<h6>A detail</h6>",
		"<script>alert(1)</script>":                "<!-- raw HTML omitted -->",
		"a <img src=x onerror=alert(1)> b":         "<p>a <!-- raw HTML omitted --> b</p>",
		"[x](javascript:alert(1))":                 `<a href="#">`,
		"[x](JaVaScRiPt:alert(1))":                 `<a href="#">`,
		"[x](data:text/html,hi)":                   `<a href="#">`,
		"[x](//evil.example/)":                     `<a href="#">`,
		`[x](\\evil.example/)`:                     `<a href="`,
		"[x](https://a.example/b)":                 `<a href="https://a.example/b" rel="noopener noreferrer nofollow">`,
		"https://a.example":                        `<a href="https://a.example" rel="noopener noreferrer nofollow">`,
		"[x](other.md)":                            `<a href="/files/Reef/other.md">`,
		"[x](../../../../etc/passwd)":              `<a href="/files/etc/passwd">`,
		"[x](/top%20level)":                        `<a href="/files/top%20level">`,
		"![a fish](photos/fish.jpg)":               `<img src="/api/v1/content/Reef/photos/fish.jpg" alt="a fish">`,
		"![a fish](https://evil.example/p.gif)":    `<a href="https://evil.example/p.gif" rel="noopener noreferrer nofollow">a fish</a>`,
		"![](https://evil.example/p.gif)":          `<a href="https://evil.example/p.gif" rel="noopener noreferrer nofollow">https://evil.example/p.gif</a>`,
		"![x](data:image/png;base64,AAAA)":         `<img src="#" alt="x">`,
		"![x](//evil.example/p.gif)":               `<img src="#" alt="x">`,
		"|a|b|\n|:-|-:|\n|1|2|":                    `<td align="right">2</td>`,
		`[x](https://a.example/"onclick="x)`:       `<a href="https://a.example/%22onclick=%22x"`,
		"- [x] done":                               `<span class="task">☑</span>`,
		"[![i](a.png)](https://b.example)":         `<a href="https://b.example" rel="noopener noreferrer nofollow"><img src="/api/v1/content/Reef/a.png" alt="i"></a>`,
		"![![x](javascript:1)](https://b.example)": "",
	} {
		got, err := HTML([]byte(source), "Reef")
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %s, %v; want %s", source, got, err, want)
		}
		for _, bad := range []string{"<script", "onerror=", "javascript:", "style=", `src="http`, `src="//`, `href="//`, "data:"} {
			if strings.Contains(strings.ToLower(string(got)), bad) {
				t.Errorf("%s gives %s, with %s", source, got, bad)
			}
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"# a\n[b](c)\n![d](e)", "<a href=x>", "|a|\n|-|\n|![x](//y)|", "![![a](b)](c)", "[a]: javascript:x\n[a]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4<<10 {
			return
		}
		got, err := HTML(b, "d")
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"<script", `href="javascript:`, ` style="`, `src="http`, `src="//`} {
			if strings.Contains(strings.ToLower(string(got)), bad) {
				t.Errorf("%q gives %s", b, got)
			}
		}
	})
}
