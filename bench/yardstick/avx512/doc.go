// Package avx512 holds the AVX-512 yardsticks. All but this file is generated.
package avx512
