package engine

import "testing"

// TestBeginsAsParams has state that begins at the first step of its tensor, whenever that
// is, and not where the caller or an exported state says what it is.
func TestBeginsAsParams(t *testing.T) {
	own := []float32{9, 9}
	e := New([]Tensor{{Size: 2}, {Size: 2}, {Size: 2, State: [][]float32{own}}}, []Rule{scheduleFree(Options{})})
	has := func(want ...bool) {
		t.Helper()
		for k, w := range want {
			if _, ok := e.State(k, 0); ok != w {
				t.Errorf("state of tensor %d has begun: %v, want %v", k, ok, w)
			}
		}
	}
	p := [][]float32{{1, 2}, {3, 4}, {5, 6}}
	step := func(grads ...[]float32) {
		e.Place(p, grads, true)
		e.Begin(1, grads)
		e.Run(p, grads)
	}
	zero := []float32{0, 0}
	has(false, false, true)
	step(zero, nil, zero)
	has(true, false, true)
	p[1][0] = 7
	step(zero, zero, zero)
	has(true, true, true)
	for k, want := range []float32{1, 7, 9} {
		if z, _ := e.State(k, 0); z[0] != want {
			t.Errorf("z of tensor %d begins at %g, want %g", k, z[0], want)
		}
	}
	e.Load(0, 1, [][]float32{{8, 8}})
	e.Load(1, 0, [][]float32{nil})
	has(true, false, true)
	p[1][0] = 6
	step(zero, zero, zero)
	for k, want := range []float32{8, 6, 9} {
		if z, _ := e.State(k, 0); z[0] != want {
			t.Errorf("z of tensor %d is %g after Load, want %g", k, z[0], want)
		}
	}
	fresh := New([]Tensor{{Size: 2}}, []Rule{scheduleFree(Options{})})
	fresh.Load(0, 0, [][]float32{{8, 8}})
	if z, ok := fresh.State(0, 0); !ok || z[0] != 8 {
		t.Errorf("loaded state has begun: %v, with %g", ok, z)
	}
	if e.TensorSteps(0) != 2 || e.TensorSteps(1) != 1 || e.TensorSteps(2) != 3 {
		t.Errorf("steps are %d, %d and %d, want 2, 1 and 3", e.TensorSteps(0), e.TensorSteps(1), e.TensorSteps(2))
	}
}
