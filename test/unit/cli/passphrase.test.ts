import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findPassphrase, SecretLine } from '../../../src/cli/passphrase.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

describe('a passphrase that is typed', () => {
  function typed(...chunks: string[]): { text: string; state: string } {
    const line = new SecretLine();
    let state = 'typing';
    for (const chunk of chunks) state = line.take(Buffer.from(chunk));
    return { text: Buffer.from(line.bytes).toString(), state };
  }

  it('ends with the line, however it arrives', () => {
    expect(typed('sec', 'ret\r')).toEqual({ text: 'secret', state: 'done' });
    expect(typed('secret\nmore')).toEqual({ text: 'secret', state: 'done' });
    expect(typed('sec')).toMatchObject({ state: 'typing' });
  });

  it('is edited by whole characters', () => {
    expect(typed('aü\x7fb\r').text).toBe('ab');
    expect(typed('€\x7f\x7fa\r').text).toBe('a');
    expect(typed('wrong\x15right\r').text).toBe('right');
  });

  it('is forgotten when it is interrupted', () => {
    expect(typed('secret\x03')).toMatchObject({ text: '\0\0\0\0\0\0', state: 'interrupted' });
  });
});

describe('a passphrase that is given', () => {
  async function found(file: string | undefined, env: NodeJS.ProcessEnv, mode = 0o600) {
    const warnings: string[] = [];
    const path = join(temporaryDirectory(), 'passphrase');
    if (file !== undefined) writeFileSync(path, file, { mode });
    const warn = (line: string) => warnings.push(line);
    const source = { file: file === undefined ? undefined : path, env, warn };
    const bytes = await findPassphrase(source, 'never asked');
    return { text: bytes === undefined ? undefined : Buffer.from(bytes).toString(), warnings };
  }

  it('is the first line of the file, and comes before the variable', async () => {
    const env = { GANTRY_KEY_PASSPHRASE: 'other' };
    expect(await found('one two\r\nthree\n', env)).toEqual({ text: 'one two', warnings: [] });
    expect(await found('', env)).toEqual({ text: '', warnings: [] });
    expect(await found(undefined, env)).toEqual({ text: 'other', warnings: [] });
  });

  it('is warned of where others can read it', async () => {
    const { warnings } = await found('secret\n', {}, 0o644);
    expect(warnings).toEqual([expect.stringContaining('chmod 600')]);
  });

  it('is refused where it is too long, or not there', async () => {
    await expect(found('x'.repeat(2000), {})).rejects.toMatchObject({ code: 'usage' });
    const missing = { file: '/nonexistent', env: {}, warn: () => undefined };
    await expect(findPassphrase(missing, '')).rejects.toMatchObject({ code: 'not-found' });
  });
});
