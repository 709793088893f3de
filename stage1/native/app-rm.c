/* app-rm UUID APP: has a running pod forget an app that does not run
 * (specs/stage1-interface.md). */
#include "../launch/request.h"

int main(int argc, char **argv)
{
	return request_app(argc, argv, "app-rm", "rm");
}
