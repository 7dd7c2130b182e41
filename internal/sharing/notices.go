package sharing

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/delivery"
	"github.com/weft-mesh/weft/internal/notice"
	"github.com/weft-mesh/weft/internal/tree"
	"github.com/weft-mesh/weft/ocm"
)

// Why a received share ended, in the words of notices.
const (
	endedByOwner = "ended by its owner"
	endedByTime  = "expired"
	endedOfGroup = "the group was removed"
)

// tellOwner writes a notice for the owner of a share that we send.
func (s *Service) tellOwner(ctx context.Context, tx bun.Tx, o *Outgoing, kind notice.Kind, more notice.Params) error {
	more.Share, more.Name, more.Path, more.Folder = o.ID, o.Name, o.Path, o.ResourceType == ocm.ResourceFolder
	more.Who, more.WhoName, more.Host = o.ShareWith, o.RecipientName, o.PeerHost
	return s.Notices.Put(ctx, tx, notice.Event{Kind: kind, About: more}, o.OwnerID)
}

// tellReshared writes the notice of a share that was made in the right of another.
func (s *Service) tellReshared(ctx context.Context, tx bun.Tx, o *Outgoing) error {
	parent, err := get[Outgoing](ctx, tx, "id = ?", o.Parent)
	if err != nil {
		return err
	}
	about := notice.Params{
		Share: o.ID, Name: o.Name, Path: o.Path, Folder: o.ResourceType == ocm.ResourceFolder, Rights: splitPerms(o.Permissions),
		Who: parent.ShareWith, WhoName: parent.RecipientName, With: o.ShareWith, Host: parent.PeerHost,
	}
	return s.Notices.Put(ctx, tx, notice.Event{Kind: notice.Reshared, About: about}, o.OwnerID)
}

// ofReceived is what notices say of a share sent to us.
func ofReceived(in *Incoming) notice.Params {
	return notice.Params{
		Share: in.ID, Name: in.Name, Folder: in.ResourceType == ocm.ResourceFolder,
		Who: in.Sender, WhoName: in.SenderName, Host: in.PeerHost, Rights: splitPerms(in.Permissions),
	}
}

// tellArrived writes the notices of a share that has come. For one that was asked
// for, it is the answer; strangers' shares that wait apart are one notice for each
// server.
func (s *Service) tellArrived(ctx context.Context, tx bun.Tx, in *Incoming, members []Member, trusted bool, asked *SentRequest, request string) error {
	e := notice.Event{Kind: notice.Received, About: ofReceived(in), Request: request, Fresh: in.Quarantine == ""}
	e.About.Words, e.About.Until = in.Description, in.ExpiresAt
	switch {
	case asked != nil:
		e.Kind, e.About.Request = notice.RequestGranted, asked.ID
	case in.Quarantine != "":
		e.Kind, e.Subject = notice.Held, in.PeerHost
	case trusted:
		e.Kind = notice.TakenOver
	}
	var ids []string
	for _, m := range members {
		if m.State == MemberPending {
			ids = append(ids, m.UserID)
		}
	}
	return s.Notices.Put(ctx, tx, e, ids...)
}

// tellRecipients writes a notice for those who have a received share, or are yet
// to answer.
func (s *Service) tellRecipients(ctx context.Context, tx bun.Tx, in *Incoming, kind notice.Kind, more notice.Params) error {
	about := ofReceived(in)
	about.Reason, about.Until = more.Reason, more.Until
	var ids []string
	err := tx.NewSelect().Model((*Member)(nil)).Column("user_id").Where("share_id = ?", in.ID).
		Where("state IN (?)", bun.List([]string{MemberPending, MemberAccepted})).Scan(ctx, &ids)
	if err != nil {
		return err
	}
	return s.Notices.Put(ctx, tx, notice.Event{Kind: kind, About: about}, ids...)
}

