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
