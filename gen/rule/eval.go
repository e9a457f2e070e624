package rule

import "math"

// Args are the arguments of a call for one tensor: the buffers (elements of another
// type than float32 as the float32 they stand for, rounded where they are stored), the
// bits of the scalars and the lanes of the reductions (Sums for Sum and Dot, Maxima for
// MaxAbs, by the reduction's slot).
type Args struct {
	Buffers [][]float32
	Scalars []uint32
	Sums    map[int]*[Lanes]float64
	Maxima  map[int]*[Lanes]float32
}

// Eval runs the rule in Go, one element after the other. It stands between the
// reference and the kernels: where the reference differs from Eval the rule is
// wrong, where a kernel does its lowering is.
func (r *Rule) Eval(a Args) {
	rows, columns := 1, 0
	if first := r.First(Stream); first >= 0 {
		columns = len(a.Buffers[first])
	}
	if first := r.First(PerRow); first >= 0 {
		rows = len(a.Buffers[first])
	}
	steps := r.Schedule()
	bits := make([]uint32, len(r.Nodes))
	mask := make([]bool, len(r.Nodes))
	f := func(id int) float32 { return math.Float32frombits(bits[id]) }
	compute := func(id int) {
		switch n := r.Nodes[id]; {
		case n.Op == Scalar:
			bits[id] = a.Scalars[n.X]
		case n.Op == Const:
			bits[id] = n.Imm
		case n.Op.IsMask():
			mask[id] = compare(n.Op, f(n.X), f(n.Y))
		default:
			bits[id] = apply(n, bits, mask)
		}
	}
	for id := range r.Nodes {
		if r.Uniform(id) {
			compute(id)
		}
	}

	for row := range rows {
		fold := map[int]*[Lanes]float32{}
		for _, e := range r.Effects {
			if e.Reduce && e.Kind.Folds() {
				fold[e.To] = starting(e.Kind)
			}
		}
		at := func(buffer, column int) *float32 {
			switch r.Buffers[buffer].Shape {
			case Matrix:
				column += row * columns
			case PerRow:
				column = row
			}
			return &a.Buffers[buffer][column]
		}
		for i := range columns {
			lane := i % Lanes
			for _, s := range steps {
				if !s.IsEffect {
					if n := r.Nodes[s.ID]; n.Op == Load {
						bits[s.ID] = math.Float32bits(*at(n.X, i))
					} else {
						compute(s.ID)
					}
					continue
				}
				e := r.Effects[s.ID]
				switch {
				case e.Raw:
					*at(e.To, i) = math.Float32frombits(bits[e.X] >> 16 << 16)
				case !e.Reduce:
					*at(e.To, i) = math.Float32frombits(r.Buffers[e.To].Type.Stored(bits[e.X]))
				case e.Kind == Sum:
					a.Sums[e.To][lane] += float64(f(e.X))
				case e.Kind == Dot:
					a.Sums[e.To][lane] += float64(float64(f(e.X)) * float64(f(e.Y)))
				case e.Kind == MaxAbs:
					l := &a.Maxima[e.To][lane]
					*l = pick(abs(f(e.X)) > *l, abs(f(e.X)), *l)
				case e.Kind == Fold:
					fold[e.To][lane] += f(e.X)
				case e.Kind == FoldMax, e.Kind == FoldMost:
					l := &fold[e.To][lane]
					*l = pick(f(e.X) > *l, f(e.X), *l)
				}
			}
		}
		for _, e := range r.Effects {
			if e.Reduce && e.Kind.Folds() {
				*at(e.To, 0) = folded(e.Kind, *fold[e.To])
			}
		}
	}
}

// starting are the lanes of a row before its first element.
func starting(k Kind) *[Lanes]float32 {
	var lanes [Lanes]float32
	for j := range lanes {
		lanes[j] = math.Float32frombits(k.Start())
	}
	return &lanes
}

// folded joins the lanes of a row.
func folded(k Kind, lanes [Lanes]float32) float32 {
	for half := Lanes / 2; half > 0; half /= 2 {
		for j := range half {
			x, y := lanes[j], lanes[j+half]
			if k == Fold {
				lanes[j] = x + y
			} else {
				lanes[j] = pick(x > y, x, y)
			}
		}
	}
	return lanes[0]
}

func compare(op Op, x, y float32) bool {
	switch op {
	case Less:
		return x < y
	case LessEqual:
		return x <= y
	}
	return x == y
}

// apply is the one meaning of every operation on bits.
func apply(n Node, bits []uint32, mask []bool) uint32 {
	xb := bits[n.X]
	x := math.Float32frombits(xb)
	var yb uint32
	if n.Op.Operands() > 1 {
		yb = bits[n.Y]
	}
	y := math.Float32frombits(yb)
	switch n.Op {
	case Add:
		return math.Float32bits(x + y)
	case Sub:
		return math.Float32bits(x - y)
	case Mul:
		return math.Float32bits(x * y)
	case Div:
		return math.Float32bits(x / y)
	case Sqrt:
		return math.Float32bits(float32(math.Sqrt(float64(x))))
	case Max:
		return math.Float32bits(pick(x > y, x, y))
	case Min:
		return math.Float32bits(pick(x < y, x, y))
	case Abs:
		return xb &^ (1 << 31)
	case Neg:
		return xb ^ 1<<31
	case FMA:
		return math.Float32bits(fused(x, y, math.Float32frombits(bits[n.Z])))
	case FNMA:
		return math.Float32bits(fused(-x, y, math.Float32frombits(bits[n.Z])))
	case Select:
		if mask[n.X] {
			return bits[n.Y]
		}
		return bits[n.Z]
	case And:
		return xb & yb
	case Or:
		return xb | yb
	case Xor:
		return xb ^ yb
	case AddInt:
		return xb + yb
	case SubInt:
		return xb - yb
	case MulInt:
		return xb * yb
	case ShiftLeft:
		return xb << n.Imm
	case ShiftRight:
		return xb >> n.Imm
	case ShiftArith:
		return uint32(int32(xb) >> n.Imm)
	case FromInt:
		return math.Float32bits(float32(int32(xb)))
	case Flush:
		if xb&yb == 0 {
			return 0
		}
		return xb
	}
	panic("rule: no meaning for " + n.Op.String())
}

// fused is x·y + z, rounded once. The product is exact in float64. The sum, if it is not, is
// rounded to odd, which float32 makes the same of as of the exact one.
func fused(x, y, z float32) float32 {
	p, q := float64(x)*float64(y), float64(z)
	sum := p + q
	part := sum - p
	lost := (p - (sum - part)) + (q - part)
	if bits := math.Float64bits(sum); lost != 0 && lost == lost && bits&1 == 0 {
		sum = math.Nextafter(sum, math.Copysign(math.Inf(1), lost))
	}
	return float32(sum)
}

func pick(yes bool, x, y float32) float32 {
	if yes {
		return x
	}
	return y
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
