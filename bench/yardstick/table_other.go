//go:build purego || noasm || !(amd64 || arm64)

package yardstick

var tables map[string]*Table
