package engine

import (
	"fmt"
	"slices"
)

// A pass is a Pass with what follows from its plan.
type pass struct {
	Pass
	buffers    []int // parameters (0), gradients (1) and slots (from 2) that it takes; nil for all
	takesGrads bool
	lastGrads  bool // it is the last one that takes gradients
	own        bool // each tensor has scalars of its own
	everywhere bool // it has tensors without a gradient too
	last       bool // it is the last one over parameters
}

// passes makes a plan's.
func (p *Plan) passes() []pass {
	list := make([]pass, len(p.Passes))
	before, last, lastGrads := NoSums, -1, -1
	perTensor := slices.ContainsFunc(p.State, func(s Slot) bool { return s.Extent == PerTensor })
	for k, x := range p.Passes {
		if x.sums == ByColumn && x.walk != rows {
			panic(fmt.Sprintf("engine: pass %d has sums ByColumn, but is not by rows", k))
		}
		list[k] = pass{Pass: x, own: perTensor || before == OverTensor, everywhere: x.walk == whole && before > OverTensor}
		list[k].own = list[k].own || x.walk == together || k > 0 && p.Passes[k-1].walk == together
		list[k].take(p.State)
		switch {
		case x.walk == together && k == len(p.Passes)-1:
			panic("engine: the last pass is one together")
		case x.walk < whole:
			last = k
			if list[k].takesGrads {
				lastGrads = k
			}
		}
		before = x.sums
	}
	if last >= 0 {
		list[last].last = true
	}
	if lastGrads >= 0 {
		list[lastGrads].lastGrads = true
	}
	return list
}

// take finds the buffers that a pass takes.
func (p *pass) take(state []Slot) {
	names := []string{ParamsName, GradsName}
	all := slices.Clone(names)
	for _, s := range state {
		names = append(names, s.Name)
		if s.Extent == PerElement {
			all = append(all, s.Name)
		}
	}
	buffers := p.names
	if len(buffers) == 0 {
		buffers = all
	}
	p.takesGrads = slices.Contains(buffers, GradsName)
	if slices.Equal(buffers, names) {
		return
	}
	for _, name := range buffers {
		k := slices.Index(names, name)
		if k < 0 {
			panic(fmt.Sprintf("engine: a pass takes %q, which is none of %q", name, names))
		}
		p.buffers = append(p.buffers, k)
	}
}
