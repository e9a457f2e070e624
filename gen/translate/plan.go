package translate

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/internal/names"
)

// A plan of package engine is built in C in the engine's own struct, field by field.

// A Plan is a rule's plan in C.
type Plan struct {
	Function string // void (const void *options, void *prepared, lockstep_plan *plan)
	Prepared string // the type of what the functions are called on that make scalars
}

// Plan translates the method plan of a rule.
func (p *Program) Plan(fn *types.Func) Plan {
	f := p.begin(nil, fn)
	name := p.functionName(f.decl, fn)
	bound := f.bound()
	options := p.structName(f.decl, fn.Signature().Recv().Type())
	f.start(fn.Signature().Recv(), bound, options)
	f.block(f.decl.Body)
	fmt.Fprintf(&p.text, "%sstatic void %s(const void *options, void *prepared, lockstep_plan *plan) {\n%s}\n", p.comment(fn, name), name, f.Bytes())
	return Plan{name, trim(p.ctype(f.decl, bound.Type()))}
}

func trim(ctype string) string { return strings.TrimSpace(ctype) }

// start names the rule and what is prepared, which are there for the engine to keep.
func (f *function) start(recv, bound *types.Var, options string) {
	f.builds = true
	for _, v := range []*types.Var{recv, bound} {
		f.pointers[v], f.fixed[v] = true, true
	}
	if bound == recv {
		r := f.declare(recv, nameOr(recv, "self"))
		f.line("%s *%s = prepared;", options, r)
		f.line("*%s = *(const %s *)options;", r, options)
		return
	}
	f.line("const %s *%s = options;", options, f.declare(recv, nameOr(recv, "self")))
	f.line("%s*%s = prepared;", f.p.ctype(f.decl, bound.Type()), f.declare(bound, bound.Name()))
}

func nameOr(v *types.Var, otherwise string) string {
	if v.Name() == "" || v.Name() == "_" {
		return otherwise
	}
	return v.Name()
}

// bound is the one variable whose methods make the scalars of all passes.
func (f *function) bound() *types.Var {
	var bound *types.Var
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || f.info.Selections[s] == nil || f.info.Selections[s].Kind() != types.MethodVal || f.isCalled(s) {
			return true
		}
		id, ok := s.X.(*ast.Ident)
		if !ok || len(f.info.Selections[s].Index()) > 1 {
			f.p.refuse(s, "scalars made by a method that is not a variable's own")
		}
		v := f.info.Uses[id].(*types.Var)
		if bound != nil && v != bound {
			f.p.refuse(s, "scalars made by methods of %s and of %s: want one variable", bound.Name(), v.Name())
		}
		bound = v
		return true
	})
	if bound == nil {
		f.p.refuse(f.decl, "a plan without a pass whose scalars a method makes")
	}
	return bound
}

// isCalled reports whether a method is called and not a value.
func (f *function) isCalled(s *ast.SelectorExpr) bool {
	called := false
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok && ast.Unparen(c.Fun) == s {
			called = true
		}
		return !called
	})
	return called
}

// plans prints an assignment to a plan or its fields, and reports whether it was one.
func (f *function) plans(s *ast.AssignStmt) bool {
	if !f.builds {
		return false
	}
	if len(s.Lhs) == 1 && qualified(f.info.TypeOf(s.Lhs[0])) == "engine.Plan" {
		if s.Tok != token.DEFINE || f.built != nil {
			f.p.refuse(s, "a plan that is made twice")
		}
		f.built = f.info.Defs[s.Lhs[0].(*ast.Ident)]
		f.plan(s.Rhs[0])
		return true
	}
	for k, to := range s.Lhs {
		field, ok := to.(*ast.SelectorExpr)
		if !ok || qualified(f.info.TypeOf(field.X)) != "engine.Plan" {
			if k > 0 {
				f.p.refuse(s, "an assignment to a plan's fields and others")
			}
			return false
		}
		f.planField(field.Sel.Name, s.Rhs[k])
	}
	return true
}

// plan prints the literal of a plan.
func (f *function) plan(e ast.Expr) {
	literal, ok := ast.Unparen(e).(*ast.CompositeLit)
	if !ok {
		f.p.refuse(e, "a plan that is no literal")
	}
	f.line("*plan = (lockstep_plan){0};")
	for _, x := range literal.Elts {
		pair, ok := x.(*ast.KeyValueExpr)
		if !ok {
			f.p.refuse(x, "a plan without names of fields")
		}
		f.planField(pair.Key.(*ast.Ident).Name, pair.Value)
	}
}

