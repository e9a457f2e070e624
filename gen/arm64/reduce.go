package arm64

import "github.com/lockstep-go/lockstep/gen/rule"

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

// accumulate applies change to a vector of the lanes: in its register, where it
// is first+offset bytes into them, or in memory, offset bytes past the address.
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
