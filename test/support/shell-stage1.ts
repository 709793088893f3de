import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What of a stage1 in shell a test wants otherwise. */
export interface Stage1Wishes {
  readonly name?: string;
  /** The scripts of entry points, without their first line; `undefined` takes one away. */
  readonly scripts?: Readonly<Record<string, string | undefined>>;
  /** Paths of programs where they are not called as their entry points. */
  readonly programs?: Readonly<Record<string, string>>;
  /** Members of the manifest, to be as wrong as a test wants it. */
  readonly manifest?: object;
}

/** Tells which pod it was given, and ends with exit code 7. */
const RUN = 'echo "ran $1"; echo 7 > exit; exit 7';

/** Writes a stage1 of shell scripts into `directory`, which may exist; answers the directory. */
export function writeShellStage1(directory: string, wishes: Stage1Wishes = {}): string {
  const { name = 'test/shell', scripts = {}, programs = {}, manifest = {} } = wishes;
  const all = { run: RUN, gc: 'exit 0', ...scripts };
  const entrypoints: Record<string, string> = {};
  for (const [entry, script] of Object.entries(all)) {
    if (script === undefined) continue;
    const program = programs[entry] ?? entry;
    writeScript(join(directory, program), script);
    entrypoints[entry] = program;
  }
  const document = { name, interfaceVersion: 1, entrypoints, ...manifest };
  writeFileSync(join(directory, 'manifest.json'), JSON.stringify(document));
  return directory;
}

function writeScript(path: string, script: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}
