package gomlx

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/gomlx/pkg/ml/train"
	"github.com/gomlx/gomlx/pkg/ml/train/losses"
	"github.com/gomlx/gomlx/pkg/ml/train/optimizers"
	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// backend is one for all: GoMLX refuses a tensor that another has had.
var backend = sync.OnceValue(func() backends.Backend {
	b, err := simplego.New("")
	if err != nil {
		panic(err)
	}
	return b
})

// newContext has the parameters of a network.
func newContext(sizes ...int) *context.Context {
	ctx := context.New()
	for k := range len(sizes) - 1 {
		w := make([]float32, sizes[k]*sizes[k+1])
		for i := range w {
			w[i] = float32(math.Sin(float64(1000*k+i)) / math.Sqrt(float64(sizes[k])))
		}
		layer := ctx.In(fmt.Sprintf("layer%d", k))
		layer.VariableWithValue("w", tensors.FromFlatDataAndDimensions(w, sizes[k], sizes[k+1]))
		layer.VariableWithValue("b", make([]float32, sizes[k+1]))
	}
	return ctx
}

// network is that of newContext.
func network(ctx *context.Context, _ any, inputs []*graph.Node) []*graph.Node {
	x := inputs[0]
	for k := 0; ; k++ {
		w := ctx.InspectVariable(fmt.Sprintf("/layer%d", k), "w")
		if w == nil {
			return []*graph.Node{x}
		}
		if k > 0 {
			x = graph.Tanh(x)
		}
		b := ctx.InspectVariable(fmt.Sprintf("/layer%d", k), "b")
		x = graph.Add(graph.Dot(x, w.ValueGraph(x.Graph())), graph.ExpandAxes(b.ValueGraph(x.Graph()), 0))
	}
}

func newTrainer(ctx *context.Context, o optimizers.Interface) *train.Trainer {
	return train.NewTrainer(backend(), ctx, network, losses.SparseCategoricalCrossEntropyLogits, o, nil, nil)
}

const batch, held = 50, 1500

// rows of the digits, and their classes.
func rows(d data.Set, from, to int) (inputs, labels []*tensors.Tensor) {
	y := make([]int32, to-from)
	for i := range y {
		y[i] = int32(d.Y[from+i])
	}
	x := tensors.FromFlatDataAndDimensions(slices.Clone(d.X[from*d.Columns:to*d.Columns]), to-from, d.Columns)
	return []*tensors.Tensor{x}, []*tensors.Tensor{tensors.FromFlatDataAndDimensions(y, to-from, 1)}
}

// digits are a train.Dataset of so many epochs of batches.
type digits struct {
	data.Set
	epochs, next int
}

func (d *digits) Name() string { return "digits" }
func (d *digits) Reset()       { d.next = 0 }
func (d *digits) Yield() (any, []*tensors.Tensor, []*tensors.Tensor, error) {
	at := d.next * batch
	if at >= d.epochs*held {
		return nil, nil, nil, io.EOF
	}
	d.next++
	inputs, labels := rows(d.Set, at%held, at%held+batch)
	return nil, inputs, labels, nil
}

func parameters(t testing.TB, ctx *context.Context) []float32 {
	var list []float32
	for v := range ctx.IterVariables() {
		if v.Trainable {
			x, err := tensors.CopyFlatData[float32](v.MustValue())
			must(t, err)
			list = append(list, x...)
		}
	}
	return list
}

func accuracy(t testing.TB, ctx *context.Context, d data.Set) float64 {
	inputs, _ := rows(d, held, d.Rows)
	exec, err := context.NewExec(backend(), ctx.Checked(false), func(ctx *context.Context, x *graph.Node) *graph.Node {
		return network(ctx, nil, []*graph.Node{x})[0]
	})
	must(t, err)
	out, err := exec.Exec(inputs[0])
	must(t, err)
	y, err := tensors.CopyFlatData[float32](out[0])
	must(t, err)
	right, n := 0, d.Rows-held
	for i := range n {
		scores := y[i*len(y)/n:][:len(y)/n]
		if slices.Index(scores, slices.Max(scores)) == int(d.Y[held+i]) {
			right++
		}
	}
	return float64(right) / float64(n)
}

