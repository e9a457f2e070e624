//go:build goexperiment.simd && amd64

package main

import (
	"simd/archsimd"

	"github.com/lockstep-go/lockstep/bench/peers/worker"
)

// experimental lists the loops in Go's experimental SIMD package, in both widths
// of vectors if the CPU has them.
func experimental() (list []worker.System) {
	add := func(name string, l loops) {
		list = append(list, loopSystem(name, l, worker.Plain), loopSystem(name+"-staggered", l, worker.Staggered))
	}
	if archsimd.X86.AVX2() && archsimd.X86.FMA() {
		add("archsimd-256", loops{adam256, momentum256, adaGrad256, sgd256})
	}
	if archsimd.X86.AVX512() {
		add("archsimd-512", loops{adam512, momentum512, adaGrad512, sgd512})
	}
	return list
}

func adam256(p, g, m, v []float32, c adamScalars) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	decay, step, eps := archsimd.BroadcastFloat32x8(c.decay), archsimd.BroadcastFloat32x8(c.step), archsimd.BroadcastFloat32x8(c.eps)
	a1, b2, a2 := archsimd.BroadcastFloat32x8(alpha1), archsimd.BroadcastFloat32x8(worker.Beta2), archsimd.BroadcastFloat32x8(alpha2)
	i := 0
	for ; i <= len(p)-8; i += 8 {
		x, d := archsimd.LoadFloat32x8Slice(p[i:]), archsimd.LoadFloat32x8Slice(g[i:])
		m1, v1 := archsimd.LoadFloat32x8Slice(m[i:]), archsimd.LoadFloat32x8Slice(v[i:])
		m1 = d.Sub(m1).MulAdd(a1, m1)
		v1 = v1.MulAdd(b2, d.Mul(d).Mul(a2))
		m1.StoreSlice(m[i:])
		v1.StoreSlice(v[i:])
		x.Mul(decay).Sub(m1.Mul(step).Div(v1.Sqrt().Add(eps))).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.adam(p[i:], g[i:], m[i:], v[i:], c)
}

func momentum256(p, g, m []float32) {
	g, m = g[:len(p)], m[:len(p)]
	mu, step := archsimd.BroadcastFloat32x8(worker.Momentum), archsimd.BroadcastFloat32x8(-worker.MomentumLR)
	i := 0
	for ; i <= len(p)-8; i += 8 {
		b := archsimd.LoadFloat32x8Slice(m[i:]).MulAdd(mu, archsimd.LoadFloat32x8Slice(g[i:]))
		b.StoreSlice(m[i:])
		b.MulAdd(step, archsimd.LoadFloat32x8Slice(p[i:])).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.momentum(p[i:], g[i:], m[i:])
}

func adaGrad256(p, g, a []float32) {
	g, a = g[:len(p)], a[:len(p)]
	step, eps := archsimd.BroadcastFloat32x8(worker.AdaGradLR), archsimd.BroadcastFloat32x8(worker.AdaGradEps)
	i := 0
	for ; i <= len(p)-8; i += 8 {
		d := archsimd.LoadFloat32x8Slice(g[i:])
		s := d.MulAdd(d, archsimd.LoadFloat32x8Slice(a[i:]))
		s.StoreSlice(a[i:])
		archsimd.LoadFloat32x8Slice(p[i:]).Sub(d.Mul(step).Div(s.Sqrt().Add(eps))).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.adaGrad(p[i:], g[i:], a[i:])
}

func sgd256(p, g []float32) {
	g = g[:len(p)]
	step := archsimd.BroadcastFloat32x8(-worker.SGDLR)
	i := 0
	for ; i <= len(p)-8; i += 8 {
		archsimd.LoadFloat32x8Slice(g[i:]).MulAdd(step, archsimd.LoadFloat32x8Slice(p[i:])).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.sgd(p[i:], g[i:])
}

func adam512(p, g, m, v []float32, c adamScalars) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	decay, step, eps := archsimd.BroadcastFloat32x16(c.decay), archsimd.BroadcastFloat32x16(c.step), archsimd.BroadcastFloat32x16(c.eps)
	a1, b2, a2 := archsimd.BroadcastFloat32x16(alpha1), archsimd.BroadcastFloat32x16(worker.Beta2), archsimd.BroadcastFloat32x16(alpha2)
	i := 0
	for ; i <= len(p)-16; i += 16 {
		x, d := archsimd.LoadFloat32x16Slice(p[i:]), archsimd.LoadFloat32x16Slice(g[i:])
		m1, v1 := archsimd.LoadFloat32x16Slice(m[i:]), archsimd.LoadFloat32x16Slice(v[i:])
		m1 = d.Sub(m1).MulAdd(a1, m1)
		v1 = v1.MulAdd(b2, d.Mul(d).Mul(a2))
		m1.StoreSlice(m[i:])
		v1.StoreSlice(v[i:])
		x.Mul(decay).Sub(m1.Mul(step).Div(v1.Sqrt().Add(eps))).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.adam(p[i:], g[i:], m[i:], v[i:], c)
}

func momentum512(p, g, m []float32) {
	g, m = g[:len(p)], m[:len(p)]
	mu, step := archsimd.BroadcastFloat32x16(worker.Momentum), archsimd.BroadcastFloat32x16(-worker.MomentumLR)
	i := 0
	for ; i <= len(p)-16; i += 16 {
		b := archsimd.LoadFloat32x16Slice(m[i:]).MulAdd(mu, archsimd.LoadFloat32x16Slice(g[i:]))
		b.StoreSlice(m[i:])
		b.MulAdd(step, archsimd.LoadFloat32x16Slice(p[i:])).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.momentum(p[i:], g[i:], m[i:])
}

func adaGrad512(p, g, a []float32) {
	g, a = g[:len(p)], a[:len(p)]
	step, eps := archsimd.BroadcastFloat32x16(worker.AdaGradLR), archsimd.BroadcastFloat32x16(worker.AdaGradEps)
	i := 0
	for ; i <= len(p)-16; i += 16 {
		d := archsimd.LoadFloat32x16Slice(g[i:])
		s := d.MulAdd(d, archsimd.LoadFloat32x16Slice(a[i:]))
		s.StoreSlice(a[i:])
		archsimd.LoadFloat32x16Slice(p[i:]).Sub(d.Mul(step).Div(s.Sqrt().Add(eps))).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.adaGrad(p[i:], g[i:], a[i:])
}

func sgd512(p, g []float32) {
	g = g[:len(p)]
	step := archsimd.BroadcastFloat32x16(-worker.SGDLR)
	i := 0
	for ; i <= len(p)-16; i += 16 {
		archsimd.LoadFloat32x16Slice(g[i:]).MulAdd(step, archsimd.LoadFloat32x16Slice(p[i:])).StoreSlice(p[i:])
	}
	archsimd.ClearAVXUpperBits()
	tuned.sgd(p[i:], g[i:])
}
