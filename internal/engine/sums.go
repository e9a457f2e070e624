package engine

// growSums makes room for what passes measure.
func (e *Engine) growSums() {
	e.partial = make([][MaxSums]float64, len(e.units))
	e.many = make([][MaxSums]float64, 0, len(e.tensors))
	for k := range e.tensors {
		t := &e.tensors[k]
		for _, p := range e.groups[t.Rule].passes {
			if p.sums == ByColumn && t.byColumn == nil {
				t.byColumn = make([]float64, (t.units[1]-t.units[0])*t.columns())
			}
		}
	}
}

// beginColumns are zeros for the sums by column of a unit, if a pass has such.
func (t *tensor) beginColumns(p *pass, unit int) []float64 {
	if p.sums != ByColumn {
		return nil
	}
	n := t.columns()
	sums := t.byColumn[(unit-t.units[0])*n:][:n]
	clear(sums)
	return sums
}

// addUp adds up what a pass has measured, unit by unit, and gives the sums to the next.
func (e *Engine) addUp(k int) {
	for j := range e.tensors {
		t := &e.tensors[j]
		g := &e.groups[t.Rule]
		if k >= len(g.passes) || !e.runs(j, &g.passes[k]) {
			continue
		}
		switch p := &g.passes[k]; {
		case p.hasSums():
			t.sums = sumPairs(e.partial[t.units[0]:t.units[1]])
		case p.sums == ByColumn:
			t.addColumns()
		}
	}
	for j := range e.groups {
		g := &e.groups[j]
		g.input.Sums, g.input.Elements = [MaxSums]float64{}, 0
		if k < len(g.passes) && g.passes[k].sums >= OverRule {
			g.input.Sums, g.input.Elements = e.over(j, k)
		}
	}
}

// over is the sums over the tensors of a rule, or over those of all of its name.
func (e *Engine) over(rule, k int) (sums [MaxSums]float64, elements int) {
	scope, name := e.groups[rule].passes[k].sums, e.groups[rule].Name
	e.many = e.many[:0]
	for j := range e.tensors {
		t := &e.tensors[j]
		g := &e.groups[t.Rule]
		if t.Rule != rule && (scope == OverRule || g.Name != name) {
			continue
		}
		if k >= len(g.passes) || g.passes[k].sums != scope || !e.runs(j, &g.passes[k]) {
			continue
		}
		e.many = append(e.many, t.sums)
		elements += t.Size
	}
	return sumPairs(e.many), elements
}

// addColumns adds the sums by column of all units to those of the first.
func (t *tensor) addColumns() {
	n := t.columns()
	for at := n; at < len(t.byColumn); at += n {
		for i, x := range t.byColumn[at : at+n] {
			t.byColumn[i] += x
		}
	}
}

// sumPairs adds neighbours, then neighbours of those: the order depends on the
// number alone.
func sumPairs(x [][MaxSums]float64) (sums [MaxSums]float64) {
	switch n := len(x); n {
	case 0:
		return sums
	case 1:
		return x[0]
	default:
		a, b := sumPairs(x[:n/2]), sumPairs(x[n/2:])
		for k := range sums {
			sums[k] = a[k] + b[k]
		}
		return sums
	}
}
