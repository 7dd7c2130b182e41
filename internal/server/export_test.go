package server

import "strings"

// ConsoleRoutes are the routes of the console, for tests.
func ConsoleRoutes() (out []string) {
	for _, rt := range routes {
		if strings.HasPrefix(rt.path, "/admin") {
			if rt.who != operators {
				panic(rt.path + " is not for operators alone")
			}
			out = append(out, rt.method+" "+rt.path)
		}
	}
	return out
}

// Paths are the paths of all routes with a method, with something in place of
// what they take; of pages alone, where that is wanted.
func Paths(method string, pagesAlone bool) (out []string) {
	fill := strings.NewReplacer("{$}", "", "{name}", "alice", "{host}", "x.example", "{id}", "x")
	for _, rt := range routes {
		page := rt.who == visitors || rt.who == members || rt.who == operators
		if (rt.method == method || rt.method == "" && !pagesAlone) && (page || !pagesAlone) {
			out = append(out, fill.Replace(rt.path))
		}
	}
	return out
}
