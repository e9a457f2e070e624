package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/rule"
)

// A said is what a function of package fallback says of itself.
type said struct {
	params  []string // their names
	formula []string // the lines of its comment that say what becomes of a buffer
}

// A folder is package fallback as it is written.
type folder struct {
	functions map[string]said
	types     map[string]ast.Expr
}

func newFolder() *folder {
	return &folder{functions: map[string]said{}, types: map[string]ast.Expr{}}
}

// readReferences reads package fallback.
func readReferences(dir string) (*folder, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	f := newFolder()
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, f.add)
	}
	return f, nil
}

func (f *folder) add(n ast.Node) bool {
	switch d := n.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			f.functions[d.Name.Name] = said{fieldNames(d.Type.Params), assignments(d.Doc.Text())}
		}
		return false
	case *ast.TypeSpec:
		f.types[d.Name.Name] = d.Type
	}
	return true
}

func fieldNames(list *ast.FieldList) []string {
	var names []string
	for _, p := range list.List {
		for _, n := range p.Names {
			names = append(names, n.Name)
		}
	}
	return names
}

// assignments are the lines of a formula with an arrow.
func assignments(doc string) []string {
	var list []string
	for line := range strings.Lines(doc) {
		if strings.Contains(line, "←") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

// scalars are the fields of a type, as a rule names them.
func (f *folder) scalars(t ast.Expr) []string {
	var list []string
	switch t := t.(type) {
	case *ast.Ident:
		return f.scalars(f.types[t.Name])
	case *ast.StructType:
		for _, field := range t.Fields.List {
			if len(field.Names) == 0 {
				list = append(list, f.scalars(field.Type)...)
			}
			for _, n := range field.Names {
				list = append(list, strings.ToLower(n.Name[:1])+n.Name[1:])
			}
		}
	}
	return list
}

// faults are the ways in which rules and their references differ, but in meaning, which
// tests compare.
func (f *folder) faults(all []*rule.Rule) []string {
	var list []string
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, r := range all {
		ref, ok := f.functions[r.Name]
		if !ok {
			say("gen/rules has %s, package fallback no function of that name", r.Name)
			continue
		}
		if want := append(r.BufferNames(), tail(r)...); !slices.Equal(ref.params, want) {
			say("fallback.%s has the parameters %v, the rule in gen/rules the buffers, scalars and sums %v", r.Name, ref.params, want)
		}
		if got := f.scalars(f.types[r.Name+"Scalars"]); !slices.Equal(got, r.Scalars) {
			say("fallback.%sScalars has the fields %v, the rule in gen/rules the scalars %v", r.Name, got, r.Scalars)
		}
		text := strings.Split(strings.TrimSpace(strings.ReplaceAll(r.Doc, "\t", "")), "\n")
		for _, line := range ref.formula {
			if !slices.Contains(text, line) {
				say("the comment of fallback.%s has %q, which is no line of the formula in gen/rules", r.Name, line)
			}
		}
	}
	return list
}
