package main

import (
	"bytes"
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/internal/draws"
	"github.com/lockstep-go/lockstep/loss"
)

// lossCases is how many there are of a loss: short ones, and some of more than a block.
const (
	shortLosses = 60
	lossCases   = shortLosses + 6
)

// A lossCase runs package loss on what a source draws, and hashes what comes out.
type lossCase struct {
	name string
	run  func(s *source, h *draws.Hash)
}

// lossList is in the order of the file, and of c/test/losses.c.
var lossList = []lossCase{
	{"loss_mse", predictions(func(r loss.Reduction, _ int, _ float64) loss.Loss { return loss.MSE{Reduction: r} })},
	{"loss_bce", predictions(func(r loss.Reduction, option int, _ float64) loss.Loss {
		return loss.BCE{Reduction: r, Clamp: loss.Clamp(option)}
	})},
	{"loss_bce_with_logits", predictions(func(r loss.Reduction, _ int, weight float64) loss.Loss {
		return loss.BCEWithLogits{Reduction: r, PosWeight: loss.Weight(weight)}
	})},
	{"loss_hinge", predictions(func(r loss.Reduction, option int, _ float64) loss.Loss {
		return loss.Hinge{Reduction: r, Labels: loss.Labels(option)}
	})},
	{"loss_squared_hinge", predictions(func(r loss.Reduction, option int, _ float64) loss.Loss {
		return loss.SquaredHinge{Reduction: r, Labels: loss.Labels(option)}
	})},
	{"penalty", penalty},
	{"linear", linear},
	{"cross_entropy", crossEntropy},
	{"loss_mse_scaled", scaled(func(r loss.Reduction, s loss.Scaling, _ int, _ float64) loss.Loss {
		return loss.MSE{Reduction: r, Scaling: s}
	})},
	{"loss_mae", scaled(func(r loss.Reduction, s loss.Scaling, _ int, _ float64) loss.Loss {
		return loss.MAE{Reduction: r, Scaling: s}
	})},
	{"loss_huber", scaled(func(r loss.Reduction, s loss.Scaling, _ int, x float64) loss.Loss {
		return loss.Huber{Reduction: r, Scaling: s, Delta: x + 0x1p-10}
	})},
	{"loss_smooth_l1", scaled(func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss {
		return loss.SmoothL1{Reduction: r, Scaling: s, Beta: x * float64(option)}
	})},
	{"loss_quantile", scaled(func(r loss.Reduction, s loss.Scaling, _ int, x float64) loss.Loss {
		return loss.Quantile{Reduction: r, Scaling: s, Level: x/2 + .25}
	})},
	{"loss_log_cosh", scaled(func(r loss.Reduction, s loss.Scaling, _ int, _ float64) loss.Loss {
		return loss.LogCosh{Reduction: r, Scaling: s}
	})},
	{"loss_soft_margin", scaled(func(r loss.Reduction, s loss.Scaling, _ int, _ float64) loss.Loss {
		return loss.SoftMargin{Reduction: r, Scaling: s}
	})},
	{"loss_poisson_nll", scaled(func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss {
		return loss.PoissonNLL{Reduction: r, Scaling: s, Rates: option&1 > 0, Eps: x, Full: option&2 > 0}
	})},
	{"loss_gaussian_nll", scaled(func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss {
		return normal{loss.GaussianNLL{Reduction: r, Scaling: s, Eps: x + 0x1p-10, Full: option&1 > 0}, option&2 > 0}
	})},
	{"loss_kl_divergence", scaled(func(r loss.Reduction, s loss.Scaling, option int, _ float64) loss.Loss {
		return loss.KLDivergence{Reduction: r, Scaling: s, LogTarget: option&1 > 0}
	})},
	{"loss_focal", scaled(func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss {
		l := loss.Focal{Reduction: r, Scaling: s, Gamma: 4 * x}
		if option&1 > 0 {
			l.Alpha = loss.Weight(x)
		}
		if option&2 > 0 {
			l.Smoothing = x
		}
		return l
	})},
	{"loss_bce_smoothed", scaled(func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss {
		return loss.BCE{Reduction: r, Scaling: s, Clamp: loss.Clamp(option & 1), Smoothing: x}
	})},
	{"loss_bce_with_logits_smoothed", scaled(func(r loss.Reduction, s loss.Scaling, _ int, x float64) loss.Loss {
		return loss.BCEWithLogits{Reduction: r, Scaling: s, Smoothing: x}
	})},
	{"softmax_linear", softmaxLinear},
	{"loss_bce_with_class_logits", scaled(func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss {
		return loss.BCEWithLogits{Reduction: r, Scaling: s, Smoothing: float64(option) / 4, PosWeights: []float32{float32(x), 0, 3}}
	})},
	{"loss_of_rows", rowLoss},
	{"loss_cosine_embedding", cosineEmbedding},
	{"loss_softmax", probabilities},
	{"loss_kl_divergence_of_probabilities", scaled(func(r loss.Reduction, s loss.Scaling, _ int, _ float64) loss.Loss {
		return loss.KLDivergence{Reduction: r, Scaling: s, Probabilities: true}
	})},
	{"loss_focal_of_probabilities", scaled(func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss {
		l := loss.Focal{Reduction: r, Scaling: s, Gamma: 4 * x, Probabilities: true}
		if option&1 > 0 {
			l.Alpha = loss.Weight(x)
		}
		if option&2 > 0 {
			l.Smoothing = x
		}
		return l
	})},
	{"loss_of_rows_of_probabilities", focalRows(true)},
	{"loss_of_rows_of_targets", focalRows(false)},
}

