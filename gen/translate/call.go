package translate

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// functions are those that C has with the same bits: of math, of go.h. Go promises the bits
// of no others of package math on all CPUs.
var functions = map[string]string{
	"math.Sqrt": "sqrt(%s)", "math.Abs": "fabs(%s)", "math.Ldexp": "ldexp(%s, (int)(%s))", "math/bits.Len64": "length_of(%s)",
	"min": "least_of(%s, %s)", "max": "greatest_of(%s, %s)",
}

func (f *function) call(e *ast.CallExpr) expr {
	if tv := f.info.Types[e.Fun]; tv.IsType() {
		return f.conversion(e, tv.Type)
	}
	callee := f.callee(e)
	if format := functions[name(callee)]; format != "" {
		return f.builtin(e, format)
	}
	fn, ok := callee.(*types.Func)
	if !ok {
		f.p.refuse(e, "no translation of a call of %s", types.ExprString(e.Fun))
	}
	c := f.p.Function(e, fn)
	args := append(f.receiver(e), f.arguments(e, fn)...)
	if isFallible(fn) {
		args = append(args, f.failure(e))
	}
	if isSlots(fn) {
		args = append(args, "plan->slots")
	}
	return expr{c + "(" + strings.Join(args, ", ") + ")", precPrimary}
}

// callee is what a call is of, if that is known.
func (f *function) callee(e *ast.CallExpr) types.Object {
	switch fun := ast.Unparen(e.Fun).(type) {
	case *ast.Ident:
		return f.info.Uses[fun]
	case *ast.SelectorExpr:
		return f.info.Uses[fun.Sel]
	}
	return nil
}

// name is that of a function of a package, or of Go's own.
func name(o types.Object) string {
	switch {
	case o == nil:
		return ""
	case o.Pkg() == nil:
		return o.Name()
	}
	return o.Pkg().Path() + "." + o.Name()
}

// conversion is between types of numbers.
func (f *function) conversion(e *ast.CallExpr, to types.Type) expr {
	from := f.info.TypeOf(e.Args[0])
	if !isFloat(to) && isFloat(from) || is(to, types.IsString) {
		f.p.refuse(e, "a conversion of %s to %s, which C may not define", from, to)
	}
	return expr{"(" + strings.TrimSpace(f.p.ctype(e, to)) + ")" + f.expr(e.Args[0]).in(precUnary), precUnary}
}

// builtin is a function that C has, or go.h.
func (f *function) builtin(e *ast.CallExpr, format string) expr {
	var args []any
	for _, x := range e.Args {
		args = append(args, f.value(x))
	}
	if n := strings.Count(format, "%s"); n != len(args) {
		f.p.refuse(e, "%s of %d arguments, want %d", types.ExprString(e.Fun), len(args), n)
	}
	if id, ok := e.Fun.(*ast.Ident); ok && !types.Identical(f.info.TypeOf(e), types.Typ[types.Float64]) {
		f.p.refuse(e, "%s of %s, want float64", id.Name, f.info.TypeOf(e))
	}
	return expr{fmt.Sprintf(format, args...), precPrimary}
}

// receiver is what a method is called on, if it is one.
func (f *function) receiver(e *ast.CallExpr) []string {
	fun, ok := ast.Unparen(e.Fun).(*ast.SelectorExpr)
	if !ok || f.info.Selections[fun] == nil {
		return nil
	}
	s := f.info.Selections[fun]
	l := f.walk(fun.X, s.Index()[:len(s.Index())-1])
	method := s.Obj().(*types.Func).Signature().Recv().Type()
	if types.IsInterface(method) {
		f.p.refuse(e, "a call through the interface %s", method)
	}
	return []string{f.as(l, method)}
}

// as is what is at a place as a receiver of a type.
func (f *function) as(l place, t types.Type) string {
	_, wants := t.Underlying().(*types.Pointer)
	_, has := l.t.Underlying().(*types.Pointer)
	switch {
	case wants && has:
		return l.text
	case wants:
		return l.address(f)
	case has:
		return "*" + l.text
	}
	return l.value(f).text
}

// arguments are those of a call.
func (f *function) arguments(e *ast.CallExpr, fn *types.Func) []string {
	if fn.Signature().Variadic() || len(e.Args) != fn.Signature().Params().Len() {
		f.p.refuse(e, "a call of %s with any number of arguments, or with the results of another", fn.Name())
	}
	var list []string
	for _, x := range e.Args {
		list = append(list, f.value(x))
	}
	return list
}

// isFallible reports whether a function returns an error alone.
func isFallible(fn *types.Func) bool {
	r := fn.Signature().Results()
	return r.Len() == 1 && isError(r.At(0).Type())
}

// failure is where a function writes what it refuses.
func (f *function) failure(e somewhere) string {
	if !isFallible(f.fn) {
		f.p.refuse(e, "a call that returns an error, in a function that returns none")
	}
	return "error"
}

