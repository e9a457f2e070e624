package loop

import "github.com/lockstep-go/lockstep/gen/rule"

// columns writes the main loop, which takes several vectors at a time, one that takes
// whole vectors, and what is left as a part of one.
func (l *lowering) columns(prefix string, n Reg, side int) {
	l.do(Inst{Op: Number, Dst: l.index})
	if main := l.main(); !main.Long() {
		r, tasks := l.r, l.tasks
		l.r, l.tasks = main, main.Schedule()
		l.loop(prefix+"main", n, l.m.Wide, side)
		l.r, l.tasks = r, tasks
	}
	l.loop(prefix+"loop", n, 1, side)
	left := l.set(Address, Inst{Op: Copy, X: n})
	l.do(Inst{Op: SubIfZero, Dst: left, X: l.index, Label: prefix + "done"})
	l.body(l.set(Part, Inst{Op: First, X: left}), 1, side)
	l.label(prefix + "done")
}

// loop writes a loop over so many whole vectors.
func (l *lowering) loop(name string, n Reg, vectors, side int) {
	limit, end := l.set(Address, Inst{Op: Copy, X: n}), name+"end"
	if vectors > 1 && l.scaled != nil {
		l.do(Inst{Op: And, Dst: limit, X: l.runs})
	} else {
		l.do(Inst{Op: And, Dst: limit, Imm: -int64(vectors * l.m.Lanes)})
	}
	l.do(Inst{Op: JumpIf, X: l.index, Cond: GreaterEqual, Y: limit, Label: end})
	if vectors > 1 {
		l.takeSums(side)
	}
	l.label(name)
	l.body(Reg{}, vectors, side)
	l.do(Inst{Op: Add, Dst: l.index, Imm: int64(vectors * l.m.Lanes)})
	l.do(Inst{Op: JumpIf, X: l.index, Cond: Less, Y: limit, Label: name})
	if vectors > 1 {
		l.leaveSums(side)
	}
	l.label(end)
}

// takeSums has the lanes of all reductions in registers, for the main loop: it begins
// at lane 0, so that a vector has the same lanes in each iteration.
func (l *lowering) takeSums(side int) {
	l.eachSum(side, func(key sumOf, f rule.Effect, at Mem, size int) {
		for q := range rule.Lanes * size / l.vector() {
			in := Inst{Op: Load, Mem: at.plus(l.vector() * q)}
			if f.Kind == rule.Fold { // is 0 at the beginning of a row
				in = Inst{Op: Zero}
			}
			l.sums[key] = append(l.sums[key], l.set(Vector, in))
		}
	})
}

// leaveSums stores them again.
func (l *lowering) leaveSums(side int) {
	l.eachSum(side, func(key sumOf, _ rule.Effect, at Mem, _ int) {
		for q, v := range l.sums[key] {
			l.do(Inst{Op: Store, Y: v, Mem: at.plus(l.vector() * q)})
		}
	})
	clear(l.sums)
}

// eachSum calls f for the lanes of each reduction, if they are kept in registers.
func (l *lowering) eachSum(side int, f func(key sumOf, f rule.Effect, at Mem, size int)) {
	for id, e := range l.r.Effects {
		for row := range side {
			if !l.choice.inSums || !e.Reduce || e.Kind != rule.Fold && row > 0 {
				continue
			}
			at, size := l.lanesAt(e, row)
			f(sumOf{id, row}, e, at, size)
		}
	}
}

// lanesAt is where the lanes of a reduction are, and a lane's size.
func (l *lowering) lanesAt(f rule.Effect, row int) (at Mem, size int) {
	switch f.Kind {
	case rule.Fold:
		return l.folds[row], 4
	case rule.MaxAbs:
		return l.reductions[f.To], 4
	}
	return l.reductions[f.To], 8
}
