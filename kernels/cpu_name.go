//go:build (amd64 || arm64) && !purego && !noasm

package kernels

import (
	"cmp"
	"fmt"

	"github.com/klauspost/cpuid/v2"
)

// cpuName is what the CPU calls itself, its numbers, and what it is simulated by. CPUs
// of Arm have numbers alone.
func cpuName() string {
	c := &cpuid.CPU
	name := fmt.Sprintf("%s (family %#x, model %#x)", cmp.Or(c.BrandName, c.VendorString, "a CPU without a name"), c.Family, c.Model)
	if c.HypervisorVendorString != "" {
		name += " under " + c.HypervisorVendorString
	}
	return name
}
