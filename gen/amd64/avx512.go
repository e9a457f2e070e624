package amd64

import (
	"maps"
	"slices"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AVX512 has 32 registers of 16 lanes and eight mask registers.
var AVX512 = ISA{
	machine: loop.Machine{Lanes: 16, Wide: 4, Rows: 4, Phases: true, Masks: true, Signs: true,
		Helpers: map[rule.Op][]uint32{rule.Flush: {minusZero}}},
	registers: 32,
	vector:    func(e *emitter) reg.VecVirtual { return e.ZMM() },
	mask:      func(e *emitter) reg.Register { return e.K() },
	first: func(e *emitter, left reg.GPVirtual, part reg.Register) {
		bits := e.GP32()
		e.MOVL(operand.U32(0xffff), bits)
		e.BZHIL(left.As32(), bits, bits)
		e.KMOVW(bits, part)
	},
	only: func(e *emitter, part reg.Register, x, dst reg.VecVirtual) { e.VMOVAPS_Z(x, part, dst) },
	load: [types]func(*emitter, operand.Mem, loop.Reg, reg.VecVirtual){
		rule.F32: func(e *emitter, m operand.Mem, part loop.Reg, dst reg.VecVirtual) {
			if part.Kind == loop.None {
				e.VMOVUPS(m, dst)
			} else {
				e.VMOVUPS_Z(m, e.register(part), dst)
			}
		},
		rule.BF16: func(e *emitter, m operand.Mem, part loop.Reg, dst reg.VecVirtual) {
			if part.Kind == loop.None {
				e.VPMOVZXWD(m, dst)
			} else {
				e.VPMOVZXWD_Z(m, e.register(part), dst)
			}
			e.VPSLLD(operand.U8(16), dst, dst)
		},
		rule.F16: func(e *emitter, m operand.Mem, part loop.Reg, dst reg.VecVirtual) {
			if part.Kind == loop.None {
				e.VCVTPH2PS(m, dst)
			} else {
				e.VCVTPH2PS_Z(m, e.register(part), dst)
			}
		},
	},
	store: [types]func(*emitter, reg.VecVirtual, loop.Reg, operand.Mem){
		rule.F32: func(e *emitter, x reg.VecVirtual, part loop.Reg, m operand.Mem) {
			if part.Kind == loop.None {
				e.VMOVUPS(x, m)
			} else {
				e.VMOVUPS(x, e.register(part), m)
			}
		},
		rule.BF16: func(e *emitter, x reg.VecVirtual, part loop.Reg, m operand.Mem) {
			upper := e.ZMM()
			if part.Kind == loop.None {
				e.VPERMW(x, e.upper, upper)
				e.VMOVUPS(upper.AsY(), m)
				return
			}
			e.VPSRLD(operand.U8(16), x, upper)
			e.VPMOVDW(upper, e.register(part), m)
		},
		rule.F16: func(e *emitter, x reg.VecVirtual, part loop.Reg, m operand.Mem) {
			if part.Kind == loop.None {
				e.VCVTPS2PH(nearestEven, x, m)
			} else {
				e.VCVTPS2PH(nearestEven, x, e.register(part), m)
			}
		},
	},
	lower: func(e *emitter, n rule.Node, x reg.Register, y operand.Op, z, dst reg.Register) {
		switch n.Op {
		case rule.Less, rule.LessEqual, rule.Equal:
			e.VCMPPS(predicate(n.Op), y, x, dst)
		case rule.Select:
			// avo takes the destination of VBLENDMPS for an input.
			e.VMOVAPS(z, dst)
			e.VMOVAPS(y, x, dst)
		case rule.Flush:
			// A sum with -0 is the number itself; where products are what fills the
			// CPU's pipes, those of sums have room for it, which moves are not sure to
			// be given.
			keep := e.K()
			e.VPTESTMD(y, x, keep)
			e.VADDPS_Z(e.helpers[minusZero], x, keep, dst)
		default:
			lower(e, n, x, y, dst)
		}
	},
	widen: func(e *emitter, x reg.VecVirtual, half int, dst reg.VecVirtual) {
		part := x.AsY()
		if half > 0 {
			upper := e.YMM()
			e.VEXTRACTF64X4(operand.U8(1), x, upper)
			part = upper
		}
		e.VCVTPS2PD(part, dst)
	},
	addProduct: func(e *emitter, x, y, sum reg.VecVirtual) { e.VFMADD231PD(y, x, sum) },
	fuse:       fuse512,
}

// findUpper has the places of the upper halves of words in a register, for a rule that stores them:
// on Zen 4 to move them is a fifth faster than to shift and to narrow words.
func (e *emitter) findUpper(r *rule.Rule) {
	stores := false
	for k, b := range r.Buffers {
		stores = stores || b.Type == rule.BF16 && r.Stores(k)
	}
	if !stores {
		return
	}
	var places [16]uint32
	for k := range uint32(16) {
		places[k/2] |= (2*k + 1) << (16 * (k % 2))
	}
	e.upper = e.ZMM()
	e.VMOVUPS(e.data("upper", places[:]), e.upper)
}

// fuse512 flushes as it loads, squares as it flushes, adds integers as it selects the sum or one
// of them, and does what is selected or else is 0 under the selection's mask: a mask costs nothing there.
// A conjunction for a disjunction alone is one operation with it, and so the other way around.
func fuse512(e *emitter, k int, in loop.Inst) bool {
	insts := e.p.Insts
	if e.isKept(k) || e.isJoined(k) {
		e.late[k] = true
		return true
	}
	if in.Op == loop.Compute && in.Node.Op == rule.Select && e.isLate(in.Y) && keeps(insts[e.set[in.Y]].Node.Op) {
		e.kept(insts[e.set[in.Y]], e.register(in.X), e.register(in.Dst))
		return true
	}
	if in.Op == loop.Compute && (in.Node.Op == rule.Or || in.Node.Op == rule.And) {
		for _, x := range in.Reads() {
			if j, ok := e.joined[e.set[x]]; ok && e.isLate(x) {
				e.registers[in.Dst] = e.register(j.dst)
				e.VPTERNLOGD(operand.U8(j.table), e.register(j.y), e.register(j.x), e.register(j.dst))
				return true
			}
		}
	}
	if e.isFlushed(k) || e.isSquared(k) || e.isSelectedSum(k) {
		e.late[k] = true
		return true
	}
	if in.Op == loop.Compute && in.Node.Op == rule.Select && e.late[e.set[in.Y]] && isSum(insts[e.set[in.Y]]) {
		sum, dst := insts[e.set[in.Y]], e.register(in.Dst)
		e.VMOVAPS(e.register(in.Z), dst)
		e.VPADDD(e.register(sum.Y), e.register(sum.X), e.register(in.X), dst)
		return true
	}
	if in.Op != loop.Compute || !e.late[e.set[in.X]] || !isFlush(in) && !isFlush(insts[e.set[in.X]]) {
		return false
	}
	keep, dst := e.K(), e.vector(in.Dst)
	switch from := insts[e.set[in.X]]; from.Op {
	case loop.Load:
		e.VPTESTMD(e.memory(from.Mem), e.register(in.Y), keep)
		e.VMOVUPS_Z(e.memory(from.Mem), keep, dst)
	default:
		y := e.register(from.X)
		e.VPTESTMD(e.operand(from.Y), y, keep)
		e.VMULPS_Z(y, y, keep, dst)
	}
	return true
}

const minusZero = 1 << 31

// kept does an operation in the lanes of a mask and leaves 0 in the others.
func (e *emitter) kept(in loop.Inst, mask, dst reg.Register) {
	switch x, y := e.register(in.X), e.register(in.Y); in.Node.Op {
	case rule.Mul:
		e.VMULPS_Z(y, x, mask, dst)
	case rule.Or:
		e.VORPS_Z(y, x, mask, dst)
	case rule.ShiftLeft:
		e.VPSLLD_Z(operand.U8(in.Node.Imm), x, mask, dst)
	}
}

// AVX512Newton takes three of four square roots from the multipliers and the
// fourth, like all quotients, from the divider, so that both are busy: on a CPU
// whose divider needs some 23 cycles for the root and the quotient of 16
// elements, that is 1.6 times as fast. On Emerald Rapids all four are no faster, and two leave AdamW as it
// is and make AdaGrad 15 % slower; to load v before m is stored brings nothing there.
var AVX512Newton = fetchingAhead(newtons512(3))

// AVX512Quarter and AVX512Half take one or two of four square roots from the
// multipliers, for Zen 4. It begins a product, a test or an estimate of 16 elements in
// each cycle; its divider needs 10 cycles for their roots and 6 for their quotients,
// each of which takes two of the multipliers' cycles too. So AdamW, of 7 products and
// tests, has 11 of 16 cycles filled, and with a quarter of the roots, which cost 10
// there, 13 of 13.5. AdaGrad, of 3, has 7 of 16, and 11 of 11 with half of them. Rules
// with a second quotient, or many products, gain nothing.
var (
	AVX512Quarter = newtons512(1)
	AVX512Half    = newtons512(2)
)

// newtons512 takes so many of four roots from the multipliers.
func newtons512(n int) ISA {
	return withRoots(AVX512, func(k int) rootFunc {
		if k%4 < n {
			return newton512
		}
		return nil
	}, half, leastQuick, leastSteps)
}

// fetchingAhead is a table for Intel's processors, which look less far ahead than AMD's: on a Xeon with
// AVX-512 (model 167) AdamW is 1.1 times as fast in memory, at 97 % of what its loads and stores alone
// take there without, and in the caches as before. On Zen 4 it was a fifth slower in L3.
func fetchingAhead(t ISA) ISA {
	t.machine.Ahead = true
	return t
}

func withRoots(t ISA, root func(k int) rootFunc, constants ...uint32) ISA {
	t.root, t.machine.Helpers = root, maps.Clone(t.machine.Helpers)
	if len(constants) > 0 {
		t.machine.Helpers[rule.Sqrt] = constants
	}
	return t
}

// newton512 is the correctly rounded square root of x for any estimate of its
// reciprocal that is within 2⁻¹⁴, which AVX-512 promises of every CPU: see
// TestNewton512. Each step rounds once:
//
//	g = x·y, h = y/2            y the estimate of 1/√x
//	r = ½ - g·h                 what the estimate lacks
//	h ← h + h·r, g ← g + g·r    g is √x to the last bit or two
//	√x = g + (x - g²)·h         the rest is exact, so that the sum rounds once
//
// The rest of a number below 2⁻¹⁰¹ would be subnormal, which costs some CPUs a hundred
// cycles. So what is below 2⁻⁹⁷, or negative or NaN, is taken for 2⁻⁹⁷, whose root is below
// 2⁻⁴⁸, and infinity makes NaN. One from 2⁻⁴⁸ on is right, which takes a single comparison a
// vector, and one jump for all roots of an iteration: on Emerald Rapids AdamW is 6 % and
// AdaGrad 11 % faster in cache than with a test for each root of x itself.
func newton512(e *emitter, x, dst reg.VecVirtual) {
	oneHalf, enough := e.helpers[half], e.ZMM()
	y, g, h, r := e.ZMM(), e.ZMM(), e.ZMM(), dst
	e.VMAXPS(e.helpers[leastSteps], x, enough)
	e.VRSQRT14PS(enough, y)
	e.VMULPS(enough, y, g)
	e.VMULPS(oneHalf, y, h)
	e.VMOVAPS(oneHalf, r)
	e.VFNMADD231PS(g, h, r)
	e.VFMADD213PS(h, r, h)
	e.VFMADD213PS(g, r, g)
	e.VMOVAPS(enough, r)
	e.VFNMADD231PS(g, g, r)
	e.VFMADD213PS(g, h, r)
	e.unsure = append(e.unsure, root{x, dst})
}

// A root is one from the multipliers that is still to be tested.
type root struct{ x, dst reg.VecVirtual }

// settle tests the roots so far, before one is read or the code goes elsewhere, and has
// the unusual ones put right aside.
func (e *emitter) settle(in loop.Inst) {
	reads := func(r loop.Reg) bool {
		return slices.ContainsFunc(e.unsure, func(u root) bool { return e.registers[r] == u.dst })
	}
	if len(e.unsure) == 0 || in.Op > loop.Return && !slices.ContainsFunc(in.Reads(), reads) {
		return
	}
	unsure, sure := e.unsure, e.K()
	e.unsure = nil
	for k, u := range unsure {
		ops := []operand.Op{predicate(rule.LessEqual), u.dst, e.helpers[leastQuick], sure, sure}
		if k == 0 {
			ops = ops[:4]
		}
		e.VCMPPS(ops...)
	}
	e.KORTESTW(sure, sure)
	e.aside(e.JCC, func() {
		for _, u := range unsure {
			e.putRight(u)
		}
	})
}

// putRight puts in the results of zeros, infinities, negative numbers and NaN. If
// there is another number below 2⁻⁹⁵, which as an integer less one is below 2⁻⁹⁵, where
// zero and negative numbers are not, the divider's root replaces the vector.
func (e *emitter) putRight(u root) {
	table, before, least, small, next := e.ZMM(), e.ZMM(), e.ZMM(), e.K(), e.label("next")
	e.VBROADCASTSS(e.word(fixUp), table)
	e.VFIXUPIMMPS(operand.U8(0), table, u.x, u.dst)
	e.VBROADCASTSS(e.word(minusOne), before)
	e.VPADDD(before, u.x, before)
	e.VBROADCASTSS(e.word(leastRoot-1), least)
	e.VPCMPUD(operand.U8(below), least, before, small)
	e.KORTESTW(small, small)
	e.JE(operand.LabelRef(next))
	e.VSQRTPS(u.x, u.dst)
	e.Label(next)
}

// fixUp has four bits for each class of number: of NaN the NaN itself, of a zero
// the zero, of -∞ and of negative numbers NaN, of +∞ itself, else what is there.
const fixUp = 0x03530122

const (
	half       = 0x3f000000 // ½
	leastQuick = 0x27800000 // 2⁻⁴⁸
	leastSteps = 0x0f000000 // 2⁻⁹⁷
	minusOne   = 1<<32 - 1  // as an integer
	below      = 1          // of VPCMPUD
)
