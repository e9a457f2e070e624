package amd64

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// TestInvariants finds no scalar and no constant fetched in the usual main loop of a
// step: all have registers.
func TestInvariants(t *testing.T) {
	fetched := regexp.MustCompile(`VBROADCASTSS|\(SP\)`)
	seen := 0
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		code := part(text, "usualmain")
		if code == "" {
			return
		}
		seen++
		n := len(fetched.FindAllString(code, -1))
		if allowed := map[string]int{"avx2": 16, "avx2newton": 16}[isa]; n > allowed {
			t.Errorf("%s: %s: %d invariants are fetched in the loop", isa, r.Name, n)
		}
		if r == rules.SGD || r == rules.Momentum {
			if n > 0 {
				t.Errorf("%s: %s: %d invariants are fetched in the loop, of few", isa, r.Name, n)
			}
		}
	})
	if seen < 10 {
		t.Errorf("%d usual loops", seen)
	}
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
