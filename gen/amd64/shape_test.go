package amd64

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// eachKernel calls f with every kernel on disk, which TestFresh holds to what is
// generated.
func eachKernel(t *testing.T, f func(isa string, r *rule.Rule, text string)) {
	t.Helper()
	read := 0
	for _, r := range rules.All.Rules() {
		for _, isa := range []string{"avx512newton", "avx512", "avx2newton", "avx2"} {
			name := filepath.Join("../../kernels/asm", isa, r.File()+"_amd64.s")
			text, err := os.ReadFile(name)
			if os.IsNotExist(err) && strings.HasSuffix(isa, "newton") {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			read++
			f(isa, r, string(text))
		}
	}
	if read < 2*len(rules.All.Rules()) {
		t.Errorf("%d kernels for %d rules", read, len(rules.All.Rules()))
	}
}

// part is the code from a label to the jump back to it.
func part(text, label string) string {
	_, rest, _ := strings.Cut(text, "\n"+label+":\n")
	code, _, _ := strings.Cut(rest, " "+label+"\n")
	return code
}

// TestUpper wants VZEROUPPER before each return, without which what follows in SSE is
// slow.
func TestUpper(t *testing.T) {
	before := regexp.MustCompile(`VZEROUPPER\s+RET\b`)
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		n, returns := len(before.FindAllString(text, -1)), strings.Count(text, "\tRET\n")
		if n != returns || n != 1 || strings.Count(text, "VZEROUPPER") != 1 {
			t.Errorf("%s: %s: VZEROUPPER before %d of %d returns", isa, r.Name, n, returns)
		}
	})
}

// TestFetchAhead counts the prefetches of a list: some lines of each buffer, in each
// loop over tensors.
func TestFetchAhead(t *testing.T) {
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		loops := []*rule.Rule{r}
		if len(r.Usual) > 0 {
			loops = []*rule.Rule{r.Specialize(r.Usual), r.Specialize(r.Scaled())}
		}
		want := 0
		for _, main := range loops {
			if !r.IsMatrix() && !main.Long() {
				want += tune.FetchLines * len(r.Buffers)
			}
		}
		if n := strings.Count(text, "PREFETCHT0"); n != want {
			t.Errorf("%s: %s: %d prefetches, want %d", isa, r.Name, n, want)
		}
	})
}

// loops are the labels of the loops in which a kernel spends its time.
var loops = []string{"usualmain", "main", "usualloop", "loop", "rows4main", "rows2main"}

// fetched is how many invariants an iteration fetches at most, by table, kernel and loop,
// because there are no registers for them. All others have registers for all.
var fetched = map[string]int{
	"avx2 Adam usualmain": 8, "avx2 Adam main": 16, "avx2 Adam usualloop": 2, "avx2 Adam loop": 7,
	"avx2newton Adam usualmain": 8, "avx2newton Adam main": 16, "avx2newton Adam usualloop": 2, "avx2newton Adam loop": 7,
	"avx2 AdaGrad loop": 4, "avx2newton AdaGrad main": 4, "avx2newton AdaGrad loop": 5,
	"avx2 AdaGradProx usualmain": 16, "avx2 AdaGradProx usualloop": 4, "avx2 AdaGradProx loop": 4,
	"avx2 AdamProx usualloop": 4, "avx2 AdamProx loop": 10,
	"avx2 AMSGrad loop": 5, "avx2 AMSGradProx usualloop": 4, "avx2 AMSGradProx loop": 10,
	"avx2 LAMB loop": 4, "avx2 Lion loop": 2,
	"avx2 RMSprop usualmain": 8, "avx2 RMSprop main": 16, "avx2 RMSprop usualloop": 2, "avx2 RMSprop loop": 6,
	"avx2 RMSpropMomentum usualmain": 16, "avx2 RMSpropMomentum main": 24, "avx2 RMSpropMomentum usualloop": 4, "avx2 RMSpropMomentum loop": 8,
	"avx2 RMSpropCentered loop": 5, "avx2 RMSpropCenteredMomentum usualloop": 1, "avx2 RMSpropCenteredMomentum loop": 7,

	"avx512 BCE loop": 6, "avx512 BCEClip loop": 6, "avx512 BCEWithLogits loop": 13,
	"avx2 BCE loop": 42, "avx2 BCEClip loop": 40, "avx2 BCEWithLogits loop": 43,
	"avx2 Exp loop": 4, "avx2 Log loop": 15, "avx2 Log1p loop": 14,
	"avx2 Hinge main": 4, "avx2 Hinge loop": 1,

	// The mask of a sum's magnitudes is no node of the rule, and has no register.
	"avx512 MaxAbs main": 4, "avx512 MaxAbs loop": 1, "avx2 MaxAbs main": 4, "avx2 MaxAbs loop": 1,
}

