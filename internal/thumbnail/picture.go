package thumbnail

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"time"

	"github.com/bep/imagemeta"
	"golang.org/x/image/draw"
	"golang.org/x/image/webp"
)

// The bounds of what is decoded. What an image says of its size is held against
// them before any of it is decoded.
const (
	maxFile   = 64 << 20  // bytes of a file
	maxMemory = 256 << 20 // bytes that decoding may take
	maxEXIF   = 64 << 10  // bytes of the picture that a camera put beside the image
	enough    = 4         // times as many pixels as are wanted, before the last, careful step
)

var errNone = errors.New("no picture can be made of this")

// format is a kind of image.
type format struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	meta   imagemeta.ImageFormat // 0: has no orientation
}

// formatOf tells by its first bytes what an image is, nil for what we do not read.
func formatOf(head []byte) *format {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return &format{jpeg.DecodeConfig, jpeg.Decode, imagemeta.JPEG}
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return &format{png.DecodeConfig, png.Decode, imagemeta.PNG}
	case bytes.HasPrefix(head, []byte("GIF8")):
		return &format{gif.DecodeConfig, gif.Decode, 0}
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		return &format{webp.DecodeConfig, webp.Decode, imagemeta.WebP}
	}
	return nil
}

// part says how much of a file there is to make a picture of.
type part int

const (
	whole part = iota
	beginning
)

// picture makes a JPEG or PNG of at most size pixels each way. Of the beginning
// of a file it can only be what a camera put there for the purpose.
func picture(r io.ReadSeeker, p part, size int) ([]byte, error) {
	head := make([]byte, 12)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, faultOf(err)
	}
	f := formatOf(head[:n])
	if f == nil {
		return nil, errNone
	}
	m := metaOf(r, f)
	config, err := from(r, f.config)
	if err != nil {
		if p == whole || m.thumbnail == nil {
			return nil, faultOf(err)
		}
		config = image.Config{} // stands behind the beginning that we have
	}
	small := cameras(m.thumbnail, config)
	if small != nil && (p == beginning || longest(small) >= size) {
		return encode(turn(shrink(small, size), m.orientation))
	}
	if p == beginning || !affordable(config, f, r) {
		return nil, errNone
	}
	img, err := from(r, f.decode)
	if err != nil {
		return nil, faultOf(err)
	}
	return encode(turn(shrink(img, size), m.orientation))
}

// from reads an image from its beginning.
func from[T any](r io.ReadSeeker, read func(io.Reader) (T, error)) (out T, err error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return out, err
	}
	return read(bufio.NewReaderSize(io.LimitReader(r, maxFile), 64<<10))
}

// fault is a failure of reading, not of the image.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

// faultOf tells faults of reading, which may pass, from images that are broken.
func faultOf(err error) error {
	if f, ok := errors.AsType[fault](err); ok {
		return f.error
	}
	return errNone
}

// marked marks the failures of a reader as faults of reading.
type marked struct{ io.ReadSeeker }

func (m marked) Read(b []byte) (int, error) {
	n, err := m.ReadSeeker.Read(b)
	if err != nil && err != io.EOF {
		err = fault{err}
	}
	return n, err
}

// affordable tells whether an image can be decoded within the bounds.
func affordable(c image.Config, f *format, r io.ReadSeeker) bool {
	if c.Width <= 0 || c.Height <= 0 {
		return false
	}
	perPixel := int64(4)
	switch c.ColorModel {
	case color.GrayModel:
		perPixel = 1
	case color.Gray16Model:
		perPixel = 2
	case color.YCbCrModel:
		perPixel = 3
	case color.RGBA64Model, color.NRGBA64Model:
		perPixel = 8
	}
	switch {
	case f.meta == imagemeta.JPEG && progressive(r):
		perPixel *= 5 // the coefficients of all scans are kept
	case f.meta == imagemeta.WebP:
		perPixel = 8
	}
	return int64(c.Width)*int64(c.Height) <= maxMemory/perPixel
}

// progressive reports whether a JPEG comes in several scans (ITU-T T.81, B.2).
func progressive(r io.ReadSeeker) bool {
	found, err := from(r, func(r io.Reader) (bool, error) {
		b := r.(*bufio.Reader)
		b.Discard(2)
		for {
			var segment [4]byte
			if _, err := io.ReadFull(b, segment[:]); err != nil {
				return true, err
			}
			marker, length := segment[1], int(binary.BigEndian.Uint16(segment[2:]))
			switch {
			case segment[0] != 0xff || length < 2:
				return true, errNone
			case marker == 0xff || marker <= 0x01 || marker >= 0xd0 && marker <= 0xd9:
				return true, nil // fills, and markers without a length, hide what follows
			case marker == 0xc0 || marker == 0xc1:
				return false, nil
			case marker == 0xc2, marker == 0xda:
				return true, nil
			}
			if _, err := b.Discard(length - 2); err != nil {
				return true, err
			}
		}
	})
	return found || err != nil
}

