// Command network trains a network of two layers on handwritten digits, with what a training
// loop has around its optimizer: weights that decay and biases that do not, gradients that
// are added up over micro-batches and clipped to a norm, a backward pass in half precision
// with a loss scale, a learning rate that warms up and falls, and an average of the weights,
// with which digits that were held back are told.
//
//	go run ./examples/network
//
// Half way it goes on from a checkpoint, and comes to the bits of a run without a break.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/checkpoint"
	"github.com/lockstep-go/lockstep/update/schedule"
	"github.com/lockstep-go/lockstep/update/torch"
)

const (
	pixels, hidden, digits = 64, 32, 10
	trained                = 1500 // rows; others are held back
	rows, micro            = 64, 16
)

// tensors are the parameters, by name in checkpoints. Rule 0 decays, rule 1 does not.
var tensors = []update.Tensor{
	{Name: "hidden.weight", Size: hidden * pixels, Columns: pixels},
	{Name: "hidden.bias", Size: hidden, Rule: 1},
	{Name: "output.weight", Size: digits * hidden, Columns: hidden},
	{Name: "output.bias", Size: digits, Rule: 1},
}

func main() {
	windows := flag.Int("windows", 300, "of micro-batches, each of which is a step")
	flag.Parse()
	if err := run(*windows); err != nil {
		fmt.Fprintln(os.Stderr, "network:", err)
		os.Exit(1)
	}
}

func run(windows int) error {
	if windows < 10 {
		return fmt.Errorf("%d windows, want at least 10", windows)
	}
	dir, err := os.MkdirTemp("", "network")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	first, err := train(windows, windows/2, filepath.Join(dir, "half-way.safetensors"))
	if err != nil {
		return err
	}
	fmt.Printf("%d steps, %d skipped, loss scale %g\n", first.optimizer.Steps(), first.optimizer.Skipped(), first.scaler.Scale())
	plain := first.accuracy()
	averaged, err := first.averaged()
	if err != nil {
		return err
	}
	fmt.Printf("%.1f %% of the digits that were held back, %.1f %% with averaged weights\n", 100*plain, 100*averaged)
	second, err := resume(windows, filepath.Join(dir, "half-way.safetensors"))
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s from the checkpoint\n", first.hash(), second.hash())
	return nil
}

// A training is all that a run consists of.
type training struct {
	data          data.Set
	params, grads [][]float32
	optimizer     *update.Optimizer
	accumulator   *update.Accumulator
	scaler        *update.LossScaler
	rate          schedule.Schedule
	window        int // how many have been
}

// extra is what a checkpoint has beside the optimizer's state.
type extra struct {
	Params [][]float32 // JSON has them to the bit: the shortest decimal that is the number
	Scaler update.LossScalerState
	Window int
}

// begin is before the first of so many windows.
func begin(windows int) (*training, error) {
	t := &training{data: data.Load("digits")}
	for _, x := range tensors {
		buffers := update.Alloc(x.Size, 2)
		for i := range buffers[0] {
			if x.Columns > 0 {
				buffers[0][i] = float32(math.Sin(float64(i)) / math.Sqrt(float64(x.Columns)))
			}
		}
		t.params, t.grads = append(t.params, buffers[0]), append(t.grads, buffers[1])
	}
	weights := torch.AdamW()
	biases := weights
	biases.WeightDecay = 0
	var err error
	if t.optimizer, err = update.NewSet(tensors, weights, biases); err != nil {
		return nil, err
	}
	if err := t.optimizer.SetMaxNorm(1); err != nil {
		return nil, err
	}
	if err := t.optimizer.SetPolicy(update.Skip); err != nil { // what is infinite in half precision
		return nil, err
	}
	if err := t.optimizer.SetAverage(update.TorchEMA(.98)); err != nil {
		return nil, err
	}
	t.accumulator = update.NewAccumulator(t.optimizer)
	scaling := update.TorchLossScaling()
	scaling.Interval = 20 // instead of 2000, so that a short run sees it grow too far
	if t.scaler, err = update.NewLossScaler(scaling); err != nil {
		return nil, err
	}
	falling, err := schedule.CosineAnnealing(.01, 0, int64(windows))
	if err != nil {
		return nil, err
	}
	t.rate, err = schedule.Warmup(.001, int64(windows)/10, falling)
	return t, err
}

