package cli

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"strings"
	"sync"
)

// sampleFiles are the files of the demo, by path.
var sampleFiles = sync.OnceValue(func() map[string][]byte {
	return map[string][]byte{
		sharedFolder + "/Read me first.txt":         []byte("Reef survey, autumn.\n\nPhotos/ holds the pictures of each site, Data/ the counts.\nPlease add your notes beside this file.\n"),
		sharedFolder + "/Data/fish counts.csv":      counts(),
		sharedFolder + "/Photos/Größe der Äste.png": picture(320, 200),
	}
})

func counts() []byte {
	var b strings.Builder
	b.WriteString("transect,depth_m,species,count\n")
	for i := range 200 {
		fmt.Fprintf(&b, "%d,%d,%s,%d\n", i/10+1, 4+i%10*2, []string{"Chromis", "Labroides", "Naso", "Scarus"}[i%4], (i*7919)%97)
	}
	return []byte(b.String())
}

// picture draws waves, so that the demo has a real image without carrying one.
func picture(w, h int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := math.Sin(float64(x)/17+math.Sin(float64(y)/23)*3) + math.Cos(float64(y)/11)
			img.Set(x, y, color.RGBA{uint8(20 + 20*v), uint8(110 + 40*v), uint8(150 + 45*v), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}