// meta is what a file says beside its image.
type meta struct {
	orientation int    // 1 to 8 (EXIF 2.32, tag 0112)
	thumbnail   []byte // a small JPEG, nil for none
}

func metaOf(r io.ReadSeeker, f *format) meta {
	m := meta{orientation: 1}
	if f.meta == 0 {
		return m
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return m
	}
	var offset, length int64
	// What cannot be read is as good as not said.
	imagemeta.Decode(imagemeta.Options{
		R: r, ImageFormat: f.meta, Sources: imagemeta.EXIF, Timeout: time.Second, LimitNumTags: 500, LimitTagSize: 1024,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool {
			return t.Namespace == "IFD0" && t.Tag == "Orientation" || t.Namespace == "IFD1" && (t.Tag == "ThumbnailOffset" || t.Tag == "ThumbnailLength")
		},
		HandleTag: func(t imagemeta.TagInfo) error {
			switch n := numberOf(t.Value); t.Tag {
			case "Orientation":
				if n >= 1 && n <= 8 {
					m.orientation = int(n)
				}
			case "ThumbnailOffset":
				offset = n
			case "ThumbnailLength":
				length = n
			}
			return nil
		},
	})
	if offset <= 0 || length <= 0 || length > maxEXIF {
		return m
	}
	if _, err := r.Seek(offset, io.SeekStart); err != nil {
		return m
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err == nil {
		m.thumbnail = b
	}
	return m
}

func numberOf(v any) int64 {
	switch v := v.(type) {
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case int:
		return int64(v)
	}
	return 0
}

// cameras is the picture that a camera put beside an image, without the bars
// that some add to make it fit; nil when there is none that shows the image.
func cameras(b []byte, of image.Config) image.Image {
	if b == nil {
		return nil
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil || c.Width < 16 || c.Height < 16 || c.Width*c.Height > 1<<20 {
		return nil
	}
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil || of.Width <= 0 || of.Height <= 0 {
		return img
	}
	box := img.Bounds()
	if w := box.Dy() * of.Width / of.Height; w < box.Dx() {
		box.Min.X += (box.Dx() - w) / 2
		box.Max.X = box.Min.X + w
	} else if h := box.Dx() * of.Height / of.Width; h < box.Dy() {
		box.Min.Y += (box.Dy() - h) / 2
		box.Max.Y = box.Min.Y + h
	}
	if part, ok := img.(interface {
		SubImage(image.Rectangle) image.Image
	}); ok && !box.Empty() {
		return part.SubImage(box)
	}
	return img
}

func longest(img image.Image) int { return max(img.Bounds().Dx(), img.Bounds().Dy()) }

// shrink scales an image down to size pixels each way, never up.
func shrink(img image.Image, size int) *image.RGBA {
	if longest(img) > enough*size {
		// Roughly first: the careful step keeps rows of what it reads in memory.
		img = scale(draw.NearestNeighbor, img, enough*size)
	}
	return scale(draw.BiLinear, img, size)
}

func scale(s draw.Scaler, img image.Image, size int) *image.RGBA {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if longest := max(w, h); longest > size {
		w, h = max(w*size/longest, 1), max(h*size/longest, 1)
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	s.Scale(out, out.Bounds(), img, b, draw.Src, nil)
	return out
}

// turn brings an image into the position that its orientation asks for.
func turn(img *image.RGBA, orientation int) *image.RGBA {
	if orientation == 1 {
		return img
	}
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if orientation >= 5 {
		out = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			tx, ty := x, y
			switch orientation {
			case 2:
				tx = w - 1 - x
			case 3:
				tx, ty = w-1-x, h-1-y
			case 4:
				ty = h - 1 - y
			case 5:
				tx, ty = y, x
			case 6:
				tx, ty = h-1-y, x
			case 7:
				tx, ty = h-1-y, w-1-x
			case 8:
				tx, ty = y, w-1-x
			}
			out.SetRGBA(tx, ty, img.RGBAAt(x, y))
		}
	}
	return out
}

// encode writes a JPEG, or a PNG of what one can see through.
func encode(img *image.RGBA) ([]byte, error) {
	var b bytes.Buffer
	if img.Opaque() {
		err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 80})
		return b.Bytes(), err
	}
	err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img)
	return b.Bytes(), err
}
