import { describe, expect, it } from 'vitest';
import { takeIn } from '../../../src/fetch/oci-intake.ts';
import { type OciManifest, parseOciManifest } from '../../../src/image/oci-manifest.ts';
import { Store } from '../../../src/store/store.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { MemoryPlace } from './memory-place.ts';

describe('an image whose layers announce more than there is to be room for', () => {
  it('is refused before anything of it is asked for', async () => {
    const place = new MemoryPlace();
    const asked: string[] = [];
    place.document = async () => {
      asked.push('document');
      throw new Error('asked for');
    };
    const root = place.addImage(['a'.repeat(60), 'b'.repeat(60)], '1.0');
    const found = place.found(root.digest);
    const image = {
      manifest: parseOciManifest(found.bytes, found.mediaType) as OciManifest,
      descriptor: { ...found, size: found.bytes.length },
      bytes: found.bytes,
    };
    const certificate = {
      name: 'example.com/app',
      version: '1.0',
      source: {},
      provenance: { kind: 'unverified', reason: 'the test' },
    } as const;
    const supply = {
      source: place,
      platform: { os: 'linux', architecture: 'amd64' },
      stop: new AbortController(),
    };
    const limits = { maxUnpackedBytes: 100, maxEntries: 10, maxCompressionRatio: 10 };
    const store = Store.open(temporaryDirectory());
    await expect(
      takeIn(image, async () => certificate, supply, { store, limits }),
    ).rejects.toMatchObject({
      code: 'invalid-manifest',
      message: expect.stringContaining('layers: have 120 bytes together, more than 100'),
    });
    expect(asked).toEqual([]);
  });
});
