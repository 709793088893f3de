import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, it } from 'vitest';
import { createInstallation, runCommand } from '../support/installation.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const bundle = join(import.meta.dirname, '../../dist/gantry.js');

it('preparing a stored image loads no cryptography, network or archive code, and of Gantry what that takes', async () => {
  const directory = temporaryDirectory();
  const root = join(directory, 'root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  writeFileSync(join(root, 'bin/app'), '#!/bin/app\n', { mode: 0o755 });
  const gantry = await createInstallation(directory);
  const image = await gantry.makeImage('light', root, { exec: ['/bin/app'] });
  await gantry.call('fetch', image.path, `--signature=${image.path}.asc`);

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
  const [, ...words] = gantry.command('prepare', image.reference).words;
  await runCommand({ words: [process.execPath, '--require', hook, bundle, ...words] });
  const loaded = readFileSync(list, 'utf8').split('\n');
  for (const name of ['crypto', 'net', 'tls', 'http', 'zlib', 'stream', 'worker_threads', 'tty']) {
    expect(loaded).not.toContain(`NativeModule ${name}`);
  }
  const files = loaded.filter((path) => path.endsWith('.js')).map((path) => basename(path));
  expect(files).toEqual(['gantry.js', 'start.js']);
  expect(readdirSync(join(gantry.dataDirectory, 'pods/prepared'))).toHaveLength(1);
});
