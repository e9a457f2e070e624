// Package avx2 holds the AVX2 kernels. All but this file is generated; package
// fallback says what each computes. A call is not split and its lengths are
// trusted: package kernels is the way in.
package avx2
