package c11

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	cComment   = regexp.MustCompile(`(?s)/\*.*?\*/`)
	cStruct    = regexp.MustCompile(`(?s)typedef struct (\w+) \{(.*?)\n\} \w+;`)
	cField     = regexp.MustCompile(`(\**)(?:const )?(\w+)(\[\w+\])?$`)
	rustStruct = regexp.MustCompile(`(?s)#\[repr\(C\)\]\s*pub struct (\w+) \{(.*?)\n    \}`)
	rustField  = regexp.MustCompile(`pub (\w+): (.*),`)
)

// fieldsOfC returns the fields of the structs of C's headers, in order, each with an
// asterisk for each time that it is a pointer.
func fieldsOfC(t *testing.T) map[string][]string {
	headers, err := filepath.Glob("../../c/include/*.h")
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string][]string{}
	for _, header := range headers {
		text, err := os.ReadFile(header)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range cStruct.FindAllStringSubmatch(cComment.ReplaceAllString(string(text), ""), -1) {
			structs[s[1]] = nil
			for _, line := range strings.Split(s[2], ";") {
				for k, one := range strings.Split(line, ",") {
					before := one
					if k > 0 {
						before = strings.TrimLeft(one, " ")
					}
					if f := cField.FindStringSubmatch(strings.TrimSpace(one)); f != nil {
						structs[s[1]] = append(structs[s[1]], strings.Repeat("*", strings.Count(before, "*"))+f[2])
					}
				}
			}
		}
	}
	return structs
}

// TestRust holds the structs that C's example in Rust declares for itself against those of
// the headers: a field that is missing there makes a program read what is not its own.
func TestRust(t *testing.T) {
	text, err := os.ReadFile("../../c/example/rust/src/lockstep.rs")
	if err != nil {
		t.Fatal(err)
	}
	structs := fieldsOfC(t)
	found := rustStruct.FindAllStringSubmatch(string(text), -1)
	if len(found) < 4 {
		t.Fatalf("%d structs in Rust", len(found))
	}
	for _, s := range found {
		var got []string
		for _, f := range rustField.FindAllStringSubmatch(s[2], -1) {
			got = append(got, strings.Repeat("*", strings.Count(f[2], "*"))+f[1])
		}
		want := structs["lockstep_"+strings.ToLower(s[1])]
		if s[1] == "Rule" && len(got) > 1 && len(got) < len(want) {
			want = want[:len(got)] // of which the library alone has arrays
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %q in Rust, want %q", s[1], got, want)
		}
	}
}
