//go:build purego || noasm || !(amd64 || arm64)

package kernels

import "runtime"

var candidates []candidate

func cpuName() string { return runtime.GOARCH }
