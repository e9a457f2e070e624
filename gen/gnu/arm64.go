package gnu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/arm64"
	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
)

// An armPrinter prints one file for AArch64. On the stack a kernel has its arguments, the
// registers that are the caller's, and its own memory. The return address stays in its
// register, so that it needs no signature.
type armPrinter struct {
	file
	code  armCode
	saved []string // registers that are the caller's
	spare int      // a register that the kernel does not use
}

// An armCode is a kernel's instructions, with the registers that they use and what memory.
type armCode interface {
	Code() []arm64.Instruction
	Constants() []uint32
	Locals() int
	Registers(kind loop.Kind) []int
}

// ARM64 is the file of a kernel for an instruction set of AArch64.
func ARM64(isa string, r *rule.Rule, k *arm64.Kernel) []byte { return printARM64(isa, kernelOf(r), k) }

// TileARM64 is that of the kernel of matrix products.
func TileARM64(isa string, t *arm64.Tile) []byte { return printARM64(isa, tile, t) }

func printARM64(isa string, k kernel, code armCode) []byte {
	p := newArmPrinter(isa, k, code)
	p.head(isa, need{"LOCKSTEP_AARCH64", []string{"ASIMD"}, append(slices.Clone(p.saved), "sp")})
	p.vectors()
	fmt.Fprintf(p, "\n\tBEGIN(%s)\n", p.name)
	p.enter()
	for _, i := range code.Code() {
		p.instruction(i)
	}
	fmt.Fprintf(p, "\tEND(%s)\n#endif\nNOTES\n", p.name)
	return p.Bytes()
}

// newArmPrinter finds the registers to be saved: x19 to x28, and of v8 to v15 the lower
// halves.
func newArmPrinter(isa string, k kernel, code armCode) *armPrinter {
	p := &armPrinter{file: newFile(isa, k), code: code}
	used := code.Registers(loop.Address)
	for slices.Contains(used, p.spare) || p.spare == 18 { // which is the platform's
		p.spare++
	}
	for n := 19; n <= 28; n++ {
		if n == p.spare || slices.Contains(used, n) {
			p.saved = append(p.saved, fmt.Sprintf("x%d", n))
		}
	}
	for n := 8; n <= 15; n++ {
		if slices.Contains(code.Registers(loop.Vector), n) {
			p.saved = append(p.saved, fmt.Sprintf("d%d", n))
		}
	}
	return p
}

// vectors prints the file's data.
func (p *armPrinter) vectors() {
	if len(p.code.Constants()) == 0 {
		return
	}
	p.WriteString("\n\tCONSTANTS\n\t.balign 16\nVECTORS:\n")
	for _, bits := range p.code.Constants() {
		fmt.Fprintf(p, "\t.long %#[1]x, %#[1]x, %#[1]x, %#[1]x\n", bits)
	}
}

// own is where the kernel's own memory begins.
func (p *armPrinter) own() int { return (word*(arguments+len(p.saved)) + 15) / 16 * 16 }

// size is that of all that a kernel has on the stack.
func (p *armPrinter) size() int {
	size := p.own() + (p.code.Locals()+15)/16*16
	if size > longest {
		panic(fmt.Errorf("gnu: %s: %d bytes of stack", p.name, size))
	}
	return size
}

// longest is the largest number that is part of an addition.
const longest = 4095

// enter prints the prologue, which keeps all arguments in memory: what they came in is
// registers of the kernel's.
func (p *armPrinter) enter() {
	fmt.Fprintf(p, "\tsub sp, sp, #%d\n\t.cfi_def_cfa_offset %[1]d\n", p.size())
	for k := 0; k < arguments; k += 2 {
		fmt.Fprintf(p, "\tstp x%d, x%d, [sp, #%d]\n", k, k+1, word*k)
	}
	p.keep("st")
	for k, r := range p.saved {
		fmt.Fprintf(p, "\t.cfi_offset %s, %d\n", r, p.slot(k)-p.size())
	}
}

