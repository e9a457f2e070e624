// Package arm64 lowers rules to NEON. Go's assembler lacks most vector float
// instructions and avo is x86 only, so this package prints assembly itself.
//
// Multiplication and addition are not fused, but where the product is exact, and
// a maximum is a comparison and a choice: FMLA rounds once for two operations,
// and FMAX differs from the language on NaN and zeros.
package arm64

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// The general registers. The pointers to buffers and to lanes follow; R18 and
// those from R26 on belong to the platform and to Go.
const (
	left    = iota // columns still to do
	lane           // column mod 32
	address        // of the lane
	scalars
	constants
	rows // of a matrix, or the buffers of a list still to do
	pointers

	entry  = 24 // where a list of tensors goes on
	scaled = 25 // 1 if the main loop may run
)

func pointer(k int) int {
	p := pointers + k
	if p >= 18 {
		p++
	}
	if p >= entry {
		panic("arm64: too many parameters")
	}
	return p
}

// A stage is a loop over so many elements, a vector of bytes/4 of them in one
// move and so many vectors side by side: two are loaded and stored as a pair,
// and give a core that does not look far ahead twice as much to do. The last
// elements go one by one through the same instructions as the others: FMOVS
// clears the lanes above it, and ignores them in a store.
type stage struct {
	elements int
	move     string
	bytes    int
	vectors  int
}

// Stages of more elements come before these.
var stages = []stage{{4, "FMOVQ", 16, 1}, {1, "FMOVS", 4, 1}}

// A plan is what there is to choose for a kernel.
type plan struct {
	side     int // rows of a matrix that are walked side by side
	wide     int // vectors side by side in the main loop
	inSums   int // reductions whose lanes the main loop has in registers
	resident int // invariants that may stay in registers
}

// plans lists the choices for r, but for what is resident.
func plans(r *rule.Rule) []plan {
	reductions, folds := 0, 0
	for _, e := range r.Effects {
		if e.Reduce {
			reductions++
		}
		if e.Reduce && e.Kind == rule.Fold {
			folds++
		}
	}
	sides := 1
	if r.IsMatrix() && folds == reductions { // lanes of all rows need them one after the other
		sides = 4
	}
	if r.Long() {
		reductions = 0
	}
	var list []plan
	for side := sides; side > 0; side-- {
		for inSums := reductions; inSums >= 0; inSums-- {
			for wide := 2; wide > 0; wide-- {
				list = append(list, plan{side: side, wide: wide, inSums: inSums})
			}
		}
	}
	return list
}

// A kernel is a rule on its way to assembly.
type kernel struct {
	strings.Builder
	allocation
	plan
	lanes   map[int]int     // by effect, the pointer to the lanes of a reduction
	sums    map[sumOf][]int // the lanes themselves while they are in registers
	further map[int]int     // by buffer, the pointer to the second row of those side by side
	stepped map[int]bool    // the pointers that are an iteration ahead
	label   string          // of the rows, before those of their loops
	rows    int             // side by side at present
	vectors int             // side by side at present
}

// A sumOf is an effect of a row.
type sumOf struct{ effect, row int }

// Emit returns the assembly of r. Of all plans, each with as many invariants in
// registers as there is room for, that one is taken which has the fewest instructions
// in the main loop.
func Emit(r *rule.Rule) []byte {
	r = loop.Rounded(r)
	if r.IsMatrix() {
		return []byte(best(plans(r), r, func(p plan) *kernel { return lowerMatrix(r, p) }).String())
	}
	k := &kernel{allocation: allocate(r, r, 0, 1), rows: 1}
	k.begin(0)
	k.beginList()
	if len(r.Usual) > 0 {
		k.unless(r.Usual, "general")
		usual := r.Specialize(r.Usual)
		k.WriteString(best(plans(usual), r, func(p plan) *kernel { return lowerList(usual, r, p, "usual", nil) }).String())
		k.op("JMP done")
		k.line("\ngeneral:")
	}
	k.WriteString(best(plans(r), r, func(p plan) *kernel { return lowerList(r, r, p, "", r.Scaled()) }).String())
	k.line("\ndone:")
	k.op("RET")
	return []byte(k.String())
}

