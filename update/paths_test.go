package update

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/lockstep-go/lockstep/kernels"
)

// A source is what this package's source has that tests should reach.
type source struct {
	rules     []string            // types with a method stepper
	steppers  []string            // types that run a kernel
	uses      map[string]bool     // methods and functions of others than math, in lower case
	functions map[string][]string // the exported ones of each file, without methods
}

func sources(t *testing.T) source {
	t.Helper()
	s := source{uses: map[string]bool{}, functions: map[string][]string{}}
	files, err := os.ReadDir(".")
	must(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		must(t, err)
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			switch {
			case !ok:
			case fn.Recv == nil:
				if fn.Name.IsExported() {
					s.functions[f.Name()] = append(s.functions[f.Name()], fn.Name.Name)
				}
			case fn.Name.Name == "stepper":
				s.rules = append(s.rules, receiver(fn))
			case fn.Name.Name == "run" && takesTable(fn):
				s.steppers = append(s.steppers, receiver(fn))
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if method, ok := n.(*ast.SelectorExpr); ok {
				if of, ok := method.X.(*ast.Ident); !ok || of.Name != "math" {
					s.uses[strings.ToLower(method.Sel.Name)] = true
				}
			}
			return true
		})
	}
	for _, names := range s.functions {
		slices.Sort(names)
	}
	return s
}

func receiver(f *ast.FuncDecl) string {
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	return of.(*ast.Ident).Name
}

func takesTable(f *ast.FuncDecl) bool {
	star, ok := f.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	of, ok := star.X.(*ast.SelectorExpr)
	return ok && of.Sel.Name == "Table"
}

// watched is the active table with kernels that count their calls, and the
// kernels' types by their names in lower case.
func watched(calls map[string]int) (*kernels.Table, map[string]reflect.Type) {
	table, types := *kernels.Active(), map[string]reflect.Type{}
	v := reflect.ValueOf(&table).Elem()
	for k := range v.NumField() {
		if v.Field(k).Kind() != reflect.Func {
			continue
		}
		field := reflect.NewAt(v.Field(k).Type(), unsafe.Pointer(v.Field(k).UnsafeAddr())).Elem()
		kernel, name := reflect.ValueOf(field.Interface()), strings.ToLower(v.Type().Field(k).Name)
		types[name] = field.Type()
		field.Set(reflect.MakeFunc(field.Type(), func(arguments []reflect.Value) []reflect.Value {
			calls[name]++
			return kernel.Call(arguments)
		}))
	}
	return &table, types
}

// hasStep reports whether a kernel is an optimizer's: its scalars have a step
// size.
func hasStep(kernel reflect.Type) bool {
	for k := range kernel.NumIn() {
		if in := kernel.In(k); in.Kind() == reflect.Pointer && in.Elem().Kind() == reflect.Struct {
			if _, ok := in.Elem().FieldByName("Step"); ok {
				return true
			}
		}
	}
	return false
}

// TestEveryPath holds the list of rules, which so many tests go through, to the
// rules, steppers and kernels that there are.
func TestEveryPath(t *testing.T) {
	kinds, steppers, calls := map[string]bool{}, map[string]bool{}, map[string]int{}
	table, types := watched(calls)
	for _, r := range rules {
		for _, sizes := range [][]int{{3}, {3, 4}} { // small tensors may share a call
			o, params, grads := set(t, sizes, r)
			o.table = table
			must(t, o.SetPolicy(Refuse))
			must(t, o.StepSet(params, grads))
			must(t, o.SetMaxNorm(1))
			must(t, o.StepSet(params, grads))
			steppers[reflect.TypeOf(o.groups[0].stepper).Elem().Name()] = true
		}
		kinds[reflect.TypeOf(r).Name()] = true
	}
	s := sources(t)
	for what, lists := range map[string][2][]string{
		"rules":    {slices.Sorted(maps.Keys(kinds)), slices.Sorted(slices.Values(s.rules))},
		"steppers": {slices.Sorted(maps.Keys(steppers)), slices.Sorted(slices.Values(s.steppers))},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s in the list: %v; in the source: %v", what, lists[0], lists[1])
		}
	}
	for name, kernel := range types {
		if (s.uses[name] || hasStep(kernel)) && calls[name] == 0 {
			t.Errorf("no rule in the list calls the kernel %s", name)
		}
	}
	if len(calls) < 10 {
		t.Errorf("these alone were called: %v", calls)
	}
}
