package arm64

import "github.com/lockstep-go/lockstep/gen/rule"

// reduce prints a reduction of a vector.
func (k *kernel) reduce(m moment, s stage, first int) {
	id := k.steps[m.step].ID
	e := k.Effects[id]
	x, y := k.get(e.X, m.row, m.vector), k.get(e.Y, m.row, m.vector)
	own := sumOf{id, 0}
	if e.Kind == rule.Fold {
		own.row = m.row
	}
	if s.elements != rule.Lanes && m.vector == 0 {
		k.op("ADD R%d<<%d, R%d, R%d", lane, laneBytes(e)/4+1, k.lanes[id], address)
	}
	switch e.Kind {
	case rule.MaxAbs:
		t, mask := k.take(), k.take()
		k.word(fabs, t, x)
		k.accumulate(own, m, s, first, func(sum int) {
			k.word(fcmgt, mask, t, sum)
			k.word(bit, sum, t, mask)
		})
		k.give(t, mask)
	case rule.Fold:
		k.accumulate(own, m, s, first, func(sum int) { k.word(fadd, sum, sum, x) })
	default:
		halves := []*inst{fcvtl, fcvtl2}
		if s.bytes == 4 {
			halves = halves[:1]
		}
		var changes []func(sum int)
		for _, widen := range halves {
			changes = append(changes, func(sum int) {
				t := k.take()
				k.word(widen, t, x)
				switch {
				case e.Kind == rule.Sum:
					k.word(faddd, sum, sum, t)
				case e.X == e.Y:
					k.word(fmlad, sum, t, t)
				default:
					u := k.take()
					k.word(widen, u, y)
					k.word(fmlad, sum, t, u)
					k.give(u)
				}
				k.give(t)
			})
		}
		k.accumulate(own, m, s, first, changes...)
	}
	k.release(m)
}

// accumulate applies changes to the vectors of the lanes that a vector is for: in
// their registers, or in memory, from the address on.
func (k *kernel) accumulate(own sumOf, m moment, s stage, first int, changes ...func(sum int)) {
	size := laneBytes(k.Effects[own.effect])
	if sums := k.sums[own]; sums != nil {
		for part, change := range changes {
			change(sums[size*(first+4*m.vector)/16+part])
		}
		return
	}
	at, from := 4*rule.Lanes*own.row+size*4*m.vector, address
	if s.elements == rule.Lanes { // it starts at lane 0
		at, from = at+size*first, k.lanes[own.effect]
	}
	if len(changes) == 2 {
		a, b := k.take(), k.take()
		k.op("FLDPQ %d(R%d), (F%d, F%d)", at, from, a, b)
		changes[0](a)
		changes[1](b)
		k.op("FSTPQ (F%d, F%d), %d(R%d)", a, b, at, from)
		k.give(a, b)
		return
	}
	move, sum := s.move, k.take()
	if s.bytes == 4 && size == 8 {
		move = "FMOVD"
	}
	k.op("%s %d(R%d), F%d", move, at, from, sum)
	changes[0](sum)
	k.op("%s F%d, %d(R%d)", move, sum, at, from)
	k.give(sum)
}

// loadSums prints the loads of lanes into registers.
func (k *kernel) loadSums() {
	left := k.inSums
	for id, e := range k.Effects {
		if !e.Reduce || left == 0 {
			continue
		}
		left--
		for row := 0; row < k.rows && (e.Kind == rule.Fold || row == 0); row++ {
			own := sumOf{id, row}
			for range rule.Lanes * laneBytes(e) / 16 {
				k.sums[own] = append(k.sums[own], k.take())
			}
			k.pairs("FLDPQ %[4]d(R%[3]d), (F%[1]d, F%[2]d)", own, k.sums[own])
		}
	}
}

// storeSums prints their stores.
func (k *kernel) storeSums() {
	for id := range k.Effects {
		for row := range k.rows {
			own := sumOf{id, row}
			k.pairs("FSTPQ (F%[1]d, F%[2]d), %[4]d(R%[3]d)", own, k.sums[own])
			k.give(k.sums[own]...)
		}
	}
	clear(k.sums)
}

// pairs prints moves of pairs of registers to or from lanes.
func (k *kernel) pairs(format string, own sumOf, vs []int) {
	for q := 0; q < len(vs); q += 2 {
		k.op(format, vs[q], vs[q+1], k.lanes[own.effect], 4*rule.Lanes*own.row+16*q)
	}
}

func laneBytes(e rule.Effect) int {
	if e.Kind == rule.Sum || e.Kind == rule.Dot {
		return 8
	}
	return 4
}

// zeroFolds prints the stores of the rows' first sums.
func (k *kernel) zeroFolds() {
	for id, e := range k.Effects {
		if e.Reduce && e.Kind == rule.Fold {
			zero := k.take()
			k.word(eor, zero, zero, zero)
			for row := range k.rows {
				vs := make([]int, rule.Lanes/4)
				for q := range vs {
					vs[q] = zero
				}
				k.pairs("FSTPQ (F%[1]d, F%[2]d), %[4]d(R%[3]d)", sumOf{id, row}, vs)
			}
			k.give(zero)
		}
	}
}

// fold prints the store of the sum of a row's lanes.
func (k *kernel) fold(own sumOf, to string) {
	var v [rule.Lanes / 4]int
	for q := range v {
		v[q] = k.take()
	}
	k.pairs("FLDPQ %[4]d(R%[3]d), (F%[1]d, F%[2]d)", own, v[:])
	for half := len(v) / 2; half > 0; half /= 2 {
		for q := range half {
			k.word(fadd, v[q], v[q], v[q+half])
		}
	}
	for _, half := range []int{8, 4} {
		k.op("VEXT $%d, V%d.B16, V%d.B16, V%d.B16", half, v[0], v[0], v[1])
		k.word(fadd, v[0], v[0], v[1])
	}
	k.op("FMOVS F%d, %s", v[0], to)
	k.give(v[:]...)
}
