package registry

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// eachFactored runs a test for every sample of matrices.
func eachFactored(t *testing.T, test func(t *testing.T, r update.Rule)) {
	for _, e := range All() {
		for _, s := range e.Factored {
			t.Run(s.Name, func(t *testing.T) { test(t, s.Rule) })
		}
	}
}

// shapes are rows and columns: small and odd, of one row or column, of many units, with
// rows that are added up in pieces, and such as no call of a kernel takes whole.
var shapes = [][2]int{{17, 33}, {1, 5}, {5, 1}, {0, 7}, {tune.FactorRows + 3, 70}, {3, tune.FactorPiece + 5}, {2, kernels.MaxLen + 33}}

// train takes some steps of a matrix, with rates that change.
func train(t *testing.T, o *update.Optimizer, r update.Rule, n, steps int) []float32 {
	t.Helper()
	p := uniform(n, 1)
	for step := range steps {
		must(t, o.SetLR(Options(r).LR*(1-float64(step)/float64(2*steps))))
		must(t, o.Step(p, uniform(n, uint64(step))))
	}
	return p
}

// TestMatrixBits is TestBits for matrices, with every table that can run.
func TestMatrixBits(t *testing.T) {
	for _, e := range All() {
		for _, s := range e.Factored {
			for _, table := range kernels.Available() {
				h := fnv.New64a()
				for _, shape := range shapes {
					n := shape[0] * shape[1]
					o := mustNewMatrix(t, n, shape[1], s.Rule)
					must(t, o.SetTable(table))
					must(t, o.SetGradScale(1./3))
					must(t, binary.Write(h, binary.LittleEndian, train(t, o, s.Rule, n, 6)))
					for _, name := range slotNames(o, 0) {
						must(t, binary.Write(h, binary.LittleEndian, buffer(o, 0, name)))
					}
				}
				if got := h.Sum64(); got != s.Bits {
					t.Errorf("%s of matrices, %v: the bits are %#016x, were %#016x", s.Name, table, got, s.Bits)
				}
			}
		}
	}
}

// TestMatrixWorkers has any number of workers, and clips beside it, which works on blocks.
func TestMatrixWorkers(t *testing.T) {
	for _, shape := range [][2]int{{700, 400}, {3, 100_003}, {100_003, 3}} {
		n := shape[0] * shape[1]
		eachFactored(t, func(t *testing.T, r update.Rule) {
			for _, most := range []float64{math.Inf(1), .5} {
				var one *update.Optimizer
				var want []float32
				for _, workers := range []int{1, 2, 3, 7} {
					o := mustNewMatrix(t, n, shape[1], r)
					must(t, o.SetWorkers(workers))
					must(t, o.SetMaxValue(most))
					p := train(t, o, r, n, 2)
					if workers == 1 {
						one, want = o, p
					}
					wantSame(t, fmt.Sprint(workers, " workers"), o, one, p, want)
				}
			}
		})
	}
}

// TestMatrixClip clips nothing, which is another order of additions and no more.
func TestMatrixClip(t *testing.T) {
	const rows, columns = 40, 700
	eachFactored(t, func(t *testing.T, r update.Rule) {
		a, b := mustNewMatrix(t, rows*columns, columns, r), mustNewMatrix(t, rows*columns, columns, r)
		must(t, b.SetMaxValue(10))
		p, q := train(t, a, r, rows*columns, 4), train(t, b, r, rows*columns, 4)
		for i := range p {
			if math.Abs(float64(p[i]-q[i])) > 1e-5 {
				t.Fatalf("parameter %d is %g, in blocks %g", i, p[i], q[i])
			}
		}
	})
}

// TestMatrixSet has matrices and vectors of one rule beside one another, some without a
// gradient for a step, each compared with one alone.
func TestMatrixSet(t *testing.T) {
	columns := []int{33, 0, 7, 0, 1, 500}
	eachFactored(t, func(t *testing.T, r update.Rule) {
		var tensors []update.Tensor
		var params, grads [][]float32
		for k, c := range columns {
			n := 41 * max(1, c)
			tensors = append(tensors, update.Tensor{Size: n, Columns: c, Rule: k % 2})
			params, grads = append(params, uniform(n, uint64(k))), append(grads, uniform(n, uint64(k+100)))
		}
		o, err := update.NewSet(tensors, r, r)
		must(t, err)
		some := slices.Clone(grads)
		some[0], some[1] = nil, nil
		must(t, o.StepSet(params, grads))
		must(t, o.StepSet(params, some))
		must(t, o.StepSet(params, grads))
		for k, c := range columns {
			n := len(params[k])
			alone, p := mustNewMatrix(t, n, c, r), uniform(n, uint64(k))
			for step := range 3 {
				if step != 1 || some[k] != nil {
					must(t, alone.Step(p, grads[k]))
				}
			}
			if !sameBits(p, params[k]) {
				t.Errorf("tensor %d of %d columns differs from one alone", k, c)
			}
			for _, name := range slotNames(alone, 0) {
				if !sameBits(buffer(o, k, name), buffer(alone, 0, name)) {
					t.Errorf("%s of tensor %d differs from one alone", name, k)
				}
			}
		}
	})
}

