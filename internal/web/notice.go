package web

import (
	"bytes"
	"cmp"
	"fmt"
	htmltemplate "html/template"
	"net/url"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/mail"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/tree"
)

// Told is a notice in words, with what can be done next.
type Told struct {
	notice.Notice

	Icon     string
	Tone     string // good, warn, bad or "": as of badges
	Sentence string
	Reason   string // why, or what helps
	Words    string // what the other person wrote
	Next     string // path of the page where it goes on
	NextDo   string // what the link to it says
	Resend   string // id of the share, or of the acceptance, that can be delivered again
	Again    string // path of the form that does so
	Share    string // for support
}

// Tell puts a notice into words.
func (l *Locale) Tell(n notice.Notice) Told {
	p := n.About()
	who, with := l.person(p.WhoName, p.Who), p.With
	told := Told{Notice: n, Icon: "info", Words: p.Words, Share: p.Share}
	say := func(icon, tone, key string, args ...any) {
		told.Icon, told.Tone, told.Sentence = icon, tone, l.T("notice."+key, args...)
	}
	next := func(path, key string) { told.Next, told.NextDo = path, l.T("notice.next."+key) }
	shared := "/share?" + url.Values{"path": {p.Path}}.Encode()
	files := (&url.URL{Path: "/files/" + tree.SharedDir + "/"}).EscapedPath()
	switch n.Kind {
	case notice.Received:
		say("inbox", "", "share-received", who, p.Name)
		if next("/inbox", "answer"); n.ReadAt != 0 { // most often because it was answered
			next("/inbox", "inbox")
		}
	case notice.Held:
		say("shield", "warn", "share-held", n.Times, p.Host)
		told.Share = "" // they may be several
		next("/inbox", "look")
	case notice.TakenOver:
		say("folder-in", "good", "share-accepted", who, p.Name)
		next(files, "files")
	case notice.RightsChanged:
		say("edit", "", "rights-changed", who, p.Name, l.rights(p.Rights))
		next(files, "files")
	case notice.ReceivedExpires:
		say("clock", "warn", "received-expires", who, p.Name, l.Day(store.Time(p.Until)))
		told.Reason = l.T("notice.keep")
		next(files, "files")
	case notice.ReceivedEnded:
		say("x", "", "received-ended."+cmp.Or(p.Reason, "owner"), who, p.Name)
	case notice.Accepted:
		say("check", "good", "accepted", who, p.Name)
		next(shared, "shared")
	case notice.Declined:
		say("x", "", "declined", who, p.Name)
		next(shared, "shared")
	case notice.GivenBack:
		say("x", "", "given-back", who, p.Name)
		next(shared, "shared")
	case notice.DeliveryFailed:
		say("warn", "bad", "delivery-failed", who, p.Name)
		told.Reason = l.reason(p)
		told.Resend, told.Again = p.Share, "/notices/"+n.ID+"/resend"
		next(shared, "shared")
	case notice.SentExpires:
		say("clock", "warn", "sent-expires", who, p.Name, l.Day(store.Time(p.Until)))
		next(shared, "shared")
	case notice.SentExpired:
		say("clock", "", "sent-expired", who, p.Name)
		next(shared, "again")
	case notice.RecipientGone:
		say("person", "warn", "recipient-gone", p.Count, who)
		next("/shares", "shares")
	case notice.Reshared:
		say("share", "", "reshared", who, p.Name, with)
		next(shared, "shared")
	case notice.ReshareUndone:
		say("share", "", "reshare-undone", who, p.Name, with)
	case notice.InviteAccepted:
		say("person-add", "good", "invite-accepted", who)
		next("/people/"+url.PathEscape(p.Contact), "contact")
	case notice.AcceptanceDone:
		say("person-add", "good", "acceptance-done", who)
		next("/people/"+url.PathEscape(p.Contact), "contact")
	case notice.AcceptanceFailed:
		say("warn", "bad", "acceptance-failed", p.Host)
		told.Reason = l.reason(p)
		next("/people/invites", "invites")
	case notice.Asked:
		if say("info", "warn", "asked", who, p.Name); with != "" {
			say("info", "warn", "asked.with", who, p.Name, with)
		}
		next("/inbox", "answer")
	case notice.RequestGranted:
		if say("check", "good", "request-granted", who, p.Name); with != "" {
			say("check", "good", "request-granted.with", who, p.Name, with)
		} else {
			next("/inbox", "answer")
		}
	case notice.RequestRefused:
		say("x", "", "request-refused."+cmp.Or(p.Reason, "owner"), who, p.Name)
	case notice.RequestFailed:
		say("warn", "bad", "request-failed", who, p.Name)
		told.Reason = l.reason(p)
	}
	return told
}

// person is someone with the address, because a name alone can be anybody's.
func (l *Locale) person(name, address string) string {
	if name == "" || name == address {
		return address
	}
	return name + " (" + address + ")"
}

// rights are permissions in words.
func (l *Locale) rights(permissions []string) string {
	r := tree.ParseRights(permissions)
	switch {
	case r.Has(tree.Write) && r.Has(tree.Share):
		return l.T("notice.rights.all")
	case r.Has(tree.Write):
		return l.T("notice.rights.write")
	case r.Has(tree.Share):
		return l.T("notice.rights.share")
	}
	return l.T("notice.rights.read")
}

