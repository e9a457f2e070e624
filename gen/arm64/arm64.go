// Package arm64 lowers rules to NEON. Go's assembler lacks most vector float
// instructions and avo is x86 only, so this package prints assembly itself.
//
// Multiplication and addition are never fused, and a maximum is a comparison
// and a choice: FMLA rounds once for two operations, and FMAX differs from the
// language on NaN and zeros.
package arm64

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/rule"
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

// A stage is a loop over so many elements, bytes/4 of them in one move. The
// last elements go one by one through the same instructions as the others:
// FMOVS clears the lanes above it, and ignores them in a store.
type stage struct {
	elements int
	move     string
	bytes    int
}

// A stage before these with a multiple of four elements is a loop unrolled.
var stages = []stage{{4, "FMOVQ", 16}, {1, "FMOVS", 4}}

// A kernel is a rule on its way to assembly.
type kernel struct {
	strings.Builder
	*rule.Rule
	allocation
	walked []int         // by buffer, the last step that moves an element of it
	lanes  map[int]int   // by effect, the pointer to the lanes of a reduction
	sums   map[int][]int // by effect, the lanes themselves while they are in registers
}

// Emit returns the assembly of r. It is tried with everything in registers,
// then with the lanes of the reductions in memory, then with ever more of the
// invariants in memory too.
func Emit(r *rule.Rule) []byte {
	if k := lower(r, len(r.Nodes), true); !k.short {
		return []byte(k.String())
	}
	for held := registers; held >= 0; held-- {
		if k := lower(r, held, false); !k.short {
			return []byte(k.String())
		}
	}
	panic("arm64: " + r.Name + " needs more than 32 registers")
}

// lower prints the kernel. The text is of no use if the allocation came out
// short.
func lower(r *rule.Rule, held int, sums bool) *kernel {
	k := &kernel{
		Rule:       r,
		allocation: allocate(r, held),
		walked:     make([]int, len(r.Buffers)),
		lanes:      map[int]int{},
		sums:       map[int][]int{},
	}
	folds := 0
	for s, step := range k.steps {
		if !step.IsEffect {
			if n := r.Nodes[step.ID]; n.Op == rule.Load {
				k.walked[n.X] = s
			}
			continue
		}
		switch e := r.Effects[step.ID]; {
		case !e.Reduce && r.Buffers[e.To].Shape == rule.PerRow:
			panic("arm64: " + r.Name + " stores every column to " + r.Buffers[e.To].Name)
		case !e.Reduce:
			k.walked[e.To] = s
		case e.Kind == rule.Fold:
			k.lanes[step.ID] = pointer(len(r.Buffers) + len(r.Reductions) + folds)
			folds++
		default:
			k.lanes[step.ID] = pointer(len(r.Buffers) + e.To)
		}
	}
	k.line("//go:build !purego && !noasm\n\n#include \"textflag.h\"\n")
	k.data()
	k.enter(4 * rule.Lanes * folds)
	k.columns(sums)
	k.leave()
	if r.IsStep() {
		k.enterMany()
		k.columns(false)
		k.leaveMany()
	}
	return k
}

// longBody is the number of steps beyond which a vector is work enough for an
// iteration.
const longBody = 48

// columns prints the loops over the columns.
func (k *kernel) columns(sums bool) {
	switch {
	case len(k.lanes) > 0 && sums:
		k.loop(stage{rule.Lanes, "FMOVQ", 16})
	case len(k.lanes) == 0 && len(k.steps) <= longBody:
		k.loop(stage{16, "FMOVQ", 16})
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

// enter prints what comes before the loops over the columns.
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
	point := func(shapes ...rule.Shape) {
		for j, b := range k.Buffers {
			if slices.Contains(shapes, b.Shape) {
				k.op("MOVD %s_base+%d(FP), R%d", b.Name, 24*j, pointer(j))
			}
		}
	}
	count := func(s rule.Shape, register int) {
		first := k.First(s)
		k.op("MOVD %s_len+%d(FP), R%d", k.Buffers[first].Name, 24*first+8, register)
	}
	point(rule.Matrix, rule.PerRow)
	k.hold(rule.Const, rule.Scalar)
	if k.First(rule.PerRow) >= 0 {
		count(rule.PerRow, rows)
		k.op("CBZ R%d, done", rows)
		k.line("\nrow:")
	}
	point(rule.Stream)
	k.hold(rule.Load)
	count(rule.Stream, left)
	if len(k.lanes) > 0 {
		k.op("MOVD $0, R%d", lane)
	}
	for id, e := range k.Effects {
		if e.Reduce && e.Kind == rule.Fold {
			k.op("MOVD $lanes%d-%d(SP), R%d", id, frame, k.lanes[id])
			frame -= 4 * rule.Lanes
			for j := 0; j < 4*rule.Lanes; j += 16 {
				k.op("STP (ZR, ZR), %d(R%d)", j, k.lanes[id])
			}
		}
	}
}

func (k *kernel) scalarsType() string { return fmt.Sprintf("*[%d]float32", len(k.Scalars)) }

// hold fetches those invariants that stay in registers and are one of the ops.
func (k *kernel) hold(ops ...rule.Op) {
	for _, id := range k.invariants {
		if k.held[id] && slices.Contains(ops, k.Nodes[id].Op) {
			k.fetch(id)
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
	k.hold(rule.Const, rule.Scalar)
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
	k.op("BLT rest%d", s.elements)
	if s.elements == rule.Lanes {
		k.eachSum(func(id, q int) {
			k.sums[id] = append(k.sums[id], k.take())
			k.op("FMOVQ %d(R%d), F%d", 16*q, k.lanes[id], k.sums[id][q])
		})
	}
	k.line("\nloop%d:", s.elements)
	for first := 0; first < s.elements; first += s.bytes / 4 {
		k.body(s, first)
	}
	k.op("SUBS $%d, R%d, R%d", s.elements, left, left)
	k.op("BGE loop%d", s.elements)
	if s.elements == rule.Lanes {
		k.eachSum(func(id, q int) {
			k.op("FMOVQ F%d, %d(R%d)", k.sums[id][q], 16*q, k.lanes[id])
			k.give(k.sums[id][q])
		})
		clear(k.sums)
	}
	k.line("\nrest%d:", s.elements)
	if s.elements > 1 {
		k.op("ADD $%d, R%d, R%d", s.elements, left, left)
	}
}

// leave prints what comes after the loops.
func (k *kernel) leave() {
	for id, e := range k.Effects {
		if e.Reduce && e.Kind == rule.Fold {
			k.fold(k.lanes[id], pointer(e.To))
		}
	}
	if k.First(rule.PerRow) >= 0 {
		for j, b := range k.Buffers {
			if b.Shape == rule.PerRow {
				k.op("ADD $4, R%d, R%d", pointer(j), pointer(j))
			}
		}
		k.op("SUBS $1, R%d, R%d", rows, rows)
		k.op("BNE row")
		k.line("\ndone:")
	}
	k.op("RET")
}
