package main

import (
	"github.com/lockstep-go/lockstep/bench/yardstick"
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// An op is a kernel as it is timed.
type op struct {
	name string
	pattern
	call  func(t *kernels.Table, b streams) // through its safe method
	tuned func(b streams)                   // nil where the reference takes its place
	main  bool                              // timed without -full
}

// streams are the buffers of a call, in the order of the kernel's parameters.
type streams [][]float32

// A pattern is what an op loads and stores.
type pattern struct {
	buffers int  // as long as the op
	moved   int  // bytes for each element: its loads and its stores
	inPlace bool // what is stored is loaded too
	limit   func(y *yardstick.Table, b streams)
}

// rowLen is the number of columns of the matrices that are timed.
const rowLen = 256

var (
	flip = pattern{1, 8, true, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.Flip(b[0][i:j]) })
	}}
	update1 = pattern{2, 12, true, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.Update1(b[0][i:j], b[1][i:j]) })
	}}
	update2 = pattern{3, 20, true, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.Update2(b[0][i:j], b[1][i:j], b[2][i:j]) })
	}}
	update3 = pattern{4, 28, true, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.Update3(b[0][i:j], b[1][i:j], b[2][i:j], b[3][i:j]) })
	}}
	update4 = pattern{5, 36, true, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.Update4(b[0][i:j], b[1][i:j], b[2][i:j], b[3][i:j], b[4][i:j]) })
	}}
	oneToOne = pattern{2, 8, false, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.Copy(b[0][i:j], b[1][i:j]) })
	}}
	twoToOne = pattern{3, 12, false, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.Join(b[0][i:j], b[1][i:j], b[2][i:j]) })
	}}
	twoToTwo = pattern{4, 16, false, func(y *yardstick.Table, b streams) {
		yardstick.Parts(len(b[0]), func(i, j int) { y.JoinTwo(b[0][i:j], b[1][i:j], b[2][i:j], b[3][i:j]) })
	}}

	// Of a reduction the yardstick stores what it reads to a row of its own.
	read = pattern{1, 4, false, func(y *yardstick.Table, b streams) {
		rowParts(b[0], func(x []float32) { y.Read(b[last][:rowLen], x, b[last][rowLen:][:len(x)/rowLen]) })
	}}
	rows = pattern{1, 4, true, func(y *yardstick.Table, b streams) {
		rowParts(b[0], func(x []float32) { y.Rows(b[last][:rowLen], x, b[last][rowLen:][:len(x)/rowLen]) })
	}}
)

// last is the stream after those of any op: a row, and an element for each row.
const last = 5

// row and perRow are what a matrix is multiplied with.
func (b streams) row() []float32    { return b[last][:rowLen] }
func (b streams) perRow() []float32 { return b[last][rowLen:][:len(b[0])/rowLen] }

// rowParts calls f for parts of a matrix.
func rowParts(x []float32, f func(x []float32)) {
	yardstick.Parts(len(x), func(i, j int) { f(x[i:j]) })
}

// scalars are those of the steps of an optimizer, of which every 16th flushes small
// numbers: see KeepSubnormals in package update.
type scalars[T any] struct {
	usual, flushing T
	steps           int
}

func (s *scalars[T]) next() *T {
	if s.steps++; s.steps%16 == 0 {
		return &s.flushing
	}
	return &s.usual
}

// withFlushes are scalars with those of the 16th step.
func withFlushes[T any](usual T, flush func(c *T)) *scalars[T] {
	s := &scalars[T]{usual: usual, flushing: usual}
	flush(&s.flushing)
	return s
}

var small, squares, keepAll = fallback.FlushSmall, fallback.FlushSquares, fallback.KeepAll

