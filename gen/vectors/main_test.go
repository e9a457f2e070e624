package main

import (
	"bytes"
	"os"
	"testing"
)

// TestFresh compares the file on disk with what the reference gives now.
func TestFresh(t *testing.T) {
	got, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, vectors()) {
		t.Error("c/test/vectors.txt is stale: run go generate ./...")
	}
}
