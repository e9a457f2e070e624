package amd64

import (
	"maps"
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

// kernels are those of a table on disk, by name, which TestFresh holds to what is
// generated.
func kernels(t *testing.T, isa string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../kernels/asm", isa, "kernels_amd64.s"))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, kernel := range strings.Split(string(text), "\nTEXT ·")[1:] {
		name, _, _ := strings.Cut(kernel, "(")
		m[name] = kernel
	}
	return m
}

// eachKernel calls f with every kernel on disk.
func eachKernel(t *testing.T, f func(isa string, r *rule.Rule, text string)) {
	t.Helper()
	read := 0
	for _, isa := range []string{"avx512newton", "avx512", "avx2newton", "avx2"} {
		table := kernels(t, isa)
		for _, r := range rules.All.Rules() {
			if text := table[r.Name]; text != "" {
				read++
				f(isa, r, text)
			} else if !strings.HasSuffix(isa, "newton") {
				t.Errorf("%s has no %s", isa, r.Name)
			}
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
// loop over tensors. Long kernels for one tensor that convert two buffers or more fetch all
// but tables, in each loop, steps of rows what they read along these, and the tables of
// Newton's iteration all that an iteration has.
func TestFetchAhead(t *testing.T) {
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		loops := []*rule.Rule{r}
		if len(r.Usual) > 0 {
			loops = []*rule.Rule{r.Specialize(r.Usual), r.Specialize(r.Scaled())}
		}
		want, converted, tables, read := 0, 0, 0, 0
		for k, b := range r.Buffers {
			if b.Shape != rule.PerRow && r.Loads(k) {
				read++
			}
			switch {
			case b.Type != rule.F32:
				converted++
			case !r.Stores(k):
				tables++
			}
		}
		for _, main := range loops {
			switch {
			case r.Fetches:
				want += read
			case strings.HasSuffix(isa, "newton"):
				elements := map[bool]int{true: 16, false: 8}[strings.HasPrefix(isa, "avx512")]
				if !main.Long() {
					elements *= 4
				}
				for _, b := range r.Buffers {
					want += max(1, elements*b.Type.Bytes()/tune.Line)
				}
				if !r.IsApart() && !main.Long() {
					want += tune.FetchLines * len(r.Buffers)
				}
			case !r.IsApart() && !main.Long():
				want += tune.FetchLines * len(r.Buffers)
			case converted >= 2 && main.Long() && !r.IsMatrix():
				want += len(r.Buffers) - tables
			}
		}
		if n := strings.Count(text, "PREFETCHT0"); n != want {
			t.Errorf("%s: %s: %d prefetches, want %d", isa, r.Name, n, want)
		}
	})
}

// loops are the labels of the loops in which a kernel spends its time.
var loops = []string{"usualmain", "main", "usualloop", "loop", "rows4main", "rows2main"}

// fetches is how many times an iteration of a loop may fetch invariants at most: those of
// the least uses have no registers where there are more of them than room.
func fetches(r *rule.Rule, isa, label string) int {
	vectors, of := unrolled(label), lowered(r, label)
	uses := invariantUses(of, strings.HasPrefix(isa, "avx512"))
	if rounds(of) {
		uses = append(uses, 1, 1, 1) // the constants that round
	}
	left := min(len(uses), max(0, room(r, of, isa, label)))
	n := 0
	for _, k := range uses[left:] {
		n += k
	}
	for _, d := range of.Effects {
		if d.Reduce && d.Kind == rule.MaxAbs {
			n++ // the mask of magnitudes is no node, and has no register
		}
	}
	return vectors * n
}

// rounds reports whether a rule stores numbers of BF16, which are rounded before.
func rounds(r *rule.Rule) bool {
	return slices.ContainsFunc(r.Effects, func(e rule.Effect) bool { return !e.Reduce && !e.Raw && r.Buffers[e.To].Type == rule.BF16 })
}

// unplaced are invariants of a rule for which avo finds no register, though there is room.
var unplaced = map[string]int{"SimplifiedAdEMAMix": 2}

// unrolled is how many vectors an iteration of a loop takes.
func unrolled(label string) int {
	if strings.HasSuffix(label, "main") {
		return 4
	}
	return 1
}

// lowered is what a rule comes to in a loop.
func lowered(r *rule.Rule, label string) *rule.Rule {
	switch {
	case strings.HasPrefix(label, "usual"):
		return r.Specialize(r.Usual)
	case label == "main" && len(r.Usual) > 0:
		return r.Specialize(r.Scaled())
	}
	return r
}

// room is how many registers a rule leaves to invariants: what it is at work on takes some,
// and a result one, and a vector that is widened for a sum. Where there is a main loop beside it, with the same registers, the lanes
// of sums have theirs, and so do the root and the dividend of three other vectors whose
// roots have begun.
func room(r, of *rule.Rule, isa, label string) int {
	registers, bytes := 16, 32
	if strings.HasPrefix(isa, "avx512") {
		registers, bytes = 32, 64
	}
	n := registers - busy(of) - 1
	if rounds(of) {
		n-- // the number before it is rounded, to which a NaN is compared
	}
	if beside := strings.Replace(label, "loop", "main", 1); lowered(r, beside).Long() {
		return n - len(of.Reductions)
	}
	if of.Has(rule.Sqrt) {
		n -= 2 * 3
	}
	return n - len(of.Reductions)*rule.Lanes*8/bytes
}

// invariantUses is how often a vector's turn reads each of its invariants, most first.
// Masks have registers of their own with AVX-512, and magnitudes and signs masks that
// expand from the operation.
func invariantUses(r *rule.Rule, masks bool) []int {
	uses := map[int]int{}
	for _, s := range r.Schedule() {
		for _, id := range r.ReadsOf(s) {
			if r.Uniform(id) && !(masks && r.Nodes[id].Op.IsMask()) {
				uses[id]++
			}
		}
		if op := r.Nodes[s.ID].Op; !s.IsEffect && (op == rule.Abs || op == rule.Neg) {
			uses[-int(op)]++
		}
	}
	return slices.SortedFunc(maps.Values(uses), func(a, b int) int { return b - a })
}

// busy is how many numbers that depend on the element are wanted at a time.
func busy(r *rule.Rule) int {
	tasks := r.Schedule()
	last := map[int]int{}
	for k, s := range tasks {
		for _, id := range r.ReadsOf(s) {
			last[id] = k
		}
	}
	live, most := 0, 0
	for k, s := range tasks {
		if !s.IsEffect {
			live++
		}
		most = max(most, live)
		for _, id := range slices.Compact(slices.Sorted(slices.Values(r.ReadsOf(s)))) {
			if last[id] == k && !r.Uniform(id) {
				live--
			}
		}
	}
	return most
}

// TestInvariants counts the scalars and constants that loops fetch in each iteration.
func TestInvariants(t *testing.T) {
	fetch := regexp.MustCompile(`VBROADCASTSS|\(SP\)`)
	seen, some := 0, 0
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		for _, label := range loops {
			if code := part(text, label); code != "" {
				n, most := len(fetch.FindAllString(code, -1)), fetches(r, isa, label)+unplaced[r.Name]*unrolled(label)
				if seen++; most > 0 {
					some++
				}
				if n > most {
					t.Errorf("%s: %s: %d invariants are fetched in %s, want at most %d", isa, r.Name, n, label, most)
				}
			}
		}
	})
	if seen < 100 || some > seen/2 {
		t.Errorf("%d loops, of which %d may fetch", seen, some)
	}
}

