package update

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/kernels"
)

// declared are the rules of this package's source: the types with a method plan.
func declared(t *testing.T) []string {
	t.Helper()
	var list []string
	files, err := os.ReadDir(".")
	must(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		must(t, err)
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == "plan" {
				list = append(list, fn.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(list)
	return list
}

// called are the kernels that this package's source calls or hands over.
func called(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	files, err := os.ReadDir(".")
	must(t, err)
	for _, f := range files {
		if strings.HasSuffix(f.Name(), "_test.go") || !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		text, err := os.ReadFile(f.Name())
		must(t, err)
		for _, m := range regexp.MustCompile(`\bkernels\.(\w+)`).FindAllSubmatch(text, -1) {
			found[string(m[1])] = true
		}
	}
	return found
}

// TestEveryPath holds the list of rules, which so many tests go through, to the rules
// and step kernels that there are: every kernel with the scalars of a step is one of a
// rule's, and a rule in the list has them.
func TestEveryPath(t *testing.T) {
	kinds, passes := map[string]bool{}, map[string]bool{}
	for _, r := range rules {
		kinds[reflect.TypeOf(r).Name()] = true
		for _, p := range r.plan().Passes {
			passes[reflect.ValueOf(p).FieldByName("call").Elem().Type().String()] = true
		}
	}
	for _, name := range declared(t) {
		if !kinds[name] {
			t.Errorf("the rule %s is not in the list", name)
		}
	}
	uses, steps := called(t), 0
	for _, k := range kernels.All() {
		f := reflect.TypeOf(k.Func)
		for j := range f.NumIn() {
			if in := f.In(j); in.Kind() == reflect.Pointer && in.Elem().Kind() == reflect.Struct {
				if _, ok := in.Elem().FieldByName("Common"); ok {
					steps++
					if !uses[k.Name] {
						t.Errorf("no rule has the kernel %s", k.Name)
					}
					if c := in.Elem().Name(); !hasPass(passes, c) {
						t.Errorf("no rule in the list has the scalars %s", c)
					}
				}
			}
		}
	}
	if steps < 14 {
		t.Errorf("%d kernels of steps", steps)
	}
}

// hasPass reports whether a pass has these scalars.
func hasPass(passes map[string]bool, scalars string) bool {
	for p := range passes {
		if strings.Contains(p, "fallback."+scalars+"]") {
			return true
		}
	}
	return false
}
