import { isLabel, PROCESS_ISOLATORS } from '../isolation/process-limits.ts';
import type { AppChoices } from '../stage1/app.ts';
import type { PlanKind } from '../stage1/settings.ts';
import type { NamedApp } from './manifest.ts';
import type { PodRequest } from './request.ts';

/** What the host lets processes of the pod become; it is looked at where an app has a limit or a label. */
export async function processHost(
  { runsNow = false, isolators = [] }: PodRequest,
  apps: readonly NamedApp[],
  plan: PlanKind,
): Promise<Pick<AppChoices, 'host'>> {
  const all = [...isolators.filter(isLabel), ...apps.flatMap(({ section }) => section.isolators)];
  if (!all.some(({ name }) => PROCESS_ISOLATORS.includes(name))) return {};
  const { MACHINE_HOST, readProcessHost } = await import('../isolation/process-host.ts');
  return { host: plan === 'kvm' ? MACHINE_HOST : readProcessHost(runsNow) };
}
