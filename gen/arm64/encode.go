package arm64

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/arch/arm64/arm64asm"
)

// An inst is a vector instruction. Go's assembler has no name for most of them,
// so all are written for it as a WORD with its GNU spelling beside it.
type inst struct {
	name string
	bits uint32
	args []string // the arrangement of each register, or "#" for a shift
}

// sixteen is an argument that is part of the instruction.
const sixteen = "#16"

var table []*inst

func row(name string, bits uint32, args ...string) *inst {
	in := &inst{name, bits, args}
	table = append(table, in)
	return in
}

// The bits of a shift are those of a shift by zero, to which the left shift
// adds its distance and from which a right shift subtracts it.
var (
	fadd  = row("fadd", 0x4e20d400, "4s", "4s", "4s")
	fsub  = row("fsub", 0x4ea0d400, "4s", "4s", "4s")
	fmul  = row("fmul", 0x6e20dc00, "4s", "4s", "4s")
	fdiv  = row("fdiv", 0x6e20fc00, "4s", "4s", "4s")
	fsqrt = row("fsqrt", 0x6ea1f800, "4s", "4s")
	fabs  = row("fabs", 0x4ea0f800, "4s", "4s")
	fneg  = row("fneg", 0x6ea0f800, "4s", "4s")
	scvtf = row("scvtf", 0x4e21d800, "4s", "4s")

	fcmgt = row("fcmgt", 0x6ea0e400, "4s", "4s", "4s")
	fcmge = row("fcmge", 0x6e20e400, "4s", "4s", "4s")
	fcmeq = row("fcmeq", 0x4e20e400, "4s", "4s", "4s")
	cmtst = row("cmtst", 0x4ea08c00, "4s", "4s", "4s")
	bsl   = row("bsl", 0x6e601c00, "16b", "16b", "16b")
	bit   = row("bit", 0x6ea01c00, "16b", "16b", "16b")
	bif   = row("bif", 0x6ee01c00, "16b", "16b", "16b")

	and  = row("and", 0x4e201c00, "16b", "16b", "16b")
	orr  = row("orr", 0x4ea01c00, "16b", "16b", "16b")
	eor  = row("eor", 0x6e201c00, "16b", "16b", "16b")
	add  = row("add", 0x4ea08400, "4s", "4s", "4s")
	sub  = row("sub", 0x6ea08400, "4s", "4s", "4s")
	mul  = row("mul", 0x4ea09c00, "4s", "4s", "4s")
	shl  = row("shl", 0x4f205400, "4s", "4s", "#")
	ushr = row("ushr", 0x6f400400, "4s", "4s", "#")
	sshr = row("sshr", 0x4f400400, "4s", "4s", "#")

	// Elements of 16 bits are the upper half of a lane: shll moves them there, from the
	// first or the second half of a register, and uzp2 back, from two registers.
	shll  = row("shll", 0x2e613800, "4s", "4h", sixteen)
	shll2 = row("shll2", 0x6e613800, "4s", "8h", sixteen)
	uzp2  = row("uzp2", 0x4e405800, "8h", "8h", "8h")

	// Elements of F16 are converted, and rounded to nearest even.
	fcvtlh  = row("fcvtl", 0x0e217800, "4s", "4h")
	fcvtlh2 = row("fcvtl2", 0x4e217800, "4s", "8h")
	fcvtnh  = row("fcvtn", 0x0e216800, "4h", "4s")
	fcvtnh2 = row("fcvtn2", 0x4e216800, "8h", "4s")

	fcvtl  = row("fcvtl", 0x0e617800, "2d", "2s")
	fcvtl2 = row("fcvtl2", 0x4e617800, "2d", "4s")
	faddd  = row("fadd", 0x4e60d400, "2d", "2d", "2d")
	fmlad  = row("fmla", 0x4e60cc00, "2d", "2d", "2d")
)

// word applies in to its operands, the destination first.
func (in *inst) word(operands ...int) Instruction {
	bits, gnu := in.bits, make([]string, len(in.args))
	for k, arg := range in.args {
		if arg == sixteen {
			gnu[k] = arg
			continue
		}
		v := operands[k]
		switch {
		case arg != "#":
			bits |= uint32(v) << [...]int{0, 5, 16}[k]
			gnu[k] = fmt.Sprintf("v%d.%s", v, arg)
			continue
		case in == shl:
			bits += uint32(v) << 16
		default:
			bits -= uint32(v) << 16
		}
		if v >= 32 || in != shl && v == 0 {
			panic(fmt.Sprintf("arm64: %s by %d", in.name, v))
		}
		gnu[k] = fmt.Sprintf("#%d", v)
	}
	name := in.name
	if in == orr && operands[1] == operands[2] {
		name, gnu = "mov", gnu[:2]
	}
	return Instruction{Word: bits, GNU: name + " " + strings.Join(gnu, ", ")}
}

var wordLine = regexp.MustCompile(`(?m)^.*\bWORD\b.*$`)

// number is what two uses of an instruction may differ in.
var number = regexp.MustCompile(`(\bv|#)\d+`)

// Check disassembles every WORD of an assembly file and compares it with its
// comment. The disassembler knows Armv8.0 and little more; of what it knows all
// that is not in the table is refused, for FMLA rounds as the language does on
// one arrangement and not on the other.
func Check(text []byte) error { return check(text, table) }

// CheckMatMul is Check for the kernel of matrix products, whose products are fused with
// additions.
func CheckMatMul(text []byte) error { return check(text, append(slices.Clone(table), fused...)) }

func check(text []byte, table []*inst) error {
	known := map[string]bool{"mov v.16b, v.16b": true}
	for _, in := range table {
		var args []string
		for _, arg := range in.args {
			if !strings.HasPrefix(arg, "#") {
				arg = "v." + arg
			}
			args = append(args, number.ReplaceAllString(arg, "$1"))
		}
		known[in.name+" "+strings.Join(args, ", ")] = true
	}
	for _, line := range wordLine.FindAllString(string(text), -1) {
		hex, gnu, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "WORD $0x"), " // ")
		word, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			return fmt.Errorf("%s: %v", line, err)
		}
		decoded, err := arm64asm.Decode(binary.LittleEndian.AppendUint32(nil, uint32(word)))
		if err != nil {
			return fmt.Errorf("%s: %v", line, err)
		}
		got := arm64asm.GNUSyntax(decoded)
		if !known[number.ReplaceAllString(got, "$1")] {
			return fmt.Errorf("%s: %s is not among the instructions", line, got)
		}
		if got != gnu {
			return fmt.Errorf("%s: disassembles to %s", line, got)
		}
	}
	return nil
}
