import { describe, expect, it } from 'vitest';
import { findSignatures } from '../../../src/fetch/signature-discovery.ts';
import type { Digest } from '../../../src/image/digest.ts';
import { MemoryPlace } from './memory-place.ts';

const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

/** Counts how much is asked for at once. */
class SlowPlace extends MemoryPlace {
  most = 0;
  #asked = 0;

  override async manifest(reference: string | Digest) {
    this.most = Math.max(this.most, ++this.#asked);
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.#asked--;
    return await super.manifest(reference);
  }
}

/** An image with so many bundles about it, each of so many bytes. */
function placeWith(count: number, bytes: number) {
  const place = new SlowPlace();
  const subject = place.addImage(['layer']);
  const config = place.addBlob('{}', 'application/vnd.oci.empty.v1+json');
  for (let number = 0; number < count; number++) {
    const layer = place.addBlob(`${number}`.padEnd(bytes), BUNDLE);
    place.addManifest({ artifactType: BUNDLE, config, layers: [layer], subject });
  }
  return { place, digest: place.found(subject.digest).digest };
}

describe('looking for signatures where somebody has put as many as will go', () => {
  it('asks for a few at a time: each may be a manifest of 4 MiB', async () => {
    const { place, digest } = placeWith(40, 10);
    expect(await findSignatures(place, 'example.com/app', [{ digest }])).toHaveLength(40);
    expect(place.most).toBeLessThanOrEqual(8);
  });

  it('keeps no more of them than a few, where they are large', async () => {
    const { place, digest } = placeWith(40, 1 << 20);
    const lines: string[] = [];
    const debug = (line: string) => lines.push(line);
    const found = await findSignatures(place, 'example.com/app', [{ digest }], { debug });
    expect(found.length).toBeGreaterThan(4);
    expect(found.length).toBeLessThanOrEqual(16);
    expect(lines.join()).toContain('passing over the signature');
  });
});