// Steps are small, so that any number of them leaves ordinary numbers. AdamW lets
// parameters decay, the others do not: SGD and AdaGrad have nothing to flush then.
var (
	sgdC      = fallback.SGDScalars{Decay: 1, Step: 1e-8, Lasts: keepAll, Counts: small}
	momentumC = withFlushes(fallback.MomentumScalars{Beta: .9, Input: 1, Decay: 1, Step: 1e-9, Keep: keepAll, Lasts: keepAll, Counts: small},
		func(c *fallback.MomentumScalars) { c.Keep = small })
	nesterovC = withFlushes(fallback.NesterovScalars{Beta: .9, Input: 1, Decay: 1, Direct: 1e-9, Step: 1e-9, Keep: keepAll, Lasts: keepAll, Counts: small},
		func(c *fallback.NesterovScalars) { c.Keep = small })
	adaGradC = fallback.AdaGradScalars{Scale: 1, Eps: 1e-8, Decay: 1, Step: 1e-8, Lasts: keepAll, Counts: squares}
	adaProxC = fallback.AdaGradProxScalars{Scale: 1, Eps: 1e-8, Decay: 1, Step: 1e-8, Lasts: keepAll, Counts: squares, L1: 1e-9, L2: 1e-9}
	adamC    = withFlushes(fallback.AdamScalars{Scale: 1, Alpha1: .1, Beta2: .999, Alpha2: .001, Eps: 1e-8, Decay: 1 - 0x1p-24, Step: 1e-8, Keep: keepAll, Lasts: keepAll, Counts: squares},
		func(c *fallback.AdamScalars) { c.Keep, c.Lasts = small, small })
	adamProxC = withFlushes(fallback.AdamProxScalars{Scale: 1, Alpha1: .1, Beta2: .999, Alpha2: .001, Unbias: 1, Eps: 1e-8, Decay: 1, Step: 1e-8, Keep: keepAll, Lasts: keepAll, Counts: squares, L1: 1e-9, L2: 1e-9},
		func(c *fallback.AdamProxScalars) { c.Keep = small })
)

var (
	logitsC  = fallback.BCEWithLogitsScalars{Scale: 1, Positive: 1}
	hingeC   = fallback.HingeScalars{Scale: 1, LabelScale: 2, LabelShift: -1}
	bceC     = fallback.BCEScalars{Scale: 1}
	oneC     = fallback.MSEScalars{Scale: 1}
	penaltyC = fallback.PenaltyScalars{L2: 1e-9, L1: 1e-9}
	regularC = fallback.RegularizeScalars{Scale: 1, L2: 1e-3, L1: 1e-3}
	shrinkC  = fallback.ShrinkScalars{Threshold: 1e-9, Shrink: 1, Lasts: keepAll}

	// What reductions add to: no one reads it.
	lanes, lanes2 [fallback.Lanes]float64
	peaks         [fallback.Lanes]float32
)

