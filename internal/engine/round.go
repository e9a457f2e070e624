package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// SetRounding sets the seed by which parameters of BF16 alone are rounded.
func (e *Engine) SetRounding(seed uint64) { e.rounding = seed }

// HashPlaces makes what rounding at random wants, once for all.
func (e *Engine) HashPlaces() {
	if e.hashes == nil {
		e.hashes = make([]float32, tune.PackLen)
		fallback.HashPlaces(e.hashes)
	}
}

// paramsPair is where slots would be that have the numbers of parameters for theirs: they share
// none with state of the same seed.
const paramsPair = 1 << 32

// round makes BF16 of parameters from element lo on, up or down at random as state is rounded:
// where blocks of tune.PackLen along the tensor begin, so that ranges do not matter.
func (e *Engine) round(w *Worker, t *tensor, lo int, h []kernels.BF16, p []float32) {
	c, d := &w.packs.bf16, e.drawingOf(e.rounding, t, paramsPair)
	c.Part = 1
	for at, end := 0, 0; at < len(p); at = end {
		first := (lo + at) % tune.PackLen
		end = min(at+tune.PackLen-first, len(p))
		c.Factor, c.Add = d.at((lo + at) / tune.PackLen)
		kernels.QuantizeBF16(e.table, h[at:end], p[at:end], e.hashes[first:first+end-at], c)
	}
}
