package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Packing is how a slot's elements are in memory. What is packed is made float32 block by
// block within a step, moved there by the rule's kernel, and packed anew. Blocks begin at the
// multiples of tune.PackLen along a tensor, and the last one may be a part of one.
type Packing uint8

const (
	Unpacked     Packing = iota // float32
	PackedBF16                  // the upper half of a float32, rounded at random
	PackedFloat8                // 8 bits of a float beside the largest in its block, rounded at random
)

// packed is a slot of a tensor that is packed. A block is words of bits: see
// fallback.Quantize and fallback.QuantizeBF16.
type packed struct {
	packing Packing
	signed  bool
	words   []float32
	scales  []float32 // of each block of codes: its largest magnitude
}

const (
	quarter = tune.PackLen / 4
	signBit = 1 << 31

	// one is the bits of 1 as Quantize has them, which the largest code stands for.
	one = 127 << 3
)

// words is how many words a block takes.
func (p Packing) words() int {
	if p == PackedBF16 {
		return 2 * quarter
	}
	return quarter
}

// newPacked is a slot of so many zeros.
func newPacked(p Packing, signed bool, n int) packed {
	blocks := (n + tune.PackLen - 1) / tune.PackLen
	s := packed{packing: p, signed: signed, words: Alloc(blocks*p.words(), 1)[0]}
	if p == PackedFloat8 {
		s.scales = make([]float32, blocks)
	}
	return s
}

// bias is what is added to a code: the largest, of 7 or 8 bits, stands for 1.
func (p *packed) bias() fallback.Mask {
	if p.signed {
		return one - 127
	}
	return one - 255
}

// signs is the mask of the bit for the sign.
func (p *packed) signs() fallback.Mask {
	if p.signed {
		return signBit
	}
	return 0
}

// packers are the kernels that pack and unpack: set by SetPacking, so that a program which never
// calls it links none of them.
type packers struct {
	quantize       func(kernels.Table, *kernels.List, *fallback.QuantizeScalars)
	dequantize     func(kernels.Table, *kernels.List, *fallback.DequantizeScalars)
	quantizeBF16   func(kernels.Table, *kernels.List, *fallback.QuantizeBF16Scalars)
	dequantizeBF16 func(kernels.Table, *kernels.List)
	maxAbs         func(kernels.Table, *kernels.List, *[fallback.Lanes]float32)
}

// packRoom is what a worker needs to pack and unpack.
type packRoom struct {
	room       []float32
	slots      [8][]float32 // a block of a step, of each slot that is packed
	quantize   fallback.QuantizeScalars
	dequantize fallback.DequantizeScalars
	bf16       fallback.QuantizeBF16Scalars
	lanes      [fallback.Lanes]float32
}

// state is a range of a slot: what unpack has made of it if it is packed.
func (w *Worker) state(t *tensor, slot, lo, hi int) []float32 {
	if t.packed == nil || t.packed[slot].packing == Unpacked {
		return t.State[slot][lo:hi]
	}
	return w.packs.slots[slot][:hi-lo]
}

// unpack makes float32 of the packed slots of elements lo to hi of a tensor, of which lo is
// where a block begins.
func (e *Engine) unpack(w *Worker, t *tensor, lo, hi int) {
	p := &w.packs
	n := roundUp(hi-lo, tune.PackLen)
	if len(p.room) < n*len(t.packed) {
		p.room = make([]float32, max(n, tune.BlockLen)*len(t.packed))
	}
	for j := range t.packed {
		s := &t.packed[j]
		if s.packing == Unpacked {
			continue
		}
		p.slots[j] = p.room[j*n:][:n]
		for at := 0; at < n; at += tune.PackLen {
			s.load(e, w, (lo+at)/tune.PackLen, p.slots[j][at:][:tune.PackLen])
		}
	}
}

// pack packs what unpack has made float32 of, once it has been moved.
func (e *Engine) pack(w *Worker, t *tensor, lo int) {
	for j := range t.packed {
		if s := &t.packed[j]; s.packing != Unpacked {
			e.store(w, t, j, lo, w.packs.slots[j])
		}
	}
}

// store packs blocks of a slot from an element on. How they are rounded follows from the seed,
// the tensor, the slot, the number of the tensor's step and that of the element.
func (e *Engine) store(w *Worker, t *tensor, slot, lo int, x []float32) {
	key := mixed(mixed(mixed(mixed(e.packSeed)^uint64(t.number))^uint64(slot)) ^ uint64(e.step-t.missed))
	for at := 0; at < len(x); at += tune.PackLen {
		t.packed[slot].store(e, w, (lo+at)/tune.PackLen, x[at:][:tune.PackLen], key)
	}
}

