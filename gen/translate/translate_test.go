package translate

import (
	"context"
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	constructs "github.com/lockstep-go/lockstep/gen/translate/testdata/constructs"
)

// numbers are those that functions are compared for, two by two.
var numbers = []float64{0, math.Copysign(0, -1), 1, -1, 1.5, 3, -2.75, 0.1, 1e-300, 1e300, 5e-324, math.Inf(1), math.Inf(-1), math.NaN(), 7, 1 << 30, 123456, 1234567, 1e-4, 1.5e-5, 1e22}

func load(t *testing.T, folder string, kernels map[string]Kernel) (*Program, *types.Scope) {
	t.Helper()
	p, err := Load(".", kernels, "./testdata/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Package("gen/translate/testdata/" + folder).Scope()
}

// TestConstructs compiles what each construct is in C, and compares results with Go's.
func TestConstructs(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	p, scope := load(t, "constructs", nil)
	main := calls(p, scope)
	source, program := filepath.Join(t.TempDir(), "constructs.c"), filepath.Join(t.TempDir(), "constructs")
	text := "#include \"go.h\"\n#include <stdlib.h>\n" + string(p.Text()) + tables + "int main(void) {\n" + main + "\treturn 0;\n}\n"
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := "../../c/"
	build := exec.Command(cc, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-but-set-variable", "-ffp-contract=off", "-I"+c+"include", "-I"+c+"src", source, c+"src/rules.c", "-o", program, "-lm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, text)
	}
	limit, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	got, err := exec.CommandContext(limit, program).Output()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, strings.Split(strings.TrimSpace(string(got)), "\n"), results())
}

// tables are those of no rule, for c/src/rules.c.
const tables = `
const lockstep_rule lockstep_all_rules[1];
const size_t lockstep_all_rules_count = 0;
const lockstep_preset_entry lockstep_all_presets[1];
const size_t lockstep_all_presets_count = 0;
`

// calls is what prints the results in C.
func calls(p *Program, scope *types.Scope) string {
	var list []string
	for _, x := range numbers {
		list = append(list, strconv.FormatUint(math.Float64bits(x), 10)+"u")
	}
	main := "\tstatic const uint64_t bits[] = {" + strings.Join(list, ", ") + "};\n\tconst int n = sizeof bits / sizeof *bits;\n\tlockstep_error error;\n\tdouble x, y, z;\n\tuint64_t result;\n"
	const loop = "\tfor (int k = 0; k < n * n; k++) {\n\t\tmemcpy(&x, &bits[k / n], 8);\n\t\tmemcpy(&y, &bits[k %% n], 8);\n\t\t%s\n\t}\n"
	for _, name := range slices.Sorted(maps.Keys(constructs.Numbers)) {
		f := p.Function(nil, scope.Lookup(name).(*types.Func))
		main += fmt.Sprintf(loop, fmt.Sprintf("z = %s(x, y);\n\t\tmemcpy(&result, &z, 8);\n\t\tprintf(\"%s %%d %%016llx\\n\", k, z != z ? 0ull : (unsigned long long)result);", f, name))
	}
	for _, name := range slices.Sorted(maps.Keys(constructs.Errors)) {
		f := p.Function(nil, scope.Lookup(name).(*types.Func))
		main += fmt.Sprintf(loop, fmt.Sprintf("printf(\"%s %%d %%s\\n\", k, %s(x, y, &error) ? error.message : \"taken\");", name, f))
	}
	return main
}

// results are the lines that C must print.
func results() []string {
	var list []string
	n := len(numbers)
	for _, name := range slices.Sorted(maps.Keys(constructs.Numbers)) {
		for k := range n * n {
			z := constructs.Numbers[name](numbers[k/n], numbers[k%n])
			bits := math.Float64bits(z)
			if z != z {
				bits = 0
			}
			list = append(list, fmt.Sprintf("%s %d %016x", name, k, bits))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(constructs.Errors)) {
		for k := range n * n {
			message := "taken"
			if err := constructs.Errors[name](numbers[k/n], numbers[k%n]); err != nil {
				message = err.Error()
			}
			list = append(list, fmt.Sprintf("%s %d %s", name, k, message))
		}
	}
	return list
}

func compare(t *testing.T, got, want []string) {
	if len(got) != len(want) {
		t.Fatalf("%d results, want %d", len(got), len(want))
	}
	for k := range got {
		if got[k] != want[k] {
			t.Errorf("C: %s\nGo: %s", got[k], want[k])
		}
	}
}

// TestRefused translates what has no translation, and compares the messages.
func TestRefused(t *testing.T) {
	p, _ := load(t, "refused", map[string]Kernel{"SGD": {Buffers: 2}, "LAMB": {Buffers: 4, Sums: 2}})
	tried := 0
	for fn, decl := range p.functions {
		if want, ok := strings.CutPrefix(strings.TrimSpace(p.docs[fn]), "want: "); ok {
			tried++
			refused(t, p, fn, decl, want)
		}
	}
	if tried < 80 {
		t.Errorf("%d functions were tried", tried)
	}
}

func refused(t *testing.T, p *Program, fn *types.Func, decl *ast.FuncDecl, want string) {
	err := func() (err error) {
		defer Refused(&err)
		if fn.Name() == "plan" {
			p.Plan(fn)
		} else {
			p.Function(nil, fn)
		}
		return nil
	}()
	r, ok := err.(Refusal)
	first, last := p.fset.Position(decl.Pos()).Line, p.fset.Position(decl.End()).Line
	switch {
	case !ok:
		t.Errorf("%s was translated, want %q", fn.FullName(), want)
	case !strings.Contains(r.What, want):
		t.Errorf("%s: %q, want %q", fn.FullName(), r.What, want)
	case filepath.Base(r.At.Filename) != "refused.go" || r.At.Line > last || r.At.Line < first-5: // or in a function before it that it takes
		t.Errorf("%s: refused at %v, want from line %d to %d", fn.FullName(), r.At, first, last)
	}
}
