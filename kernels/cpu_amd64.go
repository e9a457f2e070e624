//go:build !purego && !noasm

package kernels

import (
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
	}
	forAVX512 = append(forAVX2[:2:2],
		has("BMI2", cpuid.BMI2, cpu.X86.HasBMI2),
		has("AVX512F", cpuid.AVX512F, cpu.X86.HasAVX512F),
		has("AVX512VL", cpuid.AVX512VL, cpu.X86.HasAVX512VL),
		has("AVX512DQ", cpuid.AVX512DQ, cpu.X86.HasAVX512DQ),
		has("AVX512BW", cpuid.AVX512BW, cpu.X86.HasAVX512BW),
	)
	candidates = []candidate{{&avx512Table, forAVX512}, {&avx2Table, forAVX2}}
)

func cpuName() string { return cpuid.CPU.BrandName }