// best is the kernel of the plan that comes to the fewest instructions.
func best(list []plan, r *rule.Rule, lower func(plan) *kernel) *kernel {
	var best *kernel
	var least float64
	for _, p := range list {
		for p.resident = registers; p.resident >= 0; p.resident-- {
			k := lower(p)
			if k.short {
				continue
			}
			if n := count(k.String(), k.label).Total(); best == nil || n < least {
				best, least = k, n
			}
			break
		}
	}
	if best == nil {
		panic("arm64: " + r.Name + " needs more than 32 registers")
	}
	return best
}

func newKernel(r, whole *rule.Rule, p plan) *kernel {
	return &kernel{
		allocation: allocate(r, whole, p.resident, p.side),
		plan:       p,
		lanes:      map[int]int{},
		sums:       map[sumOf][]int{},
		further:    map[int]int{},
		stepped:    map[int]bool{},
		rows:       1,
	}
}

// lowerMatrix prints a kernel that walks rows. The text is of no use if the allocation
// came out short.
func lowerMatrix(r *rule.Rule, p plan) *kernel {
	k := newKernel(r, r, p)
	next := len(r.Buffers) + len(r.Reductions)
	folds := 0
	for id, e := range r.Effects {
		switch {
		case !e.Reduce && r.Buffers[e.To].Shape == rule.PerRow:
			panic("arm64: " + r.Name + " stores every column to " + r.Buffers[e.To].Name)
		case e.Reduce && e.Kind == rule.Fold:
			k.lanes[id] = pointer(next)
			next++
			folds++
		case e.Reduce:
			k.lanes[id] = pointer(len(r.Buffers) + e.To)
		}
	}
	for j, b := range r.Buffers {
		if b.Shape == rule.Matrix && p.side > 1 {
			k.further[j] = next
			next += p.side - 1
		}
	}
	frame := 4 * rule.Lanes * folds * p.side
	k.begin(frame)
	k.beginMatrix(frame)
	k.allRows()
	return k
}

// lowerList prints the loop over the tensors of a list for a rule, which may be what the
// whole one comes to. If some is assumed for the main loop alone, the others are for the
// rule as it is.
func lowerList(r, whole *rule.Rule, p plan, label string, assumed []rule.Assumption) *kernel {
	k := newKernel(r, whole, p)
	for id, e := range r.Effects {
		if e.Reduce {
			k.lanes[id] = pointer(len(r.Buffers) + e.To)
		}
	}
	k.label = label
	k.hold(false)
	if assumed != nil {
		k.op("MOVD $0, R%d", scaled)
		k.unless(assumed, "row")
		k.op("MOVD $1, R%d", scaled)
	}
	k.line("\n%srow:", label)
	k.fetchAhead()
	k.op("MOVD 8(R%d), R%d", entry, left)
	for j := range k.Buffers {
		k.op("MOVD %d(R%d), R%d", 24*j, entry, pointer(j))
	}
	if len(k.lanes) > 0 {
		k.op("MOVD $0, R%d", lane)
	}
	if assumed != nil {
		k.scaledLoop(r.Specialize(assumed))
	} else {
		k.mainLoop()
	}
	for _, s := range stages {
		k.loop(s)
	}
	k.op("ADD $%d, R%d, R%d", 24*len(k.Buffers), entry, entry)
	k.op("SUBS $%d, R%d, R%d", len(k.Buffers), rows, rows)
	k.op("BNE %srow", label)
	return k
}

// unless prints a jump where assumptions do not hold.
func (k *kernel) unless(assumed []rule.Assumption, label string) {
	for _, a := range assumed {
		k.op("MOVWU %d(R%d), R%d", 4*a.Scalar, scalars, address)
		if a.Cond == rule.IsPositive {
			k.op("CMPW $0, R%d", address)
			k.op("BLE %s", label)
			continue
		}
		k.op("CMPW $0x%x, R%d", a.Bits, address)
		k.op("BNE %s", label)
	}
}

// fetchAhead prints the prefetch of the buffers of a tensor some tensors ahead: the
// processor, which looks for long streams, finds none in small ones.
func (k *kernel) fetchAhead() {
	if k.Long() {
		return
	}
	k.op("CMP $%d, R%d", tune.FetchAhead*len(k.Buffers), rows)
	k.op("BLE %snear", k.label)
	for j := range k.Buffers {
		k.op("MOVD %d(R%d), R%d", 24*(tune.FetchAhead*len(k.Buffers)+j), entry, address)
		for line := range tune.FetchLines {
			k.op("PRFM %d(R%d), PLDL1KEEP", 64*line, address)
		}
	}
	k.line("\n%snear:", k.label)
}

