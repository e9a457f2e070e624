package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/loss"
)

const (
	sentencesTitle = "sentences, a transformer"
	sentencesModel = "two blocks"

	decoderWidth, decoderHeads = 48, 2
	decoderContext             = 32 // letters that it sees
	decoderBatch               = 8  // windows of a step
	decoderEpoch               = 20 // steps
	decoderLeast               = .72
	decoderBeside              = 1.06
)

var sentencesText = fmt.Sprintf("Letters of sentences of a small grammar, in which a verb agrees with its subject over what stands between them; each letter is chosen by what stands before it, with %.3f nats on average, which no model can fall below. Embeddings of letters and places, two blocks of causal attention (%d heads) and of a layer behind ReLU, each after a norm, %d wide; %d windows of %d letters a step, %d steps an epoch; AdamW with a rate that falls along a cosine. What is held back are other sentences.",
	newSentences(1, 1<<16).nats, decoderHeads, decoderWidth, decoderBatch, decoderContext, decoderEpoch)

// letters are what sentences are of.
const letters = "abcdefghijklmnopqrstuvwxyz ."

// sentences are a text, as places in letters, of which each letter has so many nats: the
// logarithms of how many ways a sentence could have gone on.
type sentences struct {
	text []int64
	nats float64

	rng *rand.Rand
}

func newSentences(seed uint64, n int) *sentences {
	s := &sentences{rng: rand.New(rand.NewPCG(seed, 5))}
	for len(s.text) < n {
		s.sentence()
	}
	s.nats /= float64(len(s.text))
	return s
}

// sentence is such as "the old cats near the dog see a bird. ".
func (s *sentences) sentence() {
	many := s.phrase()
	if s.choose(2) == 0 {
		s.write("near ")
		s.phrase()
	}
	verbs := []string{"see", "hear", "find", "know", "like", "avoid", "want", "meet"}
	s.write(verbs[s.choose(len(verbs))])
	if !many {
		s.write("s")
	}
	s.write(" ")
	s.phrase()
	s.text = s.text[:len(s.text)-1]
	s.write(". ")
}

// phrase is a noun with what belongs to it, and whether it is of many.
func (s *sentences) phrase() (many bool) {
	s.write("the ")
	if s.choose(2) == 0 {
		adjectives := []string{"old", "small", "quick", "wise", "brown", "young"}
		s.write(adjectives[s.choose(len(adjectives))] + " ")
	}
	nouns := []string{"cat", "dog", "bird", "horse", "frog", "lion", "tiger", "zebra"}
	s.write(nouns[s.choose(len(nouns))])
	many = s.choose(2) == 0
	if many {
		s.write("s")
	}
	s.write(" ")
	return many
}

func (s *sentences) choose(n int) int {
	s.nats += math.Log(float64(n))
	return s.rng.IntN(n)
}

func (s *sentences) write(word string) {
	for _, c := range word {
		k := int64(c - 'a')
		switch c {
		case ' ':
			k = 26
		case '.':
			k = 27
		}
		s.text = append(s.text, k)
	}
}

// windows are letters from so many places on, one after the other, and what follows each.
func (s *sentences) windows(places []int) (in, next []int64) {
	for _, at := range places {
		in = append(in, s.text[at:at+decoderContext]...)
		next = append(next, s.text[at+1:at+1+decoderContext]...)
	}
	return in, next
}

// A decoder is a transformer that predicts the next letter. Its rows are the letters of all
// windows.
type decoder struct {
	products
	letters, places   []float32 // embeddings, in rows
	gLetters, gPlaces []float32
	blocks            []block
	norm              norm
	head              layer
	x                 []float32 // what blocks add to, and in backward its gradient
	loss              *loss.CrossEntropy
}

// A block adds attention to x, and then what a layer behind ReLU makes of it.
type block struct {
	before, between        norm
	qkv, joined, wide, out layer
	chances                []float32 // of attention: a row for each letter of each head of each window
	mixed, gMixed          []float32 // what attention makes of v, and its gradient
	gChances               []float32 // of one head of one window
}

