package ocm

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestParseHost(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := label + "." + label + "." + label + "." + strings.Repeat("b", 61)
	for _, c := range []struct{ rule, in, want string }{
		{"a name is taken as it is", "cloud.example.org", "cloud.example.org"},
		{"letters become lower case", "Cloud.EXAMPLE.org", "cloud.example.org"},
		{"a port is kept", "localhost:9201", "localhost:9201"},
		{"the default port is left out", "cloud.example.org:443", "cloud.example.org"},
		{"the last port is 65535", "h:65535", "h:65535"},
		{"an underscore is taken, as in container networks", "weft_a:80", "weft_a:80"},
		{"an international name is taken in its ASCII form", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a part may begin with a digit", "4you.example", "4you.example"},
		{"an IPv4 address is taken", "192.0.2.7:8080", "192.0.2.7:8080"},
		{"an IPv6 address stands in brackets", "[2001:db8::1]", "[2001:db8::1]"},
		{"an IPv6 address has one spelling", "[2001:DB8:0:0:0::1]:444", "[2001:db8::1]:444"},
		{"a name may be 253 bytes long", longest, longest},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got, err := ParseHost(c.in); err != nil || string(got) != c.want {
				t.Errorf("ParseHost(%q) = %q, %v, want %q", c.in, got, err, c.want)
			}
		})
	}
	for _, c := range []struct{ rule, in string }{
		{"nothing is not a host", ""},
		{"a port alone is not a host", ":443"},
		{"a colon needs a port", "cloud.example.org:"},
		{"port 0 is refused", "h:0"},
		{"a port above 65535 is refused", "h:65536"},
		{"a port with a leading zero is refused", "h:0443"},
		{"a signed port is refused", "h:+80"},
		{"a port in words is refused", "h:https"},
		{"a scheme is refused", "https://cloud.example.org"},
		{"a path is refused", "cloud.example.org/ocm"},
		{"a slash at the end is refused", "cloud.example.org/"},
		{"the dot of a full name is refused: one host has one spelling", "cloud.example.org."},
		{"two dots in a row are refused", "cloud..org"},
		{"a hyphen at a part's end is refused", "cloud-.org"},
		{"a space is refused", "cloud example.org"},
		{"a user is refused", "alice@cloud.example.org"},
		{"an escape is refused", "cloud%2eexample"},
		{"NUL is refused", "cloud.example.org\x00"},
		{"letters beyond ASCII are refused", "bücher.example"},
		{"a letter that only looks like ASCII in lower case is refused", "\u212aloud.example"},
		{"a part of 64 bytes is refused", strings.Repeat("a", 64) + ".org"},
		{"a name of 254 bytes is refused", longest + "b"},
		{"an IPv6 address without brackets is refused", "2001:db8::1"},
		{"an IPv6 zone is refused", "[fe80::1%eth0]"},
		{"an IPv4 address in brackets is refused", "[192.0.2.7]"},
		{"an open bracket is refused", "[::1"},
		{"something after the bracket is refused", "[::1]x"},
		{"a short IPv4 address is refused", "127.1"},
		{"a whole number is refused", "2130706433"},
		{"a hexadecimal address is refused", "0x7f000001"},
		{"an octal address is refused", "0177.0.0.1"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got, err := ParseHost(c.in)
			if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusBadRequest || e.Code != CodeAddressInvalid {
				t.Errorf("ParseHost(%q) = %q, %v, want %s", c.in, got, err, CodeAddressInvalid)
			}
		})
	}
}

func TestReadHost(t *testing.T) {
	for _, c := range []struct{ rule, in, want string }{
		{"a scheme is dropped", "https://cloud.example.org", "cloud.example.org"},
		{"a scheme in upper case is dropped", "HTTP://Cloud.example.org:80", "cloud.example.org:80"},
		{"a slash at the end is dropped", "cloud.example.org/", "cloud.example.org"},
		{"a path is dropped", "https://cloud.example.org/index.php/ocm?x=1#y", "cloud.example.org"},
		{"the dot of a full name is dropped", "cloud.example.org.:8443", "cloud.example.org:8443"},
		{"a host of the strict form stays", "[2001:db8::1]:444", "[2001:db8::1]:444"},
		{"a path is dropped behind an IPv6 address", "https://[::1]/ocm", "[::1]"},
		{"another scheme is refused", "ftp://cloud.example.org", ""},
		{"a scheme alone is refused", "https://", ""},
		{"two schemes are refused", "https://https://cloud.example.org", ""},
		{"a user is refused", "https://alice@cloud.example.org", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got, err := ReadHost(c.in); string(got) != c.want || (err == nil) == (c.want == "") {
				t.Errorf("ReadHost(%q) = %q, %v, want %q", c.in, got, err, c.want)
			}
		})
	}
}

func TestHostParts(t *testing.T) {
	for host, want := range map[Host][2]string{
		"cloud.example.org": {"cloud.example.org", ""},
		"localhost:9201":    {"localhost", "9201"},
		"[::1]":             {"::1", ""},
		"[2001:db8::1]:80":  {"2001:db8::1", "80"},
	} {
		if got := [2]string{host.Name(), host.Port()}; got != want {
			t.Errorf("%s has the name and port %q, want %q", host, got, want)
		}
	}
}

