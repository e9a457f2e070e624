package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestFresh compares what is on disk with what is generated now.
func TestFresh(t *testing.T) {
	fs, err := files("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range fs {
		got, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go generate ./...", name)
		}
	}
}