// pointerTo is the pointer to a buffer, to that of a row if it is a matrix.
func (k *kernel) pointerTo(buffer, row int) int {
	if row > 0 && k.Buffers[buffer].Shape == rule.Matrix {
		return pointer(k.further[buffer] + row - 1)
	}
	return pointer(buffer)
}

// scaledLoop prints a main loop for what the rule comes to but for the gradient's
// factor, in the registers of the whole rule.
func (k *kernel) scaledLoop(r *rule.Rule) {
	k.op("CBZ R%d, scaledno", scaled)
	loop := &kernel{allocation: k.specialized(r), plan: k.plan, lanes: k.lanes, sums: k.sums, stepped: map[int]bool{}, rows: 1, label: "scaled"}
	loop.mainLoop()
	k.WriteString(loop.String())
	k.short = k.short || loop.short
	k.line("\nscaledno:")
}

// mainLoop prints the loop with the most elements in an iteration.
func (k *kernel) mainLoop() {
	if main := k.main(); main != stages[0] {
		k.loop(main)
	}
}

// main is the stage of the main loop.
func (k *kernel) main() stage {
	main := stage{16, "FMOVQ", 16, k.wide}
	switch {
	case k.Long():
		main.elements = 4 * main.vectors
	case len(k.lanes) > 0:
		main.elements = rule.Lanes
	}
	return main
}

// columns prints the loops over the columns of a matrix.
func (k *kernel) columns() {
	k.mainLoop()
	for _, s := range stages {
		k.loop(s)
	}
}

func (k *kernel) line(format string, a ...any)   { fmt.Fprintf(k, format+"\n", a...) }
func (k *kernel) op(format string, a ...any)     { k.line("\t"+format, a...) }
func (k *kernel) word(in *inst, operands ...int) { k.op("%s", in.word(operands...)) }

// data prints the constants, each as a vector.
func (k *kernel) data() {
	for slot, id := range k.slots {
		for half := range 2 {
			k.line("DATA constants<>+%d(SB)/8, $0x%08[2]x%08[2]x", 16*slot+8*half, k.Nodes[id].Imm)
		}
	}
	if len(k.slots) > 0 {
		k.line("GLOBL constants<>(SB), RODATA|NOPTR, $%d\n", 16*len(k.slots))
	}
}

// begin prints what comes before the first parameter is loaded.
func (k *kernel) begin(frame int) {
	k.line("//go:build !purego && !noasm\n\n#include \"textflag.h\"\n")
	k.data()
	for line := range strings.Lines(strings.TrimLeft(k.Doc, "\n")) {
		k.line("//%s", strings.TrimRight(line, "\n"))
	}
	k.line("//\n// func %s(%s)", k.Name, k.Params(k.scalarsType()))
	k.line("// Requires: ASIMD")
	k.line("TEXT ·%s(SB), NOSPLIT, $%d-%d", k.Name, frame, k.size())
}

// size is that of the parameters, of which the buffers come first.
func (k *kernel) size() int {
	size := k.buffersSize() + 8*len(k.Reductions)
	if len(k.Scalars) > 0 {
		size += 8
	}
	return size
}

func (k *kernel) buffersSize() int {
	if k.IsMatrix() {
		return 24 * len(k.Buffers)
	}
	return 24
}

// params prints the loads of the parameters but the buffers.
func (k *kernel) params() {
	at := k.buffersSize()
	if len(k.Scalars) > 0 {
		k.op("MOVD c+%d(FP), R%d", at, scalars)
		at += 8
	}
	if len(k.slots) > 0 {
		k.op("MOVD $constants<>(SB), R%d", constants)
	}
	for j, d := range k.Reductions {
		k.op("MOVD %s+%d(FP), R%d", d.Name, at+8*j, pointer(len(k.Buffers)+j))
	}
}

// beginMatrix prints what comes before the rows.
func (k *kernel) beginMatrix(frame int) {
	k.params()
	for id, e := range k.Effects {
		if e.Reduce && e.Kind == rule.Fold {
			k.op("MOVD $lanes%d-%d(SP), R%d", id, frame, k.lanes[id])
			frame -= 4 * rule.Lanes * k.side
		}
	}
	k.point(rule.Matrix, rule.PerRow)
	k.hold(false)
}

// beginList prints what comes before the tensors of a list.
func (k *kernel) beginList() {
	k.params()
	k.op("MOVD %s_base+0(FP), R%d", rule.List, entry)
	k.op("MOVD %s_len+8(FP), R%d", rule.List, rows)
	k.op("CBZ R%d, done", rows)
}

