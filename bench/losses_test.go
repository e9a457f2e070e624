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

// TestUnlessCached leaves the goal to what is near to neither of its bounds.
func TestUnlessCached(t *testing.T) {
	near := Claim{Section: lossSection, Case: "a", Beside: besideCached, Ratio: 1.2}
	far := near
	far.Ratio = 1.4
	other := near
	other.Case = "b"
	if unlessCached("a", mostLoss)([]Claim{other, near}) || !unlessCached("a", mostLoss)([]Claim{other, far}) || !unlessCached("a", mostLoss)(nil) {
		t.Error("the goal is not that of the slower bound")
	}
}
