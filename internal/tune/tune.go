// Package tune is the table of the sizes at which the library changes what it does.
// The sizes were measured on Zen 4 with huge pages (caches of 32 KiB, 1 MiB and 32
// MiB): go run ./bench -speed shows what they come to on another machine. None
// changes a bit, but where that is said.
//
// Two things that others switch by size are the same at all sizes, because nothing
// was won. Kernels of float32 do not prefetch in the main loop: on Zen 4 from 1 to 8 KiB ahead gained
// nothing in memory, where the processor's own prefetch keeps up, and lost a fifth in
// L3; 512 bytes ahead gained AVX2 three in a hundred in memory and lost it as much in
// L3. Those of their own of the tables for Intel's processors do, which gain more in memory than
// lists of small tensors lose in the caches, a twentieth: see StreamAhead. And stores do not go past the caches: each line that is stored was loaded.
package tune

import "time"

// Calls of assembly.
const (
	// MaxLen is the most elements of a call: see kernels.MaxLen.
	MaxLen = 64 << 10

	// TensorLen is what a tensor of a list counts as at least, in elements: finding the
	// buffers of one in memory takes as long as so many. 64 Ki tensors of one element
	// took 4 ms in one call.
	TensorLen = 64

	// LongBody is the number of operations of a rule beyond which a vector is work
	// enough for an iteration of its kernel, on NEON two.
	LongBody = 26

	// FetchAhead is how many tensors ahead a list's kernel fetches buffers into the
	// cache, and FetchLines how many lines of each: the processor, which looks for
	// long streams, finds none in small tensors.
	FetchAhead = 6
	FetchLines = 4

	// StreamAhead is how many elements ahead a long kernel for one tensor fetches that converts
	// two buffers or more: AdamW with moments of BF16 and on halves of parameters was 1.1 times
	// as fast in memory on Zen 4, and that leaves a copy 1.07 times on a Xeon with AVX-512 (model
	// 167). Along a gradient of BF16 alone it was a tenth slower so on Zen 4. With moments of 8
	// bits, where the kernel that packs them runs in between and the processor's own prefetch
	// stops, it was 1.3 times as fast on Emerald Rapids, and as fast with 1024 or 2048; of their
	// words, two blocks ahead, 1.06 times on model 167, where 1024 of all was slower. There the
	// tables that take roots by Newton's iteration have it in all their kernels: AdamW and AdaGrad
	// were 1.1 to 1.5 times as fast in memory, functions and losses of elements 1.1 to 2.3 times and
	// in L3 up to 1.4, and in L1 and L2 as before.
	StreamAhead = 512
)

// RowsApart reports whether the rows of a matrix of so many elements are better handed
// to a kernel one by one. A processor foresees one stream of reads in a page. Rows
// that share a page and are walked side by side are several, which where the matrix is
// too large for the caches takes more than twice as long.
func RowsApart(elements, columns int) bool {
	const large, lines, page = 4 << 20, 128, 1024 // elements: beyond caches, of some lines, of a page
	return elements >= large && lines <= columns && columns < page
}

// Steps: what package engine cuts them into.
const (
	// SmallLen is the most elements of a tensor that shares a call with others:
	// beyond, a call is short beside its work.
	SmallLen = 4 << 10

	// UnitLen is the most elements that a worker takes at a time. Workers take units
	// as they come to them, so that one that loses its processor to another program
	// holds up one unit and not half of the step. The gradients' norm is added up unit
	// by unit: another value changes its bits.
	UnitLen = 16 << 10

	// UnitRows is the fewest rows of a unit, and RowUnits about the most units, of a matrix
	// that a kernel takes by rows: each unit has sums by column of its own, which are so
	// small beside the matrix. Other values change bits.
	UnitRows = 32
	RowUnits = 64

	// FactorRows is how many rows of a matrix' squares are added up by column as float32
	// before they are as float64, and FactorPiece the most columns of a row. Other values
	// change bits.
	FactorRows  = 256
	FactorPiece = 16 << 10

	// ParallelLen is the number of elements from which on a step is worth a second
	// goroutine: waking an idle processor takes some 100 microseconds.
	ParallelLen = 256 << 10

	// ApartLen is the same of a step that does not come soon after another, for which
	// helpers have to be woken: 256 Ki elements, 100 microseconds after the step before, took
	// 1.26 times the processor time of one worker on a Xeon with AVX10, 512 Ki 1.1 to 1.2 times.
	ApartLen = 512 << 10

	// ProductsPerElement is how many products of matrices take as long as an element of a
	// step: a product of 256 × 256 matrices is worth a second goroutine.
	ProductsPerElement = 64

	// Close is how soon after a step the next one has to begin so that helpers stay awake
	// for others like it. To wake one costs some 15 microseconds of processor time, and so
	// they are not worth a longer wait.
	Close = 20 * time.Microsecond

	// Patience is how many turns of the scheduler, each some 0.3 microseconds, a helper
	// stays awake after a step, and the caller for a helper to finish its last unit, before
	// either gives up its processor. Where others want the second processor, two workers
	// took 1.24 times the processor time of one with 300 turns, 1.4 times with 2000. Turns
	// and not time, because a clock can stand still.
	Patience = 100

	// BlockLen is the number of elements that the kernels around a rule's own share
	// while they are in the L1 cache: 2048 took 1.7 times as long on Zen 4, whose cache is
	// 32 KiB, and in memory 512 took 1.08 to 1.14 times as long on a Xeon with AVX10, where the
	// processor has to foresee the reads of each block anew.
	BlockLen = 1024

	// WidenLen is that of blocks of which gradients are made float32 and nothing else is done:
	// half as many took 1.0 to 1.2 times as long on a busy Xeon with AVX10, in the L2 cache and
	// in memory.
	WidenLen = 2 << 10

	// PackLen is the number of elements of a block of state of fewer bits, which share words
	// and are packed in one call, ScaleLen how many of a block have one scale. Other values
	// change bits.
	PackLen  = 1024
	ScaleLen = 256

	// ShardLen is that of blocks of which gradients are added up first: buffer after buffer,
	// each long enough for the processor to foresee its reads, and all within the L2 cache.
	// With 512 elements the sum of eight took three times as long; half as many took a
	// twentieth more on a Xeon with AVX10.
	ShardLen = 16 << 10
)

