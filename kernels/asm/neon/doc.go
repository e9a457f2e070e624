// Package neon holds the NEON kernels. All but this file is generated; package
// fallback says what each computes. A call is not split and its lengths are
// trusted: package kernels is the way in.
package neon
