package amd64

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

// Emit returns the assembly of r for t. The sums of reductions stay in registers
// in the main loop if there are enough, and of the invariants as many as fit, the most
// used first: those of the usual loop, then those of the general one.
func Emit(r *rule.Rule, t ISA) []byte {
	for _, inSums := range []bool{true, false} {
		reduces := slices.ContainsFunc(r.Effects, func(f rule.Effect) bool { return f.Reduce })
		if inSums && (!reduces || r.Long()) {
			continue
		}
		c := choice{inSums: inSums, usual: absent, general: absent}
		if len(r.Usual) > 0 && !c.most(r, t, &c.usual, r.Specialize(r.Usual)) {
			continue
		}
		if c.most(r, t, &c.general, r) {
			return text(r, emit(r, t, c))
		}
	}
	panic(fmt.Errorf("amd64: %s does not fit the registers", r.Name))
}

// text prints a file, with the formula above the function.
func text(r *rule.Rule, f *ir.File) []byte {
	b, err := printer.NewGoAsm(printer.Config{Name: "gen"}).Print(f)
	if err != nil {
		panic(fmt.Errorf("amd64: %s: %w", r.Name, err))
	}
	head := "// func " + r.Name + "("
	doc := "//" + strings.ReplaceAll(strings.Trim(r.Doc, "\n"), "\n", "\n//") + "\n//\n"
	return bytes.Replace(b, []byte(head), []byte(doc+head), 1)
}

// A choice is what is kept in registers: the sums of reductions, and so many of the
// invariants in the usual loop and in the general one.
type choice struct {
	inSums         bool
	usual, general int
}

// absent says that a loop is not emitted.
const absent = -1

// most sets how many invariants a loop keeps to as many as fit, and reports whether the
// loop fits at all.
func (c *choice) most(r *rule.Rule, t ISA, kept *int, loop *rule.Rule) bool {
	for *kept = len(expand(loop, t).Invariants()); *kept >= 0; *kept-- {
		if emit(r, t, *c) != nil {
			return true
		}
	}
	return false
}

// emit builds the file, or returns nil if it does not fit the registers.
func emit(r *rule.Rule, t ISA, c choice) *ir.File {
	e := newEmitter(r, t, c.inSums)
	if r.IsMatrix() {
		e.matrix(c)
	} else {
		e.list(c)
	}
	f, err := e.Result()
	if err != nil {
		panic(fmt.Errorf("amd64: %s: %w", r.Name, err))
	}
	if err = pass.Compile.Execute(f); err != nil || vectors(f) > t.registers {
		return nil
	}
	return f
}

// vectors is how many vector registers the file uses. avo knows no limit of 16.
func vectors(f *ir.File) int {
	n := 0
	for _, fn := range f.Functions() {
		for _, i := range fn.Instructions() {
			for _, r := range i.Registers() {
				if p := reg.ToPhysical(r); p != nil && r.Kind() == reg.KindVector {
					n = max(n, int(p.PhysicalIndex())+1)
				}
			}
		}
	}
	return n
}

// An emitter builds one kernel.
type emitter struct {
	*build.Context
	whole *rule.Rule
	t     ISA

	// What is emitted at present: the whole rule or what it comes to.
	r     *rule.Rule
	steps []rule.Task

	index      reg.GPVirtual // of the column
	row        reg.GPVirtual
	buffers    []operand.Mem   // of the first row
	further    [][]operand.Mem // of the rows side by side
	reductions []operand.Mem
	scalars    operand.Mem
	laneIndex  operand.Mem   // 0, 1, ..., 7
	folds      []operand.Mem // the lanes of each row

	resident  map[int]reg.Register     // invariants in registers
	spilled   map[int]operand.Mem      // invariants that were computed and are on the stack
	perRow    []map[int]reg.VecVirtual // the rows' own elements
	inSums    bool                     // the main loop has the reductions' lanes in registers
	sums      map[sumOf][]reg.VecVirtual
	helpers   map[uint32]reg.VecVirtual // constants that the lowering needs
	words     map[uint32]operand.Mem    // constants
	vectorsOf map[uint32]operand.Mem    // constants in every lane

	// The general loop's main part is for scaled gradients alone, if there is one: runs
	// has all bits but those of an iteration's index, or none where it may not run.
	scaled *rule.Rule
	runs   reg.GPVirtual

	asides int
	later  []func() // what is emitted behind the kernel
}

// A sumOf is an effect of a row.
type sumOf struct{ effect, row int }

func newEmitter(r *rule.Rule, t ISA, inSums bool) *emitter {
	e := &emitter{Context: build.NewContext(), whole: r, t: t, inSums: inSums,
		resident: map[int]reg.Register{}, spilled: map[int]operand.Mem{}, helpers: map[uint32]reg.VecVirtual{},
		words: map[uint32]operand.Mem{}, vectorsOf: map[uint32]operand.Mem{}, sums: map[sumOf][]reg.VecVirtual{}}
	e.ConstraintExpr("!purego,!noasm")
	if t.mask == nil {
		e.laneIndex = e.data("lanes", []uint32{0, 1, 2, 3, 4, 5, 6, 7})
	}
	e.begin()
	return e
}

// use has the emitter go on with what the rule comes to.
func (e *emitter) use(r *rule.Rule) {
	e.r = expand(r, e.t)
	e.steps = e.r.Schedule()
}

// data puts words into a read-only symbol of the file.
func (e *emitter) data(name string, words []uint32) operand.Mem {
	m := e.StaticGlobal(name)
	e.DataAttributes(attr.RODATA | attr.NOPTR)
	for k, w := range words {
		e.AddDatum(4*k, operand.U32(w))
	}
	return m
}

// begin emits what comes before the loops: the parameters but the buffers.
func (e *emitter) begin() {
	e.Function(e.whole.Name)
	e.Attributes(attr.NOSPLIT)
	e.SignatureExpr("func(" + e.whole.Params(fmt.Sprintf("*[%d]float32", len(e.whole.Scalars))) + ")")
	e.index = e.GP64()
	if len(e.whole.Scalars) > 0 {
		e.scalars = operand.Mem{Base: e.Load(e.Param("c"), e.GP64())}
	}
	for _, d := range e.whole.Reductions {
		e.reductions = append(e.reductions, operand.Mem{Base: e.Load(e.Param(d.Name), e.GP64())})
	}
}

// end ends a function.
func (e *emitter) end() {
	e.VZEROUPPER()
	e.RET()
	for _, emit := range e.later {
		emit()
	}
}

// constant is the node of a constant that expand has put into the rule.
func (e *emitter) constant(bits uint32) int {
	return slices.Index(e.r.Nodes, rule.Node{Op: rule.Const, Imm: bits})
}

// aside emits a jump, on which the flags decide, to code behind the kernel that
// jumps back.
func (e *emitter) aside(jump func(operand.Op), emit func()) {
	e.asides++
	out, back := fmt.Sprintf("aside%d", e.asides), fmt.Sprintf("back%d", e.asides)
	jump(operand.LabelRef(out))
	e.Label(back)
	e.later = append(e.later, func() {
		e.Label(out)
		emit()
		e.JMP(operand.LabelRef(back))
	})
}
