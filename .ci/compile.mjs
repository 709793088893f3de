// Compiles the program for dist/program.code: loads it as src/cli/main.ts does, runs the command given
// here, and keeps what V8 has compiled by then.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Script } from 'node:vm';

const dist = join(import.meta.dirname, '../dist');
const filename = join(dist, 'program.js');
const script = new Script(readFileSync(filename, 'latin1'), { filename });
const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(filename), module, filename, dist);
await module.exports.main(process.argv.slice(2));
writeFileSync(join(dist, 'program.code.new'), script.createCachedData());
renameSync(join(dist, 'program.code.new'), join(dist, 'program.code'));
