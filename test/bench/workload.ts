import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Builds a static program from a few lines of C. */
export function buildProgram(path: string, source: string): void {
  execFileSync('cc', ['-static', '-O1', '-s', '-x', 'c', '-o', path, '-'], { input: source });
}

/**
 * The root file system of the pods that are started: `/bin/true`, which does nothing, and
 * `/bin/pause`, which waits for ever. Both are static; the folders are those that some peers want.
 */
export function makeSmallRoot(directory: string): string {
  const root = join(directory, 'rootfs');
  for (const folder of ['bin', 'dev', 'etc', 'proc', 'run', 'sys', 'tmp', 'usr']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  buildProgram(join(root, 'bin/true'), 'int main(void) { return 0; }');
  buildProgram(
    join(root, 'bin/pause'),
    '#include <unistd.h>\nint main(void) { for (;;) pause(); }',
  );
  return root;
}

/** What the tree of the transfer figure adds up to: the 10,000 files and 207 MB. */
const FILES = 10_000;
const MEAN_SIZE = 20_700;

/**
 * A tree as a language runtime or a web application has it: many small files, some large, in
 * folders of fifty. Half of each file is pseudo-random and half repeats, so that gzip brings the
 * whole to about 75 MB. The same on every call.
 */
export function makeLargeRoot(directory: string): string {
  const root = join(directory, 'large');
  let state = 1;
  const next = () => {
    // xorshift32 (Marsaglia, 2003): reproducible, and incompressible enough.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  for (let file = 0; file < FILES; file++) {
    const folder = join(root, `usr/lib/part${Math.floor(file / 1000)}/set${Math.floor(file / 50)}`);
    if (file % 50 === 0) mkdirSync(folder, { recursive: true });
    // One file in a hundred is fifty times as large as the others.
    const size = Math.round((file % 100 === 0 ? 50 : 1) * (MEAN_SIZE / 1.49));
    const random = Math.floor(size * 0.355);
    const content = Buffer.alloc(size, `line ${file} of a file that compresses well\n`);
    for (let at = 0; at + 4 <= random; at += 4) content.writeUInt32LE(next(), at);
    writeFileSync(join(folder, `file${file}.dat`), content);
  }
  return root;
}

/** The folders of the large root, dealt out to `count` layers in turns: equal shares, as paths below it. */
export function shareFolders(count: number): string[][] {
  const shares: string[][] = Array.from({ length: count }, () => []);
  for (let set = 0; set < FILES / 50; set++) {
    shares[set % count]?.push(`usr/lib/part${Math.floor(set / 20)}/set${set}`);
  }
  return shares;
}
