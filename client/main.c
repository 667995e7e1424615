/* main.c - `modelmap`: the words go to cli.c. */
#include "client/client.h"

int main(int argc, char **argv)
{
	return mm_cli_main(argc, (const char *const *)argv, stdout, stderr);
}
