package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	mod "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// TestInstall publishes the library and the benchmark in a folder, at the version that the
// benchmark requires, and has the go command install the benchmark from there, as
// somebody does who has no clone.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the benchmark and all that it imports")
	}
	proxy := t.TempDir()
	version := required(t, "../bench/go.mod", library)
	publish(t, proxy, "..", mod.Version{Path: library, Version: version})
	publish(t, proxy, "../bench", mod.Version{Path: library + "/bench", Version: version})

	bin := t.TempDir()
	env := append(os.Environ(), "GOWORK=off", "GOBIN="+bin, "GOMODCACHE="+t.TempDir(), "GOFLAGS=-modcacherw -trimpath", "GONOSUMDB=*",
		"GOPROXY=file://"+filepath.ToSlash(proxy)+",file://"+filepath.ToSlash(downloads(t)))
	install := exec.Command("go", "install", library+"/bench@latest")
	install.Dir, install.Env = bin, env
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(bin, "bench"), "-verify").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "torch AdamW") {
		t.Errorf("%v\n%s", err, out)
	}
}

const library = "github.com/lockstep-go/lockstep" // the path of its module

// required is the version of a module that a go.mod requires.
func required(t *testing.T, file, path string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse(file, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.Require {
		if r.Mod.Path == path {
			return r.Mod.Version
		}
	}
	t.Fatalf("%s does not require %s", file, path)
	return ""
}

// downloads is where the go command keeps the modules that it has downloaded, those that
// the benchmark imports among them.
func downloads(t *testing.T) string {
	t.Helper()
	list := exec.Command("go", "list", "-deps", ".")
	list.Dir = "../bench"
	if out, err := list.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "cache", "download")
}

// publish writes a module as a proxy serves it.
func publish(t *testing.T, proxy, dir string, m mod.Version) {
	t.Helper()
	at := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"list": m.Version + "\n", m.Version + ".mod": string(text),
		m.Version + ".info": fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, m.Version),
	} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(filepath.Join(at, m.Version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := zip.CreateFromDir(file, m, dir); err != nil {
		t.Fatal(err)
	}
}
