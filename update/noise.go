package update

import (
	"math"

	"github.com/lockstep-go/lockstep/internal/engine"
)

// Noise is normal noise that steps add to gradients, of a standard deviation that falls
// (Neelakantan et al. 2015): in step t, the first of which is 1,
//
//	g ← g + √(Eta/t^Gamma)·N(0, 1)
//
// The zero Noise is none. That of an element is a function of Seed, of the number of its tensor,
// of t and of its own number, by a counter-based generator: the same bits for any ranges,
// workers and tables, and again for a step that is taken again from a checkpoint. Where several processes have parts of
// the parameters, each wants a seed of its own.
type Noise struct {
	Eta   float64 // the variance at first, a float32 of at least 0
	Gamma float64 // the power by which it falls, from 0 to 8; .55 in the paper
	Seed  uint64
}

// OptaxNoise is optax.add_noise, which optax.noisy_sgd has before plain descent with an eta of
// .01 and a gamma of .55. Its numbers are others.
func OptaxNoise(eta, gamma float64, seed uint64) Noise {
	return Noise{Eta: eta, Gamma: gamma, Seed: seed}
}

func (n *Noise) check() error {
	switch {
	case n.Eta == 0 && *n != Noise{}:
		return &ArgError{"Eta", n.Eta, "a number above 0, or a zero Noise for none"}
	case !(n.Eta >= 0 && n.Eta <= math.MaxFloat32):
		return &ArgError{"Eta", n.Eta, "a finite float32 of at least 0"}
	case !(n.Gamma >= 0 && n.Gamma <= 8):
		return &ArgError{"Gamma", n.Gamma, "from 0 to 8"}
	}
	return nil
}

// std is the standard deviation in step t.
func (n *Noise) std(t int64) float64 { return math.Sqrt(n.Eta / powerOf(float64(t), n.Gamma)) }

// SetNoise has steps add noise to the gradients as SetGradScale and clipping leave them,
// block by block within the step. What clipping, policies and Norm look at is without it.
// A rule of several passes has the same noise in each.
func (o *Optimizer) SetNoise(n Noise) error {
	if err := firstError(n.check(), o.betweenSteps()); err != nil {
		return err
	}
	if o.noise = n; n.Eta == 0 {
		o.engine.SetNoise(nil)
	} else {
		o.engine.SetNoise(&engine.Noise{Std: n.std, Seed: n.Seed})
	}
	return nil
}

// Noise is what SetNoise has set.
func (o *Optimizer) Noise() Noise { return o.noise }
