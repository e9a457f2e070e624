package translate

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
)

func (f *function) block(b *ast.BlockStmt) {
	for _, s := range b.List {
		f.statement(s)
	}
}

func (f *function) statement(s ast.Stmt) {
	f.checkImpure(s)
	switch s := s.(type) {
	case *ast.AssignStmt:
		f.assignment(s)
	case *ast.ReturnStmt:
		f.returns(s)
	case *ast.IfStmt:
		f.branch(s)
	case *ast.SwitchStmt:
		f.cases(s)
	case *ast.ForStmt:
		f.loop(s)
	case *ast.RangeStmt:
		f.count(s)
	case *ast.IncDecStmt:
		f.line("%s%s;", f.target(s.X), s.Tok)
	case *ast.BlockStmt:
		f.block(s)
	case *ast.DeclStmt: // constants have their values where they are used
		if d := s.Decl.(*ast.GenDecl); d.Tok != token.CONST {
			f.p.refuse(s, "no translation of a %s", d.Tok)
		}
	default:
		f.p.refuse(s, "no translation of a %T", s)
	}
}

// assignment prints one or several.
func (f *function) assignment(s *ast.AssignStmt) {
	switch {
	case f.plans(s):
	case len(s.Rhs) < len(s.Lhs):
		f.unpack(s)
	case s.Tok != token.ASSIGN && s.Tok != token.DEFINE:
		f.update(s)
	default:
		f.checkOrder(s)
		for k, to := range s.Lhs {
			value := f.value(s.Rhs[k])
			f.assign(s, to, value)
		}
	}
}

// update prints an operator with an assignment.
func (f *function) update(s *ast.AssignStmt) {
	operators := map[token.Token]token.Token{token.ADD_ASSIGN: token.ADD, token.SUB_ASSIGN: token.SUB, token.MUL_ASSIGN: token.MUL, token.QUO_ASSIGN: token.QUO}
	op, ok := operators[s.Tok]
	if t := f.info.TypeOf(s.Lhs[0]); !ok || !isFloat(t) && !is(t, types.IsInteger) || op == token.QUO && !isFloat(t) {
		f.p.refuse(s, "no translation of %s %s", t, s.Tok)
	}
	f.checkFused(&ast.BinaryExpr{X: s.Lhs[0], OpPos: s.TokPos, Op: op, Y: s.Rhs[0]})
	f.line("%s %s %s;", f.target(s.Lhs[0]), s.Tok, f.value(s.Rhs[0]))
}

// assign prints the assignment of a value, which may define a variable.
func (f *function) assign(s *ast.AssignStmt, to ast.Expr, value string) {
	id, ok := to.(*ast.Ident)
	switch {
	case ok && id.Name == "_":
		f.line("(void)%s;", value)
	case ok && f.info.Defs[id] != nil && f.pointers[f.info.Defs[id]]:
		f.line("*%s = %s;", f.locals[f.info.Defs[id]], value)
	case ok && f.info.Defs[id] != nil:
		o := f.info.Defs[id]
		f.line("%s%s = %s;", f.p.ctype(id, o.Type()), f.declare(o, id.Name), value)
	default:
		f.line("%s = %s;", f.target(to), value)
	}
}

// target is what is assigned to.
func (f *function) target(e ast.Expr) string {
	l := f.place(e)
	if l.flat || l.pointer || f.fixed[root(f.info, e)] {
		f.p.refuse(e, "no translation of an assignment to %s", types.ExprString(e))
	}
	return l.text
}

// unpack prints the assignment of several results of a call.
func (f *function) unpack(s *ast.AssignStmt) {
	call, ok := ast.Unparen(s.Rhs[0]).(*ast.CallExpr)
	if !ok {
		f.p.refuse(s, "no translation of an assignment of two values of a %T", s.Rhs[0])
	}
	value := f.value(call)
	fn := f.callee(call).(*types.Func)
	from := f.local("both")
	f.line("const %s%s = %s;", f.p.results(s, fn), from, value)
	for k, to := range s.Lhs {
		if id, ok := to.(*ast.Ident); !ok || id.Name != "_" {
			f.assign(s, to, from+"."+f.p.name(s, fn.Signature().Results().At(k).Name()))
		}
	}
}

// checkOrder refuses assignments that need all values before the first is assigned.
func (f *function) checkOrder(s *ast.AssignStmt) {
	for k, to := range s.Lhs {
		_, isVariable := to.(*ast.Ident)
		for _, x := range s.Rhs[k+1:] {
			ast.Inspect(x, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				call, calls := n.(*ast.CallExpr)
				calls = calls && !f.info.Types[call.Fun].IsType()
				if ok && f.object(id) == root(f.info, to) || calls && !isVariable {
					f.p.refuse(s, "%s is assigned to before a value that may depend on it", types.ExprString(to))
				}
				return true
			})
		}
	}
}

// root is the variable that a place is in.
func root(info *types.Info, e ast.Expr) types.Object {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return info.ObjectOf(e)
	case *ast.SelectorExpr:
		return root(info, e.X)
	case *ast.IndexExpr:
		return root(info, e.X)
	}
	return nil
}

func (f *function) returns(s *ast.ReturnStmt) {
	switch n := len(s.Results); {
	case f.isText:
		format, args := f.text(s.Results[0])
		f.line("snprintf(text, room, %s%s);", quote(format), list(args))
		f.line("return;")
	case f.builds || f.isSlots():
		f.returnsPlan(s)
	case n == 0:
		f.p.refuse(s, "a return without values")
	case isFallible(f.fn):
		f.fails(s.Results[0])
	case n == 1 && f.fn.Signature().Results().Len() > 1:
		f.forward(s)
	case n == 1:
		f.line("return %s;", f.value(s.Results[0]))
	default:
		f.returnsAll(s.Results)
	}
}

