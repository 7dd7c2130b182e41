package thumbnail

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/tree"
)

// painted is red on the left and blue on the right half, the upper left corner
// green.
func painted(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{200, 0, 0, 255}
			if x >= w/2 {
				c = color.RGBA{0, 0, 200, 255}
			}
			if x < w/4 && y < h/4 {
				c = color.RGBA{0, 200, 0, 255}
			}
			img.Set(x, y, c)
		}
	}
	return img
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withEXIF puts an orientation, and a thumbnail if there is one, into a JPEG.
func withEXIF(img []byte, orientation uint16, thumb []byte) []byte {
	b := binary.BigEndian
	tiff := []byte("MM\x00\x2a\x00\x00\x00\x08")
	entry := func(tag, kind uint16, value uint32) {
		tiff = b.AppendUint16(tiff, tag)
		tiff = b.AppendUint16(tiff, kind)
		tiff = b.AppendUint32(tiff, 1)
		if kind == 3 {
			value <<= 16
		}
		tiff = b.AppendUint32(tiff, value)
	}
	tiff = b.AppendUint16(tiff, 1)
	entry(0x0112, 3, uint32(orientation))
	if thumb == nil {
		tiff = b.AppendUint32(tiff, 0)
	} else {
		tiff = b.AppendUint32(tiff, uint32(len(tiff)+4))
		tiff = b.AppendUint16(tiff, 2)
		at := len(tiff) + 2*12 + 4
		entry(0x0201, 4, uint32(at))
		entry(0x0202, 4, uint32(len(thumb)))
		tiff = b.AppendUint32(tiff, 0)
		tiff = append(tiff, thumb...)
	}
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, img[:2]...)
	out = append(out, 0xff, 0xe1)
	out = b.AppendUint16(out, uint16(len(segment)+2))
	return append(append(out, segment...), img[2:]...)
}

// aWebP has one pixel.
var aWebP, _ = base64.StdEncoding.DecodeString("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")

func decoded(t *testing.T, b []byte) image.Image {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("the picture cannot be read: %v", err)
	}
	return img
}

// is tells which of painted's colours stands at a place, in tenths of the size.
func is(img image.Image, x, y int) string {
	b := img.Bounds()
	r, g, bl, _ := img.At(b.Min.X+b.Dx()*x/10, b.Min.Y+b.Dy()*y/10).RGBA()
	switch {
	case g > r && g > bl:
		return "green"
	case r > bl:
		return "red"
	}
	return "blue"
}

func TestPicturesOfEveryFormat(t *testing.T) {
	see := image.NewNRGBA(image.Rect(0, 0, 300, 100))
	var anim bytes.Buffer
	frame := image.NewPaletted(image.Rect(0, 0, 400, 200), color.Palette{color.Black, color.White})
	if err := gif.EncodeAll(&anim, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{1, 1}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what     string
		file     []byte
		w, h     int
		wantKind string
	}{
		{"a JPEG", jpegOf(t, painted(800, 400)), 128, 64, "jpeg"},
		{"a very wide one", jpegOf(t, painted(3000, 4)), 128, 1, "jpeg"},
		{"a small one is not made larger", jpegOf(t, painted(50, 40)), 50, 40, "jpeg"},
		{"a PNG", pngOf(t, painted(600, 600)), 128, 128, "jpeg"},
		{"one to see through", pngOf(t, see), 128, 42, "png"},
		{"a GIF", anim.Bytes(), 128, 64, "jpeg"},
		{"a WebP", aWebP, 1, 1, "jpeg"},
	} {
		b, err := picture(bytes.NewReader(tt.file), whole, 128)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		c, kind, err := image.DecodeConfig(bytes.NewReader(b))
		if err != nil || c.Width != tt.w || c.Height != tt.h || kind != tt.wantKind {
			t.Errorf("%s: %dx%d %s, %v", tt.what, c.Width, c.Height, kind, err)
		}
	}
}

