package translate

import (
	"go/ast"
	"go/token"
	"go/types"
)

// Go may fuse a product and a sum, "possibly across statements", unless a conversion stands
// between: it does so on arm64, ppc64le, riscv64 and s390x. Scalars that depend on it would
// have other bits there. So a product that no conversion rounds may not be added to
// anything, however it comes there: through variables, fields, arguments and results.

// findFused notes the variables, fields and results that may be products, until there are
// no more.
func (p *Program) findFused() {
	p.fused = map[types.Object]bool{}
	for before := -1; before < len(p.fused); {
		before = len(p.fused)
		for fn, decl := range p.functions {
			if decl.Body != nil {
				p.flow(fn, decl)
			}
		}
	}
}

// flow notes what products flow to in a function.
func (p *Program) flow(fn *types.Func, decl *ast.FuncDecl) {
	info := p.infos[fn.Pkg()]
	ast.Inspect(decl.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit: // which has no translation
			return false
		case *ast.AssignStmt:
			for k, to := range n.Lhs {
				assigned := n.Tok == token.ASSIGN || n.Tok == token.DEFINE
				if n.Tok == token.MUL_ASSIGN && isFloat(info.TypeOf(to)) || assigned && p.isProduct(info, n.Rhs, len(n.Lhs), k) {
					p.mark(info, to)
				}
			}
		case *ast.ReturnStmt:
			r := fn.Signature().Results()
			for k := range r.Len() {
				if p.isProduct(info, n.Results, r.Len(), k) {
					p.fused[r.At(k)] = true
				}
			}
		case *ast.CallExpr:
			p.flowTo(info, n)
		case *ast.CompositeLit:
			p.flowInto(info, n)
		}
		return true
	})
}

// flowTo notes the parameters of a call.
func (p *Program) flowTo(info *types.Info, call *ast.CallExpr) {
	fn := calleeOf(info, call)
	if fn == nil {
		return
	}
	params := fn.Signature().Params()
	for k, x := range call.Args {
		if k < params.Len() && p.product(info, x) {
			p.fused[params.At(k)] = true
		}
	}
}

// flowInto notes the fields of a literal.
func (p *Program) flowInto(info *types.Info, e *ast.CompositeLit) {
	s, ok := info.TypeOf(e).Underlying().(*types.Struct)
	if !ok {
		return
	}
	for k, x := range e.Elts {
		if pair, ok := x.(*ast.KeyValueExpr); ok {
			if p.product(info, pair.Value) {
				p.mark(info, pair.Key)
			}
		} else if p.product(info, x) {
			p.fused[s.Field(k)] = true
		}
	}
}

// mark notes what is assigned to.
func (p *Program) mark(info *types.Info, to ast.Expr) {
	switch e := ast.Unparen(to).(type) {
	case *ast.Ident:
		if o := info.ObjectOf(e); o != nil {
			p.fused[o] = true
		}
	case *ast.SelectorExpr:
		p.fused[info.Uses[e.Sel]] = true
	case *ast.IndexExpr:
		p.mark(info, e.X)
	}
}

// isProduct reports whether the k-th of so many values may be a product.
func (p *Program) isProduct(info *types.Info, values []ast.Expr, count, k int) bool {
	if len(values) == count {
		return p.product(info, values[k])
	}
	if len(values) == 1 {
		if call, ok := ast.Unparen(values[0]).(*ast.CallExpr); ok {
			if fn := calleeOf(info, call); fn != nil {
				return p.fused[fn.Signature().Results().At(k)]
			}
		}
	}
	return false
}

// product reports whether an expression may be a product that is not yet rounded.
func (p *Program) product(info *types.Info, e ast.Expr) bool {
	e = ast.Unparen(e)
	if tv := info.Types[e]; tv.Value != nil || tv.Type == nil || !isFloat(tv.Type) {
		return false
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return e.Op == token.MUL
	case *ast.UnaryExpr:
		return p.product(info, e.X)
	case *ast.Ident:
		return p.fused[info.Uses[e]]
	case *ast.SelectorExpr:
		return p.fused[info.Uses[e.Sel]]
	case *ast.IndexExpr:
		return p.product(info, e.X) || p.indexed(info, e.X)
	case *ast.CallExpr:
		return p.productOf(info, e)
	}
	return false
}

// indexed reports whether an array may hold products.
func (p *Program) indexed(info *types.Info, e ast.Expr) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return p.fused[info.Uses[e]]
	case *ast.SelectorExpr:
		return p.fused[info.Uses[e.Sel]]
	}
	return false
}

// productOf reports whether the result of a call may be a product. A conversion rounds.
// The larger of two products is one of them, and so is a product's magnitude.
func (p *Program) productOf(info *types.Info, e *ast.CallExpr) bool {
	if info.Types[e.Fun].IsType() {
		return false
	}
	if fn := calleeOf(info, e); fn != nil && name(fn) != "math.Abs" {
		return fn.Signature().Results().Len() == 1 && p.fused[fn.Signature().Results().At(0)]
	}
	for _, x := range e.Args {
		if p.product(info, x) {
			return true
		}
	}
	return false
}

// calleeOf is the function that is called, if it is known.
func calleeOf(info *types.Info, e *ast.CallExpr) *types.Func {
	id, ok := ast.Unparen(e.Fun).(*ast.Ident)
	if s, is := ast.Unparen(e.Fun).(*ast.SelectorExpr); is {
		id, ok = s.Sel, true
	}
	if !ok {
		return nil
	}
	fn, _ := info.Uses[id].(*types.Func)
	return fn
}

// checkFused refuses a sum with a product that is not rounded.
func (f *function) checkFused(e *ast.BinaryExpr) {
	if e.Op != token.ADD && e.Op != token.SUB {
		return
	}
	for _, x := range []ast.Expr{e.X, e.Y} {
		if f.p.product(f.info, x) {
			f.p.refuse(x, "%s may be a product that Go fuses with the sum: convert it to float64", types.ExprString(x))
		}
	}
}
