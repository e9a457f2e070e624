//go:build !purego && !noasm

package kernels

import (
	"testing"

	"github.com/klauspost/cpuid/v2"
)

// TestDetect has a library that does not find ASIMD, as on systems that it does not know.
func TestDetect(t *testing.T) {
	if cpuid.CPU.Has(cpuid.ASIMD) {
		cpuid.CPU.Disable(cpuid.ASIMD)
		defer cpuid.CPU.Enable(cpuid.ASIMD)
	}
	for debug, want := range map[string]bool{
		"": true, "cpu.asimd=off": false, "panicnil=1,cpu.asimd=off": false, "cpu.all=off": false, "cpu.asimd=on": true,
		"cpu.asimd=off,cpu.asimd=on": true, "cpu.asimdhp=off": true,
	} {
		if c := (candidate{neonTable, forNEON(debug)}); (len(c.missing()) == 0) != want {
			t.Errorf("GODEBUG=%s: lacks %v", debug, c.missing())
		}
	}
}
