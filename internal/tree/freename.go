package tree

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// FreeName is name, or when something has it already the first of "name (2)",
// "name (3)" … that is free. The ending stays: "report (2).pdf".
func FreeName(ctx context.Context, t Tree, name string, folder bool) (string, error) {
	ending := ""
	if !folder {
		ending = path.Ext(Base(name))
		if ending == Base(name) || len(ending) > 16 { // ".profile" has no ending
			ending = ""
		}
	}
	stem := strings.TrimSuffix(Base(name), ending)
	for i := 1; i <= 1000; i++ {
		free := name
		if i > 1 {
			mark := fmt.Sprintf(" (%d)", i)
			free = Join(Dir(name), clip(stem, MaxElement-len(mark)-len(ending))+mark+ending)
		}
		_, err := t.Stat(ctx, free)
		if errors.Is(err, ErrNotFound) {
			return free, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", ErrExists
}

// clip shortens a text to n bytes, not in the middle of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
