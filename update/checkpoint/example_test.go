package checkpoint_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/checkpoint"
	"github.com/lockstep-go/lockstep/update/torch"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A run that goes on where another one has ended.
func Example() {
	folder, err := os.MkdirTemp("", "")
	check(err)
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "optimizer.safetensors")

	tensors := []update.Tensor{{Name: "weight", Size: 6}, {Name: "bias", Size: 3}}
	params := [][]float32{{1, 2, 3, 4, 5, 6}, {1, 2, 3}}
	grads := [][]float32{{1, 1, 1, 2, 2, 2}, {0, 1, 0}}
	first, err := update.NewSet(tensors, torch.AdamW())
	check(err)
	for range 3 {
		check(first.StepSet(params, grads))
	}
	check(checkpoint.Save(path, first, checkpoint.Options{
		Shapes: map[string][]int{"weight": {3, 2}},
		Extra:  map[string]int{"epoch": 1},
	}))

	second, err := update.NewSet(tensors, torch.AdamW())
	check(err)
	file, err := checkpoint.Load(path, second)
	check(err)
	check(second.StepSet(params, grads))
	fmt.Println(file.Groups[0].Rule, file.Tensors[0].Name, file.Tensors[0].Shape, string(file.Extra))
	fmt.Println(second.Steps(), "steps")
	// Output:
	// Adam weight [3 2] {"epoch":1}
	// 4 steps
}

// What is in a file, without an optimizer for it: its groups with their options, and what its
// tensors are called, which without names is their number.
func ExampleRead() {
	folder, err := os.MkdirTemp("", "")
	check(err)
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "optimizer.safetensors")

	optimizer, err := update.NewSet([]update.Tensor{{Name: "weight", Size: 2}, {Size: 1}}, torch.Momentum(.9))
	check(err)
	check(optimizer.StepSet([][]float32{{1, 2}, {3}}, [][]float32{{1, 1}, {1}}))
	check(checkpoint.Save(path, optimizer, checkpoint.Options{}))

	var file *checkpoint.File
	file, err = checkpoint.Read(path)
	check(err)
	var group checkpoint.Group = file.Groups[0]
	fmt.Println(group.Rule, group.Options["lr"], file.Steps, checkpoint.Names(optimizer))
	var first checkpoint.Tensor = file.Tensors[0]
	fmt.Println(first.Name, first.Buffers)

	err = os.Truncate(path, 100)
	check(err)
	_, err = checkpoint.Read(path)
	var broken *checkpoint.Error
	fmt.Println(errors.As(err, &broken))
	// Output:
	// Momentum 0.001 1 [weight 1]
	// weight [{momentum [1 1] {float32 [] [] []}}]
	// true
}
