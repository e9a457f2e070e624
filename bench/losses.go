package main

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/lockstep-go/lockstep/bench/yardstick"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
)

const (
	lossSection     = "Losses, with gradients"
	besideTraffic   = "the same reads and writes"
	besideCached    = "as many elements in cache"
	besidePlainLoss = "plain Go"
)

// losses are beside themselves in cache, which is their arithmetic, beside kernels that load and
// store each buffer once without any, and beside plain loops, which have no goal. No loss can be
// faster than the slower of the first two: the goal is to be near to one.
func losses(_ *Machine, short bool) []pending {
	y := yardstick.For(kernels.Active().ISA())
	if y == nil {
		return nil
	}
	var list []pending
	for _, shape := range [][2]int{{512, 32_000}, {128, 128_000}, {4096, 1_000}} {
		rows, classes := shape[0], shape[1]
		if short {
			rows /= 8
		}
		list = append(list, cachedCrossEntropyClaim(rows, classes))
		for workers := 1; workers <= min(2, runtime.GOMAXPROCS(0)); workers++ {
			list = append(list, crossEntropyClaim(rows, classes, workers, y))
		}
		list = append(list, plainCrossEntropyClaim(rows, classes))
	}
	n := memoryLen
	if short {
		n = 4 << 20
	}
	list = append(list, lossClaims("MSE", "mean squared error", n, y, loss.MSE{Workers: 1}.Eval)...)
	return append(list, lossClaims("BCEWithLogits", "binary cross-entropy of logits", n, y, loss.BCEWithLogits{Workers: 1}.Eval)...)
}

// unlessCached takes the goal from what has been as near to its arithmetic.
func unlessCached(name string, most float64) func(measured []Claim) bool {
	return func(measured []Claim) bool {
		return !slices.ContainsFunc(measured, func(c Claim) bool {
			return c.Section == lossSection && c.Case == name && c.Beside == besideCached && c.Ratio <= most
		})
	}
}

// mostLoss is the time of a cross-entropy beside what bounds it.
const mostLoss = 1.3

// cachedCrossEntropyClaim is beside rows of 1000 classes, of which caches hold 16.
func cachedCrossEntropyClaim(rows, classes int) pending {
	const cachedRows, cachedClasses = 16, 1000
	n := rows * classes
	return pending{
		Claim:  Claim{Section: lossSection, Case: crossEntropyCase(rows, classes), Beside: besideCached, N: n, Workers: 1},
		kernel: softmaxKernel, bytes: 8 * n,
		pair: func() (it, other *candidate) {
			small := crossEntropy(logitRows(cachedRows, cachedClasses), cachedClasses, 1)
			return crossEntropy(logitRows(rows, classes), classes, 1), repeated(small, n/(cachedRows*cachedClasses))
		},
	}
}

// repeated calls something so many times.
func repeated(c *candidate, times int) *candidate {
	return &candidate{call: func() {
		for range times {
			c.call()
		}
	}}
}

// softmaxKernel is what takes the time of a cross-entropy.
const softmaxKernel = "RowExp"

func crossEntropyClaim(rows, classes, workers int, y *yardstick.Table) pending {
	n := rows * classes
	return pending{
		Claim:  Claim{Section: lossSection, Case: crossEntropyCase(rows, classes), Beside: besideTraffic, N: n, Workers: workers, Goal: mostLoss},
		kernel: softmaxKernel, bytes: 8 * n, reach: unlessCached(crossEntropyCase(rows, classes), mostLoss),
		pair: func() (it, other *candidate) {
			b := logitRows(rows, classes)
			parts := make([]streams, workers)
			for k := range parts {
				lo, hi := k*n/workers, (k+1)*n/workers
				parts[k] = append(streams{b.Grad[lo:hi], b.Logits[lo:hi]}, make(streams, 2*last-1)...)
			}
			return crossEntropy(b, classes, workers), &candidate{call: func() {
				var running sync.WaitGroup
				for _, part := range parts[1:] {
					running.Go(func() { oneToOne.limit(y, part) })
				}
				oneToOne.limit(y, parts[0])
				running.Wait()
			}}
		},
	}
}

