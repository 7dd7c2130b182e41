package tree

import "testing"

func TestTypesDoNotDependOnTheMachine(t *testing.T) {
	for name, want := range map[string]string{
		"film.webm": "video/webm", "Film.WEBM": "video/webm", "song.ogg": "audio/ogg", "a.b/photo.JPG": "image/jpeg", "notes.md": "text/markdown; charset=utf-8",
		"page.html": "text/html; charset=utf-8", "README": "", "": "", ".md": "text/markdown; charset=utf-8",
	} {
		if got := TypeOf(name); got != want {
			t.Errorf("%q is of type %q, want %q", name, got, want)
		}
	}
}