// load makes float32 of a block.
func (p *packed) load(e *Engine, w *Worker, block int, x []float32) {
	n := p.packing.words()
	words := p.words[block*n:][:n]
	if p.packing == PackedBF16 {
		w.list.Set(words[:quarter], words[quarter:], x[:quarter], x[quarter:2*quarter], x[2*quarter:3*quarter], x[3*quarter:])
		e.packers.dequantizeBF16(e.table, &w.list)
		return
	}
	c := &w.packs.dequantize
	c.Scale, c.Bias, c.Signs = p.scales[block], p.bias(), p.signs()
	w.list.Set(words, x[:quarter], x[quarter:2*quarter], x[2*quarter:3*quarter], x[3*quarter:])
	e.packers.dequantize(e.table, &w.list, c)
}

// store packs a block.
func (p *packed) store(e *Engine, w *Worker, block int, x []float32, key uint64) {
	n := p.packing.words()
	words, place := p.words[block*n:][:n], uint64(block)*quarter
	base, high, key1, key2 := fallback.Mask(place), fallback.Mask(place>>32), fallback.Mask(key), fallback.Mask(key>>32)
	if p.packing == PackedBF16 {
		w.packs.bf16 = fallback.QuantizeBF16Scalars{Base: base, High: high, Key1: key1, Key2: key2}
		w.list.Set(words[:quarter], words[quarter:], x[:quarter], x[quarter:2*quarter], x[2*quarter:3*quarter], x[3*quarter:], e.numbers[:quarter])
		e.packers.quantizeBF16(e.table, &w.list, &w.packs.bf16)
		return
	}
	largest := e.largestOf(w, x)
	p.scales[block] = largest
	if largest == 0 {
		clear(words)
		return
	}
	c := &w.packs.quantize
	*c = fallback.QuantizeScalars{Bias: p.bias(), Signs: p.signs(), Base: base, High: high, Key1: key1, Key2: key2}
	c.Low = math.Float32frombits(uint32(c.Bias+1) << 20)
	if p.signed { // what would have a code below 1 has 1 or 0
		c.Least = c.Low * 0x1p-16
	}
	c.Up, c.Inverse = inverseOf(largest)
	w.list.Set(words, x[:quarter], x[quarter:2*quarter], x[2*quarter:3*quarter], x[3*quarter:], e.numbers[:quarter])
	e.packers.quantize(e.table, &w.list, c)
}

// inverseOf is a power of 2 and the inverse of its product with x, rounded up: what x times
// both is, rounded, is at least 1, so that the largest number of a block has the largest code.
func inverseOf(x float32) (up, inverse float32) {
	switch up = 1; {
	case x < 0x1p-100:
		up = 0x1p40
	case x > 0x1p100:
		up = 0x1p-40
	}
	exact := 1 / (float64(x) * float64(up))
	if inverse = float32(exact); float64(inverse) < exact {
		inverse = math.Nextafter32(inverse, math.MaxFloat32)
	}
	return up, inverse
}

// largestOf is the largest magnitude of a block. Infinite elements, which would leave nothing of
// the others, become zeros, and NaN is 0 once it is packed.
func (e *Engine) largestOf(w *Worker, x []float32) float32 {
	most := e.maxAbs(w, x)
	if most <= math.MaxFloat32 {
		return most
	}
	for i := range x {
		if math.IsInf(float64(x[i]), 0) {
			x[i] = 0
		}
	}
	return e.maxAbs(w, x)
}

func (e *Engine) maxAbs(w *Worker, x []float32) float32 {
	lanes := &w.packs.lanes
	*lanes = [fallback.Lanes]float32{}
	w.list.Set(x)
	e.packers.maxAbs(e.table, &w.list, lanes)
	most := float32(0)
	for _, y := range lanes {
		most = max(most, y)
	}
	return most
}

// TakesPacking reports whether slots of a rule may be packed: one kernel takes elements of all
// buffers, in any parts, and nothing else reads or writes them.
func (e *Engine) TakesPacking(rule int) bool {
	g := &e.groups[rule]
	return g.plain && g.Hessian == 0 && g.Mean == 0
}

// SetPacking has the slots of tensors of more than tune.SmallLen elements packed as of says,
// and rounded by a seed, from the next step on. What is in them stays, rounded if their
// packing is another one.
func (e *Engine) SetPacking(seed uint64, of func(rule, slot int) Packing) {
	e.packSeed = seed
	e.packers = packers{kernels.Quantize, kernels.Dequantize, kernels.QuantizeBF16, kernels.DequantizeBF16, kernels.MaxAbs}
	e.number()
	for k := range e.tensors {
		if t := &e.tensors[k]; t.Size > tune.SmallLen {
			e.repack(t, of)
		}
	}
	e.placed++
}

