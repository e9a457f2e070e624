package rule

import (
	"slices"
	"strings"
)

const (
	one = 0x3f800000 // 1

	// KeepAll is what a Flush keeps all numbers by: +0 is +0 either way.
	KeepAll = 0xffffffff
)

// usual are what most calls have some scalars at, the most common first: nothing is
// flushed but every so often, gradients are not scaled, parameters do not decay.
var usual = []struct {
	without string
	scalars []string
	bits    uint32
}{
	{"keep", []string{"keep", "lasts"}, KeepAll},
	{"scale", []string{"scale", "input"}, one},
	{"decay", []string{"decay"}, one},
}

// A Shorter rule is what the one before it comes to where some scalars have these
// bits, by slot.
type Shorter struct {
	*Rule
	Without []string // what it does not do
	When    map[int]uint32
}

// Shorter lists what the rule comes to as its scalars have their usual values: the
// first of these, the first two and so on. Nodes keep their IDs.
func (r *Rule) Shorter() []Shorter {
	var list []Shorter
	var without []string
	for _, u := range usual {
		next := Shorter{Rule: r, Without: append(slices.Clone(without), u.without), When: map[int]uint32{}}
		for _, name := range u.scalars {
			if slot := slices.Index(r.Scalars, name); slot >= 0 {
				next.Rule, next.When[slot] = next.given(slot, u.bits), u.bits
			}
		}
		if !slices.Equal(next.Nodes, r.Nodes) {
			list = append(list, next)
			r, without = next.Rule, next.Without
		}
	}
	return list
}

// Label tells the rule from others in assembly.
func (s Shorter) Label() string { return "no" + strings.Join(s.Without, "no") }

// given is the rule for a scalar that has these bits: 1 as a factor, or KeepAll.
func (r *Rule) given(slot int, bits uint32) *Rule {
	c := *r
	c.Nodes, c.Effects = slices.Clone(r.Nodes), slices.Clone(r.Effects)
	scalar := slices.Index(r.Nodes, Node{Op: Scalar, X: slot})
	same := make([]int, len(c.Nodes)) // the node that has the value, by node
	for id := range same {
		same[id] = id
	}
	for id := range c.Nodes {
		n := &c.Nodes[id]
		for _, x := range []*int{&n.X, &n.Y, &n.Z}[:n.Op.Operands()] {
			*x = same[*x]
		}
		switch {
		case bits == KeepAll && n.Op == Flush && n.Y == scalar, bits == one && n.Op == Mul && n.Y == scalar:
			same[id] = n.X
		case bits == one && n.Op == Mul && n.X == scalar:
			same[id] = n.Y
		case n.Op == Flush && c.Nodes[n.X].Op == Flush && c.Nodes[n.X].Y == n.Y: // once is enough
			same[id] = n.X
		}
	}
	for k := range c.Effects {
		e := &c.Effects[k]
		e.X, e.Y = same[e.X], same[e.Y]
	}
	return &c
}
