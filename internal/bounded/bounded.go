// Package bounded is arithmetic that knows its own error. A formula written once in it
// gives three answers at a time: its value in float64, what a plain float32 program gets,
// and a bound on how far any float32 program may be off that takes each operation of the
// formula once. So a result in float32 can be judged without a tolerance made by hand.
package bounded

import "math"

// A Number is the result of a formula's operations.
type Number struct {
	Exact  float64 // in float64
	Single float32 // with each operation rounded to float32, in the order written
	Bound  float64 // on the distance of float32 from Exact; +Inf where anything may come out

	flushes bool // subnormal results may be 0
}

// largest rounds to a float32; what is larger rounds to infinity.
const largest = math.MaxFloat32 + 0x1p103

// Float is a float32 as it is.
func Float(x float32) Number { return Number{Exact: float64(x), Single: x} }

// Scalar is a number that is rounded to float32 once.
func Scalar(x float64) Number { return Number{Exact: x, Single: float32(x)}.rounded() }

// Flushing is x in arithmetic that takes subnormal results for 0, as that of XLA and
// TensorFlow does. All that follows from x is.
func (x Number) Flushing() Number {
	x.flushes = true
	return x
}

// Off is x which may be off by that much more.
func (x Number) Off(by float64) Number {
	x.Bound += by
	return x
}

// OrZero is x where 0 may be in its place.
func (x Number) OrZero() Number {
	x.Bound = math.Max(x.Bound, math.Abs(x.Exact)) // infinite, also for NaN, if it was
	return x
}

// Contains reports whether a float32 program can have got y.
func (x Number) Contains(y float32) bool {
	if math.IsInf(x.Bound, 1) || float64(y) == x.Exact {
		return true
	}
	return math.Abs(float64(y)-x.Exact) <= x.Bound
}

// Below reports whether the magnitude of x may be below a limit.
func (x Number) Below(limit float64) bool { return !(math.Abs(x.Exact)-x.Bound >= limit) }

// rounded adds half a unit in the last place: of the largest that float32 can have got.
func (x Number) rounded() Number {
	most := math.Abs(x.Exact) + x.Bound
	switch {
	case math.IsNaN(most):
		x.Bound = math.Inf(1)
	case most == 0 || math.IsInf(x.Exact, 0) && x.Bound == 0:
	case !(most <= largest):
		return x.overflown()
	case x.flushes && most < 0x1p-125:
		x.Bound += 0x1p-126
	default:
		x.Bound += halfUnit(most)
	}
	return x
}

// overflown is x where float32 has no such number: infinite if it is so surely.
func (x Number) overflown() Number {
	if math.Abs(x.Exact)-x.Bound > largest {
		x.Exact, x.Bound = math.Inf(int(math.Copysign(1, x.Exact))), 0
	} else {
		x.Bound = math.Inf(1)
	}
	return x
}

// halfUnit is half a unit in the last place of the float32 nearest to x.
func halfUnit(x float64) float64 {
	exponent := int(math.Float64bits(x)>>52) - 1023
	return math.Float64frombits(uint64(max(exponent, -126)-24+1023) << 52)
}

// of makes a result from its parts, before it is rounded.
func of(exact float64, single float32, bound float64, x, y Number) Number {
	if math.IsNaN(bound) {
		bound = math.Inf(1)
	}
	return Number{exact, single, bound, x.flushes || y.flushes}.rounded()
}

// Add is x + y.
func (x Number) Add(y Number) Number {
	return of(x.Exact+y.Exact, x.Single+y.Single, x.Bound+y.Bound, x, y)
}

// Sub is x - y.
func (x Number) Sub(y Number) Number { return x.Add(y.Neg()) }

// Neg is -x.
func (x Number) Neg() Number {
	x.Exact, x.Single = -x.Exact, -x.Single
	return x
}

// Mul is x·y.
func (x Number) Mul(y Number) Number {
	return of(x.Exact*y.Exact, x.Single*y.Single, times(x, y), x, y)
}

// times is the bound of a product.
func times(x, y Number) float64 {
	return product(math.Abs(x.Exact), y.Bound) + product(math.Abs(y.Exact), x.Bound) + product(x.Bound, y.Bound)
}

// product is x·y where 0 times anything is 0.
func product(x, y float64) float64 {
	if x == 0 || y == 0 {
		return 0
	}
	return x * y
}

// Square is a·x², in either of two orders: as the square of √a·x, which is finite
// where a·x² is, or as PyTorch's a·x·x. a is below 1, or 1.
func (x Number) Square(a float64) Number {
	root := Scalar(math.Sqrt(a))
	if a == 1 {
		root = Float(1)
	}
	y := root.Mul(x)
	y = y.Mul(y)
	y.Single = float32(a) * x.Single * x.Single
	return y
}

// Div is x/y.
func (x Number) Div(y Number) Number {
	quotient := x.Exact / y.Exact
	least := math.Abs(y.Exact) - y.Bound
	bound := (x.Bound + product(math.Abs(quotient), y.Bound)) / least
	switch {
	case x.Bound == 0 && y.Bound == 0:
		bound = 0
	case !(least > 0):
		bound = math.Inf(1)
	}
	return of(quotient, x.Single/y.Single, bound, x, y)
}

