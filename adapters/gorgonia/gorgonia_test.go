package gorgonia

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const batch, held, hidden = 50, 1500, 32

// A network is a model of two layers in a graph, of one batch.
type network struct {
	x, y, out *G.Node
	params    G.Nodes
	machine   G.VM
}

func newNetwork(t testing.TB) *network {
	graph := G.NewGraph()
	input := func(columns int, name string) *G.Node {
		return G.NewMatrix(graph, tensor.Float32, G.WithShape(batch, columns), G.WithName(name))
	}
	n := &network{x: input(64, "x"), y: input(10, "y")}
	weights := func(rows, columns int, name string) *G.Node {
		w := make([]float32, rows*columns)
		for i := range w {
			w[i] = float32(math.Sin(float64(i)) / math.Sqrt(float64(rows)))
		}
		node := G.NewMatrix(graph, tensor.Float32, G.WithShape(rows, columns), G.WithName(name), G.WithValue(tensor.New(tensor.WithShape(rows, columns), tensor.WithBacking(w))))
		n.params = append(n.params, node)
		return node
	}
	h := G.Must(G.Tanh(G.Must(G.Mul(n.x, weights(64, hidden, "first")))))
	n.out = G.Must(G.SoftMax(G.Must(G.Mul(h, weights(hidden, 10, "second")))))
	loss := G.Must(G.Neg(G.Must(G.Mean(G.Must(G.HadamardProd(G.Must(G.Log(n.out)), n.y))))))
	_, err := G.Grad(loss, n.params...)
	must(t, err)
	n.machine = G.NewTapeMachine(graph, G.BindDualValues(n.params...))
	return n
}

// run goes forward and back over a batch.
func (n *network) run(t testing.TB, d data.Set, at int) {
	n.machine.Reset()
	y := make([]float32, batch*10)
	for i := range batch {
		y[10*i+int(d.Y[at+i])] = 10 // the mean is over classes too
	}
	must(t, G.Let(n.x, tensor.New(tensor.WithShape(batch, 64), tensor.WithBacking(slices.Clone(d.X[at*64:][:batch*64])))))
	must(t, G.Let(n.y, tensor.New(tensor.WithShape(batch, 10), tensor.WithBacking(y))))
	must(t, n.machine.RunAll())
}

func (n *network) values() []float32 {
	var list []float32
	for _, p := range n.params {
		list = append(list, p.Value().Data().([]float32)...)
	}
	return list
}

// train returns the accuracy on digits that it has not seen.
func train(t testing.TB, d data.Set, solver G.Solver, epochs int) (*network, float64) {
	n := newNetwork(t)
	for range epochs {
		for at := 0; at < held; at += batch {
			n.run(t, d, at)
			must(t, solver.Step(G.NodesToValueGrads(n.params)))
		}
	}
	right, all := 0, 0
	for at := held; at+batch <= d.Rows; at += batch {
		n.run(t, d, at)
		out := n.out.Value().Data().([]float32)
		for i := range batch {
			row := out[10*i:][:10]
			if all++; slices.Index(row, slices.Max(row)) == int(d.Y[at+i]) {
				right++
			}
		}
	}
	return n, float64(right) / float64(all)
}

// adamLikeGorgonia has the eps that Gorgonia adds once the bias is corrected, as PyTorch.
func adamLikeGorgonia() update.Adam {
	rule := torch.Adam()
	rule.LR = .01
	return rule
}

// TestDigits trains to the accuracy of Gorgonia's own solvers, along their trajectories.
func TestDigits(t *testing.T) {
	d := data.Load("digits")
	for name, c := range map[string]struct {
		rule   update.Rule
		theirs G.Solver
	}{
		"Adam":     {adamLikeGorgonia(), G.NewAdamSolver(G.WithLearnRate(.01))},
		"SGD":      {textbook.SGD(.1), G.NewVanillaSolver(G.WithLearnRate(.1))},
		"Momentum": {textbook.Momentum(.02, .9), G.NewMomentum(G.WithLearnRate(.02), G.WithMomentum(.9))},
	} {
		t.Run(name, func(t *testing.T) {
			ours, got := train(t, d, New(c.rule), 6)
			theirs, want := train(t, d, c.theirs, 6)
			p, q := ours.values(), theirs.values()
			worst := 0.
			for i := range p {
				worst = max(worst, math.Abs(float64(p[i]-q[i])))
			}
			t.Logf("accuracy %.3f, Gorgonia's %.3f, parameters up to %.2g apart", got, want, worst)
			if got < .8 || math.Abs(got-want) > .01 || worst > 1e-3 {
				t.Errorf("accuracy %.3f, Gorgonia's %.3f, parameters up to %.2g apart", got, want, worst)
			}
		})
	}
}

