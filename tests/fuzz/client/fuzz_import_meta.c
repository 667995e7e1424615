/* Any text as what is known of imported models: what is accepted names only models that there are, once each, and only
 * arguments that `import` has. */
#include "client/client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "e", "org/a", "b" };
	const struct mm_cmd *cmd = mm_cmd_find("import");
	char path[64];
	struct mm_err err;
	const char *name, *key;
	json_t *model, *v;
	int fd = memfd_create("meta", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size || !cmd)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	json_t *o = mm_import_meta(path, names, MM_COUNT(names), &err);
	json_object_foreach (o, name, model) {
		bool known = false;
		for (size_t i = 0; i < MM_COUNT(names); i++)
			known = known || !strcmp(names[i], name);
		if (!known)
			abort();
		json_object_foreach (model, key, v) {
			size_t i = 0;
			while (i < MM_CMD_MAX_ARGS && cmd->arg[i].name && strcmp(cmd->arg[i].name, key) != 0)
				i++;
			if (i == MM_CMD_MAX_ARGS || !cmd->arg[i].name ||
				json_is_string(v) != (cmd->arg[i].type == MM_ARG_STR))
				abort();
		}
	}
	json_decref(o);
	close(fd);
	return 0;
}
