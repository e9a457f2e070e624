package registry

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// functions are those that a package's source declares, by receiver ("" for none).
func functions(t *testing.T, dir string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f.Name()), nil, 0)
		must(t, err)
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				of := ""
				if fn.Recv != nil {
					typ := fn.Recv.List[0].Type
					if star, ok := typ.(*ast.StarExpr); ok {
						typ = star.X
					}
					if name, ok := typ.(*ast.Ident); ok {
						of = name.Name
					}
				}
				found[of] = append(found[of], fn.Name.Name)
			}
		}
	}
	return found
}

// lacking are the fields of an entry that are not there. Some mean something where they are
// not, and some rules have kernels of others.
func lacking(e *Entry) []string {
	may := []string{"Meant", "Refused", "Random", "Factored", "Apart", "Shares"}
	if e.Apart != "" {
		may = append(may, "Samples", "Formula")
	}
	if slices.Contains([]string{"PowerSign", "RowwiseAdaGrad", "RowwiseAdam", "RowwiseLAMB", "SOAP"}, e.Name) {
		may = append(may, "Timed")
	}
	var list []string
	v := reflect.ValueOf(*e)
	for k := range v.NumField() {
		if name := v.Type().Field(k).Name; v.Field(k).IsZero() && !slices.Contains(may, name) {
			list = append(list, name)
		}
	}
	return list
}

// TestEveryRule holds the entries to the rules of package update, which are the types
// with a name, and entries to be whole.
func TestEveryRule(t *testing.T) {
	text, err := os.ReadFile(readme)
	must(t, err)
	_, prose, _ := strings.Cut(string(text), "**The rules people use")
	prose, _, _ = strings.Cut(prose, "\n")
	var declared, have []string
	for of, names := range functions(t, "../../update") {
		if slices.Contains(names, "Name") {
			declared = append(declared, of)
		}
	}
	for _, e := range All() {
		have = append(have, e.Name)
		for _, field := range lacking(e) {
			t.Errorf("the entry of %s has no %s: see Entry in registry.go", e.Name, field)
		}
		if !strings.Contains(strings.ToLower(prose), strings.ToLower(e.Name)) {
			t.Errorf("the README does not name %s in its list of the rules people use", e.Name)
		}
		for _, s := range slices.Concat(e.Samples, e.Verified) {
			if Of(s.Rule) != e {
				t.Errorf("%s has the sample %s of another rule", e.Name, s.Name)
			}
		}
	}
	slices.Sort(declared)
	if !slices.Equal(declared, have) {
		t.Errorf("package update has the rules %v, and this one entries of %v: each rule wants a file here", declared, have)
	}
}

// TestEveryPreset holds presets to the functions of their packages.
func TestEveryPreset(t *testing.T) {
	for _, framework := range append(Frameworks, Textbook) {
		var have []string
		for _, e := range All() {
			for _, p := range e.Presets {
				if p.Framework == framework {
					have = append(have, p.Name)
				}
			}
		}
		declared := functions(t, "../../update/"+framework)[""]
		slices.Sort(declared)
		slices.Sort(have)
		if !slices.Equal(declared, have) {
			t.Errorf("package update/%s has %v, the Presets of entries %v", framework, declared, have)
		}
	}
}

// wantOptions wants what an error advises to be options that the rule has: words with a
// capital inside, such as AllowZeroEps.
func wantOptions(t *testing.T, err error, r update.Rule) {
	t.Helper()
	var e *update.ArgError
	if !errors.As(err, &e) {
		return
	}
	for _, word := range regexp.MustCompile(`\b[A-Z][a-z]+[A-Z0-9]\w*`).FindAllString(e.Want, -1) {
		if !reflect.ValueOf(r).FieldByName(word).IsValid() {
			t.Errorf("%T has no %s, which its error advises: %v", r, word, err)
		}
	}
}

// refusesFields gives each number among a rule's options what no option can be: not a
// number, infinite or negative; a decay rate also 1, or what float32 takes for it; and 0 to
// an eps beside which there is nothing else to divide by.
func refusesFields(t *testing.T, r update.Rule) {
	t.Helper()
	for _, f := range reflect.VisibleFields(reflect.TypeOf(r)) {
		if f.Type.Kind() != reflect.Float64 {
			continue
		}
		values := []float64{nan, inf, -1, -1e-9}
		switch {
		case strings.HasPrefix(f.Name, "Beta") || f.Name == "Rho" || f.Name == "Momentum":
			values = append(values, 1, 1-1e-9, 1.1)
		case f.Name == "Eps":
			values = append(values, 0, 1e-46)
		}
		for _, x := range values {
			v := reflect.New(reflect.TypeOf(r)).Elem()
			v.Set(reflect.ValueOf(r))
			for _, other := range []string{"EpsRoot", "InitialAccumulator"} {
				if of := v.FieldByName(other); f.Name == "Eps" && of.IsValid() && of.Float() != 0 {
					of.SetFloat(1e-46) // which is 0 as a float32
				}
			}
			v.FieldByIndex(f.Index).SetFloat(x)
			_, err := update.New(3, v.Interface().(update.Rule))
			wantArg(t, err, f.Name, fmt.Sprint(x))
		}
	}
}

// TestRefuses makes optimizers that must not come about.
func TestRefuses(t *testing.T) {
	for _, e := range All() {
		for _, c := range e.Refused {
			o, err := update.New(3, c.Rule)
			wantArg(t, err, c.Arg, c.Value)
			wantOptions(t, err, c.Rule)
			if o != nil {
				t.Errorf("%s = %s made an optimizer", c.Arg, c.Value)
			}
		}
		for _, s := range e.Samples {
			refusesFields(t, s.Rule)
		}
		if e.Apart == "" && !slices.ContainsFunc(e.Samples, func(s Sample) bool { return Options(s.Rule).Proximal }) {
			_, err := update.New(3, With(e.Samples[0].Rule, func(o *update.Options) { o.Proximal = true }))
			wantArg(t, err, "Proximal", "true") // or there must be a sample with it
		}
	}
	_, err := update.New(3, nil)
	wantArg(t, err, "rules[0]", "<nil>")
}
