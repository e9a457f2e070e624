package engine

import (
	"math"
	"unsafe"

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
	scales  []float32 // of each tune.ScaleLen elements of codes: their largest magnitude
}

const (
	signBit = 1 << 31

	// quarters are the parts of a block whose elements share a word.
	quarters, quarter = tune.PackLen / tune.ScaleLen, tune.ScaleLen
)

// words is how many words a block takes.
func (p Packing) words() int {
	if p == PackedBF16 {
		return tune.PackLen / 2
	}
	return quarter
}

// newPacked is a slot of so many zeros, in memory as if so many buffers had come before.
func newPacked(p Packing, signed bool, n, before int) packed {
	blocks := (n + tune.PackLen - 1) / tune.PackLen
	s := packed{packing: p, signed: signed, words: alloc(blocks*p.words(), 1, before)[0]}
	if p == PackedFloat8 {
		s.scales = make([]float32, blocks*quarters)
	}
	return s
}

// offset, least and most are those of fallback.Quantize.
func (p *packed) offset() float32 {
	if p.signed {
		return fallback.SignedLeast
	}
	return 0
}

func (p *packed) least() float32 {
	if p.signed {
		return fallback.SignedLeast
	}
	return fallback.SquareLeast
}

func (p *packed) most() float32 {
	if p.signed {
		return fallback.SignedMost
	}
	return fallback.SquareMost
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
	quantize     func(kernels.Table, *kernels.List, *fallback.QuantizeScalars)
	dequantize   func(kernels.Table, *kernels.List, *fallback.DequantizeScalars)
	quantizeBF16 func(t kernels.Table, q []kernels.BF16, x, h []float32, c *fallback.QuantizeBF16Scalars)
	widenBF16    func(t kernels.Table, x []float32, h []kernels.BF16)
	quantizePair func(t kernels.Table, mq, vq, m, v, h, mi, vi []float32, c *fallback.QuantizePairScalars)
	rowMost      func(t kernels.Table, most, x, w []float32)
}

// packRoom is what a worker needs to pack and unpack.
type packRoom struct {
	rooms      [8][]float32 // of each slot that is packed
	blocks     [8][]packBlock
	slots      [8][]float32 // a block of a step
	one        packBlock    // of storeAll and loadAll
	quantize   fallback.QuantizeScalars
	dequantize fallback.DequantizeScalars
	bf16       fallback.QuantizeBF16Scalars
	pair       fallback.QuantizePairScalars
	inverses   [2][quarters]float32
	pairing    pairing
	pairs      bool    // a block's pass packs both slots itself
	flushes    bool    // and flushes what is small of them before
	drawing    drawing // of these
}

// A packBlock is the float32 of a block, with the lists of kernels that pack and unpack it: they
// are made once, and each block puts its words in the place of the first buffer.
type packBlock struct {
	x            []float32
	words, codes [][]float32 // the buffers of the lists: the latter without hashes of places
	quantize     *kernels.List
	dequantize   *kernels.List
}

func newPackBlock(x, hashes []float32) packBlock {
	b := packBlock{x: x}
	var none [quarter]float32
	b.words, b.codes = [][]float32{none[:]}, [][]float32{none[:]}
	for k := range quarters {
		part := x[k*quarter:][:quarter]
		b.words, b.codes = append(b.words, part), append(b.codes, part)
	}
	for k := range quarters {
		b.words = append(b.words, hashes[k*quarter:][:quarter])
	}
	b.quantize, b.dequantize = kernels.NewList(len(b.words), b.words), kernels.NewList(len(b.codes), b.codes)
	return b
}

// state is a range of a slot: what unpack has made of it if it is packed.
func (w *Worker) state(t *tensor, slot, lo, hi int) []float32 {
	if t.packed == nil || t.packed[slot].packing == Unpacked {
		return t.State[slot][lo:hi]
	}
	return w.packs.slots[slot][:hi-lo]
}

// reserve makes room for so many elements of a slot, whole blocks.
func (p *packRoom) reserve(slot, n int, hashes []float32) {
	room := make([]float32, max(n, tune.BlockLen))
	p.rooms[slot], p.blocks[slot] = room, nil
	for at := 0; at < len(room); at += tune.PackLen {
		p.blocks[slot] = append(p.blocks[slot], newPackBlock(room[at:][:tune.PackLen:tune.PackLen], hashes))
	}
}

// unpack makes float32 of the packed slots of elements lo to hi of a tensor, of which lo is
// where a block begins.
func (e *Engine) unpack(w *Worker, t *tensor, lo, hi int) {
	p := &w.packs
	n := roundUp(hi-lo, tune.PackLen)
	for j := range t.packed {
		s := &t.packed[j]
		if s.packing == Unpacked {
			continue
		}
		if len(p.rooms[j]) < n {
			p.reserve(j, n, e.hashes)
		}
		p.slots[j] = p.rooms[j][:n]
		for k := range n / tune.PackLen {
			s.load(e, w, lo/tune.PackLen+k, &p.blocks[j][k])
		}
	}
}

