package browsertest

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"github.com/weft-mesh/weft/internal/weftest"
)

func TestPagesOfFiles(t *testing.T) {
	chrome(t)
	north, south := weftest.Start(t), weftest.Start(t)
	alice, bob := north.Person("alice"), south.Person("bob")
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 90, 60))); err != nil {
		t.Fatal(err)
	}
	alice.Put("Reef/Photos/coral.png", picture.String())
	alice.Put("Reef/coral.png", picture.String())
	alice.Put("Reef/Notes.md", "# Notes\n\n- [x] Count\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n[site](https://example.org) ![coral](coral.png)\n\n```\ncode\n```\n")
	alice.Put("Reef/a text with a name that goes on and on and does not come to an end soon, as names of reports do.txt", "line\n")
	alice.Put("Reef/raw.bin", "\x00\x01")
	alice.Put("gone.txt", "x")
	alice.DAV("DELETE", "gone.txt", "")
	alice.Share("Reef", bob.Address, "read", "write")
	bob.Put("Field notes/x.txt", "x")
	bob.Share("Field notes", alice.Address, "read", "write")
	alice.Accept("Field notes")
	b := open(t, north.Origin)
	b.signIn(alice)
	b.inspectEach(
		"/files/", "/files/Reef", "/files/Shared%20with%20me", "/files/Shared%20with%20me/Field%20notes", "/files/Reef/Notes.md", "/files/Reef/Notes.md?source",
		"/files/Reef/coral.png", "/files/Reef/raw.bin", "/rename?path=Reef", "/folder?in=Reef", "/move?path=Reef%2Fraw.bin&to=", "/trash", "/search?q=e", "/search?q=nothing",
	)
	south.Stop()
	north.Advance(60_000_000_000)
	b.inspect("/files/Shared%20with%20me/Field%20notes")
	b.quiet()
}
