package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/checkpoint"
)

// A shard is a range of the flat buffer, with the state of the optimizer for it alone.
type shard struct {
	lo, hi    int
	optimizer *update.Optimizer
}

// extra is what a shard's file says beside the optimizer's state.
type extra struct {
	Lo, Hi int
	Params []float32 // JSON has them to the bit: the shortest decimal that is the number
}

// rangeOf is that of a rank, in shares that differ by one at most.
func rangeOf(rank, ranks int) (lo, hi int) {
	return rank * numbersInIt / ranks, (rank + 1) * numbersInIt / ranks
}

func newShard(lo, hi int, rule update.Rule) (*shard, error) {
	o, err := update.NewSet([]update.Tensor{{Name: "shard", Size: hi - lo}}, rule)
	return &shard{lo, hi, o}, err
}

// folder is that of a step's shards. It has this name once all are written.
func folder(dir string, step int) string { return filepath.Join(dir, fmt.Sprintf("step-%06d", step)) }

func unfinished(dir string, step int) string { return folder(dir, step) + ".unfinished" }

// save writes the shard into the folder of a step, which finish gives its name.
func (s *shard) save(dir string, rank, step int, params []float32) error {
	to := unfinished(dir, step)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return checkpoint.Save(filepath.Join(to, fmt.Sprintf("rank-%03d.safetensors", rank)), s.optimizer,
		checkpoint.Options{Extra: extra{s.lo, s.hi, params[s.lo:s.hi]}})
}

func finish(dir string, step int) error {
	if err := os.RemoveAll(folder(dir, step)); err != nil { // of an era that was lost
		return err
	}
	return os.Rename(unfinished(dir, step), folder(dir, step))
}

// sweep removes what was being written when a rank was lost: a checkpoint of another number
// of ranks must not find shards of these.
func sweep(dir string) error {
	list, err := filepath.Glob(filepath.Join(dir, "step-*.unfinished"))
	for _, name := range list {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// last is the step of the last checkpoint that is whole, or 0.
func last(dir string) (int, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	step := 0
	for _, e := range list {
		var n int
		if _, err := fmt.Sscanf(e.Name(), "step-%d", &n); err == nil && e.Name() == filepath.Base(folder(dir, n)) {
			step = max(step, n)
		}
	}
	return step, err
}

// load sets the shard and all parameters from a checkpoint of any number of ranks: the
// shards that the range touches are cut and put together.
func (s *shard) load(dir string, step int, params []float32) error {
	files, err := filepath.Glob(filepath.Join(folder(dir, step), "rank-*.safetensors"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	state, err := s.optimizer.Export()
	if err != nil {
		return err
	}
	at := 0
	for _, name := range files {
		f, err := checkpoint.Read(name)
		if err != nil {
			return err
		}
		var e extra
		if err := json.Unmarshal(f.Extra, &e); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if e.Lo != at || e.Hi-e.Lo != len(e.Params) || e.Hi > len(params) || len(f.Tensors) != 1 {
			return fmt.Errorf("%s: it has the range %d to %d, want one from %d on", name, e.Lo, e.Hi, at)
		}
		at = e.Hi
		copy(params[e.Lo:], e.Params)
		state.Steps, state.Tensors[0].Steps = f.Steps, f.Tensors[0].Steps
		state.Rules[0].LR = f.Groups[0].Options["lr"].(float64)
		for _, b := range f.Tensors[0].Buffers {
			to := state.Tensors[0].Buffers[b.Slot]
			if from, until := max(s.lo, e.Lo), min(s.hi, e.Hi); from < until {
				copy(to[from-s.lo:until-s.lo], b.Data[from-e.Lo:])
			}
		}
	}
	if at != len(params) {
		return fmt.Errorf("%s: its shards end at %d of %d numbers", folder(dir, step), at, len(params))
	}
	return s.optimizer.Import(state)
}
