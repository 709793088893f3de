import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type CopyRoute, copyImage } from '../../../src/fetch/copying.ts';
import type { DownloadTarget } from '../../../src/fetch/download.ts';
import type { Descriptor } from '../../../src/image/oci-manifest.ts';
import { MemoryPlace, type Pointer } from './memory-place.ts';

const silent = {
  info: () => undefined,
  debug: () => undefined,
  warn: () => undefined,
  transfer: () => ({ advance: () => undefined, done: () => undefined }),
};

function route(source: MemoryPlace, destination: MemoryPlace): CopyRoute {
  return { source, destination, isLocal: false, report: silent, abandon: () => undefined };
}

/** Copies what `1.0` is. */
async function copy(source: MemoryPlace, destination = new MemoryPlace(), signatures = true) {
  const wish = { tag: '2.0', signatures, mayReplace: true };
  await copyImage(source.found('1.0'), wish, route(source, destination));
  return destination;
}

/** An index of two images, each with a signature of its own kind. */
function signedIndex(): { source: MemoryPlace; images: Pointer[]; index: Pointer } {
  const source = new MemoryPlace();
  const images = [source.addImage(['base', 'amd64']), source.addImage(['base', 'arm64'])];
  const index = source.addManifest({ manifests: images }, '1.0');
  return { source, images, index };
}

function attach(source: MemoryPlace, subject: Pointer, content: string): Pointer {
  const config = source.addBlob('{}', 'application/vnd.oci.empty.v1+json');
  const layers = [source.addBlob(content)];
  return source.addManifest({ config, layers, subject });
}

describe('copying an image', () => {
  it('brings an index with everything it names, the index last', async () => {
    const { source, images, index } = signedIndex();
    const destination = await copy(source);
    expect([...destination.blobs.keys()].sort()).toEqual([...source.blobs.keys()].sort());
    expect(destination.log.slice(-3)).toEqual([...images.map(({ digest }) => digest), '2.0']);
    expect(destination.found('2.0').bytes).toEqual(source.found(index.digest).bytes);
    expect(destination.state).toBe('finished');
  });

  it("brings cosign's tags of the index and of each image", async () => {
    const { source, images, index } = signedIndex();
    const config = source.addBlob('{}');
    const tags = [...images, index].map(({ digest }) => `${digest.replace(':', '-')}.sig`);
    for (const tag of tags) {
      source.addManifest({ config, layers: [source.addBlob(`signature at ${tag}`)] }, tag);
    }
    const destination = await copy(source);
    for (const tag of tags) expect(destination.found(tag)).toEqual(source.found(tag));
    expect(destination.log.at(-1)).toBe('2.0');
  });

  it("takes nobody else's signature away", async () => {
    const source = new MemoryPlace();
    const image = source.addImage(['a'], '1.0');
    const tag = `${image.digest.replace(':', '-')}.sig`;
    const config = source.addBlob('{}');
    const ours = { ...source.addBlob('payload'), annotations: { signature: 'ours' } };
    const theirs = { ...source.addBlob('payload'), annotations: { signature: 'theirs' } };
    source.addManifest({ config, layers: [ours] }, tag);
    const destination = new MemoryPlace();
    destination.addManifest({ config, layers: [theirs] }, tag);
    const present = (reference: string) => destination.manifest(reference);
    const wish = { tag: '1.0', signatures: true, mayReplace: true };
    const merging = { ...route(source, destination), present };
    await copyImage(source.found('1.0'), wish, merging);
    const merged = destination.found(tag);
    expect(JSON.parse(Buffer.from(merged.bytes).toString()).layers).toEqual([theirs, ours]);
    await copyImage(source.found('1.0'), wish, merging);
    expect(destination.found(tag)).toEqual(merged);
  });

  it('brings referrers, and what refers to those', async () => {
    const { source, images, index } = signedIndex();
    const signature = attach(source, index, 'a bundle');
    const sbom = attach(source, images[0] as Pointer, 'a bill of materials');
    const signatureOfSbom = attach(source, sbom, 'a signature of the bill');
    const destination = await copy(source);
    for (const { digest } of [signature, sbom, signatureOfSbom]) {
      expect(destination.found(digest)).toEqual(source.found(digest));
    }
  });

  it('leaves signatures behind where that is asked for', async () => {
    const { source, index } = signedIndex();
    const { digest } = attach(source, index, 'a bundle');
    const destination = await copy(source, new MemoryPlace(), false);
    expect(destination.manifests.has(digest)).toBe(false);
  });

  it('sends no blob that is there', async () => {
    const { source } = signedIndex();
    const destination = new MemoryPlace();
    const { digest } = destination.addBlob('base');
    await copy(source, destination);
    expect(destination.log).not.toContain(digest);
  });

  it('has three blobs on their way at most', async () => {
    const source = new MemoryPlace();
    source.addImage(['a', 'b', 'c', 'd', 'e', 'f'], '1.0');
    let [now, most] = [0, 0];
    const blob = source.blob.bind(source);
    source.blob = async (descriptor, target) => {
      most = Math.max(most, ++now);
      await setImmediate();
      await blob(descriptor, target);
      now -= 1;
    };
    await copy(source);
    expect(most).toBe(3);
  });

  it('begins a blob again that its source begins again', async () => {
    const source = new MemoryPlace();
    source.addImage(['a layer of several pieces'], '1.0');
    const restarted = new Set<string>();
    const blob = source.blob.bind(source);
    source.blob = async (descriptor: Descriptor, target: DownloadTarget) => {
      if (!restarted.has(descriptor.digest.hex)) {
        restarted.add(descriptor.digest.hex);
        await target.write(Buffer.from('half of'));
        await target.restart();
      }
      await blob(descriptor, target);
    };
    const destination = await copy(source);
    expect(destination.blobs).toEqual(source.blobs);
  });

  it('is content with a destination that came by a blob meanwhile', async () => {
    const source = new MemoryPlace();
    source.addImage(['a layer of several pieces'], '1.0');
    const destination = new MemoryPlace();
    destination.putBlob = async () => undefined;
    await copy(source, destination);
    expect(destination.state).toBe('finished');
  });
});

