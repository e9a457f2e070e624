package update_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestMigration looks every name up that docs/migration.md has for ours.
func TestMigration(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "migration.md"))
	if err != nil {
		t.Skip(err)
	}
	packages := map[string]map[string]bool{"opt": {}}
	optimizer := reflect.TypeFor[*update.Optimizer]()
	for k := range optimizer.NumMethod() {
		packages["opt"][optimizer.Method(k).Name] = true
	}
	for _, name := range []string{"update", "torch", "keras", "optax", "tensorflow", "textbook", "schedule", "checkpoint"} {
		packages[name] = exported(t, filepath.Join("..", "update", strings.TrimPrefix(name, "update")))
	}
	found := 0
	for _, m := range regexp.MustCompile(`\b(\w+)\.([A-Z]\w*)`).FindAllStringSubmatch(ours(string(text)), -1) {
		if names, ok := packages[m[1]]; ok {
			found++
			if !names[m[2]] {
				t.Errorf("there is no %s.%s", m[1], m[2])
			}
		}
	}
	if found < 80 {
		t.Errorf("%d names found, want at least 80", found)
	}
}

// ours is the text without the first columns of its tables, which are of others.
func ours(text string) string {
	return regexp.MustCompile(`(?m)^\|[^|]*\|`).ReplaceAllString(text, "")
}

// exported are the names that a package declares, and that start with a capital letter.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, f := range sources(t, dir, false) {
		for _, d := range f.Decls {
			for _, name := range declared(d) {
				names[name] = ast.IsExported(name)
			}
		}
	}
	return names
}

func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}
