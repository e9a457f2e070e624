package main

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/lockstep-go/lockstep/bench/yardstick"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/loss"
	"github.com/lockstep-go/lockstep/update"
)

const (
	lossSection     = "Losses, with gradients"
	besideTraffic   = "the same reads and writes"
	besidePlainLoss = "plain Go"
)

// losses are beside kernels that load and store each buffer once, without arithmetic, and beside
// plain loops, which have no goal. Goals are for memory: a softmax takes an exponential of each
// logit, which is as much as a few loads.
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
		for workers := 1; workers <= min(2, runtime.GOMAXPROCS(0)); workers++ {
			list = append(list, crossEntropyClaim(rows, classes, workers, y))
		}
		list = append(list, plainCrossEntropyClaim(rows, classes))
	}
	n := memoryLen
	if short {
		n = 4 << 20
	}
	return append(list,
		lossClaim("MSE", "mean squared error", n, y, loss.MSE{}.Eval),
		lossClaim("BCEWithLogits", "binary cross-entropy of logits", n, y, loss.BCEWithLogits{}.Eval))
}

// softmaxKernel is what takes the time of a cross-entropy.
const softmaxKernel = "RowExp"

func crossEntropyClaim(rows, classes, workers int, y *yardstick.Table) pending {
	n := rows * classes
	return pending{
		Claim:  Claim{Section: lossSection, Case: crossEntropyCase(rows, classes), Beside: besideTraffic, N: n, Workers: workers, Goal: 1.3},
		kernel: softmaxKernel, bytes: 8 * n,
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

// lossClaim is a loss of two streams with the gradient of one, of which the memory leaves .95.
func lossClaim(kernel, name string, n int, y *yardstick.Table, eval func(pred, target, grad, each []float32) (float64, error)) pending {
	return pending{
		Claim:  Claim{Section: lossSection, Case: name, Beside: besideTraffic, N: n, Workers: 1, Goal: 1 / .95},
		kernel: kernel, bytes: 12 * n,
		pair: func() (it, other *candidate) {
			b := append(streams(update.Alloc(n, 3)), make(streams, 2*last-2)...)
			grad, pred, target := b[0], b[1], b[2]
			fill(pred)
			for i := range target {
				target[i] = float32(i % 2)
			}
			return &candidate{call: func() {
				_, err := eval(pred, target, grad, nil)
				must(err)
			}}, &candidate{call: func() { twoToOne.limit(y, b) }}
		},
	}
}
