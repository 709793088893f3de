import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { createInstallation, type Installation } from '../support/installation.ts';
import { buildProbe } from './pod-probe.ts';

/**
 * What operators mistype: the words of an option, a part of the message that has to come. Rows are added
 * with the option they are of.
 */
export type Row = readonly [words: string | readonly string[], message: string];

/** An installation whose pods are all refused. */
export interface Refusals {
  readonly directory: string;
  readonly gantry: Installation;
  /** The image of the probe, with what a test adds. */
  readonly reference: string;
  /** Answers what a command says that has to start nothing, and to leave nothing. */
  expectRefusal(verb: string, words: readonly string[], ...messages: string[]): Promise<string>;
  /** That nothing is left of all of them: pods, their users, and what they had of the host. */
  expectNothing(): Promise<void>;
  remove(): void;
}

/** Makes one, whose image has what `addFiles` writes to its root. */
export async function createRefusals(
  addFiles: (rootfs: string) => void = () => undefined,
): Promise<Refusals> {
  const directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  const gantry = await createInstallation(directory);
  const rootfs = join(directory, 'rootfs');
  for (const name of ['bin', 'etc']) mkdirSync(join(rootfs, name), { recursive: true });
  copyFileSync(buildProbe(), join(rootfs, 'bin/probe'));
  addFiles(rootfs);
  const image = await gantry.makeImage('probe', rootfs, { exec: ['/bin/probe'] });
  await gantry.call('fetch', image.path);
  // The directories of pods are made by the first.
  await gantry.call('rm', await gantry.call('prepare', image.reference));
  const before = readHost(directory);
  const data = gantry.dataDirectory;
  const expectNoPod = () => {
    const pods = join(data, 'pods');
    expect(readdirSync(pods).flatMap((phase) => readdirSync(join(pods, phase)))).toEqual([]);
  };
  return {
    directory,
    gantry,
    reference: image.reference,
    expectRefusal: async (verb, words, ...messages) => {
      const { code, stdout, stderr } = await gantry.run(verb, ...words);
      for (const message of messages) expect(stderr).toContain(message);
      expect(stderr.trim().split('\n').at(-1)).toMatch(new RegExp(`^gantry: ${verb}: `));
      expect([code, stdout]).toEqual([254, '']);
      expectNoPod();
      return stderr;
    },
    expectNothing: async () => {
      expectNoPod();
      const users = join(data, 'users');
      expect(readdirSync(data).includes('users') ? readdirSync(users) : []).toEqual([]);
      expect(await leaksSince(before, directory)).toEqual([]);
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** The words of a row, one by one. */
export function wordsOf(words: Row[0]): readonly string[] {
  return typeof words === 'string' ? [words] : words;
}