// slot is where a register is saved.
func (p *armPrinter) slot(k int) int { return word * (arguments + k) }

// keep prints the stores of registers, or with "ld" their loads, two of a kind at a time.
func (p *armPrinter) keep(way string) {
	for k := 0; k < len(p.saved); k++ {
		if r := p.saved[k]; k+1 < len(p.saved) && r[0] == p.saved[k+1][0] {
			fmt.Fprintf(p, "\t%sp %s, %s, [sp, #%d]\n", way, r, p.saved[k+1], p.slot(k))
			k++
		} else {
			fmt.Fprintf(p, "\t%sr %s, [sp, #%d]\n", way, r, p.slot(k))
		}
	}
}

// leave prints the epilogue. There may be code behind it.
func (p *armPrinter) leave() {
	p.WriteString("\t.cfi_remember_state\n")
	p.keep("ld")
	fmt.Fprintf(p, "\tadd sp, sp, #%d\n\t.cfi_def_cfa_offset 0\n", p.size())
	for _, r := range p.saved {
		fmt.Fprintf(p, "\t.cfi_restore %s\n", r)
	}
	p.WriteString("\tret\n\t.cfi_restore_state\n")
}

// A spelling is GNU's for a name of Go's: what it is between registers, the end of ldr and
// str if it moves memory, and the letters of registers.
type spelling struct{ name, memory, number, vector string }

// spellings are those of all instructions that Go has names for: one that is not here may
// have its operands in another order.
var spellings = map[string]spelling{
	"ADD": {name: "add", number: "x"}, "ADDS": {name: "adds", number: "x"}, "SUB": {name: "sub", number: "x"}, "SUBS": {name: "subs", number: "x"},
	"AND": {name: "and", number: "x"}, "MUL": {name: "mul", number: "x"},
	"LSL": {name: "lsl", number: "x"}, "LSR": {name: "lsr", number: "x"},
	"CMP": {name: "cmp", number: "x"}, "CMPW": {name: "cmp", number: "w"},
	"CBNZ": {name: "cbnz", number: "x"}, "JMP": {name: "b"}, "BEQ": {name: "b.eq"}, "BNE": {name: "b.ne"}, "BLT": {name: "b.lt"},
	"BLE": {name: "b.le"}, "BGT": {name: "b.gt"}, "BGE": {name: "b.ge"},
	"VDUP": {name: "dup"}, "VEOR": {name: "eor"}, "VEXT": {name: "ext"}, "PRFM": {name: "prfm"},
	"MOVD": {"mov", "r", "x", ""}, "MOVWU": {"", "r", "w", ""}, "MOVH": {"", "rh", "w", ""}, "MOVHU": {"", "rh", "w", ""},
	"FMOVS": {"fmov", "r", "w", "s"}, "FMOVD": {"", "r", "", "d"}, "FMOVQ": {"", "r", "", "q"},
	"FLDPQ": {"", "p", "", "q"}, "FSTPQ": {"", "p", "", "q"},
}

// instruction prints an instruction.
func (p *armPrinter) instruction(i arm64.Instruction) {
	switch {
	case i.Label != "":
		fmt.Fprintf(p, "\nL(%s):\n", i.Label)
	case i.GNU != "":
		p.WriteString("\t" + i.GNU + "\n")
	case i.Name == "RET":
		p.leave()
	case !p.special(i):
		p.plain(i)
	}
}

// special prints what is found otherwise than in Go: addresses, parameters, and numbers
// that are too long for a comparison.
func (p *armPrinter) special(i arm64.Instruction) bool {
	switch x := i.Operands[0].(type) {
	case arm64.Constants:
		fmt.Fprintf(p, "\tADDRESS x%d\n", i.Operands[1])
	case arm64.Locals:
		fmt.Fprintf(p, "\tadd x%d, sp, #%d\n", i.Operands[1], p.own())
	case arm64.Param:
		p.load(x.At, i.Operands[1].(arm64.R))
	case arm64.Bits:
		if x <= longest {
			return false
		}
		fmt.Fprintf(p, "\tmov w%d, #%#x\n\tcmp w%d, w%[1]d\n", p.spare, uint32(x), i.Operands[1])
	default:
		return false
	}
	return true
}

