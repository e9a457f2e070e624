// Package avx2newton holds the AVX2 kernels that are others for Intel's newer CPUs, whose
// divider is slow beside their multipliers: square roots come from Newton's iteration there,
// and loops fetch ahead. All but this file is generated; package fallback says what each
// computes. A call is not split and its lengths are trusted: package kernels is the way in.
package avx2newton
