package registry

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// takesRows reports whether a step of a rule can be taken on rows.
func takesRows(t *testing.T, r update.Rule) bool {
	t.Helper()
	return update.StepRows(mustNewMatrix(t, 1, 1, r), []float32{0}, []int32{}, nil) == nil
}

// someRows are rows of a table, some of them more than once, with their gradients, of which
// some are zeros, and some so small that they or what they leave count for nothing.
func someRows(rng *rand.Rand, rows, columns, n int) (indices []int64, grads []float32) {
	for range n {
		indices = append(indices, rng.Int64N(int64(1+rng.IntN(rows))))
	}
	grads = uniform(n*columns, rng.Uint64())
	for k := range indices {
		scale := []float32{1, 1, 1e-16, 1e-31, 1e-39, 0, 0}[rng.IntN(7)]
		for i := range columns {
			grads[k*columns+i] *= scale
		}
	}
	return indices, grads
}

// sumRows are rows that appear, in order of appearance, with the sums of their gradients.
func sumRows(indices []int64, grads []float32, columns int) (rows []int64, sums [][]float32) {
	for k, row := range indices {
		g := grads[k*columns:][:columns]
		at := slices.Index(rows, row)
		if at < 0 {
			rows, sums = append(rows, row), append(sums, slices.Clone(g))
			continue
		}
		for i := range g {
			sums[at][i] += g[i]
		}
	}
	return rows, sums
}

// TestRows compares with an optimizer for each row, which takes the steps that its row is in.
func TestRows(t *testing.T) {
	eachSample(t, func(t *testing.T, r update.Rule) {
		if !takesRows(t, r) {
			err := update.StepRows(mustNewMatrix(t, 6, 3, r), make([]float32, 6), []int64{0}, make([]float32, 3))
			wantArg(t, err, "rule", r.Name())
			return
		}
		for _, columns := range []int{1, 5, 64, tune.BlockLen + 3} {
			rng := rand.New(rand.NewPCG(uint64(columns), 0))
			const rows = 40
			o, p := mustNewMatrix(t, rows*columns, columns, r), uniform(rows*columns, 1)
			q := slices.Clone(p)
			var alone [rows]*update.Optimizer
			for k := range alone {
				alone[k] = mustNew(t, columns, r)
			}
			for step := range 34 {
				indices, grads := someRows(rng, rows, columns, rng.IntN(30))
				if step%2 == 0 {
					must(t, update.StepRows(o, p, indices, grads))
				} else {
					must(t, update.StepRows(o, p, narrow(indices), grads))
				}
				seen, sums := sumRows(indices, grads, columns)
				for k, row := range seen {
					must(t, alone[row].SetSteps(int64(step)))
					must(t, alone[row].Step(q[int(row)*columns:][:columns], sums[k]))
				}
			}
			if o.Steps() != 34 {
				t.Errorf("%d steps, want 34", o.Steps())
			}
			if !sameBits(p, q) {
				t.Errorf("%d columns: parameters differ from those of rows alone", columns)
			}
			for _, name := range slotNames(o, 0) {
				for k, one := range alone {
					if one.Steps() == 0 {
						continue
					}
					want := buffer(one, 0, name) // of a row, or one number
					if !sameBits(buffer(o, 0, name)[k*len(want):][:len(want)], want) {
						t.Errorf("%d columns: %s of row %d differs from that of the row alone", columns, name, k)
					}
				}
			}
		}
	})
}

func narrow(indices []int64) []int32 {
	list := make([]int32, len(indices))
	for k, i := range indices {
		list[k] = int32(i)
	}
	return list
}

// TestAllRows takes all rows in any order, which is a step of the whole.
func TestAllRows(t *testing.T) {
	const rows, columns = 1021, 7
	eachSample(t, func(t *testing.T, r update.Rule) {
		if !takesRows(t, r) {
			t.Skip("it takes no rows")
		}
		o, p := mustNewMatrix(t, rows*columns, columns, r), uniform(rows*columns, 1)
		whole, q, g := mustNewMatrix(t, rows*columns, columns, r), slices.Clone(p), uniform(rows*columns, 2)
		for step := range 17 {
			indices, grads := make([]int32, rows), make([]float32, rows*columns)
			for k, row := range rand.New(rand.NewPCG(uint64(step), 0)).Perm(rows) {
				indices[k] = int32(row)
				copy(grads[k*columns:], g[row*columns:][:columns])
			}
			must(t, update.StepRows(o, p, indices, grads))
			must(t, whole.Step(q, g))
		}
		wantSame(t, "all rows", o, whole, p, q)
	})
}

// TestRowsWorkers has the same bits for any number of workers and any table, with norms,
// limits and policies too, and for other rows in between.
func TestRowsWorkers(t *testing.T) {
	columns, n := 64, tune.ApartLen/64+100
	if emulated {
		columns, n = 512, tune.ApartLen/512+100
	}
	rows := 3 * n
	settings := map[string]func(o *update.Optimizer) error{
		"plain":       func(*update.Optimizer) error { return nil },
		"norm":        func(o *update.Optimizer) error { return o.SetMaxNorm(1) },
		"tensor norm": func(o *update.Optimizer) error { return o.SetMaxTensorNorm(1) },
		"value":       func(o *update.Optimizer) error { return o.SetMaxValue(.1) },
		"policy":      func(o *update.Optimizer) error { return o.SetPolicy(update.Refuse) },
	}
	for what, set := range settings {
		for _, r := range []update.Rule{Get("adam"), Get("amsgrad l1"), Get("rowwise adagrad"), Get("rowwise adam"), Get("rowwise lamb")} {
			var one *update.Optimizer
			var want []float32
			for _, table := range kernels.Available() {
				for _, workers := range []int{1, 2, 3} {
					o, p := mustNewMatrix(t, rows*columns, columns, r), uniform(rows*columns, 1)
					must(t, o.SetTable(table))
					must(t, o.SetWorkers(workers))
					must(t, set(o))
					rng := rand.New(rand.NewPCG(1, 0))
					for range 2 {
						indices, grads := someRows(rng, rows, columns, n)
						must(t, update.StepRows(o, p, indices, grads))
					}
					if one == nil {
						one, want = o, p
					}
					wantSame(t, what, o, one, p, want)
				}
			}
		}
	}
}

// TestRowsAllocs has lists of rows of all lengths, once the longest was there.
func TestRowsAllocs(t *testing.T) {
	const rows, columns = 30_000, 16
	for _, workers := range []int{1, 2} {
		for _, r := range []update.Rule{Get("adam"), Get("amsgrad l1"), Get("sgd"), Get("rowwise adagrad"), Get("rowwise adam"), Get("rowwise lamb")} {
			o, p := mustNewMatrix(t, rows*columns, columns, r), uniform(rows*columns, 1)
			must(t, o.SetWorkers(workers))
			must(t, o.SetMaxNorm(100))
			must(t, o.SetPolicy(update.Skip))
			indices, grads := someRows(rand.New(rand.NewPCG(1, 0)), rows, columns, 2*tune.ApartLen/columns)
			n := 0
			step := func() {
				at := len(indices) >> (n % 5)
				n++
				must(t, update.StepRows(o, p, indices[:at], grads[:at*columns]))
			}
			if got := allocs.PerRun(20, step); got != 0 {
				t.Errorf("%d workers: %v allocations", workers, got)
			}
		}
	}
}
