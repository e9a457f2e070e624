package rule

import (
	"fmt"
	"math"
	"slices"
)

// A Condition is what is assumed of a scalar.
type Condition uint8

const (
	IsBits     Condition = iota // it has these bits
	IsPositive                  // it is above 0
)

// An Assumption is what most calls have a scalar at. A kernel tests its assumptions
// once a call, and has a loop for what the rule comes to under all of them.
type Assumption struct {
	Scalar int // slot
	Cond   Condition
	Bits   uint32
}

// Usually notes what most calls have a scalar at.
func (r *Rule) Usually(scalar Value, cond Condition, x float32) {
	a := Assumption{Scalar: r.Nodes[scalar.id].X, Cond: cond, Bits: r.Nodes[r.Const(x).id].Imm}
	if r.Nodes[scalar.id].Op != Scalar {
		panic(fmt.Sprintf("rule: %s: an assumption on what is no scalar", r.Name))
	}
	if !slices.Contains(r.Usual, a) {
		r.Usual = append(r.Usual, a)
	}
}

// Redundant notes that a node may be its first operand where a scalar has a value: what
// is computed from it is the same then.
func (r *Rule) Redundant(node, scalar Value, x float32) {
	if r.redundant == nil {
		r.redundant = map[int]Assumption{}
	}
	r.redundant[node.id] = Assumption{r.Nodes[scalar.id].X, IsBits, math.Float32bits(x)}
}

const one = 0x3f800000 // 1

// Specialize is what the rule comes to under assumptions, with the same result to
// the bit: a product with 1 is the other factor, and a choice is made whose mask is
// known. Nodes keep their IDs.
func (r *Rule) Specialize(assumed []Assumption) *Rule {
	c := *r
	c.Usual, c.Nodes, c.Effects = assumed, slices.Clone(r.Nodes), slices.Clone(r.Effects)
	same := make([]int, len(c.Nodes)) // the node that has the value, by node
	for id := range c.Nodes {
		n := &c.Nodes[id]
		for _, x := range []*int{&n.X, &n.Y, &n.Z}[:n.Op.Operands()] {
			*x = same[*x]
		}
		same[id] = id
		switch {
		case n.Op == Mul && c.assumes(n.Y, one):
			same[id] = n.X
		case n.Op == Mul && c.assumes(n.X, one):
			same[id] = n.Y
		case c.isRedundant(id):
			same[id] = n.X
		case n.Op == Select && c.holds(c.Nodes[n.X]):
			same[id] = n.Y
		}
	}
	for k := range c.Effects {
		e := &c.Effects[k]
		e.X, e.Y = same[e.X], same[e.Y]
	}
	c.Usual = nil
	return &c
}

// Scaled are the assumptions but that on the gradient's factor, which is another where
// gradients are clipped or losses scaled; nil if there is none on it.
func (r *Rule) Scaled() []Assumption {
	rest := slices.DeleteFunc(slices.Clone(r.Usual), func(a Assumption) bool { return r.Scalars[a.Scalar] == CommonScalars[0] })
	if len(rest) == len(r.Usual) {
		return nil
	}
	return rest
}

// isRedundant reports whether a node may be its first operand.
func (r *Rule) isRedundant(id int) bool {
	a, ok := r.redundant[id]
	return ok && slices.Contains(r.Usual, a)
}

// assumes reports whether a node is a scalar that is assumed to have these bits.
func (r *Rule) assumes(id int, bits uint32) bool {
	n := r.Nodes[id]
	return n.Op == Scalar && slices.Contains(r.Usual, Assumption{n.X, IsBits, bits})
}

// holds reports whether a mask is true under the assumptions.
func (r *Rule) holds(mask Node) bool {
	x, y := r.Nodes[mask.X], r.Nodes[mask.Y]
	switch {
	case mask.Op == Equal && y.Op == Const:
		return r.assumes(mask.X, y.Imm)
	case mask.Op == Less && x == Node{Op: Const}:
		return y.Op == Scalar && slices.Contains(r.Usual, Assumption{y.X, IsPositive, 0})
	}
	return false
}
