// Package verify trains real data with every rule and hashes what comes out: the proof
// that all machines compute the same bits.
package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
)

// A Sum is what a rule has come to: the SHA-256 of its parameters and state, as
// little-endian float32, after Steps steps of logistic regression on the breast cancer
// data, or MixedSteps with numbers of fewer bits.
type Sum struct {
	Rule   string
	SHA256 string
}

// Steps is the number of steps of each rule, MixedSteps that with each mix of types.
const Steps, MixedSteps = 200, 50

// Run trains with every rule.
func Run() ([]Sum, error) {
	d := data.Load("breast_cancer")
	var list []Sum
	for _, e := range registry.All() {
		for _, r := range e.Verified {
			sum, err := train(d, e, r.Rule)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Name, err)
			}
			list = append(list, Sum{r.Name, sum})
		}
	}
	types, err := mixed(d)
	return append(list, types...), err
}

// train takes the steps of one rule, with a rate that falls, a gradient that is scaled
// and clipped half of the time, and a small tensor beside the weights.
func train(d data.Set, e *registry.Entry, r update.Rule) (string, error) {
	model, err := loss.NewLinear(loss.Logistic, d.Columns, true)
	if err != nil {
		return "", err
	}
	o, err := update.NewSet([]update.Tensor{
		{Name: "weights", Size: d.Columns, Columns: e.Columns(d.Columns)}, {Name: "intercept", Size: 1, Columns: e.Columns(1)},
	}, r)
	if err != nil {
		return "", err
	}
	w, grad := make([]float32, d.Columns+1), make([]float32, d.Columns+1)
	err = takeSteps(o, Steps, func() error {
		if _, err := model.Gradient(d.X, d.Y, w, grad); err != nil {
			return err
		}
		return o.StepSet([][]float32{w[:d.Columns], w[d.Columns:]}, [][]float32{grad[:d.Columns], grad[d.Columns:]})
	})
	if err != nil {
		return "", err
	}
	state, err := o.Export()
	if err != nil {
		return "", err
	}
	hashed := []any{w}
	for k, t := range state.Tensors {
		names, err := o.Buffers(k)
		if err != nil {
			return "", err
		}
		for _, name := range names {
			hashed = append(hashed, t.Buffers[name])
		}
	}
	return hash(hashed)
}

// takeSteps has an optimizer take steps, whose settings are those of all trainings.
func takeSteps(o *update.Optimizer, steps int, take func() error) error {
	rate := o.LR()
	for step := range steps {
		if step == steps/2 {
			if err := o.SetMaxNorm(.05); err != nil {
				return err
			}
			if err := o.SetGradScale(.5); err != nil {
				return err
			}
		}
		if err := o.SetLR(rate / (1 + float64(step)/float64(steps))); err != nil {
			return err
		}
		if err := take(); err != nil {
			return err
		}
	}
	return nil
}

// hash is that of slices, as little-endian bytes one after the other.
func hash(list []any) (string, error) {
	h := sha256.New()
	for _, x := range list {
		if err := binary.Write(h, binary.LittleEndian, x); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
