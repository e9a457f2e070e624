// Package avx2 holds the AVX2 yardsticks. All but this file is generated.
package avx2
