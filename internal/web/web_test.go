package web

import (
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/ocm"
)

// references finds the keys that templates and programs name.
var references = regexp.MustCompile(`(?:\{\{[^}]*?\b(?:t|th) |\((?:t|th) |\.T\(|\.HTML\(|Key: *)"([a-z][a-z0-9-]*(?:\.[a-zA-Z0-9_-]+)+)"`)

func TestEveryTextIsInEveryLanguage(t *testing.T) {
	slots := regexp.MustCompile(`\{[a-z0-9]\}`)
	of := func(x text) []string {
		return slices.Compact(slices.Sorted(slices.Values(slots.FindAllString(x.Other, -1))))
	}
	en := Locales[0].texts()
	for _, l := range Locales[1:] {
		for _, key := range slices.Sorted(maps.Keys(en)) {
			x, ok := l.texts()[key]
			if !ok {
				t.Errorf("%s has no %s", l.Tag, key)
				continue
			}
			if !slices.Equal(of(x), of(en[key])) {
				t.Errorf("%s: %s has the places %v, English has %v", l.Tag, key, of(x), of(en[key]))
			}
			if (en[key].One == "") != (x.One == "") {
				t.Errorf("%s: %s has other forms for numbers than English", l.Tag, key)
			}
			if strings.Count(x.Other, "<") != strings.Count(en[key].Other, "<") {
				t.Errorf("%s: %s has other markup than English", l.Tag, key)
			}
		}
		for key := range l.texts() {
			if _, ok := en[key]; !ok && !strings.HasPrefix(key, "error.") && !strings.HasPrefix(key, helpPrefix) {
				t.Errorf("%s has %s, which English has not", l.Tag, key)
			}
		}
	}
}

func TestTextsThatTemplatesNameAreThere(t *testing.T) {
	named := 0
	err := fs.WalkDir(pages, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := pages.ReadFile(name)
		if err != nil {
			return err
		}
		for action := range strings.SplitSeq(string(b), "{{") {
			action, _, _ := strings.Cut(action, "}}")
			for _, m := range references.FindAllStringSubmatch("{{"+action+"}}", -1) {
				named++
				if _, ok := Locales[0].texts()[m[1]]; !ok {
					t.Errorf("%s names %s, which is in no catalogue", name, m[1])
				}
			}
		}
		return nil
	})
	if err != nil || named < 50 {
		t.Errorf("found %d names of texts: %v", named, err)
	}
}

func TestLanguages(t *testing.T) {
	for _, c := range []struct{ chosen, asked, want string }{
		{"", "", "en"},
		{"", "de-CH,de;q=0.9,en;q=0.5", "de"},
		{"", "it, fr-CA;q=0.8", "fr"},
		{"es", "de", "es"},
		{"xx", "es-MX", "es"},
		{"", "\x00;q=;;", "en"},
		{"", strings.Repeat("de,", 1000), "en"},
	} {
		if got := LocaleFor(c.chosen, c.asked).Tag; got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.chosen, c.asked, got, c.want)
		}
	}
	at := time.Date(2026, 11, 5, 9, 7, 0, 0, time.UTC)
	for tag, want := range map[string][4]string{
		"en": {"5 Nov 2026, 09:07", "1,234,567", "1.5\u00a0GB", "1 unread notice"},
		"de": {"5. Nov. 2026, 09:07", "1.234.567", "1,5\u00a0GB", "1 ungelesene Mitteilung"},
		"fr": {"5 nov. 2026, 09:07", "1\u00a0234\u00a0567", "1,5\u00a0Go", "1 notification non lue"},
		"es": {"5 nov. 2026, 09:07", "1.234.567", "1,5\u00a0GB", "1 aviso sin leer"},
	} {
		l := LocaleFor(tag, "")
		if got := [4]string{l.When(at), l.Number(1234567), l.Bytes(1_500_000_000), l.T("nav.unread", 1)}; got != want {
			t.Errorf("%s: %q, want %q", tag, got, want)
		}
	}
}

func TestArgumentsAreEscaped(t *testing.T) {
	got := string(Locales[0].HTML("wayf.lead", `<img src=x onerror="alert(1)">`))
	if strings.Contains(got, "<img") || !strings.Contains(got, "<strong>&lt;img") {
		t.Error(got)
	}
}

