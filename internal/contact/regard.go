package contact

import (
	"context"
	"strings"

	"github.com/uptrace/bun"

	"github.com/weft-mesh/weft/ocm"
)

// Regard is how someone looks to one of our people, from what is known here:
// nobody is asked.
type Regard struct {
	Contact *Contact // nil: in no address book
	Server  Server   // as it was when last seen; Seen is false for one never met
	// Alike are addresses of others whom the person knows by the same name, or by
	// one that looks the same, when this one is a stranger.
	Alike []string
}

// Regards tells how some people look to a user: names by their addresses.
func (s *Service) Regards(ctx context.Context, userID string, people map[string]string) (map[string]Regard, error) {
	out := map[string]Regard{}
	if len(people) == 0 {
		return out, nil
	}
	addresses := make([]string, 0, len(people))
	for a := range people {
		addresses = append(addresses, a)
	}
	var known []Contact
	err := s.DB.Read.NewSelect().Model(&known).Where("user_id = ? AND address IN (?)", userID, bun.List(addresses)).Scan(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range known {
		out[c.Address] = Regard{Contact: &c}
	}
	strangers := map[string][]string{} // by how their names look
	for address, name := range people {
		r := out[address]
		if a, err := ocm.ReadAddress(address); err == nil {
			r.Server = s.recall(ctx, a.Host)
		}
		out[address] = r
		if look := looks(name); r.Contact == nil && look != "" {
			strangers[look] = append(strangers[look], address)
		}
	}
	if len(strangers) == 0 {
		return out, nil
	}
	var book []Contact
	if err := s.DB.Read.NewSelect().Model(&book).Column("address", "name").Where("user_id = ? AND name <> ''", userID).Scan(ctx); err != nil {
		return nil, err
	}
	for _, c := range book {
		for _, address := range strangers[looks(c.Name)] {
			r := out[address]
			r.Alike = append(r.Alike, c.Address)
			out[address] = r
		}
	}
	return out, nil
}

// looks is a name as it looks at a glance: without case and spaces, and with the
// Latin letters it could be taken for.
func looks(name string) string {
	return skeleton(strings.Join(strings.Fields(fold(name)), " "))
}

// recall is Look from memory alone.
func (s *Service) recall(ctx context.Context, host ocm.Host) Server {
	out := Server{Host: host, Warning: lookalike(host)}
	if d := s.Peers.Known(ctx, host); d != nil {
		out.Seen, out.Name, out.Signs = true, ocm.DisplayName(d.Provider), d.HasCapability(ocm.CapHTTPSig)
	}
	if entry, ok, err := s.Directories.entry(ctx, host); err == nil && ok {
		out.Federation, out.Listed = entry.Federation, entry.DisplayName
	}
	return out
}

// Names tells by which names a person knows some addresses; others are not
// among the answers.
func (s *Service) Names(ctx context.Context, userID string, addresses []string) (map[string]string, error) {
	out := map[string]string{}
	if len(addresses) == 0 {
		return out, nil
	}
	var known []Contact
	err := s.DB.Read.NewSelect().Model(&known).Column("address", "name").Where("user_id = ? AND name <> '' AND address IN (?)", userID, bun.List(addresses)).Scan(ctx)
	for _, c := range known {
		out[c.Address] = c.Name
	}
	return out, err
}