// ops lists the kernels that are timed, by what they are for.
var ops = []op{
	{"SGD", update1, func(t *kernels.Table, b streams) { t.SGD(b[0], b[1], &sgdC) },
		func(b streams) { tunedSGD(b[0], b[1], &sgdC) }, true},
	{"Momentum", update2, func(t *kernels.Table, b streams) { t.Momentum(b[0], b[1], b[2], momentumC.next()) },
		func(b streams) { tunedMomentum(b[0], b[1], b[2], &momentumC.usual) }, true},
	{"Nesterov", update2, func(t *kernels.Table, b streams) { t.Nesterov(b[0], b[1], b[2], nesterovC.next()) }, nil, true},
	{"AdaGrad", update2, func(t *kernels.Table, b streams) { t.AdaGrad(b[0], b[1], b[2], &adaGradC) },
		func(b streams) { tunedAdaGrad(b[0], b[1], b[2], &adaGradC) }, true},
	{"AdaGradProx", update2, func(t *kernels.Table, b streams) { t.AdaGradProx(b[0], b[1], b[2], &adaProxC) }, nil, true},
	{adamW, update3, func(t *kernels.Table, b streams) { t.Adam(b[0], b[1], b[2], b[3], adamC.next()) },
		func(b streams) { tunedAdam(b[0], b[1], b[2], b[3], &adamC.usual) }, true},
	{"AdamProx", update3, func(t *kernels.Table, b streams) { t.AdamProx(b[0], b[1], b[2], b[3], adamProxC.next()) }, nil, true},
	{"AMSGrad", update4, func(t *kernels.Table, b streams) { t.AMSGrad(b[0], b[1], b[2], b[3], b[4], adamProxC.next()) }, nil, true},
	{"Regularize", twoToOne, func(t *kernels.Table, b streams) { t.Regularize(b[0], b[1], b[2], &regularC) }, nil, false},
	{"Shrink", flip, func(t *kernels.Table, b streams) { t.Shrink(b[0], &shrinkC) }, nil, false},
	{"Penalty", update1, func(t *kernels.Table, b streams) { t.Penalty(b[0], b[1], &penaltyC, &lanes, &lanes2) }, nil, false},

	{"MSE", twoToOne, func(t *kernels.Table, b streams) { t.MSE(b[0], b[1], b[2], &oneC, &lanes) }, nil, true},
	{"MSEEach", twoToTwo, func(t *kernels.Table, b streams) { t.MSEEach(b[0], b[1], b[2], b[3], &oneC, &lanes) }, nil, false},
	{"BCEWithLogits", twoToOne, func(t *kernels.Table, b streams) { t.BCEWithLogits(b[0], b[1], b[2], &logitsC, &lanes) }, nil, true},
	{"BCEWithLogitsEach", twoToTwo, func(t *kernels.Table, b streams) { t.BCEWithLogitsEach(b[0], b[1], b[2], b[3], &logitsC, &lanes) }, nil, false},
	{"BCE", twoToOne, func(t *kernels.Table, b streams) { t.BCE(b[0], b[1], b[2], &bceC, &lanes) }, nil, false},
	{"BCEEach", twoToTwo, func(t *kernels.Table, b streams) { t.BCEEach(b[0], b[1], b[2], b[3], &bceC, &lanes) }, nil, false},
	{"BCEClip", twoToOne, func(t *kernels.Table, b streams) { t.BCEClip(b[0], b[1], b[2], &bceC, &lanes) }, nil, false},
	{"BCEClipEach", twoToTwo, func(t *kernels.Table, b streams) { t.BCEClipEach(b[0], b[1], b[2], b[3], &bceC, &lanes) }, nil, false},
	{"Hinge", twoToOne, func(t *kernels.Table, b streams) { t.Hinge(b[0], b[1], b[2], &hingeC, &lanes) }, nil, true},
	{"HingeEach", twoToTwo, func(t *kernels.Table, b streams) { t.HingeEach(b[0], b[1], b[2], b[3], &hingeC, &lanes) }, nil, false},
	{"SquaredHinge", twoToOne, func(t *kernels.Table, b streams) { t.SquaredHinge(b[0], b[1], b[2], &hingeC, &lanes) }, nil, false},
	{"SquaredHingeEach", twoToTwo, func(t *kernels.Table, b streams) { t.SquaredHingeEach(b[0], b[1], b[2], b[3], &hingeC, &lanes) }, nil, false},

	{"Exp", oneToOne, func(t *kernels.Table, b streams) { t.Exp(b[0], b[1]) }, nil, true},
	{"Log", oneToOne, func(t *kernels.Table, b streams) { t.Log(b[0], b[1]) }, nil, true},
	{"Log1p", oneToOne, func(t *kernels.Table, b streams) { t.Log1p(b[0], b[1]) }, nil, true},
	{"Sqrt", oneToOne, func(t *kernels.Table, b streams) { t.Sqrt(b[0], b[1]) }, nil, false},

	{"SumSquares", read, func(t *kernels.Table, b streams) { t.SumSquares(b[0], &lanes) }, nil, true},
	{"Sum", read, func(t *kernels.Table, b streams) { t.Sum(b[0], &lanes) }, nil, false},
	{"SumAbs", read, func(t *kernels.Table, b streams) { t.SumAbs(b[0], &lanes) }, nil, false},
	{"MaxAbs", read, func(t *kernels.Table, b streams) { t.MaxAbs(b[0], &peaks) }, nil, false},
	{"CountNonFinite", read, func(t *kernels.Table, b streams) { t.CountNonFinite(b[0], &lanes) }, nil, false},

	{"Dots", rows, func(t *kernels.Table, b streams) { t.Dots(b.perRow(), b[0], b.row()) }, nil, true},
	{"RankOne", rows, func(t *kernels.Table, b streams) { t.RankOne(b.row(), b[0], b.perRow()) }, nil, true},
}

// adamW is the name of the kernel Adam with a decay, as the tables show it.
const adamW = "AdamW"
