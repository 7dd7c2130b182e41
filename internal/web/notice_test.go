package web

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
)

func TestEveryNoticeHasWordsInEveryLanguage(t *testing.T) {
	params := []string{
		`{"share":"s1","name":"Reef","path":"Work/Reef","who":"bob@south.example","whoName":"Bob","host":"south.example","rights":["read","write"],"until":1780000000000,"count":2,"contact":"c1"}`,
		`{"share":"s1","name":"Reef","who":"bob@south.example","with":"carol@east.example","host":"south.example","count":1,"request":"r1"}`,
	}
	for _, l := range Locales {
		for _, kind := range notice.Kinds {
			for _, p := range params {
				told := l.Tell(notice.Notice{ID: "n1", Kind: kind, Params: p, Times: 1})
				if told.Sentence == "" || strings.Contains(told.Sentence, "notice.") || strings.Contains(told.Sentence, "{") || strings.Contains(told.NextDo, "notice.") {
					t.Errorf("%s: %s: %q, %q", l.Tag, kind, told.Sentence, told.NextDo)
				}
				if told.Next != "" && (!strings.HasPrefix(told.Next, "/") || told.NextDo == "") {
					t.Errorf("%s: %s leads to %q", l.Tag, kind, told.Next)
				}
			}
		}
		for _, reason := range append(delivery.Reasons, "peer-takes-files-only", "peer-without-mfa", "peer-without-exchange", "peer-disabled", "peer-without-groups",
			"peer-without-requests", "share-ended", "invite-unknown", "invite-used", "unreadable", "unclear", "book-full", "server-pretends") {
			if _, ok := l.texts()["notice.reason."+reason]; !ok {
				t.Errorf("%s has no words for the reason %s", l.Tag, reason)
			}
		}
		for _, kind := range []string{"received-ended.owner", "received-ended.time", "received-ended.group", "request-refused.owner", "request-refused.server"} {
			if _, ok := l.texts()["notice."+kind]; !ok {
				t.Errorf("%s has no words for %s", l.Tag, kind)
			}
		}
	}
}

func TestALetterHoldsNoMarkupOfOthers(t *testing.T) {
	evil := notice.Notice{ID: "n1", Kind: notice.Received, Times: 1, Params: `{"share":"s1","name":"<img src=x>{1}","who":"eve@evil.example","whoName":"Eve\"><script>","words":"<a href=https://evil.example>click</a>"}`}
	m, err := Letter("Weft", "https://here.example", notice.Letter{To: account.User{DisplayName: "Alice <b>", Language: "de"}, Notices: []notice.Notice{evil}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"<img", "<script", "<b>", "<a href=https://evil"} {
		if strings.Contains(m.HTML, tag) {
			t.Errorf("%s is in %s", tag, m.HTML)
		}
	}
	for link := range strings.SplitSeq(m.HTML, `href="`) {
		if strings.HasPrefix(link, "http") && !strings.HasPrefix(link, "https://here.example/") {
			t.Errorf("a link leads to %.40s", link)
		}
	}
	if !strings.Contains(m.Text, "https://here.example/settings") || !strings.Contains(m.Text, "geteilt") || m.Unsubscribe != "https://here.example/settings" {
		t.Error(m.Text)
	}
	if !strings.Contains(m.Subject, "eve@evil.example") {
		t.Errorf("the subject names who it says it is alone: %q", m.Subject)
	}
}

func TestALetterOfManyNoticesCountsThem(t *testing.T) {
	n := notice.Notice{ID: "n1", Kind: notice.Accepted, Times: 1, Params: `{"name":"A","who":"bob@south.example"}`}
	for _, c := range []struct {
		letter notice.Letter
		want   string
	}{
		{notice.Letter{Notices: []notice.Notice{n}}, "bob@south.example accepted “A”."},
		{notice.Letter{Notices: []notice.Notice{n, n}}, "2 new notices on Weft"},
		{notice.Letter{Notices: []notice.Notice{n, n}, More: 40}, "42 new notices on Weft"},
		{notice.Letter{Notices: []notice.Notice{n}, Daily: true}, "1 notice of the day on Weft"},
	} {
		m, err := Letter("Weft", "https://here.example", c.letter)
		if err != nil || m.Subject != c.want {
			t.Errorf("%q, %v; want %q", m.Subject, err, c.want)
		}
		if more := strings.Contains(m.Text, "And 40 more."); more != (c.letter.More > 0) {
			t.Error(m.Text)
		}
	}
}
