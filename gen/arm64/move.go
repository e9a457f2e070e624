package arm64

import (
	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// A move is what a load or store of memory has beside its name and its registers.
type move struct {
	base   loop.Reg
	at     int
	suffix string // of the name
	steps  bool
}

// move selects a load or a store.
func (s *selection) move(in loop.Inst) {
	place := s.place(in.Mem)
	m := move{base: place.Base, at: place.Disp}
	if in.Step != 0 {
		m.at, m.suffix, m.steps = in.Step, ".P", true
	}
	switch load := in.Op == loop.Load; {
	case in.Type != rule.F32 && load:
		s.loadHalves(in, m)
	case in.Type == rule.BF16:
		s.storeHalves(in, m)
	case in.Type == rule.F16:
		s.storeRounded(in, m)
	case load && in.Dst2.Kind != loop.None:
		s.op(m.writes(in.Dst, in.Dst2), reads(m.base), "FLDPQ"+m.suffix, mem(m.base, m.at), pair(in.Dst, in.Dst2))
	case load:
		s.load(names[in.Bytes], m, in.Dst)
	case in.Z.Kind != loop.None:
		s.op(m.writes(), reads(m.base, in.Y, in.Z), "FSTPQ"+m.suffix, pair(in.Y, in.Z), mem(m.base, m.at))
	default:
		s.store(names[in.Bytes], m, in.Y)
	}
}

// names are the moves of a vector, and of its first bytes.
var names = map[int]string{0: "FMOVQ", 4: "FMOVS", 8: "FMOVD"}

// writes are the registers and the pointer if it is stepped on.
func (m move) writes(list ...loop.Reg) []loop.Reg {
	if m.steps {
		list = append(list, m.base)
	}
	return list
}

// load adds the load of one register.
func (s *selection) load(name string, m move, d loop.Reg) {
	s.op(m.writes(d), reads(m.base), name+m.suffix, mem(m.base, m.at), fp(d))
}

// store adds its store.
func (s *selection) store(name string, m move, x loop.Reg) {
	s.op(m.writes(), reads(m.base, x), name+m.suffix, fp(x), mem(m.base, m.at))
}

// loadHalves selects the load of elements of 16 bits.
func (s *selection) loadHalves(in loop.Inst, m move) {
	first, second := shll, shll2
	if in.Type == rule.F16 {
		first, second = fcvtlh, fcvtlh2
	}
	t := s.temp(loop.Vector)
	switch {
	case in.Bytes > 0:
		bits := s.temp(loop.Address)
		s.op(m.writes(bits), reads(m.base), "MOVHU"+m.suffix, mem(m.base, m.at), gp(bits))
		s.op(writes(t), reads(bits), "FMOVS", gp(bits), fp(t))
	case in.Dst2.Kind != loop.None:
		s.load("FMOVQ", m, t)
		s.word(second, in.Dst2, t)
	default:
		s.load("FMOVD", m, t)
	}
	s.word(first, in.Dst, t)
}

// storeRounded selects the store of elements of F16.
func (s *selection) storeRounded(in loop.Inst, m move) {
	t := s.temp(loop.Vector)
	s.word(fcvtnh, t, in.Y)
	switch {
	case in.Bytes > 0:
		bits := s.temp(loop.Address)
		s.op(writes(bits), reads(t), "FMOVS", fp(t), gp(bits))
		s.op(m.writes(), reads(m.base, bits), "MOVH"+m.suffix, gp(bits), mem(m.base, m.at))
	case in.Z.Kind != loop.None:
		s.word(fcvtnh2, t, in.Z)
		s.store("FMOVQ", m, t)
	default:
		s.store("FMOVD", m, t)
	}
}

// storeHalves selects the store of some of BF16.
func (s *selection) storeHalves(in loop.Inst, m move) {
	if in.Bytes > 0 {
		bits := s.temp(loop.Address)
		s.op(writes(bits), reads(in.Y), "FMOVS", fp(in.Y), gp(bits))
		s.op(writes(bits), reads(bits), "LSR", imm(16), gp(bits), gp(bits))
		s.op(m.writes(), reads(m.base, bits), "MOVH"+m.suffix, gp(bits), mem(m.base, m.at))
		return
	}
	upper, name, second := s.temp(loop.Vector), "FMOVD", in.Y
	if in.Z.Kind != loop.None {
		name, second = "FMOVQ", in.Z
	}
	s.word(uzp2, upper, in.Y, second)
	s.store(name, m, upper)
}
