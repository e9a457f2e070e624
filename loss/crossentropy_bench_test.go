package loss

import (
	"fmt"
	"testing"
)

// BenchmarkCrossEntropy counts each byte of the logits and of the gradient once.
func BenchmarkCrossEntropy(b *testing.B) {
	for _, shape := range [][2]int{{4096, 1000}, {512, 32_000}, {128, 128_000}, {65536, 10}} {
		rows := rowsData(shape[0], shape[1], 3, 1)
		rows.Grad = make([]float32, len(rows.Logits))
		for _, workers := range []int{1, 2} {
			l := newCrossEntropy(b, shape[1], CrossEntropyOptions{})
			if err := l.SetWorkers(workers); err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("rows=%d/classes=%d/workers=%d", shape[0], shape[1], workers), func(b *testing.B) {
				b.SetBytes(int64(8 * len(rows.Logits)))
				for b.Loop() {
					if _, err := l.Eval(rows); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