// reason is why something failed; what has no words of its own is only that it
// did.
func (l *Locale) reason(p notice.Params) string {
	key := "notice.reason." + p.Reason
	if _, ok := l.texts()[key]; !ok {
		key = "notice.reason.untold"
	}
	text := l.T(key, p.Host)
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	return text
}

// letterText and letterPage are the bodies of an e-mail. It loads nothing, and
// its links lead to this server alone.
var (
	letterText = texttemplate.Must(texttemplate.New("text").Parse(`{{.Hello}}

{{range .Told}}* {{.Sentence}}{{with .Reason}}
  {{.}}{{end}}{{with .Words}}
  > {{.}}{{end}}{{with .Next}}
  {{$.Origin}}{{.}}{{end}}

{{end}}{{with .More}}{{.}}

{{end}}{{.All}} {{.Origin}}/notices

-- 
{{.Why}}
{{.Stop}} {{.Origin}}/settings
`))
	letterPage = htmltemplate.Must(htmltemplate.New("html").Parse(`<!DOCTYPE html>
<html lang="{{.Lang}}"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{{.Subject}}</title></head>
<body style="font: 16px/1.5 sans-serif; max-width: 40em; margin: 0 auto; padding: 1em">
<p>{{.Hello}}</p>
{{range .Told}}<p><strong>{{.Sentence}}</strong>{{with .Reason}}<br>{{.}}{{end}}{{if .Next}}<br><a href="{{$.Origin}}{{.Next}}">{{.NextDo}}</a>{{end}}</p>
{{with .Words}}<blockquote style="margin: 0 0 1em; padding-left: 1em; border-left: 3px solid #999">{{.}}</blockquote>
{{end}}{{end}}{{with .More}}<p>{{.}}</p>
{{end}}<p>{{.All}} <a href="{{.Origin}}/notices">{{.Origin}}/notices</a></p>
<hr>
<p style="font-size: 14px">{{.Why}} {{.Stop}} <a href="{{.Origin}}/settings">{{.Origin}}/settings</a></p>
</body></html>
`))
)

// Letter puts notices into the words of an e-mail.
func Letter(site, origin string, letter notice.Letter) (mail.Message, error) {
	l := LocaleFor(letter.To.Language, "")
	count := int64(len(letter.Notices)) + letter.More
	v := struct {
		Lang, Origin, Subject, Hello, More, All, Why, Stop string
		Told                                               []Told
	}{
		Lang: l.Tag, Origin: origin, Hello: l.T("mail.hello", letter.To.DisplayName), All: l.T("mail.all"),
		Why: l.T("mail.why", site), Stop: l.T("mail.stop"),
	}
	for _, n := range letter.Notices {
		v.Told = append(v.Told, l.Tell(n))
	}
	switch {
	case letter.Daily:
		v.Subject = l.T("mail.subject.daily", count, site)
	case count == 1:
		v.Subject = v.Told[0].Sentence
	default:
		v.Subject = l.T("mail.subject", count, site)
	}
	if letter.More > 0 {
		v.More = l.T("mail.more", letter.More)
	}
	m := mail.Message{Subject: shorten(v.Subject), Unsubscribe: origin + "/settings"}
	var text, page bytes.Buffer
	if err := letterText.Execute(&text, v); err != nil {
		return m, fmt.Errorf("write an e-mail: %w", err)
	}
	if err := letterPage.Execute(&page, v); err != nil {
		return m, fmt.Errorf("write an e-mail: %w", err)
	}
	m.Text, m.HTML = text.String(), page.String()
	return m, nil
}

// maxSubject is how much of a subject mail programs show at most, in characters.
const maxSubject = 150

func shorten(subject string) string {
	r := []rune(subject)
	if len(r) <= maxSubject {
		return subject
	}
	return strings.TrimSpace(string(r[:maxSubject])) + "…"
}

// ConfirmLetter is the e-mail that asks whether an address is a person's.
func ConfirmLetter(site, origin string, u account.User, link string, until time.Time) mail.Message {
	l := LocaleFor(u.Language, "")
	return mail.Message{
		Subject: shorten(l.T("mail.confirm.subject", site)),
		// By the account's name: whose address this is, is not known yet, and nobody
		// gets words of a stranger's choice.
		Text: l.T("mail.hello", u.Name) + "\n\n" + l.T("mail.confirm.lead", u.Name, site, origin) + "\n" + link + "\n\n" +
			l.T("mail.confirm.until", l.When(until)) + " " + l.T("mail.confirm.not") + "\n",
	}
}

// ChangedLetter is the e-mail to an address that was replaced.
func ChangedLetter(site, origin string, u account.User, email string) mail.Message {
	l := LocaleFor(u.Language, "")
	return mail.Message{
		Subject: shorten(l.T("mail.changed.subject", site)),
		Text: l.T("mail.hello", u.DisplayName) + "\n\n" + l.T("mail.changed.lead", u.Name, site, email) + "\n\n" +
			l.T("mail.changed.not") + "\n" + origin + "/settings\n",
	}
}

// TestLetter is the e-mail that shows that e-mails arrive.
func TestLetter(site, origin string) mail.Message {
	return mail.Message{
		Subject: "A test from " + site, Unsubscribe: origin + "/settings",
		Text: "This is a test message from " + site + " (" + origin + "): e-mails from there reach you.\n",
	}
}
