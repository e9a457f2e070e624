package loop

import (
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// Best is the program that costs the least of those that fit, or the first of them that
// costs nothing: by the plans of each of its parts, with as many invariants in registers
// as there is room for, the most used first. fits says what a program costs, and how
// many registers it lacks: one at least if it does not fit.
func Best(r *rule.Rule, m Machine, fits func(*Program) (cost float64, lacks int)) *Program {
	r = roundStores(r)
	var c choice
	if len(r.Usual) > 0 {
		m.choose(r, r.Specialize(r.Usual), &c, &c.usual, fits)
	}
	return m.choose(r, r, &c, &c.general, fits)
}

// A plan is what there is to choose for a part of a kernel.
type plan struct {
	rows     int  // of a matrix that are walked side by side
	sums     bool // whether the main loop has the lanes of reductions in registers
	vectors  int  // side by side in the main loop
	resident int  // invariants in registers
	anew     bool // whether each row reads the addresses of what is per row from the parameters
}

// A choice is the plans for the two parts of a kernel, of which one may be left out.
type choice struct{ usual, general *plan }

// anew reports whether all parts are to read what is per row from addresses of their own.
func (c choice) anew() bool {
	return (c.usual == nil || c.usual.anew) && (c.general == nil || c.general.anew)
}

// plans lists the choices for a rule, the best first, but for what is resident.
func (m Machine) plans(r *rule.Rule) []plan {
	sums, main := []bool{false}, r
	if len(r.Usual) > 0 { // whose main loop has its gradients scaled in one part
		main = r.Specialize(r.Scaled())
	}
	if reduces(r) && !main.Long() {
		sums = []bool{true, false}
	}
	var list []plan
	for rows := m.rows(r); rows > 0; rows-- {
		for _, s := range sums {
			for v := m.inMove(); v > 0; v-- {
				list = append(list, plan{rows: rows, sums: s, vectors: v})
			}
		}
	}
	if r.IsMatrix() {
		for _, p := range list {
			p.anew = true
			list = append(list, p)
		}
	}
	return list
}

// rows is how many rows may be side by side. The lanes of a sum over all rows need them
// one after the other.
func (m Machine) rows(r *rule.Rule) int {
	if !r.IsMatrix() || len(r.Reductions) > 0 {
		return 1
	}
	return m.Rows
}

// reduces reports whether a rule has reductions whose lanes are those of package rule.
func reduces(r *rule.Rule) bool {
	return slices.ContainsFunc(r.Effects, func(f rule.Effect) bool { return f.Reduce && f.Kind != rule.FoldMost })
}

// choose sets the plan for a part of a kernel, and returns the program.
func (m Machine) choose(r, part *rule.Rule, c *choice, to **plan, fits func(*Program) (float64, int)) *Program {
	var best *Program
	var chosen plan
	var least float64
	for _, p := range m.plans(part) {
		*to = &p
		program, cost := m.most(r, part, c, &p, fits)
		if program != nil && (best == nil || cost < least) {
			best, chosen, least = program, p, cost
		}
		if best != nil && least == 0 {
			break
		}
	}
	if best == nil {
		panic(fmt.Errorf("loop: %s does not fit the registers", r.Name))
	}
	*to = &chosen
	return best
}

// most keeps as many invariants of a part as fit, and returns the program and its cost,
// or nil if the part does not fit at all. One fewer in a register is at most one
// register that is not needed.
func (m Machine) most(r, part *rule.Rule, c *choice, p *plan, fits func(*Program) (float64, int)) (*Program, float64) {
	for p.resident = len(m.expand(part).Invariants()); p.resident >= 0; {
		program := lower(r, m, *c)
		cost, lacks := fits(program)
		if lacks <= 0 {
			return program, cost
		}
		p.resident -= lacks
	}
	return nil, 0
}
