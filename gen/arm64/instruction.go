package arm64

import (
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
)

// An Instruction is one whose registers have numbers, or a label.
type Instruction struct {
	Label string // of what follows, and no instruction

	Name     string // Go's, or that of a macro
	Operands []Operand

	GNU string // of a macro of the header, GNU's text
}

// An Operand is one of an instruction's, in Go's order: what is written is the last.
type Operand fmt.Stringer

// Operands of each kind.
type (
	R         int                    // a register of 64 bits, or its lower half
	F         int                    // a vector's, or so much of it as the instruction says
	Pair      [2]F                   // two of them
	Immediate int64                  // a number
	Bits      uint32                 // the bits of one
	Jump      string                 // to a label
	Hint      string                 // what is fetched for what
	Constants string                 // the address of the kernel's vectors, by their symbol
	Locals    int                    // the address of the kernel's own memory, of so many bytes
	Vector    int                    // a vector's number, for a macro
	Distance  int                    // of a shift, for a macro
	Shifted   struct{ N, By int }    // a register whose bits go to the left
	Mem       struct{ Base, At int } // what is so many bytes behind a register
)

// V is a vector by its lanes, or one of them.
type V struct {
	N           int
	Arrangement string
}

// Param is a parameter or a part of it, and where Go has it.
type Param struct {
	Name string
	At   int
}

func (x R) String() string         { return fmt.Sprintf("R%d", int(x)) }
func (x F) String() string         { return fmt.Sprintf("F%d", int(x)) }
func (x Pair) String() string      { return fmt.Sprintf("(%v, %v)", x[0], x[1]) }
func (x Immediate) String() string { return fmt.Sprintf("$%d", int64(x)) }
func (x Bits) String() string      { return fmt.Sprintf("$0x%x", uint32(x)) }
func (x Jump) String() string      { return string(x) }
func (x Constants) String() string { return "$" + string(x) + "<>(SB)" }
func (x Locals) String() string    { return fmt.Sprintf("$locals-%d(SP)", int(x)) }
func (x V) String() string         { return fmt.Sprintf("V%d.%s", x.N, x.Arrangement) }
func (x Vector) String() string    { return fmt.Sprintf("v%d", int(x)) }
func (x Distance) String() string  { return fmt.Sprint(int(x)) }
func (x Shifted) String() string   { return fmt.Sprintf("R%d<<%d", x.N, x.By) }
func (x Mem) String() string       { return fmt.Sprintf("%d(R%d)", x.At, x.Base) }
func (x Param) String() string     { return fmt.Sprintf("%s+%d(FP)", x.Name, x.At) }
func (x Hint) String() string      { return string(x) }

// String is the line that Go assembles.
func (i Instruction) String() string {
	switch {
	case i.Label != "":
		return "\n" + i.Label + ":\n"
	case len(i.Operands) == 0:
		return "\t" + i.Name + "\n"
	}
	var operands []string
	for _, op := range i.Operands {
		operands = append(operands, op.String())
	}
	list := strings.Join(operands, ", ")
	if i.GNU != "" {
		return fmt.Sprintf("\t%s(%s)\n", i.Name, list)
	}
	return "\t" + i.Name + " " + list + "\n"
}

// A numbering is the numbers of registers.
type numbering map[loop.Reg]int

// An operand is an Operand before registers have numbers.
type operand func(n numbering) Operand

// is an operand without registers.
func is(op Operand) operand { return func(numbering) Operand { return op } }

func imm[T int | int64](x T) operand { return is(Immediate(x)) }
func gp(r loop.Reg) operand          { return func(n numbering) Operand { return R(n[r]) } }
func fp(r loop.Reg) operand          { return func(n numbering) Operand { return F(n[r]) } }

func pair(x, y loop.Reg) operand {
	return func(n numbering) Operand { return Pair{F(n[x]), F(n[y])} }
}

func lanes(r loop.Reg, arrangement string) operand {
	return func(n numbering) Operand { return V{n[r], arrangement} }
}

func shifted(r loop.Reg, by int) operand {
	return func(n numbering) Operand { return Shifted{n[r], by} }
}

func mem(base loop.Reg, at int) operand {
	return func(n numbering) Operand { return Mem{n[base], at} }
}
