package registry

import (
	"slices"

	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
)

// A ParamType is how parameters are in memory.
type ParamType string

const (
	Whole     ParamType = "float32"
	Halves    ParamType = "halves"
	BF16Alone ParamType = "bfloat16" // rounded at random
)

// A Mix is the types of what a step reads and leaves.
type Mix struct {
	Name   string
	Grads  kernels.Element
	Copies kernels.Element // of the parameters, which are float32 beside them; Float32 for none
	Params ParamType
	State  update.StateType // of all buffers
}

// Mixes are those that are verified with the rules of Mixed: each kind of stream alone, and those
// for which there are kernels of one loop.
var Mixes = []Mix{
	{Name: "bf16 gradients", Grads: kernels.Bfloat16, Params: Whole},
	{Name: "bf16 gradients and copies", Grads: kernels.Bfloat16, Params: Whole, Copies: kernels.Bfloat16},
	{Name: "f16 gradients and copies", Grads: kernels.Float16, Params: Whole, Copies: kernels.Float16},
	{Name: "bf16 gradients, parameters in halves", Grads: kernels.Bfloat16, Params: Halves},
	{Name: "bf16 gradients and parameters", Grads: kernels.Bfloat16, Params: BF16Alone},
	{Name: "bf16 gradients and state", Grads: kernels.Bfloat16, Params: Whole, State: update.StateBF16},
	{Name: "8-bit state", Params: Whole, State: update.StateFloat8},
	{Name: "bf16 gradients, 8-bit state", Grads: kernels.Bfloat16, Params: Whole, State: update.StateFloat8},
}

// Mixed are the verified samples that are trained with all Mixes too.
func Mixed() []Sample {
	var list []Sample
	for _, e := range entries {
		for _, s := range e.Verified {
			if slices.Contains([]string{"torch AdamW", "torch SGD, momentum", "optax Lion", "torch Adagrad"}, s.Name) {
				list = append(list, s)
			}
		}
	}
	return list
}
