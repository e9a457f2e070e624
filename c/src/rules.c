/* Rules and presets by name, and what refuses their options. */
#include "go.h"

#include <float.h>
#include <stdarg.h>
#include <stdlib.h>

const lockstep_rule *lockstep_rules(size_t *count) {
	*count = lockstep_all_rules_count;
	return lockstep_all_rules;
}

const lockstep_rule *lockstep_rule_named(const char *name) {
	for (size_t k = 0; name && k < lockstep_all_rules_count; k++)
		if (!strcmp(name, lockstep_all_rules[k].name)) return &lockstep_all_rules[k];
	return NULL;
}

const lockstep_preset_entry *lockstep_presets(size_t *count) {
	*count = lockstep_all_presets_count;
	return lockstep_all_presets;
}

static const lockstep_preset_entry *find_preset(const char *framework, const char *name) {
	for (size_t k = 0; framework && name && k < lockstep_all_presets_count; k++)
		if (!strcmp(framework, lockstep_all_presets[k].framework) && !strcmp(name, lockstep_all_presets[k].name)) return &lockstep_all_presets[k];
	return NULL;
}

/* Whether a caller who knows so many bytes of the options lacks one that is not 0. */
static int knows_too_little(const lockstep_preset_entry *preset, size_t size) {
	while (size < preset->rule->size)
		if (((const char *)preset->options)[size++]) return 1;
	return 0;
}

lockstep_status lockstep_preset(const char *framework, const char *name, void *options, size_t size, const lockstep_rule **rule) {
	const lockstep_preset_entry *preset = find_preset(framework, name);
	if (!preset || (options && knows_too_little(preset, size))) return LOCKSTEP_BAD_ARGUMENT;
	size_t known = preset->rule->size < size ? preset->rule->size : size;
	if (options) {
		memset(options, 0, size);
		memcpy(options, preset->options, known);
	}
	if (rule) *rule = preset->rule;
	return LOCKSTEP_OK;
}

lockstep_status lockstep_bad_argument(lockstep_error *error, const char *argument, const char *value, const char *want) {
	return lockstep_refuse(error, argument, value, "%s", want);
}

lockstep_status lockstep_refuse(lockstep_error *error, const char *argument, const char *value, const char *want, ...) {
	if (!error) return LOCKSTEP_BAD_ARGUMENT;
	error->status = LOCKSTEP_BAD_ARGUMENT;
	int n = snprintf(error->message, sizeof error->message, "%s is %s, want ", argument, value);
	if (n < 0 || (size_t)n >= sizeof error->message) return LOCKSTEP_BAD_ARGUMENT;
	va_list list;
	va_start(list, want);
	vsnprintf(error->message + n, sizeof error->message - (size_t)n, want, list);
	va_end(list);
	return LOCKSTEP_BAD_ARGUMENT;
}

/* The number in so many significant digits, d.ddde+xx, and its exponent of 10. */
static int in_digits(number_text *n, double x, int digits) {
	snprintf(n->text, sizeof n->text, "%.*e", digits - 1, x);
	return (int)strtol(strchr(n->text, 'e') + 1, NULL, 10);
}

number_text lockstep_decimal(int64_t x) {
	number_text n;
	snprintf(n.text, sizeof n.text, "%lld", (long long)x);
	return n;
}

number_text lockstep_shortest(double x) {
	if (x != x) return (number_text){"NaN"};
	if (x > DBL_MAX) return (number_text){"+Inf"};
	if (x < -DBL_MAX) return (number_text){"-Inf"};
	number_text n;
	int digits = 1, exponent = in_digits(&n, x, digits);
	while (digits < 17 && strtod(n.text, NULL) != x) exponent = in_digits(&n, x, ++digits);
	if (exponent >= -4 && exponent < 6) snprintf(n.text, sizeof n.text, "%.*f", digits > exponent ? digits - 1 - exponent : 0, x);
	else sprintf(strchr(n.text, 'e'), "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
	return n;
}
