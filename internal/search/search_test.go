package search

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
)

// shelf is a disk with files, and shares mounted beside them.
func shelf(t *testing.T, shares map[string]tree.Tree, names ...string) tree.Tree {
	t.Helper()
	d, err := tree.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for _, name := range names {
		for i, c := range name {
			if c == '/' {
				d.Mkdir(t.Context(), name[:i])
			}
		}
		if _, _, err := d.Put(t.Context(), name, strings.NewReader("x"), tree.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return tree.Mount(d, tree.SharedDir, func(context.Context) (points []tree.MountPoint, err error) {
		for name, share := range shares {
			points = append(points, tree.MountPoint{
				Name: name, Info: tree.Info{Dir: true, Mount: true},
				Tree: func(context.Context) (tree.Tree, error) { return share, nil },
			})
		}
		return points, nil
	})
}

// silent answers nothing.
type silent struct{ tree.Tree }

func (silent) List(ctx context.Context, _ string) iter.Seq2[tree.Info, error] {
	return func(yield func(tree.Info, error) bool) {
		<-ctx.Done()
		yield(tree.Info{}, ctx.Err())
	}
}

func find(t *testing.T, shelf tree.Tree, folder, query string) (paths []string, r *Result) {
	t.Helper()
	r, err := Files(t.Context(), shelf, folder, query, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hits {
		paths = append(paths, h.Path)
	}
	return paths, r
}

func TestSearchTakesNamesAsPeopleDo(t *testing.T) {
	s := shelf(t, nil, "Résumé 2026.pdf", "a/resume.txt", "a/b/RESUME", "Straße.txt", "Ελλάδα.txt", "a/other")
	for query, want := range map[string][]string{
		"resume":      {"a/b/RESUME", "a/resume.txt", "Résumé 2026.pdf"},
		"RÉSUMÉ pdf":  {"Résumé 2026.pdf"},
		"2026 resume": {"Résumé 2026.pdf"},
		"strasse":     {"Straße.txt"},
		"ελλαδα":      {"Ελλάδα.txt"},
		"nothing":     nil,
		"  ":          nil,
		"b":           {"a/b"},
	} {
		if got, _ := find(t, s, "", query); !slices.Equal(got, want) {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
	if got, _ := find(t, s, "a/b", "resume"); !slices.Equal(got, []string{"a/b/RESUME"}) {
		t.Errorf("in one folder: %q", got)
	}
	if _, err := Files(t.Context(), s, "nowhere", "x", 10); err == nil {
		t.Error("a folder that is not there is searched")
	}
}

func TestSearchLooksThroughSharesAsFarAsTheyAnswer(t *testing.T) {
	other := shelf(t, nil, "deep/er/found.txt")
	s := shelf(t, map[string]tree.Tree{"Reef": other, "Silent": silent{other}}, "found here")
	begin := time.Now()
	got, r := find(t, s, "", "found")
	if want := []string{"found here", "Shared with me/Reef/deep/er/found.txt"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if !slices.Equal(r.Left, []string{"Shared with me/Silent"}) {
		t.Errorf("left out: %q", r.Left)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestSearchGivesTheBest(t *testing.T) {
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("d/not so good a %d", i))
	}
	s := shelf(t, nil, append(names, "good")...)
	r, err := Files(t.Context(), s, "", "good", 3)
	if err != nil || len(r.Hits) != 3 || !r.More || r.Hits[0].Path != "good" {
		t.Errorf("%+v, %v", r, err)
	}
}
