package update

import (
	"math"
	"math/bits"
)

// A power is the powers of a number below 1. They are made of exact products
// (math.FMA) and explicit roundings, because Go promises the bits of math.Pow,
// Log and Expm1 for no two CPUs alike.
type power struct {
	squares [63]double // β, β², β⁴, ...
}

// A double is a number as the sum of two, the second below the last bit of the
// first.
type double struct{ high, low float64 }

func newPower(beta float64) *power {
	p := new(power)
	x := double{beta, 0}
	for k := range p.squares {
		p.squares[k] = x
		x = x.times(x)
	}
	return p
}

// oneMinus is 1 - βᵗ, to the last bit also where βᵗ is near 1.
func (p *power) oneMinus(t int64) float64 {
	x := double{1, 0}
	for t > 0 && x.high > 0x1p-60 { // below, the result is 1
		k := bits.Len64(uint64(t)) - 1
		x = x.times(p.squares[k])
		t -= 1 << k
	}
	return (1 - x.high) - x.low
}

func (x double) times(y double) double {
	product := float64(x.high * y.high)
	rest := math.FMA(x.high, y.high, -product) + (float64(x.high*y.low) + float64(x.low*y.high))
	sum := product + rest
	return double{sum, rest - (sum - product)}
}