func isArgError(t types.Type) bool {
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	return qualified(t) == "update.ArgError"
}

// fails prints the return of an error.
func (f *function) fails(e ast.Expr) {
	e = ast.Unparen(e)
	if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.AND && isArgError(f.info.TypeOf(u)) {
		f.line("return %s;", f.refusal(u.X.(*ast.CompositeLit)))
		return
	}
	if c, ok := e.(*ast.CallExpr); ok && f.isFirstError(c) {
		f.first(c)
		return
	}
	if f.isNil(e) {
		f.line("return LOCKSTEP_OK;")
		return
	}
	f.line("return %s;", f.value(e))
}

// isFirstError reports whether a call is of update's function of that name.
func (f *function) isFirstError(c *ast.CallExpr) bool {
	fn, ok := f.callee(c).(*types.Func)
	return ok && fn.Pkg().Name() == "update" && fn.Name() == "firstError"
}

// first prints the checks of firstError, of which those after the first that fails are not
// made: they have no other effect.
func (f *function) first(e *ast.CallExpr) {
	if len(e.Args) == 0 || e.Ellipsis.IsValid() {
		f.p.refuse(e, "firstError of a list")
	}
	for _, x := range e.Args {
		f.onlyImpure(x, 0)
	}
	status := f.local("status")
	f.line("lockstep_status %s = %s;", status, f.value(e.Args[0]))
	for _, x := range e.Args[1:] {
		f.line("if (!%s) %[1]s = %s;", status, f.value(x))
	}
	f.line("return %s;", status)
}

// refusal writes an ArgError.
func (f *function) refusal(e *ast.CompositeLit) string {
	if len(e.Elts) != 3 {
		f.p.refuse(e, "an ArgError without three fields")
	}
	for _, x := range e.Elts {
		if _, ok := x.(*ast.KeyValueExpr); ok {
			f.p.refuse(x, "an ArgError with names of fields")
		}
	}
	format, args := f.text(e.Elts[2])
	return "lockstep_refuse(" + strings.Join(append([]string{f.failure(e), f.value(e.Elts[0]), f.shown(e.Elts[1]), quote(format)}, args...), ", ") + ")"
}

// shown is a value as text.
func (f *function) shown(e ast.Expr) string {
	switch t, tv := f.info.TypeOf(e), f.info.Types[e]; {
	case is(t, types.IsBoolean) && tv.Value != nil:
		return quote(tv.Value.String())
	case is(t, types.IsBoolean):
		return f.expr(e).in(precOr+1) + ` ? "true" : "false"`
	case isFloat(t):
		return "lockstep_shortest(" + f.value(e) + ").text"
	case is(t, types.IsInteger):
		return "lockstep_decimal(" + f.value(e) + ").text"
	}
	f.p.refuse(e, "an ArgError of %s", f.info.TypeOf(e))
	return ""
}

// text is the format and arguments of printf for a text.
func (f *function) text(e ast.Expr) (format string, args []string) {
	e = ast.Unparen(e)
	if tv := f.info.Types[e]; tv.Value != nil {
		return strings.ReplaceAll(f.p.Words(f.constantText(e)), "%", "%%"), nil
	}
	switch e := e.(type) {
	case *ast.BinaryExpr: // +, which is all that texts have
		before, args := f.text(e.X)
		after, more := f.text(e.Y)
		return before + after, append(args, more...)
	case *ast.CallExpr:
		if name(f.callee(e)) == "fmt.Sprintf" {
			return f.formatted(e)
		}
	}
	return "%s", []string{f.value(e)}
}

// formatted is fmt.Sprintf with the verbs %s and %g, and %d for an int.
func (f *function) formatted(e *ast.CallExpr) (format string, args []string) {
	format = f.p.Words(f.constantText(e.Args[0]))
	rest, count := format, 0
	for {
		_, after, ok := strings.Cut(rest, "%")
		if !ok {
			break
		}
		count++
		if after == "" || count >= len(e.Args) {
			f.p.refuse(e, "a format without its arguments")
		}
		args, rest = append(args, f.argument(e.Args[count], after[0])), after[1:]
	}
	if count != len(e.Args)-1 {
		f.p.refuse(e, "a format of %d arguments with %d", count, len(e.Args)-1)
	}
	return strings.NewReplacer("%g", "%s", "%d", "%lld").Replace(format), args
}

// argument is one of a verb.
func (f *function) argument(e ast.Expr, verb byte) string {
	t := f.info.TypeOf(e)
	switch {
	case verb == 's' && is(t, types.IsString):
		return f.value(e)
	case verb == 'g' && isFloat(t):
		return f.shown(e)
	case verb == 'd' && is(t, types.IsInteger):
		return "(long long)" + f.expr(e).in(precUnary)
	}
	f.p.refuse(e, "no translation of %%%c for %s", verb, t)
	return ""
}