// TestSums finds the lanes of reductions in registers: a main loop stores the vectors of
// the buffers that its rule stores to, those of a matrix for each row, and nothing else.
func TestSums(t *testing.T) {
	stores := regexp.MustCompile(`(?m)^\t(VMOV\w+|VPMOVDW|VCVTPS2PH +\$0x00,) +[XYZ]\d+, .*\)$`)
	seen := map[string]bool{}
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		for label, rows := range map[string]int{"usualmain": 1, "main": 1, "rows4main": 4, "rows3main": 3, "rows2main": 2} {
			if code := part(text, label); code != "" {
				seen[r.Name] = true
				want := 0
				for _, e := range r.Effects {
					switch {
					case e.Reduce:
					case r.Buffers[e.To].Shape == rule.Matrix:
						want += 4 * rows
					default:
						want += 4
					}
				}
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

// TestMainLoops looks for the loop over several vectors: rules of so many operations or sums
// that a vector is work enough for an iteration have none.
func TestMainLoops(t *testing.T) {
	with := 0
	eachKernel(t, func(isa string, r *rule.Rule, text string) {
		if r.IsMatrix() {
			return
		}
		has, want := part(text, "main") != "", !lowered(r, "main").Long()
		if has != want {
			t.Errorf("%s: %s: it has a main loop: %v, want %v", isa, r.Name, has, want)
		}
		if has {
			with++
		}
	})
	if all := len(rules.All.Rules()); with < all/2 || with > 4*all-all/2 {
		t.Errorf("%d kernels have a main loop", with)
	}
}

// TestPhases finds the roots of all vectors of the main loop before the first quotient,
// which waits for one.
func TestPhases(t *testing.T) {
	for _, isa := range []string{"avx512", "avx2"} {
		table := kernels(t, isa)
		for _, name := range []string{"Adam", "AdaGrad", "RMSprop"} {
			code := part(table[name], "usualmain")
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
