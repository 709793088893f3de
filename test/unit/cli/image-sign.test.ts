import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../../src/cli/context.ts';
import { definition } from '../../../src/cli/image-sign.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const context = createContext({});

async function sign(operands: string[], options: Record<string, unknown>): Promise<number> {
  return await definition.run(context, { operands, options, parsed: undefined });
}

describe('image sign', () => {
  const senseless: [string, string[], Record<string, string>, RegExp][] = [
    ['nothing to do', [], {}, /at least one image/],
    ['no image', [], { key: 'a.key' }, /at least one image/],
    ['no key', ['app.aci'], {}, /--key FILE/],
    ['two keys', ['app.aci'], { key: 'a.key', generateKey: 'b.key' }, /different files/],
    ['an unknown format', ['app.aci'], { key: 'a.key', format: 'pgp' }, /simple-signing/],
  ];
  for (const [what, operands, options, reason] of senseless) {
    it(`refuses ${what}`, async () => {
      await expect(sign(operands, options)).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringMatching(reason),
      });
    });
  }

  it('reads every image reference before it signs any', async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, 'app.aci'), 'x');
    const generateKey = join(directory, 'release.key');
    const operands = [join(directory, 'app.aci'), 'docker://Not A Name'];
    await expect(sign(operands, { generateKey })).rejects.toMatchObject({
      code: 'invalid-reference',
    });
    expect(readdirSync(directory)).toEqual(['app.aci']);
  });
});
