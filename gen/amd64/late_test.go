package amd64

import (
	"regexp"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"

	"github.com/mmcloughlin/avo/ir"
)

// TestLate has an operand that lies in memory until something is stored there, and must be
// in a register by then.
func TestLate(t *testing.T) {
	r := new(rule.Set).Define("Late", "", func(r *rule.Rule) {
		x, y := r.Buffer("x"), r.Buffer("y")
		x.Set(r.Const(1))
		y.Set(y.Sub(x))
	})
	differences := regexp.MustCompile(`(?m)^\tVSUBPS .*$`)
	for name, isa := range map[string]ISA{"avx2": AVX2, "avx512": AVX512} {
		list := differences.FindAllString(string(Print([]*rule.Rule{r}, []*ir.File{Compile(r, isa)})), -1)
		if len(list) < 3 {
			t.Errorf("%s: %d differences", name, len(list))
		}
		for _, line := range list {
			if regexp.MustCompile(`\(`).MatchString(line) {
				t.Errorf("%s: %s reads what was stored before", name, line)
			}
		}
	}
}
