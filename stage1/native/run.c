/* run UUID: starts the pod of the working directory and stays until it ends (specs/stage1-interface.md). */
#include "../launch/init.h"
#include "../launch/run.h"

int main(int argc, char **argv)
{
	return run_pod(argc, argv, run_init);
}
