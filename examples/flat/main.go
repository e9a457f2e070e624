// Command flat is a port of a training program that has all parameters in one flat buffer, as
// ports of language models to plain Go have them, and its optimizer in a loop by hand. Both are
// run: the loop, and the line that replaces it.
//
//	go run ./examples/flat
//	go run ./examples/flat -parameters 124000000
//
// A softmax regression of digits is trained with each, from the same parameters on the same
// batches. Then both take steps of a model of another size, which are timed.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

const (
	classes = 10
	held    = 1500 // rows before those that are held back
	batch   = 50
	epochs  = 20

	lr, beta1, beta2, eps, decay = .01, .9, .999, 1e-8, .01
)

func main() {
	parameters := flag.Int("parameters", 4<<20, "of the model whose steps are timed")
	flag.Parse()
	if err := run(*parameters); err != nil {
		fmt.Fprintln(os.Stderr, "flat:", err)
		os.Exit(1)
	}
}

func run(parameters int) error {
	if parameters < 1 {
		return fmt.Errorf("%d parameters, want at least 1", parameters)
	}
	d := data.Load("digits")
	n := (d.Columns + 1) * classes
	hand := &byHand{m: make([]float32, n), v: make([]float32, n)}
	looped, err := train(d, hand.step)
	if err != nil {
		return err
	}
	optimizer, err := newOptimizer(n)
	if err != nil {
		return err
	}
	fused, err := train(d, optimizer.Step)
	if err != nil {
		return err
	}
	fmt.Printf("by hand: %.1f %% of the digits that were held back\n", 100*looped.accuracy(d))
	fmt.Printf("one line: %.1f %%, no parameter further away than %.1g\n", 100*fused.accuracy(d), distance(looped.params, fused.params))

	times, err := measure(parameters)
	if err != nil {
		return err
	}
	fmt.Printf("a step of %d parameters: %v by hand, %v in one line\n", parameters, times[0].Round(100*time.Nanosecond), times[1].Round(100*time.Nanosecond))
	return nil
}

// A byHand is what the loop of such a program has: the moments, and a count.
type byHand struct {
	m, v []float32
	t    int
}

// step is that loop.
func (o *byHand) step(params, grads []float32) error {
	o.t++
	c1 := 1 - float32(math.Pow(beta1, float64(o.t)))
	c2 := 1 - float32(math.Pow(beta2, float64(o.t)))
	for i, g := range grads {
		m := beta1*o.m[i] + (1-beta1)*g
		v := beta2*o.v[i] + (1-beta2)*g*g
		o.m[i], o.v[i] = m, v
		params[i] -= lr * (m/c1/(float32(math.Sqrt(float64(v/c2)))+eps) + decay*params[i])
	}
	return nil
}

// newOptimizer is made once; its Step(params, grads) is the line.
func newOptimizer(parameters int) (*update.Optimizer, error) {
	rule := torch.AdamW()
	rule.LR, rule.WeightDecay = lr, decay
	return update.New(parameters, rule)
}

// A model has its weights, row by row a class, and then a bias for each.
type model struct {
	columns       int
	params, grads []float32
}

// train takes a step after each batch.
func train(d data.Set, step func(params, grads []float32) error) (*model, error) {
	n := (d.Columns + 1) * classes
	m := &model{d.Columns, make([]float32, n), make([]float32, n)}
	for range epochs {
		for at := 0; at < held; at += batch {
			m.backward(d, at, at+batch)
			if err := step(m.params, m.grads); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// logits of a row.
func (m *model) logits(x []float32) (z [classes]float64) {
	for c := range z {
		z[c] = float64(m.params[classes*m.columns+c])
		for j, w := range m.params[c*m.columns:][:m.columns] {
			z[c] += float64(w) * float64(x[j])
		}
	}
	return z
}

// backward leaves the gradient of the rows' mean cross-entropy.
func (m *model) backward(d data.Set, from, to int) {
	clear(m.grads)
	for i := from; i < to; i++ {
		x := d.X[i*d.Columns:][:d.Columns]
		z := m.logits(x)
		most, sum := slices.Max(z[:]), 0.
		for c := range z {
			z[c] = math.Exp(z[c] - most)
			sum += z[c]
		}
		for c := range z {
			g := z[c] / sum
			if c == int(d.Y[i]) {
				g--
			}
			g /= float64(to - from)
			m.grads[classes*m.columns+c] += float32(g)
			for j := range x {
				m.grads[c*m.columns+j] += float32(g * float64(x[j]))
			}
		}
	}
}

// accuracy is the part of the rows that were held back whose class has the largest logit.
func (m *model) accuracy(d data.Set) float64 {
	right := 0
	for i := held; i < d.Rows; i++ {
		z := m.logits(d.X[i*d.Columns:][:d.Columns])
		if slices.Index(z[:], slices.Max(z[:])) == int(d.Y[i]) {
			right++
		}
	}
	return float64(right) / float64(d.Rows-held)
}

func distance(x, y []float32) float64 {
	most := 0.
	for i := range x {
		most = max(most, math.Abs(float64(x[i])-float64(y[i])))
	}
	return most
}

// measure has the shortest times of steps by hand and of the line, taken in turn. The memory is
// the same, since a program that replaces its loop need not change how it allocates.
func measure(parameters int) ([2]time.Duration, error) {
	params, grads := make([]float32, parameters), make([]float32, parameters)
	for i := range grads {
		grads[i] = float32(i%17-8) / 8
	}
	hand := &byHand{m: make([]float32, parameters), v: make([]float32, parameters)}
	optimizer, err := newOptimizer(parameters)
	if err != nil {
		return [2]time.Duration{}, err
	}
	times := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	for range 5 {
		for k, step := range []func(params, grads []float32) error{hand.step, optimizer.Step} {
			start := time.Now()
			if err := step(params, grads); err != nil {
				return times, err
			}
			times[k] = min(times[k], time.Since(start))
		}
	}
	return times, nil
}