// TestInvariants counts the scalars and constants that loops fetch in each iteration.
func TestInvariants(t *testing.T) {
	fetches := regexp.MustCompile(`VBROADCASTSS|\(SP\)`)
	seen := map[string]bool{}
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		for _, label := range loops {
			key := isa + " " + r.Name + " " + label
			if code := part(text, label); code != "" {
				seen[key] = true
				if n := len(fetches.FindAllString(code, -1)); n > fetched[key] {
					t.Errorf("%s: %d invariants are fetched in the loop, want at most %d", key, n, fetched[key])
				}
			}
		}
	})
	for key := range fetched {
		if !seen[key] {
			t.Errorf("there is no loop %s", key)
		}
	}
	if len(seen) < 100 {
		t.Errorf("%d loops", len(seen))
	}
}

// TestSums finds the lanes of reductions in registers: a main loop stores the vectors of
// the buffers that its rule stores to, and nothing else.
func TestSums(t *testing.T) {
	stores := regexp.MustCompile(`(?m)^\tVMOV\w+ +[XYZ]\d+, .*\)$`)
	seen := map[string]bool{}
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		want := 0
		for _, e := range r.Effects {
			if !e.Reduce {
				want += 4
			}
		}
		for _, label := range []string{"usualmain", "main", "rows4main", "rows2main"} {
			if code := part(text, label); code != "" {
				seen[r.Name] = true
				if n := len(stores.FindAllString(code, -1)); n != want {
					t.Errorf("%s: %s: %s stores %d vectors, want %d", isa, r.Name, label, n, want)
				}
			}
		}
	})
	for _, name := range []string{"Adam", "SumSquares", "MaxAbs", "CountBeyond", "MSE", "Dots", "RankOne"} {
		if !seen[name] {
			t.Errorf("%s has no main loop", name)
		}
	}
}

// TestMainLoops has the rules of so many operations or sums that a vector is work enough
// for an iteration: their kernels have no loop over several.
func TestMainLoops(t *testing.T) {
	long := []string{"AMSGrad", "AMSGradProx", "AdamProx", "BCE", "BCEClip", "BCEWithLogits", "Exp", "LAMB", "Log", "Log1p", "Penalty", "RMSpropCentered", "RMSpropCenteredMomentum"}
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		if main := regexp.MustCompile(`(?m)main:$`).MatchString(text); main == slices.Contains(long, r.Name) {
			t.Errorf("%s: %s: it has a main loop: %v", isa, r.Name, main)
		}
	})
}

// TestPhases finds the roots of all vectors of the main loop before the first quotient,
// which waits for one.
func TestPhases(t *testing.T) {
	for _, isa := range []string{"avx512", "avx2"} {
		for _, name := range []string{"adam", "adagrad", "rmsprop"} {
			text, err := os.ReadFile(fmt.Sprintf("../../kernels/asm/%s/%s_amd64.s", isa, name))
			if err != nil {
				t.Fatal(err)
			}
			code := part(string(text), "usualmain")
			before, after, ok := strings.Cut(code, "VDIVPS")
			roots := strings.Count(before, "VSQRTPS") + strings.Count(before, "VRSQRT")
			if !ok || roots != 4 || strings.Contains(after, "SQRT") || strings.Count(after, "VDIVPS") != 3 {
				t.Errorf("%s: %s: %d roots before the first quotient", isa, name, roots)
			}
		}
	}
}

// TestRootsTested finds one test an iteration for the roots from AVX-512's multipliers,
// behind the last of them, and the repair of unusual ones out of the loops. Sqrt stores
// each root at once, and so tests each.
func TestRootsTested(t *testing.T) {
	seen := 0
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		for _, label := range loops {
			code := part(text, label)
			estimates := strings.Count(code, "VRSQRT14PS")
			if estimates == 0 || r == rules.Sqrt {
				continue
			}
			seen++
			before, _, _ := strings.Cut(code, "KORTESTW")
			if strings.Count(code, "KORTESTW") != 1 || strings.Count(before, "VRSQRT14PS") != estimates || strings.Contains(code, "VFIXUPIMMPS") {
				t.Errorf("%s: %s: %s does not test its %d roots once, behind them", isa, r.Name, label, estimates)
			}
		}
	})
	if seen < 8 {
		t.Errorf("%d loops have roots from the multipliers", seen)
	}
}
