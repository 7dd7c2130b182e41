package sharing

import (
	"context"
	"errors"
	"strings"

	"github.com/uptrace/bun"
)

// Everyone says which shares of all people an operator wants to see; what is
// empty does not matter.
type Everyone struct {
	Peer   string // the other server
	UserID string // whose they are, or whom they reach
	State  string // StateLive, a state of Outgoing, or of received ones: live, pending, accepted, quarantined, ended
	Text   string // in the name or an address
	Before string // the id of the last one of the page before
	Limit  int64
}

// StateLive stands for all states that give access.
const StateLive = "live"

func (f Everyone) page(q *bun.SelectQuery) *bun.SelectQuery {
	if f.Peer != "" {
		q = q.Where("peer_host = ?", f.Peer)
	}
	if f.Before != "" {
		q = q.Where("id < ?", f.Before)
	}
	return q.Order("id DESC").Limit(f.Limit)
}

func (f Everyone) like() string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(f.Text)) + "%"
}

// EverySent lists the shares that all people sent, the newest first.
func (s *Service) EverySent(ctx context.Context, f Everyone) ([]Outgoing, error) {
	out := []Outgoing{}
	return out, s.sent(s.DB.Read.NewSelect().Model(&out).ExcludeColumn("secret", "secret_hash"), f).Scan(ctx)
}

// EndableSent are the ids of those that EndByOperator can end.
func (s *Service) EndableSent(ctx context.Context, f Everyone) (ids []string, err error) {
	q := s.DB.Read.NewSelect().Model((*Outgoing)(nil)).Column("id").Where("state NOT IN (?)", bun.List([]string{StateEnded, StateDeclined}))
	return ids, s.sent(q, f).Scan(ctx, &ids)
}

func (s *Service) sent(q *bun.SelectQuery, f Everyone) *bun.SelectQuery {
	q = f.page(q)
	if f.UserID != "" {
		q = q.Where("owner_id = ?", f.UserID)
	}
	switch f.State {
	case "":
	case StateLive:
		q = q.Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted})).
			Where("(expires_at = 0 OR expires_at > ?)", s.Now().UnixMilli())
	default:
		q = q.Where("state = ?", f.State)
	}
	if f.Text != "" {
		q = q.Where(`(LOWER(path) LIKE ? ESCAPE '\' OR LOWER(share_with) LIKE ? ESCAPE '\' OR id = ?)`, f.like(), f.like(), f.Text)
	}
	return q
}

// Reaching is a share sent to us with what its recipients made of it.
type Reaching struct {
	Incoming `bun:",extend"`

	Waiting  int64 // recipients who have not answered
	Accepted int64 // recipients who accepted
}

// EveryReceived lists the shares that all people received, the newest first.
func (s *Service) EveryReceived(ctx context.Context, f Everyone) ([]Reaching, error) {
	out := []Reaching{}
	q := s.DB.Read.NewSelect().Model(&out).ModelTableExpr("incoming_shares AS s").ColumnExpr("s.*").
		ColumnExpr("(SELECT COUNT(*) FROM incoming_members AS m WHERE m.share_id = s.id AND m.state = ?) AS waiting", MemberPending).
		ColumnExpr("(SELECT COUNT(*) FROM incoming_members AS m WHERE m.share_id = s.id AND m.state = ?) AS accepted", MemberAccepted)
	return out, received(q, f).Scan(ctx)
}

// EndableReceived are the ids of those that EndByOperator can end; of one person's,
// those with groups are left to their other members.
func (s *Service) EndableReceived(ctx context.Context, f Everyone) (ids []string, err error) {
	q := s.DB.Read.NewSelect().TableExpr("incoming_shares AS s").Column("id").Where("ended_at = 0")
	if f.UserID != "" {
		q = q.Where("group_id = ''")
	}
	return ids, received(q, f).Scan(ctx, &ids)
}