// tellEnded writes the notices of the end of a received share. What its recipient
// or the operator ended with an account is nobody's news.
func (s *Service) tellEnded(ctx context.Context, tx bun.Tx, in *Incoming, reason string) error {
	word := map[string]string{endedByOwner: "owner", endedByTime: "time", endedOfGroup: "group"}[reason]
	if word == "" {
		return nil
	}
	return s.tellRecipients(ctx, tx, in, notice.ReceivedEnded, notice.Params{Reason: word})
}

// tellAsked writes the notice of a question to one of our people.
func (s *Service) tellAsked(ctx context.Context, tx bun.Tx, q *ReceivedRequest) error {
	about := notice.Params{
		Request: q.ID, Name: lastOf(q.ShareID), Path: q.Path, Folder: q.ResourceType == ocm.ResourceFolder,
		Who: q.Asker, Host: q.PeerHost, Rights: splitPerms(q.Permissions), Words: q.Message,
	}
	if q.Path != "" {
		about.Name = lastOf(q.Path)
	}
	if q.Kind == AskReshare {
		about.With = q.ShareWith
	}
	return s.Notices.Put(ctx, tx, notice.Event{Kind: notice.Asked, About: about}, q.OwnerID)
}

// tellAsker writes the notice of what became of a request of one of our people.
func (s *Service) tellAsker(ctx context.Context, tx bun.Tx, r *SentRequest, kind notice.Kind, more notice.Params) error {
	more.Request, more.Name, more.Folder = r.ID, r.Name, r.ResourceType == ocm.ResourceFolder
	more.Who, more.Host, more.Rights = r.Owner, r.PeerHost, splitPerms(r.Permissions)
	if r.Kind == AskReshare {
		more.With = r.ShareWith
	}
	return s.Notices.Put(ctx, tx, notice.Event{Kind: kind, About: more}, r.UserID)
}

// becauseOf is why a delivery failed, in the words of notices.
func becauseOf(cause error) notice.Params {
	reason, code := delivery.Reason(cause)
	return notice.Params{Reason: reason, Code: code}
}

// Before the end of a share its people are told once: a quarter of its life
// before, and three days at most.
const warnAtMost = 3 * 24 * time.Hour

// endingSoon selects the shares whose people are to be told of the end.
func endingSoon(q *bun.SelectQuery, now time.Time) *bun.SelectQuery {
	return q.Where("expires_at > ? AND expires_at <= ?", now.UnixMilli(), now.Add(warnAtMost).UnixMilli()).
		Where("warned_for <> expires_at").Where("(expires_at - ?) * 4 <= expires_at - created_at", now.UnixMilli()).Limit(1000)
}

// sweepEnding tells of the shares that end soon.
func (s *Service) sweepEnding(ctx context.Context, tx bun.Tx) error {
	now := s.Now()
	var sent []Outgoing
	err := endingSoon(tx.NewSelect().Model(&sent), now).Where("state IN (?)", bun.List([]string{StatePending, StateDelivered, StateAccepted})).Scan(ctx)
	if err != nil {
		return err
	}
	for _, o := range sent {
		if err := s.tellOwner(ctx, tx, &o, notice.SentExpires, notice.Params{Until: o.ExpiresAt}); err != nil {
			return err
		}
		if _, err := tx.NewUpdate().Model(&o).Set("warned_for = expires_at").WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	var received []Incoming
	if err := endingSoon(tx.NewSelect().Model(&received), now).Where("ended_at = 0").Scan(ctx); err != nil {
		return err
	}
	for _, in := range received {
		if err := s.tellRecipients(ctx, tx, &in, notice.ReceivedExpires, notice.Params{Until: in.ExpiresAt}); err != nil {
			return err
		}
		if _, err := tx.NewUpdate().Model(&in).Set("warned_for = expires_at").WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sameRights reports whether two lists of permissions allow the same.
func sameRights(a, b []string) bool { return tree.ParseRights(a) == tree.ParseRights(b) }
