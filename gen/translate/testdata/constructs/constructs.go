// Package update has each construct that is translated, in functions whose results in C are
// compared with those in Go.
package update

import (
	"fmt"
	"math"
	"math/bits"
)

// Numbers are functions of two numbers.
var Numbers = map[string]func(x, y float64) float64{
	"Arithmetic": Arithmetic, "Precedence": Precedence, "Constants": Constants, "Narrow": Narrow, "Conditions": Conditions,
	"Branches": Branches, "Cases": Cases, "Several": Several, "Forward": Forward, "Named": Named, "Filled": Filled, "Ordered": Ordered, "Loops": Loops, "Ranges": Ranges,
	"Maximum": Maximum, "Minimum": Minimum, "Structs": Structs, "Methods": Methods, "Embedded": Embedded, "Arrays": Arrays, "Builtins": Builtins, "Integers": Integers,
	"Shadows": Shadows, "Updates": Updates, "Rounded": Rounded,
}

func Arithmetic(x, y float64) float64 { return -x/y - (x-y)/(x+y) }

func Precedence(x, y float64) float64 {
	if x > 1 && y > 1 || x < -1 && (y < 0 || !(x <= y)) {
		return x - (y - (x - y)) - x/(y/x)
	}
	return (x + y) * (x - y) * -y
}

const tiny = 0x1p-1000

func Constants(x, y float64) float64 {
	const third = 1. / 3
	return float64(x*third*tiny) + 0 + float64(y*1e300) + 0.1 + math.MaxFloat32 + float64(float32(0.1)) - 12345678
}

func Narrow(x, y float64) float64 {
	a, b := float32(x), float32(y)
	c := float32(a*b) + a/b - 0.1
	return float64(c)
}

func Conditions(x, y float64) float64 {
	equal, both := x == y, !(x != y) && x < 2
	if equal && both {
		return 1
	}
	return 2
}

func Branches(x, y float64) float64 {
	if d := x - y; d > 1 {
		return d
	} else if s := x + y; s > 1 {
		return s
	} else {
		return float64(d*s) + 1
	}
}

func Cases(x, y float64) float64 {
	switch {
	case x > y, x < -y:
		return 1
	case x == y:
		x++
	default:
		x--
	}
	switch {
	case x > 2:
		x = y
	}
	return x
}

func both(x, y float64) (sum, difference float64) { return x + y, x - y }

func Several(x, y float64) float64 {
	a, b := both(x, y)
	_, c := both(b, a)
	a, d := both(c, a)
	return a / d
}

func swapped(x, y float64) (first, second float64) { return both(y, x) }

func Forward(x, y float64) float64 {
	a, b := swapped(x, y)
	return a / b
}

func parts(x float64) (p pair, ok bool) {
	p.a, ok = float64(x*x), x > 1
	p, ok = p.turned(), ok
	return p, ok
}

func (p pair) turned() pair { return pair{p.b, -p.a} }

func Filled(x, y float64) float64 {
	p, ok := parts(x)
	if ok {
		return p.a - p.b
	}
	return y
}

func beyond(x float64) (big bool, rest float64) {
	if big = x > 1; big {
		rest = x - 1
	}
	return big, rest
}

func Named(x, y float64) float64 {
	if big, rest := beyond(x); big {
		return rest
	}
	return y
}

type counter struct{ n float64 }

func (c *counter) next() float64 {
	c.n++
	return c.n
}

func (c *counter) two() (first, second float64) { return c.next(), c.next() }

func Ordered(x, y float64) float64 {
	c := counter{x}
	first, second := c.two()
	return first / second
}

func Loops(x, y float64) float64 {
	for k := 5; k >= 0; k-- {
		x = x/2 + y
	}
	for x > 1 && x < 1e9 {
		x /= 4
	}
	return x
}

func Ranges(x, y float64) float64 {
	n := 3
	for range n {
		n++
		x += y
	}
	for k := range 4 {
		for j := range k {
			x = float64(x*.5) + float64(j-k)
		}
	}
	return x
}

type pair struct{ a, b float64 }

