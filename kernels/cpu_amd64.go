//go:build !purego && !noasm

package kernels

import (
	"slices"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/cpu"
)

// has asks cpuid, which knows whether the operating system saves the registers,
// and takes what x/sys/cpu says, which heeds GODEBUG.
func has(name string, id cpuid.FeatureID, allowed bool) feature {
	return feature{name, cpuid.CPU.Supports(id) && allowed}
}

var (
	forAVX2 = []feature{
		has("AVX", cpuid.AVX, cpu.X86.HasAVX),
		has("AVX2", cpuid.AVX2, cpu.X86.HasAVX2),
		has("FMA3", cpuid.FMA3, cpu.X86.HasFMA),
		has("F16C", cpuid.F16C, true), // of which GODEBUG knows nothing
	}
	forAVX512 = append(slices.Clone(forAVX2),
		has("BMI2", cpuid.BMI2, cpu.X86.HasBMI2),
		has("AVX512F", cpuid.AVX512F, cpu.X86.HasAVX512F),
		has("AVX512VL", cpuid.AVX512VL, cpu.X86.HasAVX512VL),
		has("AVX512DQ", cpuid.AVX512DQ, cpu.X86.HasAVX512DQ),
		has("AVX512BW", cpuid.AVX512BW, cpu.X86.HasAVX512BW),
	)
	candidates = inOrder(cpuid.CPU.VendorID, cpuid.CPU.Model)
)

// skylake are the models of Intel's that have the core of Cascade Lake: servers from
// Skylake to Cooper Lake (85), and desktops and laptops from Skylake to Comet Lake.
var skylake = []int{78, 85, 94, 142, 158, 165, 166}

// inOrder lists the tables best first for a vendor's CPUs. Newton's iteration pays where
// the divider is slow beside the multipliers: on Sapphire Rapids, which needs 23 cycles
// for the root and the quotient of 16 elements. On Zen 4, with 16, and on Cascade Lake it
// does not: there avx512newton takes 1.05 to 1.3 times as long as avx512, and avx2newton
// 1.5 times as long as avx2. Others were not measured. The kernels of these tables fetch ahead
// too, which Zen 4 loses by in L3.
func inOrder(vendor cpuid.Vendor, model int) []candidate {
	list := []candidate{
		{avx512newtonTable, forAVX512}, {avx512Table, forAVX512},
		{avx2newtonTable, forAVX2}, {avx2Table, forAVX2},
	}
	if vendor != cpuid.Intel || slices.Contains(skylake, model) {
		list[0], list[1] = list[1], list[0]
		list[2], list[3] = list[3], list[2]
	}
	return list
}
