package main

import (
	"math"
	"slices"

	"github.com/lockstep-go/lockstep/bench/yardstick"
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/kernels"
)

// An op is a kernel as it is timed.
type op struct {
	name string
	pattern
	bind  binder
	tuned func(b streams) // nil where the reference takes its place
	main  bool            // timed without -full
}

// A binder makes a call of a kernel on streams, through its safe function: what is
// checked of buffers is checked once, as by all who step more than once.
type binder func(t kernels.Table, b streams, buffers int) func()

// call is the op's call on streams.
func (o *op) call(t kernels.Table, b streams) func() { return o.bind(t, b, o.buffers) }

// alone, with, adding and both bind kernels without scalars, with some, and with sums.
func alone(kernel func(kernels.Table, *kernels.List)) binder {
	return func(t kernels.Table, b streams, n int) func() {
		list := kernels.NewList(n, b[:n])
		return func() { kernel(t, list) }
	}
}

func with[C any](kernel func(kernels.Table, *kernels.List, *C), c *C) binder {
	return alone(func(t kernels.Table, list *kernels.List) { kernel(t, list, c) })
}

func adding[C, S any](kernel func(kernels.Table, *kernels.List, *C, *S), c *C, sum *S) binder {
	return alone(func(t kernels.Table, list *kernels.List) { kernel(t, list, c, sum) })
}

func both[C any](kernel func(kernels.Table, *kernels.List, *C, *[fallback.Lanes]float64, *[fallback.Lanes]float64), c *C) binder {
	return alone(func(t kernels.Table, list *kernels.List) { kernel(t, list, c, &lanes, &lanes2) })
}

func summing[S any](kernel func(kernels.Table, *kernels.List, *S), sum *S) binder {
	return alone(func(t kernels.Table, list *kernels.List) { kernel(t, list, sum) })
}

// streams are the buffers of a call, in the order of the kernel's parameters, a row of
// a matrix, and room for the parts of a call.
type streams [][]float32

// A pattern is what an op loads and stores.
type pattern struct {
	name    string
	buffers int                                 // as long as the op
	moved   int                                 // bytes for each element: its loads and its stores
	inPlace bool                                // what is stored is loaded too
	limit   func(y *yardstick.Table, b streams) // nil where no yardstick does the same
}

// parts calls f for parts of the first streams that are short enough for one call.
func (b streams) parts(buffers int, f func(list [][]float32)) {
	part := b[last+1:][:buffers]
	yardstick.Parts(len(b[0]), func(i, j int) {
		for k := range part {
			part[k] = b[k][i:j]
		}
		f(part)
	})
}

// rowLen is the number of columns of the matrices that are timed.
const rowLen = 256

var (
	flip     = pattern{"flip", 1, 8, true, func(y *yardstick.Table, b streams) { b.parts(1, y.Flip) }}
	update1  = pattern{"update1", 2, 12, true, func(y *yardstick.Table, b streams) { b.parts(2, y.Update1) }}
	update2  = pattern{"update2", 3, 20, true, func(y *yardstick.Table, b streams) { b.parts(3, y.Update2) }}
	update3  = pattern{"update3", 4, 28, true, func(y *yardstick.Table, b streams) { b.parts(4, y.Update3) }}
	update4  = pattern{"update4", 5, 36, true, func(y *yardstick.Table, b streams) { b.parts(5, y.Update4) }}
	oneToOne = pattern{"one to one", 2, 8, false, func(y *yardstick.Table, b streams) { b.parts(2, y.Copy) }}
	twoToTwo = pattern{"two to two", 4, 16, false, func(y *yardstick.Table, b streams) { b.parts(4, y.JoinTwo) }}
	twoToOne = pattern{"two to one", 3, 12, false, func(y *yardstick.Table, b streams) { b.parts(3, y.Join) }}
	rankOne  = pattern{"rank one", 1, 4, true, func(y *yardstick.Table, b streams) {
		rowParts(b[0], func(x []float32) { y.Rows(b[last][:rowLen], x, b[last][rowLen:][:len(x)/rowLen]) })
	}}

	// No yardstick has so many.
	update5      = pattern{"update5", 6, 44, true, nil}
	threeToOne   = pattern{"three to one", 4, 16, false, nil}
	threeToTwo   = pattern{"three to two", 5, 20, false, nil}
	fourToTwo    = pattern{"four to two", 6, 24, false, nil}
	threeToThree = pattern{"three to three", 6, 24, false, nil}
	weighed      = pattern{"weighed", 3, 20, true, nil}
	focused      = pattern{"focused", 5, 28, true, nil}
	fourToOne    = pattern{"four to one", 5, 20, false, nil}

	// Reductions keep what they read in lanes of their own, and the passes of LAMB and
	// Adafactor, and Cautious, store a part of their buffers.
	read      = pattern{"read", 1, 4, false, nil}
	readGrad  = pattern{"read gradient", 2, 4, false, nil}
	readTwo   = pattern{"read two", 2, 8, false, nil}
	moments   = pattern{"moments", 4, 24, true, nil}
	parameter = pattern{"parameter", 3, 16, true, nil}
)

