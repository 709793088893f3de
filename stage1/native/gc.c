/* gc UUID: removes what a run that was killed left outside its pod directory. The caller holds the
 * lock of the pod directory, which is the working directory (specs/stage1-interface.md). */
#include "../launch/cgroup.h"
#include "../launch/plan.h"
#include "../launch/text.h"

int main(void)
{
	static struct plan plan;
	subcommand = "gc";
	if (read_plan(&plan, "plan") < 0)
		return 254;
	return remove_cgroups(&plan.teardown) < 0 ? 254 : 0;
}
