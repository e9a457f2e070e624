package loop

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// roundStores is the rule with what it stores of BF16 rounded: the bits are the upper ones,
// rounded to nearest even, and a NaN's are still a NaN's. Moves of F16 round themselves.
func roundStores(r *rule.Rule) *rule.Rule {
	c := *r
	c.Nodes, c.Effects = slices.Clone(r.Nodes), slices.Clone(r.Effects)
	for k, e := range c.Effects {
		if !e.Reduce && !e.Raw && r.Buffers[e.To].Type == rule.BF16 {
			c.Effects[k].X = rounded(&c, e.X)
		}
	}
	return &c
}

// rounded adds the rounding of a node: a half less a bit is added, and the last bit of
// what stays, and the carry goes where it must.
func rounded(r *rule.Rule, x int) int {
	add := func(n rule.Node) int {
		r.Nodes = append(r.Nodes, n)
		return len(r.Nodes) - 1
	}
	shifted := add(rule.Node{Op: rule.ShiftRight, X: x, Imm: 16})
	last := add(rule.Node{Op: rule.And, X: shifted, Y: constant(r, 1)})
	half := add(rule.Node{Op: rule.AddInt, X: x, Y: constant(r, 1<<15-1)})
	up := add(rule.Node{Op: rule.AddInt, X: half, Y: last})
	quiet := add(rule.Node{Op: rule.Or, X: x, Y: constant(r, 1<<22)})
	number := add(rule.Node{Op: rule.Equal, X: x, Y: x})
	return add(rule.Node{Op: rule.Select, X: number, Y: up, Z: quiet})
}