// Conversions have a buffer of fewer bytes an element.
var (
	widened  = pattern{"widened", 2, 6, false, nil}
	narrowed = pattern{"narrowed", 2, 6, false, nil}

	quantized     = pattern{"quantized", 2, 6, false, nil} // with the numbers of places
	dequantized   = pattern{"dequantized", 2, 5, false, nil}
	quantizedBF16 = pattern{"quantized to two", 2, 8, false, nil}
	quantizedPair = pattern{"quantized pair", 2, 16, false, nil} // words have other codes before

	widenedTwo  = pattern{"widened from two", 2, 8, false, nil}
	narrowedTwo = pattern{"narrowed to two", 2, 8, false, nil}
)

// Steps along gradients of BF16 that leave a copy of the parameters are bound with both.
var (
	fused1 = pattern{"fused update1", 3, 20, true, nil}
	fused2 = pattern{"fused update2", 4, 28, true, nil}
)

// Those that leave none, on float32, on halves and with moments of BF16.
var (
	along2   = pattern{"update2 along bfloat16", 4, 26, true, nil}
	halved2  = pattern{"update2 of halves", 4, 26, true, nil}
	rounded2 = pattern{"update2 of bfloat16", 4, 18, true, nil}
	coded2   = pattern{"update2 of 8 bits", 4, 22, true, nil} // which are left as float32
	codedBy2 = pattern{"update2 of 8 bits along bfloat16", 4, 20, true, nil}
)

func fusedOne[C any](kernel func(kernels.Table, []float32, []kernels.BF16, []float32, []kernels.BF16, *C), name string) binder {
	c := scalarsOf[C](name)
	return func(t kernels.Table, b streams, _ int) func() {
		g, h := halves(t, b[1]), make([]kernels.BF16, len(b[0]))
		return func() { kernel(t, b[0], g, b[2], h, c) }
	}
}

func fusedTwo[C any](kernel func(kernels.Table, []float32, []kernels.BF16, []float32, []float32, []kernels.BF16, *C), name string) binder {
	c := scalarsOf[C](name)
	return func(t kernels.Table, b streams, _ int) func() {
		g, h := halves(t, b[1]), make([]kernels.BF16, len(b[0]))
		return func() { kernel(t, b[0], g, b[2], b[3], h, c) }
	}
}

// quantize packs the second stream into a word of each fourth of it, and dequantize makes the
// first of these again.
func quantize(t kernels.Table, b streams, _ int) func() {
	list := packedList(make([]float32, len(b[1])/4), b[1], true)
	return func() { kernels.Quantize(t, list, &quantizeC) }
}

func dequantize(t kernels.Table, b streams, _ int) func() {
	q := make([]float32, len(b[1])/4)
	kernels.Quantize(t, packedList(q, b[1], true), &quantizeC)
	list := packedList(q, b[0], false)
	return func() { kernels.Dequantize(t, list, &dequantizeC) }
}

