import { constants, createZstdCompress, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { WindowBudget } from '../../../src/store/window-budget.ts';

/** The beginning of what a compressor makes that does not know how much will come. */
async function streamed(windowLog: number): Promise<Buffer> {
  const compress = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: windowLog } });
  const pieces: Buffer[] = [];
  compress.on('data', (piece) => pieces.push(piece));
  compress.write(Buffer.alloc(300_000, 'some content'));
  compress.end();
  await new Promise((resolve) => compress.once('end', resolve));
  return Buffer.concat(pieces);
}

const skippable = Buffer.concat([Buffer.from([0x5f, 0x2a, 0x4d, 0x18]), Buffer.alloc(32)]);

describe('the windows of layers that are unpacked at once', () => {
  it('fit three of 8 MB, and one of 32 MB', async () => {
    const budget = new WindowBudget();
    const small = await streamed(23);
    const turns = [small, small, small].map((start) => budget.ask(start));
    expect(turns.map(({ ready }) => ready)).toEqual([undefined, undefined, undefined]);
    const large = budget.ask(await streamed(25));
    expect(large.ready).toBeInstanceOf(Promise);
    for (const turn of turns) turn.release();
    await large.ready;
    expect(large.ready).toBeUndefined();
    expect(budget.ask(small).ready).toBeInstanceOf(Promise);
  });

  it.each<[string, Buffer | Promise<Buffer>]>([
    ['more than is taken', streamed(27)],
    ['what is not known yet', skippable],
    [
      'one segment of that size',
      zstdCompressSync(Buffer.alloc(40 << 20), { params: { [constants.ZSTD_c_windowLog]: 27 } }),
    ],
  ])('count %s as the most', async (_, start) => {
    const budget = new WindowBudget();
    expect(budget.ask(await start).ready).toBeUndefined();
    expect(budget.ask(await streamed(20)).ready).toBeInstanceOf(Promise);
  });

  it('are nothing for other compressions, which never wait', async () => {
    const budget = new WindowBudget();
    const large = await streamed(25);
    const turns = [budget.ask(large), budget.ask(large), budget.ask(gzipSync(Buffer.alloc(9000)))];
    expect(turns.map(({ ready }) => ready === undefined)).toEqual([true, false, true]);
  });

  it('are waited for no more by who gives up', async () => {
    const budget = new WindowBudget();
    const large = await streamed(25);
    const [first, second, third] = [budget.ask(large), budget.ask(large), budget.ask(large)];
    second.release();
    await second.ready;
    first.release();
    first.release();
    await third.ready;
    expect(budget.ask(large).ready).toBeInstanceOf(Promise);
  });
});