func TestPicturesStandUpright(t *testing.T) {
	// Where the green corner of the stored image is when it is shown (EXIF 2.32,
	// tag 0112), and what is opposite.
	for orientation, corner := range map[uint16][2]int{1: {1, 1}, 2: {9, 1}, 3: {9, 9}, 4: {1, 9}, 5: {1, 1}, 6: {9, 1}, 7: {9, 9}, 8: {1, 9}} {
		b, err := picture(bytes.NewReader(withEXIF(jpegOf(t, painted(400, 200)), orientation, nil)), whole, 100)
		if err != nil {
			t.Fatal(err)
		}
		img := decoded(t, b)
		if upright := orientation >= 5; upright != (img.Bounds().Dy() > img.Bounds().Dx()) {
			t.Errorf("orientation %d: %v", orientation, img.Bounds())
		}
		if got := is(img, corner[0], corner[1]); got != "green" {
			t.Errorf("orientation %d: %s where green belongs", orientation, got)
		}
		if got := is(img, 10-corner[0], 10-corner[1]); got != "blue" {
			t.Errorf("orientation %d: %s opposite, want blue", orientation, got)
		}
	}
}

func TestOfTheBeginningTheCamerasPictureIsTaken(t *testing.T) {
	small, content := image.NewRGBA(image.Rect(0, 0, 160, 120)), painted(160, 80) // bars above and below
	for y := 20; y < 100; y++ {
		for x := range 160 {
			small.Set(x, y, content.At(x, y-20))
		}
	}
	for i := 3; i < len(small.Pix); i += 4 {
		small.Pix[i] = 255
	}
	file := withEXIF(jpegOf(t, painted(1600, 800)), 1, jpegOf(t, small))
	begin := file[:len(file)/2]
	b, err := picture(bytes.NewReader(begin), beginning, 512)
	if err != nil {
		t.Fatal(err)
	}
	if img := decoded(t, b); img.Bounds().Dx() != 160 || img.Bounds().Dy() != 80 || is(img, 1, 1) != "green" {
		t.Errorf("without its bars: %v, %s in the corner", img.Bounds(), is(img, 1, 1))
	}
	for what, part := range map[string][]byte{"without one": jpegOf(t, painted(800, 400))[:2000], "of a PNG": pngOf(t, painted(800, 400))[:200], "of a text": []byte("hello"), "of nothing": {}} {
		if _, err := picture(bytes.NewReader(part), beginning, 128); !errors.Is(err, errNone) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// pngSaying is a PNG that says it has w times h pixels, and holds none.
func pngSaying(w, h uint32) []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	head = append(binary.BigEndian.AppendUint32(head, h), 16, 6, 0, 0, 0)
	out := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), 13)
	return binary.BigEndian.AppendUint32(append(out, head...), crc32.ChecksumIEEE(head))
}

func TestBombsAreNotDecoded(t *testing.T) {
	progressive := jpegOf(t, painted(16, 16))
	at := bytes.Index(progressive, []byte{0xff, 0xc0})
	progressive[at+1] = 0xc2
	binary.BigEndian.PutUint16(progressive[at+5:], 6000)
	binary.BigEndian.PutUint16(progressive[at+7:], 6000)
	for what, file := range map[string][]byte{
		"a PNG of 100 times 100 thousand pixels": pngSaying(100_000, 100_000),
		"a PNG of 8000 times 8000 deep pixels":   pngSaying(8000, 8000),
		"a progressive JPEG of 36 megapixels":    progressive,
		"a broken one":                           jpegOf(t, painted(100, 100))[:300],
	} {
		begin := time.Now()
		if _, err := picture(bytes.NewReader(file), whole, 128); !errors.Is(err, errNone) || time.Since(begin) > time.Second {
			t.Errorf("%s: %v in %s", what, err, time.Since(begin))
		}
	}
}

// shelf is a file of a tree, on this server or another.
type shelf struct {
	*bytes.Reader
	info  tree.Info
	opens int
	hint  int64
	fail  error
}

func (s *shelf) Info() tree.Info { return s.info }
func (s *shelf) Close() error    { return nil }
func (s *shelf) Hint(n int64)    { s.hint = n }
func (s *shelf) Read(b []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Reader.Read(b)
}

func (s *shelf) of(size int) Of {
	s.opens = 0
	return Of{UserID: "u", Path: s.info.Name, Info: s.info, Size: size, Open: func(context.Context) (tree.File, error) {
		s.opens++
		s.Seek(0, io.SeekStart)
		return s, nil
	}}
}

func shelved(name string, b []byte) *shelf {
	return &shelf{Reader: bytes.NewReader(b), info: tree.Info{Name: name, Size: int64(len(b)), ETag: `"1"`}}
}

