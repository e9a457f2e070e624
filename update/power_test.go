package update

import (
	"math"
	"math/big"
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
