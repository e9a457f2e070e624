package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// emulated machines have no time for large tests.
var emulated = os.Getenv("LOCKSTEP_EMULATED") != ""

// A model is parameters and state in float64.
type model struct {
	tensors []Tensor
	rules   []Rule
	params  [][]float64
	slots   map[string]map[int][]float64 // by name and tensor
	taken   []int                        // steps of each tensor
}

// slot is a state buffer, of one number at first.
func (m *model) slot(name string, tensor, n int, first float64) []float64 {
	return m.slotAs(name, tensor, slices.Repeat([]float64{first}, n))
}

// slotAs is a state buffer that begins as another.
func (m *model) slotAs(name string, tensor int, first []float64) []float64 {
	if m.slots[name] == nil {
		m.slots[name] = map[int][]float64{}
	}
	if m.slots[name][tensor] == nil {
		m.slots[name][tensor] = slices.Clone(first)
	}
	return m.slots[name][tensor]
}

func squares(x []float64) (sum float64) {
	for _, v := range x {
		sum += v * v
	}
	return sum
}

// each makes a reference of all tensors from one of a tensor.
func each(step func(m *model, rule, tensor int, g []float64)) func(m *model, grads [][]float64) {
	return func(m *model, grads [][]float64) {
		for k, g := range grads {
			if g != nil {
				step(m, m.tensors[k].Rule, k, g)
			}
		}
	}
}

// A proof is a rule with a reference in float64 that is written without an engine.
type proof struct {
	rule      func(o Options) Rule
	reference func(m *model, grads [][]float64)
}

var proofs = map[string]proof{
	"LARS":          {lars, each(larsReference)},
	"Adafactor":     {adafactor, each(adafactorReference)},
	"Prodigy":       {prodigy, prodigyReference},
	"Schedule-Free": {scheduleFree, each(scheduleFreeReference)},
}

// tensorsOf are small ones, large ones and matrices, of two rules in turn, and enough
// elements for several goroutines.
func tensorsOf(elements int) []Tensor {
	list := []Tensor{
		{Size: 7}, {Size: 1}, {}, {Size: tune.SmallLen}, {Size: tune.SmallLen + 1}, {Size: 15, Columns: 5}, {Size: 50, Columns: 1},
		{Size: 301 * 77, Columns: 77}, {Size: 3 * tune.UnitLen}, {Size: 64}, {Size: 12, Columns: 12}, {Size: elements / 300 * 300, Columns: 300},
	}
	for k := range list {
		list[k].Rule = k % 2
	}
	return list
}

func uniform(n int, rng *rand.Rand) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.Float64()*2 - 1)
	}
	return x
}

func doubles(x []float32) []float64 {
	if x == nil {
		return nil
	}
	list := make([]float64, len(x))
	for i, v := range x {
		list[i] = float64(v)
	}
	return list
}

// A run is an engine at work on random gradients, beside its reference.
type run struct {
	*Engine
	*model
	step    func(m *model, grads [][]float64)
	params  [][]float32
	rng     *rand.Rand
	missing bool // some gradients are
}

func newRun(p proof, tensors []Tensor, o Options, missing bool) *run {
	second := o
	second.LR /= 2
	rules := []Rule{p.rule(o), p.rule(second)}
	r := &run{Engine: New(tensors, rules), model: &model{tensors: tensors, rules: rules, slots: map[string]map[int][]float64{}, taken: make([]int, len(tensors))},
		step: p.reference, rng: rand.New(rand.NewPCG(1, 2)), missing: missing}
	for _, t := range tensors {
		r.params = append(r.params, uniform(t.Size, r.rng))
		r.model.params = append(r.model.params, doubles(r.params[len(r.params)-1]))
	}
	return r
}

// gradients of a step lean to one side, so that distances grow. Some are missing in most
// steps, of a large tensor in the first.
func (r *run) gradients(step int) [][]float32 {
	var grads [][]float32
	for k, t := range r.model.tensors {
		g := uniform(t.Size, r.rng)
		for i := range g {
			g[i] += .5
		}
		if r.missing && t.Size > 0 && (k+step)%5 == 3 {
			g = nil
		}
		grads = append(grads, g)
	}
	return grads
}

// take takes a step in the engine, and one in the reference of scaled gradients.
func (r *run) take(step int, scale float64, penalty func(p, g float64) float64) {
	grads := r.gradients(step)
	exact := make([][]float64, len(grads))
	for k, g := range grads {
		exact[k] = doubles(g)
		for i := range g {
			exact[k][i] = penalty(r.model.params[k][i], exact[k][i]*scale)
		}
	}
	r.Place(r.params, grads, true)
	if r.missing {
		r.Begin(scale, grads)
	} else {
		r.Begin(scale, nil)
	}
	r.Run(r.params, grads)
	r.step(r.model, exact)
}

