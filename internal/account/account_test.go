package account

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/ocm"
)

const password ocm.Secret = "correct horse"

// bench is accounts on a real database, with a clock to turn.
type bench struct {
	*Accounts
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	db := storetest.Open(t)
	b := &bench{t: t, now: time.Unix(1_800_000_000, 0)}
	b.Accounts = New(db, func() time.Time { return b.now }, Cost{Time: 1, Memory: 8})
	return b
}

func (b *bench) user(name string) User {
	b.t.Helper()
	u, err := b.Add(b.t.Context(), NewUser{Name: name, Password: password})
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

func TestNamesAreCheckedAndUniqueWhateverTheirCase(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"", ".a", "-a", "a b", "a@b", "ä", "a/b", "../x", "a\x00", strings.Repeat("x", 65)} {
		if _, err := b.Add(t.Context(), NewUser{Name: name, Password: password}); !errors.Is(err, ErrUserName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	b.user("Alice.A-1_x")
	if _, err := b.Add(t.Context(), NewUser{Name: "alice.a-1_X", Password: password}); !errors.Is(err, ErrUserExists) {
		t.Errorf("another case: %v", err)
	}
	if u, err := b.ByName(t.Context(), "ALICE.A-1_X"); err != nil || u.Name != "Alice.A-1_x" || u.DisplayName != u.Name || u.Quota != NoQuota {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestPasswordsAreBoundedAndKeptAsArgon2id(t *testing.T) {
	b := newBench(t)
	for p, want := range map[string]error{"short": ErrPassword, strings.Repeat("x", 1025): ErrLongPass} {
		if _, err := b.Add(t.Context(), NewUser{Name: "a", Password: ocm.Secret(p)}); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", len(p), err)
		}
	}
	b.cost = DefaultCost
	u := b.user("a")
	if !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(u.PasswordHash, password.Reveal()) {
		t.Errorf("%s", u.PasswordHash)
	}
	for _, phc := range []string{"", "$", "$argon2id$v=19$m=1,t=0,p=0$$", "$2y$10$abc", "$argon2id$v=19$m=19456,t=2,p=1$!!$!!"} {
		if verifyPassword(phc, password) {
			t.Errorf("%q verifies", phc)
		}
	}
}

func TestWrongPasswordsAndUnknownUsersLookTheSame(t *testing.T) {
	b := newBench(t)
	b.user("alice")
	_, wrong := b.Authenticate(t.Context(), "alice", "wrong password", "1.2.3.4")
	_, unknown := b.Authenticate(t.Context(), "nobody", "wrong password", "1.2.3.4")
	if !errors.Is(wrong, ErrCredentials) || asked(wrong) != asked(unknown) {
		t.Errorf("%v and %v", wrong, unknown)
	}
	if u, err := b.Authenticate(t.Context(), "Alice", password, "1.2.3.4"); err != nil || u.Name != "alice" {
		t.Errorf("%v", err)
	}
}

func TestGuessingIsSlowedDownForThatNameAndAddressAlone(t *testing.T) {
	b := newBench(t)
	b.user("alice")
	var err error
	for range freeFailures + 1 {
		_, err = b.Authenticate(t.Context(), "alice", "wrong password", "1.2.3.4")
	}
	if e, ok := errors.AsType[*ocm.Error](err); !ok || e.Code != ErrAttempts.Code || e.RetryAfter <= 0 {
		t.Errorf("%v", err)
	}
	if _, err := b.Authenticate(t.Context(), "alice", password, "1.2.3.4"); !errors.Is(err, ErrAttempts) {
		t.Errorf("the right password meanwhile: %v", err)
	}
	if _, err := b.Authenticate(t.Context(), "alice", password, "5.6.7.8"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	b.now = b.now.Add(failurePeriod)
	if _, err := b.Authenticate(t.Context(), "alice", password, "1.2.3.4"); err != nil {
		t.Errorf("later: %v", err)
	}
}

func TestAppPasswordsAreGivenOnceAndCanBeEnded(t *testing.T) {
	b := newBench(t)
	alice, bob := b.user("alice"), b.user("bob")
	secret, err := b.AppPassword(t.Context(), alice.ID, "phone")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(t.Context(), "alice", secret, "x"); err != nil {
		t.Errorf("by name: %v", err)
	}
	if u, err := b.AuthenticateBearer(t.Context(), secret); err != nil || u.ID != alice.ID {
		t.Errorf("as a token: %v", err)
	}
	if _, err := b.Authenticate(t.Context(), "bob", secret, "x"); !errors.Is(err, ErrCredentials) {
		t.Errorf("by another's name: %v", err)
	}
	list, err := b.AppPasswords(t.Context(), alice.ID)
	if err != nil || len(list) != 1 || list[0].Label != "phone" || list[0].Hash != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := b.RevokeAppPassword(t.Context(), bob.ID, list[0].ID); !errors.Is(err, ErrNoSuchApp) {
		t.Errorf("ended by another: %v", err)
	}
	if err := b.RevokeAppPassword(t.Context(), alice.ID, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AuthenticateBearer(t.Context(), secret); !errors.Is(err, ErrSession) {
		t.Errorf("after its end: %v", err)
	}
}

func TestSessionsEndByIdlenessAgeLogoutAndANewPassword(t *testing.T) {
	b := newBench(t)
	u := b.user("alice")
	login := func() ocm.Secret {
		t.Helper()
		_, token, err := b.Login(t.Context(), "alice", password, "x", "test")
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ok := func(token ocm.Secret) bool {
		t.Helper()
		_, err := b.AuthenticateBearer(t.Context(), token)
		if err != nil && !errors.Is(err, ErrSession) {
			t.Fatal(err)
		}
		return err == nil
	}
	idle := login()
	b.now = b.now.Add(29 * 24 * time.Hour)
	used := login()
	b.now = b.now.Add(2 * 24 * time.Hour)
	if ok(idle) || !ok(used) {
		t.Error("31 days unused")
	}
	for range 3 {
		b.now = b.now.Add(28 * 24 * time.Hour)
		ok(used)
	}
	b.now = b.now.Add(5 * 24 * time.Hour)
	if ok(used) {
		t.Error("91 days old")
	}
	token := login()
	if err := b.Logout(t.Context(), token); err != nil || ok(token) {
		t.Errorf("after the logout: %v", err)
	}
	token = login()
	app, err := b.AppPassword(t.Context(), u.ID, "phone")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetPassword(t.Context(), u.ID, "another password"); err != nil {
		t.Fatal(err)
	}
	if ok(token) || !ok(app) {
		t.Error("a new password ends sessions and keeps app passwords")
	}
	if _, err := b.Authenticate(t.Context(), "alice", password, "y"); !errors.Is(err, ErrCredentials) {
		t.Errorf("the old password: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	b := newBench(t)
	b.user("alice")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := b.Authenticate(t.Context(), "alice", password, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestGroups(t *testing.T) {
	b := newBench(t)
	alice := b.user("alice")
	g, err := b.AddGroup(t.Context(), "staff", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddGroup(t.Context(), "Staff", ""); !errors.Is(err, ErrGroupExists) {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := b.AddMember(t.Context(), g.ID, alice.ID); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := b.Members(t.Context(), g.ID); err != nil || len(m) != 1 || m[0].Name != "alice" {
		t.Errorf("%v, %v", m, err)
	}
	if err := b.Remove(t.Context(), b.db.Write, alice.ID); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Members(t.Context(), g.ID); err != nil || len(m) != 0 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := b.GroupByName(t.Context(), "none"); !errors.Is(err, ErrNoGroup) {
		t.Errorf("%v", err)
	}
}

// asked is what is answered of a refusal.
func asked(err error) string {
	e, _ := errors.AsType[*ocm.Error](err)
	return fmt.Sprint(e.Status, e.Code, e.Message)
}
