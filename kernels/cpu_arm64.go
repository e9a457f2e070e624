//go:build !purego && !noasm

package kernels

import "strings"

var candidates = []candidate{{neonTable, forNEON(environment.debug)}}

// forNEON is there on every CPU, unless GODEBUG takes it away: ASIMD is part of the
// architecture, and Go itself computes with its registers. No library is asked, since
// one that cannot look on some operating system says that it is missing.
func forNEON(debug string) []feature {
	return []feature{{"ASIMD", !switchedOff(debug, "asimd")}}
}

// switchedOff reports whether a value of GODEBUG takes a feature of the CPU away. The
// last word counts.
func switchedOff(debug, name string) bool {
	off := false
	for field := range strings.SplitSeq(debug, ",") {
		switch key, value, _ := strings.Cut(field, "="); key {
		case "cpu." + name, "cpu.all":
			off = value == "off"
		}
	}
	return off
}