// loop trains in GoMLX's loop.
func loop(t testing.TB, ctx *context.Context, trainer *train.Trainer, o *Optimizer) {
	l := train.NewLoop(trainer)
	if o != nil {
		o.Attach(l)
	}
	_, err := l.RunToGlobalStep(&digits{Set: data.Load("digits"), epochs: 6}, 6*held/batch)
	must(t, err)
}

// TestDigits trains to the accuracy of GoMLX's own optimizers, along their trajectories.
func TestDigits(t *testing.T) {
	adamW := torch.AdamW()
	adamW.LR = .01
	adam := torch.Adam()
	adam.LR = .01
	for name, c := range map[string]struct {
		rule   update.Rule
		theirs optimizers.Interface
	}{
		"Adam":  {adam, optimizers.Adam().LearningRate(.01).Epsilon(1e-8).Done()},
		"AdamW": {adamW, optimizers.Adam().LearningRate(.01).Epsilon(1e-8).WeightDecay(.01).Done()},
		"SGD":   {textbook.SGD(.1), optimizers.StochasticGradientDescent().WithLearningRate(.1).WithDecay(false)},
	} {
		t.Run(name, func(t *testing.T) {
			ours, own := newContext(64, 32, 10), newContext(64, 32, 10)
			o := New(c.rule)
			loop(t, ours, newTrainer(ours, o), o)
			loop(t, own, newTrainer(own, c.theirs), nil)
			got, want := accuracy(t, ours, data.Load("digits")), accuracy(t, own, data.Load("digits"))
			t.Logf("accuracy %.3f, GoMLX's %.3f", got, want)
			if got < .8 || math.Abs(got-want) > .02 {
				t.Errorf("accuracy %.3f, GoMLX's %.3f", got, want)
			}
			p, q := parameters(t, ours), parameters(t, own)
			worst := 0.
			for i := range p {
				worst = max(worst, math.Abs(float64(p[i]-q[i])))
			}
			if worst > 1e-3 {
				t.Errorf("parameters are up to %.3g apart", worst)
			}
			if o.Optimizer().Steps() != 6*held/batch {
				t.Errorf("%d steps", o.Optimizer().Steps())
			}
		})
	}
}

// TestInPlace is of the backend in Go, where a step copies nothing.
func TestInPlace(t *testing.T) {
	ctx := newContext(64, 10)
	o := New(torch.AdamW())
	trainer := newTrainer(ctx, o)
	inputs, labels := rows(data.Load("digits"), 0, batch)
	address := func() *float32 {
		var p *float32
		must(t, tensors.MutableFlatData(ctx.InspectVariable("/layer0", "w").MustValue(), func(x []float32) { p = &x[0] }))
		return p
	}
	var first *float32
	for k := range 4 {
		_, err := trainer.TrainStep(nil, inputs, labels)
		must(t, err)
		must(t, o.Step())
		if k == 1 { // with the second graph run the backend shares it
			first = address()
		}
	}
	if address() != first {
		t.Error("parameters have moved")
	}
}

// TestAccumulated takes a step of the mean of three batches, as a batch of all does.
func TestAccumulated(t *testing.T) {
	d := data.Load("digits")
	ours, whole := newContext(64, 10), newContext(64, 10)
	a, b := New(torch.AdamW()), New(torch.AdamW())
	parts, one := newTrainer(ours, a), newTrainer(whole, b)
	must(t, parts.AccumulateGradients(3))
	before := parameters(t, ours)
	for k := range 3 {
		inputs, labels := rows(d, k*batch, (k+1)*batch)
		_, err := parts.TrainStep(nil, inputs, labels)
		must(t, err)
		must(t, a.Step())
		if moved := !slices.Equal(before, parameters(t, ours)); moved != (k == 2) {
			t.Errorf("batch %d: parameters moved: %v", k, moved)
		}
	}
	inputs, labels := rows(d, 0, 3*batch)
	_, err := one.TrainStep(nil, inputs, labels)
	must(t, err)
	must(t, b.Step())
	must(t, b.Step()) // which is none, since no graph has run
	p, q := parameters(t, ours), parameters(t, whole)
	for i := range p {
		if math.Abs(float64(p[i]-q[i])) > 1e-5 {
			t.Fatalf("parameter %d is %v, of one batch %v", i, p[i], q[i])
		}
	}
	if a.Optimizer().Steps() != 1 || b.Optimizer().Steps() != 1 {
		t.Errorf("%d and %d steps, want 1", a.Optimizer().Steps(), b.Optimizer().Steps())
	}
}

