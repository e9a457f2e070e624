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
	all := len(r.Nodes)
	if k := lower(r, all, true); !k.short {
		return []byte(k.String())
	}
	for held := min(all, registers); held >= 0; held-- {
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
	k.constants()
	k.enter(4 * rule.Lanes * folds)
	if len(k.lanes) > 0 && sums {
		k.loop(stage{rule.Lanes, "FMOVQ", 16})
	}
	for _, s := range stages {
		k.loop(s)
	}
	k.leave()
	return k
}

func (k *kernel) line(format string, a ...any)   { fmt.Fprintf(k, format+"\n", a...) }
func (k *kernel) op(format string, a ...any)     { k.line("\t"+format, a...) }
func (k *kernel) word(in *inst, operands ...int) { k.op("%s", in.word(operands...)) }

// constants prints the constants, each as a vector.
func (k *kernel) constants() {
	for slot, id := range k.slots {
		for half := range 2 {
			k.line("DATA constants<>+%d(SB)/8, $0x%08[2]x%08[2]x", 16*slot+8*half, k.Nodes[id].Imm)
		}
	}
	if len(k.slots) > 0 {
		k.line("GLOBL constants<>(SB), RODATA|NOPTR, $%d\n", 16*len(k.slots))
	}
}

// enter prints everything before the loops over the columns.
func (k *kernel) enter(frame int) {
	c := 24 * len(k.Buffers)
	reductions := c
	if len(k.Scalars) > 0 {
		reductions += 8
	}
	k.line("// func %s(%s)", k.Name, k.Params(fmt.Sprintf("*[%d]float32", len(k.Scalars))))
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
	base := func(perRow bool) {
		for j, b := range k.Buffers {
			if perRow == (b.Shape != rule.Stream) {
				k.op("MOVD %s_base+%d(FP), R%d", b.Name, 24*j, pointer(j))
			}
		}
	}
	fetch := func(perRow bool) {
		for _, id := range k.invariants {
			if perRow == (k.Nodes[id].Op == rule.Load) && k.held[id] {
				k.fetch(id)
			}
		}
	}
	base(true)
	fetch(false)
	if first := k.First(rule.PerRow); first >= 0 {
		k.op("MOVD %s_len+%d(FP), R%d", k.Buffers[first].Name, 24*first+8, rows)
		k.op("CBZ R%d, done", rows)
		k.line("\nrow:")
	}
	base(false)
	fetch(true)
	first := k.First(rule.Stream)
	k.op("MOVD %s_len+%d(FP), R%d", k.Buffers[first].Name, 24*first+8, left)
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

// loop prints a stage. One over all lanes keeps them in registers.
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

// eachSum calls do for each vector of the lanes of each reduction.
func (k *kernel) eachSum(do func(id, q int)) {
	for id, e := range k.Effects {
		if e.Reduce {
			for q := range rule.Lanes * laneBytes(e) / 16 {
				do(id, q)
			}
		}
	}
}

func laneBytes(e rule.Effect) int {
	if e.Kind == rule.Sum || e.Kind == rule.Dot {
		return 8
	}
	return 4
}

// leave prints everything after the loops.
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

// fold stores the sum of the lanes at from.
func (k *kernel) fold(from, to int) {
	var v [rule.Lanes / 4]int
	for q := range v {
		v[q] = k.take()
		k.op("FMOVQ %d(R%d), F%d", 16*q, from, v[q])
	}
	for half := len(v) / 2; half > 0; half /= 2 {
		for q := range half {
			k.word(fadd, v[q], v[q], v[q+half])
		}
	}
	for _, half := range []int{8, 4} {
		k.op("VEXT $%d, V%d.B16, V%d.B16, V%d.B16", half, v[0], v[0], v[1])
		k.word(fadd, v[0], v[0], v[1])
	}
	k.op("FMOVS F%d, (R%d)", v[0], to)
	k.give(v[:]...)
}

// body prints the schedule for one move of each buffer, the elements from first
// on of a stage.
func (k *kernel) body(s stage, first int) {
	for at, step := range k.steps {
		if !step.IsEffect && slices.Contains(k.invariants, step.ID) {
			continue
		}
		reads := k.ReadsOf(step)
		v := make([]int, len(reads))
		for i, id := range reads {
			if _, ok := k.reg[id]; !ok {
				k.reg[id] = k.take()
				k.fetch(id)
			}
			v[i] = k.reg[id]
		}
		switch {
		case !step.IsEffect:
			k.compute(at, step.ID, v, s)
			continue
		case k.Effects[step.ID].Reduce:
			k.reduce(step.ID, v, s, first)
		default:
			suffix, element := k.element(at, k.Effects[step.ID].To, s)
			k.op("%s F%d, %s", s.move+suffix, v[0], element)
		}
		k.release(at)
	}
	if len(k.lanes) > 0 && s.elements != rule.Lanes {
		k.op("ADD $%d, R%d, R%d", s.bytes/4, lane, lane)
		k.op("AND $%d, R%d, R%d", rule.Lanes-1, lane, lane)
	}
}

// element is the operand of a move, which steps on to the next element when it
// is the last of this one.
func (k *kernel) element(at, buffer int, s stage) (suffix, operand string) {
	if k.walked[buffer] == at {
		return ".P", fmt.Sprintf("%d(R%d)", s.bytes, pointer(buffer))
	}
	return "", fmt.Sprintf("(R%d)", pointer(buffer))
}

// fetch prints the load of an invariant.
func (k *kernel) fetch(id int) {
	n, v := k.Nodes[id], k.reg[id]
	switch n.Op {
	case rule.Const:
		k.op("FMOVQ %d(R%d), F%d", 16*slices.Index(k.slots, id), constants, v)
		return
	case rule.Scalar:
		k.op("FMOVS %d(R%d), F%d", 4*n.X, scalars, v)
	case rule.Load:
		k.op("FMOVS (R%d), F%d", pointer(n.X), v)
	}
	k.op("VDUP V%d.S[0], V%d.S4", v, v)
}

// direct are the operations that are one instruction.
var direct = map[rule.Op]*inst{
	rule.Add: fadd, rule.Sub: fsub, rule.Mul: fmul, rule.Div: fdiv, rule.Sqrt: fsqrt,
	rule.Abs: fabs, rule.Neg: fneg, rule.Equal: fcmeq, rule.FromInt: scvtf,
	rule.And: and, rule.Or: orr, rule.Xor: eor, rule.AddInt: add, rule.SubInt: sub,
	rule.ShiftLeft: shl, rule.ShiftRight: ushr, rule.ShiftArith: sshr,
}

// compute prints node id, whose operands are in v.
func (k *kernel) compute(at, id int, v []int, s stage) {
	n := k.Nodes[id]
	var d int
	switch {
	case n.Op == rule.Select && k.last[n.X] == at:
		d = v[0]
		delete(k.reg, n.X)
		k.release(at)
	case n.Op == rule.Select, n.Op == rule.Max, n.Op == rule.Min, n.Op == rule.Flush:
		// These write their result before they have read all operands.
		d = k.take()
		k.release(at)
	default:
		k.release(at)
		d = k.take()
	}
	k.reg[id] = d
	switch n.Op {
	case rule.Load:
		suffix, element := k.element(at, n.X, s)
		k.op("%s %s, F%d", s.move+suffix, element, d)
	case rule.Less:
		k.word(fcmgt, d, v[1], v[0])
	case rule.LessEqual:
		k.word(fcmge, d, v[1], v[0])
	case rule.Max:
		k.word(fcmgt, d, v[0], v[1])
		k.word(bsl, d, v[0], v[1])
	case rule.Min:
		k.word(fcmgt, d, v[1], v[0])
		k.word(bsl, d, v[0], v[1])
	case rule.Select:
		if d != v[0] {
			k.word(orr, d, v[0], v[0])
		}
		k.word(bsl, d, v[1], v[2])
	case rule.Flush:
		k.word(cmtst, d, v[0], v[1])
		k.word(and, d, d, v[0])
	case rule.ShiftLeft, rule.ShiftRight, rule.ShiftArith:
		k.word(direct[n.Op], d, v[0], int(n.Imm))
	default:
		k.word(direct[n.Op], append([]int{d}, v...)...)
	}
}

// reduce prints a reduction of the elements in v.
func (k *kernel) reduce(id int, v []int, s stage, first int) {
	e := k.Effects[id]
	size := laneBytes(e)
	if k.sums[id] == nil {
		k.op("ADD R%d<<%d, R%d, R%d", lane, size/4+1, k.lanes[id], address)
	}
	t := k.take()
	switch e.Kind {
	case rule.MaxAbs:
		k.word(fabs, t, v[0])
		k.accumulate(id, s.move, size*first, 0, func(sum int) {
			mask := k.take()
			k.word(fcmgt, mask, t, sum)
			k.word(bit, sum, t, mask)
			k.give(mask)
		})
	case rule.Fold:
		k.accumulate(id, s.move, size*first, 0, func(sum int) { k.word(fadd, sum, sum, v[0]) })
	default:
		halves, move := []*inst{fcvtl, fcvtl2}, s.move
		if s.bytes == 4 {
			halves, move = halves[:1], "FMOVD"
		}
		for half, widen := range halves {
			k.word(widen, t, v[0])
			if e.Kind == rule.Dot {
				y := k.take()
				k.word(widen, y, v[1])
				k.word(fmuld, t, t, y)
				k.give(y)
			}
			k.accumulate(id, move, size*first, 16*half, func(sum int) { k.word(faddd, sum, sum, t) })
		}
	}
	k.give(t)
}

// accumulate has change applied to the lanes at offset, which are those of the
// element at first.
func (k *kernel) accumulate(id int, move string, first, offset int, change func(sum int)) {
	if sums := k.sums[id]; sums != nil {
		change(sums[(first+offset)/16])
		return
	}
	sum := k.take()
	k.op("%s %d(R%d), F%d", move, offset, address, sum)
	change(sum)
	k.op("%s F%d, %d(R%d)", move, sum, offset, address)
	k.give(sum)
}
