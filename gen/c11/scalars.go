package c11

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/internal/names"
)

// A Field is a scalar of a kernel.
type Field struct {
	Name string // as the rule has it
	Type string // in C
	Doc  string // what package fallback says of it, in a few words
}

// types are the types of scalars.
var types = map[string]string{"float32": "float", "Mask": "uint32_t"}

// A Reference is what package fallback says in Go of kernels and their scalars.
type Reference struct {
	docs    map[string]string   // of functions and types
	structs map[string]ast.Expr // types
	masks   []Field             // constants: Doc is the value and what it is for
}

// Read reads the reference from its folder.
func Read(folder string) (*Reference, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	ref := &Reference{docs: map[string]string{}, structs: map[string]ast.Expr{}}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			ref.add(d)
		}
	}
	return ref, nil
}

func (ref *Reference) add(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			ref.docs[d.Name.Name] = d.Doc.Text()
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				ref.structs[s.Name.Name] = s.Type
				ref.docs[s.Name.Name] = d.Doc.Text() + s.Doc.Text()
			case *ast.ValueSpec:
				ref.constant(s)
			}
		}
	}
}

// constant adds a constant, if it is a mask.
func (ref *Reference) constant(s *ast.ValueSpec) {
	if t, ok := s.Type.(*ast.Ident); !ok || t.Name != "Mask" {
		return
	}
	for k, n := range s.Names {
		value, ok := s.Values[k].(*ast.BasicLit)
		if !ok {
			panic(fmt.Errorf("c11: %s is no number", n.Name))
		}
		ref.masks = append(ref.masks, Field{n.Name, value.Value, strings.TrimSpace(s.Comment.Text())})
	}
}

// Fields are the scalars of a rule, in its order.
func (ref *Reference) Fields(r *rule.Rule) []Field {
	if len(r.Scalars) == 0 {
		return nil
	}
	fields := ref.fields(&ast.Ident{Name: r.Name + "Scalars"})
	if len(fields) != len(r.Scalars) {
		panic(fmt.Errorf("c11: %s has %d scalars, its reference %d", r.Name, len(r.Scalars), len(fields)))
	}
	for k, name := range r.Scalars {
		if got := fields[k].Name; got != strings.ToUpper(name[:1])+name[1:] {
			panic(fmt.Errorf("c11: scalar %d of %s is %s, of its reference %s", k, r.Name, name, got))
		}
		fields[k].Name = name
	}
	return fields
}

// fields are those of a struct, by their names in Go, or of the type that it is a name for.
func (ref *Reference) fields(t ast.Expr) []Field {
	switch t := t.(type) {
	case *ast.Ident:
		if ref.structs[t.Name] == nil {
			panic(fmt.Errorf("c11: no type %s among %v", t.Name, slices.Sorted(maps.Keys(ref.structs))))
		}
		return ref.fields(ref.structs[t.Name])
	case *ast.StructType:
		var list []Field
		for _, f := range t.Fields.List {
			list = append(list, ref.field(f)...)
		}
		return list
	}
	panic(fmt.Errorf("c11: a type that C has no way to say: %T", t))
}

// field are the fields of one line.
func (ref *Reference) field(f *ast.Field) []Field {
	if len(f.Names) == 0 {
		return ref.fields(f.Type)
	}
	name, ok := f.Type.(*ast.Ident)
	if !ok || types[name.Name] == "" {
		panic(fmt.Errorf("c11: %v has a type that scalars have not", f.Names))
	}
	doc := strings.TrimSpace(f.Comment.Text())
	if doc == "" {
		doc = strings.TrimSpace(f.Doc.Text())
	}
	var list []Field
	for _, n := range f.Names {
		list = append(list, Field{n.Name, types[name.Name], inC(doc)})
	}
	return list
}

// names of fields, types and functions of Go as they stand in sentences.
var goNames = regexp.MustCompile(`\b(LabelScale|LabelShift|Unbias|Decay|Weight|Total|[A-Za-z0-9]+Scalars|epsIn)\b`)

// inC has a sentence name what is in C.
func inC(doc string) string {
	return goNames.ReplaceAllStringFunc(doc, func(name string) string {
		switch {
		case strings.HasSuffix(name, "Scalars"):
			return structName(strings.TrimSuffix(name, "Scalars"))
		case name == "Weight" || name == "Total":
			return "lockstep_" + names.C(name)
		}
		return names.C(name)
	})
}

// structName is that of the scalars of a kernel.
func structName(kernel string) string { return "lockstep_" + names.C(kernel) + "_scalars" }
