package loop

import (
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// A span is what a body is for: so many vectors, or a part of one, or its first element.
type span struct {
	vectors int
	part    Reg
	single  bool
}

// isMain reports whether this is the main loop's.
func (s span) isMain() bool { return s.vectors > 1 }

// elements is how many columns that is.
func (l *lowering) elements(s span) int {
	if s.single {
		return 1
	}
	return s.vectors * l.m.Lanes
}

// columns writes the main loop, which takes several vectors at a time, one that takes
// whole vectors, and what is left as a part of one or one by one.
func (l *lowering) columns(prefix string, n Reg, side int) {
	l.start(n, side)
	if wide := l.wide(); wide > 1 {
		r, tasks := l.r, l.tasks
		l.r, l.tasks = l.main(), l.main().Schedule()
		l.loop(prefix+"main", n, span{vectors: wide}, side)
		l.r, l.tasks = r, tasks
	}
	l.loop(prefix+"loop", n, span{vectors: 1}, side)
	if l.m.Singles {
		l.loop(prefix+"single", n, span{vectors: 1, single: true}, side)
		return
	}
	l.rest(prefix, n, side)
}

// rest writes what is done for what is left, a part of a vector.
func (l *lowering) rest(prefix string, n Reg, side int) {
	left := l.left
	if !l.m.Steps {
		left = l.set(Address, Inst{Op: Copy, X: n})
		l.do(Inst{Op: SubIf, Dst: left, X: l.index, Label: prefix + "done"})
	} else {
		l.do(Inst{Op: SubIf, Dst: left, Label: prefix + "done"})
	}
	l.body(span{vectors: 1, part: l.set(Part, Inst{Op: First, X: left})}, side)
	l.label(prefix + "done")
}

// wide is how many vectors the main loop takes: all lanes, if it sums.
func (l *lowering) wide() int {
	switch main := l.main(); {
	case main.Long():
		return l.plan.vectors
	case reduces(main):
		return max(l.m.Wide, rule.Lanes/l.m.Lanes)
	}
	return l.m.Wide
}

// start begins at the first column.
func (l *lowering) start(n Reg, side int) {
	if !l.m.Steps {
		l.do(Inst{Op: Number, Dst: l.index})
		return
	}
	l.left = l.set(Address, Inst{Op: Copy, X: n})
	if reduces(l.r) {
		l.lane = l.set(Address, Inst{Op: Number})
	}
	if l.r.IsMatrix() {
		l.walk(side)
	}
}

// walk has pointers of its own step through some rows.
func (l *lowering) walk(side int) {
	l.walked = nil
	for row := range side {
		at := append([]Mem(nil), l.further[row]...)
		for k, b := range l.r.Buffers {
			switch {
			case b.Shape == rule.Stream && row > 0:
				at[k] = l.walked[0][k]
			case b.Shape != rule.PerRow:
				at[k].Base = l.set(Address, Inst{Op: Copy, X: at[k].Base})
			}
		}
		l.walked = append(l.walked, at)
	}
}

// loop writes a loop.
func (l *lowering) loop(name string, n Reg, s span, side int) {
	if side == l.plan.rows && s == (span{vectors: l.wide()}) {
		l.Mains = append(l.Mains, Loop{name, side, l.elements(s)})
	}
	again, end := l.enter(name, n, s)
	if s.isMain() {
		l.takeSums(side)
	}
	l.label(name)
	if !s.single && s.vectors == l.wide() {
		l.fetchStreams(l.elements(s))
	}
	l.body(s, side)
	again()
	if s.isMain() {
		l.leaveSums(side)
	}
	end()
}

// fetchStreams writes the prefetch of what a loop over some elements will come to, if the rule is for
// one tensor, long, and converts two buffers or more: it has so many operations that the processor sees
// few vectors ahead. What is float32 and only read may be a table. Rules that fetch have it of all that
// they read along rows, and other loops where the processor wants it.
func (l *lowering) fetchStreams(elements int) {
	typed := 0
	for _, b := range l.Rule.Buffers {
		if b.Type != rule.F32 {
			typed++
		}
	}
	apart := typed >= 2 && l.main().Long()
	for k, b := range l.Rule.Buffers {
		fetches := l.Rule.Fetches && b.Shape != rule.PerRow && l.Rule.Loads(k)
		if !l.Rule.IsMatrix() {
			fetches = l.m.Ahead || apart && (b.Type != rule.F32 || l.Rule.Stores(k))
		}
		for at := 0; fetches && at < elements; at += tune.Line / b.Type.Bytes() {
			l.do(Inst{Op: Fetch, Mem: l.walked[0][k].plus((tune.StreamAhead + at) * b.Type.Bytes())})
		}
	}
}

// enter writes the jump over a loop that has nothing to do, and returns what writes the
// jump back and the end.
func (l *lowering) enter(name string, n Reg, s span) (again, end func()) {
	asks := s.isMain() && l.scaled != nil
	if l.m.Steps {
		return l.countDown(name, s, asks)
	}
	return l.countUp(name, n, s, asks)
}

// countUp is enter with an index, up to a limit without the bits of an iteration's
// columns; runs has all others, or none where the loop may not run.
func (l *lowering) countUp(name string, n Reg, s span, asks bool) (again, end func()) {
	elements := int64(l.elements(s))
	limit := l.set(Address, Inst{Op: Copy, X: n})
	whole := Inst{Op: And, Dst: limit, Imm: -elements}
	if asks {
		whole.X = l.runs
	}
	l.do(whole)
	l.do(Inst{Op: JumpIf, X: l.index, Cond: GreaterEqual, Y: limit, Label: name + "end"})
	again = func() {
		l.do(Inst{Op: Add, Dst: l.index, Imm: elements})
		l.do(Inst{Op: JumpIf, X: l.index, Cond: Less, Y: limit, Label: name})
	}
	return again, func() { l.label(name + "end") }
}

// never is more elements than there are.
const never = 1 << 62

// countDown is enter with what is left, of which an iteration is taken off in advance;
// runs is an iteration, or never.
func (l *lowering) countDown(name string, s span, asks bool) (again, end func()) {
	elements := int64(l.elements(s))
	ahead := Inst{Op: SubIf, Dst: l.left, Imm: elements, Cond: Less, Label: name + "end"}
	back := Inst{Op: Add, Dst: l.left, Imm: elements}
	if asks {
		ahead.X, back.X = l.runs, l.runs
	}
	l.do(ahead)
	again = func() {
		l.do(Inst{Op: SubIf, Dst: l.left, Imm: elements, Cond: GreaterEqual, Label: name})
	}
	return again, func() {
		l.label(name + "end")
		if !s.single {
			l.do(back)
		}
	}
}
