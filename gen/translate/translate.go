// Package translate prints functions of Go in C, with the same bits of every result: those
// that make the scalars of a step from a rule's options, and what refuses options.
//
// It knows a small part of Go: numbers, structs that are passed by value or by pointer,
// errors of type ArgError, and the plans of internal/engine. Whatever else it meets it
// refuses, with its place: see testdata/refused. So it does where Go may fuse a product and a
// sum, which would be other bits on some CPUs, and where the order of evaluation tells.
//
// The C has double for float64, and is compiled with -ffp-contract=off; whatever has one
// meaning in Go and another in C is a function of c/src/go.h.
package translate

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/internal/names"
	"golang.org/x/tools/go/packages"
)

// Module is the path of the library.
const Module = "github.com/lockstep-go/lockstep/"

// A Program is the packages of Go that functions are translated from, and what has been.
type Program struct {
	Words func(sentence string) string // names of Go as a sentence in C has them

	fset      *token.FileSet
	infos     map[*types.Package]*types.Info
	functions map[*types.Func]*ast.FuncDecl
	docs      map[types.Object]string
	fused     map[types.Object]bool // variables, fields and results that may be unrounded products
	impure    map[*types.Func]bool  // those that change what a pointer is to
	most      map[*types.Func]int   // at most so many slots they return
	names     map[string]types.Object
	kernels   map[string]Kernel
	calls     []string // kernels that are called, in order

	declared map[types.Object]bool // what is in types or text, or on its way there
	types    bytes.Buffer
	text     bytes.Buffer
}

// A Kernel is one that passes may call.
type Kernel struct {
	Place   int // in lockstep_all
	Buffers int // of a tensor
	Sums    int // that it leaves
}

// Load reads packages and what they import.
func Load(folder string, kernels map[string]Kernel, patterns ...string) (*Program, error) {
	p := &Program{fset: token.NewFileSet(), infos: map[*types.Package]*types.Info{}, functions: map[*types.Func]*ast.FuncDecl{},
		docs: map[types.Object]string{}, names: map[string]types.Object{}, declared: map[types.Object]bool{}, most: map[*types.Func]int{}, kernels: kernels,
		Words: func(sentence string) string { return sentence }}
	const mode = packages.NeedName | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps
	list, err := packages.Load(&packages.Config{Mode: mode, Dir: folder, Fset: p.fset}, patterns...)
	if err != nil {
		return nil, err
	}
	packages.Visit(list, nil, func(pkg *packages.Package) {
		if err == nil && len(pkg.Errors) > 0 {
			err = pkg.Errors[0]
		}
		if strings.HasPrefix(pkg.PkgPath, Module) {
			p.add(pkg)
		}
	})
	if err != nil {
		return nil, err
	}
	p.findFused()
	p.findImpure()
	return p, nil
}

// add notes what a package declares.
func (p *Program) add(pkg *packages.Package) {
	p.infos[pkg.Types] = pkg.TypesInfo
	for _, file := range pkg.Syntax {
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				f := pkg.TypesInfo.Defs[d.Name].(*types.Func)
				p.functions[f], p.docs[f] = d, d.Doc.Text()
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						p.addType(pkg.TypesInfo, s, d)
					}
				}
			}
		}
	}
}

// addType notes the comments of a type and its fields.
func (p *Program) addType(info *types.Info, s *ast.TypeSpec, d *ast.GenDecl) {
	p.docs[info.Defs[s.Name]] = d.Doc.Text() + s.Doc.Text()
	t, ok := s.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range t.Fields.List {
		for _, n := range field.Names {
			p.docs[info.Defs[n]] = field.Doc.Text() + field.Comment.Text()
		}
	}
}

// Doc is the comment of a type, field or function.
func (p *Program) Doc(o types.Object) string { return p.docs[o] }

// Package is one that was loaded.
func (p *Program) Package(name string) *types.Package {
	for pkg := range p.infos {
		if pkg.Path() == Module+name {
			return pkg
		}
	}
	return nil
}

