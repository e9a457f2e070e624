package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
)

// TestWidth prints everything there is, to screens of several widths.
func TestWidth(t *testing.T) {
	r := synthetic()
	r.Machine.Tables[0].Requires = strings.Fields("AVX512F AVX512DQ AVX512CD AVX512BW AVX512VL AVX2 OS")
	r.Train.Runs[0].Problem = strings.Repeat("a long name ", 12)
	for _, width := range []int{40, 80, 120} {
		for _, colours := range []bool{false, true} {
			var b bytes.Buffer
			s := &screen{&b, width, colours}
			r.Machine.print(s)
			r.Check.print(s)
			r.Train.print(s)
			r.Speed.print(s)
			for _, line := range strings.Split(b.String(), "\n") {
				if n := text.StringWidthWithoutEscSequences(line); n > width {
					t.Errorf("%d columns: a line of %d: %s", width, n, line)
				}
			}
			if got := strings.Contains(b.String(), "\x1b"); got != colours {
				t.Errorf("colours are %v, want %v", got, colours)
			}
			if n := strings.Count(b.String(), "SquaredHinge"); n != 4 && width > 40 {
				t.Errorf("%d columns: a kernel is there %d times, want 4", width, n)
			}
		}
	}
}

// TestScreen heeds the environment; a file is no terminal.
func TestScreen(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for columns, want := range map[string]int{"": plainWidth, "100": 100, "7": 40, "999": 120, "x": plainWidth} {
		t.Setenv("COLUMNS", columns)
		if s := newScreen(f); s.width != want || s.colours {
			t.Errorf("COLUMNS=%s: %d columns, colours %v", columns, s.width, s.colours)
		}
	}
}

func TestWithout(t *testing.T) {
	g := newGrid("case", "same", "n", "differs")
	g.numbers = []int{1, 2, 3}
	g.add("a", "x", "1", "2")
	g.add("b", "x", "1", "3")
	if same := g.without("same"); same != "x" {
		t.Errorf("all are %q", same)
	}
	if same := g.without("differs"); same != "" {
		t.Errorf("%q is not the same everywhere", same)
	}
	if len(g.head) != 3 || len(g.rows[1]) != 3 || g.numbers[0] != 1 || len(g.numbers) != 2 {
		t.Errorf("left is %+v", g)
	}
}

// TestOutput leaves what is there until it is written.
func TestOutput(t *testing.T) {
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old"), filepath.Join(dir, "new")
	if err := os.WriteFile(old, []byte("a long content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, fresh} {
		o, err := newOutput(path)
		if err != nil {
			t.Fatal(err)
		}
		o.drop()
	}
	if b, _ := os.ReadFile(old); string(b) != "a long content" {
		t.Errorf("a file that was not written has %q", b)
	}
	if _, err := os.Stat(fresh); !os.IsNotExist(err) {
		t.Errorf("a file that was not written is there: %v", err)
	}
	for _, path := range []string{old, fresh} {
		o, err := newOutput(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.write(func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
			t.Fatal(err)
		}
		o.drop()
		if b, _ := os.ReadFile(path); string(b) != "new" {
			t.Errorf("%s has %q", path, b)
		}
	}
	if _, err := newOutput(filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("a file without a folder can be written")
	}
	if o, err := newOutput(""); o != nil || err != nil {
		t.Errorf("no path: %v, %v", o, err)
	}
}

// TestNames looks for words that a new reader does not know.
func TestNames(t *testing.T) {
	var b bytes.Buffer
	r := synthetic()
	r.Train.print(&screen{&b, 80, false})
	if unknown := regexp.MustCompile(`(?i)the text's|textbook`).FindString(b.String() + rendered(t, r, nil)); unknown != "" {
		t.Errorf("the report has %q", unknown)
	}
}
