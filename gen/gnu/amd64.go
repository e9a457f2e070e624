package gnu

import (
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A printer prints one file.
type printer struct {
	file
	frame frame
}

// AMD64 is the file of a kernel for an instruction set of x86-64.
func AMD64(isa string, r *rule.Rule, f *ir.File) []byte { return printAMD64(isa, kernelOf(r), f) }

// TileAMD64 is that of the kernel of matrix products.
func TileAMD64(isa string, f *ir.File) []byte { return printAMD64(isa, tile, f) }

func printAMD64(isa string, k kernel, f *ir.File) []byte {
	p := &printer{file: newFile(isa, k)}
	for _, fn := range f.Functions() {
		p.frame = newFrame(fn)
		p.head(isa, need{"LOCKSTEP_X86_64", requires(fn), append(p.frame.saved, "rsp")})
		p.constants(f)
		p.function(fn)
	}
	return p.Bytes()
}

// requires are the instruction sets but for what every such CPU has: prefetches.
func requires(fn *ir.Function) []string {
	var list []string
	for _, isa := range fn.ISA {
		if isa != "MMX+" {
			list = append(list, isa)
		}
	}
	return list
}

// constants prints the file's data.
func (p *printer) constants(f *ir.File) {
	p.WriteString("\n\tCONSTANTS\n")
	for _, s := range f.Sections {
		if g, ok := s.(*ir.Global); ok {
			fmt.Fprintf(p, "\t.balign %d\nL(%s):\n", g.Size, g.Symbol.Name)
			for k, d := range g.Data {
				word, ok := d.Value.(operand.U32)
				if !ok || d.Offset != 4*k {
					panic(fmt.Errorf("gnu: %s: data that are not words in order", p.name))
				}
				fmt.Fprintf(p, "\t.long %#x\n", uint32(word))
			}
		}
	}
}

// function prints the kernel.
func (p *printer) function(fn *ir.Function) {
	fmt.Fprintf(p, "\n\tBEGIN(%s)\n", p.name)
	p.frame.enter(p)
	for _, node := range fn.Nodes {
		switch n := node.(type) {
		case ir.Label:
			fmt.Fprintf(p, "\nL(%s):\n", n)
		case *ir.Instruction:
			p.instruction(n)
		default:
			panic(fmt.Errorf("gnu: %s: no way to print %T", p.name, n))
		}
	}
	fmt.Fprintf(p, "\tEND(%s)\n#endif\nNOTES\n", p.name)
}

// instruction prints an instruction.
func (p *printer) instruction(i *ir.Instruction) {
	if from, ok := parameter(i); ok {
		p.load(from, p.operand(i.Operands[1]))
		return
	}
	if i.Opcode == "RET" {
		p.frame.leave(p)
		return
	}
	var operands []string
	for _, op := range i.Operands {
		if r, ok := op.(reg.Register); ok && r.Size() == 2 && r.Kind() == reg.KindGP && i.Opcode != "MOVW" {
			panic("gnu: a register of 16 bits in " + i.Opcode)
		}
		operands = append(operands, p.operand(op))
	}
	fmt.Fprintf(p, "\t%s", mnemonic(i.Opcode))
	if operands = arrange(i, operands); len(operands) > 0 {
		p.WriteString(" " + strings.Join(operands, ", "))
	}
	p.WriteByte('\n')
}

// renamed are the instructions without vectors, by their names in Go: one that is not
// here may have its operands in another order.
var renamed = map[string]string{
	"ADDL": "addl", "ADDQ": "addq", "ANDQ": "andq", "BZHIL": "bzhil", "CMPL": "cmpl", "CMPQ": "cmpq", "DECQ": "decq", "IMUL3Q": "imulq",
	"JCC": "jnc", "JE": "je", "JG": "jg", "JGE": "jge", "JLE": "jle", "JLT": "jl", "JMP": "jmp", "JNE": "jne",
	"KMOVW": "kmovw", "KORTESTW": "kortestw", "LEAQ": "leaq", "MOVL": "movl", "MOVQ": "movq", "MOVW": "movw", "MOVWLZX": "movzwl",
	"PREFETCHT0": "prefetcht0", "SHLQ": "shlq", "SUBQ": "subq", "XORQ": "xorq",
}

// mnemonic is the name of an instruction. Those of vectors have Go's.
func mnemonic(opcode string) string {
	if name, ok := renamed[opcode]; ok {
		return name
	}
	if opcode[0] != 'V' {
		panic("gnu: unknown instruction " + opcode)
	}
	return strings.ToLower(opcode)
}

// arrange puts operands in GNU's order, which is Go's but for comparisons of numbers, and
// a mask behind what it masks.
func arrange(i *ir.Instruction, operands []string) []string {
	if strings.HasPrefix(i.Opcode, "CMP") {
		return []string{operands[1], operands[0]}
	}
	last := len(i.Operands) - 1
	if i.Opcode[0] != 'V' || last < 2 || !isMask(i.Operands[last-1]) {
		if len(i.Suffixes) > 0 {
			panic("gnu: no mask for " + i.OpcodeWithSuffixes())
		}
		return operands
	}
	masked := operands[last] + "{" + operands[last-1] + "}"
	for _, s := range i.Suffixes {
		masked += "{" + strings.ToLower(s) + "}"
	}
	return append(operands[:last-1], masked)
}

func isMask(op operand.Op) bool {
	r, ok := op.(reg.Register)
	return ok && r.Kind() == reg.KindOpmask
}

// operand is an operand in GNU's syntax.
func (p *printer) operand(op operand.Op) string {
	switch x := op.(type) {
	case reg.Register:
		return "%" + register(x)
	case operand.LabelRef:
		return "L(" + string(x) + ")"
	case operand.Mem:
		return memory(x)
	case operand.Constant:
		return "$" + strings.TrimPrefix(strings.TrimPrefix(x.Asm(), "$"), "+")
	}
	panic(fmt.Errorf("gnu: %s: no way to print %T", p.name, op))
}

// memory is an address.
func memory(m operand.Mem) string {
	if m.Base == reg.StaticBase {
		return fmt.Sprintf("L(%s)+%d(%%rip)", m.Symbol.Name, m.Disp)
	}
	text := "(%" + register(m.Base)
	if m.Index != nil && m.Scale != 0 {
		text += fmt.Sprintf(", %%%s, %d", register(m.Index), m.Scale)
	}
	if text += ")"; m.Disp != 0 {
		text = fmt.Sprint(m.Disp) + text
	}
	return text
}

// register is a register's name. Go has one name for all sizes of a number's.
func register(r reg.Register) string {
	name := strings.ToLower(r.Asm())
	switch {
	case r == reg.StackPointer:
		return "rsp"
	case r.Kind() == reg.KindVector:
		return name[:1] + "mm" + name[1:]
	case r.Kind() == reg.KindOpmask:
		return name
	case r.Size() == 8 && name[0] == 'r':
		return name
	case r.Size() == 8:
		return "r" + name
	case r.Size() == 4 && name[0] == 'r':
		return name + "d"
	case r.Size() == 4:
		return "e" + name
	case r.Size() == 2 && name[0] == 'r':
		return name + "w"
	case r.Size() == 2:
		return name
	}
	panic("gnu: no name for a register of this size: " + name)
}
