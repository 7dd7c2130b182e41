package server

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// builtAs tells which version of the program this is, by what it was built from,
// and with which Go.
func builtAs() (version, goVersion string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", runtime.Version()
	}
	version = info.Main.Version
	if version == "" || version == "(devel)" {
		version = "development"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				version += " " + s.Value[:min(len(s.Value), 12)]
			}
		}
	}
	return version, cmp.Or(info.GoVersion, runtime.Version())
}
