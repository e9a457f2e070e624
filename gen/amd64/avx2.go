package amd64

import (
	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AVX2 has 16 registers of 8 lanes; its masks are vectors.
var AVX2 = ISA{
	machine:   loop.Machine{Lanes: 8, Wide: 4, Rows: 2, Phases: true, Signs: true, Whole: true},
	registers: 16,
	vector:    func(e *emitter) reg.VecVirtual { return e.YMM() },
	mask:      func(e *emitter) reg.Register { return e.YMM() },
	first: func(e *emitter, left reg.GPVirtual, part reg.Register) {
		count := e.XMM()
		e.VMOVD(left.As32(), count)
		e.VPBROADCASTD(count, part)
		e.VPCMPGTD(e.laneIndex, part, part)
	},
	only: func(e *emitter, part reg.Register, x, dst reg.VecVirtual) { e.VANDPS(part, x, dst) },
	load: [types]func(*emitter, operand.Mem, loop.Reg, reg.VecVirtual){
		rule.F32: func(e *emitter, m operand.Mem, part loop.Reg, dst reg.VecVirtual) {
			if part.Kind == loop.None {
				e.VMOVUPS(m, dst)
			} else {
				e.VMASKMOVPS(m, e.register(part), dst)
			}
		},
		rule.BF16: func(e *emitter, m operand.Mem, part loop.Reg, dst reg.VecVirtual) {
			if part.Kind != loop.None {
				m = e.halves(part, m, nil)
			}
			e.VPMOVZXWD(m, dst)
			e.VPSLLD(operand.U8(16), dst, dst)
		},
		rule.F16: func(e *emitter, m operand.Mem, part loop.Reg, dst reg.VecVirtual) {
			if part.Kind != loop.None {
				m = e.halves(part, m, nil)
			}
			e.VCVTPH2PS(m, dst)
		},
	},
	store: [types]func(*emitter, reg.VecVirtual, loop.Reg, operand.Mem){
		rule.F32: func(e *emitter, x reg.VecVirtual, part loop.Reg, m operand.Mem) {
			if part.Kind == loop.None {
				e.VMOVUPS(x, m)
			} else {
				e.VMASKMOVPS(x, e.register(part), m)
			}
		},
		rule.BF16: func(e *emitter, x reg.VecVirtual, part loop.Reg, m operand.Mem) {
			upper, high := e.YMM(), e.XMM()
			e.VPSRLD(operand.U8(16), x, upper)
			e.VEXTRACTI128(operand.U8(1), upper, high)
			e.VPACKUSDW(high, upper.AsX(), high)
			if part.Kind == loop.None {
				e.VMOVDQU(high, m)
			} else {
				e.halves(part, m, high)
			}
		},
		rule.F16: func(e *emitter, x reg.VecVirtual, part loop.Reg, m operand.Mem) {
			if part.Kind == loop.None {
				e.VCVTPS2PH(nearestEven, x, m)
				return
			}
			rounded := e.XMM()
			e.VCVTPS2PH(nearestEven, x, rounded)
			e.halves(part, m, rounded)
		},
	},
	lower: func(e *emitter, n rule.Node, x reg.Register, y operand.Op, z, dst reg.Register) {
		switch n.Op {
		case rule.Less, rule.LessEqual, rule.Equal:
			e.VCMPPS(predicate(n.Op), y, x, dst)
		case rule.Select:
			e.VBLENDVPS(x, y, z, dst)
		case rule.Flush:
			// VPSIGND puts 0 where the bits in common are 0, and leaves the others: the
			// sign bit is not among them.
			bits := e.YMM()
			e.VANDPS(y, x, bits)
			e.VPSIGND(bits, x, dst)
		default:
			lower(e, n, x, y, dst)
		}
	},
	widen: func(e *emitter, x reg.VecVirtual, half int, dst reg.VecVirtual) {
		part := x.AsX()
		if half > 0 {
			upper := e.XMM()
			e.VEXTRACTF128(operand.U8(1), x, upper)
			part = upper
		}
		e.VCVTPS2PD(part, dst)
	},
	addProduct: func(e *emitter, x, y, sum reg.VecVirtual) {
		product := e.YMM()
		e.VMULPD(y, x, product)
		e.VADDPD(product, sum, sum)
	},
}

// nearestEven has VCVTPS2PH round so, whatever the mode of arithmetic says.
const nearestEven = operand.U8(0)

// AVX2Newton takes half of the square roots from the multipliers.
var AVX2Newton = fetchingAhead(withRoots(AVX2, func(k int) rootFunc {
	if k%2 == 0 {
		return newton256
	}
	return nil
}))

// newton256 is the correctly rounded square root of x for any estimate of its
// reciprocal that is within 1.5·2⁻¹², which is what AVX promises: see
// TestNewton256. It is newton512 with one step more. What is not from 2⁻⁹⁵ to the
// largest number is told as an integer, moved so that the end of that range is the largest
// one: then code aside puts zeros in, and if there is something else, the divider's
// root replaces the vector.
func newton256(e *emitter, x, dst reg.VecVirtual) {
	oneHalf := e.vectorOf(half)
	enough, y, g, h, r, d := e.YMM(), e.YMM(), e.YMM(), e.YMM(), e.YMM(), e.YMM()
	e.VMAXPS(e.vectorOf(leastSteps), x, enough)
	e.VRSQRTPS(enough, y)
	e.VMULPS(enough, y, g)
	e.VMULPS(oneHalf, y, h)
	e.VMOVUPS(oneHalf, r)
	e.VFNMADD231PS(g, h, r)
	e.VFMADD213PS(h, r, h)
	e.VFMADD213PS(g, r, g)
	e.VMOVAPS(enough, d)
	e.VFNMADD231PS(g, g, d)
	e.VFMADD231PS(d, h, g)
	e.VMOVUPS(oneHalf, r)
	e.VFNMADD231PS(g, h, r)
	e.VFMADD213PS(h, r, h)
	e.VMOVAPS(enough, dst)
	e.VFNMADD231PS(g, g, dst)
	e.VFMADD213PS(g, h, dst)

	sure := e.inRange(x)
	e.allLanes(sure)
	e.aside(e.JNE, func() {
		zero, next := e.YMM(), e.label("next")
		e.VPXOR(zero, zero, zero)
		e.VPCMPEQD(x, zero, zero)
		e.VPANDN(dst, zero, dst)
		e.VPOR(zero, sure, sure)
		e.allLanes(sure)
		e.JE(operand.LabelRef(next))
		e.VSQRTPS(x, dst)
		e.Label(next)
	})
}

// inRange is the mask of the numbers whose roots newton256 knows.
func (e *emitter) inRange(x reg.VecVirtual) reg.VecVirtual {
	const up = 1<<31 - 1 - mostRoot
	moved := e.YMM()
	e.VPADDD(e.vectorOf(up), x, moved)
	e.VPCMPGTD(e.vectorOf(leastRoot-1+up), moved, moved)
	return moved
}

// allLanes sets the flags to equal where a mask is true in every lane.
func (e *emitter) allLanes(mask reg.VecVirtual) {
	lanes := e.GP32()
	e.VMOVMSKPS(mask, lanes)
	e.CMPL(lanes, operand.U32(1<<8-1))
}

const (
	leastRoot = 0x10000000 // 2⁻⁹⁵
	mostRoot  = 0x7f7fffff // the largest number
)

// halves moves the elements of 16 bits of a part, of which AVX2 knows no masked move,
// one by one: to a place where there is room for a vector, or from there, where x is
// stored first.
func (e *emitter) halves(part loop.Reg, m operand.Mem, x reg.VecVirtual) operand.Mem {
	whole := e.AllocLocal(16)
	from, to := m, whole
	if x != nil {
		from, to = whole, m
		e.VMOVDQU(x, whole)
	}
	k, element, again := e.GP64(), e.GP32(), e.label("half")
	at := func(m operand.Mem) operand.Mem {
		base := e.GP64()
		e.LEAQ(m, base)
		return operand.Mem{Base: base, Index: k, Scale: 2, Disp: -2}
	}
	from, to = at(from), at(to)
	e.MOVQ(e.left[part], k)
	e.Label(again)
	e.MOVWLZX(from, element)
	e.MOVW(element.As16(), to)
	e.DECQ(k)
	e.JNE(operand.LabelRef(again))
	return whole
}