// Text is what was translated: types, then functions, each after those that it calls.
func (p *Program) Text() []byte {
	var b bytes.Buffer
	if len(p.calls) > 0 {
		b.WriteString("\n/* Places in lockstep_all. */\nenum {\n")
		for _, k := range p.calls {
			fmt.Fprintf(&b, "\t%s = %d,\n", KernelName(k), p.kernels[k].Place)
		}
		b.WriteString("};\n")
	}
	b.Write(p.types.Bytes())
	b.Write(p.text.Bytes())
	return b.Bytes()
}

// KernelName is the name of a kernel's place in lockstep_all.
func KernelName(kernel string) string { return names.C(kernel) + "_kernel" }

// called notes a kernel.
func (p *Program) called(kernel string) {
	if !slices.Contains(p.calls, kernel) {
		p.calls = append(p.calls, kernel)
	}
}

// A Refusal is something of Go that has no translation.
type Refusal struct {
	At   token.Position
	What string
}

func (r Refusal) Error() string {
	return fmt.Sprintf("%s:%d: %s", filepath.Base(r.At.Filename), r.At.Line, r.What)
}

// somewhere is what has a place: syntax, or what it declares.
type somewhere interface{ Pos() token.Pos }

// refuse ends a translation, at a place if there is one.
func (p *Program) refuse(at somewhere, format string, args ...any) {
	r := Refusal{What: fmt.Sprintf(format, args...)}
	if at != nil {
		r.At = p.fset.Position(at.Pos())
	}
	panic(r)
}

// Refused is the error of a refusal, for a function to defer that translates.
func Refused(err *error) {
	switch r := recover().(type) {
	case nil:
	case Refusal:
		*err = r
	default:
		panic(r)
	}
}

// words of C that a name cannot be.
var reserved = strings.Fields(`auto bool break case char const continue default do double else enum
	extern float for goto if inline int long register restrict return short signed sizeof static
	struct switch true false typedef union unsigned void volatile while
	class delete explicit export friend mutable namespace new operator private protected public
	template this throw try catch using virtual and or not xor`)

// An Option is one in C, and its kind: a lockstep_option_kind.
type Option struct{ Name, Type, Kind string }

// Option is a field of a rule in C.
func (p *Program) Option(f *types.Var) Option {
	o := Option{Name: p.name(f, f.Name()), Type: "int"}
	switch b, _ := f.Type().(*types.Basic); {
	case b != nil && b.Kind() == types.Float64:
		o.Type, o.Kind = "double", "LOCKSTEP_DOUBLE"
	case b != nil && b.Kind() == types.Bool:
		o.Kind = "LOCKSTEP_FLAG"
	case b != nil && b.Kind() == types.Int:
		o.Kind = "LOCKSTEP_INTEGER"
	default:
		p.refuse(f, "the option %s is a %s, want float64, bool or int", f.Name(), f.Type())
	}
	return o
}

// name is a name in C.
func (p *Program) name(at somewhere, name string) string {
	c := names.C(name)
	for _, r := range reserved {
		if c == r {
			p.refuse(at, "%s is a word of C or C++: give it another name", c)
		}
	}
	for _, letter := range c {
		if letter > 127 {
			p.refuse(at, "%s has letters that C has not", c)
		}
	}
	return c
}

// global is a name in C that no other function or type may have.
func (p *Program) global(at somewhere, name string, o types.Object) string {
	if other := p.names[name]; other != nil && other != o {
		p.refuse(at, "%s and %s would both be %s in C", o, other, name)
	}
	p.names[name] = o
	return name
}

// functionName is that of a function, after its package, or of a method, after its type.
func (p *Program) functionName(at somewhere, f *types.Func) string {
	of := f.Pkg().Name()
	if recv := f.Signature().Recv(); recv != nil {
		name := strings.TrimPrefix(p.structName(at, recv.Type()), "lockstep_")
		if of += "_" + name; name != "options" {
			of = name
		}
	}
	return p.global(at, names.C(of)+"_"+names.C(f.Name()), f)
}
