package amd64

import (
	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AVX512 has 32 registers of 16 lanes and eight mask registers.
var AVX512 = ISA{
	lanes:     16,
	registers: 32,
	vector:    func(e *emitter) reg.VecVirtual { return e.ZMM() },
	mask:      func(e *emitter) reg.Register { return e.K() },
	tail: func(e *emitter, left reg.GPVirtual) memory {
		bits, mask := e.GP32(), e.K()
		e.MOVL(operand.U32(0xffff), bits)
		e.BZHIL(left.As32(), bits, bits)
		e.KMOVW(bits, mask)
		return memory{
			load:  func(m operand.Mem, v reg.VecVirtual) { e.VMOVUPS_Z(m, mask, v) },
			store: func(v reg.VecVirtual, m operand.Mem) { e.VMOVUPS(v, mask, m) },
			only: func(x reg.VecVirtual) reg.VecVirtual {
				part := e.ZMM()
				e.VMOVAPS_Z(x, mask, part)
				return part
			},
		}
	},
	lower: func(e *emitter, n rule.Node, x, y, z, dst reg.Register) {
		switch n.Op {
		case rule.Less, rule.LessEqual, rule.Equal:
			e.VCMPPS(predicate(n.Op), y, x, dst)
		case rule.Select:
			// avo takes the destination of VBLENDMPS for an input.
			e.VMOVAPS(z, dst)
			e.VMOVAPS(y, x, dst)
		case rule.Flush:
			keep := e.K()
			e.VPTESTMD(y, x, keep)
			e.VMOVAPS_Z(x, keep, dst)
		default:
			lower(e, n, x, y, dst)
		}
	},
	widen: func(e *emitter, x reg.VecVirtual) []reg.VecVirtual {
		low, high, upper := e.ZMM(), e.ZMM(), e.YMM()
		e.VCVTPS2PD(x.AsY(), low)
		e.VEXTRACTF64X4(operand.U8(1), x, upper)
		e.VCVTPS2PD(upper, high)
		return []reg.VecVirtual{low, high}
	},
}
