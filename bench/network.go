package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/guptarohit/asciigraph"
	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
	learning "github.com/lockstep-go/lockstep/update/schedule"
	"github.com/lockstep-go/lockstep/update/torch"
)

// A NetworkRun is one training of one network: layers of our own matrix products, the
// cross-entropy of their softmax, and AdamW.
type NetworkRun struct {
	Model      string
	Types      string
	Parameters int
	Epochs     int
	Seconds    float64
	Curve      []NetworkPoint // after each epoch
	Least      float64        // what the accuracy must be above
	Beside     float64        // the last loss beside that of the same model in float32
	MostBeside float64
	OK         bool
}

// A NetworkPoint is a network after some epochs: the mean loss of the epoch's batches, and the
// accuracy on the rows that were held back.
type NetworkPoint struct {
	Loss, Accuracy float64
}

const (
	networkTitle = "digits, networks"
	networkText  = "1,797 images of 8 x 8, of which each fifth, from the fourth on, is held back; the second layer sees 128 units behind ReLU; batches of 64; AdamW with a rate that falls along a cosine. Matrix products and the cross-entropy of the softmax are Lockstep's, and so are the types: a model of bf16 whose gradients are bf16 beside float32 parameters, or of which these are the missing halves; state of bf16 or of 8 bits."

	networkBatch  = 64
	networkLeast  = .97
	networkBeside = 1.06 // the loss of other types may be so many times that of float32
)

// A precision is what of a training is in which types.
type precision uint8

const (
	inFloat32 precision = iota
	withMaster
	inHalves
	stateInBF16
	stateInFloat8
)

func (p precision) String() string {
	return [...]string{"float32", "bf16, float32 master", "bf16 and rests", "state in bf16", "state in 8 bits"}[p]
}

// networks are the runs: of other types after that of float32.
func networks() []*NetworkRun {
	list := []*NetworkRun{runNetwork("softmax regression", nil, .02, 60, inFloat32)}
	for p := range stateInFloat8 + 1 {
		list = append(list, runNetwork("two layers", []int{128}, .005, 40, p))
	}
	beside := list[1].last().Loss
	for _, r := range list[1:] {
		r.Beside, r.MostBeside = r.last().Loss/beside, networkBeside
		r.OK = r.OK && r.Beside <= r.MostBeside
	}
	return list
}

func (r *NetworkRun) last() NetworkPoint { return r.Curve[len(r.Curve)-1] }

// A network is a chain of layers, with room for the rows of a batch.
type network struct {
	layers []layer
	rows   int // of room
	table  kernels.Table
	room   []float32 // of products
	loss   *loss.CrossEntropy
}

// A layer is w, in rows of what goes out for each of what comes in, and b.
type layer struct {
	in, out      int
	w, b, gw, gb []float32
	y, gy        []float32 // what goes out, and its gradient
	last         bool
}

// newNetwork has weights of the variance 2/in.
func newNetwork(rows int, sizes []int) *network {
	n := &network{rows: rows, table: kernels.Active()}
	rng := rand.New(rand.NewPCG(1, 2))
	room := 0
	for k := range len(sizes) - 1 {
		in, out := sizes[k], sizes[k+1]
		l := layer{in: in, out: out, last: k == len(sizes)-2}
		l.w, l.gw = make([]float32, in*out), make([]float32, in*out)
		l.b, l.gb = make([]float32, out), make([]float32, out)
		l.y, l.gy = make([]float32, rows*out), make([]float32, rows*out)
		for i := range l.w {
			l.w[i] = float32(rng.NormFloat64() * math.Sqrt(2/float64(in)))
		}
		room = max(room, kernels.MatMulRoom(n.table, rows, out, in), kernels.MatMulRoom(n.table, in, out, rows), kernels.MatMulRoom(n.table, rows, in, out))
		n.layers = append(n.layers, l)
	}
	n.room = make([]float32, room)
	var err error
	n.loss, err = loss.NewCrossEntropy(sizes[len(sizes)-1], loss.CrossEntropyOptions{})
	must(err)
	return n
}

// multiply is c ← a·b + beta·c.
func (n *network) multiply(c, a, b fallback.Matrix, beta float32) {
	p := kernels.MatMul{C: c, D: c, A: a, B: b, MatMulScalars: fallback.MatMulScalars{Alpha: 1, Beta: beta}}
	p.Run(n.table, n.room)
}

// forward returns the logits of some rows.
func (n *network) forward(x []float32, rows int) []float32 {
	for k := range n.layers {
		l := &n.layers[k]
		y := l.y[:rows*l.out]
		for i := range rows {
			copy(y[i*l.out:], l.b)
		}
		n.multiply(fallback.RowMajor(rows, l.out, y), fallback.RowMajor(rows, l.in, x), fallback.RowMajor(l.in, l.out, l.w), 1)
		if !l.last {
			for i, v := range y {
				y[i] = max(v, 0)
			}
		}
		x = y
	}
	return x
}

