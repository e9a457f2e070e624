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
)

// A NetworkRun is one training of one network: layers of our own matrix products, the
// cross-entropy of their softmax, and AdamW.
type NetworkRun struct {
	Problem    string
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
	digitsTitle = "digits, networks"
	digitsText  = "1,797 images of 8 x 8, of which each fifth, from the fourth on, is held back; the second layer sees 128 units behind ReLU; batches of 64; AdamW with a rate that falls along a cosine. Matrix products and the cross-entropy of the softmax are Lockstep's, and so are the types: a model of bf16 whose gradients are bf16 beside float32 parameters, or of which these are the missing halves; state of bf16 or of 8 bits."

	networkBatch  = 64
	networkLeast  = .97
	networkBeside = 1.06 // the loss of other types may be so many times that of float32
)

// networkText says what a problem is.
func networkText(problem string) string {
	if problem == digitsTitle {
		return digitsText
	}
	return sentencesText
}

// networks are the runs: of other types after that of float32.
func networks(short bool) []*NetworkRun {
	list := []*NetworkRun{runDigits("softmax regression", nil, .02, 60, precisions[0])}
	for _, types := range precisions {
		list = append(list, runDigits("two layers", []int{128}, .005, 40, types))
	}
	compare(list[1:], networkBeside)
	return append(list, decoders(short)...)
}

// compare holds the last losses to that of the first run, which is of float32.
func compare(list []*NetworkRun, most float64) {
	for _, r := range list {
		r.Beside, r.MostBeside = r.last().Loss/list[0].last().Loss, most
		r.OK = r.OK && r.Beside <= r.MostBeside
	}
}

func (r *NetworkRun) last() NetworkPoint { return r.Curve[len(r.Curve)-1] }

// A network is a chain of layers, with room for the rows of a batch.
type network struct {
	products
	layers []layer
	rows   int // of room
	loss   *loss.CrossEntropy
}

// products are what multiplies matrices.
type products struct {
	table kernels.Table
	room  []float32
}

// multiply is c ← alpha·a·b + beta·c.
func (m *products) multiply(c, a, b fallback.Matrix, alpha, beta float32) {
	if n := kernels.MatMulRoom(m.table, c.Rows, c.Columns, a.Columns); n > len(m.room) {
		m.room = make([]float32, n)
	}
	p := kernels.MatMul{C: c, D: c, A: a, B: b, MatMulScalars: fallback.MatMulScalars{Alpha: alpha, Beta: beta}}
	p.Run(m.table, m.room)
}

// A layer is w, in rows of what goes out for each of what comes in, and b.
type layer struct {
	in, out      int
	w, b, gw, gb []float32
	y, gy        []float32 // what goes out, and its gradient
}

// newLayer has weights of the variance gain/in.
func newLayer(rng *rand.Rand, rows, in, out int, gain float64) layer {
	l := layer{in: in, out: out}
	l.w, l.gw = make([]float32, in*out), make([]float32, in*out)
	l.b, l.gb = make([]float32, out), make([]float32, out)
	l.y, l.gy = make([]float32, rows*out), make([]float32, rows*out)
	for i := range l.w {
		l.w[i] = float32(rng.NormFloat64() * math.Sqrt(gain/float64(in)))
	}
	return l
}

// weights are those of the layer, of which the bias does not decay.
func (l *layer) weights() []weights {
	return []weights{{l.w, l.gw, true}, {l.b, l.gb, false}}
}

// forward is y ← x·w + b, of some rows.
func (l *layer) forward(m *products, rows int, x []float32) []float32 {
	y := l.y[:rows*l.out]
	for i := range rows {
		copy(y[i*l.out:], l.b)
	}
	m.multiply(fallback.RowMajor(rows, l.out, y), fallback.RowMajor(rows, l.in, x), fallback.RowMajor(l.in, l.out, l.w), 1, 1)
	return y
}

// backward leaves the gradients of w and b along gy, and in gx, which may be nil, that of x.
func (l *layer) backward(m *products, rows int, gx, gy, x []float32) {
	g := fallback.RowMajor(rows, l.out, gy)
	m.multiply(fallback.RowMajor(l.in, l.out, l.gw), fallback.RowMajor(rows, l.in, x).T(), g, 1, 0)
	clear(l.gb)
	for i := range rows {
		for j, v := range gy[i*l.out:][:l.out] {
			l.gb[j] += v
		}
	}
	if gx != nil {
		m.multiply(fallback.RowMajor(rows, l.in, gx), g, fallback.RowMajor(l.in, l.out, l.w).T(), 1, 0)
	}
}

// relu is max(y, 0), and reluBack has no gradient where that is 0.
func relu(y []float32) {
	for i, v := range y {
		y[i] = max(v, 0)
	}
}