// TestMatrixState exports the state midway and goes on with it elsewhere, in buffers of the
// optimizer's own and in the caller's.
func TestMatrixState(t *testing.T) {
	const rows, columns = 17, 33
	eachFactored(t, func(t *testing.T, r update.Rule) {
		o := mustNewMatrix(t, rows*columns, columns, r)
		p := train(t, o, r, rows*columns, 5)
		state, err := o.Export()
		must(t, err)
		theirs := map[string][]float32{}
		for name, b := range state.Tensors[0].Buffers {
			theirs[name] = slices.Clone(b)
		}
		lengths := map[string]int{"row_var": rows, "col_var": columns, "accumulator": rows, "v": rows}
		for name, b := range theirs {
			if n := cmp.Or(lengths[name], rows*columns); len(b) != n {
				t.Errorf("%s has %d numbers, want %d", name, len(b), n)
			}
		}
		next := mustNewMatrix(t, rows*columns, columns, r)
		must(t, next.Import(state))
		owned, err := update.NewSet([]update.Tensor{{Size: rows * columns, Columns: columns, State: theirs}}, r)
		must(t, err)
		must(t, owned.SetSteps(5))
		g := uniform(rows*columns, 77)
		q, w := slices.Clone(p), slices.Clone(p)
		must(t, o.Step(p, g))
		for _, other := range []struct {
			o *update.Optimizer
			p []float32
		}{{next, q}, {owned, w}} {
			must(t, other.o.SetLR(o.LR()))
			must(t, other.o.Step(other.p, g))
			wantSame(t, "resumed", other.o, o, other.p, p)
		}
		vector := mustNew(t, rows*columns, r)
		if err := vector.Import(state); err == nil {
			t.Error("a vector takes a matrix' state")
		}
	})
}

// TestMatrixAllocs takes steps of matrices without a byte.
func TestMatrixAllocs(t *testing.T) {
	eachFactored(t, func(t *testing.T, r update.Rule) {
		const rows, columns = 130, 2100
		o := mustNewMatrix(t, rows*columns, columns, r)
		must(t, o.SetWorkers(2))
		p, g := uniform(rows*columns, 1), uniform(rows*columns, 2)
		for range 3 { // each worker has room once it has had a unit
			must(t, o.Step(p, g))
		}
		if n := allocs.PerRun(5, func() { must(t, o.Step(p, g)) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// TestMatrixColumns refuses columns that cannot be, and rules for which other tensors are
// matrices.
func TestMatrixColumns(t *testing.T) {
	for _, columns := range []int{-1, 4, 34} {
		_, err := update.NewSet([]update.Tensor{{Size: 33, Columns: columns}}, adafactorRelative)
		wantArg(t, err, "tensors[0].Columns", fmt.Sprint(columns))
	}
	wide := adafactorRelative
	wide.MinDim = 4
	for _, c := range []struct {
		columns int
		slots   []string
	}{{11, []string{"variance"}}, {3, []string{"variance"}}, {0, []string{"variance"}}} {
		o := mustNewMatrix(t, 33, c.columns, wide)
		if names := slotNames(o, 0); !slices.Equal(names, c.slots) {
			t.Errorf("%d columns of 33: the state is %v, want %v", c.columns, names, c.slots)
		}
	}
	o := mustNewMatrix(t, 33, 11, adafactorRelative)
	if names := slotNames(o, 0); !slices.Equal(names, []string{"row_var", "col_var"}) {
		t.Errorf("the state of a matrix is %v", names)
	}
	if err := o.SetRule(0, wide); err == nil {
		t.Error("a rule that factors no such matrix takes the state of one that does")
	}
	next := adafactorRelative
	next.ClipThreshold = 2
	must(t, o.SetRule(0, next))
	other := mustNewMatrix(t, 33, 11, next)
	p, g := uniform(33, 1), uniform(33, 2)
	q := slices.Clone(p)
	must(t, o.Step(p, g))
	must(t, other.Step(q, g))
	wantSame(t, "set later", o, other, p, q)
}

// TestMatrixExtremes has the largest gradients that a rule can take in all of a matrix, and
// rows and columns of zeros.
func TestMatrixExtremes(t *testing.T) {
	eachFactored(t, func(t *testing.T, r update.Rule) {
		for _, size := range []float32{0x1p62, 0x1p-70, 0} {
			const rows, columns = 3, 40_000
			o := mustNewMatrix(t, rows*columns, columns, r)
			p, g := uniform(rows*columns, 1), make([]float32, rows*columns)
			for i := columns; i < 2*columns; i += 2 {
				g[i] = size
			}
			for range 3 {
				must(t, o.Step(p, g))
			}
			for i, x := range p {
				if !(math.Abs(float64(x)) < 1e4) {
					t.Fatalf("gradients of %g: parameter %d is %g", size, i, x)
				}
			}
			for _, name := range slotNames(o, 0) {
				for i, x := range buffer(o, 0, name) {
					if !(math.Abs(float64(x)) <= math.MaxFloat32) {
						t.Fatalf("gradients of %g: %s[%d] is %g", size, name, i, x)
					}
				}
			}
		}
	})
}
