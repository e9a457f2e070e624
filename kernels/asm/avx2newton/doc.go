// Package avx2newton holds AVX2 kernels, half of whose square roots come from
// Newton's iteration, for CPUs whose divider is slow beside their multipliers. All
// but this file is generated; package fallback says what each computes. A call is
// not split and its lengths are trusted: package kernels is the way in.
package avx2newton
