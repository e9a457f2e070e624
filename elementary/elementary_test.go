package elementary_test

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/elementary"
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/kernels"
)

func Example() {
	x := []float32{-1, 0, 1, 100}
	y := make([]float32, len(x))
	if err := elementary.Softplus(y, x); err != nil {
		log.Fatal(err)
	}
	fmt.Println(y)
	// Output: [0.3132617 0.6931472 1.3132616 100]
}

// Beside 0 and far from it: what would cancel does not.
func ExampleExpm1() {
	x := []float32{1e-10, -.5, 90}
	y := make([]float32, len(x))
	for _, f := range []func(y, x []float32) error{elementary.Exp, elementary.Expm1, elementary.Log, elementary.Log1p, elementary.Sigmoid, elementary.Tanh} {
		if err := f(y, x); err != nil {
			log.Fatal(err)
		}
		fmt.Println(y)
	}
	var bad *elementary.ArgError
	fmt.Println(errors.As(elementary.Exp(y, x[:2]), &bad), bad.Arg)
	// Output:
	// [1 0.60653067 +Inf]
	// [1e-10 -0.39346933 +Inf]
	// [-23.02585 NaN 4.4998097]
	// [1e-10 -0.6931472 4.5108595]
	// [0.5 0.37754068 1]
	// [1e-10 -0.46211717 1]
	// true len(y)
}

// functions are all of them, with what they are of in package fallback.
var functions = map[string]struct {
	f         func(y, x []float32) error
	reference func(y, x []float32)
	at2       float64
}{
	"Exp":      {elementary.Exp, fallback.Exp, math.Exp(2)},
	"Expm1":    {elementary.Expm1, fallback.Expm1, math.Expm1(2)},
	"Log":      {elementary.Log, fallback.Log, math.Ln2},
	"Log1p":    {elementary.Log1p, fallback.Log1p, math.Log(3)},
	"Tanh":     {elementary.Tanh, fallback.Tanh, math.Tanh(2)},
	"Sigmoid":  {elementary.Sigmoid, fallback.Sigmoid, 1 / (1 + math.Exp(-2))},
	"Softplus": {elementary.Softplus, fallback.Softplus, math.Log1p(math.Exp(2))},
	"Sqrt":     {elementary.Sqrt, fallback.Sqrt, math.Sqrt2},
}

// TestFunctions runs lengths around those of a call, on every table.
func TestFunctions(t *testing.T) {
	defer kernels.Use(kernels.Active())
	for _, table := range kernels.Available() {
		kernels.Use(table)
		for name, f := range functions {
			for _, n := range []int{0, 1, 33, kernels.MaxLen, kernels.MaxLen + 1, 2*kernels.MaxLen + 17} {
				x, y, want := make([]float32, n), make([]float32, n+1), make([]float32, n)
				for i := range x {
					x[i] = float32(i%181)/16 + 2
				}
				y[n] = 7
				f.reference(want, x)
				if err := f.f(y[:n], x); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(y[:n], want) || y[n] != 7 {
					t.Errorf("%v: %s of %d elements is not the reference's", table, name, n)
				}
				if n > 0 && math.Abs(float64(y[0])/f.at2-1) > 1e-7 {
					t.Errorf("%v: %s(2) is %g, want %g", table, name, y[0], f.at2)
				}
			}
		}
	}
}

var all = flag.Bool("all", false, "compare the functions on all 2³² inputs")

// TestInputs compares each table with the reference, by default on every 4093rd input.
func TestInputs(t *testing.T) {
	defer kernels.Use(kernels.Active())
	stride := uint64(4093)
	if testing.Short() {
		stride = 65521
	}
	if *all {
		stride = 1
	}
	const n = 1 << 14
	x, y, want := make([]float32, n), make([]float32, n), make([]float32, n)
	for name, f := range functions {
		differ := 0
		for first := uint64(0); first < 1<<32 && differ < 5; first += n * stride {
			for i := range x {
				x[i] = math.Float32frombits(uint32(min(first+uint64(i)*stride, 1<<32-1)))
			}
			f.reference(want, x)
			for _, table := range kernels.Available() {
				kernels.Use(table)
				if err := f.f(y, x); err != nil {
					t.Fatal(err)
				}
				for i, got := range y {
					if math.Float32bits(got) == math.Float32bits(want[i]) || got != got && want[i] != want[i] {
						continue
					}
					if differ++; differ < 5 {
						t.Errorf("%v: %s of %g (%#x) is %g, want %g", table, name, x[i], math.Float32bits(x[i]), got, want[i])
					}
				}
			}
		}
	}
}

// TestRefuses looks at the errors, and that nothing is written.
func TestRefuses(t *testing.T) {
	for name, f := range functions {
		x := []float32{1, 2, 3, 4}
		for want, y := range map[string][]float32{
			"elementary: len(y) is 2, want len(x) = 3":                                          make([]float32, 2),
			fmt.Sprintf("elementary: y is 3 elements at %p, want a buffer apart from x", x[1:]): x[1:],
		} {
			if err := f.f(y, x[:3]); err == nil || err.Error() != want {
				t.Errorf("%s: the error is %v, want %s", name, err, want)
			}
			if !slices.Equal(x, []float32{1, 2, 3, 4}) || slices.Max(y) != 0 && &y[0] != &x[1] {
				t.Errorf("%s: an error and something written", name)
			}
		}
	}
}

// TestAllocs wants no allocations of a call.
func TestAllocs(t *testing.T) {
	x, y := make([]float32, 3*kernels.MaxLen), make([]float32, 3*kernels.MaxLen)
	for name, f := range functions {
		if n := allocs.PerRun(10, func() { _ = f.f(y, x) }); n != 0 {
			t.Errorf("%s: %g allocations", name, n)
		}
	}
}