// TestAdamW moves, which Gorgonia's does not.
func TestAdamW(t *testing.T) {
	d := data.Load("digits")
	rule := torch.AdamW()
	rule.LR = .01
	_, accuracy := train(t, d, New(rule), 6)
	if accuracy < .88 {
		t.Errorf("accuracy %.3f", accuracy)
	}
	still := newNetwork(t)
	before := still.values()
	still.run(t, d, 0)
	must(t, G.NewAdamW().Step(G.NodesToValueGrads(still.params)))
	if !slices.Equal(before, still.values()) {
		t.Error("Gorgonia's AdamW moves now: say so in the package's comment")
	}
}

// A pair is a parameter with its gradient.
type pair struct{ value, grad G.Value }

func (p pair) Value() G.Value         { return p.value }
func (p pair) Grad() (G.Value, error) { return p.grad, nil }

// TestValues takes every kind of value of float32, and refuses others.
func TestValues(t *testing.T) {
	dense := func(x ...float32) *tensor.Dense { return tensor.New(tensor.WithShape(len(x)), tensor.WithBacking(x)) }
	scalar := func(x float32) *tensor.Dense { return tensor.New(tensor.FromScalar(x)) }
	model := []G.ValueGrad{pair{dense(1, 2), dense(1, 1)}, pair{G.NewF32(3), G.NewF32(1)}, pair{scalar(4), scalar(1)}}
	s := New(textbook.SGD(.5), func(o *update.Optimizer) error { return o.SetGradScale(2) })
	must(t, s.Step(model))
	for k, want := range []string{"[0 1]", "2", "3"} {
		if got := fmt.Sprint(model[k].Value().Data()); got != want {
			t.Errorf("value %d is %s, want %s", k, got, want)
		}
		if g, _ := model[k].Grad(); k == 1 && g.Data() != float32(0) {
			t.Errorf("gradient %d is %v", k, g)
		}
	}
	if s.Optimizer().Steps() != 1 {
		t.Errorf("%d steps", s.Optimizer().Steps())
	}
	whole := tensor.New(tensor.WithShape(4, 4), tensor.WithBacking(make([]float32, 16)))
	gaps, err := whole.Slice(nil, G.S(1, 3))
	must(t, err)
	for what, model := range map[string][]G.ValueGrad{
		"float64":     {pair{tensor.New(tensor.WithShape(1), tensor.WithBacking([]float64{1})), dense(1)}},
		"a view":      {pair{gaps.(*tensor.Dense), dense(make([]float32, 8)...)}},
		"no value":    {pair{nil, dense(1)}},
		"no gradient": {pair{dense(1), nil}},
		"columns":     {pair{tensor.New(tensor.WithShape(2, 2), tensor.AsFortran([]float32{1, 2, 3, 4})), dense(1, 2, 3, 4)}},
		"a length":    {pair{dense(1, 2), dense(1)}},
	} {
		if err := New(textbook.SGD(1)).Step(model); err == nil {
			t.Errorf("took %s", what)
		}
	}
	if err := s.Step(model[:2]); err == nil {
		t.Error("took another model")
	}
}