func newDecoder() *decoder {
	const rows, width = decoderBatch * decoderContext, decoderWidth
	rng := rand.New(rand.NewPCG(1, 2))
	normal := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(.1 * rng.NormFloat64())
		}
		return x
	}
	d := &decoder{
		products: products{table: kernels.Active()},
		letters:  normal(len(letters) * width), places: normal(decoderContext * width),
		gLetters: make([]float32, len(letters)*width), gPlaces: make([]float32, decoderContext*width),
		norm: newNorm(rows), head: newLayer(rng, rows, width, len(letters), .1),
		x: make([]float32, rows*width),
	}
	for range 2 {
		d.blocks = append(d.blocks, block{
			before: newNorm(rows), between: newNorm(rows),
			qkv: newLayer(rng, rows, width, 3*width, 1), joined: newLayer(rng, rows, width, width, .25),
			wide: newLayer(rng, rows, width, 4*width, 2), out: newLayer(rng, rows, 4*width, width, .25),
			chances: make([]float32, rows*decoderHeads*decoderContext), gChances: make([]float32, decoderContext*decoderContext),
			mixed: make([]float32, rows*width), gMixed: make([]float32, rows*width),
		})
	}
	var err error
	d.loss, err = loss.NewCrossEntropy(len(letters), loss.CrossEntropyOptions{})
	must(err)
	return d
}

func (d *decoder) weights() []weights {
	list := []weights{{d.letters, d.gLetters, false}, {d.places, d.gPlaces, false}}
	for k := range d.blocks {
		b := &d.blocks[k]
		for _, l := range []*layer{&b.qkv, &b.joined, &b.wide, &b.out} {
			list = append(list, l.weights()...)
		}
		list = append(append(list, b.before.weights()...), b.between.weights()...)
	}
	return append(append(list, d.norm.weights()...), d.head.weights()...)
}

// forward returns the logits of what follows each letter of whole windows.
func (d *decoder) forward(in []int64) []float32 {
	const width = decoderWidth
	rows, x := len(in), d.x[:len(in)*width]
	for i, letter := range in {
		for j := range width {
			x[i*width+j] = d.letters[int(letter)*width+j] + d.places[i%decoderContext*width+j]
		}
	}
	for k := range d.blocks {
		b := &d.blocks[k]
		qkv := b.qkv.forward(&d.products, rows, b.before.forward(x))
		add(x, b.joined.forward(&d.products, rows, b.attend(&d.products, qkv)))
		wide := b.wide.forward(&d.products, rows, b.between.forward(x))
		relu(wide)
		add(x, b.out.forward(&d.products, rows, wide))
	}
	return d.head.forward(&d.products, rows, d.norm.forward(x))
}

// backward leaves the gradients of the mean loss of windows, which it returns.
func (d *decoder) backward(in, next []int64) float64 {
	const width = decoderWidth
	rows := len(in)
	logits := d.forward(in)
	gy := d.head.gy[:len(logits)]
	value, err := d.loss.Eval(loss.Rows{Logits: logits, Labels: next, Grad: gy})
	must(err)
	gx := d.x[:rows*width]
	clear(gx)
	d.head.backward(&d.products, rows, d.norm.gy[:rows*width], gy, d.norm.y[:rows*width])
	d.norm.backward(gx)
	for k := len(d.blocks) - 1; k >= 0; k-- {
		b := &d.blocks[k]
		wide := b.wide.y[:rows*b.wide.out]
		gWide := b.wide.gy[:len(wide)]
		b.out.backward(&d.products, rows, gWide, gx, wide)
		reluBack(gWide, wide)
		b.wide.backward(&d.products, rows, b.between.gy[:rows*width], gWide, b.between.y[:rows*width])
		b.between.backward(gx)
		b.attendBack(&d.products, gx)
		b.qkv.backward(&d.products, rows, b.before.gy[:rows*width], b.qkv.gy[:rows*b.qkv.out], b.before.y[:rows*width])
		b.before.backward(gx)
	}
	clear(d.gLetters)
	clear(d.gPlaces)
	for i, letter := range in {
		g := gx[i*width:][:width]
		add(d.gLetters[int(letter)*width:][:width], g)
		add(d.gPlaces[i%decoderContext*width:][:width], g)
	}
	return value
}

