package registry

import (
	"flag"
	"fmt"
	"os"
	"regexp"
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

// configurations counts those of the campaign as the README does.
func configurations() string {
	n := 0
	for _, e := range All() {
		n += len(kinds(e)) * campaignRuns
	}
	return fmt.Sprintf("%d,%03d random configurations", n/1000, n%1000)
}

var counted = regexp.MustCompile(`[0-9,]+ random configurations`)

// TestReadme compares the README's table with what is measured and its number of random
// configurations with those there are, or with -write writes them.
func TestReadme(t *testing.T) {
	if emulated {
		t.Skip("TestGolden has followed the same trajectories")
	}
	want := table(deviations(t))
	text, err := os.ReadFile(readme)
	must(t, err)
	if *write {
		text = counted.ReplaceAll(text, []byte(configurations()))
	} else if is := counted.Find(text); string(is) != configurations() {
		t.Errorf("the README has %q, want %q: go test ./internal/registry -run Readme -write", is, configurations())
	}
	before, rest, found := strings.Cut(string(text), "| rule | PyTorch |")
	if !found {
		t.Fatal("the README has no table of deviations")
	}
	old, after, _ := strings.Cut("| rule | PyTorch |"+rest, "\n\n")
	switch {
	case *write:
		must(t, os.WriteFile(readme, []byte(before+want+"\n"+after), 0o644))
	case old+"\n" != want:
		t.Errorf("the README's table is stale: go test ./internal/registry -run Readme -write makes\n%s", want)
	}
}
