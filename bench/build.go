package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// A Build says what was measured.
type Build struct {
	Version string // of the library
	Commit  string // empty where nobody knows; +changes where files differ from it
}

const library = "github.com/lockstep-go/lockstep"

// build asks the program itself, and git where the program was not told: go run does
// not tell it.
func build() Build {
	b := Build{Version: "unreleased"}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = libraryVersion(info)
		b.Commit = stampedCommit(info)
	}
	if b.Commit == "" {
		b.Commit = gitCommit()
	}
	return b
}

func libraryVersion(info *debug.BuildInfo) string {
	for _, m := range info.Deps {
		if m.Path == library && m.Replace == nil && strings.Trim(m.Version, "v0.") != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "unreleased"
}

func stampedCommit(info *debug.BuildInfo) string {
	var commit, changes string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changes = "+changes"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changes
}

// gitCommit is the commit of the folder that this file was compiled from.
func gitCommit() string {
	_, file, _, _ := runtime.Caller(0)
	git := func(a ...string) (string, bool) {
		out, err := exec.Command("git", append([]string{"-C", filepath.Dir(file)}, a...)...).Output()
		return strings.TrimSpace(string(out)), err == nil
	}
	commit, ok := git("rev-parse", "HEAD")
	if !ok {
		return ""
	}
	if changes, ok := git("status", "--porcelain"); !ok || changes != "" {
		commit += "+changes"
	}
	return commit
}

// text is what was measured in a line.
func (b Build) text() string {
	if b.Commit == "" {
		return "Lockstep " + b.Version
	}
	commit, changes, _ := strings.Cut(b.Commit, "+")
	if changes != "" {
		changes = " with changes"
	}
	return "Lockstep " + b.Version + ", commit " + commit[:min(12, len(commit))] + changes
}
