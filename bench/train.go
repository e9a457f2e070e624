package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/schollz/progressbar/v3"
)

// Train says where training ended.
type Train struct {
	Example  []ExampleRow
	Runs     []*Run
	Networks []*NetworkRun
}

// OK reports whether all of it ended where it should.
func (t *Train) OK() bool {
	for _, r := range t.Example {
		if !r.OK {
			return false
		}
	}
	for _, r := range t.Runs {
		if !r.OK {
			return false
		}
	}
	for _, r := range t.Networks {
		if !r.OK {
			return false
		}
	}
	return true
}

// An ExampleRow is where one optimizer has taken the slope of a line.
type ExampleRow struct {
	Optimizer string
	W, Want   float64
	OK        bool
}

// A Run is one training of one model.
type Run struct {
	Problem   string
	Optimizer string
	Batch     int // rows
	Epochs    int
	Loss      float64 // penalised, over all rows, at the end
	Optimum   float64
	Gap       float64 // (Loss - Optimum) / Optimum
	Tolerance float64 // of Gap
	ScoreName string
	Score     float64
	Seconds   float64 // without the points of the curve
	Curve     []Point
	OK        bool
}

// A Point is the loss after some epochs.
type Point struct {
	Epoch int
	Loss  float64
}

const (
	exampleTitle = "three points on a line"
	exampleText  = "x = 1, 2, 3; y = 2, 4, 6; the mean of (wx - y)²; w from 1; 1000 steps"
)

// example fits a line through the origin, whose slope is known to be 2. AdaGrad's rate
// has become too small before.
func example() []ExampleRow {
	var list []ExampleRow
	for _, r := range []struct {
		name string
		rule update.Rule
		want float64
	}{
		{"Momentum, lr 0.01, gamma 0.9", textbook.Momentum(.01, .9), 2},
		{"AdaGrad, lr 0.01", textbook.AdaGrad(.01), 1.5375},
		{"Adam, lr 0.01", textbook.Adam(.01), 2},
	} {
		linear, err := loss.NewLinear(loss.Squared, 1, false)
		must(err)
		o, err := update.New(1, r.rule)
		must(err)
		w, grad := []float32{1}, make([]float32, 1)
		for range 1000 {
			_, err = linear.Gradient([]float32{1, 2, 3}, []float32{2, 4, 6}, w, grad)
			must(err)
			must(o.Step(w, grad))
		}
		got := float64(w[0])
		list = append(list, ExampleRow{r.name, got, r.want, math.Abs(got-r.want) <= .5e-4})
	}
	return list
}

// A method is an optimizer with its schedule for one problem.
type method struct {
	name      string
	rule      update.Rule
	epochs    int
	batch     int // rows; 0 is all
	schedule  schedule
	tolerance float64 // of the relative gap at the end
}

// A schedule is the factor of the learning rate when a part of all steps, from
// 0 to 1, is done.
type schedule func(done float64) float64

func constant(float64) float64 { return 1 }

// decay falls exponentially to a last factor.
func decay(last float64) schedule {
	return func(done float64) float64 { return math.Pow(last, done) }
}

// run trains a problem by a method.
func (p *problem) run(m method) *Run {
	d := p.data
	r := &Run{Problem: p.name, Optimizer: m.name, Batch: m.batch, Epochs: m.epochs,
		Optimum: p.optimum, Tolerance: m.tolerance, ScoreName: p.score}
	if m.batch == 0 {
		r.Batch = d.rows
	}
	o, err := update.New(d.columns+1, m.rule)
	must(err)
	lr := registry.Options(m.rule).LR
	g := p.gradient()
	w, grad := make([]float32, d.columns+1), make([]float32, d.columns+1)
	batches := newBatches(d, r.Batch)

	total := m.epochs * batches.count()
	step, next := 0, 0
	start := time.Now()
	for epoch := range m.epochs {
		if epoch >= next {
			pause := time.Now()
			r.Curve = append(r.Curve, Point{epoch, p.objective(w)})
			next = max(epoch+1, epoch*11/10)
			start = start.Add(time.Since(pause))
		}
		batches.shuffle()
		for k := range batches.count() {
			x, y := batches.at(k)
			g.of(x, y, w, grad)
			must(o.SetLR(lr * m.schedule(float64(step)/float64(total))))
			must(o.Step(w, grad))
			step++
		}
	}
	r.Seconds = time.Since(start).Seconds()
	r.Loss = p.objective(w)
	r.Curve = append(r.Curve, Point{m.epochs, r.Loss})
	r.Gap = (r.Loss - p.optimum) / p.optimum
	r.Score = p.rate(w)
	r.OK = r.Gap <= r.Tolerance && r.Gap > -1e-5 && math.Abs(r.Score-p.best) < 5e-4
	return r
}