func TestPicturesAreKeptWhileTheContentStays(t *testing.T) {
	th := &Thumbnails{Dir: filepath.Join(t.TempDir(), "cache")}
	s := shelved("a.jpg", jpegOf(t, painted(300, 300)))
	for _, size := range []int{100, 128} {
		o := s.of(size)
		if _, err := th.Get(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := th.Get(t.Context(), o); err != nil || size == 100 && s.opens != 1 || size == 128 && s.opens != 0 {
			t.Errorf("asked for %d: opened %d times, %v", size, s.opens, err)
		}
	}
	again := &Thumbnails{Dir: th.Dir}
	if _, err := again.Get(t.Context(), s.of(128)); err != nil || s.opens != 0 {
		t.Errorf("after a restart: opened %d times, %v", s.opens, err)
	}
	s.info.ETag = `"2"`
	if _, err := th.Get(t.Context(), s.of(128)); err != nil || s.opens != 1 {
		t.Errorf("another content: opened %d times, %v", s.opens, err)
	}
	other := s.of(128)
	other.UserID = "v"
	if _, err := th.Get(t.Context(), other); err != nil || s.opens != 1 {
		t.Errorf("another person: opened %d times, %v", s.opens, err)
	}
	text := shelved("b.png", []byte("not a picture"))
	o := text.of(64)
	th.Get(t.Context(), o)
	if _, err := th.Get(t.Context(), o); !errors.Is(err, ErrNone) || text.opens != 1 {
		t.Errorf("what is none: opened %d times, %v", text.opens, err)
	}
	lost := shelved("c.png", pngOf(t, painted(10, 10)))
	lost.fail = tree.ErrUnavailable
	o = lost.of(64)
	th.Get(t.Context(), o)
	if _, err := th.Get(t.Context(), o); !errors.Is(err, tree.ErrUnavailable) || lost.opens != 2 {
		t.Errorf("what cannot be read now: opened %d times, %v", lost.opens, err)
	}
}

func TestOfLargeFilesElsewhereOnlyTheBeginningIsRead(t *testing.T) {
	th := &Thumbnails{Dir: t.TempDir()}
	thumb := jpegOf(t, painted(160, 80))
	large := shelved("large.jpg", append(withEXIF(jpegOf(t, painted(400, 200)), 1, thumb), make([]byte, 2<<20)...))
	if _, err := th.Get(t.Context(), large.of(128)); err != nil || large.hint != readHead {
		t.Errorf("%v, asked for %d bytes", err, large.hint)
	}
	small := shelved("small.jpg", jpegOf(t, painted(400, 200)))
	if _, err := th.Get(t.Context(), small.of(128)); err != nil || small.hint != small.info.Size {
		t.Errorf("%v, asked for %d bytes of %d", err, small.hint, small.info.Size)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	th := &Thumbnails{Dir: t.TempDir(), Max: 8 << 10}
	for i := range 40 {
		s := shelved("a.png", pngOf(t, painted(100+i, 100)))
		s.info.ETag = `"` + string(rune('A'+i)) + `"`
		if _, err := th.Get(t.Context(), s.of(128)); err != nil {
			t.Fatal(err)
		}
	}
	var total int64
	filepath.WalkDir(th.Dir, func(_ string, d fs.DirEntry, _ error) error {
		if fi, err := d.Info(); err == nil && !d.IsDir() {
			total += fi.Size()
		}
		return nil
	})
	if total == 0 || total > th.Max {
		t.Errorf("%d bytes are kept, bound %d", total, th.Max)
	}
}

func FuzzPicture(f *testing.F) {
	thumb := jpegOf(f, painted(32, 16))
	f.Add(jpegOf(f, painted(40, 20)))
	f.Add(withEXIF(jpegOf(f, painted(40, 20)), 6, thumb))
	f.Add(pngOf(f, painted(20, 20)))
	f.Add(pngSaying(1000, 1000))
	f.Add(aWebP)
	var g bytes.Buffer
	if err := gif.Encode(&g, painted(20, 10), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(g.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range []part{whole, beginning} {
			out, err := picture(bytes.NewReader(b), p, 64)
			if err != nil {
				continue
			}
			c, _, err := image.DecodeConfig(bytes.NewReader(out))
			if err != nil || c.Width > 64 || c.Height > 64 {
				t.Errorf("a picture of %dx%d, %v", c.Width, c.Height, err)
			}
		}
	})
}

func BenchmarkPictureOf12Megapixels(b *testing.B) {
	file := jpegOf(b, painted(4000, 3000))
	for b.Loop() {
		if _, err := picture(bytes.NewReader(file), whole, 256); err != nil {
			b.Fatal(err)
		}
	}
}
