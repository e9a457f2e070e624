package amd64

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/reg"
)

// A Tile is the part of a matrix product that stays in registers while its products are
// added: so many rows, of so many vectors. The sums leave room for the vectors of a row of
// B and for two elements of A, so that loading one does not wait for the other's use.
type Tile struct {
	Rows, Vectors int
	lanes         int
	width         reg.Spec
}

// Tiles of both widths. Of two loads and two products that a core begins in each cycle,
// AVX-512's has 16 loads for 28 products and AVX2's 8 for 12.
var (
	TileAVX512 = Tile{14, 2, 16, reg.S512}
	TileAVX2   = Tile{6, 2, 8, reg.S256}
)

// Columns is how many elements a row of the tile has.
func (t Tile) Columns() int { return t.Vectors * t.lanes }

// MatMul is the kernel of a tile.
func MatMul(t Tile, name, params string) *ir.File {
	e := &tile{Context: build.NewContext(), Tile: t}
	e.ConstraintExpr("!purego,!noasm")
	e.Function(name)
	e.Attributes(attr.NOSPLIT)
	e.SignatureExpr("func" + params)
	e.sum()
	e.finish()
	f, err := e.Result()
	if err == nil {
		err = pass.Compile.Execute(f)
	}
	if err != nil {
		panic(fmt.Errorf("amd64: %s: %w", name, err))
	}
	return f
}

// PrintMatMul is Go's assembly of such a kernel.
func PrintMatMul(f *ir.File) []byte { return text(f) }

// A tile emits the kernel of one.
type tile struct {
	*build.Context
	Tile
}

// sumOf, row and free are registers: the sums of a row's vector, a vector of B's row, and
// two more.
func (e *tile) sumOf(row, vector int) reg.VecPhysical { return e.vector(row*e.Vectors + vector) }
func (e *tile) row(vector int) reg.VecPhysical        { return e.vector(e.Rows*e.Vectors + vector) }
func (e *tile) free(k int) reg.VecPhysical            { return e.vector((e.Rows+1)*e.Vectors + k%2) }

// vector is a register by its number: a tile takes all that there are.
func (t Tile) vector(k int) reg.VecPhysical {
	return reg.LookupPhysical(reg.KindVector, reg.Index(k), t.width).(reg.VecPhysical)
}

// productsAtOnce is how many products an iteration of the main loop adds to each sum.
const productsAtOnce = 4

// sum adds the products.
func (e *tile) sum() {
	n, a, b := e.pointer("n"), e.pointer("a"), e.pointer("b")
	for r := range e.Rows {
		for v := range e.Vectors {
			e.VXORPS(e.sumOf(r, v), e.sumOf(r, v), e.sumOf(r, v))
		}
	}
	e.SUBQ(operand.U8(productsAtOnce), n)
	e.JLT(operand.LabelRef("few"))
	e.Label("products")
	e.products(productsAtOnce, a, b)
	e.SUBQ(operand.U8(productsAtOnce), n)
	e.JGE(operand.LabelRef("products"))
	e.Label("few")
	e.ADDQ(operand.U8(productsAtOnce), n)
	e.JE(operand.LabelRef("finish"))
	e.Label("product")
	e.products(1, a, b)
	e.SUBQ(operand.U8(1), n)
	e.JNE(operand.LabelRef("product"))
	e.Label("finish")
}

// products adds so many to each sum.
func (e *tile) products(count int, a, b reg.GPVirtual) {
	const size = 4
	for k := range count {
		for v := range e.Vectors {
			e.VMOVUPS(operand.Mem{Base: b, Disp: size * (k*e.Columns() + v*e.lanes)}, e.row(v))
		}
		for r := range e.Rows {
			e.VBROADCASTSS(operand.Mem{Base: a, Disp: size * (k*e.Rows + r)}, e.free(r))
			for v := range e.Vectors {
				e.VFMADD231PS(e.row(v), e.free(r), e.sumOf(r, v))
			}
		}
	}
	e.ADDQ(operand.U32(size*count*e.Rows), a)
	e.ADDQ(operand.U32(size*count*e.Columns()), b)
}

// finish stores α times the sums plus β·d, of which β = 0 makes +0.
func (e *tile) finish() {
	c, rowsOfC, s := e.pointer("c"), e.bytes("rowsOfC"), e.pointer("s")
	alpha, beta := e.row(0), e.row(1)
	e.VBROADCASTSS(operand.Mem{Base: s}, alpha)
	e.VBROADCASTSS(operand.Mem{Base: s, Disp: 4}, beta)
	e.VXORPS(e.free(0), e.free(0), e.free(0))
	bits := e.GP32()
	e.MOVL(operand.Mem{Base: s, Disp: 4}, bits)
	e.ADDL(bits, bits)
	e.JNE(operand.LabelRef("reads"))
	e.store(c, rowsOfC, alpha, func(int, int) reg.VecPhysical { return e.free(0) }, func() {})

	e.Label("reads")
	d, rowsOfD := e.pointer("d"), e.bytes("rowsOfD")
	e.store(c, rowsOfC, alpha, func(_, v int) reg.VecPhysical {
		e.VMULPS(operand.Mem{Base: d, Disp: 4 * v * e.lanes}, beta, e.free(v))
		return e.free(v)
	}, func() { e.ADDQ(rowsOfD, d) })
}

// store stores the rows.
func (e *tile) store(c, rowsOfC reg.GPVirtual, alpha reg.VecPhysical, plus func(row, vector int) reg.VecPhysical, next func()) {
	for r := range e.Rows {
		for v := range e.Vectors {
			e.VFMADD213PS(plus(r, v), alpha, e.sumOf(r, v))
			e.VMOVUPS(e.sumOf(r, v), operand.Mem{Base: c, Disp: 4 * v * e.lanes})
		}
		if r+1 < e.Rows {
			e.ADDQ(rowsOfC, c)
			next()
		}
	}
	e.VZEROUPPER()
	e.RET()
}

// pointer loads where a parameter begins, or a number.
func (e *tile) pointer(name string) reg.GPVirtual {
	r := e.GP64()
	p := e.Param(name)
	if _, err := p.Resolve(); err != nil {
		p = p.Base()
	}
	e.Load(p, r)
	return r
}

// bytes loads a number of elements as one of bytes.
func (e *tile) bytes(name string) reg.GPVirtual {
	r := e.pointer(name)
	e.SHLQ(operand.U8(2), r)
	return r
}