// Buffers of update.Alloc, and state.
const (
	// RoomLen is the most elements of a tensor of a set whose state lies beside that of
	// others: in memory of its own, at places of a page of its own, it would take up to a
	// fifth more. Larger ones take less than 1 in a hundred.
	RoomLen = 256 << 10

	// Line is a cache's line in bytes, Page what caches compare addresses within.
	Line = 64
	Page = 4 << 10

	// HugePage is the size of a huge page. Buffers of two or more are put on those that
	// fit into them, and from HugeLeast on begin with one, which may cost as much as a
	// fortieth more.
	HugePage  = 2 << 20
	HugeLeast = 40 * HugePage

	// Stagger is how far each buffer begins from the one before, beyond a multiple of
	// a page. Buffers at the same place of a page get in each other's way in caches of
	// few ways and where loads are checked against earlier stores. Seventeen lines
	// keep any four of them several lines apart.
	Stagger = 17 * Line
)

// LossBlock is the number of elements of a block that takes an output of a loss which
// nobody wants, where there is one such output LossAlone. With LossAlone a gradient without
// losses was a third faster, and a value alone, which wants neither, a tenth slower.
const (
	LossBlock = 2 << 10
	LossAlone = 2 * LossBlock
)

// LossBlocks is the most blocks of MaxLen elements of a loss that are shared at a time.
const LossBlocks = 1 << 10

// Linear models of package loss. All but LinearParallel say in which order a gradient
// is added up: another value changes bits.
const (
	// LinearBlock is the most elements of a block of rows, which is read twice: once
	// from memory and once from the L1 cache. The shorter it is, the sooner memory is
	// read again; at 8 KB the calls begin to cost as much.
	LinearBlock     = 2 << 10
	LinearBlockRows = 1024

	// LinearRunRows is how many rows are added as float32, if a block has not more.
	LinearRunRows = 256

	// LinearSegments is the most parts whose gradients are added at the end, each of at
	// least LinearSegmentRows rows, so that the parts are small beside x.
	LinearSegments    = 64
	LinearSegmentRows = 32

	// LinearLongRows is how many long rows make a block, which the kernels walk side
	// by side, as long as they are no more than LinearLong elements and stay in the L2
	// cache.
	LinearLongRows = 4
	LinearLong     = 128 << 10

	// LinearPiece is the most columns of a row that are added as float32; the sums of
	// a longer row's pieces are added as float64. Of 32 Ki columns added as float32 the
	// error was 1.56 times that of OpenBLAS, in two pieces 1.08 times.
	LinearPiece = 16 << 10

	// LinearParallel is the size of x from which on a second goroutine pays.
	LinearParallel = 1 << 20
)

// Losses of rows. RowBlock and RowPiece say in which order a row is added up: another value
// changes bits.
const (
	// RowBlock is the most elements of the rows, or pieces of a row, that go through all
	// kernels of a loss while they are in the L1 cache.
	RowBlock = 4 << 10

	// RowPiece is the number of elements of a piece of a row of more than RowBlock, so that
	// four are side by side. Pieces are added as float32, and their sums as float64.
	RowPiece = 1 << 10

	// RowGroup is the most rows of a block.
	RowGroup = 256

	// RowUnit is about the number of elements that a worker takes at a time, and RowParts the
	// most times: the losses of each are added up first.
	RowUnit  = 64 << 10
	RowParts = 256
)

// Softmax regression of package loss. SoftmaxRows says in which order losses are added up:
// another value changes bits.
const (
	// SoftmaxRows is how many rows a worker takes at a time: few enough that several share 256,
	// and enough for the tiles of a product to be whole but for the last.
	SoftmaxRows = 64

	// SoftmaxChunk is about the most elements of X and of logits between two additions to the
	// gradient, and SoftmaxChunkRows the most rows: they are to stay in the last cache, and
	// waiting for each other is to be little of what the workers do.
	SoftmaxChunk     = 1 << 20
	SoftmaxChunkRows = 4 << 10

	// SoftmaxFetch is the most elements of some rows that are read line by line first, into the
	// L2 cache: of 784 columns and 10 classes all took .7 times as long then.
	SoftmaxFetch = 128 << 10
)
