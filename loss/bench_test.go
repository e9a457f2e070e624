package loss

import (
	"fmt"
	"testing"
)

// BenchmarkLinear counts each byte of x once.
func BenchmarkLinear(b *testing.B) {
	names := [...]string{Squared: "squared", Logistic: "logistic", HingeLoss: "hinge", SquaredHingeLoss: "squaredhinge", PoissonLoss: "poisson", HuberLoss: "huber"}
	for _, shape := range [][2]int{{100_000, 256}, {400, 256}, {100_000, 30}, {3_000, 8_192}} {
		rows, columns := shape[0], shape[1]
		for model, name := range names {
			l, x, y, w := linearData(b, Model(model), rows, columns, true)
			grad := make([]float32, len(w))
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("model=%s/rows=%d/columns=%d/workers=%d", name, rows, columns, workers), func(b *testing.B) {
					if err := l.SetWorkers(workers); err != nil {
						b.Fatal(err)
					}
					b.SetBytes(int64(4 * len(x)))
					for b.Loop() {
						if _, err := l.Gradient(x, y, w, grad); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkSmall is what a call costs beside its arithmetic.
func BenchmarkSmall(b *testing.B) {
	x, y, grad, each := uniform(16, 0, 1, 1), uniform(16, 0, 1, 2), make([]float32, 16), make([]float32, 16)
	for _, l := range losses {
		loss := l.of(None)
		b.Run("loss="+l.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := loss.Eval(x, y, grad, each); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("loss=Penalty", func(b *testing.B) {
		for b.Loop() {
			if _, err := (Penalty{1, 1}).Eval(x, grad); err != nil {
				b.Fatal(err)
			}
		}
	})
}