// repack changes the packing of a tensor.
func (e *Engine) repack(t *tensor, of func(rule, slot int) Packing) {
	g, w := &e.groups[t.Rule], e.workers[0]
	some := false
	for j, s := range g.State {
		now, want := t.packing(j), of(t.Rule, j)
		some = some || want != Unpacked
		if now == want {
			continue
		}
		if t.packed == nil {
			t.packed = make([]packed, len(g.State))
		}
		x := t.State[j]
		if now != Unpacked {
			x = Alloc(roundUp(t.Size, tune.PackLen), 1)[0]
			for at := 0; at < t.Size; at += tune.PackLen {
				t.packed[j].load(e, w, at/tune.PackLen, x[at:][:tune.PackLen])
			}
			x = x[:t.Size:t.Size]
		}
		if t.State[j], t.packed[j] = x, (packed{}); want != Unpacked {
			t.State[j], t.packed[j] = nil, newPacked(want, !s.Square, t.Size)
			e.storeAll(w, t, j, x)
		}
	}
	if !some {
		t.packed = nil
	}
}

// storeAll packs all of a slot.
func (e *Engine) storeAll(w *Worker, t *tensor, slot int, x []float32) {
	var block [tune.PackLen]float32
	for at := 0; at < len(x); at += tune.PackLen {
		clear(block[copy(block[:], x[at:]):])
		e.store(w, t, slot, at, block[:])
	}
}

// packing is that of a slot.
func (t *tensor) packing(slot int) Packing {
	if t.packed == nil {
		return Unpacked
	}
	return t.packed[slot].packing
}

// Packing is how a slot of a tensor is kept.
func (e *Engine) Packing(tensor, slot int) Packing { return e.tensors[tensor].packing(slot) }

// Packs reports whether any slot of a tensor is packed.
func (e *Engine) Packs(tensor int) bool { return e.tensors[tensor].packed != nil }

// Owned reports whether the state of a tensor is the caller's.
func (e *Engine) Owned(tensor int) bool { return e.tensors[tensor].owned }

// StateBytes is the memory of a tensor's slots.
func (e *Engine) StateBytes(tensor int) int {
	t, n := &e.tensors[tensor], 0
	for j := range t.State {
		n += 4 * len(t.State[j])
	}
	for j := range t.packed {
		n += 4 * (len(t.packed[j].words) + len(t.packed[j].scales))
	}
	return n
}

// Codes are those of a slot PackedFloat8, in the order of its elements, and the largest
// magnitude of each block. They are copies.
func (e *Engine) Codes(tensor, slot int) (codes []uint8, scales []float32) {
	t := &e.tensors[tensor]
	p := &t.packed[slot]
	codes = make([]uint8, t.Size)
	for i := range codes {
		word, shift := codeAt(i)
		codes[i] = uint8(math.Float32bits(p.words[word]) >> shift)
	}
	return codes, append([]float32(nil), p.scales...)
}

// codeAt is where the code of an element is: its word and the bits before it.
func codeAt(i int) (word, shift int) {
	return i/tune.PackLen*quarter + i%quarter, i % tune.PackLen / quarter * 8
}

// halfAt is where an element of BF16 is.
func halfAt(i int) (word, shift int) {
	part := i % tune.PackLen / quarter
	return i/tune.PackLen*2*quarter + part/2*quarter + i%quarter, part % 2 * 16
}

// LoadCodes copies what Codes has made.
func (e *Engine) LoadCodes(tensor, slot int, codes []uint8, scales []float32) {
	p := &e.tensors[tensor].packed[slot]
	clear(p.words)
	copy(p.scales, scales)
	for i, c := range codes {
		word, shift := codeAt(i)
		p.words[word] = math.Float32frombits(math.Float32bits(p.words[word]) | uint32(c)<<shift)
	}
}

// Halves are the elements of a slot PackedBF16, a copy.
func (e *Engine) Halves(tensor, slot int) []kernels.BF16 {
	t := &e.tensors[tensor]
	list := make([]kernels.BF16, t.Size)
	for i := range list {
		word, shift := halfAt(i)
		list[i] = kernels.BF16(math.Float32bits(t.packed[slot].words[word]) >> shift)
	}
	return list
}

// LoadHalves copies what Halves has made.
func (e *Engine) LoadHalves(tensor, slot int, list []kernels.BF16) {
	p := &e.tensors[tensor].packed[slot]
	clear(p.words)
	for i, h := range list {
		word, shift := halfAt(i)
		p.words[word] = math.Float32frombits(math.Float32bits(p.words[word]) | uint32(h)<<shift)
	}
}
