package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
)

// stages are the kernels around a rule's own, for what it does not do itself. They work
// block by block, so that memory is crossed once.
type stages struct {
	splits, regularizes, shrinks bool
	split                        fallback.RegularizeScalars // a part of the gradient's scale
	regularize                   fallback.RegularizeScalars
	shrink                       fallback.ShrinkScalars
	fade                         fallback.FadeScalars
	small                        fallback.FlushScalars
	decays                       bool
}

// penalized reports whether there is a stage around the kernel.
func (s *stages) penalized() bool { return s.splits || s.regularizes || s.shrinks }

// factors of a gradient beyond these are applied in two parts: the product of both may
// be no normal float32, though the gradient it is for makes it one.
const leastFactor, mostFactor = 0x1p-100, 0x1p100

// begin makes what the scalars of a step are made from, and the stages that go with it:
// in most steps all of it is that of the step before, but for the step's number.
func (g *group) begin(t int64, scale float64) {
	h := &g.input
	if begun := h.T > 0; !begun || scale != g.scale || g.LR != h.LR {
		g.renew(scale)
	}
	h.T, h.Sums, h.Elements = t, [MaxSums]float64{}, 0
}

func (g *group) renew(scale float64) {
	g.scale = scale
	r, h := &g.Options, &g.input
	if r.Maximize {
		scale = -scale
	}
	*h = StepInput{LR: r.LR}
	h.Common = fallback.Common{Scale: float32(scale), L2: float32(r.L2), Decay: float32(r.LR * r.WeightDecay), Drop: fallback.DropSubnormal}
	if math.Abs(scale) <= 1 {
		h.First = h.Drop
	}
	if r.KeepSubnormals {
		h.Drop, h.First = 0, 0
	}
	g.stages = stages{decays: h.Decay != 0 || h.L2 != 0}
	g.fade = fallback.FadeScalars{Scale: h.Scale, Drop: h.Drop, Small: fallback.DropSmall}
	for _, s := range g.State {
		if s.goes() {
			g.small.Small = s.Flushes // one mask: of a rule's squares there is one mean
		}
	}
	g.takePenalties(h)
	g.takeScale(h, scale)
}

// takePenalties gives the penalties to the kernel or to the stages.
func (g *group) takePenalties(h *StepInput) {
	switch r := &g.Options; {
	case r.Proximal && g.FusesProximal:
		h.ProxL1, h.ProxL2, h.L2 = r.L1, r.L2, 0
	case r.Proximal && r.penalties():
		g.shrinks, g.decays, h.L2 = true, true, 0
		g.shrink = fallback.ShrinkScalars{Threshold: float32(r.LR * r.L1), Shrink: float32(1 / (1 + float64(r.LR*r.L2)))}
	case r.L1 != 0:
		g.regularizes = true
		g.regularize = fallback.RegularizeScalars{Scale: h.Scale, L2: h.L2, L1: float32(r.L1)}
		h.Scale, h.L2 = 1, 0
	}
}

// takeScale lets a stage apply a part of a scale that is no normal float32.
func (g *group) takeScale(h *StepInput, scale float64) {
	size := math.Abs(scale)
	if size == 0 || !(size < leastFactor || size > mostFactor) {
		return
	}
	part := 0x1p80
	if size < 1 {
		part = 0x1p-80
	}
	g.splits, g.split = true, fallback.RegularizeScalars{Scale: float32(part)}
	rest := &h.Scale
	if g.regularizes {
		rest = &g.regularize.Scale
	}
	*rest = float32(scale / part)
}

// penalties reports whether there is an L1 or L2 to apply.
func (o *Options) penalties() bool { return o.L1 != 0 || o.L2 != 0 }
