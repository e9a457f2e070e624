package main

import (
	"math"
	"reflect"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/agree"
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
	state  uint64
	number int
	random bool // bits rather than ordinary values
}

func newSource(kernel string, number int) *source {
	h := newHash()
	for _, c := range []byte(kernel) {
		h.word(uint64(c))
	}
	return &source{state: h.state + uint64(number), number: number, random: number%2 > 0}
}

// next is 32 random bits: splitmix64 (Steele, Lea, Flood 2014).
func (s *source) next() uint32 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32((z ^ z>>31) >> 32)
}

// below is a random number below n.
func (s *source) below(n uint32) int { return int(s.next() % n) }

// length is that of the first tensor, or the number of columns.
func (s *source) length() int {
	if s.number < short {
		return s.number / 2
	}
	return 1000 + s.below(4000)
}

// buffers makes those of a list, or of a matrix.
func (s *source) buffers(k kernels.Kernel) [][]float32 {
	n := s.length()
	if agree.IsMatrix(k.Buffers) {
		rows := s.below(9)
		return s.tensor(k, map[kernels.Shape]int{kernels.Stream: n, kernels.Matrix: n * rows, kernels.PerRow: rows})
	}
	tensors := 1
	if s.number%8 >= 6 {
		tensors += s.below(12)
	}
	var list [][]float32
	for range tensors {
		list = append(list, s.tensor(k, map[kernels.Shape]int{kernels.Stream: n})...)
		n = s.below(70)
	}
	return list
}

func (s *source) tensor(k kernels.Kernel, lengths map[kernels.Shape]int) [][]float32 {
	var list [][]float32
	for _, b := range k.Buffers {
		x := make([]float32, lengths[b.Shape])
		for i := range x {
			x[i] = s.value()
		}
		list = append(list, x)
	}
	return list
}

// value is an ordinary number, or random bits among which NaN, infinities, zeros and
// subnormals are frequent.
func (s *source) value() float32 {
	if !s.random {
		return s.ordinary()
	}
	bits := s.next()
	sign, mantissa := bits&(1<<31), bits&(1<<23-1)
	switch s.below(16) {
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
		return s.ordinary()
	case 8, 9:
		return float32(s.below(5) - 2) // where kinks are
	}
	return math.Float32frombits(bits)
}

// ordinary is a number between -4 and 4.
func (s *source) ordinary() float32 {
	return float32(int32(s.next()>>8)-1<<23) * 0x1p-21
}

// fill makes scalars, or the lanes that a reduction begins with, which are neither NaN
// nor -0.
func (s *source) fill(v reflect.Value) {
	if v.Kind() == reflect.Struct {
		s.scalars(v, s.below(3) == 0)
		return
	}
	for k := range v.Len() {
		v.Index(k).SetFloat(float64(s.next()>>8) * 0x1p-24)
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
			f.SetUint(uint64(masks[s.below(4)]))
		default:
			x := s.value()
			if usual || s.below(2) == 0 {
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

// A hash is FNV-1a over words, in which every NaN is the same.
type hash struct{ state uint64 }

func newHash() *hash { return &hash{0xcbf29ce484222325} }

func (h *hash) word(w uint64) { h.state = (h.state ^ w) * 0x100000001b3 }

func (h *hash) floats(list []float32) {
	for _, x := range list {
		if x != x {
			h.word(0x7fc00000)
		} else {
			h.word(uint64(math.Float32bits(x)))
		}
	}
}

func (h *hash) doubles(list []float64) {
	for _, x := range list {
		bits := math.Float64bits(x)
		if x != x {
			bits = 0x7ff8 << 48
		}
		h.word(bits & (1<<32 - 1))
		h.word(bits >> 32)
	}
}

// sum is the hash in 32 bits.
func (h *hash) sum() uint32 { return uint32(h.state>>32 ^ h.state) }
