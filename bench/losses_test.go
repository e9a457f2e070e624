package main

import (
	"math"
	"slices"
	"testing"
)

// TestPlainCrossEntropy wants of the plain loop what package loss has.
func TestPlainCrossEntropy(t *testing.T) {
	const rows, classes = 7, 300
	b := logitRows(rows, classes)
	value := plainCrossEntropy(b, classes)
	plain := slices.Clone(b.Grad)
	clear(b.Grad)
	crossEntropy(b, classes, 1).call()
	for i, g := range b.Grad {
		if math.Abs(float64(g-plain[i])) > 1e-6*math.Abs(float64(g)) {
			t.Fatalf("the gradient of element %d is %g, by the plain loop %g", i, g, plain[i])
		}
	}
	logits := slices.Clone(b.Logits)
	b.Labels[3] = (b.Labels[3] + 1) % classes
	if !slices.Equal(logits, b.Logits) || plainCrossEntropy(b, classes) == value {
		t.Errorf("another label has the loss %g too", value)
	}
}
