package server_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"strings"
	"testing"
)

func photo(t *testing.T, w, h int, c color.Color) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.Set(i%w, i/w, c)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestThumbnailsOfOwnAndReceivedImages(t *testing.T) {
	t.Parallel()
	alice, bob := two(t)
	alice.Put("Reef/ä fish.jpg", photo(t, 600, 300, color.RGBA{200, 0, 0, 255}))
	alice.Put("Reef/text.jpg", "<script>alert(1)</script>")
	alice.Put("Reef/page.html", "<script>alert(1)</script>")
	alice.Share("Reef", bob.Address, "read")
	bob.Accept("Reef")

	own := "/api/v1/thumbnails/Reef/%C3%A4%20fish.jpg"
	a := alice.Do("GET", own+"?size=100", "")
	want(t, "her own", a, 200)
	c, _, err := image.DecodeConfig(strings.NewReader(a.Body))
	if err != nil || c.Width != 128 || c.Height != 64 || a.Header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("%v, %v, %v", c, a.Header, err)
	}
	if a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "sandbox") || a.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("header: %v", a.Header)
	}
	want(t, "asked again", alice.Do("GET", own+"?size=100", "", "If-None-Match", a.Header.Get("ETag")), 304)
	if a := alice.Do("GET", own+"?v=1", ""); !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("with a version: %v", a.Header)
	}
	alice.Put("Reef/ä fish.jpg", photo(t, 300, 600, color.RGBA{0, 0, 200, 255}))
	b := alice.Do("GET", own+"?size=100", "", "If-None-Match", a.Header.Get("ETag"))
	want(t, "another content", b, 200)
	want(t, "received", bob.Do("GET", "/api/v1/thumbnails/Shared%20with%20me/Reef/%C3%A4%20fish.jpg", ""), 200)
	for _, path := range []string{"Reef/text.jpg", "Reef/page.html", "Reef"} {
		if a := alice.Do("GET", "/api/v1/thumbnails/"+path, ""); a.Status != 404 || a.Code() != "NO_THUMBNAIL" {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	want(t, "what is not there", alice.Do("GET", "/api/v1/thumbnails/nowhere.jpg", ""), 404)
	want(t, "what leads elsewhere", alice.Do("GET", "/api/v1/thumbnails/a%2F..%2Fb.jpg", ""), 400)
	want(t, "of no size", alice.Do("GET", own+"?size=-1", ""), 400)
}
