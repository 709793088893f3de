import { readFileSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { formatPlan as formatPlanFile } from '../stage1/plan.ts';
import type { Pod } from './pod.ts';
import { readRecord } from './record.ts';

/** Of a mutable pod: the plans of its apps, as they are now. */
function appPlans(pod: Pod): Buffer[] {
  const { apps = [], settings } = readRecord(pod) ?? {};
  if (settings?.mutable === undefined) return [];
  return apps.flatMap(({ name }) => {
    try {
      return [readFileSync(pod.file(`apps/${name}/plan`))];
    } catch {
      return []; // it has just been removed
    }
  });
}

/**
 * The launch plan of a pod for people: one step a line, words quoted as a shell would need them, system call
 * filters in words.
 * @throws GantryError `wrong-phase` while the pod has none
 */
export function formatPlan(pod: Pod): string {
  const apps = readRecord(pod)?.settings.apps ?? [];
  const filters = new Map(
    apps.map(({ name, systemCalls }): [string, string] => [name, systemCalls?.does ?? '']),
  );
  let bytes: Buffer;
  try {
    bytes = readFileSync(pod.file('plan'));
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new GantryError(
      'wrong-phase',
      `pod ${JSON.stringify(pod.uuid)} has no launch plan: it is ${pod.state()}`,
    );
  }
  return [bytes, ...appPlans(pod)].map((plan) => formatPlanFile(plan, filters)).join('');
}