func TestAddress(t *testing.T) {
	longest := strings.Repeat("é", 127) + "a"
	for _, c := range []struct{ rule, in, strict, tolerant string }{
		{"an identifier and a host", "alice@cloud.example.org", "alice@cloud.example.org", "alice@cloud.example.org"},
		{"the last @ parts them", "a.b@example.org@cloud.example.org", "a.b@example.org@cloud.example.org", "a.b@example.org@cloud.example.org"},
		{"the identifier keeps its case, the host does not", "Alice@Cloud.Example.org", "Alice@cloud.example.org", "Alice@cloud.example.org"},
		{"the identifier is any text", "日本 名/前?:#@h:1", "日本 名/前?:#@h:1", "日本 名/前?:#@h:1"},
		{"an identifier may be a URL", "https://idp.example/u/1@cloud.example.org", "https://idp.example/u/1@cloud.example.org", "https://idp.example/u/1@cloud.example.org"},
		{"an identifier may be 255 bytes long", longest + "@h", longest + "@h", longest + "@h"},
		{"a scheme before the host is read past, never written", "alice@https://cloud.example.org/", "", "alice@cloud.example.org"},
		{"a path behind the host is read past", "alice@cloud.example.org/index.php", "", "alice@cloud.example.org"},
		{"a repeated host is dropped in reading alone", "id@cloud.example.org@cloud.example.org", "id@cloud.example.org@cloud.example.org", "id@cloud.example.org"},
		{"a repeated host with a scheme is dropped", "id@https://cloud.example.org@cloud.example.org", "id@https://cloud.example.org@cloud.example.org", "id@cloud.example.org"},
		{"a repeated host in other letters is dropped", "id@Cloud.Example.ORG@cloud.example.org", "id@Cloud.Example.ORG@cloud.example.org", "id@cloud.example.org"},
		{"a host repeated twice is dropped", "id@h@h@h", "id@h@h@h", "id@h"},
		{"another host before the last is the identifier's", "id@h:1@h", "id@h:1@h", "id@h:1@h"},
		{"a repeated host alone is an identifier", "@h@h", "@h@h", "@h@h"},
		{"no @ is no address", "alice", "", ""},
		{"no identifier is no address", "@cloud.example.org", "", ""},
		{"no host is no address", "alice@", "", ""},
		{"a line break is refused", "al\nice@h", "", ""},
		{"a C1 control character is refused", "al\u0085ice@h", "", ""},
		{"NUL is refused", "al\x00ice@h", "", ""},
		{"bytes that are not UTF-8 are refused", "al\xffice@h", "", ""},
		{"an identifier of 256 bytes is refused", longest + "b@h", "", ""},
		{"a very long address is refused", strings.Repeat("a@h", 400), "", ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for _, read := range []struct {
				name string
				fn   func(string) (Address, error)
				want string
			}{{"ParseAddress", ParseAddress, c.strict}, {"ReadAddress", ReadAddress, c.tolerant}} {
				got, err := read.fn(c.in)
				if got.String() != read.want || (err == nil) == (read.want == "") {
					t.Errorf("%s(%q) = %q, %v, want %q", read.name, c.in, got, err, read.want)
				}
				if err != nil && !errors.Is(err, NewError(0, CodeAddressInvalid, "")) {
					t.Errorf("%s(%q) fails with %v, want %s", read.name, c.in, err, CodeAddressInvalid)
				}
			}
		})
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"alice@cloud.example.org", "a@b@[::1]:80", "id@https://h@h", "x@https://H:443/p?q", "@", "a@127.1", "a@0x7f.1", "\xff@h", "a@h.@h",
		"https://i/@h/x@y", "a@[::ffff:1.2.3.4]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			mustRefuse(t, err)
		} else if !strings.EqualFold(a.Host.Name(), hostName(s)) && !strings.Contains(s, "[") || !strings.HasPrefix(s, a.Identifier+"@") {
			t.Errorf("ParseAddress(%q) = %q: something was dropped", s, a)
		} else if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("ParseAddress(%q) = %q, which reads as %q, %v", s, a, again, err)
		}
		b, err := ReadAddress(s)
		if err != nil {
			mustRefuse(t, err)
			if a.Host != "" {
				t.Errorf("ReadAddress refuses %q, which ParseAddress takes", s)
			}
			return
		}
		if again, err := ReadAddress(b.String()); err != nil || again != b {
			t.Errorf("ReadAddress(%q) = %q, which reads as %q, %v", s, b, again, err)
		}
		if strict, err := ParseAddress(b.String()); err != nil || strict != b {
			t.Errorf("ReadAddress(%q) = %q, which is not a strict address: %v", s, b, err)
		}
	})
}

// hostName is what stands between the last @ of s and the port.
func hostName(s string) string {
	name, _, _ := strings.Cut(s[strings.LastIndexByte(s, '@')+1:], ":")
	return name
}

// mustRefuse makes sure that an error can be answered to a peer.
func mustRefuse(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code == "" || e.Message == "" || (e.Status < 400 || e.Status > 499) && e.Status != http.StatusNotImplemented {
		t.Fatalf("refused with %#v, want an *Error of 4xx or 501", err)
	}
	if e.Code == CodeInvalidPayload && e.Err == nil && len(e.Fields) == 0 {
		t.Fatalf("refused with %v, without saying which members", err)
	}
}