// planField prints what gives a field of the plan its value.
func (f *function) planField(field string, e ast.Expr) {
	switch field {
	case "FusesProximal":
		f.line("plan->fuses_proximal = %s;", f.value(e))
	case "Hessian":
		f.line("plan->hessian = %s;", f.value(e))
	case "Mean":
		f.line("plan->mean = %s;", f.value(e))
	case "State":
		f.state(e)
	case "Passes":
		f.passes(e)
	default:
		f.p.refuse(e, "a plan's %s has no translation", field)
	}
}

// state prints the slots of a plan: a list, those of a function, or one more.
func (f *function) state(e ast.Expr) {
	switch e := ast.Unparen(e).(type) {
	case *ast.CompositeLit:
		f.room(e, len(e.Elts))
		f.slots("plan->slots", e)
		f.line("plan->slot_count = %d;", len(e.Elts))
	case *ast.CallExpr:
		if fn, ok := f.callee(e).(*types.Func); ok && isSlots(fn) {
			f.line("plan->slot_count = %s;", f.value(e))
			f.room(e, f.p.most[fn])
			return
		}
		f.append(e)
	default:
		f.p.refuse(e, "state that is no list of slots")
	}
}

// append prints more slots.
func (f *function) append(e *ast.CallExpr) {
	if name(f.callee(e)) != "append" || e.Ellipsis.IsValid() || types.ExprString(e.Args[0]) != f.built.Name()+".State" {
		f.p.refuse(e, "state that is no list of slots")
	}
	f.room(e, len(e.Args)-1)
	for _, x := range e.Args[1:] {
		f.line("plan->slots[plan->slot_count++] = %s;", f.value(x))
	}
}

// What a plan in C has room for, as c/src/rule.h says.
const mostSlots, mostPasses, mostSums = 8, 4, 2

// room refuses more slots than there is room for.
func (f *function) room(at somewhere, slots int) {
	if f.slotted += slots; f.slotted > mostSlots || f.loops > 0 {
		f.p.refuse(at, "more slots than the %d that a plan of C's engine has", mostSlots)
	}
}

// slots prints a list of slots.
func (f *function) slots(to string, list *ast.CompositeLit) {
	for k, x := range list.Elts {
		f.line("%s[%d] = %s;", to, k, f.value(x))
	}
}

// special is a field of a slot that is not what it is in Go.
func (f *function) special(of types.Type, field *types.Var, x ast.Expr) (string, bool) {
	if qualified(of) != "engine.Slot" {
		return "", false
	}
	switch field.Name() {
	case "Extent":
		s, ok := ast.Unparen(x).(*ast.SelectorExpr)
		if !ok || extents[s.Sel.Name] == "" {
			f.p.refuse(x, "state of the extent %s, which C's engine has not", types.ExprString(x))
		}
		return ".extent = " + extents[s.Sel.Name], true
	case "First":
		if s, ok := ast.Unparen(x).(*ast.SelectorExpr); ok && s.Sel.Name == "Params" {
			return ".begins_as_params = 1", true
		}
		call, ok := ast.Unparen(x).(*ast.CallExpr)
		if !ok || name(f.callee(call)) != Module+"internal/engine.Constant" {
			f.p.refuse(x, "state that begins as neither a constant nor the parameters")
		}
		return ".first = " + f.value(call.Args[0]), true
	}
	return "", false
}

// extents are what a slot can have a number of.
var extents = map[string]string{"PerElement": "LOCKSTEP_OF_ELEMENTS", "PerRow": "LOCKSTEP_OF_ROWS", "PerColumn": "LOCKSTEP_OF_COLUMNS", "PerTensor": "LOCKSTEP_OF_TENSOR", "PerRowPair": "LOCKSTEP_OF_ROW_PAIRS", "PerColumnPair": "LOCKSTEP_OF_COLUMN_PAIRS"}

// isSlots reports whether a function returns slots: in C it is given room for them, and
// returns how many there are.
func (f *function) isSlots() bool { return isSlots(f.fn) }

func isSlots(fn *types.Func) bool {
	r := fn.Signature().Results()
	if r.Len() != 1 {
		return false
	}
	s, ok := r.At(0).Type().(*types.Slice)
	return ok && qualified(s.Elem()) == "engine.Slot"
}

