import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, it } from 'vitest';
import { createInstallation, runCommand } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const bundle = join(import.meta.dirname, '../../dist/gantry.js');

it('preparing a stored image loads no cryptography, network or archive code, and of Gantry what that takes', async () => {
  const { gantry, loadedBy, reference } = await storedImage();
  const loaded = await loadedBy('prepare', reference);
  const heavy = ['crypto', 'net', 'tls', 'http', 'zlib', 'stream', 'worker_threads', 'tty', 'os'];
  for (const name of heavy) expect(loaded).not.toContain(`NativeModule ${name}`);
  expect(filesOf(loaded)).toEqual(['gantry.js', 'start.js']);
  expect(readdirSync(join(gantry.dataDirectory, 'pods/prepared'))).toHaveLength(2);
});

it('what limits a pod is read with the rest of what starts it', async () => {
  const { loadedBy, reference } = await storedImage();
  const limits = ['--memory=64M', '--pids=20', '--oom-score-adj=500', '--rlimit=core=0'];
  const loaded = await loadedBy('prepare', reference, ...limits);
  expect(filesOf(loaded)).toEqual(['gantry.js', 'start.js']);
});

function filesOf(loaded: readonly string[]): string[] {
  return loaded.filter((path) => path.endsWith('.js')).map((path) => basename(path));
}

/** An installation with an image, and what has been read and loaded when a command of it ends. */
async function storedImage() {
  const directory = temporaryDirectory();
  const gantry = await createInstallation(directory);
  const reference = await gantry.storeProgram('app', buildProgram('int main(void) { return 0; }'));
  // The first pod of a data directory has its system call filter compiled; the others find it.
  await gantry.call('prepare', reference);
  const list = join(directory, 'modules');
  const hook = join(directory, 'hook.cjs');
  writeFileSync(
    hook,
    `const fs = require('fs');
    const { readFileSync } = fs;
    fs.readFileSync = (path, ...rest) => {
      process.moduleLoadList.push(String(path));
      return readFileSync(path, ...rest);
    };
    process.on('exit', () => fs.writeFileSync(${JSON.stringify(list)}, process.moduleLoadList.join('\\n')));`,
  );
  const loadedBy = async (verb: string, ...more: string[]) => {
    const [, ...words] = gantry.command(verb, ...more).words;
    const { code, stderr } = await runCommand({
      words: [process.execPath, '--require', hook, bundle, ...words],
    });
    expect(code, stderr).toBe(0);
    return readFileSync(list, 'utf8').split('\n');
  };
  return { gantry, loadedBy, reference };
}
