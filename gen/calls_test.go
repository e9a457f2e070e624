package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// TestGenerated looks for generated files among those written by hand, which are nobody's
// to delete, whatever they are called and wherever they lie.
func TestGenerated(t *testing.T) {
	root := t.TempDir()
	want := []string{"bench/yardstick/avx2/kernels_amd64.s", "gen/typetest/neon/stubs_arm64.go", "kernels/asm/avx2/kernels_amd64.s", "kernels/asm/old/gone_amd64.s", "kernels/zall.go"}
	byHand := []string{"kernels/asm/avx2/doc.go", "kernels/zones.go", "kernels/asm/avx2/mine_amd64.s", "gen/typetest/neon/doc.go"}
	elsewhere := []string{"kernels/list.go", "update/zadam.go", "kernels/asm/avx2.go"}
	for text, names := range map[string][]string{header: append(want, elsewhere...), "package mine\n\n" + header: byHand} {
		for _, name := range names {
			name = filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := generated(root)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("generated are %v, want %v", got, want)
	}
}

// TestShapes calls rules whose buffers have other names and another order than those that
// there are: what a rule is, its buffers' shapes say.
func TestShapes(t *testing.T) {
	var set rule.Set
	matrix := set.Define("Adam", "", func(r *rule.Rule) {
		m, one, q, w := r.Buffer("m"), r.PerRow("one"), r.Matrix("q"), r.PerRow("w")
		m.Set(m.Add(q.Mul(one)))
		w.SetFold(q)
	})
	list := set.Define("Dots", "", func(r *rule.Rule) {
		z, x, w := r.Buffer("z"), r.Buffer("x"), r.Buffer("w")
		z.Set(x.Mul(w))
	})
	for r, want := range map[*rule.Rule][]string{
		matrix: {
			"func Adam(t Table, m, one, q, w []float32) {",
			"w = w[:len(w):len(w)][:len(one)]\n",
			"columns := len(m)\n",
			"q = q[:len(q):len(q)][:len(one)*columns]\n",
			"rows := rowsPerCall(len(q), columns)\n",
			"for len(one) > rows {\n\t\trunAdam(t, m, one[:rows], q[:rows*columns], w[:rows])\n",
			"one, q, w = one[rows:], q[rows*columns:], w[rows:]\n\t}\n\trunAdam(t, m, one, q, w)\n",
		},
		list: {
			"func Dots(t Table, list *List) {",
			"for _, part := range list.of(3) {\n\t\trunDots(t, part)\n",
			"for at := 0; at < len(list); at += 3 {\n\t\tfallback.Dots(list[at+0], list[at+1], list[at+2])\n",
		},
	} {
		text := string(calls([]*rule.Rule{r}))
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("the call of %s has no %q:\n%s", r.Name, part, text)
			}
		}
	}
}
