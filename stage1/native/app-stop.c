/* app-stop UUID APP: stops an app of a running pod, and returns when it has ended
 * (specs/stage1-interface.md). */
#include "../launch/request.h"

int main(int argc, char **argv)
{
	return request_app(argc, argv, "app-stop", "stop");
}
