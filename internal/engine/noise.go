package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Noise is added to gradients, scaled and clipped: that of an element follows from the
// seed, its tensor, the number of the tensor's step and its own number.
type Noise struct {
	Std  func(t int64) float64 // the standard deviation in a tensor's step t ≥ 1
	Seed uint64
}

// SetNoise adds noise from the next step on, or none if it is nil.
func (e *Engine) SetNoise(n *Noise) {
	e.clipping.noise = n
	e.setClipping()
	if n != nil {
		e.number()
	}
}

// number makes the numbers of a block's elements.
func (e *Engine) number() {
	if e.numbers == nil {
		e.numbers = make([]float32, tune.BlockLen)
		for k := range e.numbers {
			e.numbers[k] = math.Float32frombits(uint32(k))
		}
	}
}

// addNoise adds noise to the gradient of a tensor's elements from lo on.
func (e *Engine) addNoise(w *Worker, n *Noise, t *tensor, lo int, x []float32) {
	steps, at := e.step-t.missed, uint64(lo)
	key := mixed(mixed(mixed(n.Seed)^uint64(t.number)) ^ uint64(steps))
	c := &w.noise
	std := e.groups[t.Rule].signed(n.Std(steps)) // as the gradient is
	c.Std, c.Key1, c.Key2 = float32(std), fallback.Mask(key), fallback.Mask(key>>32)
	for len(x) > 0 {
		length := int(min(uint64(len(x)), tune.BlockLen, 1<<32-at%(1<<32)))
		c.Base, c.High = fallback.Mask(at), fallback.Mask(at>>32)
		w.list.Set(x[:length], e.numbers[:length])
		kernels.Noise(e.table, &w.list, c)
		x, at = x[length:], at+uint64(length)
	}
}

// mixed is a number in which each bit of x has changed half of the bits: the next one of
// SplitMix64 (Steele, Lea, Flood 2014).
func mixed(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
