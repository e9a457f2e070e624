package spago

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/losses"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"
	"github.com/nlpodyssey/spago/optimizers"
	"github.com/nlpodyssey/spago/optimizers/adam"
	"github.com/nlpodyssey/spago/optimizers/sgd"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A model of linear layers.
type model struct {
	nn.Module
	Layers []*linear.Model
}

func newModel(sizes ...int) *model {
	m := &model{}
	for k := range len(sizes) - 1 {
		l := linear.New[float32](sizes[k], sizes[k+1])
		w := mat.Data[float32](l.W)
		for i := range w {
			w[i] = float32(math.Sin(float64(1000*k+i)) / math.Sqrt(float64(sizes[k])))
		}
		m.Layers = append(m.Layers, l)
	}
	return m
}

func (m *model) forward(x mat.Tensor) mat.Tensor {
	for k, l := range m.Layers {
		if k > 0 {
			x = ag.Tanh(x)
		}
		x = l.Forward(x)[0]
	}
	return x
}

func row(d data.Set, i int) mat.Tensor {
	return mat.NewDense[float32](mat.WithShape(d.Columns, 1), mat.WithBacking(slices.Clone(d.X[i*d.Columns:][:d.Columns])))
}

// gradients of a batch, for its mean loss.
func (m *model) gradients(t testing.TB, d data.Set, from, to int) {
	var sum mat.Tensor
	for i := from; i < to; i++ {
		loss := losses.CrossEntropy(m.forward(row(d, i)), int(d.Y[i]))
		if sum == nil {
			sum = loss
		} else {
			sum = ag.Add(sum, loss)
		}
	}
	must(t, ag.Backward(ag.ProdScalar(sum, mat.Scalar[float32](1/float32(to-from)))))
}

func (m *model) accuracy(d data.Set, from, to int) float64 {
	right := 0
	for i := from; i < to; i++ {
		y := mat.Data[float32](m.forward(row(d, i)).Value())
		if slices.Index(y, slices.Max(y)) == int(d.Y[i]) {
			right++
		}
	}
	return float64(right) / float64(to-from)
}

// optimize takes a step with a strategy of spaGO, whose own Optimize returns before the
// goroutines have ended that it starts (v1.1.0).
func optimize(m nn.Model, strategy optimizers.OptimizationStrategy) error {
	var all sync.WaitGroup
	var errs sync.Map
	nn.ForEachParam(m, func(p *nn.Param) {
		if p.HasGrad() {
			all.Go(func() { errs.Store(p, strategy.OptimizeParams(p)) })
		}
	})
	all.Wait()
	var err error
	errs.Range(func(_, e any) bool {
		if e != nil {
			err = errors.Join(err, e.(error))
		}
		return true
	})
	return err
}

const batch, held = 50, 1500

// train returns the accuracy on digits that it has not seen.
func train(t testing.TB, m *model, d data.Set, step func() error) float64 {
	for range 6 {
		for at := 0; at < held; at += batch {
			m.gradients(t, d, at, at+batch)
			must(t, step())
		}
	}
	return m.accuracy(d, held, d.Rows)
}

func parameters(m nn.Model) []float32 {
	var list []float32
	nn.ForEachParam(m, func(p *nn.Param) { list = append(list, mat.Data[float32](p)...) })
	return list
}

// TestDigits trains to the accuracy of spaGO's own optimizers, along their trajectories.
func TestDigits(t *testing.T) {
	d := data.Load("digits")
	theirs := adam.New(adam.NewConfig(.01, .9, .999, 1e-8))
	for name, c := range map[string]struct {
		rule     update.Rule
		strategy optimizers.OptimizationStrategy
		advance  func()
	}{
		"Adam":     {adamLikeSpago(), theirs, theirs.IncExample},
		"SGD":      {textbook.SGD(.1), sgd.New[float32](sgd.NewConfig(.1, 0, false)), func() {}},
		"Momentum": {textbook.Momentum(.02, .9), sgd.New[float32](sgd.NewConfig(.02, .9, false)), func() {}},
	} {
		t.Run(name, func(t *testing.T) {
			ours, own := newModel(64, 32, 10), newModel(64, 32, 10)
			o, err := New(Group{nn.Parameters(ours), c.rule})
			must(t, err)
			got := train(t, ours, d, o.Optimize)
			want := train(t, own, d, func() error { err := optimize(own, c.strategy); c.advance(); return err })
			t.Logf("accuracy %.3f, spaGO's %.3f", got, want)
			if got < .8 || math.Abs(got-want) > .02 {
				t.Errorf("accuracy %.3f, spaGO's %.3f", got, want)
			}
			p, q := parameters(ours), parameters(own)
			worst := 0.
			for i := range p {
				worst = max(worst, math.Abs(float64(p[i]-q[i])))
			}
			if worst > 1e-3 {
				t.Errorf("parameters are up to %.3g apart", worst)
			}
		})
	}
}