// packedList has the words, the fourths, and to pack them the numbers of places.
func packedList(q, x []float32, numbered bool) *kernels.List {
	n := len(q)
	buffers := [][]float32{q, x[:n], x[n:][:n], x[2*n:][:n], x[3*n:][:n]}
	if numbered {
		h := hashes(4 * n)
		buffers = append(buffers, h[:n], h[n:][:n], h[2*n:][:n], h[3*n:])
	}
	return kernels.NewList(len(buffers), buffers)
}

// quantizePair packs both streams, of four rows each.
func quantizePair(t kernels.Table, b streams, _ int) func() {
	n := len(b[0]) / 4
	mq, vq, h, inverses := make([]float32, n), make([]float32, n), hashes(4*n), []float32{1, 1, 1, 1}
	c := &fallback.QuantizePairScalars{Factor: quantizeC.Factor, Add: quantizeC.Add}
	return func() { kernels.QuantizePair(t, mq, vq, b[0], b[1], h, inverses, inverses, c) }
}

// coded is what the steps of four rows take whose moments are zeros in words.
type coded struct {
	ms, vs, up, mq, vq []float32
	scalars            *fallback.AdamScalars
}

func codedOf(n int) coded {
	return coded{make([]float32, 4), make([]float32, 4), []float32{1, 1, 1, 1}, make([]float32, n/4), make([]float32, n/4), scalarsOf[fallback.AdamScalars](adamW)}
}

func adamStateFloat8(t kernels.Table, b streams, _ int) func() {
	c := codedOf(len(b[0]))
	return func() { kernels.AdamStateFloat8(t, b[0], b[1], b[2], b[3], c.ms, c.vs, c.up, c.mq, c.vq, c.scalars) }
}

func adamGradBF16StateFloat8(t kernels.Table, b streams, _ int) func() {
	c, g := codedOf(len(b[0])), halves(t, b[1])
	return func() {
		kernels.AdamGradBF16StateFloat8(t, b[0], g, b[2], b[3], c.ms, c.vs, c.up, c.mq, c.vq, c.scalars)
	}
}

// rowMost finds the largest magnitudes of four rows.
func rowMost(t kernels.Table, b streams, _ int) func() {
	most, w := make([]float32, 4), make([]float32, len(b[0])/4)
	return func() { kernels.RowMost(t, most, b[0], w) }
}

// quantizeBF16 rounds the second stream.
func quantizeBF16(t kernels.Table, b streams, _ int) func() {
	q, h := make([]kernels.BF16, len(b[1])), hashes(len(b[1]))
	return func() { kernels.QuantizeBF16(t, q, b[1], h, &quantizeBF16C) }
}

// hashes are those of so many places.
func hashes(n int) []float32 {
	h := make([]float32, n)
	fallback.HashPlaces(h)
	return h
}

// halves is a stream in BF16.
func halves(t kernels.Table, x []float32) []kernels.BF16 {
	h := make([]kernels.BF16, len(x))
	kernels.NarrowBF16(t, h, x)
	return h
}

// widening and narrowing bind kernels that convert the second stream, which is narrowed
// before or in each call.
func widening[T any](narrow func(kernels.Table, []T, []float32), kernel func(kernels.Table, []float32, []T)) binder {
	return func(t kernels.Table, b streams, _ int) func() {
		h := make([]T, len(b[0]))
		narrow(t, h, b[1])
		return func() { kernel(t, b[0], h) }
	}
}

func narrowing[T any](kernel func(kernels.Table, []T, []float32)) binder {
	return func(t kernels.Table, b streams, _ int) func() {
		h := make([]T, len(b[0]))
		return func() { kernel(t, h, b[1]) }
	}
}

// last is the stream after those of any op: a row, and an element for each row.
const last = 6

// row and perRow are what a matrix is multiplied with.
func (b streams) row() []float32    { return b[last][:rowLen] }
func (b streams) perRow() []float32 { return b[last][rowLen:][:len(b[0])/rowLen] }

// rowParts calls f for parts of a matrix.
func rowParts(x []float32, f func(x []float32)) {
	yardstick.Parts(len(x), func(i, j int) { f(x[i:j]) })
}

// Those of them that loops beside the kernels have too.
var (
	sgdC      = scalarsOf[fallback.SGDScalars]("SGD")
	momentumC = scalarsOf[fallback.MomentumScalars]("Momentum")
	adaGradC  = scalarsOf[fallback.AdaGradScalars]("AdaGrad")
	adamC     = scalarsOf[fallback.AdamScalars](adamW)
)

