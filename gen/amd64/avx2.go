package amd64

import (
	"fmt"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AVX2 has 16 registers of 8 lanes; its masks are vectors.
var AVX2 = ISA{
	lanes:     8,
	registers: 16,
	wide:      4,
	phases:    true,
	rows:      2,
	vector:    func(e *emitter) reg.VecVirtual { return e.YMM() },
	tail: func(e *emitter, left reg.GPVirtual) memory {
		count, mask := e.XMM(), e.YMM()
		e.VMOVD(left.As32(), count)
		e.VPBROADCASTD(count, mask)
		e.VPCMPGTD(e.laneIndex, mask, mask)
		return memory{
			load:  func(m operand.Mem, v reg.VecVirtual) { e.VMASKMOVPS(m, mask, v) },
			store: func(v reg.VecVirtual, m operand.Mem) { e.VMASKMOVPS(v, mask, m) },
			only: func(x reg.VecVirtual) reg.VecVirtual {
				part := e.YMM()
				e.VANDPS(mask, x, part)
				return part
			},
		}
	},
	lower: func(e *emitter, n rule.Node, x, y, z, dst reg.Register) {
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
	widen: func(e *emitter, x reg.VecVirtual) []reg.VecVirtual {
		low, high, upper := e.YMM(), e.YMM(), e.XMM()
		e.VCVTPS2PD(x.AsX(), low)
		e.VEXTRACTF128(operand.U8(1), x, upper)
		e.VCVTPS2PD(upper, high)
		return []reg.VecVirtual{low, high}
	},
	addProduct: func(e *emitter, x, y, sum reg.VecVirtual) {
		product := e.YMM()
		e.VMULPD(y, x, product)
		e.VADDPD(product, sum, sum)
	},
}

// AVX2Newton takes half of the square roots from the multipliers.
var AVX2Newton = withRoots(AVX2, func(k int) rootFunc {
	if k%2 == 0 {
		return newton256
	}
	return nil
})

// newton256 is the correctly rounded square root of x for any estimate of its
// reciprocal that is within 1.5·2⁻¹², which is what AVX promises: see
// TestNewton256. It is newton512 with one step more. The estimate is that of 2⁻⁹⁵
// for what is below, so that zeros come out as zeros; a number there that is not
// 0, an infinity, a negative number or a NaN has the divider's root replace the
// vector.
func newton256(e *emitter, x, dst reg.VecVirtual) {
	oneHalf, least, most := e.vectorOf(half), e.vectorOf(leastRoot), e.vectorOf(mostRoot)
	at, y, g, h, r, d := e.YMM(), e.YMM(), e.YMM(), e.YMM(), e.YMM(), e.YMM()
	e.VPMAXUD(least, x, at)
	e.VRSQRTPS(at, y)
	e.VMULPS(x, y, g)
	e.VMULPS(oneHalf, y, h)
	e.VMOVUPS(oneHalf, r)
	e.VFNMADD231PS(g, h, r)
	e.VFMADD213PS(h, r, h)
	e.VFMADD213PS(g, r, g)
	e.VMOVAPS(x, d)
	e.VFNMADD231PS(g, g, d)
	e.VFMADD231PS(d, h, g)
	e.VMOVUPS(oneHalf, r)
	e.VFNMADD231PS(g, h, r)
	e.VFMADD213PS(h, r, h)
	e.VMOVAPS(x, dst)
	e.VFNMADD231PS(g, g, dst)
	e.VFMADD213PS(g, h, dst)

	zero, lanes := e.YMM(), e.GP32()
	e.VPMINUD(most, at, at)
	e.VPCMPEQD(x, at, at)
	e.VPXOR(zero, zero, zero)
	e.VPCMPEQD(x, zero, zero)
	e.VPOR(zero, at, at)
	e.VMOVMSKPS(at, lanes)
	e.CMPL(lanes, operand.U32(1<<8-1))
	e.aside(e.JNE, func() { e.VSQRTPS(x, dst) })
}

const (
	leastRoot = 0x10000000 // 2⁻⁹⁵
	mostRoot  = 0x7f7fffff // the largest number
)

// vectorOf is a constant in every lane, in memory.
func (e *emitter) vectorOf(bits uint32) operand.Mem {
	if _, ok := e.vectorsOf[bits]; !ok {
		words := make([]uint32, e.t.lanes)
		for k := range words {
			words[k] = bits
		}
		e.vectorsOf[bits] = e.data(fmt.Sprintf("all%08x", bits), words)
	}
	return e.vectorsOf[bits]
}
