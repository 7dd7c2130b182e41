package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	uploads "github.com/weft-mesh/weft/internal/upload"
	"github.com/weft-mesh/weft/internal/weftest"
)

// begin begins an upload; header holds pairs.
func begin(p *weftest.Person, path string, length int, header ...string) weftest.Answer {
	p.T.Helper()
	path, query, _ := strings.Cut(path, "?")
	return p.Do("POST", "/api/v1/uploads?path="+url.QueryEscape(path)+"&"+query, "",
		append([]string{"Upload-Length", fmt.Sprint(length), "Upload-Complete", "?0"}, header...)...)
}

// add adds a piece.
func add(p *weftest.Person, location string, offset int, complete, body string) weftest.Answer {
	p.T.Helper()
	return p.Do("PATCH", location, body, "Content-Type", "application/partial-upload",
		"Upload-Offset", fmt.Sprint(offset), "Upload-Complete", complete)
}

func offset(p *weftest.Person, location string) string {
	p.T.Helper()
	a := p.Do("HEAD", location, "")
	if a.Status != 204 {
		p.T.Fatalf("HEAD %s: %d", location, a.Status)
	}
	return a.Header.Get("Upload-Offset") + " " + a.Header.Get("Upload-Complete")
}

// staged counts the files of uploads on the disk.
func staged(p *weftest.Person) int {
	entries, _ := os.ReadDir(p.Config.StagingPath())
	return len(entries)
}

func TestAnUploadGoesOnAfterARestartIntoAReceivedShare(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/a", "a")
	alice.Share("Reef", bob.Address, "read", "write")
	bob.Accept("Reef")
	for _, path := range []string{"own.bin", "Shared with me/Reef/for Alice.bin"} {
		a := begin(bob, path+"?modified=1700000000000", 10)
		want(t, "begin "+path, a, 201)
		location := a.Header.Get("Location")
		a = add(bob, location, 0, "?0", "01234")
		want(t, "a piece", a, 204)
		if a.Header.Get("Upload-Offset") != "5" || a.Header.Get("Upload-Complete") != "?0" {
			t.Errorf("after a piece: %v", a.Header)
		}
		bob.Stop()
		bob.Restart()
		if got := offset(bob, location); got != "5 ?0" {
			t.Errorf("after the restart: %s", got)
		}
		a = add(bob, location, 5, "?1", "56789")
		want(t, "the last piece", a, 200)
		if !strings.Contains(a.Body, `"size":10`) {
			t.Errorf("the file is described as %s", a.Body)
		}
		if got := bob.Get(path); got != "0123456789" {
			t.Errorf("%s holds %q", path, got)
		}
		if got := offset(bob, location); got != "10 ?1" {
			t.Errorf("asked once more: %s", got)
		}
		want(t, "a piece too many", add(bob, location, 10, "?1", ""), 409)
	}
	if got := alice.Get("Reef/for Alice.bin"); got != "0123456789" {
		t.Errorf("Alice reads %q", got)
	}
	if a := bob.DAV("HEAD", "own.bin", ""); a.Header.Get("Last-Modified") != "Tue, 14 Nov 2023 22:13:20 GMT" {
		t.Errorf("the file's time is %s", a.Header.Get("Last-Modified"))
	}
	if n := staged(bob); n != 0 {
		t.Errorf("%d files are still staged", n)
	}
}

