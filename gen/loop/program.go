// Package loop lowers rules to programs: lists, rows, loops, tails, lanes, types and
// invariants, written once for all instruction sets. A program is instructions over
// virtual registers, in order, with labels. A target gives each instruction its own
// form, finds registers and prints.
//
// Invariants, and what is kept of a reduction, are in registers as long as there is
// room, of which only a target knows: Best asks it.
package loop

import "github.com/lockstep-go/lockstep/gen/rule"

// A Kind is what a virtual register holds.
type Kind uint8

const (
	None    Kind = iota // no register
	Address             // 64 bits: an address, a number of elements or bytes
	Vector              // as many float32 as the machine has lanes, or half as many float64
	Mask                // what a comparison gives; a Vector where masks are no registers of their own
	Part                // the first lanes, so many as there are elements left
	Frame               // not a register: N is the local, of which this is the address
)

// A Reg is a virtual register. The zero Reg is none.
type Reg struct {
	Kind Kind
	N    int
}

// A Mem is Base + Index·Scale + Disp bytes.
type Mem struct {
	Base, Index Reg
	Scale, Disp int
}

// plus is the memory so many bytes on.
func (m Mem) plus(bytes int) Mem {
	m.Disp += bytes
	return m
}

// An Op is what an instruction does.
type Op uint8

const (
	Label  Op = iota // Label is here
	Jump             // to Label
	JumpIf           // to Label if X Cond Y
	Unless           // to Label unless the 32 bits at Mem are Imm, or with Cond Greater are above it as a signed integer
	Return           // leave the kernel

	Param  // Dst = the parameter Label: a pointer, or the Base or Len of a slice
	Number // Dst = Imm
	Copy   // Dst = X
	Word   // Dst = the 64 bits at Mem
	Locate // Dst = the address Mem
	Add    // Dst += X, or Imm if X is none
	And    // Dst &= X, or Imm
	Sub    // Dst -= X, or Imm
	SubIf  // Sub, and to Label if what that leaves is Cond to 0
	Times  // Dst *= Imm
	Fetch  // have Mem in the cache soon

	Constant // Dst = the bits Imm in every lane
	Spread   // Dst = the element at Mem in every lane
	Helper   // the bits Imm in every lane of a Dst that the target asked for
	Zero     // Dst = +0 in every lane
	First    // Dst = the Part of the first X lanes
	Only     // Dst = Y in the lanes of the Part X, or in the first if X is none, else +0
	Load     // Dst = a vector at Mem, or of the Part X or of its first Bytes, the other lanes +0; and Dst2 = the one behind
	Store    // a vector Y, or the Part X or the first Bytes of it, to Mem; and Z behind it
	Compute  // Dst = Node of X, Y, Z

	Widen    // Dst = the first half of X as float64, or the second if Imm is 1
	AddWide  // Dst += X as float64
	AddTimes // Dst += X·Y as float64; the product is exact
	Fold     // the float32 at Mem = the 32 lanes at Lanes joined by Node, Add or Max, by halves; or the largest lane of Y
)

// A Cond compares two addresses as signed integers.
type Cond uint8

const (
	Equal Cond = iota
	Less
	LessEqual
	GreaterEqual
	Greater
)

// A Piece is a part of a parameter.
type Piece uint8

const (
	Whole Piece = iota // of a pointer
	Base               // the address of a slice
	Len                // its length
)

// An Inst is an instruction.
type Inst struct {
	Op         Op
	Dst, Dst2  Reg
	X, Y, Z    Reg
	Mem, Lanes Mem
	Imm        int64
	Label      string
	Cond       Cond
	Piece      Piece
	Type       rule.Type // of the elements that Load and Store move; what is stored of BF16 has been rounded, of F16 the move rounds
	Bytes      int       // that Load and Store move, if neither vectors nor a Part
	Step       int       // by which Load and Store move Mem.Base on afterwards
	Node       rule.Node // of Compute: its operation and distance

	// Turn is which of the main loop's vectors a root is for, or -1 outside of it: a
	// target may have two ways to a root.
	Turn int
}

// A Local is memory of the kernel's own.
type Local struct{ Size, Align int } // Align 0 is any

// A Program is a kernel before registers and instructions have names.
type Program struct {
	Rule   *rule.Rule // its name, formula and parameters
	Insts  []Inst
	Locals []Local
	Mains  []Loop // the main loop of each part, in the order of their parts
}

// A Loop is one over columns.
type Loop struct {
	Label          string
	Rows, Elements int // of an iteration: rows, and columns of each
}

// Uses counts the instructions' reads of each register.
func (p *Program) Uses() map[Reg]int {
	uses := map[Reg]int{}
	for _, in := range p.Insts {
		for _, r := range in.Reads() {
			uses[r]++
		}
	}
	return uses
}

// Reads lists the registers that an instruction reads, one twice if it is read twice.
func (in Inst) Reads() []Reg {
	var list []Reg
	for _, r := range []Reg{in.X, in.Y, in.Z, in.Mem.Base, in.Mem.Index, in.Lanes.Base, in.Lanes.Index} {
		if r.Kind != None && r.Kind != Frame {
			list = append(list, r)
		}
	}
	return list
}