// scalarsOf are those that the registry times a kernel with.
func scalarsOf[C any](name string) *C {
	for _, e := range registry.All() {
		for _, k := range e.Timed {
			if k.Name == name {
				return k.Scalars.(*C)
			}
		}
	}
	panic("no kernel " + name)
}

// tunedLoops are the loops of tuned.go, by kernel.
var tunedLoops = map[string]func(b streams){
	"SGD":      func(b streams) { tunedSGD(b[0], b[1], sgdC) },
	"Momentum": func(b streams) { tunedMomentum(b[0], b[1], b[2], momentumC) },
	"AdaGrad":  func(b streams) { tunedAdaGrad(b[0], b[1], b[2], adaGradC) },
	adamW:      func(b streams) { tunedAdam(b[0], b[1], b[2], b[3], adamC) },
}

// steps are the kernels of optimizers, as the registry has them.
func steps() []op {
	byBuffers := map[int]pattern{2: update1, 3: update2, 4: update3, 5: update4, 6: update5}
	apart := map[string]pattern{"Adafactor": parameter, "AdafactorMove": parameter, "AdafactorMomentum": moments,
		"LAMB": moments, "StableAdamW": moments, "LAMBMove": parameter, "TensorNorms": readTwo, "GradNorm": readGrad} // which store a part of theirs
	var list []op
	for _, e := range registry.All() {
		for _, k := range e.Timed {
			p, ok := apart[k.Name]
			if !ok {
				p = byBuffers[k.Buffers]
			}
			list = append(list, op{k.Name, p, alone(k.Run), tunedLoops[k.Name], !k.Full})
		}
	}
	return list
}

var (
	logitsC  = fallback.BCEWithLogitsScalars{Scale: 1, Positive: 1, LabelScale: 1}
	hingeC   = fallback.HingeScalars{Scale: 1, LabelScale: 2, LabelShift: -1}
	bceC     = fallback.BCEScalars{Scale: 1, LabelScale: 1}
	oneC     = fallback.MSEScalars{Scale: 1}
	huberC   = fallback.HuberScalars{Scale: 1, Limit: .5, Slope: 1, Ceiling: .5, Up: 1, Down: 1}
	coshC    = fallback.LogCoshScalars{Scale: 1}
	poissonC = fallback.PoissonNLLScalars{Scale: 1, Above: 1}
	normalC  = fallback.GaussianNLLScalars{Scale: 1, Least: 1e-6, LogLeast: -13.8}
	klC      = fallback.KLDivergenceScalars{Scale: 1}
	focalC   = fallback.FocalScalars{Scale: 1, AlphaYes: 1, AlphaNo: 1} // which leaves what it has
	penaltyC = fallback.PenaltyScalars{L2: 1e-9, L1: 1e-9}
	regularC = fallback.RegularizeScalars{Scale: 1, L2: 1e-3, L1: 1e-3}
	clipC    = fallback.ClipScalars{Part: 1, Scale: 1, Limit: .5}
	add2C    = fallback.Add2Scalars{Scale1: 1, Scale2: 1}
	add3C    = fallback.Add3Scalars{Scale1: 1, Scale2: 1, Scale3: 1}
	add4C    = fallback.Add4Scalars{Scale1: 1, Scale2: 1, Scale3: 1, Scale4: 1}
	sumC     = fallback.AccumulateScalars{Scale: 1e-9}
	centerC  = fallback.CenterScalars{Mean: 1e-3}
	noiseC   = fallback.NoiseScalars{Std: 1e-9}

	// Of numbers with signs, of which the largest is 1.
	quantizeC     = fallback.QuantizeScalars{Inverse0: 1, Inverse1: 1, Inverse2: 1, Inverse3: 1, Offset: fallback.SignedLeast, Least: fallback.SignedLeast, Signs: 1 << 31, Factor: 1, Part: 1}
	dequantizeC   = fallback.DequantizeScalars{Unit0: 1, Unit1: 1, Unit2: 1, Unit3: 1, Offset: fallback.SignedLeast, Least: fallback.Mask(math.Float32bits(fallback.SignedLeast)), Signs: 1 << 31}
	quantizeBF16C = fallback.QuantizeBF16Scalars{Factor: 1, Part: 1}

	averageC  = fallback.AverageScalars{Weight: 1e-3}
	agreeC    = fallback.AgreeScalars{Scale: 1}
	cautiousC = fallback.CautiousScalars{Scale: 1, Trust: 1e-9, Decay: 1e-9}
	shrinkC   = fallback.ShrinkScalars{Threshold: 1e-9, Shrink: 1}
	fadeC     = fallback.FadeScalars{Scale: 1, Drop: fallback.DropSubnormal, Small: fallback.DropSmall}
	flushC    = fallback.FlushScalars{Small: fallback.DropSmall}
	beyondC   = fallback.CountBeyondScalars{Limit: 1e30}

	targetsC          = fallback.RowTargetsScalars{Keep: 1}
	squaresC          = fallback.AdafactorSquaresScalars{Scale: 1e-9, Root: 1}
	factoredC         = fallback.AdafactorFactoredScalars{Scale: 1, Drop: fallback.DropSubnormal, Most: 1}
	factoredMoveC     = fallback.AdafactorFactoredMoveScalars{Scale: 1, Drop: fallback.DropSubnormal, Most: 1, Step: 1e-9}
	factoredMomentumC = fallback.AdafactorFactoredMomentumScalars{Scale: 1, Drop: fallback.DropSubnormal, Most: 1, Step: 1e-9, Weight1: .1}

	// What reductions add to: no one reads it.
	lanes, lanes2 [fallback.Lanes]float64
	peaks         [fallback.Lanes]float32
)

