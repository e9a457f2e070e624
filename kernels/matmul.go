package kernels

import (
	"fmt"

	"github.com/lockstep-go/lockstep/fallback"
)

// A MatMul is a product of matrices, C ← α·A·B + β·D as fallback.MatMul says it, and gives
// the bits of that function on every table and however its units are shared. The rows of C
// and D are contiguous; A and B may be transposed.
//
// First all units of Packs are packed, then all of Tiles are multiplied, in any order and
// each by any goroutine. Run does so on one.
type MatMul struct {
	C, D, A, B fallback.Matrix
	fallback.MatMulScalars

	// Symmetric says that A·B and D are symmetric, such as A·Aᵀ is: half of the work.
	Symmetric bool

	table Table
	tile  tileShape
	a, b  panels
}

// A tileShape is what the kernel of a table makes at once.
type tileShape struct{ rows, columns int }

// What a unit of work has at most: so many rows of C and columns, which with MatMulLen
// products each leave the parts of A and B in the L2 cache, and of a panel in the L1.
const (
	unitRows    = 128
	unitColumns = 256
)

// maxTile is the most elements of a tile.
const maxTile = 14 * 32

// MatMulRoom is how many elements of room a product takes that has so many rows, columns
// and products of each element.
func MatMulRoom(t Table, rows, columns, products int) int {
	s := t.tileShape()
	return products * (roundUp(rows, s.rows) + roundUp(columns, s.columns))
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// Begin prepares the product on a table, with room for MatMulRoom elements or more. It
// panics if sizes do not fit each other or the room.
func (p *MatMul) Begin(t Table, room []float32) {
	if most := MatMulRoom(t, p.C.Rows, p.C.Columns, p.A.Columns); len(room) < most {
		panic(fmt.Sprintf("kernels: room for %d elements, want %d", len(room), most))
	}
	p.begin(t)
	p.a.room, p.b.room = room[:p.a.len()], room[p.a.len():][:p.b.len()]
}

// begin does so without room.
func (p *MatMul) begin(t Table) {
	m, n, k := p.C.Rows, p.C.Columns, p.A.Columns
	p.check("C", p.C, m, n)
	p.check("A", p.A, m, k)
	p.check("B", p.B, k, n)
	if p.Beta != 0 {
		p.check("D", p.D, m, n)
	} else {
		p.D = p.C // which nobody reads
	}
	if p.C.ColumnStride != 1 || p.D.ColumnStride != 1 {
		panic("kernels: the rows of a product are not contiguous")
	}
	if p.Symmetric && m != n {
		panic(fmt.Sprintf("kernels: a product of %d × %d elements is not symmetric", m, n))
	}
	p.table, p.tile = t, t.tileShape()
	p.a = panels{from: p.A.T(), width: p.tile.rows}
	p.b = panels{from: p.B, width: p.tile.columns}
}

// check panics if a matrix is not of so many rows and columns, or has not the elements.
func (p *MatMul) check(name string, m fallback.Matrix, rows, columns int) {
	last := (rows-1)*m.RowStride + (columns-1)*m.ColumnStride
	if m.Rows != rows || m.Columns != columns || rows > 0 && columns > 0 && last >= len(m.Data) {
		panic(fmt.Sprintf("kernels: %s has %d × %d of %d elements, want %d × %d", name, m.Rows, m.Columns, len(m.Data), rows, columns))
	}
}

// Packs is how many units there are to pack.
func (p *MatMul) Packs() int { return p.a.units() + p.b.units() }

// Pack copies a part of A or B to where the kernels read it.
func (p *MatMul) Pack(unit int) {
	if n := p.a.units(); unit >= n {
		p.b.pack(unit - n)
		return
	}
	p.a.pack(unit)
}

// Tiles is how many units there are to multiply.
func (p *MatMul) Tiles() int {
	down, across := p.units()
	return down * across
}

// units is how many there are below and beside each other.
func (p *MatMul) units() (down, across int) {
	rows, columns := p.unit()
	return (p.C.Rows + rows - 1) / rows, (p.C.Columns + columns - 1) / columns
}

// unit is the rows and columns of one, which are those of whole tiles.
func (p *MatMul) unit() (rows, columns int) {
	return unitRows / p.tile.rows * p.tile.rows, unitColumns / p.tile.columns * p.tile.columns
}

// Run multiplies on this goroutine.
func (p *MatMul) Run(t Table, room []float32) {
	p.Begin(t, room)
	for unit := range p.Packs() {
		p.Pack(unit)
	}
	for unit := range p.Tiles() {
		p.Multiply(unit)
	}
}

// RunPacked multiplies on this goroutine by what another product of a table has packed: by its
// B if that product has no rows, and by its A if it has no columns. It takes the room of its
// own side alone.
func (p *MatMul) RunPacked(of *MatMul, room []float32) {
	if of.C.Rows == 0 {
		p.B = of.B
	} else {
		p.A = of.A
	}
	p.begin(of.table)
	own := &p.a
	if of.C.Rows == 0 {
		p.b = of.b
	} else {
		p.a, own = of.a, &p.b
	}
	own.room = room[:own.len()]
	for unit := range own.units() {
		own.pack(unit)
	}
	for unit := range p.Tiles() {
		p.Multiply(unit)
	}
}

// PackProducts copies what the products from lo to hi of each element take. Ranges that are
// all products together do what Pack does.
func (p *MatMul) PackProducts(lo, hi int) {
	p.a.packRange(lo, hi)
	p.b.packRange(lo, hi)
}

// Multiply makes a part of C.
func (p *MatMul) Multiply(unit int) {
	rows, columns := p.unit()
	_, across := p.units()
	i, j := unit/across*rows, unit%across*columns
	w := window{i, min(i+rows, p.C.Rows), j, min(j+columns, p.C.Columns)}
	if p.Symmetric && !w.reachesBelow() {
		return
	}
	scalars := p.MatMulScalars
	d := p.D
	for first := 0; first == 0 || first < p.A.Columns; first += fallback.MatMulLen {
		p.sums(w, first, d, &scalars)
		scalars.Beta, d = 1, p.C
	}
	if p.Symmetric {
		p.mirror(w)
	}
}

// A window is rows from top to bottom and columns from left to right, each without the last.
type window struct{ top, bottom, left, right int }

// reachesBelow reports whether a window has elements of the lower triangle, and isBelow
// whether it has no others.
func (w window) reachesBelow() bool { return w.bottom > w.left }
func (w window) isBelow() bool      { return w.top >= w.right-1 }

// sums adds the products from the first one on to a part of C.
func (p *MatMul) sums(w window, first int, d fallback.Matrix, s *fallback.MatMulScalars) {
	n := min(fallback.MatMulLen, p.A.Columns-first)
	for j := w.left; j < w.right; j += p.tile.columns {
		b := p.b.panel(first, n, j)
		for i := w.top; i < w.bottom; i += p.tile.rows {
			t := window{i, min(i+p.tile.rows, w.bottom), j, min(j+p.tile.columns, w.right)}
			whole := t.bottom-t.top == p.tile.rows && t.right-t.left == p.tile.columns
			a := p.a.panel(first, n, i)
			switch {
			case p.Symmetric && !t.reachesBelow():
			case whole && (!p.Symmetric || t.isBelow()):
				at := i*p.C.RowStride + j
				matMulTile(p.table, n, a, b, p.C.Data[at:], p.C.RowStride, d.Data[i*d.RowStride+j:], d.RowStride, s)
			default:
				p.part(t, n, a, b, d, s)
			}
		}
	}
}

// part makes a tile that is not whole, or of which only the lower triangle counts.
func (p *MatMul) part(w window, n int, a, b []float32, d fallback.Matrix, s *fallback.MatMulScalars) {
	var tile [maxTile]float32
	columns := p.tile.columns
	if s.Beta != 0 {
		for i := w.top; i < w.bottom; i++ {
			copy(tile[(i-w.top)*columns:], d.Data[i*d.RowStride+w.left:][:p.counted(w, i)])
		}
	}
	room := tile[:p.tile.rows*columns]
	matMulTile(p.table, n, a, b, room, columns, room, columns, s)
	for i := w.top; i < w.bottom; i++ {
		copy(p.C.Data[i*p.C.RowStride+w.left:][:p.counted(w, i)], tile[(i-w.top)*columns:])
	}
}

// counted is how many elements of a window's row are the product's, and not those of
// another one that is mirrored.
func (p *MatMul) counted(w window, row int) int {
	if p.Symmetric {
		return max(0, min(w.right, row+1)-w.left)
	}
	return w.right - w.left
}

// mirror copies what is below the diagonal above it.
func (p *MatMul) mirror(w window) {
	stride := p.C.RowStride
	for i := w.top; i < w.bottom; i += mirrored {
		bottom := min(i+mirrored, w.bottom)
		for j := w.left; j < min(w.right, bottom-1); j++ {
			above := p.C.Data[j*stride:]
			for k := max(i, j+1); k < bottom; k++ {
				above[k] = p.C.Data[k*stride+j]
			}
		}
	}
}

// mirrored is how many rows are mirrored at a time: those of a line of the cache.
const mirrored = 16

// panels are the rows of a matrix, cut into panels of so many columns: those of the first
// MatMulLen rows, then those of the next. A panel has row after row, and zeros where the
// matrix ends.
type panels struct {
	from  fallback.Matrix
	width int
	room  []float32
}

// len is the number of elements.
func (p *panels) len() int { return p.from.Rows * p.columns() }

// columns is how many there are with those of zeros.
func (p *panels) columns() int { return roundUp(p.from.Columns, p.width) }

// panel is that of n rows from the first one on which has the columns from j on.
func (p *panels) panel(first, n, j int) []float32 {
	return p.room[first*p.columns()+n*j:][:n*p.width]
}

// packed is about how many columns are packed at a time.
const packed = 128

// group is how many columns are packed at a time, in whole panels.
func (p *panels) group() int { return roundUp(packed, p.width) }

// units is how many there are to pack.
func (p *panels) units() int {
	g := p.group()
	return (p.from.Rows + fallback.MatMulLen - 1) / fallback.MatMulLen * ((p.from.Columns + g - 1) / g)
}

// pack packs a unit.
func (p *panels) pack(unit int) {
	g := p.group()
	across := (p.from.Columns + g - 1) / g
	first, left := unit/across*fallback.MatMulLen, unit%across*g
	p.packPart(first, min(first+fallback.MatMulLen, p.from.Rows), left, min(left+g, p.from.Columns))
}

// packRange packs the rows from lo to hi.
func (p *panels) packRange(lo, hi int) {
	for lo < hi {
		end := min(hi, (lo/fallback.MatMulLen+1)*fallback.MatMulLen)
		p.packPart(lo, end, 0, p.from.Columns)
		lo = end
	}
}

// packPart packs the rows from lo to hi, which are of the same panels, of the panels from the
// column left on.
func (p *panels) packPart(lo, hi, left, right int) {
	first := lo / fallback.MatMulLen * fallback.MatMulLen
	n := min(fallback.MatMulLen, p.from.Rows-first)
	for j := left; j < right; j += p.width {
		to, width := p.panel(first, n, j)[(lo-first)*p.width:(hi-first)*p.width], min(p.width, p.from.Columns-j)
		if width < p.width {
			clear(to)
		}
		from := p.from.Data[lo*p.from.RowStride+j*p.from.ColumnStride:]
		if p.from.ColumnStride == 1 {
			packRows(to, p.width, from, hi-lo, width, p.from.RowStride)
		} else {
			packColumns(to, p.width, from, hi-lo, width, p.from.RowStride, p.from.ColumnStride)
		}
	}
}

// packRows packs n rows of contiguous elements.
func packRows(to []float32, panel int, from []float32, n, width, stride int) {
	for k := range n {
		copy(to[k*panel:], from[k*stride:][:width])
	}
}

// packColumns packs n rows column by column, so many rows at a time as a line of the cache
// has elements, if columns are contiguous.
func packColumns(to []float32, panel int, from []float32, n, width, stride, apart int) {
	const line = 16
	for k := 0; k < n; k += line {
		some := to[k*panel:]
		count := min(line, n-k)
		j := 0
		if stride == 1 {
			j = packFour(some, panel, from[k:], count, width, apart)
		}
		for ; j < width; j++ {
			column := from[k*stride+j*apart:]
			for i := range count {
				some[i*panel+j] = column[i*stride]
			}
		}
	}
}

// packFour packs n rows of four contiguous columns at a time, whose elements are stored side
// by side, and returns how many columns it has packed.
func packFour(to []float32, panel int, from []float32, n, width, apart int) int {
	j := 0
	for ; j+4 <= width; j += 4 {
		a := from[j*apart:][:n]
		b := from[(j+1)*apart:][:n]
		c := from[(j+2)*apart:][:n]
		d := from[(j+3)*apart:][:n]
		for i := range a {
			t := to[i*panel+j:]
			t = t[:4:4]
			t[0], t[1], t[2], t[3] = a[i], b[i], c[i], d[i]
		}
	}
	return j
}
