package registry

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/update"
)

// rowwise are the entries of rules with state by row.
var rowwise = []*Entry{named("RowwiseAdaGrad"), named("RowwiseAdam"), named("RowwiseLAMB")}

// eachRowwise runs a test for every sample of them.
func eachRowwise(t *testing.T, test func(t *testing.T, e *Entry, s Sample)) {
	for _, e := range rowwise {
		for _, s := range e.Samples {
			t.Run(s.Name, func(t *testing.T) { test(t, e, s) })
		}
	}
}

// rowOf are the elements of a row as they are now.
func rowOf(o *update.Optimizer, p, g []float32, row, columns int) []Element {
	list := make([]Element, columns)
	for i := range list {
		at := row*columns + i
		list[i] = Element{P: bounded.Float(p[at]), G: bounded.Float(g[i])}
		for _, name := range slotNames(o, 0) {
			b := buffer(o, 0, name)
			list[i].State = append(list[i].State, bounded.Float(b[at*len(b)/len(p)]))
		}
	}
	return list
}

// TestRowwise follows rules with state by row, step by step, on rows of a table: what they
// leave is within the bounds of their formula, and no further off than a plain loop's.
func TestRowwise(t *testing.T) {
	const rows, columns, steps = 5, 12, 150
	eachRowwise(t, func(t *testing.T, e *Entry, sample Sample) {
		r, ours, plain, judged := sample.Rule, 0.0, 0.0, 0
		for seed := range uint64(8) {
			o, p := mustNewMatrix(t, rows*columns, columns, r), uniform(rows*columns, seed)
			scale := []float64{1, 1.0 / 3}[seed%2]
			must(t, o.SetGradScale(scale))
			rng := rand.New(rand.NewPCG(seed, 0))
			for range steps {
				indices, grads := someRows(rng, rows, columns, 3)
				seen, sums := sumRows(indices, grads, columns)
				var want [][]Element
				for k, row := range seen {
					list := rowOf(o, p, sums[k], int(row), columns)
					e.Take(Step{Rule: r, T: o.Steps() + 1, LR: o.LR(), Scale: scale}, list)
					want = append(want, list)
				}
				must(t, update.StepRows(o, p, indices, grads))
				for k, row := range seen {
					got := rowOf(o, p, sums[k], int(row), columns)
					for i := range got {
						x := want[k][i].P
						judged++
						if !x.Contains(got[i].P.Single) {
							t.Fatalf("%s: step %d: parameter is %g, want %g within %g", sample.Name, o.Steps(), got[i].P.Single, x.Exact, x.Bound)
						}
						for j, state := range want[k][i].State {
							if (i == 0 || j > 0) && !state.Contains(got[i].State[j].Single) {
								t.Fatalf("%s: step %d: %s is %g, want %g within %g", sample.Name, o.Steps(), slotNames(o, 0)[j], got[i].State[j].Single, state.Exact, state.Bound)
							}
						}
						unit := max(math.Abs(x.Exact), 1e-30)
						ours += math.Pow((float64(got[i].P.Single)-x.Exact)/unit, 2)
						plain += math.Pow((float64(x.Single)-x.Exact)/unit, 2)
					}
				}
			}
		}
		ours, plain = math.Sqrt(ours/float64(judged)), math.Sqrt(plain/float64(judged))
		t.Logf("%s: %d parameters, %.3g units of 2⁻²⁴ off, a plain loop %.3g", sample.Name, judged, ours*(1<<24), plain*(1<<24))
		if ours > 1.5*plain {
			t.Errorf("%s: the error is %g, that of a plain loop %g", sample.Name, ours, plain)
		}
	})
}

// steppedBits are those that steps on rows came to when the rules were written.
var steppedBits = map[string]uint64{
	"rowwise adagrad": 0xb3feb3cb0e3ee982, "rowwise adagrad decay": 0xa0cb2cdd0b7330bb, "rowwise adagrad l1": 0x6b009c9427508a36,
	"rowwise adam": 0x42b78dbf8b7a2d3a, "rowwise adam l2": 0x8f0d4b9481be2c50,
	"rowwise lamb": 0xc70d99a02c143d25, "rowwise lamb l2": 0xd9cc5d55fe6bfd86,
}

