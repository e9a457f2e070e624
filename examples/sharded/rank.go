package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/rpc"
	"os"
	"strings"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/update/torch"
)

// The gradients of a step are of so many microbatches, which the ranks share. Their sum is
// the same for any number of ranks that divides them.
const microbatches, rows, trained = 4, 16, 1500

// A rank computes gradients of its microbatches with all parameters, and steps its shard.
type rank struct {
	number, ranks int
	steps, every  int // between checkpoints
	dir           string
	hub           *rpc.Client
	era           int

	data   data.Set
	params []float32
	shard  *shard
	step   int // taken
}

func newRank(number, ranks, steps, every int, dir, address string) (*rank, error) {
	hub, err := rpc.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &rank{number: number, ranks: ranks, steps: steps, every: every, dir: dir, hub: hub, data: data.Load("digits")}, nil
}

const lastCheckpoint = "last checkpoint"

// run trains to the end, and goes back to a checkpoint whenever a rank is lost.
func (r *rank) run() error {
	for {
		err := r.begin()
		if err == nil {
			err = r.train()
		}
		if err == nil {
			err = r.done()
		}
		if err == nil || !strings.Contains(err.Error(), errLost) {
			return err
		}
	}
}

// begin is at the last checkpoint, or at the beginning.
func (r *rank) begin() error {
	if err := r.hub.Call("Hub.Era", 0, &r.era); err != nil {
		return err
	}
	lo, hi := rangeOf(r.number, r.ranks)
	var err error
	if r.shard, err = newShard(lo, hi, torch.AdamW()); err != nil {
		return err
	}
	r.params = first()
	if r.step, err = last(r.dir); err != nil {
		return err
	}
	// Rank 0 says which: it may have been about to give one its name when another looked.
	var steps []float32
	if err := r.meet("Hub.Join", lastCheckpoint, 0, 2*r.ranks, [][]float32{halves(r.step)}, &steps); err != nil {
		return err
	}
	r.step = whole(steps)
	if r.number == 0 { // nobody writes shards before the next step's meetings
		if err := sweep(r.dir); err != nil {
			return err
		}
	}
	if r.step == 0 {
		return nil
	}
	return r.shard.load(r.dir, r.step, r.params)
}

// halves are a step's number as two of float32, each of which is exact.
func halves(step int) []float32 { return []float32{float32(step >> 24), float32(step & (1<<24 - 1))} }

func whole(halves []float32) int { return int(halves[0])<<24 | int(halves[1]) }

func (r *rank) train() error {
	for r.step < r.steps {
		if err := r.takeStep(); err != nil {
			return err
		}
		if r.step%r.every != 0 && r.step != r.steps {
			continue
		}
		if err := r.save(); err != nil {
			return err
		}
	}
	return nil
}

func (r *rank) takeStep() error {
	mine := microbatches / r.ranks
	grads := make([][]float32, mine)
	for k := range grads {
		grads[k] = make([]float32, numbersInIt)
		from := ((r.step*microbatches + r.number*mine + k) * rows) % (trained - rows)
		gradient(grads[k], r.params, r.data, from, from+rows)
	}
	// Each rank gets the gradient of its shard alone,
	var g []float32
	if err := r.meet("Hub.Sum", "gradients", r.shard.lo, r.shard.hi, grads, &g); err != nil {
		return err
	}
	own := r.params[r.shard.lo:r.shard.hi]
	if err := r.shard.optimizer.SetGradScale(1. / (microbatches * rows)); err != nil {
		return err
	}
	if err := r.shard.optimizer.Step(own, g); err != nil {
		return err
	}
	// and the parameters of all.
	var all []float32
	if err := r.meet("Hub.Join", "parameters", 0, numbersInIt, [][]float32{own}, &all); err != nil {
		return err
	}
	copy(r.params, all)
	r.step++
	return nil
}

func (r *rank) meet(call, what string, lo, hi int, parts [][]float32, result *[]float32) error {
	about := fmt.Sprint(what, " of step ", r.step)
	if what == lastCheckpoint { // which is what they are about to agree on
		about = what
	}
	return r.hub.Call(call, Part{Era: r.era, Rank: r.number, About: about, Lo: lo, Hi: hi, Data: parts}, result)
}

// save writes the shard. Once all have, rank 0 gives the checkpoint its name, and nobody
// goes on before.
func (r *rank) save() error {
	if err := r.shard.save(r.dir, r.number, r.step, r.params); err != nil {
		return err
	}
	var none []float32
	if err := r.meet("Hub.Join", "shards", 0, 0, [][]float32{nil}, &none); err != nil {
		return err
	}
	if r.number == 0 {
		if err := finish(r.dir, r.step); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "step %d: %.1f %% of the digits that were held back\n", r.step, 100*accuracy(r.params, r.data, trained, r.data.Rows))
	}
	return r.meet("Hub.Join", "checkpoint", 0, 0, [][]float32{nil}, &none)
}

// done waits for all others.
func (r *rank) done() error {
	sum := sha256.New()
	if err := binary.Write(sum, binary.LittleEndian, r.params); err != nil {
		return err
	}
	var none []float32
	return r.hub.Call("Hub.Done", Part{Era: r.era, Rank: r.number, About: "the end", Hash: fmt.Sprintf("%x", sum.Sum(nil))}, &none)
}
