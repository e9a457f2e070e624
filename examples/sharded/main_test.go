package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The test's binary is the program too.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-ranks") {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the program, and has line told each line of standard error.
func start(t *testing.T, dir string, ranks, steps int, line func(string)) (hash string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-ranks", strconv.Itoa(ranks), "-steps", strconv.Itoa(steps), "-dir", dir)
	var out strings.Builder
	cmd.Stdout = &out
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for in := bufio.NewScanner(said); in.Scan(); {
		fmt.Fprintln(&all, in.Text())
		if line != nil {
			line(in.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		return all.String(), err
	}
	return out.String(), nil
}

func run(t *testing.T, dir string, ranks, steps int, line func(string)) string {
	t.Helper()
	hash, err := start(t, dir, ranks, steps, line)
	if err != nil {
		t.Fatalf("%v\n%s", err, hash)
	}
	if len(hash) != 65 {
		t.Fatalf("the hash is %q", hash)
	}
	return hash
}

const steps = 100

// TestRanks have the bits of one process, and learn.
func TestRanks(t *testing.T) {
	var last string
	want := run(t, t.TempDir(), 1, steps, func(line string) { last = line })
	var percent float64
	if _, err := fmt.Sscanf(last, "step 100: %f %%", &percent); err != nil || percent < 60 {
		t.Errorf("it ends with %q", last)
	}
	for _, ranks := range []int{2, 4} {
		if got := run(t, t.TempDir(), ranks, steps, nil); got != want {
			t.Errorf("%d ranks: %s, want %s", ranks, got, want)
		}
	}
}

// TestGoesOn does with another number of ranks.
func TestGoesOn(t *testing.T) {
	want := run(t, t.TempDir(), 1, steps, nil)
	dir := t.TempDir()
	for at, ranks := range []int{4, 2, 1, 4} {
		got := run(t, dir, ranks, steps*(at+1)/4, nil)
		if at == 3 && got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

var process = regexp.MustCompile(`^rank (\d) is process (\d+)$`)

// TestKilled kills two ranks, rank 0 between checkpoints.
func TestKilled(t *testing.T) {
	want := run(t, t.TempDir(), 1, 4*steps, nil)
	got, began, late := killed(t)
	for try := 1; late && try < 5; try++ {
		got, began, late = killed(t)
	}
	if began != 6 {
		t.Errorf("%d processes began, want 6", began)
	}
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// killed runs the program, kills two ranks, and counts those that began. It is late if one had
// ended: who kills had no processor meanwhile.
func killed(t *testing.T) (hash string, began int, late bool) {
	pids, kills := map[string]int{}, map[string]string{"step 60:": "2", "step 200:": "0"}
	hash = run(t, t.TempDir(), 4, 4*steps, func(line string) {
		if m := process.FindStringSubmatch(line); m != nil {
			pids[m[1]], _ = strconv.Atoi(m[2])
			began++
		}
		for when, rank := range kills {
			if !strings.HasPrefix(line, when) {
				continue
			}
			delete(kills, when)
			p, err := os.FindProcess(pids[rank])
			if err == nil {
				err = p.Kill()
			}
			if late = late || errors.Is(err, os.ErrProcessDone); err != nil && !late {
				t.Error(err)
			}
		}
	})
	return hash, began, late
}

// TestKilledAtTheEnd kills a rank when others may have nothing left to do.
func TestKilledAtTheEnd(t *testing.T) {
	want := run(t, t.TempDir(), 1, 20, nil)
	pid := 0
	got := run(t, t.TempDir(), 2, 20, func(line string) {
		if m := process.FindStringSubmatch(line); m != nil && m[1] == "1" {
			pid, _ = strconv.Atoi(m[2])
		}
		if p, err := os.FindProcess(pid); err == nil && strings.HasPrefix(line, "step 20:") {
			p.Kill() // if it has not ended
		}
	})
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestUnfinished has shards of four ranks that were lost on the way to a checkpoint.
func TestUnfinished(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, 4, 20, nil)
	if err := os.CopyFS(unfinished(dir, 40), os.DirFS(folder(dir, 20))); err != nil {
		t.Fatal(err)
	}
	run(t, dir, 2, 40, nil)
	if got, want := run(t, dir, 1, 60, nil), run(t, t.TempDir(), 1, 60, nil); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDamaged has a shard cut and one missing.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, 2, 20, nil)
	shard := filepath.Join(folder(dir, 20), "rank-001.safetensors")
	whole, err := os.ReadFile(shard)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shard, whole[:len(whole)-1], 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := start(t, dir, 2, 40, nil); err == nil || !strings.Contains(said, "rank-001.safetensors: no checkpoint that can be read") {
		t.Errorf("%v: %s", err, said)
	}
	if err := os.Remove(shard); err != nil {
		t.Fatal(err)
	}
	if said, err := start(t, dir, 2, 40, nil); err == nil || !strings.Contains(said, "its shards end at") {
		t.Errorf("%v: %s", err, said)
	}
}
