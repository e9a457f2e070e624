package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// TestReferences holds names and formulas of package fallback to those of the rules.
func TestReferences(t *testing.T) {
	for _, fault := range faults() {
		t.Error(fault)
	}
}

// TestFaults finds what differs.
func TestFaults(t *testing.T) {
	var set rule.Set
	r := set.Define("Scale", "\n\tp ← p·by + plus", func(r *rule.Rule) {
		p := r.Buffer("p")
		p.Set(p.Mul(r.Scalar("by")).Add(r.Scalar("plus")))
	})
	const right = `package fallback
type ScaleScalars struct { Part }
type Part struct { By, Plus float32 }
// Scale is
//
//	p ← p·by + plus
func Scale(p []float32, c *ScaleScalars) {}`
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"Scale(", "Scaled(", "no function"},
		{"By, Plus", "Plus, By", "the fields [plus by]"},
		{"(p []", "(q []", "the parameters [q c]"},
		{"+ plus", "- plus", `has "p ← p·by - plus"`},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", strings.Replace(right, c.from, c.to, 1), parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		f := newFolder()
		ast.Inspect(file, f.add)
		list := f.faults([]*rule.Rule{r})
		if (c.want == "") != (len(list) == 0) || !slices.ContainsFunc(append(list, ""), func(s string) bool { return strings.Contains(s, c.want) }) {
			t.Errorf("%q for %q: %q, want %q", c.to, c.from, list, c.want)
		}
	}
}