// returnsPlan prints a return from a function that returns slots or a plan.
func (f *function) returnsPlan(s *ast.ReturnStmt) {
	e := ast.Unparen(s.Results[0])
	literal, ok := e.(*ast.CompositeLit)
	id, _ := e.(*ast.Ident)
	switch {
	case f.isSlots() && ok:
		f.p.most[f.fn] = max(f.p.most[f.fn], len(literal.Elts))
		f.slots("slots", literal)
		f.line("return %d;", len(literal.Elts))
		return
	case f.isSlots():
		f.p.refuse(e, "slots that are no literal")
	case id == nil || f.built == nil || f.info.Uses[id] != f.built:
		f.plan(e)
	}
	f.line("return;")
}

// passes prints those of a plan.
func (f *function) passes(e ast.Expr) {
	list := []ast.Expr{e}
	if literal, ok := ast.Unparen(e).(*ast.CompositeLit); ok {
		list = literal.Elts
	}
	if len(list) > mostPasses {
		f.p.refuse(e, "%d passes, of which C's engine has at most %d", len(list), mostPasses)
	}
	for k, x := range list {
		f.pass(k, x)
	}
	f.line("plan->pass_count = %d;", len(list))
}

// pass prints one: a kernel with what makes its scalars.
func (f *function) pass(k int, e ast.Expr) {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		f.p.refuse(e, "a pass that is no call of package engine")
	}
	args, scope := call.Args, "LOCKSTEP_NO_SUMS"
	switch name(f.callee(call)) {
	case Module + "internal/engine.One", Module + "internal/engine.Elements":
	case Module + "internal/engine.Summing":
		scope, args = f.scope(args[0]), args[1:]
		f.refuseColumns(e, scope)
	case Module + "internal/engine.ByRows":
		f.matrixPass(k, "LOCKSTEP_ROWS", args)
		return
	case Module + "internal/engine.MeanByRow":
		f.meanPass(k, args)
		return
	case Module + "internal/engine.TrustByRow":
		f.trustPass(k, args)
		return
	case Module + "internal/engine.Whole":
		f.refuseColumns(e, f.matrixPass(k, "LOCKSTEP_WHOLE", args))
		return
	case Module + "internal/engine.Together":
		f.line("plan->passes[%d] = (lockstep_pass){.kernel = %s, .scalars = %s, .walk = LOCKSTEP_TOGETHER, .matrix = %s, .room = %s};", k, f.scalarsOf(args[1]), f.maker(args[1]), f.byHand(args[0]), f.byHand(args[2]))
		return
	case Module + "internal/engine.Keep":
		f.line("plan->passes[%d] = (lockstep_pass){.scalars = %s, .walk = LOCKSTEP_WHOLE};", k, f.maker(args[0]))
		return
	default:
		f.p.refuse(e, "a pass by %s, which C's engine has not", types.ExprString(call.Fun))
	}
	kernel, name := f.kernel(args[0])
	buffers := f.buffers(args[0], args[2:], kernel)
	f.line("plan->passes[%d] = (lockstep_pass){.kernel = &lockstep_all[%s], .scalars = %s, .sums = %s, .buffers = {%s}};", k, name, f.maker(args[1]), scope, strings.Join(buffers, ", "))
}

// matrixPass prints a pass over matrices: C has by hand the function that it calls, of the
// same name, whose scalars are a kernel's or its own. It returns what the sums are of.
func (f *function) matrixPass(k int, walk string, args []ast.Expr) string {
	call, sums := f.byHand(args[1]), f.scope(args[0])
	f.line("plan->passes[%d] = (lockstep_pass){.kernel = %s, .scalars = %s, .sums = %s, .walk = %s, .matrix = %s};", k, f.scalarsOf(args[2]), f.maker(args[2]), sums, walk, call)
	return sums
}

// byHand is a function that C has by hand.
func (f *function) byHand(e ast.Expr) string {
	id, ok := e.(*ast.Ident)
	if !ok {
		f.p.refuse(e, "what a pass over matrices calls must be a function of package update")
	}
	return "lockstep_" + names.C(id.Name)
}

