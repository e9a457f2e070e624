//go:build linux && !purego

package engine

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"golang.org/x/sys/unix"
)

// large is the number of elements of the buffers of these tests.
const large = 24 << 20

func needsHugePages(t *testing.T) {
	if !hasHugePages() || emulated || testing.Short() {
		t.Skip("no huge pages on request here, or no time")
	}
}

// pages reads from the system how many bytes around some memory are huge pages, and what
// flags its mappings have.
func pages(t *testing.T, memory []float32) (huge int, flags []string) {
	t.Helper()
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer file.Close()
	begin := buffers.Address(memory)
	end := begin + 4*uintptr(len(memory))
	var from, to uintptr
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		var low, high uintptr
		var kib int
		if n, _ := fmt.Sscanf(line, "%x-%x ", &low, &high); n == 2 {
			from, to = low, high
		}
		if to <= begin || end <= from {
			continue
		}
		if n, _ := fmt.Sscanf(line, "AnonHugePages: %d kB", &kib); n == 1 {
			huge += kib << 10
		}
		if list, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			flags = append(flags, strings.Fields(list)...)
		}
	}
	return huge, flags
}

// TestHugePages looks at what large buffers are made of: huge pages, unless they are
// switched off, without advice that would outlive the buffers.
func TestHugePages(t *testing.T) {
	needsHugePages(t)
	b := Alloc(large, 1)[0]
	huge, flags := pages(t, b)
	if huge < 2*large {
		defer t.Skipf("the system has huge pages for %d bytes of %d", huge, 4*large)
	}
	if slices.Contains(flags, "hg") || slices.Contains(flags, "nh") {
		t.Errorf("advice on huge pages stays with the memory: %v", flags)
	}
}

// TestHugePagesByAdvice does it as before Linux 6.1.
func TestHugePagesByAdvice(t *testing.T) {
	needsHugePages(t)
	memory, err := unix.Mmap(-1, 0, 64<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Munmap(memory)
	b := unsafe.Slice((*float32)(unsafe.Pointer(&memory[0])), len(memory)/4)
	makeHugeByAdvice(b)
	huge, flags := pages(t, b)
	if slices.Contains(flags, "hg") {
		t.Errorf("advice on huge pages stays with the memory: %v", flags)
	}
	if huge < 32<<20 {
		t.Skipf("the system has huge pages for %d bytes of 64 Mi", huge)
	}
}

// TestHugePagesOff switches them off.
func TestHugePagesOff(t *testing.T) {
	needsHugePages(t)
	setting, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if strings.Contains(string(setting), "[always]") {
		t.Skip("the system makes all pages huge")
	}
	runtime.GC()
	debug.FreeOSMemory() // what earlier buffers were made of
	SetHugePages(false)
	defer SetHugePages(true)
	b := Alloc(large, 1)[0]
	if huge, _ := pages(t, b); huge > large {
		t.Errorf("%d bytes of %d are on huge pages", huge, 4*large)
	}
}

// TestMemoryReturns makes buffers and drops them: the system has the memory back.
func TestMemoryReturns(t *testing.T) {
	needsHugePages(t)
	runtime.GC()
	debug.FreeOSMemory()
	before := resident(t)
	b := Alloc(large, 2)
	with := resident(t)
	runtime.KeepAlive(b)
	b = nil
	debug.FreeOSMemory()
	if after := resident(t); with-before < 7*large || after-before > large {
		t.Errorf("resident: %d bytes, %d with buffers of %d, %d without them", before, with, 8*large, after)
	}
}

// resident is how many bytes of the program are in memory, or were and are swapped out. The
// sums that the system keeps are off by some pages for each processor: these are counted.
func resident(t *testing.T) (bytes int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		for _, name := range []string{"Rss", "Swap"} {
			var kib int
			if n, _ := fmt.Sscanf(line, name+": %d kB", &kib); n == 1 {
				bytes += kib << 10
			}
		}
	}
	if bytes == 0 {
		t.Skipf("the system does not say what is in memory:\n%s", text)
	}
	return bytes
}
