// Package preview tells how a file can be shown in a page, and makes what is
// shown of texts. Nothing in a file reaches the page as markup of its own.
package preview

import (
	"bytes"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/weft-mesh/weft/internal/tree"
)

// Kind is how a file is shown.
type Kind string

// The kinds. None is shown by a download alone.
const (
	Image    Kind = "image"
	Text     Kind = "text"
	Markdown Kind = "markdown"
	PDF      Kind = "pdf"
	Audio    Kind = "audio"
	Video    Kind = "video"
	None     Kind = "none"
)

// MaxText is how many bytes of a text are shown.
const MaxText = 256 << 10

// texts are endings of texts whose type says otherwise, or nothing.
var texts = map[string]bool{
	".txt": true, ".log": true, ".csv": true, ".tsv": true, ".json": true, ".xml": true, ".yaml": true, ".yml": true, ".toml": true, ".ini": true,
	".conf": true, ".cfg": true, ".sh": true, ".py": true, ".go": true, ".js": true, ".ts": true, ".c": true, ".h": true, ".cpp": true, ".hpp": true,
	".java": true, ".rs": true, ".rb": true, ".pl": true, ".php": true, ".css": true, ".html": true, ".htm": true, ".sql": true, ".r": true, ".m": true,
	".tex": true, ".bib": true, ".rst": true, ".org": true, ".diff": true, ".patch": true, ".vcf": true, ".ics": true, ".env": true, ".lua": true, ".swift": true, ".kt": true,
}

// KindOf tells how a file is shown, by its name and type.
func KindOf(info tree.Info) Kind {
	ending := strings.ToLower(path.Ext(info.Name))
	kind := info.ContentType
	if kind == "" || kind == "application/octet-stream" {
		kind = tree.TypeOf(info.Name)
	}
	kind, _, _ = strings.Cut(strings.ToLower(kind), ";")
	group, _, _ := strings.Cut(kind, "/")
	switch {
	case info.Dir:
		return None
	case ending == ".md" || ending == ".markdown" || kind == "text/markdown":
		return Markdown
	case kind == "application/pdf":
		return PDF
	case kind == "image/jpeg", kind == "image/png", kind == "image/gif", kind == "image/webp", kind == "image/svg+xml", kind == "image/avif", kind == "image/bmp":
		return Image
	case texts[ending], group == "text":
		return Text
	case group == "audio":
		return Audio
	case group == "video":
		return Video
	}
	return None
}

// TextOf reads the beginning of a text, in UTF-8 or else as Latin 1; false for
// what is none.
func TextOf(b []byte, whole bool) (string, bool) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if bytes.IndexByte(b, 0) >= 0 {
		return "", false
	}
	if !whole { // the last character may be cut
		for i := 0; i < utf8.UTFMax-1 && len(b) > 0 && !utf8.Valid(b[max(0, len(b)-utf8.UTFMax):]); i++ {
			if r, size := utf8.DecodeLastRune(b); r != utf8.RuneError || size != 1 {
				break
			}
			b = b[:len(b)-1]
		}
	}
	if utf8.Valid(b) {
		return string(b), true
	}
	latin, err := charmap.Windows1252.NewDecoder().Bytes(b)
	return string(latin), err == nil
}
