import { copyFileSync, cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Installation } from '../support/installation.ts';
import { type Contender, compete } from './contender.ts';
import type { Bench, Outcome } from './figures.ts';
import { gantryRun, gantryRunPrepared } from './starting.ts';
import { rowsOf } from './table.ts';
import { makeLargeRoot } from './workload.ts';

/** How often the tree of the transfer figure is in the large image: a gigabyte, and 50,000 files. */
const COPIES = 5;
const BOUND = 1.3;

/** Starting a pod with users of its own, and without, of a small image and of a large one. */
export async function measureUsers(bench: Bench): Promise<Outcome> {
  const { gantry, stopwatch, rounds, reference } = bench;
  const images = { small: reference, large: await storeLargeImage(bench) };
  const rows = [];
  const results = [];
  for (const [size, image] of Object.entries(images)) {
    for (const run of [gantryRun(gantry, image), gantryRunPrepared(gantry, image)]) {
      const started = await compete([withUsers(gantry, image, run), run], rounds, stopwatch);
      rows.push(...rowsOf(`${run.name} --private-users, ${size}`, started, { [run.name]: BOUND }));
      results.push(...started);
    }
  }
  return { rows, results };
}

/** The same with `--private-users`. */
function withUsers(gantry: Installation, image: string, run: Contender): Contender {
  const own = '--private-users';
  return {
    ...run,
    name: `${run.name} ${own}`,
    note: 'the same, in a user namespace, its layer in an idmapped mount',
    round: async () => {
      if (run.name === 'gantry run') return [gantry.command('run', '--net=none', own, image)];
      return [gantry.command('run-prepared', await gantry.call('prepare', own, image))];
    },
  };
}

async function storeLargeImage({ directory, gantry, root }: Bench): Promise<string> {
  const whole = join(directory, 'huge');
  const part = makeLargeRoot(directory);
  mkdirSync(join(whole, 'bin'), { recursive: true });
  copyFileSync(join(root, 'bin/true'), join(whole, 'bin/true'));
  for (let copy = 0; copy < COPIES; copy++) {
    cpSync(part, join(whole, `part${copy}`), { recursive: true });
  }
  rmSync(part, { recursive: true });
  const image = await gantry.makeImage('huge', whole, { exec: ['/bin/true'] });
  rmSync(whole, { recursive: true });
  await gantry.call('fetch', image.path);
  rmSync(image.path);
  return image.reference;
}