// TestGroups has the second matrix stand still.
func TestGroups(t *testing.T) {
	n := newNetwork(t)
	before := n.values()
	s := NewGroups(func(x G.ValueGrad) int {
		if x.(*G.Node).Name() == "second" {
			return 1
		}
		return 0
	}, []update.Rule{torch.AdamW(), textbook.SGD(0)})
	n.run(t, data.Load("digits"), 0)
	must(t, s.Step(G.NodesToValueGrads(n.params)))
	after := n.values()
	if slices.Equal(before[:64*hidden], after[:64*hidden]) || !slices.Equal(before[64*hidden:], after[64*hidden:]) {
		t.Error("not the first matrix alone moved")
	}
	if names := s.Optimizer().Tensors(); names[0].Name != "first" || names[1].Name != "second" {
		t.Errorf("the tensors are %v", names)
	}
}

// TestOrder has a model's parameters come in another order.
func TestOrder(t *testing.T) {
	graph := G.NewGraph()
	var model []G.ValueGrad
	for _, name := range []string{"a", "b"} {
		x := func() *tensor.Dense { return tensor.New(tensor.WithShape(2), tensor.WithBacking([]float32{1, 2})) }
		model = append(model, named{pair{x(), x()}, G.NewVector(graph, tensor.Float32, G.WithShape(2), G.WithName(name))})
	}
	s := New(torch.Adam())
	must(t, s.Step(model))
	must(t, s.Step(model))
	before := fmt.Sprint(model[0].Value(), model[1].Value())
	slices.Reverse(model)
	err := s.Step(model)
	if want := `parameter 0 is "b", want "a", as in the first step`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %q", err, want)
	}
	if after := fmt.Sprint(model[1].Value(), model[0].Value()); s.Optimizer().Steps() != 2 || after != before {
		t.Errorf("%d steps, from %s to %s", s.Optimizer().Steps(), before, after)
	}
}

// A named pair has the name of a node.
type named struct {
	pair
	G.Namer
}

// stepAlone takes steps of a model of two matrices and two vectors, through the adapter and
// by hand, and compares bits. Rules without a step of vectors leave these to another.
func stepAlone(t *testing.T, r update.Rule, matricesAlone bool, configure func(o *update.Optimizer) error) {
	t.Helper()
	rules, vectors := []update.Rule{r}, 0
	if matricesAlone {
		rules, vectors = append(rules, textbook.SGD(.1)), 1
	}
	var model []G.ValueGrad
	var params, grads [][]float32
	var tensors []update.Tensor
	for _, shape := range []tensor.Shape{{130, 140}, {140, 1}, {3, 140}, {3}} {
		size := shape.TotalSize()
		params, grads = append(params, make([]float32, size)), append(grads, make([]float32, size))
		x := update.Tensor{Size: size, Rule: vectors}
		if size > 140 {
			x.Columns, x.Rule = 140, 0
		}
		tensors = append(tensors, x)
		value := func() G.Value {
			return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(make([]float32, size)))
		}
		model = append(model, pair{value(), value()})
	}
	byHand, err := update.NewSet(tensors, rules...)
	must(t, err)
	must(t, configure(byHand))
	s := NewGroups(func(x G.ValueGrad) int {
		if x.Value().Size() > 140 {
			return 0
		}
		return vectors
	}, rules, configure)
	for range 2 {
		for k, x := range model {
			for i := range grads[k] {
				grads[k][i] = float32(math.Cos(float64(i)))
			}
			g, _ := x.Grad()
			copy(g.Data().([]float32), grads[k])
		}
		must(t, s.Step(model))
		must(t, byHand.StepSet(params, grads))
	}
	for k, x := range model {
		if !slices.Equal(x.Value().Data().([]float32), params[k]) {
			t.Errorf("parameter %d is another", k)
		}
	}
	got, err := s.Optimizer().Export()
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
		for name, solver := range map[string]G.Solver{"Lockstep": New(torch.Adam()), "Gorgonia": G.NewAdamSolver()} {
			b.Run(fmt.Sprintf("Adam, 50 tensors of %d, %s", size, name), func(b *testing.B) {
				var model []G.ValueGrad
				for range 50 {
					value := func() *tensor.Dense {
						return tensor.New(tensor.WithShape(size), tensor.WithBacking(make([]float32, size)))
					}
					model = append(model, pair{value(), value()})
				}
				for b.Loop() {
					must(b, solver.Step(model))
				}
			})
		}
	}
}