// backward leaves the gradients of the mean loss of some rows, which it returns.
func (n *network) backward(x []float32, labels []int64) float64 {
	rows := len(labels)
	logits, last := n.forward(x, rows), &n.layers[len(n.layers)-1]
	value, err := n.loss.Eval(loss.Rows{Logits: logits, Labels: labels, Grad: last.gy[:rows*last.out]})
	must(err)
	for k := len(n.layers) - 1; k >= 0; k-- {
		l, in := &n.layers[k], x
		if k > 0 {
			in = n.layers[k-1].y[:rows*l.in]
		}
		gy := fallback.RowMajor(rows, l.out, l.gy[:rows*l.out])
		n.multiply(fallback.RowMajor(l.in, l.out, l.gw), fallback.RowMajor(rows, l.in, in).T(), gy, 0)
		clear(l.gb)
		for i := range rows {
			for j, g := range gy.Data[i*l.out:][:l.out] {
				l.gb[j] += g
			}
		}
		if k == 0 {
			break
		}
		gx := n.layers[k-1].gy[:rows*l.in]
		n.multiply(fallback.RowMajor(rows, l.in, gx), gy, fallback.RowMajor(l.in, l.out, l.w).T(), 0)
		for i, y := range in {
			if !(y > 0) {
				gx[i] = 0
			}
		}
	}
	return value
}

// accuracy is the part of the rows whose label has the largest logit.
func (n *network) accuracy(d images) float64 {
	right := 0
	for at := 0; at < len(d.labels); at += n.rows {
		labels := d.labels[at:min(at+n.rows, len(d.labels))]
		logits := n.forward(d.x[at*d.columns:(at+len(labels))*d.columns], len(labels))
		classes := len(logits) / len(labels)
		for i, y := range labels {
			best := 0
			for c, z := range logits[i*classes:][:classes] {
				if z > logits[i*classes+best] {
					best = c
				}
			}
			if int64(best) == y {
				right++
			}
		}
	}
	return float64(right) / float64(len(d.labels))
}

// images are rows of pixels, and what they show.
type images struct {
	columns int
	x       []float32
	labels  []int64
}

// loadDigits has what is trained with, and what is held back.
func loadDigits() (trained, held images) {
	d := data.Load("digits")
	trained.columns, held.columns = d.Columns, d.Columns
	for i, y := range d.Y {
		to := &trained
		if i%5 == 3 {
			to = &held
		}
		to.x, to.labels = append(to.x, d.X[i*d.Columns:][:d.Columns]...), append(to.labels, int64(y))
	}
	return trained, held
}

// shuffled is the rows in another order.
func (d images) shuffled(rng *rand.Rand) images {
	s := images{d.columns, make([]float32, 0, len(d.x)), make([]int64, 0, len(d.labels))}
	for _, i := range rng.Perm(len(d.labels)) {
		s.x, s.labels = append(s.x, d.x[i*d.columns:][:d.columns]...), append(s.labels, d.labels[i])
	}
	return s
}

func runNetwork(model string, hidden []int, lr float64, epochs int, types precision) *NetworkRun {
	trained, held := loadDigits()
	n := newNetwork(networkBatch, append(append([]int{trained.columns}, hidden...), 10))
	r := &NetworkRun{Model: model, Types: types.String(), Epochs: epochs, Least: networkLeast}
	t := n.training(types)
	for _, p := range t.params {
		r.Parameters += len(p)
	}
	batches := (len(trained.labels) + networkBatch - 1) / networkBatch
	rate, err := learning.CosineDecay{LR: lr, Exponent: 1, Steps: int64(epochs * batches)}.Schedule()
	must(err)

	rng := rand.New(rand.NewPCG(3, 4))
	start := time.Now()
	for range epochs {
		d, sum := trained.shuffled(rng), 0.
		for at := 0; at < len(d.labels); at += networkBatch {
			end := min(at+networkBatch, len(d.labels))
			sum += n.backward(d.x[at*d.columns:end*d.columns], d.labels[at:end])
			must(t.optimizer.SetLR(rate(t.optimizer.Steps())))
			must(t.step())
		}
		r.Curve = append(r.Curve, NetworkPoint{sum / float64(batches), n.accuracy(held)})
	}
	r.Seconds = time.Since(start).Seconds()
	r.OK = r.last().Accuracy > r.Least
	return r
}

// A training has what takes the steps of a network, and what is in other types.
type training struct {
	optimizer     *update.Optimizer
	params, grads [][]float32 // the network's
	types         precision

	master       [][]float32
	weights      [][]update.BF16 // of the model
	rests        [][]int16
	narrow       [][]update.BF16 // gradients
	typed, model []update.Typed  // narrow and weights
}