func TestAnUploadThatBreaksKeepsWhatCame(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	location := begin(alice, "big", 1_000_000).Header.Get("Location")
	raw := func() net.Conn {
		conn, err := net.Dial("tcp", string(alice.Host)[len("localhost"):])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	send := func(conn net.Conn, from int, body string) {
		fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/partial-upload\r\n"+
			"Upload-Offset: %d\r\nUpload-Complete: ?1\r\nContent-Length: %d\r\n\r\n%s", location, alice.Host, alice.Secret.Reveal(), from, 1_000_000-from, body)
	}
	size := func() int64 {
		fi, err := os.Stat(alice.Config.StagingPath() + "/" + location[strings.LastIndexByte(location, '/')+1:])
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	// A client that is gone.
	conn := raw()
	send(conn, 0, strings.Repeat("a", 300_000))
	weftest.Until(t, "the first bytes are there", func() bool { return size() == 300_000 })
	conn.Close()
	// One whose connection hangs: the next request is refused, and asking for
	// the offset cuts it.
	var hangs net.Conn
	weftest.Until(t, "the upload is free again", func() bool {
		return add(alice, location, 1, "?0", "").Code() == "UPLOAD_OFFSET_MISMATCH"
	})
	hangs = raw()
	send(hangs, 300_000, strings.Repeat("b", 100_000))
	weftest.Until(t, "more bytes are there", func() bool { return size() == 400_000 })
	if a := add(alice, location, 400_000, "?1", "x"); a.Code() != "UPLOAD_BUSY" || a.Status != 409 {
		t.Errorf("a second request at once: %d %s", a.Status, a.Body)
	}
	if got := offset(alice, location); got != "400000 ?0" {
		t.Errorf("the offset is %s", got)
	}
	resp, err := http.ReadResponse(bufio.NewReader(hangs), nil)
	if err != nil || resp.StatusCode != 409 {
		t.Errorf("the request that was cut: %v, %v", resp, err)
	}
	want(t, "the rest", add(alice, location, 400_000, "?1", strings.Repeat("c", 600_000)), 200)
	if got := alice.Get("big"); got != strings.Repeat("a", 300_000)+strings.Repeat("b", 100_000)+strings.Repeat("c", 600_000) {
		t.Errorf("the file has %d bytes, not those sent", len(got))
	}
}

func TestUploadsInOneRequest(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	a := alice.Do("POST", "/api/v1/uploads?path=one", "whole", "Upload-Complete", "?1")
	want(t, "all in one", a, 201)
	if a.Header.Get("Upload-Complete") != "?1" || alice.Get("one") != "whole" {
		t.Errorf("all in one: %v", a.Header)
	}
	a = alice.Do("POST", "/api/v1/uploads?path=two", "be", "Upload-Complete", "?0", "Upload-Length", "5")
	want(t, "a first piece", a, 201)
	want(t, "the second", add(alice, a.Header.Get("Location"), 2, "?1", "gun"), 200)
	if got := alice.Get("two"); got != "begun" {
		t.Errorf("in two pieces: %q", got)
	}
	a = alice.Do("POST", "/api/v1/uploads?path=empty", "", "Upload-Complete", "?1", "Upload-Length", "0")
	if want(t, "an empty file", a, 201); alice.Get("empty") != "" {
		t.Error("the empty file is not empty")
	}
}

func TestUploadsThatCannotSucceedAreRefused(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/a", "a")
	alice.Share("Reef", bob.Address, "read")
	bob.Accept("Reef")
	bob.Put("taken", "old")
	bob.Put("folder/x", "x")
	if err := bob.Server.Accounts.SetQuota(t.Context(), bob.User.ID, 1000); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what   string
		a      weftest.Answer
		status int
		code   string
	}{
		{"a name that is taken", begin(bob, "taken", 3), 409, "ALREADY_EXISTS"},
		{"another version than is there", begin(bob, "taken", 3, "If-Match", `"x"`), 412, "PRECONDITION_FAILED"},
		{"onto a folder", begin(bob, "folder?overwrite=true", 3), 409, "IS_A_FOLDER"},
		{"into nothing", begin(bob, "nowhere/x", 3), 409, "PARENT_MISSING"},
		{"without the right", begin(bob, "Shared with me/Reef/x", 3), 403, "FORBIDDEN"},
		{"among the shares", begin(bob, "Shared with me/x", 3), 403, "FORBIDDEN"},
		{"beyond the quota", begin(bob, "large", 1001), 507, "QUOTA_EXCEEDED"},
		{"out of the home", begin(bob, "../x", 3), 400, "NAME_INVALID"},
		{"of no length", begin(bob, "x", -5), 400, "INVALID_PAYLOAD"},
		{"of an odd length", begin(bob, "x", 3, "Upload-Length", "ten"), 400, "INVALID_PAYLOAD"},
		{"of another site", begin(bob, "x", 3, "Sec-Fetch-Site", "cross-site"), 403, "CROSS_ORIGIN"},
	} {
		if tt.a.Status != tt.status || tt.a.Code() != tt.code {
			t.Errorf("%s: %d %s", tt.what, tt.a.Status, tt.a.Body)
		}
	}
	var list []struct{ ID string }
	if bob.API("GET", "/uploads", nil, &list); len(list) != 0 || staged(bob) != 0 {
		t.Errorf("refusals left %v, %d files", list, staged(bob))
	}

	location := begin(bob, "new", 3).Header.Get("Location")
	want(t, "another person asks", bob.Site.Person("eve").Do("HEAD", location, ""), 404)
	want(t, "a piece of another type", bob.Do("PATCH", location, "x", "Upload-Offset", "0", "Upload-Complete", "?0"), 415)
	want(t, "too little", add(bob, location, 0, "?1", "ab"), 400)
	want(t, "the wrong offset", add(bob, location, 0, "?1", "abc"), 409)
	if a := add(bob, location, 2, "?1", "cd"); a.Code() != "UPLOAD_TOO_LONG" {
		t.Errorf("too much: %d %s", a.Status, a.Body)
	}
	want(t, "the file before its time", bob.DAV("GET", "new", ""), 404)
	bob.Put("new", "someone was quicker")
	if a := add(bob, location, 3, "?1", ""); a.Code() != "ALREADY_EXISTS" {
		t.Errorf("a name taken meanwhile: %d %s", a.Status, a.Body)
	}
	want(t, "replaced all the same", bob.Do("PATCH", location+"?overwrite=true", "", "Content-Type", "application/partial-upload",
		"Upload-Offset", "3", "Upload-Complete", "?1"), 200)
	if got := bob.Get("new"); got != "abc" {
		t.Errorf("replaced by %q", got)
	}
}

func TestUploadsAreBoundedAndEnd(t *testing.T) {
	t.Parallel()
	alice := weftest.Start(t).Person("alice")
	var locations []string
	for i := range uploads.MaxOpen {
		a := begin(alice, fmt.Sprint("f", i), 10)
		want(t, "begin", a, 201)
		locations = append(locations, a.Header.Get("Location"))
	}
	want(t, "one too many", begin(alice, "more", 10), 429)
	want(t, "a piece", add(alice, locations[0], 0, "?0", "x"), 204)
	want(t, "a piece", add(alice, locations[1], 0, "?0", "x"), 204)
	want(t, "cancel", alice.Do("DELETE", locations[0], ""), 204)
	want(t, "a cancelled one", alice.Do("HEAD", locations[0], ""), 404)
	if n := staged(alice); n != 1 {
		t.Errorf("%d files are staged, want 1", n)
	}
	alice.Advance(uploads.MaxAge + time.Minute)
	if err := alice.Server.Uploads.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "an old one", alice.Do("HEAD", locations[1], ""), 404)
	if n := staged(alice); n != 0 {
		t.Errorf("%d files are staged after the sweep", n)
	}
}
