package main

import (
	"slices"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/update"
	learning "github.com/lockstep-go/lockstep/update/schedule"
	"github.com/lockstep-go/lockstep/update/torch"
)

// A precision is what of a training is in which types.
type precision struct {
	name  string
	bf16  bool // the model and its gradients
	begin func(t *training) error
	step  func(t *training) error
}

var precisions = []precision{
	{"float32", false, nil, (*training).plain},
	{"bf16, float32 master", true, (*training).copies, func(t *training) error { return t.optimizer.StepTyped(t.master, t.narrow) }},
	{"bf16 and rests", true, (*training).split, func(t *training) error { return t.optimizer.StepSplit(t.model, t.rests, t.narrow) }},
	{"bf16 alone, rounded at random", true, nil, func(t *training) error { return t.optimizer.StepBF16(t.model, t.narrow) }},
	{"state in bf16", false, stateIn(update.StateBF16), (*training).plain},
	{"state in 8 bits", false, stateIn(update.StateFloat8), (*training).plain},
}

// weights are a tensor of a model, with its gradient.
type weights struct {
	p, g   []float32
	decays bool
}

// A training takes the steps of a model, by AdamW at a rate that falls along a cosine.
type training struct {
	precision
	weights   []weights // float32, as the model computes
	optimizer *update.Optimizer
	rate      learning.Schedule

	params, grads [][]float32     // of weights
	master        [][]float32     // params that no model has rounded
	model         [][]update.BF16 // the weights where they are of bf16
	rests         [][]int16
	bf16Grads     [][]update.BF16
	narrow        []update.Typed // bf16Grads
}

func newTraining(list []weights, types precision, lr float64, steps int) *training {
	t := &training{precision: types, weights: list}
	var tensors []update.Tensor
	for _, w := range list {
		tensor := update.Tensor{Size: len(w.p)}
		if !w.decays {
			tensor.Rule = 1
		}
		tensors = append(tensors, tensor)
		t.params, t.grads, t.master = append(t.params, w.p), append(t.grads, w.g), append(t.master, slices.Clone(w.p))
		t.model, t.rests, t.bf16Grads = append(t.model, shortened(w.p)), append(t.rests, make([]int16, len(w.p))), append(t.bf16Grads, make([]update.BF16, len(w.p)))
	}
	t.narrow = update.TypedList(t.bf16Grads)
	decayed, others := torch.AdamW(), torch.AdamW()
	decayed.WeightDecay, others.WeightDecay = .1, 0
	var err error
	t.optimizer, err = update.NewSet(tensors, decayed, others)
	must(err)
	t.rate, err = learning.CosineDecay{LR: lr, Exponent: 1, Steps: int64(steps)}.Schedule()
	must(err)
	if t.begin != nil {
		must(t.begin(t))
	}
	t.widen()
	return t
}

// size is how many weights there are.
func (t *training) size() (n int) {
	for _, p := range t.params {
		n += len(p)
	}
	return n
}

// step goes along the gradients that the model has left.
func (t *training) step() {
	if t.bf16 {
		for k, g := range t.grads {
			copy(t.bf16Grads[k], shortened(g))
		}
	}
	must(t.optimizer.SetLR(t.rate(t.optimizer.Steps())))
	must(t.precision.step(t))
	t.widen()
}

// widen gives the model its weights where these are of bf16.
func (t *training) widen() {
	if !t.bf16 {
		return
	}
	for k, p := range t.params {
		for i, w := range t.model[k] {
			p[i] = w.Float32()
		}
	}
}

func shortened(x []float32) []update.BF16 {
	y := make([]update.BF16, len(x))
	for i, v := range x {
		y[i] = fallback.ToBF16(v)
	}
	return y
}

func (t *training) plain() error { return t.optimizer.StepSet(t.params, t.grads) }

func (t *training) copies() error { return t.optimizer.SetCopies(update.TypedList(t.model)) }

func (t *training) split() error {
	for k, p := range t.params {
		if err := update.SplitParams(t.model[k], t.rests[k], p); err != nil {
			return err
		}
	}
	return nil
}

// stateIn has both moments in a type.
func stateIn(s update.StateType) func(t *training) error {
	return func(t *training) error {
		return t.optimizer.SetStateTypes(map[string]update.StateType{"m": s, "v": s}, 1)
	}
}
