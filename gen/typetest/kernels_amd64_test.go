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
		all["avx2"] = table{avx2.Mixed, products(avx2.Products, avx2.Operands)}
	}
	if cpuid.CPU.Supports(cpuid.F16C, cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.BMI2) {
		all["avx512"] = table{avx512.Mixed, products(avx512.Products, avx512.Operands)}
	}
	return all
}
