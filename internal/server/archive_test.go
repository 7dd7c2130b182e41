package server_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/weftest"
)

func archiveURL(paths ...string) string {
	return "/api/v1/archive?" + url.Values{"path": paths}.Encode()
}

// unzip reads an archive: what each entry holds, by name.
func unzip(t *testing.T, a weftest.Answer) (names []string, content map[string]string) {
	t.Helper()
	want(t, "the archive", a, 200)
	z, err := zip.NewReader(strings.NewReader(a.Body), int64(len(a.Body)))
	if err != nil {
		t.Fatal(err)
	}
	content = map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names, content[f.Name] = append(names, f.Name), string(b)
	}
	slices.Sort(names)
	return names, content
}

func TestFoldersAreDownloadedAsZIP(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	big := strings.Repeat("0123456789", 100_000)
	alice.Put("Reef/deep/er/ü.txt", "umlaut")
	alice.Put(`Reef/..\..\evil: C`, "no way out")
	alice.Put("Reef/big", big)
	alice.Put("other/Reef", "of the same name")
	alice.Share("Reef", bob.Address, "read")
	bob.Accept("Reef")

	inside := []string{"Reef/", "Reef/..%5C..%5Cevil%3A C", "Reef/big", "Reef/deep/", "Reef/deep/er/", "Reef/deep/er/ü.txt"}
	a := alice.Do("GET", archiveURL("Reef"), "")
	names, content := unzip(t, a)
	if !slices.Equal(names, inside) || content["Reef/big"] != big || content["Reef/deep/er/ü.txt"] != "umlaut" {
		t.Errorf("the folder: %q", names)
	}
	if got := a.Header.Get("Content-Disposition"); got != "attachment; filename=Reef.zip" {
		t.Errorf("Content-Disposition: %s", got)
	}
	names, content = unzip(t, alice.Do("GET", archiveURL("Reef/big", "other/Reef", "Reef/deep"), ""))
	if !slices.Equal(names, []string{"Reef", "big", "deep/", "deep/er/", "deep/er/ü.txt"}) || content["Reef"] != "of the same name" {
		t.Errorf("several things: %q", names)
	}
	names, _ = unzip(t, alice.Do("GET", archiveURL("Reef", "other/Reef"), ""))
	if !slices.Contains(names, "Reef (2)") {
		t.Errorf("two of one name: %q", names)
	}
	names, content = unzip(t, bob.Do("GET", archiveURL("Shared with me/Reef"), ""))
	if !slices.Equal(names, inside) || content["Reef/big"] != big {
		t.Errorf("what was received: %q", names)
	}
	want(t, "what is not there", alice.Do("GET", archiveURL("nowhere"), ""), 404)
	want(t, "nothing", alice.Do("GET", archiveURL(), ""), 400)

	// The server is gone between two looks: what was sent must not pass for all.
	bob.DAV("PROPFIND", "Shared with me/Reef", "", "Depth", "1")
	alice.Stop()
	req, err := http.NewRequest("GET", bob.Origin+archiveURL("Shared with me/Reef"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bob.Secret.Reveal())
	if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == 200 {
			t.Errorf("a fault in the middle gives a whole answer of %d bytes", len(b))
		}
	}
	bob.Advance(time.Minute) // what was known of the share is old
	if a := bob.Do("GET", archiveURL("Shared with me/Reef"), ""); a.Status != 503 || a.Code() != "PEER_UNAVAILABLE" {
		t.Errorf("a share that cannot be reached: %d %s", a.Status, a.Body)
	}
	if a := bob.Do("GET", archiveURL(""), ""); a.Status != 503 {
		t.Errorf("all files, with a share that cannot be reached: %d", a.Status)
	}
}

func TestDownloadsOfFoldersAreBounded(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	noise := make([]byte, 32<<20) // more than the sockets hold
	for i := range noise {
		noise[i] = byte(i * i >> 7 * i)
	}
	alice.Put("d/a", string(noise))
	var open []*http.Response
	for range 2 {
		req, _ := http.NewRequest("GET", alice.Origin+archiveURL("d"), nil)
		req.Header.Set("Authorization", "Bearer "+alice.Secret.Reveal())
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	want(t, "a third", alice.Do("GET", archiveURL("d"), ""), 429)
	for _, resp := range open {
		resp.Body.Close()
	}
	weftest.Until(t, "another may begin", func() bool {
		return bytes.HasPrefix([]byte(alice.Do("GET", archiveURL("d"), "").Body), []byte("PK"))
	})
}

func TestSearchFindsInWhatWasReceived(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/Résumé/x", "x")
	alice.Share("Reef", bob.Address, "read")
	bob.Accept("Reef")
	bob.Put("my resume.txt", "x")
	var out struct {
		Entries []struct{ Path string }
		Left    []string
	}
	weftest.Until(t, "both are found", func() bool {
		bob.API("GET", "/search?q=RESUME", nil, &out)
		return len(out.Entries) == 2 && len(out.Left) == 0
	})
	if out.Entries[0].Path != "Shared with me/Reef/Résumé" || out.Entries[1].Path != "my resume.txt" {
		t.Errorf("found %+v", out)
	}
	alice.Stop()
	bob.Advance(time.Minute) // what was known of the share is old
	weftest.Until(t, "what cannot be looked through is named", func() bool {
		bob.API("GET", "/search?q=RESUME", nil, &out)
		return slices.Equal(out.Left, []string{"Shared with me/Reef"})
	})
}
