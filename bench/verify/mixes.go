package verify

import (
	"fmt"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
)

// A mixed training has so many models in one tensor, which is long enough for state that is not
// float32, and whose last block is a part of one. Each model has half the gradient of the one
// before it, and every 16th that of the first.
const models, halvings = 140, 16

// seed is that of how state and parameters are rounded.
const seed = 1

// mixed trains with each of registry.Mixes.
func mixed(d data.Set) ([]Sum, error) {
	var list []Sum
	for _, s := range registry.Mixed() {
		for _, m := range registry.Mixes {
			name := s.Name + ", " + m.Name
			sum, err := trainMix(d, s.Rule, m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			list = append(list, Sum{name, sum})
		}
	}
	return list, nil
}

// trainMix takes the steps of train with numbers of other types, and hashes parameters, their
// copies, and state with its scales.
func trainMix(d data.Set, r update.Rule, m registry.Mix) (string, error) {
	model, err := loss.NewLinear(loss.Logistic, d.Columns, true)
	if err != nil {
		return "", err
	}
	one := d.Columns + 1
	n := models * one
	o, err := update.New(n, r)
	if err != nil {
		return "", err
	}
	names, err := o.Buffers(0)
	if err != nil {
		return "", err
	}
	types := map[string]update.StateType{}
	for _, name := range names {
		types[name] = m.State
	}
	if err := o.SetStateTypes(types, seed); err != nil {
		return "", err
	}
	if err := o.SetRounding(seed); err != nil {
		return "", err
	}
	params, grads := make([]float32, n), make([]float32, n)
	hashed := []any{params}
	if m.Copies != kernels.Float32 {
		copies, slice := buffer(m.Copies, n)
		if err := o.SetCopies([]update.Typed{copies}); err != nil {
			return "", err
		}
		hashed = append(hashed, slice)
	}
	given, _ := buffer(m.Grads, n)
	upper, rests := make([]update.BF16, n), make([]int16, n)
	err = takeSteps(o, MixedSteps, func() error {
		if _, err := model.Gradient(d.X, d.Y, params[:one], grads[:one]); err != nil {
			return err
		}
		for k := 1; k < models; k++ {
			of, half := grads[(k-1)*one:k*one], float32(.5)
			if k%halvings == 0 {
				of, half = grads[:one], 1
			}
			for j, g := range of {
				grads[k*one+j] = half * g
			}
		}
		given.Narrow(kernels.Active(), grads)
		switch m.Params {
		case registry.Halves:
			if err := o.StepSplit([][]update.BF16{upper}, [][]int16{rests}, []update.Typed{given}); err != nil {
				return err
			}
			return update.JoinParams(params, upper, rests)
		case registry.BF16Alone:
			if err := o.StepBF16([][]update.BF16{upper}, []update.Typed{given}); err != nil {
				return err
			}
			kernels.WidenBF16(kernels.Active(), params, upper)
			return nil
		}
		return o.StepTyped([][]float32{params}, []update.Typed{given})
	})
	if err != nil {
		return "", err
	}
	state, err := o.Export()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		switch t := state.Tensors[0]; m.State {
		case update.StateFloat32:
			hashed = append(hashed, t.Buffers[name])
		case update.StateBF16:
			hashed = append(hashed, t.Typed[name].BF16)
		case update.StateFloat8:
			hashed = append(hashed, t.Typed[name].Codes, t.Typed[name].Scales)
		}
	}
	return hash(hashed)
}

// buffer is one of so many zeros, and the slice that it is.
func buffer(of kernels.Element, n int) (x update.Typed, slice any) {
	switch of {
	case kernels.Bfloat16:
		return typed(make([]update.BF16, n))
	case kernels.Float16:
		return typed(make([]update.F16, n))
	}
	return typed(make([]float32, n))
}

func typed[T kernels.Number](x []T) (update.Typed, any) { return update.TypedOf(x), x }
