package preview

import (
	"bytes"
	"html/template"
	"net/url"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// MaxMarkdown is how many bytes are shown as Markdown; longer ones as text.
const MaxMarkdown = 32 << 10

var markdown = goldmark.New(
	goldmark.WithExtensions(
		extension.Strikethrough, extension.TaskList, extension.Linkify,
		// The pages' policy allows no style attributes.
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)),
	),
	goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(ticks{}, 100))),
	goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(leads{}, 1000))),
)

var folderKey = parser.NewContextKey()

// HTML renders Markdown that lies in a folder. Markup in it is left out, images
// are those of the person's own files, and links that lead elsewhere say nothing
// of where they were followed.
func HTML(source []byte, folder string) (template.HTML, error) {
	ctx := parser.NewContext()
	ctx.Set(folderKey, folder)
	var out bytes.Buffer
	if err := markdown.Convert(source, &out, parser.WithContext(ctx)); err != nil {
		return "", err
	}
	return template.HTML(out.String()), nil //nolint:gosec // goldmark leaves markup out, and leads sees to addresses
}

// ticks writes the boxes of task lists as signs: they are no fields of a form.
type ticks struct{}

func (ticks) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(extast.KindTaskCheckBox, func(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			sign := "☐"
			if n.(*extast.TaskCheckBox).IsChecked {
				sign = "☑"
			}
			w.WriteString(`<span class="task">` + sign + `</span> `)
		}
		return ast.WalkContinue, nil
	})
}

// leads sees to where links and images lead.
type leads struct{}

func (leads) Transform(doc *ast.Document, _ text.Reader, ctx parser.Context) {
	folder, _ := ctx.Get(folderKey).(string)
	var images []*ast.Image
	ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			dest, own := resolve(string(n.Destination), folder, "/files/")
			n.Destination = []byte(dest)
			if !own {
				outward(n)
			}
		case *ast.AutoLink:
			outward(n)
		case *ast.Image:
			images = append(images, n)
		case *ast.Heading:
			n.Level = min(n.Level+1, 6) // the page's own title is above them
		}
		return ast.WalkContinue, nil
	})
	for _, img := range images {
		dest, own := resolve(string(img.Destination), folder, "/api/v1/content/")
		if own {
			img.Destination = []byte(dest)
			continue
		}
		// An image of another site would tell that site who reads this.
		link := ast.NewLink()
		link.Destination = []byte(dest)
		outward(link)
		for c := img.FirstChild(); c != nil; {
			next := c.NextSibling()
			link.AppendChild(link, c)
			c = next
		}
		if link.FirstChild() == nil {
			link.AppendChild(link, ast.NewString([]byte(dest)))
		}
		img.Parent().ReplaceChild(img.Parent(), img, link)
	}
}

func outward(n ast.Node) { n.SetAttributeString("rel", []byte("noopener noreferrer nofollow")) }

// resolve tells where a link leads: to one of the own files (own), or out, which
// is possible by web and mail alone.
func resolve(dest, folder, below string) (to string, own bool) {
	u, err := url.Parse(dest)
	switch {
	case err != nil:
		return "#", true
	case u.Scheme == "http", u.Scheme == "https", u.Scheme == "mailto":
		return dest, false
	case u.Scheme != "" || u.Host != "" || u.Opaque != "" || strings.HasPrefix(dest, "//") || strings.Contains(dest, `\`):
		return "#", true
	case u.Path == "":
		return "#" + url.PathEscape(u.Fragment), true
	}
	// "/" stands for the top of the files, and ".." does not lead above it.
	name := u.Path
	if !strings.HasPrefix(name, "/") {
		name = "/" + folder + "/" + name
	}
	return below + strings.TrimPrefix((&url.URL{Path: path.Clean(name)}).EscapedPath(), "/"), true
}