func TestErrorsAreTranslatedByTheirCode(t *testing.T) {
	err := ocm.NewError(http.StatusNotFound, "PAGE_NOT_FOUND", "There is no such page here.")
	if got := Locales[0].Error(err); got != "There is no such page here." {
		t.Error(got)
	}
	if got := LocaleFor("de", "").Error(err); got == "There is no such page here." || got == "" {
		t.Error(got)
	}
}

func TestAssetsAreKeptAndCompressed(t *testing.T) {
	get := func(target, encoding string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("Accept-Encoding", encoding)
		Assets().ServeHTTP(w, r)
		return w
	}
	plain, packed := get(Asset(styleName), ""), get(Asset(styleName), "gzip")
	if plain.Code != 200 || packed.Code != 200 || packed.Header().Get("Content-Encoding") != "gzip" || packed.Body.Len()*2 > plain.Body.Len() {
		t.Errorf("%d bytes, compressed %d: %v", plain.Body.Len(), packed.Body.Len(), packed.Header())
	}
	if c := packed.Header().Get("Cache-Control"); !strings.Contains(c, "immutable") {
		t.Error(c)
	}
	for _, target := range []string{"/assets/", "/assets/css/10-base.css", "/assets/../web.go", "/assets/nothing.js"} {
		if w := get(target, ""); w.Code != 404 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

func TestWhatTheDatabaseHoldsIsTranslated(t *testing.T) {
	for _, c := range []struct{ said, de string }{
		{"ended by its owner", "vom Eigentümer beendet"},
		{"cloud.example.org does not answer, will be tried again", "cloud.example.org antwortet nicht; es wird noch einmal versucht"},
		{"there is no server named x.example, will be tried again", "es gibt keinen Server namens x.example; es wird noch einmal versucht"},
		{"x.example refused it (UNAUTHORIZED)", "x.example hat es abgelehnt (UNAUTHORIZED)"},
		{"x.example cannot be used: the peer's address is not a public one; calls to private addresses are refused", "x.example kann nicht verwendet werden: die Adresse ist nicht öffentlich; Verbindungen zu privaten Adressen sind nicht erlaubt"},
		{"x.example takes single files to read by one person, and nothing else.", "x.example nimmt nur einzelne Dateien zum Lesen für eine Person an."},
		{"the sender is in nobody's address book", "der Absender steht in keinem Adressbuch"},
		{"withdrawn by bob@x.example", "zurückgezogen von bob@x.example"},
		{"The share's server refused this (502 Bad Gateway).", "Der Server hat das abgelehnt (502 Bad Gateway)."},
		{"x.example does not pass it on, or knows nobody of that name", "x.example gibt sie nicht weiter oder kennt niemanden dieses Namens"},
		{"This request has its answer already: refused.", "Diese Anfrage ist schon beantwortet: abgelehnt."},
		{"in words of one's own (really)", "in words of one's own (really)"},
	} {
		if got := Locales[0].Said(c.said); got != c.said {
			t.Errorf("English changes: %q", got)
		}
		if got := LocaleFor("de", "").Said(c.said); got != c.de {
			t.Errorf("%q: %q, want %q", c.said, got, c.de)
		}
		for _, tag := range []string{"fr", "es"} {
			if got := LocaleFor(tag, "").Said(c.said); c.said != c.de && (got == c.said || strings.ContainsAny(got, "{}")) {
				t.Errorf("%s: %q", tag, got)
			}
		}
	}
}

func TestEveryPageIsReadInEveryLanguage(t *testing.T) {
	read := 0
	for _, dir := range []string{"app", "pages"} {
		files, err := fs.Glob(pages, dir+"/*.html")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(strings.TrimPrefix(file, dir+"/"), ".html")
			if name == "frame" {
				continue
			}
			for _, l := range Locales {
				read++
				if _, err := l.pages.page(name); err != nil {
					t.Errorf("%s, %s: %v", name, l.Tag, err)
				}
			}
		}
	}
	if read < 100 {
		t.Errorf("%d pages", read)
	}
	if _, err := Locales[0].pages.page("frame"); err == nil {
		t.Error("the frame is a page")
	}
}
