package arm64

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// A Count is what the main loop of a kernel has for 16 lanes.
type Count struct {
	Loads, Stores  float64 // instructions
	Loaded, Stored float64 // registers: a pair moves two
	Steps          float64 // moves that step a pointer on
	Float          float64 // instructions that round or convert, of which
	Divides, Roots float64
	Widenings      float64 // to numbers of another size, or from them
	Vector         float64 // comparisons, choices, bits, integers
	Scalar         float64 // the counter, its branch, the lane
	Side, Elements int     // of an iteration: rows, and columns of each
}

// Total is the number of instructions.
func (c Count) Total() float64 { return c.Loads + c.Stores + c.Float + c.Vector + c.Scalar }

// fields are all numbers but those of the iteration.
func (c *Count) fields() []*float64 {
	return []*float64{&c.Loads, &c.Stores, &c.Loaded, &c.Stored, &c.Steps, &c.Float, &c.Divides, &c.Roots, &c.Widenings, &c.Vector, &c.Scalar}
}

var isFloat = regexp.MustCompile(`^V(FADD|FSUB|FMUL|FML[AS]|FDIV|FSQRT|FCVT[LN]2?|SCVTF)[DH]?$`)

// count reads a loop, of which it is the text without the label. A line is an
// instruction.
func count(text string, l loop.Loop) Count {
	c := Count{Side: l.Rows, Elements: l.Elements}
	for _, line := range strings.Split(text, "\n") {
		name, operands, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "(") // of a macro
		name, suffix, _ := strings.Cut(name, ".")
		if suffix == "P" {
			c.Steps++
		}
		switch name {
		case "":
		case "FLDPQ":
			c.Loads++
			c.Loaded += 2
		case "FSTPQ":
			c.Stores++
			c.Stored += 2
		case "FMOVQ", "FMOVD", "FMOVS":
			if strings.HasPrefix(operands, "F") {
				c.Stores++
				c.Stored++
			} else {
				c.Loads++
				c.Loaded++
			}
		default:
			switch {
			case isFloat.MatchString(name):
				c.float(name)
			case strings.HasPrefix(name, "V"):
				c.Vector++
			default:
				c.Scalar++
			}
		}
	}
	for _, n := range c.fields() {
		*n *= 16 / float64(c.Side*c.Elements)
	}
	return c
}

// float adds an instruction that rounds or converts.
func (c *Count) float(name string) {
	c.Float++
	switch {
	case name == "VFDIV":
		c.Divides++
	case name == "VFSQRT":
		c.Roots++
	case strings.HasPrefix(name, "VFCVT"):
		c.Widenings++
	}
}

// load and store add what moves an element of each lane: two registers in an instruction, or
// one that is a half of them. Elements of F16 are converted, those of BF16 are moved to their
// half of a lane, and there are two of them in an instruction that moves them back.
func (c *Count) load(t rule.Type) {
	switch t {
	case rule.F32:
		c.Loaded += vectors
	case rule.BF16:
		c.Loaded += vectors / 2
		c.Vector += vectors
	case rule.F16:
		c.Loaded += vectors / 2
		c.Widenings += vectors
	}
	c.Loads += vectors / 2
}

func (c *Count) store(t rule.Type) {
	switch t {
	case rule.F32:
		c.Stored += vectors
	case rule.BF16:
		c.Stored += vectors / 2
		c.Vector += rounding*vectors + vectors/2
	case rule.F16:
		c.Stored += vectors / 2
		c.Widenings += vectors
	}
	c.Stores += vectors / 2
}

const (
	vectors  = 4 // of 16 lanes
	rounding = 7 // instructions: see loop's
)

// bound is what no kernel for NEON can do without: each element loaded once if
// the rule reads it and stored once if the rule writes it, two registers in an
// instruction; one instruction for each operation whose operands change in the
// loop, and two where NEON has none of that meaning. The rows of a matrix can
// share what is there once for all of them.
func bound(r *rule.Rule) Count {
	var c Count
	changes := changing(r)
	for j, b := range r.Buffers {
		if r.IsMatrix() != (b.Shape == rule.Matrix) {
			continue
		}
		if r.Loads(j) {
			c.load(b.Type)
		}
		if r.Stores(j) {
			c.store(b.Type)
		}
	}
	for _, e := range r.Effects {
		if e.Raw {
			c.Vector -= rounding * vectors
		}
	}
	for _, step := range r.Schedule() {
		if step.IsEffect {
			switch e := r.Effects[step.ID]; {
			case !e.Reduce:
			case e.Kind == rule.MaxAbs: // no sign, greater, choose
				c.Vector += 3 * vectors
			case e.Kind == rule.FoldMax, e.Kind == rule.FoldMost: // greater, choose
				c.Vector += 2 * vectors
			case e.Kind == rule.Fold:
				c.Float += vectors
			default: // two vectors of float64
				c.Widenings += 2 * vectors
				if e.Kind == rule.Dot && e.X != e.Y {
					c.Widenings += 2 * vectors
				}
				c.Float += 2 * vectors
			}
			continue
		}
		if !changes[step.ID] {
			continue
		}
		switch op := r.Nodes[step.ID].Op; op {
		case rule.Load:
		case rule.Add, rule.Sub, rule.Mul, rule.FMA, rule.FNMA, rule.Div, rule.Sqrt, rule.FromInt:
			c.Float += vectors
			switch op {
			case rule.Div:
				c.Divides += vectors
			case rule.Sqrt:
				c.Roots += vectors
			}
		case rule.Max, rule.Min, rule.Flush:
			c.Vector += 2 * vectors
		default:
			c.Vector += vectors
		}
	}
	c.Float += c.Widenings
	return c
}

// changing reports for each node whether it changes from column to column.
func changing(r *rule.Rule) []bool {
	list := make([]bool, len(r.Nodes))
	for id, n := range r.Nodes {
		list[id] = n.Op == rule.Load && r.Buffers[n.X].Shape != rule.PerRow ||
			slices.ContainsFunc(n.Operands(), func(x int) bool { return list[x] })
	}
	return list
}
