package translate

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"math"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/internal/names"
)

// An expr is an expression in C, which binds its parts as strongly as its operator does.
type expr struct {
	text string
	prec int
}

// How strongly operators of C bind.
const (
	precOr = iota
	precAnd
	precBitOr
	precBitXor
	precBitAnd
	precEqual
	precLess
	precShift
	precAdd
	precMul
	precUnary
	precPrimary
)

// operators are those that C has with the same meaning.
var operators = map[token.Token]int{
	token.LOR: precOr, token.LAND: precAnd, token.OR: precBitOr, token.XOR: precBitXor, token.AND: precBitAnd,
	token.EQL: precEqual, token.NEQ: precEqual, token.LSS: precLess, token.LEQ: precLess, token.GTR: precLess, token.GEQ: precLess,
	token.SHR: precShift, token.ADD: precAdd, token.SUB: precAdd, token.MUL: precMul, token.QUO: precMul,
}

// in is an expression as the left operand of an operator, in brackets where it needs them,
// or where compilers warn without.
func (x expr) in(prec int) string {
	isBits := prec >= precBitOr && prec <= precBitAnd || prec == precShift
	if x.prec < prec || prec == precOr && x.prec == precAnd || isBits && x.prec < precUnary {
		return "(" + x.text + ")"
	}
	return x.text
}

// right is an expression as the right operand.
func (x expr) right(prec int) string {
	if x.prec == prec {
		return "(" + x.text + ")"
	}
	return x.in(prec)
}

// value is the text of an expression.
func (f *function) value(e ast.Expr) string { return f.expr(e).text }

func (f *function) expr(e ast.Expr) expr {
	e = ast.Unparen(e)
	if tv := f.info.Types[e]; tv.Value != nil {
		return f.constant(e, tv)
	}
	switch e := e.(type) {
	case *ast.Ident, *ast.SelectorExpr:
		return f.place(e).value(f)
	case *ast.IndexExpr:
		return expr{f.expr(e.X).in(precPrimary) + "[" + f.value(e.Index) + "]", precPrimary}
	case *ast.UnaryExpr:
		return f.unary(e)
	case *ast.BinaryExpr:
		return f.binary(e)
	case *ast.CallExpr:
		return f.call(e)
	case *ast.CompositeLit:
		return f.literal(e)
	}
	f.p.refuse(e, "no translation of a %T", e)
	return expr{}
}

// constant is a number, text or truth that is known.
func (f *function) constant(e ast.Expr, tv types.TypeAndValue) expr {
	switch v := tv.Value; {
	case v.Kind() == constant.Bool:
		return expr{v.String(), precPrimary}
	case v.Kind() == constant.String:
		return expr{quote(f.p.Words(constant.StringVal(v))), precPrimary}
	case isFloat(tv.Type):
		return signed(float(v, tv.Type))
	case qualified(tv.Type) == "fallback.Mask":
		return expr{f.mask(e, v), precPrimary}
	case is(tv.Type, types.IsInteger):
		if n, ok := constant.Int64Val(v); ok && n > math.MinInt32 && n <= math.MaxInt32 {
			return signed(strconv.FormatInt(n, 10))
		} else if ok && n > math.MinInt64 {
			return expr{fmt.Sprintf("INT64_C(%d)", n), precPrimary}
		}
	}
	f.p.refuse(e, "no constant of C for %s", tv.Value)
	return expr{}
}

// mask is a constant of package fallback, by its name where the header has it.
func (f *function) mask(e ast.Expr, v constant.Value) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		return "LOCKSTEP_" + strings.ToUpper(names.C(s.Sel.Name))
	}
	return "UINT32_C(" + v.ExactString() + ")"
}

// float is a constant as the double or float that Go rounds it to.
func float(v constant.Value, t types.Type) string {
	x, _ := constant.Float64Val(v)
	bits, suffix := 64, ""
	if b := t.Underlying().(*types.Basic); b.Kind() == types.Float32 {
		single, _ := constant.Float32Val(v)
		x, bits, suffix = float64(single), 32, "f"
	}
	return Float(x, bits) + suffix
}

// Float is a number in C: in decimals if these are few, or else exactly.
func Float(x float64, bits int) string {
	text := strconv.FormatFloat(x, 'g', -1, bits)
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return strings.ToUpper(strings.TrimPrefix(text, "+"))
	case len(text) > 8:
		return strconv.FormatFloat(x, 'x', -1, bits)
	case x == math.Trunc(x) && !strings.Contains(text, "e"):
		return text + ".0"
	}
	return text
}

// quote is a constant of text in C.
func quote(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteString("\\" + string(c))
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}

func signed(text string) expr {
	if strings.HasPrefix(text, "-") {
		return expr{text, precUnary}
	}
	return expr{text, precPrimary}
}

func (f *function) unary(e *ast.UnaryExpr) expr {
	t := f.info.TypeOf(e)
	switch {
	case e.Op == token.NOT, e.Op == token.SUB && isFloat(t):
		return expr{e.Op.String() + f.expr(e.X).in(precUnary), precUnary}
	case e.Op == token.AND && isArgError(t):
		f.p.refuse(e, "an ArgError that is not returned at once")
	}
	f.p.refuse(e, "no translation of %s %s", e.Op, t)
	return expr{}
}

