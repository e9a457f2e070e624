/* The messages of errors. */
#define __USE_MINGW_ANSI_STDIO 1 /* %zu on Windows */
#include "optimizer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

lockstep_status lockstep_reject(lockstep_error *error, lockstep_status status, const char *format, ...) {
	if (!error) return status;
	va_list list;
	va_start(list, format);
	error->status = status;
	vsnprintf(error->message, sizeof error->message, format, list);
	va_end(list);
	return status;
}

const char *lockstep_quoted(const lockstep_optimizer *o, size_t tensor, char *room) {
	const char *name = o->records[tensor].name;
	if (!name) return "";
	snprintf(room, NAME_LEN, " (%.*s)", NAME_LEN - 4, name);
	return room;
}

void lockstep_prefix(lockstep_error *error, const char *of, size_t k) {
	char message[sizeof error->message];
	if (!error) return;
	strcpy(message, error->message);
	snprintf(error->message, sizeof error->message, "%s[%zu]: %.*s", of, k, (int)sizeof message - 32, message);
}
