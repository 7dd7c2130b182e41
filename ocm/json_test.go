package ocm

import (
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	nested := func(open, close string, n int) string {
		return strings.Repeat(open, n) + "1" + strings.Repeat(close, n)
	}
	for _, c := range []struct {
		rule, in string
		want     Code // "": taken
	}{
		{"an object is taken", `{"a":{"b":[1,"a",null,{"a":true}]},"b":{"b":"b"}}`, ""},
		{"a bare value is taken", ` "x" `, ""},
		{"nesting as deep as allowed is taken", nested("[", "]", MaxDepth), ""},
		{"the same name in different objects is taken", `[{"a":1},{"a":{"a":2}}]`, ""},
		{"a name that is also a value is taken", `{"a":"b","b":"a","c":["a","a"]}`, ""},
		{"a whole surrogate pair is taken", `"\ud83d\ude00 \\ud83d"`, ""},
		{"nothing is refused", ``, CodeInvalidJSON},
		{"white space alone is refused", " \n", CodeInvalidJSON},
		{"one level more is refused", nested("[", "]", MaxDepth+1), CodeInvalidJSON},
		{"one object more is refused", nested(`{"a":`, "}", MaxDepth+1), CodeInvalidJSON},
		{"ten thousand levels are refused", strings.Repeat("[", 10_000), CodeInvalidJSON},
		{"a name given twice is refused", `{"a":1,"b":{},"a":2}`, CodeInvalidJSON},
		{"a name given twice in another spelling is refused", `{"a":1,"\u0061":2}`, CodeInvalidJSON},
		{"a name given twice deep inside is refused", `{"x":[{"y":{"a":[],"a":[]}}]}`, CodeInvalidJSON},
		{"a name given twice after an inner object is refused", `{"a":{"z":1},"a":1}`, CodeInvalidJSON},
		{"a second value is refused", `{} {}`, CodeInvalidJSON},
		{"rubbish behind is refused", `{}x`, CodeInvalidJSON},
		{"a missing bracket is refused", `{"a":[1}`, CodeInvalidJSON},
		{"a comma too many is refused", `{"a":1,}`, CodeInvalidJSON},
		{"a name without a value is refused", `{"a"}`, CodeInvalidJSON},
		{"NUL behind is refused", "{}\x00", CodeInvalidJSON},
		{"a byte order mark is refused", "\ufeff{}", CodeInvalidJSON},
		{"bytes that are not UTF-8 are refused", "\"\xff\"", CodeInvalidJSON},
		{"a first half of a pair is refused", `"\ud83d"`, CodeInvalidJSON},
		{"a second half of a pair is refused", `"\ude00"`, CodeInvalidJSON},
		{"two first halves are refused", `"\ud83d\ud83d"`, CodeInvalidJSON},
		{"a half before another escape is refused", `"\ud83d\n12345"`, CodeInvalidJSON},
		{"a body larger than allowed is refused", `"` + strings.Repeat("a", MaxBody) + `"`, CodeTooLarge},
	} {
		t.Run(c.rule, func(t *testing.T) {
			err := CheckJSON([]byte(c.in), MaxDepth)
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			mustRefuse(t, err)
			if e := err.(*Error); e.Code != c.want {
				t.Errorf("got %s, want %s", e.Code, c.want)
			}
		})
	}
}
