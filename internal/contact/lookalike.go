package contact

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/weft-mesh/weft/ocm"
)

// alikes are letters of other scripts that look like Latin ones in most fonts.
var alikes = map[rune]rune{
	'а': 'a', 'е': 'e', 'о': 'o', 'р': 'p', 'с': 'c', 'у': 'y', 'х': 'x', 'і': 'i', 'ј': 'j', 'ѕ': 's', 'ԁ': 'd', 'ԛ': 'q', 'ԝ': 'w',
	'һ': 'h', 'ӏ': 'l', 'к': 'k', 'м': 'm', 'т': 't', 'в': 'b', 'н': 'h', 'г': 'r', 'п': 'n', 'ь': 'b',
	'α': 'a', 'ο': 'o', 'ν': 'v', 'ι': 'i', 'κ': 'k', 'ρ': 'p', 'τ': 't', 'υ': 'u', 'χ': 'x', 'ε': 'e', 'η': 'n', 'ω': 'w',
	'ı': 'i', 'ɡ': 'g', 'ɑ': 'a',
}

// lookalike says what is suspicious about a host's name: international names
// whose letters could be taken for others. "" when nothing is.
func lookalike(host ocm.Host) string {
	name := host.Name()
	if !strings.Contains(name, "xn--") {
		return ""
	}
	shown, err := idna.Punycode.ToUnicode(name)
	odd := func(c rune) bool {
		return !(unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c) || c == '-' || c == '.')
	}
	if err != nil || strings.ContainsFunc(shown, odd) {
		return fmt.Sprintf("%s is not a valid international name", name)
	}
	for _, label := range strings.Split(shown, ".") {
		if scripts(label) > 1 {
			return fmt.Sprintf("%s is written %s and mixes letters of several scripts; make sure that it is the server you mean", name, shown)
		}
	}
	if s := skeleton(shown); s != shown {
		return fmt.Sprintf("%s is written %s, which looks like %s but is another server", name, shown, s)
	}
	return ""
}

// scripts counts the scripts of a label's letters; those of Japanese and Korean
// writing count as one.
func scripts(label string) int {
	seen := map[string]bool{}
	for _, c := range label {
		if !unicode.IsLetter(c) {
			continue
		}
		switch {
		case unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo):
			seen["east asian"] = true
		case unicode.Is(unicode.Latin, c):
			seen["latin"] = true
		case unicode.Is(unicode.Cyrillic, c):
			seen["cyrillic"] = true
		case unicode.Is(unicode.Greek, c):
			seen["greek"] = true
		default:
			seen["other"] = true
		}
	}
	return len(seen)
}

// skeleton writes a name with the Latin letters it could be taken for, if it
// could be taken for a Latin name altogether; else it stays as it is.
func skeleton(name string) string {
	var b strings.Builder
	for _, c := range name {
		if alike, ok := alikes[c]; ok {
			c = alike
		}
		if c > unicode.MaxASCII {
			return name
		}
		b.WriteRune(c)
	}
	return b.String()
}
