package bounded

import (
	"math"
	"math/rand/v2"
	"testing"
)

// An operation in this arithmetic, and in float32.
type operation struct {
	name  string
	of    func(x, y Number) Number
	plain func(x, y float32) float32
}

var operations = []operation{
	{"Add", Number.Add, func(x, y float32) float32 { return x + y }},
	{"Sub", Number.Sub, func(x, y float32) float32 { return x - y }},
	{"Mul", Number.Mul, func(x, y float32) float32 { return x * y }},
	{"Div", Number.Div, func(x, y float32) float32 { return x / y }},
	{"Sqrt", func(x, y Number) Number { return x.Sqrt() }, func(x, y float32) float32 { return float32(math.Sqrt(math.Max(float64(x), 0))) }},
	{"Max", Number.Max, func(x, y float32) float32 { return max(x, y) }},
	{"Square", func(x, y Number) Number { return x.Square(.1) }, func(x, y float32) float32 {
		z := x * float32(math.Sqrt(.1))
		return z * z
	}},
	{"Sign", func(x, y Number) Number { return x.Sign() }, func(x, y float32) float32 { return float32(sign(float64(x))) }},
	{"Pick", func(x, y Number) Number { return x.Pick(y.Neg(), x, y) }, func(x, y float32) float32 {
		switch {
		case x < 0:
			return -y
		case x > 0:
			return y
		}
		return x
	}},
	{"Soft", func(x, y Number) Number { return x.Soft(y.Max(y.Neg())) }, func(x, y float32) float32 { return soft(x, max(y, -y)) }},
	{"Neg", func(x, y Number) Number { return x.Neg() }, func(x, y float32) float32 { return -x }},
}

// TestBounds evaluates random formulas of random numbers: what float32 gets is within
// the bound, and so is the plain answer of the arithmetic itself.
func TestBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	narrow := 0
	formulas := 100000
	if testing.Short() {
		formulas = 10000
	}
	for range formulas {
		var x []Number
		var plain []float32
		for range 4 {
			y := math.Pow(10, rng.Float64()*12-6) * (rng.Float64() - .5)
			if rng.IntN(4) == 0 {
				y = math.Ldexp(y, rng.IntN(280)-140)
			}
			x, plain = append(x, Scalar(y)), append(plain, float32(y))
		}
		name := ""
		for range 6 {
			o, i, j := operations[rng.IntN(len(operations))], rng.IntN(len(x)), rng.IntN(len(x))
			name += " " + o.name
			x, plain = append(x, o.of(x[i], x[j])), append(plain, o.plain(plain[i], plain[j]))
		}
		last, got := x[len(x)-1], plain[len(plain)-1]
		if !last.Contains(got) || !last.Contains(last.Single) {
			t.Fatalf("%s: float32 gets %g, the bound of %g is %g, its own float32 %g", name, got, last.Exact, last.Bound, last.Single)
		}
		if last.Bound <= 1e-6*math.Abs(last.Exact) {
			narrow++
		}
	}
	if narrow < formulas/3 {
		t.Errorf("%d of %d bounds say something", narrow, formulas)
	}
}

// TestHalfUnit has numbers whose last places are known.
func TestHalfUnit(t *testing.T) {
	for x, want := range map[float64]float64{1: 0x1p-24, 1.99: 0x1p-24, .99: 0x1p-25, 0x1p-126: 0x1p-150, 1e-45: 0x1p-150, 3: 0x1p-23} {
		if got := halfUnit(x); got != want {
			t.Errorf("half a unit of %g is %g, want %g", x, got, want)
		}
	}
}

// TestOverflow has numbers beyond float32: surely infinite, or on the edge.
func TestOverflow(t *testing.T) {
	big := Float(0x1p120)
	if x := big.Mul(big); !math.IsInf(x.Exact, 1) || x.Bound != 0 {
		t.Errorf("2²⁴⁰ is %g within %g, want infinity", x.Exact, x.Bound)
	}
	if x := Float(1).Div(big.Mul(big)); x.Exact != 0 || x.Bound != 0 {
		t.Errorf("1/∞ is %g within %g", x.Exact, x.Bound)
	}
	if x := Float(math.MaxFloat32).Off(0x1p110).Add(Float(1)); !math.IsInf(x.Bound, 1) {
		t.Errorf("at the edge the bound is %g", x.Bound)
	}
	if Float(1).Contains(1.0000001) || !Float(1).Contains(1) || !Float(1).Off(1e-6).Contains(1.0000001) || Float(1).Contains(float32(math.NaN())) {
		t.Error("Contains is wrong about numbers near 1")
	}
}

// TestFlushing loses what is subnormal.
func TestFlushing(t *testing.T) {
	x := Float(0x1p-64)
	if x.Mul(x).Contains(0) || !x.Flushing().Mul(x).Contains(0) || x.Flushing().Mul(Float(1)).Contains(0) {
		t.Error("0 is wrong where it should not be, or right")
	}
}

// TestTotal adds up numbers of which most cancels: in float64 what is left is right, and the
// bound is that of the numbers and of one rounding.
func TestTotal(t *testing.T) {
	list := []Number{Float(1e8), Scalar(.1), Float(1), Float(-1e8)}
	total := Total(list)
	if want := float32(float64(float32(.1)) + 1); total.Single != want || !total.Contains(want) || total.Bound > 1e-3 {
		t.Errorf("the total is %+v, want %g", total, want)
	}
	if total.Contains(1.2) || !Sum(list).Contains(Sum(list).Single) {
		t.Errorf("the bound of %+v says nothing", total)
	}
}

// TestDot makes products that no float32 is, of which most cancels.
func TestDot(t *testing.T) {
	x, y := []Number{Float(1e30), Scalar(.1), Float(-1e30)}, []Number{Float(1e30), Float(3), Float(1e30)}
	dot := Dot(x, y)
	if want := float32(float64(float32(.1)) * 3); dot.Single != want && dot.Single != 0 || !math.IsInf(dot.Bound, 1) && !dot.Contains(dot.Single) {
		t.Errorf("the product is %+v, want %g", dot, want)
	}
	dot = Dot(x[:2], []Number{Float(1), Float(3e30)})
	if want := float32(1.3e30); !dot.Contains(want) || dot.Contains(1.31e30) {
		t.Errorf("the product is %+v, want %g", dot, want)
	}
	if dot = Dot(x[:1], y[:1]); !math.IsInf(dot.Exact, 1) || dot.Bound != 0 {
		t.Errorf("the product is %+v, want what no float32 is", dot)
	}
	if dot = Dot([]Number{Float(1).Off(.25), Float(2)}, []Number{Float(3), Float(5).Off(.5)}); dot.Exact != 13 || math.Abs(dot.Bound-1.75) > 1e-5 {
		t.Errorf("the product is %g within %g, want 13 within 1.75", dot.Exact, dot.Bound)
	}
}
