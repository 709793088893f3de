/* run UUID: starts the pod of the working directory and stays until it ends (specs/stage1-interface.md).
 *
 * Its file is not sealed, which takes another execve: an app here that could open the executable of a
 * process with more capabilities than its own could open every other program's of the host as well. */
#include "../launch/init.h"
#include "../launch/run.h"

int main(int argc, char **argv)
{
	return run_pod_unsealed(argc, argv, run_init);
}
