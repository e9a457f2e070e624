// Package agree calls two kernels of one signature with the same arguments and
// compares what they leave behind, bit for bit.
package agree

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
)

// Guard is the number of elements around a buffer that no kernel may touch.
const Guard = 32

// A Case says what to call the kernels with.
type Case struct {
	N      int    // elements of each buffer; of a matrix, columns
	Rows   int    // of a matrix
	Offset int    // where in its memory a buffer begins, in elements
	Seed   uint64 // of the values
	Random bool   // random bits rather than ordinary values
}

func (c Case) String() string {
	values := "ordinary values"
	if c.Random {
		values = "random bits"
	}
	return fmt.Sprintf("n=%d rows=%d offset=%d seed=%d %s", c.N, c.Rows, c.Offset, c.Seed, values)
}

// Compare calls both kernels and returns how many elements it compared, or what
// differs. A NaN equals a NaN.
func Compare(got, want any, shapes Shapes, c Case) (compared int, err error) {
	t := reflect.TypeOf(want)
	x, y := shapes.arguments(t, c), shapes.arguments(t, c)
	reflect.ValueOf(got).Call(x.values)
	reflect.ValueOf(want).Call(y.values)
	for k, memory := range x.memory {
		n, err := equal(memory, y.memory[k])
		compared += n
		if err != nil {
			return compared, fmt.Errorf("%v: argument %d: %w", c, k, err)
		}
	}
	return compared, nil
}

// Shapes tells a matrix kernel's buffers apart; nil is the usual kernel, all of
// whose buffers have one length.
type Shapes func(argument int, c Case) (length int)

// Of gives the shapes of a kernel by its name.
func Of(kernel string) Shapes {
	var rowsAt, matrixAt int
	switch kernel {
	case "Dots":
		rowsAt, matrixAt = 0, 1
	case "RankOne":
		rowsAt, matrixAt = 2, 1
	default:
		return nil
	}
	return func(argument int, c Case) int {
		switch argument {
		case rowsAt:
			return c.Rows
		case matrixAt:
			return c.Rows * c.N
		}
		return c.N
	}
}

// IsMatrix reports whether the kernel walks rows.
func (s Shapes) IsMatrix() bool { return s != nil }

type arguments struct {
	values []reflect.Value
	memory []reflect.Value // all of it, guards included
}

func (s Shapes) arguments(t reflect.Type, c Case) arguments {
	rng := rand.New(rand.NewPCG(c.Seed, uint64(c.N)))
	var a arguments
	for k := range t.NumIn() {
		if p := t.In(k); p.Kind() == reflect.Pointer {
			v := reflect.New(p.Elem())
			Fill(rng, v.Elem(), c.Random)
			a.values = append(a.values, v)
			a.memory = append(a.memory, v.Elem())
			continue
		}
		n := c.N
		if s != nil {
			n = s(k, c)
		}
		memory := make([]float32, c.Offset+Guard+n+Guard)
		for i := range memory {
			memory[i] = Value(rng, c.Random)
		}
		a.values = append(a.values, reflect.ValueOf(memory[c.Offset+Guard:][:n]))
		a.memory = append(a.memory, reflect.ValueOf(memory))
	}
	return a
}

// keeps are the bits that kernels are called with to take small numbers for 0:
// see flush in package fallback. Others could tell one NaN from another.
var keeps = []uint32{0x60000000, 0x70000000, 0x70000000, 0xffffffff}

// Fill gives values to scalars and to lanes. Kernels have loops for scalars that are
// usual, each alone and together, and so is what these are given. Lanes stay ordinary:
// what a sum begins with is never NaN or -0.
func Fill(rng *rand.Rand, v reflect.Value, random bool) {
	const all = 0xffffffff
	usual := rng.IntN(8)
	switch v.Kind() {
	case reflect.Struct:
		for k := range v.NumField() {
			x := Value(rng, random)
			keep := keeps[rng.IntN(len(keeps))]
			switch v.Type().Field(k).Name {
			case "Keep", "Lasts":
				if usual&1 != 0 {
					keep = all
				}
				x = math.Float32frombits(keep)
			case "Counts":
				x = math.Float32frombits(keep)
			case "Scale", "Input":
				if usual&2 != 0 {
					x = 1
				}
			case "Decay":
				if usual&4 != 0 {
					x = 1
				}
			}
			v.Field(k).Set(reflect.ValueOf(x))
		}
	case reflect.Array:
		for k := range v.Len() {
			v.Index(k).SetFloat(float64(rng.Float32()))
		}
	}
}

// Value is an ordinary number, or random bits among which NaN, infinities,
// zeros and subnormals are frequent.
func Value(rng *rand.Rand, random bool) float32 {
	if !random {
		return float32(rng.NormFloat64())
	}
	bits := rng.Uint32()
	sign, mantissa := bits&(1<<31), bits&(1<<23-1)
	switch rng.IntN(16) {
	case 0:
		return math.Float32frombits(sign)
	case 1:
		return math.Float32frombits(sign | 0xff<<23)
	case 2:
		return math.Float32frombits(sign | 0xff<<23 | 1<<22 | mantissa)
	case 3:
		return math.Float32frombits(sign | mantissa)
	case 4:
		return math.Float32frombits(sign | 32<<23)
	case 5, 6, 7:
		return float32(rng.NormFloat64())
	}
	return math.Float32frombits(bits)
}

// equal compares two slices, arrays or structs of floats.
func equal(got, want reflect.Value) (compared int, err error) {
	if got.Kind() == reflect.Struct {
		for k := range got.NumField() {
			if !same(got.Field(k), want.Field(k)) {
				return k, fmt.Errorf("a scalar was written")
			}
		}
		return 0, nil
	}
	if x, ok := got.Interface().([]float32); ok {
		y := want.Interface().([]float32)
		for i := range x {
			if math.Float32bits(x[i]) != math.Float32bits(y[i]) && (x[i] == x[i] || y[i] == y[i]) {
				return i, fmt.Errorf("element %d of memory is %x (%g), want %x (%g)", i,
					math.Float32bits(x[i]), x[i], math.Float32bits(y[i]), y[i])
			}
		}
		return len(x), nil
	}
	for i := range got.Len() {
		if !same(got.Index(i), want.Index(i)) {
			return i, fmt.Errorf("lane %d is %g, want %g", i, got.Index(i).Float(), want.Index(i).Float())
		}
	}
	return got.Len(), nil
}

func same(x, y reflect.Value) bool {
	a, b := x.Float(), y.Float()
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}

// Call binds a kernel to arguments of its own, for timing, and tells how many
// bytes its buffers have.
func Call(kernel any, shapes Shapes, c Case) (call func(), bytes int) {
	a := shapes.arguments(reflect.TypeOf(kernel), c)
	for _, v := range a.values {
		if v.Kind() == reflect.Slice {
			bytes += 4 * v.Len()
		}
	}
	f := reflect.ValueOf(kernel)
	return func() { f.Call(a.values) }, bytes
}
