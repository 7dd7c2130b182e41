package web

import (
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config"
)

func TestEveryActOfTheAuditHasWordsInEveryLanguage(t *testing.T) {
	src := sources(t)
	acts := literals(src, "Action", "audit.Event", "Action", `^[a-z-]+\.[a-z-]+$`)
	kinds := literals(src, "", "audit.Event", "Kind", `^[a-z-]+$`)
	if len(acts) < 50 || len(kinds) < 15 {
		t.Fatalf("found %d acts and %d kinds of things", len(acts), len(kinds))
	}
	for _, l := range Locales {
		for prefix, codes := range map[string]map[string]token.Position{actPrefix: acts, kindPrefix: kinds} {
			for _, code := range slices.Sorted(maps.Keys(codes)) {
				if l.texts()[prefix+code].Other == "" {
					t.Errorf("%s: %s has no %s%s", codes[code], l.Tag, prefix, code)
				}
			}
			for key := range l.texts() {
				if code, ok := strings.CutPrefix(key, prefix); ok && codes[code] == (token.Position{}) {
					t.Errorf("%s has %s, which no program says", l.Tag, key)
				}
			}
		}
	}
}

func TestEverySettingIsExplainedInEveryLanguage(t *testing.T) {
	var keys []string
	for _, s := range config.Default().Settings() {
		if s.Help == "" {
			continue
		}
		keys = append(keys, s.Key)
		for _, l := range Locales {
			if got := l.Help(s.Key, s.Help); (got == s.Help) != (l == Locales[0]) {
				t.Errorf("%s: %s: %s", l.Tag, s.Key, got)
			}
		}
	}
	if len(keys) < 40 {
		t.Fatalf("found %d settings", len(keys))
	}
	for _, l := range Locales {
		for key := range l.texts() {
			if name, ok := strings.CutPrefix(key, helpPrefix); ok && (l == Locales[0] || !slices.Contains(keys, name)) {
				t.Errorf("%s has %s, which is no setting, or explained where it is declared", l.Tag, key)
			}
		}
	}
}

var slot = regexp.MustCompile(`\{[0-9]\}`)

// knows fails if the catalogue does not have a sentence of the programs, word for
// word, or finds another in its stead.
func knows(t *testing.T, scope, sentence string) {
	t.Helper()
	sample := strings.ReplaceAll(sentence, place, "x.example")
	for _, p := range patterns()[scope] {
		if p.is.MatchString(sample) {
			if text := Locales[0].texts()[p.key].Other; slot.ReplaceAllString(text, place) != sentence {
				t.Errorf("%q is taken for %s: %q", sentence, p.key, text)
			}
			return
		}
	}
	t.Errorf("%q has no translation among %s*", sentence, scope)
}

func TestWhatTheConsoleShowsIsTranslated(t *testing.T) {
	src := sources(t)
	count := 0
	for _, c := range []struct {
		file, function string
		scope          string
		skip           []string // functions whose arguments are something else
		is             string   // of those that are sentences
	}{
		{"internal/server/checks.go", "", saidPrefix, nil, `^[A-Z{].*\.$`},
		{"internal/server/checks.go", "cause", saidPrefix, nil, ""},
		{"internal/server/checks.go", "ownDocument", saidPrefix, nil, "^(it|something) "},
		{"internal/peer/policy.go", "Decide", saidPrefix, []string{"Errorf"}, ""},
		{"internal/peer/policy.go", "byMode", saidPrefix, []string{"Errorf"}, ""},
		{"internal/peer/peers.go", "profile", saidPrefix, nil, ""},
		{"internal/sharing/asked.go", "maySend", saidPrefix, []string{"Note"}, ""},
		{"internal/contact/directory.go", "", saidPrefix, []string{"Error", "Info"}, "^the directory "},
		{"ocm/directory/directory.go", "", saidPrefix, nil, "^the directory "},
		{"internal/server/federation.go", "describeSignature", stepPrefix + "signature.", nil, ""},
	} {
		is := regexp.MustCompile(c.is)
		for _, s := range sentences(src.in(t, c.file, c.function), c.skip...) {
			if is.MatchString(s) {
				count++
				knows(t, c.scope, s)
			}
		}
	}
	for name, f := range src.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch last(n.Fun) {
				case "because": // of client.ProfileOf
					if name == "ocm/client/profile.go" {
						count++
						knows(t, saidPrefix, skeleton(n.Args[1]))
					}
				case "Note":
					if of, ok := n.Fun.(*ast.SelectorExpr); !ok || last(of.X) != "explain" {
						break
					}
					check, found := skeleton(n.Args[1]), skeleton(n.Args[2])
					count++
					if _, ok := Locales[0].texts()[stepPrefix+check]; !ok {
						t.Errorf("%s: the check %s has no name in the catalogue", src.set.Position(n.Pos()), check)
					}
					if found != place { // described elsewhere
						knows(t, stepPrefix+check+".", found)
					}
				}
			case *ast.AssignStmt: // the name of a check of the configuration
				if len(n.Lhs) > 0 && name == "internal/server/checks.go" && last(n.Lhs[0]) == "Name" && len(n.Rhs) == len(n.Lhs) {
					count++
					knows(t, saidPrefix, skeleton(n.Rhs[0]))
				}
			}
			return true
		})
	}
	if count < 120 {
		t.Errorf("found %d sentences", count)
	}
}

func TestStepsAreTranslatedWithWhatIsInThem(t *testing.T) {
	for _, c := range []struct{ check, found, lang, want string }{
		{"policy", "limit for x.example: rule *.example (asked by Eve)", "de", "x.example: eingeschränkt (Regel *.example (asked by Eve))"},
		{"policy", "allow for x.example: mode directory, member of Sciences", "fr", "x.example\u00a0: autorisé (mode directory, membre de Sciences)"},
		{"invite", "invite 1f is expired", "es", "la invitación 1f ha caducado"},
		{"share", "stored as 1f, in quarantine: the sender is in nobody's address book", "de", "gespeichert als 1f, in Quarantäne: der Absender steht in keinem Adressbuch"},
		{"share", "<b>", "de", `<span lang="en">&lt;b&gt;</span>`},
		{"share", "<b>", "en", "&lt;b&gt;"},
		{"new", "dial tcp: no route to host", "fr", `<span lang="en">dial tcp: no route to host</span>`},
	} {
		if got := string(LocaleFor(c.lang, "").Step(c.check, c.found)); got != c.want {
			t.Errorf("%s in %s: %s", c.found, c.lang, got)
		}
	}
}

func TestWhatIsSaidIsWrittenAsItIsUsual(t *testing.T) {
	for said, want := range map[string][2]string{
		"Valid until 2027-03-09.":                {"Gültig bis 9. März 2027.", "Valable jusqu’au 9 mars 2027."},
		"The files have 1.25 GiB left of 3 TiB.": {"Für die Dateien sind 1,25\u00a0GiB von 3\u00a0TiB frei.", "Il reste 1,25\u00a0Gio sur 3\u00a0Tio pour les fichiers."},
	} {
		for i, lang := range []string{"de", "fr"} {
			if got := LocaleFor(lang, "").Said(said); got != want[i] {
				t.Errorf("%s: %s", lang, got)
			}
		}
	}
	deep := strings.Repeat("a (", 2000)
	if got := LocaleFor("de", "").Said(deep); got != deep {
		t.Errorf("%.40s", got)
	}
}
