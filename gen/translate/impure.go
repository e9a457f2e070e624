package translate

import (
	"go/ast"
	"go/token"
	"go/types"
)

// C computes the operands of an expression in any order. So no statement may have two calls
// of functions that change what a pointer is to, but for the values of a return, which are
// computed one after the other.

// findImpure notes the functions that change what a pointer is to.
func (p *Program) findImpure() {
	p.impure = map[*types.Func]bool{}
	for before := -1; before < len(p.impure); {
		before = len(p.impure)
		for fn, decl := range p.functions {
			if decl.Body != nil && p.changes(p.infos[fn.Pkg()], decl.Body) {
				p.impure[fn] = true
			}
		}
	}
}

// changes reports whether a function assigns through a pointer, or calls one that does.
func (p *Program) changes(info *types.Info, body ast.Node) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, to := range n.Lhs {
				found = found || n.Tok != token.DEFINE && throughPointer(info, to)
			}
		case *ast.IncDecStmt:
			found = found || throughPointer(info, n.X)
		case *ast.CallExpr:
			found = found || p.impure[calleeOf(info, n)]
		}
		return !found
	})
	return found
}

// throughPointer reports whether a place is not a variable or a part of one.
func throughPointer(info *types.Info, e ast.Expr) bool {
	if o := root(info, e); o != nil {
		_, isPointer := o.Type().Underlying().(*types.Pointer)
		_, isIdent := e.(*ast.Ident)
		return isPointer && !isIdent
	}
	return true
}

// checkImpure refuses a statement whose meaning depends on the order in which its parts
// are computed.
func (f *function) checkImpure(s ast.Stmt) {
	var parts []ast.Node
	switch s := s.(type) {
	case *ast.AssignStmt:
		parts = []ast.Node{s}
	case *ast.ReturnStmt:
		for _, x := range s.Results {
			parts = append(parts, x)
		}
	case *ast.IncDecStmt:
		parts = []ast.Node{s.X}
	case *ast.IfStmt:
		parts = []ast.Node{s.Cond}
	case *ast.ForStmt:
		if s.Cond != nil {
			parts = []ast.Node{s.Cond}
		}
	case *ast.CaseClause:
		for _, x := range s.List {
			parts = append(parts, x)
		}
	}
	for _, n := range parts {
		f.onlyImpure(n, 1)
	}
}

// onlyImpure refuses more than so many calls of impure functions.
func (f *function) onlyImpure(within ast.Node, most int) {
	if n := f.impureCalls(within); n > most {
		f.p.refuse(within, "%d calls that change what a pointer is to: C computes operands in any order, and checks up to the first that fails", n)
	}
}

func (f *function) impureCalls(within ast.Node) int {
	count := 0
	ast.Inspect(within, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && f.p.impure[calleeOf(f.info, call)] {
			count++
		}
		return true
	})
	return count
}
