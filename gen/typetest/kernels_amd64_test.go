//go:build !purego && !noasm

package typetest

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/lockstep-go/lockstep/gen/typetest/avx2"
	"github.com/lockstep-go/lockstep/gen/typetest/avx512"
)

// kernels are the kernels that this CPU has.
func kernels() map[string]table {
	all := map[string]table{}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.F16C) {
		all["avx2"] = table{avx2.Mixed, avx2.Products}
	}
	if cpuid.CPU.Supports(cpuid.F16C, cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.BMI2) {
		all["avx512"] = table{avx512.Mixed, avx512.Products}
	}
	return all
}
