package rule

import (
	"slices"
	"strings"
)

// ones are scalars that are 1 for most users, the most often first: parameters
// that do not decay, a gradient that is not scaled. Without them momentum has half
// as many products.
var ones = []string{"decay", "input"}

const (
	one = 0x3f800000 // 1

	// KeepAll is what a MulKept keeps all numbers by, but for +0, which is +0 either
	// way.
	KeepAll = 0xffffffff
)

// A Shorter rule is what another comes to where some of its scalars have these
// bits, by slot.
type Shorter struct {
	*Rule
	Without []string // the scalars that are 1
	When    map[int]uint32
}

// Shorter lists the rule without its products with scalars that are 1, the first
// of them that it has, the first two and so on: each asks for what the one before
// it does, and more. Nodes keep their IDs.
func (r *Rule) Shorter() []Shorter {
	var list []Shorter
	last := Shorter{Rule: r}
	for _, name := range ones {
		next, ok := last.without(name)
		if ok {
			list = append(list, next)
			last = next
		}
	}
	return list
}

// Label tells the rule from others in assembly.
func (s Shorter) Label() string { return "no" + strings.Join(s.Without, "no") }

// without leaves out the products with one more scalar, if there are some.
func (s Shorter) without(name string) (next Shorter, ok bool) {
	scalar := slices.Index(s.Scalars, name)
	same := map[int]int{}
	next = Shorter{Without: append(slices.Clone(s.Without), name), When: map[int]uint32{scalar: one}}
	for id, n := range s.Nodes {
		if n.Op != Mul && n.Op != MulKept || s.Nodes[n.Y] != (Node{Op: Scalar, X: scalar}) {
			continue
		}
		same[id] = n.X
		if n.Op == MulKept {
			next.When[s.Nodes[n.Z].X] = KeepAll
		}
	}
	if len(same) == 0 {
		return next, false
	}
	for slot, bits := range s.When {
		next.When[slot] = bits
	}
	r := *s.Rule
	r.Nodes, r.Effects = slices.Clone(r.Nodes), slices.Clone(r.Effects)
	redirect := func(ids ...*int) {
		for _, id := range ids {
			if x, ok := same[*id]; ok {
				*id = x
			}
		}
	}
	for id := range r.Nodes {
		if n := &r.Nodes[id]; n.Op.Operands() > 0 {
			redirect([]*int{&n.X, &n.Y, &n.Z}[:n.Op.Operands()]...)
		}
	}
	for k := range r.Effects {
		redirect(&r.Effects[k].X, &r.Effects[k].Y)
	}
	next.Rule = &r
	return next, true
}