// meanPass prints a pass that takes rows one by one.
func (f *function) meanPass(k int, args []ast.Expr) {
	_, kernel := f.kernel(args[0])
	f.line("plan->passes[%d] = (lockstep_pass){.kernel = &lockstep_all[%s], .scalars = %s, .walk = LOCKSTEP_ROWS, .row = %s, .keep = %s, .add = %s};",
		k, kernel, f.maker(args[3]), f.rowMaker(args[4]), f.value(args[1]), f.value(args[2]))
}

// trustPass prints a pass that takes rows one by one, each by its trust ratio.
func (f *function) trustPass(k int, args []ast.Expr) {
	f.p.called("Muon")
	f.line("plan->passes[%d] = (lockstep_pass){.kernel = &lockstep_all[%s], .scalars = %s, .walk = LOCKSTEP_ROWS, .row = %s, .keep = %s, .add = %s, .trusts = 1, .decay = %s};",
		k, KernelName("Muon"), f.maker(args[3]), f.rowMaker(args[4]), f.value(args[0]), f.value(args[1]), f.value(args[2]))
}

// rowMaker is the function that makes a row's scalars where the engine wants them.
func (f *function) rowMaker(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || f.info.Selections[s] == nil || f.info.Selections[s].Kind() != types.MethodExpr {
		f.p.refuse(e, "scalars of a row that are made by no method of what rows share")
	}
	fn := f.info.Selections[s].Obj().(*types.Func)
	makes := f.p.Function(e, fn)
	name := makes + "_into"
	if slot := fn.Signature().Params().At(0); !f.p.declared[slot] {
		f.p.declared[slot] = true
		f.p.printRowMaker(name, makes, fn)
	}
	return name
}

func (p *Program) printRowMaker(name, makes string, fn *types.Func) {
	decl, argument := p.functions[fn], "s"
	recv := fn.Signature().Recv().Type()
	if _, ok := recv.(*types.Pointer); ok {
		argument = "&s"
	}
	fmt.Fprintf(&p.text, "\nstatic void %s(const void *shared, double slot, void *scalars) {\n", name)
	fmt.Fprintf(&p.text, "\t%s s;\n\tmemcpy(&s, shared, sizeof s);\n", p.structName(decl, recv))
	fmt.Fprintf(&p.text, "\tconst %sc = %s(%s, slot);\n\tmemcpy(scalars, &c, sizeof c);\n}\n", p.results(decl, fn), makes, argument)
}

// refuseColumns refuses sums by column of what takes no rows.
func (f *function) refuseColumns(e ast.Expr, scope string) {
	if scope == scopes["ByColumn"] {
		f.p.refuse(e, "sums by column of a pass that is not by rows")
	}
}

// scalarsOf is the kernel whose scalars a method makes, or NULL if they are no kernel's.
func (f *function) scalarsOf(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || f.info.Selections[s] == nil {
		f.p.refuse(e, "scalars that no method makes")
	}
	t := f.info.Selections[s].Obj().(*types.Func).Signature().Results().At(0).Type()
	kernel := strings.TrimSuffix(strings.TrimPrefix(qualified(t), "fallback."), "Scalars")
	if _, ok := f.p.kernels[kernel]; !ok {
		return "NULL"
	}
	f.p.called(kernel)
	return "&lockstep_all[" + KernelName(kernel) + "]"
}

// scopes are what sums can be of.
var scopes = map[string]string{"NoSums": "LOCKSTEP_NO_SUMS", "ByColumn": "LOCKSTEP_BY_COLUMN", "OverTensor": "LOCKSTEP_OVER_TENSOR", "OverRule": "LOCKSTEP_OVER_RULE", "OverAll": "LOCKSTEP_OVER_ALL"}

func (f *function) scope(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || scopes[s.Sel.Name] == "" {
		f.p.refuse(e, "sums of the scope %s, which C's engine has not", types.ExprString(e))
	}
	return scopes[s.Sel.Name]
}

// kernel is the kernel that a pass calls, and its place by name.
func (f *function) kernel(e ast.Expr) (Kernel, string) {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		s = f.adapter(e)
	}
	k, ok := f.p.kernels[s.Sel.Name]
	if !ok || name(f.info.Uses[s.Sel]) != Module+"kernels."+s.Sel.Name {
		f.p.refuse(e, "%s is no kernel", types.ExprString(s))
	}
	f.p.called(s.Sel.Name)
	return k, KernelName(s.Sel.Name)
}

