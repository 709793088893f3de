import { readFileSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { formatPlan as formatPlanFile } from '../stage1/plan.ts';
import type { Pod } from './pod.ts';

/**
 * The launch plan of a pod for people: one step a line, words quoted as a shell would need them.
 * @throws GantryError `wrong-phase` while the pod has none
 */
export function formatPlan(pod: Pod): string {
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
  return formatPlanFile(bytes);
}
