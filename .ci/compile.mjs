// Compiles the program for dist/program-USE.code: loads it as src/cli/main.ts does, runs a command, and
// keeps what V8 has compiled by then. What is fetched comes from a registry that has nothing.
//
//   compile.mjs prepare IMAGE OPTION…
//   compile.mjs fetch OPTION…
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Script } from 'node:vm';

const dist = join(import.meta.dirname, '../dist');
const filename = join(dist, 'program.js');
const script = new Script(readFileSync(filename, 'latin1'), { filename });
const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(filename), module, filename, dist);

const [use, ...words] = process.argv.slice(2);
const registry = createServer((_, response) => response.writeHead(404).end());
await new Promise((resolve) => registry.listen(0, '127.0.0.1', resolve));
const nothing = `docker://127.0.0.1:${registry.address().port}/a`;
const operands = use === 'fetch' ? ['--insecure-options=http', nothing] : [];
await module.exports.main([use, ...operands, ...words]);
registry.closeAllConnections();
registry.close();

const code = join(dist, `program-${use}.code`);
writeFileSync(`${code}.new`, script.createCachedData());
renameSync(`${code}.new`, code);