func add(to, x []float32) {
	for i, v := range x {
		to[i] += v
	}
}

// A head is one head of one window: its queries, keys and values, of width columns of the
// rows of three times as many, and what it makes of them.
type head struct{ q, k, v, chances, mixed fallback.Matrix }

// heads are those of some windows, over qkv and mixed or over their gradients.
func (b *block) heads(qkv, mixed []float32) []head {
	const width, size, square = decoderWidth, decoderWidth / decoderHeads, decoderContext * decoderContext
	var list []head
	for w := range len(qkv) / (3 * width * decoderContext) {
		for h := range decoderHeads {
			part := func(data []float32, columns, from int) fallback.Matrix {
				return fallback.Matrix{Data: data[w*decoderContext*columns+from+h*size:], Rows: decoderContext, Columns: size, RowStride: columns, ColumnStride: 1}
			}
			list = append(list, head{part(qkv, 3*width, 0), part(qkv, 3*width, width), part(qkv, 3*width, 2*width),
				fallback.RowMajor(decoderContext, decoderContext, b.chances[len(list)*square:][:square]), part(mixed, width, 0)})
		}
	}
	return list
}

// attentionScale is what products of queries and keys are multiplied by.
var attentionScale = float32(1 / math.Sqrt(decoderWidth/decoderHeads))

// attend has each letter mix the values of those that are not after it.
func (b *block) attend(m *products, qkv []float32) []float32 {
	mixed := b.mixed[:len(qkv)/3]
	heads := b.heads(qkv, mixed)
	for _, h := range heads {
		m.multiply(h.chances, h.q, h.k.T(), attentionScale, 0)
		for i := range decoderContext {
			for j := i + 1; j < decoderContext; j++ {
				h.chances.Data[i*decoderContext+j] = float32(math.Inf(-1))
			}
		}
	}
	all := b.chances[:len(heads)*decoderContext*decoderContext]
	must(loss.Softmax(all, all, len(heads)*decoderContext, 0))
	for _, h := range heads {
		m.multiply(h.mixed, h.chances, h.v, 1, 0)
	}
	return mixed
}

// attendBack takes the gradient of what attention adds to x to that of qkv.
func (b *block) attendBack(m *products, gx []float32) {
	rows := len(gx) / decoderWidth
	mixed, gMixed := b.mixed[:len(gx)], b.gMixed[:len(gx)]
	b.joined.backward(m, rows, gMixed, gx, mixed)
	values := b.heads(b.qkv.y[:3*len(gx)], mixed)
	for k, g := range b.heads(b.qkv.gy[:3*len(gx)], gMixed) {
		h, gChances := values[k], fallback.RowMajor(decoderContext, decoderContext, b.gChances)
		m.multiply(g.v, h.chances.T(), g.mixed, 1, 0)
		m.multiply(gChances, g.mixed, h.v.T(), 1, 0)
		for i := range decoderContext {
			p, gp := h.chances.Data[i*decoderContext:][:decoderContext], gChances.Data[i*decoderContext:][:decoderContext]
			var mean float32
			for j := range p {
				mean += p[j] * gp[j]
			}
			for j := range p {
				gp[j] = p[j] * (gp[j] - mean)
			}
		}
		m.multiply(g.q, gChances, h.k, attentionScale, 0)
		m.multiply(g.k, gChances.T(), h.q, attentionScale, 0)
	}
}

