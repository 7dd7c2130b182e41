package sharing

import (
	"context"
	"maps"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/internal/audit"
)

// noteSent records an act on a share we send for the audit.
func (s *Service) noteSent(ctx context.Context, tx bun.IDB, action audit.Action, o *Outgoing, details audit.Details) error {
	all := audit.Details{"owner": o.OwnerID}
	maps.Copy(all, details)
	return audit.Note(ctx, tx, s.Now(), audit.Event{Action: action, Kind: "share", ID: o.ID, Name: o.Path, Target: o.ShareWith, Details: all})
}

// noteReceived records an act on a share sent to us.
func (s *Service) noteReceived(ctx context.Context, tx bun.IDB, action audit.Action, in *Incoming, details audit.Details) error {
	all := audit.Details{"share": in.ProviderID, "with": in.ShareWith}
	maps.Copy(all, details)
	return audit.Note(ctx, tx, s.Now(), audit.Event{Action: action, Kind: "received", ID: in.ID, Name: in.Name, Target: in.Sender, Details: all})
}

// noteRequest records an act on a request, of ours or of others, towards who is on
// the other side.
func (s *Service) noteRequest(ctx context.Context, tx bun.IDB, action audit.Action, id, what, other string, details audit.Details) error {
	return audit.Note(ctx, tx, s.Now(), audit.Event{Action: action, Kind: "request", ID: id, Name: what, Target: other, Details: details})
}