// batches deals out the rows of a data set, in a new order in each epoch.
type batches struct {
	from dataset
	x, y []float32 // in the order of this epoch
	rows int       // of a batch
	rng  *rand.Rand
}

func newBatches(d dataset, rows int) *batches {
	b := &batches{from: d, x: d.x, y: d.y, rows: rows, rng: rand.New(rand.NewPCG(1, 2))}
	if rows < d.rows {
		b.x, b.y = make([]float32, len(d.x)), make([]float32, len(d.y))
	}
	return b
}

// count is the number of batches of an epoch; the last one may be smaller.
func (b *batches) count() int { return (b.from.rows + b.rows - 1) / b.rows }

func (b *batches) at(k int) (x, y []float32) {
	lo, hi := k*b.rows, min((k+1)*b.rows, b.from.rows)
	return b.x[lo*b.from.columns : hi*b.from.columns], b.y[lo:hi]
}

func (b *batches) shuffle() {
	if b.rows == b.from.rows {
		return
	}
	n := b.from.columns
	for i, k := range b.rng.Perm(b.from.rows) {
		copy(b.x[i*n:][:n], b.from.x[k*n:])
		b.y[i] = b.from.y[k]
	}
}

// train runs the example, every method on the real data, and networks.
func train(short bool) *Train {
	t := &Train{Example: example()}
	list := problems()
	steps := 0
	for k := range list {
		steps += len(methods(&list[k]))
	}
	bar := progress(steps, "train")
	for k := range list {
		t.Runs = append(t.Runs, list[k].runAll(bar)...)
	}
	bar.Finish()
	t.Networks = networks(short)
	return t
}

func (p *problem) runAll(bar *progressbar.ProgressBar) []*Run {
	var list []*Run
	for _, m := range methods(p) {
		list = append(list, p.run(m))
		bar.Add(1)
	}
	return list
}

func (t *Train) print(s *screen) {
	s.heading("Train: " + exampleTitle)
	s.paragraph("%s\n", exampleText)
	g := newGrid("optimizer", "w ends at", "should be", "")
	g.numbers = []int{1, 2}
	for _, r := range t.Example {
		g.add(r.Optimizer, fmt.Sprintf("%.4f", r.W), fmt.Sprintf("%.4f", r.Want), verdict(r.OK))
	}
	s.print(g)
	s.paragraph("\nOn real data AdamW is not apart: without decay it is Adam, with decay it ends elsewhere than the loss.")
	for _, runs := range t.byProblem() {
		s.printRuns(runs)
	}
	s.printNetworks(t.Networks)
}

func (s *screen) printRuns(runs []*Run) {
	s.heading("Train: " + runs[0].Problem)
	g := newGrid("optimizer", "batch", "epochs", "seconds", "relative\ngap", "allowed", runs[0].ScoreName, "")
	g.numbers = []int{1, 2, 3, 4, 5, 6}
	for _, r := range runs {
		g.add(r.Optimizer, fmt.Sprint(r.Batch), fmt.Sprint(r.Epochs), fmt.Sprintf("%.2f", r.Seconds),
			fmt.Sprintf("%.1e", r.Gap), fmt.Sprintf("%.0e", r.Tolerance), fmt.Sprintf("%.4f", r.Score), verdict(r.OK))
	}
	s.paragraph("The least loss is %.7g; the gap is that of the loss at the end to it.\n", runs[0].Optimum)
	s.print(g)
	fmt.Fprintf(s, "\n%s\n", s.curves(runs))
}

// byProblem are the runs in their groups.
func (t *Train) byProblem() [][]*Run {
	return groups(t.Runs, func(r *Run) string { return r.Problem })
}

// groups are neighbours in a list that have the same key.
func groups[T any, K comparable](list []T, key func(T) K) [][]T {
	var all [][]T
	for k, x := range list {
		if k == 0 || key(x) != key(list[k-1]) {
			all = append(all, nil)
		}
		last := &all[len(all)-1]
		*last = append(*last, x)
	}
	return all
}
