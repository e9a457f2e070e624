package arm64

import (
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/gen/loop"
)

// What the kernel of matrix products makes at once stays in registers while its products
// are added: so many rows, of so many vectors. There is room for a row of B and a column
// of A: five loads of vectors for 24 products.
const (
	tileRows    = 8
	tileVectors = 3
	tileColumns = 4 * tileVectors
)

// The registers of the sums come first. Those of B's row are again α, β and what is added
// to a vector, when all products are.
const (
	rowOfB     = tileRows * tileVectors
	columnOfA  = rowOfB + tileVectors
	alpha      = rowOfB
	beta       = rowOfB + 1
	others     = columnOfA
	pointerN   = 0
	pointerA   = 1
	pointerB   = 2
	pointerC   = 3
	strideC    = 4
	pointerD   = 5
	strideD    = 6
	pointerS   = 7
	bitsOfBeta = 8
)

// fmlas multiply by one lane of the last operand, and add without rounding the product.
var fmlas, fused = lanesOf("fmla", 0x4f801000)

// lanesOf are an instruction for each lane, which the kernel of matrix products alone uses.
func lanesOf(name string, bits uint32) (byLane [4]*inst, list []*inst) {
	for k := range byLane {
		lane := uint32(k&1)<<21 | uint32(k>>1)<<11
		byLane[k] = &inst{name, fmt.Sprintf("V%sS%d", strings.ToUpper(name), k), bits | lane, []string{"4s", "4s", fmt.Sprintf("s[%d]", k)}}
	}
	return byLane, byLane[:]
}

// A Tile is the kernel of matrix products.
type Tile struct{ code []Instruction }

// MatMul is the kernel, and what it makes at once.
func MatMul() (rows, columns int, t *Tile) {
	t = &Tile{}
	t.sum()
	t.finish()
	return tileRows, tileColumns, t
}

// Code is the kernel's instructions.
func (t *Tile) Code() []Instruction { return t.code }

// Constants and Locals are those of a Kernel, of which a tile has none.
func (t *Tile) Constants() []uint32 { return nil }
func (t *Tile) Locals() int         { return 0 }

// Registers are the numbers of those of a kind that the kernel uses: of vectors all.
func (t *Tile) Registers(kind loop.Kind) []int {
	n := bitsOfBeta + 1
	if kind == loop.Vector {
		n = others + tileVectors
	}
	list := make([]int, n)
	for k := range list {
		list[k] = k
	}
	return list
}

// Print is Go's assembly of the kernel.
func (t *Tile) Print(name, params string) []byte {
	return fmt.Appendf(nil, head+"\n// func %s%s\n// Requires: ASIMD\nTEXT ·%s(SB), NOSPLIT, $0-128\n%s", name, params, name, text(t.code))
}

func (t *Tile) op(name string, operands ...Operand) {
	t.code = append(t.code, Instruction{Name: name, Operands: operands})
}

func (t *Tile) word(in *inst, operands ...int) { t.code = append(t.code, in.word(operands...)) }

func (t *Tile) label(name string) { t.code = append(t.code, Instruction{Label: name}) }

func sumOf(row, vector int) int { return row*tileVectors + vector }

// sum adds the products.
func (t *Tile) sum() {
	t.op("MOVD", Param{"n", 0}, R(pointerN))
	t.op("MOVD", Param{"a_base", 8}, R(pointerA))
	t.op("MOVD", Param{"b_base", 32}, R(pointerB))
	for k := range tileRows * tileVectors {
		t.word(eor, k, k, k)
	}
	t.op("SUBS", Immediate(2), R(pointerN), R(pointerN))
	t.op("BLT", Jump("few"))
	t.label("products")
	t.products()
	t.products()
	t.op("SUBS", Immediate(2), R(pointerN), R(pointerN))
	t.op("BGE", Jump("products"))
	t.label("few")
	t.op("ADDS", Immediate(2), R(pointerN), R(pointerN))
	t.op("BEQ", Jump("finish"))
	t.products()
	t.label("finish")
}

// products adds one to each sum.
func (t *Tile) products() {
	t.op("FLDPQ.P", Mem{pointerA, 32}, Pair{columnOfA, columnOfA + 1})
	t.load(pointerB, rowOfB, ".P")
	for r := range tileRows {
		for v := range tileVectors {
			t.word(fmlas[r%4], sumOf(r, v), rowOfB+v, columnOfA+r/4)
		}
	}
}

// load loads a row of the tile's width, and steps to the one behind it if that is the
// suffix of the instructions.
func (t *Tile) load(from, first int, suffix string) {
	pair, last := 0, 32
	if suffix != "" {
		pair, last = 32, 16
	}
	t.op("FLDPQ"+suffix, Mem{from, pair}, Pair{F(first), F(first + 1)})
	t.op("FMOVQ"+suffix, Mem{from, last}, F(first+2))
}

// finish stores α times the sums plus β·d, of which β = 0 makes +0.
func (t *Tile) finish() {
	t.op("MOVD", Param{"c_base", 56}, R(pointerC))
	t.op("MOVD", Param{"rowsOfC", 80}, R(strideC))
	t.op("MOVD", Param{"s", 120}, R(pointerS))
	t.op("FMOVS", Mem{pointerS, 0}, F(alpha))
	t.op("MOVWU", Mem{pointerS, 4}, R(bitsOfBeta))
	t.op("LSL", Immediate(33), R(bitsOfBeta), R(bitsOfBeta)) // without its sign
	t.op("CBNZ", R(bitsOfBeta), Jump("reads"))
	t.rows(func() {
		for v := range tileVectors {
			t.word(eor, others+v, others+v, others+v)
		}
	})
	t.label("reads")
	t.op("FMOVS", Mem{pointerS, 4}, F(beta))
	t.op("VDUP", V{beta, "S[0]"}, V{beta, "S4"})
	t.op("MOVD", Param{"d_base", 88}, R(pointerD))
	t.op("MOVD", Param{"rowsOfD", 112}, R(strideD))
	t.rows(func() {
		t.load(pointerD, others, "")
		t.op("ADD", Shifted{strideD, 2}, R(pointerD), R(pointerD))
		for v := range tileVectors {
			t.word(fmul, others+v, others+v, beta)
		}
	})
}

// rows stores all rows, of which begin makes what is added.
func (t *Tile) rows(begin func()) {
	for r := range tileRows {
		begin()
		for v := range tileVectors {
			t.word(fmlas[0], others+v, sumOf(r, v), alpha)
		}
		t.op("FSTPQ", Pair{others, others + 1}, Mem{pointerC, 0})
		t.op("FMOVQ", F(others+2), Mem{pointerC, 32})
		t.op("ADD", Shifted{strideC, 2}, R(pointerC), R(pointerC))
	}
	t.op("RET")
}
