/* What gen/vectors says of optimizers, line by line. */
#include "test.h"

#include <string.h>

static int split(line *l) {
	l->count = 0;
	for (char *word = strtok(l->text, " \n"); word; word = strtok(NULL, " \n")) {
		CHECK(l->count < 64, "a line of too many words");
		l->words[l->count++] = word;
	}
	return l->count;
}

void each_line(const char *first, void f(const line *l)) {
	char path[400];
	snprintf(path, sizeof path, "%s/optimizers.txt", folder);
	FILE *file = fopen(path, "r");
	CHECK(file, "cannot open %s", path);
	int found = 0;
	static line l;
	while (fgets(l.text, sizeof l.text, file)) {
		CHECK(strchr(l.text, '\n'), "a line is too long: %s", l.text);
		if (!split(&l) || strcmp(l.words[0], first)) continue;
		f(&l);
		found++;
	}
	fclose(file);
	CHECK(found, "no line begins with %s", first);
	printf("  %d lines: %s\n", found, first);
}

static const lockstep_rule *find_rule(const char *name) {
	size_t count;
	const lockstep_rule *rules = lockstep_rules(&count);
	for (size_t k = 0; k < count; k++)
		if (!strcmp(rules[k].name, name)) return &rules[k];
	CHECK(0, "no rule is %s", name);
	return NULL;
}

static const lockstep_option *find_option(const lockstep_rule *rule, const char *name) {
	for (size_t k = 0; k < rule->option_count; k++)
		if (!strcmp(rule->options[k].name, name)) return &rule->options[k];
	CHECK(0, "%s has no option %s", rule->name, name);
	return NULL;
}

void set_option(options *o, const char *name, double value) {
	const lockstep_option *option = find_option(o->rule, name);
	if (option->kind == LOCKSTEP_DOUBLE)
		*(double *)(o->bytes + option->offset) = value;
	else
		*(int *)(o->bytes + option->offset) = (int)value;
}

double get_option(const options *o, const char *name) {
	const lockstep_option *option = find_option(o->rule, name);
	return option->kind == LOCKSTEP_DOUBLE ? *(const double *)(o->bytes + option->offset) : *(const int *)(o->bytes + option->offset);
}

options read_options(const line *l, int word) {
	options o;
	memset(&o, 0, sizeof o);
	o.rule = find_rule(l->words[word]);
	CHECK(o.rule->size <= sizeof o.bytes, "%s has large options", o.rule->name);
	for (int k = word + 1; k + 1 < l->count; k += 2) set_option(&o, l->words[k], strtod(l->words[k + 1], NULL));
	return o;
}
