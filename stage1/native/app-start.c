/* app-start UUID APP: starts an app of a running pod, and returns when it runs
 * (specs/stage1-interface.md). */
#include "../launch/request.h"

int main(int argc, char **argv)
{
	return request_app(argc, argv, "app-start", "start");
}
