package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
)

// Stages are the kernels around a rule's own, for what it does not do itself. They work
// block by block, so that memory is crossed once.
type Stages struct {
	prescales, regularizes, shrinks bool
	prescale                        fallback.RegularizeScalars // a part of the gradient's scale
	regularize                      fallback.RegularizeScalars
	shrink                          fallback.ShrinkScalars
	fade                            fallback.FadeScalars
	small                           fallback.FlushScalars
	decays                          bool
}

// penalized reports whether there is a stage of penalties around the kernel.
func (s *Stages) penalized() bool { return s.prescales || s.regularizes || s.shrinks }

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
	if g.clipping.on() {
		g.renewClipped(g.signed(scale))
	} else {
		g.input, g.Stages = g.Options.Begin(scale, g.FusesProximal)
	}
	if g.passes[0].mean || g.cautious() && g.input.L2 != 0 {
		g.regularizeAll()
	}
	for _, s := range g.State {
		if s.goes() {
			g.small.Small = s.Flushes // one mask: of a rule's squares there is one mean
		}
	}
}

// renewClipped gives the scale to the stage that clips, which leaves 1 to the others.
func (g *group) renewClipped(scale float64) {
	o := g.Options
	o.Maximize = false
	g.input, g.Stages = o.Begin(1, g.FusesProximal)
	g.clip, g.fade.Scale = g.clipping.scalars(scale), float32(scale)
}

// regularizeAll has a stage make the whole gradient, for a pass that sums its squares, or for
// a kernel that does not see the parameters.
func (g *group) regularizeAll() {
	in := &g.input
	if !g.regularizes && (in.Scale != 1 || in.L2 != 0) {
		g.regularizes, g.regularize = true, fallback.RegularizeScalars{Scale: in.Scale, L2: in.L2}
		in.Scale, in.L2 = 1, 0
	}
}

// penalized reports whether there is a stage around the kernel.
func (g *group) penalized() bool {
	return g.clipping.on() || g.clipping.centers || g.cautious() || g.Stages.penalized()
}

// Begin makes the input of scalars, but for the step's number, and the stages.
func (o Options) Begin(scale float64, fusesProximal bool) (in StepInput, s Stages) {
	if o.Maximize {
		scale = -scale
	}
	in = StepInput{Common: o.common(scale), LR: o.LR}
	s = Stages{decays: in.Decay != 0 || in.L2 != 0, fade: fallback.FadeScalars{Scale: in.Scale, Drop: in.Drop, Small: fallback.DropSmall}}
	in, s = o.takePenalties(in, s, fusesProximal)
	return takeScale(in, s, scale)
}

func (o Options) common(scale float64) fallback.Common {
	c := fallback.Common{Scale: float32(scale), L2: float32(o.L2), Decay: float32(o.LR * o.WeightDecay)}
	if o.KeepSubnormals {
		return c
	}
	c.Drop = fallback.DropSubnormal
	if math.Abs(scale) <= 1 {
		c.First = c.Drop
	}
	return c
}

// takePenalties gives the penalties to the kernel or to the stages.
func (o Options) takePenalties(in StepInput, s Stages, fusesProximal bool) (input StepInput, around Stages) {
	switch {
	case o.Proximal && fusesProximal:
		in.ProxL1, in.ProxL2, in.L2 = o.L1, o.L2, 0
	case o.Proximal && o.penalties():
		s.shrinks, s.decays, in.L2 = true, true, 0
		s.shrink = fallback.ShrinkScalars{Threshold: float32(o.LR * o.L1), Shrink: float32(1 / (1 + float64(o.LR*o.L2)))}
	case o.L1 != 0:
		s.regularizes = true
		s.regularize = fallback.RegularizeScalars{Scale: in.Scale, L2: in.L2, L1: float32(o.L1)}
		in.Scale, in.L2 = 1, 0
	}
	return in, s
}

// takeScale lets a stage apply a part of a scale that is no normal float32.
func takeScale(in StepInput, s Stages, scale float64) (input StepInput, around Stages) {
	part := partOf(scale)
	if part == 1 {
		return in, s
	}
	s.prescales, s.prescale = true, fallback.RegularizeScalars{Scale: float32(part)}
	rest := float32(scale / part)
	if s.regularizes {
		s.regularize.Scale = rest
	} else {
		in.Scale = rest
	}
	return in, s
}

// partOf is the part of a scale that is applied first, 1 if all is one normal float32.
func partOf(scale float64) float64 {
	size := math.Abs(scale)
	switch {
	case size > mostFactor:
		return 0x1p80
	case size > 0 && size < leastFactor:
		return 0x1p-80
	}
	return 1
}

// penalties reports whether there is an L1 or L2 to apply.
func (o Options) penalties() bool { return o.L1 != 0 || o.L2 != 0 }
