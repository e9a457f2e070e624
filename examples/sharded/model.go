package main

import (
	"math"

	"github.com/lockstep-go/lockstep/bench/data"
)

// The model has one hidden layer between pixels and digits; its parameters are one flat
// buffer: weights of the hidden layer, row-major, its biases, and the same of the output.
const (
	pixels, hidden, digits = 64, 32, 10

	hiddenBias  = hidden * pixels
	output      = hiddenBias + hidden
	outputBias  = output + digits*hidden
	numbersInIt = outputBias + digits
)

// first are the parameters before the first step.
func first() []float32 {
	p := make([]float32, numbersInIt)
	for i := range p {
		p[i] = .1 * float32(math.Sin(float64(i)))
	}
	return p
}

// dense is y = W·x + b.
func dense(y, w, b, x []float32) {
	for i := range y {
		y[i] = b[i]
		for j, v := range x {
			y[i] += float32(w[i*len(x)+j] * v)
		}
	}
}

// forward fills the activations of a row of pixels; scores become probabilities.
func forward(p, x, h, scores []float32) {
	dense(h, p[:hiddenBias], p[hiddenBias:output], x)
	for i, v := range h {
		h[i] = float32(math.Tanh(float64(v)))
	}
	dense(scores, p[output:outputBias], p[outputBias:], h)
	sum, most := 0., float64(scores[0])
	for _, v := range scores {
		most = max(most, float64(v))
	}
	for i, v := range scores {
		scores[i] = float32(math.Exp(float64(v) - most))
		sum += float64(scores[i])
	}
	for i := range scores {
		scores[i] = float32(float64(scores[i]) / sum)
	}
}

// gradient adds that of rows from to to, of their cross-entropies' sum.
func gradient(g, p []float32, d data.Set, from, to int) {
	h, scores, back := make([]float32, hidden), make([]float32, digits), make([]float32, hidden)
	for row := from; row < to; row++ {
		x := d.X[row*pixels:][:pixels]
		forward(p, x, h, scores)
		scores[int(d.Y[row])]--
		clear(back)
		for i, e := range scores {
			g[outputBias+i] += e
			for j, v := range h {
				g[output+i*hidden+j] += float32(e * v)
				back[j] += float32(e * p[output+i*hidden+j])
			}
		}
		for i, v := range h {
			e := float32(back[i] * (1 - float32(v*v)))
			g[hiddenBias+i] += e
			for j, v := range x {
				g[i*pixels+j] += float32(e * v)
			}
		}
	}
}

// accuracy is the share of rows whose digit has the highest probability.
func accuracy(p []float32, d data.Set, from, to int) float64 {
	h, scores, right := make([]float32, hidden), make([]float32, digits), 0
	for row := from; row < to; row++ {
		forward(p, d.X[row*pixels:][:pixels], h, scores)
		best := 0
		for i, v := range scores {
			if v > scores[best] {
				best = i
			}
		}
		if best == int(d.Y[row]) {
			right++
		}
	}
	return float64(right) / float64(to-from)
}
