package fallback

import (
	"encoding/binary"
	"flag"
	"hash/fnv"
	"math"
	"math/big"
	"runtime"
	"slices"
	"sync"
	"testing"
)

var all = flag.Bool("all", false, "measure the elementary functions on all 2³² inputs")

type function struct {
	name  string
	got   func(float32) float32
	want  func(float64) float64
	bound float64
	bits  uint64 // a hash of each 8191st result
}

// elementary are the functions, in float64, and how far they may be off.
var elementary = []function{
	{"exp", exp, math.Exp, 0.8904, 0xfd7f7854eeb2b0b2},
	{"expm1", expm1, math.Expm1, 0.7072, 0xf12ec48feb539208},
	{"log", log, math.Log, 0.6607, 0x405697fead7461c0},
	{"log1p", log1p, math.Log1p, 0.6607, 0x9ca47f8929e86fc3},
	{"tanh", tanh, math.Tanh, 0.9141, 0x5999b7c52d4d72a},
	{"sigmoid", sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 0.7866, 0x21dab1dd82ce4bed},
	{"softplus", softplus, func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, 0.8029, 0x3a7d8d83ff373780},
	{"cbrt", func(x float32) float32 { return cbrt(abs(x)) }, func(x float64) float64 { return math.Cbrt(math.Abs(x)) }, 0.74, 0x52c6b8d8e1115f0c},
}

// TestAccuracy measures the elementary functions in units in the last place of
// the exact result, by default on every 8191st input.
func TestAccuracy(t *testing.T) {
	for _, f := range elementary {
		t.Run(f.name, func(t *testing.T) {
			stride := uint64(8191)
			if *all {
				stride = 1
			}
			worst, at := 0.0, float32(0)
			workers := runtime.GOMAXPROCS(0)
			var running sync.WaitGroup
			var own sync.Mutex
			for w := range workers {
				running.Go(func() {
					most, where := 0.0, float32(0)
					for bits := stride * uint64(w); bits < 1<<32; bits += stride * uint64(workers) {
						x := math.Float32frombits(uint32(bits))
						if e := ulps(f.got(x), f.want(float64(x))); e > most {
							most, where = e, x
						}
					}
					own.Lock()
					defer own.Unlock()
					if most > worst {
						worst, at = most, where
					}
				})
			}
			running.Wait()
			if worst > f.bound {
				t.Errorf("%s(%g) is %.4f ulp off, the bound is %.4f", f.name, at, worst, f.bound)
			}
			t.Logf("at most %.4f ulp, at %g (%#x)", worst, at, math.Float32bits(at))
		})
	}
}

// ulps is how far got is from want, and infinite where one of them is special
// and they are not the same.
func ulps(got float32, want float64) float64 {
	rounded := float32(want)
	if want == 0 || want != want || math.IsInf(float64(rounded), 0) || math.IsInf(float64(got), 0) {
		if math.Float32bits(got) == math.Float32bits(rounded) || got != got && want != want {
			return 0
		}
		return math.Inf(1)
	}
	exponent := int(math.Float64bits(want)>>52&(1<<11-1)) - 1023
	unit := max(exponent-23, -149)
	return math.Abs(float64(got)-want) * math.Float64frombits(uint64(1023-unit)<<52)
}

func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	minusZero := float32(math.Copysign(0, -1))
	for _, c := range []struct {
		name      string
		f         func(float32) float32
		x, result float32
	}{
		{"exp", exp, nan, nan}, {"exp", exp, inf, inf}, {"exp", exp, -inf, 0}, {"exp", exp, 0, 1}, {"exp", exp, minusZero, 1},
		{"exp", exp, 89, inf}, {"exp", exp, -104, 0}, {"exp", exp, -103, 0x1p-149},
		{"log", log, nan, nan}, {"log", log, inf, inf}, {"log", log, -inf, nan}, {"log", log, -1, nan},
		{"log", log, 0, -inf}, {"log", log, minusZero, -inf}, {"log", log, 1, 0},
		{"cbrt", cbrt, nan, nan}, {"cbrt", cbrt, inf, inf}, {"cbrt", cbrt, 0, 0}, {"cbrt", cbrt, 8, 2}, {"cbrt", cbrt, 1, 1},
		{"log1p", log1p, nan, nan}, {"log1p", log1p, inf, inf}, {"log1p", log1p, -inf, nan}, {"log1p", log1p, -2, nan},
		{"log1p", log1p, -1, -inf}, {"log1p", log1p, 0, 0}, {"log1p", log1p, minusZero, minusZero},
		{"log1p", log1p, 0x1p-149, 0x1p-149},
		{"expm1", expm1, nan, nan}, {"expm1", expm1, inf, inf}, {"expm1", expm1, -inf, -1}, {"expm1", expm1, 0, 0},
		{"expm1", expm1, minusZero, minusZero}, {"expm1", expm1, 0x1p-149, 0x1p-149}, {"expm1", expm1, -0x1.fffffcp-127, -0x1.fffffcp-127},
		{"expm1", expm1, 0x1.62e42ep6, 0x1.ffff08p127}, {"expm1", expm1, 0x1.62e43p6, inf}, {"expm1", expm1, -18, -1},
		{"tanh", tanh, nan, nan}, {"tanh", tanh, inf, 1}, {"tanh", tanh, -inf, -1}, {"tanh", tanh, 0, 0}, {"tanh", tanh, 1e30, 1},
		{"tanh", tanh, minusZero, minusZero}, {"tanh", tanh, 0x1p-149, 0x1p-149}, {"tanh", tanh, -0x1.fffffcp-127, -0x1.fffffcp-127},
		{"sigmoid", sigmoid, nan, nan}, {"sigmoid", sigmoid, inf, 1}, {"sigmoid", sigmoid, -inf, 0}, {"sigmoid", sigmoid, 0, .5},
		{"sigmoid", sigmoid, minusZero, .5}, {"sigmoid", sigmoid, -103, 0x1p-149}, {"sigmoid", sigmoid, -104, 0}, {"sigmoid", sigmoid, 0x1p-149, .5},
		{"softplus", softplus, nan, nan}, {"softplus", softplus, inf, inf}, {"softplus", softplus, -inf, 0}, {"softplus", softplus, 0, 0x1.62e43p-1},
		{"softplus", softplus, minusZero, 0x1.62e43p-1}, {"softplus", softplus, -103, 0x1p-149}, {"softplus", softplus, -104, 0},
		{"softplus", softplus, 100, 100}, {"softplus", softplus, math.MaxFloat32, math.MaxFloat32},
	} {
		got := c.f(c.x)
		if math.Float32bits(got) != math.Float32bits(c.result) && (got == got || c.result == c.result) {
			t.Errorf("%s(%g) = %g, want %g", c.name, c.x, got, c.result)
		}
	}
}