// ops lists the kernels that are timed, by what they are for.
var ops = append(steps(), []op{
	{"Regularize", twoToOne, with(kernels.Regularize, &regularC), nil, false},
	{"Clip", oneToOne, with(kernels.Clip, &clipC), nil, false},
	{"Add2", twoToOne, with(kernels.Add2, &add2C), nil, false},
	{"Add3", threeToOne, with(kernels.Add3, &add3C), nil, false},
	{"Add4", fourToOne, with(kernels.Add4, &add4C), nil, false},
	{"Accumulate", update1, with(kernels.Accumulate, &sumC), nil, false},
	{"Center", oneToOne, with(kernels.Center, &centerC), nil, false},
	{"Noise", update1, with(kernels.Noise, &noiseC), nil, false},
	{"Average", update1, with(kernels.Average, &averageC), nil, false},
	{"Agree", readTwo, adding(kernels.Agree, &agreeC, &lanes), nil, false},
	{"Cautious", parameter, with(kernels.Cautious, &cautiousC), nil, false},
	{"Shrink", flip, with(kernels.Shrink, &shrinkC), nil, false},
	{"Fade", update1, with(kernels.Fade, &fadeC), nil, false},
	{"Flush", flip, with(kernels.Flush, &flushC), nil, false},
	{"Penalty", update1, both(kernels.Penalty, &penaltyC), nil, false},

	{"MSE", twoToTwo, adding(kernels.MSE, &oneC, &lanes), nil, true},
	{"BCEWithLogits", twoToTwo, adding(kernels.BCEWithLogits, &logitsC, &lanes), nil, true},
	{"BCE", twoToTwo, adding(kernels.BCE, &bceC, &lanes), nil, false},
	{"BCEClip", twoToTwo, adding(kernels.BCEClip, &bceC, &lanes), nil, false},
	{"Hinge", twoToTwo, adding(kernels.Hinge, &hingeC, &lanes), nil, true},
	{"SquaredHinge", twoToTwo, adding(kernels.SquaredHinge, &hingeC, &lanes), nil, false},

	{"Huber", twoToTwo, adding(kernels.Huber, &huberC, &lanes), nil, false},
	{"LogCosh", twoToTwo, adding(kernels.LogCosh, &coshC, &lanes), nil, false},
	{"PoissonNLL", fourToTwo, adding(kernels.PoissonNLL, &poissonC, &lanes), nil, false},
	{"GaussianNLL", threeToThree, func(t kernels.Table, b streams, n int) func() { // the variances for their logarithms
		list := kernels.NewList(n+1, [][]float32{b[0], b[1], b[2], b[3], b[4], b[5], b[5]})
		return func() { kernels.GaussianNLL(t, list, &normalC, &lanes) }
	}, nil, false},
	{"KLDivergence", threeToTwo, adding(kernels.KLDivergence, &klC, &lanes), nil, false},
	{"FocalParts", twoToTwo, alone(kernels.FocalParts), nil, false},
	{"Focal", focused, adding(kernels.Focal, &focalC, &lanes), nil, false},
	{"Weigh", weighed, func(t kernels.Table, b streams, n int) func() {
		list := kernels.NewList(n, [][]float32{b[0], b[1], slices.Repeat([]float32{1}, len(b[0]))})
		return func() { kernels.Weigh(t, list, &lanes) }
	}, nil, false},

	{"Exp", oneToOne, alone(kernels.Exp), inFloat64(math.Exp), true},
	{"Expm1", oneToOne, alone(kernels.Expm1), inFloat64(math.Expm1), false},
	{"Log", oneToOne, alone(kernels.Log), inFloat64(math.Log), true},
	{"Log1p", oneToOne, alone(kernels.Log1p), inFloat64(math.Log1p), true},
	{"Sigmoid", oneToOne, alone(kernels.Sigmoid), inFloat64(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }), true},
	{"Softplus", oneToOne, alone(kernels.Softplus), inFloat64(func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }), false},
	{"Tanh", oneToOne, alone(kernels.Tanh), inFloat64(math.Tanh), true},
	{"Sqrt", oneToOne, alone(kernels.Sqrt), nil, false},

	{"WidenBF16", widened, widening(kernels.NarrowBF16, kernels.WidenBF16), nil, false},
	{"WidenF16", widened, widening(kernels.NarrowF16, kernels.WidenF16), nil, false},
	{"NarrowBF16", narrowed, narrowing(kernels.NarrowBF16), nil, false},
	{"NarrowF16", narrowed, narrowing(kernels.NarrowF16), nil, false},

	{"Quantize", quantized, quantize, nil, false},
	{"Dequantize", dequantized, dequantize, nil, false},
	{"QuantizeBF16", quantizedBF16, quantizeBF16, nil, false},
	{"QuantizePair", quantizedPair, quantizePair, nil, false},

	{"JoinBF16", widenedTwo, func(t kernels.Table, b streams, _ int) func() {
		h, r := make([]kernels.BF16, len(b[0])), make([]kernels.BF16, len(b[0]))
		kernels.SplitBF16(t, h, r, b[1])
		return func() { kernels.JoinBF16(t, b[0], h, r) }
	}, nil, false},
	{"SplitBF16", narrowedTwo, func(t kernels.Table, b streams, _ int) func() {
		h, r := make([]kernels.BF16, len(b[0])), make([]kernels.BF16, len(b[0]))
		return func() { kernels.SplitBF16(t, h, r, b[1]) }
	}, nil, false},

	{"AdamBF16", fused2, fusedTwo(kernels.AdamBF16, adamW), nil, false},
	{"AdamGradBF16", along2, func(t kernels.Table, b streams, _ int) func() {
		g, c := halves(t, b[1]), scalarsOf[fallback.AdamScalars](adamW)
		return func() { kernels.AdamGradBF16(t, b[0], g, b[2], b[3], c) }
	}, nil, false},
	{"AdamSplitBF16", halved2, func(t kernels.Table, b streams, _ int) func() {
		h, r, g, c := halves(t, b[0]), make([]kernels.BF16, len(b[0])), halves(t, b[1]), scalarsOf[fallback.AdamScalars](adamW)
		return func() { kernels.AdamSplitBF16(t, h, r, g, b[2], b[3], c) }
	}, nil, false},
	{"AdamStateBF16", rounded2, func(t kernels.Table, b streams, _ int) func() {
		g, m, v, h := halves(t, b[1]), halves(t, b[2]), halves(t, b[3]), hashes(len(b[0]))
		c := &fallback.AdamStateBF16Scalars{AdamScalars: *scalarsOf[fallback.AdamScalars](adamW)}
		return func() { kernels.AdamStateBF16(t, b[0], g, m, v, h, c) }
	}, nil, false},
	{"AdamStateFloat8", coded2, adamStateFloat8, nil, false},
	{"AdamGradBF16StateFloat8", codedBy2, adamGradBF16StateFloat8, nil, false},
	{"MomentumBF16", fused1, fusedOne(kernels.MomentumBF16, "Momentum"), nil, false},
	{"LionBF16", fused1, fusedOne(kernels.LionBF16, "Lion"), nil, false},
	{"AdaGradBF16", fused1, fusedOne(kernels.AdaGradBF16, "AdaGrad"), nil, false},

	{"SumSquares", read, summing(kernels.SumSquares, &lanes), nil, true},
	{"Sum", read, summing(kernels.Sum, &lanes), nil, false},
	{"SumAbs", read, summing(kernels.SumAbs, &lanes), nil, false},
	{"MaxAbs", read, summing(kernels.MaxAbs, &peaks), nil, false},
	{"RowMost", read, rowMost, nil, false},
	{"CountBeyond", read, adding(kernels.CountBeyond, &beyondC, &lanes), nil, false},

	{"Dots", read, func(t kernels.Table, b streams, _ int) func() {
		return func() { kernels.Dots(t, b.perRow(), b[0], b.row()) }
	}, nil, true},
	{"RankOne", rankOne, func(t kernels.Table, b streams, _ int) func() {
		return func() { kernels.RankOne(t, b.row(), b[0], b.perRow()) }
	}, nil, true},

	{"RowMax", read, func(t kernels.Table, b streams, _ int) func() {
		return func() { kernels.RowMax(t, b.perRow(), b[0], b.row()) }
	}, nil, false},
	{"RowExp", oneToOne, func(t kernels.Table, b streams, _ int) func() {
		most := make([]float32, len(b.perRow()))
		for i := range most {
			most[i] = 8
		}
		return func() { kernels.RowExp(t, b[0], b[1], most, b.perRow(), b.row()) }
	}, nil, false},
	{"RowScale", flip, func(t kernels.Table, b streams, _ int) func() {
		return func() { kernels.RowScale(t, b[0], b.perRow(), b.perRow(), b.row()) }
	}, nil, false},
	{"RowTargets", readTwo, func(t kernels.Table, b streams, _ int) func() {
		cost, most := make([]float32, len(b.perRow())), make([]float32, len(b.perRow()))
		return func() { kernels.RowTargets(t, b.perRow(), cost, b[0], b[1], most, b.row(), &targetsC) }
	}, nil, false},
	{"RowTargetsScale", update1, func(t kernels.Table, b streams, _ int) func() {
		return func() {
			kernels.RowTargetsScale(t, b[0], b[1], b.perRow(), b.perRow(), b.perRow(), b.row())
		}
	}, nil, false},

	{"AdafactorSquares", read, func(t kernels.Table, b streams, _ int) func() {
		return func() { kernels.AdafactorSquares(t, b.perRow(), b[0], b.row(), &squaresC) }
	}, nil, true},
	{"AdafactorFactored", readTwo, func(t kernels.Table, b streams, _ int) func() {
		return func() { kernels.AdafactorFactored(t, b[0], b[1], b.perRow(), b.row(), &factoredC, &lanes, &lanes2) }
	}, nil, true},
	{"AdafactorFactoredMove", update1, func(t kernels.Table, b streams, _ int) func() {
		return func() { kernels.AdafactorFactoredMove(t, b[0], b[1], b.perRow(), b.row(), &factoredMoveC) }
	}, nil, true},
	{"AdafactorFactoredMomentum", update2, func(t kernels.Table, b streams, _ int) func() {
		return func() {
			kernels.AdafactorFactoredMomentum(t, b[0], b[1], b[2], b.perRow(), b.row(), &factoredMomentumC)
		}
	}, nil, false},
}...)

// adamW is the name of the kernel Adam with a decay, as the tables show it.
const adamW = "AdamW"
