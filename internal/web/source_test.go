package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// source is the programs without their tests: what they say is looked for there,
// so that nothing new is forgotten in the catalogue.
type source struct {
	set   *token.FileSet
	files map[string]*ast.File // by path, as internal/web/web.go
}

var readSources = sync.OnceValues(func() (*source, error) {
	src := &source{token.NewFileSet(), map[string]*ast.File{}}
	root := filepath.Join("..", "..")
	return src, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(src.set, name, nil, parser.SkipObjectResolution)
		rel, _ := filepath.Rel(root, name)
		src.files[filepath.ToSlash(rel)] = f
		return err
	})
})

func sources(t *testing.T) *source {
	src, err := readSources()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// in is a file, or a function in it.
func (s *source) in(t *testing.T, file, function string) ast.Node {
	f := s.files[file]
	if f == nil {
		t.Fatalf("there is no %s", file)
	}
	if function == "" {
		return f
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == function {
			return fn.Body
		}
	}
	t.Fatalf("there is no %s in %s", function, file)
	return nil
}

// literals finds the literals that are given for a type of strings, and where each
// stands: its constants, arguments of functions that take it, values of maps, and
// a field of a struct. "" is no type.
func literals(src *source, typ, structure, field, pattern string) map[string]token.Position {
	isType := func(e ast.Expr) bool { return typ != "" && last(e) == typ }
	isStructure := func(e ast.Expr) bool {
		of, elsewhere := e.(*ast.SelectorExpr)
		return last(e) == structure || elsewhere && last(of.X)+"."+last(of) == structure
	}
	takes := map[string][]int{} // the parameters of functions that are of the type
	if typ != "" {
		takes[typ] = []int{0}
	}
	for _, f := range src.files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			at := 0
			for _, p := range fn.Type.Params.List {
				for range max(len(p.Names), 1) {
					if isType(p.Type) {
						takes[fn.Name.Name] = append(takes[fn.Name.Name], at)
					}
					at++
				}
			}
		}
	}

	found := map[string]token.Position{}
	is := regexp.MustCompile(pattern)
	take := func(e ast.Expr) {
		ast.Inspect(e, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if s, err := strconv.Unquote(n.Value); err == nil && is.MatchString(s) {
					found[s] = src.set.Position(n.Pos())
				}
			case *ast.CallExpr, *ast.FuncLit: // what is given to another function is looked at there
				return false
			}
			return true
		})
	}
	for _, f := range src.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for _, v := range n.Values {
					if isType(n.Type) {
						take(v)
					}
				}
			case *ast.CallExpr:
				for _, at := range takes[last(n.Fun)] {
					if at < len(n.Args) {
						take(n.Args[at])
					}
				}
			case *ast.CompositeLit:
				of, isMap := n.Type.(*ast.MapType)
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && (isMap && isType(of.Value) || isStructure(n.Type) && last(kv.Key) == field) {
						take(kv.Value)
					}
				}
			}
			return true
		})
	}
	return found
}

// place is where a sentence has something that varies.
const place = "{}"

var verb = regexp.MustCompile(`%[a-z]`)

// sentences are the texts that a piece of program puts together, with places for
// what varies. Arguments of the functions that skip names are left out.
func sentences(n ast.Node, skip ...string) []string {
	var out []string
	add := func(e ast.Expr) {
		if s := skeleton(e); strings.ContainsAny(strings.ReplaceAll(s, place, ""), "abcdefghijklmnopqrstuvwxyz") {
			out = append(out, s)
		}
	}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.ADD && skeleton(n) != place {
				add(n)
				return false
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				add(n)
			}
		case *ast.CallExpr:
			for _, name := range skip {
				if last(n.Fun) == name {
					return false
				}
			}
		case *ast.Field, *ast.ImportSpec: // tags and paths
			return false
		}
		return true
	})
	return out
}

// skeleton is the text of an expression, with places for what is no literal.
func skeleton(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return verb.ReplaceAllString(s, place)
		}
	case *ast.ParenExpr:
		return skeleton(e.X)
	case *ast.BinaryExpr:
		if l, r := skeleton(e.X), skeleton(e.Y); e.Op == token.ADD && l+r != place+place {
			return l + r
		}
	}
	return place
}