// pack packs what unpack has made float32 of, once it has been moved.
func (e *Engine) pack(w *Worker, t *tensor, lo int) {
	for j := range t.packed {
		if s := &t.packed[j]; s.packing != Unpacked {
			d := e.drawing(t, j)
			for k := range len(w.packs.slots[j]) / tune.PackLen {
				s.store(e, w, lo/tune.PackLen+k, &w.packs.blocks[j][k], j, d)
			}
		}
	}
}

// A drawing is what is random about two neighbouring slots of a tensor in a step.
type drawing uint64

// drawing is that of a slot and the one that it shares numbers with: how elements are rounded
// follows from the seed, the tensor, the slots, the number of the tensor's step and that of the
// element.
func (e *Engine) drawing(t *tensor, slot int) drawing {
	return e.drawingOf(e.packSeed, t, uint64(slot/2))
}

// drawingOf is that of a seed and a pair of slots.
func (e *Engine) drawingOf(seed uint64, t *tensor, pair uint64) drawing {
	return drawing(mixed(mixed(mixed(mixed(seed)^uint64(t.number))^pair) ^ uint64(e.step-t.missed)))
}

// at is that of a block: see fallback.Quantize.
func (d drawing) at(block int) (factor, add fallback.Mask) {
	mix := mixed(uint64(d) ^ uint64(block))
	return fallback.Mask(mix) | 1, fallback.Mask(mix >> 32)
}

// shareOf is which part of the numbers a slot has.
func shareOf(slot int) fallback.Mask { return 1 << (slot % 2 * 8) }

// units are what the numbers of a block's codes are multiplied by.
func (p *packed) units(block int) (list [quarters]float32) {
	for k, s := range p.scales[block*quarters:][:quarters] {
		list[k] = s / p.most()
	}
	return list
}

// load makes float32 of a block.
func (p *packed) load(e *Engine, w *Worker, block int, b *packBlock) {
	n := p.packing.words()
	words := p.words[block*n:][:n]
	if p.packing == PackedBF16 {
		e.packers.widenBF16(e.table, b.x, bf16Of(words))
		return
	}
	c, units := &w.packs.dequantize, p.units(block)
	c.Unit0, c.Unit1, c.Unit2, c.Unit3 = units[0], units[1], units[2], units[3]
	c.Offset, c.Least, c.Signs = p.offset(), fallback.Mask(math.Float32bits(p.least())), p.signs()
	b.codes[0] = words
	e.packers.dequantize(e.table, b.dequantize, c)
}

// store packs a block.
func (p *packed) store(e *Engine, w *Worker, block int, b *packBlock, slot int, d drawing) {
	n := p.packing.words()
	words := p.words[block*n:][:n]
	if p.packing == PackedBF16 {
		c := &w.packs.bf16
		c.Part = shareOf(slot)
		c.Factor, c.Add = d.at(block)
		e.packers.quantizeBF16(e.table, bf16Of(words), b.x, e.hashes, c)
		return
	}
	c, scales := &w.packs.quantize, p.scales[block*quarters:][:quarters]
	*c = fallback.QuantizeScalars{Offset: p.offset(), Least: p.least(), Signs: p.signs(), Part: shareOf(slot)}
	c.Factor, c.Add = d.at(block)
	e.packers.rowMost(e.table, scales, b.x, e.hashes[:quarter])
	inverses := &w.packs.inverses[0]
	e.invert(inverses, b.x, scales, p.most())
	c.Inverse0, c.Inverse1, c.Inverse2, c.Inverse3 = inverses[0], inverses[1], inverses[2], inverses[3]
	b.words[0] = words
	e.packers.quantize(e.table, b.quantize, c)
}

// bf16Of are words of two BF16 each.
func bf16Of(words []float32) []kernels.BF16 {
	return unsafe.Slice((*kernels.BF16)(unsafe.Pointer(unsafe.SliceData(words))), 2*len(words))
}

// inverseFor is most/(the largest magnitude of x), rounded down: what it times that is, rounded, is at
// most most, so that no number has a code above the largest. Where that would be no normal number, x is
// multiplied by a power of 2 first.
func inverseFor(x []float32, largest, most float32) (inverse float32) {
	if largest == 0 {
		return 0
	}
	if up := float32(0x1p40); largest < 0x1p-100 || largest > 0x1p100 {
		if largest > 1 {
			up = 0x1p-40
		}
		for i := range x {
			x[i] *= up
		}
		largest *= up
	}
	inverse = most / largest
	bits := math.Float32bits(inverse)
	if float64(inverse)*float64(largest) > float64(most) { // which is exact, and no processor foresees it
		bits--
	}
	return math.Float32frombits(bits)
}

// invert makes inverses of the largest magnitudes of a block's parts. Infinite elements, which would
// leave nothing of the others, become zeros, and NaN has the code 0 once it is packed.
func (e *Engine) invert(inverses *[quarters]float32, x, scales []float32, most float32) {
	for k := range inverses {
		part := x[k*quarter:][:quarter]
		if scales[k] > math.MaxFloat32 {
			for i := range part {
				if math.IsInf(float64(part[i]), 0) {
					part[i] = 0
				}
			}
			e.packers.rowMost(e.table, scales[k:k+1], part, e.hashes[:quarter])
		}
		inverses[k] = inverseFor(part, scales[k], most)
	}
}

