// Compiles the bundle for dist/FILE-USE.code: loads it as src/cli/main.ts does, runs a command, and
// keeps what V8 has compiled by then. What is fetched comes from a registry that has nothing.
//
//   compile.mjs prepare IMAGE OPTION…
//   compile.mjs fetch OPTION…
//   compile.mjs list OPTION…
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { loadBundle } from '../src/cli/bundle.ts';

const dist = join(import.meta.dirname, '../dist');

const [use, ...words] = process.argv.slice(2);
const bundle = loadBundle(dist, use, () => undefined);
const registry = createServer((_, response) => response.writeHead(404).end());
await new Promise((resolve) => registry.listen(0, '127.0.0.1', resolve));
const nothing = `docker://127.0.0.1:${registry.address().port}/a`;
const operands = use === 'fetch' ? ['--insecure-options=http', nothing] : [];
await bundle.main([use, ...operands, ...words]);
registry.closeAllConnections();
registry.close();

// What `prepare` does without here it may need elsewhere: as it is when nothing in it has run.
if (use === 'prepare') bundle.loadRest();
for (const [file, script] of bundle.scripts) {
  const code = join(dist, `${file}-${use}.code`);
  writeFileSync(`${code}.new`, script.createCachedData());
  renameSync(`${code}.new`, code);
}