// adamLikeSpago adds its eps to the root of v as Keras does, without the bias corrected.
func adamLikeSpago() update.Adam {
	rule := keras.Adam()
	rule.LR, rule.Eps = .01, 1e-8
	return rule
}

// give gives a model the gradients of another, to the bit. Those of two backward passes
// differ, because goroutines add them up in any order.
func give(to, from *model) {
	for k, l := range from.Layers {
		to.Layers[k].W.AccGrad(l.W.Grad())
		to.Layers[k].B.AccGrad(l.B.Grad())
	}
}

// TestFirstSteps are spaGO's to within rounding.
func TestFirstSteps(t *testing.T) {
	d := data.Load("digits")
	ours, own := newModel(64, 10), newModel(64, 10)
	o, err := New(Group{nn.Parameters(ours), adamLikeSpago()})
	must(t, err)
	theirs := adam.New(adam.NewConfig(.01, .9, .999, 1e-8))
	for range 3 {
		own.gradients(t, d, 0, batch)
		give(ours, own)
		must(t, o.Optimize())
		must(t, optimize(own, theirs))
		theirs.IncExample()
	}
	p, q := parameters(ours), parameters(own)
	for i := range p {
		if math.Abs(float64(p[i]-q[i])) > 1e-6 {
			t.Fatalf("parameter %d is %v, spaGO's %v", i, p[i], q[i])
		}
	}
}

// accumulate gives all parameters gradients.
func accumulate(m nn.Model) {
	nn.ForEachParam(m, func(p *nn.Param) {
		g := make([]float32, p.Size())
		for i := range g {
			g[i] = float32(math.Cos(float64(i)))
		}
		p.AccGrad(mat.NewDense[float32](mat.WithShape(p.Shape()...), mat.WithBacking(g)))
	})
}

// TestStrategy steps the same where parameters come one by one, from many goroutines.
func TestStrategy(t *testing.T) {
	a, b := newModel(64, 16, 10), newModel(64, 16, 10)
	o, err := New(Group{nn.Parameters(a), torch.AdamW()})
	must(t, err)
	strategy, err := New(Group{nn.Parameters(b), torch.AdamW()})
	must(t, err)
	for range 3 {
		accumulate(a)
		accumulate(b)
		must(t, o.Optimize())
		must(t, optimize(b, strategy))
	}
	if !slices.Equal(parameters(a), parameters(b)) {
		t.Error("other parameters")
	}
	for k := range a.Layers {
		if a.Layers[k].W.HasGrad() || b.Layers[k].W.HasGrad() {
			t.Error("gradients are still there")
		}
	}
}

// TestMissing leaves parameters out that have no gradient.
func TestMissing(t *testing.T) {
	m := newModel(64, 16, 10)
	o, err := New(Group{nn.Parameters(m.Layers[0]), textbook.SGD(.1)}, Group{nn.Parameters(m.Layers[1]), torch.AdamW()})
	must(t, err)
	before := parameters(m)
	must(t, o.Optimize())
	if !slices.Equal(before, parameters(m)) {
		t.Error("parameters without a gradient moved")
	}
	m.gradients(t, data.Load("digits"), 0, 3)
	must(t, o.SetLR(0))
	must(t, o.Optimize())
	if !slices.Equal(before, parameters(m)) {
		t.Error("parameters moved at a rate of 0")
	}
	if o.Steps() != 2 {
		t.Errorf("%d steps", o.Steps())
	}
}

// TestRefused has what is no parameter of float32, or one twice.
func TestRefused(t *testing.T) {
	m := newModel(3, 2)
	if _, err := New(Group{nn.Parameters(m), torch.AdamW()}, Group{nn.Parameters(m), torch.AdamW()}); err == nil {
		t.Error("parameters in two groups")
	}
	if _, err := New(Group{nn.Parameters(linear.New[float64](3, 2)), torch.AdamW()}); err == nil {
		t.Error("parameters of float64")
	}
	o, err := New(Group{nn.Parameters(m), torch.AdamW()})
	must(t, err)
	if err := o.OptimizeParams(nn.NewParam(mat.NewDense[float32](mat.WithShape(2, 2)))); err == nil {
		t.Error("a parameter of nobody")
	}
}