// normal is GaussianNLL whose variances are the targets, and which stores their gradient before
// the other one, or does not.
type normal struct {
	loss.GaussianNLL
	stores bool
}

func (l normal) Eval(pred, target, grad, each []float32) (float64, error) {
	if !l.stores {
		return l.GaussianNLL.Eval(pred, target, target, grad, nil, each)
	}
	by := make([]float32, len(pred))
	value, err := l.GaussianNLL.Eval(pred, target, target, grad, by, each)
	for i := range grad {
		grad[i] += by[i]
	}
	return value, err
}

// losses is the file of losses, a line for each.
func losses() []byte {
	b := bytes.NewBufferString("Code generated by gen/vectors. DO NOT EDIT.\n")
	for _, l := range lossList {
		b.WriteString(l.name)
		for c := range lossCases {
			fmt.Fprintf(b, " %08x", lossResult(l, c))
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// lossResult is the hash of a case.
func lossResult(c lossCase, number int) uint32 {
	h := draws.NewHash()
	c.run(newSource(c.name, number), h)
	return h.Sum()
}

// size is the number of elements of a case.
func (s *source) size() int {
	if s.number < shortLosses {
		return 3 * s.number
	}
	return 60000 + s.Below(80000)
}

func (s *source) values(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = s.value()
	}
	return x
}

// unit is a number from 0 to 1.
func (s *source) unit() float32 { return float32(math.Abs(float64(s.Ordinary()))) / 4 }

// predictions runs a loss, half of the time on probabilities.
func predictions(of func(r loss.Reduction, option int, weight float64) loss.Loss) func(s *source, h *draws.Hash) {
	return func(s *source, h *draws.Hash) {
		n := s.size()
		r := loss.Reduction(s.Below(3))
		l := of(r, s.Below(2), float64(s.unit()))
		var grad, each []float32
		if s.Below(4) > 0 {
			grad = make([]float32, n)
		}
		if s.Below(2) > 0 || r == loss.None {
			each = make([]float32, n)
		}
		probable := s.Below(2) > 0
		pred, target := s.values(n), s.values(n)
		for i := range pred {
			if probable {
				pred[i], target[i] = s.unit(), s.unit()
			}
		}
		value, err := l.Eval(pred, target, grad, each)
		must(err)
		h.Doubles(value)
		h.Floats(grad...)
		h.Floats(each...)
	}
}

// scaled runs a loss with weights of elements or rows, of three columns, and an upstream scale, half
// of the time on probabilities.
func scaled(of func(r loss.Reduction, s loss.Scaling, option int, x float64) loss.Loss) func(s *source, h *draws.Hash) {
	return func(s *source, h *draws.Hash) {
		n := s.size() / 3 * 3
		r, option, x := loss.Reduction(s.Below(5)), int(s.Below(4)), float64(s.unit())
		weights, scales := []int{0, n, n / 3}[s.Below(3)], s.Below(2) > 0
		var grad, each []float32
		if s.Below(4) > 0 {
			grad = make([]float32, n)
		}
		if s.Below(2) > 0 || r == loss.None {
			each = make([]float32, n)
		}
		probable := s.Below(2) > 0
		pred, target := s.values(n), s.values(n)
		for i := range pred {
			if probable {
				pred[i], target[i] = s.unit(), s.unit()
			}
		}
		scaling := loss.Scaling{Rows: n / 3}
		if weights > 0 {
			scaling.Weight = make([]float32, weights)
			for i := range scaling.Weight {
				if s.Below(8) > 0 {
					scaling.Weight[i] = s.unit()
				}
			}
		}
		if scales {
			scaling.GradScale = loss.Weight(x - .5)
		}
		value, err := of(r, scaling, option, x).Eval(pred, target, grad, each)
		must(err)
		h.Doubles(value)
		h.Floats(grad...)
		h.Floats(each...)
	}
}

func penalty(s *source, h *draws.Hash) {
	w := s.values(s.size())
	p := loss.Penalty{L1: float64(s.unit()), L2: float64(s.unit())}
	var grad []float32
	if s.Below(2) > 0 {
		grad = s.values(len(w))
	}
	value, err := p.Eval(w, grad)
	must(err)
	h.Doubles(value)
	h.Floats(grad...)
}

// linear runs a model with rows and columns of one of some sizes.
func linear(s *source, h *draws.Hash) {
	sizes := [][2]int{{64, 40000}, {40, 3000}, {40, 60}, {600, 300}, {20000, 12}}[s.Below(5)]
	columns, rows := s.Below(uint32(sizes[0])), s.Below(uint32(sizes[1]))
	model, labels, intercept := loss.Model(s.Below(9)), loss.Labels(s.Below(2)), s.Below(2) > 0
	option := float64(s.unit())
	l, err := loss.NewLinear(model, columns, intercept)
	must(err)
	switch model {
	case loss.HingeLoss, loss.SquaredHingeLoss:
		must(l.SetLabels(labels))
	case loss.HuberLoss:
		must(l.SetDelta(option + 0x1p-10))
	case loss.QuantileLoss:
		must(l.SetLevel(option/2 + .25))
	}
	x, w, y := s.values(rows*columns), s.values(l.Len()), make([]float32, rows)
	for i := range y {
		y[i] = s.label(model, labels)
	}
	grad, z := make([]float32, l.Len()), make([]float32, rows)
	value, err := l.Gradient(x, y, w, grad)
	must(err)
	must(l.Predict(x, w, z))
	h.Doubles(value)
	h.Floats(grad...)
	h.Floats(z...)
}

// some is n numbers from 0 to 1 once in so many times, else nil.
func (s *source) some(often uint32, n int) []float32 {
	if s.Below(often) > 0 {
		return nil
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = s.unit()
	}
	return x
}

// crossEntropy has rows and classes of some sizes, with options of all kinds, and the
// gradient nowhere, apart, or in the place of the logits.
func crossEntropy(s *source, h *draws.Hash) {
	sizes := [][2]uint32{{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 3}}[s.Below(5)]
	classes, rows := 1+s.Below(sizes[0]), s.Below(sizes[1])
	o := s.entropyOptions(classes)
	b := loss.Rows{Weights: s.some(3, rows), Targets: s.some(3, rows*classes), Scale: loss.Weight(float64(s.unit()))}
	if b.Targets == nil {
		b.Labels = s.labels(rows, classes)
	}
	s.logits(&b, rows*classes)
	if s.Below(2) > 0 || o.Reduction == loss.None {
		b.Each = make([]float32, rows)
	}
	l, err := loss.NewCrossEntropy(classes, o)
	must(err)
	value, err := l.Eval(b)
	must(err)
	h.Doubles(value)
	h.Floats(b.Grad...)
	h.Floats(b.Each...)
}

// rowLoss has what crossEntropy has, of a loss of labels.
func rowLoss(s *source, h *draws.Hash) {
	sizes := [][2]uint32{{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 3}}[s.Below(5)]
	classes, rows := 1+s.Below(sizes[0]), s.Below(sizes[1])
	o := loss.RowLossOptions{Model: loss.NLL + loss.RowModel(s.Below(5)), Reduction: loss.Reduction(s.Below(4)), Weights: s.some(2, classes)}
	if s.Below(2) > 0 {
		o.Ignore = loss.Label(int64(s.Below(uint32(classes))))
	}
	o.EmptyMean = loss.EmptyMean(s.Below(2))
	option, x := s.Below(2) > 0, float64(s.unit())
	switch {
	case o.Model == loss.SoftmaxFocal:
		o.Gamma = 4 * x
	case o.Model != loss.NLL && option:
		o.Margin = loss.Weight(x - .25)
	}
	o.Squared = o.Model == loss.MultiMargin && s.Below(2) > 0
	b := loss.Rows{Weights: s.some(3, rows), Scale: loss.Weight(float64(s.unit())), Labels: s.labels(rows, classes)}
	s.logits(&b, rows*classes)
	if s.Below(2) > 0 || o.Reduction == loss.None {
		b.Each = make([]float32, rows)
	}
	l, err := loss.NewRowLoss(classes, o)
	must(err)
	value, err := l.Eval(b)
	must(err)
	h.Doubles(value)
	h.Floats(b.Grad...)
	h.Floats(b.Each...)
}

// focalRows has what crossEntropy has, of the focal loss of probabilities or of logits.
func focalRows(probabilities bool) func(s *source, h *draws.Hash) {
	return func(s *source, h *draws.Hash) {
		sizes := [][2]uint32{{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 3}}[s.Below(5)]
		classes, rows := 1+s.Below(sizes[0]), s.Below(sizes[1])
		e := s.entropyOptions(classes)
		o := loss.RowLossOptions{Model: loss.SoftmaxFocal, Probabilities: probabilities, Gamma: 4 * float64(s.unit()), Reduction: e.Reduction, Weights: e.Weights, Ignore: e.Ignore, EmptyMean: e.EmptyMean, Smoothing: e.Smoothing}
		b := loss.Rows{Weights: s.some(3, rows), Targets: s.some(3, rows*classes), Scale: loss.Weight(float64(s.unit()))}
		if b.Targets == nil {
			b.Labels = s.labels(rows, classes)
		}
		s.logits(&b, rows*classes)
		for i := 0; i < len(b.Logits) && !probabilities; i += 700 { // far above the others of a piece
			b.Logits[i] += 64 * s.unit()
		}
		if s.Below(2) > 0 || o.Reduction == loss.None {
			b.Each = make([]float32, rows)
		}
		l, err := loss.NewRowLoss(classes, o)
		must(err)
		value, err := l.Eval(b)
		must(err)
		h.Doubles(value)
		h.Floats(b.Grad...)
		h.Floats(b.Each...)
	}
}

func cosineEmbedding(s *source, h *draws.Hash) {
	sizes := [][2]uint32{{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 24}}[s.Below(5)]
	columns, rows := int(1+s.Below(sizes[0])), int(s.Below(sizes[1]))
	l := loss.CosineEmbedding{Reduction: loss.Reduction(s.Below(4)), Margin: float64(s.unit()) - .5, Eps: float64(s.unit())}
	b := loss.Pairs{Weights: s.some(3, rows), Scale: loss.Weight(float64(s.unit()))}
	if s.Below(2) > 0 {
		b.Labels = make([]float32, rows)
		for i := range b.Labels {
			b.Labels[i] = 1 - 2*float32(s.Below(2))
		}
	}
	wild := s.Below(3) == 0
	b.X, b.Y = s.numbers(rows*columns, wild), s.numbers(rows*columns, wild)
	if s.Below(2) > 0 {
		b.GradX = make([]float32, len(b.X))
	}
	if s.Below(2) > 0 {
		b.GradY = make([]float32, len(b.X))
	}
	if s.Below(2) > 0 || l.Reduction == loss.None {
		b.Each = make([]float32, rows)
	}
	value, err := l.Eval(rows, b)
	must(err)
	h.Doubles(value)
	h.Floats(b.GradX...)
	h.Floats(b.GradY...)
	h.Floats(b.Each...)
}

func probabilities(s *source, h *draws.Hash) {
	sizes := [][2]uint32{{12, 400}, {1200, 40}, {9000, 6}, {5, 5}, {20000, 24}}[s.Below(5)]
	columns, rows := int(1+s.Below(sizes[0])), int(s.Below(sizes[1]))
	wild := s.Below(3) == 0
	x, grad := s.numbers(rows*columns, wild), s.numbers(rows*columns, false)
	y, sums := make([]float32, len(x)), make([]float32, rows)
	must(loss.Softmax(y, x, rows, 0))
	h.Floats(y...)
	must(loss.LogSoftmax(y, x, rows, 0))
	must(loss.LogSoftmaxGrad(grad, y, rows, 0))
	must(loss.LogSumExp(sums, x, rows, 0))
	h.Floats(y...)
	h.Floats(grad...)
	h.Floats(sums...)
}

// numbers are from -1 to 1, or wild ones.
func (s *source) numbers(n int, wild bool) []float32 {
	x := make([]float32, n)
	for i := range x {
		if x[i] = 2*s.unit() - 1; wild {
			x[i] = s.value()
		}
	}
	return x
}

// logits draws n of them, and the place of the gradient.
func (s *source) logits(b *loss.Rows, n int) {
	wild := s.Below(3) == 0
	b.Logits = make([]float32, n)
	for i := range b.Logits {
		if b.Logits[i] = 16 * s.unit(); wild {
			b.Logits[i] = s.value()
		}
	}
	switch s.Below(3) {
	case 1:
		b.Grad = make([]float32, len(b.Logits))
	case 2:
		b.Grad = b.Logits
	}
}

func (s *source) entropyOptions(classes int) loss.CrossEntropyOptions {
	o := loss.CrossEntropyOptions{Reduction: loss.Reduction(s.Below(4)), Weights: s.some(2, classes)}
	if s.Below(2) > 0 {
		o.Ignore = loss.Label(int64(s.Below(uint32(classes))))
	}
	if s.Below(2) > 0 {
		o.Smoothing = float64(s.unit())
	}
	if s.Below(3) == 0 {
		o.ZLoss = float64(s.unit())
	}
	o.EmptyMean = loss.EmptyMean(s.Below(2))
	return o
}

func (s *source) labels(rows, classes int) []int64 {
	y := make([]int64, rows)
	for i := range y {
		y[i] = int64(s.Below(uint32(classes)))
	}
	return y
}

// softmaxLinear has rows, features and classes of some sizes, with options of all kinds, and
// some of the gradients.
func softmaxLinear(s *source, h *draws.Hash) {
	sizes := [][3]uint32{{40, 12, 700}, {300, 70, 100}, {20, 900, 30}, {4, 4, 9000}, {2, 6000, 6}, {900, 3, 1500}}[s.Below(6)]
	features, classes, rows := s.Below(sizes[0]), 1+s.Below(sizes[1]), s.Below(sizes[2])
	o := s.entropyOptions(classes)
	b := loss.LinearRows{Weights: s.some(3, rows), Targets: s.some(3, rows*classes), Scale: loss.Weight(float64(s.unit()))}
	if b.Targets == nil {
		b.Labels = s.labels(rows, classes)
	}
	draw := s.unit
	if s.Below(3) == 0 {
		draw = s.value
	}
	some := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = draw()
		}
		return x
	}
	b.X, b.W = some(rows*features), some(classes*features)
	if s.Below(2) > 0 {
		b.B = some(classes)
	}
	for k, out := range []*[]float32{&b.GradW, &b.GradB, &b.GradX} {
		if s.Below(4) > 0 {
			*out = make([]float32, []int{len(b.W), classes, len(b.X)}[k])
		}
	}
	if s.Below(2) > 0 || o.Reduction == loss.None {
		b.Each = make([]float32, rows)
	}
	l, err := loss.NewSoftmaxLinear(features, classes, o)
	must(err)
	value, err := l.Eval(b)
	must(err)
	h.Doubles(value)
	for _, x := range [][]float32{b.GradW, b.GradB, b.GradX, b.Each} {
		h.Floats(x...)
	}
}

// label is a target that a model has a meaning for.
func (s *source) label(m loss.Model, l loss.Labels) float32 {
	switch m {
	case loss.Logistic:
		return s.unit()
	case loss.PoissonLoss:
		return 8 * s.unit()
	case loss.HingeLoss, loss.SquaredHingeLoss:
		if s.Below(2) > 0 {
			return 1
		}
		return float32(l) - 1
	}
	return s.value()
}