// TestRowwiseBits is TestBits for steps on rows.
func TestRowwiseBits(t *testing.T) {
	eachRowwise(t, func(t *testing.T, _ *Entry, s Sample) {
		const rows, columns = 37, 19
		o, p := mustNewMatrix(t, rows*columns, columns, s.Rule), uniform(rows*columns, 1)
		rng := rand.New(rand.NewPCG(1, 0))
		for range 40 {
			indices, grads := someRows(rng, rows, columns, 20)
			must(t, update.StepRows(o, p, indices, grads))
		}
		h := fnv.New64a()
		for _, b := range append([][]float32{p}, buffers(o)...) {
			for _, x := range b {
				fmt.Fprintf(h, "%08x", math.Float32bits(x))
			}
		}
		if h.Sum64() != steppedBits[s.Name] {
			t.Errorf("%s: the bits are %#016x, want %#016x", s.Name, h.Sum64(), steppedBits[s.Name])
		}
	})
}

func buffers(o *update.Optimizer) (list [][]float32) {
	for _, name := range slotNames(o, 0) {
		list = append(list, buffer(o, 0, name))
	}
	return list
}

// TestRowwiseByHand takes two steps of two rows, from 1 with gradients 3 and 4, then -1.
func TestRowwiseByHand(t *testing.T) {
	for _, c := range []struct {
		rule update.Rule
		want float64
	}{
		{update.RowwiseAdaGrad{Options: update.Options{LR: .1}, Eps: 1e-8}, 1 - .1*3/math.Sqrt(12.5) + .1/math.Sqrt(13.5)},
		{update.RowwiseAdam{Options: update.Options{LR: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8},
			1 - .1*3/math.Sqrt(12.5) - .1*((.9*.3-.1)/(1-.81))/math.Sqrt((.99*.125+.01)/(1-.99*.99))},
		{update.RowwiseLAMB{Options: update.Options{LR: .1}, Beta1: .9, Beta2: .99, Eps: 1e-8, Decay: .2}, rowwiseLAMBByHand()},
	} {
		o, p := mustNewMatrix(t, 6, 2, c.rule), []float32{5, 5, 1, 1, 7, 7}
		must(t, update.StepRows(o, p, []int32{1, 1}, []float32{1, 4, 2, 0}))
		must(t, update.StepRows(o, p, []int32{1}, []float32{-1, 1}))
		if math.Abs(float64(p[2])-c.want) > 1e-6 || p[0] != 5 || p[4] != 7 {
			t.Errorf("%s goes to %v, want %g", c.rule.Name(), p, c.want)
		}
		if n := len(buffer(o, 0, slotNames(o, 0)[0])); n != 3 {
			t.Errorf("%s has %d numbers for 3 rows", c.rule.Name(), n)
		}
	}
}

// rowwiseLAMBByHand is where the row above goes by LAMB.
func rowwiseLAMBByHand() float64 {
	w, m, v := [2]float64{1, 1}, [2]float64{}, 0.
	for t, g := range [][2]float64{{3, 4}, {-1, 1}} {
		v = .99*v + .01*(g[0]*g[0]+g[1]*g[1])/2
		c1, c2 := 1-math.Pow(.9, float64(t+1)), 1-math.Pow(.99, float64(t+1))
		var u [2]float64
		for i := range u {
			m[i] = .9*m[i] + .1*g[i]
			u[i] = m[i]/c1/(math.Sqrt(v/c2)+1e-8) + .2*w[i]
		}
		rate := .1 * math.Hypot(w[0], w[1]) / math.Hypot(u[0], u[1])
		w[0], w[1] = w[0]-rate*u[0], w[1]-rate*u[1]
	}
	return w[0]
}

// TestRowwiseState goes on with state elsewhere, and refuses that of other rows.
func TestRowwiseState(t *testing.T) {
	eachRowwise(t, func(t *testing.T, _ *Entry, s Sample) {
		o, p := mustNewMatrix(t, 8, 2, s.Rule), uniform(8, 1)
		must(t, update.StepRows(o, p, []int32{1}, []float32{1, 2}))
		state, err := o.Export()
		must(t, err)
		next, q := mustNewMatrix(t, 8, 2, s.Rule), append([]float32(nil), p...)
		must(t, next.Import(state))
		must(t, o.Step(p, uniform(8, 2)))
		must(t, next.Step(q, uniform(8, 2)))
		wantSame(t, s.Name, o, next, p, q)
		if mustNewMatrix(t, 8, 4, s.Rule).Import(state) == nil {
			t.Errorf("%s: a table of other rows takes the state", s.Name)
		}
		wantArg(t, o.Begin(), "rule", s.Rule.Name())
	})
}
