package registry

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/update"
)

var all = flag.Bool("all", false, "run the whole campaign of random options")

// emulated machines have neither the time nor the clock for large tests.
var emulated = os.Getenv("LOCKSTEP_EMULATED") != ""

// eachSample runs a test for every sample, in order.
func eachSample(t *testing.T, test func(t *testing.T, r update.Rule)) {
	for _, s := range Samples() {
		t.Run(s.Name, func(t *testing.T) { test(t, s.Rule) })
	}
}

// uniform numbers in [-1, 1).
func uniform(n int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.Int32N(1<<24)-1<<23) * 0x1p-23
	}
	return x
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustNew(t testing.TB, n int, r update.Rule) *update.Optimizer {
	t.Helper()
	return mustNewMatrix(t, n, 0, r)
}

// mustNewMatrix makes an optimizer of one matrix, or with 0 columns of a vector.
func mustNewMatrix(t testing.TB, n, columns int, r update.Rule) *update.Optimizer {
	t.Helper()
	o, err := update.NewSet([]update.Tensor{{Size: n, Columns: columns}}, r)
	must(t, err)
	return o
}

// set makes an optimizer of tensors of some sizes, which take the rules in turn.
func set(t testing.TB, sizes []int, rules ...update.Rule) (o *update.Optimizer, params, grads [][]float32) {
	t.Helper()
	var tensors []update.Tensor
	for k, n := range sizes {
		tensors = append(tensors, update.Tensor{Size: n, Rule: k % len(rules)})
		params = append(params, uniform(n, uint64(2*k+1)))
		grads = append(grads, uniform(n, uint64(2*k+2)))
	}
	o, err := update.NewSet(tensors, rules...)
	must(t, err)
	return o, params, grads
}

func sameBits(x, y []float32) bool {
	return slices.EqualFunc(x, y, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// wantSame compares the first tensors of two optimizers and their parameters.
func wantSame(t *testing.T, what string, a, b *update.Optimizer, p, q []float32) {
	t.Helper()
	if !sameBits(p, q) {
		t.Errorf("%s: parameters differ", what)
	}
	if a.Steps() != b.Steps() {
		t.Errorf("%s: %d steps and %d", what, a.Steps(), b.Steps())
	}
	for _, name := range slotNames(a, 0) {
		if !sameBits(buffer(a, 0, name), buffer(b, 0, name)) {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}

// wholeTensor reports whether an element's step depends on all of its tensor, as that of
// a rule that refuses ranges does.
func wholeTensor(t *testing.T, r update.Rule) bool {
	t.Helper()
	return mustNew(t, 1, r).Begin() != nil
}

func wantArg(t *testing.T, err error, arg, value string) {
	t.Helper()
	var e *update.ArgError
	if !errors.As(err, &e) {
		t.Errorf("%s = %s: the error is %v", arg, value, err)
		return
	}
	if e.Arg != arg || !strings.HasPrefix(fmt.Sprint(e.Value), value) || !strings.Contains(e.Error(), arg+" is "+value) || e.Want == "" {
		t.Errorf("%s = %s: the error is %q", arg, value, e)
	}
}

// tensor are the elements of an optimizer's first tensor as they are now.
func tensor(o *update.Optimizer, p, g []float32) []Element { return matrix(o, p, g, 0) }

// matrix is tensor of a matrix that is factored.
func matrix(o *update.Optimizer, p, g []float32, columns int) []Element {
	list := make([]Element, len(p))
	names := slotNames(o, 0)
	room := make([]bounded.Number, len(p)*len(names))
	for i := range list {
		list[i] = Element{P: bounded.Float(p[i]), G: bounded.Float(g[i]), State: room[i*len(names):][:len(names)]}
	}
	for k, name := range names {
		b, err := o.Buffer(0, name)
		if err != nil {
			b = p // as which it begins
		}
		for i := range list {
			list[i].State[k] = bounded.Float(b[place(i, len(p), columns, len(b))])
		}
	}
	return list
}

// place is where a state buffer of some length has an element of a tensor: each has its own,
// or a matrix one of each column, or of each row, of which there are not as many, or all
// have one.
func place(i, n, columns, length int) int {
	switch {
	case length == 1:
		return 0
	case columns == 0 || length == n:
		return i
	case n == columns*columns:
		panic("registry: rows and columns of a square matrix cannot be told apart")
	case length == columns:
		return i % columns
	}
	return i / columns
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