func plainCrossEntropyClaim(rows, classes int) pending {
	n := rows * classes
	return pending{
		Claim:  Claim{Section: lossSection, Case: crossEntropyCase(rows, classes), Beside: besidePlainLoss, N: n, Workers: 1, Speedup: true},
		kernel: softmaxKernel, bytes: 8 * n,
		pair: func() (it, other *candidate) {
			b := logitRows(rows, classes)
			return crossEntropy(b, classes, 1), &candidate{call: func() { plainCrossEntropy(b, classes) }}
		},
	}
}

func crossEntropyCase(rows, classes int) string {
	return fmt.Sprintf("cross-entropy of softmax, %d x %d", rows, classes)
}

func crossEntropy(b loss.Rows, classes, workers int) *candidate {
	l, err := loss.NewCrossEntropy(classes, loss.CrossEntropyOptions{})
	must(err)
	must(l.SetWorkers(workers))
	return &candidate{call: func() {
		_, err := l.Eval(b)
		must(err)
	}}
}

// logitRows are logits from -4 to 4, with labels and room for gradients.
func logitRows(rows, classes int) loss.Rows {
	b := update.Alloc(rows*classes, 2)
	fill(b[0])
	for i := range b[0] {
		b[0][i] *= 8
	}
	labels := make([]int64, rows)
	for i := range labels {
		labels[i] = int64(i * 7919 % classes)
	}
	return loss.Rows{Logits: b[0], Labels: labels, Grad: b[1]}
}

// plainCrossEntropy is what a careful Go programmer writes without assembly.
func plainCrossEntropy(b loss.Rows, classes int) float64 {
	total, rows := 0., len(b.Labels)
	for i, label := range b.Labels {
		z, g := b.Logits[i*classes:][:classes], b.Grad[i*classes:][:classes]
		largest := z[0]
		for _, v := range z {
			largest = max(largest, v)
		}
		sum := 0.
		for j, v := range z {
			e := math.Exp(float64(v - largest))
			sum += e
			g[j] = float32(e)
		}
		scale := float32(1 / (sum * float64(rows)))
		for j := range g {
			g[j] *= scale
		}
		g[label] -= 1 / float32(rows)
		total += math.Log(sum) + float64(largest-z[label])
	}
	return total / float64(rows)
}

// lossClaims are a loss of two streams with the gradient of one.
func lossClaims(kernel, name string, n int, y *yardstick.Table, eval func(pred, target, grad, each []float32) (float64, error)) []pending {
	const cached = 16 << 10
	of := func(b streams) *candidate {
		return &candidate{call: func() {
			_, err := eval(b[1], b[2], b[0], nil)
			must(err)
		}}
	}
	const most = 1 / .95
	claim := func(beside string, goal float64, pair func() (it, other *candidate)) pending {
		return pending{Claim: Claim{Section: lossSection, Case: name, Beside: beside, N: n, Workers: 1, Goal: goal}, kernel: kernel, bytes: 12 * n, pair: pair}
	}
	inCache := claim(besideCached, 0, func() (it, other *candidate) { return of(lossStreams(n)), repeated(of(lossStreams(cached)), n/cached) })
	traffic := claim(besideTraffic, most, func() (it, other *candidate) {
		b := lossStreams(n)
		return of(b), &candidate{call: func() { twoToOne.limit(y, b) }}
	})
	traffic.reach = unlessCached(name, most)
	return []pending{inCache, traffic}
}

// lossStreams are a gradient, predictions, and targets that are 0 or 1.
func lossStreams(n int) streams {
	b := append(streams(update.Alloc(n, 3)), make(streams, 2*last-2)...)
	fill(b[1])
	for i := range b[2] {
		b[2][i] = float32(i % 2)
	}
	return b
}
