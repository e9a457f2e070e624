package arm64

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/gen/yardsticks"
)

// TestEncode disassembles every instruction of the table, as its macro defines it.
func TestEncode(t *testing.T) {
	for _, in := range append(slices.Clone(table), fused...) {
		for _, operands := range [][]int{{7, 20, 31}, {31, 7, 1}, {0, 1, 20}, {3, 3, 3}} {
			if err := CheckMatMul([]byte(in.word(operands...).String()), Header()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMacros wants no name twice, of which an assembler would take the first.
func TestMacros(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+)`).FindAllStringSubmatch(string(Header()), -1) {
		if seen[m[1]] {
			t.Errorf("%s is defined twice", m[1])
		}
		seen[m[1]] = true
	}
	if want := 32 + len(table) + len(fused); len(seen) != want {
		t.Errorf("%d macros, want %d", len(seen), want)
	}
}

// TestCheck shows Check what it must refuse: uses of macros as they are, and definitions that
// are another instruction.
func TestCheck(t *testing.T) {
	const fadd = "#define VFADD(m, n, d) WORD $(0x4e20d400|m<<16|n<<5|d)"
	if err := Check([]byte("\tVFADD(v2, v1, v0)\n"), []byte(fadd)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, header string }{
		{"WORD $0x4e22d420", fadd},
		{"WORD $0x4e22d420 // fadd v0.4s, v1.4s, v2.4s", fadd},
		{"VFSUB(v2, v1, v0)", fadd},
		{"VFMAX(v2, v1, v0)", "#define VFMAX(m, n, d) WORD $(0x4e20f400|m<<16|n<<5|d)"},
		{"VFMLAS0(v2, v1, v0)", string(Header())},
		{"VFADD(v1, v0)", fadd},
		{"VFADD(v3, v2, v1, v0)", fadd},
		{"VFADD(2, v1, v0)", fadd},
		{"VFADD(v2, v1, v32)", fadd},
		{"VSHL(v2, v1, v0)", string(Header())},
		{"VFADD(v2, v1, v0)", "#define VFADD(m, n, d) WORD $(0x4ea0d400|m<<16|n<<5|d)"},   // fsub
		{"VFADD(v2, v1, v0)", "#define VFADD(m, n, d) WORD $(0x4e20d400|n<<16|m<<5|d)"},   // another order
		{"VFADD(v2, v1, v0)", "#define VFADD(m, n, d) WORD $(0x0e20d400|m<<16|n<<5|d)"},   // 2s
		{"VFMLAD(v2, v1, v0)", "#define VFMLAD(m, n, d) WORD $(0x4e20cc00|m<<16|n<<5|d)"}, // 4s
		{"VADD(v2, v1, v0)", "#define VADD(m, n, d) WORD $(0x4e421420|m<<16|n<<5|d)"},     // 8h
		{"VADD(v2, v1, v0)", "#define VADD(m, n, d) WORD $(0x04c00000|m<<16|n<<5|d)"},     // z0.d
		{"VFADD(v2, v1, v0)", "#define VFADD(m, n, d) WORD $(0x1e202800|m<<16|n<<5|d)"},   // s0
		{"VADD(v2, v1, v0)", "#define VADD(m, n, d) WORD $(0x8b000000|m<<16|n<<5|d)"},     // x0
		{"VFADD(v2, v1, v0)", "#define VFADD(m, n, d) WORD $(0x14e20d400|m<<16|n<<5|d)"},
		{"VFADD(v2, v1, v0)", "#define VFADD(m, n, d) WORD $(0x4e20d400|m<<16|n<<5|k)"},
	} {
		if Check([]byte("\t"+c.line+"\n"), []byte(c.header)) == nil {
			t.Errorf("%s of %s: accepted", c.line, c.header)
		}
	}
}

// crowded has more constants and more live values than there are registers.
func crowded(constants, live int) *rule.Rule {
	return new(rule.Set).Define("Crowded", "", func(r *rule.Rule) {
		p := r.Buffer("p")
		var values []rule.Value
		for i := range live {
			values = append(values, p.Mul(r.Const(float32(i)+0.5)))
		}
		x := values[0]
		for _, v := range values[1:] {
			x = x.Sub(v)
		}
		for i := range constants {
			c := r.Const(float32(100 + i))
			x = x.Mul(c).Add(c)
		}
		for _, v := range values {
			x = x.Max(v)
		}
		p.Set(x)
	})
}

// TestAllocate walks through every kernel, taking jumps at random, and wants each
// register that is read to hold what was written to it under that name.
func TestAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, r := range append(slices.Concat(rules.All.Rules(), yardsticks.All.Rules()), crowded(40, 15)) {
		k := Compile(r)
		for range 20 {
			if missing := k.walk(rng); missing != "" {
				t.Fatalf("%s: another value is in the register that is read by %s", r.Name, missing)
			}
		}
	}
}

// A place is a register of the CPU.
type place struct {
	kind   loop.Kind
	number int
}

// walk is a line that reads what is not there, or none.
func (k *Kernel) walk(rng *rand.Rand) string {
	holds := map[place]loop.Reg{}
	at := func(r loop.Reg) place { return place{r.Kind, k.numbers[r]} }
	jumps := 0
	for j := 0; jumps < 200; j++ {
		l := k.lines[j]
		for _, r := range l.reads {
			if holds[at(r)] != r {
				return text(l.number(k.numbers))
			}
		}
		for _, r := range l.writes {
			holds[at(r)] = r
		}
		switch {
		case l.jump != "" && (l.leaves || rng.IntN(2) == 0):
			j = slices.IndexFunc(k.lines, func(to line) bool { return to.label == l.jump })
			jumps++
		case l.leaves:
			return ""
		}
	}
	return ""
}

// TestOverwrite wants no number for two results of a line, and none for a result that is
// in use behind it, though no one reads it.
func TestOverwrite(t *testing.T) {
	v := func(n int) loop.Reg { return loop.Reg{Kind: loop.Vector, N: n} }
	lines := []line{{writes: writes(v(1))}, {writes: writes(v(2), v(3))}, {reads: reads(v(1))}}
	numbers, lacks := allocate(lines)
	one, two, three := numbers[v(1)], numbers[v(2)], numbers[v(3)]
	if lacks != 0 || one == two || one == three || two == three {
		t.Errorf("%v, %d are lacking", numbers, lacks)
	}
}

// TestStep wants no number for a result that its load's pointer has, which is stepped on
// though no one reads it again.
func TestStep(t *testing.T) {
	base, element := loop.Reg{Kind: loop.Address, N: 1}, loop.Reg{Kind: loop.Vector, N: 1}
	s := &selection{lines: []line{{writes: writes(base)}}}
	s.move(loop.Inst{Op: loop.Load, Dst: element, Mem: loop.Mem{Base: base}, Type: rule.BF16, Bytes: 2, Step: 2})
	numbers, _ := allocate(s.lines)
	if got := text(s.lines[1].number(numbers)); got != "\tMOVHU.P 2(R0), R1\n" {
		t.Error(got)
	}
}

// TestLacks has more values at once than there are registers, and counts how many.
func TestLacks(t *testing.T) {
	for kind, all := range registers {
		for more := range 4 {
			var list []loop.Reg
			for n := range len(all) + more {
				list = append(list, loop.Reg{Kind: kind, N: n + 1})
			}
			want := more
			if kind == loop.Address && more > 0 {
				want = len(all) // which no plan saves
			}
			if _, lacks := allocate([]line{{writes: list}, {reads: list}}); lacks != want {
				t.Errorf("%d more than %d: %d are lacking", more, len(all), lacks)
			}
		}
	}
}

// TestInPlace prints a choice in the register of each operand, and in another.
func TestInPlace(t *testing.T) {
	d, m, x, y := loop.Reg{N: 1}, loop.Reg{N: 2}, loop.Reg{N: 3}, loop.Reg{N: 4}
	s := &selection{}
	s.choose(d, m, x, y)
	for to, want := range map[int]string{
		5: "VBSL(v7, v6, v5)",
		6: "VBIF(v5, v7, v6)",
		7: "VBIT(v5, v6, v7)",
		8: "VBSL(v7, v6, v8)",
	} {
		got := text(s.lines[0].number(numbering{d: to, m: 5, x: 6, y: 7}))
		if !strings.HasSuffix(got, want+"\n") || strings.Contains(got, "VORR(v5, v5, v8)\n") != (to == 8) {
			t.Errorf("v%d: %s", to, got)
		}
	}
}

// TestResident has room for a part of the constants: all registers are in use, and so
// many are fetched in the loop as there is no room for.
func TestResident(t *testing.T) {
	k := Compile(crowded(40, 15))
	used := map[int]bool{}
	for r, n := range k.numbers {
		if r.Kind == loop.Vector {
			used[n] = true
		}
	}
	body := text(k.body(k.p.Mains[0].Label))
	fetched := map[string]bool{}
	for _, m := range regexp.MustCompile(`FMOVQ (\d+)\(R0\)`).FindAllStringSubmatch(body, -1) {
		fetched[m[1]] = true
	}
	if !strings.Contains(text(k.Code()), "MOVD $constantsOfCrowded<>(SB), R0\n") || len(used) != len(registers[loop.Vector]) {
		t.Errorf("%d vectors are used", len(used))
	}
	if resident := len(k.constants) - len(fetched); resident < 10 || resident > 20 {
		t.Errorf("%d of %d constants are resident beside 15 values", resident, len(k.constants))
	}
}

// TestDot has a product of two buffers, which no rule sums yet.
func TestDot(t *testing.T) {
	r := new(rule.Set).Define("Dot", "", func(r *rule.Rule) { r.Dot("sum", r.Buffer("x"), r.Buffer("y")) })
	products := regexp.MustCompile(`VFMLAD\(v(\d+), v(\d+), v\d+\)`).FindAllStringSubmatch(text(Compile(r).Code()), -1)
	if len(products) != 16+2+1 {
		t.Errorf("%d products", len(products))
	}
	for _, m := range products {
		if m[1] == m[2] {
			t.Errorf("%s is a square", m[0])
		}
	}
}

// TestShort asks for more values at a time than there are registers.
func TestShort(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Compile(crowded(1, 40))
}
