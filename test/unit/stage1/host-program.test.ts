import { chmodSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { findOnPath, requireRootsProgram } from '../../../src/stage1/host-program.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

beforeEach((context) => needs(context, root));

function programIn(directory: string): string {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'vm'), '#!/bin/sh\n', { mode: 0o755 });
  return realpathSync(join(directory, 'vm'));
}

describe('a program of the host', () => {
  it('is found along the PATH by its real path, but never where the caller stands', () => {
    const directory = temporaryDirectory();
    const real = programIn(join(directory, 'real'));
    const links = join(directory, 'links');
    mkdirSync(links);
    symlinkSync(real, join(links, 'vm'));
    const here = relative(process.cwd(), join(directory, 'real'));
    expect(findOnPath('vm', `${here}::.:${links}`)).toBe(real);
    expect(findOnPath('vm', `${here}::.`)).toBeUndefined();
    expect(findOnPath('real', directory)).toBeUndefined();
  });

  it('that others than root could replace is refused', () => {
    const directory = temporaryDirectory();
    const program = programIn(join(directory, 'bin'));
    expect(() => requireRootsProgram('kvm', program)).not.toThrow();
    chmodSync(join(directory, 'bin'), 0o777);
    expect(() => requireRootsProgram('kvm', program)).toThrow(
      /^stage1 kvm: cannot use \S+\/bin\/vm: directory \S+\/bin can be written to by others than root: chmod go-w it$/,
    );
    chmodSync(join(directory, 'bin'), 0o755);
    chmodSync(program, 0o775);
    expect(() => requireRootsProgram('kvm', program)).toThrow('can be written to by others');
  });
});
