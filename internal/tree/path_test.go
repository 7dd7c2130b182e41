package tree

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestClean(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing is the root", "", ""},
		{"a slash is the root", "/", ""},
		{"a slash at each end of nothing is the root", "//", ""},
		{"a slash at either end is trimmed", "/a/b/", "a/b"},
		{"any script is fine", "日本/é/🎉", "日本/é/🎉"},
		{"names become normal form C", "cafe\u0301", "café"},
		{"dots in a name are letters", "...", "..."},
		{"a leading dot is a letter", ".hidden/..x", ".hidden/..x"},
		{"spaces around a name are kept", " a ", " a "},
		{"a name may have 255 bytes", strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{"the bound counts normal form C", strings.Repeat("e\u0301", 100), strings.Repeat("é", 100)},
		{"a path may be 100 deep", strings.Repeat("x/", 99) + "x", strings.Repeat("x/", 99) + "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Clean(c.in); got != c.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestCleanRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, reason string }{
		{"the folder above", "..", "stands for a folder"},
		{"the folder above inside a path", "a/../../etc/passwd", "stands for a folder"},
		{"the folder itself", "a/./b", "stands for a folder"},
		{"an empty element", "a//b", "is empty"},
		{"two slashes in front", "//a", "is empty"},
		{"NUL", "a\x00b", "control characters"},
		{"a line break", "a\nb", "control characters"},
		{"a C1 control", "a\u0085b", "control characters"},
		{"DEL", "a\x7f", "control characters"},
		{"bytes that are not UTF-8", "a\xffb", "not valid UTF-8"},
		{"a half of a surrogate pair", "\xed\xa0\x80", "not valid UTF-8"},
		{"nothing but spaces", "a/  /b", "nothing but spaces"},
		{"nothing but spaces of other kinds", "\u00a0\u3000", "nothing but spaces"},
		{"an element of 256 bytes", strings.Repeat("x", 256), "more than 255 bytes"},
		{"an element of 256 bytes in few letters", strings.Repeat("é", 128), "more than 255 bytes"},
		{"101 folders", strings.Repeat("x/", 100) + "x", "More than 100 folders"},
		{"4097 bytes", strings.Repeat(strings.Repeat("x", 200)+"/", 20) + strings.Repeat("x", 77), "more than 4096 bytes"},
		{"a megabyte", strings.Repeat("e\u0301", 1<<19), "more than 4096 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Clean(c.in)
			if !errors.Is(err, ErrName) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "/", "a/b", "..", "a/../b", "a//b", "\x00", "\xff", "cafe\u0301", " ", strings.Repeat("\u0301", 64), strings.Repeat("x/", 101), "\u1100\u1161\u11a8", "a\u0338=\u0338"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := Clean(s)
		if err != nil {
			if !errors.Is(err, ErrName) || name != "" {
				t.Fatalf("%q, %v", name, err)
			}
			return
		}
		if again, err := Clean(name); again != name || err != nil {
			t.Fatalf("%q becomes %q, %v", name, again, err)
		}
		if len(name) > MaxPath || depth(name) > MaxDepth || !utf8.ValidString(name) || !norm.NFC.IsNormalString(name) {
			t.Fatalf("%q breaks a bound", name)
		}
		if name == "" {
			return
		}
		for _, element := range strings.Split(name, "/") {
			if !proper(element) || len(element) > MaxElement {
				t.Fatalf("%q holds %q", name, element)
			}
		}
		if got := Join(Dir(name), Base(name)); got != name {
			t.Fatalf("%q falls into %q and %q", name, Dir(name), Base(name))
		}
		if !Below(name, Dir(name)) || !Within(name, name) || Below(name, name) {
			t.Fatalf("%q is not where it is", name)
		}
	})
}

func TestRightsAreThePermissionsOfOCM(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want Rights
		out  []string
	}{
		{nil, 0, []string{}},
		{[]string{"read"}, Read, []string{"read"}},
		{[]string{"share", "write", "read"}, All, []string{"read", "write", "share"}},
		{[]string{"write", "write", "delete", "READ"}, Write, []string{"write"}},
	} {
		r := ParseRights(c.in)
		if out := r.Permissions(); r != c.want || !slices.Equal(out, c.out) || out == nil {
			t.Errorf("%q gives %b, %q", c.in, r, out)
		}
	}
	if !All.Has(Read|Share) || Read.Has(Read|Write) {
		t.Error("Has wants all of them")
	}
}

func TestCondition(t *testing.T) {
	const strong, weak = `"abc"`, `W/"abc"`
	for _, c := range []struct {
		name   string
		c      Condition
		etag   string // "" when nothing is there
		passes bool
	}{
		{"no condition passes", Condition{}, strong, true},
		{"no condition passes where nothing is", Condition{}, "", true},
		{"If-Match passes on the same tag", Condition{Match: `"abc"`}, strong, true},
		{"If-Match passes on one of a list", Condition{Match: `"x,y" , "abc"`}, strong, true},
		{"If-Match fails on another tag", Condition{Match: `"abd"`}, strong, false},
		{"If-Match fails where nothing is", Condition{Match: `"abc"`}, "", false},
		{"If-Match * passes on anything", Condition{Match: " * "}, strong, true},
		{"If-Match * fails where nothing is", Condition{Match: "*"}, "", false},
		{"If-Match compares strongly: a weak tag sent fails", Condition{Match: weak}, strong, false},
		{"If-Match compares strongly: two weak tags fail", Condition{Match: weak}, weak, false},
		{"If-Match takes a tag without quotes", Condition{Match: "abc"}, strong, true},
		{"If-Match fails on a broken list", Condition{Match: `"abc`}, strong, false},
		{"If-Match fails on an empty list", Condition{Match: ","}, strong, false},
		{"If-None-Match fails on the same tag", Condition{NoneMatch: `"x", "abc"`}, strong, false},
		{"If-None-Match passes on another", Condition{NoneMatch: `"abd"`}, strong, true},
		{"If-None-Match passes where nothing is", Condition{NoneMatch: `"abc"`}, "", true},
		{"If-None-Match * fails on anything", Condition{NoneMatch: "*"}, strong, false},
		{"If-None-Match * passes where nothing is", Condition{NoneMatch: "*"}, "", true},
		{"If-None-Match compares weakly: a weak tag sent", Condition{NoneMatch: weak}, strong, false},
		{"If-None-Match compares weakly: a weak tag here", Condition{NoneMatch: strong}, weak, false},
		{"both must hold", Condition{Match: strong, NoneMatch: strong}, strong, false},
		{"a comma in a tag does not divide it", Condition{Match: `"a,b"`}, `"a,b"`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.c.Check(Info{ETag: c.etag}, c.etag != "")
			if (err == nil) != c.passes || err != nil && !errors.Is(err, ErrPrecondition) {
				t.Error(err)
			}
		})
	}
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"", "*", `"a"`, `W/"a", "b"`, `"a`, "a,b", `W/`, `,,"x,y"`, `""`} {
		f.Add(s, `"a"`)
	}
	f.Fuzz(func(t *testing.T, list, etag string) {
		info := Info{ETag: etag}
		match, none := Condition{Match: list}.Check(info, true), Condition{NoneMatch: list}.Check(info, true)
		if list != "" && match == nil && none == nil && etag != "" && !strings.HasPrefix(etag, "W/") {
			t.Fatalf("%q both holds %q and does not", list, etag)
		}
	})
}