// A norm is rows of mean 0 and variance 1, times gain, plus shift.
type norm struct {
	gain, shift, gGain, gShift []float32
	plain, y, gy               []float32 // plain is before gain and shift
	inverse                    []float32 // 1 over each row's deviation
}

func newNorm(rows int) norm {
	n := norm{gain: make([]float32, decoderWidth), shift: make([]float32, decoderWidth), gGain: make([]float32, decoderWidth), gShift: make([]float32, decoderWidth)}
	n.plain, n.y, n.gy = make([]float32, rows*decoderWidth), make([]float32, rows*decoderWidth), make([]float32, rows*decoderWidth)
	n.inverse = make([]float32, rows)
	set(n.gain, 1)
	return n
}

func (n *norm) weights() []weights {
	return []weights{{n.gain, n.gGain, false}, {n.shift, n.gShift, false}}
}

func (n *norm) forward(x []float32) []float32 {
	for i := range len(x) / decoderWidth {
		at := i * decoderWidth
		var mean, squares float32
		for _, v := range x[at:][:decoderWidth] {
			mean += v / decoderWidth
		}
		for _, v := range x[at:][:decoderWidth] {
			squares += (v - mean) * (v - mean) / decoderWidth
		}
		n.inverse[i] = 1 / float32(math.Sqrt(float64(squares+1e-5)))
		for j, v := range x[at:][:decoderWidth] {
			n.plain[at+j] = (v - mean) * n.inverse[i]
			n.y[at+j] = n.plain[at+j]*n.gain[j] + n.shift[j]
		}
	}
	return n.y[:len(x)]
}

// backward adds the gradient of x along gy.
func (n *norm) backward(gx []float32) {
	clear(n.gGain)
	clear(n.gShift)
	for i := range len(gx) / decoderWidth {
		at := i * decoderWidth
		var mean, product float32
		for j, g := range n.gy[at:][:decoderWidth] {
			n.gGain[j] += g * n.plain[at+j]
			n.gShift[j] += g
			mean += g * n.gain[j] / decoderWidth
			product += g * n.gain[j] * n.plain[at+j] / decoderWidth
		}
		for j, g := range n.gy[at:][:decoderWidth] {
			gx[at+j] += n.inverse[i] * (g*n.gain[j] - mean - n.plain[at+j]*product)
		}
	}
}

// decoders are the runs in all types.
func decoders(short bool) []*NetworkRun {
	epochs := 40
	if short {
		epochs = 12
	}
	var list []*NetworkRun
	for _, types := range precisions {
		list = append(list, runDecoder(types, epochs))
	}
	compare(list, decoderBeside)
	return list
}

func runDecoder(types precision, epochs int) *NetworkRun {
	trained, held := newSentences(1, 1<<16), newSentences(2, 1<<11)
	d := newDecoder()
	t := newTraining(d.weights(), types, .004, epochs*decoderEpoch)
	r := &NetworkRun{Problem: sentencesTitle, Model: sentencesModel, Types: types.name, Parameters: t.size(), Epochs: epochs, Least: decoderLeast}
	rng, places := rand.New(rand.NewPCG(3, 4)), make([]int, decoderBatch)
	start := time.Now()
	for range epochs {
		sum := 0.
		for range decoderEpoch {
			for k := range places {
				places[k] = rng.IntN(len(trained.text) - decoderContext)
			}
			sum += d.backward(trained.windows(places))
			t.step()
		}
		r.Curve = append(r.Curve, NetworkPoint{sum / decoderEpoch, d.accuracy(held)})
	}
	r.Seconds = time.Since(start).Seconds()
	r.OK = r.last().Accuracy > r.Least
	return r
}

// accuracy is the part of the letters of a text that have the largest logit.
func (d *decoder) accuracy(text *sentences) float64 {
	right, all := 0, 0
	for at := 0; at+decoderContext < len(text.text); at += decoderContext {
		in, next := text.windows([]int{at})
		right, all = right+hits(d.forward(in), next), all+len(next)
	}
	return float64(right) / float64(all)
}