// TestRates follow GoMLX's variable, once it changes.
func TestRates(t *testing.T) {
	ctx := newContext(64, 32, 10)
	group := func(v *context.Variable) int { return strings.Count(v.Scope(), "layer1") }
	o := NewGroups(group, []update.Rule{textbook.SGD(.1), textbook.SGD(.3)})
	trainer := newTrainer(ctx, o)
	inputs, labels := rows(data.Load("digits"), 0, batch)
	step := func() {
		_, err := trainer.TrainStep(nil, inputs, labels)
		must(t, err)
		must(t, o.Step())
	}
	rates := func(want ...float64) {
		t.Helper()
		for k, w := range want {
			if got, err := o.Optimizer().RuleLR(k); err != nil || math.Abs(got-w) > 1e-8 {
				t.Errorf("rule %d has the rate %v (%v), want %v", k, got, err, w)
			}
		}
	}
	step()
	rates(.1, .3)
	if lr, _ := o.Optimizer().RuleLR(0); lr != .1 {
		t.Errorf("a rate of %v: float32's, want .1", lr)
	}
	must(t, o.Optimizer().SetRuleLR(1, .7))
	step()
	rates(.1, .7)
	v := optimizers.LearningRateVar(ctx, inputs[0].DType(), 0)
	must(t, v.SetValue(tensors.FromScalar(float32(.05))))
	step()
	rates(.05, .15)
	must(t, v.SetValue(tensors.FromScalar(float32(-1))))
	before := parameters(t, ctx)
	_, err := trainer.TrainStep(nil, inputs, labels)
	must(t, err)
	if err := o.Step(); err == nil || !strings.Contains(err.Error(), "learning_rate") {
		t.Errorf("a negative rate: %v", err)
	}
	if !slices.Equal(before, parameters(t, ctx)) {
		t.Error("an error, and parameters moved")
	}
}

// TestClear begins anew.
func TestClear(t *testing.T) {
	ctx := newContext(64, 10)
	ctx.VariableWithValue("scale", float32(1)) // of the root, and of no matrix
	configured := 0
	o := New(torch.AdamW(), func(o *update.Optimizer) error { configured++; return o.SetMaxNorm(1) })
	inputs, labels := rows(data.Load("digits"), 0, batch)
	variables := func() int { return len(slices.Collect(ctx.IterVariables())) }
	before := variables()
	for range 2 {
		trainer := newTrainer(ctx.Checked(false), o)
		_, err := trainer.TrainStep(nil, inputs, labels)
		must(t, err)
		must(t, o.Step())
		if o.Optimizer().Steps() != 1 || o.Optimizer().MaxNorm() != 1 {
			t.Errorf("%d steps with a norm of at most %v", o.Optimizer().Steps(), o.Optimizer().MaxNorm())
		}
		must(t, o.Clear(ctx))
		if o.Optimizer() != nil {
			t.Error("there still is an optimizer")
		}
		for v := range ctx.IterVariables() {
			if strings.Contains(v.Scope(), Scope) {
				t.Errorf("%s is left", v.ScopeAndName())
			}
		}
	}
	if configured != 2 || variables() < before {
		t.Errorf("configured %d times, and there are %d variables, %d before", configured, variables(), before)
	}
}

