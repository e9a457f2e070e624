package verify

import (
	"os"
	"regexp"
	"testing"
)

// TestReadme compares the sums with those of the README, whatever the machine: run it
// with every table forced, and for other architectures under an emulator.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	published := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| ([^|]+) \\| `([0-9a-f]{64})` \\|$").FindAllStringSubmatch(string(text), -1) {
		published[m[1]] = m[2]
	}
	sums, err := Run()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sums {
		if published[s.Rule] != s.SHA256 {
			t.Errorf("%s is %s, in the README %s", s.Rule, s.SHA256, published[s.Rule])
		}
		delete(published, s.Rule)
	}
	for name := range published {
		t.Errorf("the README has %s, which is not verified", name)
	}
}
