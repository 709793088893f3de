import { GantryError } from '../error.ts';
import { findPod } from '../pod/find.ts';
import { removePod } from '../pod/remove.ts';
import type { CommandDefinition } from './command.ts';
import { type Context, requireRoot } from './context.ts';
import { podNames, uuidFileOption } from './pod-selection.ts';
import { print, say } from './print.ts';
import { messageOf } from './report.ts';

export const definition: CommandDefinition = {
  name: 'rm',
  summary: 'remove pods that do not run, now',
  operands: 'UUID...',
  options: [uuidFileOption()],
  run(context, { operands, options }) {
    requireRoot();
    const failed = podNames(operands, options).filter((uuid) => !removed(context, uuid));
    return failed.length === 0 ? 0 : 254;
  },
};

/** Removes one pod; the others are still removed when it cannot be. */
function removed(context: Context, prefix: string): boolean {
  try {
    using pod = findPod(context.dataDir, prefix);
    removePod(pod, (line) => context.report.info(line));
    print(`"${pod.uuid}"\n`);
    return true;
  } catch (error) {
    if (!(error instanceof GantryError)) throw error;
    say(`gantry: rm: ${messageOf(error)}`);
    return false;
  }
}
