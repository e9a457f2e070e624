// Package avx2 has the kernels of typetest for this instruction set.
package avx2
