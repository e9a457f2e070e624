package loop

import (
	"slices"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// keepsSums reports whether the main loop has the lanes of reductions in registers: a
// vector must have the same lanes in every iteration.
func (l *lowering) keepsSums() bool { return l.plan.sums && l.overAll(l.wide()) }

// overAll reports whether an iteration of so many vectors begins at lane 0.
func (l *lowering) overAll(vectors int) bool { return vectors*l.m.Lanes%rule.Lanes == 0 }

// takeSums has the lanes of all reductions in registers, for the main loop.
func (l *lowering) takeSums(side int) {
	l.eachSum(side, func(key sumOf, f rule.Effect, at Mem, size int) {
		n := rule.Lanes * size / l.vector()
		if !f.Kind.Folds() {
			l.sums[key] = l.loads(at, n)
			return
		}
		for range n { // as at the beginning of a row
			l.sums[key] = append(l.sums[key], l.starts(f.Kind))
		}
	})
}

// leaveSums stores them again.
func (l *lowering) leaveSums(side int) {
	l.eachSum(side, func(key sumOf, _ rule.Effect, at Mem, _ int) { l.stores(at, l.sums[key]) })
	clear(l.sums)
}

// eachSum calls f for the lanes of each reduction, if they are kept in registers.
func (l *lowering) eachSum(side int, f func(key sumOf, f rule.Effect, at Mem, size int)) {
	for id, e := range l.r.Effects {
		for row := range side {
			if !l.keepsSums() || !e.Reduce || e.Kind == rule.FoldMost || !e.Kind.Folds() && row > 0 {
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
	case rule.Fold, rule.FoldMax:
		return l.lanesOf(f, row), 4
	case rule.MaxAbs:
		return l.reductions[f.To], 4
	}
	return l.reductions[f.To], 8
}

// loads writes the loads of so many vectors.
func (l *lowering) loads(at Mem, n int) []Reg {
	list := make([]Reg, n)
	for move := range slices.Chunk(list, l.m.inMove()) {
		for k := range move {
			move[k] = l.new(Vector)
		}
		in := Inst{Op: Load, Dst: move[0], Mem: at}
		if len(move) > 1 {
			in.Dst2 = move[1]
		}
		l.do(in)
		at = at.plus(l.vector() * len(move))
	}
	return list
}

// stores writes their stores.
func (l *lowering) stores(at Mem, list []Reg) {
	for move := range slices.Chunk(list, l.m.inMove()) {
		in := Inst{Op: Store, Y: move[0], Mem: at}
		if len(move) > 1 {
			in.Z = move[1]
		}
		l.do(in)
		at = at.plus(l.vector() * len(move))
	}
}

// inMove is how many vectors a move takes.
func (m Machine) inMove() int {
	if m.Pairs {
		return 2
	}
	return 1
}

// reduce adds vectors to the lanes of a reduction. Lanes beyond the buffer add +0, which
// leaves any sum that began at +0 as it is; of a single element they are not touched.
func (b *body) reduce(id, row int, list []Reg) {
	if b.r.Effects[id].Kind == rule.FoldMost {
		b.keepMost(b.most[sumOf{id, row}], list)
		return
	}
	at := b.sumsAt(id, row)
	for k, x := range list {
		b.change(id, row, k, at, b.changes(id, row, k, b.only(x, b.r.Effects[id].Kind)))
	}
}

// keepMost has the lanes of the largest number of a row keep that of vectors.
func (b *body) keepMost(most Reg, list []Reg) {
	for _, x := range list {
		if b.part.Kind != None || b.single {
			x = b.set(Vector, Inst{Op: Only, X: b.part, Y: x})
		}
		b.into(rule.Max, most, x, most)
	}
}

// changes are what a vector does to the vectors of a sum that it is for.
func (b *body) changes(id, row, k int, x Reg) []func(sum Reg) {
	f := b.r.Effects[id]
	switch f.Kind {
	case rule.Fold:
		return []func(Reg){func(sum Reg) { b.into(rule.Add, sum, sum, x) }}
	case rule.FoldMax:
		return []func(Reg){func(sum Reg) { b.into(rule.Max, sum, x, sum) }}
	case rule.MaxAbs:
		most := b.magnitude(x)
		return []func(Reg){func(sum Reg) { b.into(rule.Max, sum, most, sum) }}
	}
	factors := b.widen(x)
	others := factors
	if f.Kind == rule.Dot && f.X != f.Y {
		others = b.widen(b.only(b.get(f.Y, row, k), f.Kind))
	}
	var list []func(Reg)
	for half, v := range factors {
		in := Inst{Op: AddWide, X: v}
		if f.Kind == rule.Dot {
			in = Inst{Op: AddTimes, X: v, Y: others[half]}
		}
		list = append(list, func(sum Reg) {
			in.Dst = sum
			b.do(in)
		})
	}
	return list
}

// only is x with what a reduction begins with in the lanes beyond the buffer.
func (b *body) only(x Reg, k rule.Kind) Reg {
	if b.part.Kind == None {
		return x
	}
	if k.Start() == 0 {
		return b.set(Vector, Inst{Op: Only, X: b.part, Y: x})
	}
	start, xor := b.starts(k), rule.Node{Op: rule.Xor}
	return b.compute(xor, b.set(Vector, Inst{Op: Only, X: b.part, Y: b.compute(xor, x, start, Reg{})}), start, Reg{})
}

// magnitude is x without its sign.
func (b *body) magnitude(x Reg) Reg {
	if b.m.Signs {
		return b.compute(rule.Node{Op: rule.And}, b.constant(magnitude), x, Reg{})
	}
	return b.compute(rule.Node{Op: rule.Abs}, x, Reg{}, Reg{})
}

// into writes an operation to a register that is there.
func (b *body) into(op rule.Op, to, x, y Reg) {
	b.do(Inst{Op: Compute, Node: rule.Node{Op: op}, Dst: to, X: x, Y: y, Turn: -1})
}

// widen is a vector as two of float64, in order, or the first for a single element.
func (b *body) widen(x Reg) []Reg {
	list := []Reg{b.set(Vector, Inst{Op: Widen, X: x})}
	if !b.single {
		list = append(list, b.set(Vector, Inst{Op: Widen, X: x, Imm: 1}))
	}
	return list
}

// sumsAt is where the lanes of the body's first vector are, if not in registers.
func (b *body) sumsAt(id, row int) Mem {
	if len(b.sums) > 0 {
		return Mem{}
	}
	at, size := b.lanesAt(b.r.Effects[id], row)
	if b.lane.Kind != None {
		at.Index, at.Scale = b.lane, size
		if b.m.Steps {
			at = Mem{Base: b.set(Address, Inst{Op: Locate, Mem: at})}
		}
	}
	return at.plus(size * (b.first * b.m.Lanes % rule.Lanes)) // beyond the first vector's
}

// change applies changes to the vectors of the sums that the k-th vector of the body is
// for.
func (b *body) change(id, row, k int, at Mem, changes []func(sum Reg)) {
	_, size := b.lanesAt(b.r.Effects[id], row)
	if sums := b.sums[sumOf{id, row}]; sums != nil {
		for part, change := range changes {
			change(sums[((b.first+k)*size/4+part)%len(sums)])
		}
		return
	}
	if b.single {
		b.changeLane(at, size, changes[0])
		return
	}
	at = at.plus(size * b.m.Lanes * k)
	for move := range slices.Chunk(changes, b.m.inMove()) {
		sums := b.loads(at, len(move))
		for j, change := range move {
			change(sums[j])
		}
		b.stores(at, sums)
		at = at.plus(b.vector() * len(move))
	}
}

// changeLane applies a change to one lane.
func (b *body) changeLane(at Mem, size int, change func(sum Reg)) {
	sum := b.set(Vector, Inst{Op: Load, Mem: at, Bytes: size})
	change(sum)
	b.do(Inst{Op: Store, Y: sum, Mem: at, Bytes: size})
}