// load prints the load of what is at a place of Go's parameters.
func (p *armPrinter) load(at int, to arm64.R) {
	argument, within := p.place(at)
	fmt.Fprintf(p, "\tldr x%d, [sp, #%d]\n", int(to), word*argument)
	if within >= 0 {
		fmt.Fprintf(p, "\tldr x%d, [x%[1]d, #%d]\n", int(to), within)
	}
}

// plain prints an instruction with its operands in Go's order turned round, but for
// stores.
func (p *armPrinter) plain(i arm64.Instruction) {
	goName, after := strings.CutSuffix(i.Name, ".P")
	s, ok := spellings[goName]
	var operands []string
	moves, stores := false, false
	for _, op := range i.Operands {
		_, stores = op.(arm64.Mem)
		moves = moves || stores
		operands = append(operands, p.operand(s, op, after))
	}
	name := s.name
	if moves && s.memory != "" {
		name = "ld" + s.memory
		if stores {
			name = "st" + s.memory
		}
	}
	if !stores && name != "cbnz" { // whose label comes last
		slices.Reverse(operands)
	}
	if !ok || name == "" {
		panic(fmt.Errorf("gnu: %s: no way to print %v", p.name, i))
	}
	fmt.Fprintf(p, "\t%s %s\n", name, strings.Join(operands, ", "))
}

// operand is an operand in GNU's syntax.
func (p *armPrinter) operand(s spelling, op arm64.Operand, after bool) string {
	switch x := op.(type) {
	case arm64.R:
		return letter(s.number, int(x))
	case arm64.F:
		return letter(s.vector, int(x))
	case arm64.Pair:
		return letter(s.vector, int(x[0])) + ", " + letter(s.vector, int(x[1]))
	case arm64.V:
		return arranged(x)
	case arm64.Shifted:
		return fmt.Sprintf("%s, lsl #%d", letter(s.number, x.N), x.By)
	case arm64.Mem:
		if after {
			return fmt.Sprintf("[x%d], #%d", x.Base, x.At)
		}
		return fmt.Sprintf("[x%d, #%d]", x.Base, x.At)
	case arm64.Immediate:
		return p.immediate(s, int64(x))
	case arm64.Bits:
		return fmt.Sprintf("#%d", uint32(x))
	case arm64.Jump:
		return "L(" + string(x) + ")"
	case arm64.Hint:
		return strings.ToLower(string(x))
	}
	panic(fmt.Errorf("gnu: %s: no way to print %T", p.name, op))
}

// immediate is a number. What is added has twelve bits, of which assemblers would make
// more with a shift, and Go's with a register.
func (p *armPrinter) immediate(s spelling, x int64) string {
	if slices.Contains([]string{"add", "adds", "sub", "subs"}, s.name) && (x < 0 || x > longest) {
		panic(fmt.Errorf("gnu: %s: %s by %d", p.name, s.name, x))
	}
	return fmt.Sprintf("#%d", x)
}

// letter is a register's name.
func letter(kind string, number int) string {
	if kind == "" {
		panic("gnu: a register of a kind that the instruction does not take")
	}
	return fmt.Sprint(kind, number)
}

// arranged is a vector by its lanes, of which GNU has the number before their kind.
func arranged(v arm64.V) string {
	kind, lanes := v.Arrangement[:1], v.Arrangement[1:]
	if lanes[0] == '[' {
		return fmt.Sprintf("v%d.%s", v.N, strings.ToLower(v.Arrangement))
	}
	return fmt.Sprintf("v%d.%s%s", v.N, lanes, strings.ToLower(kind))
}
