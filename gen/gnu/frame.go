package gnu

import (
	"fmt"
	"slices"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A frame is what a kernel for x86-64 has on the stack: registers that are the caller's, then the
// arguments, then its locals.
type frame struct {
	saved  []string
	locals int
}

// callees are the registers that belong to the caller, on every platform.
var callees = []string{"rbx", "rbp", "r12", "r13", "r14", "r15"}

func newFrame(fn *ir.Function) frame {
	f := frame{locals: fn.LocalSize}
	for _, i := range fn.Instructions() {
		for _, r := range i.Registers() {
			if r.Kind() != reg.KindGP {
				continue
			}
			name := register(reg.ToPhysical(r).(reg.GP).As64())
			if slices.Contains(callees, name) && !slices.Contains(f.saved, name) {
				f.saved = append(f.saved, name)
			}
		}
	}
	return f
}

// at is where an argument is.
func (f frame) at(argument int) int { return (f.locals+word-1)/word*word + word*argument }

// size is that of arguments and locals, in whole vectors of 16 bytes.
func (f frame) size() int { return (f.at(arguments) + 15) / 16 * 16 }

// pad keeps the stack aligned: what is pushed and the return address may be odd.
func (f frame) pad() int { return (len(f.saved) + 1) % 2 * word }

// enter prints the prologue, which keeps all arguments in memory: what they came in is
// registers of the kernel's.
func (f frame) enter(p *printer) {
	p.WriteString("\tENTER\n")
	for _, r := range f.saved {
		fmt.Fprintf(p, "\tPUSH(%s)\n", r)
	}
	fmt.Fprintf(p, "\tALLOCATE(%d, %d)\n", f.size(), f.pad())
	for k := range arguments {
		fmt.Fprintf(p, "\tmovq ARGUMENT%d, %d(%%rsp)\n", k, f.at(k))
	}
}

// leave prints the epilogue. There is code behind it.
func (f frame) leave(p *printer) {
	fmt.Fprintf(p, "\tFREE(%d, %d)\n", f.size(), f.pad())
	for _, r := range slices.Backward(f.saved) {
		fmt.Fprintf(p, "\tPOP(%s)\n", r)
	}
	p.WriteString("\tLEAVE\n")
}

// parameter is the place of the parameter that an instruction loads.
func parameter(i *ir.Instruction) (at int, ok bool) {
	for k, op := range i.Operands {
		if m, isMem := op.(operand.Mem); isMem && m.Base == reg.FramePointer {
			if i.Opcode != "MOVQ" || k > 0 {
				panic("gnu: a parameter that is not loaded")
			}
			return m.Disp, true
		}
	}
	return 0, false
}

// load prints the load of what is at a place of Go's parameters.
func (p *printer) load(at int, to string) {
	argument, within := p.place(at)
	fmt.Fprintf(p, "\tmovq %d(%%rsp), %s\n", p.frame.at(argument), to)
	if within >= 0 {
		fmt.Fprintf(p, "\tmovq %d(%s), %s\n", within, to, to)
	}
}
