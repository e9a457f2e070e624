// Command offload trains a network on handwritten digits as those do whose model fits a device
// but not its optimizer: the device, which this program plays, has weights and gradients of
// bfloat16, and the host has float32 weights and the optimizer's state.
//
//	go run ./examples/offload
//
// Gradients come over a link part by part, last layer first. The host steps each part as it
// arrives, on goroutines of its own, and the same pass over memory leaves the new weights in
// the device's type. At the end it says for a large model how long that takes, beside a step
// that waits for all gradients.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

const (
	pixels, hidden, digits = 64, 64, 10
	trained                = 1500 // rows; others are held back
	rows                   = 50   // of a batch
)

// tensors are the parameters, in the order of the forward pass.
var tensors = []update.Tensor{
	{Name: "hidden.weight", Size: hidden * pixels, Columns: pixels},
	{Name: "hidden.bias", Size: hidden},
	{Name: "output.weight", Size: digits * hidden, Columns: hidden},
	{Name: "output.bias", Size: digits},
}

func main() {
	epochs := flag.Int("epochs", 10, "of training")
	size := flag.Int("size", 16<<20, "the parameters of the large model")
	flag.Parse()
	if err := run(*epochs, *size); err != nil {
		fmt.Fprintln(os.Stderr, "offload:", err)
		os.Exit(1)
	}
}

func run(epochs, size int) error {
	if epochs < 1 || size < 1 {
		return fmt.Errorf("%d epochs and a model of %d parameters, want at least 1", epochs, size)
	}
	var hashes []string
	for _, s := range []stepper{asTheyArrive, whenAllAreThere} {
		t, err := train(epochs, s)
		if err != nil {
			return err
		}
		if hashes = append(hashes, t.hash()); len(hashes) == 1 {
			fmt.Printf("%d steps, %.1f %% of the digits that were held back\n", t.host.Steps(), 100*t.accuracy())
		}
	}
	fmt.Printf("%s stepped as gradients arrive\n%s when all are there\n", hashes[0], hashes[1])
	times, err := compare(size)
	if err != nil {
		return err
	}
	fmt.Printf("%d parameters: the link takes %v, the step %v; one after the other %v, as gradients arrive %v\n",
		size, times.link, times.step, times.after, times.asTheyArrive)
	return nil
}

// A training is a device and its host.
type training struct {
	data           data.Set
	weights, grads [][]update.BF16 // the device's
	master         [][]float32     // the host's
	host           *update.Optimizer
}

// offloaded are a device's weights and gradients of tensors, and a host, whose float32 weights are first.
func offloaded(tensors []update.Tensor, first func(tensor, i int) float32) (*training, error) {
	t := &training{}
	for k, x := range tensors {
		master := update.Alloc(x.Size, 1)[0]
		for i := range master {
			master[i] = first(k, i)
		}
		t.master = append(t.master, master)
		t.weights = append(t.weights, make([]update.BF16, x.Size))
		t.grads = append(t.grads, make([]update.BF16, x.Size))
	}
	rule := torch.AdamW()
	rule.LR = .005
	var err error
	if t.host, err = update.NewSet(tensors, rule); err != nil {
		return nil, err
	}
	if err := t.host.SetCopies(update.TypedList(t.weights)); err != nil {
		return nil, err
	}
	return t, t.host.WriteCopies(t.master)
}

