package worker

import (
	"slices"
	"testing"
)

func TestNewTask(t *testing.T) {
	for _, c := range []struct {
		rule, shape, threads string
		want                 Task
	}{
		{"adamw", "4096", "1", Task{"adamw", "", 1, 4096, 1}},
		{"adam+l2", "148x4512", "2", Task{"adam", "l2", 148, 4512, 2}},
	} {
		got, err := newTask(c.rule, c.shape, c.threads)
		if err != nil || got != c.want {
			t.Errorf("%s %s %s: %+v, %v, want %+v", c.rule, c.shape, c.threads, got, err, c.want)
		}
	}
	for _, shape := range []string{"", "0", "-1", "x64", "3x", "3x4x5", "0x4"} {
		if task, err := newTask("sgd", shape, "1"); err == nil {
			t.Errorf("the shape %q is taken for %+v", shape, task)
		}
	}
}

// TestTurn has each tensor meet every buffer, and no two the same one.
func TestTurn(t *testing.T) {
	from, to := []int{10, 11, 12}, make([]int, 3)
	for step, want := range [][]int{{10, 12, 11}, {11, 10, 12}, {12, 11, 10}, {10, 12, 11}} {
		if Turn(to, from, step); !slices.Equal(to, want) {
			t.Errorf("step %d: %v, want %v", step, to, want)
		}
	}
}

func TestMany(t *testing.T) {
	task := Task{Tensors: 3, Size: 5}
	if got, want := Joined(task.Params()), Params(15); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
