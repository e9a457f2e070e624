package engine

import "testing"

// TestFlushes lets state fade without gradients: that of elements is flushed after the last
// pass, and only there.
func TestFlushes(t *testing.T) {
	r := newRun(proofs["LARS"], []Tensor{{Size: 100}}, Options{LR: 1}, false)
	momentum, g := r.Buffers(0)[0], [][]float32{make([]float32, 100)}
	momentum[3], momentum[4], r.params[0][3] = 0x1p-96, 0x1p-80, 0
	var before float32
	for step := range FlushEvery {
		before = r.params[0][3]
		if step == FlushEvery-1 && momentum[3] == 0 {
			t.Error("the state is flushed too early")
		}
		r.Begin(1, nil)
		r.Run(r.params, g)
	}
	if r.params[0][3] == before {
		t.Error("the state is flushed before the last pass")
	}
	if momentum[3] != 0 || momentum[4] == 0 {
		t.Errorf("the state is %g and %g, want 0 and what it was", momentum[3], momentum[4])
	}
}