// train goes through the data a number of times.
func train(epochs int, step stepper) (*training, error) {
	t, err := offloaded(tensors, func(k, i int) float32 {
		if tensors[k].Columns == 0 {
			return 0
		}
		return float32(math.Sin(float64(i)) / math.Sqrt(float64(tensors[k].Columns)))
	})
	if err != nil {
		return nil, err
	}
	t.data = data.Load("digits")
	for range epochs {
		for from := 0; from < trained; from += rows {
			t.gradient(from, from+rows)
			if err := step(t, 0); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// A piece is a part of a tensor's gradient.
type piece struct {
	tensor, at int
	grads      []update.BF16
}

// pieceLen is how many elements come over the link at a time.
const pieceLen = 64 << 10

// link has the gradients arrive, the last tensor's first, as a backward pass makes them. It takes
// so long for each element.
func (t *training) link(each float64) <-chan piece {
	arriving := make(chan piece)
	go func() {
		defer close(arriving)
		begin, elements := time.Now(), 0
		for k := len(t.grads) - 1; k >= 0; k-- {
			for at := 0; at < len(t.grads[k]); at += pieceLen {
				p := piece{k, at, t.grads[k][at:min(at+pieceLen, len(t.grads[k]))]}
				elements += len(p.grads)
				time.Sleep(time.Until(begin.Add(time.Duration(each * float64(elements)))))
				arriving <- p
			}
		}
	}()
	return arriving
}

// A stepper takes a step by gradients that take so many nanoseconds each to arrive.
type stepper func(t *training, each float64) error

// asTheyArrive steps each piece at once.
func asTheyArrive(t *training, each float64) error {
	const goroutines = 2
	if err := t.host.Begin(); err != nil {
		return err
	}
	arriving := t.link(each)
	var running sync.WaitGroup
	var failed [goroutines]error
	for k := range goroutines {
		running.Go(func() {
			for p := range arriving {
				master := t.master[p.tensor][p.at:][:len(p.grads)]
				failed[k] = errors.Join(failed[k], t.host.ApplyTyped(p.tensor, p.at, master, update.TypedOf(p.grads)))
			}
		})
	}
	running.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return err
	}
	return t.host.End()
}

// whenAllAreThere waits for the last one.
func whenAllAreThere(t *training, each float64) error {
	for range t.link(each) {
	}
	return t.host.StepTyped(t.master, update.TypedList(t.grads))
}

// times are what a step of a large model takes.
type times struct{ link, step, after, asTheyArrive time.Duration }

// compare has a link that takes as long as the step.
func compare(size int) (times, error) {
	const layers = 8
	var large []update.Tensor
	for k := range layers {
		large = append(large, update.Tensor{Size: (k+1)*size/layers - k*size/layers})
	}
	t, err := offloaded(large, func(int, int) float32 { return 1 })
	if err != nil {
		return times{}, err
	}
	if err := t.host.SetWorkers(2); err != nil {
		return times{}, err
	}
	for _, g := range t.grads {
		for i := range g {
			g[i] = fallback.ToBF16(float32(i%7) - 3)
		}
	}
	measure := func(f stepper, each float64) (best time.Duration) {
		for range 5 {
			begin := time.Now()
			err = errors.Join(err, f(t, each))
			if took := time.Since(begin); best == 0 || took < best {
				best = took
			}
		}
		return best.Round(100 * time.Microsecond)
	}
	m := times{step: measure(whenAllAreThere, 0)}
	each := float64(m.step) / float64(size)
	m.link = measure(func(t *training, each float64) error {
		for range t.link(each) {
		}
		return nil
	}, each)
	m.after, m.asTheyArrive = measure(whenAllAreThere, each), measure(asTheyArrive, each)
	return m, err
}

// forward has the activations of a row, and how probable each digit is, by the device's weights.
func (t *training) forward(row int, h, p []float32) (x []float32) {
	x = t.data.X[row*pixels:][:pixels]
	dense(h, t.weights[0], t.weights[1], x)
	for i, v := range h {
		h[i] = float32(math.Tanh(float64(v)))
	}
	dense(p, t.weights[2], t.weights[3], h)
	sum := 0.
	for i, v := range p {
		p[i] = float32(math.Exp(float64(v)))
		sum += float64(p[i])
	}
	for i := range p {
		p[i] = float32(float64(p[i]) / sum)
	}
	return x
}

// dense is y = W·x + b.
func dense(y []float32, w, b []update.BF16, x []float32) {
	for i := range y {
		y[i] = b[i].Float32()
		for j, v := range x {
			y[i] += float32(w[i*len(x)+j].Float32() * v)
		}
	}
}

// gradient has the device make that of the mean cross-entropy of rows, rounded to its type.
func (t *training) gradient(from, until int) {
	var sums [][]float32
	for _, g := range t.grads {
		sums = append(sums, make([]float32, len(g)))
	}
	var h, back [hidden]float32
	var p [digits]float32
	for row := from; row < until; row++ {
		x := t.forward(row, h[:], p[:])
		p[int(t.data.Y[row])]--
		clear(back[:])
		for i, e := range p {
			e /= float32(until - from)
			sums[3][i] += e
			for j, v := range h {
				sums[2][i*hidden+j] += float32(e * v)
				back[j] += float32(e * t.weights[2][i*hidden+j].Float32())
			}
		}
		for i, v := range h {
			e := back[i] * (1 - float32(v*v))
			sums[1][i] += e
			for j, v := range x {
				sums[0][i*pixels+j] += float32(e * v)
			}
		}
	}
	for k, sum := range sums {
		for i, v := range sum {
			t.grads[k][i] = fallback.ToBF16(v)
		}
	}
}

// accuracy is the share of rows held back whose digit is the most probable one.
func (t *training) accuracy() float64 {
	var h [hidden]float32
	var p [digits]float32
	right := 0
	for row := trained; row < t.data.Rows; row++ {
		t.forward(row, h[:], p[:])
		best := 0
		for i, v := range p {
			if v > p[best] {
				best = i
			}
		}
		if best == int(t.data.Y[row]) {
			right++
		}
	}
	return float64(right) / float64(t.data.Rows-trained)
}

// hash is that of the host's weights and of the device's.
func (t *training) hash() string {
	sum := sha256.New()
	for k := range t.master {
		for _, x := range []any{t.master[k], t.weights[k]} {
			if err := binary.Write(sum, binary.LittleEndian, x); err != nil {
				panic(err) // memory takes it
			}
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
