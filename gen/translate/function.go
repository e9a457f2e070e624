package translate

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/types"
	"strings"
)

// A function is one at work.
type function struct {
	p      *Program
	fn     *types.Func
	decl   *ast.FuncDecl
	info   *types.Info
	locals map[types.Object]string // names in C, of which no two are the same
	used   map[string]bool
	bytes.Buffer
	indent string

	pointers map[types.Object]bool // variables that C has pointers to
	fixed    map[types.Object]bool // variables that nothing may be assigned to
	loops    int                   // around what is at work
	isText   bool                  // what it returns goes to text
	builds   bool                  // it makes a plan, which is *plan
	built    types.Object          // the variable that is the plan
	slotted  int                   // at most so many slots that has
}

func (p *Program) begin(at somewhere, fn *types.Func) *function {
	decl := p.functions[fn]
	if decl == nil || decl.Body == nil {
		p.refuse(at, "no translation of %s", fn.FullName())
	}
	if fn.Signature().TypeParams().Len() > 0 {
		p.refuse(decl, "%s is generic", fn.Name())
	}
	f := &function{p: p, fn: fn, decl: decl, info: p.infos[fn.Pkg()], locals: map[types.Object]string{}, used: map[string]bool{},
		pointers: map[types.Object]bool{}, fixed: map[types.Object]bool{}, indent: "\t"}
	for _, name := range []string{"error", "text", "room", "slots", "plan", "options", "prepared"} {
		f.used[name] = true // as parameters of C
	}
	return f
}

// Function translates a function and what it calls, once, and returns its name.
func (p *Program) Function(at somewhere, fn *types.Func) string {
	fn = fn.Origin()
	f := p.begin(at, fn)
	return p.function(at, f)
}

// Method is a method of a type, or one that it has from what is embedded in it, and the
// receiver of that where there is a pointer to the type.
func (p *Program) Method(of *types.Named, name, pointer string) (fn *types.Func, receiver string) {
	o, path, _ := types.LookupFieldOrMethod(of, false, of.Obj().Pkg(), name)
	fn, ok := o.(*types.Func)
	if !ok {
		return nil, ""
	}
	f, l := &function{p: p}, place{at: of.Obj(), text: pointer, pointer: true, t: of}
	for _, k := range path[:len(path)-1] {
		l = f.step(l, k)
	}
	return fn, f.as(l, fn.Signature().Recv().Type())
}

// TextFunction translates a function that returns a text: in C it writes the text, with a last
// argument that says how much room there is.
func (p *Program) TextFunction(fn *types.Func) string {
	f := p.begin(nil, fn)
	f.isText = true
	return p.function(nil, f)
}

func (p *Program) function(at somewhere, f *function) string {
	fn := f.fn
	name := p.functionName(f.decl, fn)
	if done, ok := p.declared[fn]; ok {
		if !done {
			p.refuse(at, "%s calls itself", fn.Name())
		}
		return name
	}
	p.declared[fn] = false
	head := f.head(name)
	f.body()
	fmt.Fprintf(&p.text, "%sstatic %s {\n%s}\n", p.comment(fn, name), head, f.Bytes())
	p.declared[fn] = true
	return name
}

// head is the prototype.
func (f *function) head(name string) string {
	var params []string
	if recv := f.fn.Signature().Recv(); recv != nil {
		params = append(params, f.param(recv, "self"))
	}
	list := f.fn.Signature().Params()
	for k := range list.Len() {
		params = append(params, f.param(list.At(k), fmt.Sprintf("unused%d", k)))
	}
	if isFallible(f.fn) {
		params = append(params, "lockstep_error *error")
	}
	result := f.results()
	if f.isText {
		params = append(params, "char *text", "size_t room")
	}
	if isSlots(f.fn) {
		params = append(params, "lockstep_slot *slots")
	}
	if len(params) == 0 {
		params = []string{"void"}
	}
	return result + name + "(" + strings.Join(params, ", ") + ")"
}

// results is the type of what is returned. Names of results are variables, but for an error.
func (f *function) results() string {
	list := f.fn.Signature().Results()
	switch {
	case f.isText:
		return "void "
	case isSlots(f.fn):
		return "int "
	case list.Len() == 0:
		f.p.refuse(f.decl, "%s returns nothing", f.fn.Name())
	}
	return f.p.results(f.decl, f.fn)
}

// param is a parameter, which may have no name.
func (f *function) param(v *types.Var, otherwise string) string {
	name := v.Name()
	if name == "" || name == "_" {
		name = otherwise
	}
	return f.p.ctype(f.decl, v.Type()) + f.declare(v, name)
}

// declare names a variable.
func (f *function) declare(o types.Object, goName string) string {
	name := f.local(f.p.name(f.decl, goName))
	f.locals[o] = name
	return name
}

// local is a name that no other variable of the function has.
func (f *function) local(name string) string {
	base := name
	for k := 2; f.used[name]; k++ {
		name = fmt.Sprintf("%s%d", base, k)
	}
	f.used[name] = true
	return name
}

// body prints the statements, after the results that they assign to by name.
func (f *function) body() {
	if recv := f.fn.Signature().Recv(); recv != nil && !f.uses(recv) {
		f.line("(void)%s;", f.locals[recv])
	}
	for k := range f.fn.Signature().Params().Len() {
		if v := f.fn.Signature().Params().At(k); !f.uses(v) {
			f.line("(void)%s;", f.locals[v])
		}
	}
	if isFallible(f.fn) && !f.canFail() {
		f.line("(void)error;")
	}
	list := f.fn.Signature().Results()
	for k := range list.Len() {
		if v := list.At(k); f.uses(v) {
			zero := "0"
			if _, ok := v.Type().Underlying().(*types.Struct); ok {
				zero = "{0}"
			} else if !is(v.Type(), types.IsNumeric|types.IsBoolean) {
				f.p.refuse(f.decl, "the result %s, a %s, as a variable", v.Name(), v.Type())
			}
			f.line("%s%s = %s;", f.p.ctype(f.decl, v.Type()), f.declare(v, v.Name()), zero)
		}
	}
	f.block(f.decl.Body)
}

// canFail reports whether the body returns anything but nil.
func (f *function) canFail() bool {
	can := false
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok && !f.isNil(r.Results[0]) {
			can = true
		}
		return !can
	})
	return can
}

// uses reports whether the body names a variable.
func (f *function) uses(v types.Object) bool {
	used := false
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && f.info.Uses[id] == v {
			used = true
		}
		return !used
	})
	return used
}

func (f *function) line(format string, args ...any) {
	fmt.Fprintf(f, f.indent+format+"\n", args...)
}

// nested prints what is within braces.
func (f *function) nested(print func()) {
	f.indent += "\t"
	print()
	f.indent = f.indent[1:]
}
