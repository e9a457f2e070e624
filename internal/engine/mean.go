package engine

// ToMean adds to the parameters what they lack to their means, of rules that are evaluated
// there, and if back says so takes it off again. Each element is computed in float64 and
// rounded once.
func (e *Engine) ToMean(params [][]float32, back bool) {
	for k := range e.tensors {
		t := &e.tensors[k]
		mean := e.groups[t.Rule].Mean
		if back {
			mean = -mean
		}
		if mean == 0 {
			continue
		}
		p := params[k]
		for i, x := range t.State[0][:len(p)] {
			p[i] = float32(float64(p[i]) + float64(float64(x)*mean))
		}
	}
}