// point prints the loads of the pointers to the buffers of these shapes.
func (k *kernel) point(shapes ...rule.Shape) {
	for j, b := range k.Buffers {
		if slices.Contains(shapes, b.Shape) {
			k.op("MOVD %s_base+%d(FP), R%d", b.Name, 24*j, pointer(j))
		}
	}
}

// length prints the load of the length of the buffers of a shape.
func (k *kernel) length(s rule.Shape, register int) {
	first := k.First(s)
	k.op("MOVD %s_len+%d(FP), R%d", k.Buffers[first].Name, 24*first+8, register)
}

// allRows prints the loops over the rows: some side by side, then one by one.
func (k *kernel) allRows() {
	k.length(rule.PerRow, rows)
	sides := []int{k.side, 1}
	for _, side := range slices.Compact(sides) {
		k.rows, k.label = side, fmt.Sprintf("rows%d", side)
		k.op("SUBS $%d, R%d, R%d", side, rows, rows)
		k.op("BLT %srest", k.label)
		k.line("\n%s:", k.label)
		k.oneRow()
		for j, b := range k.Buffers {
			switch last := k.pointerTo(j, side-1); {
			case b.Shape == rule.PerRow:
				k.op("ADD $%d, R%d, R%d", 4*side, pointer(j), pointer(j))
			case last != pointer(j): // it is at the row's end, where the next begins
				k.op("MOVD R%d, R%d", last, pointer(j))
			}
		}
		k.op("SUBS $%d, R%d, R%d", side, rows, rows)
		k.op("BGE %s", k.label)
		k.line("\n%srest:", k.label)
		if side > 1 {
			k.op("ADD $%d, R%d, R%d", side, rows, rows)
		}
	}
	k.op("RET")
	k.rows, k.label = 1, ""
}

// oneRow prints what is done for a row, or some side by side.
func (k *kernel) oneRow() {
	k.point(rule.Stream)
	k.hold(true)
	k.length(rule.Stream, left)
	for j, b := range k.Buffers {
		for row := 1; row < k.rows && b.Shape == rule.Matrix; row++ {
			k.op("ADD R%d<<2, R%d, R%d", left, k.pointerTo(j, row-1), k.pointerTo(j, row))
		}
	}
	if len(k.lanes) > 0 {
		k.op("MOVD $0, R%d", lane)
	}
	k.zeroFolds()
	k.columns()
	for id, e := range k.Effects {
		for row := 0; row < k.rows && e.Reduce && e.Kind == rule.Fold; row++ {
			k.fold(sumOf{id, row}, fmt.Sprintf("%d(R%d)", 4*row, pointer(e.To)))
		}
	}
}

func (k *kernel) scalarsType() string { return fmt.Sprintf("*[%d]float32", len(k.Scalars)) }

// hold fetches those invariants that stay in registers and depend on the row, or
// do not: first what is loaded, then what is computed from it.
func (k *kernel) hold(perRow bool) {
	k.vectors = 1
	for _, loaded := range []bool{true, false} {
		for _, v := range k.invariants {
			if k.held[v] && v.row < k.rows && k.varies[v.node] == perRow && loaded == (k.Nodes[v.node].Op.Operands() == 0) {
				k.fetch(v)
				k.release(moment{step: -2})
			}
		}
	}
}

// loop prints a stage. One over all lanes keeps them in registers: it starts at
// lane 0, so that each of its moves has the same lanes every time.
func (k *kernel) loop(s stage) {
	k.op("SUBS $%d, R%d, R%d", s.elements, left, left)
	k.op("BLT %srest%d", k.label, s.elements)
	if s.elements == rule.Lanes {
		k.loadSums()
	}
	k.line("\n%sloop%d:", k.label, s.elements)
	k.vectors = s.vectors
	clear(k.stepped)
	for first := 0; first < s.elements; first += s.vectors * s.bytes / 4 {
		k.body(s, first)
	}
	k.op("SUBS $%d, R%d, R%d", s.elements, left, left)
	k.op("BGE %sloop%d", k.label, s.elements)
	if s.elements == rule.Lanes {
		k.storeSums()
	}
	k.line("\n%srest%d:", k.label, s.elements)
	if s.elements > 1 {
		k.op("ADD $%d, R%d, R%d", s.elements, left, left)
	}
}
