package gnu

import (
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// TestSpelling has instructions whose operands GNU has in another place or under another
// name.
func TestSpelling(t *testing.T) {
	at := operand.Mem{Base: reg.RSI, Index: reg.R9, Scale: 4, Disp: 64}
	for _, c := range []struct {
		opcode, suffix string
		operands       []operand.Op
		want           string
	}{
		{"CMPQ", "", []operand.Op{reg.RCX, reg.RDX}, "cmpq %rdx, %rcx"},
		{"CMPL", "", []operand.Op{at, operand.U32(1 << 31)}, "cmpl $0x80000000, 64(%rsi, %r9, 4)"},
		{"IMUL3Q", "", []operand.Op{operand.I32(24), reg.RDX, reg.RDX}, "imulq $24, %rdx, %rdx"},
		{"ADDL", "", []operand.Op{reg.EAX, reg.EAX}, "addl %eax, %eax"},
		{"SHLQ", "", []operand.Op{operand.U8(2), reg.RDX}, "shlq $0x02, %rdx"},
		{"BZHIL", "", []operand.Op{reg.R10L, reg.EAX, reg.EBP}, "bzhil %r10d, %eax, %ebp"},
		{"VPTESTMD", "", []operand.Op{at, reg.Z1, reg.K1}, "vptestmd 64(%rsi, %r9, 4), %zmm1, %k1"},
		{"VMOVUPS", "Z", []operand.Op{at, reg.K1, reg.Z30}, "vmovups 64(%rsi, %r9, 4), %zmm30{%k1}{z}"},
		{"VMOVUPS", "", []operand.Op{reg.Y3, reg.K2, at}, "vmovups %ymm3, 64(%rsi, %r9, 4){%k2}"},
		{"KORTESTW", "", []operand.Op{reg.K1, reg.K1}, "kortestw %k1, %k1"},
		{"VBROADCASTSS", "", []operand.Op{operand.NewDataAddr(operand.NewStaticSymbol("half"), 0), reg.X2}, "vbroadcastss L(half)+0(%rip), %xmm2"},
		{"JLT", "", []operand.Op{operand.LabelRef("loop")}, "jl L(loop)"},
		{"VZEROUPPER", "", nil, "vzeroupper"},
		{"MOVWLZX", "", []operand.Op{at, reg.R9L}, "movzwl 64(%rsi, %r9, 4), %r9d"},
		{"MOVW", "", []operand.Op{reg.R9W, at}, "movw %r9w, 64(%rsi, %r9, 4)"},
		{"MOVW", "", []operand.Op{reg.BX, at}, "movw %bx, 64(%rsi, %r9, 4)"},
		{"VCVTPS2PH", "", []operand.Op{operand.U8(0), reg.Z3, reg.K2, at}, "vcvtps2ph $0x00, %zmm3, 64(%rsi, %r9, 4){%k2}"},
	} {
		i := &ir.Instruction{Opcode: c.opcode, Operands: c.operands}
		if c.suffix != "" {
			i.Suffixes = []string{c.suffix}
		}
		p := new(printer)
		p.instruction(i)
		if got := strings.TrimSpace(p.String()); got != c.want {
			t.Errorf("%s is %q, want %q", c.opcode, got, c.want)
		}
	}
}

// TestRefuses has what nobody has said how to print.
func TestRefuses(t *testing.T) {
	for _, i := range []*ir.Instruction{
		{Opcode: "UCOMISS", Operands: []operand.Op{reg.X0, reg.X1}},
		{Opcode: "VADDPS", Suffixes: []string{"RN_SAE"}, Operands: []operand.Op{reg.Z0, reg.Z1, reg.Z2}},
		{Opcode: "MOVQ", Operands: []operand.Op{reg.RAX, operand.NewParamAddr("list_len", 8)}},
		{Opcode: "MOVQ", Operands: []operand.Op{reg.AX, reg.RCX}},
		{Opcode: "MOVW", Operands: []operand.Op{reg.AL, reg.CX}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was printed", i.Opcode)
				}
			}()
			new(printer).instruction(i)
		}()
	}
}
