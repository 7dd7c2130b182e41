package home

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/account"
	"github.com/weft-mesh/weft/internal/dav"
	"github.com/weft-mesh/weft/internal/store"
	"github.com/weft-mesh/weft/internal/store/storetest"
	"github.com/weft-mesh/weft/internal/tree"
)

// bench is the home of one person, and a follower that writes down.
type bench struct {
	*Homes
	t    *testing.T
	user account.User
	now  time.Time
	told []string
}

func (b *bench) Moved(_ context.Context, _ bun.Tx, _, from, to string) error {
	b.told = append(b.told, from+" -> "+to)
	return nil
}

func (b *bench) Removed(_ context.Context, _ bun.Tx, _, name string) error {
	b.told = append(b.told, name+" gone")
	return nil
}

func (b *bench) Committed() {}

func newBench(t *testing.T) *bench {
	t.Helper()
	db := storetest.Open(t)
	b := &bench{t: t, now: time.Unix(1_800_000_000, 0)}
	now := func() time.Time { return b.now }
	accounts := account.New(db, now, account.Cost{Time: 1, Memory: 8})
	user, err := accounts.Add(t.Context(), account.NewUser{Name: "alice", Password: "a long password"})
	if err != nil {
		t.Fatal(err)
	}
	b.user = user
	b.Homes = &Homes{
		Dir: filepath.Join(t.TempDir(), "homes"), DB: db, Accounts: accounts, Now: now, Log: slog.New(slog.DiscardHandler),
		Attached: &Attached{DB: db, Now: now}, Followers: []Follower{b},
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func (b *bench) own() tree.Tree {
	b.t.Helper()
	t, err := b.Own(b.t.Context(), b.user.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

func (b *bench) put(name string) {
	b.t.Helper()
	if _, _, err := b.own().Put(b.t.Context(), name, strings.NewReader(name), tree.PutOptions{Size: -1}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) setProp(name, value string) {
	b.t.Helper()
	b.must(b.Attached.PatchProps(b.t.Context(), b.user.ID, name, []dav.Prop{{Name: xml.Name{Space: "urn:x", Local: "p"}, Value: value}}, nil))
}

func (b *bench) prop(name string) string {
	b.t.Helper()
	props, err := b.Attached.Props(b.t.Context(), b.user.ID, name)
	b.must(err)
	if len(props) == 0 {
		return ""
	}
	return props[0].Value
}

func (b *bench) wantTold(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.told, want) {
		b.t.Errorf("told %q, want %q", b.told, want)
	}
	b.told = nil
}

func TestPropertiesAndFollowersFollow(t *testing.T) {
	b := newBench(t)
	_, err := b.own().Mkdir(t.Context(), "d")
	b.must(err)
	b.put("d/a")
	b.put("over")
	b.setProp("d/a", "1")
	b.setProp("over", "old")
	_, err = b.own().Move(t.Context(), "d", "e", tree.MoveOptions{})
	b.must(err)
	b.wantTold("d -> e")
	if b.prop("d/a") != "" || b.prop("e/a") != "1" {
		t.Error("the property did not go along")
	}
	_, err = b.own().Copy(t.Context(), "e/a", "copy", tree.CopyOptions{})
	b.must(err)
	b.wantTold()
	if b.prop("copy") != "1" || b.prop("e/a") != "1" {
		t.Error("the property was not copied")
	}
	_, err = b.own().Move(t.Context(), "copy", "over", tree.MoveOptions{Overwrite: true})
	b.must(err)
	b.wantTold("copy -> over")
	if b.prop("over") != "1" {
		t.Error("the property of what was replaced stayed")
	}
	b.must(b.own().Remove(t.Context(), "e", tree.Condition{}))
	b.wantTold("e gone")
	if b.prop("e/a") != "" {
		t.Error("the property of what was deleted stayed")
	}
	if _, err := b.own().Move(t.Context(), "none", "x", tree.MoveOptions{}); !errors.Is(err, tree.ErrNotFound) {
		t.Error(err)
	}
	b.wantTold()
	if n, _ := b.DB.Read.NewSelect().Model((*change)(nil)).Count(t.Context()); n != 0 {
		t.Errorf("%d rows left in the journal", n)
	}
}

func TestWhatACrashCutOffIsCompleted(t *testing.T) {
	b := newBench(t)
	b.put("moved to")
	b.put("not moved")
	b.put("not removed")
	b.setProp("moved from", "1")
	b.setProp("removed", "2")
	b.setProp("not moved", "3")
	for from, to := range map[string]string{"moved from": "moved to", "not moved": "nowhere", "removed": "", "not removed": "", "both gone": "elsewhere"} {
		_, err := b.DB.Write.NewInsert().Model(&change{ID: store.NewID(), Space: b.user.ID, FromPath: from, ToPath: to}).Exec(t.Context())
		b.must(err)
	}
	b.must(b.Recover(t.Context()))
	slices.Sort(b.told)
	b.wantTold("moved from -> moved to", "removed gone")
	if b.prop("moved to") != "1" || b.prop("removed") != "" || b.prop("not moved") != "3" {
		t.Error("properties were not settled")
	}
	b.must(b.Recover(t.Context()))
	b.wantTold()
}

func TestLocksOfTheDatabase(t *testing.T) {
	b := newBench(t)
	n := 0
	lock := func(path string, infinite, exclusive bool) (string, error) {
		n++
		token := fmt.Sprint("urn:", n)
		return token, b.Attached.Acquire(t.Context(), dav.Lock{
			Token: token, Space: b.user.ID, Path: path, Infinite: infinite, Exclusive: exclusive, Expires: b.now.Add(time.Minute),
		})
	}
	conflicts := func(path string, infinite, exclusive, want bool) {
		t.Helper()
		token, err := lock(path, infinite, exclusive)
		_, is := errors.AsType[*dav.Conflict](err)
		if is != want || err != nil && !is {
			t.Errorf("lock on %q (infinite %v, exclusive %v): %v", path, infinite, exclusive, err)
		}
		if err == nil {
			b.must(b.Attached.Release(t.Context(), b.user.ID, token))
		}
	}
	held, err := lock("d", true, true)
	b.must(err)
	conflicts("d", false, true, true)
	conflicts("d/deep/er", false, false, true)
	conflicts("", true, true, true)
	conflicts("", false, true, false)
	conflicts("dx", false, true, false)
	conflicts("e", true, true, false)
	ok, err := b.Attached.Refresh(t.Context(), b.user.ID, held, b.now.Add(time.Hour))
	if err != nil || !ok {
		t.Errorf("refresh: %v, %v", ok, err)
	}
	b.now = b.now.Add(2 * time.Minute)
	conflicts("d", false, true, true)
	b.now = b.now.Add(time.Hour)
	conflicts("d", false, true, false)
	if ok, err := b.Attached.Refresh(t.Context(), b.user.ID, held, b.now.Add(time.Hour)); err != nil || ok {
		t.Errorf("refresh of an expired lock: %v, %v", ok, err)
	}
	_, err = lock("s", false, false)
	b.must(err)
	conflicts("s", false, false, false)
	conflicts("s", false, true, true)
}

func TestPropertiesOfDirectMembersAlone(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"d", "d/a", "d/b", "d/b/deep", "dx/a"} {
		b.setProp(name, name)
	}
	got, err := b.Attached.ChildProps(t.Context(), b.user.ID, "d")
	b.must(err)
	if len(got) != 2 || got["a"][0].Value != "d/a" || got["b"][0].Value != "d/b" {
		t.Errorf("%v", got)
	}
	if root, err := b.Attached.ChildProps(t.Context(), b.user.ID, ""); err != nil || len(root) != 1 {
		t.Errorf("%v, %v", root, err)
	}
}
