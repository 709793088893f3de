import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createInstallation } from '../support/installation.ts';
import { figures, type Outcome } from './figures.ts';
import { createStopwatch } from './stopwatch.ts';
import { formatRows, isKept } from './table.ts';
import { makeSmallRoot } from './workload.ts';

const usage = `usage: npm run bench -- [--rounds=N] [--only=FIGURE]… [--json=FILE]

Figures: ${Object.keys(figures).join(', ')}.

Measures Gantry beside the tools an operator would otherwise use, as far as they are installed, in
turns, and prints medians, ratios and the bounds they are held to. Exits with 1 when one is not kept.`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '15' },
      only: { type: 'string', multiple: true },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const chosen = values.only ?? Object.keys(figures);
  const rounds = Number(values.rounds);
  if (
    values.help ||
    !Number.isInteger(rounds) ||
    rounds < 1 ||
    chosen.some((name) => !(name in figures))
  ) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  if (process.getuid?.() !== 0) {
    console.error('bench: starting pods needs root: run it as root');
    return 2;
  }
  // In memory, so that no disk's caches and barriers are measured.
  const directory = mkdtempSync('/dev/shm/gantry-bench-');
  try {
    const outcome = await measure(directory, rounds, chosen);
    report(outcome, rounds, values.json);
    return outcome.rows.every((row) => isKept(row) !== false) ? 0 : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(
  directory: string,
  rounds: number,
  chosen: readonly string[],
): Promise<Outcome> {
  const root = makeSmallRoot(directory);
  const gantry = await createInstallation(directory);
  const image = await gantry.makeImage('small', root, { exec: ['/bin/true'] });
  await gantry.call('fetch', image.path, `--signature=${image.path}.asc`);
  const stopwatch = createStopwatch(directory);
  const { reference } = image;
  const outcomes: Outcome[] = [];
  for (const name of chosen) {
    console.error(`measuring: ${name}`);
    const part = figures[name];
    // Short names: podman wants a path of at most 50 characters for its run directory.
    const place = join(directory, name);
    mkdirSync(place);
    if (part !== undefined) {
      outcomes.push(await part({ directory: place, gantry, stopwatch, rounds, root, reference }));
    }
  }
  return {
    rows: outcomes.flatMap((outcome) => outcome.rows),
    results: outcomes.flatMap((outcome) => outcome.results),
  };
}

function report({ rows, results }: Outcome, rounds: number, json: string | undefined): void {
  const processors = cpus();
  console.log(`${processors.length} x ${processors[0]?.model}, Node ${process.versions.node}`);
  console.log(
    `medians of ${rounds} rounds in turns (twice that for version, a quarter for transfer and oci)\n`,
  );
  console.log(formatRows(rows));
  console.log('\nWhat was run:');
  for (const { name, note } of results) console.log(`  ${name}: ${note}`);
  if (json !== undefined) {
    writeFileSync(json, `${JSON.stringify({ rounds, rows, results }, null, 2)}\n`);
  }
}

process.exitCode = await main();
