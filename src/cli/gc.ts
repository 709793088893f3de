import { gcPods } from '../pod/gc.ts';
import { type CommandDefinition, flag, valued } from './command.ts';
import { requireRoot } from './context.ts';
import { parseDuration } from './duration.ts';
import { say } from './print.ts';
import { messageOf } from './report.ts';

export const definition: CommandDefinition = {
  name: 'gc',
  summary: 'remove pods that are no longer in use',
  description:
    'Moves pods that have exited, or whose preparation was broken off, to the garbage, and removes those that have been there for the grace period. Meant for a timer or cron; safe at any time, also several at once.',
  options: [
    valued('--grace-period <DURATION>', 'how long an exited pod stays in the garbage', '30m0s'),
    valued(
      '--expire-prepared <DURATION>',
      'how long a prepared pod that nobody runs stays',
      '24h0m0s',
    ),
    flag('--mark-only', 'only move exited pods to the garbage, which marks when they ended'),
  ],
  examples: ['gantry gc --grace-period=0s'],
  run(context, { options }) {
    requireRoot();
    const summary = gcPods(context.dataDir, {
      graceSeconds: parseDuration(String(options['gracePeriod']), '--grace-period'),
      expirePreparedSeconds: parseDuration(String(options['expirePrepared']), '--expire-prepared'),
      markOnly: options['markOnly'] === true,
      info: (line) => say(`gc: ${line}`),
      warn: (line) => context.report.warn(line),
    });
    for (const { uuid, error } of summary.failed) {
      say(`gantry: gc: pod ${uuid}: ${messageOf(error)}`);
    }
    return summary.failed.length === 0 ? 0 : 254;
  },
};
