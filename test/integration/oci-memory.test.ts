import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import {
  blobOf,
  imageOf,
  type LayerCompression,
  layerOf,
  layerOfTar,
  type OciLayer,
} from '../support/oci-image.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { tarOf } from '../unit/store/image-archive.ts';
import { HandRegistry } from './hand-registry.ts';

beforeEach((context) => needs(context, root, program('python3')));

const gantry = join(import.meta.dirname, '../../bin/gantry');
const megabyte = 1 << 20;

let registry: HandRegistry;
beforeAll(async () => {
  registry = await HandRegistry.open();
});
afterAll(() => registry?.close());

/** A layer whose decoder has to remember as much as it may: 80 MB, compressed with a window of 32 MB. */
function largeLayer(name: string): OciLayer {
  const content = Buffer.alloc(80 * megabyte, randomBytes(3 * megabyte));
  const tar = tarOf([{ name, content: Buffer.concat([content, randomBytes(5 * megabyte)]) }]);
  const params = { [constants.ZSTD_c_windowLog]: 25 };
  const { diffId } = layerOfTar(tar, 'none');
  return { ...blobOf(`${MEDIA_TYPES.layer}+zstd`, zstdCompressSync(tar, { params })), diffId };
}

/** The most memory a command had, in megabytes. */
async function peakOf(words: readonly string[]): Promise<number> {
  const script = `import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)`;
  const env = { ...process.env, ...registry.environment };
  const { stdout } = await promisify(execFile)('python3', ['-c', script, ...words], { env });
  return Number(stdout) / 1024;
}

it('pulling twelve layers, three of them large, takes less than 200 MB', {
  timeout: 120_000,
}, async () => {
  const large = ['a', 'b', 'c'].map(largeLayer);
  const compressions: readonly LayerCompression[] = ['gzip', 'zstd', 'none'];
  const small = Array.from({ length: 9 }, (_, i) =>
    layerOf([{ name: `${i}`, content: randomBytes(megabyte) }], compressions[i % 3]),
  );
  const reference = registry.serve('memory/image', imageOf([...large, ...small]));
  const { system, local } = registry.directories;
  const flags = [`--dir=${temporaryDirectory()}`, `--system-config=${system}`];
  const more = [`--local-config=${local}`, '--insecure-options=image'];
  const peak = await peakOf([gantry, ...flags, ...more, 'fetch', reference]);
  expect(peak).toBeLessThan(200);
});