// stepAlone takes steps of models of two matrices and two vectors, through the adapter and
// by hand, and compares bits. Rules without a step of vectors leave these to another.
func stepAlone(t *testing.T, r update.Rule, matricesAlone bool, configure func(o *update.Optimizer) error) {
	t.Helper()
	m, own := newModel(140, 130, 3), newModel(140, 130, 3)
	groups, rules, vectors := []Group{{nn.Parameters(m), r}}, []update.Rule{r}, 0
	if matricesAlone {
		list := func(k ...*nn.Param) nn.ParamChannelFunc { return nn.StreamParams(k) }
		groups = []Group{{list(m.Layers[0].W, m.Layers[1].W), r}, {list(m.Layers[0].B, m.Layers[1].B), textbook.SGD(.1)}}
		rules, vectors = append(rules, textbook.SGD(.1)), 1
	}
	o, err := New(groups...)
	must(t, err)
	var params, grads [][]float32
	var tensors []update.Tensor
	for k, p := range o.list {
		of := own.Layers[0]
		if slices.Contains([]*nn.Param{m.Layers[1].W, m.Layers[1].B}, p) {
			of = own.Layers[1]
		}
		x, rule, columns := of.W, 0, of.W.Shape()[1]
		if p.Shape()[1] == 1 {
			x, rule, columns = of.B, vectors, 0
		}
		params, grads = append(params, mat.Data[float32](x)), append(grads, make([]float32, x.Size()))
		tensors = append(tensors, update.Tensor{Name: fmt.Sprint(k), Size: x.Size(), Columns: columns, Rule: rule})
	}
	byHand, err := update.NewSet(tensors, rules...)
	must(t, err)
	must(t, configure(o.Optimizer))
	must(t, configure(byHand))
	for range 2 {
		accumulate(m)
		for k, p := range o.list {
			copy(grads[k], mat.Data[float32](p.Grad()))
		}
		must(t, o.Optimize())
		must(t, byHand.StepSet(params, grads))
	}
	if !slices.Equal(parameters(m), parameters(own)) {
		t.Error("other parameters")
	}
	got, err := o.Export()
	must(t, err)
	want, err := byHand.Export()
	must(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Error("other state")
	}
}

// TestRules takes steps with every rule and preset that there is.
func TestRules(t *testing.T) {
	for _, e := range registry.All() {
		list := slices.Concat(e.Samples, e.Factored, e.Verified)
		for _, p := range e.Presets {
			rule := registry.With(p.Rule, func(o *update.Options) { o.LR = cmp.Or(o.LR, .01) }) // some have no default
			list = append(list, registry.Sample{Name: p.Framework + "." + p.Name, Rule: rule})
		}
		for _, s := range list {
			t.Run(e.Name+"/"+s.Name, func(t *testing.T) {
				stepAlone(t, s.Rule, e.Apart != "", func(*update.Optimizer) error { return nil })
			})
		}
	}
}

// TestAdaptiveClip clips rows, which AdamW does not look at.
func TestAdaptiveClip(t *testing.T) {
	stepAlone(t, torch.AdamW(), false, func(o *update.Optimizer) error { return o.SetAdaptiveClip(.01, 1e-3) })
}

// BenchmarkStep is of 50 tensors: go test -bench . -benchmem.
func BenchmarkStep(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 16} {
		for _, who := range []string{"Lockstep", "spaGO"} {
			b.Run(fmt.Sprintf("AdamW, 50 tensors of %d, %s", size, who), func(b *testing.B) {
				var params []*nn.Param
				grad := mat.NewDense[float32](mat.WithShape(size, 1))
				for range 50 {
					params = append(params, nn.NewParam(mat.NewDense[float32](mat.WithShape(size, 1))))
				}
				theirs := adam.New(adam.NewAdamWConfig(1e-3, .9, .999, 1e-8, .01))
				step := func() error {
					for _, p := range params {
						must(b, theirs.OptimizeParams(p))
					}
					return nil
				}
				if who == "Lockstep" {
					o, err := New(Group{nn.StreamParams(params), torch.AdamW()})
					must(b, err)
					step = o.Optimize
				}
				for b.Loop() {
					b.StopTimer()
					for _, p := range params {
						p.AccGrad(grad)
					}
					b.StartTimer()
					must(b, step())
				}
			})
		}
	}
}
