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

// A Shorter rule is what another comes to where some of its scalars have these
// bits, by slot.
type Shorter struct {
	*Rule
	Without []string // what it does not do
	When    map[int]uint32
}

// Shorter lists what the rule comes to as its scalars have their usual values: the
// first of these, the first two and so on. Each asks for what the one before it
// does, and more. Nodes keep their IDs.
func (r *Rule) Shorter() []Shorter {
	var list []Shorter
	last := Shorter{Rule: r}
	for _, u := range usual {
		next := Shorter{Rule: last.Rule, Without: append(slices.Clone(last.Without), u.without), When: map[int]uint32{}}
		for slot, bits := range last.When {
			next.When[slot] = bits
		}
		for _, name := range u.scalars {
			if slot := slices.Index(r.Scalars, name); slot >= 0 {
				next.Rule, next.When[slot] = next.given(slot, u.bits), u.bits
			}
		}
		if !slices.Equal(next.Nodes, last.Nodes) {
			list = append(list, next)
			last = next
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
	is := func(id int) bool { return r.Nodes[id] == Node{Op: Scalar, X: slot} }
	same := map[int]int{}
	for id, n := range r.Nodes {
		if bits == KeepAll && n.Op == Flush && is(n.Y) || bits == one && n.Op == Mul && is(n.Y) {
			same[id] = n.X
		}
	}
	redirect := func(ids ...*int) {
		for _, id := range ids {
			for x, ok := same[*id]; ok; x, ok = same[*id] {
				*id = x
			}
		}
	}
	for id := range c.Nodes {
		n := &c.Nodes[id]
		redirect([]*int{&n.X, &n.Y, &n.Z}[:n.Op.Operands()]...)
	}
	for k := range c.Effects {
		redirect(&c.Effects[k].X, &c.Effects[k].Y)
	}
	return &c
}
