package main

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/internal/names"
	"github.com/lockstep-go/lockstep/internal/registry"
)

// presets prints the table of all presets.
func (g *generator) presets(b *bytes.Buffer) {
	list := sorted()
	b.WriteString("\n")
	for _, p := range list {
		fmt.Fprintf(b, "static const %s %s = {%s};\n", structName(typeName(p)), symbol(p), cmp.Or(strings.Join(values(reflect.ValueOf(p.Rule)), ", "), "0"))
	}
	b.WriteString("\nconst lockstep_preset_entry lockstep_all_presets[] = {\n")
	for _, p := range list {
		place := slices.IndexFunc(g.rules, func(r rule) bool { return r.name == typeName(p) })
		fmt.Fprintf(b, "\t{%q, %q, &lockstep_all_rules[%d], &%s},\n", p.Framework, p.Name, place, symbol(p))
	}
	b.WriteString("};\n\nconst size_t lockstep_all_presets_count = sizeof lockstep_all_presets / sizeof *lockstep_all_presets;\n")
}

// sorted are all presets, by framework and name.
func sorted() []registry.Preset {
	var list []registry.Preset
	for _, e := range registry.All() {
		list = append(list, e.Presets...)
	}
	slices.SortFunc(list, func(a, b registry.Preset) int {
		return strings.Compare(a.Framework+"\x00"+a.Name, b.Framework+"\x00"+b.Name)
	})
	return list
}

func typeName(p registry.Preset) string { return reflect.TypeOf(p.Rule).Name() }

func symbol(p registry.Preset) string { return p.Framework + "_" + names.C(p.Name) }

// values are the options that are not 0.
func values(v reflect.Value) []string {
	var list []string
	for k := range v.NumField() {
		f, name := v.Field(k), names.C(v.Type().Field(k).Name)
		switch {
		case v.Type().Field(k).Anonymous:
			list = append(list, values(f)...)
		case f.IsZero():
		case f.Kind() == reflect.Bool:
			list = append(list, "."+name+" = 1")
		case f.CanInt():
			list = append(list, fmt.Sprintf(".%s = %d", name, f.Int()))
		default:
			list = append(list, "."+name+" = "+strconv.FormatFloat(f.Float(), 'x', -1, 64))
		}
	}
	return list
}