// returnsAll returns several values, which are computed one after the other where the order
// tells.
func (f *function) returnsAll(results []ast.Expr) {
	var values []string
	impure := 0
	for _, x := range results {
		values = append(values, f.value(x))
		impure += f.impureCalls(x)
	}
	if impure < 2 {
		f.line("return (%s){%s};", trim(f.results()), list(values)[2:])
		return
	}
	all := f.local("all")
	f.line("%s%s;", f.results(), all)
	for k, x := range results {
		f.line("%s.%s = %s;", all, f.p.name(x, f.fn.Signature().Results().At(k).Name()), values[k])
	}
	f.line("return %s;", all)
}

// forward returns the results of another function.
func (f *function) forward(s *ast.ReturnStmt) {
	call := ast.Unparen(s.Results[0]).(*ast.CallExpr)
	value := f.value(call)
	fn := f.callee(call).(*types.Func)
	from := f.local("both")
	f.line("const %s%s = %s;", f.p.results(s, fn), from, value)
	var values []string
	for k := range fn.Signature().Results().Len() {
		values = append(values, from+"."+f.p.name(s, fn.Signature().Results().At(k).Name()))
	}
	f.line("return (%s){%s};", trim(f.results()), list(values)[2:])
}

// list is each value after a comma.
func list(values []string) string {
	text := ""
	for _, v := range values {
		text += ", " + v
	}
	return text
}

func (f *function) branch(s *ast.IfStmt) {
	if s.Init != nil {
		f.statement(s.Init)
	}
	f.line("if (%s) {", f.value(s.Cond))
	f.nested(func() { f.block(s.Body) })
	switch e := s.Else.(type) {
	case *ast.BlockStmt:
		f.line("} else {")
		f.nested(func() { f.block(e) })
	case *ast.IfStmt:
		f.line("} else {")
		f.nested(func() { f.branch(e) })
	}
	f.line("}")
}

// cases prints a switch as what it is short for.
func (f *function) cases(s *ast.SwitchStmt) {
	if s.Init != nil || s.Tag != nil {
		f.p.refuse(s, "a switch of a value: only one of conditions has a translation")
	}
	if len(s.Body.List) == 0 || s.Body.List[0].(*ast.CaseClause).List == nil {
		f.p.refuse(s, "a switch that does not begin with a case")
	}
	before := ""
	var otherwise *ast.CaseClause
	for _, c := range s.Body.List {
		c := c.(*ast.CaseClause)
		if c.List == nil {
			otherwise = c
			continue
		}
		condition := f.expr(c.List[0])
		for _, more := range c.List[1:] {
			condition = expr{condition.in(precOr) + " || " + f.expr(more).right(precOr), precOr}
		}
		f.line("%sif (%s) {", before, condition.text)
		f.clause(c)
		before = "} else "
	}
	if otherwise != nil {
		f.line("} else {")
		f.clause(otherwise)
	}
	f.line("}")
}

func (f *function) clause(c *ast.CaseClause) {
	f.nested(func() {
		for _, s := range c.Body {
			f.statement(s)
		}
	})
}

// loop prints a for with a condition, and perhaps a variable.
func (f *function) loop(s *ast.ForStmt) {
	first, after := "", ""
	if s.Init != nil {
		init, ok := s.Init.(*ast.AssignStmt)
		if !ok || init.Tok != token.DEFINE || len(init.Lhs) != 1 || len(init.Rhs) != 1 {
			f.p.refuse(s, "a loop that does not begin with one variable")
		}
		id, value := init.Lhs[0].(*ast.Ident), f.value(init.Rhs[0])
		o := f.info.Defs[id]
		first = fmt.Sprintf("%s%s = %s", f.p.ctype(id, o.Type()), f.declare(o, id.Name), value)
	}
	if s.Post != nil {
		post, ok := s.Post.(*ast.IncDecStmt)
		if !ok {
			f.p.refuse(s, "a loop that does not end with ++ or --")
		}
		after = " " + f.target(post.X) + post.Tok.String()
	}
	if s.Cond == nil {
		f.p.refuse(s, "a loop without a condition")
	}
	if first == "" && after == "" {
		f.line("while (%s) {", f.value(s.Cond))
	} else {
		f.line("for (%s; %s;%s) {", first, f.value(s.Cond), after)
	}
	f.looped(s.Body)
}

// looped prints what is in a loop.
func (f *function) looped(body *ast.BlockStmt) {
	f.loops++
	f.nested(func() { f.block(body) })
	f.loops--
	f.line("}")
}

// count prints a loop over the integers below a number, or the places of an array.
func (f *function) count(s *ast.RangeStmt) {
	t, n := f.info.TypeOf(s.X), ""
	if a, ok := t.Underlying().(*types.Array); ok {
		n = fmt.Sprint(a.Len())
	} else if is(t, types.IsInteger) {
		n = f.once(s.X)
	}
	if n == "" || s.Value != nil || s.Tok == token.ASSIGN {
		f.p.refuse(s, "a loop over the values of %s", t)
	}
	k := "k"
	if id, ok := s.Key.(*ast.Ident); ok && id.Name != "_" {
		k = f.declare(f.info.Defs[id], id.Name)
		f.fixed[f.info.Defs[id]] = true
	} else {
		k = f.local(k)
	}
	f.line("for (int64_t %s = 0; %[1]s < %s; %[1]s++) {", k, n)
	f.looped(s.Body)
}

// once is an integer that is computed once.
func (f *function) once(e ast.Expr) string {
	value := f.value(e)
	if f.info.Types[e].Value != nil {
		return value
	}
	n := f.local("n")
	f.line("const int64_t %s = %s;", n, value)
	return n
}
