// Package arm64 lowers rules to NEON. Go's assembler lacks most vector float
// instructions and avo is x86 only, so this package prints assembly itself.
//
// Multiplication and addition are not fused, but where the product is exact, and
// a maximum is a comparison and a choice: FMLA rounds once for two operations,
// and FMAX differs from the language on NaN and zeros.
package arm64

import (
	"fmt"
	"maps"
	"slices"
	"strings"

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
	rows
	pointers
)

func pointer(k int) int {
	p := pointers + k
	if p >= 18 {
		p++
	}
	if p > 25 {
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
	if len(r.Schedule()) > tune.LongBody {
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

// Emit returns the assembly of r: of all plans, each with as many invariants in
// registers as there is room for, the one with the fewest instructions in the
// main loop.
func Emit(r *rule.Rule) []byte {
	var best *kernel
	var least float64
	for _, p := range plans(r) {
		for p.resident = registers; p.resident >= 0; p.resident-- {
			k := lower(r, p)
			if k.short {
				continue
			}
			if n := count(k.String(), "").Total(); best == nil || n < least {
				best, least = k, n
			}
			break
		}
	}
	if best == nil {
		panic("arm64: " + r.Name + " needs more than 32 registers")
	}
	return []byte(best.String())
}

// lower prints the kernel. The text is of no use if the allocation came out
// short.
func lower(r *rule.Rule, p plan) *kernel {
	k := &kernel{
		allocation: allocate(r, p.resident, p.side),
		plan:       p,
		lanes:      map[int]int{},
		sums:       map[sumOf][]int{},
		further:    map[int]int{},
		stepped:    map[int]bool{},
		rows:       1,
	}
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
	k.line("//go:build !purego && !noasm\n\n#include \"textflag.h\"\n")
	k.data()
	k.enter(4 * rule.Lanes * folds * p.side)
	if k.First(rule.PerRow) < 0 {
		k.oneRow()
		k.op("RET")
	} else {
		k.allRows()
	}
	if r.IsStep() {
		k.enterMany()
		k.columns()
		k.leaveMany()
	}
	return k
}

// pointerTo is the pointer to a buffer, to that of a row if it is a matrix.
func (k *kernel) pointerTo(buffer, row int) int {
	if row > 0 && k.Buffers[buffer].Shape == rule.Matrix {
		return pointer(k.further[buffer] + row - 1)
	}
	return pointer(buffer)
}

// shorter prints main loops for what the rule comes to where scalars have their
// usual values. The invariants are then in other registers, and fetched again.
func (k *kernel) shorter() {
	list := k.Shorter()
	if len(list) == 0 {
		return
	}
	main := stage{16, "FMOVQ", 16, k.wide}
	k.op("CMP $%d, R%d", main.elements, left)
	k.op("BLT general")
	next := "general"
	for _, s := range list {
		for _, slot := range slices.Sorted(maps.Keys(s.When)) {
			k.op("MOVWU %d(R%d), R%d", 4*slot, scalars, address)
			k.op("CMPW $0x%x, R%d", s.When[slot], address)
			k.op("BNE %s", next)
		}
		next = s.Label()
	}
	for _, s := range slices.Backward(list) {
		k.line("\n%s:", s.Label())
		k.WriteString(k.shorterLoop(s, main))
		k.hold(false)
		k.op("JMP general")
	}
	k.line("\ngeneral:")
}

// shorterLoop is such a loop, with as many invariants in registers as there is
// room for.
func (k *kernel) shorterLoop(s rule.Shorter, main stage) string {
	for held := registers; held >= 0; held-- {
		loop := &kernel{allocation: allocate(s.Rule, held, 1), plan: k.plan, stepped: map[int]bool{}, rows: 1, label: s.Label()}
		loop.slots = k.slots
		loop.hold(false)
		loop.loop(main)
		if !loop.short {
			return loop.String()
		}
	}
	panic("arm64: " + k.Name + " needs more than 32 registers")
}

// columns prints the loops over the columns.
func (k *kernel) columns() {
	main := stage{16, "FMOVQ", 16, k.wide}
	switch {
	case len(k.steps) > tune.LongBody:
		main.elements = 4 * main.vectors
	case len(k.lanes) > 0:
		main.elements = rule.Lanes
	}
	if main != stages[0] {
		k.loop(main)
	}
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

// enter prints what comes before the rows.
func (k *kernel) enter(frame int) {
	c := 24 * len(k.Buffers)
	reductions := c
	if len(k.Scalars) > 0 {
		reductions += 8
	}
	k.line("// func %s(%s)", k.Name, k.Params(k.scalarsType()))
	k.line("// Requires: ASIMD")
	k.line("TEXT ·%s(SB), NOSPLIT, $%d-%d", k.Name, frame, reductions+8*len(k.Reductions))
	if len(k.Scalars) > 0 {
		k.op("MOVD c+%d(FP), R%d", c, scalars)
	}
	if len(k.slots) > 0 {
		k.op("MOVD $constants<>(SB), R%d", constants)
	}
	for j, d := range k.Reductions {
		k.op("MOVD %s+%d(FP), R%d", d.Name, reductions+8*j, pointer(len(k.Buffers)+j))
	}
	for id, e := range k.Effects {
		if e.Reduce && e.Kind == rule.Fold {
			k.op("MOVD $lanes%d-%d(SP), R%d", id, frame, k.lanes[id])
			frame -= 4 * rule.Lanes * k.side
		}
	}
	k.point(rule.Matrix, rule.PerRow)
	k.hold(false)
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
	} else {
		k.shorter()
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

// entry is where a list of tensors goes on: its kernels have no lanes.
const entry = lane

// enterMany prints what comes before the loops over the columns of a tensor in a
// list.
func (k *kernel) enterMany() {
	k.line("\n// func %s(%s)", k.Name+rule.Many, k.ManyParams(k.scalarsType()))
	k.line("// Requires: ASIMD")
	k.line("TEXT ·%s(SB), NOSPLIT, $0-32", k.Name+rule.Many)
	k.op("MOVD c+24(FP), R%d", scalars)
	if len(k.slots) > 0 {
		k.op("MOVD $constants<>(SB), R%d", constants)
	}
	k.hold(false)
	k.op("MOVD %s_base+0(FP), R%d", rule.List, entry)
	k.op("MOVD %s_len+8(FP), R%d", rule.List, rows)
	k.op("CBZ R%d, done", rows)
	k.line("\nrow:")
	k.op("MOVD 8(R%d), R%d", entry, left)
	for j := range k.Buffers {
		k.op("MOVD %d(R%d), R%d", 24*j, entry, pointer(j))
	}
}

// leaveMany prints what comes after them.
func (k *kernel) leaveMany() {
	k.op("ADD $%d, R%d, R%d", 24*len(k.Buffers), entry, entry)
	k.op("SUBS $%d, R%d, R%d", len(k.Buffers), rows, rows)
	k.op("BNE row")
	k.line("\ndone:")
	k.op("RET")
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
