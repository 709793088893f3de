import { imagesInUse } from '../pod/list.ts';
import { Store } from '../store/store.ts';
import { type CommandDefinition, flag, valued } from './command.ts';
import { requireRoot } from './context.ts';
import { parseDuration } from './duration.ts';
import { say } from './print.ts';

export const definition: CommandDefinition = {
  name: 'image gc',
  summary: 'remove images that nothing has used for a while',
  description:
    'Removes images no pod needs and nobody has used for the grace period, and what broken-off fetches left behind. Safe at any time, also several at once.',
  options: [
    valued('--grace-period <DURATION>', 'how long an unused image stays', '24h0m0s'),
    flag('--dry-run', 'only say what would be removed'),
  ],
  async run(context, { options }) {
    requireRoot();
    const store = Store.open(context.dataDir);
    const dryRun = options['dryRun'] === true;
    const summary = await store.imageGc({
      inUse: () => imagesInUse(context.dataDir),
      graceSeconds: parseDuration(String(options['gracePeriod']), '--grace-period'),
      dryRun,
    });
    const verb = dryRun ? 'would remove' : 'successfully removed';
    for (const { id, name } of summary.images) {
      say(`image gc: ${verb} aci for image: "${id}" ("${name}")`);
    }
    for (const layer of summary.layers) say(`image gc: ${verb} tree "${layer}"`);
    if (summary.images.length > 0 && !dryRun) {
      say(`image gc: ${summary.images.length} image(s) successfully removed`);
    }
    for (const { id, error } of summary.failures) {
      say(`image gc: cannot remove image "${id}": ${error.message}`);
    }
    return summary.failures.length > 0 ? 254 : 0;
  },
};