describe('copying refuses', () => {
  it.each([
    ['a blob whose digest differs', 'a Layer', 'what came has the digest'],
    ['a blob that is longer', 'a layer and more', 'longer than 7 bytes'],
    ['a blob that is shorter', 'a lay', 'has 5 bytes, not 7'],
  ])('%s, and gives up the destination', async (_, content, message) => {
    const source = new MemoryPlace();
    source.addImage(['a layer'], '1.0');
    source.blobs.set(source.addBlob('a layer').digest, Buffer.from(content));
    const destination = new MemoryPlace();
    await expect(copy(source, destination)).rejects.toMatchObject({
      code: 'invalid-archive',
      message: expect.stringContaining(message) as string,
    });
    expect(destination.state).toBe('aborted');
    expect(destination.manifests.size).toBe(0);
  });

  it('an index whose manifest is missing, before anything is sent', async () => {
    const { source, images } = signedIndex();
    source.manifests.delete(images[1]?.digest ?? '');
    const destination = new MemoryPlace();
    await expect(copy(source, destination)).rejects.toMatchObject({ code: 'not-found' });
    expect(destination.log).toEqual([]);
  });

  it('indexes that lead to each other without end', async () => {
    const source = new MemoryPlace();
    let pointer = source.addImage(['a']);
    for (let depth = 0; depth < 6; depth++) {
      pointer = source.addManifest({ manifests: [pointer] }, '1.0');
    }
    await expect(copy(source)).rejects.toMatchObject({ code: 'invalid-manifest' });
  });

  it("with the source's own words what the source fails of", async () => {
    const source = new MemoryPlace();
    source.addImage(['a layer of several pieces'], '1.0');
    source.blob = async (_, target) => {
      await target.write(Buffer.from('a '));
      throw new Error('the line is cut');
    };
    await expect(copy(source)).rejects.toThrow('the line is cut');
  });

  it("with the destination's own words what the destination fails of", async () => {
    const source = new MemoryPlace();
    source.addImage(['a layer of several pieces'], '1.0');
    const destination = new MemoryPlace();
    destination.putBlob = async (_, content) => {
      for await (const _piece of content) throw new Error('the disk is full');
    };
    await expect(copy(source, destination)).rejects.toThrow('the disk is full');
    expect(destination.state).toBe('aborted');
  });
});
