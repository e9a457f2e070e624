package arm64

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/gen/yardsticks"
)

// TestEncode disassembles every instruction of the table.
func TestEncode(t *testing.T) {
	for _, in := range table {
		for _, operands := range [][]int{{7, 20, 31}, {31, 7, 1}, {0, 1, 20}, {3, 3, 3}} {
			if err := Check([]byte(in.word(operands...))); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCheck shows Check what it must refuse.
func TestCheck(t *testing.T) {
	for _, line := range []string{
		"WORD $0x4e22d420 // fadd v0.4s, v1.4s, v3.4s",
		"WORD $0x4e22d420 // fsub v0.4s, v1.4s, v2.4s",
		"WORD $0x4e22d420",
		"WORD $0x4e22cc20 // fmla v0.4s, v1.4s, v2.4s",
		"WORD $0x0e22d420 // fadd v0.2s, v1.2s, v2.2s",
		"WORD $0x4e421420 // fadd v0.8h, v1.8h, v2.8h",
		"WORD $0x04c20020 // add z0.d, z1.d, z2.d",
		"WORD $0x1e222820 // fadd s0, s1, s2",
		"WORD $0x8b020020 // add x0, x1, x2",
	} {
		if Check([]byte("\t"+line+"\n")) == nil {
			t.Errorf("%s: accepted", line)
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

// lower is a kernel by one plan.
func lower(r *rule.Rule, p plan) *kernel {
	if r.IsMatrix() {
		return lowerMatrix(r, p)
	}
	return lowerList(r, r, p, "", r.Scaled())
}

// TestAllocate takes registers away from the constants, one by one, and checks
// that the loops leave those that remain alone and give back all others.
func TestAllocate(t *testing.T) {
	r := crowded(40, 15)
	written := regexp.MustCompile(`(?m)// \w+ v(\d+)|, \(?F(\d+)(?:, F(\d+)\))?$`)
	best := map[int]int{}
	for resident := range registers + 1 {
		for wide := 1; wide <= 2; wide++ {
			k := lower(r, plan{side: 1, wide: wide, resident: resident})
			if k.short {
				continue
			}
			best[wide] = resident
			if want := uint32(1)<<(registers-resident) - 1; k.free != want {
				t.Errorf("%d resident: free registers are %b, want %b", resident, k.free, want)
			}
			_, loops, _ := strings.Cut(k.String(), fmt.Sprintf("loop%d:", 4*wide))
			for _, m := range written.FindAllStringSubmatch(loops, -1) {
				for _, register := range m[1:] {
					if v, err := strconv.Atoi(register); err == nil && v >= registers-resident {
						t.Errorf("%d resident: %s writes to one of them", resident, m[0])
					}
				}
			}
		}
	}
	if best[1] < 10 || best[1] > 20 {
		t.Errorf("at most %d constants are resident beside 15 values", best[1])
	}
	if _, ok := best[2]; ok {
		t.Error("two vectors with 15 values each find room beside each other")
	}
	if !strings.Contains(string(Emit(r)), lower(r, plan{side: 1, wide: 1, resident: best[1]}).String()) {
		t.Errorf("Emit does not hold %d constants", best[1])
	}
}

// TestPlans prints every kernel by every plan that there is room for: each gives
// back all registers but those of what is resident, and only those of rows that
// a reduction does not cross are side by side.
func TestPlans(t *testing.T) {
	lanes := new(rule.Set).Define("Lanes", "", func(r *rule.Rule) {
		r.Buffer("w").Set(r.Matrix("x"))
		r.PerRow("z")
		r.Sum("sum", r.Matrix("y"))
	})
	sides := map[string]int{}
	for _, r := range append(slices.Concat(rules.All.Rules(), yardsticks.All.Rules()), lanes) {
		for _, p := range plans(r) {
			for p.resident = 0; p.resident <= registers; p.resident++ {
				k := lower(r, p)
				if k.short {
					break
				}
				sides[r.Name] = max(sides[r.Name], p.side)
				free := uint32(1<<registers - 1)
				for v := range k.held {
					free &^= 1 << k.reg[v]
				}
				if k.free != free || len(k.reg) != len(k.held) {
					t.Errorf("%s: %+v: free registers are %b, want %b", r.Name, p, k.free, free)
				}
			}
		}
	}
	for name, want := range map[string]int{"Adam": 1, "Lanes": 1, "Dots": 4, "RankOne": 4, "Read": 4} {
		if sides[name] != want {
			t.Errorf("%s: up to %d rows are side by side, want %d", name, sides[name], want)
		}
	}
}

// TestDot has a product of two buffers, which no rule sums yet.
func TestDot(t *testing.T) {
	r := new(rule.Set).Define("Dot", "", func(r *rule.Rule) { r.Dot("sum", r.Buffer("x"), r.Buffer("y")) })
	products := regexp.MustCompile(`fmla v\d+.2d, v(\d+).2d, v(\d+).2d`).FindAllStringSubmatch(string(Emit(r)), -1)
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
	Emit(crowded(1, 40))
}
