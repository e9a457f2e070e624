package loss

import (
	"fmt"
	"testing"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// A shared product is one whose units workers share.
type shared struct {
	kernels.MatMul
	packs bool
	pool  *workers.Pool
	room  []float32
}

func (p *shared) Do(unit, _ int) {
	if p.packs {
		p.Pack(unit)
	} else {
		p.Multiply(unit)
	}
}

func (p *shared) multiply(c, a, b fallback.Matrix, intercept []float32) {
	p.C, p.A, p.B, p.MatMulScalars = c, a, b, fallback.MatMulScalars{Alpha: 1}
	if intercept != nil {
		p.D, p.Beta = fallback.Matrix{Data: intercept, Rows: c.Rows, Columns: c.Columns, ColumnStride: 1}, 1
	}
	t := kernels.Active()
	p.Begin(t, sized(&p.room, kernels.MatMulRoom(t, c.Rows, c.Columns, a.Columns)))
	const large = 1 << 30
	p.packs = true
	p.pool.Run(p, p.Packs(), large, true)
	p.packs = false
	p.pool.Run(p, p.Tiles(), large, false)
}

// BenchmarkSoftmaxLinear is the gradients by W and B, beside the products and the cross-entropy
// one after the other. It counts each byte of X once.
func BenchmarkSoftmaxLinear(b *testing.B) {
	for _, shape := range [][3]int{{60_000, 784, 10}, {8192, 512, 1000}} {
		rows, features, classes := shape[0], shape[1], shape[2]
		data := softmaxData(rows, features, classes, 1)
		data.GradW, data.GradB = make([]float32, len(data.W)), make([]float32, classes)
		x, w := fallback.RowMajor(rows, features, data.X), fallback.RowMajor(classes, features, data.W)
		for _, n := range []int{1, 2} {
			name := fmt.Sprintf("rows=%d/features=%d/classes=%d/workers=%d", rows, features, classes, n)
			b.Run(name+"/form=fused", func(b *testing.B) {
				l := newSoftmaxLinear(b, features, classes, CrossEntropyOptions{})
				if err := l.SetWorkers(n); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(4 * len(data.X)))
				for b.Loop() {
					data.eval(b, l)
				}
			})
			b.Run(name+"/form=composed", func(b *testing.B) {
				l := newCrossEntropy(b, classes, CrossEntropyOptions{})
				if err := l.SetWorkers(n); err != nil {
					b.Fatal(err)
				}
				p := &shared{pool: l.pool}
				z := fallback.RowMajor(rows, classes, make([]float32, rows*classes))
				b.SetBytes(int64(4 * len(data.X)))
				for b.Loop() {
					p.multiply(z, x, w.T(), data.B)
					if _, err := l.Eval(Rows{Logits: z.Data, Labels: data.Labels, Grad: z.Data}); err != nil {
						b.Fatal(err)
					}
					p.multiply(fallback.RowMajor(classes, features, data.GradW), z.T(), x, nil)
					clear(data.GradB)
					for i := range rows {
						for c, g := range z.Data[i*classes:][:classes] {
							data.GradB[c] += g
						}
					}
				}
			})
		}
	}
}
