package update

import (
	"math"
	"math/bits"
)

// A power is the powers of a number below 1. They are made of exact products
// (math.FMA) and explicit roundings, because Go promises the bits of math.Pow,
// Log and Expm1 for no two CPUs alike. βᵗ is one of the first powers times one of
// β⁶⁴, which serves for 64 steps; it depends on t alone, however t was reached.
type power struct {
	first   [blockSteps]double         // 1, β, β², ...
	squares [63 - blockStepBits]double // β⁶⁴, β¹²⁸, β²⁵⁶, ...
	block   int64                      // the block of steps at work
	base    double                     // β to the power of its first step
}

// blockSteps is how many steps are one product away from each other.
const (
	blockStepBits = 6
	blockSteps    = 1 << blockStepBits
)

// A double is a number as the sum of two, the second below the last bit of the
// first.
type double struct{ high, low float64 }

func newPower(beta float64) *power {
	p := &power{base: double{1, 0}}
	x := double{1, 0}
	for k := range p.first {
		p.first[k] = x
		x = x.times(double{beta, 0})
	}
	for k := range p.squares {
		p.squares[k] = x
		x = x.times(x)
	}
	return p
}

// oneMinus is 1 - βᵗ, to the last bit also where βᵗ is near 1.
func (p *power) oneMinus(t int64) float64 {
	if block := t >> blockStepBits; block != p.block {
		p.block, p.base = block, double{1, 0}
		for block > 0 && p.base.high > 0x1p-60 { // below, the result is 1
			k := bits.Len64(uint64(block)) - 1
			p.base = p.base.times(p.squares[k])
			block -= 1 << k
		}
	}
	x := p.base.times(p.first[t&(blockSteps-1)])
	return (1 - x.high) - x.low
}

func (x double) times(y double) double {
	product := float64(x.high * y.high)
	rest := math.FMA(x.high, y.high, -product) + (float64(x.high*y.low) + float64(x.low*y.high))
	sum := product + rest
	return double{sum, rest - (sum - product)}
}