// Sqrt is the root of x, of 0 where rounding has made x negative.
func (x Number) Sqrt() Number {
	exact := math.Max(x.Exact, 0)
	root, bound := math.Sqrt(exact), 0.
	if low := exact - x.Bound; x.Bound > 0 && low > 0 {
		bound = x.Bound / (root + math.Sqrt(low))
	} else if x.Bound > 0 {
		bound = math.Max(root, math.Sqrt(exact+x.Bound)-root)
	}
	return of(root, float32(math.Sqrt(float64(max(x.Single, 0)))), bound, x, x)
}

// Cbrt is the cube root of x ≥ 0, which programs have within a unit.
func (x Number) Cbrt() Number {
	root, bound := math.Cbrt(x.Exact), 0.
	if x.Bound > 0 {
		bound = max(math.Cbrt(x.Exact+x.Bound)-root, root-math.Cbrt(max(0, x.Exact-x.Bound)))
	}
	return of(root, float32(math.Cbrt(float64(x.Single))), bound+halfUnit(root), x, x)
}

// Max is the larger of x and y.
func (x Number) Max(y Number) Number {
	if x.Exact < y.Exact {
		x, y = y, x
	}
	if !(y.Exact+y.Bound <= x.Exact-x.Bound) {
		x.Bound = math.Max(x.Bound, y.Bound)
	}
	x.Single = max(x.Single, y.Single)
	x.flushes = x.flushes || y.flushes
	return x
}

// Sign is -1, 0 or 1, and may be any of them where x may have another sign.
func (x Number) Sign() Number {
	s := Number{Exact: sign(x.Exact), Single: float32(sign(float64(x.Single))), flushes: x.flushes}
	switch {
	case math.IsInf(x.Bound, 1):
		s.Bound = x.Bound
	case x.Bound >= math.Abs(x.Exact) && x.Bound > 0:
		s.Bound = 1 + math.Abs(s.Exact)
	}
	return s
}

// Pick is one of three numbers by the sign of x, and may be any of them where x may have
// another sign.
func (x Number) Pick(negative, zero, positive Number) Number {
	three := []Number{negative, zero, positive}
	at := func(x float64) Number {
		if x == x {
			return three[1+int(sign(x))]
		}
		return zero
	}
	y := at(x.Exact)
	y.Single = at(float64(x.Single)).Single
	for _, other := range three {
		if x.Bound > 0 && !(x.Bound < math.Abs(x.Exact)) {
			y.Bound = math.Max(y.Bound, math.Abs(other.Exact-y.Exact)+other.Bound)
		}
		y.flushes = y.flushes || other.flushes
	}
	if math.IsInf(x.Bound, 1) || math.IsNaN(y.Bound) {
		y.Bound = math.Inf(1)
	}
	return y
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// Soft is x pulled towards zero by t ≥ 0, and zero within. Neither x nor t moves it by
// more than itself.
func (x Number) Soft(t Number) Number {
	return of(soft(x.Exact, t.Exact), soft(x.Single, t.Single), x.Bound+t.Bound, x, t)
}

func soft[F float32 | float64](x, t F) F { return x - max(-t, min(x, t)) }

// Sum is that of a list, which float32 adds up in an order that is not known.
func Sum(list []Number) Number {
	var sum Number
	size := 0.
	for _, x := range list {
		sum.Exact += x.Exact
		sum.Single += x.Single
		sum.Bound += x.Bound
		sum.flushes = sum.flushes || x.flushes
		size += math.Abs(x.Exact) + x.Bound
	}
	return of(sum.Exact, sum.Single, sum.Bound+float64(len(list))*0x1p-24*size, sum, sum)
}

// Total is Sum of what is added up in float64.
func Total(list []Number) Number {
	var sum Number
	size, single := 0., 0.
	for _, x := range list {
		sum.Exact += x.Exact
		single += float64(x.Single)
		sum.Bound += x.Bound
		sum.flushes = sum.flushes || x.flushes
		size += math.Abs(x.Exact) + x.Bound
	}
	return of(sum.Exact, float32(single), sum.Bound+size*0x1p-40, sum, sum)
}

// Dot is the sum of the products of two lists, which are made and added up in float64.
func Dot(x, y []Number) Number {
	var sum Number
	size, single := 0., 0.
	for i := range x {
		product := x[i].Exact * y[i].Exact
		sum.Exact += product
		single += float64(x[i].Single) * float64(y[i].Single)
		sum.Bound += times(x[i], y[i])
		sum.flushes = sum.flushes || x[i].flushes || y[i].flushes
		size += math.Abs(product) + times(x[i], y[i])
	}
	return of(sum.Exact, float32(single), sum.Bound+size*0x1p-40, sum, sum)
}

// Norm is the root of the sum of squares, which are added up in float64.
func Norm(list []Number) Number { return rootOfSquares(list, 1) }

// RMS is the root of their mean.
func RMS(list []Number) Number { return rootOfSquares(list, float64(len(list))) }

func rootOfSquares(list []Number, by float64) Number {
	var exact, single, bound float64
	for _, x := range list {
		exact += x.Exact * x.Exact
		single += float64(x.Single) * float64(x.Single)
		bound += x.Bound * x.Bound
	}
	root := math.Sqrt(exact / by)
	return Number{Exact: root, Single: float32(math.Sqrt(single / by)), Bound: math.Sqrt(bound/by) + root*0x1p-40}
}
