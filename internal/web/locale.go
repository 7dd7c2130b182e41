package web

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/weft-mesh/weft/ocm"
)

//go:embed locales
var localeFiles embed.FS

// Locale is a language of the pages, with its texts and its ways to write
// numbers, sizes and dates.
type Locale struct {
	Tag  string // BCP 47, as in the lang attribute
	Name string // of the language, in itself

	tag     language.Tag
	numbers *message.Printer
	// Read when they are first needed: a command that shows no page does not.
	texts func() map[string]text
	pages pageSet
}

// text is one entry of the catalogue: Other alone, or a form for each number.
// Arguments stand as {0}, {1} …; the first chooses the form.
type text struct {
	One, Other string
}

// UnmarshalJSON reads a string, or {"one": …, "other": …}.
func (t *text) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &t.Other) == nil {
		return nil
	}
	type forms text
	return json.Unmarshal(b, (*forms)(t))
}

// pattern finds the place of a text that is kept in English, such as the reason
// why a share waits.
type pattern struct {
	is  *regexp.Regexp
	key string
}

// saidPrefix begins the keys of texts that the database holds in English.
const saidPrefix = "said."

// Locales are all languages; the first is the one without others.
var Locales []*Locale

var matcher language.Matcher

func init() {
	var tags []language.Tag
	for _, l := range []struct{ tag, name string }{{"en", "English"}, {"de", "Deutsch"}, {"fr", "Français"}, {"es", "Español"}} {
		loc := &Locale{Tag: l.tag, Name: l.name, tag: language.MustParse(l.tag)}
		loc.numbers = message.NewPrinter(loc.tag)
		loc.texts = sync.OnceValue(func() map[string]text {
			texts, err := readTexts(l.tag)
			must(err)
			return texts
		})
		loc.pages.of = loc
		Locales = append(Locales, loc)
		tags = append(tags, loc.tag)
	}
	matcher = language.NewMatcher(tags)
}

// readTexts reads the catalogue of a language.
func readTexts(tag string) (map[string]text, error) {
	files, err := fs.Glob(localeFiles, path.Join("locales", tag, "*.json"))
	if err != nil {
		return nil, err
	}
	all := map[string]text{}
	for _, file := range files {
		b, err := localeFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var texts map[string]text
		if err := json.Unmarshal(b, &texts); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for key, t := range texts {
			if _, twice := all[key]; twice {
				return nil, fmt.Errorf("%s: %s stands in another file too", file, key)
			}
			all[key] = t
		}
	}
	return all, nil
}

// patterns find the texts that the database holds in English.
var patterns = sync.OnceValue(func() []pattern {
	var out []pattern
	texts := Locales[0].texts()
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if t := texts[key]; strings.HasPrefix(key, saidPrefix) {
			quoted := placeholder.ReplaceAllString(regexp.QuoteMeta(strings.NewReplacer("{", "\x00", "}", "\x01").Replace(t.Other)), "(.*?)")
			out = append(out, pattern{regexp.MustCompile("(?s)^" + quoted + "$"), key})
		}
	}
	return out
})

// placeholder is {0} as patterns hides it from QuoteMeta.
var placeholder = regexp.MustCompile("\x00[0-9]\x01")

// LocaleFor is the language someone chose, or else the one that their browser
// asks for (RFC 9110 §12.5.4).
func LocaleFor(chosen, acceptLanguage string) *Locale {
	for _, l := range Locales {
		if l.Tag == chosen {
			return l
		}
	}
	if len(acceptLanguage) > 256 {
		acceptLanguage = ""
	}
	tags, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil {
		tags = nil
	}
	_, i, _ := matcher.Match(tags...)
	return Locales[i]
}

// IsLocale reports whether there are texts in a language.
func IsLocale(tag string) bool {
	return slices.ContainsFunc(Locales, func(l *Locale) bool { return l.Tag == tag })
}

// T gives a text. A number as the first argument chooses its form.
func (l *Locale) T(key string, args ...any) string {
	return l.fill(key, args, func(s string) string { return s })
}

// HTML is T for texts with markup of their own; arguments are escaped.
func (l *Locale) HTML(key string, args ...any) template.HTML {
	return template.HTML(l.fill(key, args, html.EscapeString)) //nolint:gosec // the catalogue is ours, the arguments are escaped
}

func (l *Locale) fill(key string, args []any, escape func(string) string) string {
	t, ok := l.texts()[key]
	if !ok {
		return key
	}
	form := t.Other
	var pairs []string
	for i, a := range args {
		n, counts := number(a)
		if counts && i == 0 && t.One != "" && l.one(n) {
			form = t.One
		}
		s := fmt.Sprint(a)
		if counts {
			s = l.Number(n)
		}
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", escape(s))
	}
	return strings.NewReplacer(pairs...).Replace(form)
}

func number(a any) (int64, bool) {
	switch n := a.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	}
	return 0, false
}

// one reports whether a number takes the form of one thing.
func (l *Locale) one(n int64) bool {
	return plural.Cardinal.MatchPlural(l.tag, int(n%1_000_000_000), 0, 0, 0, 0) == plural.One
}

// Number writes a number.
func (l *Locale) Number(n int64) string { return l.numbers.Sprintf("%d", n) }

// Bytes writes a size, in units of a thousand; -1 is not known.
func (l *Locale) Bytes(n int64) string {
	if n < 0 {
		return "–"
	}
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	f, i := float64(n), 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 || f >= 99.5 {
		return l.numbers.Sprintf("%.0f", f) + "\u00a0" + units[i]
	}
	return l.numbers.Sprintf("%.1f", f) + "\u00a0" + units[i]
}

// Day writes a date.
func (l *Locale) Day(at time.Time) string {
	months := strings.Split(l.texts()["date.months"].Other, " ")
	if len(months) != 12 {
		return at.Format(time.DateOnly)
	}
	return strings.NewReplacer("{d}", strconv.Itoa(at.Day()), "{m}", months[at.Month()-1], "{y}", strconv.Itoa(at.Year())).Replace(l.texts()["date.day"].Other)
}

// When writes a date and a time of day, in the server's zone; a script turns it
// into the reader's.
func (l *Locale) When(at time.Time) string { return l.Day(at) + ", " + at.Format("15:04") }

// Exact writes it with the seconds, for records.
func (l *Locale) Exact(at time.Time) string { return l.Day(at) + ", " + at.Format(time.TimeOnly) }

// Error writes an error for people. In other languages than English its sentence
// is looked for, because it tells more than its code, which decides otherwise.
func (l *Locale) Error(err error) string {
	e, ok := errors.AsType[*ocm.Error](err)
	if !ok {
		return l.T("error.INTERNAL_ERROR")
	}
	if len(e.Fields) > 0 { // what is wrong with a field is written for programs
		if t, ok := l.texts()["error."+string(e.Code)+"."+e.Fields[0].Name]; ok {
			return t.Other
		}
	}
	t, known := l.texts()["error."+string(e.Code)]
	if l == Locales[0] && known { // other words than on the command line
		return t.Other
	}
	if l != Locales[0] {
		if s := l.Said(e.Message); s != e.Message {
			return s
		}
		if known {
			return t.Other
		}
	}
	if s := e.Message; s != "" {
		return s
	}
	return string(e.Code)
}

// Said translates a text that the database holds in English, if the catalogue
// knows it.
func (l *Locale) Said(s string) string {
	if l == Locales[0] {
		return s
	}
	for _, p := range patterns() {
		m := p.is.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		args := make([]any, len(m)-1)
		for i, part := range m[1:] {
			args[i] = l.Said(part)
		}
		return l.T(p.key, args...)
	}
	return s
}
