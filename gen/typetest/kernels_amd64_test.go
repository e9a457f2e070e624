//go:build !purego && !noasm

package typetest

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/lockstep-go/lockstep/gen/typetest/avx2"
	"github.com/lockstep-go/lockstep/gen/typetest/avx512"
)

// kernels are the kernels that this CPU has.
func kernels() map[string]mixed {
	all := map[string]mixed{}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.F16C) {
		all["avx2"] = avx2.Mixed
	}
	if cpuid.CPU.Supports(cpuid.F16C, cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.BMI2) {
		all["avx512"] = avx512.Mixed
	}
	return all
}
