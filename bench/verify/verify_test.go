package verify

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var write = flag.Bool("write", false, "write the table of hashes to the README")

const readme = "../../README.md"

var row = regexp.MustCompile("(?m)^\\| ([^|]+) \\| `([0-9a-f]{64})` \\|\n")

func (s Sum) row() string { return fmt.Sprintf("| %s | `%s` |\n", s.Rule, s.SHA256) }

// TestReadme compares the sums with those of the README, whatever the machine: run it
// with every table forced, and for other architectures under an emulator. With -write it
// writes them.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := Run()
	if err != nil {
		t.Fatal(err)
	}
	if *write {
		if err := os.WriteFile(readme, rewritten(text, sums), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	published := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		published[m[1]] = m[2]
	}
	for _, s := range sums {
		switch was, ok := published[s.Rule]; {
		case !ok:
			t.Errorf("the README's table of hashes lacks a row, which go test ./bench/verify -write adds:\n%s", s.row())
		case was != s.SHA256:
			t.Errorf("the bits of %s have changed: its hash is %s, in its row of the README %s", s.Rule, s.SHA256, was)
		}
		delete(published, s.Rule)
	}
	for name := range published {
		t.Errorf("the README's table of hashes has a row of %s, which is not verified", name)
	}
}

// rewritten is the README with other rows in its table of hashes.
func rewritten(text []byte, sums []Sum) []byte {
	at := row.FindIndex(text)
	var table strings.Builder
	for _, s := range sums {
		table.WriteString(s.row())
	}
	rest := row.ReplaceAll(text[at[0]:], nil)
	return append(append(text[:at[0]:at[0]], table.String()...), rest...)
}