func reluBack(gy, y []float32) {
	for i, v := range y {
		if !(v > 0) {
			gy[i] = 0
		}
	}
}

func newNetwork(rows int, sizes []int) *network {
	n := &network{products: products{table: kernels.Active()}, rows: rows}
	rng := rand.New(rand.NewPCG(1, 2))
	for k := range len(sizes) - 1 {
		n.layers = append(n.layers, newLayer(rng, rows, sizes[k], sizes[k+1], 2))
	}
	var err error
	n.loss, err = loss.NewCrossEntropy(sizes[len(sizes)-1], loss.CrossEntropyOptions{})
	must(err)
	return n
}

// forward returns the logits of some rows.
func (n *network) forward(x []float32, rows int) []float32 {
	for k := range n.layers {
		x = n.layers[k].forward(&n.products, rows, x)
		if k < len(n.layers)-1 {
			relu(x)
		}
	}
	return x
}

// backward leaves the gradients of the mean loss of some rows, which it returns.
func (n *network) backward(x []float32, labels []int64) float64 {
	rows := len(labels)
	logits, last := n.forward(x, rows), &n.layers[len(n.layers)-1]
	gy := last.gy[:rows*last.out]
	value, err := n.loss.Eval(loss.Rows{Logits: logits, Labels: labels, Grad: gy})
	must(err)
	for k := len(n.layers) - 1; k > 0; k-- {
		l, before := &n.layers[k], &n.layers[k-1]
		in, gx := before.y[:rows*l.in], before.gy[:rows*l.in]
		l.backward(&n.products, rows, gx, gy, in)
		reluBack(gx, in)
		gy = gx
	}
	n.layers[0].backward(&n.products, rows, nil, gy, x)
	return value
}

// accuracy is the part of the rows whose label has the largest logit.
func (n *network) accuracy(d images) float64 {
	right := 0
	for at := 0; at < len(d.labels); at += n.rows {
		labels := d.labels[at:min(at+n.rows, len(d.labels))]
		right += hits(n.forward(d.x[at*d.columns:(at+len(labels))*d.columns], len(labels)), labels)
	}
	return float64(right) / float64(len(d.labels))
}

// hits counts the rows whose label has the largest logit.
func hits(logits []float32, labels []int64) (right int) {
	classes := len(logits) / len(labels)
	for i, y := range labels {
		row := logits[i*classes:][:classes]
		if slices.Max(row) == row[y] {
			right++
		}
	}
	return right
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

func runDigits(model string, hidden []int, lr float64, epochs int, types precision) *NetworkRun {
	trained, held := loadDigits()
	n := newNetwork(networkBatch, append(append([]int{trained.columns}, hidden...), 10))
	var all []weights
	for k := range n.layers {
		all = append(all, n.layers[k].weights()...)
	}
	batches := (len(trained.labels) + networkBatch - 1) / networkBatch
	t := newTraining(all, types, lr, epochs*batches)
	r := &NetworkRun{Problem: digitsTitle, Model: model, Types: types.name, Parameters: t.size(), Epochs: epochs, Least: networkLeast}
	rng := rand.New(rand.NewPCG(3, 4))
	start := time.Now()
	for range epochs {
		d, sum := trained.shuffled(rng), 0.
		for at := 0; at < len(d.labels); at += networkBatch {
			end := min(at+networkBatch, len(d.labels))
			sum += n.backward(d.x[at*d.columns:end*d.columns], d.labels[at:end])
			t.step()
		}
		r.Curve = append(r.Curve, NetworkPoint{sum / float64(batches), n.accuracy(held)})
	}
	r.Seconds = time.Since(start).Seconds()
	r.OK = r.last().Accuracy > r.Least
	return r
}

func (s *screen) printNetworks(all []*NetworkRun) {
	for _, runs := range byNetworkProblem(all) {
		s.heading("Train: " + runs[0].Problem)
		s.paragraph("%s\n", networkText(runs[0].Problem))
		g := newGrid("model", "types", "weights", "epochs", "seconds", "loss", "beside\nfloat32", "accuracy\nheld back", "")
		g.numbers = []int{2, 3, 4, 5, 6, 7}
		for _, r := range runs {
			g.add(r.cells()...)
		}
		s.print(g)
		last := runs[len(runs)-1]
		s.paragraph("\nThe accuracy must be above %.0f %%, and the loss of other types at most %g times that of float32.", 100*last.Least, last.MostBeside)
		fmt.Fprintf(s, "\n%s\n", s.networkCurves(runs))
	}
}

func byNetworkProblem(all []*NetworkRun) [][]*NetworkRun {
	return groups(all, func(r *NetworkRun) string { return r.Problem })
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
