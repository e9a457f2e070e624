package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// counting is a rule whose first pass counts elements over a scope, and whose second one
// notes in each step which sums it is given. The third one has none.
func counting(over Scope, given *[]string) Rule {
	count := func(_ kernels.Table, list *kernels.List, _ *struct{}, s *Sums) {
		parts(list, 1, func(b [][]float32) {
			for i := range b[0] {
				s[1][i%fallback.Lanes]++
			}
		})
	}
	none := func(*StepInput) (none struct{}) { return none }
	note := func(in *StepInput) (none struct{}) {
		*given = append(*given, fmt.Sprint(in.T, in.Sums, in.Elements))
		return none
	}
	stale := func(in *StepInput) (none struct{}) {
		if in.Sums != [MaxSums]float64{} || in.Elements != 0 {
			*given = append(*given, fmt.Sprint("of two passes before: ", in.Sums, in.Elements))
		}
		return none
	}
	nothing := func(kernels.Table, *kernels.List, *struct{}) {}
	return Rule{Plan: Plan{Passes: []Pass{Summing(over, count, none, ParamsName), Elements(nothing, note), Elements(nothing, stale)}}}
}

// TestScopes counts over each scope, in tensors of two rules of one name, of which one takes no
// part in the second step, beside a rule of one pass and one of another name with such sums.
func TestScopes(t *testing.T) {
	const large = 2*tune.UnitLen + 5
	tensors := []Tensor{{Size: 3}, {Size: large, Rule: 1}, {Size: 40, Rule: 2}, {Size: 5}, {Size: 7, Rule: 1}, {Size: 9, Rule: 3}}
	alone := []string{"1 [0 9] 9", "2 [0 9] 9"}
	for over, want := range map[Scope][3][]string{
		NoSums:     {{"1 [0 0] 0", "2 [0 0] 0"}, {"1 [0 0] 0", "2 [0 0] 0"}, {"1 [0 0] 0", "2 [0 0] 0"}},
		OverTensor: {{"1 [0 3] 3", "1 [0 5] 5", "2 [0 5] 5"}, {fmt.Sprintf("1 [0 %d] %d", large, large), "1 [0 7] 7", fmt.Sprintf("2 [0 %d] %d", large, large), "2 [0 7] 7"}, alone},
		OverRule: {{"1 [0 8] 8", "2 [0 5] 5"},
			{fmt.Sprintf("1 [0 %d] %d", large+7, large+7), fmt.Sprintf("2 [0 %d] %d", large+7, large+7)}, alone},
		OverAll: {{fmt.Sprintf("1 [0 %d] %d", large+15, large+15), fmt.Sprintf("2 [0 %d] %d", large+12, large+12)},
			{fmt.Sprintf("1 [0 %d] %d", large+15, large+15), fmt.Sprintf("2 [0 %d] %d", large+12, large+12)}, alone},
	} {
		var given [3][]string
		other := counting(over, &given[2])
		other.Name = "other"
		e := New(tensors, []Rule{counting(over, &given[0]), counting(over, &given[1]), scheduleFree(Options{}), other})
		var b [][]float32
		for _, x := range tensors {
			b = append(b, make([]float32, x.Size))
		}
		some := slices.Clone(b)
		some[0] = nil
		e.Place(b, b, true)
		for _, grads := range [][][]float32{b, some} {
			e.Begin(1, grads)
			e.Run(b, b)
		}
		for k := range given {
			if !slices.Equal(given[k], want[k]) {
				t.Errorf("scope %d: rule %d is given %q, want %q", over, k, given[k], want[k])
			}
		}
	}
}
