package rule

import "slices"

// A Task of a schedule is a node to compute or an effect to carry out.
type Task struct {
	IsEffect bool
	ID       int // index in Nodes or in Effects
}

// Schedule orders the graph so that a value is computed shortly before it is
// needed, which keeps few registers alive. Uniform nodes are not part of it: they
// are at hand from the start.
func (r *Rule) Schedule() []Task {
	var steps []Task
	done := make([]bool, len(r.Nodes))
	var visit func(id int)
	visit = func(id int) {
		if done[id] {
			return
		}
		done[id] = true
		if r.Uniform(id) {
			return
		}
		n := r.Nodes[id]
		operands := n.Operands()
		if n.Op == Select { // its mask last: there are few registers for masks
			operands = []int{n.Y, n.Z, n.X}
		}
		for _, x := range operands {
			visit(x)
		}
		steps = append(steps, Task{ID: id})
	}
	for k, e := range r.Effects {
		visit(e.X)
		if e.Reduce && e.Kind == Dot {
			visit(e.Y)
		}
		// What a later effect needs of the buffer must be read before this store.
		if load, ok := r.seen[Node{Op: Load, X: e.To}]; ok && !e.Reduce && r.needs(k+1, load) {
			visit(load)
		}
		steps = append(steps, Task{IsEffect: true, ID: k})
	}
	return steps
}

// needs reports whether an effect from the k-th on depends on node id.
func (r *Rule) needs(k, id int) bool {
	seen := make([]bool, len(r.Nodes))
	var reaches func(from int) bool
	reaches = func(from int) bool {
		if from == id {
			return true
		}
		if seen[from] {
			return false
		}
		seen[from] = true
		return slices.ContainsFunc(r.Nodes[from].Operands(), reaches)
	}
	for e := k; e < len(r.Effects); e++ {
		if slices.ContainsFunc(r.ReadsOf(Task{IsEffect: true, ID: e}), reaches) {
			return true
		}
	}
	return false
}

// ReadsOf lists the nodes that a task reads.
func (r *Rule) ReadsOf(s Task) []int {
	if !s.IsEffect {
		return r.Nodes[s.ID].Operands()
	}
	e := r.Effects[s.ID]
	if e.Reduce && e.Kind == Dot {
		return []int{e.X, e.Y}
	}
	return []int{e.X}
}

// Invariants lists the uniform nodes that the schedule reads, the most read first:
// the order in which they deserve a register.
func (r *Rule) Invariants() []int {
	uses := make([]int, len(r.Nodes))
	for _, s := range r.Schedule() {
		for _, x := range r.ReadsOf(s) {
			uses[x]++
		}
	}
	var ids []int
	for id := range r.Nodes {
		if uses[id] > 0 && r.Uniform(id) {
			ids = append(ids, id)
		}
	}
	slices.SortStableFunc(ids, func(a, b int) int { return uses[b] - uses[a] })
	return ids
}
