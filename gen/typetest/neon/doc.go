// Package neon has the kernels of typetest for this instruction set.
package neon
