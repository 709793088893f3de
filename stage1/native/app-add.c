/* app-add UUID APP: has a running pod know an app whose plan lies in apps/APP
 * (specs/stage1-interface.md). */
#include "../launch/request.h"

int main(int argc, char **argv)
{
	return request_app(argc, argv, "app-add", "add");
}
