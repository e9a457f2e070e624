package update

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestOneMinusPower(t *testing.T) {
	for _, beta := range []float64{0, .5, .9, .99, .999, .9999999, 1 - 0x1p-53} {
		p := newPower(beta)
		for _, n := range []int64{1, 2, 3, 7, 10, 100, 999, 1000, 65535, 1e6, 1 << 40, math.MaxInt64} {
			got := p.oneMinus(n)
			if want, ok := exactOneMinusPower(beta, n); ok && math.Abs(got-want) > 0x1p-52*want {
				t.Errorf("1 - %g^%d = %.17g, want %.17g", beta, n, got, want)
			}
			if !(got > 0 && got <= 1) {
				t.Errorf("1 - %g^%d = %g", beta, n, got)
			}
		}
	}
}

// TestPowerBits keeps the bits of the powers what they are, whatever the machine:
// scalars that are rounded to float32 would hide most differences.
func TestPowerBits(t *testing.T) {
	h := fnv.New64a()
	for _, beta := range []float64{.9, .99, .999, .9999999} {
		p := newPower(beta)
		for n := int64(1); n < 1e6; n += 1 + n/7 {
			must(t, binary.Write(h, binary.LittleEndian, p.oneMinus(n)))
		}
	}
	if got, want := h.Sum64(), uint64(0x3d7f5a9bd99a018a); got != want {
		t.Errorf("the bits have changed: %#x, were %#x", got, want)
	}
}

// TestResidue compares the rest of products with math.FMA's.
func TestResidue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() float64 { return math.Ldexp(1+random.Float64(), -1-random.IntN(400)) }
	for range 1_000_000 {
		x, y := number(), number()
		product := float64(x * y)
		if got, want := residue(x, y, product), math.FMA(x, y, -product); got != want {
			t.Fatalf("%x·%x - %x is %x, want %x", x, y, product, got, want)
		}
	}
}

// exactOneMinusPower computes with 2000 bits, for exponents that it can reach.
func exactOneMinusPower(beta float64, n int64) (float64, bool) {
	if n > 1e6 {
		return 1, beta < .99999
	}
	x := big.NewFloat(1).SetPrec(2000)
	square := big.NewFloat(beta).SetPrec(2000)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			x.Mul(x, square)
		}
		square.Mul(square, square)
	}
	y, _ := new(big.Float).SetPrec(2000).Sub(big.NewFloat(1), x).Float64()
	return y, true
}