// adapter is the kernel that a function hands its arguments to, and a sum to each of its
// lanes.
func (f *function) adapter(e ast.Expr) *ast.SelectorExpr {
	id, _ := e.(*ast.Ident)
	fn, _ := f.info.Uses[id].(*types.Func)
	decl := f.p.functions[fn]
	call := onlyCall(decl)
	if call == nil {
		f.p.refuse(e, "what a pass calls must be a kernel, or a function of one call of a kernel")
	}
	kernel := call.Fun.(*ast.SelectorExpr)
	var want []string
	params := fn.Signature().Params()
	for k := range params.Len() {
		want = append(want, params.At(k).Name())
	}
	sums := want[len(want)-1]
	want = want[:len(want)-1]
	for k := range min(f.p.kernels[kernel.Sel.Name].Sums, mostSums) {
		want = append(want, fmt.Sprintf("&%s[%d]", sums, k))
	}
	var got []string
	for _, x := range call.Args {
		got = append(got, types.ExprString(x))
	}
	if !slices.Equal(got, want) {
		f.p.refuse(call, "%s is called with %v, want %v", kernel.Sel.Name, got, want)
	}
	return kernel
}

// onlyCall is the one statement of a function, if it is a call of another package's.
func onlyCall(decl *ast.FuncDecl) *ast.CallExpr {
	if decl == nil || len(decl.Body.List) != 1 {
		return nil
	}
	if s, ok := decl.Body.List[0].(*ast.ExprStmt); ok {
		if call, ok := s.X.(*ast.CallExpr); ok {
			if _, ok := call.Fun.(*ast.SelectorExpr); ok {
				return call
			}
		}
	}
	return nil
}

// buffers are those that a pass takes, in the kernel's order.
func (f *function) buffers(at ast.Expr, names []ast.Expr, kernel Kernel) []string {
	list := []string{"LOCKSTEP_PARAMS", "LOCKSTEP_GRADS"}
	for k := range kernel.Buffers - 2 {
		list = append(list, fmt.Sprintf("LOCKSTEP_SLOT + %d", k))
	}
	if len(names) == 0 {
		return list
	}
	list = nil
	for _, x := range names {
		list = append(list, f.buffer(x))
	}
	if len(list) != kernel.Buffers {
		f.p.refuse(at, "a pass of %d buffers, of which the kernel takes %d", len(list), kernel.Buffers)
	}
	return list
}

// buffer is a buffer by its name.
func (f *function) buffer(e ast.Expr) string {
	switch name := f.constantText(e); name {
	case "params":
		return "LOCKSTEP_PARAMS"
	case "grads":
		return "LOCKSTEP_GRADS"
	default:
		if f.slotted == 0 {
			f.p.refuse(e, "the slot %s of a plan whose state comes later", name)
		}
		return fmt.Sprintf("slot_of(plan, %s)", quote(name))
	}
}

// maker is the function that makes a pass's scalars where the engine wants them.
func (f *function) maker(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || f.info.Selections[s] == nil {
		f.p.refuse(e, "scalars that no method makes")
	}
	fn := f.info.Selections[s].Obj().(*types.Func)
	makes := f.p.Function(e, fn)
	name := makes + "_into"
	if !f.p.declared[fn.Signature().Params().At(0)] {
		f.p.declared[fn.Signature().Params().At(0)] = true
		f.p.printMaker(name, makes, fn)
	}
	return name
}

func (p *Program) printMaker(name, makes string, fn *types.Func) {
	decl := p.functions[fn]
	prepared, recv := "prepared", fn.Signature().Recv().Type()
	if _, ok := recv.(*types.Pointer); !ok {
		prepared = "*(const " + p.structName(decl, recv) + " *)prepared"
	}
	fmt.Fprintf(&p.text, "\nstatic void %s(void *prepared, const lockstep_step_input *in, void *scalars) {\n", name)
	fmt.Fprintf(&p.text, "\tconst %sc = %s(%s, in);\n\tmemcpy(scalars, &c, sizeof c);\n}\n", p.results(decl, fn), makes, prepared)
}

// constantText is a constant that is a text.
func (f *function) constantText(e ast.Expr) string {
	tv := f.info.Types[e]
	if tv.Value == nil || tv.Value.Kind() != constant.String {
		f.p.refuse(e, "no constant text")
	}
	return constant.StringVal(tv.Value)
}
