package main

import (
	"bytes"
	"fmt"
	"go/types"

	"github.com/lockstep-go/lockstep/internal/names"
)

// source is the file with the functions and the tables.
func (g *generator) source() []byte {
	var glue, rules, codes bytes.Buffer
	for _, r := range g.rules {
		g.glue(&glue, r)
		name := names.C(r.name)
		fmt.Fprintf(&rules, "\t{%q, sizeof(%s), %s_fields, sizeof %[3]s_fields / sizeof *%[3]s_fields},\n", r.name, structName(r.name), name)
		fn, _ := g.p.Method(r.t, "plan", "r")
		plan := g.p.Plan(fn)
		factored, factors, matrices := "NULL", "NULL", 0
		if fn, _ := g.p.Method(r.t, "factoredPlan", "r"); fn != nil {
			factors = "factors_" + name
			if only, _ := g.p.Method(r.t, "takesMatrices", "r"); only != nil { // whose plans are one
				factored, matrices = plan.Function, 1
			} else {
				factored = g.p.Plan(fn).Function
			}
		}
		fmt.Fprintf(&codes, "\t{sizeof(%s), %s, common_%s, name_%[3]s, check_%[3]s, check_%[3]s_lr, %s, %s, %d},\n", plan.Prepared, plan.Function, name, factors, factored, matrices)
	}
	g.begin(&glue)
	g.around(&glue)
	b := bytes.NewBufferString(header + "#include \"go.h\"\n")
	b.Write(g.p.Text())
	b.Write(glue.Bytes())
	fmt.Fprintf(b, "\nconst lockstep_rule lockstep_all_rules[] = {\n%s};\n", rules.Bytes())
	fmt.Fprintf(b, "\nconst lockstep_rule_code lockstep_all_codes[] = {\n%s};\n", codes.Bytes())
	fmt.Fprintf(b, "\nconst size_t lockstep_all_rules_count = sizeof lockstep_all_rules / sizeof *lockstep_all_rules;\n")
	g.presets(b)
	return b.Bytes()
}

// begin prints what a step of any rule begins with.
func (g *generator) begin(b *bytes.Buffer) {
	fn, _ := g.p.Method(g.p.Package("internal/engine").Scope().Lookup("Options").Type().(*types.Named), "Begin", "")
	name := g.p.Function(nil, fn)
	b.WriteString("\nvoid lockstep_make_stages(lockstep_options options, double scale, int fuses_proximal, lockstep_step_input *in, lockstep_stages *stages) {\n")
	fmt.Fprintf(b, "\tconst %s_results begun = %[1]s(options, scale, fuses_proximal);\n\t*in = begun.in;\n\t*stages = begun.s;\n}\n", name)
	part := g.p.Package("internal/engine").Scope().Lookup("partOf").(*types.Func)
	fmt.Fprintf(b, "\ndouble lockstep_part_of(double scale) { return %s(scale); }\n", g.p.Function(nil, part))
}

// around prints what an average of parameters leaves of the one before it, and how large noise is.
func (g *generator) around(b *bytes.Buffer) {
	update := g.p.Package("update")
	fn, _, _ := types.LookupFieldOrMethod(update.Scope().Lookup("averager").Type(), true, update, "decay")
	decay, powers := g.p.Function(nil, fn.(*types.Func)), g.p.Function(nil, update.Scope().Lookup("newPower").(*types.Func))
	b.WriteString("\nconst size_t lockstep_averager_size = sizeof(averager);\n")
	b.WriteString("\nvoid lockstep_make_averager(const lockstep_averaging *a, void *of) {\n")
	b.WriteString("\tconst averaging as = {.every = a->every, .after = a->after, .decay = a->decay, .equal = a->equal != 0, .bias_corrected = a->bias_corrected != 0, .warm_up = a->warm_up != 0, .from_start = a->from_start != 0, .overwrite = a->overwrite};\n")
	fmt.Fprintf(b, "\t*(averager *)of = (averager){.averaging = as, .powers = %s(a->decay)};\n}\n", powers)
	fmt.Fprintf(b, "\ndouble lockstep_decay(void *of, int64_t averages) { return %s(of, averages); }\n", decay)
	std, _, _ := types.LookupFieldOrMethod(update.Scope().Lookup("Noise").Type(), true, update, "std")
	b.WriteString("\ndouble lockstep_std_of(const lockstep_noise *n, int64_t t) {\n\tnoise as = {.eta = n->eta, .gamma = n->gamma, .seed = n->seed};\n")
	fmt.Fprintf(b, "\treturn %s(&as, t);\n}\n", g.p.Function(nil, std.(*types.Func)))
}