func none(_, g float64) float64 { return g }

// near compares parameters with the reference's.
func (r *run) near(t *testing.T, tolerance float64) {
	t.Helper()
	for k, p := range r.params {
		for i, x := range p {
			if want := r.model.params[k][i]; !(math.Abs(float64(x)-want) <= tolerance*(1+math.Abs(want))) {
				t.Fatalf("element %d of tensor %d is %g, want %g", i, k, x, want)
			}
		}
	}
}

// all are the bits of parameters and state.
func (r *run) all() (bits []uint32) {
	for k := range r.params {
		for _, s := range append([][]float32{r.params[k]}, r.Buffers(k)...) {
			for _, x := range s {
				bits = append(bits, math.Float32bits(x))
			}
		}
	}
	return bits
}

// eachProof runs a test for every rule, with all gradients and with some.
func eachProof(t *testing.T, test func(t *testing.T, p proof, missing bool)) {
	for name, p := range proofs {
		for _, missing := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, missing %v", name, missing), func(t *testing.T) { test(t, p, missing) })
		}
	}
}

// TestProofs compares rules of all kinds with their references, and any number of
// goroutines with one.
func TestProofs(t *testing.T) {
	elements, steps := tune.ApartLen, 8
	if testing.Short() {
		steps = 3
	}
	if emulated {
		elements = 1000
	}
	eachProof(t, func(t *testing.T, p proof, missing bool) {
		var first []uint32
		for _, workers := range []int{1, 2, 7} {
			r := newRun(p, tensorsOf(elements), Options{LR: 1}, missing)
			r.SetWorkers(workers)
			if first != nil {
				r.step = func(*model, [][]float64) {}
			}
			for step := range steps {
				r.take(step, .5, none)
			}
			if first != nil {
				if !slices.Equal(r.all(), first) {
					t.Errorf("the bits of %d workers are others", workers)
				}
				continue
			}
			first = r.all()
			r.near(t, 2e-5)
			if d := r.model.slots["d"]; d != nil && !testing.Short() && !(d[0][0] > prodigyFirst) {
				t.Errorf("the distance has not grown: %g", d[0][0])
			}
		}
	})
}

// regularized are the numbers that L1 and a scale beyond float32's make of a gradient.
var regularized = map[string]struct {
	options Options
	scale   float64
	penalty func(p, g float64) float64
}{
	"L1": {Options{LR: .1, L1: .125}, .5, func(p, g float64) float64 {
		if p == 0 {
			return g
		}
		return g + math.Copysign(.125, p)
	}},
	"a tiny scale": {Options{LR: .1}, 0x1p-110, none},
	"maximize":     {Options{LR: .1, Maximize: true}, .5, func(_, g float64) float64 { return -g }},
}

// TestStages has penalties around kernels of several passes, over elements and by rows.
func TestStages(t *testing.T) {
	steps := FlushEvery + 1
	if testing.Short() {
		steps = 3
	}
	for name, c := range regularized {
		t.Run(name, func(t *testing.T) {
			eachProof(t, func(t *testing.T, p proof, missing bool) {
				r := newRun(p, tensorsOf(1000), c.options, missing)
				for step := range steps {
					r.take(step, c.scale, c.penalty)
				}
				r.near(t, 2e-5)
			})
		})
	}
}

// TestProximal has a proximal step after the last pass alone.
func TestProximal(t *testing.T) {
	const lr, l1, l2 = .1, .25, .5
	eachProof(t, func(t *testing.T, p proof, missing bool) {
		plain := newRun(p, tensorsOf(1000), Options{LR: lr}, missing)
		shrunk := newRun(p, tensorsOf(1000), Options{LR: lr, L1: l1, L2: l2, Proximal: true}, missing)
		before := shrunk.all()
		plain.take(0, .5, none)
		shrunk.take(0, .5, none)
		for k, x := range shrunk.params {
			rate := lr / float64(1+k%2)
			for i := range x {
				y := float64(plain.params[k][i])
				want := math.Copysign(max(0, math.Abs(y)-rate*l1), y) / (1 + rate*l2)
				if missing && k%5 == 3 {
					want = y
				}
				if math.Abs(float64(x[i])-want) > 1e-6 {
					t.Fatalf("element %d of tensor %d shrinks to %g, want %g", i, k, x[i], want)
				}
			}
		}
		if slices.Equal(before, shrunk.all()) {
			t.Error("the step did nothing")
		}
	})
}
