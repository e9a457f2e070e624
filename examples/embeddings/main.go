// Command embeddings trains a small recommender on generated ratings: a table with a row for
// each user and one with a row for each item, whose product is what the user thinks of the
// item. A batch has some hundred rows of them, and a step touches no others.
//
//	go run ./examples/embeddings
//
// Users are many: their rows step by FBGEMM's row-wise AdaGrad, which keeps one number for
// each row. Items step by Adam, as torch.optim.SparseAdam steps them. An item that is there
// more than once in a batch has its gradients added up.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

const (
	users, items, width = 2000, 300, 8

	batch = 256
	held  = 5000 // ratings
	noise = .1
)

func main() {
	ratings := flag.Int("ratings", 80_000, "that the model learns from")
	epochs := flag.Int("epochs", 8, "times that it sees all of them")
	flag.Parse()
	if err := run(*ratings, *epochs); err != nil {
		fmt.Fprintln(os.Stderr, "embeddings:", err)
		os.Exit(1)
	}
}

func run(ratings, epochs int) error {
	if ratings < batch || epochs < 1 {
		return fmt.Errorf("%d ratings and %d epochs, want at least %d and 1", ratings, epochs, batch)
	}
	list := generate(ratings + held)
	train, test := list[:ratings], list[ratings:]
	m, err := newModel()
	if err != nil {
		return err
	}
	fmt.Printf("before: an error of %.3f\n", m.deviation(test))
	for epoch := range epochs {
		if err := m.learn(train); err != nil {
			return err
		}
		fmt.Printf("epoch %d: %.3f, where ratings themselves are %.3f off\n", epoch+1, m.deviation(test), noise/math.Sqrt(3))
	}
	return nil
}

// A rating is what a user thinks of an item.
type rating struct {
	user, item int32
	value      float32
}

// generate makes ratings: products of numbers that nobody knows, and some noise. Some items
// are rated far more often than others.
func generate(n int) []rating {
	rng := rand.New(rand.NewPCG(1, 2))
	u, v := draw(rng, users, 1), draw(rng, items, 1)
	list := make([]rating, n)
	for i := range list {
		x := rng.Float64()
		r := rating{user: rng.Int32N(users), item: int32(x * x * items)}
		r.value = dot(row(u, r.user), row(v, r.item)) + float32(noise*(2*rng.Float64()-1))
		list[i] = r
	}
	return list
}

// draw is a table of numbers from -largest to largest.
func draw(rng *rand.Rand, rows int, largest float64) []float32 {
	table := update.Alloc(rows*width, 1)[0]
	for i := range table {
		table[i] = float32(largest * (2*rng.Float64() - 1))
	}
	return table
}

func row(table []float32, k int32) []float32 { return table[int(k)*width:][:width] }

func dot(x, y []float32) float32 {
	sum := float32(0)
	for i, v := range x {
		sum += float32(v * y[i])
	}
	return sum
}

// A table of embeddings has an optimizer, and room for a batch.
type table struct {
	params    []float32
	optimizer *update.Optimizer
	indices   []int32
	grads     []float32 // of a row for each index
}

func newTable(rng *rand.Rand, rows int, rule update.Rule) (*table, error) {
	o, err := update.NewSet([]update.Tensor{{Size: rows * width, Columns: width}}, rule)
	return &table{draw(rng, rows, .5), o, make([]int32, batch), make([]float32, batch*width)}, err
}

func (t *table) step(n int) error {
	return update.StepRows(t.optimizer, t.params, t.indices[:n], t.grads[:n*width])
}

type model struct{ users, items *table }

func newModel() (*model, error) {
	rng := rand.New(rand.NewPCG(3, 4))
	adam := torch.SparseAdam()
	adam.LR = .01
	u, err := newTable(rng, users, update.RowwiseAdaGrad{Options: update.Options{LR: .2}, Eps: 1e-8})
	v, err2 := newTable(rng, items, adam)
	return &model{u, v}, errors.Join(err, err2)
}

// learn goes through ratings once, batch by batch, the last of which may be short.
func (m *model) learn(list []rating) error {
	for ; len(list) > 0; list = list[min(batch, len(list)):] {
		if err := m.step(list[:min(batch, len(list))]); err != nil {
			return err
		}
	}
	return nil
}

// step takes one with the gradients of half the squared errors.
func (m *model) step(list []rating) error {
	for k, r := range list {
		u, v := row(m.users.params, r.user), row(m.items.params, r.item)
		e := dot(u, v) - r.value
		m.users.indices[k], m.items.indices[k] = r.user, r.item
		for i := range width {
			m.users.grads[k*width+i], m.items.grads[k*width+i] = e*v[i], e*u[i]
		}
	}
	return errors.Join(m.users.step(len(list)), m.items.step(len(list)))
}

// deviation is the root of the mean squared error.
func (m *model) deviation(list []rating) float64 {
	sum := 0.
	for _, r := range list {
		e := float64(dot(row(m.users.params, r.user), row(m.items.params, r.item)) - r.value)
		sum += e * e
	}
	return math.Sqrt(sum / float64(len(list)))
}
