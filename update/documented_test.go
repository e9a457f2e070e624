package update_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
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

// TestNamesAreShown wants every exported name of what users call in an example, or in a program
// of examples/. Names are those of the source: a method counts where its name is called.
func TestNamesAreShown(t *testing.T) {
	packages := []string{".", "torch", "keras", "optax", "tensorflow", "textbook", "schedule", "checkpoint", "../loss", "../elementary"}
	shown := map[string]bool{}
	show := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if name, is := n.(*ast.Ident); is {
				shown[name.Name] = true
			}
			return true
		})
	}
	if _, err := os.Stat("../examples"); err != nil {
		t.Skip(err) // it is another module
	}
	for _, f := range sources(t, "../examples/*", false) {
		show(f)
	}
	for _, p := range packages {
		for _, f := range sources(t, p, true) {
			for _, d := range f.Decls {
				if name, is := strings.CutPrefix(funcName(d), "Example"); is {
					shown[name] = true
					show(d)
				}
			}
		}
	}
	if len(shown) < 100 {
		t.Fatalf("only %d names are shown: where are the examples?", len(shown))
	}
	for _, p := range packages {
		for _, f := range sources(t, p, false) {
			for _, name := range callable(f) {
				if _, method, is := strings.Cut(name, "."); !shown[name] && !(is && shown[method]) {
					t.Errorf("%s: no example has %s", p, name)
				}
			}
		}
	}
}

// sources are the Go files of folders, of tests or of all else.
func sources(t *testing.T, folder string, tests bool) []*ast.File {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	must(t, err)
	if names == nil {
		t.Fatalf("no files in %s", folder)
	}
	var list []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") == tests {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			must(t, err)
			list = append(list, f)
		}
	}
	return list
}

// callable are the names that a file exports, methods behind their types, without those that are
// called by no name.
func callable(f *ast.File) []string {
	var list []string
	for _, d := range f.Decls {
		list = append(list, declared(d)...)
		if m, is := d.(*ast.FuncDecl); is && m.Recv != nil {
			list = append(list, owner(m)+"."+m.Name.Name)
		}
	}
	return slices.DeleteFunc(list, func(name string) bool {
		of, method, is := strings.Cut(name, ".")
		return !ast.IsExported(of) || is && !ast.IsExported(method) || slices.Contains([]string{"Name", "String", "Error", "Unwrap"}, method)
	})
}

// owner is the type of a method, or nothing for a generic one, which none is that is exported.
func owner(m *ast.FuncDecl) string {
	of := m.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	name, _ := of.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
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