// glue prints what the engine calls with options of any rule, and the list of these.
func (g *generator) glue(b *bytes.Buffer, r rule) {
	name, of := names.C(r.name), structName(r.name)
	fmt.Fprintf(b, "\nstatic const lockstep_option %s_fields[] = {\n", name)
	for _, f := range r.fields {
		option := g.p.Option(f)
		fmt.Fprintf(b, "\t{\"%s\", %s, offsetof(%s, %[1]s)},\n", option.Name, option.Kind, of)
	}
	b.WriteString("};\n")

	fn, self := g.p.Method(r.t, "Name", "r")
	fmt.Fprintf(b, "\nstatic void name_%s(const void *options, char *name, size_t room) {\n\tconst %s *r = options;\n", name, of)
	fmt.Fprintf(b, "\t%s(%s, name, room);\n}\n", g.p.TextFunction(fn), self)
	fn, self = g.p.Method(r.t, "options", "r")
	fmt.Fprintf(b, "\nstatic lockstep_options common_%s(const void *options) {\n\tconst %s *r = options;\n", name, of)
	fmt.Fprintf(b, "\treturn %s(%s);\n}\n", g.p.Function(nil, fn), self)
	g.checks(b, r)
	if fn, self := g.p.Method(r.t, "factors", "r"); fn != nil {
		fmt.Fprintf(b, "\nstatic int factors_%s(const void *options, int64_t rows, int64_t columns) {\n\tconst %s *r = options;\n", name, of)
		fmt.Fprintf(b, "\treturn %s(%s, rows, columns);\n}\n", g.p.Function(nil, fn), self)
	}
}

// checks prints checkOptions and checkLR of package update, which ask a rule whether it
// refuses learning rates of its own.
func (g *generator) checks(b *bytes.Buffer, r rule) {
	name, of := names.C(r.name), structName(r.name)
	common := g.p.Package("update").Scope().Lookup("Options").Type().(*types.Named)
	check, _ := g.p.Method(common, "check", "")
	checkRate, _ := g.p.Method(common, "checkRate", "")
	fn, self := g.p.Method(r.t, "check", "r")
	fmt.Fprintf(b, "\nstatic lockstep_status check_%s(const void *options, lockstep_error *error) {\n\tconst %s *r = options;\n", name, of)
	fmt.Fprintf(b, "\tlockstep_status status = %s(common_%s(options), error);\n", g.p.Function(nil, check), name)
	fmt.Fprintf(b, "\tif (!status) status = %s(%s, error);\n%s\treturn status;\n}\n", g.p.Function(nil, fn), self, g.own(r, "", "r->lr"))

	notNegative := g.p.Package("update").Scope().Lookup("notNegative").(*types.Func)
	fmt.Fprintf(b, "\nstatic lockstep_status check_%s_lr(const void *options, double lr, lockstep_error *error) {\n", name)
	fmt.Fprintf(b, "\tlockstep_status status = %s(\"lr\", lr, error);\n", g.p.Function(nil, notNegative))
	fmt.Fprintf(b, "\tif (!status) status = %s(common_%s(options), \"lr\", lr, error);\n", g.p.Function(nil, checkRate), name)
	fmt.Fprintf(b, "%s\treturn status;\n}\n", g.own(r, "\tconst "+of+" *r = options;\n", "lr"))
}

// own prints the check of a rule that refuses learning rates of its own, after a declaration.
func (g *generator) own(r rule, declaration, lr string) string {
	fn, self := g.p.Method(r.t, "checkOwnRate", "r")
	if fn == nil {
		return ""
	}
	return declaration + fmt.Sprintf("\tif (!status) status = %s(%s, \"lr\", %s, error);\n", g.p.Function(nil, fn), self, lr)
}
