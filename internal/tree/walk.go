package tree

import (
	"context"
	"errors"
)

// ErrSkipFolder as the answer of a visit leaves out what the folder holds.
var ErrSkipFolder = errors.New("skip this folder")

// Walk visits what lies below a folder, and each folder before what it holds. It
// ends with the first failure, or what visit returns. A name that cannot be used
// here is a failure: it would lead elsewhere.
func Walk(ctx context.Context, t Tree, name string, visit func(path string, info Info) error) error {
	// The listing is finished before anything is visited: a remote one keeps a
	// connection.
	var children []Info
	for info, err := range t.List(ctx, name) {
		if err != nil {
			return err
		}
		if !proper(info.Name) {
			return ErrName.Saying("A folder holds the name %.80q, which cannot be used here.", info.Name)
		}
		children = append(children, info)
	}
	for _, info := range children {
		path, err := Clean(Join(name, info.Name)) // the bound on depth
		if err != nil {
			return err
		}
		switch err := visit(path, info); {
		case errors.Is(err, ErrSkipFolder):
			continue
		case err != nil:
			return err
		case info.Dir:
			if err := Walk(ctx, t, path, visit); err != nil {
				return err
			}
		}
	}
	return nil
}