// pairsUp reports whether the pass over a block packs both slots of a tensor itself.
func (e *Engine) pairsUp(g *group, t *tensor, n int, of blockOf) bool {
	if g.paired.run == nil || t.packed == nil || n != tune.PackLen || of.counts || of.flushes && g.penalized() || g.cautious() {
		return false
	}
	return t.packed[0].packing == PackedFloat8 && t.packed[1].packing == PackedFloat8
}

// runPair runs the pass over a whole block from element lo on, whose slots are packed together.
func (e *Engine) runPair(w *Worker, t *tensor, lo int, p, grad []float32) {
	g, r, block := &e.groups[t.Rule], &w.packs, lo/tune.PackLen
	b := &r.pairing
	b.p, b.g = p, grad
	for j := range b.x {
		if len(r.rooms[j]) == 0 {
			r.reserve(j, tune.PackLen, e.hashes)
		}
		b.words[j], b.x[j] = t.packed[j].words[block*quarter:][:quarter], r.rooms[j][:tune.PackLen]
		b.scales[j] = t.packed[j].units(block)
	}
	g.paired.run(g.call(t, 0), e.table, b)
	if r.flushes {
		r.slots[0], r.slots[1] = b.x[0], b.x[1]
		g.flush(e.table, w, t, lo, lo+len(p), p, grad)
		for j := range b.x {
			e.packers.rowMost(e.table, b.scales[j][:], b.x[j], e.hashes[:quarter])
		}
	}
	for j := range b.x {
		e.invert(&r.inverses[j], b.x[j], b.scales[j][:], t.packed[j].most())
		copy(t.packed[j].scales[block*quarters:], b.scales[j][:])
	}
	r.pair.Factor, r.pair.Add = r.drawing.at(block)
	e.packers.quantizePair(e.table, b.words[0], b.words[1], b.x[0], b.x[1], e.hashes, r.inverses[0][:], r.inverses[1][:], &r.pair)
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
	e.packers = packers{kernels.Quantize, kernels.Dequantize, kernels.QuantizeBF16, kernels.WidenBF16, kernels.QuantizePair, kernels.RowMost}
	e.HashPlaces()
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
			x = e.loadAll(w, t, j)
		}
		if t.State[j], t.packed[j] = x, (packed{}); want != Unpacked {
			t.State[j], t.packed[j] = nil, newPacked(want, !s.Square, t.Size, 2+j)
			e.storeAll(w, t, j, x)
		}
	}
	if !some {
		t.packed = nil
	}
}

// whole is a block for what is packed or unpacked between steps.
func (e *Engine) whole(w *Worker) *packBlock {
	if b := &w.packs.one; b.x == nil {
		*b = newPackBlock(make([]float32, tune.PackLen), e.hashes)
	}
	return &w.packs.one
}

// storeAll packs all of a slot.
func (e *Engine) storeAll(w *Worker, t *tensor, slot int, x []float32) {
	b, d := e.whole(w), e.drawing(t, slot)
	for at := 0; at < len(x); at += tune.PackLen {
		clear(b.x[copy(b.x, x[at:]):])
		t.packed[slot].store(e, w, at/tune.PackLen, b, slot, d)
	}
}

// loadAll unpacks all of a slot.
func (e *Engine) loadAll(w *Worker, t *tensor, slot int) []float32 {
	b, x := e.whole(w), Alloc(t.Size, 1)[0]
	for at := 0; at < len(x); at += tune.PackLen {
		t.packed[slot].load(e, w, at/tune.PackLen, b)
		copy(x[at:], b.x)
	}
	return x
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
	return codes, append([]float32(nil), p.scales[:scalesOf(t.Size)]...)
}

// scalesOf is how many scales a tensor has: of the rest of its last block there is none.
func scalesOf(n int) int { return (n + tune.ScaleLen - 1) / tune.ScaleLen }

// codeAt is where the code of an element is: its word and the bits before it.
func codeAt(i int) (word, shift int) {
	return i/tune.PackLen*quarter + i%quarter, i % tune.PackLen / quarter * 8
}

// LoadCodes copies what Codes has made.
func (e *Engine) LoadCodes(tensor, slot int, codes []uint8, scales []float32) {
	p := &e.tensors[tensor].packed[slot]
	clear(p.words)
	clear(p.scales)
	copy(p.scales, scales)
	for i, c := range codes {
		word, shift := codeAt(i)
		p.words[word] = math.Float32frombits(math.Float32bits(p.words[word]) | uint32(c)<<shift)
	}
}

// Halves are the elements of a slot PackedBF16, a copy.
func (e *Engine) Halves(tensor, slot int) []kernels.BF16 {
	t := &e.tensors[tensor]
	return append([]kernels.BF16(nil), bf16Of(t.packed[slot].words)[:t.Size]...)
}

// LoadHalves copies what Halves has made.
func (e *Engine) LoadHalves(tensor, slot int, list []kernels.BF16) {
	p := &e.tensors[tensor].packed[slot]
	clear(p.words)
	copy(bf16Of(p.words), list)
}
