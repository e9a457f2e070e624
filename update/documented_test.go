package update_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/registry"
)

// TestRulesHaveExamples wants an example of each rule, whose output is checked.
func TestRulesHaveExamples(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	shown := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		must(t, err)
		for _, d := range f.Decls {
			name, is := strings.CutPrefix(funcName(d), "Example")
			rule, _, _ := strings.Cut(name, "_")
			shown[rule] = shown[rule] || is && hasOutput(f, d)
		}
	}
	for _, e := range registry.All() {
		if !shown[e.Name] {
			t.Errorf("there is no Example%s with an output", e.Name)
		}
	}
}

func funcName(d ast.Decl) string {
	if f, is := d.(*ast.FuncDecl); is && f.Recv == nil {
		return f.Name.Name
	}
	return ""
}

// hasOutput reports whether a comment within a declaration says what it prints.
func hasOutput(f *ast.File, d ast.Decl) bool {
	for _, c := range f.Comments {
		if d.Pos() < c.Pos() && c.Pos() < d.End() && strings.HasPrefix(c.Text(), "Output:") {
			return true
		}
	}
	return false
}