// train goes through all windows, and saves a checkpoint after so many.
func train(windows, saved int, path string) (*training, error) {
	t, err := begin(windows)
	for err == nil && t.window < windows {
		if err = t.step(); err == nil && t.window == saved {
			err = t.save(path)
		}
	}
	return t, err
}

// resume goes on from a checkpoint to the end.
func resume(windows int, path string) (*training, error) {
	t, err := begin(windows)
	if err == nil {
		err = t.load(path)
	}
	for err == nil && t.window < windows {
		err = t.step()
	}
	return t, err
}

func (t *training) save(path string) error {
	return checkpoint.Save(path, t.optimizer, checkpoint.Options{Extra: extra{t.params, t.scaler.State(), t.window}})
}

func (t *training) load(path string) error {
	file, err := checkpoint.Load(path, t.optimizer)
	if err != nil {
		return err
	}
	var e extra
	if err := json.Unmarshal(file.Extra, &e); err != nil {
		return err
	}
	for k, p := range t.params {
		if k >= len(e.Params) || copy(p, e.Params[k]) != len(p) {
			return fmt.Errorf("%s: it has not all of the %s", path, tensors[k].Name)
		}
	}
	t.window = e.Window
	return t.scaler.SetState(e.Scaler)
}

// step takes a step with the mean gradient of a window of micro-batches. The last window of
// an epoch is short.
func (t *training) step() error {
	const perEpoch = (trained + rows - 1) / rows
	from := t.window % perEpoch * rows
	until := min(from+rows, trained)
	for ; until-from > micro; from += micro {
		t.gradient(from, from+micro)
		if err := t.accumulator.Add(t.grads, micro); err != nil {
			return err
		}
	}
	t.gradient(from, until)
	if err := t.optimizer.SetLR(t.rate(t.optimizer.Steps())); err != nil {
		return err
	}
	if err := t.scaler.Take(t.optimizer, func() error {
		return t.accumulator.StepSet(t.params, t.grads, float64(until-from))
	}); err != nil {
		return err
	}
	t.window++
	return t.scaler.Update()
}

// half rounds to float16, of which 65504 is the largest.
func half(x float32) float32 {
	_, exponent := math.Frexp(float64(x))
	unit := math.Ldexp(1, max(exponent-11, -24))
	if x = float32(math.RoundToEven(float64(x)/unit) * unit); math.Abs(float64(x)) > 65504 {
		return x * float32(math.Inf(1))
	}
	return x
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

// forward has the activations of a row, and how probable each digit is.
func (t *training) forward(row int, h, p []float32) (x []float32) {
	x = t.data.X[row*pixels:][:pixels]
	dense(h, t.params[0], t.params[1], x)
	for i, v := range h {
		h[i] = float32(math.Tanh(float64(v)))
	}
	dense(p, t.params[2], t.params[3], h)
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

// gradient is that of the mean cross-entropy of rows from to until, times the loss scale. Errors
// go back in half precision.
func (t *training) gradient(from, until int) {
	for _, g := range t.grads {
		clear(g)
	}
	var h, back [hidden]float32
	var p [digits]float32
	scale := float32(t.scaler.Scale()) / float32(until-from)
	for row := from; row < until; row++ {
		x := t.forward(row, h[:], p[:])
		p[int(t.data.Y[row])]--
		clear(back[:])
		for i, v := range p {
			e := half(v * scale)
			t.grads[3][i] += e
			for j, v := range h {
				t.grads[2][i*hidden+j] += float32(e * v)
				back[j] += float32(e * t.params[2][i*hidden+j])
			}
		}
		for i, v := range h {
			e := half(back[i] * (1 - float32(v*v)))
			t.grads[1][i] += e
			for j, v := range x {
				t.grads[0][i*pixels+j] += float32(e * v)
			}
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

// averaged is the accuracy with the average of the weights, in whose place these are again
// after it.
func (t *training) averaged() (float64, error) {
	if err := t.optimizer.SwapAverage(t.params); err != nil {
		return 0, err
	}
	accuracy := t.accuracy()
	return accuracy, t.optimizer.SwapAverage(t.params)
}

// hash is that of the weights and of their average.
func (t *training) hash() string {
	sum := sha256.New()
	for k, p := range t.params {
		average, err := t.optimizer.Buffer(k, update.AverageName)
		if err != nil {
			panic(err) // there is one after a step
		}
		if err := binary.Write(sum, binary.LittleEndian, append(p[:len(p):len(p)], average...)); err != nil {
			panic(err)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
