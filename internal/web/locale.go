package web

import (
	"cmp"
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
	"unicode"

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
	is    *regexp.Regexp
	key   string
	words bool // it has words of its own around its places
}

// The beginnings of keys that a program puts together.
const (
	saidPrefix = "said."        // texts that are kept in English, wherever they stand
	stepPrefix = "step."        // what a check of a request found, by the check's name
	helpPrefix = "config.help." // what a setting means, but in English: internal/config has that
	actPrefix  = "audit.act."   // the acts of the audit
	kindPrefix = "audit.kind."  // what they are done to
)

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

// patterns find the texts that are kept in English, by where they stand: "said.",
// or "step.CHECK.".
var patterns = sync.OnceValue(func() map[string][]pattern {
	out := map[string][]pattern{}
	texts := Locales[0].texts()
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		scope := saidPrefix
		if name, ok := strings.CutPrefix(key, stepPrefix); ok {
			check, _, deeper := strings.Cut(name, ".")
			if !deeper { // the name of the check
				continue
			}
			scope = stepPrefix + check + "."
		} else if !strings.HasPrefix(key, saidPrefix) {
			continue
		}
		marked := strings.NewReplacer("{", "\x00", "}", "\x01").Replace(texts[key].Other)
		out[scope] = append(out[scope], pattern{
			is:  regexp.MustCompile("(?s)^" + placeholder.ReplaceAllString(regexp.QuoteMeta(marked), "(.*?)") + "$"),
			key: key, words: strings.ContainsFunc(placeholder.ReplaceAllString(marked, ""), unicode.IsLetter),
		})
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

// num writes a number, with one digit behind the whole if it has such.
func (l *Locale) num(n any) string {
	if f, ok := n.(float64); ok {
		return l.numbers.Sprintf("%.1f", f)
	}
	i, _ := number(n)
	return l.Number(i)
}

// Bytes writes a size, in units of a thousand; -1 is not known.
func (l *Locale) Bytes(n int64) string {
	if n < 0 {
		return "–"
	}
	units := strings.Fields(l.texts()["size.units"].Other)
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

// Said translates a text that is kept in English, if the catalogue knows it.
func (l *Locale) Said(s string) string {
	t, _ := l.said(saidPrefix, s, 0)
	return t
}

// Foreign is Said for a text that may be another server's or the system's: what
// the catalogue does not know is marked as English.
func (l *Locale) Foreign(s string) template.HTML {
	t, known := l.said(saidPrefix, s, 0)
	t = html.EscapeString(t)
	if !known {
		t = `<span lang="en">` + t + `</span>`
	}
	return template.HTML(t) //nolint:gosec // escaped
}

// Step translates what a check of a request found.
func (l *Locale) Step(check, found string) template.HTML {
	t, known := l.said(stepPrefix+check+".", found, 0)
	if !known {
		return l.Foreign(found)
	}
	return template.HTML(html.EscapeString(t)) //nolint:gosec // escaped
}

// Some of what is kept in English is other people's: maxWithin is how deep a text is
// looked for in another, maxSaid how many bytes one may have.
const (
	maxWithin = 4
	maxSaid   = 2048
)

// said finds a text among the patterns of a scope, and what is in its places
// wherever it may stand. A pattern without words of its own knows as much as
// what is in its first place.
func (l *Locale) said(scope, s string, within int) (t string, known bool) {
	if l == Locales[0] {
		return s, true
	}
	if within > maxWithin || len(s) > maxSaid {
		return s, false
	}
	for _, p := range patterns()[scope] {
		m := p.is.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		known = p.words
		args := make([]any, len(m)-1)
		for i, part := range m[1:] {
			text, ok := l.said(saidPrefix, part, within+1)
			args[i], known = l.local(text), known || i == 0 && ok
		}
		return l.T(p.key, args...), known
	}
	return s, false
}

// sizeText is a size as programs write it.
var sizeText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ([KMGTP]?i?)B$`)

// local writes a date, a time or a size as people write it; other text stays.
func (l *Locale) local(s string) string {
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return l.Day(at)
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return l.When(at.Local())
	}
	if m := sizeText.FindStringSubmatch(s); m != nil {
		byteUnit, _, _ := strings.Cut(l.texts()["size.units"].Other, " ")
		point := strings.Trim(l.numbers.Sprintf("%.1f", 0.5), "05")
		return strings.Replace(m[1], ".", point, 1) + "\u00a0" + m[2] + byteUnit
	}
	return s
}

// Help says what a setting means; in English as it stands in the file.
func (l *Locale) Help(key, english string) string {
	return cmp.Or(l.texts()[helpPrefix+key].Other, english)
}

// word gives the text of a code whose keys begin with a prefix: the code itself
// where there is none.
func (l *Locale) word(prefix string) func(code string) string {
	return func(code string) string { return cmp.Or(l.texts()[prefix+code].Other, code) }
}

// Act is an act of the audit in words.
type Act struct{ Code, Words string }

// Acts lists the acts of the audit by their codes.
func (l *Locale) Acts() []Act {
	var out []Act
	for _, key := range slices.Sorted(maps.Keys(l.texts())) {
		if code, ok := strings.CutPrefix(key, actPrefix); ok {
			out = append(out, Act{code, l.texts()[key].Other})
		}
	}
	return out
}
