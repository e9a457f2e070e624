package amd64

import (
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
			e.VANDNPS(x, e.tooSmall(x, y), dst)
		case rule.MulKept:
			small := e.tooSmall(x, z)
			e.VANDNPS(x, small, dst) // arithmetic on subnormal numbers is slow
			e.VMULPS(y, dst, dst)
			e.VANDNPS(dst, small, dst)
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

// tooSmall is a mask of the lanes of x that have no bit in common with keep.
func (e *emitter) tooSmall(x, keep reg.Register) reg.VecVirtual {
	small, zero := e.YMM(), e.YMM()
	e.VANDPS(keep, x, small)
	e.VXORPS(zero, zero, zero)
	e.VPCMPEQD(zero, small, small)
	return small
}
