package gnu

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/arm64"
	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/gen/typetest"
)

// TestSpellingOfArm has an instruction of each form.
func TestSpellingOfArm(t *testing.T) {
	type ops = []arm64.Operand
	at, v := arm64.Mem{Base: 3, At: -16}, func(n int, s string) arm64.V { return arm64.V{N: n, Arrangement: s} }
	for _, c := range []struct {
		name     string
		operands ops
		want     string
	}{
		{"ADD", ops{arm64.Shifted{N: 4, By: 2}, arm64.R(5), arm64.R(6)}, "add x6, x5, x4, lsl #2"},
		{"ADDS", ops{arm64.Immediate(2), arm64.R(1), arm64.R(2)}, "adds x2, x1, #2"},
		{"SUBS", ops{arm64.Immediate(16), arm64.R(1), arm64.R(2)}, "subs x2, x1, #16"},
		{"AND", ops{arm64.Immediate(-64), arm64.R(1), arm64.R(1)}, "and x1, x1, #-64"},
		{"MUL", ops{arm64.R(1), arm64.R(2), arm64.R(3)}, "mul x3, x2, x1"},
		{"LSR", ops{arm64.Immediate(16), arm64.R(2), arm64.R(3)}, "lsr x3, x2, #16"},
		{"CMP", ops{arm64.R(3), arm64.R(2)}, "cmp x2, x3"},
		{"CMPW", ops{arm64.Bits(0), arm64.R(4)}, "cmp w4, #0"},
		{"CMPW", ops{arm64.Bits(0x3f800000), arm64.R(4)}, "mov w9, #0x3f800000\n\tcmp w4, w9"},
		{"MOVD", ops{arm64.R(1), arm64.R(2)}, "mov x2, x1"},
		{"MOVD", ops{arm64.Immediate(24), arm64.R(2)}, "mov x2, #24"},
		{"MOVD", ops{at, arm64.R(2)}, "ldr x2, [x3, #-16]"},
		{"MOVD", ops{arm64.Constants("constants"), arm64.R(2)}, "ADDRESS x2"},
		{"MOVWU", ops{at, arm64.R(2)}, "ldr w2, [x3, #-16]"},
		{"MOVHU.P", ops{at, arm64.R(2)}, "ldrh w2, [x3], #-16"},
		{"MOVH.P", ops{arm64.R(2), at}, "strh w2, [x3], #-16"},
		{"FMOVQ", ops{at, arm64.F(2)}, "ldr q2, [x3, #-16]"},
		{"FMOVQ.P", ops{arm64.F(2), at}, "str q2, [x3], #-16"},
		{"FMOVS", ops{arm64.F(2), at}, "str s2, [x3, #-16]"},
		{"FMOVS", ops{arm64.F(2), arm64.R(5)}, "fmov w5, s2"},
		{"FMOVS", ops{arm64.R(5), arm64.F(2)}, "fmov s2, w5"},
		{"FMOVD", ops{at, arm64.F(2)}, "ldr d2, [x3, #-16]"},
		{"FLDPQ.P", ops{at, arm64.Pair{7, 9}}, "ldp q7, q9, [x3], #-16"},
		{"FSTPQ", ops{arm64.Pair{7, 9}, at}, "stp q7, q9, [x3, #-16]"},
		{"VDUP", ops{v(1, "S[0]"), v(2, "S4")}, "dup v2.4s, v1.s[0]"},
		{"VEOR", ops{v(1, "B16"), v(2, "B16"), v(3, "B16")}, "eor v3.16b, v2.16b, v1.16b"},
		{"VEXT", ops{arm64.Immediate(8), v(1, "B16"), v(2, "B16"), v(3, "B16")}, "ext v3.16b, v2.16b, v1.16b, #8"},
		{"PRFM", ops{at, arm64.Hint("PLDL1KEEP")}, "prfm pldl1keep, [x3, #-16]"},
		{"CBNZ", ops{arm64.R(8), arm64.Jump("reads")}, "cbnz x8, L(reads)"},
		{"BLT", ops{arm64.Jump("loop")}, "b.lt L(loop)"},
		{"JMP", ops{arm64.Jump("end")}, "b L(end)"},
	} {
		p := &armPrinter{spare: 9}
		p.instruction(arm64.Instruction{Name: c.name, Operands: c.operands})
		if got := strings.TrimSpace(p.String()); got != c.want {
			t.Errorf("%s is %q, want %q", c.name, got, c.want)
		}
	}
}

