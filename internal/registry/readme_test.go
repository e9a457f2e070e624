package registry

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var write = flag.Bool("write", false, "write the table of deviations to the README")

const readme = "../../README.md"

// deviations are the largest of each rule and framework in trajectories of ordinary
// gradients.
func deviations(t *testing.T) map[[2]string]float64 {
	t.Helper()
	worst := map[[2]string]float64{}
	for _, c := range goldenCases(t) {
		if c.Gradients == "gradients.bin" {
			at := [2]string{c.Rule, c.of}
			worst[at] = max(worst[at], c.follow(t, c.rule(t)).off)
		}
	}
	return worst
}

// table is the README's: a rule in each row, if some framework has it, and a framework in
// each column.
func table(of map[[2]string]float64) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| rule | PyTorch | Keras | Optax | TensorFlow |\n|---|---|---|---|---|")
	for _, e := range All() {
		row, any := "", false
		for _, framework := range Frameworks {
			if off, ok := of[[2]string{e.Name, framework}]; ok {
				row, any = row+fmt.Sprintf(" %.3g |", off), true
			} else {
				row += " |"
			}
		}
		if any {
			fmt.Fprintf(&b, "| %s |%s\n", e.Name, row)
		}
	}
	return b.String()
}

// TestReadme compares the README's table with what is measured, or with -write writes it.
func TestReadme(t *testing.T) {
	if emulated {
		t.Skip("TestGolden has followed the same trajectories")
	}
	want := table(deviations(t))
	text, err := os.ReadFile(readme)
	must(t, err)
	before, rest, found := strings.Cut(string(text), "| rule | PyTorch |")
	if !found {
		t.Fatal("the README has no table of deviations")
	}
	old, after, _ := strings.Cut("| rule | PyTorch |"+rest, "\n\n")
	switch {
	case old+"\n" == want:
	case *write:
		must(t, os.WriteFile(readme, []byte(before+want+"\n"+after), 0o644))
	default:
		t.Errorf("the README's table is stale: go test ./internal/registry -run Readme -write makes\n%s", want)
	}
}
