package update

import "math/bits"

// A power is the powers of a number below 1. They are made of exact products
// and explicit roundings, because Go promises the bits of math.Pow, Log and
// Expm1 for no two CPUs alike. βᵗ is one of the first powers times one of
// β⁶⁴, which serves for 64 steps; it depends on t alone, however t was reached.
type power struct {
	first   [blockSteps]doubleDouble         // 1, β, β², ...
	squares [63 - blockStepBits]doubleDouble // β⁶⁴, β¹²⁸, β²⁵⁶, ...
	block   int64                            // the block of steps at work
	base    doubleDouble                     // β to the power of its first step
}

// blockSteps is how many steps are one product away from each other.
const (
	blockStepBits = 6
	blockSteps    = 1 << blockStepBits
)

// A doubleDouble is a number as the sum of two, the second below the last bit of the
// first.
type doubleDouble struct{ high, low float64 }

func newPower(beta float64) power {
	p := power{base: doubleDouble{1, 0}}
	x := doubleDouble{1, 0}
	for k := range p.first {
		p.first[k] = x
		x = x.times(doubleDouble{beta, 0})
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
		p.block, p.base = block, doubleDouble{1, 0}
		for block > 0 && p.base.high > 0x1p-60 { // below, the result is 1
			k := bits.Len64(uint64(block)) - 1
			p.base = p.base.times(p.squares[k])
			block -= 1 << k
		}
	}
	x := p.base.times(p.first[t&(blockSteps-1)])
	return (1 - x.high) - x.low
}

func (x doubleDouble) times(y doubleDouble) doubleDouble {
	product := float64(x.high * y.high)
	rest := residue(x.high, y.high, product) + (float64(x.high*y.low) + float64(x.low*y.high))
	sum := product + rest
	return doubleDouble{sum, rest - (sum - product)}
}

// residue is x·y - product, exactly, where product is x·y rounded (Dekker 1971) and nothing
// is subnormal: from 2⁻⁹⁰⁰ on, far below the powers that 1 - βᵗ shows. It is math.FMA's
// result; but not every C library's fma is exact, and C has the same powers.
func residue(x, y, product float64) float64 {
	xHigh, yHigh := upper(x), upper(y)
	xLow, yLow := x-xHigh, y-yHigh
	return float64(xLow*yLow) - (((product - float64(xHigh*yHigh)) - float64(xLow*yHigh)) - float64(xHigh*yLow))
}

// upper is x in 26 bits, which leave 26 to the rest (Veltkamp 1968), so that products of
// either are exact.
func upper(x float64) float64 {
	scaled := float64(x * (1<<27 + 1))
	return scaled - (scaled - x)
}
