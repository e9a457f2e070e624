package main

import (
	"math"
	"reflect"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/agree"
	"github.com/lockstep-go/lockstep/internal/draws"
	"github.com/lockstep-go/lockstep/kernels"
)

// cases is how many there are for a kernel: two for each short length, of ordinary values
// and of random bits, and some of long ones.
const (
	short = 300
	cases = short + 8
)

// A source makes the arguments of a case: c/test/cases.c is the same, draw by draw.
type source struct {
	draws.Source
	number int
	random bool // bits rather than ordinary values
}

func newSource(kernel string, number int) *source {
	return &source{draws.NewSource(kernel, number), number, number%2 > 0}
}

// length is that of the first tensor, or the number of columns.
func (s *source) length() int {
	if s.number < short {
		return s.number / 2
	}
	return 1000 + s.Below(4000)
}

// buffers makes those of a list, or of a matrix.
func (s *source) buffers(k kernels.Kernel) []any {
	n := s.length()
	if agree.IsMatrix(k.Buffers) {
		rows := s.Below(9)
		return s.tensor(k, map[kernels.Shape]int{kernels.Stream: n, kernels.Matrix: n * rows, kernels.PerRow: rows})
	}
	tensors := 1
	if s.number%8 >= 6 {
		tensors += s.Below(12)
	}
	var list []any
	for range tensors {
		list = append(list, s.tensor(k, map[kernels.Shape]int{kernels.Stream: n})...)
		n = s.Below(70)
	}
	return list
}

// tensor makes the buffers of one. An element of 16 bits is the upper half of a value.
func (s *source) tensor(k kernels.Kernel, lengths map[kernels.Shape]int) []any {
	var list []any
	for _, b := range k.Buffers {
		n := lengths[b.Shape]
		switch b.Type {
		case kernels.Bfloat16:
			list = append(list, made(n, func() fallback.BF16 { return fallback.BF16(math.Float32bits(s.value()) >> 16) }))
		case kernels.Float16:
			list = append(list, made(n, func() fallback.F16 { return fallback.F16(math.Float32bits(s.value()) >> 16) }))
		default:
			list = append(list, made(n, s.value))
		}
	}
	return list
}

func made[T any](n int, value func() T) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = value()
	}
	return x
}

// value is an ordinary number, or random bits among which NaN, infinities, zeros and
// subnormals are frequent.
func (s *source) value() float32 {
	if !s.random {
		return s.Ordinary()
	}
	bits := s.Next()
	sign, mantissa := bits&(1<<31), bits&(1<<23-1)
	switch s.Below(16) {
	case 0:
		bits = sign
	case 1:
		bits = sign | 0xff<<23
	case 2:
		bits = sign | 0xff<<23 | 1<<22 | mantissa
	case 3:
		bits = sign | mantissa
	case 4:
		bits = sign | 32<<23
	case 5, 6, 7:
		return s.Ordinary()
	case 8, 9:
		return float32(s.Below(5) - 2) // where kinks are
	}
	return math.Float32frombits(bits)
}

// fill makes scalars, or the lanes that a reduction begins with, which are neither NaN
// nor -0.
func (s *source) fill(v reflect.Value) {
	if v.Kind() == reflect.Struct {
		s.scalars(v, s.Below(3) == 0)
		return
	}
	for k := range v.Len() {
		v.Index(k).SetFloat(float64(s.Next()>>8) * 0x1p-24)
	}
}

var masks = []fallback.Mask{0, fallback.DropSubnormal, fallback.DropSmall, fallback.DropSquare}

// scalars are usual, all of them or each for itself: kernels have loops for these.
func (s *source) scalars(v reflect.Value, usual bool) {
	for k := range v.NumField() {
		switch f := v.Field(k); f.Kind() {
		case reflect.Struct:
			s.scalars(f, usual)
		case reflect.Uint32:
			f.SetUint(uint64(masks[s.Below(4)]))
		default:
			x := s.value()
			if usual || s.Below(2) == 0 {
				x = usually(v.Type().Field(k).Name, x)
			}
			f.SetFloat(float64(x))
		}
	}
}

// usually is what a scalar mostly is.
func usually(name string, x float32) float32 {
	switch name {
	case "Scale", "Input":
		return 1
	case "L2", "Decay":
		return 0
	case "Weight1", "Weight2":
		return math.Float32frombits(math.Float32bits(x)&^(1<<31) | 1)
	}
	return x
}
