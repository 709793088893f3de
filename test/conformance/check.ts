/**
 * Checks stage1s against the contract (specs/stage1-interface.md), and prints what each supports:
 *
 *     bin/node test/conformance/check.ts [--gantry=PATH] [--config=DIR] [--patience=SECONDS] [--topic=NAME]… [--markdown] STAGE1…
 *
 * A STAGE1 is a name, as --stage1-name takes it, or the path of a directory. The exit code is 0 when
 * nothing failed.
 */

import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ownProgram } from '../support/installation.ts';
import { checkExitCodes, checkStopping } from './endings.ts';
import { checkExecutor } from './executing.ts';
import { checkFeatures } from './granting.ts';
import {
  type Laboratory,
  type LaboratoryWishes,
  makeScratchDirectory,
  openLaboratory,
  removeScratchDirectory,
} from './laboratory.ts';
import { checkMutablePod } from './mutating.ts';
import { killProcess, processesIn } from './processes.ts';
import { checkRefusals } from './refusals.ts';
import { checkServingPod } from './serving.ts';
import { type Findings, formatTable } from './table.ts';
import { isDirectory, isTopic, Trial, type TrialWishes } from './trial.ts';

const USAGE =
  'usage: check.ts [--gantry=PATH] [--config=DIR] [--patience=SECONDS] [--topic=NAME]... [--markdown] NAME|DIRECTORY...';

interface Order {
  readonly laboratory: LaboratoryWishes;
  readonly wishes: TrialWishes;
  readonly markdown: boolean;
  readonly labels: readonly string[];
}

/** @throws Error with what is wrong with the words */
function readOrder(words: readonly string[]): Order {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      gantry: { type: 'string' },
      config: { type: 'string' },
      patience: { type: 'string', default: '60' },
      topic: { type: 'string', multiple: true, default: [] },
      markdown: { type: 'boolean', default: false },
    },
  });
  const patience = Number(values.patience);
  if (!(patience > 0)) throw new Error(`--patience: "${values.patience}" is no number of seconds`);
  const unknown = values.topic.find((topic) => !isTopic(topic));
  if (unknown !== undefined) throw new Error(`--topic: there is none "${unknown}"`);
  if (positionals.length === 0) throw new Error('name a stage1, or its directory');
  const labels = positionals.map((label) => (isDirectory(label) ? resolve(label) : label));
  const path = (value?: string) => (value === undefined ? undefined : resolve(value));
  const laboratory = { gantry: path(values.gantry), configuration: path(values.config) };
  const wishes = { patience, topics: values.topic };
  return { laboratory, wishes, markdown: values.markdown, labels };
}

/** Everything about one stage1. Features are only looked at where a pod can be started at all. */
async function checkStage1(laboratory: Laboratory, label: string, wishes: TrialWishes) {
  const trial = await Trial.of(laboratory, label, wishes);
  try {
    if (await checkServingPod(trial)) {
      await checkExitCodes(trial);
      await checkStopping(trial);
      await checkFeatures(trial);
      await checkExecutor(trial);
      await checkMutablePod(trial);
    }
    await checkRefusals(trial);
  } finally {
    await trial.clear();
  }
  return { label: trial.label, features: trial.features, results: trial.results };
}

/** A stage1 that Gantry does not even take has failed its first duty. */
function refusedStage1(label: string, error: unknown): Findings {
  const why = error instanceof Error ? error.message : String(error);
  const name = 'Gantry takes the stage1';
  return {
    label,
    features: new Set(),
    results: [{ topic: 'lifecycle', name, outcome: 'failed', why }],
  };
}

function tell({ label, results }: Findings): void {
  for (const { topic, name, outcome, why } of results) {
    if (outcome !== 'passed') console.log(`${label}: ${topic}: ${name}: ${outcome}: ${why}`);
  }
}

/** Pods are no members of this process's group: a Ctrl-C does not reach them. */
function clearWhenInterrupted(directory: string, gantry: string | undefined): void {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.once(signal, () => {
      for (const pod of processesIn(directory)) killProcess(pod);
      // What is left of pods outside: control groups.
      const words = ['gc', `--dir=${join(directory, 'data')}`, '--grace-period=0s'];
      spawnSync(gantry ?? ownProgram, words, { stdio: 'ignore' });
      removeScratchDirectory(directory);
      process.exit(128 + number);
    });
  }
}

async function checkAll({ labels, wishes }: Order, laboratory: Laboratory): Promise<Findings[]> {
  const all: Findings[] = [];
  for (const label of labels) {
    const findings = await checkStage1(laboratory, label, wishes).catch((error) =>
      refusedStage1(label, error),
    );
    tell(findings);
    all.push(findings);
  }
  return all;
}

/** The table and the sums. @returns the exit code */
function conclude(all: readonly Findings[], markdown: boolean): number {
  const results = all.flatMap((findings) => findings.results);
  const count = (outcome: string) => results.filter((result) => result.outcome === outcome).length;
  const unchecked = count('unchecked');
  const open = unchecked > 0 ? `, ${unchecked} not to be told here` : '';
  console.log(`\n${formatTable(all, markdown)}\n`);
  console.log(`${count('passed')} passed, ${count('failed')} failed${open}`);
  return count('failed') > 0 ? 1 : 0;
}

async function main(): Promise<number> {
  let order: Order;
  try {
    order = readOrder(process.argv.slice(2));
  } catch (error) {
    console.error(`check.ts: ${error instanceof Error ? error.message : error}\n${USAGE}`);
    return 2;
  }
  if (process.getuid?.() !== 0) {
    console.error('check.ts: pods need root: run it as root');
    return 2;
  }
  const directory = makeScratchDirectory();
  clearWhenInterrupted(directory, order.laboratory.gantry);
  try {
    const laboratory = await openLaboratory(directory, order.laboratory);
    return conclude(await checkAll(order, laboratory), order.markdown);
  } finally {
    removeScratchDirectory(directory);
  }
}

process.exitCode = await main();
