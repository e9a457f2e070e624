//go:build !purego && !noasm

package typetest

import "github.com/lockstep-go/lockstep/gen/typetest/neon"

// kernels are the kernels that this CPU has.
func kernels() map[string]table {
	return map[string]table{"neon": table{neon.Mixed, products(neon.Products, neon.Operands)}}
}