func (f *function) binary(e *ast.BinaryExpr) expr {
	t := f.info.TypeOf(e.X)
	prec, ok := operators[e.Op]
	switch {
	case f.isNil(e.Y) && isError(t):
		return expr{f.expr(e.X).in(precEqual) + " " + e.Op.String() + " LOCKSTEP_OK", precEqual}
	case e.Op == token.SHL && is(t, types.IsInteger):
		return expr{fmt.Sprintf("shifted(%s, %s)", f.value(e.X), f.value(e.Y)), precPrimary}
	case !ok || !isFloat(t) && !is(t, types.IsInteger) && !f.isLogic(e, t):
		f.p.refuse(e, "no translation of %s %s %s", t, e.Op, f.info.TypeOf(e.Y))
	case (e.Op == token.QUO || e.Op == token.MUL) && !isFloat(t), e.Op == token.SHR && is(t, types.IsUnsigned) && f.info.Types[e.Y].Value == nil:
		f.p.refuse(e, "no translation of %s %s, which C may not define", t, e.Op)
	}
	f.checkFused(e)
	return expr{f.expr(e.X).in(prec) + " " + e.Op.String() + " " + f.expr(e.Y).right(prec), prec}
}

// isLogic reports whether an operator is one of logic, which C has for integers too: of
// truths that are equal it does not know.
func (f *function) isLogic(e *ast.BinaryExpr, t types.Type) bool {
	return is(t, types.IsBoolean) && (e.Op == token.LAND || e.Op == token.LOR)
}

func (f *function) isNil(e ast.Expr) bool { return f.info.Types[e].IsNil() }

// A place is a variable or a field.
type place struct {
	at      somewhere
	text    string
	pointer bool // it has a pointer to it
	flat    bool // it is embedded in a struct that has its fields itself
	t       types.Type
}

// value is what is there.
func (l place) value(f *function) expr {
	switch {
	case l.flat:
		return expr{"(" + f.p.structName(l.at, l.t) + "){" + strings.Join(f.fields(l), ", ") + "}", precPrimary}
	case l.pointer:
		return expr{"*" + l.text, precUnary}
	}
	return expr{l.text, precPrimary}
}

// address is a pointer to it.
func (l place) address(f *function) string {
	if l.flat {
		f.p.refuse(l.at, "a pointer to an embedded struct whose fields C has in the outer one")
	}
	if l.pointer {
		return l.text
	}
	return "&" + l.text
}

// fields are designated initializers of a struct like the one at a place.
func (f *function) fields(l place) []string {
	var list []string
	s := l.t.Underlying().(*types.Struct)
	for k := range s.NumFields() {
		at := f.step(l, k)
		if at.flat {
			list = append(list, f.fields(at)...)
			continue
		}
		list = append(list, fmt.Sprintf(".%s = %s", f.p.name(l.at, s.Field(k).Name()), at.value(f).text))
	}
	return list
}

// step goes to a field of a struct.
func (f *function) step(l place, k int) place {
	of := l.t
	if ptr, ok := of.Underlying().(*types.Pointer); ok {
		of, l.pointer = ptr.Elem(), true
	}
	field := of.Underlying().(*types.Struct).Field(k)
	if field.Embedded() && isFlat(of) {
		return place{l.at, l.text, l.pointer, true, field.Type()}
	}
	separator := "."
	if l.pointer {
		separator = "->"
	}
	return place{l.at, l.text + separator + f.p.name(l.at, field.Name()), false, false, field.Type()}
}

// place finds a variable or a field.
func (f *function) place(e ast.Expr) place {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		if name, ok := f.locals[f.object(e)]; ok {
			return place{e, name, f.pointers[f.object(e)], false, f.info.TypeOf(e)}
		}
		f.p.refuse(e, "%s is neither a constant nor a variable of the function", e.Name)
	case *ast.SelectorExpr:
		s := f.info.Selections[e]
		if s == nil {
			f.p.refuse(e, "%s.%s is no constant", e.X, e.Sel.Name)
		}
		if s.Kind() != types.FieldVal {
			f.p.refuse(e, "the method %s as a value, which only passes take", e.Sel.Name)
		}
		return f.walk(e.X, s.Index())
	case *ast.IndexExpr:
		return place{e, f.value(e), false, false, f.info.TypeOf(e)}
	case *ast.CallExpr:
		return place{e, f.value(e), false, false, f.info.TypeOf(e)}
	default:
		f.p.refuse(e, "no translation of a %T here", e)
	}
	return place{}
}

// walk goes from an expression to a field.
func (f *function) walk(from ast.Expr, path []int) place {
	l := f.place(from)
	for _, k := range path {
		l = f.step(l, k)
	}
	return l
}

func (f *function) object(e *ast.Ident) types.Object {
	if o := f.info.Uses[e]; o != nil {
		return o
	}
	return f.info.Defs[e]
}

// literal is a struct.
func (f *function) literal(e *ast.CompositeLit) expr {
	t := f.info.TypeOf(e)
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		f.p.refuse(e, "no translation of a literal of %s here", t)
	}
	var list []string
	for k, x := range e.Elts {
		field := s.Field(min(k, s.NumFields()-1))
		if pair, ok := x.(*ast.KeyValueExpr); ok {
			field, x = f.info.Uses[pair.Key.(*ast.Ident)].(*types.Var), pair.Value
		}
		list = append(list, f.initializers(t, field, x)...)
	}
	if len(list) == 0 {
		list = []string{"0"}
	}
	return expr{"(" + strings.TrimSpace(f.p.ctype(e, t)) + "){" + strings.Join(list, ", ") + "}", precPrimary}
}

// initializers are those of a field, or of all in an embedded struct.
func (f *function) initializers(of types.Type, field *types.Var, x ast.Expr) []string {
	if field.Embedded() && isFlat(of) {
		l := f.place(x)
		return f.fields(l)
	}
	if c, ok := f.special(of, field, x); ok {
		return []string{c}
	}
	return []string{fmt.Sprintf(".%s = %s", f.p.name(x, field.Name()), f.value(x))}
}
