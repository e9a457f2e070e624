package update_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// What the tests share that know of an optimizer what its users do.

var (
	plainSGD  = update.SGD{Options: update.Options{LR: .1}}
	plainAdam = update.Adam{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1e-8}
	heavyBall = update.Momentum{Options: update.Options{LR: .1}, Momentum: .9}
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newOne(t testing.TB, n int, r update.Rule) *update.Optimizer {
	t.Helper()
	o, err := update.New(n, r)
	must(t, err)
	return o
}

// uniform numbers in [-1, 1).
func uniform(n int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*rng.Float32() - 1
	}
	return x
}

// newSet makes an optimizer of tensors of some sizes, which take the rules in turn.
func newSet(t testing.TB, sizes []int, rules ...update.Rule) (o *update.Optimizer, params, grads [][]float32) {
	t.Helper()
	var tensors []update.Tensor
	for k, n := range sizes {
		tensors = append(tensors, update.Tensor{Name: name(k), Size: n, Rule: k % len(rules)})
		params = append(params, uniform(n, uint64(2*k+1)))
		grads = append(grads, uniform(n, uint64(2*k+2)))
	}
	o, err := update.NewSet(tensors, rules...)
	must(t, err)
	return o, params, grads
}

// name is that of the k-th tensor.
func name(k int) string { return string(rune('a' + k)) }

// wantArg wants an error about an argument.
func wantArg(t *testing.T, what string, err error, arg string) {
	t.Helper()
	var e *update.ArgError
	if !errors.As(err, &e) || e.Arg != arg {
		t.Errorf("%s: the error is %v, want one about %s", what, err, arg)
	}
}

func sameBits(x, y []float32) bool {
	return slices.EqualFunc(x, y, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// buffer is a state buffer that is there, slotNames the names of those of a tensor.
func buffer(o *update.Optimizer, tensor int, name string) []float32 {
	b, err := o.Buffer(tensor, name)
	if err != nil {
		panic(err)
	}
	return b
}

func slotNames(o *update.Optimizer, tensor int) []string {
	names, err := o.Buffers(tensor)
	if err != nil {
		panic(err)
	}
	return names
}
