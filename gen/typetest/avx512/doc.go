// Package avx512 has the kernels of typetest for this instruction set.
package avx512
