// Command parallel trains logistic regression on tumours with goroutines that share a batch.
// Each has the gradients of some shards of its rows, in buffers of the shards' own, and the
// step adds them up while it crosses memory anyway: nobody waits for a lock, and no pass over
// memory makes a sum.
//
//	go run ./examples/parallel -goroutines 4
//
// Shards are added in their order, whichever goroutine had them: the weights have the same
// bits for any number of goroutines.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// A batch has so many shards of so many rows. The rows that are left are held back.
const shards, rows = 8, 60

func main() {
	goroutines := flag.Int("goroutines", runtime.GOMAXPROCS(0), "that share the shards of a batch")
	steps := flag.Int("steps", 200, "each with the gradient of all shards")
	flag.Parse()
	if err := run(*goroutines, *steps); err != nil {
		fmt.Fprintln(os.Stderr, "parallel:", err)
		os.Exit(1)
	}
}

func run(goroutines, steps int) error {
	if goroutines < 1 || steps < 1 {
		return fmt.Errorf("%d goroutines and %d steps, want at least 1", goroutines, steps)
	}
	d := data.Load("breast_cancer")
	t, err := newTraining(d, goroutines)
	for range steps {
		if err == nil {
			err = t.step()
		}
	}
	if err != nil {
		return err
	}
	accuracy, err := t.accuracy()
	if err != nil {
		return err
	}
	fmt.Printf("loss %.4f, %.1f %% of the rows that were held back\n", t.loss, 100*accuracy)
	sum := sha256.New()
	if err := binary.Write(sum, binary.LittleEndian, t.weights); err != nil {
		return err
	}
	fmt.Printf("%x\n", sum.Sum(nil))
	return nil
}

// A training is all that a run consists of.
type training struct {
	data      data.Set
	models    []*loss.Linear // of each goroutine
	weights   []float32      // and the intercept
	grads     [shards][]float32
	optimizer *update.Optimizer
	loss      float64 // of the last step
}

func newTraining(d data.Set, goroutines int) (*training, error) {
	t := &training{data: d}
	for range goroutines {
		model, err := loss.NewLinear(loss.Logistic, d.Columns, true)
		if err != nil {
			return nil, err
		}
		if err := model.SetWorkers(1); err != nil {
			return nil, err
		}
		t.models = append(t.models, model)
	}
	n := t.models[0].Len()
	buffers := update.Alloc(n, 1+shards)
	t.weights = buffers[0]
	copy(t.grads[:], buffers[1:])
	rule := torch.AdamW()
	rule.LR = .02
	var err error
	if t.optimizer, err = update.New(n, rule); err != nil {
		return nil, err
	}
	return t, t.optimizer.SetGradScale(1. / shards) // the mean of the shards' means
}

// step has all goroutines take shards until there are none left, and then a step with the sum.
func (t *training) step() error {
	var all sync.WaitGroup
	var next atomic.Int64
	var losses [shards]float64
	var errs [shards]error
	for _, model := range t.models {
		all.Go(func() {
			for j := next.Add(1) - 1; j < shards; j = next.Add(1) - 1 {
				x, y := t.shard(int(j))
				losses[j], errs[j] = model.Gradient(x, y, t.weights, t.grads[j])
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	t.loss = 0
	for _, l := range losses {
		t.loss += l / shards
	}
	return t.optimizer.StepShards([][]float32{t.weights}, t.list())
}

// shard are the rows of one, and their targets.
func (t *training) shard(j int) (x, y []float32) {
	return t.data.X[j*rows*t.data.Columns:][:rows*t.data.Columns], t.data.Y[j*rows:][:rows]
}

// list are the gradients of each shard, of the only tensor.
func (t *training) list() [][][]float32 {
	list := make([][][]float32, shards)
	for j := range list {
		list[j] = t.grads[j : j+1]
	}
	return list
}

// accuracy is the share of rows held back that are told right.
func (t *training) accuracy() (float64, error) {
	z := make([]float32, t.data.Rows-shards*rows)
	if err := t.models[0].Predict(t.data.X[shards*rows*t.data.Columns:], t.weights, z); err != nil {
		return 0, err
	}
	right := 0
	for i, x := range z {
		if (x > 0) == (t.data.Y[shards*rows+i] == 1) {
			right++
		}
	}
	return float64(right) / float64(len(z)), nil
}
