package main

import (
	"bytes"
	"os"
	"testing"
)

// TestFresh compares the files on disk with what the reference gives now.
func TestFresh(t *testing.T) {
	for path, content := range files {
		got, err := os.ReadFile("../" + path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, content()) {
			t.Errorf("%s is stale: run go generate ./...", path)
		}
	}
}
