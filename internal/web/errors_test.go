package web

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/ocm"
)

// notForPeople are the codes that no page shows, so that they need no words in
// other languages.
var notForPeople = []string{
	// What a message of a peer is refused for: whose it is, and how it is signed.
	"DIGEST_MISMATCH", "INVITE_REQUIRED", "KEY_NOT_APPROVED", "KEY_UNACCEPTABLE", "KEY_UNKNOWN", "KEY_UNREACHABLE", "PEER_DENIED",
	"SECRET_MISMATCH", "SENDER_MISMATCH", "SIGNATURE_AMBIGUOUS", "SIGNATURE_INVALID", "SIGNATURE_REPLAYED", "SIGNATURE_REQUIRED", "SIGNATURE_STALE",
	// What a message of a peer asks for and this server does not do.
	"ENCRYPTION_NOT_SUPPORTED", "MFA_NOT_SUPPORTED", "NOTIFICATION_TYPE_NOT_SUPPORTED", "NOT_IMPLEMENTED", "NO_DIRECTORY", "ORDER_UNCLEAR",
	"PROTOCOL_NOT_SUPPORTED", "PROVIDER_ID_TAKEN", "REQUEST_NOT_TAKEN", "RESOURCE_TYPE_NOT_SUPPORTED", "SHARE_TYPE_NOT_SUPPORTED",
	// How a peer opens a share: the token endpoint (RFC 6749) and the share's WebDAV.
	"TOKEN_EXCHANGE_REQUIRED", "UNAUTHORIZED",
	"invalid_client", "invalid_grant", "invalid_request", "unauthorized_client", "unsupported_grant_type",
}

func TestErrorsThatPeopleMeetAreInEveryLanguage(t *testing.T) {
	codes := errorCodes(t)
	if len(codes) < 100 {
		t.Fatalf("found %d codes", len(codes))
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		for _, l := range Locales[1:] {
			_, ok := l.texts()["error."+code]
			if hidden := slices.Contains(notForPeople, code); ok == hidden {
				t.Errorf("%s: %s: translated %v, for people %v", codes[code], code, ok, !hidden)
			}
		}
	}
	for _, code := range notForPeople {
		if _, ok := codes[code]; !ok {
			t.Errorf("there is no error %s", code)
		}
	}
}

// errorCodes are the codes of errors and where each stands.
func errorCodes(t *testing.T) map[string]token.Position {
	return literals(sources(t), "Code", "Error", "Code", `^([A-Z]+(_[A-Z]+)*|[a-z]+(_[a-z]+)+)$`)
}

// last is a name without its package.
func last(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func TestErrorsTellWhatTheirSentencesTell(t *testing.T) {
	for _, c := range []struct {
		err      error
		lang, is string
	}{
		{ocm.NewError(409, "NAME_INVALID", `The name "a/.." cannot be used: it stands for a folder, not for a name in it.`), "de",
			"Der Name „a/..“ kann nicht verwendet werden: Er steht für einen Ordner, nicht für einen Namen darin."},
		{ocm.NewError(409, "NAME_INVALID", "The name has something new about it."), "de", "Dieser Name kann nicht verwendet werden. Wählen Sie einen anderen."},
		{ocm.NewError(400, "RULE_INVALID", "line 7: *.example: the rule decides nothing"), "es", "Línea 7: *.example: la regla no decide nada"},
		{ocm.NewError(400, "INVITE_MALFORMED", "this is not an invite: its token is missing; copy it whole"), "fr",
			"Cette invitation n’est pas complète, ou a été modifiée. Copiez-la en entier, ou demandez-en une autre."},
		{ocm.Invalid("email", "is not an e-mail address"), "en", "That is not an e-mail address. Write it like name@mail.example."},
		{ocm.Invalid("email", "is not an e-mail address"), "de", "Das ist keine E-Mail-Adresse. Schreiben Sie sie wie name@mail.example."},
		{ocm.Invalid("Upload-Length", "must be a number of bytes"), "en", "Upload-Length: must be a number of bytes"},
		{ocm.Invalid("Upload-Length", "must be a number of bytes"), "es", "Falta un dato o no es posible así. Revise lo que ha escrito."},
	} {
		if got := LocaleFor(c.lang, "").Error(c.err); got != c.is {
			t.Errorf("%v in %s: %s", c.err, c.lang, got)
		}
	}
}

func TestAcceptancesAreExplainedInEveryLanguage(t *testing.T) {
	for said, de := range map[string]string{
		"x.example is being told; you find the contact in your address book as soon as it answers. Neither side knows the other yet.":    "x.example wird benachrichtigt; sobald der Server antwortet, steht der Kontakt in Ihrem Adressbuch. Noch kennt keine Seite die andere.",
		"Your address book is full: they know you; make room, and enter bob@x.example by hand. They know you; you do not know them yet.": "Ihr Adressbuch ist voll: Dort kennt man Sie; schaffen Sie Platz und tragen Sie bob@x.example von Hand ein. Dort kennt man Sie; Sie kennen die Person noch nicht.",
		"The invite could not be accepted.": "Die Einladung konnte nicht angenommen werden.",
	} {
		if got := LocaleFor("de", "").Said(said); got != de {
			t.Errorf("%s: %s", said, got)
		}
		for _, l := range Locales[1:] {
			if got := l.Said(said); got == said || strings.ContainsAny(got, "{}") {
				t.Errorf("%s: %s", l.Tag, got)
			}
		}
	}
}
