package translate

import (
	"fmt"
	"go/types"
	"strings"

	"github.com/lockstep-go/lockstep/internal/names"
)

// basics are the types of C for those of Go.
var basics = map[types.BasicKind]string{
	types.Float64: "double", types.UntypedFloat: "double", types.Float32: "float", types.Bool: "bool", types.UntypedBool: "bool",
	types.Int: "int64_t", types.Int64: "int64_t", types.UntypedInt: "int64_t", types.Uint64: "uint64_t", types.Uint32: "uint32_t",
	types.String: "const char *", types.UntypedString: "const char *",
}

// known are the types that the headers of C declare.
var known = map[string]string{
	"fallback.Common": "lockstep_common", "engine.StepInput": "lockstep_step_input", "engine.Slot": "lockstep_slot", "engine.Kept": "lockstep_kept",
	"engine.Stages": "lockstep_stages", "update.Options": "lockstep_options", "engine.Options": "lockstep_options",
	"update.newtonSchulz": "lockstep_newton_schulz", "update.basesStep": "lockstep_bases_step",
}

// qualified is a type's name after that of its package.
func qualified(t types.Type) string {
	if n, ok := types.Unalias(t).(*types.Named); ok && n.Obj().Pkg() != nil {
		return n.Obj().Pkg().Name() + "." + n.Obj().Name()
	}
	return ""
}

// isRule reports whether a type is a rule's options.
func isRule(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() == nil || n.Obj().Pkg().Name() != "update" || !n.Obj().Exported() {
		return false
	}
	o := n.Obj().Pkg().Scope().Lookup("Rule")
	return o != nil && !types.IsInterface(t) && types.Implements(t, o.Type().Underlying().(*types.Interface))
}

// isScalars reports whether a type is a kernel's.
func isScalars(t types.Type) bool {
	name := qualified(t)
	return strings.HasPrefix(name, "fallback.") && strings.HasSuffix(name, "Scalars")
}

// isFlat reports whether C has the fields of an embedded struct in the struct itself.
func isFlat(t types.Type) bool { return isRule(t) && qualified(t) != "update.Options" || isScalars(t) }

// structName is the name of a struct type, or of what a pointer is to.
func (p *Program) structName(at somewhere, t types.Type) string {
	t = types.Unalias(t)
	if ptr, ok := t.(*types.Pointer); ok {
		t = types.Unalias(ptr.Elem())
	}
	n, ok := t.(*types.Named)
	switch {
	case !ok:
		p.refuse(at, "the type %s has no name", t)
	case known[qualified(t)] != "":
		return known[qualified(t)]
	case isRule(t):
		return "lockstep_" + names.C(n.Obj().Name()) + "_options"
	case isScalars(t):
		return "lockstep_" + names.C(n.Obj().Name())
	}
	return p.global(at, p.name(at, n.Obj().Name()), n.Obj())
}

// ctype is a type in C, ready for a name to follow.
func (p *Program) ctype(at somewhere, t types.Type) string {
	switch u := types.Unalias(t).(type) {
	case *types.Pointer:
		c := p.ctype(at, u.Elem()) + "*"
		if qualified(u.Elem()) == "engine.StepInput" {
			return "const " + c
		}
		return c
	case *types.Named:
		if _, ok := u.Underlying().(*types.Struct); ok {
			p.declare(at, u)
			return p.structName(at, u) + " "
		}
		if qualified(u) == "fallback.Mask" {
			return "uint32_t "
		}
	case *types.Basic:
		if c := basics[u.Kind()]; c != "" {
			return c + strings.Repeat(" ", 1-strings.Count(c, "*"))
		}
	}
	if isError(t) {
		return "lockstep_status "
	}
	p.refuse(at, "C has no type for %s here", t)
	return ""
}

func isError(t types.Type) bool { return types.Identical(t, types.Universe.Lookup("error").Type()) }

// isFloat reports whether a type is a floating-point number's.
func isFloat(t types.Type) bool { return is(t, types.IsFloat) }

func is(t types.Type, info types.BasicInfo) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&info != 0
}

// declare prints a struct, unless a header has it.
func (p *Program) declare(at somewhere, n *types.Named) {
	if known[qualified(n)] != "" || isFlat(n) || p.declared[n.Obj()] {
		return
	}
	if n.TypeArgs().Len() > 0 {
		p.refuse(at, "the type %s is generic", n)
	}
	p.declared[n.Obj()] = true
	fields := ""
	s := n.Underlying().(*types.Struct)
	for k := range s.NumFields() {
		fields += "\t" + p.field(at, s.Field(k)) + ";\n"
	}
	name := p.structName(at, n)
	fmt.Fprintf(&p.types, "%stypedef struct %s {\n%s} %[2]s;\n", p.comment(n.Obj(), name), name, fields)
}

// field is a field as it is declared.
func (p *Program) field(at somewhere, v *types.Var) string {
	name := p.name(at, v.Name())
	if a, ok := v.Type().(*types.Array); ok {
		return fmt.Sprintf("%s%s[%d]", p.ctype(at, a.Elem()), name, a.Len())
	}
	return p.ctype(at, v.Type()) + name
}

// comment is that of a function or type, under the name that it has in C.
func (p *Program) comment(o types.Object, name string) string {
	doc := strings.TrimSpace(p.docs[o])
	for _, article := range []string{"", "A ", "An "} {
		if rest, ok := strings.CutPrefix(doc, article+o.Name()+" "); ok {
			doc = article + name + " " + rest
		}
	}
	if doc == "" {
		return "\n"
	}
	doc = strings.ReplaceAll(doc, "*/", "* /")
	return "\n/* " + strings.ReplaceAll(strings.ReplaceAll(p.Words(doc), "\n", "\n * "), " * \n", " *\n") + " */\n"
}

// results is the type of what a function returns, if it is more than one value: a struct.
func (p *Program) results(at somewhere, f *types.Func) string {
	t := f.Signature().Results()
	if t.Len() == 1 {
		return p.ctype(at, t.At(0).Type())
	}
	name := p.functionName(at, f) + "_results"
	fields := ""
	for k := range t.Len() {
		if t.At(k).Name() == "" {
			p.refuse(at, "%s has several results, which have no names", f.Name())
		}
		fields += "\t" + p.field(at, t.At(k)) + ";\n"
	}
	if !p.declared[t.At(0)] {
		p.declared[t.At(0)] = true
		fmt.Fprintf(&p.types, "\ntypedef struct %s {\n%s} %[1]s;\n", name, fields)
	}
	return name + " "
}
