/* usage: test [folder [name...]]: the folder has the files of gen/vectors */
#include "test.h"

#include <string.h>

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
#ifndef _WIN32
	/* First those that need a process in which no table has been chosen. */
	{"choice", test_choice}, {"threads", test_threads}, {"fork", test_fork}, {"unwind", test_unwind},
#endif
	{"calls", test_calls}, {"vectors", test_vectors}, {"types", test_types}, {"losses", test_losses}, {"matmul", test_matmul}, {"verify", test_verify}, {"registers", test_registers},
	{"rules", test_rules}, {"presets", test_presets}, {"refusals", test_refusals}, {"settings", test_settings},
	{"places", test_places}, {"ranges", test_ranges}, {"observe", test_observe}, {"rows", test_rows}, {"follow", test_follow}, {"shards", test_shards}, {"unitwise", test_unitwise}, {"typed", test_typed}, {"packed", test_packed}, {"split", test_split}, {"trajectories", test_trajectories}, {"modes", test_modes},
#ifndef _WIN32
	{"pool", test_pool}, {"pool_fork", test_pool_fork},
#endif
};

static int wanted(const char *name, int argc, char **argv) {
	for (int k = 2; k < argc; k++)
		if (!strcmp(name, argv[k])) return 1;
	return argc < 3;
}

/* Fails if the environment asks for a table that cannot run. */
static void check_required(void) {
	const lockstep_table *list[TABLES];
	const char *required = getenv("LOCKSTEP_REQUIRE");
	if (!required || !*required) return;
	for (size_t n = tables(list); n > 0; n--)
		if (!strcmp(lockstep_isa(list[n - 1]), required)) return;
	CHECK(0, "%s is required and cannot run here", required);
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IONBF, 0);
	int ran = 0;
	if (argc > 1) folder = argv[1];
	read_vectors();
	check_required();
	for (size_t k = 0; k < sizeof tests / sizeof *tests; k++) {
		if (!wanted(tests[k].name, argc, argv)) continue;
		printf("%s\n", tests[k].name);
		tests[k].run();
		ran++;
	}
	CHECK(ran > 0, "no such test");
	printf("ok\n");
	return 0;
}
