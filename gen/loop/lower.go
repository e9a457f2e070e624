package loop

import (
	"maps"
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// A Machine is what lowering must know of an instruction set.
type Machine struct {
	Lanes  int  // float32 in a vector
	Wide   int  // vectors in an iteration of the main loop, or more if that is for all lanes of a sum
	Rows   int  // of a matrix that are walked side by side at most
	Phases bool // there are registers enough to begin the roots of all vectors first
	Masks  bool // masks have registers of their own
	Ahead  bool // main loops of float32 fetch ahead, which is for processors that do not look far enough

	// Pairs says that a move takes two vectors, so that two are worked on side by side.
	Pairs bool

	// Steps says that a move steps its pointer on: there is no index, and loops count
	// down what is left.
	Steps bool

	// Singles says that no move takes a part of a vector: the last elements go one by one,
	// each in the first lane.
	Singles bool

	// Signs says that Abs and Neg are And and Xor with a constant.
	Signs bool

	// Whole says that a vector in memory is easier to come by than one element of it for
	// every lane: so a scalar without a register waits as a vector.
	Whole bool

	// Helpers are the constants that the target's form of an operation has in registers.
	Helpers map[rule.Op][]uint32
}

// expand replaces the operations that the machine does with a constant, and adds the
// constants that it needs.
func (m Machine) expand(r *rule.Rule) *rule.Rule {
	c := *r
	c.Nodes = slices.Clone(r.Nodes)
	for id, n := range r.Nodes {
		switch {
		case n.Op == rule.Abs && m.Signs:
			c.Nodes[id] = rule.Node{Op: rule.And, X: n.X, Y: constant(&c, magnitude)}
		case n.Op == rule.Neg && m.Signs:
			c.Nodes[id] = rule.Node{Op: rule.Xor, X: n.X, Y: constant(&c, sign)}
		}
	}
	return &c
}

const (
	magnitude = 1<<31 - 1
	sign      = 1 << 31
)

// constant is the node of a constant, a new one if need be.
func constant(r *rule.Rule, bits uint32) int {
	n := rule.Node{Op: rule.Const, Imm: bits}
	id := slices.Index(r.Nodes, n)
	if id < 0 {
		id = len(r.Nodes)
		r.Nodes = append(r.Nodes, n)
	}
	return id
}

// helpers are the constants that the target needs for a rule.
func (m Machine) helpers(r *rule.Rule) []uint32 {
	var list []uint32
	for _, op := range slices.Sorted(maps.Keys(m.Helpers)) {
		if r.Has(op) {
			list = append(list, m.Helpers[op]...)
		}
	}
	return list
}

// A lowering writes one program.
type lowering struct {
	*Program
	m    Machine
	last [Frame]int // registers of each kind so far

	// What is lowered at present: the whole rule or what it comes to, its tasks, and what
	// was chosen for it.
	r     *rule.Rule
	tasks []rule.Task
	plan  plan

	scalars    Mem
	index      Reg     // of the column
	left       Reg     // columns, where there is no index
	lane       Reg     // of a sum, where there is no index
	row        Reg     // of a matrix
	buffers    []Mem   // of the first row
	further    [][]Mem // of the rows side by side
	walked     [][]Mem // of the rows side by side, from the column on where there is no index
	reductions []Mem
	folds      []Mem // the lanes of each row

	resident map[int]Reg   // invariants in registers
	spilled  map[int]Mem   // invariants that were computed and are in memory
	perRow   []map[int]Reg // the rows' own elements
	sums     map[sumOf][]Reg
	most     map[sumOf]Reg // the lanes of a FoldMost, from a row's first column to its last

	// The general loop's main part is for scaled gradients alone, if there is one: runs
	// says whether it may run, as what enter makes of it.
	scaled *rule.Rule
	runs   Reg
}

// A sumOf is an effect of a row.
type sumOf struct{ effect, row int }

// lower writes the program of a choice.
func lower(r *rule.Rule, m Machine, c choice) *Program {
	l := &lowering{Program: &Program{Rule: r}, m: m, sums: map[sumOf][]Reg{}, most: map[sumOf]Reg{}}
	l.index = l.new(Address)
	if len(r.Scalars) > 0 {
		l.scalars.Base = l.set(Address, Inst{Op: Param, Label: "c"})
	}
	for _, d := range r.Reductions {
		base := l.new(Address)
		l.do(Inst{Op: Param, Dst: base, Label: d.Name})
		l.reductions = append(l.reductions, Mem{Base: base})
	}
	switch {
	case r.IsMatrix():
		l.matrix(c)
	case r.IsTyped():
		l.tensor(c)
	default:
		l.list(c)
	}
	l.do(Inst{Op: Return})
	return l.Program
}

func (l *lowering) do(in Inst) { l.Insts = append(l.Insts, in) }

func (l *lowering) label(name string) { l.do(Inst{Op: Label, Label: name}) }

// new is a new register.
func (l *lowering) new(k Kind) Reg {
	l.last[k]++
	return Reg{k, l.last[k]}
}

// set writes an instruction whose result is a new register.
func (l *lowering) set(k Kind, in Inst) Reg {
	in.Dst = l.new(k)
	l.do(in)
	return in.Dst
}

// local is new memory of the kernel's own.
func (l *lowering) local(size, align int) Mem {
	l.Locals = append(l.Locals, Local{size, align})
	return Mem{Base: Reg{Frame, len(l.Locals) - 1}}
}

// use goes on with what the rule comes to, by a plan.
func (l *lowering) use(r *rule.Rule, p plan) {
	l.r = l.m.expand(r)
	l.tasks = l.r.Schedule()
	l.plan = p
}

// vector is the size of a vector in bytes.
func (l *lowering) vector() int { return 4 * l.m.Lanes }

// buffer is a buffer at an address, to be walked by the index if there is one.
func (l *lowering) buffer(k int, base Reg) Mem {
	if l.m.Steps {
		return Mem{Base: base}
	}
	return Mem{Base: base, Index: l.index, Scale: l.Rule.Buffers[k].Type.Bytes()}
}
