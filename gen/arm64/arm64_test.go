package arm64

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
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
	return new(rule.Set).Define("Crowded", func(r *rule.Rule) {
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

// TestAllocate takes registers away from the constants, one by one, and checks
// that the loops leave those that remain alone and give back all others.
func TestAllocate(t *testing.T) {
	r := crowded(40, 15)
	written := regexp.MustCompile(`(?m)// \w+ v(\d+)|, F(\d+)$`)
	best := -1
	for held := range registers + 1 {
		k := lower(r, held, false)
		if k.short {
			continue
		}
		best = held
		if want := uint32(1)<<(registers-held) - 1; k.free != want {
			t.Errorf("%d held: free registers are %b, want %b", held, k.free, want)
		}
		_, loops, _ := strings.Cut(k.String(), "loop4:")
		for _, m := range written.FindAllStringSubmatch(loops, -1) {
			if v, _ := strconv.Atoi(m[1] + m[2]); v >= registers-held {
				t.Errorf("%d held: %s writes to one of them", held, m[0])
			}
		}
	}
	if best < 10 || best > 20 {
		t.Errorf("at most %d constants are held beside 15 values", best)
	}
	if string(Emit(r)) != lower(r, best, false).String() {
		t.Errorf("Emit does not hold %d constants", best)
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