func (n *network) training(types precision) *training {
	t := &training{types: types}
	var tensors []update.Tensor
	for k := range n.layers {
		l := &n.layers[k]
		t.params, t.grads = append(t.params, l.w, l.b), append(t.grads, l.gw, l.gb)
		tensors = append(tensors, update.Tensor{Size: len(l.w)}, update.Tensor{Size: len(l.b), Rule: 1})
	}
	weights, biases := torch.AdamW(), torch.AdamW()
	weights.WeightDecay, biases.WeightDecay = .1, 0
	var err error
	t.optimizer, err = update.NewSet(tensors, weights, biases)
	must(err)
	for _, p := range t.params {
		t.master = append(t.master, slices.Clone(p))
		t.weights, t.narrow = append(t.weights, make([]update.BF16, len(p))), append(t.narrow, make([]update.BF16, len(p)))
		t.rests = append(t.rests, make([]int16, len(p)))
		last := len(t.weights) - 1
		t.typed, t.model = append(t.typed, update.TypedOf(t.narrow[last])), append(t.model, update.TypedOf(t.weights[last]))
	}
	switch types {
	case withMaster:
		must(t.optimizer.SetCopies(t.model))
		must(t.optimizer.WriteCopies(t.master))
	case inHalves:
		for k, p := range t.params {
			must(update.SplitParams(t.weights[k], t.rests[k], p))
		}
	case stateInBF16:
		must(t.optimizer.SetStateTypes(map[string]update.StateType{"m": update.StateBF16, "v": update.StateBF16}, 1))
	case stateInFloat8:
		must(t.optimizer.SetStateTypes(map[string]update.StateType{"m": update.StateFloat8, "v": update.StateFloat8}, 1))
	}
	t.widen()
	return t
}

// widen gives the network the model's weights where these are of bf16.
func (t *training) widen() {
	if t.types != withMaster && t.types != inHalves {
		return
	}
	for k, p := range t.params {
		for i, w := range t.weights[k] {
			p[i] = w.Float32()
		}
	}
}

func (t *training) step() error {
	defer t.widen()
	if t.types == withMaster || t.types == inHalves {
		for k, g := range t.grads {
			for i, x := range g {
				t.narrow[k][i] = fallback.ToBF16(x)
			}
		}
	}
	switch t.types {
	case withMaster:
		return t.optimizer.StepTyped(t.master, t.typed)
	case inHalves:
		return t.optimizer.StepSplit(t.weights, t.rests, t.typed)
	}
	return t.optimizer.StepSet(t.params, t.grads)
}

func (s *screen) printNetworks(runs []*NetworkRun) {
	if len(runs) == 0 {
		return
	}
	s.heading("Train: " + networkTitle)
	s.paragraph("%s\n", networkText)
	g := newGrid("model", "types", "weights", "epochs", "seconds", "loss", "beside\nfloat32", "accuracy\nheld back", "")
	g.numbers = []int{2, 3, 4, 5, 6, 7}
	for _, r := range runs {
		g.add(r.cells()...)
	}
	s.print(g)
	s.paragraph("\nThe accuracy must be above %.0f %%, and the loss of other types at most %g times that of float32.", 100*networkLeast, networkBeside)
	fmt.Fprintf(s, "\n%s\n", s.networkCurves(runs))
}

func (r *NetworkRun) cells() []string {
	beside := "-"
	if r.Beside > 0 {
		beside = fmt.Sprintf("%.3f", r.Beside)
	}
	return []string{r.Model, r.Types, fmt.Sprint(r.Parameters), fmt.Sprint(r.Epochs), fmt.Sprintf("%.2f", r.Seconds),
		fmt.Sprintf("%.4f", r.last().Loss), beside, fmt.Sprintf("%.1f %%", 100*r.last().Accuracy), verdict(r.OK)}
}

// networkCurves draws the loss of each epoch, on a logarithmic scale. Where curves coincide the
// later one of the list is seen.
func (s *screen) networkCurves(runs []*NetworkRun) string {
	width, epochs, low, high := s.width-beside, 0, 0., 0.
	for _, r := range runs {
		epochs = max(epochs, r.Epochs)
		for _, p := range r.Curve {
			low, high = min(low, math.Floor(math.Log10(p.Loss))), max(high, math.Ceil(math.Log10(p.Loss)))
		}
	}
	var lines [][]float64
	var names []string
	for _, r := range runs {
		line := make([]float64, width)
		for column := range line {
			k := int(math.Round(float64(column) / float64(width-1) * float64(epochs-1)))
			line[column] = math.NaN() // beyond the last epoch
			if k < r.Epochs {
				line[column] = math.Log10(r.Curve[k].Loss)
			}
		}
		lines, names = append(lines, line), append(names, r.Model+", "+r.Types)
	}
	style, legend := s.curveStyles(names)
	plot := asciigraph.PlotMany(lines, asciigraph.LowerBound(low), asciigraph.UpperBound(high), asciigraph.Height(4*int(high-low)),
		asciigraph.YAxisValueFormatter(wholeDecade), asciigraph.XAxisRange(0, float64(width-1)),
		asciigraph.XAxisValueFormatter(func(x float64) string { return fmt.Sprintf("%.0f", 1+x/float64(width-1)*float64(epochs-1)) }), style)
	return trimLines(plot) + "\n" + s.wrap("The mean loss of each epoch's batches: "+legend)
}