// TestRefused has what cannot be trained.
func TestRefused(t *testing.T) {
	inputs, labels := rows(data.Load("digits"), 0, batch)
	refused := func(ctx *context.Context, o *Optimizer, model train.ModelFn, want string) {
		t.Helper()
		trainer := train.NewTrainer(backend(), ctx, model, losses.SparseCategoricalCrossEntropyLogits, o, nil, nil)
		if _, err := trainer.TrainStep(nil, inputs, labels); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	double := context.New()
	double.VariableWithValue("w", make([]float64, 64*10))
	refused(double, New(torch.AdamW()), func(ctx *context.Context, _ any, x []*graph.Node) []*graph.Node {
		w := graph.ConvertDType(ctx.InspectVariable("/", "w").ValueGraph(x[0].Graph()), x[0].DType())
		return []*graph.Node{graph.Dot(x[0], graph.Reshape(w, 64, 10))}
	}, "want float32")
	refused(newContext(64, 10), New(torch.Muon()), network, "muon rule")
	refused(newContext(64, 10), New(torch.AdamW(), func(o *update.Optimizer) error { return o.SetMaxNorm(-1) }), network, "maxNorm")

	o, ctx := New(torch.AdamW()), newContext(64, 10)
	trainer := newTrainer(ctx, o)
	_, err := trainer.TrainStep(nil, inputs, labels)
	must(t, err)
	refused(newContext(64, 32, 10), o, network, "other trainable variables")
}

// stepAlone takes steps of models of two matrices and two vectors, through the adapter and
// by hand, and compares bits. Rules without a step of vectors leave these to another.
func stepAlone(t *testing.T, r update.Rule, matricesAlone bool, configure func(o *update.Optimizer) error) {
	t.Helper()
	ctx := newContext(130, 140, 3)
	rules, group := []update.Rule{r}, func(*context.Variable) int { return 0 }
	if matricesAlone {
		rules, group = append(rules, textbook.SGD(.1)), func(v *context.Variable) int { return 2 - v.Shape().Rank() }
	}
	o := NewGroups(group, rules, configure)
	var params, grads [][]float32
	var list []update.Tensor
	for v := range ctx.IterVariables() {
		x, err := tensors.CopyFlatData[float32](v.MustValue())
		must(t, err)
		g := make([]float32, len(x))
		for i := range g {
			g[i] = float32(math.Cos(float64(i)))
		}
		columns := 0
		if v.Name() == "w" {
			columns = v.Shape().Dimensions[1]
		}
		params, grads = append(params, x), append(grads, g)
		list = append(list, update.Tensor{Name: v.ScopeAndName(), Size: len(x), Columns: columns, Rule: group(v)})
	}
	byHand, err := update.NewSet(list, rules...)
	must(t, err)
	must(t, configure(byHand))
	// The gradient of the sum of all products is the other factor.
	trainer := train.NewTrainer(backend(), ctx, func(ctx *context.Context, _ any, inputs []*graph.Node) []*graph.Node {
		g := inputs[0].Graph()
		sum, k := graph.ScalarZero(g, inputs[0].DType()), 0
		for _, v := range slices.Collect(ctx.IterVariables()) {
			if v.Trainable {
				factor := graph.Const(g, tensors.FromFlatDataAndDimensions(grads[k], v.Shape().Dimensions...))
				sum = graph.Add(sum, graph.ReduceAllSum(graph.Mul(v.ValueGraph(g), factor)))
				k++
			}
		}
		return []*graph.Node{sum}
	}, func(_, predictions []*graph.Node) *graph.Node { return predictions[0] }, o, nil, nil)
	for range 2 {
		_, err := trainer.TrainStep(nil, []*tensors.Tensor{tensors.FromScalar(float32(0))}, nil)
		must(t, err)
		must(t, o.Step())
		must(t, byHand.StepSet(params, grads))
	}
	if !slices.Equal(parameters(t, ctx), slices.Concat(params...)) {
		t.Error("other parameters")
	}
	got, err := o.Optimizer().Export()
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

// BenchmarkStep is a training step of a network on digits, with its graph:
// go test -bench . -benchmem.
func BenchmarkStep(b *testing.B) {
	inputs, labels := rows(data.Load("digits"), 0, 8)
	for _, width := range []int{32, 1024} {
		for _, who := range []string{"Lockstep", "GoMLX"} {
			b.Run(fmt.Sprintf("AdamW, width %d, %s", width, who), func(b *testing.B) {
				ctx := newContext(64, width, width, 10)
				var o optimizers.Interface = optimizers.Adam().WeightDecay(.01).Done()
				step := func() error { return nil }
				if who == "Lockstep" {
					own := New(torch.AdamW())
					o, step = own, own.Step
				}
				trainer := newTrainer(ctx, o)
				for b.Loop() {
					_, err := trainer.TrainStep(nil, inputs, labels)
					must(b, err)
					must(b, step())
				}
			})
		}
	}
}