// TestArmRefuses has what nobody has said how to print, and numbers that have no room.
func TestArmRefuses(t *testing.T) {
	type ops = []arm64.Operand
	for _, i := range []arm64.Instruction{
		{Name: "FADDS", Operands: ops{arm64.F(0), arm64.F(1)}},
		{Name: "MOVWU", Operands: ops{arm64.R(0), arm64.R(1)}},
		{Name: "FMOVQ", Operands: ops{arm64.R(0), arm64.Mem{}}},
		{Name: "ADD", Operands: ops{arm64.F(0), arm64.F(1), arm64.F(2)}},
		{Name: "ADD", Operands: ops{arm64.Immediate(4096), arm64.R(1), arm64.R(2)}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v was printed", i)
				}
			}()
			new(armPrinter).instruction(i)
		}()
	}
}

var (
	numbered = regexp.MustCompile(`\b([wxsdqv])(\d+)\b`)
	saves    = regexp.MustCompile(`\.cfi_offset (\w+), -(\d+)`)
)

// TestSaved looks for registers in the text of every kernel: those that are the caller's
// are saved, each in a place of its own, and none is the platform's.
func TestSaved(t *testing.T) {
	saved := 0
	texts := map[string]string{}
	for _, r := range slices.Concat(rules.All.Rules(), typetest.All.Rules(), []*rule.Rule{wide(16)}) {
		texts[r.Name] = string(ARM64("neon", r, arm64.Compile(r)))
	}
	_, _, products := arm64.MatMul()
	texts[tile.goName] = string(TileARM64("neon", products))
	for name, text := range texts {
		_, code, _ := strings.Cut(text, "BEGIN(")
		places := map[string]string{}
		for _, m := range saves.FindAllStringSubmatch(code, -1) {
			if places[m[2]] != "" {
				t.Errorf("%s: %s is where %s is", name, m[1], places[m[2]])
			}
			places[m[2]] = m[1]
			saved++
		}
		for _, m := range numbered.FindAllStringSubmatch(code, -1) {
			if saved := callers(m[1], m[2]); saved != "" && !strings.Contains(code, ".cfi_offset "+saved+",") {
				t.Errorf("%s: %s is not saved", name, saved)
			}
		}
	}
	if saved == 0 {
		t.Error("no kernel saves anything")
	}
}

// callers is what must be saved of a register, if anything.
func callers(kind, number string) string {
	var n int
	fmt.Sscan(number, &n)
	switch isVector := strings.Contains("sdqv", kind); {
	case isVector && n >= 8 && n <= 15:
		return "d" + number
	case !isVector && n >= 18: // of which 18, 29 and 30 never are
		return "x" + number
	}
	return ""
}

// wide has so many buffers that their addresses are in registers of the caller's.
func wide(buffers int) *rule.Rule {
	return new(rule.Set).Define("Wide", "", func(r *rule.Rule) {
		p := r.Buffer("p")
		x := p
		for n := range buffers {
			x = x.Add(r.Buffer(fmt.Sprint("x", n)))
		}
		p.Set(x)
	})
}

// TestSpare has a register that the kernel does not use, also where it uses all that are
// not the caller's.
func TestSpare(t *testing.T) {
	spares := map[bool]int{}
	for _, r := range append(rules.All.Rules(), wide(14), wide(16), wide(18)) {
		k := arm64.Compile(r)
		p := newArmPrinter("neon", kernelOf(r), k)
		if slices.Contains(k.Registers(loop.Address), p.spare) || p.spare == 18 || p.spare > 28 {
			t.Errorf("%s: x%d is not free", r.Name, p.spare)
		}
		spares[p.spare > 18]++
	}
	if len(spares) < 2 {
		t.Errorf("spare registers that are the caller's, or not: %v", spares)
	}
}

// TestFrame wants what is saved to come back.
func TestFrame(t *testing.T) {
	r := wide(16)
	text := string(ARM64("neon", r, arm64.Compile(r)))
	for _, want := range []string{
		"\tstp x19, x20, [sp, #32]\n", "\tldp x19, x20, [sp, #32]\n",
		"\tstr x21, [sp, #48]\n", "\tldr x21, [sp, #48]\n", "\t.cfi_offset x21, -16\n", "\t.cfi_restore x21\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if sub, add := strings.Count(text, "sub sp, sp, #64\n"), strings.Count(text, "add sp, sp, #64\n"); sub != 1 || add != 1 {
		t.Errorf("the stack grows %d times and shrinks %d times", sub, add)
	}
}