// TestPinned holds the elementary functions to the bits that they have had, on every CPU.
func TestPinned(t *testing.T) {
	for _, f := range elementary {
		h := fnv.New64a()
		for bits := uint64(0); bits < 1<<32; bits += 8191 {
			y := f.got(math.Float32frombits(uint32(bits)))
			if y != y {
				y = float32(math.NaN())
			}
			b := binary.LittleEndian.AppendUint32(nil, math.Float32bits(y))
			h.Write(b)
		}
		if got := h.Sum64(); got != f.bits {
			t.Errorf("%s has the bits %#x, want %#x", f.name, got, f.bits)
		}
	}
}

// TestCubic measures the polynomial alone, in float64, with r as large as it becomes.
func TestCubic(t *testing.T) {
	coefficients := [...]float64{0x1.9e6c8cp-13, 0x1.6d3a56p-10, 0x1.1112dap-7, 0x1.5554f8p-5, 0x1.555554p-3}
	worst := 0.0
	for r := -math.Ln2 / 2; r <= math.Ln2/2; r += 1e-5 {
		p, single := 0.0, float32(0)
		for _, c := range coefficients {
			p, single = p*r+c, fma(single, float32(r), float32(c))
		}
		if got := cubic(float32(r)); got != single {
			t.Fatalf("cubic(%g) is %g, with the coefficients of the test %g", r, got, single)
		}
		if math.Abs(r) > 1e-3 {
			worst = max(worst, math.Abs((r+r*r/2+p*r*r*r)/math.Expm1(r)-1)*0x1p24)
		}
	}
	if worst > .0073 || worst < .0065 {
		t.Errorf("the polynomial is off by %.5f of a last bit, want 0.0073", worst)
	}
}

// TestMargin compares float64's functions, by which TestAccuracy measures, with those of
// 400 bits: they are as good as exact if they are off by millionths of what float32 rounds.
func TestMargin(t *testing.T) {
	const worst = 1e-6
	one := big.NewFloat(1).SetPrec(precision)
	op := func(f func(z, x, y *big.Float) *big.Float, x, y *big.Float) *big.Float {
		return f(new(big.Float).SetPrec(precision), x, y)
	}
	add, sub, quo := (*big.Float).Add, (*big.Float).Sub, (*big.Float).Quo
	// log is the logarithm of x whose float64 is y: one step of Newton's.
	log := func(x *big.Float, y float64) *big.Float {
		return op(add, number(y), op(sub, op(quo, x, exact(y)), one))
	}
	for _, f := range []struct {
		name  string
		exact func(x, y float64) *big.Float
	}{
		{"exp", func(x, _ float64) *big.Float { return exact(x) }},
		{"expm1", func(x, _ float64) *big.Float { return op(sub, exact(x), one) }},
		{"log", func(x, y float64) *big.Float { return log(number(x), y) }},
		{"log1p", func(x, y float64) *big.Float { return log(op(add, number(x), one), y) }},
		{"tanh", func(x, _ float64) *big.Float {
			e := exact(2 * x)
			return op(quo, op(sub, e, one), op(add, e, one))
		}},
		{"sigmoid", func(x, _ float64) *big.Float { return op(quo, one, op(add, one, exact(-x))) }},
		{"softplus", func(x, y float64) *big.Float { return log(op(add, one, exact(x)), y) }},
	} {
		k := slices.IndexFunc(elementary, func(e function) bool { return e.name == f.name })
		most := 0.0
		for bits := uint64(0); bits < 1<<32; bits += 1<<20 + 7 {
			x := float64(math.Float32frombits(uint32(bits)))
			y := elementary[k].want(x)
			if !(math.Abs(x) < 110) || y != y || math.IsInf(y, 0) || float32(y) == 0 {
				continue
			}
			off, _ := op(quo, op(sub, number(y), f.exact(x, y)), number(y)).Float64()
			most = max(most, math.Abs(off)*0x1p24)
		}
		if most == 0 || most > worst {
			t.Errorf("%s is off by %g of a float32's last bit, want more than 0 and at most %g", f.name, most, worst)
		}
	}
}

const precision = 400

func number(x float64) *big.Float { return big.NewFloat(x).SetPrec(precision) }

// exact is e^x, by the series of e^(x/256).
func exact(x float64) *big.Float {
	z := number(x / 256)
	sum, term := number(1), number(1)
	for k := range 60 {
		term.Mul(term, z)
		term.Quo(term, number(float64(k+1)))
		sum.Add(sum, term)
	}
	for range 8 {
		sum.Mul(sum, sum)
	}
	return sum
}