func received(q *bun.SelectQuery, f Everyone) *bun.SelectQuery {
	q = f.page(q)
	if f.UserID != "" {
		q = q.Where("EXISTS (SELECT 1 FROM incoming_members AS m WHERE m.share_id = s.id AND m.user_id = ?)", f.UserID)
	}
	if f.State != "" && f.State != StateEnded {
		q = q.Where("ended_at = 0")
	}
	switch f.State {
	case StateEnded:
		q = q.Where("ended_at <> 0")
	case "quarantined":
		q = q.Where("quarantine <> ''")
	case MemberPending, MemberAccepted:
		q = q.Where("EXISTS (SELECT 1 FROM incoming_members AS m WHERE m.share_id = s.id AND m.state = ?)", f.State)
	}
	if f.Text != "" {
		q = q.Where(`(LOWER(name) LIKE ? ESCAPE '\' OR LOWER(sender) LIKE ? ESCAPE '\' OR LOWER(share_with) LIKE ? ESCAPE '\' OR id = ? OR provider_id = ?)`,
			f.like(), f.like(), f.like(), f.Text, f.Text)
	}
	return q
}

// endPart is how many shares one transaction ends.
const endPart = 100

// EndByOperator ends shares of anyone, sent or received, by their ids, and tells
// the other servers. Those that have ended, or are unknown, do not count.
func (s *Service) EndByOperator(ctx context.Context, ids []string) (ended int, err error) {
	defer s.Outbox.Wake()
	for from := 0; from < len(ids); from += endPart {
		n := 0
		err := s.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
			n = 0
			for _, id := range ids[from:min(from+endPart, len(ids))] {
				done, err := s.endAny(ctx, tx, id)
				if err != nil {
					return err
				}
				if done {
					n++
				}
			}
			return nil
		})
		if err != nil {
			return ended, err
		}
		ended += n
	}
	return ended, nil
}

const byOperator = "ended by the operator"

func (s *Service) endAny(ctx context.Context, tx bun.Tx, id string) (done bool, err error) {
	o, err := get[Outgoing](ctx, tx, "id = ?", id)
	if err == nil {
		if o.State == StateEnded || o.State == StateDeclined {
			return false, nil
		}
		return true, s.end(ctx, tx, o, byOperator)
	}
	if !errors.Is(err, ErrNoShare) {
		return false, err
	}
	in, err := get[Incoming](ctx, tx, "id = ?", id)
	if err != nil || in.EndedAt != 0 {
		return false, unless(err, ErrNoShare)
	}
	return true, s.giveUp(ctx, tx, in, byOperator)
}

// Numbers are how many shares there are that give access.
type Numbers struct{ Sent, Received int64 }

// Count counts the shares that give access, of all people.
func (s *Service) Count(ctx context.Context) (n Numbers, err error) {
	n.Sent, err = s.DB.Read.NewSelect().Model((*Outgoing)(nil)).Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted})).Count(ctx)
	if err == nil {
		n.Received, err = s.DB.Read.NewSelect().Model((*Incoming)(nil)).Where("ended_at = 0").Count(ctx)
	}
	return n, err
}

// CountOf counts those of some people.
func (s *Service) CountOf(ctx context.Context, userIDs []string) (map[string]Numbers, error) {
	out := map[string]Numbers{}
	if len(userIDs) == 0 {
		return out, nil
	}
	type row struct {
		ID string
		N  int64
	}
	var sent, received []row
	err := s.DB.Read.NewSelect().Model((*Outgoing)(nil)).ColumnExpr("owner_id AS id").ColumnExpr("COUNT(*) AS n").
		Where("owner_id IN (?)", bun.List(userIDs)).Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted})).
		GroupExpr("owner_id").Scan(ctx, &sent)
	if err == nil {
		err = s.DB.Read.NewSelect().TableExpr("incoming_members AS m").Join("JOIN incoming_shares AS s ON s.id = m.share_id").
			ColumnExpr("m.user_id AS id").ColumnExpr("COUNT(*) AS n").Where("m.user_id IN (?)", bun.List(userIDs)).
			Where("m.state IN (?)", bun.List([]string{MemberPending, MemberAccepted})).Where("s.ended_at = 0").GroupExpr("m.user_id").Scan(ctx, &received)
	}
	for _, r := range sent {
		out[r.ID] = Numbers{Sent: r.N}
	}
	for _, r := range received {
		out[r.ID] = Numbers{out[r.ID].Sent, r.N}
	}
	return out, err
}
