package seal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenMakesTheKeyOnceAndGuardsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed := first.Seal([]byte("a sharedSecret"), "share/1")
	second, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := second.Open(sealed, "share/1")
	if err != nil || string(plain) != "a sharedSecret" {
		t.Fatalf("opened %q, %v", plain, err)
	}
	if bytes.Contains(sealed, []byte("sharedSecret")) {
		t.Error("the sealed form shows the secret")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key file others can read gives %v, want the command that mends it", err)
	}
}

func TestWhatIsSealedOpensOnlyAsItWas(t *testing.T) {
	box, err := New(make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(bytes.Repeat([]byte{1}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed := box.Seal([]byte("x"), "a")
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"in another context":   func() ([]byte, error) { return box.Open(sealed, "b") },
		"with another key":     func() ([]byte, error) { return other.Open(sealed, "a") },
		"when a bit is turned": func() ([]byte, error) { return box.Open(damaged, "a") },
		"when cut short":       func() ([]byte, error) { return box.Open(sealed[:5], "a") },
		"when empty":           func() ([]byte, error) { return box.Open(nil, "a") },
		"of another version":   func() ([]byte, error) { return box.Open(append([]byte{9}, sealed[1:]...), "a") },
	} {
		if got, err := open(); err != ErrDamaged {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestParseNamesTheMistake(t *testing.T) {
	for _, key := range []string{"", "short", "AAAA", "not base64!"} {
		if _, err := Parse(key); err == nil {
			t.Errorf("Parse(%q) takes it", key)
		}
	}
}