type nested struct {
	p    pair
	list [3]pair
	flag bool
}

func Structs(x, y float64) float64 {
	s := nested{p: pair{x, y}, flag: x > y}
	t := s
	t.p.a = 7
	s.list[1] = pair{b: x}
	t.list[0].b = y
	if s.flag {
		return s.p.a - s.list[1].b + s.list[0].a
	}
	return t.p.a - t.list[0].b
}

func (p pair) sum() float64 { return p.a + p.b }

func (p *pair) grow(by float64) float64 {
	p.a += by
	return p.a
}

func Methods(x, y float64) float64 {
	p := pair{x, y}
	before := p.sum()
	grown := p.grow(y)
	return before - p.sum() + grown
}

type outer struct {
	pair
	inner *nested
}

func (o *outer) measure() float64 { return o.sum() - o.grow(1) - o.b - o.inner.p.a }

func (n *nested) out(x float64) float64 {
	o := outer{pair{x, x}, n}
	return o.measure() - o.inner.p.sum()
}

func Embedded(x, y float64) float64 {
	n := nested{p: pair{x, y}}
	return n.out(y)
}

func Arrays(x, y float64) float64 {
	s := nested{}
	for k := range s.list {
		s.list[k] = pair{x, float64(k)}
		x /= 3
	}
	last := 0
	for k := range s.list {
		if s.list[k].a > y {
			last = k
		}
	}
	return s.list[last].a - s.list[2].b
}

func Builtins(x, y float64) float64 {
	return max(x, y) - min(x, -y) - math.Abs(x) - math.Sqrt(y) - math.Ldexp(1, 3)
}

func Maximum(x, y float64) float64 { return max(x, y) }

func Minimum(x, y float64) float64 { return min(x, y) }

func Integers(x, y float64) float64 {
	n := 1
	if x > y {
		n = 77
	}
	k := bits.Len64(uint64(n)) - 1
	block := int64(n)<<k - 1<<k
	block -= 1 << k
	return float64(block>>2+(block&31|4)) - float64(uint64(n)<<1)
}

func Shadows(x, y float64) float64 {
	z := x
	if x := y; x > 0 {
		z := x - 1
		return z / y
	}
	for x := range 3 {
		z -= float64(x)
	}
	return z - x
}

func Updates(x, y float64) float64 {
	a, b := x, y
	a -= b
	b /= 3
	a += 1
	c := b
	c *= 2
	_ = a
	return a / c
}

// Rounded has products that are rounded, by conversions, before sums, or that none follows.
func Rounded(x, y float64) float64 {
	product := float64(x * y)
	sum := product + float64(x*x)
	return sum / (x * y)
}

// Errors are functions that refuse numbers.
var Errors = map[string]func(x, y float64) error{"Check": Check, "First": First, "Formats": Formats, "Counts": Counts}

// An ArgError is bad input.
type ArgError struct {
	Arg   string
	Value any
	Want  string
}

func (e *ArgError) Error() string { return fmt.Sprintf("%s is %v, want %s", e.Arg, e.Value, e.Want) }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func positive(arg string, x float64) error {
	if !(x > 0) {
		return &ArgError{arg, x, "a number above 0, 100% of it"}
	}
	return nil
}

func Check(x, y float64) error {
	if err := positive("x", x); err != nil {
		return err
	}
	err := positive("y", y)
	switch {
	case err != nil:
		return err
	case x > y:
		return &ArgError{"order", x > y, "false, or " + name(true)}
	}
	return nil
}

func First(x, y float64) error { return firstError(positive("x", x-y), positive("y", y), First2(x)) }

func First2(x float64) error { return positive("x", 2-x) }

func Formats(x, y float64) error {
	n := 7
	return &ArgError{"x", x, fmt.Sprintf("%s, %g and %d", name(x > y), y, n)}
}

func Counts(x, y float64) error {
	n := -12345678
	if x > y {
		n = 0
	}
	return &ArgError{"n", n, "another"}
}

func name(whole bool) string {
	if whole {
		return "a \"long\" one"
	}
	return "é"
}
