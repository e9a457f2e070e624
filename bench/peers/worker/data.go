package worker

import "slices"

// The hyperparameters of all systems, PyTorch's defaults but for two learning
// rates.
const (
	AdamLR      = 1e-3
	Beta1       = .9
	Beta2       = .999
	AdamEps     = 1e-8
	WeightDecay = 1e-2 // of adamw, and of the work l2

	MomentumLR = 1e-3
	Momentum   = .9

	AdaGradLR  = 1e-3 // Gorgonia's, which no option reaches
	AdaGradEps = 1e-10

	SGDLR = 1e-2

	PresetLR = 1e-3 // of a framework's rules that have none by default

	MaxNorm = 10 // of the work clip

	LossScale, AverageDecay = 1024, .999 // of the work around
)

// Columns is the width of the matrix of the rule linear.
const Columns = 256

// MatrixColumns is the width of a tensor of a rule that wants a matrix.
const MatrixColumns = 1024

// What a buffer is filled with depends on its seed.
const (
	seedParams = 1 + iota
	seedGrads
	seedMatrix
	seedTargets
	seedWeights
)

// Params are the parameters before the first step, in [-½, ½).
func Params(n int) []float32 { return centred(n, seedParams) }

// Params are the parameters of each tensor, in a buffer of its own.
func (t Task) Params() [][]float32 { return t.cut(Params(t.Tensors * t.Size)) }

// Grads are the gradients of each tensor, in a buffer of its own.
func (t Task) Grads() [][]float32 { return t.cut(Grads(t.Tensors * t.Size)) }

func (t Task) cut(x []float32) [][]float32 {
	if t.Tensors == 1 {
		return [][]float32{x}
	}
	list := make([][]float32, t.Tensors)
	for k := range list {
		list[k] = append(make([]float32, 0, t.Size), x[k*t.Size:][:t.Size]...)
	}
	return list
}

// Joined are the elements of all tensors, one after the other.
func Joined(tensors [][]float32) []float32 {
	if len(tensors) == 1 {
		return tensors[0]
	}
	return slices.Concat(tensors...)
}

// Turn hands over the gradients of the step after the given one, from 0: the buffers
// are the same, so that caches hold as much, but each is another tensor's, the last
// one's first, as a backward pass leaves them.
func Turn[T any](to, from []T, step int) {
	for k := range to {
		to[k] = from[((step-k)%len(from)+len(from))%len(from)]
	}
}

// Grads are the gradients of every step. Their magnitude is at least 1/16: the
// systems add eps in different places, which must not show.
func Grads(n int) []float32 {
	g := make([]float32, n)
	for i := range g {
		k := hash(i, seedGrads) - 1<<23
		if k < 0 {
			k -= 1 << 20
		} else {
			k += 1 << 20
		}
		g[i] = float32(k) / (1 << 24)
	}
	return g
}

// Linear are the data of the rule linear: a row-major matrix of n elements, a
// target for each row, and the weights.
func Linear(n int) (x, y, w []float32) {
	return centred(n, seedMatrix), centred(n/Columns, seedTargets), centred(Columns, seedWeights)
}

func centred(n, seed int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(hash(i, seed)-1<<23) / (1 << 24)
	}
	return x
}

// hash mixes an index into 24 bits, which float32 holds exactly: workers in any
// language begin with the same bits.
func hash(i, seed int) int32 {
	x := uint32(i)*0x9e3779b1 + uint32(seed)*0x7f4a7c15
	x = (x ^ x>>16) * 0x85ebca6b
	x ^= x >> 13
	return int32(x >> 8)
}
